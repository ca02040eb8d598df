"""Charts and grids of pictures: what is drawn, what is said, and what is refused."""

import numpy as np
import pytest
from drawing import drawn

from labutils import plots


def test_lines_draws_every_series_over_its_places():
    figure = plots.lines({"a": [1, 2, 3], "b": [3, np.nan, 0]}, [0, 10, 20], x_label="depth", y_label="share")
    (ax,) = figure.axes
    first, second = ax.lines
    np.testing.assert_array_equal(first.get_xdata(), [0, 10, 20])
    np.testing.assert_array_equal(first.get_ydata(), [1, 2, 3])
    assert np.isnan(second.get_ydata()[1])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert figure.alt_text == "Share over depth as 2 lines. a: from 1 to 3; b: from 3 to 0."
    drawn(figure)


def test_lines_of_one_series_need_no_legend_and_take_texts_as_places():
    figure = plots.lines({"a": [0.1, 0.2]}, ["block1", "block2"], level=(0.25, "chance"), y_range=(0, 1), fill=True)
    (ax,) = figure.axes
    assert ax.get_legend() is None
    assert [label.get_text() for label in ax.get_xticklabels()] == ["block1", "block2"]
    assert ax.get_ylim() == (0, 1)
    assert "chance" in [text.get_text() for text in ax.texts]
    assert len(ax.collections) == 1
    drawn(figure)


def test_more_lines_than_colours_still_differ():
    figure = plots.lines({str(number): [number, number] for number in range(7)})
    looks = {(line.get_color(), str(line.get_linestyle())) for line in figure.axes[0].lines}
    assert len(looks) == 7


def test_bars_stand_from_the_top_down_with_their_numbers():
    figure = plots.bars({"saliency": 0.25, "LRP": -0.5}, x_label="share", title="who", level=(0.25, "chance"))
    (ax,) = figure.axes
    assert [bar.get_width() for bar in ax.patches] == [0.25, -0.5]
    assert ax.yaxis_inverted()
    texts = {text.get_text() for text in ax.texts}
    assert texts == {"0.25", "\N{MINUS SIGN}0.5", "chance"}
    assert figure.alt_text == "Share as bars (who). saliency: 0.25; LRP: \N{MINUS SIGN}0.5."
    drawn(figure)


def test_groups_of_bars_share_their_colours():
    figure = plots.bars({"size": {"true": 3, "found": 2.9}, "age": {"true": -1, "found": -1.1}})
    (ax,) = figure.axes
    true, found = ax.containers
    assert [bar.get_width() for bar in true] == [3, -1]
    assert {bar.get_facecolor() for bar in true}.isdisjoint({bar.get_facecolor() for bar in found})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["true", "found"]
    assert figure.alt_text == (
        "Values as bars. size: true 3, found 2.9; age: true \N{MINUS SIGN}1, found \N{MINUS SIGN}1.1."
    )
    drawn(figure)


def test_pictures_may_differ_in_size_and_small_ones_keep_their_squares():
    small = np.linspace(0, 1, 64).reshape(8, 8, 1)
    large = np.zeros((60, 50, 3), np.uint8)
    figure = plots.pictures([small, large], titles=["a 3", "night"], captions=["0.9", ""], title="two")
    first, second = figure.axes
    assert first.images[0].get_interpolation() == "nearest"
    assert second.images[0].get_interpolation() == "antialiased"
    np.testing.assert_array_equal(first.images[0].get_array()[..., 1], np.rint(255 * small[..., 0]))
    assert figure.alt_text == "2 pictures (two): a 3, 0.9; night."
    drawn(figure)


def test_pictures_fill_rows_of_as_many_columns_as_asked():
    figure = plots.pictures(np.zeros((5, 8, 8, 1)), columns=3)
    assert [ax.axison for ax in figure.axes] == [True] * 5 + [False]
    drawn(figure)
    assert len({round(ax.get_position().y0, 3) for ax in figure.axes if ax.images}) == 2
    assert figure.alt_text == "5 pictures."


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.lines({}), "series is empty"),
        (lambda: plots.lines({"a": [1, 2], "b": [1]}), r"series\['b'\] has shape \(1,\)"),
        (lambda: plots.lines({"a": [np.nan]}), "no finite number"),
        (lambda: plots.lines({"a": [1, 2]}, [1]), "x has 1 places for lines of 2"),
        (lambda: plots.bars({}), "values is empty"),
        (lambda: plots.bars({"a": np.nan}), "NaN"),
        (lambda: plots.bars({"a": {"x": 1}, "b": {"y": 1}}), r"values\['b'\] has the bars \['y'\]"),
        (lambda: plots.pictures(np.zeros((2, 8, 8, 1)), columns=0), "columns"),
        (lambda: plots.pictures(np.zeros((2, 8, 8, 1)), titles=["one"]), "1 titles for 2"),
        (lambda: plots.pictures(np.full((1, 8, 8, 3), -5.0)), "looks preprocessed"),
    ],
)
def test_what_cannot_be_drawn_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_lines_of_something_else_than_numbers_are_named():
    with pytest.raises(TypeError, match=r"series\['b'\] is \(n,\) numbers"):
        plots.lines({"a": [1, 2], "b": ["x", "y"]})
