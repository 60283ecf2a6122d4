"""Cancel ends the child and its children within two seconds and leaves nothing behind."""

import os
import threading
import time

import pytest
from conftest import group_of

# Each (verb, stage at which to cancel, seconds into it): measuring, working, and GDAL's own
# compressing, which cannot be asked to stop.
MOMENTS = [
    ("harmonize", "reading statistics", 0.0),
    ("harmonize", "computing style statistics", 0.05),
    ("harmonize", "harmonizing", 0.0),
    ("harmonize", "harmonizing", 0.3),
    ("harmonize", "compressing out.tif", 0.0),
    ("harmonize", "compressing out.tif", 0.05),
    ("harmonize", "compressing out.tif", 0.1),
    ("segment", "segmenting", 0.0),
    ("segment", "segmenting", 1.0),
    ("segment", "segmenting", 2.0),
]


@pytest.fixture(scope="module")
def large(make_raster, tmp_path_factory):
    # So large that compressing it takes some tenths of a second on a fast machine too.
    return make_raster(tmp_path_factory.mktemp("large") / "large.tif", size=(4000, 5000), seed=1)


@pytest.fixture(scope="module")
def reference(make_raster, tmp_path_factory):
    return make_raster(tmp_path_factory.mktemp("reference") / "reference.tif", seed=2)


@pytest.mark.parametrize(("verb", "stage", "seconds"), MOMENTS)
def test_cancel(qgis, provider, listen, large, reference, tmp_path, verb, stage, seconds):
    import geossda_processing.process
    from qgis.core import QgsProcessingContext

    heard = listen()
    cancelled, pids = [], []
    original = geossda_processing.process.Listener

    class Noting(original):
        def err(self, line):
            super().err(line)
            if self.pid and self.pid not in pids:
                pids.append(self.pid)

    def cancel():
        cancelled.append(time.monotonic())
        heard.cancel()

    def at(text):
        if text.lower() == stage and not cancelled:
            threading.Timer(seconds, cancel).start() if seconds else cancel()

    heard.on_stage = at
    parameters = {"INPUT": large, "METHOD": "ssda", "STYLE": reference, "TILE": 512}
    if verb == "segment":
        parameters = {"INPUT": large, "PROBABILITIES": str(tmp_path / "prob.tif")}
    suffix = {"harmonize": "tif", "segment": "gpkg"}[verb]
    parameters["OUTPUT"] = str(tmp_path / f"out.{suffix}")
    algorithm = provider.algorithm(verb).create()
    geossda_processing.process.Listener = Noting
    try:
        results, _ = algorithm.run(parameters, QgsProcessingContext(), heard)
    finally:
        geossda_processing.process.Listener = original
    ended = time.monotonic()
    assert cancelled, heard.stages
    print(f"{verb}, {seconds} s into {stage}: ended within {ended - cancelled[0]:.2f} s")
    assert ended - cancelled[0] < 2
    assert len(pids) == 1
    assert group_of(pids[0]) == []
    assert results == {}
    assert os.listdir(tmp_path) == []


def test_what_was_written_before_the_last_output_goes_too(
    qgis, provider, listen, make_raster, tmp_path
):
    """Probabilities are whole when footprints are drawn; a run that was stopped leaves neither."""
    from qgis.core import QgsProcessingContext

    town = make_raster(tmp_path / "town.tif", size=(400, 400))
    out = tmp_path / "out"
    out.mkdir()
    (out / "mask.tif").write_text("kept: it was here before")
    seen = []

    def stop(stage):
        if "polygon" in stage.lower() or "footprint" in stage.lower():
            seen.append(os.listdir(out))
            heard.cancel()

    heard = listen()
    heard.on_stage = stop
    given = {"INPUT": town, "OUTPUT": str(out / "out.gpkg"),
             "PROBABILITIES": str(out / "probabilities.tif")}  # fmt: skip
    results, _ = provider.algorithm("segment").create().run(given, QgsProcessingContext(), heard)
    assert results == {} and "probabilities.tif" in seen[0]
    assert os.listdir(out) == ["mask.tif"]
