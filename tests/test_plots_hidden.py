"""Points drawn as their names, and tables drawn as colours."""

import numpy as np
import pytest
from drawing import drawn

from labutils import plots


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_matrix_writes_few_numbers_and_names_rows_and_columns():
    figure = plots.matrix([[0.5, 1], [0, 0.25]], rows="ab", columns=["x", "y"], row_label="class", title="mean")
    assert texts(figure) == ["0.50", "1.00", "0.00", "0.25"]
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y"]
    assert figure.alt_text == "2 class by 2 columns as colours (mean). From 0 to 1; strongest in a, y."
    assert drawn(figure).width <= 1000


def test_matrix_of_whole_numbers_has_no_decimals_and_one_of_many_columns_no_numbers():
    assert texts(plots.matrix(np.array([[3, 0], [12, 1]]))) == ["3", "0", "12", "1"]
    wide = plots.matrix(np.random.default_rng(0).random((3, 64)), column_label="unit")
    assert texts(wide) == []
    assert len(wide.axes[0].get_xticks()) <= 40
    drawn(wide)


def test_matrix_keeps_zero_at_zero():
    pixels = plots.matrix([[-1.0, 0.0, 1.0]]).axes[0].images[0].get_array()
    assert pixels[0, 1].min() > 0.9, "The middle of a diverging colour map is white."
    zeros = plots.matrix(np.zeros((2, 2)))
    assert np.ptp(zeros.axes[0].images[0].get_array()) == 0
    drawn(zeros)


def test_numbers_stay_readable_on_every_colour():
    colours = {text.get_color() for text in plots.matrix(np.linspace(0, 1, 10)[None]).axes[0].texts}
    assert len(colours) == 2


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        (np.zeros(3), {}, r"values is a table, \(rows, columns\)"),
        (np.zeros((0, 3)), {}, "values is a table"),
        (np.full((2, 2), np.nan), {}, "values"),
        (np.zeros((2, 3)), {"rows": "abc"}, "rows has 3 names for 2 rows"),
        (np.zeros((2, 3)), {"columns": "ab"}, "columns has 2 names for 3 columns"),
    ],
)
def test_matrix_refuses(values, names, message):
    with pytest.raises(ValueError, match=message):
        plots.matrix(values, **names)


def test_points_are_drawn_as_their_labels_where_they_lie():
    figure = plots.points([[0, 1], [2, 3], [4, 5]], [7, 7, 1], marked=[2], marked_as="wrong", title="digits")
    ax = figure.axes[0]
    assert texts(figure) == ["7", "7", "1"]
    assert [text.get_position() for text in ax.texts] == [(0, 1), (2, 3), (4, 5)]
    assert ax.texts[0].get_color() == ax.texts[1].get_color() != ax.texts[2].get_color()
    (ring,) = ax.collections
    np.testing.assert_array_equal(ring.get_offsets(), [[4, 5]])
    assert figure.alt_text == "3 points in 2 groups (digits), 1 of them wrong. 1 around (4, 5); 7 around (1, 2)."
    low, high = ax.get_xlim()
    assert low < 0 < 4 < high
    drawn(figure)


def test_points_without_marks_have_no_legend():
    figure = plots.points(np.eye(2), ["a", "b"])
    assert figure.axes[0].get_legend() is None
    drawn(figure)


@pytest.mark.parametrize(
    ("places", "labels", "marked", "message"),
    [
        (np.zeros((3, 3)), "abc", (), r"places is \(n, 2\)"),
        (np.zeros((0, 2)), "", (), r"places is \(n, 2\)"),
        (np.zeros((3, 2)), "ab", (), "2 labels for 3 points"),
        (np.zeros((3, 2)), "abc", [3], "marked holds numbers of points, 0 to 2"),
        (np.full((3, 2), np.inf), "abc", (), "places"),
    ],
)
def test_points_refuses(places, labels, marked, message):
    with pytest.raises(ValueError, match=message):
        plots.points(places, labels, marked=marked)
