"""What the judges of notebook 02 hold for the truth, against labutils and against the definitions."""

import json

import numpy as np
import pytest

from labutils import explain
from labutils.course import registry
from labutils.course.checking import assess
from labutils.course.exercise import Status
from labutils.course.exercises import nb02_class_activation_maps as nb02

SEEDS = (None, 11)


def networks(seed):
    for case in registry.find("02.grad_cam").cases(seed):
        images = nb02._images(case.inputs)
        yield case.inputs, nb02._tiny_vgg(**case.inputs), images, nb02._classes(case.inputs, images)


@pytest.mark.parametrize("seed", SEEDS)
def test_expected_maps_are_those_of_labutils(seed):
    for inputs, network, images, classes in networks(seed):
        ours = explain.grad_cam(network, images, classes, layer=inputs["layer"])
        np.testing.assert_allclose(nb02._expected_grad_cam(inputs, images), ours, atol=1e-4 * ours.max())


@pytest.mark.parametrize("seed", SEEDS)
def test_cases_can_show_the_mistakes(seed):
    for inputs, network, images, classes in networks(seed):
        probabilities = np.asarray(network(images))
        assert images.shape[1] != images.shape[2]
        assert len(set(classes)) == len(images) >= 2
        assert not np.any(classes == probabilities.argmax(axis=1))
        features, gradients, _ = nb02._parts(inputs, images, nb02._chosen(classes))
        before_relu = nb02._unrectified(features, gradients)
        assert (before_relu.min(axis=(1, 2)) < 0).all()
        assert (before_relu.max(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_network_is_the_same_for_the_student_and_for_the_judge(seed):
    for inputs, network, images, _ in networks(seed):
        np.testing.assert_allclose(network(images), nb02._softmax(nb02._logits(inputs, images)), atol=1e-6)


def test_bilinear_by_hand():
    # Two cells to four: centres at 1/4 and 3/4 of a cell's width from the border; nothing beyond the outer centres.
    small = np.array([[[0.0, 4.0]]])
    np.testing.assert_allclose(nb02._bilinear(small, 1, 4), [[[0, 1, 3, 4]]])
    np.testing.assert_allclose(nb02._corner_aligned(small, 1, 3), [[[0, 2, 4]]])
    np.testing.assert_allclose(nb02._nearest(small, 2, 4), [[[0, 0, 4, 4], [0, 0, 4, 4]]])


def test_a_pasted_answer_fails_on_drawn_cases():
    exercise = registry.find("02.share_inside")
    public = {json.dumps(nb02._share_map(case.inputs).tolist()): case for case in exercise.cases(None)}
    reference = exercise.reference()

    def pasted(heatmap, cell):
        return reference(heatmap, cell) if json.dumps(heatmap.tolist()) in public else 0.25

    assert assess(exercise, pasted).passed
    assert assess(exercise, pasted, exercise.cases(1)).status is Status.WRONG


def test_a_model_that_fails_when_it_is_called_is_the_students():
    def made_too_simply(model):
        def call(images):
            raise KeyError("logits")

        return call

    verdict = assess(registry.find("02.logits"), made_too_simply)
    assert (verdict.status, verdict.mistake) == (Status.WRONG, "not_a_model")
    assert "KeyError" in verdict.message


def test_a_map_right_up_to_its_last_digit_passes_and_one_percent_off_does_not():
    exercise = registry.find("02.grad_cam")
    reference = exercise.reference()
    assert assess(exercise, lambda *args: reference(*args) * (1 + 1e-6)).passed
    assert assess(exercise, lambda *args: reference(*args) * 1.01).status is Status.WRONG
