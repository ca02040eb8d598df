"""Mosaics of photos that a network is sure of; the network here tells red, green and blue apart, and nothing else."""

import keras
import numpy as np
import pytest
import zoo

from labutils import explain
from labutils.evaluate import confident_mosaics, grid_pointing_game, textured_mosaics
from labutils.photos import mosaic, mosaic_cells

RED, GREEN, BLUE, GREY = (200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)


def plain(*colours, size=(12, 10)):
    return np.stack([np.full((*size, 3), colour, np.uint8) for colour in colours])


def preprocess(photos):
    """As many do: in place, and with a division that integers would not survive."""
    photos /= 200.0
    return photos


@pytest.fixture(scope="module")
def model():
    """Logits: 10 times the mean red, green and blue. A plain colour of 1 has 0.9999, a grey 1/3."""
    image = keras.Input((None, None, 3))
    tensor = zoo.L.Conv2D(3, 1, use_bias=False, name="colours")(image)
    tensor = zoo.L.Dense(3, activation="softmax", use_bias=False)(zoo.L.GlobalAveragePooling2D()(tensor))
    model = keras.Model(image, tensor)
    model.set_weights([np.eye(3).reshape(1, 1, 3, 3), 10 * np.eye(3)])
    return model


def test_every_cell_holds_a_photo_of_its_class_and_no_other_does(model):
    photos = plain(GREY, RED, GREEN, RED, BLUE, GREY)
    made = confident_mosaics(model, photos, preprocess=preprocess, grid=(1, 3), mosaics=20, seed=0)
    assert made.images.shape == (60, 12, 10, 3)
    assert made.images.dtype == np.uint8
    assert made.grid == (1, 3)
    np.testing.assert_array_equal(made.cells, [0, 1, 2] * 20)
    np.testing.assert_allclose(made.inputs, made.images / np.float32(200), rtol=1e-6)
    edges = [0, 3, 7, 10]
    for image, c, cell, photo in zip(made.images, made.classes, made.cells, made.photos, strict=True):
        strip = image[:, edges[cell] : edges[cell + 1]]
        np.testing.assert_array_equal(strip, np.broadcast_to(photos[photo, 0, 0], strip.shape))
        assert photos[photo, 0, 0, c] == 200
        others = np.delete(image, np.s_[edges[cell] : edges[cell + 1]], axis=1)
        assert not others[..., c].any()
    # Both red photos, and all places, take their turn; no grey one does.
    assert set(made.photos) == {1, 2, 3, 4}
    assert len({tuple(made.classes[i : i + 3]) for i in range(0, 60, 3)}) > 3


def test_a_perfect_explainer_scores_one_and_the_worst_zero(model):
    made = confident_mosaics(model, plain(RED, GREEN, BLUE), preprocess=preprocess, grid=(2, 1), mosaics=5, seed=0)
    perfect = made.inputs[np.arange(10), :, :, made.classes]
    np.testing.assert_array_equal(grid_pointing_game(perfect, made.cells, grid=made.grid), np.ones(10))
    np.testing.assert_array_equal(grid_pointing_game(1 - perfect, made.cells, grid=made.grid), np.zeros(10))
    # Grad-CAM of this network is exactly the channel of the class.
    maps = explain.grad_cam(model, made.inputs, made.classes, layer="colours")
    np.testing.assert_allclose(grid_pointing_game(maps, made.cells, grid=made.grid), np.ones(10))


def test_seed(model):
    def classes(seed):
        made = confident_mosaics(
            model, plain(RED, GREEN, BLUE), preprocess=preprocess, grid=(1, 2), mosaics=12, seed=seed
        )
        return made.classes.tolist()

    assert classes(1) == classes(1)
    assert classes(1) != classes(2)


def test_true_classes_leave_out_what_the_network_gets_wrong(model):
    photos = plain(RED, RED, GREEN)
    made = confident_mosaics(model, photos, [2, 0, 1], preprocess=preprocess, grid=(2, 1), mosaics=10, seed=0)
    assert set(made.photos) == {1, 2}
    with pytest.raises(ValueError, match="there are 1"):
        confident_mosaics(model, photos, [2, 2, 1], preprocess=preprocess, grid=(2, 1))


def test_size_and_models_that_take_photos_as_they_are():
    image = keras.Input((None, None, 3))
    scaled = zoo.L.GlobalAveragePooling2D()(zoo.L.Rescaling(1 / 200)(image))
    model = keras.Model(image, zoo.L.Dense(3, use_bias=False)(scaled))  # logits: the softmax is applied
    model.set_weights([10 * np.eye(3)])
    made = confident_mosaics(model, plain(RED, BLUE), grid=(1, 2), mosaics=1, size=(12, 20), seed=0)
    assert made.images.shape == (2, 12, 20, 3)
    np.testing.assert_array_equal(made.inputs, made.images)
    assert sorted(made.classes) == [0, 2]


def test_too_few_classes_say_how_many_and_how_sure(model):
    # The third photo: e^(10 * 0.045) = 1.57, and 1.57 / (1 + 1 + 1.57) = 0.44.
    message = (
        r"grid of 2 x 2 needs photos of 4 different classes .* at least 0.9; there are 2. "
        r"Surest photo of each class: class 0 1.00, class 1 1.00, class 2 0.44"
    )
    with pytest.raises(ValueError, match=message):
        confident_mosaics(model, plain(RED, GREEN, (85, 85, 94)), preprocess=preprocess)
    # p = e^10 / (e^10 + 2) = 0.99991.
    confident_mosaics(model, plain(RED, GREEN), preprocess=preprocess, grid=(1, 2), mosaics=1, confidence=0.9999)
    with pytest.raises(ValueError, match="there are 0"):
        confident_mosaics(model, plain(RED, GREEN), preprocess=preprocess, grid=(1, 2), confidence=0.99995)


def test_photos_and_model_stay_as_they_were(model):
    photos, before = plain(RED, GREEN, BLUE), zoo.state(model)
    confident_mosaics(model, photos, preprocess=preprocess, grid=(1, 3), mosaics=2)
    np.testing.assert_array_equal(photos, plain(RED, GREEN, BLUE))
    assert zoo.state(model) == before


@pytest.mark.parametrize(
    ("photos", "options", "error", "message"),
    [
        (plain(RED) / 255, {}, ValueError, "photos: .*uint8 is needed.* not float64"),
        (plain(RED)[0], {}, ValueError, r"photos: .* of shape \(12, 10, 3\)"),
        (plain(RED, GREEN), {"mosaics": 0}, ValueError, "mosaics"),
        (plain(RED, GREEN), {"confidence": "high"}, TypeError, "confidence"),
        (plain(RED, GREEN), {"seed": -1}, ValueError, "seed"),
        (plain(RED, GREEN), {"grid": (20, 20)}, ValueError, "grid of 20 x 20 does not fit into 12 x 10"),
        (plain(RED, GREEN), {"classes": [0, 3]}, ValueError, "classes: 3 is out of range"),
    ],
)
def test_errors(model, photos, options, error, message):
    with pytest.raises(error, match=message):
        confident_mosaics(model, photos, preprocess=preprocess, **{"grid": (1, 2), **options})


class TestTextured:
    def make(self, model, *colours, **options):
        options = {"preprocess": preprocess, "seed": 0, **options}
        return textured_mosaics(model, plain(*colours, size=(12, 16)), **options)

    def test_each_sure_photo_lies_in_each_cell_among_all_textures(self, model):
        from skimage import data

        made = self.make(model, RED, GREY, BLUE)
        assert made.images.shape == (8, 12, 16, 3)
        assert made.images.dtype == np.uint8
        assert made.grid == (2, 2)
        np.testing.assert_array_equal(made.photos, [0] * 4 + [2] * 4)
        np.testing.assert_array_equal(made.classes, [0] * 4 + [2] * 4)
        np.testing.assert_array_equal(made.cells, [0, 1, 2, 3] * 2)
        np.testing.assert_allclose(made.inputs, made.images / np.float32(200), rtol=1e-6)
        surfaces = [np.stack([getattr(data, name)()] * 3, axis=-1) for name in ("brick", "grass", "gravel")]
        small = [mosaic([surface] * 4, size=(12, 16))[0][:6, :8] for surface in surfaces]
        orders = set()
        for image, cell, photo in zip(made.images, made.cells, made.photos, strict=True):
            pieces = [image[top:bottom, left:right] for top, left, bottom, right in mosaic_cells((2, 2), (12, 16))]
            np.testing.assert_array_equal(pieces[cell], np.broadcast_to((RED, GREY, BLUE)[photo], (6, 8, 3)))
            others = [piece for index, piece in enumerate(pieces) if index != cell]
            found = [next(i for i, surface in enumerate(small) if (surface == piece).all()) for piece in others]
            assert sorted(found) == [0, 1, 2]
            orders.add(tuple(found))
        assert len(orders) > 2

    def test_a_flat_map_and_the_centre_score_one_cells_share_and_the_photo_one(self, model):
        made = self.make(model, RED, GREEN)
        flat = np.ones(made.images.shape[:3])
        down, across = np.arange(12)[:, None] - 5.5, np.arange(16) - 7.5
        centre = np.broadcast_to(np.exp(-(down**2 + across**2) / 8), flat.shape)
        colourful = np.ptp(made.images.astype(int), axis=-1)  # knows no class, but where something is
        for maps, score in ((flat, 0.25), (centre, 0.25), (colourful, 1.0)):
            np.testing.assert_allclose(grid_pointing_game(maps, made.cells, grid=made.grid), np.full(8, score))

    def test_larger_grids_true_classes_and_seeds(self, model):
        made = self.make(model, RED, RED, GREEN, grid=(2, 3), classes=[2, 0, 0])
        assert made.images.shape == (6, 12, 16, 3)
        assert set(made.photos) == {1}
        np.testing.assert_array_equal(made.cells, range(6))
        assert made.grid == (2, 3)
        np.testing.assert_array_equal(self.make(model, RED).images, self.make(model, RED).images)
        assert (self.make(model, RED).images != self.make(model, RED, seed=1).images).any()
        assert self.make(model, RED, size=(20, 24)).images.shape == (4, 20, 24, 3)

    def test_no_photo_to_be_sure_of(self, model):
        # A grey one has 1/3 of each class; the surer one e^(10 * 0.045) = 1.57 of 1 + 1 + 1.57: 0.44.
        with pytest.raises(
            ValueError, match=r"there is none .* at least 0.9. Surest photo .*: class 2 0.44, class 0 0.33"
        ):
            self.make(model, GREY, (85, 85, 94))

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"grid": (20, 20)}, ValueError, "grid of 20 x 20 does not fit into 12 x 16"),
            ({"confidence": "high"}, TypeError, "confidence"),
            ({"seed": -1}, ValueError, "seed"),
            ({"classes": [3]}, ValueError, "classes: 3 is out of range"),
        ],
    )
    def test_errors(self, model, options, error, message):
        with pytest.raises(error, match=message):
            self.make(model, RED, **options)
        with pytest.raises(ValueError, match=r"photos: .*uint8 is needed.* not float64"):
            textured_mosaics(model, plain(RED) / 255)


def test_grad_cam_finds_the_sample_photos_with_the_bundled_network():
    from labutils import photos
    from labutils.vgg16 import VGG16, preprocess_input

    samples = np.stack([photos.sample(name) for name in ("cat", "coffee", "motorcycle", "flower")])
    model = VGG16()
    made = confident_mosaics(model, samples, preprocess=preprocess_input, mosaics=2, seed=0)
    shares = grid_pointing_game(explain.grad_cam(model, made.inputs, made.classes), made.cells)
    assert shares.mean() > 0.5  # a flat map has 0.25
