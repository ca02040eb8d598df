"""What a patch reaches: by hand, and against what does change when the patch is covered."""

import keras
import numpy as np
import pytest
import zoo

from labutils import explain

L = keras.layers


def chain(*layers, size=(13, 17)):
    model = keras.Sequential([keras.Input((*size, 2)), *layers, L.Flatten(), L.Dense(3)])
    zoo.shake(model)
    return model


def test_a_convolution_grows_and_a_pooling_halves():
    model = chain(L.Conv2D(2, 3, padding="same", name="conv"), L.MaxPooling2D(2, name="pool"), size=(12, 16))
    windows = explain.reached_windows(model, 4, 0, patch=(4, 5))
    assert list(windows) == ["image", "conv", "pool"]
    image, conv, pool = windows.values()
    assert (image.rows, image.columns, image.size) == (slice(4, 8), slice(0, 5), (12, 16))
    assert (conv.rows, conv.columns, conv.size) == (slice(3, 9), slice(0, 6), (12, 16))
    assert (pool.rows, pool.columns, pool.size) == (slice(1, 5), slice(0, 3), (6, 8))
    assert (image.positions, conv.positions, pool.positions) == (20, 36, 12)
    assert pool.share == 0.25


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 6), (9, 12)])
def test_outside_the_window_nothing_changes_and_at_its_borders_something_does(top, left):
    layers = [
        L.Conv2D(4, 3, padding="same", name="a"),
        L.Conv2D(4, (3, 5), strides=(1, 2), padding="same", name="b"),
        L.AveragePooling2D(2, name="c"),
        L.Conv2D(5, 2, padding="valid", name="d"),
    ]
    model = chain(*layers)
    photo = np.random.default_rng(0).normal(size=(1, 13, 17, 2)).astype("float32")
    covered = photo.copy()
    covered[:, top : top + 4, left : left + 5] = 3
    windows = explain.reached_windows(model, top, left, patch=(4, 5))
    before, after = (explain.activations(model, images, ["a", "b", "c", "d"]) for images in (photo, covered))
    for name in ("a", "b", "c", "d"):
        changed = (np.abs(before[name] - after[name]) > 1e-6).any(axis=(0, 3))
        expected = np.zeros(windows[name].size, bool)
        expected[windows[name].rows, windows[name].columns] = True
        np.testing.assert_array_equal(changed, expected)


def test_costs_are_those_of_one_position():
    model = chain(L.Conv2D(8, 3, name="conv"), L.MaxPooling2D(name="pool"))
    windows = explain.reached_windows(model, 0, 0, patch=1)
    assert windows["image"].cost == 0
    assert windows["conv"].cost >= 3 * 3 * 2 * 8
    assert windows["conv"].cost > 5 * windows["pool"].cost > 0


def test_vgg16_from_the_first_layer_to_the_last():
    from labutils.vgg16 import build_network

    model = build_network((2, 3, 4, 5, 6), (7, 8), 9)
    windows = explain.reached_windows(model, 96, 96, patch=32)
    assert list(windows)[1:] == [layer.name for layer in model.layers if layer.name.startswith("block")]
    assert windows["block1_conv2"].positions == 36 * 36
    assert windows["block5_pool"].share == 1


def test_a_network_of_any_size_needs_the_images():
    model = keras.Sequential([keras.Input((None, None, 3)), L.Conv2D(2, 3), L.GlobalAveragePooling2D(), L.Dense(2)])
    assert explain.reached_windows(model, 0, 0, patch=2, image_size=(9, 12))["image"].size == (9, 12)
    with pytest.raises(ValueError, match="image_size"):
        explain.reached_windows(model, 0, 0, patch=2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"top": 10, "left": 0}, ValueError, "top: .*the last place is 9"),
        ({"top": 0, "left": 14}, ValueError, "left: .*the last place is 13"),
        ({"top": -1, "left": 0}, ValueError, "top: an int of at least 0"),
        ({"top": 0, "left": 1.5}, TypeError, "left: an int of at least 0"),
        ({"top": 0, "left": 0, "patch": 0}, ValueError, "patch"),
        ({"top": 0, "left": 0, "image_size": 40}, ValueError, "image_size"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    arguments = {"patch": 4} | arguments
    with pytest.raises(error, match=message):
        explain.reached_windows(chain(L.Conv2D(2, 3)), **arguments)


def test_a_network_that_is_no_chain_says_why():
    with pytest.raises(ValueError, match="model: windows are known for chains of layers only"):
        explain.reached_windows(zoo.residual(), 0, 0, patch=2)
