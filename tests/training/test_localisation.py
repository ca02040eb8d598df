"""The bundled ViT: the classes of the sample photos, and maps that point at them better than the centre does."""

from types import SimpleNamespace

import pytest

from labutils import photos
from labutils.training.card import SAMPLE_CLASSES
from labutils.training.localisation import _masks, localisation
from labutils.vgg16 import VGG16
from labutils.vit import ViT, class_names, preprocess_input


@pytest.fixture(scope="module")
def vit():
    return ViT(weights="bundled")


@pytest.fixture(scope="module")
def scores(vit):
    return localisation(vit, VGG16(weights="bundled"))


def test_the_samples_are_recognised(vit):
    """At least four of the five that show one of its classes, at top-1."""
    names = class_names(vit)
    right = 0
    for name, shows in SAMPLE_CLASSES.items():
        said = vit.predict(preprocess_input(photos.sample(name)[None].astype("float32")), verbose=0)[0]
        right += names[said.argmax()] == shows
    assert right >= 4


@pytest.mark.parametrize("title", ["attention rollout", "gradient rollout", "Grad-CAM on tokens"])
def test_maps_point_at_the_object_better_than_the_centre_does(scores, title):
    assert scores[title]["object hit"] > scores["the centre"]["object hit"]
    assert scores[title]["share, textures"] > scores["the centre"]["share, textures"]


@pytest.mark.parametrize("title", ["attention, last block", "attention rollout"])
def test_what_knows_no_class_has_exactly_its_share_among_photos(scores, title):
    """A mosaic is asked for each of its cells in turn, and the shares of one map in all cells add up to 1."""
    assert scores[title]["share, photos"] == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("title", ["gradient rollout", "Grad-CAM on tokens"])
def test_what_knows_the_class_finds_its_photo_among_photos(scores, title):
    assert scores[title]["share, photos"] > 0.25


def test_masks_lie_in_the_cell_that_is_asked_for():
    picture, _ = photos.mosaic([photos.sample(name) for name in ("cat", "coffee", "astronaut", "flower")])
    (mask,) = _masks(SimpleNamespace(images=picture[None], cells=[1], photos=[0]), ["coffee"])
    assert mask.shape == (224, 224)
    assert mask[:112, 112:].sum() == mask.sum() == photos.sample_mask("coffee", (112, 112)).sum() > 0
