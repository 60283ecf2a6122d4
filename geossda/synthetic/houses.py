"""Houses of a synthetic town: their plans, roofs and materials."""

from dataclasses import dataclass

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

MATERIALS = ("tin", "rust", "tile", "blue", "maroon", "green", "white", "concrete", "thatch")
Palette = tuple[float, ...]
# Shares of MATERIALS by the kind of block: one of several palettes is drawn.
_PALETTES: dict[str, tuple[Palette, ...]] = {
    "homes": (
        (0.42, 0.18, 0.08, 0.05, 0.08, 0.02, 0.05, 0.10, 0.02),
        (0.12, 0.06, 0.45, 0.04, 0.14, 0.04, 0.05, 0.10, 0.00),
        (0.20, 0.10, 0.12, 0.10, 0.08, 0.03, 0.07, 0.30, 0.00),
    ),
    "dense": ((0.45, 0.38, 0.00, 0.06, 0.03, 0.02, 0.02, 0.02, 0.02),),
    "estate": (
        (0, 0, 0.9, 0, 0.1, 0, 0, 0, 0),
        (0.2, 0, 0, 0, 0, 0, 0.8, 0, 0),
        (0, 0, 0, 0, 0, 1, 0, 0, 0),
    ),
    "school": (
        (0.9, 0.1, 0, 0, 0, 0, 0, 0, 0),
        (0, 0, 0, 0, 1, 0, 0, 0, 0),
        (0, 0, 0, 1, 0, 0, 0, 0, 0),
        (0, 0, 0.7, 0, 0, 0, 0, 0.3, 0),
    ),
}


@dataclass(frozen=True)
class Wing:
    """Rectangular part of a house, in the frame of the house.

    Attributes
    ----------
    a, b : float
        Centre, in metres along and across the house.
    length, width : float
        Size along and across, in metres.
    """

    a: float
    b: float
    length: float
    width: float


@dataclass(frozen=True)
class House:
    """House with a roof.

    Attributes
    ----------
    x, y, angle : float
        Centre in metres and angle in radians, in the frame of the image.
    wings : tuple of Wing
        The plan is their union.
    roof : {"gable", "hip", "shed", "flat"}
    material : str
        One of MATERIALS.
    eave : float
        Height of the eaves above ground, in metres.
    pitch : float
        Rise over run.
    outline : geometry
        Outline of the roof in metres, in the frame of the image.
    """

    x: float
    y: float
    angle: float
    wings: tuple[Wing, ...]
    roof: str
    material: str
    eave: float
    pitch: float
    outline: BaseGeometry


def pick_palette(rng: np.random.Generator, kind: str) -> Palette:
    """Draw the shares of MATERIALS of one block.

    Parameters
    ----------
    rng : Generator
    kind : str
        Kind of the block.
    """
    choices = _PALETTES.get(kind, _PALETTES["homes"])
    return choices[int(rng.integers(len(choices)))]


def draw_house(
    rng: np.random.Generator,
    place: tuple[float, float, float],
    size: tuple[float, float],
    palette: Palette,
    plain: bool,
) -> House:
    """Draw a house of random plan and roof.

    Parameters
    ----------
    rng : Generator
    place : (float, float, float)
        x and y in metres, angle in radians.
    size : (float, float)
        Greatest length and width of the plan, in metres.
    palette : tuple of float
        Shares of MATERIALS.
    plain : bool
        Whether the plan must be one rectangle.
    """
    length, width = max(size[0], 2.2), max(size[1], 2.0)
    material = str(rng.choice(MATERIALS, p=np.array(palette) / sum(palette)))
    small = length * width < 28
    wings = (Wing(0, 0, length, width),) if plain or small else _plan(rng, length, width)
    if material == "concrete":
        roof = "flat"
    elif small and material in ("tin", "rust", "blue"):
        roof = "shed"
    elif len(wings) > 1 or material in ("tile", "thatch"):
        roof = str(rng.choice(["hip", "gable"], p=[0.5, 0.5]))
    else:
        roof = str(rng.choice(["hip", "gable", "shed"], p=[0.3, 0.62, 0.08]))
    eave = rng.uniform(2.2, 2.8) if small else rng.uniform(2.8, 3.8)
    if roof == "flat" and not small:
        eave += float(rng.choice([0.0, 3.0], p=[0.6, 0.4]))
    if max(length, width) > 23 and not plain:
        eave += 4.0
    x, y, angle = place
    plan = shapely.union_all(
        [
            box(w.a - w.length / 2, w.b - w.width / 2, w.a + w.length / 2, w.b + w.width / 2)
            for w in wings
        ]
    )
    cos, sin = np.cos(angle), np.sin(angle)
    outline = affinity.affine_transform(plan, [cos, -sin, sin, cos, x, y])
    pitch = rng.uniform(0.08, 0.14) if roof == "shed" else rng.uniform(0.2, 0.5)
    return House(x, y, angle, wings, roof, material, float(eave), float(pitch), outline)


def _plan(rng: np.random.Generator, length: float, width: float) -> tuple[Wing, ...]:
    """Draw a plan within `length` x `width` metres: a rectangle, an L, a T or a U."""
    shape = rng.random()
    side = float(rng.choice([-1.0, 1.0]))
    if shape < 0.58 or length * width < 55:
        return (Wing(0, 0, length, width),)
    body = width * rng.uniform(0.5, 0.72)
    main = Wing(0, side * (width - body) / 2, length, body)
    arm = length * rng.uniform(0.32, 0.48)
    if shape < 0.82:
        end = float(rng.choice([-1.0, 1.0]))
        return main, Wing(end * (length - arm) / 2, 0, arm, width)
    if shape < 0.94:
        return main, Wing(rng.uniform(-0.15, 0.15) * length, 0, arm, width)
    arm = length * rng.uniform(0.26, 0.34)
    return (
        main,
        Wing((length - arm) / 2, 0, arm, width),
        Wing((arm - length) / 2, 0, arm, width),
    )
