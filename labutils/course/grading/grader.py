"""Grades submissions one after the other: owns the process in which answers run, and judges what comes back."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pickle
import queue
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from labutils.course import registry
from labutils.course.exercise import Case, Exercise
from labutils.course.grading import isolation, records, verdicts
from labutils.course.grading.context import Step, steps, unknown_names
from labutils.course.grading.course_notebook import CourseNotebook
from labutils.course.grading.isolation import End, Ended, Isolation, Limits
from labutils.course.grading.kernel import Place, Request, send
from labutils.course.grading.references import internals_used
from labutils.course.grading.results import GradedNotebook, Mark, Result
from labutils.course.grading.splicing import Spliced, Unreadable, splice
from labutils.course.grading.verdicts import Decision

DRAWS = 3
"""So often the hidden cases are drawn."""

START_SECONDS = 300
"""Longest wait for the process to import everything."""

IMPORT_SECONDS, IMPORT_MEMORY = 60, 2**30
"""What a process that imports everything itself, for one answer, takes for that."""

KEPT_VARIABLES = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "SYSTEMROOT",
    "WINDIR",
    "COMSPEC",
    "TEMP",
)
KEPT_PREFIXES = ("LC_", "LD_LIBRARY", "DYLD_", "CONDA_", "LABUTILS_")


class Unavailable(OSError):
    """Answers cannot be run on this machine; the text says why."""


@dataclass(frozen=True)
class Settings:
    """What grades depend on beside the submissions: ``seed`` draws the hidden cases."""

    seed: int
    limits: Limits = field(default_factory=Limits)


class Grader:
    """Grades notebooks; use it as a context manager, which ends its process.

    Parameters
    ----------
    settings : Settings
    hidden : iterable of path
        Folders that students' code must not see wherever they are: submissions, grades, solutions.
    """

    def __init__(self, settings: Settings, hidden: Iterable[Path] = ()):
        self.settings = settings
        # Here the judges compute what is right: on the weights that the answers get.
        os.environ.setdefault("LABUTILS_WEIGHTS", "bundled")
        self.hidden = tuple(str(path.resolve()) for path in hidden)
        self._scratch = Path(tempfile.mkdtemp(prefix="labutils-"))
        self._server: _Server | None = None
        self.isolation = available_isolation()
        # Where another account runs answers on this file system, it must get through; nobody else may.
        self._mode = 0o711 if self.isolation.user and not self.isolation.namespaces else 0o700
        self._scratch.chmod(self._mode)

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process that runs answers, and remove its folders."""
        if self._server is not None:
            self._server.close()
            self._server = None
        _remove(self._scratch)

    def grade(self, student: str, course: CourseNotebook, data: bytes) -> GradedNotebook:
        """Grade one notebook from the bytes of its file, whatever they are."""
        self._start()
        started = time.monotonic()
        try:
            spliced = splice(data, course)
        except Unreadable as error:
            return GradedNotebook.all_alike(student, course.name, course.stubs(), Mark.UNREADABLE, str(error))
        codes = {name: answer.code for name, answer in spliced.answers.items() if answer.mark is None}
        results = []
        for exercise, answer in spliced.answers.items():
            if answer.mark is not None:
                result = Result(exercise, answer.mark, answer.reason, code=answer.code)
            elif time.monotonic() - started > self.settings.limits.notebook_seconds:
                seconds = f"{self.settings.limits.notebook_seconds:g}"
                result = Result(exercise, Mark.STOPPED, f"The notebook's {seconds} seconds were used up before it.")
            elif internals := internals_used(answer.code):
                reason = (
                    f"It names `{internals}`, where the course keeps its references: this is no answer of your own."
                )
                result = Result(exercise, Mark.WRONG, reason, "course_internals")
            else:
                result = self.grade_answer(course, exercise, codes)
                result = replace(result, reason=_with_advice(result, course, spliced, codes))
            results.append(replace(result, notes=answer.notes, code=answer.code))
        seconds = round(time.monotonic() - started, 2)
        return GradedNotebook(student, course.name, tuple(results), spliced.thinks, spliced.notes, seconds)

    def grade_answer(self, course: CourseNotebook, exercise_id: str, codes: Mapping[str, str]) -> Result:
        """Grade one exercise; ``codes`` maps exercises' ids to the code of the student's cells, this one's among them."""
        exercise = registry.find(exercise_id)
        public, hidden = registry.public_cases(exercise_id), _hidden_cases(exercise_id, self.settings.seed)
        self._start()
        started = time.monotonic()
        answer_steps = tuple(steps(course, exercise_id, codes))
        # One after the other, in different processes: while the student can be told all, the hidden cases are not there.
        decision = self._decided(exercise, answer_steps, public, shown=True)
        if decision.mark is Mark.PASSED:
            decision = self._decided(exercise, answer_steps, hidden, shown=False)
        seconds = round(time.monotonic() - started, 2)
        return Result(exercise_id, decision.mark, decision.reason, decision.mistake, seconds=seconds)

    def _start(self) -> None:
        """Start the process that runs answers, unless it runs already: what it imports is no answer's time."""
        if isolation.LINUX and self._server is None:
            self._server = _Server()
        if self._server is not None:
            with contextlib.suppress(OSError, EOFError):  # `_ended` will find out
                self._server.wait_until_ready()

    def _decided(
        self, exercise: Exercise, answer_steps: tuple[Step, ...], cases: tuple[Case, ...], *, shown: bool
    ) -> Decision:
        """Run an answer on some cases in a process of its own, and judge what it hands over."""
        place, limits = Path(tempfile.mkdtemp(dir=self._scratch)), self.settings.limits
        place.chmod(self._mode)
        folder = place / "work"
        folder.mkdir(mode=0o700)
        name = secrets.token_hex(16)
        request = place / "request"
        request.write_bytes(pickle.dumps(Request(exercise.id, answer_steps, cases, name)))
        request.chmod(0o600)
        hidden = (*self.hidden, str(self._scratch))
        try:
            ended = self._ended(Place(str(request), str(folder), name, limits, self.isolation, hidden))
            if ended.how is not End.FINISHED:
                return verdicts.of_end(ended, limits)
            return verdicts.of_record(exercise, records.read(folder, name, limits.record), cases, shown=shown)
        except records.BadRecord as error:
            return Decision(Mark.STOPPED, f"It ended, but {error}, so there are no points for it.")
        finally:
            _remove(place)

    def _ended(self, place: Place) -> Ended:
        if not isolation.LINUX:
            return _run_once(place)
        why = ""
        for _ in range(2):  # the second time with a new process: the loss of the first need not be this answer's doing
            self._server = self._server or _Server()
            try:
                return self._server.ask(place, place.limits.seconds + 60)
            except (OSError, EOFError) as error:
                why = type(error).__name__
                self._server.close()
                self._server = None
        return Ended(End.DIED, f"the process that starts answers was lost: {why}")


def available_isolation() -> Isolation:
    """What separates students' code from this machine here; `Unavailable` where nothing of theirs can be run."""
    scratch = Path(tempfile.mkdtemp(prefix="labutils-"))
    scratch.chmod(0o711)
    (scratch / "work").mkdir(mode=0o700)
    command = [sys.executable, "-m", "labutils.course.grading.isolation", str(scratch / "work")]
    asked = subprocess.run(command, capture_output=True, text=True, env=_environment(), timeout=120, check=False)
    _remove(scratch)
    if asked.returncode != 0:
        why = next(reversed(asked.stderr.strip().splitlines()), "no reason given")
        raise Unavailable(f"answers cannot be run on this machine: {why}")
    return Isolation(**json.loads(asked.stdout))


class _Server:
    """The process that has imported everything, and answers requests one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "labutils.course.grading.kernel"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is the grader's
        )
        self._replies: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read_replies, daemon=True).start()
        self._ready = False

    def ask(self, place: Place, seconds: float) -> Ended:
        """The end of one run; TimeoutError, EOFError or OSError where the process does not answer."""
        self.wait_until_ready()
        send(self._process.stdin, pickle.dumps(place))
        how, detail = json.loads(self._reply(seconds))
        return Ended(End(how), detail)

    def wait_until_ready(self) -> None:
        if not self._ready:
            self._reply(START_SECONDS)
            self._ready = True

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # what could not be sent to it
            self._process.stdin.close()

    def _reply(self, seconds: float) -> bytes:
        try:
            reply = self._replies.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no answer within {seconds:g} seconds") from None
        if reply is None:
            self._replies.put(None)  # whoever asks again is told the same, at once
            raise EOFError("the process has ended")
        return reply

    def _read_replies(self) -> None:
        with self._process.stdout as stream:
            while len(header := stream.read(8)) == 8:
                self._replies.put(stream.read(struct.unpack("<Q", header)[0]))
        self._replies.put(None)


@functools.cache
def _hidden_cases(exercise: str, seed: int) -> tuple[Case, ...]:
    """An exercise's hidden cases, drawn once for the whole class; several times, as what is written into an answer
    may agree with one draw by chance.
    """
    cases: list[Case] = []
    for draw in range(DRAWS):
        # Not the seed itself: exercises draw their public cases from small numbers, which an instructor may choose as well.
        digest = hashlib.sha256(f"{seed}:{exercise.partition('.')[0]}:{draw}".encode()).digest()
        cases += registry.find(exercise).cases(int.from_bytes(digest[:4], "big"))
    return tuple(cases)


def _with_advice(result: Result, course: CourseNotebook, spliced: Spliced, codes: Mapping[str, str]) -> str:
    """A result's reason, and before it what to do where it comes from how answers are graded."""
    if result.mark is Mark.NOT_ATTEMPTED and "catch_up" in codes[result.exercise]:
        return "`catch_up` gave the course's own answer, which gives no points."
    if result.mark is not Mark.RAISED:
        return result.reason
    advice = verdicts.advice_on(result.reason)
    if "NameError" in result.reason:
        for name in sorted(unknown_names(course, result.exercise, codes)):
            if f"'{name}'" in result.reason and any(name in code for code in spliced.added):
                advice = (
                    f"`{name}` stands in a cell that is not graded: only exercise cells are, beside the course's own ones "
                    "as they were handed out. Move what the answer needs into the exercise's cell."
                )
    return f"{advice}\n{result.reason}" if advice else result.reason


def _environment() -> dict[str, str]:
    """The environment of the process that runs answers: what it needs, and none of the instructor's secrets."""
    kept = {
        name: value for name, value in os.environ.items() if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)
    }
    kept.setdefault("LABUTILS_WEIGHTS", "bundled")
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    # PYTHONSAFEPATH: the folder in which the grader was started is not a place to import from.
    python = {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "agg", "CUDA_VISIBLE_DEVICES": "-1", "MALLOC_ARENA_MAX": "2"}
    return kept | one_core | python | quiet


def _run_once(place: Place) -> Ended:
    """Run one request in a new process, where there is no fork: slower, since it imports everything anew."""
    import psutil

    limits, started = place.limits, time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "labutils.course.grading.kernel", "--once"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )
    with contextlib.suppress(OSError):
        send(process.stdin, pickle.dumps(place))
        process.stdin.close()
    ended = None
    while ended is None:
        try:
            code = process.wait(timeout=0.1)
            ended = Ended(End.FINISHED) if code == 0 else Ended(End.DIED, str(code))
        except subprocess.TimeoutExpired:
            if time.monotonic() - started > limits.seconds + IMPORT_SECONDS:
                ended = Ended(End.SECONDS)
            elif _memory_of(process.pid) > limits.memory + IMPORT_MEMORY:
                ended = Ended(End.MEMORY)
    with contextlib.suppress(psutil.Error):
        for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            child.kill()
    process.wait()
    return ended


def _memory_of(process: int) -> int:
    import psutil

    try:
        children = psutil.Process(process).children(recursive=True)
    except psutil.Error:
        return 0
    return isolation.resident_bytes([process, *(child.pid for child in children)])


def _remove(place: Path) -> None:
    """Remove an answer's folder, whatever it has made of its depth and its rights."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(place, ignore_errors=True)
    if isolation.LINUX and place.exists():
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):  # neither follows a link
            subprocess.run([*command, "--", str(place)], stderr=subprocess.DEVNULL, check=False)
