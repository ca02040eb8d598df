"""Texts of anyone made fit to be shown, and files that are whole or not there."""

from unittest.mock import Mock

import pytest

from labutils.course.grading.writing import LONGEST, caseless, clean, explanation, one_line, shortened, write_whole

# --- Texts -----------------------------------------------------------------------------------------------------------


TEXTS = {
    "terminal codes": ("\x1b[31mred\x1b[0m \x1b]0;title\x07on", "red on"),
    "line ends": ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
    "control characters": ("a\x00b\x9bc\tlast", "a\ufffdb\ufffdc\tlast"),
    "turned directions": ("\u202egnp.exe", "\ufffdgnp.exe"),
    "halves of characters": ("\ud83d", "\ufffd"),
    "every language": ("Łukasz 李小龍 \U0001f600", "Łukasz 李小龍 \U0001f600"),
}


@pytest.mark.parametrize(("text", "shown"), TEXTS.values(), ids=TEXTS)
def test_what_disturbs_a_page_or_a_table_is_gone(text, shown):
    assert clean(text) == shown
    assert one_line(text) == " ".join(shown.split())


def test_a_long_text_keeps_its_beginning_and_its_end():
    assert shortened("a" * 10 + "b" * 10, 10) == "aaaaa\n[... 10 characters are left out ...]\nbbbbb"
    assert shortened("ab", 2) == "ab"


def test_of_a_huge_traceback_the_error_is_kept():
    shown = explanation("x" * 10 * LONGEST + "ValueError: the end")
    assert len(shown) < LONGEST + 100
    assert shown.endswith("ValueError: the end")


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ('File "/home/ann b/lib/numpy/core.py", line 3', 'File "core.py", line 3'),
        ('File "C:\\Users\\ann b\\core.py", line 3', 'File "core.py", line 3'),
        ("No such file: '/tmp/tmpx1/photos/cat.png'", "No such file: '.../cat.png'"),
        ("shape (1, 224 / 2, 3) of data/photos/cat.png", "shape (1, 224 / 2, 3) of data/photos/cat.png"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("a/b/c and 1/2/3", "a/b/c and 1/2/3"),
    ],
)
def test_reasons_name_no_folder_of_this_machine(reason, shown):
    assert explanation(reason) == shown


def test_names_that_some_systems_take_for_one_are_one():
    assert caseless("ZOË") == caseless("zoe\u0308")
    assert caseless("Zoë") != caseless("Zoe")


# --- Files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "table.csv"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    """As on Windows while a spreadsheet has it open."""
    path = tmp_path / "table.csv"
    write_whole(path, "old")
    monkeypatch.setattr("os.replace", Mock(side_effect=PermissionError))
    with pytest.raises(PermissionError):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
