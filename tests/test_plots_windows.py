"""The figure of what a patch reaches: every layer with its window, its sides and its share, in words as well."""

from types import SimpleNamespace

import numpy as np
import pytest
from drawing import drawn
from matplotlib.patches import Rectangle

from labutils import plots

PHOTO = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def window(rows, columns, size):
    return SimpleNamespace(rows=slice(*rows), columns=slice(*columns), size=size)


WINDOWS = {
    "image": window((4, 8), (0, 4), (12, 16)),
    "block1_conv1": window((3, 9), (0, 5), (12, 16)),
    "block1_pool": window((1, 5), (0, 3), (6, 8)),
}


def boxes(ax):
    """The rectangles of one map: x, y, width, height."""
    return [
        (*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in ax.patches if type(patch) is Rectangle
    ]


def test_each_window_is_drawn_where_it_lies_in_its_map():
    figure = plots.reach(WINDOWS)
    _, convolution, pool = figure.axes
    assert boxes(convolution) == [(0, 0, 16, 12), (0, 3, 5, 6)]
    assert boxes(pool) == [(0, 0, 8, 6), (0, 1, 3, 4)]
    assert pool.get_xlim() == (0, 8)
    assert pool.get_ylim() == (6, 0)
    assert np.asarray(drawn(figure)).shape[1] <= 1000


def test_captions_and_words_give_sides_and_shares():
    figure = plots.reach(WINDOWS, PHOTO, title="a patch")
    _, convolution, pool = figure.axes
    assert pool.get_title() == "block1 pool"
    assert pool.get_xlabel() == "4 x 3\nof 6 x 8\n25.0 %"
    assert convolution.get_xlabel() == "6 x 5\nof 12 x 16\n15.6 %"
    assert "(a patch)" in figure.alt_text
    assert "block1_pool: 4 x 3 of 6 x 8 (25.0 %)" in figure.alt_text


def test_the_photo_lies_under_the_window_named_image():
    figure = plots.reach(WINDOWS, PHOTO)
    image, convolution, _ = figure.axes
    np.testing.assert_array_equal(image.images[0].get_array(), PHOTO)
    assert boxes(image) == [(0, 4, 4, 4)]
    assert convolution.images[0].get_array().shape != PHOTO.shape


def test_all_maps_are_drawn_at_one_size():
    figure = plots.reach(WINDOWS)
    drawn(figure)
    sizes = np.array([ax.get_window_extent().size for ax in figure.axes])
    np.testing.assert_allclose(sizes, sizes[[0, 0, 0]], rtol=0.01)


def test_fine_maps_have_no_lines_between_positions():
    fine = {"fine": window((0, 2), (0, 2), (60, 60)), "coarse": window((0, 2), (0, 2), (7, 7))}
    first, second = plots.reach(fine).axes
    assert len(first.collections) == 0
    assert len(second.collections) == 2


def test_nineteen_layers_fit_a_notebooks_width():
    many = {f"block{number}_conv1": WINDOWS["block1_conv1"] for number in range(19)}
    figure = plots.reach(many)
    assert sum(ax.axison for ax in figure.axes) == 19
    assert np.asarray(drawn(figure)).shape[1] <= 1000


def test_the_windows_of_a_network_as_explain_gives_them():
    keras = pytest.importorskip("keras")
    from labutils import explain

    model = keras.Sequential(
        [keras.Input((9, 12, 3)), keras.layers.Conv2D(2, 3, name="only"), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    figure = plots.reach(explain.reached_windows(model, 0, 2, patch=2))
    assert "only: 2 x 4 of 7 x 10" in figure.alt_text


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ({}, "windows is empty"),
        ({"a": window((0, 9), (0, 3), (6, 8))}, r"windows\['a'\]"),
        ({"a": window((3, 2), (0, 3), (6, 8))}, r"windows\['a'\]"),
    ],
)
def test_what_is_no_window_is_named(windows, message):
    with pytest.raises(ValueError, match=message):
        plots.reach(windows)
