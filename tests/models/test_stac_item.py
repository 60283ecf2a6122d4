"""The STAC item of a segmenter says what is needed to run it elsewhere."""

import json

import pytest
from click.testing import CliRunner

from geossda import info
from geossda.errors import InputError, ModelError, OutputExistsError
from geossda.models.card import SegmenterCard
from geossda.models.model_file import read_model
from geossda.models.onnx_file import read_onnx
from geossda_cli.main import cli


@pytest.fixture
def item(tmp_path):
    info("default", stac=tmp_path / "item.json")
    return json.loads((tmp_path / "item.json").read_text())


def test_the_item_fits_the_file_it_is_of(item, tmp_path):
    files, card = read_model("default", SegmenterCard)
    graph = read_onnx(files.graph)
    about = item["properties"]
    (given,), (made,) = about["mlm:input"], about["mlm:output"]
    assert tuple(given["input"]["shape"]) == graph.inputs[given["name"]]
    assert tuple(made["result"]["shape"]) == graph.outputs[made["name"]]
    for port, structure in ((given, "input"), (made, "result")):
        assert len(port[structure]["dim_order"]) == len(port[structure]["shape"])
    assert given["bands"] == [band["name"] for band in item["assets"]["model"]["eo:bands"]]
    scaling = given["pre_processing_function"]
    assert scaling["format"] == "python" and "percentiles 2 and 98" in scaling["description"]
    assert f"floor={card.floor:g}" in scaling["expression"]
    for asset, path in (("model", files.graph), ("weights", files.weights)):
        entry = item["assets"][asset]
        assert (tmp_path / entry["href"]).resolve() == path.resolve()
        assert entry["file:size"] == path.stat().st_size
        assert entry["file:checksum"].startswith("1220") and len(entry["file:checksum"]) == 68
    assert about["license"] == "CC-BY-SA-4.0" and about["gsd"] == card.gsd_m


def test_the_item_is_one_of_stac_and_of_its_model_extension(item):
    pytest.importorskip("stac_model", reason="of the extra dev, installed with make test")
    import pystac
    from pystac.validation import JsonSchemaSTACValidator
    from stac_model.schema import MLModelProperties

    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
    about = {name: value for name, value in item["properties"].items() if name.startswith("mlm:")}
    known = json.loads(MLModelProperties(**about).model_dump_json(by_alias=True))
    assert set(about) <= set(known)
    assert known["mlm:tasks"] == about["mlm:tasks"]
    models = [asset for asset in item["assets"].values() if "mlm:model" in asset["roles"]]
    assert [asset["mlm:artifact_type"] for asset in models] == ["onnx"]


def test_what_cannot_be_described_leaves_no_item(tmp_path, item, make_raster):
    with pytest.raises(OutputExistsError):
        info("default", stac=tmp_path / "item.json")
    out = tmp_path / "other.json"
    with pytest.raises(ModelError, match="segmenter"):
        info("default-style", stac=out)
    with pytest.raises(InputError, match="no segmenter"):
        info(make_raster(tmp_path / "a.tif"), stac=out)
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(read_model("default", SegmenterCard)[0].weights.read_bytes())
    done = CliRunner().invoke(cli, ["info", str(alone), "--stac", str(out)])
    assert isinstance(done.exception, ModelError) and "geossda export" in str(done.exception)
    assert not out.exists()
