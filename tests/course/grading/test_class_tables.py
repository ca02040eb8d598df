"""The tables: exact columns, one row for each, nothing that a spreadsheet runs, hand-given marks never lost."""

import csv
import dataclasses

import pytest
from example_class import FORMULAS, HOSTILE, TRACEBACK, graded_class

from labutils.course import registry
from labutils.course.grading import summary, tables
from labutils.course.grading.results import GradedNotebook, Mark, Result
from labutils.course.grading.writing import LONGEST

NOTEBOOK = "01_vgg16_setup"
FIRST, SECOND = list(registry.of_notebook("01"))[:2]


def one(student="ann", *results, **more):
    return GradedNotebook(student, NOTEBOOK, results, **more)


def read(path, encoding="utf-8"):
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file))


def written(write, path, *arguments):
    write(path, *arguments)
    return read(path, "utf-8-sig")


class TestGrades:
    def test_has_exactly_these_columns_and_a_row_for_every_student_and_exercise(self, tmp_path):
        rows = written(tables.write_grades, tmp_path / "grades.csv", graded_class())
        assert list(rows[0]) == ["student", "notebook", "exercise", "points", "max_points", "verdict", "reason"]
        assert len(rows) == 40 * (len(registry.of_notebook("01")) + len(registry.of_notebook("02")))
        assert [row["exercise"] for row in rows if row["student"] == "student001"] == [
            *registry.of_notebook("01"),
            *registry.of_notebook("02"),
        ]

    @pytest.mark.parametrize("mark", list(Mark), ids=str)
    def test_only_passed_gives_points(self, tmp_path, mark):
        row = written(tables.write_grades, tmp_path / "grades.csv", [one("ann", Result(SECOND, mark))])[1]
        most = registry.find(SECOND).points
        assert row["verdict"] == str(mark)
        assert (row["points"], row["max_points"]) == (str(most if mark == "passed" else 0), str(most))

    def test_points_are_those_of_the_records_today(self, tmp_path, monkeypatch):
        changed = {id_: dataclasses.replace(each, points=7) for id_, each in registry.of_notebook("01").items()}
        monkeypatch.setattr(summary.registry, "of_notebook", lambda number: changed)
        row = written(tables.write_grades, tmp_path / "grades.csv", [one("ann", Result(FIRST, Mark.PASSED))])[0]
        assert (row["points"], row["max_points"]) == ("7", "7")

    def test_an_exercise_without_a_record_gives_no_points_and_asks_for_a_look(self, tmp_path):
        graded = [one("ann", Result(FIRST, Mark.PASSED))]
        row = written(tables.write_grades, tmp_path / "grades.csv", graded)[1]
        assert (row["points"], row["verdict"]) == ("0", "check failed")

    def test_a_notebook_that_others_handed_in_is_not_handed_in(self, tmp_path):
        graded = [one("ann", Result(FIRST, Mark.PASSED)), GradedNotebook("bob", "02_class_activation_maps", ())]
        rows = written(tables.write_grades, tmp_path / "grades.csv", graded)
        missing = {(row["student"], row["notebook"]) for row in rows if row["verdict"] == "not handed in"}
        assert missing == {("ann", "02_class_activation_maps"), ("bob", NOTEBOOK)}

    def test_of_a_traceback_there_is_the_error_alone(self, tmp_path):
        graded = [one("ann", Result(FIRST, Mark.RAISED, TRACEBACK))]
        row = written(tables.write_grades, tmp_path / "grades.csv", graded)[0]
        assert row["reason"] == "numpy.exceptions.AxisError: axis 3 is out of bounds for array of dimension 3"

    def test_other_reasons_are_there_whole_in_one_line(self, tmp_path):
        graded = [one("ann", Result(FIRST, Mark.WRONG, "The first\nline\x00 and\tthe\r\nsecond."))]
        row = written(tables.write_grades, tmp_path / "grades.csv", graded)[0]
        assert row["reason"] == "The first line\ufffd and the second."

    @pytest.mark.parametrize("text", FORMULAS, ids=ascii)
    def test_nothing_is_a_formula(self, tmp_path, text):
        graded = [one(text, Result(FIRST, Mark.WRONG, text))]
        row = written(tables.write_grades, tmp_path / "grades.csv", graded)[0]
        for cell in (row["student"], row["reason"]):
            for part in cell.split(";"):
                assert not part.lstrip().startswith(tuple("=+-@\t\r\uff1d"))

    @pytest.mark.parametrize("text", ["O'Neill", "Łukasz", "李小龍", "a;b", "'tis", "x = 1"])
    def test_ordinary_text_stays_as_it_is(self, tmp_path, text):
        row = written(tables.write_grades, tmp_path / "grades.csv", [one(text, Result(FIRST, Mark.WRONG, text))])[0]
        assert (row["student"], row["reason"]) == (text, text)

    def test_hostile_text_is_one_cell_without_control_characters(self, tmp_path):
        graded = [one(HOSTILE, Result(FIRST, Mark.WRONG, HOSTILE))]
        rows = written(tables.write_grades, tmp_path / "grades.csv", graded)
        assert len(rows) == len(registry.of_notebook("01"))
        assert not set(rows[0]["student"] + rows[0]["reason"]) & set("\x00\x07\x1b\x9b\u202e\u2066\n\r")


class TestStudents:
    def test_has_points_by_notebook_and_in_all(self, tmp_path, courses):
        graded = [one("ann", *(Result(id_, Mark.PASSED) for id_ in (FIRST, SECOND)))]
        (row,) = written(tables.write_students, tmp_path / "students.csv", graded, courses, {})
        points, most = (
            sum(registry.find(id_).points for id_ in ids) for ids in ((FIRST, SECOND), registry.of_notebook("01"))
        )
        assert (row[NOTEBOOK], row["total"], row["max_total"]) == (str(points), str(points), str(most))
        assert (float(row["share"]), row["passed"]) == (pytest.approx(points / most, abs=1e-3), "2")

    def test_marks_by_hand_stand_apart(self, tmp_path, courses):
        tasks = list(courses[NOTEBOOK].think_tasks())
        graded = [one("ann", Result(FIRST, Mark.PASSED), thinks=dict.fromkeys(tasks[:2], "Because."))]
        marks = {("ann", NOTEBOOK, tasks[0]): summary.HandMark(1.5, "", "Because.", 2)}
        (row,) = written(tables.write_students, tmp_path / "students.csv", graded, courses, marks)
        assert row["total"] == str(registry.find(FIRST).points)
        assert (row["by_hand"], row["max_by_hand"], row["not_marked"]) == ("1.5", str(2 * len(tasks)), "1")

    def test_an_ordinary_submission_asks_for_no_look(self, tmp_path, courses):
        marks = (Mark.PASSED, Mark.WRONG, Mark.RAISED, Mark.NOT_ATTEMPTED)
        results = [Result(id_, marks[index % 4], "...") for index, id_ in enumerate(registry.of_notebook("01"))]
        (row,) = written(tables.write_students, tmp_path / "students.csv", [one("ann", *results)], courses, {})
        assert row["look"] == ""

    @pytest.mark.parametrize("mark", list(summary.ODD), ids=str)
    def test_an_odd_one_says_what_is_odd_and_where(self, tmp_path, courses, mark):
        results = [Result(id_, Mark.PASSED) for id_ in registry.of_notebook("01")]
        results[1] = Result(SECOND, mark, notes=("its\ncell was split",))
        (row,) = written(tables.write_students, tmp_path / "students.csv", [one("ann", *results)], courses, {})
        assert row["look"] == f"{summary.ODD[mark]}: {SECOND}; {SECOND}: its cell was split"

    def test_an_unreadable_notebook_is_named_once(self, tmp_path, courses):
        results = [Result(id_, Mark.UNREADABLE) for id_ in registry.of_notebook("01")]
        (row,) = written(tables.write_students, tmp_path / "students.csv", [one("ann", *results)], courses, {})
        assert row["look"] == f"unreadable: {NOTEBOOK}"

    def test_a_class_of_nobody_is_a_table_without_rows(self, tmp_path, courses):
        assert written(tables.write_students, tmp_path / "students.csv", [], courses, {}) == []


class TestThinkTasks:
    @pytest.fixture
    def task(self, courses):
        return next(iter(courses[NOTEBOOK].think_tasks()))

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "think_tasks.csv"

    @pytest.fixture
    def fill_in(self, path, courses):
        """Write the table for an answer, then put points and a comment into its first row as an instructor does."""

        def fill(graded, points="1", comment="", separator=",", encoding="utf-8-sig"):
            rows = written(tables.write_think_tasks, path, graded, courses)
            rows[0] |= {"points": points, "comment": comment}
            with path.open("w", encoding=encoding, newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
                writer.writeheader()
                writer.writerows(rows)

        return fill

    def test_has_a_row_for_every_task_with_the_answer_and_room_for_a_mark(self, path, courses, task):
        rows = written(tables.write_think_tasks, path, [one("ann", thinks={task: "One.\n\nTwo."})], courses)
        assert list(rows[0]) == ["student", "notebook", "task", "max_points", "points", "comment", "answer"]
        assert [row["task"] for row in rows] == list(courses[NOTEBOOK].think_tasks())
        assert rows[0] | {"answer": "One.\n\nTwo.", "points": "", "comment": "", "max_points": "2"} == rows[0]

    def test_writing_again_keeps_what_the_instructor_wrote(self, path, courses, task, fill_in):
        graded = [one("ann", thinks={task: "Because."})]
        fill_in(graded, "1.5", "-1/2: which array?")
        again = written(tables.write_think_tasks, path, graded, courses)
        once_more = written(tables.write_think_tasks, path, graded, courses)
        assert again == once_more
        assert tables.read_think_marks(path)["ann", NOTEBOOK, task] == summary.HandMark(
            1.5, "-1/2: which array?", "Because.", 2
        )

    def test_an_answer_that_changed_keeps_its_mark_and_says_so_once(self, path, courses, task, fill_in):
        fill_in([one("ann", thinks={task: "Because."})], "1", "Fine.")
        for answer in ("Hm.", "Something else.", "Something else."):
            tables.write_think_tasks(path, [one("ann", thinks={task: answer})], courses)
        mark = tables.read_think_marks(path)["ann", NOTEBOOK, task]
        assert mark == summary.HandMark(1, f"Fine. {tables.ANSWER_CHANGED}", "Something else.", 2)

    def test_an_answer_that_a_spreadsheet_saved_its_way_is_the_same(self, path, courses, task, fill_in):
        graded = [one("ann", thinks={task: "- a list  \n- of = two\n"})]
        fill_in(graded, "1")
        path.write_bytes(path.read_bytes().replace(b"\n- of", b"\r\n- of").replace(b"list  ", b"list"))
        tables.write_think_tasks(path, graded, courses)
        assert tables.read_think_marks(path)["ann", NOTEBOOK, task].comment == ""

    def test_marks_of_students_who_are_not_graded_now_stay(self, path, courses, task, fill_in):
        fill_in([one("ann", thinks={task: "Because."})], "2")
        tables.write_think_tasks(path, [one("bob")], courses)
        marks = tables.read_think_marks(path)
        assert {key[0] for key, mark in marks.items() if mark.points == 2} == {"ann"}
        assert {key[0] for key in marks} == {"ann", "bob"}

    @pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    def test_is_read_however_a_spreadsheet_saves_it(self, path, task, fill_in, separator, encoding):
        fill_in([one("Zoë", thinks={task: "a, b; c"})], " 1,5 ", "schön", separator, encoding)
        mark = tables.read_think_marks(path)["Zoë", NOTEBOOK, task]
        assert (mark.points, mark.comment, mark.answer) == (1.5, "schön", "a, b; c")

    def test_a_name_that_a_spreadsheet_took_for_a_number_is_found(self, path, courses, task, fill_in):
        graded = [one("00423", thinks={task: "Because."})]
        fill_in(graded, "2")
        path.write_text(path.read_text("utf-8-sig").replace("00423", "423"), "utf-8")
        (row,) = written(tables.write_students, path.with_name("s.csv"), graded, courses, tables.read_think_marks(path))
        assert row["by_hand"] == "2"

    @pytest.mark.parametrize("name", [*FORMULAS, HOSTILE], ids=ascii)
    def test_a_student_with_an_odd_name_keeps_the_mark(self, path, courses, task, fill_in, name):
        graded = [one(name, thinks={task: name})]
        fill_in(graded, "2")
        tables.write_think_tasks(path, graded, courses)
        (row,) = written(tables.write_students, path.with_name("s.csv"), graded, courses, tables.read_think_marks(path))
        assert row["by_hand"] == "2"
        assert [mark.comment for mark in tables.read_think_marks(path).values() if mark.points] == [""]

    @pytest.mark.parametrize("points", ["3", "-1", "nan", "inf", "two", "1/2", "1.5.2"])
    def test_impossible_points_are_named_with_what_is_possible(self, path, task, fill_in, points):
        fill_in([one("ann", thinks={task: "Because."})], points)
        with pytest.raises(ValueError, match=rf"think_tasks.csv, line 2 \(ann, {task}\): .* from 0 to 2, or empty"):
            tables.read_think_marks(path)

    def test_a_row_that_stands_there_twice_is_named(self, path, task, fill_in):
        fill_in([one("ann", thinks={task: "Because."})])
        lines = path.read_text("utf-8-sig").splitlines()
        path.write_text("\n".join([*lines, lines[1]]), "utf-8")
        with pytest.raises(ValueError, match="twice"):
            tables.read_think_marks(path)

    @pytest.mark.parametrize(
        "content", [b"", b"\x00\xff\xfe", b"student,points\nann,2", b'student,"' + b"x" * 200_000], ids=ascii
    )
    def test_what_is_no_such_table_is_refused_and_left_alone(self, path, courses, content):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"think_tasks\.csv"):
            tables.write_think_tasks(path, [one("ann")], courses)
        assert path.read_bytes() == content

    def test_a_huge_answer_is_cut_and_stays_the_same_answer(self, path, courses, task, fill_in):
        graded = [one("ann", thinks={task: "x" * 200_000})]
        fill_in(graded, "1")
        tables.write_think_tasks(path, graded, courses)
        mark = tables.read_think_marks(path)["ann", NOTEBOOK, task]
        assert (mark.points, mark.comment) == (1, "")
        assert len(mark.answer) < LONGEST + 100
