"""The folder of submissions: which student handed in which notebook, and in which file it is.

Nothing is opened here. What may not be opened later (a link out of the student's folder, a pipe, a folder that is
called like a notebook) comes with its ``problem`` instead.
"""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labutils.course.grading.writing import caseless

MAX_BYTES = 100_000_000
"""Larger files are not read. The longest notebook of the course with all its figures has some 10 MB."""

ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")

NAMED = 5
"""Of many files this many are named in a note."""

# Browsers that take a notebook for text save it as ``name.ipynb.txt``.
_ENDING = re.compile(r"\.ipynb(\.txt|\.json)?\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """What one student handed in as one notebook.

    ``path`` is None where nothing was. Where ``problem`` (a sentence) is not empty, the path must not be opened;
    ``notes`` say why this file was taken for the notebook, and which others were not.
    """

    student: str
    notebook: str
    path: Path | None
    problem: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """``submissions`` by student and notebook, and ``notes`` for the instructor on what else lies in the folder."""

    submissions: tuple[Submission, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    """A file that is called like a notebook; ``inside`` is its path in the student's folder, with slashes."""

    path: Path
    inside: str
    problem: str

    def rank(self, notebook: str) -> tuple[bool, bool, int, int, str]:
        """What is to be graded is the least: readable, named as handed out, least deep, the latest numbered copy."""
        copy_number = re.search(r"(\d+)\W*$", _stem(self.path.name))
        latest = -int(copy_number[1][-9:]) if copy_number else 0
        exact = self.path.name == f"{notebook}.ipynb"
        return bool(self.problem), not exact, self.inside.count("/"), latest, self.inside


@dataclass(frozen=True)
class _Student:
    """A student's folder: the files by the notebook that they seem to be, or the ``problem`` with the folder itself."""

    folder: Path
    files: Mapping[str, list[_File]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    problem: str = ""


def find(folder: Path, notebooks: Collection[str], only: Collection[str] | None = None) -> Found:
    """Find the notebooks that a class handed in, ``folder/<student>/.../<notebook>.ipynb``.

    A file with the notebook's exact name wins over renamed copies ("01_vgg16_setup (1).ipynb", "Copy of ...", other
    case, "01.ipynb"); of several, the least deep in the student's folder, then the copy with the highest number, then
    the first by name. Hidden files and folders, ``.ipynb_checkpoints`` among them, are passed over.

    Parameters
    ----------
    folder : Path
        Holds one folder a student; the folder's name is the student's. nbgrader's ``submitted`` is such a folder.
    notebooks : collection of str
        The names of the course's notebooks, without ``.ipynb``.
    only : collection of str, optional
        The notebooks that are to be graded. If not given, those that at least one student handed in.

    Returns
    -------
    Found
        One `Submission` for each student and notebook, sorted, the same on every system.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        ``folder`` is not there, or not a folder.
    ValueError
        It holds no student's folder, or not one notebook of the course; or ``only`` names an unknown notebook.
    """
    if unknown := sorted(set(only or ()) - set(notebooks)):
        raise ValueError(f"the course has no notebook {unknown[0]!r}; it has {', '.join(sorted(notebooks))}")
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    visible = [path for path in sorted(folder.iterdir(), key=lambda path: path.name) if not _is_hidden(path.name)]
    loose = [path.name for path in visible if not os.path.isdir(path)]
    students = [_looked_through(path, notebooks) for path in visible if os.path.isdir(path)]
    if not students:
        raise ValueError(f"{folder} holds no folder of a student{f', only {_listed(loose)}' if loose else ''}")
    wanted = sorted(set(only or ()) or {notebook for student in students for notebook in student.files})
    if not wanted:
        raise ValueError(
            f"no student's folder in {folder} holds a notebook of the course, such as {min(notebooks)}.ipynb"
        )
    notes = [f"not in any student's folder, so not graded: {_listed(loose)}"] if loose else []
    notes += _notes_on_alike([student.folder.name for student in students])
    notes += [f"{_printable(student.folder.name)}: {note}" for student in students for note in student.notes]
    return Found(tuple(_submission(student, notebook) for student in students for notebook in wanted), tuple(notes))


def _submission(student: _Student, notebook: str) -> Submission:
    """The one file of several that counts, with notes on the choice."""
    name = _printable(student.folder.name)
    if student.problem:
        return Submission(name, notebook, student.folder, student.problem)
    if notebook not in student.files:
        return Submission(name, notebook, None)
    chosen, *others = sorted(student.files[notebook], key=lambda file: file.rank(notebook))
    notes = []
    if chosen.path.name != f"{notebook}.ipynb":
        notes.append(f"taken from {_quoted(chosen.inside)}, which is not called {notebook}.ipynb")
    unread = [other for other in others if other.problem]
    notes += [f"{_quoted(other.inside)} was left out: {other.problem}" for other in unread[:NAMED]]
    if spare := [other.inside for other in others if not other.problem]:
        notes.append(f"{_quoted(chosen.inside)} was graded; not {_listed(spare)}")
    return Submission(name, notebook, chosen.path, chosen.problem, tuple(notes))


def _looked_through(folder: Path, notebooks: Collection[str]) -> _Student:
    """What lies in one student's folder."""
    if folder.is_symlink():
        return _Student(folder, problem="The student's folder is a link, and links are not followed.")
    files: dict[str, list[_File]] = defaultdict(list)
    strange, archives, notes = [], [], []
    home = Path(os.path.realpath(folder))
    try:
        for entry, inside in _walk(folder, notes):
            if entry.name.lower().endswith(ARCHIVES):
                archives.append(inside)
            elif _ENDING.search(entry.name):
                matching = _notebooks_called(entry.name, notebooks)
                if len(matching) == 1:
                    files[matching[0]].append(_File(Path(entry.path), inside, _problem(entry, home)))
                elif not entry.is_dir(follow_symlinks=False):
                    strange.append(inside)
    except OSError as error:
        return _Student(folder, problem=f"The student's folder could not be read ({_reason(error)}).")
    if strange:
        notes.append(f"not a notebook of the course: {_listed(strange)}")
    if archives:
        notes.append(f"not unpacked: {_listed(archives)}")
    return _Student(folder, dict(files), notes)


def _walk(student: Path, notes: list[str]) -> Iterator[tuple[os.DirEntry, str]]:
    """Every entry of a student's folder with its path in it; no link is followed, however deep the folders go."""
    waiting = [(str(student), "")]
    while waiting:
        folder, inside = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if not inside:
                raise
            notes.append(f"the folder {_quoted(inside)} could not be read ({_reason(error)})")
            continue
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            path = f"{inside}/{entry.name}" if inside else entry.name
            yield entry, path
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, path))
            elif os.path.isdir(entry.path):  # DirEntry.is_dir raises on a link to itself
                notes.append(f"{_quoted(path)} is a link to a folder, and links are not followed")


def _problem(entry: os.DirEntry, home: Path) -> str:
    """Why a file must not be opened, as a sentence, or ""."""
    try:
        if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(home):
            return "It is a link that leads out of the student's folder."
        status = os.stat(entry.path)
    except OSError as error:
        return f"It cannot be looked at ({_reason(error)})."
    if stat.S_ISDIR(status.st_mode):
        return "It is a folder, not a notebook."
    if not stat.S_ISREG(status.st_mode):
        return "It is a pipe or a device, not a file."
    if not os.access(entry.path, os.R_OK):
        return "Its permissions do not let it be read."
    if status.st_size > MAX_BYTES:
        return f"It has {status.st_size / 1e6:.0f} MB; a notebook of more than {MAX_BYTES / 1e6:.0f} MB is not read."
    return ""


def _notebooks_called(file_name: str, notebooks: Collection[str]) -> list[str]:
    """The notebooks that a file may be by its name: the one of that name, else those whose name is a part of it."""
    if file_name.endswith(".ipynb") and file_name.removesuffix(".ipynb") in notebooks:
        return [file_name.removesuffix(".ipynb")]
    stem = _stem(file_name)
    return [notebook for notebook in sorted(notebooks) if _is_copy(stem, notebook)]


def _is_copy(stem: str, notebook: str) -> bool:
    """Whether a stem (as `_stem` gives it) is the notebook's name or number with what copying and renaming add."""
    named = rf"(?<![0-9]){re.escape(notebook.casefold())}(?![^\W_])"
    numbered = rf"{re.escape(notebook[:2])}(_?\(\d+\)|_copy\d*)*"
    return bool(re.search(named, stem) or re.fullmatch(numbered, stem))


def _stem(file_name: str) -> str:
    """A file's name without what a file system, a browser or a person may change of it: case, blanks and dashes."""
    return re.sub(r"[\s_-]+", "_", _ENDING.sub("", caseless(file_name)))


def _is_hidden(name: str) -> bool:
    """Hidden by its dot, or the shadow folder that macOS packs into archives."""
    return name.startswith(".") or name == "__MACOSX"


def _notes_on_alike(students: list[str]) -> list[str]:
    """Notes on students whose folders a case-insensitive system takes for one."""
    alike = defaultdict(list)
    for student in students:
        alike[caseless(student)].append(student)
    return [
        f"these differ in upper and lower case only: {_listed(names)}" for names in alike.values() if len(names) > 1
    ]


def _printable(name: str) -> str:
    r"""A file's name as text that can be written as UTF-8: a byte that is none becomes ``\udcff``, spelled out."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _quoted(name: str) -> str:
    return f'"{_printable(name)}"'


def _listed(names: list[str]) -> str:
    """Names in quotes, the first few of many."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(_quoted, names[:NAMED])) + more
