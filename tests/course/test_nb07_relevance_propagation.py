"""What the judges of notebook 07 hold for the truth, against labutils, by hand, and the cases that they are asked about."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from labutils import explain
from labutils.course import registry
from labutils.course.checking import assess
from labutils.course.exercise import Status
from labutils.course.exercises import nb07_relevance_propagation as nb07
from labutils.explain import relevance_rules

SEEDS = (None, *range(8))
each_seed = pytest.mark.parametrize("seed", SEEDS)
EXERCISES = registry.of_notebook("07")
RULES = ("07.epsilon_rule", "07.gamma_rule", "07.alpha1_beta0", "07.z_box")


def inputs_of(exercise_id, seed):
    return [case.inputs for case in registry.find(exercise_id).cases(seed)]


def layer_of(W, b):
    return relevance_rules.Linear(tf.matmul, tf.constant(W), tf.constant(b))


@each_seed
@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.id)
def test_every_mistake_can_be_told_in_every_draw(exercise, seed):
    # Without TensorFlow's answers, which `right` has: here it is the numbers drawn that matter.
    cases = exercise.cases(seed)
    assert assess(exercise, exercise.reference(), cases).passed
    for name, answer in exercise.wrong.items():
        verdict = assess(exercise, answer(), cases)
        assert (verdict.status, verdict.mistake) == (Status.WRONG, name), verdict.message


@each_seed
@pytest.mark.parametrize("exercise_id", RULES)
def test_lengths_cannot_be_mixed_up(exercise_id, seed):
    for inputs in inputs_of(exercise_id, seed):
        assert len(set(inputs["shape"])) == 3


@each_seed
def test_expected_relevance_is_that_of_labutils(seed):
    for inputs in inputs_of("07.epsilon_rule", seed):
        a, W, b, R = nb07._signed_layer(inputs)
        layer, epsilon = layer_of(W, b), tf.constant(inputs["epsilon"], tf.float32)
        expected = relevance_rules.epsilon_rule(layer, tf.constant(a), layer(a), tf.constant(R), epsilon)
        np.testing.assert_allclose(nb07._epsilon_rule(a, W, b, R, inputs["epsilon"]), expected, rtol=1e-4, atol=1e-5)

        a, W, b, R = nb07._layer_without_reasons(inputs)
        expected = relevance_rules.z_plus_rule(layer_of(W, b), tf.constant(a), tf.constant(R))
        np.testing.assert_allclose(nb07._alpha1_beta0(a, W, b, R), expected, rtol=1e-4, atol=1e-5)

        a, W, b, R = nb07._relu_layer(inputs)
        layer, gamma = layer_of(W, b), tf.constant(inputs["gamma"], tf.float32)
        expected = relevance_rules.gamma_rule(layer, tf.constant(a), layer(a), tf.constant(R), gamma)
        np.testing.assert_allclose(nb07._gamma_rule(a, W, b, R, inputs["gamma"]), expected, rtol=1e-4, atol=1e-5)

        a, W, R, low, high = nb07._pixels(inputs)
        ends = (tf.constant(np.broadcast_to(end, a.shape)) for end in (low, high))
        expected = relevance_rules.z_box_rule(layer_of(W, np.zeros_like(W[0])), tf.constant(a), tf.constant(R), *ends)
        np.testing.assert_allclose(nb07._z_box(a, W, R, low, high), expected, rtol=1e-4, atol=1e-5)


@each_seed
def test_layers_are_of_the_kind_that_their_exercise_promises(seed):
    for inputs in inputs_of("07.epsilon_rule", seed):
        a, W, b, _ = nb07._signed_layer(inputs)
        z = a @ W + b
        assert z[0, 0] == 0, "A sum of exactly 0, whose sign counts as positive."
        assert (z < 0).any()
        assert (a < 0).any()
        assert (a > 0).any()
        assert (np.abs(np.abs(z) - inputs["epsilon"]) > 0.01).all(), "Or an epsilon of the wrong sign divides by 0."

        a, W, b, R = nb07._layer_without_reasons(inputs)
        assert (a[0] * W[:, -1] < 0).all()
        assert b[-1] < 0
        assert R[0, -1] != 0

        a, W, b, R = nb07._relu_layer(inputs)
        assert (a >= 0).all()
        assert not R[a @ W + b <= 0].any()
        assert R.any(axis=1).all()

        a, W, _, low, high = nb07._pixels(inputs)
        assert (low < a).all()
        assert (a < high).all()
        assert len({*low}) > 1


def test_the_rules_by_hand():
    # Contributions 6 and -2 and a bias of 1: z = 5. Relevance 10.
    a, W, b, R = np.array([[2.0, 1.0]]), np.array([[3.0], [-2.0]]), np.array([1.0]), np.array([[10.0]])
    np.testing.assert_array_equal(nb07._contributions(a, W), [[[6], [-2]]])
    np.testing.assert_allclose(nb07._epsilon_rule(a, W, b, R, 3.0), [[7.5, -2.5]])  # / 8
    np.testing.assert_allclose(nb07._gamma_rule(a, W, b, R, 1.0), [[10, -5 / 3]])  # 12, -2, bias 2: / 12
    np.testing.assert_allclose(nb07._alpha1_beta0(a, W, b, R), [[60 / 7, 0]])
    # From the least: 6 - 0 and -2 + 2 * 4, together 12.
    low, high = np.array([0.0, -1.0]), np.array([9.0, 4.0])
    np.testing.assert_allclose(nb07._z_box(a, W, R, low, high), [[5, 5]])


def test_lost_share_by_hand():
    above, below = np.array([[6.0, -2.0], [1.0, 1.0]]), np.array([[[1.0], [2.0]], [[3.0], [-4.0]]])
    np.testing.assert_allclose(nb07._lost_share(above, below), [0.25, 1.5])


@each_seed
def test_losses_are_of_all_kinds(seed):
    for inputs in inputs_of("07.lost_share", seed):
        above, below = nb07._two_layers(inputs)
        lost = nb07._lost_share(above, below)
        np.testing.assert_allclose(lost[:3], [0.25, 1.5, -0.5], atol=3 / 16 + 1e-4)
        assert (above < 0).any()
        assert (below < 0).any()


def test_losses_differ_from_case_to_case():
    """A pasted list of them passes no other case."""
    cases = [inputs for seed in (None, *range(10)) for inputs in inputs_of("07.lost_share", seed)]
    lost = {tuple(np.round(nb07._lost_share(*nb07._two_layers(inputs))[:3], 3)) for inputs in cases}
    assert len(lost) > len(cases) * 0.8


@pytest.mark.parametrize("seed", [None, 1])
def test_a_whole_network_is_labutils_lrp(seed):
    for inputs in inputs_of("07.propagate", seed):
        x, layers, classes = nb07._network(inputs)
        stack = [keras.layers.Dense(len(b), "relu") for _, b in layers[:-1]] + [keras.layers.Dense(len(layers[-1][1]))]
        model = keras.Sequential([keras.Input(x.shape[1:]), *stack])
        model.set_weights([array for layer in layers for array in layer])
        expected = explain.layer_relevance(model, x, classes, composite="epsilon", epsilon=inputs["epsilon"])
        found = nb07._propagate(x, layers, classes, inputs["epsilon"])
        for values, reference in zip(found, expected.values(), strict=True):
            np.testing.assert_allclose(values, reference, rtol=1e-3, atol=1e-4 * max(np.abs(reference).max(), 1e-6))
        logits = model(x).numpy()
        assert classes[0] != logits[0].argmax()
        assert logits[1, classes[1]] < 0
        assert classes[2] == logits[2].argmax()


@each_seed
def test_windows_hold_equals_and_zeros(seed):
    for inputs in inputs_of("07.winner_takes_all", seed):
        maps, R = nb07._pooled(inputs)
        result = nb07._winner_takes_all(maps, R)
        np.testing.assert_array_equal(result, nb07._winner_by_windows(maps, R))
        pooled = nb07._windows(result)
        np.testing.assert_array_equal(pooled.sum(axis=-1), R)
        assert ((pooled != 0).sum(axis=-1) == 1).all()
        assert (R < 0).any()
        assert not maps[0, 2:4, 2:4, 0].any()
        assert result[0, 0, 1, 0] == R[0, 0, 0, 0], "Upper right before lower left."


def test_windows_and_back():
    maps = np.random.default_rng(0).normal(size=(2, 4, 6, 3))
    np.testing.assert_array_equal(nb07._from_windows(nb07._windows(maps)), maps)
    np.testing.assert_array_equal(nb07._windows(maps)[1, 1, 2, 0], maps[1, 2:4, 4:6, 0].ravel())


@pytest.mark.parametrize("exercise_id", [*RULES, "07.contributions", "07.lost_share", "07.winner_takes_all"])
def test_right_up_to_the_last_digits_passes_and_one_percent_off_does_not(exercise_id):
    exercise = registry.find(exercise_id)
    reference = exercise.reference()
    assert assess(exercise, lambda *arrays: reference(*arrays) * (1 + 1e-6)).passed
    assert assess(exercise, lambda *arrays: reference(*arrays) * 1.01).status is Status.WRONG


def test_a_pasted_answer_fails_on_drawn_cases():
    exercise = registry.find("07.epsilon_rule")
    reference = exercise.reference()
    public = {nb07._signed_layer(case.inputs)[0].tobytes() for case in exercise.cases(None)}

    def pasted(a, W, b, R, epsilon):
        return reference(a, W, b, R, epsilon) if a.tobytes() in public else a

    assert assess(exercise, pasted).passed
    assert assess(exercise, pasted, exercise.cases(1)).status is Status.WRONG


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda found: [*found[:1], found[1] * 2, *found[2:]], "what layer 1 gives"),
        (lambda found: [found[0] + 1, *found[1:]], "those of the input"),
        (lambda found: [*found[:-1], found[-1] * 2], "relevance of the logits"),
        (lambda found: [found[0].T, *found[1:]], "should have the shape"),
        (lambda found: [*found, found[-1]], "should have 3"),
    ],
)
def test_a_wrong_layer_is_named(spoilt, words):
    exercise = registry.find("07.propagate")
    verdict = assess(exercise, lambda *given: spoilt(exercise.reference()(*given)))
    assert verdict.status is Status.WRONG
    assert words in verdict.message


def test_a_number_for_all_photos_and_a_one_element_list_are_not_taken_for_shares():
    exercise = registry.find("07.lost_share")
    assert assess(exercise, lambda above, below: float(1 - below.sum() / above.sum())).mistake == "one_number"
    assert assess(exercise, lambda above, below: [0.5]).status is Status.WRONG
