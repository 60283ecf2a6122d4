"""Layout of a synthetic town: streets, blocks, plots, houses, a river.

Coordinates are in metres in the image frame (x to the right, y down) from the upper-left
corner. Streets and plots are first cut on a straight grid, which is then bent smoothly; houses
take the angle of the bent grid at their position.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon, box
from shapely.geometry.base import BaseGeometry

from geossda.synthetic.houses import House, Palette, draw_house, pick_palette
from geossda.synthetic.streets import Bend, Points, Rect, Street, dry

# Number of blocks of each kind among 25.
_DECK = {"homes": 15, "dense": 2, "estate": 2, "school": 2, "field": 2, "open": 1, "wood": 1}
# Width of the river in metres.
_RIVER_WIDTH = 11.0


@dataclass(frozen=True)
class Parcel:
    """Parcel of ground: outline (N, 2) in metres, angle in radians, and kind."""

    outline: Points
    angle: float
    kind: str


@dataclass
class Layout:
    """Objects on the ground; coordinates in metres."""

    streets: list[Street] = field(default_factory=list)
    paths: list[Points] = field(default_factory=list)
    blocks: list[Parcel] = field(default_factory=list)
    fields: list[Parcel] = field(default_factory=list)
    yards: list[Parcel] = field(default_factory=list)
    walls: list[Points] = field(default_factory=list)
    hedges: list[Points] = field(default_factory=list)
    houses: list[House] = field(default_factory=list)
    cars: list[tuple[float, float, float]] = field(default_factory=list)
    river: BaseGeometry = field(default_factory=Polygon)


def lay_out(rng: np.random.Generator, width: float, height: float) -> Layout:
    """Lay out a town; objects that cross its edge are kept.

    Parameters
    ----------
    rng : Generator
    width, height : float
        In metres.
    """
    return _Planner(rng, width, height).plan()


class _Planner:
    def __init__(self, rng: np.random.Generator, width: float, height: float) -> None:
        self._rng = rng
        self._frame = box(-25, -25, width + 25, height + 25)
        self._side = max(width, height)
        self._bend = Bend(rng, (width / 2, height / 2))
        self._out = Layout()
        self._deck: list[str] = []
        self._lots: list[tuple[House, tuple[float, float, float]]] = []

    def plan(self) -> Layout:
        reach = 0.75 * self._side + 60
        self._dig_river(reach)
        self._split((-reach, -reach, reach, reach))
        self._clear()
        self._park_cars()
        return self._out

    def _dig_river(self, reach: float) -> None:
        rng = self._rng
        side = rng.choice([-1.0, 1.0])
        u = np.linspace(-reach, reach, int(reach))
        v = side * rng.uniform(0.3, 0.4) * self._side + 13 * np.sin(u / 47 + rng.uniform(0, 6))
        course = LineString(self._bend(np.column_stack([u, v + 5 * np.sin(u / 19)])))
        banks = [
            course.interpolate(s).buffer(_RIVER_WIDTH / 2 * rng.uniform(0.65, 1.15))
            for s in np.arange(0, course.length, 7)
        ]
        self._out.river = shapely.union_all([course.buffer(_RIVER_WIDTH * 0.36), *banks])

    def _split(self, rect: Rect) -> None:
        """Cut a rectangle of the grid by a street, and its halves likewise, down to blocks."""
        rng, bend = self._rng, self._bend
        u0, v0, u1, v1 = rect
        if not Polygon(bend.outline(rect)).intersects(self._frame):
            return
        long = max(u1 - u0, v1 - v0)
        if long < rng.uniform(68, 108):
            self._fill(rect)
            return
        cut = rng.uniform(0.38, 0.62)
        if u1 - u0 >= v1 - v0:
            at = u0 + cut * (u1 - u0)
            line = bend.line((at, v0), (at, v1))
            halves = [(u0, v0, at, v1), (at, v0, u1, v1)]
        else:
            at = v0 + cut * (v1 - v0)
            line = bend.line((u0, at), (u1, at))
            halves = [(u0, v0, u1, at), (u0, at, u1, v1)]
        if long > 480:
            street = Street(line, rng.uniform(7.0, 8.5), True)
        elif long > 230:
            street = Street(line, rng.uniform(4.8, 6.2), bool(rng.random() < 0.4))
        else:
            street = Street(line, rng.uniform(2.6, 4.2), False)
        self._out.streets.append(street)
        for half in halves:
            self._split(half)

    def _fill(self, rect: Rect) -> None:
        rng, out = self._rng, self._out
        u0, v0, u1, v1 = rect
        rect = (u0 + 4, v0 + 4, u1 - 4, v1 - 4)
        if not self._deck:
            # Drawn without replacement, so that small towns have their share of houses too.
            deck = [kind for kind, count in _DECK.items() for _ in range(count)]
            self._deck = [deck[i] for i in rng.permutation(len(deck))]
        kind = self._deck.pop()
        outline = self._bend.outline(rect)
        if out.river.intersects(Polygon(outline)) and kind in ("estate", "school", "dense"):
            kind = "homes"
        _, _, angle = self._bend.place((u0 + u1) / 2, (v0 + v1) / 2)
        out.blocks.append(Parcel(outline, angle, kind))
        palette = pick_palette(rng, kind)
        if kind == "homes":
            self._homes(rect, palette)
        elif kind == "dense":
            self._dense(rect, palette)
        elif kind in ("estate", "school"):
            self._rows(rect, kind, palette)
        elif kind == "field":
            self._parcels(rect)
        elif rng.random() < 0.7:
            self._lone(rect, palette)
        if kind in ("open", "wood", "homes") and rng.random() < 0.7:
            s = np.linspace(0, 1, 40)
            v = v0 + (v1 - v0) * (rng.uniform(0.15, 0.85) + 0.1 * np.sin(6 * s + rng.uniform(0, 6)))
            out.paths.append(self._bend(np.column_stack([u0 + (u1 - u0) * s, v])))

    def _add(
        self,
        u: float,
        v: float,
        along: bool,
        size: tuple[float, float],
        palette: Palette,
        plain: bool = False,
        jitter: float = 0.03,
    ) -> None:
        """Add a house at a position on the grid; its length follows u if `along`."""
        x, y, angle = self._bend.place(u, v)
        angle += (0.0 if along else np.pi / 2) + self._rng.normal(0, jitter)
        self._out.houses.append(draw_house(self._rng, (x, y, angle), size, palette, plain))

    def _homes(self, rect: Rect, palette: Palette) -> None:
        """Divide a block into two rows of plots, back to back, with one house each."""
        rng = self._rng
        along = rect[2] - rect[0] >= rect[3] - rect[1]
        if not along:  # plan with the long side as s, then swap back
            rect = (rect[1], rect[0], rect[3], rect[2])
        s0, t0, s1, t1 = rect
        fenced = rng.random()
        for row, (front, back) in enumerate(((t0, (t0 + t1) / 2), (t1, (t0 + t1) / 2))):
            inward = 1.0 if row == 0 else -1.0
            depth = abs(back - front)
            s = s0
            while s + 11 < s1:
                plot = min(rng.uniform(12, 20), s1 - s)
                self._plot((s, front, inward), (plot, depth), along, palette, fenced)
                s += plot

    def _plot(
        self,
        corner: tuple[float, float, float],
        size: tuple[float, float],
        along: bool,
        palette: Palette,
        fenced: float,
    ) -> None:
        rng = self._rng
        s, front, inward = corner
        plot, depth = size
        end = front + inward * depth
        corners = np.array([(s, front), (s, end), (s + plot, end), (s + plot, front)])
        corners = corners if along else corners[:, ::-1]
        yard = str(rng.choice(["wild", "swept", "lawn", "paved"], p=[0.42, 0.3, 0.2, 0.08]))
        if yard != "wild":
            low, high = corners.min(axis=0), corners.max(axis=0)
            outline = self._bend.outline((low[0], low[1], high[0], high[1]))
            self._out.yards.append(Parcel(outline, 0.0, yard))
        if rng.random() < 0.07:
            return
        length = min(rng.uniform(9, 17), plot - 2.2)
        deep = min(rng.uniform(8, 14), depth - 5)
        setback = rng.uniform(1.5, min(7.0, depth - deep))
        centre = (
            s + rng.uniform(length / 2 + 1, plot - length / 2 - 1),
            front + inward * (setback + deep / 2),
        )
        u, v = centre if along else centre[::-1]
        self._add(u, v, along, (length, deep), palette)
        for _ in range(int(rng.choice(3, p=[0.25, 0.5, 0.25]))):
            roomy = depth - setback - deep > 9
            hut = (rng.uniform(4, 10), rng.uniform(3.2, 6)) if roomy else rng.uniform(2.4, 4.2, 2)
            centre = (s + rng.uniform(3, plot - 3), front + inward * (depth - rng.uniform(2.4, 6)))
            u, v = centre if along else centre[::-1]
            tin = pick_palette(rng, "dense")
            self._add(u, v, along, (hut[0], hut[1]), tin, plain=True, jitter=0.1)
        if rng.random() < fenced:
            lines = self._out.walls if rng.random() < 0.6 else self._out.hedges
            for a, b in itertools.pairwise(corners):
                lines.append(self._bend.line((a[0], a[1]), (b[0], b[1])))

    def _dense(self, rect: Rect, palette: Palette) -> None:
        rng = self._rng
        v = rect[1]
        while v + 5 < rect[3]:
            depth = rng.uniform(7, 11)
            u = rect[0]
            while u + 4 < rect[2]:
                cell = rng.uniform(6, 12)
                if rng.random() < 0.8:
                    size = (cell - rng.uniform(0.8, 2.2), depth - rng.uniform(1.2, 3.2))
                    self._add(
                        u + cell / 2,
                        v + depth / 2,
                        True,
                        size,
                        palette,
                        plain=bool(rng.random() < 0.75),
                        jitter=0.05,
                    )
                u += cell
            v += depth + rng.uniform(0, 2.5)

    def _rows(self, rect: Rect, kind: str, palette: Palette) -> None:
        """Add long buildings in rows, with yards and cars between them."""
        rng = self._rng
        along = bool(rng.random() < 0.5)
        if not along:
            rect = (rect[1], rect[0], rect[3], rect[2])
        s0, t0, s1, t1 = rect
        deep = rng.uniform(8.5, 11.5)
        length = rng.uniform(24, 36) if kind == "estate" else rng.uniform(26, 44)
        pace = deep + (rng.uniform(9, 13) if kind == "estate" else rng.uniform(16, 24))
        for t in np.arange(t0 + deep / 2 + 2, t1 - deep / 2, pace):
            for s in np.arange(s0 + length / 2 + 1, s1 - length / 2, length + rng.uniform(3, 6)):
                u, v = (s, t) if along else (t, s)
                self._add(
                    u, v, along, (length, deep), palette, plain=kind == "school", jitter=0.005
                )
                if kind != "estate":
                    continue
                for place in np.arange(s - length / 2, s + length / 2, 2.7):
                    if rng.random() < 0.35:
                        spot = (place, t + deep / 2 + 5.0)
                        x, y, angle = self._bend.place(*(spot if along else spot[::-1]))
                        car = (x, y, angle + (np.pi / 2 if along else 0.0))
                        self._lots.append((self._out.houses[-1], car))

    def _parcels(self, rect: Rect) -> None:
        """Divide a block into a few fields."""
        rng = self._rng
        u0, v0, u1, v1 = rect
        if max(u1 - u0, v1 - v0) < rng.uniform(28, 60):
            _, _, angle = self._bend.place((u0 + u1) / 2, (v0 + v1) / 2)
            angle += float(rng.choice([0.0, np.pi / 2])) + rng.normal(0, 0.03)
            inner = (u0 + 0.6, v0 + 0.6, u1 - 0.6, v1 - 0.6)
            self._out.fields.append(Parcel(self._bend.outline(inner), angle, "field"))
            if rng.random() < 0.3:
                self._lone(rect, pick_palette(rng, "homes"))
            return
        cut = rng.uniform(0.35, 0.65)
        if u1 - u0 > v1 - v0:
            self._parcels((u0, v0, u0 + cut * (u1 - u0), v1))
            self._parcels((u0 + cut * (u1 - u0), v0, u1, v1))
        else:
            self._parcels((u0, v0, u1, v0 + cut * (v1 - v0)))
            self._parcels((u0, v0 + cut * (v1 - v0), u1, v1))

    def _lone(self, rect: Rect, palette: Palette) -> None:
        rng = self._rng
        u = rng.uniform(rect[0] + 8, max(rect[2] - 8, rect[0] + 9))
        v = rng.uniform(rect[1] + 8, max(rect[3] - 8, rect[1] + 9))
        self._add(u, v, bool(rng.random() < 0.5), (rng.uniform(7, 13), rng.uniform(6, 9)), palette)

    def _clear(self) -> None:
        """Remove houses that would overlap a street, the river or each other."""
        out = self._out
        wet = out.river.buffer(2)
        out.streets = [piece for street in out.streets for piece in dry(street, wet)]
        taken = [LineString(s.line).buffer(s.width / 2 + 0.7) for s in out.streets]
        tree = shapely.STRtree([*taken, out.river.buffer(3)])
        shapes = np.array([house.outline for house in out.houses], dtype=object)
        removed = np.zeros(len(shapes), bool)
        removed[tree.query(shapes, predicate="intersects")[0]] = True
        removed |= ~shapely.intersects(shapes, self._frame)
        first, second = shapely.STRtree(shapes).query(
            shapely.buffer(shapes, 0.6), predicate="intersects"
        )
        for a, b in sorted(zip(first.tolist(), second.tolist(), strict=True)):
            if a < b and not removed[a]:
                removed[b] = True
        out.houses = [h for h, gone in zip(out.houses, removed, strict=True) if not gone]

    def _park_cars(self) -> None:
        rng, out = self._rng, self._out
        built = {id(house) for house in out.houses}
        out.cars = [car for house, car in self._lots if id(house) in built]
        for street in out.streets:
            line = LineString(street.line)
            for s in np.arange(5, line.length - 5, 9.0):
                if rng.random() > (0.22 if street.paved else 0.05):
                    continue
                spot, ahead = line.interpolate(s), line.interpolate(s + 1)
                dx, dy = ahead.x - spot.x, ahead.y - spot.y
                off = rng.choice([-1, 1]) * max(street.width / 2 - 1.7, 0.3)
                out.cars.append((spot.x - off * dy, spot.y + off * dx, math.atan2(dy, dx)))
