"""A class in one command: every mark as expected, whichever way it is graded, stopped and gone on with."""

import csv
import json
import os
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

from labutils.cli import main
from labutils.course.grading import batch, course_notebook
from labutils.course.grading.grader import Settings
from labutils.course.grading.results import GradedNotebook, Mark, Result
from labutils.course.grading.submissions import find

ROOT = Path(__file__).resolve().parents[3]
NAME = "01_vgg16_setup"
SEED = "77"

HOSTILE = """
import os
os._exit(0)
"""


@pytest.fixture(scope="module")
def submissions(tmp_path_factory):
    """Six students: perfect, half done, untouched, broken, hostile, and one whose name is a formula."""
    folder = tmp_path_factory.mktemp("class") / "submissions"
    solution = nbformat.read(ROOT / "solutions" / f"{NAME}.ipynb", as_version=4)
    for cell in solution.cells:
        cell.pop("outputs", None) if cell.cell_type != "code" else cell.update(outputs=[])

    def hand_in(student, change=lambda number, cell: None):
        notebook = nbformat.from_dict(json.loads(json.dumps(solution)))
        exercises = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
        for number, cell in enumerate(exercises):
            change(number, cell)
        (folder / student).mkdir(parents=True)
        nbformat.write(notebook, folder / student / f"{NAME}.ipynb")

    def stub(cell):
        cell.source = cell.source.partition("### BEGIN SOLUTION")[0].rstrip()

    hand_in("perfect")
    hand_in("half", lambda number, cell: stub(cell) if number % 2 else None)
    hand_in("untouched", lambda number, cell: stub(cell) if cell.cell_type == "code" else None)
    hand_in("mallory", lambda number, cell: cell.update(source=HOSTILE) if number == 2 else None)
    hand_in("=1+1")
    (folder / "broken").mkdir()
    (folder / "broken" / f"{NAME}.ipynb").write_text('{"cells": [', encoding="utf-8")
    (folder / "note.txt").write_text("hello", encoding="utf-8")
    return folder


EXPECTED = {
    "'=1+1": ["passed"] * 7,
    "broken": ["unreadable"] * 7,
    "half": ["passed", "not attempted"] * 3 + ["passed"],
    "mallory": ["passed", "passed", "stopped"] + ["passed"] * 4,
    "perfect": ["passed"] * 7,
    "untouched": ["not attempted"] * 7,
}


@pytest.fixture(scope="module")
def out(submissions, tmp_path_factory, runs_answers):
    """The class, graded by the command."""
    out = tmp_path_factory.mktemp("graded") / "grades"
    assert (
        main(["grade", str(submissions), "--out", str(out), "--seed", SEED, "--jobs", "2", "--course", str(ROOT)]) == 0
    )
    return out


def rows(out):
    with open(out / "grades.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_mark_is_as_expected(out):
    found = {}
    for row in rows(out):
        found.setdefault(row["student"], []).append(row["verdict"])
    assert found == EXPECTED


def test_points_are_those_of_the_passed_alone(out):
    for row in rows(out):
        assert float(row["points"]) == (float(row["max_points"]) if row["verdict"] == "passed" else 0)
        assert bool(row["reason"]) == (row["verdict"] != "passed")


def test_everything_is_written_that_the_command_promises(out):
    assert {path.name for path in out.iterdir()} == {
        "grades.csv",
        "students.csv",
        "think_tasks.csv",
        "overview.html",
        "feedback",
        "results",
        "settings.json",
    }
    assert {"perfect.html", "mallory.html"} <= {path.name for path in (out / "feedback").iterdir()}
    assert len(list((out / "feedback").iterdir())) == len(EXPECTED)


def test_one_row_for_each_student_and_an_explanation_for_those_to_look_at(out):
    with open(out / "students.csv", newline="", encoding="utf-8") as file:
        look = {row["student"]: row["look"] for row in csv.DictReader(file)}
    assert set(look) == set(EXPECTED)
    assert {student for student, words in look.items() if words} == {"broken", "mallory"}


def no_work(*_):
    raise AssertionError("this was graded already")


def test_graded_once_is_not_graded_again(submissions, out, monkeypatch, capsys):
    before = (out / "grades.csv").read_bytes()
    monkeypatch.setattr(batch, "_executor", no_work)
    assert main(["grade", str(submissions), "--out", str(out), "--course", str(ROOT)]) == 0  # the seed is kept
    assert (out / "grades.csv").read_bytes() == before
    assert "note.txt" in capsys.readouterr().err


def test_marks_given_by_hand_are_kept_and_shown(submissions, out, monkeypatch):
    monkeypatch.setattr(batch, "_executor", no_work)
    table = out / "think_tasks.csv"
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names, thinks = reader.fieldnames, list(reader)
    row = next(each for each in thinks if each["student"] == "perfect")
    row["points"], row["comment"] = "1.5", "Good, and why twice?"
    with open(table, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(thinks)
    assert main(["grade", str(submissions), "--out", str(out), "--course", str(ROOT)]) == 0
    assert "Good, and why twice?" in (out / "feedback" / "perfect.html").read_text(encoding="utf-8")
    with open(table, newline="", encoding="utf-8-sig") as file:
        kept = next(
            each for each in csv.DictReader(file) if (each["student"], each["task"]) == ("perfect", row["task"])
        )
    assert (kept["points"], kept["comment"]) == ("1.5", "Good, and why twice?")


def test_on_a_dask_cluster_the_marks_are_the_same(submissions, out, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        command = ["grade", str(submissions), "--out", str(tmp_path / "grades"), "--seed", SEED, "--course", str(ROOT)]
        assert main([*command, "--dask", cluster.scheduler_address]) == 0
    batch._grader.cache_clear()
    assert (tmp_path / "grades" / "grades.csv").read_bytes() == (out / "grades.csv").read_bytes()


def test_a_cluster_that_is_not_there_is_named(submissions, tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed")
    monkeypatch.setattr(batch, "CONNECT_SECONDS", 1)
    command = ["grade", str(submissions), "--out", str(tmp_path), "--course", str(ROOT), "--dask", "tcp://127.0.0.1:9"]
    assert main(command) == 1
    assert "no Dask scheduler at tcp://127.0.0.1:9" in capsys.readouterr().err


# --- Where the processes that grade die, nobody else's work does -----------------------------------------------------


@pytest.fixture
def courses():
    return course_notebook.load_all(ROOT / "notebooks")


def an_executor(killers, submitted):
    """An executor of a process that dies of some students' submissions, and grades the others as passed."""

    class Executor:
        def submit(self, _, task, *__):
            submitted.append(task.student)
            future = Future()
            if task.student in killers:
                future.set_exception(BrokenProcessPool("it died"))
            else:
                results = tuple(Result(exercise, Mark.PASSED) for exercise in task.course.stubs())
                future.set_result(GradedNotebook(task.student, task.course.name, results))
            return future

    @contextmanager
    def executor(*_):
        yield Executor()

    return executor


def test_a_submission_that_takes_its_process_down_is_given_up_and_the_others_are_graded(
    submissions, courses, tmp_path, monkeypatch
):
    submitted = []
    monkeypatch.setattr(batch, "_executor", an_executor({"mallory"}, submitted))
    found = find(submissions, list(courses))
    graded = batch.grade_class(found.submissions, tmp_path, courses, Settings(1))
    marks = {notebook.student: {result.mark for result in notebook.results} for notebook in graded}
    assert marks.pop("mallory") == {Mark.CHECK_FAILED}
    assert all(each == {Mark.PASSED} for each in marks.values())
    assert submitted.count("mallory") == batch.ATTEMPTS


def test_what_was_graded_before_an_interrupt_is_kept(submissions, courses, tmp_path, monkeypatch):
    submitted = []
    monkeypatch.setattr(batch, "_executor", an_executor(set(), submitted))

    def interrupt(done, total):
        if done >= 2:
            raise KeyboardInterrupt

    found = find(submissions, list(courses))
    with pytest.raises(KeyboardInterrupt):
        batch.grade_class(found.submissions, tmp_path, courses, Settings(1), progress=interrupt)
    submitted.clear()
    graded = batch.grade_class(found.submissions, tmp_path, courses, Settings(1))
    assert len(graded) == len(EXPECTED)
    assert 0 < len(submitted) < len(EXPECTED)


CHANGES = {
    "another file": lambda task, settings: (batch.Task(task.student, task.course, task.data + b" "), settings),
    "another seed": lambda task, settings: (task, Settings(settings.seed + 1)),
    "another student": lambda task, settings: (batch.Task("eve", task.course, task.data), settings),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_result_is_kept_for_just_what_it_was_given_for(courses, change):
    task, settings = batch.Task("ada", courses[NAME], b"{}"), Settings(1)
    assert batch._fingerprint(task, settings) == batch._fingerprint(
        batch.Task("ada", courses[NAME], b"{}"), Settings(1)
    )
    assert batch._fingerprint(*change(task, settings)) != batch._fingerprint(task, settings)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"student": "ada"}', b"[]", b'{"results": 3, "notes": []}'])
def test_a_damaged_result_is_no_result(tmp_path, damage):
    (tmp_path / "a.json").write_bytes(damage)
    assert batch._kept(tmp_path / "a.json") is None


def test_a_result_survives_its_file(tmp_path):
    graded = GradedNotebook(
        "ada", NAME, (Result("01.titles", Mark.WRONG, "No.", "x", "code", ("a note",), 1.5),), {"t": "x"}
    )
    (tmp_path / "a.json").write_text(json.dumps(graded.to_json()), encoding="utf-8")
    assert batch._kept(tmp_path / "a.json") == graded


# --- The seed --------------------------------------------------------------------------------------------------------


def test_the_seed_is_secret_and_stays(tmp_path):
    first = batch.seed_of(tmp_path, None)
    assert batch.seed_of(tmp_path, None) == first
    assert batch.seed_of(tmp_path / "other", None) != first


def test_a_seed_that_is_given_is_kept(tmp_path):
    assert batch.seed_of(tmp_path, 5) == 5
    assert batch.seed_of(tmp_path, None) == 5


def test_settings_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "settings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"settings\.json"):
        batch.seed_of(tmp_path, None)


# --- Wrong usage -----------------------------------------------------------------------------------------------------

MISTAKES = {
    "no such folder": (["nowhere"], "nowhere"),
    "no such notebook": ([".", "--notebooks", "99"], "01_vgg16_setup"),
    "no course there": ([".", "--course", "."], "no notebooks of the course"),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_wrong_usage_is_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    course = [] if "--course" in arguments else ["--course", str(ROOT)]
    assert main(["grade", *arguments, "--out", "out", *course]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


def test_a_file_in_the_place_of_the_grades_is_named_and_kept(submissions, tmp_path, capsys):
    (tmp_path / "grades").write_text("mine", encoding="utf-8")
    assert main(["grade", str(submissions), "--out", str(tmp_path / "grades"), "--course", str(ROOT)]) == 1
    assert "is a file; name a folder for the grades" in capsys.readouterr().err
    assert (tmp_path / "grades").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("option", ["--jobs=0", "--seconds=-1", "--memory=nan", "--seed=x"])
def test_bad_options_are_wrong_usage(tmp_path, option):
    with pytest.raises(SystemExit) as caught:
        main(["grade", str(tmp_path), "--out", str(tmp_path / "out"), option])
    assert caught.value.code == 2


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_cannot_be_written_is_named(submissions, tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert main(["grade", str(submissions), "--out", str(tmp_path / "out"), "--course", str(ROOT)]) == 1
    assert str(tmp_path / "out") in capsys.readouterr().err
