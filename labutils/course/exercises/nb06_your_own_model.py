"""Exercises of notebook 06: hidden activations, classes in them, a regression's gradients in their units, integrated
gradients on arrays, and a picture as a file holds it.

The answers are functions of arrays, and twice of a tiny Keras model whose weights are drawn from the case's seed. Judges
compute the truth, and what the common mistakes would give, with NumPy from these weights. No two lengths of a case are
the same, so that axes that were mixed up show.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from labutils.course.exercise import Arrays, Case, Exercise, Verdict
from labutils.course.judging import as_answers, described, passed, plain, results_of, same, verdict_on_array, wrong

Mistakes = Mapping[str, tuple[Any, str]]

# ---------------------------------------------------------------------------------------------------------------------
# What the cases are made of
# ---------------------------------------------------------------------------------------------------------------------


def _lengths(rng: np.random.Generator, count: int, low: int, high: int) -> list[int]:
    """So many different whole numbers from low to high."""
    return [int(number) for number in rng.choice(np.arange(low, high + 1), size=count, replace=False)]


def _dense_weights(seed: int, widths: list[int]) -> list[np.ndarray]:
    """Kernels and biases of dense layers between these widths."""
    rng = np.random.default_rng(seed)
    weights = []
    for inputs, units in itertools.pairwise(widths):
        weights += [rng.normal(0, 1.5 / np.sqrt(inputs), (inputs, units)), rng.normal(0, 0.3, units)]
    return [weight.astype(np.float32) for weight in weights]


def _through(weights: list[np.ndarray], values: np.ndarray, activation: Callable) -> list[np.ndarray]:
    """What every dense layer gives: before its activation and after it, in turn; the last one's is linear."""
    steps, last = [], len(weights) // 2 - 1
    for number in range(last + 1):
        before = values @ weights[2 * number] + weights[2 * number + 1]
        values = before if number == last else activation(before)
        steps += [before, values]
    return steps


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def _softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


# ---------------------------------------------------------------------------------------------------------------------
# 06.hidden_activations
# ---------------------------------------------------------------------------------------------------------------------


def _hidden_activations(model: Any, images: Any) -> Any:
    import keras

    below = keras.Model(model.inputs[0], model.layers[-2].output)
    return np.asarray(below(images))


def _hidden_layer_by_layer(model: Any, images: Any) -> Any:
    import keras

    values = images
    for layer in model.layers[:-1]:
        if not isinstance(layer, keras.layers.InputLayer):
            values = layer(values)
    return values


def _hidden_by_the_last_input(model: Any, images: Any) -> Any:
    import keras

    return keras.Model(model.inputs[0], model.layers[-1].input).predict(images, verbose=0)


def _hidden_by_labutils(model: Any, images: Any) -> Any:
    from labutils import explain

    layer = model.layers[-2]
    return explain.activations(model, images, [layer.name])[layer.name]


def _hidden_with(
    output_of: Callable[[Any], Any], finish: Callable[[np.ndarray], Any] = lambda values: values
) -> Callable:
    """A student's answer that reads another place of the model, or does something with what it read."""

    def answer(model: Any, images: Any) -> Any:
        import keras

        return finish(np.asarray(keras.Model(model.inputs[0], output_of(model))(images)))

    return answer


def _hidden_before_relu(model: Any, images: Any) -> Any:
    kernel, bias = model.layers[-2].get_weights()
    return _hidden_with(lambda model: model.layers[-2].input)(model, images) @ kernel + bias


def _hidden_logits(model: Any, images: Any) -> Any:
    kernel, bias = model.layers[-1].get_weights()
    return _hidden_activations(model, images) @ kernel + bias


def _hidden_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(61 if seed is None else seed)
    cases = []
    for form in ("Sequential", "functional"):
        height, width = _lengths(rng, 2, 3, 6)
        count, classes = _lengths(rng, 2, 3, 7)
        hidden = _lengths(rng, 3, 9, 14)
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "form": form,
            "shape": [count, height, width, 1],
            "widths": [height * width, *hidden, classes],
        }
        name = f"a {form} model with hidden layers of {', '.join(map(str, hidden))} units, {count} pictures"
        cases.append(Case(name, inputs))
    return cases


def _pictures(inputs: Mapping[str, Any]) -> np.ndarray:
    return np.random.default_rng(inputs["seed"] + 1).random(inputs["shape"]).astype(np.float32)


def _classifier(inputs: Mapping[str, Any]) -> Any:
    """A small classifier, built anew at each call: an answer may spoil the model that it was given."""
    import keras

    made = [keras.layers.Flatten()]
    *hidden, classes = inputs["widths"][1:]
    made += [keras.layers.Dense(units, activation="relu") for units in hidden]
    made += [keras.layers.Dense(classes, activation="softmax")]
    start = keras.Input(inputs["shape"][1:])
    if inputs["form"] == "Sequential":
        model = keras.Sequential([start, *made])
    else:
        values = start
        for layer in made:
            values = layer(values)
        model = keras.Model(start, values)
    model.set_weights(_dense_weights(inputs["seed"], inputs["widths"]))
    return model


def _judge_hidden(arrays: Arrays, case: Case) -> Verdict:
    inputs, found = case.inputs, arrays["activations"]
    images = _pictures(inputs)
    weights = _dense_weights(inputs["seed"], inputs["widths"])
    steps = _through(weights, images.reshape(len(images), -1), _relu)
    expected, logits = steps[-3], steps[-1]
    if isinstance(found, dict):
        return wrong(
            f"{described(found).capitalize()} came back, no numbers. `layer.output` is only the place in the graph: make a "
            "model that leads to it, and call that model on the images.",
            "not_computed",
        )
    mistakes = {
        "probabilities": (
            _softmax(logits),
            "These are the probabilities: the output of the last layer. The hidden layer is the one before it.",
        ),
        "logits": (logits, "These are the logits, made from the hidden layer's activations by the last layer."),
        "before_relu": (
            steps[-4],
            "These are the sums before the activation function, negative ones among them. What the layer hands on comes "
            "after its ReLU.",
        ),
        "one_layer_too_early": (steps[-5], "This is the layer before: one too far from the end."),
        "counted_from_the_front": (
            steps[1] if inputs["form"] == "Sequential" else images.reshape(len(images), -1),
            "This is a layer near the input. Counted from the front, the number depends on the depth of the model; count "
            "from the end.",
        ),
        "weights_not_activations": (
            weights[-4],
            "These are the layer's weights, which are the same for all pictures. Its activations are what it gives for "
            "each of these pictures.",
        ),
        "averaged": (
            expected.mean(axis=0),
            "The pictures were averaged. Every picture keeps a row of its own.",
        ),
        "first_picture": (expected[0], "This is the first picture's row alone. One row for each picture is asked for."),
        "on_or_off": (
            (expected > 0).astype(np.float32),
            "This says which units are active, not how strongly.",
        ),
        "transposed": (expected.T, "Rows and columns have changed places: a row for each picture is asked for."),
    }
    return verdict_on_array(
        found,
        expected,
        mistakes,
        what="The result",
        axes="pictures, units",
        otherwise="The shape is right; the values are not what the second-to-last layer gives for these pictures.",
    )


HIDDEN_ACTIVATIONS = Exercise(
    id="06.hidden_activations",
    title="Read the hidden layer",
    answer="hidden_activations",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "`model.layers` is a list, and lists can be counted from the end: `[-1]` is the last one.",
        "A layer's `.output` is a place in the graph. `keras.Model(inputs, outputs)` makes a model that ends there.",
        "Make a `keras.Model` from `model.inputs[0]` to the output of `model.layers[-2]`, run it on the images (`predict`, or a "
        "call), and return what it gives.",
    ),
    cases=_hidden_cases,
    collect=lambda answer, case: {"activations": plain(answer(_classifier(case.inputs), _pictures(case.inputs)))},
    judge=_judge_hidden,
    reference=lambda: _hidden_activations,
    wrong={
        "probabilities": lambda: _hidden_with(lambda model: model.layers[-1].output),
        "logits": lambda: _hidden_logits,
        "before_relu": lambda: _hidden_before_relu,
        "one_layer_too_early": lambda: _hidden_with(lambda model: model.layers[-3].output),
        "counted_from_the_front": lambda: _hidden_with(lambda model: model.layers[1].output),
        "weights_not_activations": lambda: lambda model, images: model.layers[-2].get_weights()[0],
        "averaged": lambda: _hidden_with(lambda model: model.layers[-2].output, lambda values: values.mean(axis=0)),
        "first_picture": lambda: _hidden_with(lambda model: model.layers[-2].output, lambda values: values[0]),
        "on_or_off": lambda: _hidden_with(lambda model: model.layers[-2].output, lambda values: values > 0),
        "transposed": lambda: _hidden_with(lambda model: model.layers[-2].output, lambda values: values.T),
        "not_computed": lambda: lambda model, images: model.layers[-2].output,
        "nothing_returned": lambda: lambda model, images: None,
    },
    right={
        "layer by layer, a tensor": lambda: _hidden_layer_by_layer,
        "what goes into the last layer": lambda: _hidden_by_the_last_input,
        "labutils' activations": lambda: _hidden_by_labutils,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 06.class_means
# ---------------------------------------------------------------------------------------------------------------------


def _class_means(activations: Any, labels: Any) -> Any:
    return np.stack([activations[labels == label].mean(axis=0) for label in range(labels.max() + 1)])


def _class_means_in_loops(activations: Any, labels: Any) -> Any:
    sums, counts = np.zeros((int(labels.max()) + 1, activations.shape[1])), [0] * (int(labels.max()) + 1)
    for row, label in zip(activations, labels, strict=True):
        sums[label] += row
        counts[label] += 1
    return [list(total / count) for total, count in zip(sums, counts, strict=True)]


def _class_means_by_product(activations: Any, labels: Any) -> Any:
    belongs = np.eye(labels.max() + 1)[labels]
    return belongs.T @ activations / belongs.sum(axis=0)[:, np.newaxis]


def _class_means_in_tensorflow(activations: Any, labels: Any) -> Any:
    import tensorflow as tf

    return tf.math.unsorted_segment_mean(activations, labels, int(labels.max()) + 1)


def _by_class(activations: np.ndarray, labels: np.ndarray, summary: Callable, order: Any = None) -> np.ndarray:
    order = range(labels.max() + 1) if order is None else order
    return np.stack([summary(activations[labels == label]) for label in order])


_CLASS_MEANS_WRONG: dict[str, tuple[Callable, str]] = {
    "sums": (
        lambda activations, labels: _by_class(activations, labels, lambda rows: rows.sum(axis=0)),
        "These are sums. A class with many pictures would seem to excite every unit more: divide by its own number of "
        "pictures.",
    ),
    "divided_by_all": (
        lambda activations, labels: _by_class(activations, labels, lambda rows: rows.sum(axis=0) / len(labels)),
        "Each class was divided by the number of all pictures. Divide by the number of its own.",
    ),
    "transposed": (
        lambda activations, labels: _class_means(activations, labels).T,
        "Rows and columns have changed places: a row for each class is asked for.",
    ),
    "units_averaged": (
        lambda activations, labels: _by_class(activations, labels, np.mean),
        "One number for each class: the units were averaged too. Each unit keeps a column of its own.",
    ),
    "first_picture": (
        lambda activations, labels: _by_class(activations, labels, lambda rows: rows[0]),
        "This is each class's first picture, not the mean of all of them.",
    ),
    "order_of_appearance": (
        lambda activations, labels: _by_class(
            activations, labels, lambda rows: rows.mean(axis=0), list(dict.fromkeys(labels.tolist()))
        ),
        "The rows come in the order in which the classes first appear. Row 0 belongs to class 0.",
    ),
    "class_zero_left_out": (
        lambda activations, labels: _class_means(activations, labels)[1:],
        "Class 0 is missing: the classes are counted from 0.",
    ),
    "last_class_left_out": (
        lambda activations, labels: _class_means(activations, labels)[:-1],
        "The last class is missing: `range(n)` ends before n.",
    ),
    "medians": (
        lambda activations, labels: _by_class(activations, labels, lambda rows: np.median(rows, axis=0)),
        "These are medians; means are asked for.",
    ),
    "largest": (
        lambda activations, labels: _by_class(activations, labels, lambda rows: rows.max(axis=0)),
        "These are each class's largest activations; means are asked for.",
    ),
    "mean_of_all_pictures": (
        lambda activations, labels: np.tile(activations.mean(axis=0), (labels.max() + 1, 1)),
        "Every row is the mean over all pictures. `activations[labels == label]` picks the rows of one class.",
    ),
}


def _class_means_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(62 if seed is None else seed)
    cases = []
    for _ in range(2):
        classes, units = _lengths(rng, 2, 3, 8)
        count = int(rng.integers(25, 40))
        inputs = {"seed": int(rng.integers(1, 10_000)), "count": count, "classes": classes, "units": units}
        cases.append(Case(f"{count} pictures of {classes} classes, {units} units", inputs))
    return cases


def _labelled(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Activations as after a ReLU, and labels of which the first is never 0; no class has fewer than three."""
    rng = np.random.default_rng(inputs["seed"])
    every = np.repeat(np.arange(inputs["classes"]), 3)
    labels = np.concatenate([every, rng.integers(0, inputs["classes"], inputs["count"] - len(every))])
    labels = rng.permutation(labels)
    first = int(np.flatnonzero(labels)[0])
    labels[[0, first]] = labels[[first, 0]]
    activations = _relu(rng.normal(0.5, 1, (inputs["count"], inputs["units"])))
    return activations.astype(np.float32), labels


def _judge_class_means(arrays: Arrays, case: Case) -> Verdict:
    activations, labels = _labelled(case.inputs)
    found = arrays["means"]
    if isinstance(found, list) and found and all(isinstance(row, list | np.ndarray) for row in found):
        found = _stacked(found)
    return verdict_on_array(
        found,
        _class_means(activations, labels),
        results_of(_CLASS_MEANS_WRONG, activations, labels),
        what="The result",
        axes="classes, units",
        otherwise="The shape is right; the values are not the means over each class's own pictures.",
    )


def _stacked(rows: list) -> Any:
    """Rows that came as a list (of lists of numbers, or of arrays) as one array, if they can be one."""
    try:
        array = np.asarray(rows)
    except ValueError:  # of different lengths
        return rows
    return array if array.dtype.kind in "iuf" else rows


CLASS_MEANS = Exercise(
    id="06.class_means",
    title="What excites a unit, on average",
    answer="class_means",
    points=2,
    minutes=5,
    difficulty="easy",
    hints=(
        "For one class: pick its rows, then average over the pictures, which are axis 0.",
        "`labels == 3` is an array of True and False. What does `activations[labels == 3]` give?",
        "One such mean for each class from 0 to the largest label, put together with `np.stack`.",
    ),
    cases=_class_means_cases,
    collect=lambda answer, case: {"means": plain(answer(*_labelled(case.inputs)))},
    judge=_judge_class_means,
    reference=lambda: _class_means,
    wrong={
        **as_answers(_CLASS_MEANS_WRONG),
        "nothing_returned": lambda: lambda activations, labels: None,
    },
    right={
        "loops, lists": lambda: _class_means_in_loops,
        "a product with one-hot labels": lambda: _class_means_by_product,
        "TensorFlow": lambda: _class_means_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 06.cosine_similarity
# ---------------------------------------------------------------------------------------------------------------------


def _cosine_similarity(vectors: Any) -> Any:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return directions @ directions.T


def _cosine_similarity_in_loops(vectors: Any) -> Any:
    result = np.zeros((len(vectors), len(vectors)))
    for i, one in enumerate(vectors):
        for j, other in enumerate(vectors):
            lengths = np.sqrt((one**2).sum()) * np.sqrt((other**2).sum())
            if lengths > 0:
                result[i, j] = one @ other / lengths
    return result


def _cosine_similarity_by_sklearn(vectors: Any) -> Any:
    from sklearn.metrics.pairwise import cosine_similarity

    return cosine_similarity(vectors)


def _cosine_similarity_in_tensorflow(vectors: Any) -> Any:
    import tensorflow as tf

    directions = tf.math.l2_normalize(vectors, axis=1)
    return tf.matmul(directions, directions, transpose_b=True)


def _norms(vectors: np.ndarray) -> np.ndarray:
    """The vectors' lengths, (n, 1); 1 for those that are zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > 0, lengths, 1)


def _unguarded_cosine(vectors: np.ndarray) -> Any:
    with np.errstate(all="ignore"):
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return directions @ directions.T


def _centred(vectors: np.ndarray) -> np.ndarray:
    return _cosine_similarity(vectors - vectors.mean(axis=1, keepdims=True))


_COSINE_WRONG: dict[str, tuple[Callable, str]] = {
    "not_divided": (
        lambda vectors: vectors @ vectors.T,
        "These are the products alone. Divided by both lengths, only the directions count: a picture with more ink would "
        "otherwise seem similar to everything.",
    ),
    "divided_by_one_length": (
        lambda vectors: vectors @ vectors.T / _norms(vectors),
        "Each product was divided by one of its two lengths only: the table is not symmetric.",
    ),
    "divided_by_squares": (
        lambda vectors: vectors @ vectors.T / (_norms(vectors) ** 2 * (_norms(vectors) ** 2).T),
        "The products were divided by the squared lengths: the square root is missing.",
    ),
    "divided_by_largest_value": (
        lambda vectors: (
            (vectors / np.maximum(vectors.max(axis=1, keepdims=True), 1e-9))
            @ (vectors / np.maximum(vectors.max(axis=1, keepdims=True), 1e-9)).T
        ),
        "The vectors were divided by their largest value. Their length is the root of the sum of the squares.",
    ),
    "sum_of_values_as_length": (
        lambda vectors: (
            (vectors / np.maximum(vectors.sum(axis=1, keepdims=True), 1e-9))
            @ (vectors / np.maximum(vectors.sum(axis=1, keepdims=True), 1e-9)).T
        ),
        "The vectors were divided by their sums. Their length is the root of the sum of the squares.",
    ),
    "between_units": (
        lambda vectors: _cosine_similarity(vectors.T),
        "These are the similarities between the columns, the units. The pictures are the rows.",
    ),
    "correlation": (
        _centred,
        "This is the correlation: the mean of each vector was taken off first.",
    ),
    "distance": (
        lambda vectors: np.linalg.norm(vectors[:, np.newaxis] - vectors, axis=2),
        "These are distances: 0 for equal pictures, and they grow with the difference.",
    ),
    "one_minus": (
        lambda vectors: 1 - _cosine_similarity(vectors),
        "This is 1 minus the similarity, a distance: equal directions should give 1.",
    ),
    "angles": (
        lambda vectors: np.arccos(np.clip(_cosine_similarity(vectors), -1, 1)),
        "These are the angles; their cosines are asked for.",
    ),
    "zero_counts_as_equal": (
        lambda vectors: np.where(np.eye(len(vectors)) > 0, 1, _cosine_similarity(vectors)),
        "A vector of zeros has no direction: its similarity is 0 to all of them, itself included.",
    ),
}


def _cosine_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(63 if seed is None else seed)
    cases = []
    for silent in (True, False):
        count, units = _lengths(rng, 2, 5, 10)
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [count, units], "silent": silent}
        what = "a silent one among them" if silent else "all of them active"
        cases.append(Case(f"{count} pictures, {units} units, {what}", inputs))
    return cases


def _vectors(inputs: Mapping[str, Any]) -> np.ndarray:
    """Activations as after a ReLU, of very different lengths; where asked for, one picture excites no unit at all."""
    rng = np.random.default_rng(inputs["seed"])
    vectors = _relu(rng.normal(0.3, 1, inputs["shape"])) + 0.05
    vectors *= rng.uniform(0.5, 4, (inputs["shape"][0], 1))
    if inputs["silent"]:
        vectors[inputs["shape"][0] // 2] = 0
    return vectors.astype(np.float32)


def _judge_cosine(arrays: Arrays, case: Case) -> Verdict:
    vectors, found = _vectors(case.inputs), arrays["similarity"]
    if isinstance(found, np.ndarray) and found.dtype.kind == "f" and found.shape == (len(vectors),) * 2:
        broken = ~np.isfinite(found)
        if broken.any() and not (broken & vectors.any(axis=1) & vectors.any(axis=1)[:, np.newaxis]).any():
            return wrong(
                "NaN in the row of a picture that excites no unit: its length is 0. Give it the similarity 0 to all of "
                "them.",
                "divided_by_zero",
            )
    expected = _cosine_similarity(vectors)
    return verdict_on_array(
        found,
        expected,
        results_of(_COSINE_WRONG, vectors),
        what="The result",
        axes="pictures, pictures",
        otherwise="The shape is right; the values are not the cosines of the angles between the rows.",
    )


COSINE_SIMILARITY = Exercise(
    id="06.cosine_similarity",
    title="How similar are two pictures?",
    answer="cosine_similarity",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "Divide every row by its length; then one matrix product gives all pairs at once.",
        "`np.linalg.norm(vectors, axis=1, keepdims=True)` gives the lengths, as a column. Where a length is 0, the row has to "
        "stay zero.",
        "Replace lengths of 0 by 1 before you divide (`np.where`): zeros divided by 1 stay zero. The product of the result "
        "with its own transpose is the table.",
    ),
    cases=_cosine_cases,
    collect=lambda answer, case: {"similarity": plain(answer(_vectors(case.inputs)))},
    judge=_judge_cosine,
    reference=lambda: _cosine_similarity,
    wrong={
        **as_answers(_COSINE_WRONG),
        "divided_by_zero": lambda: _unguarded_cosine,
        "nothing_returned": lambda: lambda vectors: None,
    },
    right={
        "loops": lambda: _cosine_similarity_in_loops,
        "scikit-learn": lambda: _cosine_similarity_by_sklearn,
        "TensorFlow": lambda: _cosine_similarity_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 06.standardise
# ---------------------------------------------------------------------------------------------------------------------


def _standardise(train: Any, others: Any) -> Any:
    mean, std = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / std, (others - mean) / std


def _standardise_by_sklearn(train: Any, others: Any) -> Any:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(others)


def _standardise_column_by_column(train: Any, others: Any) -> Any:
    scaled = [np.zeros(train.shape), np.zeros(others.shape)]
    for column in range(train.shape[1]):
        values = train[:, column]
        mean = sum(values) / len(values)
        spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
        for result, source in zip(scaled, (train, others), strict=True):
            result[:, column] = (source[:, column] - mean) / spread
    return scaled


def _standardise_as_pandas_does(train: Any, others: Any) -> Any:
    mean, std = train.mean(axis=0), train.std(axis=0, ddof=1)
    return [(each - mean) / std for each in (train, others)]


def _standardise_with(
    mean: Callable[[np.ndarray], Any] = lambda values: values.mean(axis=0),
    spread: Callable[[np.ndarray], Any] = lambda values: values.std(axis=0),
) -> Callable:
    """A student's answer that takes another centre or another spread from the training rows."""
    return lambda train, others: tuple((each - mean(train)) / spread(train) for each in (train, others))


_STANDARDISE_WRONG: dict[str, tuple[Callable, str]] = {
    "each_by_its_own": (
        lambda train, others: (_standardise(train, train)[0], _standardise(others, others)[0]),
        "The other rows were standardised by their own mean and spread. The network learned what 0 and 1 mean from the "
        "training rows: the same house must always give the same numbers.",
    ),
    "from_all_rows": (
        lambda train, others: tuple(
            (each - np.concatenate([train, others]).mean(axis=0)) / np.concatenate([train, others]).std(axis=0)
            for each in (train, others)
        ),
        "Mean and spread come from all rows together, so that the test rows have a say in the training. Take them from "
        "the training rows alone.",
    ),
    "from_the_others": (
        lambda train, others: tuple(reversed(_standardise(others, train))),
        "Mean and spread come from the other rows. Take them from the training rows.",
    ),
    "one_number_for_all_columns": (
        _standardise_with(np.mean, np.std),
        "One mean and one spread for all columns: square metres and bedrooms were thrown together. Each column has its own "
        "(`axis=0`).",
    ),
    "row_by_row": (
        lambda train, others: tuple(
            (each - each.mean(axis=1, keepdims=True)) / each.std(axis=1, keepdims=True) for each in (train, others)
        ),
        "Each row was standardised by itself, which mixes square metres with bedrooms. The mean goes over the rows "
        "(`axis=0`).",
    ),
    "not_divided": (
        _standardise_with(spread=lambda values: 1),
        "The mean is taken off, the spread is still there: divide by the standard deviation.",
    ),
    "not_centred": (
        _standardise_with(mean=lambda values: 0),
        "Divided by the standard deviation, but the mean was not taken off first.",
    ),
    "variance": (
        _standardise_with(spread=lambda values: values.var(axis=0)),
        "Divided by the variance, whose unit is squared. Its square root, the standard deviation, is asked for.",
    ),
    "zero_to_one": (
        _standardise_with(lambda values: values.min(axis=0), lambda values: np.ptp(values, axis=0)),
        "This scales the smallest value to 0 and the largest to 1. Standardised means: mean 0, standard deviation 1.",
    ),
}


def _standardise_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(64 if seed is None else seed)
    cases = []
    for _ in range(2):
        others, rows = sorted(_lengths(rng, 2, 8, 20))
        columns = int(rng.integers(3, 7))
        inputs = {"seed": int(rng.integers(1, 10_000)), "rows": rows, "others": others, "columns": columns}
        cases.append(Case(f"{rows} training rows and {others} others of {columns} columns", inputs))
    return cases


def _rows(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Training rows and others, whose columns have their own centres and spreads, a little different in the others."""
    rng = np.random.default_rng(inputs["seed"])
    centre = rng.uniform(5, 120, inputs["columns"])
    spread = rng.uniform(2, 30, inputs["columns"])
    train = centre + spread * rng.normal(size=(inputs["rows"], inputs["columns"]))
    others = 1.2 * centre + 1.5 * spread * rng.normal(size=(inputs["others"], inputs["columns"]))
    return train, others


def _judge_standardise(arrays: Arrays, case: Case) -> Verdict:
    train, others = _rows(case.inputs)
    found = arrays["standardised"]
    if found is None:
        return wrong("`standardise` returned None. Is a `return` missing?", "nothing_returned")
    if isinstance(found, np.ndarray) and same(found, _standardise(train, others)[0]):
        return wrong("Only the training rows came back. Two arrays are asked for: `return train, others`.", "one_array")
    if not isinstance(found, list) or len(found) != 2:
        return wrong(
            f"{described(found).capitalize()} came back; two arrays are asked for, the training rows and the others.",
            "not_a_pair",
        )
    if all(same(*pair) for pair in zip(found, _standardise(train, others)[::-1], strict=True)):
        return wrong("The two have changed places: the training rows come first.", "swapped")
    # Pandas divides by n - 1 where NumPy divides by n: both are a standard deviation.
    for right in (_standardise, _standardise_as_pandas_does):
        if all(same(*pair) for pair in zip(found, right(train, others), strict=True)):
            return passed()
    for name, (twin, message) in _STANDARDISE_WRONG.items():
        if all(same(*pair) for pair in zip(found, twin(train, others), strict=True)):
            return wrong(message, name)
    if same(found[0], _standardise(train, others)[0]) and same(found[1], others):
        return wrong("The other rows are still in their units. They need the same treatment.", "others_untouched")
    for part, expected, what in zip(found, _standardise(train, others), ("training", "other"), strict=True):
        verdict = verdict_on_array(
            part,
            expected,
            {},
            what=f"The array of the {what} rows",
            axes="rows, columns",
            otherwise=f"The {what} rows have the right shape, but not the right values: each column minus the training rows' "
            "mean of that column, divided by their standard deviation.",
        )
        if not verdict.passed:
            return wrong(verdict.message)
    return wrong("The two arrays do not go together: both need the same mean and spread.")


STANDARDISE = Exercise(
    id="06.standardise",
    title="Mean 0, standard deviation 1",
    answer="standardise",
    points=2,
    minutes=5,
    difficulty="easy",
    hints=(
        "Which rows is the network allowed to know? Compute two numbers for each column from these, and use them twice.",
        "`train.mean(axis=0)` and `train.std(axis=0)` have one number for each column, and NumPy subtracts and divides row by "
        "row.",
        "Subtract the training rows' mean from both arrays, divide both by the training rows' standard deviation, return "
        "them as `train, others`.",
    ),
    cases=_standardise_cases,
    collect=lambda answer, case: {"standardised": plain(answer(*_rows(case.inputs)))},
    judge=_judge_standardise,
    reference=lambda: _standardise,
    wrong={
        **as_answers(_STANDARDISE_WRONG),
        "others_untouched": lambda: lambda train, others: (_standardise(train, others)[0], others),
        "swapped": lambda: lambda train, others: _standardise(train, others)[::-1],
        "one_array": lambda: lambda train, others: _standardise(train, others)[0],
        "not_a_pair": lambda: lambda train, others: [*_standardise(train, others), train.mean(axis=0)],
        "nothing_returned": lambda: lambda train, others: None,
    },
    right={
        "scikit-learn": lambda: _standardise_by_sklearn,
        "column by column": lambda: _standardise_column_by_column,
        "pandas' standard deviation": lambda: _standardise_as_pandas_does,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 06.prediction_gradient
# ---------------------------------------------------------------------------------------------------------------------


def _prediction_gradient(model: Any, x: Any) -> Any:
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        prediction = model(x)
    return tape.gradient(prediction, x).numpy()


def _gradient_row_by_row(model: Any, x: Any) -> Any:
    import tensorflow as tf

    rows = []
    for row in x:
        variable = tf.Variable(row[np.newaxis])
        with tf.GradientTape() as tape:
            prediction = model(variable)[0, 0]
        rows.append(tape.gradient(prediction, variable)[0])
    return np.stack(rows)


def _gradient_by_differences(model: Any, x: Any) -> Any:
    step = 0.02
    columns = []
    for column in range(x.shape[1]):
        moved = step * np.eye(x.shape[1], dtype=x.dtype)[column]
        columns.append((np.asarray(model(x + moved)) - np.asarray(model(x - moved)))[:, 0] / (2 * step))
    return np.stack(columns, axis=1)


def _gradient_by_jacobian(model: Any, x: Any) -> Any:
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        prediction = model(x)
    return tape.batch_jacobian(prediction, x)[:, 0]


def _gradient_with(
    target: Callable[[Any], Any] = lambda prediction: prediction,
    watch: bool = True,
    source: Callable[[Any, Any], Any] = lambda model, x: x,
    finish: Callable[[Any, Any], Any] = lambda gradient, x: gradient,
) -> Callable:
    """A student's answer that derives something else, by something else, or does something to it."""

    def answer(model: Any, x: Any) -> Any:
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            if watch:
                tape.watch(x)
            value = target(model(x))
        return finish(tape.gradient(value, source(model, x)), x)

    return answer


def _mean_of(values: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(values)


def _gradient_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(65 if seed is None else seed)
    cases = []
    for _ in range(2):
        count, features, hidden = _lengths(rng, 3, 3, 9)
        inputs = {"seed": int(rng.integers(1, 10_000)), "count": count, "widths": [features, hidden, 1]}
        cases.append(Case(f"{count} houses with {features} features", inputs))
    return cases


def _regression(inputs: Mapping[str, Any]) -> Any:
    """A small regression model with a tanh layer, built anew at each call."""
    import keras

    features, hidden, _ = inputs["widths"]
    model = keras.Sequential(
        [keras.Input((features,)), keras.layers.Dense(hidden, activation="tanh"), keras.layers.Dense(1)]
    )
    model.set_weights(_dense_weights(inputs["seed"], inputs["widths"]))
    return model


def _houses(inputs: Mapping[str, Any]) -> np.ndarray:
    shape = inputs["count"], inputs["widths"][0]
    return np.random.default_rng(inputs["seed"] + 1).normal(0.2, 1, shape).astype(np.float32)


def _judge_gradient(arrays: Arrays, case: Case) -> Verdict:
    inputs, found = case.inputs, arrays["gradient"]
    x = _houses(inputs)
    first, first_bias, second, second_bias = _dense_weights(inputs["seed"], inputs["widths"])
    hidden = np.tanh(x @ first + first_bias)
    sensitivity = (1 - hidden**2) * second[:, 0]  # of the prediction to each hidden unit's sum, (n, hidden)
    expected = sensitivity @ first.T
    prediction = hidden @ second + second_bias
    if found is None:
        return wrong(
            "None came back. If no `return` is missing, then the tape did not record: it follows Variables by itself, but a "
            "tensor only after `tape.watch(x)`.",
            "nothing_returned",
        )
    if isinstance(found, dict):
        return wrong(
            f"{described(found).capitalize()} came back, no numbers. Was the gradient None? The tape follows a tensor only "
            "after `tape.watch(x)`.",
            "not_watched",
        )
    if isinstance(found, np.ndarray) and found.ndim > 2 and found.size and same(np.squeeze(found), expected):
        return wrong(
            "The numbers are right, with an axis for the model's one output still between them: index it with 0.",
            "output_axis_kept",
        )
    if isinstance(found, list) and found and all(isinstance(row, np.ndarray) for row in found):
        found = _stacked(found)
    mistakes = {
        "gradient_of_the_mean": (
            expected / len(x),
            "This is the gradient of the mean prediction: every house's is too small by the number of houses. Leave the "
            "predictions as they are.",
        ),
        "gradient_of_the_square": (
            2 * prediction * expected,
            "This is the gradient of the squared prediction, as in a loss. Here the prediction itself is asked about.",
        ),
        "weights": (
            x.T @ sensitivity,
            "This is the gradient with respect to the first layer's weights, as in training. Here the weights "
            "stay, and the inputs move.",
        ),
        "gradient_times_input": (
            expected * x,
            "The gradient was multiplied by the input. The slope itself is asked for.",
        ),
        "absolute": (np.abs(expected), "The signs are lost. A house that gets older gets cheaper: that is a minus."),
        "summed": (
            expected.sum(axis=0),
            "The houses were added up. Each keeps a row of its own: the slope may differ from house to house.",
        ),
        "averaged": (
            expected.mean(axis=0),
            "The houses were averaged. Each keeps a row of its own: the slope may differ from house to house.",
        ),
        "first_house": (expected[0], "This is the first house's gradient alone. A row for each house is asked for."),
        "predictions": (prediction, "These are the predictions. How they change with the inputs is asked for."),
        "transposed": (expected.T, "Rows and columns have changed places: a row for each house is asked for."),
    }
    return verdict_on_array(
        found,
        expected,
        mistakes,
        what="The result",
        axes="houses, features",
        otherwise="The shape is right; the values are not the gradient of the prediction by the inputs.",
        rtol=2e-3,  # So that finite differences in float32 will do.
    )


PREDICTION_GRADIENT = Exercise(
    id="06.prediction_gradient",
    title="How the prediction changes with its inputs",
    answer="prediction_gradient",
    points=3,
    minutes=7,
    difficulty="medium",
    hints=(
        "`tf.GradientTape` records what happens to the things it watches. By what do you want to derive: weights, or "
        "inputs?",
        "The tape follows Variables by itself. A tensor has to be made first (`tf.convert_to_tensor(x)`), and `tape.watch`ed, "
        "before the model is called inside the `with`.",
        "Tensor of x; open a tape; watch it; call the model; after the block, `tape.gradient` of the prediction by the tensor. "
        "It has the shape of x already.",
    ),
    cases=_gradient_cases,
    collect=lambda answer, case: {"gradient": plain(answer(_regression(case.inputs), _houses(case.inputs)))},
    judge=_judge_gradient,
    reference=lambda: _prediction_gradient,
    wrong={
        "gradient_of_the_mean": lambda: _gradient_with(_mean_of),
        "gradient_of_the_square": lambda: _gradient_with(lambda prediction: prediction**2),
        "weights": lambda: _gradient_with(source=lambda model, x: model.trainable_variables[0].value),
        "gradient_times_input": lambda: _gradient_with(finish=lambda gradient, x: gradient * x),
        "absolute": lambda: _gradient_with(finish=lambda gradient, x: abs(gradient)),
        "summed": lambda: _gradient_with(finish=lambda gradient, x: np.asarray(gradient).sum(axis=0)),
        "averaged": lambda: _gradient_with(finish=lambda gradient, x: np.asarray(gradient).mean(axis=0)),
        "first_house": lambda: _gradient_with(finish=lambda gradient, x: gradient[0]),
        "transposed": lambda: _gradient_with(finish=lambda gradient, x: np.asarray(gradient).T),
        "predictions": lambda: lambda model, x: np.asarray(model(x)),
        "output_axis_kept": lambda: lambda model, x: _prediction_gradient(model, x)[:, np.newaxis],
        "not_watched": lambda: _gradient_with(watch=False, finish=lambda gradient, x: np.asarray(gradient)),
        "nothing_returned": lambda: _gradient_with(watch=False),
    },
    right={
        "row by row, Variables": lambda: _gradient_row_by_row,
        "finite differences": lambda: _gradient_by_differences,
        "batch_jacobian": lambda: _gradient_by_jacobian,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 06.per_unit
# ---------------------------------------------------------------------------------------------------------------------


def _per_unit(gradients: Any, std_x: Any, std_y: Any) -> Any:
    return gradients * std_y / std_x


def _per_unit_in_loops(gradients: Any, std_x: Any, std_y: Any) -> Any:
    result = np.zeros(gradients.shape)
    for row in range(gradients.shape[0]):
        for column in range(gradients.shape[1]):
            result[row, column] = gradients[row, column] * (std_y / std_x[column])
    return result


_PER_UNIT_WRONG: dict[str, tuple[Callable, str]] = {
    "still_standardised": (
        lambda gradients, std_x, std_y: gradients,
        "Nothing has changed: these are still standard deviations of the price for a standard deviation of the feature.",
    ),
    "price_alone": (
        lambda gradients, std_x, std_y: gradients * std_y,
        "These are euros for a **standard deviation** of each feature. One unit of the feature is asked for.",
    ),
    "features_alone": (
        lambda gradients, std_x, std_y: gradients / std_x,
        "One unit of each feature, but the price is still counted in standard deviations.",
    ),
    "upside_down": (
        lambda gradients, std_x, std_y: gradients * std_x / std_y,
        "Upside down. The gradient is price over feature: which of the two has to be multiplied by its standard deviation?",
    ),
    "multiplied_by_both": (
        lambda gradients, std_x, std_y: gradients * std_x * std_y,
        "Both were multiplied. One standard deviation of the feature holds many units, and one of them is asked for.",
    ),
    "divided_by_both": (
        lambda gradients, std_x, std_y: gradients / std_x / std_y,
        "Both were divided. The price was divided by its standard deviation when it was standardised; undo that.",
    ),
    "squared": (
        lambda gradients, std_x, std_y: gradients * (std_y / std_x) ** 2,
        "These are the variances' ratio. Standardising divided by the standard deviations, not by their squares.",
    ),
    "averaged": (
        lambda gradients, std_x, std_y: (gradients * std_y / std_x).mean(axis=0),
        "The houses were averaged. Each keeps its row; the average comes later.",
    ),
    "one_spread_for_all": (
        lambda gradients, std_x, std_y: gradients * std_y / np.mean(std_x),
        "All features were divided by the same number. Each has a standard deviation of its own.",
    ),
}


def _per_unit_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(66 if seed is None else seed)
    cases = []
    for _ in range(2):
        count, features = _lengths(rng, 2, 3, 8)
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [count, features]}
        cases.append(Case(f"gradients of {count} houses by {features} features", inputs))
    return cases


def _gradients_and_spreads(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, float]:
    rng = np.random.default_rng(inputs["seed"])
    gradients = rng.normal(0, 1, inputs["shape"])
    return gradients, rng.uniform(1.5, 40, inputs["shape"][1]), float(rng.uniform(20_000, 90_000))


def _judge_per_unit(arrays: Arrays, case: Case) -> Verdict:
    given = _gradients_and_spreads(case.inputs)
    return verdict_on_array(
        arrays["slopes"],
        _per_unit(*given),
        results_of(_PER_UNIT_WRONG, *given),
        what="The result",
        axes="houses, features",
        otherwise="The shape is right; the values are not the gradients in euros for one unit of each feature.",
    )


PER_UNIT = Exercise(
    id="06.per_unit",
    title="Back to euros",
    answer="per_unit",
    points=2,
    minutes=5,
    difficulty="medium",
    hints=(
        "Write down what the gradient's unit is now, above and below the line of the fraction. What should it be?",
        "A change of 1 in the standardised price is `std_y` euros. A change of 1 in a standardised feature is `std_x` of its "
        "units.",
        "So the numerator is to be multiplied by one of the two, the denominator by the other. The means do not matter: they "
        "shift, and a slope does not feel a shift.",
    ),
    cases=_per_unit_cases,
    collect=lambda answer, case: {"slopes": plain(answer(*_gradients_and_spreads(case.inputs)))},
    judge=_judge_per_unit,
    reference=lambda: _per_unit,
    wrong={
        **as_answers(_PER_UNIT_WRONG),
        "nothing_returned": lambda: lambda gradients, std_x, std_y: None,
    },
    right={
        "loops": lambda: _per_unit_in_loops,
        "a diagonal matrix": lambda: lambda gradients, std_x, std_y: gradients @ np.diag(std_y / np.asarray(std_x)),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 06.integrated_gradients
# ---------------------------------------------------------------------------------------------------------------------


def _integrated_gradients(gradient: Any, x: Any, baseline: Any, steps: int) -> Any:
    total = np.zeros(x.shape)
    for step in range(steps):
        share = (step + 0.5) / steps
        total += gradient(baseline + share * (x - baseline))
    return (x - baseline) * total / steps


def _integrated_gradients_at_once(gradient: Any, x: Any, baseline: Any, steps: int) -> Any:
    shares = (np.arange(steps) + 0.5) / steps
    line = baseline + shares[:, np.newaxis, np.newaxis] * (x - baseline)
    gradients = gradient(line.reshape(-1, x.shape[1])).reshape(line.shape)
    return (x - baseline) * gradients.mean(axis=0)


def _integrated_gradients_house_by_house(gradient: Any, x: Any, baseline: Any, steps: int) -> Any:
    ends = np.linspace(0, 1, steps + 1)
    middles = (ends[:-1] + ends[1:]) / 2
    rows = []
    for house in x:
        points = np.array([(1 - share) * baseline + share * house for share in middles])
        rows.append((house - baseline) * gradient(points).mean(axis=0))
    return np.array(rows)


def _integrated_with(
    shares: Callable[[int], Any] = lambda steps: (np.arange(steps) + 0.5) / steps,
    factor: Callable[[np.ndarray, np.ndarray], Any] = lambda x, baseline: x - baseline,
    start: Callable[[np.ndarray], Any] = lambda baseline: baseline,
    finish: Callable[[np.ndarray, int], Any] = lambda result, steps: result,
) -> Callable:
    """A student's answer with other points, another factor, another baseline, or something done to the result."""

    def answer(gradient: Any, x: Any, baseline: Any, steps: int) -> Any:
        origin = start(baseline)
        mean = np.mean([gradient(origin + share * (x - origin)) for share in shares(steps)], axis=0)
        return finish(factor(x, origin) * mean, steps)

    return answer


_INTEGRATED_WRONG: dict[str, tuple[Callable, str]] = {
    "difference_missing": (
        _integrated_with(factor=lambda x, baseline: 1),
        "This is the mean gradient along the line, a slope. An attribution is slope times way: multiply by the difference "
        "from the baseline.",
    ),
    "times_x": (
        _integrated_with(factor=lambda x, baseline: x),
        "Multiplied by x. The way goes from the baseline to x: multiply by their difference.",
    ),
    "baseline_ignored": (
        _integrated_with(start=np.zeros_like),
        "This starts at 0, whatever the baseline is.",
    ),
    "gradient_at_x": (
        _integrated_with(shares=lambda steps: [1.0]),
        "Only the gradient at x itself was used. It may be flat there although the way up was steep: average it along the "
        "line.",
    ),
    "gradient_at_the_baseline": (
        _integrated_with(shares=lambda steps: [0.0]),
        "Only the gradient at the baseline was used. Average it along the whole line.",
    ),
    "one_point": (
        _integrated_with(shares=lambda steps: [0.5]),
        "Only the middle of the line was used, whatever `steps` is.",
    ),
    "summed_not_averaged": (
        _integrated_with(finish=lambda result, steps: result * steps),
        "The gradients were added up and not averaged: with twice the steps, the result would be twice as large.",
    ),
    "starts_of_the_pieces": (
        _integrated_with(shares=lambda steps: np.arange(steps) / steps),
        "The gradient was taken at the start of each piece: the baseline counts in full, x not at all. Take the middles.",
    ),
    "ends_of_the_pieces": (
        _integrated_with(shares=lambda steps: (np.arange(steps) + 1) / steps),
        "The gradient was taken at the end of each piece: x counts in full, the baseline not at all. Take the middles.",
    ),
    "both_ends": (
        _integrated_with(shares=lambda steps: np.linspace(0, 1, steps)),
        "`np.linspace(0, 1, steps)` begins on the baseline and ends on x, so that both ends count for too much. Take the "
        "middles of the pieces.",
    ),
    "sign": (
        _integrated_with(factor=lambda x, baseline: baseline - x),
        "All signs are the wrong way round: the path goes from the baseline to x.",
    ),
    "summed_over_features": (
        _integrated_with(finish=lambda result, steps: result.sum(axis=1)),
        "The features were added up, which is what completeness is about. Here each keeps its own number.",
    ),
    "absolute": (
        _integrated_with(finish=lambda result, steps: np.abs(result)),
        "The signs are lost: what lowers the price has a minus.",
    ),
}


def _integrated_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(67 if seed is None else seed)
    cases = []
    for _ in range(2):
        count, features = _lengths(rng, 2, 3, 6)
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [count, features], "steps": int(rng.integers(7, 12))}
        cases.append(Case(f"{count} houses with {features} features, {inputs['steps']} steps", inputs))
    return cases


def _line(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, int]:
    """x, baseline and steps; the baseline is far from 0, and x from the baseline."""
    rng = np.random.default_rng(inputs["seed"])
    baseline = rng.uniform(0.5, 1.5, inputs["shape"][1])
    away = rng.choice([-1, 1], inputs["shape"]) * rng.uniform(0.4, 1.5, inputs["shape"])
    return baseline + away, baseline, inputs["steps"]


def _gradient_function(inputs: Mapping[str, Any]) -> Callable[[Any], np.ndarray]:
    """The gradient of a curved function of the features, (n, features) -> (n, features)."""
    rng = np.random.default_rng(inputs["seed"] + 1)
    features = inputs["shape"][1]
    linear, cubic = rng.normal(0, 1, features), rng.uniform(0.5, 1.5, features) * rng.choice([-1, 1], features)
    mixed = rng.normal(0, 0.5, (features, features))

    def gradient(x: Any) -> np.ndarray:
        points = np.asarray(x, dtype=float)
        if points.ndim != 2 or points.shape[1] != features:
            raise ValueError(f"gradient takes x of shape (n, {features}); this has shape {points.shape}")
        return linear + cubic * points**2 + points @ (mixed + mixed.T)

    return gradient


def _judge_integrated(arrays: Arrays, case: Case) -> Verdict:
    given = _gradient_function(case.inputs), *_line(case.inputs)
    return verdict_on_array(
        arrays["attributions"],
        _integrated_gradients(*given),
        results_of(_INTEGRATED_WRONG, *given),
        what="The result",
        axes="houses, features",
        otherwise="The shape is right; the values are not the integrated gradients with these steps.",
    )


INTEGRATED_GRADIENTS = Exercise(
    id="06.integrated_gradients",
    title="Integrated gradients",
    answer="integrated_gradients",
    points=3,
    minutes=9,
    difficulty="hard",
    hints=(
        "A loop over the steps: a point on the line, the gradient there, added to a total. The mean of the gradients, times "
        "`x - baseline`, is the result.",
        "The point at share a of the path is `baseline + a * (x - baseline)`, for all houses at once. With 4 steps, the "
        "middles lie at a = 1/8, 3/8, 5/8, 7/8.",
        "For step = 0, 1, ...: the share is (step + 0.5) / steps. Add up the gradients at these points, divide by the number "
        "of steps, multiply by (x - baseline).",
    ),
    cases=_integrated_cases,
    collect=lambda answer, case: {"attributions": plain(answer(_gradient_function(case.inputs), *_line(case.inputs)))},
    judge=_judge_integrated,
    reference=lambda: _integrated_gradients,
    wrong={
        **as_answers(_INTEGRATED_WRONG),
        "nothing_returned": lambda: lambda gradient, x, baseline, steps: None,
    },
    right={
        "all points in one batch": lambda: _integrated_gradients_at_once,
        "house by house": lambda: _integrated_gradients_house_by_house,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 06.as_file
# ---------------------------------------------------------------------------------------------------------------------


def _as_file(image: Any) -> Any:
    return np.round(image[..., 0] * 255).astype("uint8")


def _as_file_by_skimage(image: Any) -> Any:
    from skimage.util import img_as_ubyte

    return img_as_ubyte(np.squeeze(image, axis=-1).astype("float64"))


def _as_file_pixel_by_pixel(image: Any) -> Any:
    pixels = np.zeros(image.shape[:2], dtype=np.uint8)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            pixels[row, column] = int(255 * float(image[row, column, 0]) + 0.5)
    return pixels


def _stretched(image: np.ndarray) -> np.ndarray:
    grey = image[..., 0]
    return np.round(255 * (grey - grey.min()) / (grey.max() - grey.min())).astype(np.uint8)


_AS_FILE_WRONG: dict[str, tuple[Callable, str]] = {
    "not_scaled": (
        lambda image: image[..., 0].astype("uint8"),
        "Nearly all of it is 0 now: values from 0 to 1 were cut to whole numbers. They have to be spread over 0 to 255 first.",
    ),
    "cut_off": (
        lambda image: (image[..., 0] * 255).astype("uint8"),
        "`astype` cuts off what is behind the point: 254.9 becomes 254. Round first.",
    ),
    "channel_kept": (
        lambda image: np.round(image * 255).astype("uint8"),
        "The channel is still there as a third axis of length 1. A grey picture's file has two axes, height and width.",
    ),
    "inverted": (
        lambda image: 255 - np.round(image[..., 0] * 255).astype("uint8"),
        "Dark and light have changed places. The network was trained on ink as 1 and paper as 0; for any other picture it "
        "is not prepared.",
    ),
    "stretched": (
        _stretched,
        "The picture was stretched to its own darkest and brightest value. The same value must always give the same grey, or "
        "the network gets another picture back.",
    ),
    "times_256": (
        lambda image: (np.round(image[..., 0] * 256).astype(int) % 256).astype("uint8"),
        "Times 256, the brightest value does not fit: 256 in `uint8` is 0 again, and white turns black.",
    ),
    "times_16": (
        lambda image: np.round(image[..., 0] * 16).astype("uint8"),
        "These values go up to 16 only: nearly black. A file's white is 255.",
    ),
    "transposed": (
        lambda image: np.round(image[..., 0].T * 255).astype("uint8"),
        "Height and width have changed places.",
    ),
}


def _as_file_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(68 if seed is None else seed)
    cases = []
    for _ in range(2):
        height, width = _lengths(rng, 2, 4, 9)
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [height, width, 1]}
        cases.append(Case(f"a picture of {height} x {width}", inputs))
    return cases


def _grey_picture(inputs: Mapping[str, Any]) -> np.ndarray:
    """Greys from 0.1 to 1 (1 is among them, 0 is not), none of them half way between two values of a file."""
    rng = np.random.default_rng(inputs["seed"])
    picture = (rng.integers(26, 255, inputs["shape"]) + rng.choice([-0.3, 0.3], inputs["shape"])) / 255
    picture[0, 1] = 1.0
    return picture.astype(np.float32)


def _judge_as_file(arrays: Arrays, case: Case) -> Verdict:
    image = _grey_picture(case.inputs)
    found = arrays["pixels"]
    if isinstance(found, np.ndarray) and found.dtype.kind in "fi" and same(found, _as_file(image), rtol=0.0):
        return wrong(
            f"The values are right, but of dtype {found.dtype}. A picture's file holds whole numbers of 8 bits: `uint8`.",
            "not_uint8",
        )
    if isinstance(found, np.ndarray) and found.dtype.kind == "f" and same(found, image[..., 0] * 255):
        return wrong("The values are right, but not whole numbers yet: round them, and make them `uint8`.", "not_uint8")
    return verdict_on_array(
        found,
        _as_file(image),
        results_of(_AS_FILE_WRONG, image),
        what="The result",
        axes="height, width",
        kinds="u",
        otherwise="The shape is right, the values are not: 0 should become 0, and 1 should become 255.",
    )


AS_FILE = Exercise(
    id="06.as_file",
    title="A digit as a file",
    answer="as_file",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "Three steps: drop the axis of the one channel, spread the values over 0 to 255, make whole numbers of them.",
        "`image[..., 0]` drops the last axis. `np.round` rounds, and leaves floats.",
        "Times 255, `np.round`, then `astype` to `uint8`. Dark stays dark.",
    ),
    cases=_as_file_cases,
    collect=lambda answer, case: {"pixels": plain(answer(_grey_picture(case.inputs)))},
    judge=_judge_as_file,
    reference=lambda: _as_file,
    wrong={
        **as_answers(_AS_FILE_WRONG),
        "not_uint8": lambda: lambda image: np.round(image[..., 0] * 255),
        "nothing_returned": lambda: lambda image: None,
    },
    right={
        "scikit-image": lambda: _as_file_by_skimage,
        "pixel by pixel": lambda: _as_file_pixel_by_pixel,
    },
)

EXERCISES = [
    HIDDEN_ACTIVATIONS,
    CLASS_MEANS,
    COSINE_SIMILARITY,
    STANDARDISE,
    PREDICTION_GRADIENT,
    PER_UNIT,
    INTEGRATED_GRADIENTS,
    AS_FILE,
]
"""In the order of the notebook."""
