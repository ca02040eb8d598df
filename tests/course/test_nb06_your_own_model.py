"""What the judges of notebook 06 hold for the truth, against labutils, Keras and the definitions."""

import keras
import numpy as np
import pytest

from labutils import datasets, explain
from labutils.course import registry
from labutils.course.checking import assess
from labutils.course.exercise import Case, Status
from labutils.course.exercises import nb06_your_own_model as nb06

SEEDS = (None, 11, 12, 13)
each_seed = pytest.mark.parametrize("seed", SEEDS)


def inputs_of(exercise_id, seed):
    return [case.inputs for case in registry.find(exercise_id).cases(seed)]


@each_seed
def test_models_of_the_cases_have_lengths_that_cannot_be_mixed_up(seed):
    forms = []
    for inputs in inputs_of("06.hidden_activations", seed):
        forms.append(inputs["form"])
        count, height, width, _ = inputs["shape"]
        *hidden, classes = inputs["widths"][1:]
        assert height != width
        assert len({count, classes, *hidden}) == 2 + len(hidden)
        assert len(hidden) == 3, "With fewer, layers counted from the front and from the end are the same."
    assert forms == ["Sequential", "functional"]


@each_seed
def test_the_judges_numpy_is_what_keras_computes(seed):
    for inputs in inputs_of("06.hidden_activations", seed):
        images = nb06._pictures(inputs)
        model = nb06._classifier(inputs)
        steps = nb06._through(
            nb06._dense_weights(inputs["seed"], inputs["widths"]), images.reshape(len(images), -1), nb06._relu
        )
        np.testing.assert_allclose(nb06._softmax(steps[-1]), np.asarray(model(images)), atol=1e-5)
        layer = model.layers[-2].name
        np.testing.assert_allclose(steps[-3], explain.activations(model, images, [layer])[layer], atol=1e-5)
        assert (steps[-3] == 0).any(), "Or before and after the ReLU would be the same."


def test_a_model_without_a_flat_second_to_last_layer_is_read_too():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    cnn = keras.Sequential([keras.Input((6, 7, 1)), *layers])
    images = np.random.default_rng(0).random((5, 6, 7, 1)).astype("float32")
    found = nb06._hidden_activations(cnn, images)
    np.testing.assert_allclose(found, np.asarray(cnn.layers[0](images)).mean(axis=(1, 2)), atol=1e-6)


@each_seed
def test_every_class_is_there_and_the_first_label_is_not_zero(seed):
    for inputs in inputs_of("06.class_means", seed):
        activations, labels = nb06._labelled(inputs)
        assert np.bincount(labels).min() >= 3
        assert len(np.bincount(labels)) == inputs["classes"] != inputs["units"]
        assert labels[0] != 0
        assert activations.shape == (len(labels), inputs["units"])


def test_class_means_by_hand():
    activations = np.array([[1.0, 0], [3, 2], [10, 4]])
    np.testing.assert_array_equal(nb06._class_means(activations, np.array([1, 1, 0])), [[10, 4], [2, 1]])


def test_cosines_by_hand():
    vectors = np.array([[3.0, 0], [1, 1], [0, 0], [0, 2]])
    half = np.sqrt(0.5)
    expected = [[1, half, 0, 0], [half, 1, 0, half], [0, 0, 0, 0], [0, half, 0, 1]]
    np.testing.assert_allclose(nb06._cosine_similarity(vectors), expected, atol=1e-12)


@each_seed
def test_one_case_of_cosines_has_a_silent_picture(seed):
    silent, active = (nb06._vectors(inputs) for inputs in inputs_of("06.cosine_similarity", seed))
    assert (~silent.any(axis=1)).sum() == 1
    assert active.any(axis=1).all()
    for vectors in (silent, active):
        assert vectors.shape[0] != vectors.shape[1]


@pytest.mark.parametrize("guard", ["nan_to_num", "epsilon"])
def test_other_guards_against_silent_pictures_pass(guard):
    def answer(vectors):
        if guard == "epsilon":
            directions = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
            return directions @ directions.T
        with np.errstate(all="ignore"):
            return np.nan_to_num(nb06._unguarded_cosine(vectors))

    assert assess(registry.find("06.cosine_similarity"), answer).passed


@each_seed
def test_standardised_training_rows_have_mean_0_and_spread_1(seed):
    for inputs in inputs_of("06.standardise", seed):
        train, others = nb06._rows(inputs)
        assert len({*train.shape, *others.shape}) == 3
        done, also = nb06._standardise(train, others)
        np.testing.assert_allclose(done.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(done.std(axis=0), 1)
        np.testing.assert_allclose(also * train.std(axis=0) + train.mean(axis=0), others)
        assert np.abs(also.mean(axis=0)).max() > 0.1, "Or the others' own statistics would do."


@each_seed
def test_the_judges_gradient_is_the_tapes(seed):
    for inputs in inputs_of("06.prediction_gradient", seed):
        model, x = nb06._regression(inputs), nb06._houses(inputs)
        assert len({len(x), *inputs["widths"]}) == 4
        found = registry.find("06.prediction_gradient").collect(nb06._prediction_gradient, Case("a case", inputs))[
            "gradient"
        ]
        np.testing.assert_allclose(found, nb06._gradient_by_differences(model, x), atol=2e-3 * np.abs(found).max())


def test_slopes_of_a_linear_price_are_its_coefficients():
    """The whole way of the notebook on a network that is the formula itself: standardise, derive, undo."""
    houses = datasets.houses(200)
    x, price = houses.x.astype("float64"), houses.intercept + houses.x @ houses.coefficients
    z, _ = nb06._standardise(x, x)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    kernel = houses.coefficients * x.std(axis=0) / price.std()
    model.set_weights([kernel[:, np.newaxis], np.zeros(1)])
    gradients = nb06._prediction_gradient(model, z.astype("float32"))
    slopes = nb06._per_unit(gradients, x.std(axis=0), price.std())
    np.testing.assert_allclose(slopes, np.tile(houses.coefficients, (200, 1)), rtol=1e-5)

    attributions = nb06._integrated_gradients(lambda points: np.tile(slopes[0], (len(points), 1)), x, x.mean(axis=0), 3)
    np.testing.assert_allclose(attributions.sum(axis=1), price - price.mean(), rtol=1e-4, atol=1)


@each_seed
def test_integrated_gradients_of_the_cases_are_complete_with_many_steps(seed):
    """The cases' gradient belongs to a function: by fine steps the sum is the same on another way to x."""
    for inputs in inputs_of("06.integrated_gradients", seed):
        gradient, (x, baseline, steps) = nb06._gradient_function(inputs), nb06._line(inputs)
        assert 7 <= steps <= 11
        direct = nb06._integrated_gradients(gradient, x, baseline, 400).sum(axis=1)
        corner = np.concatenate([x[:, :1], np.broadcast_to(baseline[1:], x[:, 1:].shape)], axis=1)
        first = nb06._integrated_gradients(gradient, corner, baseline, 400).sum(axis=1)
        second = [nb06._integrated_gradients(gradient, x[[i]], corner[i], 400).sum() for i in range(len(x))]
        np.testing.assert_allclose(direct, first + second, rtol=1e-3, atol=1e-3)


def test_integrated_gradients_of_a_square_by_hand():
    # f = x^2, from 1 to 3 in two pieces: gradients 2 * 1.5 and 2 * 2.5, their mean 4, times the way 2.
    found = nb06._integrated_gradients(lambda x: 2 * x, np.array([[3.0]]), np.array([1.0]), 2)
    np.testing.assert_allclose(found, [[8.0]])


def test_integrated_gradients_are_those_of_labutils_where_the_slope_is_constant_between_the_points():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(1)])
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    ours = nb06._integrated_gradients(
        lambda points: nb06._prediction_gradient(model, points.astype("float32")), x, np.zeros(3), 64
    )
    np.testing.assert_allclose(ours, explain.integrated_gradients(model, x, 0, steps=64), atol=2e-3)


@each_seed
def test_no_grey_of_the_pictures_lies_half_way(seed):
    for inputs in inputs_of("06.as_file", seed):
        image = nb06._grey_picture(inputs)
        values = image.astype("float64") * 255
        assert np.abs(values - np.floor(values) - 0.5).min() > 0.1, "Or rounding up and to even would differ."
        assert image.shape[0] != image.shape[1]
        assert image.max() == 1
        assert image.min() > 0


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("06.hidden_activations", lambda model, images: model.get_layer("dense_1")(images)),
        ("06.per_unit", lambda gradients, std_x, std_y: gradients * std_y / np.array([39.0, 1.3])),
        ("06.as_file", lambda image: np.round(image.reshape(8, 8) * 255).astype("uint8")),
    ],
)
def test_the_notebooks_own_sizes_cannot_be_written_into_an_answer(exercise_id, answer):
    assert assess(registry.find(exercise_id), answer).status is Status.RAISED


def test_a_pasted_answer_fails_on_drawn_cases():
    exercise = registry.find("06.integrated_gradients")
    public = [
        (
            nb06._line(case.inputs)[0],
            nb06._integrated_gradients(nb06._gradient_function(case.inputs), *nb06._line(case.inputs)),
        )
        for case in exercise.cases(None)
    ]

    def pasted(gradient, x, baseline, steps):
        return next((result for known, result in public if np.array_equal(known, x)), np.zeros(x.shape))

    assert assess(exercise, pasted).passed
    assert assess(exercise, pasted, exercise.cases(1)).status is Status.WRONG
