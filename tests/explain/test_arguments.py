"""What may be handed in as images, classes and options, and what the errors say."""

import numpy as np
import pytest
import tensorflow as tf
import zoo

from labutils import explain
from labutils.explain.progress import track


@pytest.fixture(scope="module")
def model():
    return zoo.functional()


PHOTOS = zoo.photos()


class TestImages:
    @pytest.mark.parametrize(
        "convert",
        [
            lambda x: x.astype(np.float32),
            lambda x: x.astype(np.float64),
            lambda x: x.astype(np.int64),
            lambda x: x.tolist(),
            list,
            tf.constant,
            lambda x: tf.cast(x, tf.bfloat16),
            np.asfortranarray,
        ],
        ids=["float32", "float64", "int64", "nested lists", "list of arrays", "tensor", "bfloat16", "Fortran order"],
    )
    def test_every_number_type_gives_the_same(self, model, convert):
        np.testing.assert_array_equal(explain.saliency(model, convert(PHOTOS), 1), explain.saliency(model, PHOTOS, 1))

    def test_one_image_gives_a_batch_of_one(self, model):
        single = explain.grad_cam(model, PHOTOS[1], 2)
        assert single.shape == (1, *zoo.SIZE[:2])
        np.testing.assert_array_equal(single, explain.grad_cam(model, PHOTOS[1:2], 2))

    @pytest.mark.parametrize(
        ("images", "error", "message"),
        [
            (
                np.zeros((2, 11, 15, 3)),
                ValueError,
                "shape (2, 11, 15, 3) does not fit the model, which takes (n, 11, 14, 3)",
            ),
            (np.zeros((11, 14)), ValueError, "shape (11, 14) does not fit"),
            (np.zeros((3, 11, 14)), ValueError, "shape (3, 11, 14) does not fit"),
            (np.zeros((0, 11, 14, 3)), ValueError, "an empty array of shape (0, 11, 14, 3)"),
            (np.full((2, 11, 14, 3), np.nan), ValueError, "NaN or infinite values in number [0, 1]"),
            (np.full((11, 14, 3), 1e300), ValueError, "NaN or infinite values in number [0]"),
            (
                [np.zeros((11, 14, 3)), np.zeros((9, 9, 3))],
                ValueError,
                "all must have one shape, these have (11, 14, 3), (9, 9, 3)",
            ),
            ("cat.jpg", TypeError, "images: an array of numbers is needed, not str"),
            (None, TypeError, "images: an array of numbers is needed, not NoneType"),
            (np.zeros((11, 14, 3), complex), TypeError, "images: an array of numbers is needed"),
        ],
    )
    def test_wrong_images(self, model, images, error, message):
        with pytest.raises(error) as raised:
            explain.saliency(model, images)
        assert message in str(raised.value)

    def test_any_size_where_the_model_takes_any(self):
        assert explain.grad_cam(zoo.residual(), zoo.photos(2, (9, 20, 3))).shape == (2, 9, 20)
        with pytest.raises(ValueError, match=r"takes \(n, any, any, 3\) or one of shape \(any, any, 3\)"):
            explain.grad_cam(zoo.residual(), np.zeros((9, 20, 1)))


class TestClasses:
    def test_none_is_each_images_top_class(self, model):
        top = model.predict(PHOTOS, verbose=0).argmax(-1)
        np.testing.assert_array_equal(explain.saliency(model, PHOTOS), explain.saliency(model, PHOTOS, top))

    @pytest.mark.parametrize(
        "classes",
        [
            2,
            np.int64(2),
            np.array(2, np.uint8),
            [2, 2, 2],
            (2, 2, 2),
            np.array([2, 2, 2], np.int16),
            tf.constant([2] * 3),
        ],
        ids=["int", "NumPy int", "array of no axes", "list", "tuple", "array", "tensor"],
    )
    def test_every_form_of_an_int(self, model, classes):
        np.testing.assert_array_equal(explain.saliency(model, PHOTOS, classes), explain.saliency(model, PHOTOS, 2))

    @pytest.mark.parametrize(
        ("classes", "error", "message"),
        [
            (4, ValueError, "classes: 4 is out of range; the model has 4 classes, 0 to 3"),
            (-1, ValueError, "classes: -1 is out of range"),
            ([0, 9, 1], ValueError, "classes: 9 is out of range"),
            ([0, 1], ValueError, "classes: 2 classes for 3 images; give one, or one for each image"),
            (2.0, TypeError, "not float 2.0"),
            (True, TypeError, "not bool True"),
            ("cat", TypeError, "not str 'cat'"),
            ([[0, 1, 2]], TypeError, "an int or 3 ints"),
            ([[0], [1, 2]], TypeError, "an int or 3 ints"),
            ([0, None, 1], TypeError, "an int or 3 ints"),
        ],
    )
    def test_wrong_classes(self, model, classes, error, message):
        for method in (explain.saliency, explain.grad_cam, explain.score_cam, explain.smooth_grad):
            with pytest.raises(error) as raised:
                method(model, PHOTOS, classes)
            assert message in str(raised.value)

    def test_one_unit_has_class_0_only(self):
        model = zoo.sigmoid_binary()
        np.testing.assert_array_equal(explain.saliency(model, PHOTOS), explain.saliency(model, PHOTOS, 0))
        with pytest.raises(ValueError, match="the model has 1 class, 0 to 0"):
            explain.saliency(model, PHOTOS, 1)


@pytest.mark.parametrize(
    ("method", "option", "error", "message"),
    [
        ("score_cam", {"batch_size": 0}, ValueError, "batch_size: an int of at least 1 is needed, not 0"),
        ("score_cam", {"max_channels": 0}, ValueError, "max_channels: an int of at least 1 is needed, not 0"),
        ("score_cam", {"max_channels": 2.5}, TypeError, "max_channels: an int of at least 1 is needed, not float 2.5"),
        ("smooth_grad", {"samples": 0}, ValueError, "samples: an int of at least 1"),
        ("smooth_grad", {"samples": True}, TypeError, "samples: an int of at least 1"),
        ("smooth_grad", {"noise": -0.1}, ValueError, "noise: a finite number that is not negative is needed, not -0.1"),
        ("smooth_grad", {"noise": float("nan")}, ValueError, "noise: a finite number"),
        ("smooth_grad", {"noise": "much"}, TypeError, "noise: a number that is not negative is needed, not str"),
        ("smooth_grad", {"seed": 1.5}, TypeError, "seed: None or an int is needed"),
        ("smooth_grad", {"seed": -1}, ValueError, "seed: an int that is not negative"),
        ("integrated_gradients", {"steps": 0}, ValueError, "steps: an int of at least 1"),
        (
            "integrated_gradients",
            {"baseline": [1, 2]},
            ValueError,
            "baseline: shape (2,) does not fit the images; possible: (), (3,)",
        ),
        ("integrated_gradients", {"baseline": float("inf")}, ValueError, "baseline: NaN or infinite"),
        ("integrated_gradients", {"baseline": "black"}, TypeError, "baseline: an array of numbers"),
    ],
)
def test_wrong_options(model, method, option, error, message):
    with pytest.raises(error) as raised:
        getattr(explain, method)(model, PHOTOS, 1, **option)
    assert message in str(raised.value)


class TestProgress:
    def test_goes_through_everything_and_tells_after_each(self):
        told, seen = [], []
        for item in track("abc", lambda done, total: told.append((done, total, list(seen))), "work"):
            seen.append(item)
        assert seen == ["a", "b", "c"]
        assert told == [(1, 3, ["a"]), (2, 3, ["a", "b"]), (3, 3, ["a", "b", "c"])]

    @pytest.mark.parametrize(("progress", "shown"), [(None, False), (False, False), (True, True)])
    def test_a_bar_stays_away_from_short_work(self, capfd, progress, shown):
        assert list(track([1, 2], progress, "work")) == [1, 2]
        assert ("work" in capfd.readouterr().err) is shown
