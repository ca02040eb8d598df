"""The explorer of attention: the values of `labutils.explain` for every layer, head and token, and controls that agree."""

import io
import itertools
import re

import numpy as np
import pytest
import zoo
from PIL import Image

from labutils import explain
from labutils.widgets import AttentionExplorer
from labutils.widgets.attention import Kept, _patches_with_half

LONG = 60
GRID = (2, 3)
HEADS = 3
PHOTOS = zoo.photos(2, zoo.TOKENS)
PATCHES = ([], [0, 0], [1, 2])
HOSTILE = "<img src=x onerror=alert(1)>"


def scaled(photos):
    return photos / 2


INPUTS = scaled(PHOTOS.astype("float32"))


def token_of(model, patch):
    before = model.get_layer("position_embedding").output.shape[1] - GRID[0] * GRID[1]
    return before + patch[0] * GRID[1] + patch[1] if patch else None


def answered(explorer):
    """The map that is shown, (rows, columns), once it is there; an error when there is none."""
    assert explorer.wait(LONG)
    assert explorer._problem is None, explorer._problem
    assert not explorer.view.busy
    return explorer._on_patches(explorer._result[1].shares)


@pytest.fixture(scope="module")
def models():
    """By the number of tokens before the patches: none and pooled, the class token, two registers more."""
    return {
        "pooled": zoo.transformer(before=0, pooled=True, heads=HEADS, depth=1),
        "class token": zoo.transformer(heads=HEADS),
        "registers": zoo.transformer(before=3, heads=HEADS, depth=1),
    }


@pytest.fixture(params=["pooled", "class token", "registers"])
def model(models, request):
    return models[request.param]


def explorer_of(model):
    return AttentionExplorer(model, PHOTOS, preprocess=scaled, titles=["one", HOSTILE])


@pytest.fixture
def explorer(models):
    return explorer_of(models["class token"])


class TestMaps:
    """Of the class token (without one, of all tokens), of the first and of the last patch."""

    def test_of_one_layer_are_those_of_explain(self, model):
        explorer = explorer_of(model)
        layers = len(explorer.layer.options)
        explorer.picker.chosen = (1,)
        for patch, layer, head in itertools.product(PATCHES, {0, layers - 1}, (None, 0, HEADS - 1)):
            explorer.patches.chosen, explorer.layer.value, explorer.head.value = patch, layer, head
            options = {"block": layer, "head": head, "token": token_of(model, patch)}
            expected = explain.attention_map(model, INPUTS[1], **options, upsample=False)
            np.testing.assert_allclose(answered(explorer), expected[0], rtol=1e-5, err_msg=str(options))
            assert f"Layer {layer}" in explorer.view.caption

    def test_of_rollout_are_those_of_explain(self, model):
        explorer = explorer_of(model)
        explorer.what.value = "rollout"
        for patch in PATCHES:
            explorer.patches.chosen = patch
            expected = explain.attention_rollout(model, INPUTS[0], token=token_of(model, patch), upsample=False)
            np.testing.assert_allclose(answered(explorer), expected[0], rtol=1e-5)
        assert explorer.layer.disabled
        assert explorer.head.disabled
        assert explorer.heads.layout.display == "none"

    @pytest.mark.parametrize("model", ["pooled", "class token"], indirect=True)
    def test_of_gradient_rollout_are_those_of_explain(self, model):
        explorer = explorer_of(model)
        explorer.what.value = "gradient"
        answered(explorer)  # the classes are listed once they are ranked
        assert not explorer.class_chooser.disabled
        for patch, class_index in itertools.product(PATCHES, (None, 0, 3)):
            explorer.patches.chosen, explorer.class_chooser.value = patch, class_index
            token = token_of(model, patch)
            expected = explain.gradient_rollout(model, INPUTS[0], class_index, token=token, upsample=False)
            np.testing.assert_allclose(answered(explorer), expected[0], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "what", "head", "patch", "words"),
    [
        ("class token", "layer", None, [], "Attention of the class token in 3 heads (Layer 1, all heads"),
        ("class token", "layer", None, [1, 2], "Attention of the patch (1, 2) in 3 heads (Layer 1, all heads"),
        ("class token", "layer", 2, [], "A photo with a heatmap over it (Layer 1, head 2"),
        ("class token", "rollout", None, [1, 2], "What 1 patches of a photo attend to (Rollout"),
        ("class token", "gradient", None, [1, 2], "A photo with a heatmap over it (Gradient rollout for class"),
        ("pooled", "layer", None, [], "A photo with a heatmap over it (Layer 0, mean of all heads"),
        ("pooled", "layer", None, [1, 2], "Attention of the patch (1, 2) in 3 heads"),
        ("registers", "layer", None, [1, 2], "A photo with a heatmap over it (Layer 0, mean of all heads"),
    ],
)
def test_the_plain_figure_shows_what_is_chosen(models, kind, what, head, patch, words):
    explorer = explorer_of(models[kind])
    explorer.what.value, explorer.head.value, explorer.patches.chosen = what, head, patch
    assert words in explorer.figure().alt_text


class TestTokenControls:
    def test_a_click_moves_the_sliders_and_the_list(self, explorer):
        explorer.patches.set_state({"chosen": [1, 2]})
        assert (explorer.whose.value, explorer.row.value, explorer.column.value) == ("patch", 1, 2)
        answered(explorer)
        assert explorer._result[0].patch == (1, 2)
        assert explorer.view.box == [1 / 2, 2 / 3, 1 / 2, 1 / 3]

    def test_a_slider_chooses_a_patch(self, explorer):
        explorer.row.set_state({"value": 0})
        assert explorer.whose.value == "patch"
        assert explorer.patches.chosen == [0, 1]  # the column is where its slider stands
        explorer.column.set_state({"value": 2})
        answered(explorer)
        assert explorer._result[0].patch == (0, 2)

    def test_the_list_chooses_the_sliders_patch_and_takes_it_away(self, explorer):
        explorer.whose.value = "patch"
        assert explorer.patches.chosen == [1, 1]
        explorer.whose.value = "all"
        assert explorer.patches.chosen == []
        answered(explorer)
        assert explorer._result[0].patch is None
        assert explorer.view.box == []

    def test_of_a_model_without_class_token_the_list_says_so(self, models):
        explorer = explorer_of(models["pooled"])
        assert explorer.whose.label == "the mean of all tokens"
        answered(explorer)
        assert "all tokens on average" in explorer.view.caption
        assert "class token" not in explorer.words.value

    def test_the_photo_beside_the_map_follows_the_picker(self, explorer):
        before = explorer.patches.photo
        explorer.picker.chosen = (1,)
        assert explorer.patches.photo == explorer.view.photo != before
        answered(explorer)


class TestHeads:
    def test_a_click_on_a_small_map_chooses_its_head_and_the_list_marks_it(self, explorer):
        explorer.heads.set_state({"chosen": [0, 2]})
        assert explorer.head.value == 2
        explorer.head.value = 1
        assert explorer.heads.chosen == [0, 1]
        explorer.head.value = None
        assert explorer.heads.chosen == []
        answered(explorer)

    def test_a_row_that_is_not_full_has_places_without_a_head(self):
        explorer = explorer_of(zoo.transformer(heads=7, depth=1))
        assert explorer.heads.grid == [2, 4]
        explorer.heads.set_state({"chosen": [1, 2]})
        assert explorer.head.value == 6
        explorer.heads.set_state({"chosen": [1, 3]})
        assert explorer.head.value == 6
        assert explorer.heads.chosen == [1, 2]
        answered(explorer)
        assert explorer.layer.options == (("0: block1_attention", 0),)

    def test_each_small_map_shows_its_head_in_squares(self, explorer):
        answered(explorer)
        picture = np.asarray(Image.open(io.BytesIO(explorer.heads.photo)))
        height, width = picture.shape[0], picture.shape[1] // HEADS
        for number, values in enumerate(explorer._result[1].heads):
            cell = picture[:, number * width : (number + 1) * width].astype(int).sum(axis=2)
            places = [(np.arange(side) + 0.5) * size / side for side, size in zip(GRID, (height, width), strict=True)]
            brightness = cell[np.ix_(*(place.astype(int) for place in places))]
            # Inferno grows brighter with the value.
            assert (np.argsort(brightness, axis=None) == np.argsort(values, axis=None)).all()


class TestWork:
    def test_one_pass_a_photo_gives_all_layers_heads_and_tokens(self, explorer, monkeypatch):
        answered(explorer)
        monkeypatch.setattr(explain, "attention", None)  # not to be called again
        for what in ("layer", "rollout"):
            explorer.what.value = what
            for layer in (0, 1):
                explorer.layer.value = layer
                for head in (None, 0, 1, 2):
                    explorer.head.value = head
                    for patch in PATCHES:
                        explorer.patches.chosen = patch
                        answered(explorer)

    def test_a_kept_result_does_not_hold_all_the_attention_it_came_from(self, explorer):
        explorer.head.value = 0
        answered(explorer)
        assert explorer._result[1].shares.base is None
        assert explorer._result[1].heads.base is None

    def test_gradients_cost_one_more_pass_a_class(self, explorer, monkeypatch):
        explorer.what.value = "gradient"
        answered(explorer)
        monkeypatch.setattr(explain, "attention_gradients", None)
        for patch in PATCHES:
            explorer.patches.chosen = patch
            answered(explorer)
        explorer.class_chooser.value = int(np.argmin(explorer._result[1].probabilities))
        assert explorer.wait(LONG)
        assert explorer._problem is not None

    def test_a_failure_is_said_and_the_next_choice_works(self, explorer, monkeypatch):
        def failing(*_args):
            raise RuntimeError("out of <memory>")

        answered(explorer)
        with monkeypatch.context() as broken:
            broken.setattr(explain, "rollout", failing)
            explorer.what.value = "rollout"
            assert explorer.wait(LONG)
        assert "Not possible here: out of &lt;memory&gt;" in explorer.words.value
        assert explorer.heads.layout.display == "none"
        explorer.what.value = "layer"
        answered(explorer)
        assert explorer.heads.layout.display is None


class TestKept:
    def test_what_was_used_last_stays_within_the_limit(self):
        made = []
        kept = Kept(2 * 80)
        for key in ["a", "b", "a", "c", "a", "b"]:
            kept.get(key, lambda key=key: made.append(key) or np.zeros(10))
        assert made == ["a", "b", "c", "b"]

    def test_the_newest_stays_however_large_it_is(self):
        kept = Kept(1)
        first = kept.get("a", lambda: np.zeros(10))
        assert kept.get("a", lambda: None) is first


class TestWords:
    def test_say_the_shares_of_all_tokens(self, models):
        explorer = explorer_of(models["registers"])
        answered(explorer)
        shares = [float(share) for share in re.findall(r"([\d.]+) %(?= comes| from)", explorer.words.value)]
        assert "from 2 further tokens" in explorer.words.value
        assert len(shares) == 3
        assert sum(shares) == pytest.approx(100, abs=0.2)

    def test_name_the_strongest_patches(self, explorer):
        shown = answered(explorer)
        row, column = np.unravel_index(shown.argmax(), GRID)
        assert (
            f"Strongest patches, as (row, column): ({row}, {column}) {100 * shown.max():.1f} %" in explorer.words.value
        )

    @pytest.mark.parametrize(
        ("values", "count"), [([1, 1, 1, 1], 2), ([9, 1, 1, 1], 1), ([3, 2, 2, 0], 2), ([0, 0, 0, 1e-9], 1)]
    )
    def test_count_the_patches_with_half_of_the_whole(self, values, count):
        assert _patches_with_half(np.array(values, np.float32).reshape(2, 2)) == count

    def test_a_class_that_no_head_argues_for(self, explorer, monkeypatch):
        nothing = np.eye(7, dtype=np.float32)[np.newaxis]
        monkeypatch.setattr(explain, "attention_gradients", lambda *_arguments: ())
        monkeypatch.setattr(explain, "gradient_weighted_rollout", lambda *_arrays: nothing)
        explorer.what.value = "gradient"
        assert not answered(explorer).any()
        assert "No head argues for this class" in explorer.words.value
        assert explorer.view.ends == ["all zero"]

    def test_names_from_outside_are_never_markup(self, explorer):
        explorer.picker.chosen = (1,)
        answered(explorer)
        assert HOSTILE in explorer.view.caption
        assert "<img" not in explorer.words.value


def test_models_without_attention_are_refused_before_anything_is_made():
    from ipywidgets.widgets.widget import _instances

    before = len(_instances)
    with pytest.raises(ValueError, match="has no MultiHeadAttention layer in its graph"):
        AttentionExplorer(zoo.functional(), PHOTOS)
    with pytest.raises(TypeError, match="a Keras model is needed, not NoneType"):
        AttentionExplorer(None, PHOTOS)
    assert len(_instances) == before


def test_a_photo_that_does_not_fit_is_said():
    model = zoo.transformer(depth=1)
    explorer = AttentionExplorer(model, zoo.photos(1, (4, 4, 3)))
    assert explorer.wait(LONG)
    assert "Not possible here: images: shape (1, 4, 4, 3) does not fit the model" in explorer.words.value
