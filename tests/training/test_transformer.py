"""The ViT's training: on tokens made here, whose class shows in a corner of the grid."""

import numpy as np
import pytest
from scipy.special import softmax

from labutils.training import __main__ as command
from labutils.training.card import vit_recipe
from labutils.training.teacher import Teacher
from labutils.training.tokens import Tokens, augmented_tokens, plain_tokens, stem_of
from labutils.training.transformer import Phase, VitRecipe, VitTrainer, with_stem
from labutils.vgg16 import build_network as build_vgg16
from labutils.vgg16 import preprocess_input as for_vgg16
from labutils.vit import Architecture
from labutils.vit import preprocess_input as for_vit

CLASSES, CHANNELS, COMPONENTS = 3, 4, 5
ARCHITECTURE = Architecture(stem=((2,), (2,), (3,), (CHANNELS,)), width=8, depth=1, heads=2, hidden=8, outputs=CLASSES)
RECIPE = VitRecipe(
    width=8,
    depth=1,
    heads=2,
    hidden=8,
    phases=(Phase(40, 30), Phase(5, 196, calm=True)),
    batch_size=16,
    learning_rate=0.01,
)


def made_tokens(count=64, seed=0):
    """Noise, and in a quarter of the grid the class's own channel; the teacher says the same."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    features = rng.normal(size=(count, 14, 14, CHANNELS))
    maps = rng.normal(size=(count, 7, 7, COMPONENTS))
    for row, label in enumerate(labels):
        features[row, :7, :7, label] += 4
        maps[row, :, :, label] += 2
    one_hot = np.eye(CLASSES, dtype=np.float32)[labels]
    return Tokens(features.astype(np.float16), maps.astype(np.float16), one_hot, np.ones(count, np.float32)), labels


@pytest.fixture(scope="module")
def teacher():
    rng = np.random.default_rng(1)
    return Teacher(
        maps=np.zeros((1, 8, 8, COMPONENTS), np.float16),
        top_kernel=rng.normal(size=(COMPONENTS, 6)).astype(np.float32),
        top_bias=np.zeros(6, np.float32),
        mapping=np.full((6, CLASSES), 1 / CLASSES, np.float32),
        sharpness=1.0,
    )


@pytest.fixture(scope="module")
def trained(teacher, tmp_path_factory):
    tokens, _ = made_tokens()
    fresh, labels = made_tokens(30, seed=5)
    work = tmp_path_factory.mktemp("work")
    trainer = VitTrainer(RECIPE, ARCHITECTURE, tokens, (fresh.features, labels), teacher, work)
    return trainer, trainer.run()


def test_training_learns_what_the_tokens_show(trained):
    trainer, history = trained
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["top1"] > 0.9  # chance is a third
    assert history[-1]["steps"] == trainer.taken == 45 * 4


def test_a_part_of_the_tokens_in_any_order_is_seen_with_their_own_positions(trained):
    trainer, _ = trained
    features = np.random.default_rng(2).normal(size=(2, 14, 14, CHANNELS)).astype(np.float32)
    order = np.stack([np.random.default_rng(seed).permutation(196) for seed in (3, 4)])
    first, patches = trainer.forward(features)
    first_shuffled, shuffled = trainer.forward(features, order)
    np.testing.assert_allclose(first_shuffled, first, atol=1e-5)
    np.testing.assert_allclose(shuffled, np.take_along_axis(patches.numpy(), order[..., None], axis=1), atol=1e-5)


def test_a_run_goes_on_from_its_checkpoint(trained, teacher):
    trainer, history = trained
    again = VitTrainer(RECIPE, ARCHITECTURE, trainer.tokens, trainer.val, teacher, trainer.work)
    assert again.run() == history
    for mine, theirs in zip(again.averaged, trainer.averaged, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_a_checkpoint_of_another_recipe_is_refused(trained, teacher):
    trainer, _ = trained
    other = VitRecipe(**{**vars(RECIPE), "learning_rate": 0.02})
    with pytest.raises(ValueError, match="different: learning_rate"):
        VitTrainer(other, ARCHITECTURE, trainer.tokens, trainer.val, teacher, trainer.work).run()


def test_the_shipped_network_computes_what_the_trained_one_did(trained):
    """From photos, each network with its own preprocessing. Only the border's padding differs, so the stem is blind there."""
    trainer, _ = trained
    vgg16 = build_vgg16([2, 2, 3, CHANNELS, 2], [4, 4], CLASSES)
    # One convolution a block in this stem, two or three in VGG16: let its others hand their input on.
    for layer in vgg16.layers:
        if layer.name.startswith("block") and "conv" in layer.name and not layer.name.endswith("conv1"):
            kernel, bias = layer.get_weights()
            kernel[...] = 0
            kernel[1, 1, range(kernel.shape[2]), range(kernel.shape[2])] = 1
            layer.set_weights([kernel, bias])
    kernel, bias = vgg16.get_layer("block1_conv1").get_weights()
    kernel[[0, 2]] = kernel[:, [0, 2]] = 0  # only the pixel itself: no padding comes in
    vgg16.get_layer("block1_conv1").set_weights([kernel, bias + 0.3])
    photos = np.random.default_rng(6).integers(0, 256, (2, 224, 224, 3)).astype(np.float32)
    features = stem_of(vgg16, "block4_pool")(for_vgg16(photos.copy())).numpy()
    shipped = with_stem(trainer, vgg16)
    said = shipped(for_vit(photos.copy())).numpy()
    np.testing.assert_allclose(said, softmax(trainer.logits(features), axis=1), atol=1e-5)
    assert np.ptp(said) > 0.01


def test_mixed_tokens_and_maps_and_labels_come_from_the_same_places(trained):
    """Features and maps are given that say which view and which cell they are of."""
    trainer, _ = trained
    rng = np.random.default_rng(7)
    cells = rng.normal(size=(8, 7, 7, 1)).astype(np.float32)
    features = cells.repeat(2, axis=1).repeat(2, axis=2)
    labels = np.eye(8, dtype=np.float32)
    recipe, trainer.recipe = trainer.recipe, VitRecipe(**{**vars(trainer.recipe), "mixed": 1.0})
    try:
        mixed, maps, shares, _ = trainer._varied(features, cells, labels, np.ones(8, np.float32), calm=False)
    finally:
        trainer.recipe = recipe
    shares = shares.numpy()
    np.testing.assert_array_equal(mixed, np.repeat(np.repeat(maps, 2, axis=1), 2, axis=2))
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    for view in range(8):
        foreign = np.isin(maps[view], cells[view - 1]).mean()
        assert shares[view][view - 1] == pytest.approx(foreign, abs=1e-6)
    assert 0 < np.mean([shares[view][view - 1] for view in range(8)]) < 1


class _Photos:
    """As much of a `PhotoSet` as views need."""

    def __init__(self, count=10):
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 200, (count, 160, 160, 3)).astype(np.uint8)
        self.labels = np.arange(count) % CLASSES
        self.aspects = np.ones(count, np.float32)
        self.classes = ["a", "b", "c"]

    def __len__(self):
        return len(self.labels)


def test_views_are_kept_and_a_killed_run_goes_on(teacher, tmp_path):
    stem = stem_of(build_vgg16([2, 2, 2, CHANNELS, 2], [4, 4], CLASSES), "block4_pool")
    photos = _Photos()
    taught = Teacher(np.zeros((10, 8, 8, COMPONENTS), np.float16), *list(vars(teacher).values())[1:])
    options = {"smallest": 0.3, "evenness": 0.5, "seed": 3, "batch_size": 5}
    one = augmented_tokens(stem, photos, taught, tmp_path, views=1, **options)
    two = augmented_tokens(stem, photos, taught, tmp_path, views=2, **options)
    assert one.features.shape == (10, 14, 14, CHANNELS)
    assert two.features.shape == (20, 14, 14, CHANNELS)
    np.testing.assert_array_equal(two.features[:10], one.features)  # not made again
    assert not np.array_equal(two.features[10:], one.features)
    np.testing.assert_allclose(two.labels.sum(axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match=r"tokens-0\.npz was made with other settings"):
        augmented_tokens(stem, photos, taught, tmp_path, views=1, **{**options, "smallest": 0.5})


def test_plain_tokens_are_the_stem_of_the_whole_photo():
    stem = stem_of(build_vgg16([2, 2, 2, CHANNELS, 2], [4, 4], CLASSES), "block4_pool")
    flat = np.full((3, 160, 160, 3), (200, 100, 50), np.uint8)
    large = np.full((1, 224, 224, 3), (200, 100, 50), np.float32)
    expected = stem(for_vgg16(large)).numpy()
    np.testing.assert_allclose(
        plain_tokens(stem, flat, batch_size=2), np.repeat(expected, 3, axis=0), rtol=2e-3, atol=1e-3
    )


def test_the_recipe_in_words_holds_its_numbers():
    text = " ".join(vit_recipe(RECIPE, steps=40))
    for part in ("width 8", "30 of each view's tokens", "no mixing", "40 steps of 16", "0.01"):
        assert part in text


@pytest.mark.parametrize("phases", ["49", "x", "200x1", "49x0", "0x3"])
def test_a_phase_that_is_none_is_refused(phases, capsys):
    with pytest.raises(SystemExit):
        command.main(["vit", "--photos", "nowhere", "--phases", phases])
    assert phases in capsys.readouterr().err


def test_the_vit_needs_a_teacher(tmp_path, capsys):
    assert command.main(["vit", "--photos", str(tmp_path)]) == 2
    assert "--teacher is needed" in capsys.readouterr().err
