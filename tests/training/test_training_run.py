"""From photos to shipped weights, on photos made here: a red class and a blue one."""

import json

import numpy as np
import pytest
from PIL import Image

from labutils.training import __main__ as command
from labutils.training.card import Evaluation, licence_rows
from labutils.training.export import best_temperature, calibration_error, folded_weights, shipped_network, with_prior
from labutils.training.network import training_network

CHANNELS, DENSE = [4, 4, 8, 8, 8], [8, 8]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two colours, two sources each."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for split, count in (("train", 160), ("val", 8)):
        for name, colour in (("apple", (200, 30, 30)), ("sky", (30, 30, 200))):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(np.array(colour) + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
                source = "web" if i % 2 else "phone"
                Image.fromarray(pixels).save(root / split / name / f"{source}_{i:04d}.jpg")
    (root / "SOURCES.md").write_text("| prefix | source | licence |\n|---|---|---|\n| web, phone | made here | CC0 |\n")
    return root


def randomised(network):
    """Random values in every variable; batch norm's as different from 0 and 1 as training makes them."""
    rng = np.random.default_rng(5)
    for variable in network.variables:
        if variable.dtype.startswith("float"):
            spread = rng.normal(size=variable.shape)
            positive = variable.name in {"variance", "gamma"}
            variable.assign(np.exp(0.5 * spread) if positive else spread * 0.3)
    return network


def test_the_shipped_network_computes_what_the_trained_one_did():
    trained = randomised(training_network(CHANNELS, DENSE, 3, teacher_components=0))
    weights = folded_weights({variable.path: variable.numpy() for variable in trained.variables})
    shipped = shipped_network(weights, channels=CHANNELS, dense=DENSE, classes=3)
    images = np.random.default_rng(2).normal(0, 60, (2, 224, 224, 3)).astype(np.float32)
    logits = trained(images, training=False)["logits"].numpy()
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shipped(images).numpy(), probabilities, atol=2e-5)


def test_the_prior_moves_the_logits_by_the_classes_sizes():
    layers = {"predictions": (np.ones((2, 3)), np.zeros(3))}
    kernel, bias = with_prior(layers, np.array([1, 10, 100]), 0.5)["predictions"]
    np.testing.assert_allclose(bias, 0.5 * np.log([1, 10, 100]))
    np.testing.assert_array_equal(kernel, layers["predictions"][0])
    assert layers["predictions"][1].tolist() == [0, 0, 0]


def test_temperature_makes_doubled_logits_right_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in probabilities])
    assert best_temperature(2 * logits, labels) == pytest.approx(2.0, rel=0.1)


def test_calibration_error_by_hand():
    # Bins of two photos: said 0.9 and right half of the time; said 0.6 and always right.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    assert calibration_error(probabilities, np.array([0, 1, 0, 0])) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_evaluation_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]])
    evaluation = Evaluation(probabilities, np.array([0, 0, 1, 2]), ["cat", "dog", "cup"])
    assert evaluation.top1 == 0.75
    assert evaluation.recalls == {"cat": 1.0, "dog": 0.0, "cup": 1.0}
    assert evaluation.mean_recall == pytest.approx(2 / 3)
    assert evaluation.confusions() == [("dog", "cat", 1)]


def test_licences_come_from_the_table_beside_the_photos(photos, tmp_path):
    assert licence_rows(photos) == {"web": "made here; CC0", "phone": "made here; CC0"}
    assert licence_rows(tmp_path) == {}


def run(*arguments):
    return command.main(["vgg16", "--precision", "float32", *map(str, arguments)])


@pytest.fixture(scope="module")
def shipped(photos, tmp_path_factory):
    """A short run of the command line, at two input sizes."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--photos", photos, "--out", folder / "models", "--work", folder / "work"]
    assert run(*options, "--phases", "32x12", "64x2") == 0
    return folder, options


def test_a_run_writes_weights_sidecar_manifest_and_card(shipped):
    models = shipped[0] / "models"
    sidecar = json.loads((models / "vgg16_quarter.json").read_text())
    assert [name for _, name in sidecar["classes"]] == ["apple", "sky"]
    manifest = json.loads((models / "manifest.json").read_text())["vgg16"]
    assert manifest["bytes"] == (models / manifest["file"]).stat().st_size
    card = (models / "vgg16_quarter.md").read_text()
    for heading in ("What it gets on `val/`", "Recipe", "Data", "Known failures"):
        assert f"## {heading}" in card
    assert "made here; CC0" in card


def test_the_shipped_weights_load_and_tell_red_from_blue(shipped):
    from labutils.vgg16 import VGG16, decode_predictions, preprocess_input

    model = VGG16(weights=shipped[0] / "models" / "vgg16_quarter.weights.h5")
    colours = np.zeros((2, 224, 224, 3), np.float32)
    colours[0] += (200, 30, 30)
    colours[1] += (30, 30, 200)
    decoded = decode_predictions(model.predict(preprocess_input(colours), verbose=0), top=1)
    assert [best[0][1] for best in decoded] == ["apple", "sky"]


def test_a_finished_run_is_not_trained_again_and_another_recipe_is_refused(shipped, capsys):
    folder, options = shipped
    before = (folder / "work" / "checkpoint.npz").stat().st_mtime_ns
    assert run(*options, "--phases", "32x12", "64x2") == 0
    assert (folder / "work" / "checkpoint.npz").stat().st_mtime_ns == before
    assert run(*options, "--phases", "32x3") == 2
    assert "another run (different: phases, cosine_epochs)" in capsys.readouterr().err


def test_a_killed_run_goes_on_and_ends_where_an_unbroken_one_does(photos, tmp_path):
    """Same draws, same schedule: the second sitting starts from the checkpoint, not from scratch."""
    from labutils.training.fit import Phase, Recipe, Trainer
    from labutils.training.run import load_photos

    train, val = load_photos(photos)
    recipe = Recipe(
        channels=(4, 4, 8, 8, 8), dense=(8, 8), phases=(Phase(32, 2, 0.2),), precision="float32", batch_size=16
    )
    first = Trainer(recipe, train, val, None, tmp_path)
    epoch = first._epoch
    first._epoch = lambda number, *rest: epoch(number, *rest) if number < 1 else pytest.fail("killed here")
    with pytest.raises(pytest.fail.Exception):
        first.run()
    second = Trainer(recipe, train, val, None, tmp_path)
    history = second.run()
    assert [record["epoch"] for record in history] == [1, 2]
    assert int(second.optimizer.iterations) == 2 * (len(train) // 16)


def test_the_learning_rate_warms_up_falls_and_starts_again_where_a_phase_says_so():
    from labutils.training.fit import Phase, Recipe

    recipe = Recipe(phases=(Phase(96, 4, 0.3), Phase(224, 2, 0.3, rate=4e-4)), cosine_epochs=4, learning_rate=1e-3)
    assert recipe.rate(0.0) == pytest.approx(1e-5, abs=2e-6)
    assert recipe.rate(2.0) == pytest.approx(5e-4, rel=0.01)  # half-way down the cosine
    assert recipe.rate(4.0) == pytest.approx(4e-4, rel=0.01)
    assert recipe.rate(5.0) == pytest.approx(2e-4, rel=0.01)
    assert recipe.phase(3)[0].side == 96
    assert recipe.phase(4) == (recipe.phases[1], 4)
    with pytest.raises(IndexError):
        recipe.phase(6)


def test_holding_sources_out_reports_and_ships_nothing(photos, tmp_path):
    options = ["--photos", photos, "--work", tmp_path / "work", "--out", tmp_path / "models", "--phases", "32x1"]
    assert run(*options, "--hold-out-sources") == 0
    report = json.loads((tmp_path / "work" / "held_out.json").read_text())
    assert report["photos"] == 160
    assert {row["source"] for row in report["classes"].values()} <= {"web", "phone"}
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("phases", ["96", "100x2", "96x0", "96x2x3"])
def test_bad_phases_are_refused_by_name(phases, capsys):
    with pytest.raises(SystemExit):
        run("--photos", "nowhere", "--phases", phases)
    assert phases in capsys.readouterr().err


def test_missing_photos_are_named(tmp_path, capsys):
    assert run("--photos", tmp_path / "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err
