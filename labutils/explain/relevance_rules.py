"""The rules of LRP: how the relevance of a layer's outputs is shared out among its inputs.

A layer without its activation computes ``z_k = sum_j x_j w_jk + b_k``: to output k, input j contributes ``x_j w_jk``. A
rule weighs the contributions, here called ``c_jk``, and gives each input its share of every output's relevance::

    R_j = sum_k  c_jk / total_k  R_k

=======  ==================================================================  =============================================
rule     contribution c_jk                                                   total_k
=======  ==================================================================  =============================================
epsilon  x w                                                                 z + epsilon sign(z)
gamma    x w + gamma (x w)^s, where s is the sign of z_k                     z + gamma (sum of (x w)^s + b^s)
z_plus   (x w)^+                                                             sum of (x w)^+ + b^+
z_box    x w - low w^+ - high w^-                                            sum of c_jk
=======  ==================================================================  =============================================

``v^+ = max(v, 0)``, ``v^- = min(v, 0)``, and ``sign(0) = +1``. As x may be negative, ``(x w)^+ = x^+ w^+ + x^- w^-`` and
``(x w)^- = x^+ w^- + x^- w^+``: inputs and weights are both cut. The total counts the bias, which so keeps a share that
no input gets; only z_box leaves it out. Where the total is zero the output's relevance is lost.

No rule ever builds the c_jk: ``sum_k w_jk s_k`` is the gradient of ``sum_k z_k s_k``, with ``s = R / total``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_ZERO = 1e-30  # a smaller total counts as zero: dividing by it could leave float32


@dataclass(frozen=True)
class Linear:
    """A layer without its activation, ``z_k = sum_j x_j w_jk + b_k``, and its transpose.

    Attributes
    ----------
    apply : function of (x, w)
        ``sum_j x_j w_jk``, for these and for any other inputs and weights of the same shapes.
    weights, bias : tf.Tensor
        w and b; b in any shape that adds to z.
    nonnegative : bool
        Whether x is known to have no negative values: what is zero anyway is not computed.
    rectified : bool
        Whether outputs with ``z_k < 0`` are known to have no relevance, because a ReLU follows.
    """

    apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    weights: tf.Tensor
    bias: tf.Tensor
    nonnegative: bool = False
    rectified: bool = False

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """z."""
        return self.apply(x, self.weights) + self.bias

    def signed(self, x: tf.Tensor) -> Iterator[tuple[tf.Tensor, int]]:
        """x^+ with the sign +1, and x^- with the sign -1."""
        if self.nonnegative:
            yield x, +1
        else:
            yield cut(x, +1), +1
            yield cut(x, -1), -1

    def positive(self, x: tf.Tensor) -> tf.Tensor:
        """The positive part of z: sum_j (x_j w_jk)^+ + b_k^+."""
        sums = [self.apply(part, cut(self.weights, sign)) for part, sign in self.signed(x)]
        return sum(sums) + cut(self.bias, +1)

    def share(self, x: tf.Tensor, weights: tf.Tensor, s: tf.Tensor) -> tf.Tensor:
        """sum_k x_j w_jk s_k."""
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            z = self.apply(x, weights)
        return x * tape.gradient(z, x, output_gradients=s)


def cut(values: tf.Tensor, sign: int) -> tf.Tensor:
    """v^+ or v^-."""
    import tensorflow as tf

    return tf.maximum(values, 0) if sign > 0 else tf.minimum(values, 0)


def ratio(relevance: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """R / total, and 0 where the total is 0."""
    import tensorflow as tf

    return tf.math.divide_no_nan(relevance, tf.where(tf.abs(total) < _ZERO, tf.zeros_like(total), total))


def epsilon_rule(layer: Linear, x: tf.Tensor, z: tf.Tensor, relevance: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    """Contributions as they are; epsilon keeps back what is weak or contradictory. LRP-0 with ``epsilon = 0``.

    Bach et al. 2015. For upper layers.
    """
    import tensorflow as tf

    s = ratio(relevance, z + tf.where(z >= 0, epsilon, -epsilon))
    return layer.share(x, layer.weights, s)


def gamma_rule(layer: Linear, x: tf.Tensor, z: tf.Tensor, relevance: tf.Tensor, gamma: tf.Tensor) -> tf.Tensor:
    """What argues for an output counts ``1 + gamma`` times, what argues against it once.

    Montavon et al. 2019, for x >= 0 and z >= 0; for values of any sign as Zennit generalises it, after Andeol et al.
    2021, where a negative output is argued for by negative contributions. For middle layers.
    """
    import tensorflow as tf

    positive, w = layer.positive(x), layer.weights
    s = ratio(relevance, z + gamma * tf.where(z >= 0, positive, z - positive))
    favoured = {sign: w + gamma * cut(w, sign) for sign in (+1, -1)}
    shares = []
    for part, sign in layer.signed(x):
        shares.append(layer.share(part, favoured[sign], s if layer.rectified else tf.where(z >= 0, s, 0)))
        if not layer.rectified:
            shares.append(layer.share(part, favoured[-sign], tf.where(z < 0, s, 0)))
    return sum(shares)


def z_plus_rule(layer: Linear, x: tf.Tensor, relevance: tf.Tensor) -> tf.Tensor:
    """Positive contributions only: alpha-beta with alpha 1 and beta 0.

    Bach et al. 2015; Montavon et al. 2017 for x >= 0. For lower layers.
    """
    s = ratio(relevance, layer.positive(x))
    return sum(layer.share(part, cut(layer.weights, sign), s) for part, sign in layer.signed(x))


def z_box_rule(layer: Linear, x: tf.Tensor, relevance: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """How far each input is from that end of its range that argues least for the output.

    Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition, 2017.
    For the first layer, whose inputs are pixels between low and high.
    """
    w = layer.weights
    terms = [(x, w, +1), (low, cut(w, +1), -1), (high, cut(w, -1), -1)]
    s = ratio(relevance, sum(sign * layer.apply(inputs, weights) for inputs, weights, sign in terms))
    return sum(sign * layer.share(inputs, weights, s) for inputs, weights, sign in terms)
