"""All channels of a layer in one figure: each in its place, the dead ones marked, whatever their number."""

import matplotlib
import numpy as np
import pytest
from drawing import drawn

from labutils import plots
from labutils.plots.channels import _MARGIN

GREY = (0.86, 0.55)  # of a dead channel, and of the cross in it


def random_maps(height, width, channels, *, seed=0):
    return np.random.default_rng(seed).random((height, width, channels)) + 0.01


def canvas(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def numbers(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def words(figure):
    return "\n".join(text.get_text() for text in figure.texts)


def maps_in(figure, height, width, columns, count):
    """The panels of a figure whose maps are enlarged by `height` and `width` pixels, cut out of its canvas."""
    picture = canvas(figure)
    rows = -(-count // columns)
    down, across = picture.shape[0] // rows, picture.shape[1] // columns
    top = 13 if numbers(figure)[:2] == ["0", "1"] or count == 1 else 0
    places = [divmod(channel, columns) for channel in range(count)]
    return [picture[row * down + top :, column * across :][:height, :width] for row, column in places]


@pytest.mark.parametrize(
    ("count", "columns"),
    [(1, 1), (2, 2), (8, 8), (9, 8), (16, 8), (32, 8), (64, 16), (128, 16), (256, 24), (512, 32), (2048, 64)],
)
@pytest.mark.parametrize("size", [(14, 14), (7, 5), (1, 1)])
def test_every_count_is_whole_and_as_wide_as_a_notebook_at_most(count, columns, size):
    figure = plots.channel_grid(random_maps(*size, count))
    width, height = figure.get_size_inches()
    assert width <= plots.WIDTH * 1.03
    assert height < 14
    picture = canvas(figure)
    assert picture.shape[1] % columns == 0
    assert picture.shape[0] % -(-count // columns) == 0
    last_row = picture[-5:, : (count - 1) % columns * (picture.shape[1] // columns) + 1]
    assert (last_row < 1).any(), "The last channel is there."


@pytest.mark.parametrize(("count", "columns"), [(6, 4), (7, 3), (5, None), (40, 16)])
def test_each_map_lies_at_its_place_in_its_own_colours(count, columns):
    maps = random_maps(6, 4, count) * np.linspace(1, 50, count)
    figure = plots.channel_grid(maps, columns=columns)
    columns = columns or 5
    enlarged = (canvas(figure).shape[1] // columns - 2) // 4
    panels = maps_in(figure, 6 * enlarged, 4 * enlarged, columns, count)
    for channel, panel in enumerate(panels):
        values = maps[..., channel]
        share = values / plots.display_limit(values)
        expected = matplotlib.colormaps["inferno"](share)[..., :3].repeat(enlarged, 0).repeat(enlarged, 1)
        np.testing.assert_allclose(panel, expected)


def test_large_maps_are_averaged():
    maps = np.zeros((300, 400, 8))
    maps[:, 200:] = 1
    maps[::2, :200] = 0.5  # every second row: 0.25 on average
    figure = plots.channel_grid(maps)
    width = canvas(figure).shape[1] // 8 - 2
    panel = maps_in(figure, round(300 * width / 400), width, 8, 8)[3]
    colours = matplotlib.colormaps["inferno"]
    np.testing.assert_allclose(panel[20:60, -10:], np.broadcast_to(colours(1.0)[:3], (40, 10, 3)))
    assert np.abs(panel[20:60, 5:20] - colours(0.25)[:3]).max() < 0.16
    assert panel.shape[0] / panel.shape[1] == pytest.approx(300 / 400, abs=0.01)


def test_one_scale_for_all_keeps_the_order_of_strength():
    maps = np.ones((3, 5, 4)) * [1.0, 2.0, 4.0, 0.0]
    figure = plots.channel_grid(maps, shared=True)
    enlarged = (canvas(figure).shape[1] // 4 - 2) // 5
    panels = maps_in(figure, 3 * enlarged, 5 * enlarged, 4, 4)
    for panel, share in zip(panels[:3], (0.25, 0.5, 1.0), strict=True):
        np.testing.assert_allclose(panel[0, 0], matplotlib.colormaps["inferno"](share)[:3])
    assert "One scale for all: 0 to 4" in words(figure)
    assert "on one scale" in figure.alt_text


def test_the_bar_below_a_map_is_as_long_as_its_channel_is_strong():
    maps = np.ones((5, 5, 3)) * [1.0, 2.0, 4.0]
    picture = canvas(plots.channel_grid(maps))
    step = picture.shape[1] // 3
    line = picture[-4, :, 0] == 0.35
    lengths = [line[start : start + step].sum() for start in (0, step, 2 * step)]
    assert lengths[2] == step - 2
    assert lengths[1] == pytest.approx(lengths[2] / 2, abs=1)
    assert lengths[0] == pytest.approx(lengths[2] / 4, abs=1)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("count", [6, 300])
def test_dead_channels_are_crossed_out_and_counted(count, shared):
    maps = random_maps(7, 7, count)
    maps[..., [1, 4]] = 0
    figure = plots.channel_grid(maps, title="my layer", shared=shared)
    columns = min(count, 6) if count < 300 else 32
    enlarged = (canvas(figure).shape[1] // columns - 2) // 7
    panels = maps_in(figure, 7 * enlarged, 7 * enlarged, columns, count)
    for channel in (1, 4):
        assert set(np.unique(panels[channel]).round(2)) == set(GREY)
        assert panels[channel][0, 0, 0] == panels[channel][-1, 0, 0] == GREY[1], "The cross ends in the corners."
    assert not np.isin(panels[0].round(6), GREY).all()
    assert f"2 of {count} zero everywhere" in words(figure)
    assert f"2 of {count} zero everywhere: 1, 4." in figure.alt_text


def test_a_weak_channel_is_not_a_dead_one():
    maps = random_maps(4, 6, 5)
    maps[..., 2] *= 1e-12
    maps[..., 3] = 0
    maps[1, 2, 3] = 1e-30
    figure = plots.channel_grid(maps)
    assert "None is zero everywhere" in words(figure)
    assert "None is zero everywhere" in figure.alt_text


@pytest.mark.parametrize("count", [1, 5, 200])
@pytest.mark.parametrize("shared", [False, True])
def test_all_dead(count, shared):
    figure = plots.channel_grid(np.zeros((4, 6, count)), shared=shared)
    drawn(figure)
    assert "zero everywhere" in words(figure).replace("\n", " ")
    assert f"{count} of {count} zero everywhere" in figure.alt_text


def test_negative_values_take_the_diverging_colours_with_zero_in_the_middle():
    maps = random_maps(4, 6, 3)
    maps[..., 1] -= 0.5
    figure = plots.channel_grid(maps)
    enlarged = (canvas(figure).shape[1] // 3 - 2) // 6
    panel = maps_in(figure, 4 * enlarged, 6 * enlarged, 3, 3)[0]
    share = maps[0, 0, 0] / plots.display_limit(maps[..., 0])
    expected = matplotlib.colormaps["RdBu_r"]((share + 1) / 2)[:3]
    np.testing.assert_allclose(panel[0, 0], expected)
    assert "bar below" not in words(figure)


def test_numbers_stand_above_each_map_or_before_each_row():
    assert numbers(plots.channel_grid(random_maps(14, 14, 20))) == [str(channel) for channel in range(20)]
    assert numbers(plots.channel_grid(random_maps(14, 14, 70), columns=32)) == ["0", "32", "64"]


def test_the_canvas_is_shown_pixel_for_pixel_beside_its_margin():
    maps = random_maps(14, 14, 30)
    figure = plots.channel_grid(maps, title="cat: block5_conv3")
    seen, wanted = np.asarray(drawn(figure)), np.rint(255 * canvas(figure)).astype(int)
    without_numbers = np.arange(len(wanted)) % (len(wanted) // 4) >= 13

    def is_there(top):
        inside = seen[top : top + wanted.shape[0], _MARGIN : _MARGIN + wanted.shape[1]].astype(int)
        return (np.abs(inside - wanted)[without_numbers] <= 1).all()

    assert sum(is_there(top) for top in range(len(seen) - len(wanted))) == 1


def test_what_it_says():
    maps = random_maps(14, 15, 30)
    maps[3, 4, 17] = 8.25
    figure = plots.channel_grid(maps, title="cat: block5_conv3")
    assert "cat: block5 conv3" in words(figure)
    assert "Each map on its own scale" in words(figure)
    assert "All 30 channels of a layer as maps of 14 x 15 (cat: block5_conv3)" in figure.alt_text
    assert "8.25, is in channel 17" in figure.alt_text


def test_nothing_given_is_changed_and_integers_will_do():
    maps = np.arange(24).reshape(2, 3, 4)
    before = maps.copy()
    plots.channel_grid(maps)
    np.testing.assert_array_equal(maps, before)


def test_errors():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4, 5\)\. Take one image of the batch: maps\[0\]"):
        plots.channel_grid(np.ones((2, 3, 4, 5)))
    with pytest.raises(ValueError, match=r"shape \(3, 4\)"):
        plots.channel_grid(np.ones((3, 4)))
    with pytest.raises(ValueError, match="maps is empty"):
        plots.channel_grid(np.ones((3, 4, 0)))
    with pytest.raises(ValueError, match="1 values of 12 that are NaN"):
        plots.channel_grid(np.where(np.arange(12).reshape(2, 3, 2) == 5, np.nan, 1.0))
    with pytest.raises(ValueError, match="at least 1; not 0"):
        plots.channel_grid(np.ones((3, 4, 2)), columns=0)
    with pytest.raises(TypeError, match=r"an int; not 2\.5"):
        plots.channel_grid(np.ones((3, 4, 2)), columns=2.5)
    with pytest.raises(TypeError, match="not numbers"):
        plots.channel_grid(np.full((2, 2, 2), "a"))
    with pytest.raises(ValueError, match="no colour map 'rainbows'"):
        plots.channel_grid(np.ones((3, 4, 2)), cmap="rainbows")
