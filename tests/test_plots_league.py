"""The league table's figure: what is drawn, in which colours, what is said, and what is refused."""

import math

import numpy as np
import pytest
from drawing import drawn

from labutils import plots

TABLE = {
    "Grad-CAM": {"area": 0.5, "seconds": 0.01},
    "LRP": {"area": 0.25, "seconds": 0.2},
    "noise": {"area": 0.75, "seconds": 0.0},
}
BETTER = {"area": "lower", "seconds": "lower"}


def cells(figure, columns):
    """The brightness of each cell, (rows, columns), and what is written in it."""
    (ax,) = figure.axes
    brightness = [np.mean(patch.get_facecolor()[:3]) for patch in ax.patches]
    texts = [text.get_text() for text in ax.texts]
    return np.reshape(brightness, (-1, columns)), np.reshape(texts, (-1, columns)).tolist()


def test_numbers_are_written_and_colours_are_places_within_a_column():
    figure = plots.league(TABLE, BETTER, title="who")
    brightness, texts = cells(figure, 2)
    assert texts == [["0.50", "0.01"], ["0.25", "0.20"], ["0.75", "0.00"]]
    assert np.argsort(-brightness[:, 0]).tolist() == [1, 0, 2]  # the lightest is the best
    assert np.argsort(-brightness[:, 1]).tolist() == [2, 0, 1]
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Grad-CAM", "LRP", "noise"]
    assert [" ".join(label.get_text().split()) for label in ax.get_xticklabels()] == [
        "area lower is better ↓",
        "seconds lower is better ↓",
    ]
    assert figure.alt_text == (
        "A table of 3 methods by 2 metrics (who). area, lower is better: best LRP (0.25), worst noise (0.75); "
        "seconds, lower is better: best noise (0.00), worst LRP (0.20)."
    )
    drawn(figure)


def test_the_better_end_can_be_the_higher_one():
    low, _ = cells(plots.league(TABLE, {"area": "lower"}), 1)
    figure = plots.league(TABLE, {"area": "higher"})
    high, _ = cells(figure, 1)
    assert np.argsort(low[:, 0]).tolist() == np.argsort(-high[:, 0]).tolist()
    assert "best noise (0.75), worst LRP (0.25)" in figure.alt_text


def test_equal_numbers_share_a_colour_and_a_constant_column_has_one():
    table = {name: {"a": value, "b": 1.0} for name, value in {"x": 1.0, "y": 1.0, "z": 2.0}.items()}
    brightness, _ = cells(plots.league(table, {"a": "lower", "b": "lower"}), 2)
    assert brightness[0, 0] == brightness[1, 0] != brightness[2, 0]
    assert len(set(brightness[:, 1])) == 1


def test_numbers_that_are_written_alike_share_a_colour():
    table = {name: {"a": value} for name, value in {"x": 0.252, "y": 0.248, "z": -0.3, "w": 12345.6}.items()}
    brightness, texts = cells(plots.league(table, {"a": "lower"}), 1)
    assert texts[0] == texts[1] == ["0.25"]
    assert brightness[0, 0] == brightness[1, 0]
    assert len(set(brightness[:, 0])) == 3


def test_controls_stand_below_a_line_in_italics():
    figure = plots.league(TABLE, BETTER, controls=["Grad-CAM"])
    (ax,) = figure.axes
    labels = ax.get_yticklabels()
    assert [label.get_text() for label in labels] == ["LRP", "noise", "Grad-CAM"]
    assert [label.get_fontstyle() for label in labels] == ["normal", "normal", "italic"]
    places = ax.get_yticks()
    (line,) = ax.lines
    assert places[1] < line.get_ydata()[0] < places[2]
    assert "controls" in figure.get_supxlabel()
    drawn(figure)


def test_what_is_missing_is_white_and_has_no_place():
    table = TABLE | {"none": {"area": math.nan, "seconds": 1.0}}
    brightness, texts = cells(plots.league(table, BETTER), 2)
    assert brightness[3, 0] == 1
    assert texts[3][0] == "–"
    np.testing.assert_array_equal(brightness[:3, 0], cells(plots.league(TABLE, BETTER), 2)[0][:, 0])
    empty = plots.league({"none": {"area": math.nan}}, {"area": "lower"})
    assert "area: no numbers" in empty.alt_text
    drawn(empty)


def test_numbers_of_all_sizes_can_be_read():
    values = [0.0, 0.004, -0.31, 1.0, 9.994, 12.34, 12345.6, 2e-6]
    table = {str(index): {"n": value} for index, value in enumerate(values)}
    _, texts = cells(plots.league(table, {"n": "lower"}), 1)
    minus = "\N{MINUS SIGN}"
    assert [text for (text,) in texts] == [
        "0.00",
        "0.004",
        f"{minus}0.31",
        "1.00",
        "9.99",
        "12.3",
        "12,346",
        f"2e{minus}06",
    ]


def test_metrics_that_are_not_named_are_left_out():
    figure = plots.league(TABLE, {"seconds": "lower"})
    assert "area" not in figure.alt_text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, BETTER), "table is empty"),
        ((TABLE, {}), "better is empty"),
        ((TABLE, {"area": "best"}), r"better\['area'\] is 'higher' or 'lower', not 'best'"),
        ((TABLE, {"depth": "lower"}), r"table\['Grad-CAM'\] has no 'depth'; give NaN"),
        (({"a": {"n": math.inf}}, {"n": "lower"}), "infinite"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.league(*arguments)


def test_unknown_controls_are_named():
    with pytest.raises(ValueError, match=r"controls: \['edges'\] are not in the table; its rows are"):
        plots.league(TABLE, BETTER, controls=["edges"])
