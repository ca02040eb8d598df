"""Class activation maps on a transformer's tokens, against a model split by hand; and which layer is the default."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import twins
import zoo

from labutils import explain
from labutils.explain.surgery import open_model

L = keras.layers
PHOTOS = zoo.photos(2, zoo.TOKENS).astype(np.float64)
CLASSES = (2, 0)
BUILDS = {"class token": {"before": 1}, "registers": {"before": 4}, "none": {"before": 0, "pooled": True}}


class Split:
    """A transformer in float64, cut by hand in front of its last attention: patches, (2, 3, width) -> logits."""

    def __init__(self, before, pooled=False):
        self.model = zoo.transformer(before=before, pooled=pooled, dtype="float64")
        self.layer, self.before, self.pooled = self.model.get_layer, before, pooled
        cut = [self.layer("block2_norm1").output, self.layer("block1_add2").output]
        # Compiled, both: the slow twins run them some thousand times.
        self.trunk = tf.function(keras.Model(self.model.input, cut), reduce_retracing=True)
        self.rest = tf.function(self._rest, reduce_retracing=True)

    def maps(self, photo):
        return np.asarray(self.trunk(photo[None])[0])[0, self.before :].reshape(2, 3, -1)

    def head(self, photo, maps):
        """Logits, (stack, classes), of a stack of maps; the class token and the skip connection are the photo's."""
        looked_at, skip = (np.asarray(tensor) for tensor in self.trunk(photo[None]))
        others = np.repeat(looked_at[:, : self.before], len(maps), axis=0)
        tokens = np.concatenate([others, maps.reshape(len(maps), 6, -1)], axis=1)
        tensor = np.asarray(self.rest(tokens, skip))
        kernel, bias = self.layer("predictions").get_weights()
        return (tensor.mean(axis=1) if self.pooled else tensor[:, 0]) @ kernel + bias

    def _rest(self, tokens, skip):
        tensor = skip + self.layer("block2_attention")(tokens, tokens)
        inside = self.layer("block2_dense1")(self.layer("block2_norm2")(tensor))
        return self.layer("norm")(tensor + self.layer("block2_dense2")(inside))


@pytest.fixture(scope="module", params=BUILDS)
def split(request):
    return Split(**BUILDS[request.param])


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_plus_plus", "layer_cam"])
def test_cams_equal_their_slow_twins(split, method):
    """The default layer is what the last attention looks at, and the patches alone are averaged over."""
    result = getattr(explain, method)(split.model, PHOTOS, CLASSES, upsample=False)
    assert result.shape == (2, 2, 3)
    for photo, chosen, found in zip(PHOTOS, CLASSES, result, strict=True):
        maps = split.maps(photo)
        gradient = twins.gradient(lambda a, p=photo, c=chosen: split.head(p, a)[:, c], maps)
        assert gradient.any()
        expected = getattr(twins, method)(maps, gradient)
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * scale)
    np.testing.assert_array_equal(
        result, getattr(explain, method)(split.model, PHOTOS, CLASSES, layer="block2_norm1", upsample=False)
    )
    whole = getattr(explain, method)(split.model, PHOTOS, CLASSES)
    np.testing.assert_allclose(whole[0], twins.resize(result[0], 8, 12), rtol=1e-4, atol=1e-6)


def test_score_cam_equals_its_slow_twin(split):
    result = explain.score_cam(split.model, PHOTOS, CLASSES, upsample=False)
    for photo, chosen, found in zip(PHOTOS, CLASSES, result, strict=True):
        expected = twins.score_cam(
            split.maps(photo), photo, lambda x, c=chosen: split.head(x, split.maps(x)[None])[0, c]
        )
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_ablation_cam_switches_a_channel_off_in_the_patches_alone(split):
    result = explain.ablation_cam(split.model, PHOTOS, CLASSES, upsample=False, batch_size=4)
    for photo, chosen, found in zip(PHOTOS, CLASSES, result, strict=True):
        maps = split.maps(photo)
        score = split.head(photo, maps[None])[0, chosen]
        total = np.zeros((2, 3))
        for channel in range(6):
            without = maps.copy()
            without[..., channel] = 0
            total += (score - split.head(photo, without[None])[0, chosen]) / score * maps[..., channel]
        np.testing.assert_allclose(found, np.maximum(total, 0), rtol=1e-3, atol=1e-5)


def test_behind_the_last_attention_only_the_class_token_counts():
    """Its patches reach no logit, so that no gradient reaches them and nothing is lost without them."""
    model, pooled = zoo.transformer(), zoo.transformer(before=0, pooled=True)
    for layer in ("block2_add1", "block2_dense1", "norm"):
        for method in (explain.grad_cam, explain.grad_cam_plus_plus, explain.layer_cam):
            np.testing.assert_array_equal(method(model, PHOTOS, layer=layer), np.zeros((2, 8, 12)), layer)
        np.testing.assert_allclose(explain.ablation_cam(model, PHOTOS, layer=layer), 0, atol=1e-5)  # two runs' rounding
        assert np.stack([explain.layer_cam(pooled, PHOTOS, c, layer=layer) for c in range(4)]).any(), layer
    assert explain.layer_cam(model, PHOTOS).any()


class TestLayer:
    """`layer=None` and layers by name."""

    def path(self, image, tensor):
        return open_model(keras.Model(image, L.Dense(2)(tensor))).cut().path

    def test_nested(self):
        assert open_model(zoo.transformer(nested="functional")).cut().path == "body/block2_norm1"
        assert open_model(zoo.transformer(nested="sequential", before=4)).cut().shape == (None, 2, 3, 6)

    def test_the_patches_as_maps_and_as_tokens_are_the_same(self):
        model = zoo.transformer()
        expected = explain.grad_cam(model, PHOTOS, layer="patch_embedding")
        assert expected.any()
        for layer in ("patches", "class_token"):
            np.testing.assert_allclose(explain.grad_cam(model, PHOTOS, layer=layer), expected, rtol=1e-4, atol=1e-7)

    def test_a_recurrent_network_on_columns_keeps_its_convolution(self):
        image = keras.Input((8, 16, 1))
        pooled = L.MaxPooling2D((8, 1), name="pool")(L.Conv2D(4, 3, padding="same", name="maps")(image))
        columns = L.Reshape((16, 4), name="columns")(pooled)
        assert self.path(image, L.LSTM(5)(columns)) == "pool"
        assert self.path(image, L.Flatten()(L.Dense(7)(columns))) == "pool"
        squeezed = L.Reshape((16, 32))(L.Permute((2, 1, 3))(L.Conv2D(4, 3, padding="same", name="maps")(image)))
        assert self.path(image, L.LSTM(5)(squeezed)).startswith("permute")  # the last with four axes, as ever

    def test_maps_behind_the_attention_come_first(self):
        image = keras.Input((4, 6, 3))
        tokens = L.Reshape((24, 4))(L.Conv2D(4, 1)(image))
        maps = L.Reshape((4, 6, 4))(L.MultiHeadAttention(1, 2)(tokens, tokens))
        assert self.path(image, L.GlobalAveragePooling2D()(L.Conv2D(2, 3, name="last")(maps))) == "last"

    def test_the_grid_is_known_behind_a_layer_with_two_outputs(self):
        image = keras.Input((4, 6, 3))
        tokens = L.Reshape((24, 4))(L.Conv2D(4, 1)(image))
        given, _ = L.MultiHeadAttention(1, 2)(tokens, tokens, return_attention_scores=True)
        looked_at = L.LayerNormalization(name="looked_at")(given)
        assert self.path(image, L.Flatten()(L.MultiHeadAttention(1, 2)(looked_at, looked_at))) == "looked_at"

    def test_tokens_that_are_no_patches_are_no_maps(self):
        image = keras.Input((4, 6, 3))
        tokens = L.Reshape((4, 18), name="rows")(L.Conv2D(3, 1, name="maps")(image))
        model = keras.Model(image, L.Dense(2)(L.Flatten()(tokens)))
        with pytest.raises(ValueError, match=r"'rows' has no spatial maps: its output has shape \(None, 4, 18\)"):
            explain.grad_cam(model, np.ones((4, 6, 3)), layer="rows")

    def test_the_middle_patch(self):
        # Row 1 and column 1 of 2 x 3 patches of 4 x 4: pixels 4 to 7 both ways, whatever stands before the patches.
        opened = open_model(zoo.transformer(before=4))
        for layer in ("patches", "register3", "class_token"):
            place = opened.place(layer)
            (gradient,) = opened.channel_gradients(PHOTOS[:1].astype(np.float32), place, 0, centre=True)
            assert gradient[4:8, 4:8].all(), layer
            gradient[4:8, 4:8] = 0
            assert not gradient.any(), layer


def test_guided_backprop_of_a_transformer_is_its_saliency():
    """A GELU is no ReLU: without any, nothing is guided."""
    model = zoo.transformer()
    np.testing.assert_array_equal(explain.guided_backprop(model, PHOTOS), explain.saliency(model, PHOTOS))
