"""The teacher's maps and the way from its 1000 classes to ours."""

import numpy as np
import pytest

from labutils.training.teacher import COMPONENTS, _principal_components, class_mapping


def test_classes_map_by_what_the_teacher_says_of_their_photos():
    """Two ImageNet classes, two of ours: ImageNet class 0 is seen on photos of our class 1 and the other way round."""
    rng = np.random.default_rng(0)
    labels = np.array([0] * 30 + [1] * 10)
    maps = rng.normal(0, 0.1, (40, 2, 2, 2)).astype(np.float32)
    maps[labels == 0, ..., 1] += 3
    maps[labels == 1, ..., 0] += 3
    mapping, sharpness = class_mapping(maps, np.eye(2, dtype=np.float32), np.zeros(2, np.float32), labels, 2)
    np.testing.assert_allclose(mapping.sum(axis=1), 1.0, rtol=1e-6)
    assert mapping[0, 1] > 0.9
    assert mapping[1, 0] > 0.9
    # Unequal numbers of photos (30 and 10) make no difference: both rows are equally sure.
    assert mapping[0, 1] == pytest.approx(mapping[1, 0], abs=0.02)
    assert sharpness > 0.5


def test_principal_components_are_orthonormal_and_ordered():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(500, COMPONENTS + 8)) * np.linspace(5, 0.1, COMPONENTS + 8)
    mean, components = _principal_components(features)
    np.testing.assert_allclose(components.T @ components, np.eye(COMPONENTS), atol=1e-5)
    spread = ((features - mean) @ components).var(axis=0)
    assert (np.diff(spread) <= 1e-6).all()
