"""From a submitted file to the student's answers: the exercises' cells and the texts of the think tasks, nothing else.

A file may be anything, so it is read as plain JSON (never validated, which real notebooks fail too) and its cells are
taken one by one, whatever the rest holds. A cell is known by its id: nbgrader's ``grade_id``, else the cell's own, else
the one that Colab keeps in the metadata. Exercises whose ids are gone are found by the function that they define.
"""

from __future__ import annotations

import itertools
import json
import re
import symtable
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from labutils.course import registry
from labutils.course.build import ANSWER_HERE
from labutils.course.grading.course_notebook import CourseNotebook, Role
from labutils.course.grading.names import LONGEST
from labutils.course.grading.results import Mark
from labutils.course.grading.writing import shortened

MAX_PARTS = 5_000_000
"""Most lists, objects and list items that a file may hold: 100 MB of ``[],`` would fill gigabytes when parsed."""

MAX_CELLS = 5_000
"""Most cells of a notebook; the course's longest has some 100."""

MAX_CODE = LONGEST
"""Most characters of an exercise's code: more could not be read before it runs. The longest solution has some 2,000."""

MAX_ADDED = 500_000
"""Most characters of the student's own cells that are looked through for answers, together."""

MAX_TEXT = 50_000
"""Most characters of a think task's answer that are kept."""

NEWEST_FORMAT = 4

BEGINNINGS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"<!": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
    b"# ---": "a Jupytext script",
    b"---\n": "a Jupytext script",
}
"""What students hand in under a notebook's name, by its first bytes."""


class Unreadable(ValueError):
    """A file that is no notebook; the text is a sentence for the student."""


@dataclass(frozen=True)
class Answer:
    """A student's code for one exercise; ``mark`` is None where it is to be run, else decided, with its ``reason``."""

    exercise: str
    code: str = ""
    mark: Mark | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spliced:
    """What is taken from one submission.

    ``answers`` holds every exercise of the notebook by its id, in the course's order, ``thinks`` the text of every
    think task by its cell's id ("" where it is untouched or missing). ``added`` are the sources of the code cells that
    are not graded and not as the course has them (the student's own, and given ones that were edited), for messages to
    point at; `MAX_ADDED` bounds them.
    """

    answers: dict[str, Answer]
    thinks: dict[str, str]
    notes: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Cell:
    """A submitted cell; two of the same content are still two.

    ``source`` is cut off where it is longer than `MAX_CODE`. ``known`` is the id of the course's cell that it is, or
    "". ``names`` are those that it defines; None where nobody needs to know, since it is text, empty, as the course has
    it, or too long.
    """

    source: str
    is_code: bool
    known: str
    names: frozenset[str] | None = None

    def defines(self, name: str) -> bool:
        return self.names is not None and name in self.names


def splice(data: bytes, course: CourseNotebook) -> Spliced:
    """Take the answers out of a submitted notebook.

    Parameters
    ----------
    data : bytes
        The file as it was handed in.
    course : CourseNotebook
        The notebook that it should be.

    Returns
    -------
    Spliced
        An `Answer` for each exercise of the notebook, whatever became of its cell.

        - All code cells that carry the exercise's id are joined in their order, since a cell that was split or pasted
          keeps its id; an untouched copy beside others is dropped, and equal ones count once.
        - Without such a cell: the code cells that are not the course's and define the answer's name; then the cell
          of another exercise that does (two cells were merged).
        - Still none: `Mark.NOT_CODE` where a text cell carries the id, else `Mark.MISSING`.

    Raises
    ------
    Unreadable
        The file is no notebook. Nothing else is ever raised, whatever the file holds.
    """
    cells, repaired = _identified(_read_cells(data), course)
    answers: dict[str, Answer] = {}
    graded: set[_Cell] = set()
    by_name = []
    for exercise, stub in course.stubs().items():
        found = _cells_of(exercise, cells, course)
        answers[exercise] = _answer(exercise, stub, found, cells)
        graded.update(found)
        if found and found[0].known != registry.find(exercise).cell_id:
            by_name.append(exercise)
    notes = []
    if repaired:
        notes.append("Characters that are no text (NUL, halves of characters) were replaced by \ufffd.")
    if by_name:
        notes.append(f"Found by the function they define, since their cells' ids are gone: {', '.join(by_name)}.")
    if all(answer.mark is Mark.MISSING for answer in answers.values()):
        notes.append("The file holds not one exercise of this notebook. Was another notebook handed in under its name?")
    added = tuple(cell.source for cell in cells if cell.names is not None and cell not in graded)
    return Spliced(answers, _thinks(cells, course), tuple(notes), added)


# --- The exercises ---------------------------------------------------------------------------------------------------


def _cells_of(exercise: str, cells: list[_Cell], course: CourseNotebook) -> list[_Cell]:
    """An exercise's code cells: those with its id; else those that define its name, of nobody or of other exercises."""
    record = registry.find(exercise)
    others = {registry.find(other).cell_id for other in course.stubs()}
    code = [cell for cell in cells if cell.is_code]
    return (
        [cell for cell in code if cell.known == record.cell_id]
        or [cell for cell in code if not cell.known and cell.defines(record.answer)]
        or [cell for cell in code if cell.known in others and cell.defines(record.answer)]
    )


def _answer(exercise: str, stub: str, found: list[_Cell], cells: list[_Cell]) -> Answer:
    """What is to be done with the code of an exercise's cells."""
    if not found:
        return _without_code(exercise, cells)
    code, notes = _joined([cell.source for cell in found], stub)
    if len(code) > MAX_CODE:
        reason = f"The cell holds more than the {MAX_CODE:,} characters that are read."
        return Answer(exercise, "", Mark.STOPPED, reason, notes)
    if _squeezed(code) == _squeezed(stub):
        mark, reason = Mark.NOT_ATTEMPTED, "The cell is as it was handed out."
    elif not _holds_code(code):
        mark, reason = Mark.NOT_ATTEMPTED, f"The cell {'holds only comments' if code.strip() else 'is empty'}."
    else:
        mark, reason = None, ""
    name = registry.find(exercise).answer
    if _is_split(name, found[-1], cells):
        notes += ("The cell seems to have been split: join it with the cell below (select both, then Shift+M).",)
    elif mark is Mark.NOT_ATTEMPTED or name not in _defined_names(code):
        notes += _defined_elsewhere(name, found, cells)
    return Answer(exercise, code, mark, reason, notes)


def _without_code(exercise: str, cells: list[_Cell]) -> Answer:
    """The mark of an exercise that has no code cell."""
    record = registry.find(exercise)
    if texts := [cell.source for cell in cells if cell.known == record.cell_id]:
        reason = "The cell was turned into text, which does not run. Make it a code cell again."
        return Answer(exercise, "\n".join(texts)[:MAX_CODE], Mark.NOT_CODE, reason)
    reason = "The notebook holds no cell for this exercise."
    return Answer(exercise, "", Mark.MISSING, reason, _defined_elsewhere(record.answer, [], cells))


def _joined(parts: list[str], stub: str) -> tuple[str, tuple[str, ...]]:
    """Several cells with one id as one code: what running them from top to bottom does."""
    if len(parts) == 1:
        return parts[0], ()
    written = [part for part in parts if _squeezed(part) != _squeezed(stub)] or parts[:1]
    carry = f"{len(parts)} cells carry this exercise's id"
    if len(set(written)) == 1:
        return written[0], (f"{carry}; one of them was graded.",)
    return "\n".join(written), (f"{carry}; they were graded as one, in their order.",)


def _is_split(name: str, last: _Cell, cells: list[_Cell]) -> bool:
    """Whether the cell below an exercise's seems to be its rest: it defines what is asked for, or starts indented."""
    below = next((below for cell, below in itertools.pairwise(cells) if cell is last), None)
    if below is None or not below.is_code or below.known or not last.source.strip():
        return False
    return below.source.strip("\n")[:1].isspace() or (below.defines(name) and not last.defines(name))


def _defined_elsewhere(name: str, found: list[_Cell], cells: list[_Cell]) -> tuple[str, ...]:
    """A note where another cell than the exercise's defines its name."""
    others = [cell for cell in cells if cell.defines(name) and cell not in found]
    if not others:
        return ()
    where = "another cell of the notebook" if others[0].known else "a cell that you added"
    return (f"`{name}` is defined in {where}. Only the exercise's own cell is graded; write it there.",)


# --- The think tasks -------------------------------------------------------------------------------------------------


def _thinks(cells: list[_Cell], course: CourseNotebook) -> dict[str, str]:
    """The text of each think task: of its own cell, else of the text cells that the student put below the question."""
    questions = {cell.task: above.id for above, cell in itertools.pairwise(course.cells)}
    texts = {}
    for task in course.think_tasks():
        own = [cell.source for cell in cells if cell.known == task]
        texts[task] = shortened(_written(own) or _written(_below(cells, questions[task], task)), MAX_TEXT)
    return texts


def _below(cells: list[_Cell], question: str, task: str) -> list[str]:
    """The student's own text cells between a question and the next cell of the course."""
    from_question = itertools.dropwhile(lambda cell: cell.known != question, cells)
    below = itertools.takewhile(lambda cell: cell.known in ("", task), itertools.islice(from_question, 1, None))
    return [cell.source for cell in below if not cell.known and not cell.is_code]


def _written(sources: list[str]) -> str:
    """What the student wrote, without the line that asks for it."""
    return "\n\n".join(filter(None, (source.replace(ANSWER_HERE, "").strip() for source in sources)))


# --- The cells -------------------------------------------------------------------------------------------------------


def _identified(raw: list[dict], course: CourseNotebook) -> tuple[list[_Cell], bool]:
    """The cells with what each is of the course's notebook, and whether characters had to be replaced."""
    ids = {cell.id for cell in course.cells} | set(course.think_tasks())
    # Never an exercise's or a think task's cell by its text: untouched, all of the latter are the same.
    own_ids = {_squeezed(cell.source): cell.id for cell in course.cells if cell.role not in (Role.EXERCISE, Role.THINK)}
    cells, repaired, looked_through = [], False, 0
    for cell in raw:
        source, changed = _source(cell)
        repaired = repaired or changed
        as_handed_out = own_ids.get(_squeezed(source), "")
        names = None
        if (
            _is_code(cell)
            and source.strip()
            and not as_handed_out
            and len(source) <= min(MAX_CODE, MAX_ADDED - looked_through)
        ):
            looked_through += len(source)
            names = _defined_names(source)
        cells.append(_Cell(source, _is_code(cell), _known_id(cell, ids) or as_handed_out, names))
    return cells, repaired


def _known_id(cell: dict, ids: Collection[str]) -> str:
    """The course's id that a cell carries. nbgrader's first: JupyterLab keeps it when a cell is split or pasted."""
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    nbgrader = metadata.get("nbgrader")
    grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    carried = (grade_id, cell.get("id"), metadata.get("id"))
    return next((one for one in carried if isinstance(one, str) and one in ids), "")


def _is_code(cell: dict) -> bool:
    """A cell without a type is code where it holds what only code cells hold."""
    return cell.get("cell_type", "code" if {"outputs", "execution_count"} & cell.keys() else "") == "code"


def _source(cell: dict) -> tuple[str, bool]:
    """A cell's text, and whether characters had to be replaced that neither Python nor a page can take."""
    source = cell.get("source", cell.get("input"))  # as formats 2 and 3 call it
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    source = source if isinstance(source, str) else ""
    source = source[: MAX_CODE + 1]  # one more shows that it is too long
    repaired = re.sub("[\0\ud800-\udfff]", "\ufffd", source)
    return repaired.replace("\r\n", "\n").replace("\r", "\n"), repaired != source


def _defined_names(source: str) -> frozenset[str]:
    """The names that a cell defines when it runs; if it is not plain Python, those of its lines that look like it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the student's code: a "\d" in a string
            # Not `names_of`, which tells more than is asked here and takes several times as long.
            symbols = symtable.symtable(source, "cell", "exec").get_symbols()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        defined = re.findall(r"^(?:async +)?(?:def|class) +(\w+)|^(\w+) *=(?!=)", source, flags=re.MULTILINE)
        return frozenset(name for pair in defined for name in pair if name)
    return frozenset(symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported())


def _holds_code(source: str) -> bool:
    """Whether there is more than comments."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in source.splitlines())


def _squeezed(source: str) -> str:
    """A source to be compared with another one, whatever an editor has done to its blanks."""
    return " ".join(source.split())


# --- The file --------------------------------------------------------------------------------------------------------


def _read_cells(data: bytes) -> list[dict]:
    """The cells of a notebook file of any format, each a dict of which nothing else is known; else `Unreadable`."""
    notebook = _parsed(data)
    if not isinstance(notebook, dict):
        raise Unreadable("The file is JSON, but not a notebook.")
    version = notebook.get("nbformat")
    if isinstance(version, float) and version > NEWEST_FORMAT:
        raise Unreadable("The notebook is saved in a newer format than nbformat 4, which is needed here.")
    cells = notebook.get("cells")
    if not isinstance(cells, list):  # formats 2 and 3 have them in worksheets
        sheets = notebook.get("worksheets")
        sheets = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)] if isinstance(sheets, list) else []
        if not any(isinstance(sheet, list) for sheet in sheets):
            raise Unreadable("The file is JSON, but not a notebook: it holds no cells.")
        cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet]
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"The notebook holds {len(cells):,} cells; at most {MAX_CELLS:,} are read.")
    return [cell for cell in cells if isinstance(cell, dict)]


def _parsed(data: bytes) -> Any:
    """The JSON of a file, or `Unreadable` with what is wrong."""
    if not data.strip(b"\0 \t\r\n"):
        raise Unreadable("The file is empty.")
    start = data[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, what in BEGINNINGS.items():
        if start.startswith(beginning):
            raise Unreadable(f"The file is {what}; a notebook (.ipynb) is needed.")
    if sum(data.count(sign) for sign in (b",", b"[", b"{")) > MAX_PARTS:
        raise Unreadable(f"The file holds more than {MAX_PARTS:,} pieces of data. Clear the notebook's outputs.")
    try:
        return json.loads(data, parse_int=float)  # int refuses thousands of digits; no number matters here but nbformat
    except UnicodeDecodeError:
        raise Unreadable("The file is not text in UTF-8, as notebooks are; it seems to be damaged.") from None
    except json.JSONDecodeError as error:
        raise Unreadable(_what_is_broken(data, error)) from None
    except RecursionError:
        raise Unreadable("The file is nested too deeply for a notebook.") from None


def _what_is_broken(data: bytes, error: json.JSONDecodeError) -> str:
    """What happened to a file that is no longer JSON."""
    if re.search(rb"^<{7} ", data, re.MULTILINE) and re.search(rb"^>{7} ", data, re.MULTILINE):
        return "The file holds Git's conflict markers (<<<<<<<): a merge of two versions was never finished."
    if error.msg.startswith("Unterminated string") or error.pos >= len(error.doc.rstrip()):
        return "The file ends in the middle: it was cut off while it was saved or sent."
    return f"The file is not a notebook, or damaged: it stops being JSON in line {error.lineno}, column {error.colno}."
