"""Notebook 08's exercises: the references against labutils, cases that tell mistakes apart, and what students hand over."""

import numpy as np
import pytest

from labutils import evaluate
from labutils.course import Status, registry
from labutils.course.checking import assess
from labutils.course.exercises import nb08_can_you_trust_a_heatmap as nb08

SEEDS = [None, 1, 2, 3, 4]


def cases(name, seed=None):
    return registry.find(f"08.{name}").cases(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_hit_and_share_are_those_of_labutils(seed):
    for case in cases("is_hit", seed):
        for heatmap, mask, tolerance in nb08._hit_questions(case.inputs):
            assert (
                nb08._is_hit(heatmap, mask, tolerance) == evaluate.pointing_game(heatmap, mask, tolerance=tolerance)[0]
            )
    for heatmap, grid in ((np.random.default_rng(seed or 0).normal(size=(8, 6)), (2, 2)), (-np.ones((8, 6)), (2, 2))):
        for cell, box in enumerate([(0, 0, 4, 3), (0, 3, 4, 6), (4, 0, 8, 3), (4, 3, 8, 6)]):
            expected = evaluate.grid_pointing_game(heatmap, cell, grid=grid)[0]
            assert nb08._share_inside(heatmap, box) == pytest.approx(expected)


def test_order_scores_and_area_make_the_curve_of_labutils():
    import keras

    model = keras.Sequential(
        [keras.Input((6, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    model.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in model.get_weights()])
    rng = np.random.default_rng(1)
    image, baseline = rng.random((6, 4, 3), np.float32), rng.random((6, 4, 3), np.float32)
    heatmap = rng.integers(0, 4, size=(6, 4))
    ours = evaluate.deletion_curve(model, image, heatmap, 2, steps=8, baseline=baseline)
    order = nb08._pixel_order(heatmap)
    scores = nb08._deletion_scores(lambda images: model(images).numpy()[:, 2], image, order, baseline, 8)
    np.testing.assert_allclose(scores, ours.scores[0], rtol=1e-5)
    assert nb08._area(ours.fractions, scores) == pytest.approx(ours.area[0], rel=1e-5)


@pytest.mark.parametrize("name", ["deletion_scores", "area", "is_hit", "share_inside", "mean_ranks"])
@pytest.mark.parametrize("seed", SEEDS)
def test_cases_tell_every_mistake_apart(name, seed):
    exercise = registry.find(f"08.{name}")
    for mistake, answer in exercise.wrong.items():
        verdict = assess(exercise, answer(), exercise.cases(seed))
        assert (verdict.status, verdict.mistake) == (Status.WRONG, mistake)


def test_a_pasted_answer_fails_on_drawn_cases():
    exercise = registry.find("08.pixel_order")
    (first, _) = exercise.cases(None)
    order = nb08._pixel_order(nb08._order_map(first.inputs))
    assert assess(exercise, lambda heatmap: order, [first]).passed
    assert assess(exercise, lambda heatmap: order, exercise.cases(7)).status is Status.WRONG


@pytest.mark.parametrize(("value", "passes"), [(True, True), (np.True_, True), (np.array([True]), True), (1, False)])
def test_a_hit_is_a_truth_value_in_whatever_wrapping(value, passes):
    exercise = registry.find("08.is_hit")

    def answer(heatmap, mask, tolerance):
        hit = nb08._is_hit(heatmap, mask, tolerance)
        return type(value)(hit) if not isinstance(value, np.ndarray) else np.array([hit])

    verdict = assess(exercise, answer)
    assert verdict.passed == passes
    assert passes or verdict.mistake == "not_true_or_false"


def test_a_hit_that_no_known_mistake_explains_is_answered_with_the_case():
    exercise = registry.find("08.is_hit")
    answers = iter([True] * 1000)
    verdict = assess(exercise, lambda heatmap, mask, tolerance: next(answers))
    assert verdict.status is Status.WRONG
    assert "(row, column)" in verdict.message


def test_a_curve_right_up_to_its_last_digits_passes_and_one_percent_off_does_not():
    exercise = registry.find("08.deletion_scores")
    assert assess(exercise, lambda *asked: nb08._deletion_scores(*asked) * (1 + 1e-6)).passed
    assert assess(exercise, lambda *asked: nb08._deletion_scores(*asked) * 1.01).status is Status.WRONG


def test_a_cure_that_favours_a_class_is_told_by_its_shares():
    def biased(images, box, seed):
        top, left, bottom, right = box
        rng = np.random.default_rng(seed)
        had = images[:, top, left, 0] == 1
        cured = images.copy()
        cured[:, top:bottom, left:right] = (rng.random(len(images)) < np.where(had, 0.9, 0.1)).reshape(-1, 1, 1, 1)
        return cured

    verdict = assess(registry.find("08.cure"), biased)
    assert verdict.status is Status.WRONG
    assert "About half is asked for, of both" in verdict.message


@pytest.mark.parametrize("seed", range(12))
def test_a_fair_coin_passes_whatever_it_throws(seed):
    assert assess(registry.find("08.cure"), lambda images, box, _: nb08._cure(images, box, seed)).passed


@pytest.mark.parametrize("seed", range(4))
def test_right_draws_pass_whatever_they_are(seed):
    exercise = registry.find("08.randomised")
    assert assess(exercise, lambda model, layers, given: nb08._randomised(model, layers, given + 1000 * seed)).passed


def test_ranks_by_hand():
    scores = np.array([[1.0, 10.0], [2.0, 10.0], [3.0, 5.0]])
    np.testing.assert_allclose(nb08._mean_ranks(scores, np.array([True, True])), [2.25, 1.75, 2.0])
    np.testing.assert_allclose(nb08._mean_ranks(scores, np.array([False, False])), [1.75, 2.25, 2.0])
