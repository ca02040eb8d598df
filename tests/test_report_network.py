"""Models of other people in a report: what their outputs say, and what is told of those that cannot be explained."""

import keras
import numpy as np
import pytest
from PIL import Image

from labutils import report
from labutils.report.network import Network, saved_network

LAYERS = keras.layers


class Doubled(LAYERS.Layer):
    """A layer that Keras does not know."""

    def call(self, inputs):
        return 2 * inputs


def classifier(*last, side=8, first=None):
    """A small network that ends in the given layers."""
    inputs = keras.Input((side, side, 3), name="image")
    x = LAYERS.Conv2D(3, 3, activation="relu", name="maps")(inputs if first is None else first(inputs))
    x = LAYERS.GlobalAveragePooling2D()(x)
    for layer in last:
        x = layer(x)
    return keras.Model(inputs, x, name="classifier")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype="uint8")).save(path)
    return path


@pytest.fixture
def saved(tmp_path):
    """Saves a model and names its file."""

    def save(model):
        model.save(tmp_path / "m.keras")
        return tmp_path / "m.keras"

    return save


def test_single_output_stands_for_two_classes(saved, tmp_path, photo):
    """Near 0 it speaks for the first name, near 1 for the second, as Keras's folders of two classes are read."""
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    model = classifier(LAYERS.Dense(1, "sigmoid", bias_initializer=keras.initializers.Constant(-2.0)))
    model.layers[-1].kernel.assign(np.zeros((3, 1)))
    unnamed = saved_network(saved(model))
    assert (unnamed.labels, unnamed.otherwise) == (("positive",), "negative")
    network = saved_network(saved(model), labels=tmp_path / "names.txt")
    assert (network.labels, network.otherwise) == (("dog",), "cat")
    explained = report.explain_photo(network, photo, report.choose(["saliency"]), scores=False)
    dog = 1 / (1 + np.exp(2))
    found = [(prediction.class_index, prediction.label) for prediction in explained.predictions]
    assert found == [(None, "cat"), (0, "dog")]
    np.testing.assert_allclose([prediction.probability for prediction in explained.predictions], [1 - dog, dog])
    page = report.render(network, explained, {})
    assert "what speaks against “dog” speaks for “cat”" in page


def test_logits_of_one_output_become_a_sigmoid(photo):
    network = Network("logit", classifier(LAYERS.Dense(1)), "scale01", ("dog",))
    image = np.random.default_rng(0).random((2, 8, 8, 3), dtype="float32")
    logits = network.model.predict(image, verbose=0)
    np.testing.assert_allclose(network.probabilities(image), 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_labels_that_do_not_exclude_each_other_are_told(photo):
    network = Network("labels", classifier(LAYERS.Dense(3, "sigmoid")), "scale01", ("a", "b", "c"))
    page = report.render(network, report.explain_photo(network, photo, [], scores=False), {})
    assert "each is judged by itself, so they need not add up to 100 %" in page


def test_one_of_several_outputs(saved, photo):
    inputs = keras.Input((8, 8, 3))
    x = LAYERS.GlobalAveragePooling2D()(LAYERS.Conv2D(3, 3)(inputs))
    outputs = [LAYERS.Dense(count, "softmax", name=name)(x) for name, count in (("kind", 2), ("colour", 5))]
    path = saved(keras.Model(inputs, outputs))
    with pytest.raises(ValueError, match=r"m\.keras has 2 outputs; choose one: --head kind or --head colour"):
        saved_network(path)
    with pytest.raises(ValueError, match=r"m\.keras has no output 'size'; it has: kind, colour"):
        saved_network(path, head="size")
    network = saved_network(path, head="colour")
    assert len(network.labels) == 5
    (evidence,) = report.explain_photo(network, photo, report.choose(["grad_cam"]), scores=False).evidence
    assert evidence.maps[0].problem == ""


def test_own_layers_come_from_their_module(saved, tmp_path, monkeypatch):
    path = saved(classifier(LAYERS.Dense(2, "softmax"), first=Doubled()))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"m\.keras is made of Doubled, which Keras does not know; .*--custom MODULE"):
        saved_network(path)
    with pytest.raises(ValueError, match="--custom cannot import no_such_layers: No module"):
        saved_network(path, custom="no_such_layers")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own_layers.py").write_text(
        "import keras\n\nclass Doubled(keras.layers.Layer):\n    def call(self, inputs):\n        return 2 * inputs\n"
    )
    assert saved_network(path, custom="mine/own_layers.py").size == (8, 8)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: classifier(LAYERS.Dense(2), first=LAYERS.Lambda(lambda x: x / 255)), "has a Lambda layer"),
        (
            lambda: keras.Sequential([LAYERS.Flatten(), LAYERS.Dense(2)]),
            "cannot be explained: 'sequential.*' is not built yet",
        ),
        (
            lambda: keras.Sequential([keras.Input((3, 8, 8)), LAYERS.Flatten(), LAYERS.Dense(2)]),
            r"takes photos with their colours first, \(None, 3, 8, 8\)",
        ),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 5)), LAYERS.Flatten(), LAYERS.Dense(2)]),
            r"does not take photos of shape \(n, height, width, 3 or 1\); its input is \(None, 8, 8, 5\)",
        ),
    ],
    ids=["a Python lambda", "not built", "channels first", "five channels"],
)
@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_model_that_cannot_be_explained(saved, model, message):
    keras.utils.clear_session()
    with pytest.raises(ValueError, match=message):
        saved_network(saved(model()))


def test_preprocessing_that_fails_is_named(photo, tmp_path, monkeypatch):
    (tmp_path / "broken_preparation.py").write_text("def divide(x):\n    return x / 0 if x.ndim == 3 else x[:, 1:]\n")
    monkeypatch.chdir(tmp_path)
    network = Network("m", classifier(LAYERS.Dense(2)), "broken_preparation:divide", ("a", "b"))
    with pytest.raises(ValueError, match=r"--preprocess broken_preparation:divide turned shape \(1, 8, 8, 3\) into"):
        network.prepare(np.zeros((1, 8, 8, 3), "uint8"))
    (tmp_path / "other_preparation.py").write_text("def fail(x):\n    raise KeyError('mean')\n")
    network = Network("m", network.model, "other_preparation:fail", ("a", "b"))
    with pytest.raises(ValueError, match="--preprocess other_preparation:fail failed: 'mean'"):
        network.prepare(np.zeros((1, 8, 8, 3), "uint8"))
