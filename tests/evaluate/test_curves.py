"""Deletion and insertion against pencil and paper, against the slow twin, and against maps known to be good or bad."""

import keras
import numpy as np
import pytest
import twins_evaluate
import zoo

from labutils.evaluate import blurred, deletion_curve, insertion_curve
from labutils.explain import count_passes


def weighing(weights):
    """p = sigmoid(sum of weights * x): a network that looks at known pixels of a (h, w, 1) image only."""
    model = keras.Sequential([keras.Input((*np.shape(weights), 1)), zoo.L.Flatten()])
    model.add(zoo.L.Dense(1, activation="sigmoid", use_bias=False))
    model.set_weights([np.reshape(weights, (-1, 1)).astype(np.float32)])
    return model


# p = 3/4 with the first pixel and 1/2 without; the other three do not matter.
FIRST_PIXEL = weighing([[np.log(3), 0], [0, 0]])
IMAGE = np.ones((2, 2, 1))
PERFECT, WORST = [[9, 0], [0, 0]], [[-9, 0], [0, 0]]


class TestWorkedOutByHand:
    def test_deletion_of_a_perfect_map(self):
        curve = deletion_curve(FIRST_PIXEL, IMAGE, PERFECT, steps=4)
        np.testing.assert_array_equal(curve.fractions, [0, 0.25, 0.5, 0.75, 1])
        np.testing.assert_allclose(curve.scores, [[0.75, 0.5, 0.5, 0.5, 0.5]], rtol=1e-6)
        np.testing.assert_allclose(curve.area, [0.25 * 0.625 + 0.75 * 0.5], rtol=1e-6)

    def test_deletion_of_the_worst_map(self):
        curve = deletion_curve(FIRST_PIXEL, IMAGE, WORST, steps=4)
        np.testing.assert_allclose(curve.scores, [[0.75, 0.75, 0.75, 0.75, 0.5]], rtol=1e-6)
        np.testing.assert_allclose(curve.area, [0.75 * 0.75 + 0.25 * 0.625], rtol=1e-6)

    def test_insertion_of_a_perfect_and_of_the_worst_map(self):
        curve = insertion_curve(FIRST_PIXEL, [IMAGE] * 2, [PERFECT, WORST], steps=4, baseline=0)
        expected = [[0.5, 0.75, 0.75, 0.75, 0.75], [0.5, 0.5, 0.5, 0.5, 0.75]]
        np.testing.assert_allclose(curve.scores, expected, rtol=1e-6)
        np.testing.assert_allclose(curve.area, [0.71875, 0.53125], rtol=1e-6)

    def test_pixels_with_equal_values_go_row_by_row(self):
        # p = sigmoid(ln 3 * x[0, 1]): the second pixel in row-major order.
        model = weighing([[0, np.log(3)], [0, 0]])
        curve = deletion_curve(model, IMAGE, np.zeros((2, 2)), steps=4)
        np.testing.assert_allclose(curve.scores, [[0.75, 0.75, 0.5, 0.5, 0.5]], rtol=1e-6)

    def test_half_a_pixel_is_rounded_up(self):
        # 9 pixels in 2 steps: 4.5 -> 5 gone after the first.
        curve = deletion_curve(weighing(np.eye(3)), np.ones((3, 3, 1)), np.zeros((3, 3)), steps=2)
        np.testing.assert_array_equal(curve.fractions, [0, 5 / 9, 1])

    def test_more_steps_than_pixels_repeat_points_and_keep_the_area(self):
        for function in (deletion_curve, insertion_curve):
            exact = function(FIRST_PIXEL, IMAGE, PERFECT, steps=4, baseline=0.0)
            fine = function(FIRST_PIXEL, IMAGE, PERFECT, steps=7, baseline=0.0)
            np.testing.assert_array_equal(fine.fractions * 4, [0, 1, 1, 2, 2, 3, 3, 4])
            np.testing.assert_allclose(fine.area, exact.area, rtol=1e-6)

    def test_one_step_has_the_two_ends(self):
        curve = deletion_curve(FIRST_PIXEL, IMAGE, WORST, steps=1)
        np.testing.assert_allclose(curve.scores, [[0.75, 0.5]], rtol=1e-6)

    def test_softmax_of_a_model_that_ends_in_logits(self):
        # Logits x * (0, ln 3): class 1 has 3/4 with the pixel and 1/2 without, class 0 1/4 and 1/2.
        model = keras.Sequential([keras.Input((1, 1, 1)), zoo.L.Flatten(), zoo.L.Dense(2, use_bias=False)])
        model.set_weights([np.array([[0, np.log(3)]], np.float32)])
        for classes, expected in ((None, [0.75, 0.5]), (1, [0.75, 0.5]), (0, [0.25, 0.5])):
            curve = deletion_curve(model, [[[1.0]]], [[1.0]], classes, steps=1)
            np.testing.assert_allclose(curve.scores, [expected], rtol=1e-6)

    def test_class_none_is_the_untouched_image_s_all_along(self):
        # Logits (x, -x), x = 1, baseline -1: the top class flips, the curve stays with class 0.
        model = keras.Sequential([keras.Input((1, 1, 1)), zoo.L.Flatten(), zoo.L.Dense(2, use_bias=False)])
        model.set_weights([np.array([[1.0, -1.0]], np.float32)])
        high, low = 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))
        curve = deletion_curve(model, [[[1.0]]], [[1.0]], steps=1, baseline=-1.0)
        np.testing.assert_allclose(curve.scores, [[high, low]], rtol=1e-5)
        curve = insertion_curve(model, [[[1.0]]], [[1.0]], steps=1, baseline=-1.0)
        np.testing.assert_allclose(curve.scores, [[low, high]], rtol=1e-5)


class TestSanity:
    WEIGHTS = np.random.default_rng(0).normal(size=(5, 4))

    def test_a_constant_model_gives_a_flat_curve(self):
        maps = np.random.default_rng(1).random((2, 5, 4))
        for function in (deletion_curve, insertion_curve):
            curve = function(weighing(np.zeros((5, 4))), np.random.default_rng(2).random((2, 5, 4, 1)), maps, steps=7)
            np.testing.assert_array_equal(curve.scores, np.full((2, 8), 0.5))
            np.testing.assert_allclose(curve.area, [0.5, 0.5], rtol=1e-12)

    def test_every_map_lies_between_the_perfect_and_the_worst(self):
        # Of an additive model the order of the contributions is the best there is, at every single step.
        model, image = weighing(self.WEIGHTS), np.ones((5, 4, 1))
        others = np.random.default_rng(3).random((20, 5, 4))
        maps = np.concatenate([[self.WEIGHTS, -self.WEIGHTS], others])
        images = np.repeat(image[np.newaxis], len(maps), axis=0)
        deletion = deletion_curve(model, images, maps, steps=10)
        insertion = insertion_curve(model, images, maps, steps=10, baseline=0.0)
        assert (deletion.area[2:] > deletion.area[0]).all()
        assert (deletion.area[2:] < deletion.area[1]).all()
        assert (insertion.area[2:] < insertion.area[0]).all()
        assert (insertion.area[2:] > insertion.area[1]).all()
        assert (deletion.scores >= deletion.scores[0] - 1e-6).all()

    def test_deletion_backwards_is_insertion_of_the_reversed_map(self):
        # Taking the least important k away leaves the most important ones.
        model, images = weighing(self.WEIGHTS), np.random.default_rng(4).random((3, 5, 4, 1))
        maps = np.random.default_rng(5).random((3, 5, 4))
        for baseline in (0.3, "blur"):
            insertion = insertion_curve(model, images, maps, steps=5, baseline=baseline)
            deletion = deletion_curve(model, images, -maps, steps=5, baseline=baseline)
            np.testing.assert_allclose(insertion.scores, deletion.scores[:, ::-1], rtol=1e-6)
            np.testing.assert_allclose(insertion.area, deletion.area, rtol=1e-6)

    def test_only_the_order_of_the_values_matters(self):
        model, image = weighing(self.WEIGHTS), np.ones((5, 4, 1))
        maps = np.arange(20).reshape(5, 4).astype(np.uint8)
        expected = deletion_curve(model, image, maps, steps=20).scores
        for other in (np.exp(maps.astype(float)), maps * 1e-30, -1e30 + maps * 1e20):
            np.testing.assert_array_equal(deletion_curve(model, image, other, steps=20).scores, expected)


PHOTOS = zoo.photos(3) / np.float32(128)  # larger values saturate the small network: probabilities of 0 and 1
CHOSEN = [2, 0, 3]
BASELINES = {
    "number": 0.8,
    "colour": [0.8, 0.4, 0.0],
    "image": PHOTOS[0][::-1].copy(),
    "images": PHOTOS[:, ::-1].copy(),
    "blur": "blur",
}


@pytest.fixture(scope="module")
def model():
    return zoo.functional()


class TestSlowTwin:
    @pytest.mark.parametrize("baseline", BASELINES)
    @pytest.mark.parametrize("steps", [4, 7])  # of 154 pixels: 38.5, and 22
    def test_both_curves(self, model, baseline, steps):
        rng = np.random.default_rng(6)
        maps = rng.integers(-3, 4, PHOTOS.shape[:3])  # many equal values
        if baseline == "blur":
            bases = np.stack([twins_evaluate.blur(photo) for photo in PHOTOS])
        else:
            bases = np.broadcast_to(np.asarray(BASELINES[baseline], np.float32), PHOTOS.shape)
        for function in (deletion_curve, insertion_curve):
            curve = function(model, PHOTOS, maps, CHOSEN, steps=steps, baseline=BASELINES[baseline], batch_size=4)
            for index, (photo, base, heat, c) in enumerate(zip(PHOTOS, bases, maps, CHOSEN, strict=True)):
                ends = (photo, base) if function is deletion_curve else (base, photo)
                fractions, scores, area = twins_evaluate.curve(
                    lambda x, c=c: float(model(x[None])[0, c]), photo, *ends, heat, steps
                )
                np.testing.assert_allclose(curve.fractions, fractions)
                np.testing.assert_allclose(curve.scores[index], scores, rtol=1e-4)
                np.testing.assert_allclose(curve.area[index], area, rtol=1e-4)
                assert np.ptp(scores) > 0.05 * max(scores)

    def test_blur(self):
        images = zoo.photos(2, (9, 13, 3))  # smaller than the window on one side
        result = blurred(images)
        assert result.dtype == np.float32
        for image, one in zip(images, result, strict=True):
            np.testing.assert_allclose(one, twins_evaluate.blur(image), rtol=1e-5)
            np.testing.assert_array_equal(blurred(image), one)
        np.testing.assert_allclose(blurred(images, 3)[1], twins_evaluate.blur(images[1], 3), rtol=1e-5)
        np.testing.assert_allclose(blurred(np.full((4, 5, 1), 7.0)), np.full((4, 5, 1), 7.0), rtol=1e-6)
        np.testing.assert_array_equal(blurred(images, 0), images)


class TestProperties:
    def test_a_batch_gives_what_a_loop_gives(self, model):
        maps = np.random.default_rng(7).random(PHOTOS.shape[:3])
        for function in (deletion_curve, insertion_curve):
            batch = function(model, PHOTOS, maps, steps=5, batch_size=7)
            assert batch.scores.shape == (3, 6)
            assert batch.scores.dtype == np.float32
            assert batch.area.shape == (3,)
            for index in range(3):
                alone = function(model, PHOTOS[index], maps[index], steps=5, batch_size=1)
                np.testing.assert_allclose(alone.scores[0], batch.scores[index], rtol=1e-4)
                np.testing.assert_allclose(alone.area[0], batch.area[index], rtol=1e-4)

    def test_cost_and_progress(self, model):
        calls = []
        with count_passes() as passes:
            deletion_curve(
                model,
                PHOTOS,
                PHOTOS[..., 0],
                steps=5,
                batch_size=4,
                progress=lambda done, total: calls.append((done, total)),
            )
        assert (passes.forward, passes.backward) == (3 * 6, 0)
        assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def test_the_model_and_the_arrays_stay_as_they_were(self):
        model, photos, maps = zoo.functional(), PHOTOS.copy(), PHOTOS[..., 0].copy()
        before = zoo.state(model)
        deletion_curve(model, photos, maps, steps=2)
        insertion_curve(model, photos, maps, steps=2)
        assert zoo.state(model) == before
        np.testing.assert_array_equal(photos, PHOTOS)
        np.testing.assert_array_equal(maps, PHOTOS[..., 0])

    @pytest.mark.parametrize("build", [zoo.nested, zoo.residual, zoo.sigmoid_binary, zoo.separate_softmax])
    def test_ends_are_what_the_model_predicts(self, build):
        model = build()
        curve = deletion_curve(model, PHOTOS, PHOTOS[..., 0], 0, steps=2, baseline=9.0)
        ends = [model(PHOTOS), model(np.full_like(PHOTOS, 9.0))]
        np.testing.assert_allclose(curve.scores[:, [0, 2]].T, np.asarray(ends)[..., 0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"maps": np.zeros((3, 14, 11))}, ValueError, r"maps: shape \(3, 14, 11\) does not fit .* \(3, 11, 14\)"),
        ({"maps": np.zeros((2, 11, 14))}, ValueError, "maps: shape"),
        ({"maps": np.full((3, 11, 14), np.nan)}, ValueError, r"maps: NaN or infinite values in number \[0, 1, 2\]"),
        ({"maps": np.zeros((3, 11, 14, 1))}, ValueError, r"maps: \(n, H, W\) or one map"),
        ({"maps": "heat"}, TypeError, "maps: an array of numbers"),
        ({"baseline": "black"}, ValueError, "baseline: .*'blur' is needed, not 'black'"),
        ({"baseline": [1.0, 2.0]}, ValueError, "baseline: shape"),
        ({"steps": 0}, ValueError, "steps"),
        ({"steps": 2.5}, TypeError, "steps"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"classes": 4}, ValueError, "classes: 4 is out of range"),
        ({"images": PHOTOS[:, :5]}, ValueError, "images: shape"),
    ],
)
def test_errors(model, options, error, message):
    arguments = {"model": model, "images": PHOTOS, "maps": np.zeros((3, 11, 14)), **options}
    for function in (deletion_curve, insertion_curve):
        with pytest.raises(error, match=message):
            function(**arguments)


def test_feature_vectors_are_refused():
    model = zoo.dense_net(([[1.0], [2.0]], [0.0]))
    with pytest.raises(ValueError, match="images: deletion needs images"):
        deletion_curve(model, [[1.0, 2.0]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"images: \(n, H, W, C\)"):
        blurred(np.zeros((3, 3)))
