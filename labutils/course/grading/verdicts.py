"""Decides what an answer is worth, from the plain data that came back; no student's code is ever imported here.

An answer is tried on the cases of the notebook's own check first, and on cases drawn from the instructor's seed after
that. What is said of the drawn ones gives nothing of them away.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labutils.course.exercise import Case, Exercise, Status, Verdict
from labutils.course.grading.isolation import End, Ended, Limits
from labutils.course.grading.results import Mark
from labutils.course.grading.writing import shortened

ELSEWHERE = (
    "It passes the notebook's own check, but not other cases (other photos, classes, sizes or layers). Is a value "
    "written into the code that should come from the arguments?"
)
MOST_LINES = 300
"""An error's line is told up to here: a number without bounds could carry a case out."""

LONGEST_MESSAGE = 4000
"""Most characters of a reason: a traceback of some thirty frames."""


@dataclass(frozen=True)
class Decision:
    """A mark, the reason for the student, and the diagnosed mistake's short name ("" for none)."""

    mark: Mark
    reason: str = ""
    mistake: str = ""


def of_end(ended: Ended, limits: Limits) -> Decision:
    """The decision on a run that did not finish."""
    reasons = {
        End.SECONDS: f"It ran longer than {limits.seconds:g} seconds and was stopped. Does a loop never end?",
        End.MEMORY: f"It took more than {limits.memory / 2**30:.3g} GB of memory and was stopped.",
        End.OUTPUT: f"It printed more than {limits.output / 2**20:.3g} MB and was stopped.",
        End.FOLDER: f"It wrote more than {limits.folder / 2**20:.3g} MB of files and was stopped.",
    }
    died = "The process in which it ran ended before it gave a result"
    by = {"SIGKILL": "it was killed", "SIGXCPU": "it used up its time", "MemoryError": "it ran out of memory"}
    detail = by.get(ended.detail, ended.detail if ended.detail.startswith("SIG") else "")
    reason = reasons.get(ended.how, f"{died} ({detail})." if detail else f"{died}.")
    return Decision(Mark.STOPPED, f"{reason} This costs this exercise alone.")


def of_record(exercise: Exercise, record: Any, cases: Sequence[Case], *, shown: bool) -> Decision:
    """The decision on a completed run: what `kernel.outcome` wrote, or anything that hostile code wrote instead.

    ``shown`` says whether the cases are the notebook's own, so that the student may be told all about them.
    """
    if not isinstance(record, dict):
        return _unreadable()
    if "missing" in record:
        return Decision(
            Mark.WRONG, f"The exercise's cell does not define `{exercise.answer}`. Has it another name?", "not_defined"
        )
    if "no function" in record:
        return Decision(Mark.WRONG, shortened(str(record["no function"]), LONGEST_MESSAGE), "not_a_function")
    if "handed out" in record:
        return Decision(Mark.NOT_ATTEMPTED, "This is the course's own reference, which gives no points.")
    if "cases" not in record:
        return _without_arrays(record, shown)
    if not isinstance(record["cases"], list):
        return _unreadable()
    for number, case in enumerate(cases):
        if number >= len(record["cases"]) or not isinstance(record["cases"][number], dict):
            return _unreadable()
        entry = record["cases"][number]
        if "arrays" not in entry:
            return _without_arrays(entry, shown)
        decision = _judged(exercise, entry["arrays"], case, shown)
        if decision.mark is not Mark.PASSED:
            return decision
    return Decision(Mark.PASSED)


ADVICE = {
    r"SystemExit": "Your code ends the program, by `exit()` or the like: take that out.",
    r"EOFError: EOF when reading|StdinNotImplementedError|raw_input": "`input` waits for a keyboard, and nobody types "
    "while answers are graded.",
    r"Network is unreachable|name resolution|there is no network": "There is no network while answers are graded: an answer "
    "must do without downloads.",
    r"Read-only file system|only the folder it starts in": "An answer can write in the folder in which it starts, and "
    "nowhere else, while it is graded.",
}
"""What the last line of a traceback has -> what to do about it."""


def advice_on(reason: str) -> str:
    """What to do about an error that comes from how answers are graded; "" for any other."""
    last = reason.rstrip().rpartition("\n")[2]
    return next((advice for pattern, advice in ADVICE.items() if re.search(pattern, last)), "")


def _judged(exercise: Exercise, arrays: Any, case: Case, shown: bool) -> Decision:
    try:
        verdict = exercise.judge(arrays, case)
    except Exception as error:
        return Decision(
            Mark.CHECK_FAILED,
            "The check could not make anything of what this answer handed over. An instructor will look at it "
            f"({type(error).__name__}).",
        )
    if verdict.passed:
        return Decision(Mark.PASSED)
    mark = Mark.WRONG if verdict.status is Status.WRONG else Mark.CHECK_FAILED
    reason = verdict.message if shown else f"{ELSEWHERE} {without_the_case(verdict, arrays)}".strip()
    return Decision(mark, shortened(reason, LONGEST_MESSAGE), verdict.mistake)


def without_the_case(verdict: Verdict, arrays: Any = None) -> str:
    """The sentences of a verdict that name no number and nothing in quotation marks; both may be the case's own.

    Nothing of it where it repeats a text out of ``arrays``: the student's process may have put the case into that.
    """
    if any(text in verdict.message for text in _texts(arrays) if len(text) > 2):
        return ""
    sentences = re.split(r"(?<=[.?!])\s+", verdict.message)
    return " ".join(sentence for sentence in sentences if not re.search(r"\d|['\"]", sentence))


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain data, keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from value
        yield from _texts(list(value.values()))


def _without_arrays(entry: dict[str, Any], shown: bool) -> Decision:
    """The decision where code raised. Texts come from the student's process, which may have made them up."""
    if "raised" in entry:
        name = str(entry.get("type"))
        if name == "MemoryError":
            return Decision(
                Mark.STOPPED, "It ran out of the memory that an answer may use. This costs this exercise alone."
            )
        if shown:
            return Decision(Mark.RAISED, shortened(str(entry["raised"]), LONGEST_MESSAGE))
        line = entry.get("line")
        where = f" in line {line} of its cell" if type(line) is int and 0 < line <= MOST_LINES else ""
        return Decision(Mark.RAISED, f"{ELSEWHERE} It raised {_known_error(name)}{where}.")
    if "not attempted" in entry:
        return Decision(Mark.NOT_ATTEMPTED, "The line that raises `TodoNotDone` is still there.")
    if "failed" in entry:
        return Decision(
            Mark.CHECK_FAILED,
            "The check itself failed, which says nothing about this answer. An instructor will look at it"
            + (f" (its process says: {shortened(str(entry['failed']), 300)})." if shown else "."),
        )
    return _unreadable()


def _known_error(name: str) -> str:
    """An error's name with its article; names that Python does not know could spell out the case."""
    known = getattr(builtins, name, None)
    if not (isinstance(known, type) and issubclass(known, BaseException)):
        return "an error"
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _unreadable() -> Decision:
    return Decision(Mark.STOPPED, "It ended without a complete result, so there are no points for it.")
