"""SQLite's R-tree, filled from below.

Inserting boxes one by one searches the tree for each, and takes longer than the table itself. When
all are known they are put into full nodes at once (sort-tile-recursive packing, Leutenegger et al.
1997), which are also fewer and overlap less. A node is a depth (of the root), a count, and entries
of a number and four 32-bit floats, all big-endian: https://sqlite.org/rtree.html.
"""

import itertools
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ENTRY = np.dtype([("number", ">i8"), ("box", ">f4", 4)])
# SQLite takes 999 values a statement everywhere.
_VALUES = 900
# Entries are packed once there are so many: a node of nodes, or more.
_WAITING = 4096


class Index:
    """Fills a new, empty R-tree of two dimensions.

    Parameters
    ----------
    database : sqlite3.Connection
    name : str
        Of the virtual table.
    """

    def __init__(self, database: sqlite3.Connection, name: str) -> None:
        self._database, self._name = database, name
        (size,) = database.execute(f"SELECT length(data) FROM {name}_node").fetchone()
        self._capacity = (size - 4) // _ENTRY.itemsize
        self._node = np.dtype(
            {
                "names": ["depth", "count", "entries"],
                "formats": [">u2", ">u2", (_ENTRY, self._capacity)],
                "offsets": [0, 2, 4],
                "itemsize": size,
            }
        )
        self._next = 2  # the root is 1
        self._waiting: list[NDArray[Any]] = []
        self._leaves: list[NDArray[Any]] = []

    def add(self, numbers: NDArray[np.int64], bounds: NDArray[np.float64]) -> None:
        """Take boxes, (n, 4): least x and y and greatest."""
        entries = np.zeros(len(numbers), _ENTRY)
        entries["number"] = numbers
        # As SQLite does: never smaller than the box.
        boxes = bounds[:, [0, 2, 1, 3]]
        near = boxes.astype(np.float32)
        outward = np.array([-1, 1, -1, 1]) * np.sign(boxes)
        short = (near > boxes) == np.array([True, False, True, False])
        grown = (boxes * (1 + outward * 2.0**-23)).astype(np.float32)
        entries["box"] = np.where(short & (near != boxes), grown, near)
        self._waiting.append(entries)
        if sum(map(len, self._waiting)) >= _WAITING:
            self._pack()

    def finish(self) -> None:
        """Put the upper nodes in."""
        self._pack()
        level = np.concatenate(self._leaves) if self._leaves else np.zeros(0, _ENTRY)
        depth = 1
        while len(level) > self._capacity:
            level = self._store(level, "parent")
            depth += 1
        if len(level):
            root = np.zeros(1, self._node)
            root["depth"], root["count"] = depth, len(level)
            root["entries"][0, : len(level)] = level
            self._database.execute(
                f"UPDATE {self._name}_node SET data = ? WHERE nodeno = 1", (root.tobytes(),)
            )
            self._tell("parent", level["number"], np.ones(len(level), int))

    def _pack(self) -> None:
        if self._waiting:
            self._leaves.append(self._store(np.concatenate(self._waiting), "rowid"))
        self._waiting = []

    def _store(self, entries: NDArray[Any], kind: str) -> NDArray[Any]:
        """Store entries in nodes, and tell where they went; give the nodes' own entries."""
        count = -(-len(entries) // self._capacity)
        tall = self._capacity * int(np.ceil(np.sqrt(count)))
        left, right, top, bottom = entries["box"].T.astype(float)
        column = np.argsort(np.argsort(left + right, kind="stable")) // tall
        entries = entries[np.lexsort((top + bottom, column))]
        nodes = np.zeros(count, self._node)
        begins = np.arange(count) * self._capacity
        nodes["count"] = np.diff(np.append(begins, len(entries)))
        place = np.arange(len(entries))
        which = place // self._capacity
        nodes["entries"][which, place % self._capacity] = entries
        above = np.zeros(count, _ENTRY)
        above["number"] = numbers = self._next + np.arange(count)
        self._next += count
        box = entries["box"].astype(np.float32)
        above["box"][:, ::2] = np.minimum.reduceat(box[:, ::2], begins)
        above["box"][:, 1::2] = np.maximum.reduceat(box[:, 1::2], begins)
        stored = zip(numbers.tolist(), (node.tobytes() for node in nodes), strict=True)
        insert(self._database, f"{self._name}_node", list(stored))
        self._tell(kind, entries["number"], numbers[which])
        return above

    def _tell(self, kind: str, numbers: NDArray[Any], nodes: NDArray[np.int64]) -> None:
        order = np.argsort(numbers)
        rows = zip(numbers[order].tolist(), nodes[order].tolist(), strict=True)
        insert(self._database, f"{self._name}_{kind}", list(rows))


def insert(database: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many a statement: with each one the interpreter changes hands."""
    many = _VALUES // len(rows[0]) if rows else 1
    for first in range(0, len(rows), many):
        some = rows[first : first + many]
        places = f"({', '.join('?' * len(some[0]))})"
        values = itertools.chain.from_iterable(some)
        places = ", ".join([places] * len(some))
        database.execute(f"INSERT INTO {table} VALUES {places}", list(values))
