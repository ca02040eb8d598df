"""What the judges of all notebooks share: plain data in, one clear sentence out.

A judge reads best as a table: first what makes the result unusable (`first_problem`), then the right result and the results
of the well-known mistakes, side by side (`compare`). A mistake is named only when the student's numbers are the
numbers that this mistake gives; anything else stays "wrong" without a name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from labutils.course.exercise import Status, Verdict

RTOL = 1e-4
"""Largest difference that still counts as the same, as a share of the largest absolute value expected.

float32 keeps about 1e-7; a network's sums over thousands of terms, taken in another order (another batch size, another
machine's kernels), have been seen to move results by some 1e-6 to 1e-5 of their scale. The mistakes told apart
here move them by 1e-2 and more.
"""


LARGEST_INTEGER = 2**63
"""Larger ones are no number that an array or a float could hold."""


def as_answers(mistakes: Mapping[str, tuple[Callable, str]]) -> dict[str, Callable]:
    """Mistakes (name -> a wrong answer, the sentence for the student) as an exercise's ``wrong`` has them."""
    return {name: functools.partial(lambda answer: answer, answer) for name, (answer, _) in mistakes.items()}


def results_of(mistakes: Mapping[str, tuple[Callable, str]], *asked: Any) -> dict[str, tuple[Any, str]]:
    """Mistakes as `compare` and `verdict_on_array` take them: name -> (what the answer gives in this case, the sentence)."""
    with np.errstate(all="ignore"):  # dividing by zero may be the very mistake
        return {name: (answer(*asked), message) for name, (answer, message) in mistakes.items()}


def passed(message: str = "") -> Verdict:
    """The verdict on a right answer."""
    return Verdict(Status.PASSED, message)


def wrong(message: str, mistake: str = "") -> Verdict:
    """The verdict on a wrong answer; ``mistake`` is the diagnosis, where there is one."""
    return Verdict(Status.WRONG, message, mistake)


def plain(value: Any) -> Any:
    """Copy an answer's result into plain data: arrays, numbers, text, None, lists and dicts of these.

    TensorFlow tensors, Keras variables, PIL images and NumPy scalars become arrays or numbers, tuples become lists.
    What cannot be plain data (a generator, a model, an array of objects) becomes ``{"unreadable": its type}``, so that
    a judge can say so. It never raises on account of the value, and never hands out an object whose methods
    the student wrote.
    """
    if type(value) is int and abs(value) > LARGEST_INTEGER:
        return {"unreadable": "int of very many digits"}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    try:
        array = np.array(value)  # a copy, and of the base class
    except Exception:
        return {"unreadable": type(value).__name__}
    if array.dtype.kind not in "biuf":
        return str(array) if array.dtype.kind == "U" and array.ndim == 0 else {"unreadable": type(value).__name__}
    return array.item() if array.ndim == 0 and isinstance(value, np.generic | int | float) else array


def described(value: Any) -> str:
    """What a plain value is, in words for a message: ``"a list of 3"``, ``"an array of shape (3, 224, 224, 3)"``."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict) and set(value) == {"unreadable"}:
        return f"an object of type {value['unreadable']}"
    if value is None:
        return "None"
    article = "an" if type(value).__name__[0] in "aeiou" else "a"
    return f"{article} {type(value).__name__}"


def first_problem(
    found: Any,
    shape: Sequence[int | None],
    *,
    what: str,
    axes: str = "",
    kinds: str = "f",
    finite: bool = True,
) -> Verdict | None:
    """Say what makes a result unusable before its values are looked at, or None.

    Parameters
    ----------
    found : plain data
        What `plain` made of the answer's result.
    shape : sequence of int or None
        The shape asked for; None takes any length.
    what : str
        What the result is called in the message, ``"`predict`'s result"``.
    axes : str
        The names of the axes, for the message: ``"photos, height, width, colours"``.
    kinds : str
        NumPy dtype kinds that will do: ``"f"`` floats, ``"ui"`` integers.
    finite : bool
        Whether NaN and infinity are a problem.

    Returns
    -------
    Verdict or None
        ``mistake`` is one of "nothing_returned", "not_an_array", "wrong_shape", "wrong_dtype", "not_finite".
    """
    if found is None:
        return wrong(f"{what} is None. Is a `return` missing?", "nothing_returned")
    if not isinstance(found, np.ndarray):
        return wrong(f"{what} is {described(found)}; a NumPy array is asked for.", "not_an_array")
    if len(found.shape) != len(shape) or any(
        want not in (None, got) for got, want in zip(found.shape, shape, strict=True)
    ):
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        meaning = f", that is ({axes})" if axes else ""
        return wrong(f"{what} has shape {found.shape}; it should be {wanted}{meaning}.", "wrong_shape")
    if found.dtype.kind not in kinds:
        wanted = " or ".join(
            {"f": "floats", "u": "unsigned integers", "i": "integers", "b": "booleans"}[k] for k in kinds
        )
        return wrong(f"{what} has dtype {found.dtype}; {wanted} are asked for.", "wrong_dtype")
    if finite and found.dtype.kind == "f" and not np.isfinite(found).all():
        return wrong(f"{what} holds NaN or infinity. Is something divided by zero?", "not_finite")
    return None


def same(found: Any, expected: Any, *, rtol: float = RTOL) -> bool:
    """Whether two arrays of numbers agree to ``rtol`` of the expected one's largest absolute value.

    Shapes must be equal. Integers, and an expected array that is zero everywhere, must agree exactly.
    """
    try:
        found, expected = np.asarray(found), np.asarray(expected)
    except ValueError:  # lists within lists, of different lengths
        return False
    if found.shape != expected.shape or found.dtype.kind not in "biuf":
        return False
    if found.size == 0:
        return True
    found64, expected64 = found.astype(np.float64), expected.astype(np.float64)
    allowed = 0.0 if expected.dtype.kind in "biu" else rtol * np.abs(expected64).max()
    return bool((np.abs(found64 - expected64) <= allowed).all())  # False for NaN


def closest_mistake(found: Any, mistakes: Mapping[str, Any], *, rtol: float = RTOL) -> str:
    """The name of the mistake whose result the student's is (by `same`, the closest if several); "" where none is."""
    matching = [name for name, twin in mistakes.items() if same(found, twin, rtol=rtol)]

    def distance(name: str) -> float:
        return float(np.abs(np.asarray(found, np.float64) - np.asarray(mistakes[name], np.float64)).max(initial=0.0))

    return min(matching, key=distance, default="")


def compare(
    found: Any,
    expected: Any,
    mistakes: Mapping[str, tuple[Any, str]],
    *,
    otherwise: str,
    rtol: float = RTOL,
) -> Verdict:
    """Passed, or wrong with the mistake that gives just these numbers.

    Parameters
    ----------
    found, expected : array
        The student's result (checked by `first_problem`) and the right one.
    mistakes : mapping
        Mistake name -> (the result it gives, the sentence for the student). A mistake whose result is the right one in
        this case (a ReLU missing where nothing is negative) cannot be told and is not named.
    otherwise : str
        The sentence where no known mistake fits.
    """
    if same(found, expected, rtol=rtol):
        return passed()
    name = closest_mistake(found, {name: twin for name, (twin, _) in mistakes.items()}, rtol=rtol)
    return wrong(mistakes[name][1], name) if name else wrong(otherwise)


def verdict_on_array(
    found: Any,
    expected: np.ndarray,
    mistakes: Mapping[str, tuple[Any, str]],
    *,
    what: str,
    otherwise: str,
    axes: str = "",
    kinds: str = "f",
    rtol: float = RTOL,
) -> Verdict:
    """Right, one of the known mistakes (also those that give another shape), unusable, or wrong without a name.

    ``mistakes`` maps a mistake's name to the array that it gives and the sentence for the student, ``otherwise`` is the
    sentence for a result that is none of these; the others are those of `first_problem` and `closest_mistake`.
    """
    if isinstance(found, np.ndarray):
        if same(found, expected, rtol=rtol) and found.dtype.kind in kinds:
            return passed()
        name = closest_mistake(found, {name: twin for name, (twin, _) in mistakes.items()}, rtol=rtol)
        if name:
            return wrong(mistakes[name][1], name)
    return first_problem(found, expected.shape, what=what, axes=axes, kinds=kinds) or wrong(otherwise)


def as_number(found: Any) -> float | None:
    """A result that is one number, in whatever wrapping; None for anything else, truth values among them."""
    if isinstance(found, np.ndarray) and found.size == 1 and found.dtype.kind in "iuf":
        found = found.item()
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
