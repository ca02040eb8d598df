"""What the browser gets for a picture: the pixels of `labutils.plots`, a legend that is true, words for those who cannot see."""

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from labutils import plots
from labutils.widgets import view as view_module
from labutils.widgets.view import PictureView


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def view(photo):
    view = PictureView()
    view.show_photo(photo)
    return view


def pixels(content):
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def some_map(kind):
    rng = np.random.default_rng(1)
    if kind == "signed":
        return rng.normal(0, 2, (48, 64))
    if kind == "coarse":
        return rng.random((3, 4))
    return rng.random((48, 64)) ** 8  # long-tailed: the largest values lie beyond the scale


def test_the_photo_is_the_photo(view, photo):
    np.testing.assert_array_equal(pixels(view.photo), photo)
    assert view.aspect == 64 / 48
    assert (view.map, view.legend, view.ends) == (b"", b"", [])
    assert view.alt == "The photo"


@pytest.mark.parametrize("kind", ["positive", "signed", "coarse"])
class TestMap:
    def test_its_colours_are_those_of_plots(self, view, photo, kind):
        view.show_map(some_map(kind), "caption")
        np.testing.assert_array_equal(pixels(view.map), plots.overlay_pixels(photo, some_map(kind), alpha=1))

    @pytest.mark.parametrize("opacity", [0, 0.55, 1])
    def test_laid_over_the_photo_it_is_the_overlay_of_plots(self, view, photo, kind, opacity):
        """As the browser does it: the photo, grey under a signed map, and the map's colours at the opacity."""
        view.show_map(some_map(kind), "caption")
        assert view.grey == (kind == "signed")
        below = np.asarray(Image.fromarray(photo).convert("L"))[..., np.newaxis] if view.grey else pixels(view.photo)
        blended = (1 - opacity) * below + opacity * pixels(view.map).astype(float)
        np.testing.assert_allclose(blended, plots.overlay_pixels(photo, some_map(kind), alpha=opacity), atol=1.01)

    def test_the_legend_goes_from_the_lowest_colour_to_the_highest(self, view, kind):
        view.show_map(some_map(kind), "caption")
        colour_map = matplotlib.colormaps[plots.DIVERGING if kind == "signed" else plots.SEQUENTIAL]
        strip = pixels(view.legend)
        assert strip.shape[0] == 1
        np.testing.assert_allclose(strip[0, [0, -1]], 255 * np.array(colour_map([0.0, 1.0]))[:, :3], atol=1)


@pytest.mark.parametrize(
    ("values", "options", "ends"),
    [
        (np.array([[0.0, 1.5]]), {}, ["0", "1.5"]),
        (np.array([[0.5, 1.5]]), {}, ["0", "1.5"]),
        (np.array([[0.5, 1.5]]), {"level": True}, ["0.5", "1.5"]),
        (np.array([[-2.0, 1.0]]), {}, ["−2 against", "0", "for 2"]),
        (np.array([[-2.0, -1.0]]), {"level": True}, ["−2", "−1"]),
        (np.r_[np.ones(9990), np.full(10, 7.0)].reshape(100, 100), {}, ["0", "1 or more"]),
        (np.zeros((2, 2)), {}, ["all zero"]),
        (np.full((2, 2), 3.0), {"level": True}, ["3 everywhere"]),
        (np.array([[0, 2]], dtype=np.int64), {}, ["0", "2"]),
    ],
    ids=[
        "from zero",
        "zero is never subtracted",
        "a level is",
        "signed",
        "a negative level",
        "beyond the scale",
        "zero",
        "nothing but a level",
        "whole numbers",
    ],
)
def test_the_ends_of_the_legend_say_the_values(view, values, options, ends):
    view.show_map(values, "caption", **options)
    assert view.ends == ends


def test_a_map_of_zeros_leaves_the_plain_photo(view, photo):
    view.show_map(some_map("signed"), "caption")
    view.show_map(np.zeros((48, 64)), "nothing")
    assert (view.map, view.legend, view.grey, view.caption) == (b"", b"", False, "nothing")
    np.testing.assert_array_equal(pixels(view.photo), photo)


def test_the_words_say_what_it_is_and_where_it_is_strongest(view):
    values = np.zeros((9, 9))
    values[1, 8] = 0.25
    view.show_map(values, "<b>caption</b>", what="Grad-CAM for cat")
    assert view.alt == "Grad-CAM for cat: strongest at the top right (0.25)"
    assert view.caption == "<b>caption</b>"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_without_a_scale_are_refused_and_change_nothing(view, bad):
    view.show_map(np.eye(3), "caption")
    before = view.map, view.caption
    with pytest.raises(ValueError, match=r"1 values of 9 that are NaN or infinite"):
        view.show_map(np.where(np.eye(3) * np.arange(3) == 2, bad, 0), "other")
    assert (view.map, view.caption) == before


def test_another_photo_takes_the_map_away(view, photo):
    view.show_map(some_map("signed"), "caption")
    view.show_photo(photo[:8, :8])
    assert (view.map, view.legend, view.ends, view.caption, view.grey) == (b"", b"", [], "", False)
    assert view.small
    assert view.aspect == 1


def test_words_come_into_the_page_as_text_alone():
    script = Path(view_module.__file__).with_name("view.js").read_text(encoding="utf-8")
    assert "textContent" in script
    assert not any(way in script for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"))
