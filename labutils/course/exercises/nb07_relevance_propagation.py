"""Exercises of notebook 07: the rules of layer-wise relevance propagation on arrays, and what is lost on the way.

All answers are functions of arrays: one Dense layer (or a few, or a max-pooling), drawn at random, with other numbers of
photos, inputs and outputs for every seed, no two of them equal. Numbers are multiples of a quarter, so that sums are
exact: one output of a layer adds up to just 0, where it matters what a rule does with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from labutils.course.exercise import Arrays, Case, Exercise, Verdict
from labutils.course.judging import (
    as_answers,
    as_number,
    described,
    passed,
    plain,
    results_of,
    same,
    verdict_on_array,
    wrong,
)

Mistakes = Mapping[str, tuple[Callable, str]]
"""Name -> (an answer with this mistake, the sentence for the student)."""

# ---------------------------------------------------------------------------------------------------------------------
# What the cases are made of
# ---------------------------------------------------------------------------------------------------------------------


def _layer_cases(seed: int | None, *, what: str) -> list[Case]:
    """A Dense layer of lengths that cannot be mixed up, and numbers for its rule."""
    rng = np.random.default_rng(7 if seed is None else seed)
    cases = []
    for _ in range(2):
        photos = int(rng.choice([2, 3]))
        inputs, outputs = (int(n) for n in rng.choice([4, 5, 6, 7], size=2, replace=False))
        values = {
            "seed": int(rng.integers(1, 10_000)),
            "shape": [photos, inputs, outputs],
            "epsilon": float(rng.choice([0.3, 0.6, 0.7])),  # no sum is a multiple of it
            "gamma": float(rng.choice([0.5, 0.75, 1.5])),
        }
        cases.append(Case(f"{what}: {photos} photos, {inputs} inputs, {outputs} outputs", values))
    return cases


def _quarters(rng: np.random.Generator, low: float, high: float, shape: Sequence[int]) -> np.ndarray:
    """Random multiples of a quarter between low and high, none of them 0."""
    values = rng.integers(round(4 * low), round(4 * high), shape, endpoint=True) / 4
    return np.where(values == 0, 0.25 if high > 0 else -0.25, values).astype(np.float32)


def _signed_layer(inputs: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """a, W, b, R with inputs of both signs; sums of both signs, and the first photo's first output adds up to 0."""
    photos, n_inputs, n_outputs = inputs["shape"]
    rng = np.random.default_rng(inputs["seed"])
    a = _quarters(rng, -2, 3, (photos, n_inputs))
    W = _quarters(rng, -2, 2, (n_inputs, n_outputs))
    b = _quarters(rng, -2, 2, (n_outputs,))
    R = _quarters(rng, -3, 4, (photos, n_outputs))
    b[0] = -(a[0] @ W[:, 0])
    b[1], b[2] = 1.5, -1.25  # one bias argues for, one against, whatever was drawn
    return a, W, b, R


def _layer_without_reasons(inputs: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """The same, but nothing argues for the last output of the first photo: each contribution, and the bias, is < 0."""
    a, W, b, R = _signed_layer(inputs)
    W[:, -1] = -np.sign(a[0]) * np.abs(W[:, -1])
    b[-1] = -0.75
    return a, W, b, R


def _relu_layer(inputs: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """a, W, b, R inside a network of ReLUs: inputs are not negative, outputs that the ReLU cuts have no relevance."""
    a, W, b, R = _signed_layer(inputs)
    a = np.maximum(a, 0)
    a[:, 0], W[0, 1], W[0, 2] = 2.0, 1.75, 1.5  # some output of every photo is on, whatever was drawn
    W[1:, 1] = np.maximum(W[1:, 1], -0.25)
    return a, W, b, np.where(a @ W + b > 0, R, 0).astype(np.float32)


def divide(relevance: Any, total: Any) -> Any:
    """As the notebook hands it out: relevance / total, and 0 where the total is 0."""
    return np.divide(relevance, total, out=np.zeros_like(total), where=total != 0)


def _judge(
    arrays: Arrays,
    given: Sequence[Any],
    reference: Callable,
    mistakes: Mistakes,
    *,
    axes: str,
    otherwise: str,
    not_finite: str = "",
) -> Verdict:
    """The verdict on a function of these arrays; ``not_finite`` says what it is that divides by zero here."""
    found = arrays["result"]
    if not_finite and isinstance(found, np.ndarray) and found.dtype.kind == "f" and not np.isfinite(found).all():
        return wrong(not_finite, "not_finite")
    twins = results_of(mistakes, *given)
    return verdict_on_array(found, reference(*given), twins, what="The result", axes=axes, otherwise=otherwise)


def _run(answer: Any, given: Sequence[Any]) -> Arrays:
    return {"result": plain(answer(*given))}


# ---------------------------------------------------------------------------------------------------------------------
# 07.contributions
# ---------------------------------------------------------------------------------------------------------------------


def _contributions(a: Any, W: Any) -> Any:
    return a[:, :, np.newaxis] * W


def _contributions_in_loops(a: Any, W: Any) -> Any:
    result = np.zeros((len(a), *W.shape))
    for photo in range(len(a)):
        for j in range(W.shape[0]):
            for k in range(W.shape[1]):
                result[photo, j, k] = a[photo, j] * W[j, k]
    return result


def _contributions_in_tensorflow(a: Any, W: Any) -> Any:
    import tensorflow as tf

    return tf.expand_dims(a, -1) * tf.expand_dims(W, 0)


_CONTRIBUTIONS_WRONG: Mistakes = {
    "summed": (
        lambda a, W: a @ W,
        "The contributions are added up already, into one number an output. Keep them apart: one for each input and "
        "output.",
    ),
    "weights_only": (
        lambda a, W: np.broadcast_to(W, (len(a), *W.shape)),
        "These are the weights. A weight says what an input *could* do; multiply it with what the input is in this photo.",
    ),
    "inputs_only": (
        lambda a, W: np.repeat(a[:, :, None], W.shape[1], axis=2),
        "These are the inputs alone, once for each output. What does each output make of them?",
    ),
    "outputs_first": (
        lambda a, W: np.swapaxes(_contributions(a, W), 1, 2),
        "The numbers are right, and the last two axes have changed places: inputs come before outputs.",
    ),
    "first_photo": (
        lambda a, W: a[0][:, None] * W,
        "These are the contributions in the first photo alone. Every photo has its own.",
    ),
    "photos_added": (
        lambda a, W: _contributions(a, W).sum(axis=0),
        "The photos were added up. Every photo keeps its own contributions.",
    ),
    "absolute": (
        lambda a, W: np.abs(_contributions(a, W)),
        "The signs are gone. A negative contribution argues against an output, and we shall need to know that.",
    ),
    "shares": (
        lambda a, W: divide(_contributions(a, W), np.broadcast_to((a @ W)[:, None, :], (len(a), *W.shape))),
        "These are shares of the sum. That comes next; here the contributions themselves are asked for.",
    ),
}


def _judge_contributions(arrays: Arrays, case: Case) -> Verdict:
    return _judge(
        arrays,
        _signed_layer(case.inputs)[:2],
        _contributions,
        _CONTRIBUTIONS_WRONG,
        axes="photos, inputs, outputs",
        otherwise="The shape is right, the numbers are not: at [p, j, k] there should be input j of photo p, times the "
        "weight from input j to output k.",
    )


CONTRIBUTIONS = Exercise(
    id="07.contributions",
    title="Who contributes what",
    answer="contributions",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "For one photo it is a table with a row for each input and a column for each output. What stands in a cell?",
        "NumPy multiplies (photos, inputs, 1) with (inputs, outputs) into (photos, inputs, outputs).",
        "Give `a` a third axis of length 1 with `np.newaxis` (or None) as its last index, then multiply by the weights.",
    ),
    cases=lambda seed: _layer_cases(seed, what="a Dense layer"),
    collect=lambda answer, case: _run(answer, _signed_layer(case.inputs)[:2]),
    judge=_judge_contributions,
    reference=lambda: _contributions,
    wrong={**as_answers(_CONTRIBUTIONS_WRONG), "nothing_returned": lambda: lambda a, W: None},
    right={
        "loops": lambda: _contributions_in_loops,
        "TensorFlow": lambda: _contributions_in_tensorflow,
        "einsum": lambda: lambda a, W: np.einsum("pj,jk->pjk", a, W),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 07.epsilon_rule
# ---------------------------------------------------------------------------------------------------------------------


def _epsilon_rule(a: Any, W: Any, b: Any, R: Any, epsilon: float) -> Any:
    z = a @ W + b
    total = z + np.where(z >= 0, epsilon, -epsilon)
    return a * (divide(R, total) @ W.T)


def _epsilon_rule_in_loops(a: Any, W: Any, b: Any, R: Any, epsilon: float) -> Any:
    result = np.zeros_like(a)
    for photo in range(len(a)):
        for k in range(W.shape[1]):
            z = sum(a[photo, j] * W[j, k] for j in range(W.shape[0])) + b[k]
            z = z + epsilon if z >= 0 else z - epsilon
            for j in range(W.shape[0]):
                result[photo, j] += a[photo, j] * W[j, k] / z * R[photo, k]
    return result


def _epsilon_rule_by_contributions(a: Any, W: Any, b: Any, R: Any, epsilon: float) -> Any:
    parts = _contributions(a, W)
    sums = parts.sum(axis=1) + b
    sums[sums >= 0] += epsilon
    sums[sums < 0] -= epsilon
    return np.einsum("pjk,pk->pj", parts, R / sums)


def _epsilon_rule_as_a_gradient(a: Any, W: Any, b: Any, R: Any, epsilon: float) -> Any:
    """As LRP is mostly implemented: sum_k w_jk s_k is a gradient."""
    import tensorflow as tf

    a = tf.convert_to_tensor(a)
    with tf.GradientTape() as tape:
        tape.watch(a)
        z = a @ W + b
    s = R / (z + epsilon * tf.where(z >= 0, 1.0, -1.0))
    return a * tape.gradient(z, a, output_gradients=s)


def _epsilon_rule_by_labutils(a: Any, W: Any, b: Any, R: Any, epsilon: float) -> Any:
    import tensorflow as tf

    from labutils.explain import relevance_rules

    layer = relevance_rules.Linear(tf.matmul, tf.constant(W), tf.constant(b))
    a = tf.constant(a)
    return relevance_rules.epsilon_rule(layer, a, layer(a), tf.constant(R), tf.constant(epsilon, tf.float32))


def _shared(parts: np.ndarray, total: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Contributions (photos, inputs, outputs), over totals, times relevance, summed over outputs."""
    return (parts * (R / total)[:, None, :]).sum(axis=2)


def _epsilon_with(
    *,
    parts_of: Callable[..., np.ndarray] = lambda a, W, b: _contributions(a, W),
    sum_of: Callable[..., np.ndarray] = lambda a, W, b: a @ W + b,
    stabilise: Callable[..., np.ndarray] = lambda z, epsilon: z + np.where(z >= 0, epsilon, -epsilon),
    finish: Callable[..., Any] = _shared,
) -> Callable:
    """A student's answer with something wrong in it."""
    return lambda a, W, b, R, epsilon: finish(parts_of(a, W, b), stabilise(sum_of(a, W, b), epsilon), R)


_EPSILON_WRONG: Mistakes = {
    "epsilon_without_sign": (
        _epsilon_with(stabilise=lambda z, epsilon: z + epsilon),
        "Epsilon was added to negative sums as well, and moved them towards 0. It must take every sum away from 0: plus "
        "for positive sums, minus for negative ones.",
    ),
    "epsilon_missing": (
        _epsilon_with(stabilise=lambda z, epsilon: np.where(z == 0, np.inf, z)),
        "Epsilon is missing: these are the shares of z itself.",
    ),
    "epsilon_fixed": (
        _epsilon_with(stabilise=lambda z, epsilon: z + np.where(z >= 0, 1e-6, -1e-6)),
        "A fixed epsilon is written into the function. Take the one that it is given.",
    ),
    "sign_of_zero": (
        lambda a, W, b, R, epsilon: _shared(
            _contributions(a, W),
            np.where(a @ W + b == 0, np.inf, a @ W + b + np.sign(a @ W + b) * epsilon),
            R,
        ),
        "A sum of exactly 0 got no epsilon: `np.sign(0)` is 0. Count 0 as positive, as with `np.where(z >= 0, ...)`.",
    ),
    "bias_missing": (
        _epsilon_with(sum_of=lambda a, W, b: a @ W),
        "The bias is missing from the sum. It has had its part in z, so it keeps its share, and the inputs share what is "
        "left.",
    ),
    "bias_spread": (
        _epsilon_with(parts_of=lambda a, W, b: _contributions(a, W) + b / len(W)),
        "You have shared the bias out among the inputs, so that nothing is lost. Some do that; here the bias keeps its "
        "share, because no input has caused it.",
    ),
    "weights_only": (
        _epsilon_with(parts_of=lambda a, W, b: np.broadcast_to(W, (len(a), *W.shape))),
        "The relevance was shared out by the weights alone. An input that is 0 has contributed nothing: multiply by `a`.",
    ),
    "absolute": (
        _epsilon_with(
            parts_of=lambda a, W, b: np.abs(_contributions(a, W)),
            sum_of=lambda a, W, b: np.abs(_contributions(a, W)).sum(axis=1) + np.abs(b),
        ),
        "Absolute values were shared out. Here a contribution against the output gets a share with the opposite sign.",
    ),
    "relu_on_sums": (
        _epsilon_with(sum_of=lambda a, W, b: np.maximum(a @ W + b, 0)),
        "A ReLU was applied to the sums, so that negative ones become epsilon and blow up. z is what the layer adds up, "
        "before its activation.",
    ),
    "relevance_missing": (
        _epsilon_with(finish=lambda parts, total, R: (parts / total[:, None, :]).sum(axis=2)),
        "These shares are of 1 for every output. Each output hands out its own relevance, `R`.",
    ),
    "not_divided": (
        _epsilon_with(finish=lambda parts, total, R: (parts * R[:, None, :]).sum(axis=2)),
        "The contributions were multiplied by the relevance but not divided by the sum: they are no shares yet.",
    ),
    "wrong_axis": (
        lambda a, W, b, R, epsilon: divide(R @ W.T, np.broadcast_to(W.sum(axis=1), a.shape)),
        "Each input's contributions were made to sum to 1 over the outputs. It is the other way round: each **output** "
        "shares out its relevance among the inputs.",
    ),
    "messages_kept": (
        _epsilon_with(finish=lambda parts, total, R: parts * (R / total)[:, None, :]),
        "This is what each input gets from each output, still apart. An input has what it gets from all outputs together.",
    ),
    "sums_of_outputs": (
        _epsilon_with(finish=lambda parts, total, R: (parts * (R / total)[:, None, :]).sum(axis=1)),
        "You summed over the inputs, which gives one number an output. Sum over the outputs: one number an input.",
    ),
}


def _epsilon_given(case: Case) -> tuple[Any, ...]:
    return *_signed_layer(case.inputs), case.inputs["epsilon"]


def _judge_epsilon_rule(arrays: Arrays, case: Case) -> Verdict:
    return _judge(
        arrays,
        _epsilon_given(case),
        _epsilon_rule,
        _EPSILON_WRONG,
        axes="photos, inputs",
        not_finite="There is NaN or infinity: one of the sums is exactly 0, and was divided by. Does epsilon reach it? "
        "(`np.sign(0)` is 0; count 0 as positive.)",
        otherwise="The shape is right, the numbers are not. Check it on the layer on paper, with its bias and with an "
        "epsilon that is not small.",
    )


EPSILON_RULE = Exercise(
    id="07.epsilon_rule",
    title="The epsilon rule",
    answer="epsilon_rule",
    points=3,
    minutes=9,
    difficulty="medium",
    hints=(
        "Three steps: what each output adds up, z; how much relevance there is for each unit of it, s = R / z with the "
        "epsilon; what each input gets of it.",
        "`np.where(z >= 0, epsilon, -epsilon)` is the epsilon with its sign. Input j gets a_j times the sum over k of "
        "w_jk s_k. As a product of matrices: which one has to be transposed?",
        "z is the inputs times the weights, plus the bias. s, of shape (photos, outputs), times the transposed weights is "
        "(photos, inputs). Multiply that by the inputs.",
    ),
    cases=lambda seed: _layer_cases(seed, what="a Dense layer, inputs of both signs"),
    collect=lambda answer, case: _run(answer, _epsilon_given(case)),
    judge=_judge_epsilon_rule,
    reference=lambda: _epsilon_rule,
    wrong={
        **as_answers(_EPSILON_WRONG),
        "not_finite": lambda: _divides_by_zero,
        "nothing_returned": lambda: lambda a, W, b, R, epsilon: None,
    },
    right={
        "loops": lambda: _epsilon_rule_in_loops,
        "contributions": lambda: _epsilon_rule_by_contributions,
        "as a gradient": lambda: _epsilon_rule_as_a_gradient,
        "labutils' own": lambda: _epsilon_rule_by_labutils,
    },
)


def _divides_by_zero(a: Any, W: Any, b: Any, R: Any, epsilon: float) -> Any:
    z = a @ W + b
    with np.errstate(divide="ignore", invalid="ignore"):
        return a * ((R / (z + epsilon * np.sign(z))) @ W.T)


# ---------------------------------------------------------------------------------------------------------------------
# 07.lost_share
# ---------------------------------------------------------------------------------------------------------------------


def _lost_share(above: Any, below: Any) -> Any:
    photos = len(above)
    return 1 - below.reshape(photos, -1).sum(axis=1) / above.reshape(photos, -1).sum(axis=1)


def _lost_share_in_loops(above: Any, below: Any) -> Any:
    return np.array([(one.sum() - other.sum()) / one.sum() for one, other in zip(above, below, strict=True)])


def _lost_share_in_tensorflow(above: Any, below: Any) -> Any:
    import tensorflow as tf

    before, after = (tf.reduce_sum(values, axis=list(range(1, values.ndim))) for values in (above, below))
    return (before - after) / before


def _sums(values: np.ndarray) -> np.ndarray:
    return values.sum(axis=tuple(range(1, values.ndim)))


_LOST_WRONG: Mistakes = {
    "share_that_arrives": (
        lambda above, below: _sums(below) / _sums(above),
        "This is the share that arrives. What share is lost?",
    ),
    "not_a_share": (
        lambda above, below: _sums(above) - _sums(below),
        "This is what is lost in logits. As a share, divide it by what there was above.",
    ),
    "sign_reversed": (
        lambda above, below: _sums(below) / _sums(above) - 1,
        "The sign is the wrong way round: what is lost should be positive.",
    ),
    "divided_by_below": (
        lambda above, below: (_sums(above) - _sums(below)) / _sums(below),
        "You divided by what has arrived. A share lost is a share of what there was above.",
    ),
    "absolute_relevance": (
        lambda above, below: 1 - _sums(np.abs(below)) / _sums(np.abs(above)),
        "Absolute values were added up. Conservation is about the sum with its signs: relevance against the class counts "
        "as negative.",
    ),
    "positive_relevance": (
        lambda above, below: 1 - _sums(np.maximum(below, 0)) / _sums(np.maximum(above, 0)),
        "Only the positive relevance was added up. Conservation is about the sum of all of it.",
    ),
    "absolute_loss": (
        lambda above, below: np.abs(1 - _sums(below) / _sums(above)),
        "The absolute value hides the sign: a layer can also end up with more than there was above, and that should show "
        "as a negative share.",
    ),
    "clipped": (
        lambda above, below: np.clip(1 - _sums(below) / _sums(above), 0, 1),
        "The shares were clipped to 0 ... 1. Biases can keep more than there was (above 1), or give some (below 0): let "
        "it show.",
    ),
    "means": (
        lambda above, below: (
            1 - below.reshape(len(below), -1).mean(axis=1) / above.reshape(len(above), -1).mean(axis=1)
        ),
        "These are means. The two layers have different numbers of units, so that their means tell nothing about their "
        "sums.",
    ),
    "one_number": (
        lambda above, below: 1 - below.sum() / above.sum(),
        "This is one number for all photos together. One for each photo is asked for.",
    ),
    "percent": (
        lambda above, below: 100 * (1 - _sums(below) / _sums(above)),
        "This is in per cent. A share is asked for: half of it is 0.5.",
    ),
}


def _lost_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(17 if seed is None else seed)
    photos = int(rng.choice([3, 4]))
    units, height, width, channels = (int(n) for n in rng.choice([2, 3, 5, 6, 7], size=4, replace=False))
    shapes = {
        "a vector above, maps below": ([photos, units], [photos, height, width, channels]),
        "vectors": ([photos, units], [photos, channels]),
    }
    return [
        Case(name, {"seed": int(rng.integers(1, 10_000)), "above": above, "below": below})
        for name, (above, below) in shapes.items()
    ]


def _two_layers(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Relevance of both signs: some lost, more lost than there was, more than there was above; above not near 0."""
    rng = np.random.default_rng(inputs["seed"])
    above, below = (_quarters(rng, -3, 3, inputs[name]).astype(np.float64) for name in ("above", "below"))
    wanted = (
        np.resize([0.25, 1.5, -0.5, 0.75], len(above)) + rng.integers(-3, 4, len(above)) / 16
    )  # another for each case
    total = np.resize([4.0, 8.0, 2.5], len(above))
    for values, sums in ((above, total), (below, total * (1 - wanted))):
        flat = values.reshape(len(values), -1)
        flat += ((sums - flat.sum(axis=1)) / flat.shape[1])[:, None]
        flat[:, :2] += -9, 9  # some of it is negative, whatever was drawn
    return above.astype(np.float32), below.astype(np.float32)


def _judge_lost_share(arrays: Arrays, case: Case) -> Verdict:
    number = as_number(arrays["result"])
    if number is not None and same(np.array(number), np.array(_LOST_WRONG["one_number"][0](*_two_layers(case.inputs)))):
        return wrong(_LOST_WRONG["one_number"][1], "one_number")
    return _judge(
        arrays,
        _two_layers(case.inputs),
        _lost_share,
        _LOST_WRONG,
        axes="photos",
        otherwise="The shape is right, the shares are not. For each photo add up all the relevance of either layer, with "
        "its signs, over all axes but the first.",
    )


LOST_SHARE = Exercise(
    id="07.lost_share",
    title="Conservation as a number",
    answer="lost_share",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "First the sum of either layer, for each photo. Whatever other axes there are, they are summed over.",
        "`array.reshape(len(array), -1)` makes one row of numbers for each photo.",
        "1 minus what arrives, over what there was: the sum below divided by the sum above.",
    ),
    cases=_lost_cases,
    collect=lambda answer, case: _run(answer, _two_layers(case.inputs)),
    judge=_judge_lost_share,
    reference=lambda: _lost_share,
    wrong={**as_answers(_LOST_WRONG), "nothing_returned": lambda: lambda above, below: None},
    right={
        "loops": lambda: _lost_share_in_loops,
        "TensorFlow": lambda: _lost_share_in_tensorflow,
        "sums over all axes but the first": lambda: lambda above, below: (_sums(above) - _sums(below)) / _sums(above),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 07.propagate
# ---------------------------------------------------------------------------------------------------------------------


def _propagate(x: Any, layers: Any, classes: Any, epsilon: float) -> Any:
    inputs = []
    for W, b in layers:
        inputs.append(x)
        z = x @ W + b
        x = np.maximum(z, 0)
    is_class = np.arange(z.shape[1]) == np.reshape(classes, (-1, 1))
    relevance = [np.where(is_class, z, 0)]
    for a, (W, b) in zip(reversed(inputs), reversed(layers), strict=True):
        relevance.insert(0, _epsilon_rule(a, W, b, relevance[0], epsilon))
    return relevance


def _propagate_recursively(x: Any, layers: Any, classes: Any, epsilon: float) -> Any:
    (W, b), *above = layers
    z = x @ W + b
    if above:
        relevance = _propagate_recursively(z * (z > 0), above, classes, epsilon)
    else:
        logits = np.zeros_like(z)
        for photo, index in enumerate(classes):
            logits[photo, index] = z[photo, index]
        relevance = [logits]
    return [_epsilon_rule_in_loops(x, W, b, relevance[0], epsilon), *relevance]


def _propagate_in_tensorflow(x: Any, layers: Any, classes: Any, epsilon: float) -> Any:
    import tensorflow as tf

    activations = [tf.convert_to_tensor(x)]
    for W, b in layers[:-1]:
        activations.append(tf.nn.relu(activations[-1] @ W + b))
    logits = activations[-1] @ layers[-1][0] + layers[-1][1]
    relevance = tf.one_hot(classes, logits.shape[1]) * logits
    results = [relevance]
    for a, (W, b) in list(zip(activations, layers, strict=True))[::-1]:
        relevance = _epsilon_rule_as_a_gradient(a, W, b, relevance, epsilon)
        results.append(relevance)
    return tuple(results[::-1])


def _propagate_with(
    *,
    start: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda z, is_class: np.where(is_class, z, 0),
    chosen: Callable[[np.ndarray, Any], Any] = lambda z, classes: classes,
    activation: Callable[[np.ndarray], np.ndarray] = lambda z: np.maximum(z, 0),
    rule: Callable[..., np.ndarray] = _epsilon_rule,
    finish: Callable[[list], Any] = lambda relevance: relevance,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(x: Any, layers: Any, classes: Any, epsilon: float) -> Any:
        inputs = []
        for W, b in layers:
            inputs.append(x)
            z = x @ W + b
            x = activation(z)
        is_class = np.arange(z.shape[1]) == np.reshape(chosen(z, classes), (-1, 1))
        relevance = [start(z, is_class)]
        for a, (W, b) in zip(reversed(inputs), reversed(layers), strict=True):
            relevance.insert(0, rule(a, W, b, relevance[0], epsilon))
        return finish(relevance)

    return answer


def _softmax(z: np.ndarray) -> np.ndarray:
    shifted = np.exp(z - z.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


_PROPAGATE_WRONG: Mistakes = {
    "all_logits": (
        _propagate_with(start=lambda z, is_class: z),
        "You start with the logits of all classes. Start with the logit of the class that is asked about, and 0 for the "
        "others: the map is to explain that one.",
    ),
    "start_from_one": (
        _propagate_with(start=lambda z, is_class: is_class.astype(np.float32)),
        "You start with 1 at the class. Start with its logit: that is what there is to share out.",
    ),
    "softmax_start": (
        _propagate_with(start=lambda z, is_class: np.where(is_class, _softmax(z), 0)),
        "You start with the probability. A softmax is no sum of contributions, so it has no rule: start with the logit.",
    ),
    "relu_on_logits": (
        _propagate_with(start=lambda z, is_class: np.where(is_class, np.maximum(z, 0), 0)),
        "A ReLU was applied to the logits. There is none after the last layer; a class can have a negative logit, and "
        "that can be explained too.",
    ),
    "top_class": (
        _propagate_with(chosen=lambda z, classes: z.argmax(axis=1)),
        "This explains each photo's best class, whatever class is asked about.",
    ),
    "first_photos_class": (
        _propagate_with(chosen=lambda z, classes: classes[0]),
        "All photos are explained for the first photo's class. Each has its own.",
    ),
    "relu_missing": (
        _propagate_with(activation=lambda z: z),
        "On the way up the ReLU between the layers is missing, so that the next layer reads what the network never gave.",
    ),
    "bias_missing": (
        _propagate_with(rule=_EPSILON_WRONG["bias_missing"][0]),
        "On the way down the bias is missing from the sums that are divided by.",
    ),
    "epsilon_fixed": (
        _propagate_with(rule=lambda a, W, b, R, epsilon: _epsilon_rule(a, W, b, R, 1e-6)),
        "A fixed epsilon is written into the function. Hand on the one that it is given.",
    ),
    "top_down": (
        _propagate_with(finish=lambda relevance: relevance[::-1]),
        "The numbers are right, and the order is the one in which you found them. The input comes first, the logits last.",
    ),
    "logits_left_out": (
        _propagate_with(finish=lambda relevance: relevance[:-1]),
        "The start is missing: what lies on the logits is the last entry of the list.",
    ),
    "input_left_out": (
        _propagate_with(finish=lambda relevance: relevance[1:]),
        "The relevance of the input is missing. There is one layer more to go down.",
    ),
    "input_only": (
        _propagate_with(finish=lambda relevance: relevance[0]),
        "This is the relevance of the input alone. A list is asked for, with one array for the input and one for what "
        "each layer gives.",
    ),
}


def _network_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(27 if seed is None else seed)
    cases = []
    for depth in (2, 3):
        sizes = [int(n) for n in rng.choice([4, 5, 6, 7, 8], size=depth + 1, replace=False)]
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "photos": 3,
            "sizes": sizes,
            "epsilon": float(rng.choice([0.3, 0.6, 0.7])),  # no sum is a multiple of it
        }
        cases.append(Case(f"{depth} layers: {' -> '.join(map(str, sizes))}, 3 photos", inputs))
    return cases


def _network(inputs: Mapping[str, Any]) -> tuple[np.ndarray, list, list[int]]:
    """x, layers, classes: asked about are the first photo's second best class, the second's worst, the third's best."""
    rng = np.random.default_rng(inputs["seed"])
    sizes = inputs["sizes"]
    x = _quarters(rng, -2, 3, (inputs["photos"], sizes[0]))
    layers = []
    z = x
    for below, above in itertools.pairwise(sizes):
        W, b = _quarters(rng, -2, 2, (below, above)), _quarters(rng, -2, 2, (above,))
        b[0], b[1] = 3.0, 2.5  # some unit is on in every photo
        layers.append((W, b))
        z = np.maximum(z, 0) if len(layers) > 1 else z
        z = z @ W + b
    layers[-1][1][-1] -= np.ceil(np.abs(z).max()) + 2  # the last class has a negative logit, whatever was drawn
    z[:, -1] -= np.ceil(np.abs(z).max()) + 2
    order = z.argsort(axis=1)
    return x, layers, [int(order[0, -2]), int(order[1, 0]), int(order[2, -1])]


def _copied(inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    return *_network(inputs), inputs["epsilon"]


def _judge_propagate(arrays: Arrays, case: Case) -> Verdict:
    given = _copied(case.inputs)
    expected, found = _propagate(*given), arrays["result"]
    if found is None:
        return wrong("`propagate` returned None. Is a `return` missing?", "nothing_returned")
    if not isinstance(found, list):
        if same(found, expected[0]):
            return wrong(_PROPAGATE_WRONG["input_only"][1], "input_only")
        return wrong(f"The result is {described(found)}; a list of {len(expected)} arrays is asked for.", "not_a_list")

    def equal(one: Any, other: Any) -> bool:
        return (
            isinstance(other, list)
            and len(one) == len(other)
            and all(same(a, b) for a, b in zip(one, other, strict=True))
        )

    if equal(found, expected):
        return passed()
    for name, (twin, message) in _PROPAGATE_WRONG.items():
        if equal(found, twin(*given)):
            return wrong(message, name)
    if len(found) != len(expected):
        return wrong(
            f"The list has {len(found)} entries; for {len(expected) - 1} layers it should have {len(expected)}: the "
            "input's, and one for what each layer gives.",
            "wrong_length",
        )
    names = ["the input", *(f"what layer {number} gives" for number in range(1, len(expected) - 1)), "the logits"]
    for name, value, right in reversed(list(zip(names, found, expected, strict=True))):
        if not same(value, right):
            shape = value.shape if isinstance(value, np.ndarray) else None
            if shape != right.shape:
                return wrong(f"The relevance of {name} is {described(value)}; it should have the shape {right.shape}.")
            return wrong(
                f"From the top down, the first numbers that are not right are those of {name}. The sum of what is above "
                "it is right."
                if name != "the logits"
                else "The relevance of the logits, where all begins, is not right: the logit of the class, else 0."
            )
    return wrong("The numbers are not right.")


PROPAGATE = Exercise(
    id="07.propagate",
    title="Through a whole network",
    answer="propagate",
    points=3,
    minutes=10,
    difficulty="hard",
    hints=(
        "Two loops: up through the layers, keeping what each of them *reads*; then down again with `epsilon_rule`, which "
        "wants just that.",
        "Start at the top with an array of zeros in the shape of the logits, and put each photo's logit of its class in its "
        "place. No ReLU after the last layer.",
        "On the way down the last layer comes first: `reversed` of the kept inputs and of the layers. Each step's result is "
        "the next one's `R`, and goes to the front of the list.",
    ),
    cases=_network_cases,
    collect=lambda answer, case: _run(answer, _copied(case.inputs)),
    judge=_judge_propagate,
    reference=lambda: _propagate,
    wrong={
        **as_answers(_PROPAGATE_WRONG),
        "nothing_returned": lambda: lambda x, layers, classes, epsilon: None,
    },
    right={
        "recursion": lambda: _propagate_recursively,
        "TensorFlow, a tuple": lambda: _propagate_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 07.gamma_rule
# ---------------------------------------------------------------------------------------------------------------------


def _gamma_rule(a: Any, W: Any, b: Any, R: Any, gamma: float) -> Any:
    favoured = W + gamma * np.maximum(W, 0)
    total = a @ favoured + b + gamma * np.maximum(b, 0)
    return a * (divide(R, total) @ favoured.T)


def _gamma_rule_by_contributions(a: Any, W: Any, b: Any, R: Any, gamma: float) -> Any:
    parts = np.concatenate([_contributions(a, W), np.broadcast_to(b, (len(a), 1, len(b)))], axis=1)
    parts = np.where(parts > 0, (1 + gamma) * parts, parts)
    total = parts.sum(axis=1)
    shares = parts / np.where(total == 0, 1, total)[:, None] * R[:, None]
    return shares[:, :-1].sum(axis=2)


def _gamma_rule_by_epsilon(a: Any, W: Any, b: Any, R: Any, gamma: float) -> Any:
    """The epsilon rule of a layer with other weights."""
    return _epsilon_rule(a, np.where(W > 0, W * (1 + gamma), W), np.where(b > 0, b * (1 + gamma), b), R, 1e-9)


def _gamma_rule_in_tensorflow(a: Any, W: Any, b: Any, R: Any, gamma: float) -> Any:
    import tensorflow as tf

    W, b = W + gamma * tf.nn.relu(W), b + gamma * tf.nn.relu(b)
    return a * tf.matmul(tf.math.divide_no_nan(R, a @ W + b), W, transpose_b=True)


def _gamma_with(
    *,
    weights: Callable[..., np.ndarray] = lambda W, gamma: W + gamma * np.maximum(W, 0),
    bias: Callable[..., np.ndarray] = lambda b, gamma: b + gamma * np.maximum(b, 0),
    total: Callable[..., np.ndarray] | None = None,
    finish: Callable[..., Any] = lambda a, s, W: a * (s @ W.T),
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(a: Any, W: Any, b: Any, R: Any, gamma: float) -> Any:
        favoured = weights(W, gamma)
        sums = total(a, W, b) if total else a @ favoured + bias(b, gamma)
        return finish(a, divide(R, sums), favoured)

    return answer


_GAMMA_WRONG: Mistakes = {
    "total_unchanged": (
        _gamma_with(total=lambda a, W, b: a @ W + b),
        "The contributions are favoured and the sum they are divided by is not, so that more is handed out than there is. "
        "Divide by the sum of the same favoured contributions.",
    ),
    "bias_not_favoured": (
        _gamma_with(bias=lambda b, gamma: b),
        "A positive bias argues for the output as well: in the sum it counts 1 + gamma times, like the rest.",
    ),
    "bias_missing": (
        _gamma_with(bias=lambda b, gamma: 0),
        "The bias is missing from the sum: it keeps its share.",
    ),
    "gamma_not_used": (
        _gamma_with(weights=lambda W, gamma: W, bias=lambda b, gamma: b),
        "These are the shares without gamma. If *all* contributions are multiplied by 1 + gamma, it cancels; only those "
        "that argue for the output are.",
    ),
    "only_positive": (
        _gamma_with(weights=lambda W, gamma: np.maximum(W, 0), bias=lambda b, gamma: np.maximum(b, 0)),
        "The negative weights are gone: that is what gamma tends to when it is huge. Here they count once.",
    ),
    "times_gamma": (
        _gamma_with(
            weights=lambda W, gamma: np.where(W > 0, gamma * W, W), bias=lambda b, gamma: np.where(b > 0, gamma * b, b)
        ),
        "What argues for the output was multiplied by gamma; it counts 1 + gamma times. With gamma 0 nothing should "
        "change.",
    ),
    "negative_favoured": (
        _gamma_with(
            weights=lambda W, gamma: W + gamma * np.minimum(W, 0), bias=lambda b, gamma: b + gamma * np.minimum(b, 0)
        ),
        "You have favoured what argues *against* the output.",
    ),
    "gamma_fixed": (
        lambda a, W, b, R, gamma: _gamma_rule(a, W, b, R, 0.25),
        "A fixed gamma is written into the function. Take the one that it is given.",
    ),
    "weights_only": (
        _gamma_with(finish=lambda a, s, W: s @ W.T),
        "The relevance was shared out by the weights alone. Multiply by the inputs: one that is 0 has contributed nothing.",
    ),
    "old_weights_below": (
        lambda a, W, b, R, gamma: (
            a * (divide(R, a @ (W + gamma * np.maximum(W, 0)) + b + gamma * np.maximum(b, 0)) @ W.T)
        ),
        "The sum is favoured and the contributions that you share out are not: use the same weights in both places.",
    ),
}


def _gamma_given(case: Case) -> tuple[Any, ...]:
    return *_relu_layer(case.inputs), case.inputs["gamma"]


def _judge_gamma_rule(arrays: Arrays, case: Case) -> Verdict:
    return _judge(
        arrays,
        _gamma_given(case),
        _gamma_rule,
        _GAMMA_WRONG,
        axes="photos, inputs",
        not_finite="There is NaN or infinity. Divide with `divide`, which gives 0 where the total is 0.",
        otherwise="The shape is right, the numbers are not. It is the epsilon rule's scheme, without epsilon, with weights "
        "and a bias of which the positive ones count 1 + gamma times.",
    )


GAMMA_RULE = Exercise(
    id="07.gamma_rule",
    title="The gamma rule",
    answer="gamma_rule",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "Since no input is negative, a contribution is positive just when its weight is. So change the weights, and then do "
        "as before.",
        "The positive part of the weights is `np.maximum(W, 0)`. How much of it has to be added, so that it counts "
        "1 + gamma times? The bias likewise.",
        "The same three steps as in the epsilon rule, with the new weights in both products, the new bias in the sum, and "
        "`divide` in place of the epsilon.",
    ),
    cases=lambda seed: _layer_cases(seed, what="a Dense layer between two ReLUs"),
    collect=lambda answer, case: _run(answer, _gamma_given(case)),
    judge=_judge_gamma_rule,
    reference=lambda: _gamma_rule,
    wrong={**as_answers(_GAMMA_WRONG), "nothing_returned": lambda: lambda a, W, b, R, gamma: None},
    right={
        "contributions, the bias as one of them": lambda: _gamma_rule_by_contributions,
        "the epsilon rule with other weights": lambda: _gamma_rule_by_epsilon,
        "TensorFlow": lambda: _gamma_rule_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 07.alpha1_beta0
# ---------------------------------------------------------------------------------------------------------------------


def _alpha1_beta0(a: Any, W: Any, b: Any, R: Any) -> Any:
    positive = np.maximum(_contributions(a, W), 0)
    total = positive.sum(axis=1) + np.maximum(b, 0)
    return (positive * divide(R, total)[:, np.newaxis]).sum(axis=2)


def _alpha1_beta0_by_matrices(a: Any, W: Any, b: Any, R: Any) -> Any:
    above, below = a.clip(min=0), a.clip(max=0)
    positive, negative = W.clip(min=0), W.clip(max=0)
    s = divide(R, above @ positive + below @ negative + b.clip(min=0))
    return above * (s @ positive.T) + below * (s @ negative.T)


def _alpha1_beta0_in_loops(a: Any, W: Any, b: Any, R: Any) -> Any:
    result = np.zeros(a.shape)
    for photo in range(len(a)):
        for k in range(len(b)):
            parts = [max(a[photo, j] * W[j, k], 0) for j in range(len(W))]
            total = sum(parts) + max(b[k], 0)
            if total > 0:
                result[photo] += np.array(parts) / total * R[photo, k]
    return result


def _alpha1_beta0_in_tensorflow(a: Any, W: Any, b: Any, R: Any) -> Any:
    import tensorflow as tf

    parts = tf.nn.relu(tf.expand_dims(a, 2) * W)
    shares = tf.math.divide_no_nan(R, tf.reduce_sum(parts, axis=1) + tf.nn.relu(b))
    return tf.einsum("pjk,pk->pj", parts, shares)


def _alpha_with(
    *,
    parts_of: Callable[..., np.ndarray] = lambda a, W: np.maximum(_contributions(a, W), 0),
    total_of: Callable[..., np.ndarray] = lambda parts, b: parts.sum(axis=1) + np.maximum(b, 0),
    relevance: Callable[[np.ndarray], np.ndarray] = lambda R: R,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(a: Any, W: Any, b: Any, R: Any) -> Any:
        parts = parts_of(a, W)
        return (parts * divide(relevance(R), total_of(parts, b))[:, None]).sum(axis=2)

    return answer


_ALPHA_WRONG: Mistakes = {
    "weights_alone": (
        _alpha_with(parts_of=lambda a, W: _contributions(a, np.maximum(W, 0))),
        "You have cut the weights alone. With a negative input, a positive weight argues *against* and a negative one "
        "*for*: cut the contributions, that is inputs times weights.",
    ),
    "negative_times_negative": (
        _alpha_with(parts_of=lambda a, W: _contributions(np.maximum(a, 0), np.maximum(W, 0))),
        "Negative inputs were cut away, and with them what they contribute through negative weights: minus times minus "
        "argues for the output.",
    ),
    "nothing_cut": (
        lambda a, W, b, R: _shared_or_lost(_contributions(a, W), a @ W + b, R),
        "Nothing was cut: these are the shares of the epsilon rule with epsilon 0.",
    ),
    "total_not_cut": (
        lambda a, W, b, R: _shared_or_lost(np.maximum(_contributions(a, W), 0), a @ W + b, R),
        "The positive contributions were divided by the whole sum z. Divide by the sum of the positive ones (and the "
        "bias's), so that the shares sum to 1.",
    ),
    "bias_missing": (
        _alpha_with(total_of=lambda parts, b: parts.sum(axis=1)),
        "The bias is missing from the sum. A positive one keeps its share.",
    ),
    "bias_not_cut": (
        _alpha_with(total_of=lambda parts, b: parts.sum(axis=1) + b),
        "The whole bias is in the sum. A negative bias argues against the output, and what argues against it is cut.",
    ),
    "absolute": (
        _alpha_with(
            parts_of=lambda a, W: np.abs(_contributions(a, W)), total_of=lambda parts, b: parts.sum(axis=1) + np.abs(b)
        ),
        "Absolute values were taken. What argues against the output is to be left out, not to be counted in favour.",
    ),
    "relevance_cut": (
        _alpha_with(relevance=lambda R: np.maximum(R, 0)),
        "The relevance of the outputs was cut as well. It is shared out as it is, whatever its sign; what is cut is the "
        "contributions.",
    ),
    "negative_part": (
        _alpha_with(
            parts_of=lambda a, W: np.minimum(_contributions(a, W), 0),
            total_of=lambda parts, b: parts.sum(axis=1) + np.minimum(b, 0),
        ),
        "This shares out among what argues *against* the outputs.",
    ),
}


def _shared_or_lost(parts: np.ndarray, total: np.ndarray, R: np.ndarray) -> np.ndarray:
    return (parts * divide(R, total)[:, None]).sum(axis=2)


def _alpha_divides_by_zero(a: Any, W: Any, b: Any, R: Any) -> Any:
    positive = np.maximum(a[:, :, None] * W, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (positive / (positive.sum(axis=1) + np.maximum(b, 0))[:, None] * R[:, None]).sum(axis=2)


def _judge_alpha1_beta0(arrays: Arrays, case: Case) -> Verdict:
    return _judge(
        arrays,
        _layer_without_reasons(case.inputs),
        _alpha1_beta0,
        _ALPHA_WRONG,
        axes="photos, inputs",
        not_finite="There is NaN or infinity: nothing argues for one of the outputs, so that its sum is 0. Divide with "
        "`divide`; the relevance of such an output is lost.",
        otherwise="The shape is right, the numbers are not. Take the contributions, cut the negative ones, and share out "
        "among what is left and the positive biases.",
    )


ALPHA1_BETA0 = Exercise(
    id="07.alpha1_beta0",
    title="Alpha 1, beta 0",
    answer="alpha1_beta0",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "You have a function that gives all contributions. Which of them does this rule keep?",
        "Cut first, then add up over the inputs, then add the positive part of the bias. `divide` gives each output's "
        "relevance for a unit of that sum.",
        "The positive contributions are (photos, inputs, outputs), the relevance over its sum is (photos, outputs): give "
        "that an axis for the inputs, multiply, and sum over the outputs.",
    ),
    cases=lambda seed: _layer_cases(seed, what="a Dense layer, inputs of both signs"),
    collect=lambda answer, case: _run(answer, _layer_without_reasons(case.inputs)),
    judge=_judge_alpha1_beta0,
    reference=lambda: _alpha1_beta0,
    wrong={
        **as_answers(_ALPHA_WRONG),
        "not_finite": lambda: _alpha_divides_by_zero,
        "nothing_returned": lambda: lambda a, W, b, R: None,
    },
    right={
        "two products of matrices": lambda: _alpha1_beta0_by_matrices,
        "loops": lambda: _alpha1_beta0_in_loops,
        "TensorFlow": lambda: _alpha1_beta0_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 07.z_box
# ---------------------------------------------------------------------------------------------------------------------


def _z_box(a: Any, W: Any, R: Any, low: Any, high: Any) -> Any:
    least = low[:, np.newaxis] * np.maximum(W, 0) + high[:, np.newaxis] * np.minimum(W, 0)
    parts = _contributions(a, W) - least
    return (parts * divide(R, parts.sum(axis=1))[:, np.newaxis]).sum(axis=2)


def _z_box_by_matrices(a: Any, W: Any, R: Any, low: Any, high: Any) -> Any:
    positive, negative = np.clip(W, 0, None), np.clip(W, None, 0)
    s = divide(R, a @ W - low @ positive - high @ negative)
    return a * (s @ W.T) - low * (s @ positive.T) - high * (s @ negative.T)


def _z_box_by_the_least(a: Any, W: Any, R: Any, low: Any, high: Any) -> Any:
    worst = np.where(W > 0, low[:, None], high[:, None])  # the pixel that argues least
    parts = (a[:, :, None] - worst) * W
    return np.einsum("pjk,pk->pj", parts, R / parts.sum(axis=1))


def _z_box_by_labutils(a: Any, W: Any, R: Any, low: Any, high: Any) -> Any:
    import tensorflow as tf

    from labutils.explain import relevance_rules

    layer = relevance_rules.Linear(tf.matmul, tf.constant(W), tf.zeros(W.shape[1]))
    ends = (tf.constant(np.broadcast_to(end, a.shape)) for end in (low, high))
    return relevance_rules.z_box_rule(layer, tf.constant(a), tf.constant(R), *ends)


def _box_with(
    *,
    least: Callable[..., np.ndarray] = lambda W, low, high: low * np.maximum(W, 0) + high * np.minimum(W, 0),
    total: Callable[..., np.ndarray] = lambda parts, a, W: parts.sum(axis=1),
    sign: int = -1,
    finish: Callable[[np.ndarray], np.ndarray] = lambda parts: parts,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(a: Any, W: Any, R: Any, low: Any, high: Any) -> Any:
        parts = finish(_contributions(a, W) + sign * least(W, low[:, None], high[:, None]))
        return (parts * divide(R, total(parts, a, W))[:, None]).sum(axis=2)

    return answer


_BOX_WRONG: Mistakes = {
    "ends_swapped": (
        _box_with(least=lambda W, low, high: high * np.maximum(W, 0) + low * np.minimum(W, 0)),
        "Low and high have changed places: with a positive weight it is the **lowest** value that argues least.",
    ),
    "only_low": (
        _box_with(least=lambda W, low, high: low * np.maximum(W, 0)),
        "The highest value is missing: with a negative weight it is `high` that argues least.",
    ),
    "only_high": (
        _box_with(least=lambda W, low, high: high * np.minimum(W, 0)),
        "The lowest value is missing: with a positive weight it is `low` that argues least.",
    ),
    "weights_not_cut": (
        _box_with(least=lambda W, low, high: low * W),
        "Every contribution is measured from `low`. Where the weight is negative, `high` argues less than `low`: cut the "
        "weights into a positive and a negative part.",
    ),
    "both_uncut": (
        _box_with(least=lambda W, low, high: (low + high) * W),
        "The weights were not cut: `low` goes with the positive part of the weights, `high` with the negative part.",
    ),
    "added": (
        _box_with(sign=+1),
        "The least contribution was added. It is where one starts to count: subtract it.",
    ),
    "nothing_subtracted": (
        _box_with(least=lambda W, low, high: 0 * W),
        "Nothing was subtracted: these are the shares of the plain contributions.",
    ),
    "divided_by_z": (
        _box_with(total=lambda parts, a, W: a @ W),
        "The new contributions were divided by the old sum. Divide by the sum of the new ones, so that the shares sum to 1.",
    ),
    "cut_at_zero": (
        _box_with(
            least=lambda W, low, high: 0 * W,
            finish=lambda parts: np.maximum(parts, 0),
        ),
        "This is the rule before: negative contributions are cut. In the box they are measured from the least there can "
        "be.",
    ),
}


def _pixels(inputs: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """a, W, R, low, high: pixels inside their ranges, which are around 0 and of different lengths."""
    a, W, _, R = _signed_layer(inputs)
    rng = np.random.default_rng(inputs["seed"] + 1)
    low = -3 - rng.integers(1, 9, W.shape[0]) / 4
    high = 3 + rng.integers(1, 9, W.shape[0]) / 4
    return a, W, R, low.astype(np.float32), high.astype(np.float32)


def _judge_z_box(arrays: Arrays, case: Case) -> Verdict:
    return _judge(
        arrays,
        _pixels(case.inputs),
        _z_box,
        _BOX_WRONG,
        axes="photos, inputs",
        not_finite="There is NaN or infinity. Divide with `divide`, which gives 0 where the total is 0.",
        otherwise="The shape is right, the numbers are not. Is every one of your new contributions positive or 0, as the "
        "text promises?",
    )


Z_BOX = Exercise(
    id="07.z_box",
    title="The z-box rule",
    answer="z_box",
    points=2,
    minutes=7,
    difficulty="medium",
    hints=(
        "First the least that each input could contribute to each output, a table (inputs, outputs). Where the weight is "
        "positive it is low times weight; and where it is negative?",
        "With the positive part of the weights, and the negative part, the table is a sum of two products. `low` needs a "
        "second axis to be multiplied with the rows of a table.",
        "Take that table from the contributions. Then as in the rule before: relevance over the sum of the new "
        "contributions, times these, summed over the outputs. There is no bias.",
    ),
    cases=lambda seed: _layer_cases(seed, what="a first layer, pixels of both signs"),
    collect=lambda answer, case: _run(answer, _pixels(case.inputs)),
    judge=_judge_z_box,
    reference=lambda: _z_box,
    wrong={**as_answers(_BOX_WRONG), "nothing_returned": lambda: lambda a, W, R, low, high: None},
    right={
        "products of matrices": lambda: _z_box_by_matrices,
        "the pixel that argues least": lambda: _z_box_by_the_least,
        "labutils' own": lambda: _z_box_by_labutils,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 07.winner_takes_all
# ---------------------------------------------------------------------------------------------------------------------


def _winner_takes_all(maps: Any, R: Any) -> Any:
    result = np.zeros_like(maps)
    for photo, row, column, channel in np.ndindex(R.shape):
        window = maps[photo, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel]
        down, right = divmod(window.argmax(), 2)
        result[photo, 2 * row + down, 2 * column + right, channel] = R[photo, row, column, channel]
    return result


def _windows(maps: np.ndarray) -> np.ndarray:
    """(photos, height, width, channels) -> (photos, rows, columns, channels, 4): the pixels of each window in a row."""
    photos, height, width, channels = maps.shape
    cut = maps.reshape(photos, height // 2, 2, width // 2, 2, channels)
    return cut.transpose(0, 1, 3, 5, 2, 4).reshape(photos, height // 2, width // 2, channels, 4)


def _from_windows(windows: np.ndarray) -> np.ndarray:
    """And back."""
    photos, rows, columns, channels, _ = windows.shape
    cut = windows.reshape(photos, rows, columns, channels, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return cut.reshape(photos, 2 * rows, 2 * columns, channels)


def _winner_by_windows(maps: Any, R: Any) -> Any:
    windows = _windows(maps)
    wins = np.arange(4) == windows.argmax(axis=-1)[..., None]
    return _from_windows(wins * R[..., None])


def _winner_as_a_gradient(maps: Any, R: Any) -> Any:
    """A max-pooling's gradient goes to the first winner as well."""
    import tensorflow as tf

    maps = tf.convert_to_tensor(maps)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        pooled = tf.nn.max_pool2d(maps, 2, 2, "VALID")
    return tape.gradient(pooled, maps, output_gradients=R)


def _winners_share(share: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable:
    """A student's answer: (windows, relevance with one axis more) -> what the pixels of each window get."""
    return lambda maps, R: _from_windows(share(_windows(maps), R[..., None]))


def _is_max(windows: np.ndarray) -> np.ndarray:
    return windows == windows.max(axis=-1, keepdims=True)


_WINNER_WRONG: Mistakes = {
    "shared_equally": (
        _winners_share(lambda windows, R: np.broadcast_to(R / 4, windows.shape)),
        "Each of the four got a quarter. That is right for *average* pooling; here only the largest of them has reached the "
        "next layer.",
    ),
    "everyone_gets_all": (
        _winners_share(lambda windows, R: np.broadcast_to(R, windows.shape)),
        "Each of the four got all of it, so that there is four times as much relevance as before.",
    ),
    "proportional": (
        _winners_share(
            lambda windows, R: (
                windows * divide(np.broadcast_to(R[..., 0], R.shape[:-1]), windows.sum(axis=-1))[..., None]
            )
        ),
        "The four were given shares in proportion to their activations. The three smaller ones had no part in the maximum: "
        "they get nothing.",
    ),
    "equals_all_get_it": (
        _winners_share(lambda windows, R: _is_max(windows) * R),
        "Where several are the largest, each got all of it, and relevance appears from nowhere. Give it to the first of "
        "them.",
    ),
    "equals_share": (
        _winners_share(lambda windows, R: _is_max(windows) / _is_max(windows).sum(axis=-1, keepdims=True) * R),
        "Equals share here. That conserves relevance too, but the rule asked for gives it to the first of them.",
    ),
    "last_of_equals": (
        _winners_share(lambda windows, R: (np.arange(4) == 3 - windows[..., ::-1].argmax(axis=-1)[..., None]) * R),
        "Of equals the last one got it. The first one should: row by row, from the left.",
    ),
    "column_by_column": (
        lambda maps, R: np.swapaxes(_winner_by_windows(np.swapaxes(maps, 1, 2), np.swapaxes(R, 1, 2)), 1, 2),
        "Of equals, the first counted column by column got it. Count row by row: the upper right comes before the lower "
        "left.",
    ),
    "loser": (
        _winners_share(lambda windows, R: (np.arange(4) == windows.argmin(axis=-1)[..., None]) * R),
        "The smallest of the four got it. It is the largest that was handed on.",
    ),
    "activation_not_relevance": (
        _winners_share(
            lambda windows, R: (np.arange(4) == windows.argmax(axis=-1)[..., None]) * windows,
        ),
        "The winners are right, and what stands there is their activation. It should be the relevance that comes down to "
        "them.",
    ),
    "always_upper_left": (
        _winners_share(lambda windows, R: (np.arange(4) == 0) * R),
        "The relevance always went to the upper left of the window, whoever won.",
    ),
}


def _pool_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(37 if seed is None else seed)
    cases = []
    for photos in (2, 1):
        rows, columns, channels = (int(n) for n in rng.choice([2, 3, 4, 5], size=3, replace=False))
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [photos, 2 * rows, 2 * columns, channels]}
        cases.append(Case(f"{photos} photo(s), maps of {2 * rows} x {2 * columns}, {channels} channels", inputs))
    return cases


def _pooled(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Maps after a ReLU, with zeros and with equals in all places; and relevance of both signs, also at zeros."""
    rng = np.random.default_rng(inputs["seed"])
    photos, height, width, channels = inputs["shape"]
    windows = rng.integers(0, 5, (photos, height // 2, width // 2, channels, 4)) / 4
    windows[0, 0, 0, 0] = 0.25, 1.0, 1.0, 0.5  # upper right and lower left
    windows[0, 0, 1, 0] = 0.0, 0.25, 1.25, 1.25
    windows[0, 1, 0, 0] = 0.0, 0.0, 0.0, 0.75  # the lower right alone
    windows[0, 1, 1, 0] = 0.0
    maps = _from_windows(windows.astype(np.float32))
    return maps, _quarters(rng, -3, 4, (photos, height // 2, width // 2, channels))


def _judge_winner(arrays: Arrays, case: Case) -> Verdict:
    return _judge(
        arrays,
        _pooled(case.inputs),
        _winner_by_windows,
        _WINNER_WRONG,
        axes="photos, height, width, channels",
        otherwise="The shape is right, the numbers are not. In each window of 2 x 2 and in each channel, one value should "
        "be the relevance, and three should be 0.",
    )


WINNER_TAKES_ALL = Exercise(
    id="07.winner_takes_all",
    title="The winner takes it all",
    answer="winner_takes_all",
    points=2,
    minutes=8,
    difficulty="medium",
    hints=(
        "Begin with zeros like `maps`. Then, window by window and channel by channel, put one number in its place.",
        "`np.ndindex(R.shape)` gives every (photo, row, column, channel) in turn. Which four pixels of `maps` belong to "
        "(row, column)?",
        "`window.argmax()` counts row by row and gives the first of equals: 0 and 1 are the upper row, 2 and 3 the lower. "
        "`divmod` by 2 makes it a row and a column inside the window.",
    ),
    cases=_pool_cases,
    collect=lambda answer, case: _run(answer, _pooled(case.inputs)),
    judge=_judge_winner,
    reference=lambda: _winner_takes_all,
    wrong={**as_answers(_WINNER_WRONG), "nothing_returned": lambda: lambda maps, R: None},
    right={
        "all windows at once": lambda: _winner_by_windows,
        "the gradient of TensorFlow's max-pooling": lambda: _winner_as_a_gradient,
    },
)

EXERCISES = (
    CONTRIBUTIONS,
    EPSILON_RULE,
    LOST_SHARE,
    PROPAGATE,
    GAMMA_RULE,
    ALPHA1_BETA0,
    Z_BOX,
    WINNER_TAKES_ALL,
)
"""In the order of the notebook."""
