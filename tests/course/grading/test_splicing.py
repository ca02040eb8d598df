"""From a submitted file to the answers in it, whatever editors, students and accidents did to the notebook."""

import copy
import json
import random
from pathlib import Path

import nbformat
import pytest

from labutils.course import registry
from labutils.course.build import ANSWER_HERE
from labutils.course.grading import splicing
from labutils.course.grading.course_notebook import load_all
from labutils.course.grading.results import Mark
from labutils.course.grading.splicing import Unreadable, splice

ROOT = Path(__file__).parents[3]
COURSE = load_all(ROOT / "notebooks")
FIRST = COURSE["01_vgg16_setup"]
TITLES = "01.titles"
ANSWER = "def make_titles(paths):\n    return [path.stem.replace('_', ' ') for path in paths]"
PREDICT = "def predict(model, images):\n    return model.predict(images)"


@pytest.fixture
def notebook():
    """Notebook 01 as it was handed out, as plain JSON."""
    return json.loads((ROOT / "notebooks" / "01_vgg16_setup.ipynb").read_text(encoding="utf-8"))


@pytest.fixture
def answered(notebook):
    """Notebook 01 with two exercises and one think task done."""
    cell(notebook, "01-titles")["source"] = ANSWER.splitlines(keepends=True)
    cell(notebook, "01-predict")["source"] = PREDICT.splitlines(keepends=True)
    cell(notebook, "01-think-twice")["source"] = ["The mean is missing twice."]
    return notebook


def cell(notebook, cell_id):
    return next(cell for cell in notebook["cells"] if cell["id"] == cell_id)


def place(notebook, cell_id):
    return notebook["cells"].index(cell(notebook, cell_id))


def code(source, **more):
    return {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [], "source": source, **more}


def text(source, **more):
    return {"cell_type": "markdown", "metadata": {}, "source": source, **more}


def spliced(notebook, course=FIRST):
    return splice(json.dumps(notebook).encode(), course)


def titles(notebook):
    return spliced(notebook).answers[TITLES]


def assert_as_answered(found, notes=()):
    """What `answered` holds was found, and nothing else."""
    assert {name: answer.code for name, answer in found.answers.items() if answer.mark is None} == {
        TITLES: ANSWER,
        "01.predict": PREDICT,
    }
    assert {answer.mark for answer in found.answers.values()} == {None, Mark.NOT_ATTEMPTED}
    assert [text for text in found.thinks.values() if text] == ["The mean is missing twice."]
    assert found.notes == notes


BY_NAME = (
    "Found by the function they define, since their cells' ids are gone: 01.titles, 01.load_photos, 01.preprocess, "
    "01.undo_preprocess, 01.predict, 01.best_classes, 01.top_three.",
)

# --- The whole course ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COURSE)
def test_every_solution_has_code_for_every_exercise(name):
    found = splice((ROOT / "solutions" / f"{name}.ipynb").read_bytes(), COURSE[name])
    assert set(found.answers) == set(registry.of_notebook(name[:2]))
    assert {answer.mark for answer in found.answers.values()} == {None}
    assert all("### BEGIN SOLUTION" in answer.code and not answer.notes for answer in found.answers.values())
    assert all(found.thinks.values())
    assert (found.notes, found.added) == ((), ())


@pytest.mark.parametrize("name", COURSE)
def test_an_untouched_notebook_is_not_attempted_in_every_exercise(name):
    found = splice((ROOT / "notebooks" / f"{name}.ipynb").read_bytes(), COURSE[name])
    assert len(found.answers) == len(registry.of_notebook(name[:2]))
    assert {answer.mark for answer in found.answers.values()} == {Mark.NOT_ATTEMPTED}
    assert all(answer.reason and not answer.notes for answer in found.answers.values())
    assert set(found.thinks) == set(COURSE[name].think_tasks())
    assert not any(found.thinks.values())
    assert (found.notes, found.added) == ((), ())


@pytest.mark.parametrize("name", COURSE)
def test_every_solution_is_found_without_any_metadata(name):
    notebook = json.loads((ROOT / "solutions" / f"{name}.ipynb").read_text(encoding="utf-8"))
    before = spliced(notebook, COURSE[name])
    for one in notebook["cells"]:
        del one["id"]
        one["metadata"] = {}
    after = spliced(notebook, COURSE[name])
    assert {key: answer.code for key, answer in after.answers.items()} == {
        key: answer.code for key, answer in before.answers.items()
    }
    assert after.thinks == before.thinks
    assert after.added == ()


# --- What editors make of a notebook ---------------------------------------------------------------------------------


def in_jupyterlab(notebook):
    for number, one in enumerate(notebook["cells"]):
        if one["cell_type"] == "code":
            one["execution_count"] = number
            one["metadata"] |= {
                "execution": {"iopub.execute_input": "2026-01-01T10:00:00Z"},
                "trusted": True,
                "scrolled": True,
            }
            one["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["hello\n"]}]


def in_vs_code(notebook):
    for one in notebook["cells"]:
        one["metadata"]["vscode"] = {"languageId": "python"}


def in_vs_code_without_ids(notebook):
    in_vs_code(notebook)
    notebook["nbformat_minor"] = 2
    for one in notebook["cells"]:
        del one["id"]


def in_colab(notebook):
    """Ids move into the metadata; nbgrader's is gone."""
    notebook |= {"nbformat_minor": 0, "metadata": {"colab": {"provenance": []}}}
    for one in notebook["cells"]:
        one["metadata"] = {"id": one.pop("id"), "colab": {"base_uri": "x", "height": 35}, "cellView": "form"}
        one["source"] = "".join(one["source"])


def through_nbstripout(notebook):
    for number, one in enumerate(notebook["cells"]):
        one["id"] = str(number)


def with_windows_line_ends(notebook):
    for one in notebook["cells"]:
        one["source"] = "".join(one["source"]).replace("\n", "\r\n")


def reordered(notebook):
    notebook["cells"].reverse()


def with_edited_checks(notebook):
    for one in notebook["cells"]:
        if one["id"].endswith("-check"):
            one["source"] = ["print('passed')"]


def without_checks_and_given_cells(notebook):
    kept = ("01-titles", "01-predict", "01-load_photos", "01-preprocess", "01-undo_preprocess", "01-best_classes")
    notebook["cells"] = [one for one in notebook["cells"] if one["id"] in (*kept, "01-top_three", "01-think-twice")]


def with_an_invalid_notebook_around_it(notebook):
    notebook |= {"metadata": None, "nbformat_minor": "five", "signature": 3}
    for one in notebook["cells"]:
        one.pop("outputs", None)
        one.pop("execution_count", None)
    notebook["cells"] += [None, 7, [], {}, {"cell_type": "code"}, {"source": 3, "metadata": "x", "id": []}]
    notebook["cells"].append({"cell_type": "code", "source": [None, 1, {}], "metadata": {"nbgrader": {"grade_id": {}}}})


@pytest.mark.parametrize(
    "change",
    [
        in_jupyterlab,
        in_vs_code,
        in_vs_code_without_ids,
        in_colab,
        through_nbstripout,
        with_windows_line_ends,
        reordered,
        with_edited_checks,
        without_checks_and_given_cells,
        with_an_invalid_notebook_around_it,
    ],
    ids=lambda change: change.__name__,
)
def test_answers_survive(answered, change):
    change(answered)
    assert_as_answered(spliced(answered))


def through_jupytext(notebook):
    """All metadata is gone, and the cells have other ids."""
    for number, one in enumerate(notebook["cells"]):
        one |= {"id": f"{number:08x}", "metadata": {}}


def in_deepnote(notebook):
    for number, one in enumerate(notebook["cells"]):
        one.pop("id")
        one["metadata"] = {"cell_id": f"{number:032x}", "deepnote_cell_type": "code", "tags": []}
        one["source"] = "".join(one["source"])


def in_kaggle(notebook):
    notebook["nbformat_minor"] = 4
    for one in notebook["cells"]:
        one.pop("id")
        one["metadata"] = {"_uuid": "8f2839f2", "_cell_guid": "b1076dfc", "trusted": True}


@pytest.mark.parametrize("change", [through_jupytext, in_deepnote, in_kaggle], ids=lambda change: change.__name__)
def test_answers_are_found_by_their_functions_where_the_ids_are_gone(answered, change):
    change(answered)
    found = spliced(answered)
    assert_as_answered(found, notes=BY_NAME)
    assert found.added == ()


@pytest.mark.parametrize("ids", [True, False], ids=["with nbgrader's ids", "without"])
@pytest.mark.parametrize("version", [3, 2])
def test_old_formats_are_read(answered, version, ids):
    if not ids:
        through_jupytext(answered)
    old = nbformat.reads(json.dumps(answered), as_version=version)
    assert "cells" not in old
    assert_as_answered(spliced(old), notes=() if ids else BY_NAME)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: ("\n\n" + text.replace("\n", "\r\n")).encode(),
        lambda text: text.encode() + b"\n\n",
    ],
    ids=["UTF-8 with a mark", "UTF-16", "Windows' line ends", "empty lines at the end"],
)
def test_encodings(answered, encode):
    assert_as_answered(splice(encode(json.dumps(answered, ensure_ascii=False, indent=1)), FIRST))


@pytest.mark.parametrize("version", ["absent", None, "4", 4.0, True, 1, -3], ids=repr)
def test_the_declared_format_does_not_matter_unless_it_is_newer(answered, version):
    answered["nbformat"] = version
    if version == "absent":
        del answered["nbformat"]
    assert_as_answered(spliced(answered))


# --- What students do to a cell --------------------------------------------------------------------------------------


def test_a_deleted_cell_is_missing(answered):
    del answered["cells"][place(answered, "01-titles")]
    found = spliced(answered)
    assert found.answers[TITLES].mark is Mark.MISSING
    assert found.answers["01.predict"].code == PREDICT


def test_another_notebook_under_the_name_has_no_exercise_and_says_so():
    found = splice((ROOT / "solutions" / "02_class_activation_maps.ipynb").read_bytes(), FIRST)
    assert {answer.mark for answer in found.answers.values()} == {Mark.MISSING}
    assert "another notebook" in found.notes[0]


@pytest.mark.parametrize("kind", ["markdown", "raw", "heading", 3])
def test_a_cell_turned_into_text_is_not_code(answered, kind):
    cell(answered, "01-titles")["cell_type"] = kind
    answer = titles(answered)
    assert (answer.mark, answer.code) == (Mark.NOT_CODE, ANSWER)
    assert "code cell" in answer.reason


def test_a_text_cell_with_the_id_does_not_hide_a_code_cell_without(answered):
    cell(answered, "01-titles")["cell_type"] = "markdown"
    answered["cells"].append(code(ANSWER + "\nx = 1"))
    assert titles(answered).code == ANSWER + "\nx = 1"


@pytest.mark.parametrize(
    ("change", "is_code"),
    [({"outputs": []}, True), ({"execution_count": None}, True), ({}, False)],
    ids=["with outputs", "with a count", "with nothing"],
)
def test_a_cell_without_a_type_is_code_if_it_looks_like_it(answered, change, is_code):
    one = cell(answered, "01-titles")
    for key in ("cell_type", "outputs", "execution_count"):
        del one[key]
    one |= change
    assert titles(answered).mark is (None if is_code else Mark.NOT_CODE)


@pytest.mark.parametrize(
    ("source", "reason"),
    [("", "is empty"), (" \n\t\n", "is empty"), ("# later\n\n  # really\n", "holds only comments"), (None, "is empty")],
    ids=["empty", "blank", "comments", "no source"],
)
def test_a_cell_without_code_is_not_attempted(notebook, source, reason):
    cell(notebook, "01-titles")["source"] = source
    answer = titles(notebook)
    assert answer.mark is Mark.NOT_ATTEMPTED
    assert reason in answer.reason


def test_blanks_do_not_make_an_attempt(notebook):
    one = cell(notebook, "01-titles")
    one["source"] = "\n\n" + "".join(one["source"]).replace("    ", "\t").replace("\n", "  \r\n\r\n") + "\n"
    assert titles(notebook).mark is Mark.NOT_ATTEMPTED


@pytest.mark.parametrize("source", ["def make_titles(paths:\n", "%%time\nx = 1", "!ls", "make_titles = None", "raise"])
def test_anything_else_is_to_be_run(notebook, source):
    cell(notebook, "01-titles")["source"] = source
    assert (titles(notebook).mark, titles(notebook).code) == (None, source)


def test_a_cell_that_is_far_too_long_is_stopped(answered):
    cell(answered, "01-titles")["source"] = ANSWER + "\n#" + "x" * splicing.MAX_CODE
    answer = titles(answered)
    assert (answer.mark, answer.code) == (Mark.STOPPED, "")
    assert f"{splicing.MAX_CODE:,} characters" in answer.reason
    assert spliced(answered).answers["01.predict"].code == PREDICT


def test_characters_that_are_no_text_are_replaced(answered):
    cell(answered, "01-titles")["source"] = ANSWER + "  # \0 \ud83d \U0001f600"
    found = spliced(answered)
    assert found.answers[TITLES].code == ANSWER + "  # \ufffd \ufffd \U0001f600"
    found.answers[TITLES].code.encode()
    assert "replaced" in found.notes[0]


# --- Several cells for one exercise ----------------------------------------------------------------------------------


def with_copy(notebook, source, offset=1):
    """Another cell with the metadata of 01.titles and an id of its own, as JupyterLab splits and pastes."""
    twin = copy.deepcopy(cell(notebook, "01-titles")) | {"id": "0a1b2c3d", "source": source}
    notebook["cells"].insert(place(notebook, "01-titles") + offset, twin)


def test_a_split_cell_is_joined(notebook):
    first, second = ANSWER.split("\n")
    cell(notebook, "01-titles")["source"] = first
    with_copy(notebook, second)
    answer = titles(notebook)
    assert (answer.mark, answer.code) == (None, ANSWER)
    assert answer.notes == ("2 cells carry this exercise's id; they were graded as one, in their order.",)


@pytest.mark.parametrize("offset", [0, 1], ids=["before", "after"])
def test_an_untouched_copy_does_not_undo_the_answer(notebook, offset):
    with_copy(notebook, ANSWER, offset)
    answer = titles(notebook)
    assert (answer.mark, answer.code) == (None, ANSWER)
    assert len(answer.notes) == 1


@pytest.mark.parametrize("source", [ANSWER, "stub"])
def test_equal_copies_count_once(notebook, source):
    source = FIRST.stubs()[TITLES] if source == "stub" else source
    cell(notebook, "01-titles")["source"] = source
    with_copy(notebook, source)
    with_copy(notebook, source)
    assert titles(notebook).code == source


def test_the_later_of_two_answers_is_the_one_that_holds(notebook):
    cell(notebook, "01-titles")["source"] = "make_titles = 1"
    with_copy(notebook, "make_titles = 2")
    assert titles(notebook).code == "make_titles = 1\nmake_titles = 2"


def test_merged_cells_serve_both_exercises(answered):
    cell(answered, "01-titles")["source"] = ANSWER + "\n\n" + PREDICT
    del answered["cells"][place(answered, "01-predict")]
    found = spliced(answered)
    assert found.answers[TITLES].code == found.answers["01.predict"].code == ANSWER + "\n\n" + PREDICT
    assert found.notes == ("Found by the function they define, since their cells' ids are gone: 01.predict.",)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("def make_titles(paths):", "    return [path.stem for path in paths]"),
        ("import re", ANSWER),
        ("# my idea", ANSWER),
    ],
    ids=["within the function", "above the function", "below a comment"],
)
def test_a_split_cell_whose_rest_lost_the_id_is_pointed_out(notebook, first, second):
    cell(notebook, "01-titles")["source"] = first
    notebook["cells"].insert(place(notebook, "01-titles") + 1, code(second))
    answer = titles(notebook)
    assert answer.code == first
    assert "seems to have been split" in answer.notes[0]


@pytest.mark.parametrize("own", ["stub", "", "x = 1"])
def test_an_answer_in_an_added_cell_is_not_graded_but_pointed_out(notebook, own):
    if own != "stub":
        cell(notebook, "01-titles")["source"] = own
    notebook["cells"].append(code(ANSWER))
    found = spliced(notebook)
    assert found.answers[TITLES].mark is (None if own == "x = 1" else Mark.NOT_ATTEMPTED)
    assert "`make_titles` is defined in a cell that you added" in found.answers[TITLES].notes[0]
    assert found.added == (ANSWER,)


def test_a_checks_id_never_makes_an_exercise(answered):
    del answered["cells"][place(answered, "01-titles")]
    cell(answered, "01-titles-check")["source"] = ANSWER
    answer = titles(answered)
    assert (answer.mark, answer.code) == (Mark.MISSING, "")
    assert "another cell of the notebook" in answer.notes[0]


def test_nbgraders_id_wins_over_the_cells_own(answered):
    here, there = cell(answered, "01-titles"), cell(answered, "01-predict")
    here["id"], there["id"] = there["id"], here["id"]
    assert_as_answered(spliced(answered))


def test_an_id_that_moved_to_other_content_takes_that_content(answered):
    """No guessing where ids are there: the cell is run as it is, and the answer's name will not be defined."""
    here, there = cell(answered, "01-titles"), cell(answered, "01-predict")
    here["source"], there["source"] = there["source"], here["source"]
    answer = titles(answered)
    assert (answer.mark, answer.code) == (None, PREDICT)
    assert "`make_titles` is defined in another cell of the notebook" in answer.notes[0]


# --- Cells without an id ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        ANSWER,
        "import re\n\nasync def make_titles(paths): pass",
        "make_titles = lambda paths: []",
        "if True:\n    def make_titles(paths): pass",
        "from functools import partial as make_titles",
        "%time x = 1\ndef make_titles(paths):\n    pass",
        "def make_titles(paths:\n    return",
        "make_titles = [",
    ],
)
def test_a_retyped_cell_is_found_by_what_it_defines(notebook, source):
    notebook["cells"][place(notebook, "01-titles")] = code(source, id="5e6f7a8b")
    found = spliced(notebook)
    assert (found.answers[TITLES].mark, found.answers[TITLES].code) == (None, source)
    assert found.added == ()


@pytest.mark.parametrize(
    "source",
    [
        "make_titles(paths)",
        "make_titles == 3",
        "# def make_titles(paths):",
        "'''\ndef make_titles(paths): pass\n'''",
        "class Mine:\n    def make_titles(paths): pass",
        "def outer():\n    make_titles = 1",
        "make_titles.x = 1",
    ],
)
def test_a_cell_that_only_mentions_the_name_is_none(notebook, source):
    notebook["cells"][place(notebook, "01-titles")] = code(source, id="5e6f7a8b")
    found = spliced(notebook)
    assert found.answers[TITLES].mark is Mark.MISSING
    assert found.added == (source,)


@pytest.mark.parametrize(
    "source",
    [
        "-" * 150_000 + "1",
        "1" + "+1" * 90_000,
        "(" * 150_000,
        "f" + "()" * 90_000,
        "[" * 90 + "]" * 90,
        "'" * 150_000,
        "\\" * 9,
    ],
    ids=lambda source: source[:5],
)
def test_code_that_breaks_parsers_is_looked_at_all_the_same(answered, source):
    answered["cells"].append(code(source))
    assert_as_answered(spliced(answered))


# --- What the student added ------------------------------------------------------------------------------------------


def test_added_and_edited_code_cells_are_handed_out_for_messages(answered):
    cell(answered, "imports")["source"] = "import numpy as np\nfrom PIL import Image"
    answered["cells"] += [
        code("helper = 3"),
        code("  \n"),
        text("helper = 4"),
        code("".join(cell(answered, "summary")["source"])),
    ]
    assert spliced(answered).added == ("import numpy as np\nfrom PIL import Image", "helper = 3")


def test_no_more_of_it_than_can_be_looked_through(answered):
    long = "x = 1\n" * 4_000
    answered["cells"] += [code(long) for _ in range(99)]
    found = spliced(answered)
    assert found.added == (long,) * (splicing.MAX_ADDED // len(long))
    assert_as_answered(found)


# --- The think tasks -------------------------------------------------------------------------------------------------


def think(notebook):
    return spliced(notebook).thinks["01-think-twice"]


def test_a_text_below_the_question_is_taken_where_its_own_cell_is_untouched(notebook):
    at = place(notebook, "01-think-twice")
    notebook["cells"][at + 1 : at + 1] = [text("One."), code("x = 1"), text("Two.")]
    assert think(notebook) == "One.\n\nTwo."
    assert [name for name, found in spliced(notebook).thinks.items() if found] == ["01-think-twice"]


def test_a_text_in_a_deleted_cells_place_is_taken(notebook):
    notebook["cells"][place(notebook, "01-think-twice")] = text("Mine.")
    assert think(notebook) == "Mine."


def test_the_line_that_asks_for_an_answer_is_none(notebook):
    cell(notebook, "01-think-twice")["source"] = ANSWER_HERE + "\n\nBut here."
    assert think(notebook) == "But here."


@pytest.mark.parametrize("kind", ["code", "raw"])
def test_a_think_task_may_be_answered_in_a_cell_of_another_kind(notebook, kind):
    cell(notebook, "01-think-twice").update(cell_type=kind, source="Mine.")
    assert think(notebook) == "Mine."


def test_a_split_text_is_joined_and_a_huge_one_cut(notebook):
    own = cell(notebook, "01-think-twice")
    own["source"] = "One."
    notebook["cells"].append(copy.deepcopy(own) | {"id": "x", "source": "Two."})
    assert think(notebook) == "One.\n\nTwo."
    own["source"] = "a" * 150_000
    assert len(think(notebook)) < splicing.MAX_TEXT + 50


# --- What is no notebook ---------------------------------------------------------------------------------------------

NO_NOTEBOOKS = {
    "nothing": (b"", "empty"),
    "blanks": (b" \r\n\t", "empty"),
    "only NULs, as after a full disk": (b"\0" * 4096, "empty"),
    "a zip archive": (b"PK\x03\x04....", "zip"),
    "a PDF": (b"%PDF-1.7", "PDF"),
    "GitHub's page around the file": (b"\n<!DOCTYPE html><html>", "web page"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "Git LFS"),
    "a script": (b"# ---\n# jupyter:\n#   jupytext:\n", "Jupytext"),
    "Python": (b"import numpy as np\n", "line 1, column 1"),
    "Latin-1": ('{"cells": [], "x": "Zoë"}'.encode("latin-1"), "UTF-8"),
    "random bytes": (bytes(range(128, 256)), "UTF-8"),
    "UTF-16 that was cut": ('{"cells": []}'.encode("utf-16")[:-1], "UTF-8"),
    "a list": (b"[1, 2]", "JSON, but not a notebook"),
    "a number": (b"3", "JSON, but not a notebook"),
    "null": (b"null", "JSON, but not a notebook"),
    "another JSON file": (b'{"name": "x", "version": 1}', "no cells"),
    "cells that are no list": (b'{"cells": {"a": 1}, "nbformat": 4}', "no cells"),
    "worksheets that are none": (b'{"worksheets": [1, {"cells": 2}], "nbformat": 3}', "no cells"),
    "a future format": (b'{"cells": [], "nbformat": 5}', "newer format"),
    "a format of 5,000 digits": (b'{"cells": [], "nbformat": ' + b"9" * 5000 + b"}", "newer format"),
    "lists 100,000 deep": (b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "dicts 100,000 deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "millions of empty lists": (b'{"cells": [' + b"[]," * 2_500_001 + b"1]}", "5,000,000 pieces"),
    "thousands of cells": (b'{"cells": [' + b"{}," * 5_000 + b"{}]}", "5,001 cells"),
}


@pytest.mark.parametrize(("data", "message"), NO_NOTEBOOKS.values(), ids=NO_NOTEBOOKS)
def test_what_is_no_notebook_is_unreadable_and_says_why(data, message):
    with pytest.raises(Unreadable, match=message) as caught:
        splice(data, FIRST)
    assert str(caught.value).endswith(".")


def test_an_unresolved_merge_is_named(answered):
    lines = json.dumps(answered, indent=1).splitlines()
    lines[40:41] = ["<<<<<<< HEAD", lines[40], "=======", '   "other",', ">>>>>>> main"]
    with pytest.raises(Unreadable, match="conflict markers"):
        splice("\n".join(lines).encode(), FIRST)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_says_so(answered, share):
    data = json.dumps(answered, indent=1).encode()
    with pytest.raises(Unreadable, match=r"cut off|damaged"):
        splice(data[: int(len(data) * share)], FIRST)


def test_numbers_of_any_length_may_stand_in_outputs(answered):
    data = json.dumps(answered).replace('"outputs": []', '"outputs": [' + "9" * 10_000 + ", 1e999, NaN]")
    assert_as_answered(splice(data.encode(), FIRST))


def test_only_unreadable_ever_comes_out():
    """Bytes changed, removed, doubled and swapped at random, from a fixed seed."""
    original = (ROOT / "solutions" / "04_occlusion.ipynb").read_bytes()
    course, draw, read = COURSE["04_occlusion"], random.Random(4), 0
    notebook = json.loads(original)
    for one in notebook["cells"]:
        one.pop("outputs", None)  # nobody reads them and the pictures, and they would take most of the changes
        one.pop("attachments", None)
    original = json.dumps(notebook, ensure_ascii=False).encode()
    for _ in range(300):
        data = bytearray(original)
        for _ in range(draw.choice((1, 1, 2, 10, 100))):
            at, length = draw.randrange(len(data)), draw.choice((1, 1, 1, 2, 50))
            match draw.randrange(5):
                case 0:
                    data[at] = draw.randrange(256)
                case 1:
                    del data[at : at + length]
                case 2:
                    data[at:at] = draw.choice((b"\0", b'"', b"}", b"[", b"\\", b"\\ud800", b"null", b"\xff", b"\n"))
                case 3:
                    data[at:at] = data[at : at + length]
                case 4 if draw.random() < 0.1:
                    del data[at:]
            if not data:
                break
        try:
            found = splice(bytes(data), course)
        except Unreadable:
            continue
        read += 1
        assert list(found.answers) == list(course.stubs())
        json.dumps([answer.code for answer in found.answers.values()], ensure_ascii=False).encode()
    assert 20 < read < 280


@pytest.mark.parametrize(
    "junk", [None, 3, 1e999, True, "x", [], {}, [[]], [None], {"a": {}}, "\ud800\0", "9" * 5000], ids=repr
)
def test_any_value_may_stand_anywhere(answered, junk):
    for key in ("cell_type", "id", "metadata", "source", "outputs", "execution_count", "attachments"):
        changed = copy.deepcopy(answered)
        cell(changed, "01-titles")[key] = junk
        found = spliced(changed)
        assert found.answers["01.predict"].code == PREDICT
    for junked in ({"nbgrader": junk}, {"nbgrader": {"grade_id": junk}}, {"id": junk}):
        changed = copy.deepcopy(answered)
        cell(changed, "01-titles")["metadata"] = junked
        assert titles(changed).code == ANSWER
