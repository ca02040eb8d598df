"""What the judges of notebook 04 hold for the truth, against labutils and against pencil and paper."""

import math

import numpy as np
import pytest
from scipy.signal import convolve

from labutils.course import registry
from labutils.course.checking import assess, run
from labutils.course.exercise import Status
from labutils.course.exercises import nb04_occlusion as nb04
from labutils.explain.incremental import Axis
from labutils.explain.occlusion import lay_patches
from labutils.explain.rise import _MaskMaker

SEEDS = (None, 11, 12, 13)
each_seed = pytest.mark.parametrize("seed", SEEDS)


def inputs_of(exercise_id, seed):
    return [case.inputs for case in registry.find(exercise_id).cases(seed)]


def test_positions_by_hand():
    assert nb04._positions(10, 4, 4).tolist() == [0, 4, 6]
    assert nb04._positions(10, 4, 3).tolist() == [0, 3, 6]
    assert nb04._positions(10, 10, 3).tolist() == [0]
    assert nb04._positions(10, 2, 7).tolist() == [0, 7, 8]


@each_seed
def test_positions_are_those_of_labutils_in_settings_that_show_the_mistakes(seed):
    ((settings,),) = [list(inputs.values()) for inputs in inputs_of("04.positions", seed)]
    for size, side, stride in settings:
        expected = lay_patches((size, size), (side, side), (stride, stride)).tops
        assert nb04._positions(size, side, stride).tolist() == expected.tolist()
    even, uneven, gaps, whole = settings
    assert (even[0] - even[1]) % even[2] == 0
    assert (uneven[0] - uneven[1]) % uneven[2] != 0
    assert gaps[2] > gaps[1]
    assert whole[0] == whole[1]


def test_cover_by_hand():
    image = np.arange(24.0).reshape(3, 4, 2)
    covered = nb04._cover(image, 1, 2, 2, [7, 9])
    assert covered[1:, 2:].tolist() == [[[7, 9], [7, 9]], [[7, 9], [7, 9]]]
    np.testing.assert_array_equal(covered[0], image[0])
    np.testing.assert_array_equal(covered[:, :2], image[:, :2])
    assert image[1, 2].tolist() == [12, 13]


@each_seed
def test_covered_patches_lie_inside_and_off_the_diagonal(seed):
    for inputs in inputs_of("04.cover", seed):
        height, width, _ = inputs["shape"]
        assert height != width
        assert inputs["top"] != inputs["left"]
        assert max(inputs["top"], inputs["left"]) + inputs["side"] < min(height, width)


def test_fills_are_those_of_the_networks_own_preprocessing():
    from labutils import vgg16, vit

    for kind, module in (("VGG16's", vgg16), ("a ViT's", vit)):
        colour = (10, 120, 240)
        expected = module.preprocess_input(np.array([[[colour]]], dtype="float32"))[0, 0, 0]
        np.testing.assert_allclose(nb04._fill_for(colour, nb04._preprocessing(kind, 0)), expected, atol=1e-4)
        np.testing.assert_allclose(nb04._fill_for(colour, module.preprocess_input), expected, atol=1e-4)


def test_vgg16s_preprocessing_has_the_trap_of_keras():
    values = np.array([[[[10.0, 120.0, 240.0]]]], dtype="float32")
    nb04._preprocessing("VGG16's", 0)(values)
    assert values[0, 0, 0, 0] == pytest.approx(240 - 103.939)


@each_seed
def test_drops_come_in_both_signs_from_batches_that_do_not_come_out_even(seed):
    for inputs in inputs_of("04.drops", seed):
        drops = nb04._drops(*nb04._drops_arguments(inputs))
        count = drops.size
        assert drops.shape == (len(inputs["tops"]), len(inputs["lefts"]))
        assert drops.shape[0] != drops.shape[1]
        assert (drops < 0).any()
        assert (drops > 0).any()
        assert count % inputs["batch_size"]
        assert drops.shape[1] < inputs["batch_size"] < count / 2


def test_a_drop_by_hand():
    # S = the sum of the image: a patch of 2 x 2 ones filled with 0 costs 4, one at the twos costs 8.
    image = np.ones((3, 5, 1))
    image[:, 3:] = 2
    found = nb04._drops(lambda batch: batch.sum(axis=(1, 2, 3)), image, [0, 1], [0, 1, 3], 2, 0.0, 4)
    assert found.tolist() == [[4, 4, 8], [4, 4, 8]]


def test_batches_are_counted():
    exercise = registry.find("04.drops")
    for case in exercise.cases(None):
        calls = run(exercise, exercise.reference(), case)["calls"]
        assert sorted(calls)[0] == 1
        assert max(calls) <= case.inputs["batch_size"]
        assert len(calls) == math.ceil(20 / case.inputs["batch_size"]) + 1


def test_an_image_without_the_batch_axis_is_named_in_the_students_own_error():
    def answer(score, image, tops, lefts, side, fill, batch_size):
        return score(image)

    verdict = assess(registry.find("04.drops"), answer)
    assert verdict.status is Status.RAISED
    assert "score takes a batch" in verdict.message


@each_seed
def test_averages_are_those_of_labutils(seed):
    overlap, gaps = inputs_of("04.average", seed)
    for inputs in (overlap, gaps):
        drops, tops, lefts, side, size = nb04._average_arguments(inputs)
        patches = lay_patches(size, (side, side), (3, 3) if inputs is overlap else (6, 6))
        np.testing.assert_array_equal(patches.tops, tops)
        np.testing.assert_array_equal(patches.lefts, lefts)
        expected = patches.average(drops)
        np.testing.assert_allclose(nb04._average(drops, tops, lefts, side, size), expected)
        assert (expected < 0).any()
        assert drops.shape[0] != drops.shape[1]
    assert (nb04._average(*nb04._average_arguments(gaps)) == 0).any()


@each_seed
def test_windows_are_those_of_labutils(seed):
    (inputs,) = inputs_of("04.reached", seed)
    for first, end, size, kind in inputs["settings"]:
        axis = Axis(size, size, 3, 1, 1) if kind == "conv" else Axis(size, size // 2, 2, 2, 0)
        expected = [int(side) for side in axis.reached(np.array(first), np.array(end))]
        assert list(nb04._reached(first, end, size, kind)) == expected
        # Once more, by what changes: ones let through the layer.
        changed = np.zeros(size)
        changed[first:end] = 1
        after = convolve(changed, np.ones(3), mode="same") if kind == "conv" else changed.reshape(-1, 2).sum(axis=1)
        assert [np.flatnonzero(after > 0.5)[0], np.flatnonzero(after > 0.5)[-1] + 1] == expected


def test_a_forgotten_floor_in_the_pooling_alone_is_named():
    def answer(first, end, size, kind):
        if kind == "conv":
            return max(first - 1, 0), min(end + 1, size)
        return first / 2, (end + 1) / 2

    assert assess(registry.find("04.reached"), answer).mistake == "not_integers"


def test_rise_is_that_of_labutils():
    # labutils makes its masks itself: the same ones, and any scores.
    maker = _MaskMaker((20, 26), (3, 4), 0.4)
    masks = maker.masks(np.random.default_rng(5), 9)
    scores = np.random.default_rng(6).normal(2, 3, 9)
    expected = sum(score * mask for score, mask in zip(scores, masks, strict=True)) / (9 * 0.4)
    np.testing.assert_allclose(nb04._rise_map(scores, masks, 0.4), expected, rtol=1e-5)


@each_seed
def test_rise_scores_come_in_both_signs(seed):
    for inputs in inputs_of("04.rise_map", seed):
        scores, masks, keep = nb04._rise_arguments(inputs)
        assert scores.min() < 0 < scores.max()
        assert len(set(masks.shape)) == 3
        assert 0 < keep < 1
        assert keep != 0.5, "Or a mask and what it hides weigh the same."


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("04.cover", lambda image, top, left, side, fill: np.zeros((224, 224, 3))),
        ("04.average", lambda drops, tops, lefts, side, size: np.zeros((224, 224))),
        ("04.drops", lambda score, image, tops, lefts, side, fill, batch_size: np.zeros((7, 7))),
    ],
)
def test_the_notebooks_own_sizes_cannot_be_written_into_an_answer(exercise_id, answer):
    assert assess(registry.find(exercise_id), answer).mistake == "wrong_shape"


def test_a_pasted_answer_fails_on_drawn_cases():
    exercise = registry.find("04.average")
    reference = exercise.reference()
    public = {nb04._average_arguments(case.inputs)[0].tobytes() for case in exercise.cases(None)}

    def pasted(drops, tops, lefts, side, size):
        return reference(drops, tops, lefts, side, size) if drops.tobytes() in public else np.zeros(size)

    assert assess(exercise, pasted).passed
    assert assess(exercise, pasted, exercise.cases(1)).status is Status.WRONG


@pytest.mark.parametrize("exercise_id", ["04.drops", "04.average", "04.rise_map", "04.fill_for"])
def test_right_up_to_the_last_digits_passes_and_one_percent_off_does_not(exercise_id):
    exercise = registry.find(exercise_id)
    reference = exercise.reference()
    assert assess(exercise, lambda *asked: reference(*asked) * (1 + 1e-6)).passed
    assert assess(exercise, lambda *asked: reference(*asked) * 1.01).status is Status.WRONG
