"""What the judges of notebook 05 hold for the truth, against labutils and against the definitions."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from labutils import explain
from labutils.course import registry
from labutils.course.checking import assess
from labutils.course.exercise import Status
from labutils.course.exercises import nb05_vit_attention as nb05
from labutils.vgg16 import preprocess_input as preprocess_for_vgg16
from labutils.vit import preprocess_input

SEEDS = (None, 11, 12, 13)
each_seed = pytest.mark.parametrize("seed", SEEDS)


def inputs_of(exercise_id, seed):
    return [case.inputs for case in registry.find(exercise_id).cases(seed)]


@each_seed
def test_attention_is_attention_of_lengths_that_cannot_be_mixed_up(seed):
    for inputs in inputs_of("05.rollout", seed):
        attention = nb05._attention(inputs)
        layers, photos, heads, tokens, others = attention.shape
        assert tokens == others == 1 + inputs["grid"][0] * inputs["grid"][1]
        assert len({layers, photos, heads}) == 3
        assert inputs["grid"][0] != inputs["grid"][1]
        assert layers >= 3, "With two layers, one of them missing cannot be told from the other alone."
        assert photos >= 2
        assert 0 <= inputs["layer"] < layers - 1
        assert 0 < inputs["head"] < heads
        np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-5)


@each_seed
def test_expected_matrices_are_those_of_labutils(seed):
    for inputs in inputs_of("05.rollout", seed):
        attention, gradients = nb05._attention(inputs), nb05._gradients(inputs)
        np.testing.assert_allclose(nb05._rollout(attention), explain.rollout(attention), atol=1e-6)
        relevance = explain.gradient_weighted_rollout(attention, gradients)
        np.testing.assert_allclose(nb05._gradient_rollout(attention, gradients), relevance, rtol=1e-4)
        one_head = attention[inputs["layer"]][:, inputs["head"]]
        expected = nb05._read_head(attention, inputs["layer"], inputs["head"], inputs["grid"])
        np.testing.assert_array_equal(expected, explain.token_map(one_head, tuple(inputs["grid"])))


def test_one_layer_by_hand():
    # Two heads of two tokens: their mean is [[.5, .5], [.25, .75]]; with the identity, rows sum to 2.
    attention = np.array([[[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.0, 1.0]]]])
    np.testing.assert_allclose(nb05._one_layer(attention), [[[0.75, 0.25], [0.125, 0.875]]])


def test_rollout_by_hand():
    # The first layer moves token 1 into token 0, the last one token 0 into token 1, half and half each.
    first, last = np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    attention = np.stack([first, last])[:, None, None]
    np.testing.assert_allclose(nb05._rollout(attention), [[[0.5, 0.5], [0.25, 0.75]]])


def test_gradient_rollout_by_hand():
    # One head: 0.5 * 4 speaks for the class, 0.5 * -1 against it. Layer 1 takes from the row that layer 0 has changed.
    attention = np.full((2, 1, 1, 2, 2), 0.5)
    gradients = np.zeros((2, 1, 1, 2, 2))
    gradients[0, ..., 0, 1], gradients[0, ..., 1, 0], gradients[1, ..., 1, 0] = 4, -1, 2
    np.testing.assert_allclose(nb05._gradient_rollout(attention, gradients), [[[1, 2], [1, 3]]])


def test_prepare_is_the_vits_and_not_vgg16s():
    for inputs in inputs_of("05.prepare", None):
        photos = nb05._photos(inputs)
        np.testing.assert_allclose(nb05._prepare(photos), preprocess_input(photos.astype("float32")), atol=1e-6)
        np.testing.assert_array_equal(nb05._as_vgg16_wants(photos), preprocess_for_vgg16(photos.astype("float32")))
        assert photos.min() > 0
        assert photos.max() < 255, "Or a photo stretched to its own range could be right."


def test_token_by_hand():
    # 6 x 8 pixels in 2 x 4 patches of 3 x 2: pixel (4, 5) is in row 1, column 2, after the class token and 6 patches.
    assert nb05._token_at(4, 5, (6, 8), (2, 4)) == 7
    assert nb05._token_at(0, 0, (6, 8), (2, 4)) == 1
    assert nb05._token_at(5, 7, (6, 8), (2, 4)) == 8


@each_seed
def test_class_difference_is_asked_of_maps_that_show_it(seed):
    by_class, same, zero = inputs_of("05.class_difference", seed)
    first, second = (nb05._maps(by_class, by_class[which]) for which in ("first", "second"))
    difference = nb05._class_difference(lambda c: nb05._maps(by_class, c), by_class["first"], by_class["second"])
    for one, other, value in zip(first, second, difference, strict=True):
        assert value == pytest.approx(np.abs(one - other).max() / max(np.abs(one).max(), np.abs(other).max()))
        assert value > 0.02
    assert (first < 0).any(), "Values of both signs."
    for inputs, expected in ((same, np.zeros(same["shape"][1])), (zero, [0.0])):
        maps = nb05._class_difference(lambda c, i=inputs: nb05._maps(i, c), inputs["first"], inputs["second"])
        np.testing.assert_array_equal(maps[: len(expected)], expected)


@each_seed
def test_rank_correlation_is_scipys_and_can_show_the_mistakes(seed):
    alike, opposite, zeros, constant = inputs_of("05.rank_correlation", seed)
    for inputs in (alike, opposite, zeros):
        one, other = nb05._pair(inputs)
        assert nb05._rank_correlation(one, other) == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic)
    assert nb05._rank_correlation(*nb05._pair(opposite)) < -0.1
    assert nb05._rank_correlation(*nb05._pair(constant)) == 0
    one, other = nb05._pair(zeros)
    assert (one == 0).mean() > 0.4
    assert (other == 0).mean() > 0.4


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("05.read_head", lambda attention, layer, head, grid: attention[layer, :, head, 0, 1:].reshape(-1, 14, 14)),
        ("05.one_layer", lambda attention: (attention.mean(axis=1) + np.eye(197)) / 2),
        ("05.rollout", lambda attention: sum(nb05._one_layer(attention[layer]) for layer in range(12))),
    ],
)
def test_the_bundled_networks_sizes_cannot_be_written_into_an_answer(exercise_id, answer):
    verdict = assess(registry.find(exercise_id), answer)
    assert verdict.status is Status.RAISED


def test_a_pasted_answer_fails_on_drawn_cases():
    exercise = registry.find("05.rollout")
    reference = exercise.reference()
    public = {nb05._attention(case.inputs).tobytes() for case in exercise.cases(None)}

    def pasted(attention):
        return reference(attention) if attention.tobytes() in public else attention[:, :, 0].mean(axis=0)

    assert assess(exercise, pasted).passed
    assert assess(exercise, pasted, exercise.cases(1)).status is Status.WRONG


@pytest.mark.parametrize("exercise_id", ["05.one_layer", "05.rollout", "05.gradient_rollout"])
def test_a_matrix_right_up_to_its_last_digits_passes_and_one_percent_off_does_not(exercise_id):
    exercise = registry.find(exercise_id)
    reference = exercise.reference()
    assert assess(exercise, lambda *arrays: reference(*arrays) * (1 + 1e-6)).passed
    assert assess(exercise, lambda *arrays: reference(*arrays) * 1.01).status is Status.WRONG


@pytest.mark.parametrize(
    ("found", "mistake"),
    [
        (lambda one, other: spearmanr(one.ravel(), other.ravel()), "p_value_kept"),
        (lambda one, other: spearmanr(one, other).statistic, "matrix_returned"),
        (lambda one, other: np.corrcoef(one, other), "matrix_returned"),
    ],
)
def test_what_scipy_and_numpy_give_back_gets_its_diagnosis(found, mistake):
    assert assess(registry.find("05.rank_correlation"), found).mistake == mistake


def test_one_number_for_all_photos_gets_its_diagnosis():
    def answer(maps_of, first, second):
        return float(np.abs(maps_of(first) - maps_of(second)).max())

    assert assess(registry.find("05.class_difference"), answer).mistake == "one_number"


def test_a_token_that_no_known_mistake_gives_is_answered_with_the_pixel():
    verdict = assess(registry.find("05.token_at"), lambda y, x, size, grid: 3)
    assert verdict.status is Status.WRONG
    assert "y=0, x=0" in verdict.message
