"""Tables of ours as DuckDB reads them where they are in memory: by Arrow's C data interface, and texts by Arrow's
views. https://arrow.apache.org/docs/format/CDataInterface.html"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.cells import Column, Heads

_NULLABLE = 2
_INLINE_BYTES = 12  # a text of as many is in its view itself


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


_ReleaseSchema = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))
_ReleaseArray = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))
_Schema._fields_ = (
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.c_void_p),
    ("release", _ReleaseSchema),
    ("private_data", ctypes.c_void_p),
)
_Array._fields_ = (
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", _ReleaseArray),
    ("private_data", ctypes.c_void_p),
)


def _released(of: Any) -> None:
    of.contents.release = type(of.contents.release)()  # the memory is ours, as long as the relation is registered


_release_schema, _release_array = _ReleaseSchema(_released), _ReleaseArray(_released)


_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype = ctypes.py_object
_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class ArrowColumn:
    format: bytes  # as Arrow names a type
    buffers: tuple[NDArray[Any] | None, ...]  # the first: a bit for each cell that is not null


def numbers(values: NDArray[np.int64]) -> ArrowColumn:
    return ArrowColumn(b"l", (None, values))


def texts(views: NDArray[np.uint64], data: Sequence[NDArray[np.uint8]], nulls: NDArray[np.bool_]) -> ArrowColumn:
    there = np.packbits(~nulls, bitorder="little") if nulls.any() else None
    sizes = np.array([len(one) for one in data], np.int64)
    return ArrowColumn(b"vu", (there, views, *data, sizes))


def views_of(column: Column, heads: Heads, data: int) -> NDArray[np.uint64]:
    """Of texts of UTF-8 in the data of this number."""
    half = np.uint64(32)
    views = np.empty((len(column.lengths), 2), np.uint64)
    views[:, 0] = heads.low << half | column.lengths.astype(np.uint64)
    elsewhere = column.starts.astype(np.uint64) << half | np.uint64(data)
    views[:, 1] = np.where(column.lengths > _INLINE_BYTES, elsewhere, heads.high << half | heads.low >> half)
    return views


class _Table:
    def __init__(self, columns: dict[str, ArrowColumn], length: int) -> None:
        self._columns = columns
        self._length = length
        self._kept: list[Any] = []  # as long as DuckDB may look at it

    def __arrow_c_schema__(self) -> object:
        children = [
            _Schema(one.format, name.encode(), None, _NULLABLE, 0, None, None, _release_schema, None)
            for name, one in self._columns.items()
        ]
        pointers = self._pointers(_Schema, children)
        whole = _Schema(b"+s", b"", None, 0, len(children), pointers, None, _release_schema, None)
        return self._capsule(whole, b"arrow_schema")

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        children = [self._array(one) for one in self._columns.values()]
        pointers = self._pointers(_Array, children)
        none = self._keep((ctypes.c_void_p * 1)(None))
        whole = _Array(self._length, 0, 0, 1, len(children), none, pointers, None, _release_array, None)
        return self.__arrow_c_schema__(), self._capsule(whole, b"arrow_array")

    def _array(self, column: ArrowColumn) -> _Array:
        addresses = [None if one is None else one.ctypes.data for one in column.buffers]
        buffers = self._keep((ctypes.c_void_p * len(addresses))(*addresses))
        unknown = 0 if column.buffers[0] is None else -1
        return _Array(self._length, unknown, 0, len(addresses), 0, buffers, None, None, _release_array, None)

    def _pointers(self, kind: Any, children: list[Any]) -> Any:
        return self._keep((ctypes.POINTER(kind) * len(children))(*map(ctypes.pointer, children)))

    def _capsule(self, whole: Any, name: bytes) -> object:
        return _capsule(ctypes.addressof(self._keep(whole)), name, None)

    def _keep(self, one: Any) -> Any:
        self._kept.append(one)
        return one


@contextmanager
def registered(
    connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, ArrowColumn], length: int
) -> Iterator[None]:
    """They are a relation of this name within the block."""
    connection.register(name, _Table(columns, length))
    try:
        yield
    finally:
        connection.unregister(name)
