"""What grading hands over: plain records, kept apart from how they were found and from how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Mark(StrEnum):
    """What became of one exercise in one submission. Only PASSED gives points."""

    PASSED = "passed"
    WRONG = "wrong"
    RAISED = "raised"
    NOT_ATTEMPTED = "not attempted"
    STOPPED = "stopped"  # a limit was reached (time, memory, output), or the process ended without a result
    MISSING = "missing"  # the notebook holds no cell for this exercise
    NOT_CODE = "not code"  # its cell was turned into text
    UNREADABLE = "unreadable"  # the file is not a notebook
    NOT_HANDED_IN = "not handed in"
    CHECK_FAILED = "check failed"  # the course's own fault: an instructor must look


@dataclass(frozen=True)
class Result:
    """One exercise of one submission.

    ``reason`` is for the student; ``mistake`` is the diagnosed misconception's short name, or ""; ``code`` is the
    student's code that was graded; ``notes`` say what was odd about its cell.
    """

    exercise: str
    mark: Mark
    reason: str = ""
    mistake: str = ""
    code: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class GradedNotebook:
    """One notebook of one student; ``thinks`` maps a think task's cell id to the student's text ("" if untouched)."""

    student: str
    notebook: str
    results: tuple[Result, ...]
    thinks: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @classmethod
    def all_alike(
        cls, student: str, notebook: str, exercises: Iterable[str], mark: Mark, reason: str, notes: tuple[str, ...] = ()
    ) -> GradedNotebook:
        """A notebook of which the same is to be said at every exercise."""
        return cls(student, notebook, tuple(Result(exercise, mark, reason) for exercise in exercises), notes=notes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GradedNotebook:
        """The record that `to_json` wrote; KeyError, TypeError or ValueError where it is another thing."""
        results = tuple(
            Result(**{**result, "mark": Mark(result["mark"]), "notes": tuple(result["notes"])})
            for result in data["results"]
        )
        return cls(**{**data, "results": results, "notes": tuple(data["notes"])})
