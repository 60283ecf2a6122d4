"""`align` on a town whose footprints were moved by known shifts."""

import json
import os
import shutil
import sqlite3
import struct
from contextlib import closing

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from affine import Affine
from conftest import UTM, build_raster

from geossda import align
from geossda.errors import InputError, OutputError, VectorError
from geossda.raster.mosaic import open_mosaic
from geossda.raster.rasterize import burn
from geossda.registration import correlation
from geossda.registration.correlation import score_shifts
from geossda.registration.shift_field import nearest
from geossda.registration.touching import touching_groups
from geossda.runs.lock import output_lock

LEFT, TOP, GSD, SIDE = 500000.0, 5200000.0, 0.3, 420
TO_GROUND = Affine.translation(LEFT, TOP) * Affine.scale(GSD, -GSD)


def houses():
    """49 turned houses of 6 to 13 m, in UTM; the first two touch."""
    rng = np.random.default_rng(4)
    shapes = []
    for row in range(7):
        for col in range(7):
            x, y = LEFT + 9 + 18 * col, TOP - 9 - 18 * row
            half = rng.uniform(3, 6.5, 2)
            box = shapely.box(x - half[0], y - half[1], x + half[0], y + half[1])
            shapes.append(shapely.affinity.rotate(box, rng.uniform(0, 90)))
    first = shapely.box(LEFT + 3, TOP - 15, LEFT + 12, TOP - 3)
    shapes[:2] = first, shapely.box(LEFT + 12, TOP - 15, LEFT + 22, TOP - 5)
    return np.array(shapes, object)


def error_at(shapes):
    """The error of each house in metres east and north: constant, and growing to the east."""
    x = shapely.get_coordinates(shapely.centroid(shapes))[:, 0] - LEFT
    return np.column_stack([2 + x / 100, np.full(len(x), -1.5)])


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Folder with the probabilities of the houses, and the houses as they should not be."""
    folder = tmp_path_factory.mktemp("houses")
    shapes = houses()
    image = burn(((shape, 1) for shape in shapes), (SIDE, SIDE), TO_GROUND).astype(np.float32)
    image = 0.04 + 0.9 * cv2.GaussianBlur(image, (0, 0), 2)
    build_raster(folder / "p.tif", image=image[None], dtype="float32", gsd=GSD, nodata=-1.0,
                 valid=np.ones(image.shape, bool))  # fmt: skip
    rows = range(len(shapes))
    frame = gpd.GeoDataFrame(
        {
            "name": [None if row % 5 == 0 else f"house {row}" for row in rows],
            "levels": pd.array([row if row % 3 else None for row in rows], dtype="Int32"),
            "osm_id": [2**60 + row for row in rows],
            "seen": pd.Timestamp("2024-05-01T10:00:00Z"),
        },
        geometry=list(moved(shapes, error_at(shapes))),
        crs=UTM,
    )
    frame.index = [3 * row + 7 for row in rows]
    frame.index.name = "fid"
    frame.to_file(folder / "f.gpkg", layer="osm", index=True)
    return folder


def moved(shapes, steps):
    return np.array(
        [
            shapely.affinity.translate(shape, *step)
            for shape, step in zip(shapes, steps, strict=True)
        ],
        object,
    )


def residuals(frame):
    """Metres between the centres of houses and where they should be."""
    there = shapely.get_coordinates(shapely.centroid(frame.to_crs(UTM).geometry.to_numpy()))
    return np.linalg.norm(there - shapely.get_coordinates(shapely.centroid(houses())), axis=1)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
def test_known_shifts_are_found_and_nothing_else_changes(town, tmp_path, crs, listener):
    given = gpd.read_file(town / "f.gpkg", fid_as_index=True).to_crs(crs)
    given.to_file(tmp_path / "in.gpkg", layer="osm", index=True)
    out = tmp_path / "out.gpkg"
    result = align(tmp_path / "in.gpkg", town / "p.tif", out, progress=listener)
    frame = gpd.read_file(out, layer="buildings", fid_as_index=True)
    assert residuals(given).min() > 2 and residuals(frame).max() < 0.25
    assert result.footprints == result.shifted == 49 and 2 < result.median_m < 4
    assert listener.warnings == []
    # Metres on the ground, whatever the CRS is in.
    error = -error_at(houses())
    assert np.abs(frame[["shift_x", "shift_y"]].to_numpy() - error).max() < 0.3
    assert frame.confidence.between(0.5, 1).all()
    assert frame.crs == given.crs
    assert frame.index.equals(given.index)
    kept = ["name", "levels", "osm_id", "seen"]
    pd.testing.assert_frame_equal(pd.DataFrame(frame[kept]), pd.DataFrame(given[kept]))
    for before, after in zip(given.geometry, frame.geometry, strict=True):
        steps = shapely.get_coordinates(after) - shapely.get_coordinates(before)
        assert np.ptp(steps, axis=0).max() < 1e-6
    about = pyogrio.read_info(out)
    assert about["geometry_type"] == "Polygon"
    assert about["layer_metadata"]["GEOSSDA_COMMAND"] == "align"


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_rasters_may_be_rotated_or_in_degrees(town, tmp_path, crs):
    true = gpd.GeoSeries(list(houses()), crs=UTM).to_crs(crs)
    left, bottom, right, top = true.total_bounds
    if crs == UTM:
        middle = Affine.translation((left + right) / 2, (top + bottom) / 2)
        grid = (
            middle * Affine.rotation(30) * Affine.scale(GSD, -GSD) * Affine.translation(-300, -300)
        )
        size = (600, 600)
    else:
        pixel = (right - left) / 400, (top - bottom) / 400
        size = (440, 440)
        grid = Affine.translation(left, top) * Affine.scale(pixel[0], -pixel[1])
        grid *= Affine.translation(-20, -20)
    image = burn(((shape, 1) for shape in true), size, grid).astype(np.float32)
    image = 0.04 + 0.9 * cv2.GaussianBlur(image, (0, 0), 2)
    raster = build_raster(
        tmp_path / "p.tif", image=image[None], dtype="float32", crs=crs, transform=grid
    )
    align(town / "f.gpkg", raster, tmp_path / "out.gpkg")
    frame = gpd.read_file(tmp_path / "out.gpkg")
    assert residuals(frame).max() < 0.35
    error = -error_at(houses())
    assert np.abs(frame[["shift_x", "shift_y"]].to_numpy() - error).max() < 0.35


def test_touching_footprints_stay_together(town, tmp_path):
    align(town / "f.gpkg", town / "p.tif", tmp_path / "out.gpkg")
    frame = gpd.read_file(tmp_path / "out.gpkg")
    shifts = frame[["shift_x", "shift_y", "confidence"]].to_numpy()
    assert (shifts[0] == shifts[1]).all()
    assert len(np.unique(shifts, axis=0)) == 48


def test_groups_are_those_that_touch_directly_or_through_others():
    boxes = shapely.box([9, 0, 1, 5, 2, 30], 0, [10, 1, 2, 6, 3, 31], 1)
    owners = np.array([0, 1, 2, 3, 4, 0])
    assert touching_groups(boxes, owners, 0.1).tolist() == [0, 1, 1, 2, 1, 0]
    assert touching_groups(boxes, owners, 2.5).tolist() == [0, 1, 1, 1, 1, 0]
    assert touching_groups(boxes[:0], owners[:0], 1).tolist() == []


def test_nearest_are_others_even_at_the_same_place():
    points = np.array([[0, 0], [0, 0], [0, 0], [5, 0], [6, 0]], float)
    near = nearest(points, 2)
    assert all(row not in others for row, others in enumerate(near.tolist()))
    assert near[3].tolist()[0] == 4
    assert nearest(points[:1], 8).shape == (1, 0)


def test_scores_do_not_depend_on_tiles(town, monkeypatch):
    raster = open_mosaic(town / "p.tif")
    shapes = shapely.transform(
        houses(), lambda xy: np.column_stack(~TO_GROUND * (xy[:, 0], xy[:, 1]))
    )
    groups = touching_groups(shapes, np.arange(len(shapes)), 0.5)
    whole = score_shifts(shapes, groups, raster, 9, 5)
    monkeypatch.setattr(correlation, "_TILE_PX", 64)
    cut = score_shifts(shapes, groups, raster, 9, 5)
    assert np.array_equal(whole.area_px, cut.area_px)
    assert np.abs(whole.contrast.astype(float) - cut.contrast).max() < 2e-3
    assert whole.contrast.max() > 0.5


def test_missing_houses_follow_their_neighbours_with_low_confidence(town, tmp_path):
    frame = gpd.read_file(town / "f.gpkg")
    with_shed = pd.concat([frame, frame.iloc[[24]]], ignore_index=True)
    centre = frame.geometry[24].centroid
    with_shed.loc[49, "geometry"] = shapely.box(
        centre.x + 8.5, centre.y + 8.5, centre.x + 11, centre.y + 11
    )
    with_shed.to_file(tmp_path / "in.gpkg")
    align(tmp_path / "in.gpkg", town / "p.tif", tmp_path / "out.gpkg")
    shed = gpd.read_file(tmp_path / "out.gpkg").iloc[49]
    assert shed.confidence < 0.3
    assert np.hypot(shed.shift_x + 2.75, shed.shift_y - 1.5) < 1.2


@pytest.mark.parametrize(
    ("step", "search", "warning"),
    [((1e5, 0), 5, "no footprint lies on valid pixels of"), ((0, 0), 1, "fit no building"),
     ((60, 0), 5, " footprints of 49 lie beside ")],
)  # fmt: skip
def test_what_cannot_be_aligned_is_left_as_it_is(town, tmp_path, listener, step, search, warning):
    frame = gpd.read_file(town / "f.gpkg")
    frame["geometry"] = frame.geometry.translate(*step)
    frame.to_file(tmp_path / "in.gpkg")
    out = tmp_path / "out.gpkg"
    align(tmp_path / "in.gpkg", town / "p.tif", out, search=search, progress=listener)
    aligned = gpd.read_file(out)
    left = aligned.confidence == 0
    assert left.sum() > 20
    assert aligned[left].geometry.geom_equals(frame[left].geometry).all()
    assert (aligned[left][["shift_x", "shift_y"]] == 0).all(axis=None)
    assert any(warning in text for text in listener.warnings)


@pytest.mark.parametrize("level", [0.04, 0.9])
def test_without_a_building_in_view_all_stays(town, tmp_path, make_raster, listener, level):
    rng = np.random.default_rng(0)
    image = level + rng.uniform(0, 0.05, (1, SIDE, SIDE)).astype(np.float32)
    raster = make_raster(tmp_path / "flat.tif", image=image, dtype="float32", gsd=GSD)
    result = align(town / "f.gpkg", raster, tmp_path / "out.gpkg", progress=listener)
    assert (result.shifted, result.median_m) == (0, 0.0)
    assert listener.warnings == [
        "49 footprints of 49 fit no building that was predicted within 5 m: left as they are; "
        "raise --search if they lie further off"
    ]


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojson", ".parquet"])
def test_formats(town, tmp_path, suffix):
    given = gpd.read_file(town / "f.gpkg")
    if suffix == ".parquet":
        given.to_parquet(tmp_path / "in.parquet")
    else:
        given.to_crs("EPSG:4326").to_file(tmp_path / f"in{suffix}")
    out = tmp_path / f"out{suffix}"
    align(tmp_path / f"in{suffix}", town / "p.tif", out)
    frame = gpd.read_parquet(out) if suffix == ".parquet" else gpd.read_file(out)
    frame = frame.sort_values("osm_id", ignore_index=True)
    assert residuals(frame).max() < 0.25
    assert list(frame.columns) == [*given.columns[:-1], "shift_x", "shift_y", "confidence",
                                   "geometry"]  # fmt: skip
    assert frame.name.isna().tolist() == given.name.isna().tolist()
    assert sorted(os.listdir(tmp_path)) == sorted([f"in{suffix}", out.name])


def test_names_and_ids_that_formats_reserve(town, tmp_path):
    given = gpd.read_file(town / "f.gpkg")
    given["geom"], given["id"] = "a", [f"way/{row}" for row in range(len(given))]
    given.to_file(tmp_path / "in.fgb")
    for name in ("out.gpkg", "out.geojson"):
        align(tmp_path / "in.fgb", town / "p.tif", tmp_path / name)
        frame = gpd.read_file(tmp_path / name).sort_values("osm_id")
        assert frame.id.tolist() == given.id.tolist() and set(frame.geom) == {"a"}
        assert "fid" not in frame
    given = given.rename(columns={"geom": "Name"})
    given.to_crs(4326).to_file(tmp_path / "case.geojson")
    with pytest.raises(VectorError, match="the fields name and Name, which differ in case only"):
        align(tmp_path / "case.geojson", town / "p.tif", tmp_path / "case.gpkg")


def test_nested_fields_of_geoparquet_become_text(town, tmp_path):
    given = gpd.read_file(town / "f.gpkg")
    given["sources"] = [[{"dataset": "OSM", "row": row}] for row in range(len(given))]
    given.loc[1, "sources"] = None
    given.to_parquet(tmp_path / "in.parquet")
    align(tmp_path / "in.parquet", town / "p.tif", tmp_path / "out.gpkg")
    frame = gpd.read_file(tmp_path / "out.gpkg", layer="buildings")
    texts = frame.sources.tolist()
    assert json.loads(texts[2]) == [{"dataset": "OSM", "row": 2}] and pd.isna(texts[1])


def test_rows_without_polygons_pass_through(town, tmp_path):
    frame = gpd.read_file(town / "f.gpkg")
    frame.loc[3, "geometry"] = None
    frame.loc[4, "geometry"] = frame.geometry[4].boundary
    frame.loc[5, "geometry"] = shapely.MultiPolygon([frame.geometry[5], frame.geometry[6]])
    # Crosses itself; its area is that of the house.
    x, y = frame.geometry[7].centroid.coords[0]
    frame.loc[7, "geometry"] = shapely.Polygon([(x, y), (x + 4, y + 4), (x + 4, y), (x, y + 4)])
    frame.loc[8, "geometry"] = shapely.force_3d(frame.geometry[8], 11.0)
    frame.to_file(tmp_path / "in.gpkg", layer="osm")
    align(tmp_path / "in.gpkg", town / "p.tif", tmp_path / "out.gpkg")
    aligned = gpd.read_file(tmp_path / "out.gpkg")
    assert aligned.geometry[3] is None and aligned.geometry[4].equals(frame.geometry[4])
    assert (aligned.loc[3:4, ["shift_x", "shift_y", "confidence"]] == 0).all(axis=None)
    assert aligned.geometry[5].geom_type == "MultiPolygon" and aligned.shift_x[5] != 0
    assert not aligned.geometry[7].is_valid and aligned.shift_x[7] != 0
    assert shapely.get_coordinates(aligned.geometry[8], include_z=True)[:, 2].tolist() == [11.0] * 5


def test_other_layers_and_files_are_kept(town, tmp_path, listener):
    out = tmp_path / "out.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=UTM).to_file(out, layer="parks")
    with pytest.raises(OutputError, match="exists"):
        align(town / "f.gpkg", town / "p.tif", out)
    align(town / "f.gpkg", town / "p.tif", f"{out}|layername=houses", overwrite=True)
    assert sorted(name for name, _ in pyogrio.list_layers(out)) == ["houses", "parks"]
    with pytest.raises(OutputError, match="also an input"):
        align(f"{out}|layername=houses", town / "p.tif", out, overwrite=True)
    again = tmp_path / "again.gpkg"
    result = align(f"{out}|layername=houses", town / "p.tif", again, progress=listener)
    assert result.median_m < 0.1
    assert listener.notes[-1] == (
        "the fields shift_x, shift_y, confidence of the layer are replaced"
    )


def test_an_empty_layer_gives_an_empty_layer(town, tmp_path, listener):
    gpd.read_file(town / "f.gpkg").iloc[:0].to_file(tmp_path / "in.gpkg")
    align(tmp_path / "in.gpkg", town / "p.tif", tmp_path / "out.gpkg", progress=listener)
    frame = gpd.read_file(tmp_path / "out.gpkg")
    assert len(frame) == 0 and "shift_x" in frame
    assert listener.warnings == ["the layer holds no footprint: there is nothing to align"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda frame: frame.set_crs(None, allow_override=True), VectorError, "has no CRS"),
        (lambda frame: frame.set_geometry(frame.boundary), VectorError, "holds LineString"),
        (lambda frame: frame.set_crs(4326, allow_override=True), VectorError, "no longitude"),
    ],
)
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_unusable_footprints_leave_nothing(town, tmp_path, change, error, message):
    change(gpd.read_file(town / "f.gpkg")).to_file(tmp_path / "in.gpkg")
    with pytest.raises(error, match=message):
        align(tmp_path / "in.gpkg", town / "p.tif", tmp_path / "out.gpkg")
    assert os.listdir(tmp_path) == ["in.gpkg"]


def test_a_ring_that_is_not_closed_is_reported_in_one_line(town, tmp_path):
    damaged = tmp_path / "in.gpkg"
    shutil.copy(town / "f.gpkg", damaged)
    with closing(sqlite3.connect(damaged)) as database, database:
        (layer, column) = database.execute(
            "SELECT table_name, column_name FROM gpkg_geometry_columns"
        ).fetchone()
        for (trigger,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f'DROP TRIGGER "{trigger}"')
        (id, blob) = database.execute(f'SELECT rowid, "{column}" FROM "{layer}"').fetchone()
        moved = blob[:-16] + struct.pack("<2d", 1.0, 2.0)
        database.execute(f'UPDATE "{layer}" SET "{column}" = ? WHERE rowid = ?', [moved, id])
    with pytest.raises(VectorError, match="is not a vector file that can be read"):
        align(damaged, town / "p.tif", tmp_path / "out.gpkg")
    assert os.listdir(tmp_path) == ["in.gpkg"]


def test_floats_beyond_probabilities_are_refused(town, tmp_path, make_raster):
    image = np.full((1, SIDE, SIDE), 30.0, np.float32)
    raster = make_raster(tmp_path / "heights.tif", image=image, dtype="float32", gsd=GSD)
    with pytest.raises(InputError, match=r"values from 30 to 30, probabilities in 0\.\.1"):
        align(town / "f.gpkg", raster, tmp_path / "out.gpkg")
    assert os.listdir(tmp_path) == ["heights.tif"]


def test_imagery_is_predicted_where_the_footprints_are(town, tmp_path, tiny_model, listener):
    """A model of seeded weights shifts nothing for good; it has to run, and leave nothing."""
    raster = build_raster(tmp_path / "rgb.tif", size=(252, 800), gsd=0.5)
    given = {"model": str(tiny_model), "device": "cpu", "search": 2.0}
    out = tmp_path / "out.gpkg"
    with output_lock(out), pytest.raises(OutputError, match="another process"):
        align(town / "f.gpkg", raster, out, **given)
    align(town / "f.gpkg", raster, out, progress=listener, **given)
    assert "segmenting" in listener.stages
    assert len(gpd.read_file(out)) == 49
    assert sorted(os.listdir(tmp_path)) == ["out.gpkg", "rgb.tif"]
    whole = open_mosaic(raster).shape[1] // 48 * 5
    assert listener.steps < whole


def test_real_footprints_come_back(places, tmp_path, listener):
    frame = gpd.read_file(places / "kampala" / "footprints.gpkg")
    mosaic = places / "kampala" / "mosaic_1.tif"
    wrong = frame.set_geometry(frame.geometry.translate(2.4, -1.5))
    wrong.to_file(tmp_path / "in.gpkg")
    align(tmp_path / "in.gpkg", mosaic, tmp_path / "out.gpkg", device="cpu", progress=listener)
    aligned = gpd.read_file(tmp_path / "out.gpkg")
    shifted = aligned.confidence > 0
    assert shifted.sum() > 80
    left = aligned.centroid.distance(frame.centroid)[shifted]
    assert np.median(left) < 0.4 and np.percentile(left, 90) < 0.9
