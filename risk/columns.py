"""The columns of a query as NumPy arrays, without a Python object for any row.

The server gathers each column into one array, with as many workers as it likes, and sends it in binary, so neither
side handles single rows. Every column must be a bigint or a double precision and never NULL: then all values are
equally long, and an array is the bytes as they came.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from django.db import connection

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

T = TypeVar("T")

# Of an array on the wire: dimensions, whether any value is NULL, the type, then length and lower bound.
HEAD: Final = np.dtype([("dimensions", ">i4"), ("nulls", ">i4"), ("type", ">i4")])
BOUNDS: Final = 8
TYPES: Final = {20: ">i8", 701: ">f8"}  # int8 and float8, as PostgreSQL numbers its types


def read(kind: type[T], statement: str, arguments: Mapping[str, Any]) -> T:
    """What `statement` selects, as `kind`: a dataclass of `Ints` and `Floats` that names the columns in their order.

    The rows stay in the statement's order, if it has one. All of them come in one message, of which the server makes
    none above 1 GB: some twelve million rows of seven columns.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    gathered = ", ".join(f'array_agg(t."{name}")' for name in names)
    columns = ", ".join(f'"{name}"' for name in names)  # one of them may be a word of SQL
    chosen = f"SELECT {gathered} FROM ({statement}) AS t ({columns})"  # noqa: S608  our own names
    with (
        connection.cursor() as cursor,
        cursor.copy(cursor.mogrify(f"COPY ({chosen}) TO STDOUT (FORMAT binary)", arguments)) as copy,
    ):
        [row] = copy.rows()
    return kind(*(_values(found, field) for field, found in zip(fields(kind), row, strict=True)))  # type: ignore[arg-type]


def numbers(statement: str, arguments: Mapping[str, Any]) -> Ints:
    """The one column of ids that `statement` selects; for few of them."""
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return np.array([row[0] for row in cursor.fetchall()], dtype=np.int64)


def taken(rows: T, keep: Flags) -> T:
    """Those of the rows that are to be kept."""
    return type(rows)(*(getattr(rows, field.name)[keep] for field in fields(rows)))  # type: ignore[arg-type]


def joined(rows: T, more: T) -> T:
    """All of the one, then all of the other."""
    pairs = ([getattr(rows, field.name), getattr(more, field.name)] for field in fields(rows))  # type: ignore[arg-type]
    return type(rows)(*(np.concatenate(pair) for pair in pairs))


def sums(place: Ints, figures: Floats, size: int) -> Floats:
    """The sum of the figures at each of `size` places."""
    found: Floats = np.bincount(place, weights=figures, minlength=size).astype(np.float64, copy=False)
    return found


def _values(array: bytes | None, field: Any) -> npt.NDArray[Any]:
    kind = np.int64 if field.type == Ints else np.float64
    if array is None:  # gathered from no rows
        return np.empty(0, dtype=kind)
    head = np.frombuffer(array, HEAD, 1)[0]
    assert head["dimensions"] == 1, "an array of at least one value has one dimension"
    assert head["nulls"] == 0, "a column that may be NULL has no fixed width"
    cell = np.dtype([("length", ">i4"), ("value", TYPES[int(head["type"])])])
    return np.frombuffer(array, cell, offset=HEAD.itemsize + BOUNDS)["value"].astype(kind)


class Index:
    """Where each id stands in an array of distinct ids."""

    def __init__(self, ids: Ints) -> None:
        rises = bool((ids[1:] > ids[:-1]).all())
        self._order: Ints | None = None if rises else np.argsort(ids, kind="stable")
        self._sorted = ids if self._order is None else ids[self._order]

    def find(self, wanted: Ints) -> Ints:
        """The places of the wanted ids; -1 for one that is not there."""
        if not self._sorted.size:
            return np.full(wanted.size, -1, dtype=np.int64)
        place: Ints = np.searchsorted(self._sorted, wanted).astype(np.int64)
        place[place == self._sorted.size] = 0
        is_there = self._sorted[place] == wanted
        if self._order is not None:
            place = self._order[place]
        return np.where(is_there, place, -1)
