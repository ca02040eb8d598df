"""The class that grading is measured with is what it says, and a mark that is not as expected is found."""

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from benchmarks import classroom, grading
from benchmarks.classroom import ATTACKS, BREAKAGES, CHANGES, KINDS, Expected, HandedIn
from labutils.course import registry
from labutils.course.grading.course_notebook import load_all
from labutils.course.grading.references import internals_used
from labutils.course.grading.results import GradedNotebook, Mark, Result
from labutils.course.grading.splicing import Unreadable, splice
from labutils.course.grading.submissions import find

ROOT = Path(__file__).parents[2]
COURSE = load_all(ROOT / "notebooks")
WHOLE_CLASS = 40


@pytest.fixture(scope="module")
def materials():
    """The course's notebooks without the pictures in their texts: a megabyte each, which nothing here looks at."""
    found = classroom.material(ROOT)
    for cell in (cell for each in found for cell in each.handed_out["cells"]):
        cell.pop("attachments", None)
    return found


@pytest.fixture(scope="module")
def submissions(materials):
    return list(classroom.classroom(materials, WHOLE_CLASS))


@pytest.fixture(scope="module")
def spliced(submissions):
    """Every submission that is a notebook, with the answers that grading takes from it."""
    readable = [each for each in submissions if each.data is not None and each.kind != "broken file"]
    return [(each, splice(each.data, COURSE[each.notebook]).answers) for each in readable]


# --- The class -------------------------------------------------------------------------------------------------------


def test_a_class_has_so_many_students_of_each_kind(submissions):
    kinds = {each.student: each.kind for each in submissions}
    assert len(kinds) == WHOLE_CLASS
    assert Counter(kinds.values()) == {kind: count for kind, (count, _) in KINDS.items()}


def test_every_student_has_a_mark_for_every_exercise(submissions):
    expected = defaultdict(list)
    for each in submissions:
        assert {exercise[:2] for exercise in each.expected} == {each.notebook[:2]}
        expected[each.student] += each.expected
    assert len(expected) == WHOLE_CLASS
    assert all(ids == [exercise.id for exercise in registry.all_exercises()] for ids in expected.values())


def test_a_small_class_has_one_of_every_kind(materials):
    assert {each.kind for each in classroom.classroom(materials[:1], len(KINDS))} == set(KINDS)


def test_a_class_is_the_same_each_time(materials):
    assert list(classroom.classroom(materials[:1], 12)) == list(classroom.classroom(materials[:1], 12))


def test_every_change_breakage_attack_and_mark_is_there(submissions):
    how = {each.how for each in submissions}
    assert {*CHANGES, *BREAKAGES, *ATTACKS} <= how
    assert {expected.mark for each in submissions for expected in each.expected.values()} == set(Mark)


def test_known_mistakes_differ_from_student_to_student(submissions):
    found = defaultdict(set)
    for each in submissions:
        for exercise, expected in each.expected.items():
            if each.kind == "known mistakes":
                assert expected.mark is Mark.WRONG
                found[exercise].add(expected.mistake)
    students = KINDS["known mistakes"][0]
    for exercise in registry.all_exercises():
        assert found[exercise.id] <= set(exercise.wrong)
        assert len(found[exercise.id]) == min(students, len(exercise.wrong))


def test_the_expected_mistake_is_the_one_that_the_cell_asks_for(spliced):
    for each, answers in spliced:
        if each.kind == "known mistakes":
            for exercise, answer in answers.items():
                assert f"exercise.wrong[{each.expected[exercise].mistake!r}]()" in answer.code
                assert f"find({exercise!r})" in answer.code


# --- Its files -------------------------------------------------------------------------------------------------------

DECIDED = {Mark.UNREADABLE, Mark.NOT_HANDED_IN, Mark.MISSING, Mark.NOT_CODE}


def test_what_can_be_read_splices_as_expected(spliced):
    for each, answers in spliced:
        for exercise, answer in answers.items():
            expected, where = each.expected[exercise].mark, (each.student, each.how, exercise)
            if expected in DECIDED:
                assert answer.mark is expected, where
            elif expected is Mark.NOT_ATTEMPTED:  # some of these are found only when they run
                assert answer.mark in (expected, None), where
            else:
                assert answer.mark is None, where


def test_right_answers_stay_whole_in_whatever_became_of_the_notebook(spliced, materials):
    solutions = {exercise: code for each in materials for exercise, code in each.answers.items()}
    for each, answers in spliced:
        if each.kind in ("perfect", "half done", "changed notebook", "hostile"):
            for exercise, answer in answers.items():
                if each.expected[exercise].mark is Mark.PASSED:
                    assert answer.code.split() == solutions[exercise].split(), (each.student, each.how, exercise)


def test_broken_files_are_unreadable_for_the_reason_expected(submissions):
    broken = [each for each in submissions if each.kind == "broken file"]
    assert broken
    for each in broken:
        (expected,) = set(each.expected.values())
        with pytest.raises(Unreadable, match=expected.words):
            splice(each.data, COURSE[each.notebook])


def test_stand_ins_are_not_taken_for_the_reference_but_the_attack_that_names_it_is(spliced):
    for each, answers in spliced:
        if each.kind in ("other styles", "hostile"):
            for exercise, answer in answers.items():
                named = each.expected[exercise].mistake == "course_internals"
                assert bool(internals_used(answer.code)) == named, (each.student, exercise)


def test_the_files_are_found_as_an_instructor_collects_them(submissions, tmp_path):
    small = [each for each in submissions if each.kind in ("perfect", "forgetful", "broken file")]
    classroom.hand_in(tmp_path, small)
    found = {(each.student, each.notebook): each.path for each in find(tmp_path, list(COURSE)).submissions}
    assert {key for key, path in found.items() if path} == {
        (each.student, each.notebook) for each in small if each.data is not None
    }
    assert len(found) == len(small)


# --- What became of it -----------------------------------------------------------------------------------------------

EXPECTED = {
    "01.titles": Expected(Mark.PASSED),
    "01.predict": Expected(Mark.WRONG, mistake="not_preprocessed"),
    "01.preprocess": Expected(Mark.STOPPED, words="longer than"),
}
SUBMISSION = HandedIn("ada", "mixed", "01_vgg16_setup", "made up", b"{}", EXPECTED)
AS_EXPECTED = {
    "01.titles": ("passed", "", ""),
    "01.predict": ("wrong", "not_preprocessed", "The photos are not preprocessed."),
    "01.preprocess": ("stopped", "", "It ran longer than 20 seconds."),
}


@pytest.fixture
def grades(tmp_path):
    """Writes marks as `labutils grade` does: exercise -> (verdict, mistake, reason)."""

    def write(marks):
        with open(tmp_path / "grades.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["student", "exercise", "verdict", "reason"])
            writer.writerows(["ada", exercise, verdict, reason] for exercise, (verdict, _, reason) in marks.items())
        outcome = [
            Result(exercise, Mark(verdict), reason, mistake) for exercise, (verdict, mistake, reason) in marks.items()
        ]
        (tmp_path / "results").mkdir()
        record = GradedNotebook("ada", "01_vgg16_setup", tuple(outcome)).to_json()
        (tmp_path / "results" / "a.json").write_text(json.dumps(record), encoding="utf-8")
        return tmp_path

    return write


def test_marks_as_expected_are_no_news(grades):
    assert grading.unexpected([SUBMISSION], grades(AS_EXPECTED)) == []


DEVIATIONS = {
    "another verdict": ({"01.titles": ("wrong", "", "No.")}, ["ada, 01.titles", "expected passed, found wrong: No."]),
    "another diagnosis": ({"01.predict": ("wrong", "one_photo", "x")}, ["for not_preprocessed, found for one_photo"]),
    "no diagnosis": ({"01.predict": ("wrong", "", "x")}, ["for not_preprocessed, found for no known mistake"]),
    "another reason": ({"01.preprocess": ("stopped", "", "It was killed.")}, ["'longer than'", "It was killed."]),
    "a row too many": ({"01.top_three": ("passed", "", "")}, ["01.top_three: a row that nobody expected"]),
}


@pytest.mark.parametrize(("changed", "words"), DEVIATIONS.values(), ids=DEVIATIONS)
def test_what_deviates_is_named(grades, changed, words):
    (found,) = grading.unexpected([SUBMISSION], grades(AS_EXPECTED | changed))
    assert all(each in found for each in words)


def test_a_missing_row_is_named(grades):
    out = grades({exercise: mark for exercise, mark in AS_EXPECTED.items() if exercise != "01.titles"})
    assert grading.unexpected([SUBMISSION], out) == ["ada, 01.titles (made up): expected passed, found no row"]


def test_seconds_are_the_median_and_the_most():
    notebooks = [GradedNotebook("ada", "01", (), seconds=seconds) for seconds in (1, 2, 9)]
    assert grading.seconds_by(notebooks, lambda each: each.notebook) == [("01", "3", "2.0", "9.0")]


PAGE = "# Results\n\n## Marks\n\nall met\n\n## Grading a class\n\nold\n\n### Part\n\nold\n\n## Waits\n\nlong\n"


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        (PAGE, "# Results\n\n## Marks\n\nall met\n\n## Grading a class\n\nnew\n\n## Waits\n\nlong\n"),
        ("# Results\n\n## Marks\n", "# Results\n\n## Marks\n\n## Grading a class\n\nnew\n"),
        ("# Results\n\n## Grading a class\n\nold\n", "# Results\n\n## Grading a class\n\nnew\n"),
    ],
    ids=["in the middle", "not there yet", "at the end"],
)
def test_a_section_takes_the_place_of_its_old_self(page, wanted):
    assert grading.with_section(page, "## Grading a class\n\nnew\n") == wanted
    assert grading.with_section(wanted, "## Grading a class\n\nnew") == wanted
