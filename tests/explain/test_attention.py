"""Attention rollout and its gradient-weighted relative against pencil and paper, and against the slow twins."""

import subprocess
import sys

import numpy as np
import pytest
import twins
import twins_attention

from labutils.explain.attention import gradient_weighted_rollout, rollout, token_map

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
