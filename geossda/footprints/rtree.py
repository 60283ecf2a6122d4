"""Bulk loading of SQLite's R-tree.

Inserting boxes one by one searches the tree for each, and takes longer than writing the table. Here
boxes are packed into full nodes (sort-tile-recursive packing, Leutenegger et al. 1997), which are
also fewer and overlap less. A node has a depth (of the root), a count, and entries of an id and
four 32-bit floats, all big-endian: https://sqlite.org/rtree.html.
"""

import itertools
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ENTRY = np.dtype([("number", ">i8"), ("box", ">f4", 4)])
# Values inserted per statement; every SQLite takes 999.
_VALUES_PER_STATEMENT = 900
# Entries that are packed at a time: those of a node of nodes, or more.
_PACKED_AT_ONCE = 4096


class Index:
    """Bulk loader of a new, empty R-tree of two dimensions.

    Parameters
    ----------
    database : sqlite3.Connection
    name : str
        Name of the virtual table.
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
        """Add boxes.

        Parameters
        ----------
        numbers : (n,) int array
            Row ids.
        bounds : (n, 4) float array
            Least x, least y, greatest x and greatest y.
        """
        entries = np.zeros(len(numbers), _ENTRY)
        entries["number"] = numbers
        # Rounded outward to 32 bits, as SQLite does.
        boxes = bounds[:, [0, 2, 1, 3]]
        near = boxes.astype(np.float32)
        outward = np.array([-1, 1, -1, 1]) * np.sign(boxes)
        short = (near > boxes) == np.array([True, False, True, False])
        grown = (boxes * (1 + outward * 2.0**-23)).astype(np.float32)
        entries["box"] = np.where(short & (near != boxes), grown, near)
        self._waiting.append(entries)
        if sum(map(len, self._waiting)) >= _PACKED_AT_ONCE:
            self._pack()

    def finish(self) -> None:
        """Write the upper nodes; no box may be added afterwards."""
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
            self._record_nodes("parent", level["number"], np.ones(len(level), int))

    def _pack(self) -> None:
        if self._waiting:
            self._leaves.append(self._store(np.concatenate(self._waiting), "rowid"))
        self._waiting = []

    def _store(self, entries: NDArray[Any], kind: str) -> NDArray[Any]:
        """Write entries into nodes, record where each went, and return the nodes' own entries."""
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
        self._record_nodes(kind, entries["number"], numbers[which])
        return above

    def _record_nodes(self, kind: str, numbers: NDArray[Any], nodes: NDArray[np.int64]) -> None:
        order = np.argsort(numbers)
        rows = zip(numbers[order].tolist(), nodes[order].tolist(), strict=True)
        insert(self._database, f"{self._name}_{kind}", list(rows))


def insert(database: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many per statement: each statement releases the interpreter's lock.

    Parameters
    ----------
    database : sqlite3.Connection
    table : str
    rows : sequence of tuples
        All of one length.
    """
    many = _VALUES_PER_STATEMENT // len(rows[0]) if rows else 1
    for first in range(0, len(rows), many):
        batch = rows[first : first + many]
        places = f"({', '.join('?' * len(batch[0]))})"
        values = itertools.chain.from_iterable(batch)
        places = ", ".join([places] * len(batch))
        database.execute(f"INSERT INTO {table} VALUES {places}", list(values))
