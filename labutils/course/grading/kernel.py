"""The process in which students' code runs: ``python -m labutils.course.grading.kernel``.

It imports TensorFlow and all that the course uses once, then serves requests from its standard input: on Linux each in
a fresh, isolated fork of itself (`isolation`), elsewhere one request in all. Only `perform` meets a student's code, and
it decides nothing: it hands on, as plain data, what `collect` got out of the answer.
"""

from __future__ import annotations

import functools
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from labutils.course import checking, guidance, registry
from labutils.course.exercise import Case, Exercise, TodoNotDone
from labutils.course.grading import audit, isolation, records
from labutils.course.grading.context import Step, StepKind


@dataclass(frozen=True)
class Request:
    """One answer to run, and the secret name under which its result is to be written."""

    exercise: str
    steps: tuple[Step, ...]
    cases: tuple[Case, ...]
    name: str


@dataclass(frozen=True)
class Place:
    """Where a request (its pickle is the file ``request``) is to be run, with limits.

    The process that serves it knows no more of a request than this: it would hand its memory on to the next one.
    """

    request: str
    folder: str
    name: str
    limits: isolation.Limits
    isolation: isolation.Isolation
    hidden: tuple[str, ...]


def main() -> None:
    places, replies = _own_streams()
    _import_everything()
    if sys.argv[1:] == ["--once"]:
        place = receive(places)
        target = _prepared(place)
        os.chdir(place.folder)
        audit.restrict(Path(place.folder), tuple(map(Path, place.hidden)), may_fork=False)
        target()
        sys.stdout.flush()
        os._exit(0)  # whatever threads the student's code has left
    send(replies, b"ready")
    while (place := receive(places)) is not None:
        ended = isolation.run(
            functools.partial(_prepared, place),
            Path(place.folder),
            place.limits,
            place.isolation,
            map(Path, place.hidden),
            place.name,
        )
        send(replies, json.dumps([ended.how, ended.detail]).encode())


def _prepared(place: Place) -> Callable[[], None]:
    """What to run for a request. It comes from the grader, never from a student: hence a pickle may be opened."""
    return functools.partial(perform, pickle.loads(Path(place.request).read_bytes()))


def send(stream: BinaryIO, data: bytes) -> None:
    """Write one message: its length, then its bytes."""
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next message of the grader, None at the end."""
    header = stream.read(8)
    return pickle.loads(stream.read(struct.unpack("<Q", header)[0])) if len(header) == 8 else None


# ---------------------------------------------------------------------------------------------------------------------
# Beside the student's code
# ---------------------------------------------------------------------------------------------------------------------


def perform(request: Request) -> None:
    """Run an answer's steps, then the answer on the cases; write down what came of it."""
    os.environ.update(HOME=os.getcwd(), MPLCONFIGDIR=os.getcwd(), TMPDIR=os.getcwd())
    folder = Path.cwd()
    record = outcome(request)
    try:
        records.write(folder, request.name, record)
    except (TypeError, ValueError):  # code that changed what is plain: a key that is no text, a number without end
        records.write(folder, request.name, {"failed": "what the answer gave could not be written as plain data"})


def outcome(request: Request) -> dict[str, Any]:
    """What came of an answer, as plain data.

    ``{"cases": [...]}`` with what `collect` gave for each case; the last of them may be ``{"raised": text}``, or
    ``{"not attempted": id}``, or ``{"failed": text}`` where not the student's code but ours raised. An answer
    that is never reached gives one of these three alone.
    """
    exercise = registry.find(request.exercise)
    shell = _shell()
    guidance.being_graded = request.exercise
    for step in request.steps:
        if step.kind is StepKind.REFERENCE:
            other = registry.find(step.exercise)
            shell.user_ns[other.answer] = other.reference()
            continue
        error = _run_cell(shell, step.code)
        if error is not None and step.kind is StepKind.GIVEN:
            return {"failed": f"a cell of the course itself: {type(error).__name__}: {error}"}
        if error is not None:
            return _raised(error)
    if exercise.answer not in shell.user_ns:
        return {"missing": exercise.answer}
    answer = shell.user_ns[exercise.answer]
    if checking.not_attempted(answer):
        return {"not attempted": exercise.id}
    if not callable(answer):
        return {"no function": checking.no_function(exercise, answer).message}
    if _is_reference(answer, exercise.reference()):
        return {"handed out": exercise.id}
    return {"cases": _collected(exercise, answer, request.cases)}


def _collected(exercise: Exercise, answer: Any, cases: tuple[Case, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for case in cases:
        try:
            with checking.no_traces():
                found.append({"arrays": checking.run(exercise, answer, case)})
        except checking.StudentError as error:
            return [*found, _raised(error.__cause__)]
        except BaseException as error:
            # Not ours to blame on the student, unless it is an interrupt of their own making.
            ours = isinstance(error, Exception)
            return [*found, {"failed": f"{type(error).__name__}: {error}"} if ours else _raised(error)]
    return found


def _raised(error: BaseException) -> dict[str, Any]:
    if isinstance(error, TodoNotDone):
        return {"not attempted": str(error.exercise_id)}
    return {
        "raised": checking.trimmed_traceback(error),
        "type": type(error).__name__,
        "line": _last_line(error),
    }


def _last_line(error: BaseException) -> int | None:
    """The number of the last line of the student's cell that an error came through."""
    line, frames = None, error.__traceback__
    while frames is not None:
        if checking.is_cell(frames.tb_frame.f_code.co_filename):
            line = frames.tb_lineno
        frames = frames.tb_next
    return line


def _is_reference(answer: Any, reference: Any) -> bool:
    """Whether an answer is the course's own function. A courtesy: nothing rests on references being out of reach."""
    code = getattr(answer, "__code__", None)
    return answer is reference or (code is not None and code is getattr(reference, "__code__", None))


def _shell() -> Any:
    from IPython.core.interactiveshell import InteractiveShell

    return InteractiveShell.instance()


def _run_cell(shell: Any, code: str) -> BaseException | None:
    result = shell.run_cell(code, store_history=False)
    return result.error_before_exec or result.error_in_exec


# ---------------------------------------------------------------------------------------------------------------------
# Before any student's code
# ---------------------------------------------------------------------------------------------------------------------


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """The streams to the grader, out of reach of what packages print when they are imported."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return os.fdopen(os.dup(0), "rb"), replies


def _import_everything() -> None:
    """All that the course's cells and exercises use: here it costs seconds, and no fork pays it again."""
    import importlib
    import pkgutil

    for name in (
        "encodings.idna",
        "keras",
        "tensorflow",
        "matplotlib.pyplot",
        "psutil",
        "scipy.ndimage",
        "scipy.stats",
        "skimage.color",
        "skimage.filters",
        "skimage.transform",
        "sklearn.linear_model",
        "tf_keras_vis.gradcam",
        "tf_keras_vis.gradcam_plus_plus",
        "tf_keras_vis.saliency",
        "tf_keras_vis.scorecam",
        "tf_keras_vis.utils.model_modifiers",
        "tf_keras_vis.utils.scores",
    ):
        importlib.import_module(name)
    import PIL.Image

    import labutils

    PIL.Image.preinit()
    for module in pkgutil.walk_packages(labutils.__path__, "labutils."):
        if not module.name.startswith(("labutils.training", "labutils.bundled", "labutils.__main__", __spec__.name)):
            importlib.import_module(module.name)
    registry.all_exercises()
    _make_shell()


def _make_shell() -> None:
    """An IPython shell without history, colours, or a folder of its own."""
    import tempfile

    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "NoColor" if _old_ipython() else "nocolor"
    with tempfile.TemporaryDirectory() as folder:
        shell = InteractiveShell.instance(config=config, ipython_dir=folder)
    # Nobody sees what cells print, and IPython's coloured traceback of a deep recursion takes seconds.
    shell.showtraceback = shell.showsyntaxerror = lambda *args, **kwargs: None
    # A `%matplotlib` has no window to open here, and a `!pip install` no network: neither is an answer's fault.
    shell.enable_gui = shell.system = lambda *args, **kwargs: None
    shell.ask_exit = sys.exit  # what `exit()` calls


def _old_ipython() -> bool:
    import IPython

    return IPython.version_info[0] < 9


if __name__ == "__main__":
    main()
