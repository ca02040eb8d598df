"""Grades a class: on this machine's cores or a Dask cluster, resumed where it stopped, the same marks whichever way."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from labutils import __version__
from labutils.course.grading import pages, tables
from labutils.course.grading.course_notebook import CourseNotebook
from labutils.course.grading.grader import Grader, Settings, Unavailable
from labutils.course.grading.results import GradedNotebook, Mark
from labutils.course.grading.submissions import Submission
from labutils.course.grading.summary import HandMarks, StudentOutcome, by_student, not_handed_in
from labutils.course.grading.writing import write_whole

ATTEMPTS = 2
"""How often a submission is tried that ends the process which grades it."""

CONNECT_SECONDS = 10
"""Longest wait for a Dask scheduler."""


@dataclass(frozen=True)
class Task:
    """One submission to be graded, wherever: nothing in it refers to this machine's files."""

    student: str
    course: CourseNotebook
    data: bytes


def grade_class(
    submissions: Sequence[Submission],
    out: Path,
    courses: Mapping[str, CourseNotebook],
    settings: Settings,
    *,
    jobs: int = 1,
    dask: str | None = None,
    hidden: Iterable[Path] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[GradedNotebook]:
    """Grade submissions, each as soon as there is a core for it, and keep every result at once in ``out/results``.

    Parameters
    ----------
    submissions : sequence of Submission
    out : path
        The folder of the grades. What it holds of these very submissions, graded with these settings and this version
        of the course, is not graded again.
    courses : mapping
        The course's notebooks by name.
    settings : Settings
    jobs : int
        Processes on this machine; each grades one notebook at a time.
    dask : str, optional
        The address of a Dask scheduler, whose workers take the place of ``jobs``. They need labutils, in this version.
    hidden : iterable of path
        Folders out of reach for students' code.
    progress : callable, optional
        Called with the submissions done and their number after each.

    Returns
    -------
    list of GradedNotebook
        One for each submission, in their order.
    """
    graded: dict[Submission, GradedNotebook] = {}
    files: dict[Submission, Path] = {}
    tasks: dict[Submission, Task] = {}
    for submission in submissions:
        course = courses[submission.notebook]
        if (decided := _without_running(submission, course)) is not None:
            graded[submission] = decided
            continue
        try:
            data = submission.path.read_bytes()
        except OSError as error:
            unread = replace(
                submission, problem=f"The file could not be read ({error.strerror or type(error).__name__})."
            )
            graded[submission] = _without_running(unread, course)
            continue
        task = Task(submission.student, course, data)
        files[submission] = out / "results" / f"{_fingerprint(task, settings)}.json"
        if (kept := _kept(files[submission])) is not None:
            graded[submission] = replace(kept, notes=(*submission.notes, *kept.notes))
        else:
            tasks[submission] = task
    if progress is not None:
        progress(len(graded), len(submissions))
    for submission, result in _graded(tasks, settings, jobs, dask, hidden):
        write_whole(files[submission], json.dumps(result.to_json(), indent=1))
        graded[submission] = replace(result, notes=(*submission.notes, *result.notes))
        if progress is not None:
            progress(len(graded), len(submissions))
    return [graded[submission] for submission in submissions]


def marks_by_hand(out: Path) -> HandMarks:
    """The marks in ``out/think_tasks.csv``; `ValueError` where it cannot be understood."""
    thinks = out / "think_tasks.csv"
    return tables.read_think_marks(thinks) if thinks.exists() else {}


def write_all(
    out: Path, graded: Sequence[GradedNotebook], courses: Mapping[str, CourseNotebook], notes: Sequence[str] = ()
) -> list[StudentOutcome]:
    """Write the tables and the pages of a graded class, and hand back what they show of each student.

    Marks given by hand in think_tasks.csv are kept and shown; ``notes`` are those on the folder of submissions.
    """
    marks = marks_by_hand(out)
    tables.write_grades(out / "grades.csv", graded)
    tables.write_students(out / "students.csv", graded, courses, marks)
    tables.write_think_tasks(out / "think_tasks.csv", graded, courses)
    pages.write_feedback(out / pages.FEEDBACK_FOLDER, graded, courses, marks)
    pages.write_overview(out / "overview.html", graded, courses, marks, notes)
    return by_student(graded, courses, marks)


def seed_of(out: Path, wanted: int | None) -> int:
    """The seed of the hidden cases: the one that ``out`` was graded with, else the one asked for, else a new secret one.

    `ValueError` where ``out`` was graded with another one: half a class with one seed and half with another is not fair.
    """
    file = out / "settings.json"
    kept = None
    if file.exists():
        try:
            kept = int(json.loads(file.read_text(encoding="utf-8"))["seed"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{file} does not hold the seed it should; mend it, or take another --out") from None
    if kept is not None:
        if wanted not in (None, kept):
            raise ValueError(f"{out} was graded with another seed; leave --seed out, or take another --out")
        return kept
    seed = secrets.randbelow(2**31) if wanted is None else wanted
    write_whole(file, json.dumps({"seed": seed}))
    return seed


def _without_running(submission: Submission, course: CourseNotebook) -> GradedNotebook | None:
    """What is known of a submission without opening it; None where it must be opened."""
    if submission.path is not None and not submission.problem:
        return None
    if not submission.problem:
        return replace(not_handed_in(submission.student, submission.notebook), notes=submission.notes)
    return GradedNotebook.all_alike(
        submission.student, submission.notebook, course.stubs(), Mark.UNREADABLE, submission.problem, submission.notes
    )


def _fingerprint(task: Task, settings: Settings) -> str:
    """A name for all that a result depends on: the file, the course and how it judges, the settings."""
    course = [(cell.id, cell.role, cell.source, cell.task) for cell in task.course.cells]
    parts = (task.student, task.course.name, course, asdict(settings), _version())
    return hashlib.sha256(json.dumps(parts).encode() + task.data).hexdigest()[:32]


@functools.cache
def _version() -> str:
    """This version of labutils, down to every line that decides on a mark."""
    digest = hashlib.sha256(__version__.encode())
    package = Path(__file__).resolve().parents[2]
    for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).as_posix()):
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def _kept(file: Path) -> GradedNotebook | None:
    """A result from an earlier run; one that cannot be read is graded again."""
    try:
        return GradedNotebook.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


# ---------------------------------------------------------------------------------------------------------------------
# Where the work is done
# ---------------------------------------------------------------------------------------------------------------------


def _graded(
    tasks: Mapping[Submission, Task], settings: Settings, jobs: int, dask: str | None, hidden: Iterable[Path]
) -> Iterator[tuple[Submission, GradedNotebook]]:
    """Each submission with its result, as they are done."""
    waiting, attempts = dict(tasks), dict.fromkeys(tasks, 0)
    hidden = tuple(hidden)
    while waiting:
        try:
            with _executor(min(jobs, len(waiting)), dask) as executor:
                # A submission that has taken a process down already goes alone, so that it cannot take others with it.
                suspects = [submission for submission in waiting if attempts[submission]]
                for group in [[submission] for submission in suspects] or [list(waiting)]:
                    for submission in group:
                        attempts[submission] += 0 if dask else 1
                    for submission, result in _done(executor, group, waiting, settings, hidden):
                        del waiting[submission]
                        yield submission, result
        except BrokenProcessPool:
            for submission in [each for each in waiting if attempts[each] >= ATTEMPTS]:
                yield submission, _given_up(waiting.pop(submission), "its process ended while it was graded")


def _done(
    executor: Executor,
    group: Sequence[Submission],
    tasks: Mapping[Submission, Task],
    settings: Settings,
    hidden: tuple[Path, ...],
) -> Iterator[tuple[Submission, GradedNotebook]]:
    futures: dict[Future, Submission] = {
        executor.submit(grade_task, tasks[submission], settings, hidden): submission for submission in group
    }
    while futures:
        finished, _ = wait(futures, return_when=FIRST_COMPLETED)
        for future in finished:
            submission = futures.pop(future)
            try:
                result = future.result()
            except (BrokenProcessPool, CancelledError, Unavailable):
                raise
            except Exception as error:  # a Dask worker that was lost with it, again and again
                result = _given_up(tasks[submission], f"{type(error).__name__}: {error}")
            yield submission, result


@contextmanager
def _executor(jobs: int, dask: str | None) -> Iterator[Executor]:
    if dask is not None:
        with _cluster(dask) as executor:
            yield executor
        return
    # Not forked: a fork of a process that has threads may hang. Ctrl-C is for this process, which then ends the others.
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    )
    try:
        yield pool
    except BaseException:
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()
        raise
    pool.shutdown()


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConnectionError(f"there is no Dask scheduler at {address}: {error}") from None
    with client:
        versions = client.run(_version)
        if not versions:
            raise ConnectionError(f"the Dask scheduler at {address} has no workers")
        others = [worker for worker, version in versions.items() if version != _version()]
        if others:
            raise ValueError(f"Dask worker {others[0]} has another version of labutils: its marks could differ")
        yield client.get_executor(pure=False)


_one_at_a_time = threading.Lock()


def grade_task(task: Task, settings: Settings, hidden: tuple[Path, ...]) -> GradedNotebook:
    """Grade one submission in this process, which keeps its `Grader` for the next one. It never raises for a submission."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _one_at_a_time:  # Dask runs several tasks in one process
        grader = _grader(settings, hidden)
        try:
            return grader.grade(task.student, task.course, task.data)
        except Exception as error:
            return _given_up(task, f"{type(error).__name__}: {error}")


@functools.lru_cache(maxsize=1)
def _grader(settings: Settings, hidden: tuple[Path, ...]) -> Grader:
    from multiprocessing.util import Finalize

    grader = Grader(settings, hidden)
    Finalize(grader, grader.close, exitpriority=10)  # atexit is not called in a pool's processes
    return grader


def _given_up(task: Task, why: str) -> GradedNotebook:
    """The result of a submission that grading itself failed on: no points, and an instructor is told."""
    reason = f"Grading failed, which says nothing about this answer. An instructor will look at it: {why}"
    return GradedNotebook.all_alike(task.student, task.course.name, task.course.stubs(), Mark.CHECK_FAILED, reason)
