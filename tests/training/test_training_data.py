"""Photos in memory, sampling, sources held out, and the views that augmentation makes of them."""

import numpy as np
import pytest
from PIL import Image

from labutils.training.dataset import (
    SIDE,
    PhotoSet,
    backdrop_masks,
    class_folders,
    hold_out_sources,
    load_split,
    sampling_weights,
    source_of,
)


def photo_set(labels, names, classes):
    count = len(labels)
    return PhotoSet(
        images=np.zeros((count, 4, 4, 3), np.uint8),
        labels=np.array(labels),
        aspects=np.ones(count, np.float32),
        names=names,
        classes=classes,
    )


def test_photos_are_read_by_class_and_keep_their_aspect(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (80, 40), "red").save(tmp_path / name / "web_0001.jpg")
    (tmp_path / "dog" / "broken.jpg").write_bytes(b"not a photo")
    (tmp_path / "dog" / "notes.txt").write_text("ignored")
    photos = load_split(tmp_path, class_folders(tmp_path))
    assert photos.images.shape == (2, SIDE, SIDE, 3)
    assert photos.labels.tolist() == [0, 1]
    assert photos.aspects.tolist() == [2.0, 2.0]
    assert photos.sources == ["web", "web"]


def test_a_folder_without_classes_is_named(tmp_path):
    with pytest.raises(ValueError, match="no class folders"):
        class_folders(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="no photos"):
        load_split(tmp_path, ["cat"])


@pytest.mark.parametrize(
    ("name", "source"), [("caltech_0001.jpg", "caltech"), ("tiny-3.jpg", "tiny"), ("x.jpg", "x.jpg")]
)
def test_the_source_is_what_the_name_begins_with(name, source):
    assert source_of(name) == source


def test_sampling_evens_out_unequal_classes():
    labels = np.array([0] * 90 + [1] * 10)
    by_class = [np.bincount(labels, sampling_weights(labels, evenness)) for evenness in (0.0, 0.5, 1.0)]
    assert by_class[0] == pytest.approx([0.9, 0.1])
    assert by_class[1] == pytest.approx([0.75, 0.25])  # sqrt(90) : sqrt(10)
    assert by_class[2] == pytest.approx([0.5, 0.5])


def test_the_second_most_frequent_source_is_held_out():
    names = ["a_1"] * 40 + ["b_1"] * 30 + ["c_1"] * 20 + ["a_2"] * 50
    photos = photo_set([0] * 90 + [1] * 50, names, ["cat", "piano"])
    keep, out, held = hold_out_sources(photos)
    assert held == {"cat": "b"}
    assert {photos.names[i] for i in out} == {"b_1"}
    assert sorted([*keep, *out]) == list(range(140))


def test_a_backdrop_is_the_white_that_touches_the_border():
    image = np.full((SIDE, SIDE, 3), 255, np.uint8)
    image[40:120, 40:120] = 30
    image[70:90, 70:90] = 255  # white inside of the object is not backdrop
    other = np.full((SIDE, SIDE, 3), 90, np.uint8)
    masks = backdrop_masks(np.stack([image, other]))
    assert list(masks) == [0]
    assert masks[0][0, 0]
    assert not masks[0][80, 80]
    assert not masks[0][50, 50]


def views(count=16, **changes):
    import tensorflow as tf

    from labutils.training.augment import augment

    tf.random.set_seed(3)
    rng = np.random.default_rng(0)
    arguments = {
        "images": rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8),
        "aspects": np.ones(count, np.float32),
        "backdrops": np.zeros((count, SIDE, SIDE), np.float32),
        "maps": np.ones((count, 4, 4, 2), np.float16),
        "labels": np.eye(count, dtype=np.float32),
    } | changes
    return augment(**arguments, side=64, grid=4, smallest=0.2)


def test_views_are_network_input_of_the_size_asked_for():
    made = views()
    inputs = made.inputs.numpy()
    assert inputs.shape == (16, 64, 64, 3)
    assert made.maps.shape == (16, 4, 4, 2)
    rgb = inputs[..., ::-1] + np.array([123.68, 116.779, 103.939])
    assert rgb.min() >= -0.1
    assert rgb.max() <= 255.1
    assert np.isfinite(inputs).all()


def test_mixed_labels_still_sum_to_one():
    np.testing.assert_allclose(views().labels.numpy().sum(axis=1), 1.0, rtol=1e-5)


def test_maps_are_not_trusted_where_a_backdrop_was_pasted():
    backdrops = np.ones((64, SIDE, SIDE), np.float32)
    backdrops[:32] = 0
    trust = views(64, backdrops=backdrops).trust.numpy()
    assert set(np.unique(trust)) <= {0.0, 1.0}
    assert trust[32:].mean() < 0.6


def test_to_network_input_is_keras_preprocessing():
    from keras.applications.vgg16 import preprocess_input

    from labutils.training.augment import to_network_input

    rgb = np.random.default_rng(1).uniform(0, 255, (2, 5, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(to_network_input(rgb).numpy(), preprocess_input(rgb.copy()), atol=1e-4)
