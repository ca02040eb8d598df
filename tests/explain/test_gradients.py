"""Saliency, gradient times input, guided backpropagation, SmoothGrad and integrated gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import twins
import zoo

from labutils import explain
from labutils.explain import count_passes

# S_c of a linear model on a 1 x 2 image with two colours, and the image. Gradient of class 0: (3, -4) and (-1, 0.5).
GRADIENT = np.array([[[[3.0, 1.0], [-4.0, 1.0]], [[-1.0, 1.0], [0.5, 1.0]]]])
IMAGE = np.array([[[2.0, 1.0], [-5.0, 4.0]]])


class TestWorkedOutByHand:
    def test_saliency_is_the_largest_magnitude_over_colours(self):
        np.testing.assert_allclose(explain.saliency(zoo.linear_head(GRADIENT), IMAGE, 0), [[[4.0, 1.0]]])

    def test_gradient_times_input_is_the_signed_sum_over_colours(self):
        # 3 * 2 - 4 * 1 = 2; -1 * -5 + 0.5 * 4 = 7.
        np.testing.assert_allclose(explain.gradient_times_input(zoo.linear_head(GRADIENT), IMAGE, 0), [[[2.0, 7.0]]])

    def test_integrated_gradients_of_a_linear_model_are_gradient_times_difference(self):
        # Baseline (1, 1): 3 * 1 - 4 * 0 = 3; -1 * -6 + 0.5 * 3 = 7.5.
        maps, gap = explain.integrated_gradients(
            zoo.linear_head(GRADIENT), IMAGE, 0, baseline=1.0, steps=1, return_gap=True
        )
        np.testing.assert_allclose(maps, [[[3.0, 7.5]]])
        np.testing.assert_allclose(gap, [0.0], atol=1e-6)

    def test_integrated_gradients_across_a_bend(self):
        # S = ReLU(x1 + x2 - 1) at (2, 1): the gradient along the line is 0 up to 1/3, then (1, 1): IG = 2/3 (2, 1).
        # 64 equal weights would put 43/64 and not 2/3 of the line behind the bend.
        model = zoo.dense_net(([[1.0], [1.0]], [-1.0]), ([[1.0]], [0.0]))
        maps, gap = explain.integrated_gradients(model, [2.0, 1.0], return_gap=True)
        np.testing.assert_allclose(maps, [[4 / 3, 2 / 3]], rtol=1e-6)
        np.testing.assert_allclose(gap, [0.0], atol=1e-6)

    def test_gap_says_what_too_few_steps_miss(self):
        # One point, at 1/2: the gradient there is (1, 1), so that the attributions are (2, 1) and sum to 3 and not 2.
        model = zoo.dense_net(([[1.0], [1.0]], [-1.0]), ([[1.0]], [0.0]))
        maps, gap = explain.integrated_gradients(model, [2.0, 1.0], steps=1, return_gap=True)
        np.testing.assert_allclose(maps, [[2.0, 1.0]], rtol=1e-6)
        np.testing.assert_allclose(gap, [1.0], rtol=1e-6)

    def test_smooth_grad_averages_the_signed_gradient(self):
        # S = |x| summed over a 1 x 2 image (0, 10): at 0 the gradient is the noise's sign, whose mean is near 0 and whose
        # mean magnitude is 1; at 10, five standard deviations away, it is 1. GlobalAveragePooling halves both.
        model = zoo.pixelwise([1, -1], [1, 1], lambda n: [zoo.L.Conv2D(n, 1, activation="relu", use_bias=False)])
        smooth = explain.smooth_grad(model, [[[0.0], [10.0]]], samples=100, seed=0)
        signs = np.sign(np.random.default_rng(0).standard_normal((100, 1, 2, 1), dtype=np.float32)[:, 0, 0, 0])
        np.testing.assert_allclose(smooth, [[[abs(signs.mean()) / 2, 0.5]]], rtol=1e-5)
        assert smooth[0, 0, 0] < 0.15

    def test_feature_vectors_keep_their_sign(self):
        # S = 3 x1 - 2 x2 + 0.5 x3 + 7: what a regression's coefficients are read off.
        model = zoo.dense_net(([[3.0], [-2.0], [0.5]], [7.0]))
        rows = np.array([[1.0, 2.0, 4.0], [0.0, -1.0, 2.0]])
        np.testing.assert_allclose(explain.saliency(model, rows), [[3.0, -2.0, 0.5]] * 2)
        np.testing.assert_allclose(explain.smooth_grad(model, rows, samples=3), [[3.0, -2.0, 0.5]] * 2, rtol=1e-6)
        np.testing.assert_allclose(explain.gradient_times_input(model, rows), rows * [3.0, -2.0, 0.5])
        np.testing.assert_allclose(explain.integrated_gradients(model, rows), rows * [3.0, -2.0, 0.5], rtol=1e-6)


# Filters (1, 2) with heads (1, -1): S = mean of ReLU(x) - ReLU(2 x). At x = 1 the gradient is (1 - 2) / 2 pixels, but
# guided the second filter's negative gradient is cut at its ReLU: 1 / 2. At x = -1 both are 0.
RELUS = {
    "activation": lambda n: [zoo.L.Conv2D(n, 1, activation="relu", use_bias=False)],
    "function": lambda n: [zoo.L.Conv2D(n, 1, activation=keras.activations.relu, use_bias=False)],
    "TensorFlow function": lambda n: [zoo.L.Conv2D(n, 1, activation=tf.nn.relu, use_bias=False)],
    "ReLU layer": lambda n: [zoo.L.Conv2D(n, 1, use_bias=False), zoo.L.ReLU()],
    "ReLU layer as activation": lambda n: [zoo.L.Conv2D(n, 1, activation=zoo.L.ReLU(), use_bias=False)],
    "Activation layer": lambda n: [zoo.L.Conv2D(n, 1, use_bias=False), zoo.L.Activation("relu")],
    "ReLU6": lambda n: [zoo.L.Conv2D(n, 1, use_bias=False), zoo.L.ReLU(max_value=6.0)],
    "relu6": lambda n: [zoo.L.Conv2D(n, 1, activation="relu6", use_bias=False)],
    "Lambda": lambda n: [zoo.L.Conv2D(n, 1, use_bias=False), zoo.L.Lambda(keras.ops.relu)],
}


class TestGuidedBackprop:
    @pytest.mark.parametrize("build", RELUS)
    def test_every_kind_of_relu_cuts_negative_gradients(self, build):
        model = zoo.pixelwise([1, 2], [1, -1], RELUS[build])
        image = [[[1.0], [-1.0]]]
        np.testing.assert_allclose(explain.saliency(model, image), [[[0.5, 0.0]]])
        np.testing.assert_allclose(explain.guided_backprop(model, image), [[[0.5, 0.0]]])
        both = zoo.pixelwise([1, 2], [-1, 1], RELUS[build])  # the other way round: 2 / 2 guided, 1 / 2 plain
        np.testing.assert_allclose(explain.saliency(both, image), [[[0.5, 0.0]]])
        np.testing.assert_allclose(explain.guided_backprop(both, image), [[[1.0, 0.0]]])

    def test_nothing_passes_above_the_maximum(self):
        # x = 4: filter 1 gives 4, filter 2 gives 8, clipped to 6.
        model = zoo.pixelwise([1, 2], [1, 1], RELUS["ReLU6"])
        np.testing.assert_allclose(explain.guided_backprop(model, [[[4.0]]]), [[[1.0]]])

    def test_leaky_relu_is_left_alone(self):
        model = zoo.pixelwise(
            [1, 2], [1, -1], lambda n: [zoo.L.Conv2D(n, 1, use_bias=False), zoo.L.ReLU(negative_slope=0.1)]
        )
        np.testing.assert_allclose(explain.guided_backprop(model, [[[1.0]]]), [[[1.0]]])
        np.testing.assert_allclose(explain.saliency(model, [[[1.0]]]), [[[1.0]]])

    def test_equals_a_network_built_with_guided_relus(self):
        @tf.custom_gradient
        def guided_relu(x):
            return tf.nn.relu(x), lambda upstream: tf.where((x > 0) & (upstream > 0), upstream, 0.0)

        twin, photos = zoo.functional(relu=guided_relu, final=None), zoo.photos().astype(np.float32)
        with tf.GradientTape() as tape:
            tape.watch(tensor := tf.constant(photos))
            score = tf.reduce_sum(twin(tensor, training=False)[:, 2])
        expected = np.abs(tape.gradient(score, tensor)).max(axis=-1)
        result = explain.guided_backprop(zoo.functional(), photos, 2)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6 * expected.max())
        assert not np.allclose(result, explain.saliency(zoo.functional(), photos, 2), rtol=0.1)

    def test_hidden_relus_are_refused(self):
        model = keras.Sequential([keras.Input((2, 3)), zoo.L.TimeDistributed(zoo.L.Dense(2, activation="relu"))])
        image = keras.Input((2, 3, 1))
        out = zoo.L.Dense(1)(zoo.L.Flatten()(model(zoo.L.Reshape((2, 3))(image))))
        with pytest.raises(ValueError, match=r"'time_distributed.*ReLUs hidden inside"):
            explain.guided_backprop(keras.Model(image, out), np.ones((2, 3, 1)))


@pytest.fixture(scope="module")
def double():
    """A float64 network; (images, class) -> S_c of each; (image, class) -> gradient by finite differences."""
    image = keras.Input((5, 4, 2), dtype="float64")
    tensor = zoo.L.Conv2D(3, 3, padding="same", activation="relu", dtype="float64")(image)
    tensor = zoo.L.Dense(6, activation="relu", dtype="float64")(zoo.L.Flatten(dtype="float64")(tensor))
    last = zoo.L.Dense(3, activation="softmax", dtype="float64")
    model = zoo.shake(keras.Model(image, last(tensor)), seed=5)
    bare = zoo.L.Dense(3, dtype="float64")
    linear = keras.Model(image, bare(tensor))
    bare.set_weights(last.get_weights())

    def score(points, c):
        return np.asarray(linear(points))[:, c]

    return model, score, lambda x, c: twins.gradient(lambda points: score(points, c), x)


PHOTOS = zoo.photos(2, (5, 4, 2)).astype(np.float32) / 128 - 1
CHOSEN = [2, 0]


class TestSlowTwins:
    def test_saliency_and_gradient_times_input(self, double):
        model, _, gradient = double
        slow = np.stack([gradient(x.astype(float), c) for x, c in zip(PHOTOS, CHOSEN, strict=True)])
        np.testing.assert_allclose(explain.saliency(model, PHOTOS, CHOSEN), np.abs(slow).max(-1), rtol=1e-4)
        expected = (slow * PHOTOS).sum(-1)
        np.testing.assert_allclose(explain.gradient_times_input(model, PHOTOS, CHOSEN), expected, rtol=1e-4, atol=1e-7)

    def test_smooth_grad(self, double):
        model, _, gradient = double
        result = explain.smooth_grad(model, PHOTOS, CHOSEN, samples=7, noise=0.15, seed=11, batch_size=3)
        for index, (x, c) in enumerate(zip(PHOTOS, CHOSEN, strict=True)):
            expected = twins.smooth_grad(x.astype(float), lambda p, c=c: gradient(p, c), 7, 0.15, 11)
            np.testing.assert_allclose(result[index], expected, rtol=1e-3, atol=1e-6)

    def test_integrated_gradients(self, double):
        model, score, gradient = double
        maps, gap = explain.integrated_gradients(model, PHOTOS, CHOSEN, baseline=-1.0, return_gap=True)
        for index, (x, c) in enumerate(zip(PHOTOS.astype(float), CHOSEN, strict=True)):
            baseline = np.full_like(x, -1.0)
            expected = twins.integrated_gradients(x, baseline, lambda p, c=c: gradient(p, c), 150)
            assert np.abs(maps[index] - expected).max() < 0.02 * np.abs(expected).max()
            ends = score(np.stack([baseline, x]), c)
            assert gap[index] == pytest.approx(maps[index].sum() - (ends[1] - ends[0]), abs=1e-5)


class TestIntegratedGradients:
    @pytest.mark.parametrize("build", [zoo.functional, zoo.residual, zoo.vgg_like, zoo.sigmoid_binary])
    def test_completeness_to_one_per_cent_with_default_steps(self, build):
        model = build()
        photos = zoo.photos(
            3, tuple(side or wanted for side, wanted in zip(model.input_shape[1:], zoo.SIZE, strict=True))
        )
        opened = explain.surgery.open_model(model)
        for chosen in range(min(opened.classes, 3)):
            maps, gap = explain.integrated_gradients(model, photos, chosen, return_gap=True)
            increase = (opened.logits(photos.astype(np.float32)) - opened.logits(np.zeros(photos.shape, np.float32)))[
                :, chosen
            ]
            assert (np.abs(gap) <= 0.01 * np.abs(increase)).all()
            np.testing.assert_allclose(maps.sum(axis=(1, 2)) - increase, gap, atol=1e-4 * np.abs(maps).sum())

    def test_baselines_of_every_shape_mean_the_same(self):
        model, photos = zoo.functional(), zoo.photos(2)
        colour = np.array([10.0, 20.0, 30.0])
        image = np.broadcast_to(colour, zoo.SIZE)
        expected = explain.integrated_gradients(model, photos, 1, baseline=np.stack([image, image]))
        for baseline in (colour, image, list(colour)):
            np.testing.assert_array_equal(explain.integrated_gradients(model, photos, 1, baseline=baseline), expected)
        assert not np.allclose(explain.integrated_gradients(model, photos, 1), expected)

    def test_baseline_equal_to_the_image_gives_zero(self):
        maps, gap = explain.integrated_gradients(zoo.functional(), zoo.photos(), baseline=zoo.photos(), return_gap=True)
        assert not maps.any()
        assert not gap.any()

    def test_cost(self):
        with count_passes() as passes:
            explain.integrated_gradients(zoo.functional(), zoo.photos(), steps=10)
        assert (passes.forward, passes.backward) == (3 * (10 + 2), 3 * 10)


class TestSmoothGrad:
    def test_without_noise_it_is_saliency(self):
        model, photos = zoo.functional(), zoo.photos()
        expected = explain.saliency(model, photos)
        np.testing.assert_allclose(explain.smooth_grad(model, photos, samples=2, noise=0.0), expected, rtol=1e-5)

    def test_seed_repeats_and_no_seed_does_not(self):
        model, photos = zoo.functional(), zoo.photos(1)
        runs = [explain.smooth_grad(model, photos, samples=4, seed=seed) for seed in (1, 1, 2, None, None)]
        np.testing.assert_array_equal(runs[0], runs[1])
        assert len({run.tobytes() for run in runs}) == 4

    def test_the_class_is_the_clean_images(self):
        model, photos = zoo.functional(), zoo.photos()
        top = explain.surgery.open_model(model).logits(photos.astype(np.float32)).argmax(-1)
        expected = explain.smooth_grad(model, photos, top, samples=5, noise=2.0, seed=0)
        np.testing.assert_array_equal(explain.smooth_grad(model, photos, samples=5, noise=2.0, seed=0), expected)

    def test_cost(self):
        with count_passes() as passes:
            explain.smooth_grad(zoo.functional(), zoo.photos(), 1, samples=10)
        assert (passes.forward, passes.backward) == (30, 30)


def test_gradient_times_input_sums_to_the_logit_without_biases():
    model = zoo.vgg_like()
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(np.zeros(layer.bias.shape))
    photos = zoo.photos(2, (16, 24, 3)).astype(np.float32)
    logits = explain.surgery.open_model(model).logits(photos)
    maps = explain.gradient_times_input(model, photos, 3)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), logits[:, 3], rtol=1e-3)
