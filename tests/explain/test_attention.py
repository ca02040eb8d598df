"""Attention, its rollout and the gradient-weighted one against pencil and paper, Keras, and the slow twins."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import twins
import twins_attention
import zoo

from labutils import explain
from labutils.explain import count_passes
from labutils.explain.attention import gradient_weighted_rollout, rollout, token_map
from labutils.explain.surgery import open_model
from labutils.vit import Architecture, build_network

L = keras.layers

# Two layers of one head on two tokens. They do not commute.
FIRST = [[1.0, 0.0], [1.0, 0.0]]  # both tokens take from token 0
SECOND = [[0.0, 1.0], [0.0, 1.0]]  # both take from token 1
TWO_LAYERS = np.array([[FIRST], [SECOND]])  # (layers, heads, tokens, tokens)


def random_attention(layers=3, n=4, heads=2, tokens=5, seed=0):
    values = np.random.default_rng(seed).random((layers, n, heads, tokens, tokens)) ** 4
    return values / values.sum(axis=-1, keepdims=True)


class TestRollout:
    def test_two_layers_worked_out_by_hand(self):
        # (A + I) / 2: first [[1, 0], [1/2, 1/2]], second [[1/2, 1/2], [0, 1]]. Second times first:
        # [1/2 + 1/4, 1/4], [1/2, 1/2].
        np.testing.assert_allclose(rollout(TWO_LAYERS), [[[0.75, 0.25], [0.5, 0.5]]])

    def test_the_order_of_layers_matters(self):
        # First times second: [1/2, 1/2], [1/4, 1/4 + 1/2].
        np.testing.assert_allclose(rollout(TWO_LAYERS[::-1]), [[[0.5, 0.5], [0.25, 0.75]]])

    def test_mean_over_heads(self):
        # Heads [[1, 0], [1, 0]] and [[0, 1], [0, 1]] average to 1/2 everywhere: (1/2 + I) / 2.
        np.testing.assert_allclose(rollout([[FIRST, SECOND]]), [[[0.75, 0.25], [0.25, 0.75]]])

    def test_rows_and_not_columns_are_normalised(self):
        # One layer, A = FIRST: rows (2, 0) / 2 and (1, 1) / 2. Divided by columns it would be (2/3, 0), (1/3, 1).
        np.testing.assert_allclose(rollout([[FIRST]]), [[[1.0, 0.0], [0.5, 0.5]]])

    def test_tokens_that_look_at_themselves_stay_apart(self):
        np.testing.assert_array_equal(rollout(np.broadcast_to(np.eye(3), (4, 2, 5, 3, 3))), [np.eye(3)] * 2)

    def test_uniform_attention(self):
        # U = 1/3 everywhere is idempotent: ((U + I) / 2)^2 = (3 U + I) / 4: 1/4 + 1/4 on the diagonal, 1/4 beside it.
        expected = np.full((3, 3), 0.25) + np.eye(3) / 4
        np.testing.assert_allclose(rollout(np.full((2, 1, 1, 3, 3), 1 / 3)), [expected], rtol=1e-6)

    def test_equals_its_slow_twin_image_by_image(self):
        attention = random_attention()
        result = rollout(attention)
        assert result.shape == (4, 5, 5)
        assert result.dtype == np.float32
        for index in range(4):
            np.testing.assert_allclose(result[index], twins_attention.rollout(attention[:, index]), rtol=1e-6)
            np.testing.assert_array_equal(rollout(attention[:, index]), result[index : index + 1])

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_rows_sum_to_one_through_many_layers(self, dtype):
        result = rollout(random_attention(layers=24, tokens=50).astype(dtype))
        np.testing.assert_allclose(result.sum(axis=-1), 1.0, rtol=1e-5)
        assert (result >= 0).all()

    def test_bfloat16(self):
        import tensorflow as tf

        attention = tf.cast(random_attention(), tf.bfloat16).numpy()
        np.testing.assert_allclose(rollout(attention), rollout(random_attention()), atol=0.005)


class TestGradientWeighted:
    def test_two_layers_worked_out_by_hand(self):
        # A_bar of the first layer: (2, 0), (-3 cut to 0, 0). Of the second: (0, 1), (0, 4).
        # R1 = I + A1 = [[3, 0], [0, 1]]; R2 = R1 + A2 R1 = [[3, 0 + 1], [0, 1 + 4]].
        gradients = [[[[2.0, 5.0], [-3.0, 7.0]]], [[[9.0, 1.0], [-9.0, 4.0]]]]
        np.testing.assert_allclose(gradient_weighted_rollout(TWO_LAYERS, gradients), [[[3.0, 1.0], [0.0, 5.0]]])

    def test_the_order_of_layers_matters(self):
        # A1 = [[0, 1], [0, 0]], A2 = [[0, 0], [1, 0]]: R1 = [[1, 1], [0, 1]], R2 = R1 + A2 R1 = [[1, 1], [1, 2]].
        attention = np.full((2, 1, 2, 2), 0.5)
        gradients = np.array([[[[0, 2], [0, 0]]], [[[0, 0], [2, 0]]]])
        np.testing.assert_allclose(gradient_weighted_rollout(attention, gradients), [[[1, 1], [1, 2]]])
        np.testing.assert_allclose(gradient_weighted_rollout(attention, gradients[::-1]), [[[2, 1], [1, 1]]])

    def test_cut_before_the_mean_over_heads(self):
        # Heads +1 and -1 in the same place: cut first, their mean is 1/2 * 1/2; cut after, 0.
        gradients = np.array([[[[1.0, 0], [0, 0]], [[-1.0, 0], [0, 0]]]])
        np.testing.assert_allclose(
            gradient_weighted_rollout(np.full((1, 2, 2, 2), 0.5), gradients), [[[1.25, 0.0], [0.0, 1.0]]]
        )

    def test_no_gradient_leaves_the_identity(self):
        attention = random_attention()
        np.testing.assert_array_equal(gradient_weighted_rollout(attention, np.zeros_like(attention)), [np.eye(5)] * 4)

    def test_equals_its_slow_twin_image_by_image(self):
        attention = random_attention().astype(np.float32)
        gradients = np.random.default_rng(1).normal(size=attention.shape).astype(np.float32)
        result = gradient_weighted_rollout(attention, gradients)
        assert result.dtype == np.float32
        for index in range(4):
            expected = twins_attention.gradient_weighted(attention[:, index], gradients[:, index])
            np.testing.assert_allclose(result[index], expected, rtol=1e-5, atol=1e-7)
            alone = gradient_weighted_rollout(attention[:, index], gradients[:, index])
            np.testing.assert_array_equal(alone, result[index : index + 1])


class TestTokenMap:
    RELEVANCE = np.arange(2 * 49).reshape(2, 7, 7)  # 1 + 2 x 3 tokens

    def test_row_of_the_class_token_without_itself(self):
        np.testing.assert_array_equal(
            token_map(self.RELEVANCE, (2, 3)), [[[1, 2, 3], [4, 5, 6]], [[50, 51, 52], [53, 54, 55]]]
        )

    def test_row_of_a_patch(self):
        # Patch (1, 0) of 2 x 3 is token 1 + 3 = 4, whose row begins at 28.
        np.testing.assert_array_equal(token_map(self.RELEVANCE, (2, 3), token=4)[0], [[29, 30, 31], [32, 33, 34]])

    def test_resized_with_half_pixel_centres(self):
        relevance = np.random.default_rng(0).random((2, 7, 7))
        result = token_map(relevance, (2, 3), (9, 13))
        assert result.dtype == np.float32
        for index in range(2):
            expected = twins.resize(relevance[index, 0, 1:].reshape(2, 3), 9, 13)
            np.testing.assert_allclose(result[index], expected, rtol=1e-5)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (((3, 2), (0, 4)), ValueError, r"size: \(height, width\)"),
            (((2, 2),), ValueError, "2 x 2 patches and the class token are 5 tokens; relevance has 7"),
            (((6,),), TypeError, r"grid: \(rows, columns\)"),
            ((3,), TypeError, "grid"),
            (((2.0, 3.0),), TypeError, "grid"),
        ],
    )
    def test_errors(self, arguments, error, message):
        with pytest.raises(error, match=message):
            token_map(self.RELEVANCE, *arguments)

    @pytest.mark.parametrize("token", [7, -1, True, 1.0])
    def test_token_errors(self, token):
        with pytest.raises((TypeError, ValueError), match="token: "):
            token_map(self.RELEVANCE, (2, 3), token=token)

    def test_other_shapes_are_refused(self):
        with pytest.raises(ValueError, match=r"\(n, tokens, tokens\) is needed, not shape \(7, 7\)"):
            token_map(self.RELEVANCE[0], (2, 3))


def broken(change):
    attention = random_attention()
    change(attention)
    return attention


def _set(place, value):
    return lambda attention: attention.__setitem__(place, value)


@pytest.mark.parametrize(
    ("attention", "error", "message"),
    [
        (broken(_set((1, 2, 1, 3, 4), np.nan)), ValueError, "attention: NaN"),
        (broken(_set((1, 2, 1, 3, 4), -0.5)), ValueError, r"negative \(-0.5\) in layer 1, image 2, head 1"),
        (broken(_set((1, 2, 1, 3), 0.5)), ValueError, "row 3 of layer 1, image 2, head 1 .* sums to 2.5"),
        (random_attention().swapaxes(-1, -2), ValueError, "every row must sum to 1"),
        (random_attention()[..., :3], ValueError, r"not shape \(3, 4, 2, 5, 3\)"),
        (random_attention()[0, 0], ValueError, r"not shape \(2, 5, 5\)"),
        (random_attention()[:0], ValueError, "not shape"),
        ("attention", TypeError, "array of numbers"),
    ],
)
def test_attention_that_is_none(attention, error, message):
    with pytest.raises(error, match=message):
        rollout(attention)
    with pytest.raises(error, match=message):
        gradient_weighted_rollout(attention, attention)


def test_gradients_of_another_shape():
    attention = random_attention()
    with pytest.raises(ValueError, match=r"gradients: shape \(3, 3, 2, 5, 5\) is not that of the attention"):
        gradient_weighted_rollout(attention, attention[:, :3])
    with pytest.raises(ValueError, match="gradients: NaN or infinite"):
        gradient_weighted_rollout(attention, np.full_like(attention, np.inf))


def test_arrays_are_all_it_needs():
    code = (
        "import sys, numpy as np; from labutils.explain.attention import rollout, token_map;"
        "token_map(rollout(np.full((2, 1, 1, 5, 5), 0.2)), (2, 2)); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# On models ----------------------------------------------------------------------------------------------------------

PHOTOS = zoo.photos(3, zoo.TOKENS)
MASK = np.random.default_rng(0).random((1, 7, 7)) < 0.6
MASK[0, :, 0] = True  # every token may look at one at least
ROW = {"attention_map": {}, "attention_rollout": {}, "gradient_rollout": {}}


def one_block():
    """One head on a class token and two pixels (x1, x2), with weights for a pencil.

    Every query is 1 and key j is x_j, so that every row of A is the softmax of (0, x1, x2); value j is 1 - x_j, and the
    logits are plus and minus what the class token is given.
    """
    from labutils.vit_layers import ClassToken

    image = keras.Input((1, 2, 1))
    tokens = ClassToken()(L.Reshape((2, 1))(L.Conv2D(1, 1, use_bias=False, name="patches")(image)))
    given = L.MultiHeadAttention(1, 1, name="attention")(tokens, tokens)
    read = L.Flatten()(L.Cropping1D((0, 2))(given))
    model = keras.Model(image, L.Dense(2, use_bias=False, activation="softmax", name="logits")(read))
    model.get_layer("patches").set_weights([np.ones((1, 1, 1, 1))])
    query, key, value, out = ((0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (1.0, 0.0))  # kernel and bias
    arrays = [
        np.full((1, 1, 1), query[0]),
        np.full((1, 1), query[1]),
        np.full((1, 1, 1), key[0]),
        np.full((1, 1), key[1]),
    ]
    arrays += [np.full((1, 1, 1), value[0]), np.full((1, 1), value[1]), np.full((1, 1, 1), out[0]), np.full(1, out[1])]
    model.get_layer("attention").set_weights(arrays)
    model.get_layer("logits").set_weights([np.array([[1.0, -1.0]])])
    return model


class TestOneBlockByHand:
    PHOTO = np.log([[[2.0], [5.0]]])  # exponentials (1, 2, 5) with the class token's 0

    def test_attention(self):
        np.testing.assert_allclose(
            explain.attention(one_block(), self.PHOTO),
            np.broadcast_to([1 / 8, 2 / 8, 5 / 8], (1, 1, 1, 3, 3)),
            rtol=1e-5,
        )
        np.testing.assert_allclose(explain.attention_map(one_block(), self.PHOTO), [[[2 / 8, 5 / 8]]], rtol=1e-5)

    def test_rollout_is_half_of_it_and_the_same_for_every_class(self):
        # (A + I) / 2: the class token keeps half for itself, whatever is asked.
        for chosen in (None, 0, 1):
            result = explain.attention_rollout(one_block(), self.PHOTO, chosen)
            np.testing.assert_allclose(result, [[[1 / 8, 5 / 16]]], rtol=1e-5)
        # Token 2 is the second pixel: 5/16 and half for itself.
        result = explain.attention_rollout(one_block(), self.PHOTO, token=2)
        np.testing.assert_allclose(result, [[[1 / 8, 5 / 16 + 1 / 2]]], rtol=1e-5)

    def test_gradient_rollout_divides_the_pixels_between_the_classes(self):
        # dS_0/dA_0j = value j = 1 - x_j, the opposite for class 1. ReLU(gradient * A), one layer:
        first, second = (1 - np.log(2)) * 2 / 8, (np.log(5) - 1) * 5 / 8
        np.testing.assert_allclose(explain.gradient_rollout(one_block(), self.PHOTO, 0), [[[first, 0]]], rtol=1e-5)
        np.testing.assert_allclose(explain.gradient_rollout(one_block(), self.PHOTO, 1), [[[0, second]]], rtol=1e-5)
        # No gradient reaches the other rows, and the identity that R starts from is no evidence.
        assert not explain.gradient_rollout(one_block(), self.PHOTO, 1, token=2).any()


def keras_scores(model, photos, **call):
    """The attention that Keras gives of each block when it is asked for its scores."""
    if "body" in {layer.name for layer in model.layers}:
        model = model.get_layer("body")
    found = []
    for block in (1, 2):
        looked_at = keras.Model(model.input, model.get_layer(f"block{block}_norm1").output)(photos.astype("float32"))
        layer = model.get_layer(f"block{block}_attention")
        _, scores = layer(looked_at, looked_at, **{**call, "return_attention_scores": True})
        found.append(keras.ops.convert_to_numpy(keras.ops.cast(scores, "float32")))
    return np.stack(found)


KINDS = {
    "class token": {},
    "no token before the patches": {"before": 0, "pooled": True},
    "class token and 3 registers": {"before": 4},
    "dropout": {"dropout": 0.1},
    "scores asked for in the graph": {"call": {"return_attention_scores": True}},
    "causal": {"call": {"use_causal_mask": True}},
    "causal and dropout": {"dropout": 0.1, "call": {"use_causal_mask": True}},
    "mask": {"call": {"attention_mask": MASK}},
    "nested in a Functional model": {"nested": "functional"},
    "nested in a Sequential model": {"nested": "sequential"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_what_keras_gives(kind):
    model = zoo.transformer(**KINDS[kind])
    model.compile("adam", "sparse_categorical_crossentropy")
    predicted, before = model.predict(PHOTOS, verbose=0), zoo.state(model)
    result = explain.attention(model, PHOTOS)
    assert zoo.state(model) == before
    tokens = 6 + KINDS[kind].get("before", 1)
    assert result.shape == (2, 3, 2, tokens, tokens)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(result, keras_scores(model, PHOTOS, **KINDS[kind].get("call", {})), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model.predict(PHOTOS, verbose=0), predicted)


def slow_gradients(model, photo, chosen, mask):
    """dS_c/dA of each block by a tape, the blocks written out with the layers' own projections; mask: True is shown."""
    import tensorflow as tf

    body = model.get_layer("body") if "body" in {layer.name for layer in model.layers} else model
    layer = body.get_layer
    tensor = keras.Model(body.input, layer("position_embedding").output)(photo[None].astype(np.float32))
    told = []
    with tf.GradientTape() as tape:
        for block in (1, 2):
            looked_at, attend = layer(f"block{block}_norm1")(tensor), layer(f"block{block}_attention")
            query, key, value = (
                dense(looked_at) for dense in (attend.query_dense, attend.key_dense, attend.value_dense)
            )
            scores = tf.einsum("nihd,njhd->nhij", query, key) / 3**0.5 + np.where(mask, 0, -1e9)
            told.append(tf.nn.softmax(scores))
            tape.watch(told[-1])
            tensor = tensor + attend.output_dense(tf.einsum("nhij,njhd->nihd", told[-1], value))
            inside = layer(f"block{block}_dense1")(layer(f"block{block}_norm2")(tensor))
            tensor = tensor + layer(f"block{block}_dense2")(inside)
        tensor = layer("norm")(tensor)
        read = tf.reduce_mean(tensor, axis=1) if "pool" in {layer.name for layer in body.layers} else tensor[:, 0]
        kernel, bias = model.get_layer("predictions").get_weights()
        score = (read @ kernel + bias)[0, chosen]
    return np.concatenate(told), np.concatenate(tape.gradient(score, told))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_a_transformer_written_out(kind):
    model, tokens = zoo.transformer(**KINDS[kind]), 6 + KINDS[kind].get("before", 1)
    mask = np.tril(np.ones((tokens, tokens), bool)) if "causal" in kind else MASK if kind == "mask" else np.array(True)
    classes = np.array([3, 0, 1], np.int32)
    attention, gradients = explain.attention_gradients(model, PHOTOS, classes)
    for index, (photo, chosen) in enumerate(zip(PHOTOS, classes, strict=True)):
        slow, expected = slow_gradients(model, photo, chosen, mask)
        np.testing.assert_allclose(attention[:, index], slow, rtol=1e-4, atol=1e-6)
        assert expected.any()
        np.testing.assert_allclose(gradients[:, index], expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_bfloat16_and_flash_attention():
    full = explain.attention(zoo.transformer(), PHOTOS)
    half = explain.attention(zoo.transformer(dtype="mixed_bfloat16"), PHOTOS)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=0.06)
    for method in ROW:
        assert np.isfinite(getattr(explain, method)(zoo.transformer(dtype="mixed_bfloat16"), PHOTOS)).all()
    # TensorFlow has no flash attention: Keras builds such a model and cannot run it. Its attention is to be had.
    np.testing.assert_array_equal(explain.attention(zoo.transformer(flash_attention=True), PHOTOS), full)


def test_one_layer_called_twice_counts_as_two():
    image = keras.Input(zoo.TOKENS)
    tokens = L.Reshape((6, 5), name="patches")(L.Conv2D(5, 4, strides=4)(L.Rescaling(1 / 64)(image)))
    shared = L.MultiHeadAttention(2, 3)
    between = shared(tokens, tokens)
    model = zoo.shake(keras.Model(image, L.Dense(3)(L.GlobalAveragePooling1D()(shared(between, between)))))
    result = explain.attention(model, PHOTOS)
    at = keras.Model(image, [tokens, between])(PHOTOS.astype(np.float32))
    for layer, tokens in zip(result, at, strict=True):
        np.testing.assert_allclose(layer, shared(tokens, tokens, return_attention_scores=True)[1], rtol=1e-4, atol=1e-6)
    assert explain.gradient_rollout(model, PHOTOS).shape == (3, 8, 12)


@pytest.fixture(scope="module")
def tiny_vit():
    architecture = Architecture(patch=4, width=6, depth=2, heads=2, hidden=12, outputs=3)
    return zoo.shake(build_network(architecture, 8))


@pytest.fixture(scope="module")
def weights(tiny_vit):
    arrays = {layer.name: layer.get_weights() for layer in tiny_vit.layers if layer.weights}
    return {name: [array.astype(np.float64) for array in found] for name, found in arrays.items()}


@pytest.fixture(scope="module")
def photos():
    return zoo.photos(2, (8, 8, 3)) / 64


@pytest.fixture(scope="module")
def slow(weights, photos):
    """(attention, gradients) of each photo and class: {(photo, class): both (2, 2, 5, 5)}."""
    found = {}
    for photo, c in ((0, 0), (0, 2), (1, 1)):
        _, attention = twins_attention.vit(weights, photos[photo], 2)

        def logits(stack, layer, photo=photo, c=c):
            return np.array([twins_attention.vit(weights, photos[photo], 2, {layer: a})[0][c] for a in stack])

        gradients = [twins.gradient(lambda a, n=n: logits(a, n), attention[n]) for n in range(2)]
        found[photo, c] = attention, np.stack(gradients)
    return found


class TestWholeTransformer:
    """Against the ViT of `twins_attention`, its gradients by finite differences, all in float64."""

    def test_logits_and_attention(self, tiny_vit, weights, photos):
        opened = open_model(tiny_vit)
        for index, photo in enumerate(photos):
            logits, attention = twins_attention.vit(weights, photo, 2)
            np.testing.assert_allclose(opened.logits(photo[None].astype(np.float32))[0], logits, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(explain.attention(tiny_vit, photos)[:, index], attention, rtol=1e-4, atol=1e-6)

    def test_gradients(self, tiny_vit, photos, slow):
        for (photo, c), (_, expected) in slow.items():
            _, found = explain.attention_gradients(tiny_vit, photos[photo], c)
            assert np.abs(expected[0]).max() > 0
            np.testing.assert_allclose(found[:, 0], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())

    def test_rollouts(self, tiny_vit, photos, slow):
        for (photo, c), (attention, gradients) in slow.items():
            through = twins_attention.rollout(attention)
            result = explain.attention_rollout(tiny_vit, photos, c, upsample=False)[photo]
            np.testing.assert_allclose(result, through[0, 1:].reshape(2, 2), rtol=1e-4)
            weighted = twins_attention.gradient_weighted(attention, gradients)
            assert weighted[0, 1:].any()
            result = explain.gradient_rollout(tiny_vit, photos[photo], c, upsample=False)[0]
            np.testing.assert_allclose(result, weighted[0, 1:].reshape(2, 2), rtol=1e-3, atol=1e-6)
            result = explain.gradient_rollout(tiny_vit, photos[photo], c)[0]
            np.testing.assert_allclose(result, twins.resize(weighted[0, 1:].reshape(2, 2), 8, 8), rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def model():
    return zoo.transformer()


class TestMaps:
    def test_attention_map_is_one_row(self, model):
        attention = explain.attention(model, PHOTOS)
        low = {"upsample": False}
        patches = np.s_[..., 1:]
        cases = [
            ({}, attention[1].mean(axis=1)[:, 0][patches]),
            ({"block": 0}, attention[0].mean(axis=1)[:, 0][patches]),
            ({"block": -2}, attention[0].mean(axis=1)[:, 0][patches]),
            ({"head": 1}, attention[1, :, 1, 0][patches]),
            ({"head": -1}, attention[1, :, 1, 0][patches]),
            ({"block": 0, "head": 0, "token": 4}, attention[0, :, 0, 4][patches]),
        ]
        for options, expected in cases:
            result = explain.attention_map(model, PHOTOS, **options, **low)
            np.testing.assert_allclose(result, expected.reshape(3, 2, 3), rtol=1e-6)

    def test_registers_are_left_out_and_without_a_class_token_all_rows_are_averaged(self):
        model = zoo.transformer(before=4)
        attention = explain.attention(model, PHOTOS)
        result = explain.attention_map(model, PHOTOS, upsample=False)
        np.testing.assert_allclose(result, attention[1].mean(axis=1)[:, 0, 4:].reshape(3, 2, 3), rtol=1e-6)
        through = rollout(attention)
        result = explain.attention_rollout(model, PHOTOS, token=5, upsample=False)
        np.testing.assert_allclose(result, through[:, 5, 4:].reshape(3, 2, 3), rtol=1e-6)

        model = zoo.transformer(before=0, pooled=True)
        through = rollout(explain.attention(model, PHOTOS))
        result = explain.attention_rollout(model, PHOTOS, upsample=False)
        np.testing.assert_allclose(result, through.mean(axis=1).reshape(3, 2, 3), rtol=1e-5)
        np.testing.assert_allclose(result.sum(axis=(1, 2)), 1, rtol=1e-5)
        classes = np.array([0, 1, 2])
        weighted = gradient_weighted_rollout(*explain.attention_gradients(model, PHOTOS, classes))
        result = explain.gradient_rollout(model, PHOTOS, classes, upsample=False)
        np.testing.assert_allclose(result, (weighted - np.eye(6)).mean(axis=1).reshape(3, 2, 3), rtol=1e-4, atol=1e-7)

    @pytest.mark.parametrize("method", ROW)
    def test_resized_with_half_pixel_centres(self, model, method):
        low = getattr(explain, method)(model, PHOTOS, upsample=False)
        high = getattr(explain, method)(model, PHOTOS)
        assert (low.shape, high.shape, high.dtype) == ((3, 2, 3), (3, 8, 12), np.float32)
        for index in range(3):
            np.testing.assert_allclose(high[index], twins.resize(low[index], 8, 12), rtol=1e-4, atol=1e-7)

    @pytest.mark.parametrize("method", ROW)
    def test_a_batch_equals_a_loop_also_when_it_is_cut(self, model, method, monkeypatch):
        function, classes = getattr(explain, method), [0, 3, 1]
        loop = np.concatenate([function(model, photo, c) for photo, c in zip(PHOTOS, classes, strict=True)])
        np.testing.assert_allclose(function(model, PHOTOS, classes), loop, rtol=1e-4, atol=1e-7)
        monkeypatch.setitem(function.__globals__, "_IMAGES_AT_ONCE", 2)
        np.testing.assert_allclose(function(model, PHOTOS, classes), loop, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(
            function(model, PHOTOS.astype(np.float64).tolist(), classes), loop, rtol=1e-4, atol=1e-7
        )

    def test_no_class_changes_attention_and_rollout_but_every_class_the_gradients(self, model):
        for method in (explain.attention_map, explain.attention_rollout):
            maps = [method(model, PHOTOS, chosen) for chosen in (None, 0, [1, 2, 3])]
            np.testing.assert_array_equal(maps, [maps[0]] * 3)
        photos = np.repeat(PHOTOS[:1], 4, axis=0)
        maps = explain.gradient_rollout(model, photos, [0, 1, 2, 3])
        for first in range(4):
            for second in range(first):
                assert np.abs(maps[first] - maps[second]).max() > 0.1 * maps[[first, second]].max()
        top = int(model.predict(photos[:1], verbose=0).argmax())
        np.testing.assert_allclose(explain.gradient_rollout(model, photos[:1])[0], maps[top], rtol=1e-5, atol=1e-8)

    def test_rollout_and_the_class_tokens_own_share_are_all_there_is(self, model):
        own = rollout(explain.attention(model, PHOTOS))[:, 0, 0]
        result = explain.attention_rollout(model, PHOTOS, upsample=False)
        np.testing.assert_allclose(result.sum(axis=(1, 2)) + own, 1, rtol=1e-5)

    def test_passes(self, model):
        for method, backward in (("attention_map", 0), ("attention_rollout", 0), ("gradient_rollout", 3)):
            with count_passes() as passes:
                getattr(explain, method)(model, PHOTOS)
            assert (passes.forward, passes.backward) == (3, backward), method

    def test_the_model_is_left_as_it_was(self):
        model = zoo.transformer(dropout=0.1)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        kept, predicted = PHOTOS.copy(), model.predict(PHOTOS, verbose=0)
        before = zoo.state(model)
        for method in (*ROW, "grad_cam", "ablation_cam"):
            getattr(explain, method)(model, PHOTOS)
            assert zoo.state(model) == before, method
        np.testing.assert_array_equal(model.predict(PHOTOS, verbose=0), predicted)
        np.testing.assert_array_equal(PHOTOS, kept)

    def test_new_weights_are_seen_at_once(self):
        model = zoo.transformer()
        first = explain.attention(model, PHOTOS)
        zoo.shake(model, 1)
        second = explain.attention(model, PHOTOS)
        assert np.abs(first - second).max() > 0.1
        np.testing.assert_allclose(second, keras_scores(model, PHOTOS), rtol=1e-4, atol=1e-6)


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"block": 2}, ValueError, "block: 2 is out of range; the model has 2, 0 to 1, or -1 for the last"),
            ({"block": -3}, ValueError, "block: -3 is out of range"),
            ({"block": 1.0}, TypeError, "block: an int is needed, not float 1.0"),
            ({"block": None}, TypeError, "block: an int is needed"),
            ({"head": 2}, ValueError, "head: 2 is out of range; the model has 2"),
            ({"head": True}, TypeError, "head: an int is needed, not bool"),
            ({"token": 7}, ValueError, "token: 7 is out of range; there are 0 to 6, 1 before the patches"),
            ({"token": -1}, ValueError, "token: -1 is out of range"),
            ({"token": "class"}, TypeError, "token: None or an int is needed, not str 'class'"),
            ({"classes": 4}, ValueError, "classes: 4 is out of range"),
            ({"classes": [0, 1]}, ValueError, "classes: 2 classes for 3 images"),
            ({"images": PHOTOS[:, :4]}, ValueError, "images: shape"),
        ],
    )
    def test_arguments(self, model, options, error, message):
        for method in ROW:
            if not {"block", "head"} & set(options) or method == "attention_map":
                with pytest.raises(error, match=message):
                    getattr(explain, method)(**{"model": model, "images": PHOTOS, **options})

    def test_all_tokens_are_patches(self):
        with pytest.raises(ValueError, match="there are 0 to 5, all of them patches"):
            explain.attention_rollout(zoo.transformer(before=0, pooled=True), PHOTOS, token=6)

    def refused(self, model, message):
        photos = zoo.photos(1, model.input_shape[1:])
        for method in ("attention", *ROW):
            with pytest.raises(ValueError, match=message):
                getattr(explain, method)(model, photos)

    def model_of(self, attend):
        image = keras.Input((4, 6, 3))
        return keras.Model(image, L.Dense(2)(L.Flatten()(attend(L.Conv2D(4, 1, name="maps")(image)))))

    def test_a_network_of_convolutions(self):
        self.refused(zoo.functional(), "has no MultiHeadAttention layer in its graph")

    def test_attention_hidden_in_another_layer(self):
        class Block(L.Layer):
            def __init__(self):
                super().__init__()
                self.attention = L.MultiHeadAttention(1, 2)

            def call(self, tokens):
                return self.attention(tokens, tokens)

        model = self.model_of(lambda maps: Block()(L.Reshape((24, 4))(maps)))
        self.refused(model, "inside a layer of another kind it is out of reach")

    def test_cross_attention(self):
        def attend(maps):
            tokens = L.Reshape((24, 4))(maps)
            return L.MultiHeadAttention(1, 2, name="cross")(tokens, L.Dense(4)(tokens))

        self.refused(
            self.model_of(attend), r"layer 'cross' of '.*' takes query and value from different .*cross-attention"
        )

    def test_attention_on_maps(self):
        model = self.model_of(lambda maps: L.MultiHeadAttention(1, 2, attention_axes=(1, 2), name="wide")(maps, maps))
        self.refused(model, r"layer 'wide' of '.*' looks at an input of shape \(None, 4, 6, 4\)")
        assert explain.grad_cam(model, zoo.photos(1, (4, 6, 3)), layer="maps").shape == (1, 4, 6)

    def test_layers_that_differ(self):
        def fewer(maps):
            tokens = L.Reshape((24, 4))(maps)
            pooled = L.AveragePooling1D(2)(L.MultiHeadAttention(1, 2)(tokens, tokens))
            return L.MultiHeadAttention(1, 2)(pooled, pooled)

        def more_heads(maps):
            tokens = L.Reshape((24, 4))(maps)
            given = L.MultiHeadAttention(1, 2)(tokens, tokens)
            return L.MultiHeadAttention(2, 2)(given, given)

        self.refused(self.model_of(fewer), r"differ in their number of tokens: \[24, 12\]")
        self.refused(self.model_of(more_heads), r"differ in their number of heads: \[1, 2\]")

    def test_tokens_that_are_no_patches(self):
        def columns(maps):
            tokens = L.Reshape((4, 24))(maps)
            return L.MultiHeadAttention(1, 2, name="columns")(tokens, tokens)

        self.refused(
            self.model_of(columns), "tokens that 'columns' of '.*' looks at are not the patches of a feature map"
        )
        self.refused(zoo.transformer(before=17), "'block1_attention' of '.*' looks at are not the patches")
        assert explain.attention(zoo.transformer(before=16), PHOTOS).shape == (2, 3, 2, 22, 22)

    def test_attention_computed_in_a_way_of_its_own(self):
        class Own(L.MultiHeadAttention):
            def _compute_attention(self, query, key, value, *args, **kwargs):
                return value, None

        def attend(maps):
            tokens = L.Reshape((24, 4))(maps)
            return Own(1, 2)(tokens, tokens)

        self.refused(self.model_of(attend), "computes its attention in a way of its own")
