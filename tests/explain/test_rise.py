"""RISE: its masks, its sum, and what it may cost."""

import tracemalloc

import keras
import numpy as np
import pytest
import twins_masks
import zoo

from labutils.explain import count_passes
from labutils.explain.rise import rise
from labutils.explain.surgery import OpenModel


def mean_of_image():
    """S = mean of a one-colour image of any size."""
    model = keras.Sequential([keras.Input((None, None, 1)), zoo.L.GlobalAveragePooling2D()])
    model.add(zoo.L.Dense(1, use_bias=False))
    model.layers[-1].set_weights([np.ones((1, 1), np.float32)])
    return model


@pytest.fixture
def seen(monkeypatch):
    """Every batch of images that is run, in a list."""
    batches = []
    original = OpenModel.logits
    monkeypatch.setattr(OpenModel, "logits", lambda self, images: batches.append(images) or original(self, images))
    return batches


class TestMasks:
    def masks(self, seen, size=(20, 30), **options):
        rise(mean_of_image(), np.ones((*size, 1)), 0, **{"masks": 400, "seed": 0, **options})
        return np.concatenate(seen)[..., 0]

    @pytest.mark.parametrize(
        ("size", "cells"),
        [((20, 30), (7, 7)), ((20, 30), (3, 5)), ((9, 4), (2, 7)), ((5, 5), (1, 1)), ((1, 6), (1, 3))],
    )
    def test_equal_the_slow_twin(self, seen, size, cells):
        masks = self.masks(seen, size, masks=10, cells=cells, keep=0.4)
        expected = twins_masks.rise_masks(size, 10, cells, 0.4, seed=0)
        np.testing.assert_allclose(masks, expected, atol=1e-6)

    def test_one_number_of_cells_is_for_both_sides(self, seen):
        expected = twins_masks.rise_masks((20, 30), 3, (4, 4), 0.5, seed=0)
        np.testing.assert_allclose(self.masks(seen, masks=3, cells=4), expected, atol=1e-6)

    def test_lie_within_0_and_1_and_show_each_pixel_with_the_probability(self, seen):
        masks = self.masks(seen, masks=4000, keep=0.3)
        assert masks.min() >= 0
        assert masks.max() <= 1
        # The standard error of a pixel's mean is at most sqrt(0.3 * 0.7 / 4000) = 0.0072.
        assert np.abs(masks.mean(axis=0) - 0.3).max() < 5 * 0.0072

    def test_each_has_a_shift_of_its_own(self, seen):
        # With one column of two cells, 16 and 16 rows high, upsampled to 48 rows, a mask of 0 above 1 says where it was cut.
        masks = self.masks(seen, (32, 2), cells=(2, 1))
        rising = masks[masks[:, 0, 0] < masks[:, -1, 0], :, 0]
        assert len({int((mask < 0.5).sum()) for mask in rising}) == 16

    def test_do_not_depend_on_the_batch_size(self, seen):
        whole = self.masks(seen, masks=10, batch_size=10)
        seen.clear()
        np.testing.assert_array_equal(self.masks(seen, masks=10, batch_size=3), whole)
        assert [len(batch) for batch in seen] == [3, 3, 3, 1]


class TestMap:
    def test_equals_its_slow_twin(self):
        model, photos = zoo.functional(2, final=None), zoo.photos(2) / np.float32(64)
        result = rise(zoo.functional(2), photos, [2, 0], masks=30, cells=(3, 4), keep=0.6, seed=5)
        for photo, chosen, got in zip(photos, [2, 0], result, strict=True):
            masks = twins_masks.rise_masks(zoo.SIZE[:2], 30, (3, 4), 0.6, seed=5)
            expected = twins_masks.rise(photo, masks, 0.6, lambda x, c=chosen: float(model(x[None])[0, c]))
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())

    def test_masks_that_hide_nothing_give_the_logit(self):
        image = np.arange(12.0).reshape(3, 4, 1)
        np.testing.assert_allclose(rise(mean_of_image(), image, masks=5, keep=1), np.full((1, 3, 4), 5.5), rtol=1e-6)

    def test_one_cell_gives_one_value_everywhere(self):
        # Masks are all 1 or all 0, S is 5.5 or 0: the map is 5.5 times the share of ones over 1/2.
        image = np.arange(12.0).reshape(3, 4, 1)
        ones = twins_masks.rise_masks((3, 4), 50, (1, 1), 0.5, seed=1)[:, 0, 0].mean()
        result = rise(mean_of_image(), image, masks=50, cells=1, seed=1)
        np.testing.assert_allclose(result, np.full((1, 3, 4), 5.5 * ones / 0.5), rtol=1e-6)

    def test_constant_logit_adds_the_mean_mask(self):
        model = zoo.linear_head(np.zeros((6, 9, 1, 2)), activation=None)
        bias = zoo.L.Dense(2, kernel_initializer="identity", bias_initializer=keras.initializers.Constant(3.0))
        model = keras.Model(model.input, bias(model.output))
        mean = twins_masks.rise_masks((6, 9), 40, (7, 7), 0.5, seed=2).mean(axis=0)
        result = rise(model, np.ones((6, 9, 1)), 1, masks=40, seed=2)
        np.testing.assert_allclose(result[0], 3 * mean / 0.5, rtol=1e-5)

    def test_the_pixel_that_counts_stands_out(self):
        gradient = np.zeros((28, 42, 1, 1))
        gradient[8, 33] = 1
        heat = rise(zoo.linear_head(gradient), np.ones((28, 42, 1)), masks=2000, seed=0)[0]
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert abs(row - 8) <= 2
        assert abs(column - 33) <= 3
        assert heat[8, 33] > 1.2 * np.median(heat)

    def test_classes_are_told_apart_and_none_takes_the_top_one(self):
        model, photo = zoo.functional(), zoo.photos(1)
        maps = rise(model, np.repeat(photo, 4, axis=0), [0, 1, 2, 3], masks=20, seed=0)
        assert len({m.tobytes() for m in maps}) == 4
        top = int(model(photo)[0].numpy().argmax())
        np.testing.assert_array_equal(rise(model, photo, masks=20, seed=0), maps[[top]])


@pytest.mark.parametrize("build", [zoo.sequential, zoo.nested, zoo.separate_softmax])
def test_every_build_of_a_model_gives_the_same_maps(build):
    photos = zoo.photos()
    expected = rise(zoo.functional(), photos, [1, 2, 3], masks=20, seed=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(rise(build(), photos, [1, 2, 3], masks=20, seed=0), expected, atol=1e-5 * scale)


def test_seed_batch_and_loop():
    model, photos, options = zoo.residual(), zoo.photos(), {"masks": 30, "seed": 3}
    before = zoo.state(model)
    batch = rise(model, photos, [0, 1, 2], **options)
    assert zoo.state(model) == before
    assert batch.shape == (3, *zoo.SIZE[:2])
    assert batch.dtype == np.float32
    scale = np.abs(batch).max()
    for index in range(3):
        np.testing.assert_allclose(rise(model, photos[index], index, **options)[0], batch[index], atol=1e-5 * scale)
    np.testing.assert_allclose(rise(model, photos, [0, 1, 2], **options, batch_size=7), batch, atol=1e-5 * scale)
    assert not np.allclose(rise(model, photos, [0, 1, 2], masks=30, seed=4), batch, rtol=0.01)
    assert not np.array_equal(rise(model, photos[0], masks=5), rise(model, photos[0], masks=5))


@pytest.mark.parametrize(("classes", "more"), [(1, 0), (None, 1)])
def test_cost_is_one_forward_pass_a_mask(classes, more):
    with count_passes() as passes:
        rise(zoo.functional(), zoo.photos(2), classes, masks=10, batch_size=4)
    assert (passes.forward, passes.backward) == (2 * (10 + more), 0)


def test_one_image_asked_for_several_classes_is_masked_once():
    model, photos = zoo.functional(), zoo.photos(2)
    with count_passes() as passes:
        rise(model, np.repeat(photos, 3, axis=0), [0, 1, 2] * 2, masks=10, seed=0)
    assert passes.forward == 2 * 10
    with count_passes() as passes:  # without a seed each time draws its own masks
        rise(model, np.repeat(photos, 3, axis=0), [0, 1, 2] * 2, masks=10)
    assert passes.forward == 6 * 10


class TestCentred:
    def test_weighs_masks_by_the_distance_from_their_mean_logit(self):
        gradient = np.random.default_rng(0).normal(size=(6, 9, 1, 2))
        model, image = zoo.linear_head(gradient, activation=None), np.random.default_rng(1).random((6, 9, 1))
        masks = twins_masks.rise_masks((6, 9), 40, (7, 7), 0.5, seed=2)
        logits = (masks * image[..., 0] * gradient[:, :, 0, 1]).sum(axis=(1, 2))
        expected = np.tensordot(logits - logits.mean(), masks, axes=1) / (40 * 0.5)
        for batch_size in (64, 7):
            result = rise(model, image, 1, masks=40, seed=2, centred=True, batch_size=batch_size)
            np.testing.assert_allclose(result[0], expected, atol=1e-5 * np.abs(expected).max())

    def test_a_constant_logit_gives_zero(self):
        model = zoo.linear_head(np.zeros((6, 9, 1, 2)), activation=None)
        bias = zoo.L.Dense(2, kernel_initializer="identity", bias_initializer=keras.initializers.Constant(3.0))
        model = keras.Model(model.input, bias(model.output))
        np.testing.assert_allclose(rise(model, np.ones((6, 9, 1)), 1, masks=40, seed=2, centred=True), 0, atol=1e-5)


def test_memory_does_not_grow_with_the_number_of_masks():
    model, image = mean_of_image(), np.ones((64, 64, 1))
    rise(model, image, 0, masks=8, batch_size=8)
    peaks = []
    for masks in (16, 1600):  # all masks at once would be 26 MB
        tracemalloc.start()
        rise(model, image, 0, masks=masks, batch_size=8, progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1e6


def test_progress_is_told_of_each_batch():
    told = []
    rise(mean_of_image(), np.ones((2, 5, 5, 1)), masks=5, batch_size=3, progress=lambda *numbers: told.append(numbers))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"masks": 0}, ValueError, "masks: .* not 0"),
        ({"masks": 2.0}, TypeError, "masks: .* not float"),
        ({"cells": (7, 0)}, ValueError, "cells: .* not 0"),
        ({"cells": (7, 7, 7)}, TypeError, "cells: an int or a pair"),
        ({"keep": 0}, ValueError, "keep: .* above 0 and at most 1 .* not 0"),
        ({"keep": 1.5}, ValueError, "keep: .* not 1.5"),
        ({"keep": float("nan")}, ValueError, "keep: .* not nan"),
        ({"keep": "half"}, TypeError, "keep: .* not str"),
        ({"seed": -1}, ValueError, "seed: .* not -1"),
        ({"batch_size": 0}, ValueError, "batch_size: .* not 0"),
        ({"classes": 1}, ValueError, "classes: 1 is out of range"),
    ],
)
def test_wrong_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        rise(mean_of_image(), np.ones((5, 5, 1)), **options)


def test_feature_vectors_are_refused():
    with pytest.raises(ValueError, match="images: RISE needs images"):
        rise(zoo.dense_net(([[1.0], [1.0]], [0.0])), np.ones(2))
