"""A folder of submissions: whose is what, and what must not be opened."""

import os
import sys
from pathlib import Path

import pytest

from labutils.course.grading import submissions
from labutils.course.grading.submissions import Submission, find

NOTEBOOKS = ["01_vgg16_setup", "02_class_activation_maps", "08_can_you_trust_a_heatmap"]
FIRST, SECOND, LAST = NOTEBOOKS

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="Windows lets only administrators make links")
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.fixture
def hand_in(tmp_path):
    """Put a file into the class's folder; returns that folder's path."""

    def put(*paths, text="{}"):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return put


def only_one(folder) -> Submission:
    (submission,) = find(folder, NOTEBOOKS).submissions
    return submission


# --- Who handed in what ----------------------------------------------------------------------------------------------


def test_a_class_is_sorted_by_student_and_notebook(hand_in):
    folder = hand_in(f"ben/{SECOND}.ipynb", f"ben/{FIRST}.ipynb", f"ada/{FIRST}.ipynb", f"ada/{SECOND}.ipynb")
    found = find(folder, NOTEBOOKS)
    assert found.submissions == tuple(
        Submission(student, notebook, folder / student / f"{notebook}.ipynb")
        for student in ("ada", "ben")
        for notebook in (FIRST, SECOND)
    )
    assert found.notes == ()


def test_what_another_student_handed_in_is_missing_and_what_nobody_did_is_not_asked_for(hand_in):
    folder = hand_in(f"ada/{FIRST}.ipynb", f"ben/{SECOND}.ipynb", "cem/readme.txt")
    by_key = {(one.student, one.notebook): one.path for one in find(folder, NOTEBOOKS).submissions}
    assert set(by_key) == {(student, notebook) for student in ("ada", "ben", "cem") for notebook in (FIRST, SECOND)}
    assert [key for key, path in by_key.items() if path] == [("ada", FIRST), ("ben", SECOND)]


def test_only_limits_the_notebooks_and_asks_for_them_even_if_nobody_handed_them_in(hand_in):
    folder = hand_in(f"ada/{FIRST}.ipynb", f"ada/{SECOND}.ipynb")
    found = find(folder, NOTEBOOKS, only=[LAST, FIRST])
    assert [(one.notebook, one.path is None) for one in found.submissions] == [(FIRST, False), (LAST, True)]
    assert found.notes == ()


@pytest.mark.parametrize(
    "inside",
    [
        f"{FIRST}/{FIRST}.ipynb",
        f"submission (2)/lab/notebooks/{FIRST}.ipynb",
        f"{FIRST}.ipynb/{FIRST}.ipynb",
    ],
    ids=["nbgrader's submitted folder", "an unpacked archive", "a folder that is called like the notebook"],
)
def test_a_notebook_may_lie_deeper(hand_in, inside):
    folder = hand_in(f"ada/{inside}")
    assert only_one(folder).path == folder / "ada" / inside
    assert only_one(folder).problem == ""


@pytest.mark.parametrize(
    "name",
    [
        f"{SECOND} (1).ipynb",
        f"{SECOND}-Copy1.ipynb",
        f"Copy of {SECOND}.ipynb",
        f"Kopie von {SECOND}.ipynb",
        f"alice_{SECOND}.ipynb",
        f"{SECOND}_final_v2.ipynb",
        f"{SECOND.upper()}.IPYNB",
        "02-Class-Activation-Maps.ipynb",
        f"{SECOND}.ipynb.txt",
        "02.ipynb",
        "02 (3).ipynb",
    ],
)
def test_a_renamed_copy_is_taken_with_a_note(hand_in, name):
    submission = only_one(hand_in(f"ada/{name}"))
    assert (submission.notebook, submission.path.name, submission.problem) == (SECOND, name, "")
    assert submission.notes == (f'taken from "{name}", which is not called {SECOND}.ipynb',)


@pytest.mark.parametrize(
    "name",
    [
        "scratch.ipynb",
        "02_my_own_ideas.ipynb",
        "102_class_activation_maps.ipynb",
        f"{SECOND}xyz.ipynb",
        f"{FIRST} and {SECOND}.ipynb",
        "020.ipynb",
    ],
)
def test_another_notebook_is_none_of_the_course(hand_in, name):
    folder = hand_in(f"ada/{FIRST}.ipynb", f"ada/{name}")
    found = find(folder, NOTEBOOKS)
    assert [one.notebook for one in found.submissions] == [FIRST]
    assert found.notes == (f'ada: not a notebook of the course: "{name}"',)


@pytest.mark.parametrize(
    ("files", "graded"),
    [
        ([f"{FIRST}.ipynb", f"{FIRST} (1).ipynb"], f"{FIRST}.ipynb"),
        ([f"deep/er/{FIRST}.ipynb", f"{FIRST}-Copy1.ipynb"], f"deep/er/{FIRST}.ipynb"),
        ([f"{FIRST}.ipynb", f"a/{FIRST}.ipynb"], f"{FIRST}.ipynb"),
        ([f"b/{FIRST}.ipynb", f"a/{FIRST}.ipynb"], f"a/{FIRST}.ipynb"),
        ([f"{FIRST} (2).ipynb", f"{FIRST} (10).ipynb", f"{FIRST} (9).ipynb"], f"{FIRST} (10).ipynb"),
    ],
    ids=["the exact name", "the exact name, even deeper", "the least deep", "the first by name", "the latest copy"],
)
def test_of_several_files_one_is_graded_and_the_others_are_named(hand_in, files, graded):
    folder = hand_in(*(f"ada/{file}" for file in files))
    submission = only_one(folder)
    assert submission.path == folder / "ada" / graded
    for other in set(files) - {graded}:
        assert other in submission.notes[-1]


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", ".git", "__MACOSX"])
def test_hidden_folders_are_passed_over(hand_in, hidden):
    folder = hand_in(
        f"ada/{FIRST}.ipynb", f"ada/{hidden}/{FIRST}.ipynb", f"{hidden}/{FIRST}.ipynb", f"ada/._{FIRST}.ipynb"
    )
    assert only_one(folder) == Submission("ada", FIRST, folder / "ada" / f"{FIRST}.ipynb")


# --- What the instructor is told -------------------------------------------------------------------------------------


def test_loose_files_and_packed_ones_are_named(hand_in):
    folder = hand_in(f"{FIRST}.ipynb", f"ada/{FIRST}.ipynb", "ben/all.zip", "ben/more/x.tar.gz")
    found = find(folder, NOTEBOOKS)
    assert found.notes == (
        f'not in any student\'s folder, so not graded: "{FIRST}.ipynb"',
        'ben: not unpacked: "all.zip", "more/x.tar.gz"',
    )
    assert [one.path is None for one in found.submissions] == [False, True]


def test_of_many_strange_files_only_a_few_are_named(hand_in):
    (note,) = find(hand_in(f"ada/{FIRST}.ipynb", *(f"ada/x{i}.ipynb" for i in range(9))), NOTEBOOKS).notes
    assert note.endswith('"x4.ipynb" and 4 more')


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize(
    "student", ["Ada Lovelace", "=cmd|' C calc'!A0", "<script>alert(1)<", "Zoë 王芳", "a\nb", "-rf"]
)
def test_a_student_may_have_any_name(hand_in, student):
    assert only_one(hand_in(f"{student}/{FIRST}.ipynb")).student == student


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are no text")
def test_a_name_that_is_no_text_can_still_be_written(hand_in):
    submission = only_one(hand_in(os.fsdecode(b"ad\xffa") + f"/{FIRST}.ipynb"))
    assert submission.student.encode() == rb"ad\udcffa"
    assert submission.path.exists()


def test_names_that_differ_in_case_only_are_pointed_out(hand_in):
    folder = hand_in(f"ada/{FIRST}.ipynb", f"Ada/{FIRST}.ipynb")
    if len(list(folder.iterdir())) == 1:
        pytest.skip("this file system takes them for one")
    found = find(folder, NOTEBOOKS)
    assert [one.student for one in found.submissions] == ["Ada", "ada"]
    assert found.notes == ('these differ in upper and lower case only: "Ada", "ada"',)


# --- What must not be opened -----------------------------------------------------------------------------------------


def a_folder(path: Path, outside: Path):
    path.mkdir()


def a_pipe(path: Path, outside: Path):
    os.mkfifo(path)


def a_link_out(path: Path, outside: Path):
    path.symlink_to(outside)


def a_relative_link_out(path: Path, outside: Path):
    path.symlink_to(os.path.relpath(outside, path.parent))


def a_link_to_another_student(path: Path, outside: Path):
    path.symlink_to(path.parent.parent / "zoe" / path.name)


def a_link_to_a_device(path: Path, outside: Path):
    path.symlink_to("/dev/zero")


def a_link_to_itself(path: Path, outside: Path):
    path.symlink_to(path.name)


def a_broken_link(path: Path, outside: Path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (a_folder, "a folder"),
        pytest.param(a_pipe, "a pipe or a device", marks=needs_pipes),
        pytest.param(a_link_out, "leads out", marks=needs_links),
        pytest.param(a_relative_link_out, "leads out", marks=needs_links),
        pytest.param(a_link_to_another_student, "leads out", marks=needs_links),
        pytest.param(a_link_to_a_device, "leads out", marks=needs_links),
        pytest.param(a_link_to_itself, "cannot be looked at", marks=needs_links),
        pytest.param(a_broken_link, "cannot be looked at", marks=needs_links),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_no_file_of_the_student_is_a_problem(hand_in, tmp_path_factory, make, problem):
    outside = tmp_path_factory.mktemp("outside") / "secret.ipynb"
    outside.write_text("{}")
    folder = hand_in(f"zoe/{FIRST}.ipynb")
    (folder / "ada").mkdir()
    make(folder / "ada" / f"{FIRST}.ipynb", outside)
    ada, zoe = find(folder, NOTEBOOKS).submissions
    assert problem in ada.problem
    assert ada.path == folder / "ada" / f"{FIRST}.ipynb"
    assert zoe.problem == ""


def test_a_closed_file_is_a_problem(hand_in, monkeypatch):
    # By monkeypatch, since for root every file is open.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "permissions" in only_one(hand_in(f"ada/{FIRST}.ipynb")).problem


@needs_pipes
def test_a_copy_that_can_be_read_wins_over_an_exact_name_that_cannot(hand_in):
    folder = hand_in(f"ada/{FIRST} (1).ipynb")
    os.mkfifo(folder / "ada" / f"{FIRST}.ipynb")
    submission = only_one(folder)
    assert (submission.path.name, submission.problem) == (f"{FIRST} (1).ipynb", "")
    assert any("a pipe" in note for note in submission.notes)


def test_a_huge_file_is_a_problem(hand_in, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_BYTES", 1_000_000)
    assert only_one(hand_in(f"ada/{FIRST}.ipynb", text=" " * 2_000_000)).problem.startswith("It has 2 MB")


@needs_links
def test_a_link_within_the_students_folder_is_followed(hand_in):
    folder = hand_in("ada/lab/mine.txt")
    (folder / "ada" / f"{FIRST}.ipynb").symlink_to("lab/mine.txt")
    assert only_one(folder).problem == ""


@needs_links
def test_linked_folders_are_not_entered(hand_in):
    folder = hand_in(f"ada/{FIRST}.ipynb", f"zoe/{FIRST}.ipynb")
    (folder / "ada" / "round").symlink_to(".")
    (folder / "ben").symlink_to(folder / "zoe")
    found = find(folder, NOTEBOOKS)
    ada, ben, zoe = found.submissions
    assert (ada.problem, zoe.problem) == ("", "")
    assert ada.path == folder / "ada" / f"{FIRST}.ipynb"
    assert "is a link" in ben.problem
    assert found.notes == ('ada: "round" is a link to a folder, and links are not followed',)


@pytest.mark.parametrize("closed", ["ada", "ada/inner"])
def test_a_closed_folder_costs_nobody_else(hand_in, monkeypatch, closed):
    folder = hand_in(f"ada/inner/{SECOND}.ipynb", f"ada/{FIRST}.ipynb", f"ben/{FIRST}.ipynb")
    scandir = os.scandir

    def refusing(path):
        if path == str(folder / closed):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find(folder, NOTEBOOKS)
    ada, ben = found.submissions
    assert ben.problem == ""
    told = ada.problem if closed == "ada" else found.notes[0]
    assert "could not be read (Permission denied)" in told


def test_very_deep_folders_are_no_trouble(hand_in, monkeypatch):
    folder = hand_in(f"ada/{FIRST}.ipynb")
    monkeypatch.chdir(folder / "ada")
    depth = 1200  # more than Python's stack
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    try:
        assert only_one(folder).problem == ""
    finally:
        for _ in range(depth):  # shutil.rmtree, which pytest cleans up with, does use the stack
            os.chdir("..")
            os.rmdir("d")


# --- What is no folder of submissions --------------------------------------------------------------------------------


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find(tmp_path / "nowhere", NOTEBOOKS)


def test_a_file_is_no_folder(hand_in):
    with pytest.raises(NotADirectoryError, match=r"list\.txt"):
        find(hand_in("list.txt") / "list.txt", NOTEBOOKS)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no folder of a student"),
        ([f"{FIRST}.ipynb"], f"no folder of a student, only .*{FIRST}"),
        (["ada/readme.md", "ben/scratch.ipynb"], "no student's folder in .* holds a notebook of the course"),
    ],
    ids=["empty", "only loose files", "no notebook of the course"],
)
def test_a_folder_without_submissions_is_an_error(hand_in, files, message):
    with pytest.raises(ValueError, match=message):
        find(hand_in(*files), NOTEBOOKS)


def test_an_unknown_notebook_cannot_be_asked_for(hand_in):
    with pytest.raises(ValueError, match="no notebook '09_more'"):
        find(hand_in(f"ada/{FIRST}.ipynb"), NOTEBOOKS, only=["09_more"])
