"""Vector files as they should not be, for `fuzz.py`."""

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet
import pyogrio
import shapely
from fuzz_rasters import SYSTEMS, scatter
from numpy.random import Generator

from geossda.formats import VECTOR_FORMATS

SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".parquet", ".kml", ".gml")
CRS = "EPSG:32633"
LEFT, TOP = 500000.0, 5200000.0  # of the rasters


def houses(rng: Generator, count: int = 6) -> geopandas.GeoDataFrame:
    """Draw houses that lie on the rasters."""
    x, y = LEFT + rng.uniform(2, 40, count), TOP - rng.uniform(10, 40, count)
    shapes = shapely.box(x, y, x + rng.uniform(3, 9, count), y + rng.uniform(3, 9, count))
    return geopandas.GeoDataFrame({"id": range(1, count + 1)}, geometry=list(shapes), crs=CRS)


def write(frame: Any, path: Path) -> None:
    """Write a frame in the format of a suffix; what it cannot hold is left out."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
        return
    if path.suffix in (".kml", ".geojson") and frame.crs is not None:
        with contextlib.suppress(Exception):
            frame = frame.to_crs(4326)
    driver = VECTOR_FORMATS[path.suffix].driver
    layer = {"layer": "buildings"} if path.suffix == ".gpkg" else {}
    pyogrio.write_dataframe(frame, path, driver=driver, **layer)


def whole(path: Path, rng: Generator, suffixes: tuple[str, ...] = SUFFIXES) -> Path:
    """Write houses in one of the formats."""
    path = path.with_suffix(str(rng.choice(suffixes)))
    write(houses(rng), path)
    return path


def bytes_anywhere(path: Path, rng: Generator) -> Path:
    """Change bytes of the file, or of one of a shapefile's."""
    path = whole(path, rng)
    files = sorted(path.parent.glob(f"{path.stem}.*"))
    scatter(files[rng.integers(len(files))], rng)
    return path


def truncation(path: Path, rng: Generator) -> Path:
    """Cut the end off."""
    path = whole(path, rng)
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])
    return path


def missing(path: Path, rng: Generator) -> Path:
    """Lack a file of a shapefile, or all, or be something else under the name."""
    path = whole(path, rng, (".shp", ".shp", ".gpkg", ".parquet"))
    files = sorted(path.parent.glob(f"{path.stem}.*"))
    gone = files[rng.integers(len(files))]
    gone.unlink()
    if rng.random() < 0.3:
        gone.write_bytes([b"", b"\0" * 100, b"{}", rng.bytes(500)][rng.integers(4)])
    elif rng.random() < 0.2:
        gone.mkdir()
    return path


def star(corners: int) -> Any:
    """Return a polygon that crosses itself as often as one can."""
    angles = np.arange(corners) * np.pi * (corners // 2 * 2 - 1) / corners
    return shapely.Polygon(np.column_stack([LEFT + 25 + 20 * np.cos(angles),
                                            TOP - 25 + 20 * np.sin(angles)]))  # fmt: skip


def geometry(path: Path, rng: Generator) -> Path:
    """Hold geometries that are invalid, empty, far away, no polygons, or not there."""
    house = shapely.box(LEFT + 5, TOP - 25, LEFT + 15, TOP - 15)
    wild: list[Any] = [
        None,
        shapely.Polygon(),
        shapely.GeometryCollection(),
        shapely.Point(LEFT, TOP),
        shapely.LineString([(LEFT, TOP), (LEFT + 9, TOP - 9)]),
        shapely.Polygon([(LEFT, TOP), (LEFT + 9, TOP - 9), (LEFT + 9, TOP), (LEFT, TOP - 9)]),
        shapely.Polygon([(LEFT, TOP), (LEFT + 9, TOP - 9), (LEFT, TOP)]),
        shapely.from_wkt("POLYGON ((0 0, nan nan, 1 1, 0 0))"),
        shapely.from_wkt("POLYGON ((0 0, inf 0, 1 1, 0 0))"),
        shapely.box(-1e300, -1e300, 1e300, 1e300),
        shapely.box(0, 0, 1e7, 1e7),
        shapely.box(LEFT + 3e6, TOP, LEFT + 3e6 + 9, TOP + 9),
        shapely.force_3d(house, 7.0),
        shapely.MultiPolygon([house, house]),
        shapely.GeometryCollection([house, shapely.Point(LEFT, TOP)]),
        shapely.GeometryCollection([shapely.GeometryCollection([shapely.MultiPolygon([house])])]),
        shapely.difference(house, house.buffer(-1)),
        shapely.box(LEFT, TOP - 1e-9, LEFT + 1e-9, TOP),
        star(int(rng.choice([5, 99, 1001, 3001]))),
        house.buffer(3, quad_segs=5000),
    ]
    frame = houses(rng, int(rng.integers(0, 4)))
    chosen = [wild[i] for i in rng.integers(len(wild), size=int(rng.integers(1, 4)))]
    shapes = [*frame.geometry, *chosen]
    frame = geopandas.GeoDataFrame({"id": range(len(shapes))}, geometry=shapes, crs=CRS)
    path = path.with_suffix(str(rng.choice(SUFFIXES)))
    try:
        write(frame, path)
    except Exception:  # this driver refuses it
        path = path.with_suffix(".gpkg")
        write(frame, path)
    return path


def crs(path: Path, rng: Generator) -> Path:
    """Declare another CRS, an unknown one or none."""
    path = path.with_suffix(str(rng.choice(SUFFIXES)))
    frame, system = houses(rng), SYSTEMS[rng.integers(len(SYSTEMS))]
    with contextlib.suppress(Exception):
        frame = frame.set_crs(system, allow_override=True) if system else frame.set_crs(
            None, allow_override=True)  # fmt: skip
    write(frame, path)
    if path.suffix == ".gpkg" and rng.random() < 0.6:
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE gpkg_spatial_ref_sys SET definition = ?, organization = ?, "
                             "organization_coordsys_id = ?",
                             (str(rng.choice(["", "x", "GEOGCS[", "undefined"])),
                              str(rng.choice(["EPSG", "NONE", ""])),
                              int(rng.choice([0, -1, 99999, 4326]))))  # fmt: skip
    if path.suffix == ".shp" and rng.random() < 0.6:
        path.with_suffix(".prj").write_text(str(rng.choice(["", "x", "GEOGCS[", "\0", "EPSG:1"])))
    return path


def fields(path: Path, rng: Generator) -> Path:
    """Have other columns, odd names, and types that clash."""
    frame = houses(rng)
    columns: dict[str, Any] = {
        "geometry_": "x", "fid": 7, "ID": 1, "": 1, "a\nb": 1, "select": None, "x" * 300: 1.5,
        "confidence": "high", "area_m2": "many", "kind": np.nan, "layername=": 1,
    }  # fmt: skip
    for name in rng.choice(list(columns), 3, replace=False):
        frame[name] = columns[name]
    if rng.random() < 0.4:
        frame["id"] = "text"
    path = path.with_suffix(str(rng.choice(SUFFIXES)))
    try:
        write(frame, path)
    except Exception:
        write(frame[["id", "geometry"]], path)
    return path


def empty(path: Path, rng: Generator) -> Path:
    """Hold no feature, no layer, no geometry column or no byte."""
    path = path.with_suffix(str(rng.choice(SUFFIXES)))
    case = rng.integers(4)
    if case == 0:
        with contextlib.suppress(Exception):
            write(houses(rng).iloc[:0], path)
    if case == 1:
        plain = houses(rng).drop(columns="geometry")
        with contextlib.suppress(Exception):
            if path.suffix == ".parquet":
                plain.to_parquet(path)
            else:
                write_plain = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile"}
                pyogrio.write_dataframe(plain, path, driver=write_plain.get(path.suffix))
    if not path.exists():
        path.write_bytes([b"", b"\0", b"{}", b"[]", b"null"][rng.integers(5)])
    return path


def container(path: Path, rng: Generator) -> Path:
    """Contradict itself as a database."""
    path = whole(path, rng, (".gpkg",))
    if rng.random() < 0.4:
        pyogrio.write_dataframe(houses(rng), path, layer="other", append=False)
    statements = [
        "DROP TABLE gpkg_contents", "DROP TABLE gpkg_geometry_columns", "DROP TABLE buildings",
        "DROP TABLE gpkg_spatial_ref_sys", "DELETE FROM gpkg_contents",
        "UPDATE gpkg_contents SET table_name = 'gone'", "UPDATE buildings SET geom = x'00'",
        "UPDATE buildings SET geom = 'text'", "UPDATE buildings SET geom = NULL",
        "UPDATE buildings SET geom = zeroblob(1000000)", "ALTER TABLE buildings RENAME TO other2",
        "UPDATE gpkg_geometry_columns SET geometry_type_name = 'CURVEPOLYGON'",
        "UPDATE gpkg_geometry_columns SET srs_id = 99", "PRAGMA application_id = 7",
        "UPDATE gpkg_contents SET srs_id = -1", "PRAGMA user_version = 99999999",
        "UPDATE buildings SET geom = substr(geom, 1, 30)", "DROP TABLE rtree_buildings_geom",
        "CREATE TRIGGER t AFTER INSERT ON buildings BEGIN DELETE FROM buildings; END",
        "UPDATE gpkg_contents SET min_x = 'x', max_x = 1e400",
    ]  # fmt: skip
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for statement in rng.choice(statements, int(rng.integers(1, 3)), replace=False):
            with contextlib.suppress(sqlite3.DatabaseError):
                database.execute(str(statement))
    return path


def alter(entries: Any, rng: Generator) -> Any:
    """Return parsed JSON of which one entry is another, gone, or doubled."""
    if isinstance(entries, dict | list) and entries and rng.random() < 0.85:
        keys = list(entries) if isinstance(entries, dict) else list(range(len(entries)))
        key = keys[rng.integers(len(keys))]
        if rng.random() < 0.15:
            del entries[key]
        else:
            entries[key] = alter(entries[key], rng)
        return entries
    others: list[Any] = [None, True, 0, -1, 1e308, float("nan"), float("inf"), 10**30, "", "x", [],
                         {}, [[]], "a\nb", "x" * 20_000, "../../x", [entries, entries], "\ud800",
                         "\0", -0.0, {"a": entries}]  # fmt: skip
    return others[rng.integers(len(others))]


def entries(path: Path, rng: Generator) -> Path:
    """Alter entries of the JSON of GeoJSON, or of GeoParquet's metadata."""
    path = whole(path, rng, (".geojson", ".parquet"))
    if path.suffix == ".geojson":
        path.write_text(json.dumps(alter(json.loads(path.read_text()), rng)))
        if rng.random() < 0.1:
            path.write_text("[" * 100_000)
        return path
    table = pyarrow.parquet.read_table(path)
    about = dict(table.schema.metadata)
    about[b"geo"] = json.dumps(alter(json.loads(about[b"geo"]), rng)).encode()
    pyarrow.parquet.write_table(table.replace_schema_metadata(about), path)
    return path


def name(path: Path, rng: Generator) -> Path:
    """Rename the file so that parsers and messages may trip over it."""
    path = whole(path, rng, (".gpkg", ".geojson", ".fgb", ".parquet"))
    stems = ["a b", "-f", "%41%s{}", "a\nb", "[x]", "a?b#c=d", "ä☃😀", "a|layername=b", "'\"; drop",
             "x" * 200, "\x1b[31m", b"\xff\xfe".decode("utf-8", "surrogateescape")]  # fmt: skip
    other = path.with_name(stems[rng.integers(len(stems))] + path.suffix)
    shutil.move(path, other)
    return other


MUTATIONS: tuple[Callable[[Path, Generator], Path], ...] = (
    bytes_anywhere, truncation, missing, geometry, geometry, geometry, crs, fields, empty,
    container, container, entries, name,
)  # fmt: skip


def make(folder: Path, rng: Generator, number: int) -> tuple[str, Path]:
    """Make case `number` in an empty folder: kind of the mutation, and the file."""
    mutation = MUTATIONS[number % len(MUTATIONS)]
    return mutation.__name__, mutation(folder / "case.gpkg", rng)
