"""Published data sets by their layout: which image goes with which labels."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from geossda.data.labels import find_footprints, vector_files
from geossda.errors import InputError
from geossda.raster.mosaic import rasters_in

# The first five cities of Inria's training part, all that is published with labels.
INRIA = ("austin", "chicago", "kitsap", "tyrol-w", "vienna")
SPACENET = ("AOI_2_Vegas", "AOI_3_Paris", "AOI_4_Shanghai", "AOI_5_Khartoum")


# Rasters of a place that its footprints cover; others there have no labels.
LABELLED = "mosaic_*.tif"


class Pair(NamedTuple):
    """An image and its labels.

    Attributes
    ----------
    image : path
    labels : path or None
        A vector file, or a mask raster in which all values but 0 are buildings; None if the image
        has no labels.
    """

    image: Path
    labels: Path | None


def inria(folder: Path) -> dict[str, list[Pair]]:
    """Read the layout of the Inria Aerial Image Labeling data set (Maggiori et al. 2017).

    ``train/images/austin1.tif`` with ``train/gt/austin1.tif`` (0 and 255), 36 images per city.

    Parameters
    ----------
    folder : path
        ``AerialImageDataset``, or the folder that holds it.

    Returns
    -------
    dict
        Pairs by city.

    Raises
    ------
    InputError
        The folder has another layout, or an image has no mask.
    """
    root = next(
        (f for f in (folder, folder / "AerialImageDataset") if (f / "train").is_dir()), None
    )
    if root is None:
        raise InputError(
            f"{folder} is not Inria's: it has no train/images; give the unpacked AerialImageDataset"
        )
    cities: dict[str, list[Pair]] = {}
    for city in INRIA:
        numbered = re.compile(rf"{re.escape(city)}(\d+)\.tif")
        images = [
            f for f in (root / "train" / "images").glob("*.tif") if numbered.fullmatch(f.name)
        ]
        images.sort(key=lambda f: _number(f.stem))
        cities[city] = [Pair(f, root / "train" / "gt" / f.name) for f in images]
        if not images:
            raise InputError(
                f"{root}/train/images has no {city}1.tif: Inria's has {len(INRIA)} cities"
            )
    _require_labels([pair for pairs in cities.values() for pair in pairs])
    return cities


def spacenet(folder: Path) -> dict[str, list[Pair]]:
    """Read the layouts of SpaceNet 2, the buildings of DeepGlobe 2018 (Van Etten et al. 2018).

    As the archives unpack, in ``AOI_2_Vegas_Train``,
    ``RGB-PanSharpen/RGB-PanSharpen_AOI_2_Vegas_img1.tif`` with
    ``geojson/buildings/buildings_AOI_2_Vegas_img1.geojson``; or as the bucket holds them, in
    ``AOI_2_Vegas``, ``PS-RGB/SN2_buildings_train_AOI_2_Vegas_PS-RGB_img1.tif`` with
    ``geojson_buildings/SN2_buildings_train_AOI_2_Vegas_geojson_buildings_img1.geojson``. Likewise
    for Paris, Shanghai and Khartoum.

    Parameters
    ----------
    folder : path
        Folder that holds the four cities' folders.

    Returns
    -------
    dict
        Pairs by city: ``"vegas"``, ``"paris"``, ``"shanghai"`` and ``"khartoum"``.

    Raises
    ------
    InputError
        The folder has another layout, or an image has no buildings file.
    """
    cities: dict[str, list[Pair]] = {}
    for area in SPACENET:
        city = area.split("_")[2].lower()
        for images, labels in _spacenet_layouts(area):
            files = sorted(folder.glob(images.format("*")), key=lambda f: _number(f.stem))
            if files:
                cities[city] = [Pair(f, folder / labels.format(_number(f.stem))) for f in files]
                break
        else:
            raise InputError(
                f"{folder} is not SpaceNet 2's: it has no {_spacenet_layouts(area)[0][0].format(1)}"
            )
    _require_labels([pair for pairs in cities.values() for pair in pairs])
    return cities


def _spacenet_layouts(area: str) -> list[tuple[str, str]]:
    """Return patterns of images and buildings files, with ``{}`` for the number."""
    title = f"SN2_buildings_train_{area}"
    return [
        (
            f"{area}_Train/RGB-PanSharpen/RGB-PanSharpen_{area}_img{{}}.tif",
            f"{area}_Train/geojson/buildings/buildings_{area}_img{{}}.geojson",
        ),
        (
            f"{area}/PS-RGB/{title}_PS-RGB_img{{}}.tif",
            f"{area}/geojson_buildings/{title}_geojson_buildings_img{{}}.geojson",
        ),
    ]


def place(folder: Path) -> list[Pair]:
    """Read the folder of a place, whose rasters may lack labels.

    Parameters
    ----------
    folder : path
        Holds ``mosaic_*.tif`` and the one vector file of their footprints. Other rasters, and all
        where there is no vector file, have no labels.

    Raises
    ------
    VectorError
        There are several vector files.
    InputError
        There is a vector file, but no ``mosaic_*.tif``.
    """
    covered = sorted(folder.glob(LABELLED))
    vectors = vector_files(folder)
    if vectors and not covered:
        raise InputError(
            f"{folder} has labels {vectors[0].name} but no raster {LABELLED}: rename the rasters "
            "that the labels cover"
        )
    labels = find_footprints(str(folder)) if vectors else None
    others = [path for path in rasters_in(folder) if path not in covered]
    return [*(Pair(image, labels) for image in covered), *(Pair(image, None) for image in others)]


def transfer_places(
    sources: Sequence[Path], targets: Sequence[Path]
) -> tuple[dict[str, list[Pair]], dict[str, list[Pair]]]:
    """Read places to train on, and others whose imagery is used without labels.

    Parameters
    ----------
    sources, targets : sequences of path
        Folders that are places, as :func:`place` reads them, or hold places.

    Returns
    -------
    (dict, dict)
        Pairs by place; those of sources all with labels.

    Raises
    ------
    InputError
        A source or all targets without labels, a raster in both, or two places of one name.
    """
    labelled, others = read_places(sources), read_places(targets)
    if shared := labelled.keys() & others.keys():
        raise InputError(
            f"{min(shared)} is both source and target: give other places as targets, or rename one"
        )
    for name, pairs in labelled.items():
        labelled[name] = [pair for pair in pairs if pair.labels is not None]
        if not labelled[name]:
            raise InputError(
                f"source {pairs[0].image.parent} has no labels: give folders with {LABELLED} and "
                "one vector file of footprints"
            )
    known = {pair.image.resolve() for pairs in labelled.values() for pair in pairs}
    for pair in (pair for pairs in others.values() for pair in pairs):
        if pair.image.resolve() in known:
            raise InputError(f"{pair.image} is a raster of a source too: give other targets")
    if not any(pair.labels is not None for pairs in others.values() for pair in pairs):
        raise InputError(
            f"no target has labels to measure on: give one at least with {LABELLED} and one "
            "vector file of footprints"
        )
    return labelled, others


def read_places(folders: Sequence[Path]) -> dict[str, list[Pair]]:
    """Read folders that are places, as :func:`place` reads them, or hold places.

    Parameters
    ----------
    folders : sequence of path

    Returns
    -------
    dict
        Pairs by place.

    Raises
    ------
    InputError
        Not a folder, no raster in it, or two places of one name.
    """
    by_name: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder: give folders of places")
        inside = sorted(path for path in folder.iterdir() if path.is_dir())
        own = [path for path in (folder, *inside) if vector_files(path) or rasters_in(path)]
        if not own:
            raise InputError(f"{folder} has no raster, nor a folder with rasters")
        for path in own[:1] if own[0] == folder else own:
            first = by_name.setdefault(path.resolve().name, path)
            if first.resolve() != path.resolve():
                raise InputError(f"{first} and {path} have the same name: rename one")
    return {name: place(path) for name, path in by_name.items()}


def places(folder: Path) -> dict[str, list[Pair]]:
    """Read a folder of places: one folder each, with ``mosaic_*.tif`` and one vector file.

    Returns
    -------
    dict
        Pairs by place.

    Raises
    ------
    InputError
        There are fewer than two such folders.
    """
    pairs = {}
    for path in sorted(f for f in folder.glob("*") if f.is_dir()):
        images = sorted(path.glob(LABELLED))
        if images:
            labels = find_footprints(str(path))
            pairs[path.name] = [Pair(image, labels) for image in images]
    if len(pairs) < 2:
        raise InputError(
            f"{folder} holds {len(pairs)} places: folders with {LABELLED} and their footprints "
            "were expected, two at least"
        )
    return pairs


def choose_pairs(pairs: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """Return `count` pairs chosen at random by a hash of seed and file name.

    The choice can be reproduced from the names alone, and other files do not change it.

    Parameters
    ----------
    pairs : sequence of Pair
    count : int
    seed : int
    """

    def rank(pair: Pair) -> str:
        return hashlib.sha256(f"{seed} {pair.image.name}".encode()).hexdigest()

    kept = set(sorted(pairs, key=rank)[:count])
    return [pair for pair in pairs if pair in kept]


def _number(stem: str) -> int:
    digits = re.search(r"(\d+)$", stem)
    return int(digits[1]) if digits else 0


def _require_labels(pairs: Sequence[Pair]) -> None:
    missing = [pair for pair in pairs if pair.labels is None or not pair.labels.is_file()]
    if missing:
        raise InputError(
            f"{missing[0].image.name} has no labels {missing[0].labels}"
            + (f" ({len(missing)} such images)" if len(missing) > 1 else "")
        )
