"""`OpenModel.probabilities`: what the model itself predicts, and a softmax or sigmoid where it ends in logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import zoo

from labutils.explain import count_passes
from labutils.explain.surgery import open_model

L = zoo.L


@pytest.mark.parametrize("build", zoo.SAME_MODEL)
def test_every_build_of_a_model_gives_the_same_probabilities(build):
    photos = zoo.photos() / np.float32(256)
    expected = zoo.functional().predict(photos, verbose=0)
    assert 0.5 < expected.max() < 0.99  # so that a second softmax, or none, would show
    np.testing.assert_allclose(open_model(zoo.SAME_MODEL[build]()).probabilities(photos), expected, rtol=1e-4)


@pytest.mark.parametrize("build", [zoo.sigmoid_binary, zoo.sigmoid_multilabel])
def test_sigmoids_are_the_model_s_own(build):
    model, photos = build(), zoo.photos() / np.float32(256)
    np.testing.assert_allclose(open_model(model).probabilities(photos), model.predict(photos, verbose=0), rtol=1e-5)


LOG_SOFTMAXES = {
    "name": lambda: L.Dense(2, activation="log_softmax", use_bias=False),
    "TensorFlow function": lambda: L.Dense(2, activation=tf.nn.log_softmax, use_bias=False),
    "layer": lambda: keras.Sequential([L.Dense(2, use_bias=False), L.Activation("log_softmax")]),
    "operation": lambda: lambda x: keras.ops.log_softmax(L.Dense(2, use_bias=False)(x)),
}


@pytest.mark.parametrize("last", [*LOG_SOFTMAXES, "logits", "softmax", "sigmoid"])
def test_worked_out_by_hand(last):
    # Logits (0, ln 3) at x = 1. Softmax: 1/4, 3/4. Sigmoids: 1/2, 3/4.
    image = keras.Input((1,))
    layer = LOG_SOFTMAXES.get(last, lambda: L.Dense(2, activation=None if last == "logits" else last, use_bias=False))()
    model = keras.Model(image, layer(image))
    model.set_weights([np.array([[0.0, np.log(3)]], np.float32)])
    expected = [[0.5, 0.75]] if last == "sigmoid" else [[0.25, 0.75]]
    np.testing.assert_allclose(open_model(model).probabilities(np.ones((1, 1), np.float32)), expected, rtol=1e-6)


def test_a_single_logit_gets_a_sigmoid():
    model = keras.Sequential([keras.Input((1,)), L.Dense(1, use_bias=False)])
    model.set_weights([np.array([[np.log(3)]], np.float32)])
    with count_passes() as passes:
        probabilities = open_model(model).probabilities(np.array([[0], [1], [-1]], np.float32))
    np.testing.assert_allclose(probabilities, [[0.5], [0.75], [0.25]], rtol=1e-6)
    assert (passes.forward, passes.backward) == (3, 0)


def test_the_model_and_its_logits_stay_as_they_were():
    model, photos = zoo.functional(), zoo.photos() / np.float32(256)
    before, logits = zoo.state(model), open_model(zoo.functional()).logits(photos)
    opened = open_model(model)
    opened.probabilities(photos)
    np.testing.assert_array_equal(opened.logits(photos), logits)
    assert zoo.state(model) == before
