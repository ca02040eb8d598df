"""Ablation-CAM against pencil and paper, and against its slow twin."""

import keras
import numpy as np
import pytest
import twins_masks
import zoo

from labutils.explain import count_passes
from labutils.explain.cam import _Ablation, ablation_cam
from labutils.explain.surgery import open_model

# Two channels of 2 x 2 feature maps. Class 0: sum g A = 0.5 * 10 = 5 for channel 1, 1 * 1 + -3 * -1 = 4 for channel 2.
# Class 1: -10 and 0. Class 2: 10 and -5 * 1 + 5 * -1 = -10.
MAPS = np.stack([[[1, 2], [3, 4]], [[0, 1], [0, -1]]], axis=-1).astype(np.float32)
GRADIENT = np.stack(
    [
        np.stack([np.full((2, 2), 0.5), [[1, 1], [-1, -3]]], axis=-1),
        np.stack([np.full((2, 2), -1.0), np.zeros((2, 2))], axis=-1),
        np.stack([np.full((2, 2), 1.0), [[0, -5], [0, 5]]], axis=-1),
    ],
    axis=-1,
)


@pytest.mark.parametrize(
    ("chosen", "weights"),
    [
        (0, (5 / 9, 4 / 9)),
        (None, (5 / 9, 4 / 9)),  # the logits are 9, -10 and 0
        (1, (1.0, 0.0)),  # -10 / -10: a negative logit turns the signs, and the map shows what speaks against
        (2, (10.0, -10.0)),  # a logit of exactly 0: the differences themselves
    ],
)
def test_worked_out_by_hand(chosen, weights):
    expected = np.maximum(weights[0] * MAPS[..., 0] + weights[1] * MAPS[..., 1], 0)
    np.testing.assert_allclose(ablation_cam(zoo.linear_head(GRADIENT), MAPS, chosen), [expected], rtol=1e-6)


def test_channels_that_are_zero_cost_no_pass():
    with count_passes() as passes:
        ablation_cam(zoo.linear_head(GRADIENT), MAPS * [1, 0])
    assert (passes.forward, passes.backward) == (1 + 1, 0)


def test_image_without_any_activation_gives_a_zero_map():
    with count_passes() as passes:
        result = ablation_cam(zoo.linear_head(GRADIENT), np.zeros((2, 2, 2)))
    np.testing.assert_array_equal(result, np.zeros((1, 2, 2)))
    assert passes.forward == 1


def test_equals_its_slow_twin():
    model, photos, chosen = zoo.functional(3), zoo.photos() / np.float32(64), [2, 0, 3]
    bare = keras.layers.Dense(4)
    tensor = bare(model.layers[-2].output)
    bare.set_weights(model.layers[-1].get_weights())
    maps = np.asarray(keras.Model(model.input, model.get_layer("relu2").output)(photos))
    head = keras.Model(model.get_layer("relu2").output, tensor)
    low = ablation_cam(model, photos, chosen, layer="relu2", upsample=False)
    assert low.shape == (3, 5, 7)
    for index, c in enumerate(chosen):
        expected = twins_masks.ablation_cam(maps[index], lambda a, c=c: float(head(a[None])[0, c]))
        assert expected.max() > 0
        np.testing.assert_allclose(low[index], expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_skip_connections_around_the_layer_keep_their_values():
    # What "relu6" gives goes to "depthwise" and nowhere else, while "stem" skips both: without channel k of "relu6" is
    # the same as without channel k of the depthwise kernel.
    model, photos, channels = zoo.residual(), zoo.photos(2, (9, 12, 3)), 6
    inner = keras.Model(model.input, model.get_layer("relu6").output)
    kernel, bias = model.get_layer("depthwise").get_weights()
    model.layers[-1].activation = keras.activations.linear
    maps, whole = np.asarray(inner(photos)), np.asarray(model(photos))[:, 1]
    expected = np.zeros(maps.shape[:3])
    for k in range(channels):
        model.get_layer("depthwise").set_weights([kernel * (np.arange(channels) != k)[:, None], bias])
        weight = (whole - np.asarray(model(photos))[:, 1]) / whole
        expected += weight[:, None, None] * maps[..., k]
    model.get_layer("depthwise").set_weights([kernel, bias])
    result = ablation_cam(model, photos, 1, layer="relu6", upsample=False, batch_size=4)
    assert expected.max() > 0
    np.testing.assert_allclose(result, np.maximum(expected, 0), rtol=1e-3, atol=1e-5 * expected.max())


@pytest.mark.parametrize("build", zoo.SAME_MODEL)
def test_every_build_of_a_model_gives_the_same_maps(build):
    photos = zoo.photos()
    expected = ablation_cam(zoo.functional(), photos, [1, 2, 3], layer="relu2")
    result = ablation_cam(zoo.SAME_MODEL[build](), photos, [1, 2, 3], layer="relu2")
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_half_precision_follows_single_precision():
    photos = zoo.photos() / np.float32(255)
    expected = ablation_cam(zoo.functional(), photos, 2, layer="relu2")
    result = ablation_cam(zoo.functional(dtype="mixed_float16"), photos, 2, layer="relu2")
    np.testing.assert_allclose(result, expected, atol=0.03 * expected.max())


def test_batch_equals_loop_and_the_model_is_left_as_it_was():
    model, photos = zoo.residual(), zoo.photos(10)
    before = zoo.state(model)
    chosen = np.arange(10) % 4
    batch = ablation_cam(model, photos, chosen)
    assert zoo.state(model) == before
    assert batch.shape == (10, *zoo.SIZE[:2])
    assert batch.dtype == np.float32
    for index in range(10):
        alone = ablation_cam(model, photos[index], chosen[index])
        np.testing.assert_allclose(batch[index], alone[0], rtol=1e-3, atol=1e-5 * batch.max())


def test_batch_size_changes_nothing_and_traces_once(monkeypatch):
    model, photo, sizes = zoo.functional(), zoo.photos(1), []
    original = _Ablation.drops
    monkeypatch.setattr(_Ablation, "drops", lambda self, some: sizes.append(len(some)) or original(self, some))
    whole = ablation_cam(model, photo, 2, layer="norm", batch_size=100)
    np.testing.assert_allclose(
        ablation_cam(model, photo, 2, layer="norm", batch_size=4), whole, rtol=1e-4, atol=1e-5 * whole.max()
    )
    assert sizes == [5, 4, 1]
    heads = [run for key, run in open_model(model)._compiled.items() if key[0] == "ablation head"]
    assert [run.experimental_get_tracing_count() for run in heads] == [1]


def test_progress_is_told_of_each_batch():
    told = []
    model = zoo.linear_head(GRADIENT)
    ablation_cam(model, np.stack([MAPS, MAPS]), batch_size=1, progress=lambda *numbers: told.append(numbers))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"batch_size: .* not 0"):
        ablation_cam(zoo.linear_head(GRADIENT), MAPS, batch_size=0)
    with pytest.raises(ValueError, match=r"layer: 'flatten' has no spatial maps"):
        ablation_cam(zoo.functional(), zoo.photos(), layer="flatten")
