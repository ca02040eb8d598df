"""Plain data from a process that may be hostile: whole and exact, or refused with a reason."""

import json
import os
import pickle

import numpy as np
import pytest

from labutils.course.grading import records
from labutils.course.grading.records import BadRecord

NAME = "4f0e"
LARGEST = 10**6

RECORDS = {
    "nothing": None,
    "numbers": [1, -2.5, True, None, 10**30],
    "not finite": [float("inf")],
    "texts": {"a": "é\U0001f600", "": ""},
    "a dictionary that looks like an array": {"array": 0},
    "a dictionary that looks like a dictionary": {"dict": {"a": 1}},
    "arrays": {
        "a": [np.arange(6.0).reshape(2, 3), {"b": np.array([True, False])}],
        "c": np.float32(0.1 * np.ones((2, 2))),
    },
    "an array of one number": np.array(3, "int8"),
    "an empty array": np.zeros((0, 3)),
    "the other order": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "the other end first": np.arange(3, dtype=">i4"),
}


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other, equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_what_is_written_is_read_and_then_gone(tmp_path, record):
    records.write(tmp_path, NAME, record)
    assert same(records.read(tmp_path, NAME, LARGEST), record)
    assert list(tmp_path.iterdir()) == []


def test_arrays_that_are_read_can_be_written_to(tmp_path):
    records.write(tmp_path, NAME, np.zeros(3))
    records.read(tmp_path, NAME, LARGEST)[0] = 1


def test_without_its_last_file_there_is_no_record(tmp_path):
    records.write(tmp_path, NAME, np.zeros(3))
    (tmp_path / f"{NAME}.json").unlink()
    with pytest.raises(BadRecord, match="no completed result"):
        records.read(tmp_path, NAME, LARGEST)


def test_another_name_is_no_record(tmp_path):
    records.write(tmp_path, "guessed", 1)
    with pytest.raises(BadRecord, match="no completed result"):
        records.read(tmp_path, NAME, LARGEST)


@pytest.mark.parametrize(
    "value", [np.array([None]), np.array(["a"]), np.zeros(2, [("a", int)])], ids=["objects", "texts", "fields"]
)
def test_other_arrays_than_of_numbers_are_refused(tmp_path, value):
    np.save(tmp_path / f"{NAME}-0.npy", value, allow_pickle=True)
    (tmp_path / f"{NAME}.json").write_text('{"array": 0}', encoding="utf-8")
    with pytest.raises(BadRecord, match="not plain numbers"):
        records.read(tmp_path, NAME, LARGEST)


def header(shape):
    text = str({"descr": "<f8", "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


FILES = {
    "a shape of terabytes": header((10**12,)) + bytes(80),
    "a negative shape": header((-1, -10)) + bytes(80),
    "more than it says": header((2,)) + bytes(80),
    "no header": b"\x93NUMPY\x01\x00",
    "a version of its own": b"\x93NUMPY\x09\x00" + bytes(100),
    "a pickle": pickle.dumps([1]),
    "nothing": b"",
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_an_arrays_file_must_be_what_it_says(tmp_path, data):
    (tmp_path / f"{NAME}-0.npy").write_bytes(data)
    (tmp_path / f"{NAME}.json").write_text('{"array": 0}', encoding="utf-8")
    with pytest.raises(BadRecord):
        records.read(tmp_path, NAME, LARGEST)


TEXTS = {
    "no JSON": "{",
    "nested without end": "[" * 200_000,
    "an integer of many digits": "9" * 10_000,
    "a mapping of another kind": '{"object": 1}',
    "a mapping of two": '{"dict": {}, "array": 0}',
    "an array of no number": '{"array": "../../etc/passwd"}',
    "an array before the first": '{"array": -1}',
    "an array that is not there": '{"array": 7}',
    "a dictionary that is none": '{"dict": 3}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_text_must_be_a_record(tmp_path, text):
    (tmp_path / f"{NAME}.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadRecord):
        records.read(tmp_path, NAME, LARGEST)


def test_no_more_is_read_than_asked_for(tmp_path):
    records.write(tmp_path, NAME, [np.zeros(60_000), np.zeros(60_000), np.zeros(60_000)])
    with pytest.raises(BadRecord, match="too large"):
        records.read(tmp_path, NAME, LARGEST)


def test_one_array_named_twice_is_read_once(tmp_path):
    records.write(tmp_path, NAME, np.zeros(3))
    (tmp_path / f"{NAME}.json").write_text(json.dumps([{"array": 0}] * 2), encoding="utf-8")
    with pytest.raises(BadRecord):
        records.read(tmp_path, NAME, LARGEST)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_plain_file_is_neither_followed_nor_waited_for(tmp_path, kind):
    place = tmp_path / f"{NAME}.json"
    (tmp_path / "secret").write_text("1", encoding="utf-8")
    {"link": lambda: place.symlink_to(tmp_path / "secret"), "pipe": lambda: os.mkfifo(place), "folder": place.mkdir}[
        kind
    ]()
    with pytest.raises(BadRecord, match=r"cannot be read|plain file"):
        records.read(tmp_path, NAME, LARGEST)
