"""The explorer of activations: the values of `labutils.explain`, one pass a photo, and controls that agree."""

import io

import keras
import numpy as np
import pytest
import zoo
from PIL import Image

from labutils import explain
from labutils.widgets import ActivationExplorer
from labutils.widgets import activations as activations_module

L = keras.layers
LONG = 60
PHOTOS = zoo.photos(2)
HOSTILE = "<img src=x onerror=alert(1)>"


def scaled(photos):
    return photos / 64


def answered(explorer):
    """What is shown, once it is there; an error when there is none."""
    assert explorer.wait(LONG)
    assert explorer._problem is None, explorer._problem
    assert not explorer.view.busy
    return explorer._result[1]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.fixture(scope="module")
def model():
    return zoo.functional()


@pytest.fixture(scope="module")
def expected(model):
    return explain.activations(model, scaled(PHOTOS.astype("float32")))


@pytest.fixture
def explorer(model):
    explorer = ActivationExplorer(
        model, PHOTOS, preprocess=scaled, titles=["one", HOSTILE], class_names=[*"abc", HOSTILE]
    )
    yield explorer
    explorer.close()
    assert explorer.wait(LONG)


@pytest.fixture
def passes(monkeypatch):
    """One entry for each call that runs the model."""
    calls, real = [], explain.activations
    monkeypatch.setattr(explain, "activations", lambda *args: calls.append(1) or real(*args))
    return calls


class TestValues:
    def test_every_layer_at_its_first_last_and_largest_channel(self, explorer, expected):
        for layer, values in expected.items():
            explorer.layer.value = layer
            found = answered(explorer)
            by_channel = values[0].reshape(-1, values.shape[-1])
            assert found.channel == explorer.channel.value == explorer.number.value
            assert by_channel[:, found.channel].max() == by_channel.max()
            assert explorer.channel.max == explorer.number.max == values.shape[-1] - 1
            for channel in (0, values.shape[-1] - 1):
                explorer.channel.value = channel
                found = answered(explorer)
                np.testing.assert_allclose(found.values.ravel(), by_channel[:, channel], atol=1e-5)
                assert f"{channel}" in explorer.view.caption
                assert layer in explorer.words.value

    def test_statistics_are_those_of_explain(self, explorer, model):
        for layer, wanted in explain.activation_statistics(model, scaled(PHOTOS[:1].astype("float32"))).items():
            explorer.layer.value = layer
            shown = answered(explorer).layer.statistics
            assert shown.shape == tuple(wanted.shape)
            assert shown.receptive_field == wanted.receptive_field
            np.testing.assert_array_equal(shown.dead, wanted.dead)
            for number in ("sparsity", "mean", "std", "max"):
                assert getattr(shown, number) == pytest.approx(getattr(wanted, number), rel=1e-3, abs=1e-4), layer

    def test_tokens_are_maps_without_the_tokens_beside_them(self):
        model = zoo.transformer(before=3, depth=1)
        photo = zoo.photos(1, zoo.TOKENS)
        explorer = ActivationExplorer(model, photo)
        values = explain.activations(model, photo)
        tokens = [name for name, array in values.items() if array.shape[1:2] == (9,)]
        for layer in tokens:
            explorer.layer.value = layer
            answered(explorer)
            explorer.channel.value = 1
            np.testing.assert_allclose(answered(explorer).values, values[layer][0, 3:, 1].reshape(2, 3), rtol=1e-4)
        assert tokens

    def test_some_layers_only(self, model):
        explorer = ActivationExplorer(model, PHOTOS, layers=["fc", "conv2"])
        assert [name for _, name in explorer.layer.options] == ["fc", "conv2"]
        assert answered(explorer).values.shape == (1, 1)

    def test_a_layer_that_there_is_not_is_named(self, model):
        with pytest.raises(ValueError, match="has no layer 'conv3'; close names: 'conv"):
            ActivationExplorer(model, PHOTOS, layers="conv3")


class TestPasses:
    def test_a_photo_costs_one_pass_whatever_is_looked_at(self, explorer, passes, expected):
        answered(explorer)
        passes.clear()  # the first photo's may have come before they were counted
        for layer in list(expected) * 2:
            explorer.layer.value = layer
            answered(explorer)
            explorer.channel.value = 0
            answered(explorer)
        assert not passes
        for photo in (1, 0, 1):
            explorer.picker.chosen = (photo,)
            answered(explorer)
        assert len(passes) == 1

    def test_photos_beyond_the_memory_are_forgotten_and_come_again(self, explorer, monkeypatch, expected):
        monkeypatch.setattr(activations_module, "KEPT_BYTES", 1)
        answered(explorer)
        for channel, photo in enumerate((1, 0, 1)):
            explorer.picker.chosen = (photo,)
            explorer.channel.value = channel
            np.testing.assert_allclose(answered(explorer).values, expected["conv1"][photo, ..., channel], atol=1e-5)
            assert list(explorer._seen) == [photo]


class TestControls:
    def test_a_chosen_channel_stays_from_photo_to_photo_and_the_largest_is_followed_until_then(
        self, explorer, expected
    ):
        explorer.picker.chosen = (1,)
        assert answered(explorer).channel == expected["conv1"][1].max(axis=(0, 1)).argmax()
        explorer.number.value = 2
        answered(explorer)
        explorer.picker.chosen = (0,)
        assert answered(explorer).channel == explorer.channel.value == 2

    @pytest.mark.parametrize("largest_first", [False, True], ids=["by number", "largest first"])
    def test_a_click_in_the_overview_chooses_the_channel(self, explorer, expected, largest_first):
        explorer.layer.value = "conv2"
        explorer.order.value = largest_first
        answered(explorer)
        peaks = expected["conv2"][0].max(axis=(0, 1))
        order = list(np.argsort(-peaks, kind="stable")) if largest_first else list(range(5))
        rows, columns = explorer.overview.grid
        for index, channel in enumerate(order):
            explorer.overview.chosen = list(divmod(index, columns))
            assert answered(explorer).channel == explorer.channel.value == channel
            assert explorer.overview.box == [index // columns / rows, index % columns / columns, 1 / rows, 1 / columns]
        explorer.overview.chosen = [rows - 1, columns - 1]  # behind the last channel
        assert answered(explorer).channel == order[-1]
        assert explorer.overview.chosen == list(divmod(len(order) - 1, columns))

    def test_a_click_on_the_map_tells_the_value_and_frames_what_the_position_sees(self, explorer, model, expected):
        explorer.layer.value = "conv2"
        explorer.channel.value = 1
        answered(explorer)
        explorer.view.chosen = [2, 3]
        value = expected["conv2"][0, 2, 3, 1]
        assert f"row 2, column 3 of 5 x 7: {value:.3g}".replace("-", "\N{MINUS SIGN}") in explorer.words.value
        down, across = answered(explorer).layer.statistics.receptive_field.window(2, 3)
        height, width = zoo.SIZE[:2]
        assert explorer.view.box == pytest.approx(
            [
                down.start / height,
                across.start / width,
                (down.stop - down.start) / height,
                (across.stop - across.start) / width,
            ]
        )
        explorer.layer.value = "fc"
        answered(explorer)
        assert explorer.view.box == explorer.view.grid == explorer.view.chosen == []

    @pytest.mark.parametrize("opacity", [0, 1])
    @pytest.mark.parametrize("layer", ["conv1", "predictions"])
    def test_the_plain_figure(self, explorer, layer, opacity):
        explorer.opacity.value = opacity
        explorer.layer.value = layer
        text = explorer.figure().alt_text
        assert f"{explorer._result[1].channel}" in text
        assert layer in text

    def test_units_have_the_names_of_the_classes_and_none_of_them_is_markup(self, explorer):
        explorer.layer.value = "predictions"
        explorer.channel.value = 3
        answered(explorer)
        assert HOSTILE in explorer.view.caption
        assert "3 &lt;img" in explorer.bars.value
        assert HOSTILE not in explorer.bars.value + explorer.words.value
        explorer.layer.value = "conv1"
        answered(explorer)
        assert explorer.bars.value == ""


def narrow(units=1):
    """One channel that is 0 everywhere, one map of a single position, and then so many units."""
    model = keras.Sequential(
        [
            keras.Input((9, 7, 1)),
            L.Conv2D(1, 3, activation="relu", name="dead"),
            L.GlobalAveragePooling2D(keepdims=True, name="pooled"),
            L.Flatten(name="flat"),
            L.Dense(units, name="units"),
        ]
    )
    model.get_layer("dead").set_weights([-np.ones((3, 3, 1, 1)), -np.ones(1)])
    model.get_layer("units").set_weights([np.zeros((1, units)), np.arange(units) - 1.0])
    return model


class TestModels:
    @pytest.mark.parametrize(
        "photos", [np.full((1, 6, 5), 51, np.uint8), np.full((1, 6, 5, 3), 51, np.uint8)], ids=["grey", "colour"]
    )
    def test_a_network_of_dense_layers_on_grey_photos_without_an_axis_for_the_channels(self, photos):
        model = zoo.shake(keras.Sequential([keras.Input((6, 5)), L.Flatten(name="flat"), L.Dense(3, name="hidden")]))
        explorer = ActivationExplorer(model, photos, preprocess=lambda pixels: pixels / 255)
        assert answered(explorer).values == pytest.approx(0.2)
        explorer.layer.value = "hidden"
        expected = model.predict(np.full((1, 6, 5), 0.2), verbose=0)[0]
        np.testing.assert_allclose(answered(explorer).layer.peaks, expected, rtol=1e-4)

    def test_positions_without_a_place_in_the_photo_are_shown_in_the_overview_alone(self):
        model = zoo.shake(keras.Sequential([keras.Input((8, 6, 3)), L.Reshape((12, 12)), L.Conv1D(5, 3), L.LSTM(4)]))
        explorer = ActivationExplorer(model, zoo.photos(1, (8, 6, 3)))
        for layer, channels in zip(explorer._places, (12, 5, 4), strict=True):
            explorer.layer.value = layer
            assert len(answered(explorer).layer.cells) == channels
            assert explorer.view.map == b""
            assert explorer.view.photo

    def test_a_model_of_feature_vectors_is_refused(self):
        model = keras.Sequential([keras.Input((4,)), L.Dense(2)])
        with pytest.raises(ValueError, match=r"takes inputs of shape \(4,\); an explorer shows models of photos"):
            ActivationExplorer(model, PHOTOS)


class TestExtremes:
    def test_one_channel_that_is_zero_everywhere(self):
        explorer = ActivationExplorer(narrow(), np.full((1, 9, 7), 255, np.uint8))
        answered(explorer)
        assert explorer.view.ends == ["all zero"]
        assert "Channel 0: 0 everywhere on this photo" in explorer.words.value
        assert explorer.view.box == []
        assert explorer.channel.disabled
        assert (pixels(explorer.overview.photo)[:-1, :-1, :3] == activations_module._GREY).all()
        assert "all zero" in explorer.figure().alt_text

    @pytest.mark.parametrize("units", [1, 5000], ids=["one unit", "5,000 units"])
    def test_layers_without_positions(self, units):
        explorer = ActivationExplorer(narrow(units), np.zeros((1, 9, 7), np.uint8))
        for layer in ("pooled", "flat", "units"):
            explorer.layer.value = layer
            answered(explorer)
        assert explorer.view.map == b""
        assert "Logits" in explorer.words.value
        rows, columns = explorer.overview.grid
        assert units <= rows * columns < units + columns
        assert max(pixels(explorer.overview.photo).shape) <= 2 * activations_module.OVERVIEW
        assert explorer.bars.value.count("<tr>") == min(units, activations_module.BARS)
        explorer.channel.value = 0  # the least of them
        assert answered(explorer).values == -1
        assert "<b" not in explorer.bars.value
        assert "\N{MINUS SIGN}1" in explorer.bars.value

    def test_a_layer_that_gives_nan_says_so_and_those_before_it_are_shown(self):
        image = keras.Input(zoo.SIZE)
        broken = keras.ops.log(L.GlobalAveragePooling2D(name="mean")(-image))
        model = keras.Model(image, L.Dense(2, name="head")(broken))
        explorer = ActivationExplorer(model, PHOTOS)
        explorer.layer.value = "mean"
        answered(explorer)
        explorer.layer.value = "head"
        assert explorer.wait(LONG)
        assert "Not possible here: &#x27;head&#x27; gives values that are no numbers" in explorer.words.value
        assert explorer.overview.photo == b""
        assert explorer.view.box == explorer.overview.box == []
        with pytest.raises(ValueError, match="'head' gives values that are no numbers"):
            explorer.figure()
        explorer.layer.value = "mean"
        answered(explorer)
        assert explorer.overview.photo
