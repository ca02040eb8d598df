"""Every method on a real ImageNet network, MobileNetV2 (residual, depthwise, ReLU6), and real photos.

Four sample photos that the network knows are put together as the cells of one: each class has its cell, and a method
that explains the class puts its positive attribution there. Skipped where ../shared/teacher is absent.
"""

import keras
import numpy as np
import pytest
import zoo
from test_matrix import TEACHER

from labutils import evaluate, explain, photos
from labutils.explain.surgery import open_model

pytestmark = pytest.mark.skipif(
    not TEACHER.exists(), reason="the ImageNet MobileNetV2 of ../shared/teacher is not here"
)

CELLS = {"cat": 285, "coffee": 967, "motorcycle": 665, "rocket": 657}
"""The samples and their ImageNet classes: Egyptian cat, espresso, moped, missile."""

METHODS = {
    "grad_cam": {},
    "grad_cam_plus_plus": {},
    "layer_cam": {},
    "score_cam": {"max_channels": 16},
    "ablation_cam": {},
    "saliency": {},
    "gradient_times_input": {},
    "guided_backprop": {},
    "smooth_grad": {"samples": 4, "noise": 0.05, "seed": 0},
    "integrated_gradients": {"steps": 16},
    "occlusion": {"patch": 56, "stride": 28},
    "rise": {"masks": 64, "cells": 4, "seed": 0},
    "lrp": {},
}
BLIND = {"guided_backprop", "gradient_times_input"}
"""What is not expected to find the cell: the negative control, and a map of speckles."""


def mobilenet(side):
    model = keras.applications.MobileNetV2((side, side, 3), weights=None)
    model.load_weights(TEACHER)
    return model


def prepared(pictures):
    return np.asarray(pictures, np.float32) / 127.5 - 1


@pytest.fixture(scope="module")
def network():
    return mobilenet(224)


@pytest.fixture(scope="module")
def mosaic():
    image, cells = photos.mosaic([photos.sample(name) for name in CELLS], (2, 2), (224, 224))
    return prepared(image)[np.newaxis], cells


def test_the_network_knows_the_samples(network):
    logits = open_model(network).logits(prepared([photos.sample(name) for name in CELLS]))
    assert logits.argmax(axis=1).tolist() == list(CELLS.values())


@pytest.mark.parametrize("method", METHODS)
def test_each_class_is_found_in_its_cell(network, mosaic, method):
    image, _ = mosaic
    before = zoo.state(network)
    images = np.repeat(image, len(CELLS), axis=0)
    maps = getattr(explain, method)(network, images, list(CELLS.values()), **METHODS[method])
    assert maps.shape == (4, 224, 224)
    assert np.isfinite(maps).all()
    assert zoo.state(network) == before
    shares = evaluate.grid_pointing_game(maps, range(4))
    # A map that says nothing gets 0.25.
    assert method in BLIND or shares.mean() > 0.3, shares
    if method in ("grad_cam", "occlusion"):
        assert (shares > 0.3).all(), shares
