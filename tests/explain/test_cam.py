"""Grad-CAM, Grad-CAM++, Layer-CAM and Score-CAM against pencil and paper, and against the slow twins."""

import keras
import numpy as np
import pytest
import twins
import zoo

from labutils import explain
from labutils.explain import count_passes

CAMS = {
    "grad_cam": explain.grad_cam,
    "grad_cam_plus_plus": explain.grad_cam_plus_plus,
    "layer_cam": explain.layer_cam,
}

# Two channels of 2 x 2 feature maps, and their gradients for two classes.
MAPS = np.stack([[[1, 2], [3, 4]], [[0, 1], [0, -1]]], axis=-1).astype(np.float32)
GRADIENT = np.stack(
    [
        np.stack([np.full((2, 2), 0.5), [[1, 1], [-1, -3]]], axis=-1),  # class 0
        np.stack([np.full((2, 2), -1.0), np.zeros((2, 2))], axis=-1),  # class 1
    ],
    axis=-1,
)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # w = (mean 0.5, mean (1 + 1 - 1 - 3) / 4) = (1/2, -1/2): A1 / 2 - A2 / 2.
        ("grad_cam", [[0.5, 0.5], [1.5, 2.5]]),
        # Channel 1: sum A = 10, alpha = 1 / (2 + 0.5 * 10) = 1/7, w1 = 4 * 1/7 * 0.5 = 2/7. Channel 2: sum A = 0,
        # alpha = 1/2, w2 = 1/2 * (1 + 1) = 1. 2/7 A1 + A2.
        ("grad_cam_plus_plus", [[2 / 7, 11 / 7], [6 / 7, 1 / 7]]),
        # 0.5 A1 + ReLU(g2) A2, with ReLU(g2) = [[1, 1], [0, 0]].
        ("layer_cam", [[0.5, 2.0], [1.5, 2.0]]),
    ],
)
def test_cam_worked_out_by_hand(method, expected):
    model = zoo.linear_head(GRADIENT)
    np.testing.assert_allclose(CAMS[method](model, MAPS, 0), [expected], rtol=1e-6)


@pytest.mark.parametrize("method", CAMS)
def test_map_with_only_negative_evidence_is_zero(method):
    # Class 1 has g = -1 on the positive channel 1 and 0 on channel 2: everything is cut by the ReLU.
    np.testing.assert_array_equal(CAMS[method](zoo.linear_head(GRADIENT), MAPS, 1), np.zeros((1, 2, 2)))


def test_relu_comes_before_the_resize():
    # Layer maps after 2 x 2 average pooling of a 2 x 8 image: (4, -8, 0, 4) with w = 1. ReLU: (4, 0, 0, 4).
    # Half-pixel centres put output pixel 1 at 0.25 of the way from pixel 0 to 1 and pixel 2 at 0.75.
    image = keras.Input((2, 8, 1))
    pooled = keras.layers.AveragePooling2D(2, name="pooled")(image)
    model = keras.Model(image, keras.layers.Dense(1, use_bias=False)(keras.layers.Flatten()(pooled)))
    model.layers[-1].set_weights([np.ones((4, 1), np.float32)])
    photo = np.repeat([4.0, -8.0, 0.0, 4.0], 2)[None, :, None].repeat(2, axis=0)

    np.testing.assert_allclose(explain.grad_cam(model, photo, upsample=False), [[[4, 0, 0, 4]]])
    np.testing.assert_allclose(explain.grad_cam(model, photo), [[[4, 3, 1, 0, 0, 1, 3, 4]] * 2])


class TestGradCamPlusPlusNumbers:
    def test_zero_denominator_gives_zero_weight(self):
        # g = 1 and sum A = -2 make 2 g^2 + g^3 sum A = 0: alpha is 0, and so is the map.
        maps = np.array([[[-3.0], [1.0]]])
        assert not explain.grad_cam_plus_plus(zoo.linear_head(np.ones((1, 2, 1, 1))), maps).any()

    @pytest.mark.parametrize("tiny", [1e-12, 1e-30])
    def test_tiny_gradients_are_not_biased(self, tiny):
        # g sum A is nothing beside 2: alpha = 1/2, w = 2 * 1/2 * tiny. Squares of 1e-30 would underflow in float32.
        maps = np.array([[[1.0], [2.0]]])
        result = explain.grad_cam_plus_plus(zoo.linear_head(np.full((1, 2, 1, 1), tiny)), maps)
        np.testing.assert_allclose(result, tiny * maps[None, ..., 0], rtol=1e-6)

    def test_logits_of_several_hundred_stay_finite(self):
        # S = 300 * (1 + 2) = 900, whose exponential overflows. alpha = 1 / (2 + 300 * 3), w = 2 alpha * 300.
        maps = np.array([[[1.0], [2.0]]])
        result = explain.grad_cam_plus_plus(zoo.linear_head(np.full((1, 2, 1, 1), 300.0)), maps)
        np.testing.assert_allclose(result, 600 / 902 * maps[None, ..., 0], rtol=1e-6)


class TestScoreCam:
    # Three 2 x 2 maps: H1 = A1 / 4, H2 = A2, and a constant one. S_0 reads channel 1 of the masked image:
    # sum A1 H1 = 1 * 1/4 + 2 * 1/2 + 4 * 1 = 5.25, sum A1 H2 = 0. S_1 is S_0 / 5.
    MAPS = np.stack([[[0, 1], [2, 4]], [[1, 0], [0, 0]], [[7, 7], [7, 7]]], axis=-1).astype(np.float32)

    def model(self):
        gradient = np.zeros((2, 2, 3, 2))
        gradient[:, :, 0] = 1.0, 0.2
        return zoo.linear_head(gradient)

    @pytest.mark.parametrize(("chosen", "scale"), [(0, 1.0), (1, 0.2), (None, 1.0)])
    def test_worked_out_by_hand(self, chosen, scale):
        weight = 1 / (1 + np.exp(-5.25 * scale))
        expected = weight * self.MAPS[..., 0] + (1 - weight) * self.MAPS[..., 1]
        np.testing.assert_allclose(explain.score_cam(self.model(), self.MAPS, chosen), [expected], rtol=1e-5)

    def test_constant_channels_cost_no_pass(self):
        with count_passes() as passes:
            explain.score_cam(self.model(), self.MAPS)
        assert (passes.forward, passes.backward) == (1 + 2, 0)

    def test_all_channels_constant_give_a_zero_map(self):
        result = explain.score_cam(self.model(), np.ones((2, 2, 3)))
        np.testing.assert_array_equal(result, np.zeros((1, 2, 2)))

    def test_max_channels_takes_those_that_vary_most(self):
        # The standard deviation of A1 is larger than that of A2, so that A1 is alone and has the weight 1.
        result = explain.score_cam(self.model(), self.MAPS, max_channels=1)
        np.testing.assert_allclose(result, [self.MAPS[..., 0]], rtol=1e-6)

    def test_batch_size_changes_nothing(self):
        model, photos = zoo.residual(), zoo.photos()
        whole = explain.score_cam(model, photos, [0, 1, 2], batch_size=100)
        np.testing.assert_allclose(explain.score_cam(model, photos, [0, 1, 2], batch_size=3), whole, rtol=1e-4)

    def test_no_pass_is_larger_than_the_batch_size(self, monkeypatch):
        sizes = []
        original = explain.surgery.OpenModel.logits
        monkeypatch.setattr(
            explain.surgery.OpenModel,
            "logits",
            lambda self, images: sizes.append(len(images)) or original(self, images),
        )
        explain.score_cam(zoo.residual(), zoo.photos(), batch_size=5)
        assert max(sizes) == 5
        assert sizes[:-1] == [5] * (len(sizes) - 1)

    def test_progress_is_told_of_each_batch(self):
        told = []
        explain.score_cam(
            self.model(), self.MAPS, batch_size=1, progress=lambda done, total: told.append((done, total))
        )
        assert told == [(1, 2), (2, 2)]


# Against the slow twins, in float64 all the way --------------------------------------------------------------------


@pytest.fixture(scope="module")
def double_model():
    """A small random network in float64 with its linear twin: (softmax model, maps of an image, maps -> logits)."""
    image = keras.Input(zoo.SIZE, dtype="float64")
    layers = zoo.cnn_layers(dtype="float64")
    logits = zoo.chain(image, layers)
    model = zoo.shake(keras.Model(image, logits), seed=3)
    # The twin has a last layer of its own, without softmax.
    last = keras.layers.Dense(4, dtype="float64")
    bare = last(layers[-2].output)
    last.set_weights(layers[-1].get_weights())
    return model, keras.Model(image, [layers[4].output, bare]), keras.Model(layers[4].output, bare)


@pytest.fixture(scope="module")
def slow_maps(double_model):
    """Feature maps and gradients, the slow way: (maps, gradients) lists for three images and three classes."""
    _, whole, head = double_model
    chosen, maps, gradients = [2, 0, 3], [], []
    for photo, c in zip(zoo.photos().astype(np.float64) / 64, chosen, strict=True):
        maps.append(np.asarray(whole(photo[None])[0][0]))
        gradients.append(twins.gradient(lambda a, c=c: np.asarray(head(a))[:, c], maps[-1]))
    return chosen, maps, gradients


@pytest.mark.parametrize("method", CAMS)
def test_cam_equals_its_slow_twin(method, double_model, slow_maps):
    model, (chosen, maps, gradients) = double_model[0], slow_maps
    photos = zoo.photos() / 64
    low = CAMS[method](model, photos, chosen, layer="relu2", upsample=False)
    high = CAMS[method](model, photos, chosen, layer="relu2")
    assert low.shape == (3, 5, 7)
    for index in range(3):
        expected = getattr(twins, method)(maps[index], gradients[index])
        assert expected.max() > 0
        np.testing.assert_allclose(low[index], expected, rtol=1e-4, atol=1e-6 * expected.max())
        np.testing.assert_allclose(high[index], twins.resize(expected, *zoo.SIZE[:2]), rtol=1e-4, atol=1e-6)


def test_score_cam_equals_its_slow_twin(double_model):
    model, whole, _ = double_model
    photos, chosen = zoo.photos().astype(np.float64) / 64, [2, 0, 3]
    result = explain.score_cam(model, photos, chosen, layer="relu2", upsample=False)
    for index, (photo, c) in enumerate(zip(photos, chosen, strict=True)):
        maps = np.asarray(whole(photo[None])[0][0])
        expected = twins.score_cam(maps, photo, lambda x, c=c: float(whole(x[None])[1][0, c]))
        np.testing.assert_allclose(result[index], expected, rtol=1e-4, atol=1e-6 * expected.max())


# Properties ---------------------------------------------------------------------------------------------------------


def test_family_equals_each_alone_and_costs_as_much_as_one():
    model, photos = zoo.functional(), zoo.photos()
    with count_passes() as passes:
        family = explain.cam_family(model, photos, 2)
    assert (passes.forward, passes.backward) == (3, 3)
    assert list(family) == list(CAMS)
    for name, method in CAMS.items():
        np.testing.assert_array_equal(family[name], method(model, photos, 2))


@pytest.mark.parametrize("build", zoo.SAME_MODEL)
def test_every_build_of_a_model_gives_the_same_maps(build):
    reference, other, photos = zoo.functional(), zoo.SAME_MODEL[build](), zoo.photos()
    for method in (explain.grad_cam, explain.grad_cam_plus_plus, explain.score_cam):
        expected = method(reference, photos, [1, 2, 3], layer="relu2")
        np.testing.assert_allclose(
            method(other, photos, [1, 2, 3], layer="relu2"), expected, rtol=1e-4, atol=1e-6 * expected.max()
        )


def test_one_pixel_map_is_spread_over_the_image():
    # A 3 x 4 image seen by one 3 x 4 filter of ones: A = 12, g = 2, Grad-CAM = 24 everywhere.
    model = keras.Sequential([keras.Input((3, 4, 1)), keras.layers.Conv2D(1, (3, 4), use_bias=False)])
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(1, use_bias=False))
    model.set_weights([np.ones((3, 4, 1, 1)), np.full((1, 1), 2.0)])
    np.testing.assert_allclose(explain.grad_cam(model, np.ones((3, 4, 1))), np.full((1, 3, 4), 24.0))
    np.testing.assert_array_equal(explain.score_cam(model, np.ones((3, 4, 1))), np.zeros((1, 3, 4)))


def test_constant_images_give_finite_maps():
    model = zoo.functional()
    for value in (0, 255):
        maps = explain.cam_family(model, np.full(zoo.SIZE, value, np.uint8)) | {
            "score_cam": explain.score_cam(model, np.full(zoo.SIZE, value, np.uint8))
        }
        for result in maps.values():
            assert np.isfinite(result).all()


def test_the_class_matters():
    model, photo = zoo.functional(), zoo.photos(1)
    for method in (*CAMS.values(), explain.score_cam):
        maps = method(model, np.repeat(photo, 4, axis=0), [0, 1, 2, 3])
        assert len({m.tobytes() for m in maps}) == 4
