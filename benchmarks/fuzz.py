"""Damaged and hostile files through every verb that reads them.

    python benchmarks/fuzz.py --rasters 1000 --vectors 200 --models 200
    python benchmarks/fuzz.py --only raster:317:segment --keep look

Each case is a small file made by the script and mutated with a seed (`fuzz_rasters.py`,
`fuzz_vectors.py`, `fuzz_models.py`), and goes through one verb. The verbs of a file share a
process, forked from one that has imported everything; a case that kills it leaves the others to a
new one. What counts as a failure: a traceback, a signal, more than 60 s, an exit code other than 0,
1 and 2, anything on standard error but one line of error after lines of warnings, a file left
behind after a failure, an input that changed, an output that is not finite or says nothing where
the input does. Parts of a run that can be resumed may stay, and work on a mosaic that a warning
calls almost empty may take longer. It exits with 1 if there is one. Ctrl+C ends it with what came
of the cases so far. Linux only.
"""

import argparse
import contextlib
import faulthandler
import hashlib
import importlib
import io
import itertools
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before libraries read them: runs have a core each, and threads that wait for work keep it busy.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import fuzz_models
import fuzz_rasters
import fuzz_vectors
import numpy as np
import pyogrio
import rasterio
from fuzz_verbs import FAMILIES, MODELS, Case, filled, verbs_of

from geossda_cli.main import COMMANDS, main

# Of CPU, and of time altogether: a machine may be busy with other things.
SECONDS, ALTOGETHER, MEMORY = 60, 300, 4 * 2**30

# What an error says of parts that stay to be gone on from, and a warning of gigapixels of nothing.
RESUMABLE, WARNED = "run the same command again to go on", "px that they span"


def sound_files(folder: Path) -> None:
    """Make the files that are as they should be."""
    import torch

    from geossda import evaluate, harmonize, make_style
    from geossda.models.card import SegmenterCard, StyleCard
    from geossda.models.model_file import save
    from geossda.models.presets import build_generator
    from geossda.models.segmenter import build

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    scene = fuzz_rasters.scene(folder / "scene.tif", rng, nodata=0)
    image = (20 + 210 * fuzz_rasters.draw(rng, 3, (520, 520))).astype(np.uint8)
    fuzz_rasters.write(folder / "reference.tif", image)
    mask = (fuzz_rasters.draw(rng, 1) > 0.6).astype(np.uint8)
    fuzz_rasters.write(folder / "mask.tif", mask)
    fuzz_vectors.write(fuzz_vectors.houses(rng), folder / "true.gpkg")
    encoder = "tu-mobilenetv3_small_050"
    card = SegmenterCard("tiny", "0", "unet", encoder, gsd_m=0.5, patch_px=64, overlap_px=16)
    save(folder / "model.safetensors", build("unet", encoder, 3).state_dict(), card)
    network = build_generator("geossda", 3).state_dict()
    save(folder / "style.safetensors", network, StyleCard("tiny", "0"))
    make_style(folder / "reference.tif", folder / "style.json",
               style_model=str(folder / "style.safetensors"))  # fmt: skip
    harmonize(scene, folder / "harmonized.tif", style=folder / "style.json", method="histogram")
    evaluate(folder / "true.gpkg", folder / "mask.tif")


def modules_of_all_verbs(sound: Path) -> list[str]:
    """Call each verb once, with sound files, and return what that imports."""
    calls = [
        (line, "scene.tif") for line in verbs_of("raster", 0).values() if "polygonize" not in line
    ]
    calls += [
        (line, "true.gpkg") for line in verbs_of("vector", 0).values() if "-o CASE" not in line
    ]
    calls += [(line, name) for name, verbs in MODELS for line in verbs.values()]
    for number, (line, name) in enumerate(calls):
        folder = sound.parent / f"call{number}"
        folder.mkdir()
        os.chdir(folder)
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            main(filled(line.split(), sound / name, sound))
        shutil.rmtree(folder)
    return sorted(sys.modules)


def run(case: Case, sound: Path, folder: Path) -> None:
    """Make the file and call the verb; `result.json` says what came."""
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    seed = [FAMILIES.index(case.family), case.number]
    rng = np.random.default_rng(seed)
    place = folder / "in"
    if case.family == "model":
        number, base = case.number // len(MODELS), MODELS[case.number % len(MODELS)][0]
        kind, path = fuzz_models.make(place, rng, number, sound / base)
    else:
        module = fuzz_rasters if case.family == "raster" else fuzz_vectors
        kind, path = module.make(place, rng, case.number)
    words = filled(case.words, path, sound)
    if case.verb == "append" or case.verb == "replace":
        place = folder  # an output
    before = contents(place)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    os.chdir(folder / "out")
    for number, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, number)
    escaped = ""
    begun = time.process_time()
    try:
        main(words)
        code: Any = 0
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        code, escaped = 70, traceback.format_exc()
        frames = [frame for frame in traceback.extract_tb(error.__traceback__)
                  if "/geossda/" in frame.filename or "/cli/" in frame.filename]  # fmt: skip
        where = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "?"
        escaped = f"{type(error).__name__} in {where}: {str(error)[:200]}\n{escaped}"
    seconds = time.process_time() - begun
    resource.setrlimit(resource.RLIMIT_AS, limits)
    sys.stdout.flush()
    sys.stderr.flush()
    faults = list(judge(case, path, folder, code, escaped))
    if contents(place) != before and (code or place != folder):
        faults.append("an input changed")
    about = {"kind": kind, "code": code, "seconds": seconds, "faults": faults, "words": words}
    (folder / "result.json").write_text(json.dumps(about))


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of each file in a folder, but for what a run prints."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ("stdout", "stderr"):
            digests[os.fsencode(path).hex()] = hashlib.md5(path.read_bytes()).hexdigest()
    return digests


def judge(case: Case, path: Path, folder: Path, code: Any, escaped: str) -> Iterator[str]:
    """Yield what is wrong, in words that are the same for faults of one kind."""
    if escaped:
        yield f"traceback: {escaped.splitlines()[0]}"
        return
    if code not in (0, 1, 2):
        yield f"exit code {code}"
    printed = (folder / "stderr").read_bytes().decode("utf-8", "replace").splitlines()
    errors = [line for line in printed if not line.startswith("geossda: warning: ")]
    if len(errors) != (code != 0) or any(not line.startswith("geossda: ") for line in errors):
        yield f"{len(errors)} lines of error, exit code {code}: " + " / ".join(errors)[:150]
    if bad := re.search(
        r"CPLE_\w+|<class|object at 0x|\b1 \w+s\b|RasterioIOError", "\n".join(printed)
    ):
        yield f"words of a library or wrong grammar: {bad[0]}"
    left = sorted(entry.name for entry in (folder / "out").iterdir())
    if errors and errors[-1].endswith(RESUMABLE):
        left = [name for name in left if not name.endswith(".parts")]
    if code and left:
        yield "left behind: " + ", ".join(re.sub(r"\d+", "N", name) for name in left)
    if code == 0:
        yield from suspicious(case, path, folder / "out", printed)


def suspicious(case: Case, path: Path, out: Path, printed: list[str]) -> Iterator[str]:
    """Yield what looks wrong about outputs of a run that says it succeeded."""
    for output in sorted(out.iterdir()):
        if output.name.startswith("."):
            yield "a temporary file stays"
        elif output.suffix == ".tif":
            with rasterio.open(output) as dataset:
                pixels, valid = dataset.read(), dataset.dataset_mask() > 0
            if not (np.isfinite(pixels) | ~valid | _kept(path, pixels)).all():
                yield f"{output.name} is not finite"
            elif not valid.any() and not printed:
                yield f"{output.name} is empty, without a word"
            elif output.name == "o.tif" and np.ptp(pixels[:, valid]) == 0 and not printed:
                if _varies(path):
                    yield "o.tif is constant"
        elif output.suffix == ".json":
            with contextlib.suppress(StopIteration):
                json.loads(output.read_text(), parse_constant=_no_number)
        elif output.suffix == ".gpkg":
            frame = pyogrio.read_dataframe(output)
            if case.verb == "align":  # geometries are translated as they are
                if not np.isfinite(frame[["shift_x", "shift_y", "confidence"]]).all(axis=None):
                    yield f"{output.name} holds shifts that are no numbers"
            elif not (frame.geometry.is_valid.all() and np.isfinite(frame.total_bounds).all()):
                if len(frame):
                    yield f"{output.name} holds geometries that are not valid"
        elif output.suffix == ".html" and re.search(r"[>\s](nan|inf)\b", output.read_text()):
            yield "the page shows nan or inf"
    if case.verb.startswith("info"):
        text = (out.parent / "stdout").read_text()
        text = re.sub(r"\bnodata\b.*", "", text.replace(str(path), ""))
        if re.search(r"\b(NaN|nan|Infinity|inf)\b", text):
            yield "info shows what is no number"


def _no_number(text: str) -> float:
    raise ValueError(f"a JSON file holds {text}")


def _kept(path: Path, pixels: np.ndarray) -> np.ndarray | bool:
    """Return where pixels are those of the input, whose fill stays what it is."""
    with contextlib.suppress(Exception), rasterio.open(path) as dataset:
        if dataset.shape == pixels.shape[1:]:
            read = dataset.read()
            return (read == pixels) | (np.isnan(read) & np.isnan(pixels))
    return False


def _varies(path: Path) -> bool:
    with contextlib.suppress(Exception), rasterio.open(path) as dataset:
        pixels = dataset.read(masked=True)
        return bool(pixels.max() > pixels.min())
    return False


def forked(cases: list[Case], sound: Path, folders: list[Path]) -> int:
    """Start the cases of one file, one after the other; returns the process."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    process = os.fork()
    if process:
        return process
    try:
        for case, folder in zip(cases, folders, strict=True):
            # Kills what hangs in a library too, and says where before.
            faulthandler.dump_traceback_later(ALTOGETHER - 3, file=(folder / "hang").open("w"))
            signal.alarm(ALTOGETHER)
            end = int(time.process_time()) + 1 + SECONDS
            resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))
            run(case, sound, folder)
    except BaseException:
        (folder / "broken").write_text(traceback.format_exc())
    finally:
        os._exit(0)


def outcome(folder: Path, status: int) -> dict[str, Any]:
    """Return what a case left of itself when its process ended."""
    if (folder / "result.json").exists():
        return dict(json.loads((folder / "result.json").read_text()))
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        if name == "SIGXCPU" and WARNED in (folder / "stderr").read_text(errors="replace"):
            return {"faults": [], "code": "long"}
        if name == "SIGXCPU":
            return {"faults": [f"more than {SECONDS} s of CPU"]}
        if name != "SIGALRM":
            return {"faults": [f"signal {name}"]}
        places = re.findall(
            r'File ".*/(\w+\.py)", line \d+ in (\w+)', (folder / "hang").read_text()
        )
        return {
            "faults": [f"more than {ALTOGETHER} s, in {':'.join(places[0]) if places else '?'}"]
        }
    return {"faults": ["the fuzzer: " + " ".join((folder / "broken").read_text().split()[-12:])]}


def run_all(
    cases: list[Case], jobs: int, keep: Path | None
) -> Iterator[tuple[Case, dict[str, Any]]]:
    """Run cases, some files at a time, and yield what came of each."""
    with tempfile.TemporaryDirectory() as temporary:
        sound = Path(temporary, "sound")
        sound.mkdir()
        maker = os.fork()
        if not maker:
            try:
                sound_files(sound)
                if len(cases) > 200:
                    (sound / "modules").write_text("\n".join(modules_of_all_verbs(sound)))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if os.waitpid(maker, 0)[1]:
            raise SystemExit("the sound files could not be made")
        if (sound / "modules").exists():
            for name in (sound / "modules").read_text().split():
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        before = contents(sound)
        waiting = [list(group) for _, group in itertools.groupby(cases, lambda case: case[:2])]
        waiting.reverse()
        running = {}
        free = list(range(jobs))
        while True:
            while free and waiting:
                group, slot = waiting.pop(), free.pop()
                root = keep or Path(temporary, f"slot{slot}")
                folders = [root / "-".join(map(str, case)) for case in group]
                running[forked(group, sound, folders)] = group, folders, slot
            if not running:
                break
            process, status = os.wait()
            if process not in running:  # of a library, started as it was imported
                continue
            group, folders, slot = running.pop(process)
            free.append(slot)
            for number, (case, folder) in enumerate(zip(group, folders, strict=True)):
                ended = (folder / "result.json").exists()
                yield case, outcome(folder, status)
                if not ended:
                    waiting += filter(None, [group[number + 1 :]])
                    break
            if not keep:
                shutil.rmtree(folders[0].parent)
        if contents(sound) != before:
            yield Case("raster", -1, "info"), {"faults": ["a sound file changed"]}


def import_all() -> None:
    """Import what verbs import when they are called, so that forked processes need not."""
    import geossda

    for name in COMMANDS.values():
        importlib.import_module(name)
    for name in geossda.__all__:
        getattr(geossda, name)
    # The ONNX file of a training does not depend on its images, and takes longer than one step.
    for name in ("train_segmenter", "train_style"):
        module = importlib.import_module(f"geossda.api.{name}")
        module.export_beside = lambda *_, **__: None  # type: ignore[attr-defined]


def main_program(arguments: list[str] | None = None) -> int:
    """Print what came of it, and return the number of failures."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    for name, many in (("rasters", 1000), ("vectors", 200), ("models", 200)):
        parser.add_argument(f"--{name}", type=int, default=many, help=f"cases of {name}")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--each", type=int, default=0, help="verbs of a case; 0: all")
    parser.add_argument("--jobs", type=int, default=os.process_cpu_count() if
                        hasattr(os, "process_cpu_count") else os.cpu_count())  # fmt: skip
    parser.add_argument("--minutes", type=float, default=1e6, help="start no case after so long")
    parser.add_argument("--only", nargs="+", help="cases to run, family:number:verb")
    parser.add_argument("--keep", type=Path, help="folder for the files of each case")
    given = parser.parse_args(arguments)
    cases = []
    many_of = dict(zip(FAMILIES, (given.rasters, given.vectors, given.models), strict=True))
    for family, many in many_of.items():
        for number in range(given.first, given.first + many):
            verbs = list(verbs_of(family, number))
            # Verbs by turns, so that kinds of mutation meet all of them.
            start = number * 7 % len(verbs)
            turned = verbs[start:] + verbs[:start]
            cases += [Case(family, number, verb) for verb in turned[: given.each or None]]
    # Families by turns too, so that a run that is interrupted has met them all.
    cases.sort(
        key=lambda case: (
            (case.number - given.first) / many_of[case.family],
            FAMILIES.index(case.family),
        )
    )
    if given.only:
        parts = (text.split(":") for text in given.only)
        cases = [Case(family, int(number), verb) for family, number, verb in parts]
    if given.keep:
        given.keep.mkdir(exist_ok=True)
    import_all()
    codes: Counter[Any] = Counter()
    faults: dict[str, list[Case]] = {}
    slowest: list[tuple[float, str]] = []
    spent: Counter[str] = Counter()
    done: list[Case] = []
    begun = time.monotonic()
    outcomes = run_all(cases, given.jobs, given.keep)
    while True:
        try:
            case, about = next(outcomes)
        except (StopIteration, KeyboardInterrupt):
            break
        done.append(case)
        codes[case.family, about.get("code")] += 1
        spent[case.verb] += about.get("seconds", SECONDS)
        slowest = sorted([*slowest, (about.get("seconds", SECONDS), ":".join(map(str, case)))])[-5:]
        for fault in about["faults"]:
            faults.setdefault(fault, []).append(case)
            if given.only or len(faults[fault]) == 1:
                print(f"{':'.join(map(str, case))} ({about.get('kind')}): {fault}", flush=True)
        if len(done) % 1000 == 0:
            print(f"{len(done)} of {len(cases)} runs, {time.monotonic() - begun:.0f} s", flush=True)
        if time.monotonic() - begun > 60 * given.minutes:
            break
    print(
        f"\n{len(done)} runs of {len({case[:2] for case in done})} files, "
        f"{time.monotonic() - begun:.0f} s; exit codes by family, and the last case:"
    )
    for family in FAMILIES:
        last = max((case.number for case in done if case.family == family), default="none")
        counted = (
            f"{code}: {count}" for (of, code), count in sorted(codes.items(), key=str)
            if of == family
        )  # fmt: skip
        print(f"  {family:8}" + "  ".join([*counted, f"({last})"]))
    print(
        "slowest, in seconds of CPU: " + ", ".join(f"{s:.1f} {name}" for s, name in slowest[::-1])
    )
    print("CPU seconds by verb: " + ", ".join(f"{s:.1f} {name}" for name, s in spent.most_common()))
    failed = {case for found in faults.values() for case in found}
    print(f"failures: {len(failed)} runs of {len({case[:2] for case in failed})} files")
    for fault, found in sorted(faults.items(), key=lambda item: -len(item[1])):
        seeds = " ".join(":".join(map(str, case)) for case in found[:4])
        print(f"{len(found):6}  {fault}\n        {seeds}")
    return len(failed)


if __name__ == "__main__":
    raise SystemExit(1 if main_program() else 0)
