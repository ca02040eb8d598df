"""The helpers that judges share."""

import functools

import numpy as np
import pytest

from labutils.course import Status
from labutils.course.judging import (
    RTOL,
    as_number,
    closest_mistake,
    compare,
    described,
    first_problem,
    plain,
    same,
    verdict_on_array,
)


class Liar:
    """Claims to be equal to everything, and to be an array of its choice."""

    def __eq__(self, other):
        return True

    __hash__ = None

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("caught you")


class Text(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class Subclass(np.ndarray):
    def __eq__(self, other):
        return np.True_


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "cat", [1, ["a", None]], {"a": [1.5]}])
def test_plain_keeps_plain_data(value):
    assert plain(value) == value


def test_plain_makes_lists_numbers_and_arrays_of_their_relatives():
    assert plain((1, (2, "a"))) == [1, [2, "a"]]
    assert type(plain(np.float32(0.5))) is float
    assert type(plain(np.int64(3))) is int
    assert plain({1: "a"}) == {"1": "a"}


def test_plain_copies_arrays():
    array = np.zeros(3)
    copy = plain(array)
    array[:] = 1
    assert not copy.any()


def test_plain_takes_tensors_and_pictures():
    import tensorflow as tf
    from PIL import Image

    assert plain(tf.constant([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert plain(Image.new("RGB", (4, 2))).shape == (2, 4, 3)


def test_plain_lets_nothing_through_whose_methods_a_student_wrote():
    assert type(plain(Text("dog"))) is str
    assert type(plain(np.zeros(2).view(Subclass))) is np.ndarray
    assert plain(Liar()) == {"unreadable": "Liar"}


@pytest.mark.parametrize(
    "value", [object(), (n for n in "ab"), np.array([None]), {1, 2}, lambda: 0, 1j, functools.partial(int)]
)
def test_plain_names_what_it_cannot_read(value):
    assert plain(value) == {"unreadable": type(value).__name__}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((2, 3)), "an array of shape (2, 3)"),
        ([1, 2], "a list of 2"),
        (None, "None"),
        ("x", "a str"),
        (3, "an int"),
        ({"unreadable": "Model"}, "an object of type Model"),
    ],
)
def test_described_in_words(value, words):
    assert described(value) == words


@pytest.mark.parametrize(
    ("found", "mistake", "words"),
    [
        (None, "nothing_returned", "`return`"),
        ([1.0], "not_an_array", "a list of 1"),
        (np.zeros((3, 2)), "wrong_shape", "(2, any), that is (photos, classes)"),
        (np.zeros((2, 3), int), "wrong_dtype", "int64"),
        (np.array([[1.0, np.nan]] * 2), "not_finite", "NaN"),
    ],
)
def test_first_problem_says_what_is_unusable(found, mistake, words):
    verdict = first_problem(found, (2, None), what="the result", axes="photos, classes")
    assert (verdict.status, verdict.mistake) == (Status.WRONG, mistake)
    assert words in verdict.message


def test_first_problem_is_none_for_a_usable_array():
    assert first_problem(np.zeros((2, 5), "float32"), (2, None), what="the result") is None
    assert first_problem(np.zeros(2, "uint8"), (2,), what="the result", kinds="ui") is None


def test_same_is_relative_to_the_largest_expected_value():
    expected = np.array([0.0, 1000.0])
    assert same(expected + 0.9 * 1000 * RTOL, expected)
    assert not same(expected + 1.1 * 1000 * RTOL, expected)


def test_same_is_exact_for_integers_and_for_zero():
    assert not same(np.array([1.0, 2.0001]), np.array([1, 2]))
    assert not same(np.array([1e-30]), np.zeros(1))
    assert same(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (np.zeros((1, 3)), np.zeros(3)),
        (np.array([np.nan]), np.array([1.0])),
        ("a", np.array(1.0)),
        (["a"], np.ones(1)),
        ([[], [1]], np.ones(2)),
    ],
)
def test_same_is_false_for_other_shapes_nan_text_and_ragged_lists(found, expected):
    assert not same(found, expected)


def test_same_does_not_wrap_unsigned_integers():
    assert not same(np.array([0], "uint8"), np.array([255], "uint8"))


def test_closest_mistake_is_the_nearest_of_those_that_fit():
    twins = {"far": np.array([1.0, 2.0]), "near": np.array([1.0, 2.00001])}
    assert closest_mistake(np.array([1.0, 2.00001]), twins) == "near"
    assert closest_mistake(np.array([5.0, 2.0]), twins) == ""


def test_compare_accepts_the_right_result_even_where_a_mistake_gives_the_same():
    right = np.array([1.0, 2.0])
    assert compare(right, right, {"no_relu": (right, "A ReLU is missing.")}, otherwise="No.").passed
    verdict = compare(-right, right, {"sign": (-right, "The sign is wrong.")}, otherwise="No.")
    assert (verdict.mistake, verdict.message) == ("sign", "The sign is wrong.")
    verdict = compare(3 * right, right, {"sign": (-right, "The sign is wrong.")}, otherwise="No.")
    assert (verdict.status, verdict.mistake, verdict.message) == (Status.WRONG, "", "No.")


@pytest.mark.parametrize(
    ("found", "number"),
    [(3, 3.0), (0.5, 0.5), (np.array([[2]]), 2.0), (np.array(1.5, np.float32), 1.5)],
)
def test_one_number_in_whatever_wrapping(found, number):
    assert as_number(found) == number


@pytest.mark.parametrize("found", [True, np.array(True), np.array([1, 2]), "3", None, [3], {"unreadable": "set"}])
def test_what_is_not_one_number(found):
    assert as_number(found) is None


@pytest.mark.parametrize(
    ("found", "mistake"),
    [
        (np.array([1.0, 2.0]), None),
        (np.array([2.0, 1.0]), "reversed"),
        (np.array([3.0]), "summed"),  # a mistake that gives another shape
        (np.array([7.0, 7.0]), ""),
        (np.array([1, 2]), "wrong_dtype"),  # right, but of a kind that is not wanted
        ("text", "not_an_array"),
    ],
)
def test_verdict_on_array(found, mistake):
    mistakes = {"reversed": (np.array([2.0, 1.0]), "Backwards."), "summed": (np.array([3.0]), "Summed.")}
    verdict = verdict_on_array(found, np.array([1.0, 2.0]), mistakes, what="the result", otherwise="No.")
    if mistake is None:
        assert verdict.passed
    else:
        assert verdict.status is Status.WRONG
        assert verdict.mistake == mistake
        assert verdict.message
