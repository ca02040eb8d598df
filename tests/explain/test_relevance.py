"""Layer-wise relevance propagation: the rules by hand and as matrices, the layers, conservation."""

from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import twins_relevance as twins
import zoo

from labutils import explain
from labutils.explain import count_passes, relevance_rules
from labutils.explain.relevance import COMPOSITES, layer_relevance, lrp
from labutils.explain.surgery import open_model

TEACHER = Path(__file__).parents[3] / "shared" / "teacher" / "mobilenet_v2_imagenet.weights.h5"
L = zoo.L

# x = (1, 2), hidden z = (2 * 1 - 0.5 * 2, 1 * 1 + 1 * 2) = (1, 3), S = 3 * 1 + 1 * 3 = 6: half of it each.
X = [1.0, 2.0]
HIDDEN = [[2.0, 1.0], [-0.5, 1.0]]
HEAD = ([[3.0], [1.0]], [0.0])
BOX = {"composite": "epsilon_gamma_box", "epsilon": 0.0, "bounds": (-1, 3)}


def hidden(bias=(0.0, 0.0)):
    return zoo.dense_net((HIDDEN, bias), HEAD)


def linear(weights, bias=0.0):
    return zoo.dense_net((np.reshape(weights, (-1, 1)), [bias]))


@pytest.fixture
def eagerly():
    """Without compiling, which takes longer than small networks do; the whole networks' twins are compared compiled."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("eagerly")
class TestWorkedOutByHand:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            # 3 * (2, -1) / 1 + 3 * (1, 2) / 3.
            ({"composite": "epsilon", "epsilon": 0.0}, [7, -1]),
            # The logit: 3 / (6 + 1) * 6 = 18/7 each. Then 18/7 * (2, -1) / 2 + 18/7 * (1, 2) / 4.
            ({"composite": "epsilon", "epsilon": 1.0}, [45 / 14, 0]),
            # The first hidden unit: positive contributions twice, (4, -1) / 3.
            ({"composite": "gamma", "gamma": 1.0}, [5, 1]),
            # 3 * (2, 0) / 2 + 3 * (1, 2) / 3.
            ({"composite": "alpha1_beta0"}, [4, 2]),
            # Low -1 and high 3: 3 * (2 + 2, -1 + 1.5) / 4.5 + 3 * (1 + 1, 2 + 1) / 5.
            (BOX, [8 / 3 + 6 / 5, 1 / 3 + 9 / 5]),
        ],
    )
    def test_the_rules(self, options, expected):
        relevance, gap = lrp(hidden(), X, return_gap=True, **options)
        np.testing.assert_allclose(relevance, [expected], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gap, [sum(expected) - 6], rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            # The bias 1 makes the first hidden unit 2 and the logit 9, of which it gets 6: 6 * (2, -1 | 1) / 2.
            ({"composite": "epsilon", "epsilon": 0.0}, [7, -1]),
            # 6 * (4, -1 | 2) / 5.
            ({"composite": "gamma", "gamma": 1.0}, [5.8, 0.8]),
            # 6 * (2, 0 | 1) / 3.
            ({"composite": "alpha1_beta0"}, [5, 2]),
            # 6 * (4, 0.5) / 4.5: nothing for the bias.
            (BOX, [16 / 3 + 6 / 5, 2 / 3 + 9 / 5]),
        ],
    )
    def test_a_bias_keeps_its_share_but_in_the_box(self, options, expected):
        relevance, gap = lrp(hidden((1.0, 0.0)), X, return_gap=True, **options)
        np.testing.assert_allclose(relevance, [expected], rtol=1e-6)
        np.testing.assert_allclose(gap, [sum(expected) - 9], rtol=1e-5, atol=1e-5)

    def test_a_negative_bias_argues_against(self):
        # z = 2 - 1 = 1. Epsilon: (2 | -1) / 1. Gamma 1: (4 | -1) / 3. Alpha-beta: it is cut.
        expected = {"epsilon": 2, "gamma": 4 / 3, "alpha1_beta0": 1}
        for composite, share in expected.items():
            np.testing.assert_allclose(lrp(linear([2.0], -1.0), [1.0], composite=composite, gamma=1.0), [[share]], 1e-5)

        # (1, -1 | -1): the bias is no part of the positive ones, which would cancel.
        np.testing.assert_allclose(lrp(linear([1.0, -1.0], -1.0), [1.0, 1.0], composite="alpha1_beta0"), [[-1, 0]])

    def test_negative_inputs(self):
        # (-1, 2) * (2, 2) = (-2, 4), z = 2. A rule that cut the weights alone would take -2 for positive.
        expected = {"epsilon": [-2, 4], "gamma": [-2 / 3, 8 / 3], "alpha1_beta0": [0, 2]}
        for composite, shares in expected.items():
            relevance = lrp(linear([2.0, 2.0]), [-1.0, 2.0], composite=composite, gamma=1.0)
            np.testing.assert_allclose(relevance, [shares], rtol=1e-5, atol=1e-7)
        # (-1, 2) * (-2, 0.5) = (2, 1): both argue for it.
        np.testing.assert_allclose(lrp(linear([-2.0, 0.5]), [-1.0, 2.0], composite="alpha1_beta0"), [[2, 1]])

    def test_negative_outputs(self):
        # (1, -3), z = -2. Gamma 1: the negative one twice, (1, -6) / -5. Alpha-beta: the positive one gets it all.
        expected = {"epsilon": [1, -3], "gamma": [0.4, -2.4], "alpha1_beta0": [-2, 0]}
        for composite, shares in expected.items():
            relevance, gap = lrp(linear([1.0, -3.0]), [1.0, 1.0], composite=composite, gamma=1.0, return_gap=True)
            np.testing.assert_allclose(relevance, [shares], rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(gap, [0], atol=1e-5)

    def test_nothing_argues_for_it(self):
        # (-1, -2): alpha-beta has no positive contribution, and the gap says that all of -3 is lost.
        relevance, gap = lrp(linear([1.0, 1.0]), [-1.0, -2.0], composite="alpha1_beta0", return_gap=True)
        np.testing.assert_array_equal(relevance, [[0, 0]])
        np.testing.assert_allclose(gap, [3])

    def test_the_sign_of_zero_is_positive(self):
        # (1, -1), z = 0, relevance 1. Epsilon 0.5: (1, -1) / 0.5. Gamma 1: (2, -1) / 1.
        layer = relevance_rules.Linear(tf.matmul, tf.constant([[1.0], [-1.0]]), tf.constant([0.0]))
        x, one = tf.constant([[1.0, 1.0]]), tf.constant([[1.0]])
        np.testing.assert_allclose(relevance_rules.epsilon_rule(layer, x, layer(x), one, tf.constant(0.5)), [[2, -2]])
        np.testing.assert_allclose(relevance_rules.gamma_rule(layer, x, layer(x), one, tf.constant(1.0)), [[2, -1]])

    def test_colours_are_summed_with_their_signs(self):
        # One pixel (1, 2) with weights (3, -1): 3 - 2 = 1; the other (4, 0) with (0.5, 1): 2.
        model = zoo.linear_head(np.array([[[[3.0], [-1.0]], [[0.5], [1.0]]]]))
        np.testing.assert_allclose(lrp(model, [[[1.0, 2.0], [4.0, 0.0]]], composite="epsilon"), [[[1, 2]]], rtol=1e-5)

    @pytest.mark.parametrize("pool", [lambda: L.MaxPooling2D(2), lambda: L.GlobalMaxPooling2D()])
    def test_the_winner_takes_all_and_the_first_of_equals_wins(self, pool):
        image = keras.Input((2, 2, 1))
        model = keras.Model(image, L.Dense(1, use_bias=False)(L.Flatten()(pool()(image))))
        model.layers[-1].set_weights([np.array([[2.0]])])
        pixels = np.array([[[[1], [3]], [[2], [0]]], [[[3], [5]], [[5], [5]]]])
        for composite in ("epsilon", "gamma", "alpha1_beta0"):
            relevance = lrp(model, pixels, composite=composite)
            np.testing.assert_allclose(relevance, [[[0, 6], [0, 0]], [[0, 10], [0, 0]]], rtol=1e-5)

    @pytest.mark.parametrize("add", [lambda a, b: L.Add()([a, b]), lambda a, b: a + b])
    def test_a_sum_is_shared_out_by_contribution(self, add):
        # Branches 1 * 3 and -0.5 * 2: 3 - 1 = 2. Gamma 1: (6, -1) / 5.
        x = keras.Input((2,))
        model = keras.Model(x, add(L.Dense(1, use_bias=False)(x), L.Dense(1, use_bias=False)(x)))
        for layer, kernel in zip([layer for layer in model.layers if layer.weights], ([1, 0], [0, -0.5]), strict=True):
            layer.set_weights([np.reshape(kernel, (2, 1))])
        expected = {"epsilon": [3, -1], "gamma": [2.4, -0.4], "alpha1_beta0": [2, 0]}
        for composite, shares in expected.items():
            relevance = lrp(model, [3.0, 2.0], composite=composite, gamma=1.0)
            np.testing.assert_allclose(relevance, [shares], rtol=1e-5, atol=1e-6)

    def test_the_same_tensor_added_to_itself(self):
        x = keras.Input((1,))
        dense = L.Dense(1, use_bias=False)(x)
        model = keras.Model(x, dense + dense)
        model.layers[1].set_weights([np.array([[2.0]])])
        np.testing.assert_allclose(lrp(model, [3.0], composite="epsilon"), [[12]], rtol=1e-5)

    @pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "relu6"])
    def test_activations_hand_relevance_on(self, activation):
        # One unit z = 2 with both inputs 1; whatever S = 5 g(2) is, it is shared out 3 : -1.
        model = keras.Sequential([keras.Input((2,)), L.Dense(1, activation=activation), L.Dense(1)])
        model.set_weights([np.array(w) for w in ([[3.0], [-1.0]], [0.0], [[5.0]], [0.0])])
        score = open_model(model).logits(np.ones((1, 2), np.float32))[0, 0]
        np.testing.assert_allclose(lrp(model, [1.0, 1.0], composite="epsilon"), [[1.5 * score, -0.5 * score]], 1e-4)

    def test_constants(self):
        # (x / 2 - 3) * -4 at 8 is -4: -16 from x, 12 from the constant. At 2 it is 8: -4 and 12.
        x = keras.Input((1,))
        model = keras.Model(x, (x / 2 - 3) * -4)
        np.testing.assert_allclose(lrp(model, [[8.0], [2.0]], composite="epsilon", epsilon=0), [[-16], [-4]], rtol=1e-5)
        model = keras.Model(x, 12 - x)
        np.testing.assert_allclose(lrp(model, [[8.0], [2.0]], composite="epsilon", epsilon=0), [[-8], [-2]], rtol=1e-5)


GAMMA, EPSILON = 0.3, 0.05
SHARES = {
    "epsilon": partial(twins.epsilon_shares, epsilon=EPSILON),
    "gamma": partial(twins.gamma_shares, gamma=GAMMA),
    "z_plus": twins.z_plus_shares,
}


def slow(composite, image):
    """(vectors, maps, box) of a composite for one image, whose own range the box is."""
    rules = COMPOSITES[composite]
    ends = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    box = tuple(np.broadcast_to(end, image.shape).astype(float) for end in ends) if rules.first else None
    return SHARES[rules.vectors], SHARES[rules.maps], box


def fast(model, images, classes, composite):
    return lrp(model, images, classes, composite=composite, gamma=GAMMA, epsilon=EPSILON)


def assert_equal(result, expected):
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


# With random weights and biases, on inputs of both signs.
LAYERS = {
    "dense": lambda: [L.Flatten(), L.Dense(5), L.BatchNormalization(), L.ReLU()],
    "dense on maps": lambda: [L.Dense(5)],
    "convolution": lambda: [L.Conv2D(4, 3, padding="same", strides=2, activation="relu"), L.Conv2D(3, 2)],
    "dilated convolution": lambda: [L.Conv2D(3, 2, dilation_rate=2), L.BatchNormalization(), L.ReLU()],
    "depthwise convolution": lambda: [L.DepthwiseConv2D(3, depth_multiplier=2), L.BatchNormalization()],
    "average pooling": lambda: [L.AveragePooling2D(2, padding="same")],
    "global average pooling": lambda: [L.GlobalAveragePooling2D()],
    "max-pooling": lambda: [L.Conv2D(3, 2), L.MaxPooling2D(2, strides=1)],
    "global max-pooling": lambda: [L.Conv2D(3, 2), L.GlobalMaxPooling2D()],
    "batch norm of its own": lambda: [L.Conv2D(3, 3, activation="relu"), L.BatchNormalization(), L.ReLU()],
    "batch norm after pooling": lambda: [L.Conv2D(3, 3), L.MaxPooling2D(2), L.BatchNormalization()],
}


def small(layers, seed=0):
    model = keras.Sequential([keras.Input((5, 6, 2)), *layers, L.Flatten(), L.Dense(3, activation="softmax")])
    return zoo.shake(model, seed)


SIGNED = np.random.default_rng(5).normal(0, 1, (2, 5, 6, 2)).astype(np.float32)


class TestSlowTwins:
    @pytest.mark.usefixtures("eagerly")
    @pytest.mark.parametrize("composite", ["epsilon", "gamma", "alpha1_beta0"])
    @pytest.mark.parametrize("name", LAYERS)
    def test_each_layer(self, name, composite):
        self.compare(LAYERS[name](), composite)

    @pytest.mark.usefixtures("eagerly")
    @pytest.mark.parametrize("name", ["dense", "convolution", "depthwise convolution", "average pooling"])
    def test_the_box_for_each_first_layer(self, name):
        self.compare(LAYERS[name](), "epsilon_gamma_box")

    def compare(self, layers, composite):
        model = small(layers)
        result = fast(model, SIGNED, [2, 0], composite)
        for image, chosen, relevance in zip(SIGNED, [2, 0], result, strict=True):
            assert_equal(relevance, twins.Chain(*slow(composite, image)).explain(model.layers, image, chosen))

    @pytest.mark.parametrize(
        ("build", "composite"), [*((zoo.functional, name) for name in COMPOSITES), (zoo.vgg_like, "epsilon_gamma_box")]
    )
    def test_whole_networks(self, build, composite):
        model = build()
        image = zoo.photos(1, model.input_shape[1:])[0].astype(np.float32) - 100
        expected = twins.Chain(*slow(composite, image)).explain(model.layers[1:], image, 1)
        assert_equal(fast(model, image, 1, composite)[0], expected)

    @pytest.mark.parametrize("composite", COMPOSITES)
    def test_a_residual_network(self, composite):
        model, image = zoo.residual(), zoo.photos(1, (9, 12, 3))[0].astype(np.float32) - 100
        expected, score = twins.residual(model, image, 2, *slow(composite, image))
        assert_equal(fast(model, image, 2, composite)[0], expected)
        _, gap = lrp(model, image, 2, composite=composite, gamma=GAMMA, epsilon=EPSILON, return_gap=True)
        assert gap[0] == pytest.approx(expected.sum() - score, rel=1e-3, abs=1e-4 * abs(score))


def explicit(model):
    """A Sequential's batch norms merged by hand into the convolution or dense layer after them."""
    merged = keras.Sequential([keras.Input(model.input_shape[1:])])
    norm = None
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            norm = layer
            continue
        merged.add(type(layer).from_config(layer.get_config()))
        weights = layer.get_weights()
        if norm is not None and weights:
            scale = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
            shift = norm.beta - norm.moving_mean * scale
            kernel, bias = weights
            weights = [kernel * np.asarray(scale)[:, None], bias + (np.asarray(shift)[:, None] * kernel).sum((0, 1, 2))]
            norm = None
        merged.layers[-1].set_weights(weights)
    return merged


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("composite", COMPOSITES)
class TestMerging:
    def test_a_batch_norm_before_a_convolution(self, composite):
        model = small([L.Conv2D(4, 2, activation="relu"), L.BatchNormalization(), L.Conv2D(3, 2, activation="relu")])
        merged = explicit(model)
        np.testing.assert_allclose(merged(SIGNED), model(SIGNED), rtol=1e-4)
        assert_equal(lrp(model, SIGNED, 1, composite=composite), lrp(merged, SIGNED, 1, composite=composite))

    def test_on_both_sides(self, composite):
        # With padding, the shift of the first one is missing at the border: a bias that is a map.
        before, after = (
            small([L.BatchNormalization(), L.Conv2D(3, 3, padding="same"), *norm, L.ReLU()], seed=3)
            for norm in ([], [L.BatchNormalization()])
        )
        kernel, bias = before.layers[1].get_weights()
        norm = after.layers[2]
        scale = np.asarray(norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon))
        for source, target in zip(after.layers[:2] + after.layers[3:], before.layers, strict=True):
            target.set_weights(source.get_weights())
        kernel, bias = after.layers[1].get_weights()
        before.layers[1].set_weights([kernel * scale, (bias - norm.moving_mean) * scale + norm.beta])
        np.testing.assert_allclose(before(SIGNED), after(SIGNED), rtol=1e-4)
        assert_equal(lrp(after, SIGNED, 1, composite=composite), lrp(before, SIGNED, 1, composite=composite))

    def test_a_separable_convolution_is_two(self, composite):
        depthwise = L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)
        one = small([L.ReLU(), L.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu")])
        two = small([L.ReLU(), depthwise, L.Conv2D(4, 1, activation="relu")])
        two.set_weights(one.get_weights())
        assert_equal(lrp(one, SIGNED, 1, composite=composite), lrp(two, SIGNED, 1, composite=composite))

    def test_units_of_the_input_do_not_matter(self, composite):
        # Rescaling without offset; and with one, where the box moves along.
        plain = small([L.Conv2D(4, 2, activation="relu")])
        rescaled = small(
            [L.Rescaling(0.1, 3.0 if composite == "epsilon_gamma_box" else 0.0), *[L.Conv2D(4, 2, activation="relu")]]
        )
        rescaled.set_weights(plain.get_weights())
        inputs = (SIGNED - 3) * 10 if composite == "epsilon_gamma_box" else SIGNED * 10
        assert_equal(lrp(rescaled, inputs, 1, composite=composite), lrp(plain, SIGNED, 1, composite=composite))


def without_biases(model):
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(np.zeros(layer.bias.shape))
    return model


@pytest.mark.usefixtures("eagerly")
class TestConservation:
    @pytest.mark.parametrize("composite", COMPOSITES)
    @pytest.mark.parametrize("build", [zoo.vgg_like, zoo.residual])
    def test_exact_without_biases_and_epsilon(self, build, composite):
        model = without_biases(build())
        photos = zoo.photos(3, (16, 24, 3))
        maps, gap = lrp(model, photos, composite=composite, epsilon=0.0, return_gap=True)
        np.testing.assert_allclose(gap, 0, atol=1e-4 * np.abs(maps.sum((1, 2))).min())

    @pytest.mark.parametrize("composite", COMPOSITES)
    def test_the_gap_is_what_the_map_lacks_of_the_logit(self, composite):
        model, photos = zoo.functional(), zoo.photos()
        maps, gap = lrp(model, photos, 2, composite=composite, epsilon=0.5, return_gap=True)
        logits = open_model(model).logits(photos.astype(np.float32))[:, 2]
        np.testing.assert_allclose(maps.sum((1, 2)) - gap, logits, rtol=1e-4)
        assert (np.abs(gap) > 1e-4).all()  # it has biases


@pytest.mark.usefixtures("eagerly")
class TestEachLayer:
    def test_by_hand(self):
        # S = 6 is 3 each of the hidden units; 3 * (2, -1) / 1 + 3 * (1, 2) / 3.
        model = hidden()
        found = layer_relevance(model, X, composite="epsilon", epsilon=0.0)
        assert list(found) == ["input", *(layer.name for layer in model.layers if layer.weights)]
        for values, expected in zip(found.values(), ([7, -1], [3, 3], [6]), strict=True):
            assert values.dtype == np.float32
            np.testing.assert_allclose(values, [expected], rtol=1e-5)

    @pytest.mark.parametrize("composite", COMPOSITES)
    def test_ends_where_lrp_ends_and_has_the_shapes_of_the_activations(self, composite):
        model, photos = zoo.vgg_like(), zoo.photos(2, (16, 24, 3))
        found = layer_relevance(model, photos, [1, 0], composite=composite, epsilon=0.1)
        expected = lrp(model, photos, [1, 0], composite=composite, epsilon=0.1)
        np.testing.assert_allclose(found.pop("input").sum(axis=-1), expected, rtol=1e-4, atol=1e-6)
        outputs = explain.activations(model, photos)
        assert {name: values.shape for name, values in found.items()} == {
            name: values.shape for name, values in outputs.items()
        }

    def test_every_layer_of_a_chain_keeps_the_sum_without_biases(self):
        model = without_biases(zoo.vgg_like())
        found = layer_relevance(model, zoo.photos(2, (16, 24, 3)), 1, composite="gamma")
        sums = np.array([values.reshape(2, -1).sum(axis=1) for values in found.values()])
        np.testing.assert_allclose(sums, np.broadcast_to(sums[-1], sums.shape), rtol=1e-3)

    def test_branches_side_by_side_have_it_together(self):
        # 3 - 1 = 2 of branches 1 * 3 and -0.5 * 2.
        x = keras.Input((2,))
        branches = [L.Dense(1, use_bias=False, name=name)(x) for name in ("for", "against")]
        model = keras.Model(x, L.Add(name="sum")(branches))
        model.get_layer("for").set_weights([np.array([[1.0], [0.0]])])
        model.get_layer("against").set_weights([np.array([[0.0], [-0.5]])])
        found = layer_relevance(model, [3.0, 2.0], composite="epsilon")
        for name, expected in {"input": [3, -1], "for": [3], "against": [-1], "sum": [2]}.items():
            np.testing.assert_allclose(found[name], [expected], rtol=1e-5)

    def test_layers_asked_for_come_in_that_order_and_under_that_name(self):
        model = zoo.vgg_like()
        photos, last = zoo.photos(1, (16, 24, 3)), model.layers[-1]
        all_layers = layer_relevance(model, photos, 1)
        found = layer_relevance(model, photos, 1, layers=[last, "input"])
        assert list(found) == [last.name, "input"]
        for name, values in found.items():
            np.testing.assert_allclose(values, all_layers[name], rtol=1e-5, atol=1e-7)
        assert list(layer_relevance(model, photos, 1, layers=last.name)) == [last.name]

    def test_merged_layers_have_no_entry_and_cannot_be_asked_for(self):
        model = small([L.Conv2D(4, 2, name="conv"), L.BatchNormalization(name="norm"), L.ReLU()])
        found = layer_relevance(model, SIGNED, 1)
        assert "norm" in found
        assert "conv" not in found
        with pytest.raises(ValueError, match="layers: 'conv' is merged with the batch norm"):
            layer_relevance(model, SIGNED, 1, layers=["norm", "conv"])

    def test_layers_that_are_not_there(self):
        with pytest.raises(ValueError, match=r"layers: .*'nrom'.*norm"):
            layer_relevance(zoo.functional(), zoo.photos(), layers="nrom")
        with pytest.raises(ValueError, match="layers: an empty list"):
            layer_relevance(zoo.functional(), zoo.photos(), layers=[])

    def test_one_forward_and_one_backward_pass_and_the_model_left_as_it_was(self):
        model = zoo.residual()
        before = zoo.state(model)
        with count_passes() as passes:
            layer_relevance(model, zoo.photos())
        assert (passes.forward, passes.backward) == (3, 3)
        assert zoo.state(model) == before


@pytest.mark.parametrize("build", [zoo.functional, zoo.vgg_like, zoo.residual])
def test_lrp_0_is_gradient_times_input(build):
    # Biases or not; small inputs, so that no ReLU6 saturates.
    model = build()
    photos = zoo.photos(2, model.input_shape[1:] if model.input_shape[1] else zoo.SIZE) / 20.0
    assert_equal(
        lrp(model, photos, 1, composite="epsilon", epsilon=0.0), explain.gradient_times_input(model, photos, 1)
    )


@pytest.mark.usefixtures("eagerly")
class TestBounds:
    def test_none_takes_each_images_own_range_of_each_channel(self):
        model, photos = zoo.functional(), zoo.photos().astype(np.float32)
        ends = photos.min(axis=(1, 2), keepdims=True), photos.max(axis=(1, 2), keepdims=True)
        given = tuple(np.broadcast_to(end, photos.shape) for end in ends)
        np.testing.assert_array_equal(lrp(model, photos, 1), lrp(model, photos, 1, bounds=given))

    def test_numbers_and_channels_and_images_mean_the_same(self):
        model, photos = zoo.functional(), zoo.photos()
        expected = lrp(model, photos, 1, bounds=(0, 255))
        for low, high in (([0.0] * 3, [255.0] * 3), (np.zeros(zoo.SIZE), np.full(zoo.SIZE, 255))):
            np.testing.assert_array_equal(lrp(model, photos, 1, bounds=(low, high)), expected)
        assert not np.allclose(lrp(model, photos, 1, bounds=(-100, 400)), expected, rtol=0.01)

    def test_other_composites_have_no_box(self):
        model, photos = zoo.functional(), zoo.photos()
        expected = lrp(model, photos, 1, composite="gamma")
        np.testing.assert_array_equal(lrp(model, photos, 1, composite="gamma", bounds=(0, 255)), expected)

    def test_feature_vectors_without_bounds_have_none(self):
        expected = lrp(hidden(), X, composite="epsilon")
        np.testing.assert_array_equal(lrp(hidden(), X), expected)
        assert not np.allclose(lrp(hidden(), X, bounds=(-1, 3)), expected, rtol=0.01)


@pytest.mark.usefixtures("eagerly")
class TestLikeEveryMethod:
    @pytest.mark.parametrize("build", zoo.SAME_MODEL)
    def test_every_build_of_one_network_gives_one_map(self, build):
        photos = zoo.photos()
        assert_equal(lrp(zoo.SAME_MODEL[build](), photos, [3, 0, 1]), lrp(zoo.functional(), photos, [3, 0, 1]))

    @pytest.mark.parametrize("composite", COMPOSITES)
    def test_a_batch_gives_what_a_loop_gives(self, composite):
        model, photos, chosen = zoo.residual(), zoo.photos(10), np.arange(10) % 4
        batch, gaps = lrp(model, photos, chosen, composite=composite, return_gap=True)
        assert (batch.shape, batch.dtype) == ((10, 11, 14), np.float32)
        assert (gaps.shape, gaps.dtype) == ((10,), np.float32)
        for index in (0, 9):
            single, gap = lrp(model, photos[index], chosen[index], composite=composite, return_gap=True)
            np.testing.assert_allclose(single[0], batch[index], rtol=1e-3, atol=1e-5 * np.abs(batch[index]).max())
            np.testing.assert_allclose(gap, gaps[index : index + 1], rtol=1e-3)

    def test_none_is_the_top_class_and_classes_differ(self):
        model, photos = zoo.functional(), zoo.photos()
        top = open_model(model).logits(photos.astype(np.float32)).argmax(-1)
        np.testing.assert_array_equal(lrp(model, photos), lrp(model, photos, top))
        assert not np.allclose(lrp(model, photos, 0), lrp(model, photos, 1), rtol=0.1)

    def test_one_forward_and_one_backward_pass(self):
        with count_passes() as passes:
            lrp(zoo.functional(), zoo.photos())
        assert (passes.forward, passes.backward) == (3, 3)

    @pytest.mark.parametrize("build", [zoo.nested, zoo.residual])
    def test_the_model_is_left_as_it_was(self, build):
        model = build()
        model.compile("adam", "mse")
        before = zoo.state(model)
        for composite in COMPOSITES:
            lrp(model, zoo.photos(1), composite=composite)
        assert zoo.state(model) == before

    def test_half_precision_models_are_explained_in_full(self):
        photos = zoo.photos()
        expected = lrp(zoo.functional(), photos, 1, composite="gamma")
        result = lrp(zoo.functional(dtype="mixed_float16"), photos, 1, composite="gamma")
        np.testing.assert_allclose(result, expected, atol=0.01 * np.abs(expected).max())

    @pytest.mark.parametrize("composite", COMPOSITES)
    def test_dead_networks_give_zero(self, composite):
        model = zoo.functional()
        for variable in model.trainable_variables:
            variable.assign(np.zeros(variable.shape))
        maps, gap = lrp(model, zoo.photos(), composite=composite, return_gap=True)
        assert not maps.any()
        assert not gap.any()
        black = np.zeros((1, *zoo.SIZE))
        maps, gap = lrp(zoo.functional(), black, 1, composite=composite, return_gap=True)
        assert not maps.any()
        np.testing.assert_allclose(gap, -open_model(zoo.functional()).logits(black.astype(np.float32))[:, 1], rtol=1e-5)

    @pytest.mark.parametrize("composite", COMPOSITES)
    def test_deep_networks_do_not_blow_up(self, composite):
        # Twenty layers of both signs, with GELU, which does not cut what is negative: no share is larger than the logit.
        layers = [L.Conv2D(4, 3, padding="same", activation="gelu") for _ in range(20)]
        model = small(layers, seed=8)
        maps = lrp(model, SIGNED, 1, composite=composite)
        assert np.isfinite(maps).all()
        assert maps.any()


def test_compiled_once_for_all_classes_and_numbers_and_sees_new_weights():
    model, photos = zoo.functional(), zoo.photos()
    first = lrp(model, photos, 1)
    for chosen, epsilon, gamma in ((2, 0.1, 0.25), ([0, 1, 2], 0.0, 1.0)):
        lrp(model, photos, chosen, epsilon=epsilon, gamma=gamma, bounds=(0, 255))
    lrp(model, photos[:1], 1)
    (compiled,) = (run for key, run in open_model(model)._compiled.items() if key[0] == "lrp")
    assert compiled.experimental_get_tracing_count() == 1
    model.get_layer("norm").gamma.assign(model.get_layer("norm").gamma * -1)
    assert not np.allclose(lrp(model, photos, 1), first, rtol=0.1)


class Scaled(L.Dense):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


@pytest.mark.usefixtures("eagerly")
class TestErrors:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"composite": "zplus"}, ValueError, r"composite: 'zplus' is not one of 'epsilon_gamma_box', 'epsilon'"),
            ({"composite": None}, TypeError, r"composite: None is not one of"),
            ({"epsilon": -1.0}, ValueError, "epsilon: a finite number that is not negative is needed, not -1.0"),
            ({"gamma": np.nan}, ValueError, "gamma: a finite number"),
            ({"gamma": "a"}, TypeError, "gamma: a number"),
            ({"bounds": 255}, TypeError, r"bounds: None or a pair \(low, high\) is needed, not int 255"),
            ({"bounds": (0, 1, 2)}, TypeError, "bounds: None or a pair"),
            ({"bounds": ([0, 0], 255)}, ValueError, r"bounds \(low\): shape \(2,\) does not fit the images"),
            ({"bounds": (255, 0)}, ValueError, "bounds: low is above high"),
            ({"bounds": (0, 1)}, ValueError, r"bounds: images have values from 0 to 255, .*span 0 to 1; bounds are in"),
            ({"classes": 4}, ValueError, "classes: 4 is out of range"),
        ],
    )
    def test_bad_arguments(self, options, error, message):
        photos = zoo.photos()
        photos[0, 0, :2] = [[0] * 3, [255] * 3]
        with pytest.raises(error, match=message):
            lrp(zoo.functional(), photos, **options)

    @pytest.mark.parametrize(
        ("layers", "named"),
        [
            ([L.LayerNormalization(name="odd")], r"'odd' \(LayerNormalization\)"),
            ([L.Softmax(name="odd")], r"'odd' \(Softmax\)"),
            ([L.Activation("softmax", name="odd")], r"'odd' \(Activation"),
            ([L.Dense(3, activation="sigmoid", name="odd")], r"'odd' \(Dense, activation 'sigmoid'\)"),
            ([L.Conv2D(3, 1, activation="softplus", name="odd")], r"'odd' \(Conv2D, activation 'softplus'\)"),
            ([L.EinsumDense("abcd,de->abce", (5, 6, 4), name="odd")], r"'odd' \(EinsumDense\)"),
            ([L.Lambda(lambda x: 1 / x, name="odd")], r"'odd' \(Lambda\)"),
            ([Scaled(3, name="odd")], r"'odd' \(Scaled\)"),
        ],
    )
    def test_a_layer_without_a_rule_is_named(self, layers, named):
        with pytest.raises(
            ValueError, match=f"model: layer {named}.* has no LRP rule; layers that have one: .*Add, .*Dense"
        ):
            lrp(small(layers), SIGNED)

    @pytest.mark.parametrize(
        ("combine", "named"), [(lambda x: x * x, r"\(Multiply, not with"), (lambda x: 1 / x, r"Divide, not with")]
    )
    def test_products_have_no_rule(self, combine, named):
        x = keras.Input((2,))
        with pytest.raises(ValueError, match=f"{named} a constant.*has no LRP rule"):
            lrp(keras.Model(x, L.Dense(1)(combine(x))), [[1.0, 2.0]])


@pytest.mark.usefixtures("eagerly")
@pytest.mark.skipif(not TEACHER.exists(), reason="the ImageNet MobileNetV2 of ../shared/teacher is not here")
def test_a_real_network_looks_at_the_cat():
    # chelsea's face, but for her ears, is within pixels 30 to 194 of 224: 54 % of the photo.
    from skimage.data import chelsea
    from skimage.transform import resize

    model = keras.applications.MobileNetV2((224, 224, 3), weights=None)
    model.load_weights(TEACHER)
    photo = (resize(chelsea(), (224, 224), preserve_range=True) / 127.5 - 1).astype(np.float32)
    assert np.argmax(model(photo[None])) in (281, 282, 285)
    heat = np.maximum(lrp(model, photo, bounds=(-1, 1))[0], 0)
    assert heat[30:194, 30:194].sum() > 0.75 * heat.sum()
