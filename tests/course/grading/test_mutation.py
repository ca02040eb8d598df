"""The mutation score counts what it says, and calls the course's own answers as a student's cell would."""

from pathlib import Path

import pytest

from labutils.course import Status, registry
from labutils.course.exercise import Verdict
from labutils.course.grading import mutation
from labutils.course.grading.mutation import Kind, OwnAnswer, Score, Way, as_table, by_check, own_answers, scores
from labutils.course.grading.results import Mark, Result

ROOT = Path(__file__).parents[3]
TITLES = registry.find("01.titles")
MISTAKE = next(iter(TITLES.wrong))
STYLE = next(iter(TITLES.right))
WRONG, RIGHT = OwnAnswer(TITLES, Kind.WRONG, MISTAKE), OwnAnswer(TITLES, Kind.RIGHT, STYLE)
REFERENCE = OwnAnswer(TITLES, Kind.REFERENCE)


def says(mark, mistake=""):
    """A grading that says the same of every answer."""
    return lambda exercise_id, code: Result(exercise_id, mark, mistake=mistake)


def checked_as(status, mistake=""):
    return lambda exercise, answer: Verdict(status, mistake=mistake)


def test_every_wrong_answer_every_right_one_and_the_reference_is_an_own_answer():
    found = own_answers(["01"])
    of_titles = [(answer.kind, answer.name) for answer in found if answer.exercise is TITLES]
    assert of_titles == [
        *(("wrong", name) for name in TITLES.wrong),
        *(("right", name) for name in TITLES.right),
        ("reference", ""),
    ]
    assert {answer.exercise.id for answer in found} == set(registry.of_notebook("01"))
    assert {answer.exercise.id for answer in own_answers()} == {exercise.id for exercise in registry.all_exercises()}


@pytest.mark.parametrize("answer", [WRONG, RIGHT, REFERENCE], ids=str)
def test_as_a_cell_an_answer_does_what_it_does_itself(answer):
    namespace = {}
    exec(answer.code(), namespace)
    in_a_cell, itself = (by_check(TITLES, function) for function in (namespace[TITLES.answer], answer.function()))
    assert in_a_cell == itself
    assert itself.passed is (answer.kind is not Kind.WRONG)


def test_the_reference_in_a_cell_is_not_what_catch_up_hands_out():
    namespace = {}
    exec(REFERENCE.code(), namespace)
    assert namespace[TITLES.answer].__code__ is not TITLES.reference().__code__


@pytest.mark.parametrize(
    ("mark", "mistake", "rejected", "diagnosed"),
    [
        pytest.param(Mark.WRONG, MISTAKE, 1, 1, id="wrong, and the diagnosis is right"),
        pytest.param(Mark.WRONG, "another", 1, 0, id="wrong, but another diagnosis"),
        pytest.param(Mark.RAISED, "", 1, 0, id="raised"),
        pytest.param(Mark.PASSED, "", 0, 0, id="passed"),
        pytest.param(Mark.STOPPED, "", 0, 0, id="stopped by a limit"),
        pytest.param(Mark.CHECK_FAILED, "", 0, 0, id="the check failed"),
        pytest.param(Mark.NOT_ATTEMPTED, "", 0, 0, id="not attempted"),
    ],
)
def test_a_wrong_answer_is_rejected_and_diagnosed(mark, mistake, rejected, diagnosed):
    score = scores([WRONG], grade=says(mark, mistake))["01"]
    assert (score.wrong, score.rejected[Way.GRADE], score.diagnosed[Way.GRADE]) == (1, rejected, diagnosed)
    assert (score.failures == []) is bool(diagnosed)


@pytest.mark.parametrize("answer", [RIGHT, REFERENCE], ids=str)
@pytest.mark.parametrize("mark", list(Mark))
def test_a_right_answer_is_accepted_if_it_passes(answer, mark):
    score = scores([answer], grade=says(mark))["01"]
    assert (score.wrong, score.right) == (0, 1)
    assert score.accepted[Way.GRADE] == (mark is Mark.PASSED)
    assert (score.failures == []) is (mark is Mark.PASSED)


def test_check_and_grade_are_counted_apart_and_a_failure_says_which_it_was():
    score = scores([WRONG, RIGHT], check=checked_as(Status.WRONG, MISTAKE), grade=says(Mark.PASSED))["01"]
    assert dict(score.diagnosed) == {Way.CHECK: 1, Way.GRADE: 0}
    assert dict(score.accepted) == {Way.CHECK: 0, Way.GRADE: 1}
    assert score.failures == [
        f"01.titles wrong {MISTAKE}: grade says passed",
        f"01.titles right {STYLE}: check says wrong ({MISTAKE})",
    ]


def test_the_check_rejects_and_accepts_the_first_exercises_answers():
    answers = [answer for answer in own_answers(["01"]) if answer.exercise is TITLES]
    score = scores(answers, check=by_check)["01"]
    assert score.failures == []
    assert score.diagnosed[Way.CHECK] == score.wrong == len(TITLES.wrong)


def test_the_table_has_a_line_for_each_notebook_and_the_sum():
    one = scores([WRONG, RIGHT], check=checked_as(Status.PASSED), grade=says(Mark.WRONG, MISTAKE))["01"]
    lines = as_table({"01": one, "02": Score()}, list(Way)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["01", "1", "0", "0", "1", "1", "1", "1", "0"],
        ["02", *"00000000"],
        ["all", "1", "0", "0", "1", "1", "1", "1", "0"],
    ]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(("faults", "status"), [([], 0), (["01.titles right style: check says wrong"], 1)])
def test_the_exit_status_says_whether_all_was_well(monkeypatch, capsys, faults, status):
    monkeypatch.setattr(mutation, "own_answers", lambda numbers: [WRONG] if list(numbers) == ["01"] else [])
    monkeypatch.setattr(mutation, "scores", lambda *_, **__: {"01": Score(wrong=1, failures=faults)})
    assert mutation.main(["01", "--only", "check"]) == status
    assert (faults[0] if faults else "every answer is judged as it must be") in capsys.readouterr().out


def test_an_unknown_notebook_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        mutation.main(["77"])
    assert ended.value.code == 2
    assert "there is no notebook 77" in capsys.readouterr().err


def test_grading_gets_the_seed_and_each_answer_as_the_only_cell_of_its_notebook(monkeypatch, capsys):
    asked = []

    class Fake:
        def __init__(self, settings):
            self.seed = settings.seed

        def __enter__(self):
            return self

        def __exit__(self, *_):
            asked.append("closed")

        def grade_answer(self, course, exercise_id, codes):
            asked.append((self.seed, course.name, exercise_id, codes))
            return Result(exercise_id, Mark.WRONG, mistake=MISTAKE)

    monkeypatch.setattr("labutils.course.grading.grader.Grader", Fake)
    monkeypatch.setattr(mutation, "own_answers", lambda numbers: [WRONG])
    assert mutation.main(["--only", "grade", "--seed", "5", "--root", str(ROOT)]) == 0
    assert asked == [(5, "01_vgg16_setup", "01.titles", {"01.titles": WRONG.code()}), "closed"]
    assert "check" not in capsys.readouterr().out
