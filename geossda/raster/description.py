"""Metadata of a raster, read from a source and written into an output, and its provenance."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from geossda._version import __version__
from geossda.raster.handles import open_dataset
from geossda.raster.source import Source
from geossda.raster.validity import Validity
from geossda.urls import redact


@dataclass(frozen=True)
class Description:
    """Metadata of a raster.

    Attributes
    ----------
    tags : dict
        Of the dataset.
    namespaces : dict of dict
        Tag domains kept whole, such as RPC.
    bands : list of dict
        For each band: ``description``, ``colorinterp``, ``unit``, ``scale``, ``offset``, ``tags``.
    gcps : tuple of GroundControlPoint
        In pixels of the raster, where they place it instead of a CRS and a transform.
    gcps_crs : str or None
        WKT of the points' coordinates.
    """

    tags: dict[str, str] = field(default_factory=dict)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    bands: list[dict[str, Any]] = field(default_factory=list)
    gcps: tuple[GroundControlPoint, ...] = ()
    gcps_crs: str | None = None

    @classmethod
    def of(cls, source: Source, corner: tuple[int, int] = (0, 0)) -> "Description":
        """Read the description of the bands chosen in a source; stale statistics are left out.

        Parameters
        ----------
        source : Source
        corner : (int, int)
            Row and column of the pixel of `source` that is first in what is described.
        """
        with open_dataset(source.path) as dataset:
            bands = []
            for band in (source.bands[place] for place in source.file_order):
                tags = dataset.tags(band)
                bands.append(
                    {
                        "description": dataset.descriptions[band - 1],
                        "colorinterp": dataset.colorinterp[band - 1],
                        "unit": dataset.units[band - 1],
                        "scale": dataset.scales[band - 1],
                        "offset": dataset.offsets[band - 1],
                        "tags": {k: v for k, v in tags.items() if not k.startswith("STATISTICS_")},
                    }
                )
            spaces = {}
            if rpcs := dataset.tags(ns="RPC"):
                for name, start in zip(("LINE_OFF", "SAMP_OFF"), corner, strict=True):
                    if start and name in rpcs:
                        rpcs[name] = repr(float(rpcs[name]) - start)
                spaces["RPC"] = rpcs
            points, crs = dataset.gcps
            moved = tuple(
                GroundControlPoint(
                    p.row - corner[0], p.col - corner[1], p.x, p.y, p.z, p.id, p.info
                )
                for p in (points if source.placed_by == "gcps" else ())
            )
            return cls(dataset.tags(), spaces, bands, moved, crs.to_wkt() if crs else None)


def describe_dataset(
    dataset: Any, description: Description, tags: Mapping[str, str], count: int, validity: Validity
) -> None:
    """Write a description and tags into an open dataset of `count` bands, alpha not counted.

    Parameters
    ----------
    dataset : rasterio dataset open for writing
    description : Description
        Names, colour interpretation and tags to carry over.
    tags : mapping
        Tags to add, which replace those of the description.
    count : int
        Bands, alpha not counted.
    validity : {"all", "nodata", "mask", "alpha"}
        How invalid pixels are marked.
    """
    dataset.update_tags(**{**description.tags, **tags})
    for namespace, entries in description.namespaces.items():
        dataset.update_tags(ns=namespace, **entries)
    if description.gcps:
        # GDAL takes points without a CRS too, in coordinates of their own.
        dataset.gcps = list(description.gcps), description.gcps_crs or CRS()
    colors = [ColorInterp.undefined] * count
    for index, band in enumerate(description.bands, start=1):
        if band["description"]:
            dataset.set_band_description(index, band["description"])
        if band["tags"]:
            dataset.update_tags(index, **band["tags"])
        colors[index - 1] = band["colorinterp"]
    if description.bands:
        alphas = [ColorInterp.alpha] if validity == "alpha" else []
        dataset.colorinterp = colors + alphas
        extra: list[Any] = [None] if alphas else []
        if any(band["unit"] for band in description.bands):
            dataset.units = [band["unit"] or "" for band in description.bands] + ["" for _ in extra]
        dataset.scales = [band["scale"] for band in description.bands] + [1.0 for _ in extra]
        dataset.offsets = [band["offset"] for band in description.bands] + [0.0 for _ in extra]


def provenance(command: str, **facts: Any) -> dict[str, str]:
    """Return the tags of the provenance of an output, without secrets of URLs."""
    tags = {"GEOSSDA_VERSION": __version__, "GEOSSDA_COMMAND": command}
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value)
        tags[f"GEOSSDA_{key.upper()}"] = redact(text)
    return tags
