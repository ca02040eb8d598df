"""A tiny run of everything installed, on a network that takes no time."""

import importlib

import keras
import numpy as np
import pytest

from benchmarks import libraries, methods, timing
from benchmarks.compare import LABUTILS, compare
from benchmarks.libraries import LIBRARIES, Library, Rival
from benchmarks.libraries.by_hand import logits_model
from benchmarks.methods import METHODS, named
from benchmarks.scene import Scene, scene_of
from labutils.vit import Architecture, build_network

L = keras.layers


@pytest.fixture
def scene():
    """Two convolutions, pooling and a dense layer with a softmax, on one random image."""
    image = keras.Input((16, 16, 3))
    maps = L.Conv2D(6, 3, padding="same", activation="relu", name="first")(image)
    maps = L.Conv2D(8, 3, padding="same", activation="relu", name="maps")(L.MaxPooling2D()(maps))
    model = keras.Model(image, L.Dense(5, activation="softmax", name="predictions")(L.Flatten()(maps)))
    return Scene("tiny", model, np.random.default_rng(0).normal(0, 2, (1, 16, 16, 3)).astype(np.float32), "maps")


@pytest.fixture
def tokens():
    """A transformer of two blocks on a random image of 2 x 2 patches."""
    keras.utils.set_random_seed(0)
    model = build_network(Architecture(patch=8, width=6, depth=2, heads=2, hidden=8, outputs=5), 16)
    for variable in model.variables:  # a class token and biases of zero would hide a weight that was not copied
        variable.assign(variable + 0.3 * keras.random.normal(variable.shape))
    return Scene("tokens", model, np.random.default_rng(0).uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32), None)


TINY = {
    "score_cam": {"max_channels": None},
    "smooth_grad": {"samples": 2, "seed": 0},
    "occlusion": {"patch": 8, "stride": 8},
    "rise": {"masks": 4, "seed": 0},
    "maximize_activation": {"steps": 1, "seed": 0},
}


@pytest.mark.parametrize("name", ["grad_cam", "saliency", "gradient_times_input", "guided_backprop", "occlusion"])
def test_whoever_computes_the_same_gets_the_same_map(name, scene):
    """Each library's call is right only if its map is ours: class, layer, logit, reduction, options."""
    (method,) = named([name])
    rows = compare(method, scene, TINY.get(name, method.options), rounds=1)
    assert rows[0].library == LABUTILS
    for row in rows[1:]:
        assert not row.fails
        assert row.agreement.rank > 0.999, row
        # Overlapping is not at stake and float32 sums differ in order only.
        assert row.differs or row.agreement.difference < 1e-4, row


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_runs_from_its_record(method, scene, tokens):
    scene = tokens if method.network == "vit" else scene
    options = TINY.get(method.name, method.options)
    assert method.run(scene, options) is not None
    found = method.map(scene, options)
    assert found is None or found.shape == ((8, 8) if method.layer else (16, 16))


def test_vit_keras_gives_the_same_rollout(tokens):
    pytest.importorskip("vit_keras.visualize")
    ours, theirs = compare(named(["attention_rollout"])[0], tokens, {}, rounds=1)
    assert ours.passes == "1 + 0"
    assert not theirs.fails
    assert theirs.agreement.rank > 0.9999
    assert theirs.agreement.difference < 1e-4


def test_the_vit_keras_twin_has_the_models_logits(tokens):
    pytest.importorskip("vit_keras.visualize")
    from benchmarks.libraries.vit_keras import _compare, twin

    network = twin(tokens.model, tokens.images)  # raises where the logits differ
    tokens.model.get_layer("block2_attention").set_weights(
        [1.5 * array for array in tokens.model.get_layer("block2_attention").get_weights()]
    )
    with pytest.raises(ValueError, match="twin of 'vit' has other logits"):
        _compare(tokens.model, network, tokens.images)


def test_a_network_is_built_once():
    assert scene_of("vit", quick=True) is scene_of("vit", quick=True)
    assert scene_of("vit", quick=True).model.get_layer("block2_attention").num_heads == 12


def test_passes_are_counted_and_rounds_timed(scene):
    (method,) = named(["saliency"])
    ours, *_ = compare(method, scene, {}, rounds=3)
    assert ours.passes == "1 + 1"
    assert len(ours.timing.seconds) == len(ours.forward.seconds) == 3


def test_a_library_that_fails_is_a_row_and_not_the_end(scene, monkeypatch):
    def prepare(scene, options):
        raise TypeError("does not know this layer\nand more")

    broken = Library("Broken", (), (), "by_hand")
    monkeypatch.setattr("benchmarks.compare.rivals_of", lambda name: [(broken, Rival(name, "Saliency", prepare))])
    ours, row = compare(named(["saliency"])[0], scene, {}, rounds=1)
    assert ours.timing is not None
    assert row.timing is None
    assert row.fails == "TypeError: does not know this layer"


def test_a_library_that_is_absent_has_no_rivals():
    absent = Library("Absent", ("a-package-that-is-not-there",), ("a_module_that_is_not_there",), "by_hand")
    assert absent.versions == "not installed"
    assert absent.rivals == ()


def test_every_rival_names_a_method_and_every_library_has_a_file():
    known = {method.name for method in METHODS}
    for library in LIBRARIES:
        rivals = importlib.import_module(f"benchmarks.libraries.{library.file}").RIVALS
        assert {rival.method for rival in rivals} <= known
        assert len({(rival.method, rival.calls) for rival in rivals}) == len(rivals)


def test_the_logits_model_is_the_model_without_its_softmax(scene):
    logits = logits_model(scene)(scene.images)
    np.testing.assert_allclose(keras.ops.softmax(logits), scene.model(scene.images), rtol=1e-5)
    assert float(np.abs(logits).max()) > 1.0 or float(np.min(logits)) < 0.0


def test_unknown_names_are_refused_with_what_there_is():
    with pytest.raises(ValueError, match=r"no method 'gradcam'; there are: grad_cam, "):
        methods.named(["gradcam"])


def test_budget_and_warming_up():
    calls = []
    work = {"one": lambda: calls.append(1), "two": lambda: calls.append(2)}
    timings = timing.interleaved(work, 5, budget=0.0)
    assert calls == [1, 2, 1, 2, 2, 1]  # each once beforehand, two rounds, the second begins with the other
    assert [len(found.seconds) for found in timings.values()] == [2, 2]
    calls.clear()
    timing.interleaved(work, 1, warm_up=False)
    assert calls == [1, 2]
    assert libraries.rivals_of("no such method") == []


def test_the_torch_twin_has_the_models_logits(scene):
    torch = pytest.importorskip("torch")
    from benchmarks.libraries.torch_twin import twin

    network = twin(scene.model, scene.images)  # raises where the logits differ
    wrong = keras.models.clone_model(scene.model)
    assert sum(parameter.numel() for parameter in network.parameters()) == wrong.count_params()
    assert torch.is_grad_enabled()


def test_a_layer_without_a_twin_is_named(scene):
    pytest.importorskip("torch")
    from benchmarks.libraries.torch_twin import twin

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, L.Dense(2)(L.Flatten()(L.DepthwiseConv2D(3, name="deep")(image))))
    with pytest.raises(ValueError, match=r"'deep' \(DepthwiseConv2D\)"):
        twin(model, np.zeros((1, 8, 8, 3), np.float32))
