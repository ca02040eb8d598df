"""The league table: each of its numbers is that of its metric, and known explainers get what they deserve."""

import keras
import numpy as np
import pytest
import zoo

from labutils import evaluate, explain
from labutils.evaluate import LEAGUE, league_table
from labutils.explain import count_passes

PHOTOS = zoo.photos(3) / np.float32(128)
BASELINE = evaluate.blurred(PHOTOS, 5)


def edges(model, images, classes):
    """An explainer that ignores the network."""
    return np.abs(np.diff(images.sum(axis=-1), axis=2, append=0))


def mosaics_of(model):
    """Two questions about a mosaic of one row: the class of its left cell, then that of its right one."""
    height, width = PHOTOS.shape[1:3]
    inputs = np.stack([PHOTOS[0], PHOTOS[0]])
    shown = np.zeros((2, height, width, 3), np.uint8)
    made = evaluate.Mosaics(shown, inputs, np.array([1, 2]), np.array([0, 1]), np.array([0, 1]), (1, 2))
    masks = np.zeros((2, height, width), bool)
    masks[0, 3:9, 4:8] = masks[1, 3:9, width - 8 : width - 4] = True
    return made, masks


def test_every_number_is_that_of_its_metric():
    model = zoo.functional()
    made, masks = mosaics_of(model)
    options = {"steps": 4, "baseline": BASELINE}
    before = zoo.state(model)
    table = league_table(
        {"Grad-CAM": explain.grad_cam},
        model,
        PHOTOS,
        [0, 1, 2],
        mosaics=made,
        masks=masks,
        tolerance=2,
        seed=5,
        **options,
    )
    assert zoo.state(model) == before
    row = table["Grad-CAM"]
    assert list(row) == list(LEAGUE)
    maps = explain.grad_cam(model, PHOTOS, [0, 1, 2])
    on_mosaics = explain.grad_cam(model, made.inputs, made.classes)
    forgotten = explain.grad_cam(evaluate.randomized(model, seed=5), PHOTOS[:1], [0])
    curves = [
        curve(model, PHOTOS, maps, [0, 1, 2], **options)
        for curve in (evaluate.deletion_curve, evaluate.insertion_curve)
    ]
    assert row["deletion"] == pytest.approx(curves[0].area.mean(), rel=1e-5)
    assert row["insertion"] == pytest.approx(curves[1].area.mean(), rel=1e-5)
    assert row["pointing"] == evaluate.pointing_game(on_mosaics, masks, tolerance=2).mean()
    assert row["grid"] == pytest.approx(
        evaluate.grid_pointing_game(on_mosaics, made.cells, grid=(1, 2)).mean(), rel=1e-4
    )
    assert row["randomisation"] == pytest.approx(abs(evaluate.rank_correlation(maps[:1], forgotten)).mean(), abs=1e-3)
    assert row["seconds"] > 0


def test_an_explainer_that_ignores_the_network_shows_it():
    model = zoo.functional()
    made, _ = mosaics_of(model)
    table = league_table({"edges": edges}, model, PHOTOS, mosaics=made, steps=2, baseline=BASELINE, randomized_images=2)
    assert table["edges"]["randomisation"] == 1
    assert table["edges"]["grid"] == pytest.approx(0.5)  # what it gains for one class it loses for the other
    assert "pointing" not in table["edges"]


def test_randomised_layers_can_be_chosen():
    model = zoo.functional()
    table = league_table(
        {"a": explain.saliency}, model, PHOTOS, 1, steps=1, baseline=BASELINE, randomized_layers=["fc"], seed=2
    )
    maps = explain.saliency(model, PHOTOS[:1], 1)
    forgotten = explain.saliency(evaluate.randomized(model, ["fc"], seed=2), PHOTOS[:1], 1)
    expected = abs(evaluate.rank_correlation(maps, forgotten)).mean()
    assert table["a"]["randomisation"] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ValueError, match="layers: 'conv' is no layer"):
        league_table({"a": edges}, model, PHOTOS, steps=1, baseline=BASELINE, randomized_layers=["conv"])


def test_without_mosaics_their_columns_are_missing():
    table = league_table({"a": edges, "b": explain.saliency}, zoo.functional(), PHOTOS, steps=2, baseline=BASELINE)
    assert list(table) == ["a", "b"]
    assert all(list(row) == ["deletion", "insertion", "randomisation", "seconds"] for row in table.values())


def test_quick_methods_run_twice_and_long_ones_once():
    calls = []

    def long(model, images, classes):
        calls.append(len(images))
        return explain.smooth_grad(model, images, classes, samples=5, seed=0)

    def quick(model, images, classes):
        calls.append(len(images))
        return explain.grad_cam(model, images, classes)

    model = zoo.functional()
    for method, expected in ((long, [3, 1]), (quick, [3, 3, 1])):
        calls.clear()
        league_table({"method": method}, model, PHOTOS, steps=1, baseline=BASELINE)
        assert calls == expected


def test_progress_is_told_of_each_method_and_passes_are_those_of_the_curves():
    told = []
    with count_passes() as passes:
        league_table(
            {"a": edges, "b": edges},
            zoo.functional(),
            PHOTOS,
            1,
            steps=3,
            baseline=BASELINE,
            progress=lambda *n: told.append(n),
        )
    assert told == [(1, 2), (2, 2)]
    # The two ends of all curves once; then two methods, two curves, 3 images and the 2 steps between the ends.
    assert passes.forward == 2 * 3 + 2 * 2 * 3 * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {}}, "methods: it is empty"),
        ({"masks": np.ones((1, 40, 40), bool)}, "masks: .* there are no mosaics"),
        ({"randomized_images": 0}, "randomized_images: .* not 0"),
        (
            {"methods": {"one map": lambda model, images, classes: images[0, ..., 0]}},
            r"methods\['one map'\]: method: it must",
        ),
        (
            {"methods": {"NaN": lambda model, images, classes: edges(model, images, classes) * np.nan}},
            r"\['NaN'\]: .* NaN",
        ),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    arguments = {"methods": {"edges": edges}, "steps": 1, "baseline": BASELINE} | changes
    with pytest.raises(ValueError, match=message):
        league_table(arguments.pop("methods"), zoo.functional(), PHOTOS, **arguments)


class TestRandomized:
    def test_named_layers_alone_forget_and_the_original_does_not(self):
        model = zoo.functional()
        before = zoo.state(model)
        copy = evaluate.randomized(model, ["fc", "conv2"], seed=0)
        assert zoo.state(model) == before
        for old, new in zip(model.layers, copy.layers, strict=True):
            same = all(np.array_equal(a, b) for a, b in zip(old.get_weights(), new.get_weights(), strict=True))
            assert same == (old.name not in ("fc", "conv2")), old.name

    def test_is_the_step_of_the_cascade_with_the_same_seed(self):
        model, seen = zoo.functional(), []

        def spy(given, images, classes):
            seen.append([values.copy() for values in given.get_weights()])
            return edges(given, images, classes)

        names = list(evaluate.weight_randomization(spy, model, PHOTOS, seed=3))
        for count in (1, 3, len(names)):
            copy = evaluate.randomized(model, names[:count], seed=3)
            for expected, found in zip(seen[count], copy.get_weights(), strict=True):
                np.testing.assert_array_equal(found, expected)
        for expected, found in zip(seen[-1], evaluate.randomized(model, seed=3).get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_wrong_layers_are_named(self):
        with pytest.raises(ValueError, match=r"layers: 'conv' is no layer with weights .*did you mean conv"):
            evaluate.randomized(zoo.functional(), ["conv"])
        with pytest.raises(TypeError, match="layers: names of layers"):
            evaluate.randomized(zoo.functional(), "fc")
        with pytest.raises(ValueError, match="no layer with weights"):
            evaluate.randomized(keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()]))


class TestRankCorrelation:
    def test_by_hand(self):
        maps = np.array([[[1, 2], [3, 4]], [[1, 2], [3, 4]], [[1, 1], [1, 1]], [[5, 5], [5, 5]]])
        others = np.array([[[10, -20], [30, -99]], [[4, 3], [2, 1]], [[1, 2], [3, 4]], [[1, 1], [1, 1]]])
        np.testing.assert_allclose(evaluate.rank_correlation(maps, others), [1, -1, 0, 1])

    def test_shapes_must_fit(self):
        with pytest.raises(ValueError, match=r"others: shape \(2, 3\) does not fit the maps, \(2, 4\)"):
            evaluate.rank_correlation(np.ones((2, 4)), np.ones((2, 3)))
