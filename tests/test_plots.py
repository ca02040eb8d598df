"""Plots: the arithmetic of the colours by hand, and figures that say what they show."""

import io

import matplotlib
import numpy as np
import pytest
from drawing import drawn
from PIL import Image

from labutils import plots

GENERATOR = np.random.default_rng(0)
PHOTO = GENERATOR.integers(0, 256, (12, 16, 3), dtype=np.uint8)
MAP = GENERATOR.random((12, 16))
SIGNED = MAP - 0.5


def panels(figure):
    """The axes that show a picture, without colour bars."""
    return [ax for ax in figure.axes if ax.images]


def texts(figure) -> str:
    from matplotlib.text import Text

    return " | ".join(text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible())


# --- values -----------------------------------------------------------------------------------------------------------


def test_normalize_divides_by_the_largest():
    np.testing.assert_array_equal(plots.normalize([[0.0, 1.0], [2.0, 4.0]]), [[0, 0.25], [0.5, 1]])
    assert plots.normalize(MAP).dtype == np.float32


def test_normalize_keeps_zero_where_it_was():
    """Subtracting the minimum would turn 1 into "no evidence"."""
    np.testing.assert_array_equal(plots.normalize([[1.0, 2.0]]), [[0.5, 1.0]])
    np.testing.assert_array_equal(plots.normalize([[-4.0, 0.0, 2.0]]), [[-1.0, 0.0, 0.5]])


def test_normalize_of_zero_is_zero():
    np.testing.assert_array_equal(plots.normalize(np.zeros((2, 3))), np.zeros((2, 3)))


def test_normalize_treats_each_map_of_a_stack_on_its_own():
    stack = np.stack([MAP, 1000 * MAP, 0 * MAP])
    np.testing.assert_allclose(plots.normalize(stack), [plots.normalize(one) for one in stack], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-40, 1e-300, 1e300])
def test_normalize_does_not_depend_on_the_unit(scale):
    np.testing.assert_allclose(plots.normalize(MAP * scale), plots.normalize(MAP), rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_is_an_error(value):
    broken = MAP.copy()
    broken[0, 0] = value
    with pytest.raises(ValueError, match="heatmap has 1 values of 192 that are NaN or infinite"):
        plots.normalize(broken)
    with pytest.raises(ValueError, match=r"maps\['Grad-CAM'\]\[0\] has 1 values"):
        plots.gallery(PHOTO, {"Grad-CAM": broken})


def test_normalize_errors():
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        plots.normalize([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="complex128"):
        plots.normalize(np.zeros((2, 2), complex))
    with pytest.raises(ValueError, match="empty"):
        plots.normalize(np.zeros((0, 2)))


# --- pixels -----------------------------------------------------------------------------------------------------------


def test_overlay_pixels_by_hand():
    """A ramp with limit 1 takes the colour map's own entries, mixed with the photo by alpha."""
    photo = np.full((1, 3, 3), 100, np.uint8)
    ramp = np.array([[0.0, 0.5, 1.0]])
    colours = matplotlib.colormaps["inferno"](ramp)[..., :3]
    for alpha in (0, 0.25, 1):
        expected = np.rint((1 - alpha) * 100 + alpha * 255 * colours)
        np.testing.assert_array_equal(plots.overlay_pixels(photo, ramp, alpha=alpha, limit=1), expected)


def test_alpha_zero_is_the_photo():
    np.testing.assert_array_equal(plots.overlay_pixels(PHOTO, MAP, alpha=0), PHOTO)


def test_alpha_one_is_the_colours_whatever_the_photo():
    np.testing.assert_array_equal(
        plots.overlay_pixels(PHOTO, MAP, alpha=1), plots.overlay_pixels(255 - PHOTO, MAP, alpha=1)
    )


@pytest.mark.parametrize("name", ["inferno", "viridis", "jet"])
def test_zero_has_the_first_colour_and_the_limit_the_last(name):
    seen = plots.overlay_pixels(np.zeros((1, 3, 3), np.uint8), [[0.0, 2.0, 9.0]], alpha=1, limit=2, cmap=name)
    ends = np.rint(255 * matplotlib.colormaps[name]([0.0, 1.0, 1.0])[:, :3])
    np.testing.assert_array_equal(seen[0], ends)


def test_signed_maps_have_zero_in_the_middle():
    seen = plots.overlay_pixels(np.zeros((1, 4, 3), np.uint8), [[-1.0, 0.0, 0.5, 2.0]], alpha=1, limit=2)
    expected = np.rint(255 * matplotlib.colormaps[plots.DIVERGING]([0.25, 0.5, 0.625, 1.0])[:, :3])
    np.testing.assert_array_equal(seen[0], expected)
    red, blue = seen[0, 3], seen[0, 0]
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_the_photo_is_grey_under_signed_maps_only():
    """Or a red saucer looks like a place of large values."""
    red = np.zeros((1, 3, 3), np.uint8)
    red[...] = (200, 20, 10)
    luma = np.rint(0.299 * 200 + 0.587 * 20 + 0.114 * 10)
    signed, plain = np.array([[-1.0, 0.0, 1.0]]), np.array([[0.5, 0.0, 1.0]])
    for alpha in (0, 0.4, 1):
        colours = matplotlib.colormaps[plots.DIVERGING]((signed + 1) / 2)[..., :3]
        expected = np.rint((1 - alpha) * luma + alpha * 255 * colours)
        np.testing.assert_array_equal(plots.overlay_pixels(red, signed, alpha=alpha, limit=1), expected)
    np.testing.assert_array_equal(plots.overlay_pixels(red, plain, alpha=0), red)
    np.testing.assert_array_equal(plots.overlay_pixels(red, 0 * signed, alpha=0), red)
    assert (red == (200, 20, 10)).all(), "The photo that was handed in keeps its colours."


@pytest.mark.parametrize(
    "make",
    [
        lambda photo, heatmap: plots.overlay(photo, heatmap),
        lambda photo, heatmap: plots.gallery(photo, {"a": heatmap}),
        lambda photo, heatmap: plots.side_by_side({"a": heatmap}, photo),
        lambda photo, heatmap: plots.side_by_side({"a": heatmap, "b": MAP}, photo, shared=True),
    ],
)
def test_every_figure_of_a_signed_map_has_the_photo_in_grey(make):
    grey = np.asarray(Image.fromarray(PHOTO).convert("L").convert("RGB"))
    coloured, same = ([ax.images[0].get_array() for ax in panels(make(photo, SIGNED))] for photo in (PHOTO, grey))
    np.testing.assert_array_equal(coloured[-1], same[-1])
    if len(coloured) > 1:
        np.testing.assert_array_equal(coloured[0], PHOTO)


def test_the_default_limit_lets_half_a_per_cent_saturate():
    values = np.arange(1.0, 1001.0).reshape(20, 50)
    photo = np.zeros((20, 50, 3), np.uint8)
    assert plots.display_limit(-values) == np.percentile(values, 99.5)
    by_hand = plots.overlay_pixels(photo, values, limit=np.percentile(values, 99.5))
    np.testing.assert_array_equal(plots.overlay_pixels(photo, values), by_hand)
    assert not np.array_equal(plots.overlay_pixels(photo, values, limit=1000), by_hand)


def test_a_map_of_few_places_has_full_colour_at_its_largest():
    """0.5 % of 14 x 14 tokens is one token: the brightest must not look like the second."""
    tokens = np.full((14, 14), 0.01)
    tokens[3, 4], tokens[5, 6] = 0.386, 0.074
    assert plots.display_limit(tokens) == 0.386
    assert "0 to 0.386" in texts(plots.gallery(np.zeros((28, 28, 3), np.uint8), {"a": tokens[None]}))


def test_a_value_far_beyond_the_limit_is_told():
    values = np.ones((40, 50))
    assert "largest" not in texts(plots.gallery(np.zeros((40, 50, 3), np.uint8), {"a": values[None]}))
    values[0, 0] = 7
    assert "0 to 1,\nlargest 7" in texts(plots.gallery(np.zeros((40, 50, 3), np.uint8), {"a": values[None]}))


def test_a_map_with_one_place_that_is_not_zero_is_seen():
    """99.5 % of it are zero, so the percentile alone would leave no scale."""
    lonely = np.zeros((40, 50))
    assert plots.display_limit(lonely) == 0
    lonely[3, 4] = 1e-6
    assert plots.display_limit(lonely) == 1e-6
    seen = plots.overlay_pixels(np.zeros((40, 50, 3), np.uint8), lonely, alpha=1)
    ends = np.rint(255 * matplotlib.colormaps["inferno"]([0.0, 1.0])[:, :3])
    np.testing.assert_array_equal(seen[0, 0], ends[0])
    np.testing.assert_array_equal(seen[3, 4], ends[1])


@pytest.mark.parametrize("alpha", [0.5, 1])
def test_a_zero_map_is_the_photo(alpha):
    np.testing.assert_array_equal(plots.overlay_pixels(PHOTO, np.zeros((3, 4)), alpha=alpha), PHOTO)
    np.testing.assert_array_equal(plots.overlay_pixels(PHOTO, np.zeros((3, 4)), alpha=alpha, limit=5), PHOTO)


def test_a_constant_map_is_one_colour():
    seen = plots.overlay_pixels(PHOTO, np.full((12, 16), 3.0), alpha=1)
    assert np.all(seen == np.rint(255 * np.array(matplotlib.colormaps["inferno"](1.0)[:3])))


def test_a_coarse_map_is_resized_with_half_pixel_centres():
    """(1, 2) to width 4: the centres lie at -1/4, 1/4, 3/4, 5/4 of the coarse pixels; ends are repeated."""
    seen = plots.overlay_pixels(np.zeros((1, 4, 3), np.uint8), [[0.0, 1.0]], alpha=1, limit=1)
    expected = np.rint(255 * matplotlib.colormaps["inferno"]([0, 0.25, 0.75, 1])[:, :3])
    np.testing.assert_array_equal(seen[0], expected)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_overlay_does_not_depend_on_the_unit(scale):
    """The resizing works in float32, which holds neither of these."""
    coarse = GENERATOR.random((3, 4))
    np.testing.assert_array_equal(plots.overlay_pixels(PHOTO, coarse * scale), plots.overlay_pixels(PHOTO, coarse))


def test_kinds_of_image():
    expected = plots.overlay_pixels(PHOTO, MAP)
    for same in (PHOTO.astype(np.float32), PHOTO.astype(int), PHOTO / 255.0, PHOTO[None]):
        np.testing.assert_array_equal(plots.overlay_pixels(same, MAP), expected)
    grey = PHOTO[..., 0]
    expected = plots.overlay_pixels(np.repeat(grey[..., None], 3, 2), MAP)
    for same in (grey, grey[..., None]):
        np.testing.assert_array_equal(plots.overlay_pixels(same, MAP), expected)


def test_nothing_given_is_changed():
    image, heatmap = PHOTO.copy(), SIGNED.copy()
    plots.overlay(image, heatmap)
    plots.overlay_pixels(image, np.zeros((2, 2)))[...] = 0
    np.testing.assert_array_equal(image, PHOTO)
    np.testing.assert_array_equal(heatmap, SIGNED)


def test_overlay_errors():
    with pytest.raises(ValueError, match=r"looks preprocessed.*before preprocess_input"):
        plots.overlay_pixels(PHOTO.astype(float) - 120, MAP)
    with pytest.raises(ValueError, match=r"image is \(height, width, 3\).*\(2, 12, 16, 3\)"):
        plots.overlay_pixels(np.stack([PHOTO, PHOTO]), MAP)
    with pytest.raises(ValueError, match=r"Take one map of the batch: heatmap\[0\]"):
        plots.overlay_pixels(PHOTO, MAP[None])
    with pytest.raises(ValueError, match=r"alpha.*1\.5"):
        plots.overlay_pixels(PHOTO, MAP, alpha=1.5)
    with pytest.raises(ValueError, match="limit"):
        plots.overlay_pixels(PHOTO, MAP, limit=0)
    with pytest.raises(ValueError, match=r"no colour map 'rainbows'.*viridis"):
        plots.overlay_pixels(PHOTO, MAP, cmap="rainbows")


def test_save_overlay_writes_exactly_the_photos_size(tmp_path):
    path = tmp_path / "overlay.png"
    plots.save_overlay(path, PHOTO, MAP, cmap="jet", alpha=0.3)
    seen = Image.open(path)
    assert (seen.size, seen.mode, seen.format) == ((16, 12), "RGB", "PNG")
    np.testing.assert_array_equal(np.asarray(seen), plots.overlay_pixels(PHOTO, MAP, cmap="jet", alpha=0.3))


# --- figures ----------------------------------------------------------------------------------------------------------


def test_overlay_figure():
    figure = plots.overlay(PHOTO, MAP, title="Grad-CAM for brass_instrument", limit=0.5)
    np.testing.assert_array_equal(panels(figure)[0].images[0].get_array(), plots.overlay_pixels(PHOTO, MAP, limit=0.5))
    drawn(figure)
    assert "Grad-CAM for brass instrument" in texts(figure)
    assert "0.5" in texts(figure), "The scale is stated."
    assert len(figure.axes) == 2, "The photo and its colour bar."


def test_overlay_of_zero_says_so():
    figure = plots.overlay(PHOTO, np.zeros((3, 4)))
    assert "all zero" in texts(figure)
    assert "all zero" in figure.alt_text
    assert len(figure.axes) == 1, "No colour bar: there is no scale."


def test_overlay_into_given_axes():
    from matplotlib.figure import Figure

    mine = Figure()
    left, right = mine.subplots(1, 2)
    assert plots.overlay(PHOTO, SIGNED, ax=right, title="mine", limit=0.25) is mine
    assert right.images
    assert not left.images
    assert (right.get_title(), right.get_xlabel()) == ("mine", f"−0.25 to 0.25,\nlargest {np.abs(SIGNED).max():.3g}")


@pytest.mark.parametrize(
    ("photos", "methods", "shape"), [(1, 1, (1, 2)), (3, 6, (3, 7)), (3, 7, (8, 3)), (8, 7, (8, 8))]
)
def test_gallery_shape(photos, methods, shape):
    maps = {f"method {index}": np.stack([MAP] * photos) for index in range(methods)}
    figure = plots.gallery(np.stack([PHOTO] * photos), maps, titles=[f"photo {index}" for index in range(photos)])
    assert panels(figure)[0].get_gridspec().get_geometry() == shape
    assert len(panels(figure)) == photos * (methods + 1)
    for text in (*maps, "photo 0", f"photo {photos - 1}", "0 to "):
        assert text in texts(figure)


def test_gallery_panels_are_the_overlays():
    images = np.stack([PHOTO, 255 - PHOTO])
    maps = {"coarse": GENERATOR.random((2, 3, 4)), "signed": np.stack([SIGNED, 2 * SIGNED])}
    figure = plots.gallery(images, maps, alpha=0.7)
    shown = [ax.images[0].get_array() for ax in panels(figure)]
    expected = []
    for row in range(2):
        expected.append(images[row])
        expected += [plots.overlay_pixels(images[row], stack[row], alpha=0.7) for stack in maps.values()]
    for seen, one in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(seen, one)


def test_gallery_with_zero_and_signed_maps_says_what_is_what():
    figure = plots.gallery(PHOTO, {"flat": np.zeros((1, 3, 4)), "signed": SIGNED[None], "plain": MAP[None]})
    drawn(figure)
    captions = [ax.get_xlabel() for ax in panels(figure)]
    assert captions[1] == "all zero"
    assert captions[2].startswith("−")
    assert captions[3].startswith("0 to ")
    assert len(figure.axes) - len(panels(figure)) == 2, "One strip of colours for signed maps, one for the others."


def test_gallery_takes_photos_of_different_sizes_and_one_photo():
    figure = plots.gallery([PHOTO, PHOTO[:6]], {"a": [MAP, MAP[:6]]})
    assert [ax.images[0].get_array().shape[0] for ax in panels(figure)] == [12, 12, 6, 6]
    assert len(panels(plots.gallery(PHOTO, {"a": MAP}))) == 2


def test_gallery_errors():
    two = np.stack([PHOTO, PHOTO])
    with pytest.raises(ValueError, match="maps\\['a'\\] holds 1 maps for 2 photos"):
        plots.gallery(two, {"a": MAP[None]})
    with pytest.raises(ValueError, match="1 titles for 2 photos"):
        plots.gallery(two, {"a": np.stack([MAP, MAP])}, titles=["one"])
    with pytest.raises(ValueError, match="maps is empty"):
        plots.gallery(two, {})
    with pytest.raises(ValueError, match="images is empty"):
        plots.gallery([], {"a": []})


def test_side_by_side_with_own_scales():
    maps = {"weak": MAP, "strong": 100 * MAP}
    figure = plots.side_by_side(maps, PHOTO, title="Cat")
    weak, strong = (ax.images[0].get_array() for ax in panels(figure)[1:3])
    np.testing.assert_array_equal(weak, strong)
    np.testing.assert_array_equal(weak, plots.overlay_pixels(PHOTO, MAP))
    drawn(figure)
    assert "Cat (each on its own scale)" in texts(figure)


def test_side_by_side_with_one_scale():
    maps = {"weak": MAP, "strong": 2 * MAP, "none": 0 * MAP}
    figure = plots.side_by_side(maps, PHOTO, shared=True)
    limit = (2 * MAP).max()
    for ax, heatmap in zip(panels(figure)[1:], maps.values(), strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), plots.overlay_pixels(PHOTO, heatmap, limit=limit))
    assert "One scale for all" in texts(figure)
    assert "all zero" in texts(figure)


def test_side_by_side_of_one_map_says_nothing_of_sharing():
    for shared in (False, True):
        assert "scale" not in texts(plots.side_by_side({"a": MAP}, PHOTO, shared=shared, title="Cat"))
        assert plots.side_by_side({"a": MAP}, shared=shared, title="Cat").alt_text.startswith("A map (Cat). a: ")
    assert "scale" not in texts(plots.side_by_side({"a": MAP}))


def test_one_signed_map_makes_the_shared_scale_signed():
    figure = plots.side_by_side({"plain": MAP, "signed": SIGNED}, shared=True, cmap="RdBu_r")
    limit = MAP.max()
    expected = matplotlib.colormaps["RdBu_r"]((MAP / limit + 1) / 2)[..., :3]
    np.testing.assert_allclose(panels(figure)[0].images[0].get_array(), expected)


def test_side_by_side_without_a_photo_keeps_the_maps_resolution():
    figure = plots.side_by_side({f"{index}": GENERATOR.random((3, 4)) for index in range(6)})
    assert [ax.images[0].get_array().shape for ax in panels(figure)] == [(3, 4, 3)] * 6
    drawn(figure)


def test_side_by_side_of_zeros():
    figure = plots.side_by_side({"a": 0 * MAP, "b": 0 * MAP}, shared=True)
    drawn(figure)
    assert texts(figure).count("all zero") == 2


# --- attention --------------------------------------------------------------------------------------------------------

GRID = (3, 4)  # of patches of PHOTO, 4 x 4 pixels each


def some_attention(*leading: int, tokens: int = 13) -> np.ndarray:
    scores = np.random.default_rng(1).random((*leading, tokens, tokens))
    return scores / scores.sum(axis=-1, keepdims=True)


def outlines(ax) -> list[tuple[float, ...]]:
    """Left, top, width and height of every patch outlined in these axes."""
    return [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in ax.patches]


def test_patch_grid_numbers_the_tokens_and_shows_what_one_sees():
    figure = plots.patch_grid(PHOTO, GRID, patch=(1, 2), window=(slice(2, 9), slice(5, 16)), title="my photo")
    drawn(figure)
    left, right = panels(figure)
    np.testing.assert_array_equal(left.images[0].get_array(), PHOTO)
    np.testing.assert_array_equal(right.images[0].get_array(), PHOTO[2:9, 5:16])
    assert sorted(int(text.get_text()) for text in left.texts) == [1, 4, 9, 12], "Token 0 is the class token."
    assert outlines(left) == [(7.5, 3.5, 4, 4)], "Row 1 begins at pixel 4, column 2 at pixel 8; -0.5 is a pixel's edge."
    assert outlines(right) == [(2.5, 1.5, 4, 4)], "The same place, counted from the window's first pixel."
    lines = [path.vertices[0] for collection in left.collections for path in collection.get_paths()]
    assert sorted(y for x, y in lines if x == -0.5 and y != -0.5) == [3.5, 7.5]
    assert sorted(x for x, y in lines if y == -0.5 and x != -0.5) == [3.5, 7.5, 11.5]
    for text in ("my photo", "what token 7 sees", "each patch 4 x 4 pixels", "7 x 11 pixels"):
        assert text in texts(figure)
    assert "3 x 4 patches (my photo). The patch in row 1 and column 2" in figure.alt_text


def test_patch_grid_takes_patches_of_other_sides():
    figure = plots.patch_grid(PHOTO, (1, 2), patch=(0, 0), window=(slice(0, 12), slice(0, 8)))
    drawn(figure)
    assert "1 x 2 patches" in texts(figure)
    assert "each patch 12 x 8 pixels" in texts(figure)
    assert sorted(text.get_text() for text in panels(figure)[0].texts) == ["1", "2"]


def test_attention_heads_shows_each_heads_row_as_patches():
    attention = some_attention(6)
    figure = plots.attention_heads(attention, PHOTO, GRID, title="Layer 2")
    drawn(figure)
    photo, *heads = panels(figure)
    np.testing.assert_array_equal(photo.images[0].get_array(), PHOTO)
    for number, (ax, head) in enumerate(zip(heads, attention, strict=True)):
        values = [[head[0, 1 + 4 * row + column] for column in range(4)] for row in range(3)]
        limit = float(np.max(values))
        expected = matplotlib.colormaps["inferno"](np.array(values) / limit)[..., :3]
        np.testing.assert_allclose(ax.images[0].get_array(), expected)
        assert ax.get_title() == f"head {number}"
        assert ax.get_xlabel() == f"0 to {limit:.3g}\nclass token {100 * head[0, 0]:.1f} %"
        assert not outlines(ax)
    assert photo.get_gridspec().get_geometry() == (2, 5), "Seven panels, five a row."
    assert "Layer 2" in texts(figure)
    assert "attention of\nthe class token" in texts(figure)
    assert "class token in 6 heads (Layer 2)" in figure.alt_text


def test_attention_heads_of_a_patch():
    attention = some_attention(2)
    figure = plots.attention_heads(attention, PHOTO, GRID, patch=(2, 1))
    drawn(figure)
    photo, first, _ = panels(figure)
    values = attention[0, 10, 1:].reshape(3, 4)  # token 1 + 2 * 4 + 1
    expected = matplotlib.colormaps["inferno"](values / values.max())[..., :3]
    np.testing.assert_allclose(first.images[0].get_array(), expected)
    assert outlines(photo) == [(3.5, 7.5, 4, 4)]
    assert outlines(first) == [(0.5, 1.5, 1, 1)], "In a map one patch is one pixel."
    assert f"class token {100 * attention[0, 10, 0]:.1f} %" in texts(figure)
    assert "Attention of the patch (2, 1)" in figure.alt_text


def test_attention_heads_are_as_large_as_the_photo():
    square = plots.attention_heads(some_attention(1, tokens=10), PHOTO, (3, 3))
    drawn(square)
    photo, head = (ax.get_window_extent() for ax in panels(square))
    assert head.height / head.width == pytest.approx(photo.height / photo.width, rel=1e-3)


def test_a_head_that_gives_everything_to_the_class_token_says_so():
    attention = np.zeros((1, 13, 13))
    attention[..., 0] = 1
    figure = plots.attention_heads(attention, PHOTO, GRID)
    drawn(figure)
    assert panels(figure)[1].get_xlabel() == "all zero\nclass token 100.0 %"


def test_attention_of_patches_marks_them_and_overlays_their_rows():
    attention = some_attention()
    patches = [(0, 3), (2, 1)]
    figure = plots.attention_of_patches(attention, PHOTO, GRID, patches, title="Layer 0", alpha=0.7)
    drawn(figure)
    photo, *shown = panels(figure)
    np.testing.assert_array_equal(photo.images[0].get_array(), PHOTO)
    assert outlines(photo) == [(11.5, -0.5, 4, 4), (3.5, 7.5, 4, 4)]
    assert [text.get_text() for text in photo.texts] == ["1", "2"]
    for ax, token, patch, outline in zip(shown, (4, 10), patches, outlines(photo), strict=True):
        values = attention[token, 1:].reshape(3, 4)
        np.testing.assert_array_equal(ax.images[0].get_array(), plots.overlay_pixels(PHOTO, values, alpha=0.7))
        assert outlines(ax) == [outline]
        assert f"patch {patch}" in ax.get_title()
        assert f"class token {100 * attention[token, 0]:.1f} %" in ax.get_xlabel()
    assert "2 patches of a photo attend to (Layer 0)" in figure.alt_text
    assert "patch (0, 3): strongest at" in figure.alt_text


def test_attention_of_patches_without_a_class_token():
    attention = some_attention(tokens=12)
    figure = plots.attention_of_patches(attention, PHOTO, GRID, [(1, 0)])
    expected = plots.overlay_pixels(PHOTO, attention[4].reshape(3, 4), alpha=0.6)
    np.testing.assert_array_equal(panels(figure)[1].images[0].get_array(), expected)
    assert "class token" not in texts(figure)


def test_attention_errors():
    window = (slice(0, 4), slice(0, 4))
    with pytest.raises(ValueError, match=r"no patch \(3, 0\): rows are 0 to 2 and columns 0 to 3"):
        plots.attention_of_patches(some_attention(), PHOTO, GRID, [(3, 0)])
    with pytest.raises(ValueError, match=r"no patch \(0, -1\)"):
        plots.patch_grid(PHOTO, GRID, patch=(0, -1), window=window)
    with pytest.raises(TypeError, match=r"patch is \(row, column\).*7"):
        plots.attention_heads(some_attention(2), PHOTO, GRID, patch=7)
    with pytest.raises(ValueError, match="patches is empty"):
        plots.attention_of_patches(some_attention(), PHOTO, GRID, [])
    with pytest.raises(ValueError, match=r"attention is \(heads, tokens, tokens\).*\(2, 1, 13, 13\)"):
        plots.attention_heads(some_attention(2, 1), PHOTO, GRID)
    with pytest.raises(ValueError, match=r"attention is \(tokens, tokens\).*\(13, 12\)"):
        plots.attention_of_patches(some_attention()[:, :12], PHOTO, GRID, [(0, 0)])
    with pytest.raises(ValueError, match="3 x 4 patches and the class token are 13 tokens; attention has 14"):
        plots.attention_heads(some_attention(2, tokens=14), PHOTO, GRID)
    with pytest.raises(ValueError, match="are 13 tokens; attention has 12"):
        plots.attention_heads(some_attention(2, tokens=12), PHOTO, GRID)
    with pytest.raises(TypeError, match=r"grid is \(rows, columns\).*\(3.0, 4\)"):
        plots.patch_grid(PHOTO, (3.0, 4), patch=(0, 0), window=window)
    with pytest.raises(ValueError, match="both at least 1"):
        plots.patch_grid(PHOTO, (0, 4), patch=(0, 0), window=window)
    with pytest.raises(ValueError, match="window is two slices of the photo's 12 x 16 pixels"):
        plots.patch_grid(PHOTO, GRID, patch=(0, 0), window=(slice(20, 24), slice(0, 4)))


def test_predictions():
    decoded = [
        [("n1", "cat", 0.75), ("n2", "brass_instrument", 0.2), ("n3", "dog", 0.0004)],
        [("n2", "cup", 0.9999), ("n1", "cat", 0.0001)],
    ]
    figure = plots.predictions(np.stack([PHOTO, PHOTO]), decoded, titles=["chelsea", "coffee"])
    drawn(figure)
    said = texts(figure)
    for text in ("cat", "75.0 %", "brass instrument", "20.0 %", "< 0.1 %", "> 99.9 %", "chelsea", "coffee"):
        assert text in said
    first = next(ax for ax in figure.axes if ax.patches)
    widths = [bar.get_width() for bar in first.patches]
    assert [width for width in widths if width != 1] == [0.75, 0.2, 0.0004]
    assert "chelsea: cat 75.0 %, brass_instrument 20.0 %" in figure.alt_text


def test_predictions_errors():
    with pytest.raises(ValueError, match="decoded is for 0 photos, images holds 1"):
        plots.predictions(PHOTO, [])


def test_titles_are_text_not_formulas():
    figure = plots.overlay(PHOTO, MAP, title="cost $5$ \\frac{")
    drawn(figure)
    assert "cost $5$ \\frac{" in texts(figure)


@pytest.mark.parametrize(
    "make",
    [
        lambda: plots.overlay(PHOTO, MAP),
        lambda: plots.gallery(PHOTO, {"a": MAP}),
        lambda: plots.side_by_side({"a": MAP}, PHOTO),
        lambda: plots.predictions(PHOTO, [[("n1", "cat", 1.0)]]),
        lambda: plots.patch_grid(PHOTO, GRID, patch=(0, 0), window=(slice(0, 4), slice(0, 4))),
        lambda: plots.attention_heads(some_attention(12), PHOTO, GRID),
        lambda: plots.attention_of_patches(some_attention(), PHOTO, GRID, [(0, 0)]),
    ],
)
def test_every_figure_is_described_and_leaves_pyplot_alone(make):
    import matplotlib.pyplot as plt

    settings = dict(matplotlib.rcParams)
    plt.close("all")
    figure = make()
    assert isinstance(figure, matplotlib.figure.Figure)
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == settings
    assert len(figure.alt_text) > 30
    image = drawn(figure)
    assert image.width <= 1020, "A notebook's width."
    data, metadata = figure._repr_mimebundle_()
    assert Image.open(io.BytesIO(data["image/png"])).text["Description"] == figure.alt_text
    assert metadata["image/png"]["alt"] == figure.alt_text


@pytest.mark.parametrize(
    ("place", "words"), [((0, 0), "top left"), ((6, 8), "the centre"), ((11, 8), "the bottom"), ((6, 15), "the right")]
)
def test_the_description_says_where_the_map_is_strongest(place, words):
    heatmap = np.zeros((12, 16))
    heatmap[place] = 2
    assert f"{words} (2)" in plots.overlay(PHOTO, heatmap).alt_text
