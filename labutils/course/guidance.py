"""Help that a student asks for: hints one at a time, and the reference to go on with."""

from __future__ import annotations

from typing import Any

from labutils.course import registry
from labutils.course.display import show
from labutils.course.exercise import TodoNotDone

CARRY_ON = (
    "This is the reference from `catch_up`: the notebook goes on with it, the exercise stays open and gives no points."
)

being_graded = ""
"""The id of the exercise whose answer is graded in this process, which `catch_up` does not give."""

_hints_given: dict[str, int] = {}
_handed_out: dict[str, Any] = {}


def hint(exercise_id: str) -> None:
    """Show the next of an exercise's three hints; after the third, all of them again."""
    exercise = registry.find(exercise_id)
    given = _hints_given.get(exercise_id, 0)
    if given == len(exercise.hints):
        everything = "\n".join(f"{n}. {text}" for n, text in enumerate(exercise.hints, 1))
        show(f"{exercise_id}: these were all hints", f"{everything}\n{_way_on(exercise_id, exercise.answer)}", "hint")
        return
    _hints_given[exercise_id] = given + 1
    show(f"{exercise_id}: hint {given + 1} of {len(exercise.hints)}", exercise.hints[given], "hint")


def catch_up(exercise_id: str) -> Any:
    """Hand out the reference of an exercise, so that the rest of the notebook can be done, and say so.

    Examples
    --------
    >>> predict = catch_up("01.predict")  # at the end of the exercise's cell
    """
    exercise = registry.find(exercise_id)
    if exercise_id == being_graded:
        raise TodoNotDone(exercise_id)
    _handed_out[exercise_id] = reference = exercise.reference()
    show(
        f"{exercise_id}: going on with the reference",
        f"`{exercise.answer}` is now the course's own. No points for this one; take this line away to try again.",
        "hint",
    )
    return reference


def was_handed_out(exercise_id: str, answer: Any) -> bool:
    """Whether an answer is the very object that `catch_up` gave."""
    return exercise_id in _handed_out and answer is _handed_out[exercise_id]


def _way_on(exercise_id: str, name: str) -> str:
    return f'To go on without it, end the exercise\'s cell with: `{name} = catch_up("{exercise_id}")`'
