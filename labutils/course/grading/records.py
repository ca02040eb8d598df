"""How results leave the process of a student's code: one JSON file and its ``.npy`` files, and no pickles.

What is read here was written beside code that may be hostile. Every file must be a plain one, of limited size, and say
what it holds; anything else is a `BadRecord`.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from labutils.course.grading.writing import write_whole

TEXT_BYTES = 2**20
"""Largest JSON file that is read. Arrays are not in it."""

MOST_NUMBERS = 3_000_000
"""Most elements of an array: judges take time for each, whatever it has of bytes."""


class BadRecord(ValueError):
    """There is no complete record, or not one that can be read; the text says which."""


def write(folder: Path, name: str, record: Any) -> None:
    """Write a record of plain data (`labutils.course.judging.plain`); its JSON file comes last and makes it complete."""
    arrays: list[np.ndarray] = []
    text = json.dumps(_packed(record, arrays))
    for number, array in enumerate(arrays):
        np.save(folder / f"{name}-{number}.npy", array, allow_pickle=False)
    write_whole(folder / f"{name}.json", text)


def read(folder: Path, name: str, largest: int) -> Any:
    """Read what `write` wrote, its arrays together at most ``largest`` bytes, and delete it.

    Raises
    ------
    BadRecord
        A file is missing, no plain file, too large, or holds something else than plain data.
    """
    text = _contents(folder / f"{name}.json", TEXT_BYTES)
    try:
        return _unpacked(json.loads(text), _Arrays(folder, name, largest))
    except BadRecord:
        raise
    except Exception:  # written by anybody: NumPy's and Python's readers raise many kinds
        raise BadRecord("the result is not put together as a record is") from None


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, list):
        return [_packed(item, arrays) for item in value]
    if isinstance(value, dict):
        return {"dict": {key: _packed(item, arrays) for key, item in value.items()}}
    return value


def _unpacked(packed: Any, arrays: _Arrays) -> Any:
    if isinstance(packed, list):
        return [_unpacked(item, arrays) for item in packed]
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items() if len(packed) == 1 else [("", None)]
    if kind == "array" and type(content) is int and content >= 0:
        return arrays.take(content)
    if kind == "dict":
        return {key: _unpacked(item, arrays) for key, item in content.items()}
    raise TypeError(kind)


class _Arrays:
    """The arrays of one record, each read once, within a budget of bytes."""

    def __init__(self, folder: Path, name: str, largest: int):
        self.folder, self.name, self.left = folder, name, largest

    def take(self, number: int) -> np.ndarray:
        data = _contents(self.folder / f"{self.name}-{number}.npy", self.left)
        self.left -= len(data)
        return _array(data)


def _array(data: bytes) -> np.ndarray:
    """An array from the bytes of its file. The header is not believed: it may claim a shape of terabytes."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = header(file)
    except Exception:
        raise BadRecord("an array's file has no header that can be read") from None
    if dtype.kind not in "biuf":
        raise BadRecord(f"an array has dtype {dtype.str}, which is not plain numbers")
    held = data[file.tell() :]
    if math.prod(shape) * dtype.itemsize != len(held) or min(shape, default=0) < 0:
        raise BadRecord("an array's file does not hold what its header says")
    if math.prod(shape) > MOST_NUMBERS:
        raise BadRecord("an array is too large")
    return np.frombuffer(held, dtype).reshape(shape, order="F" if fortran else "C").copy()


def _contents(path: Path, largest: int) -> bytes:
    """The bytes of a plain file of at most ``largest`` bytes, which is deleted; links, pipes, devices are refused."""
    try:
        with open(path, "rb", opener=_open_as_it_is) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BadRecord("the result's file is no plain file")
            if found.st_size > largest:
                raise BadRecord("the result is too large")
            data = file.read(found.st_size)
    except FileNotFoundError:
        raise BadRecord("there is no completed result") from None
    except OSError:
        raise BadRecord("the result's file cannot be read") from None
    with contextlib.suppress(OSError):  # its folder may be closed to us; it goes with the folder
        path.unlink()
    return data


def _open_as_it_is(path: str, flags: int) -> int:
    """Open a file, neither following a link nor waiting for the other end of a pipe (on Windows there are none)."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
