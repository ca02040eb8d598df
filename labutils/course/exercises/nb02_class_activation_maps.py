"""Exercises of notebook 02: Grad-CAM by hand, the library, the n-th best class, two objects in one photo.

Every judge knows the right numbers and the numbers that each common mistake would give, and compares the answer with
all of them. The networks in the cases are tiny, not square, and have VGG16's layer names, so that an answer with a
hard-coded layer, size or class count is found out and a check takes well under a second.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from labutils.course.exercise import Arrays, Case, Exercise, Verdict
from labutils.course.judging import (
    as_number,
    described,
    first_problem,
    passed,
    plain,
    same,
    verdict_on_array,
    wrong,
)

CONV_LAYERS = ("block1_conv1", "block4_conv3", "block5_conv3")
"""The tiny network's convolutions, from the image upwards; the names are VGG16's."""

_POOL = 32
"""So many photos are drawn for a network; the cases take those on which mistakes can be told apart."""

# ---------------------------------------------------------------------------------------------------------------------
# A tiny VGG: what the cases run on
# ---------------------------------------------------------------------------------------------------------------------


def _tiny_vgg(seed: int, height: int, width: int, classes: int, activation: str = "softmax", **_: Any) -> Any:
    """A small VGG-like Keras model with the same random weights for the same seed.

    Built anew at each call: an answer may spoil the model it was given, and the next check must not suffer from it.
    """
    import keras
    from keras import layers

    def conv(filters: int, name: str) -> Any:
        return layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)

    network = keras.Sequential(
        [
            layers.Input((height, width, 3)),
            conv(4, "block1_conv1"),
            layers.MaxPooling2D(name="block1_pool"),
            conv(5, "block4_conv3"),
            conv(6, "block5_conv3"),
            layers.MaxPooling2D(name="block5_pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(8, activation="relu", name="fc2"),
            layers.Dense(classes, activation=activation, name="predictions"),
        ]
    )
    rng = np.random.default_rng(seed)
    weights = []
    for weight in network.weights:
        fan_in = math.prod(weight.shape[:-1])
        scale = math.sqrt(2 / fan_in) if len(weight.shape) > 1 else 0.2
        weights.append(rng.normal(0, scale, weight.shape))
    weights[0] = weights[0] / 64  # the inputs are VGG16's: about -128 to 128
    network.set_weights(weights)
    return keras.Model(network.inputs[0], network.outputs[0])


def _photos(seed: int, count: int, height: int, width: int, taken: Sequence[int] | None = None, **_: Any) -> np.ndarray:
    """Random RGB photos with soft blobs of colour, uint8 of shape (count, height, width, 3).

    ``taken`` are the places of `count` photos in a pool of `_POOL`; None makes no more than `count`.
    """
    if taken is not None:
        return _photos(seed, _POOL, height, width)[np.asarray(taken)]
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed + 1)
    noise = gaussian_filter(rng.normal(size=(count, height, width, 3)), (0, 2, 2, 0))
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    return np.round(255 * noise * rng.uniform(0.5, 1, size=(count, 1, 1, 3))).astype(np.uint8)


def _preprocessed(photos: np.ndarray) -> np.ndarray:
    from labutils.vgg16 import preprocess_input

    return np.asarray(preprocess_input(photos.astype("float32")))


def _images(inputs: Mapping[str, Any]) -> np.ndarray:
    return _preprocessed(_photos(**inputs))


@functools.lru_cache(maxsize=4)
def _judges_network(seed: int, height: int, width: int, classes: int) -> Any:
    """The case's network as a judge uses it (no answer ever gets hold of it): every convolution, fc2 and the logits."""
    import keras

    network = _tiny_vgg(seed, height, width, classes, activation="linear")
    outputs = {name: network.get_layer(name).output for name in (*CONV_LAYERS, "fc2")}
    return keras.Model(network.input, {**outputs, "logits": network.output})


def _truth(inputs: Mapping[str, Any]) -> Any:
    return _judges_network(*(inputs[name] for name in ("seed", "height", "width", "classes")))


def _logits(inputs: Mapping[str, Any], images: np.ndarray) -> np.ndarray:
    return np.asarray(_truth(inputs)(images)["logits"])


def _classes(inputs: Mapping[str, Any], images: np.ndarray) -> np.ndarray:
    """For each image a class of the case's rank (1: the best) or just below, no two the same and never a top class."""
    rankings = np.argsort(-_logits(inputs, images), axis=1)
    taken: list[int] = []
    for ranking in rankings:
        taken.append(next(int(index) for index in ranking[inputs["rank"] - 1 :] if index not in taken))
    return np.array(taken)


def _parts(
    inputs: Mapping[str, Any],
    images: np.ndarray,
    score: Callable[[Any], Any],
    *,
    layer: str | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Feature maps of ``layer``, and the gradients of ``score(logits)`` by these maps and by the images."""
    import tensorflow as tf

    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = _truth(inputs)(images)
        total = tf.reduce_sum(score(outputs["logits"]))
    features = outputs[layer or inputs["layer"]]
    by_features, by_images = tape.gradient(total, [features, images])
    return features.numpy(), by_features.numpy(), by_images.numpy()


def _chosen(classes: np.ndarray) -> Callable[[Any], Any]:
    import tensorflow as tf

    return lambda logits: tf.gather(logits, np.asarray(classes), axis=1, batch_dims=1)


def _chosen_probability(classes: np.ndarray) -> Callable[[Any], Any]:
    import tensorflow as tf

    return lambda logits: tf.gather(tf.nn.softmax(logits), np.asarray(classes), axis=1, batch_dims=1)


def _network_inputs(rng: np.random.Generator, layer: str, count: int | None) -> dict[str, Any]:
    height, width = (int(side) for side in rng.choice([12, 16, 20, 24, 28], size=2, replace=False))
    return {
        "seed": int(rng.integers(1, 10_000)),
        "height": height,
        "width": width,
        "classes": int(rng.integers(8, 15)),
        "count": count or int(rng.integers(2, 4)),
        "rank": int(rng.integers(2, 4)),
        "layer": layer,
    }


def _tells_mistakes_apart(inputs: Mapping[str, Any], images: np.ndarray) -> np.ndarray:
    """Of each image, whether its weighted sum has its share of both signs at both layers, for its class and the best one.

    Where nothing is negative a missing ReLU cannot be seen, and where nothing is positive any map of zeros is right.
    """
    tells = np.ones(len(images), bool)
    ranking = np.argsort(-_logits(inputs, images), axis=1)
    for classes in (ranking[:, inputs["rank"] - 1], ranking[:, 0]):
        for layer in ("block4_conv3", "block5_conv3"):
            features, gradients, _ = _parts(inputs, images, _chosen(classes), layer=layer)
            total = _unrectified(features, gradients)
            tells &= np.minimum(np.mean(total > 0, axis=(1, 2)), np.mean(total < 0, axis=(1, 2))) >= 0.15
    return tells


def _telling_inputs(rng: np.random.Generator, layer: str, count: int | None) -> dict[str, Any]:
    """A network, and photos from its pool that tell mistakes apart and whose classes (`_classes`) all differ."""
    while True:
        inputs = _network_inputs(rng, layer, count)
        pool = _preprocessed(_photos(inputs["seed"], _POOL, inputs["height"], inputs["width"]))
        classes = np.argsort(-_logits(inputs, pool), axis=1)[:, inputs["rank"] - 1]
        telling = np.flatnonzero(_tells_mistakes_apart(inputs, pool))
        _, first = np.unique(classes[telling], return_index=True)
        if len(first) >= inputs["count"]:
            return inputs | {"taken": [int(place) for place in telling[np.sort(first)[: inputs["count"]]]]}


@functools.cache
def _network_cases(seed: int | None, *, count: int | None = None) -> list[Case]:
    """Tiny networks with photos: other sizes, class counts, ranks and layers for every seed; ``count`` photos or 2 to 3."""
    rng = np.random.default_rng(7 if seed is None else seed)
    cases = []
    for layer in ("block4_conv3", "block5_conv3"):
        inputs = _telling_inputs(rng, layer, count)
        name = f"{inputs['count']} photo(s) of {inputs['height']} x {inputs['width']}, layer {layer}"
        cases.append(Case(name, inputs))
    return cases


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def _bilinear(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Maps (n, h, w) at ``height`` x ``width``: bilinear, half-pixel centres, the border's value kept outside."""

    def along(length: int, wanted: int) -> np.ndarray:
        centres = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
        return _relu(1 - np.abs(centres[:, None] - np.arange(length)))  # (wanted, length): a hat at each old pixel

    return np.einsum("Hh,nhw,Ww->nHW", along(maps.shape[1], height), maps, along(maps.shape[2], width))


def _nearest(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = (np.arange(height) + 0.5) * maps.shape[1] // height
    columns = (np.arange(width) + 0.5) * maps.shape[2] // width
    return maps[:, rows.astype(int)][:, :, columns.astype(int)]


def _corner_aligned(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """What `scipy.ndimage.zoom` does as tf-keras-vis calls it: corner pixels on corner pixels."""
    from scipy.ndimage import zoom

    return zoom(maps, (1, height / maps.shape[1], width / maps.shape[2]), order=1)


SOFTMAX_LEFT_ON = "These are the gradients of the probability: the softmax is still between the score and the features."
CLASS_IGNORED = (
    "The map is that of each photo's top class, whatever class is asked for. Where does your code use `classes`?"
)
FIRST_CLASS = "Every photo is explained for the first photo's class. Each photo has its own entry in `classes`."
WRONG_LAYER = "The features come from another layer than the one asked for. Is a layer name written into the function?"

# ---------------------------------------------------------------------------------------------------------------------
# 02.logits
# ---------------------------------------------------------------------------------------------------------------------


def _logit_model(model: Any) -> Any:
    import keras

    last = model.layers[-1]
    logits = keras.layers.Dense(last.units, name="logits")
    outputs = logits(last.input)
    logits.set_weights(last.get_weights())
    return keras.Model(model.input, outputs)


def _logit_model_by_clone(model: Any) -> Any:
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.layers[-1].activation = keras.activations.linear
    return copy


def _logit_model_by_product(model: Any) -> Any:
    import keras

    kernel, bias = model.layers[-1].get_weights()
    below = keras.Model(model.input, model.layers[-1].input)
    return lambda images: np.asarray(below(images)) @ kernel + bias


def _log_of_probabilities(model: Any) -> Any:
    import tensorflow as tf

    return lambda images: tf.math.log(model(images))


def _logit_model_in_place(model: Any) -> Any:
    import keras

    model.layers[-1].activation = keras.activations.linear
    return model


def _logit_model_with_new_weights(model: Any) -> Any:
    import keras

    copy = keras.models.clone_model(model)
    copy.layers[-1].activation = keras.activations.linear
    return copy


def _one_layer_too_early(model: Any) -> Any:
    import keras

    return keras.Model(model.input, model.layers[-2].output)


def _logit_model_without_bias(model: Any) -> Any:
    import keras

    kernel, _ = model.layers[-1].get_weights()
    below = keras.Model(model.input, model.layers[-1].input)
    return lambda images: np.asarray(below(images)) @ kernel


def _collect_logits(answer: Any, case: Case) -> Arrays:
    images = _images(case.inputs)
    network = _tiny_vgg(**case.inputs)
    made = answer(network)
    arrays = {"made": type(made).__name__, "logits": None, "problem": ""}
    try:
        arrays["logits"] = plain(made(images.copy()))
    except Exception as error:  # what the answer made is the student's as well, and fails here and not in the answer
        arrays["problem"] = f"{type(error).__name__}: {error}"
    return {**arrays, "model_afterwards": plain(network(images))}


def _judge_logits(arrays: Arrays, case: Case) -> Verdict:
    if arrays["made"] == "NoneType":
        return wrong("`logit_model` returned None. Is a `return` missing?", "nothing_returned")
    if arrays["problem"]:
        return wrong(
            f"What `logit_model` returned (a {arrays['made']}) could not be called on a batch of images as a model "
            f"can: {arrays['problem']}",
            "not_a_model",
        )

    images = _images(case.inputs)
    logits = _logits(case.inputs, images)
    penultimate = np.asarray(_truth(case.inputs)(images)["fc2"])
    bias = _tiny_vgg(**case.inputs).layers[-1].get_weights()[1]
    mistakes = {
        "softmax_left_on": (
            _softmax(logits),
            "The new model still gives probabilities: its last layer still ends with the softmax.",
        ),
        "log_of_probabilities": (
            np.log(_softmax(logits)),
            "This is the logarithm of the probability, not the logit: it still holds the sum over all classes, so "
            "its gradient mixes in every other class.",
        ),
        "one_layer_too_early": (
            penultimate,
            "This is what goes into the last layer. The last layer's weights and bias belong to the logits; only its "
            "activation has to go.",
        ),
        "bias_forgotten": (logits - bias, "The last layer's bias is missing."),
    }
    verdict = verdict_on_array(
        arrays["logits"],
        logits,
        mistakes,
        what="The new model's output",
        axes="photos, classes",
        otherwise="The shape is right, but these are not this network's logits. Did the new layer or the copy get the "
        "trained weights? A fresh layer and a cloned model start with random ones.",
    )
    if not verdict.passed and not verdict.mistake and np.shape(arrays["logits"]) == logits.shape:
        return wrong(verdict.message, "weights_lost")
    if verdict.passed and not same(arrays["model_afterwards"], _softmax(logits)):
        return wrong(
            "The logits are right, but the model that was handed in has changed: it does not give probabilities any "
            "more, and every later cell would use the changed one.",
            "callers_model_changed",
        )
    return verdict


LOGITS = Exercise(
    id="02.logits",
    title="A model that gives logits",
    answer="logit_model",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "The last layer computes activation(input @ kernel + bias). Which of these parts turns logits into probabilities?",
        "`model.layers[-1].input` is the tensor that goes into the last layer. What layer could you put on it instead?",
        "Make a Dense layer of as many `units` without an activation, call it on that tensor, give it the weights of "
        "the old one (`get_weights`, `set_weights`), and build a `keras.Model` from `model.input` to its output.",
    ),
    cases=_network_cases,
    collect=_collect_logits,
    judge=_judge_logits,
    reference=lambda: _logit_model,
    wrong={
        "softmax_left_on": lambda: lambda model: model,
        "log_of_probabilities": lambda: _log_of_probabilities,
        "callers_model_changed": lambda: _logit_model_in_place,
        "weights_lost": lambda: _logit_model_with_new_weights,
        "one_layer_too_early": lambda: _one_layer_too_early,
        "bias_forgotten": lambda: _logit_model_without_bias,
        "not_a_model": lambda: lambda model: model.layers[-1].output,
        "nothing_returned": lambda: lambda model: None,
    },
    right={
        "clone and linear activation": lambda: _logit_model_by_clone,
        "NumPy product with the last layer's weights": lambda: _logit_model_by_product,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 02.features_and_gradients
# ---------------------------------------------------------------------------------------------------------------------


def _features_and_gradients(model: Any, images: Any, classes: Any, layer_name: str) -> tuple[Any, Any]:
    import keras
    import tensorflow as tf

    both = keras.Model(model.input, [model.get_layer(layer_name).output, model.output])
    images = tf.convert_to_tensor(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        features, logits = both(images)
        scores = tf.gather(logits, classes, axis=1, batch_dims=1)
    return features, tape.gradient(scores, features)


def _features_and_gradients_in_two_halves(model: Any, images: Any, classes: Any, layer_name: str) -> tuple[Any, Any]:
    import keras
    import tensorflow as tf

    layer = model.get_layer(layer_name)
    features = keras.Model(model.input, layer.output)(images)
    with tf.GradientTape() as tape:
        tape.watch(features)
        values = features
        for above in model.layers[model.layers.index(layer) + 1 :]:
            values = above(values)
        score = sum(values[photo, index] for photo, index in enumerate(classes))
    return features.numpy(), tape.gradient(score, features).numpy()


def _features_and_gradients_by_jacobian(model: Any, images: Any, classes: Any, layer_name: str) -> tuple[Any, Any]:
    import keras
    import tensorflow as tf

    both = keras.Model(model.input, [model.output, model.get_layer(layer_name).output])
    with tf.GradientTape(persistent=True) as tape:
        logits, features = both(images)
    jacobian = tape.batch_jacobian(logits, features, experimental_use_pfor=False)
    return features, tf.gather(jacobian, classes, axis=1, batch_dims=1)


def _features_and_gradients_with(
    *,
    layer: str | None = None,
    by_images: bool = False,
    finish: Callable[[Any, Any], Any] = lambda features, gradients: (features, gradients),
    score: Callable[[Any, Any], Any] | None = None,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(model: Any, images: Any, classes: Any, layer_name: str) -> Any:
        import keras
        import tensorflow as tf

        both = keras.Model(model.input, [model.get_layer(layer or layer_name).output, model.output])
        images = tf.convert_to_tensor(images)
        with tf.GradientTape() as tape:
            tape.watch(images)
            features, logits = both(images)
            scores = score(logits, classes) if score else tf.gather(logits, classes, axis=1, batch_dims=1)
        return finish(features, tape.gradient(scores, images if by_images else features))

    return answer


def _probability_of_class(logits: Any, classes: Any) -> Any:
    import tensorflow as tf

    return tf.gather(tf.nn.softmax(logits), classes, axis=1, batch_dims=1)


def _collect_features_and_gradients(answer: Any, case: Case) -> Arrays:
    images = _images(case.inputs)
    network = _tiny_vgg(**case.inputs, activation="linear")
    returned = plain(answer(network, images.copy(), _classes(case.inputs, images), case.inputs["layer"]))
    return {"returned": returned}


def _judge_features_and_gradients(arrays: Arrays, case: Case) -> Verdict:
    import tensorflow as tf

    returned = arrays["returned"]
    if returned is None:
        return wrong("`features_and_gradients` returned None. Is a `return` missing?", "nothing_returned")
    if not isinstance(returned, list) or len(returned) != 2:
        return wrong("Two things are asked for: return `features, gradients`.", "not_a_pair")
    if not isinstance(returned[0], np.ndarray):
        return wrong(f"`features` should be an array; it is {described(returned[0])}.", "not_an_array")
    if returned[1] is None:
        return wrong(
            "The gradient is None: on the way from the features to the score something happened outside the tape, or "
            "the score was not computed from these features.",
            "gradient_is_none",
        )
    inputs, images = case.inputs, _images(case.inputs)
    classes = _classes(inputs, images)
    features, gradients, by_images = _parts(inputs, images, _chosen(classes))
    if same(returned[0], gradients) and isinstance(returned[1], np.ndarray) and same(returned[1], features):
        return wrong("Features and gradients are both right, but in the other order.", "swapped")
    others = {layer: _parts(inputs, images, _chosen(classes), layer=layer) for layer in CONV_LAYERS}
    asked = inputs["layer"]
    axes = "photos, height, width, channels"
    for layer, (other, _, _) in others.items():
        if layer != asked and same(returned[0], other):
            return wrong(WRONG_LAYER, "wrong_layer")
    verdict = verdict_on_array(
        returned[0],
        features,
        {},
        what="`features`",
        axes=axes,
        otherwise="`features` are not what the layer gives for these images.",
    )
    if not verdict.passed:
        return verdict

    def gradient(score: Callable[[Any], Any]) -> np.ndarray:
        return _parts(inputs, images, score)[1]

    mistakes = {
        "by_the_images": (
            by_images,
            "This is the gradient with respect to the photo. Grad-CAM asks how the score changes with the layer's "
            "feature maps.",
        ),
        "softmax_left_on": (gradient(_chosen_probability(classes)), SOFTMAX_LEFT_ON),
        "class_ignored": (gradient(lambda logits: tf.reduce_max(logits, axis=1)), CLASS_IGNORED),
        "first_class_for_all": (gradient(lambda logits: logits[:, int(classes[0])]), FIRST_CLASS),
        "all_classes_summed": (
            gradient(lambda logits: logits),
            "This is the gradient of all the logits added up: no class has been picked out before asking the tape.",
        ),
        "absolute": (
            np.abs(gradients),
            "The sign of the gradient is lost. A negative gradient says that the channel speaks against the class.",
        ),
        "divided_by_batch": (
            gradients / len(images),
            "The gradients are too small by the number of photos: the score was averaged over the batch.",
        ),
    }
    return verdict_on_array(
        returned[1],
        gradients,
        mistakes,
        what="`gradients`",
        axes=axes,
        otherwise="`features` are right, `gradients` are not: they are not the derivative of each photo's own logit.",
    )


FEATURES_AND_GRADIENTS = Exercise(
    id="02.features_and_gradients",
    title="Feature maps and their gradients",
    answer="features_and_gradients",
    points=3,
    minutes=10,
    difficulty="hard",
    hints=(
        "You need two outputs of one forward pass: the layer's and the model's. A Keras model can have both.",
        "Run that model under `tf.GradientTape()`, and pick each photo's own score before leaving the tape: "
        "`tf.gather(logits, classes, axis=1, batch_dims=1)`.",
        "`keras.Model` takes a list of outputs: the layer's (`model.get_layer(...).output`) and `model.output`. Call that model "
        "inside the tape on images that the tape watches; then `tape.gradient(what, by_what)`.",
    ),
    cases=_network_cases,
    collect=_collect_features_and_gradients,
    judge=_judge_features_and_gradients,
    reference=lambda: _features_and_gradients,
    wrong={
        "by_the_images": lambda: _features_and_gradients_with(by_images=True),
        "softmax_left_on": lambda: _features_and_gradients_with(score=_probability_of_class),
        "class_ignored": lambda: _features_and_gradients_with(score=lambda logits, _: _maximum(logits)),
        "first_class_for_all": lambda: _features_and_gradients_with(score=lambda logits, chosen: logits[:, chosen[0]]),
        "all_classes_summed": lambda: _features_and_gradients_with(score=lambda logits, _: logits),
        "wrong_layer": lambda: _features_and_gradients_with(layer="block5_conv3"),
        "swapped": lambda: _features_and_gradients_with(finish=lambda features, gradients: (gradients, features)),
        "absolute": lambda: _features_and_gradients_with(finish=lambda features, gradients: (features, abs(gradients))),
        "divided_by_batch": lambda: _features_and_gradients_with(
            finish=lambda features, gradients: (features, gradients / features.shape[0])
        ),
        "gradient_is_none": lambda: _features_and_gradients_with(finish=lambda features, gradients: (features, None)),
        "not_a_pair": lambda: _features_and_gradients_with(finish=lambda features, gradients: gradients),
        "nothing_returned": lambda: _features_and_gradients_with(finish=lambda features, gradients: None),
    },
    right={
        "the network in two halves": lambda: _features_and_gradients_in_two_halves,
        "one row of the Jacobian": lambda: _features_and_gradients_by_jacobian,
    },
)


def _maximum(logits: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_max(logits, axis=1)


# ---------------------------------------------------------------------------------------------------------------------
# 02.pooled_gradients
# ---------------------------------------------------------------------------------------------------------------------


def _shape_cases(seed: int | None, *, what: str) -> list[Case]:
    """Shapes (photos, height, width, channels) in which no two lengths are the same."""
    rng = np.random.default_rng(5 if seed is None else seed)
    cases = []
    for count in (1, 3):
        height, width, channels = (int(n) for n in rng.choice(np.arange(4, 12), size=3, replace=False))
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [count, height, width, channels]}
        cases.append(Case(f"{what} of shape {tuple(inputs['shape'])}", inputs))
    return cases


def _random(inputs: Mapping[str, Any]) -> np.ndarray:
    return np.random.default_rng(inputs["seed"]).normal(size=inputs["shape"]).astype(np.float32)


def _pooled_gradients(gradients: Any) -> Any:
    return np.mean(gradients, axis=(1, 2))


def _pooled_in_loops(gradients: Any) -> Any:
    gradients = np.asarray(gradients)
    weights = np.zeros((gradients.shape[0], gradients.shape[-1]))
    for photo in range(gradients.shape[0]):
        for channel in range(gradients.shape[-1]):
            weights[photo, channel] = gradients[photo, :, :, channel].mean()
    return weights


def _pooled_by_keras(gradients: Any) -> Any:
    import keras

    return keras.layers.GlobalAveragePooling2D()(gradients)


def _judge_pooled(arrays: Arrays, case: Case) -> Verdict:
    gradients = _random(case.inputs)
    expected = gradients.mean(axis=(1, 2))
    mistakes = {
        "max_pooled": (gradients.max(axis=(1, 2)), "This is each channel's largest gradient; Grad-CAM takes the mean."),
        "summed": (
            gradients.sum(axis=(1, 2)),
            "This is the sum over the positions. The mean differs by their number, so that layers of different sizes "
            "could not be compared.",
        ),
        "wrong_axis": (
            gradients.mean(axis=-1),
            "You averaged over the channels and kept the positions. It is the other way round: one weight for each channel.",
        ),
        "batch_averaged": (
            gradients.mean(axis=(0, 1, 2)),
            "The photos are averaged together with the positions. That is harmless for one photo, wrong for a batch: "
            "each photo has its own weights.",
        ),
        "absolute": (np.abs(gradients).mean(axis=(1, 2)), "The signs are lost: a channel can speak against a class."),
        "relu_before_mean": (
            _relu(gradients).mean(axis=(1, 2)),
            "Negative gradients were set to 0 before the mean. In Grad-CAM the only ReLU comes at the end.",
        ),
        "one_axis_only": (
            gradients.mean(axis=1),
            "Only one of the two axes of the positions has gone; a weight is the mean over rows and columns.",
        ),
        "axes_kept": (
            gradients.mean(axis=(1, 2), keepdims=True),
            "The numbers are right; the two axes of length 1 that are left over have to go: (photos, channels).",
        ),
    }
    return verdict_on_array(
        arrays["weights"],
        expected,
        mistakes,
        what="The result",
        axes="photos, channels",
        otherwise="The shape is right, the numbers are not the means over the positions.",
    )


POOLED_GRADIENTS = Exercise(
    id="02.pooled_gradients",
    title="One weight for each channel",
    answer="pooled_gradients",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "The axes are (photos, height, width, channels). Which of them should be left in the result?",
        "`np.mean` and `tf.reduce_mean` take several axes at once.",
        "Average over the axes numbered 1 and 2, and over nothing else.",
    ),
    cases=lambda seed: _shape_cases(seed, what="gradients"),
    collect=lambda answer, case: {"weights": plain(answer(_random(case.inputs)))},
    judge=_judge_pooled,
    reference=lambda: _pooled_gradients,
    wrong={
        "max_pooled": lambda: lambda gradients: np.max(gradients, axis=(1, 2)),
        "summed": lambda: lambda gradients: np.sum(gradients, axis=(1, 2)),
        "wrong_axis": lambda: lambda gradients: np.mean(gradients, axis=-1),
        "batch_averaged": lambda: lambda gradients: np.mean(gradients, axis=(0, 1, 2)),
        "absolute": lambda: lambda gradients: np.mean(np.abs(gradients), axis=(1, 2)),
        "relu_before_mean": lambda: lambda gradients: np.mean(np.maximum(gradients, 0), axis=(1, 2)),
        "one_axis_only": lambda: lambda gradients: np.mean(gradients, axis=1),
        "axes_kept": lambda: lambda gradients: np.mean(gradients, axis=(1, 2), keepdims=True),
    },
    right={
        "loops": lambda: _pooled_in_loops,
        "Keras's global average pooling": lambda: _pooled_by_keras,
        "einsum": lambda: lambda gradients: np.einsum("nhwc->nc", gradients) / np.prod(np.shape(gradients)[1:3]),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 02.weighted_sum
# ---------------------------------------------------------------------------------------------------------------------


def _features_and_weights(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Feature maps as a ReLU leaves them, and weights of both signs."""
    weights = np.random.default_rng(inputs["seed"] + 1).normal(size=(inputs["shape"][0], inputs["shape"][-1]))
    return _relu(_random(inputs)), weights.astype(np.float32)


def _weighted_sum(features: Any, weights: Any) -> Any:
    maps = np.einsum("nhwk,nk->nhw", features, weights)
    return np.maximum(maps, 0)


def _weighted_sum_in_loops(features: Any, weights: Any) -> Any:
    features, weights = np.asarray(features), np.asarray(weights)
    maps = np.zeros(features.shape[:3])
    for photo in range(features.shape[0]):
        for channel in range(features.shape[-1]):
            maps[photo] += weights[photo, channel] * features[photo, :, :, channel]
    maps[maps < 0] = 0
    return maps


def _weighted_sum_in_tensorflow(features: Any, weights: Any) -> Any:
    import tensorflow as tf

    return tf.nn.relu(tf.reduce_sum(tf.multiply(weights[:, None, None, :], features), axis=-1))


def _judge_weighted_sum(arrays: Arrays, case: Case) -> Verdict:
    features, weights = _features_and_weights(case.inputs)
    products = weights[:, None, None, :] * features
    total = products.sum(axis=-1)
    expected = _relu(total)
    mistakes = {
        "relu_missing": (total, "The weighted sum is right, but negative values are still in it: the ReLU is missing."),
        "relu_before_sum": (
            _relu(products).sum(axis=-1),
            "The ReLU came before the sum, so that no channel could speak against the class. Add up first.",
        ),
        "absolute": (
            np.abs(total),
            "Negative values were made positive. What speaks against the class would look like what speaks for it.",
        ),
        "mean_not_sum": (_relu(products.mean(axis=-1)), "The channels are averaged; the formula has their sum."),
        "weights_ignored": (
            features.sum(axis=-1),
            "All channels count the same: the weights are not used, so the map would be the same for every class.",
        ),
        "first_photo_weights": (
            _relu((weights[0] * features).sum(axis=-1)),
            "The first photo's weights are used for every photo.",
        ),
        "not_summed": (_relu(products), "Every channel has its weight, but the channels have not been added up yet."),
    }
    return verdict_on_array(
        arrays["maps"],
        expected,
        mistakes,
        what="The result",
        axes="photos, height, width",
        otherwise="The shape is right, the numbers are not. Check that each channel meets its own weight.",
    )


WEIGHTED_SUM = Exercise(
    id="02.weighted_sum",
    title="Weighted sum and ReLU",
    answer="weighted_sum",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "Write down the shapes: features (n, h, w, k), weights (n, k), result (n, h, w). Which axis disappears?",
        "`np.einsum` says it in letters; or give the weights two axes of length 1, so that they multiply every position.",
        "Multiply `features` by `weights[:, None, None, :]`, sum over the last axis, then set what is negative to 0.",
    ),
    cases=lambda seed: _shape_cases(seed, what="features"),
    collect=lambda answer, case: {"maps": plain(answer(*_features_and_weights(case.inputs)))},
    judge=_judge_weighted_sum,
    reference=lambda: _weighted_sum,
    wrong={
        "relu_missing": lambda: lambda features, weights: np.einsum("nhwk,nk->nhw", features, weights),
        "relu_before_sum": lambda: (
            lambda features, weights: np.einsum("nhwk,nk->nhw", features, np.maximum(weights, 0))
        ),
        "absolute": lambda: lambda features, weights: np.abs(np.einsum("nhwk,nk->nhw", features, weights)),
        "mean_not_sum": lambda: (
            lambda features, weights: np.maximum(np.mean(features * weights[:, None, None, :], axis=-1), 0)
        ),
        "weights_ignored": lambda: lambda features, weights: np.maximum(np.sum(features, axis=-1), 0),
        "first_photo_weights": lambda: lambda features, weights: np.maximum(features @ weights[0], 0),
        "not_summed": lambda: lambda features, weights: np.maximum(features * weights[:, None, None, :], 0),
    },
    right={
        "loops": lambda: _weighted_sum_in_loops,
        "TensorFlow": lambda: _weighted_sum_in_tensorflow,
        "a matrix product for each photo": lambda: (
            lambda features, weights: np.stack(
                [np.clip(f @ w, 0, None) for f, w in zip(features, weights, strict=True)]
            )
        ),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 02.scale
# ---------------------------------------------------------------------------------------------------------------------


def _scale(maps: Any) -> Any:
    maps = np.asarray(maps)
    peaks = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, peaks, out=np.zeros_like(maps), where=peaks > 0)


def _scale_in_loop(maps: Any) -> Any:
    return np.stack([one / one.max() if one.max() > 0 else one for one in np.asarray(maps)])


def _scale_in_tensorflow(maps: Any) -> Any:
    import tensorflow as tf

    return tf.math.divide_no_nan(maps, tf.reduce_max(maps, axis=(1, 2), keepdims=True))


def _scale_in_place(maps: Any) -> Any:
    for one in maps:
        if one.max() > 0:
            one /= one.max()
    return maps


def _scale_quietly(divisor: Callable[[np.ndarray], np.ndarray], subtract_minimum: bool = False) -> Callable:
    def answer(maps: Any) -> Any:
        maps = np.asarray(maps)
        lowest = maps.min(axis=(1, 2), keepdims=True) if subtract_minimum else 0.0
        with np.errstate(all="ignore"):
            return (maps - lowest) / divisor(maps)

    return answer


def _peaks(maps: np.ndarray) -> np.ndarray:
    peaks = maps.max(axis=(1, 2), keepdims=True)
    return np.where(peaks > 0, peaks, 1)


def _scale_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(3 if seed is None else seed)

    def case(name: str, peaks: list[float]) -> Case:
        shape = [len(peaks), *(int(n) for n in rng.choice(np.arange(4, 12), size=2, replace=False))]
        return Case(name, {"seed": int(rng.integers(1, 10_000)), "shape": shape, "peaks": peaks})

    large, small = (float(round(x, 2)) for x in (rng.uniform(5, 90), rng.uniform(0.2, 0.8)))
    return [
        case("maps with different peaks", [large, small, 1.5]),
        case("a map that is zero everywhere", [large, 0.0]),
        case("a map of very small values", [small, small * 1e-7]),
    ]


def _scale_maps(inputs: Mapping[str, Any]) -> np.ndarray:
    """Maps that are nowhere negative, nowhere quite zero, with the case's peaks."""
    maps = np.random.default_rng(inputs["seed"]).uniform(0.2, 1, size=inputs["shape"])
    maps /= maps.max(axis=(1, 2), keepdims=True)
    return (maps * np.reshape(inputs["peaks"], (-1, 1, 1))).astype(np.float32)


def _collect_scale(answer: Any, case: Case) -> Arrays:
    maps = _scale_maps(case.inputs)
    return {"scaled": plain(answer(maps)), "input_afterwards": plain(maps)}


def _judge_scale(arrays: Arrays, case: Case) -> Verdict:
    maps, scaled = _scale_maps(case.inputs), arrays["scaled"]
    expected = _scale(maps)
    usable = isinstance(scaled, np.ndarray) and scaled.shape == maps.shape and scaled.dtype.kind == "f"
    if usable and not np.isfinite(scaled).all():
        return wrong(
            "A map that is zero everywhere came back as NaN: 0 was divided by 0. It should stay zero: this layer "
            "holds no evidence for that class, and that is a result.",
            "divided_by_zero",
        )
    lowest = maps.min(axis=(1, 2), keepdims=True)
    mistakes = {
        "minimum_subtracted": (
            (maps - lowest) / _peaks(maps - lowest),
            "The minimum was subtracted. In a Grad-CAM map 0 means `no evidence`, and it should stay where it is: "
            "only the peak goes to 1.",
        ),
        "batch_maximum": (
            maps / maps.max(),
            "All maps are divided by the largest value of the whole batch. Each map has a peak of its own.",
        ),
        "sum_to_one": (
            expected / np.maximum(expected.sum(axis=(1, 2), keepdims=True), 1),
            "Each map now sums to 1; asked for is a largest value of 1.",
        ),
        "up_to_255": (255 * expected, "The largest value is 255. Scale to 1; colours come later."),
    }
    verdict = verdict_on_array(
        scaled,
        expected,
        mistakes,
        what="The result",
        axes="photos, height, width",
        otherwise="The shape is right, the numbers are not: each map should keep its shape and peak at 1.",
    )
    if verdict.passed and not same(arrays["input_afterwards"], maps):
        return wrong(
            "The scaled maps are right, but the array that was handed in has changed as well: the raw values are lost "
            "to whoever needs them later.",
            "input_changed",
        )
    if usable and not verdict.passed and not verdict.mistake and same(scaled, expected * _tops(scaled)):
        return wrong(
            "The map has its right shape but does not reach 1. If a small number was added to the divisor against "
            "division by zero: it is not small beside every map. Treat the zero map as a case of its own.",
            "epsilon_shrinks",
        )
    return verdict


def _tops(maps: np.ndarray) -> np.ndarray:
    return maps.max(axis=(1, 2), keepdims=True)


SCALE = Exercise(
    id="02.scale",
    title="Scale to [0, 1]",
    answer="scale_maps",
    points=2,
    minutes=5,
    difficulty="medium",
    hints=(
        "The smallest value that a Grad-CAM map can have is 0, and it has a meaning. What is left to be scaled?",
        "`maps.max(axis=(1, 2), keepdims=True)` is one peak a photo. What happens where a peak is 0?",
        "`np.divide(maps, peaks, out=np.zeros_like(maps), where=...)` divides only where a condition holds; a loop "
        "with an `if` does as well.",
    ),
    cases=_scale_cases,
    collect=_collect_scale,
    judge=_judge_scale,
    reference=lambda: _scale,
    wrong={
        "divided_by_zero": lambda: _scale_quietly(_tops),
        "minimum_subtracted": lambda: _scale_quietly(
            lambda maps: _peaks(maps - maps.min(axis=(1, 2), keepdims=True)), subtract_minimum=True
        ),
        "batch_maximum": lambda: _scale_quietly(lambda maps: maps.max()),
        "epsilon_shrinks": lambda: _scale_quietly(lambda maps: _tops(maps) + 1e-7),
        "sum_to_one": lambda: _scale_quietly(lambda maps: maps.sum(axis=(1, 2), keepdims=True)),
        "up_to_255": lambda: _scale_quietly(lambda maps: _peaks(maps) / 255),
        "input_changed": lambda: _scale_in_place,
    },
    right={
        "a loop with an if": lambda: _scale_in_loop,
        "TensorFlow's divide_no_nan": lambda: _scale_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 02.resize
# ---------------------------------------------------------------------------------------------------------------------


def _resize(maps: Any, height: int, width: int) -> Any:
    import tensorflow as tf

    return tf.image.resize(np.asarray(maps)[..., None], (height, width), method="bilinear")[..., 0].numpy()


def _resize_with_skimage(maps: Any, height: int, width: int) -> Any:
    from skimage.transform import resize

    return np.stack(
        [resize(np.asarray(one), (height, width), order=1, mode="edge", anti_aliasing=False) for one in maps]
    )


def _resize_with_scipy(maps: Any, height: int, width: int) -> Any:
    from scipy.ndimage import zoom

    maps = np.asarray(maps)
    factors = (1, height / maps.shape[1], width / maps.shape[2])
    return zoom(maps, factors, order=1, mode="nearest", grid_mode=True)


def _resize_by(method: str, *, swapped: bool = False) -> Callable:
    def answer(maps: Any, height: int, width: int) -> Any:
        import tensorflow as tf

        size = (width, height) if swapped else (height, width)
        return tf.image.resize(np.asarray(maps)[..., None], size, method=method)[..., 0].numpy()

    return answer


def _resize_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(4 if seed is None else seed)
    cases = []
    for count in (1, 2):
        height, width = (int(n) for n in rng.choice(np.arange(4, 10), size=2, replace=False))
        larger = [height * int(rng.integers(3, 6)) + 1, width * int(rng.integers(3, 6)) + 2]
        if larger[0] == larger[1]:
            larger[1] += 3  # a swap of height and width must show
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [count, height, width], "larger": larger}
        cases.append(Case(f"{count} map(s) of {height} x {width} to {larger[0]} x {larger[1]}", inputs))
    return cases


def _copies_of(maps: np.ndarray, found: Any, height: int, width: int) -> np.ndarray:
    """The nearest-pixel result that ``found`` may be: libraries round ties their own way, but all copy values."""
    if isinstance(found, np.ndarray) and found.dtype.kind == "f" and np.isin(found, maps).all():
        return found
    return _nearest(maps, height, width)


def _judge_resize(arrays: Arrays, case: Case) -> Verdict:
    maps, (height, width) = _relu(_random(case.inputs)), case.inputs["larger"]
    mistakes = {
        "nearest": (
            _copies_of(maps, arrays["maps"], height, width),
            "The map consists of blocks: each new pixel copies its nearest old one. Interpolate between them.",
        ),
        "height_width_swapped": (
            _bilinear(maps, width, height),
            "Height and width are swapped. A 224 x 224 photo would not have shown it.",
        ),
        "transposed": (
            _bilinear(maps.swapaxes(1, 2), height, width),
            "The result has the right size, but the map lies on its side: rows became columns.",
        ),
        "corners_aligned": (
            _corner_aligned(maps, height, width),
            "The corner pixels were laid on one another, so that everything in between is shifted by up to half a cell. "
            "A cell of the map covers an area of the photo; line up the areas (half-pixel centres).",
        ),
        "bicubic": (
            _resize_by("bicubic")(maps, height, width),
            "This is bicubic interpolation, which overshoots: there are negative values now. Use bilinear.",
        ),
    }
    return verdict_on_array(
        arrays["maps"],
        _bilinear(maps, height, width),
        mistakes,
        what="The result",
        axes="photos, height, width",
        otherwise="The size is right, the values are not those of bilinear interpolation.",
    )


RESIZE = Exercise(
    id="02.resize",
    title="Resize to the photo",
    answer="resize_maps",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "Which function of TensorFlow or scikit-image resizes images? What shape does it want?",
        "`tf.image.resize` takes (n, h, w, colours): give the maps a last axis of length 1, and take it away afterwards.",
        'Its second argument is (height, width), in this order, and `method="bilinear"` is its default.',
    ),
    cases=_resize_cases,
    collect=lambda answer, case: {"maps": plain(answer(_relu(_random(case.inputs)), *case.inputs["larger"]))},
    judge=_judge_resize,
    reference=lambda: _resize,
    wrong={
        "nearest": lambda: _resize_by("nearest"),
        "height_width_swapped": lambda: _resize_by("bilinear", swapped=True),
        "transposed": lambda: lambda maps, height, width: _resize(np.swapaxes(maps, 1, 2), height, width),
        "corners_aligned": lambda: _corner_aligned,
        "bicubic": lambda: _resize_by("bicubic"),
    },
    right={
        "scikit-image": lambda: _resize_with_skimage,
        "SciPy with grid_mode": lambda: _resize_with_scipy,
        "two matrices of hat functions": lambda: _bilinear,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 02.overlay
# ---------------------------------------------------------------------------------------------------------------------

OVERLAY_LEVELS = 3.5
"""Rounding, truncating, and a colour map looked up by 8-bit numbers differ by three grey levels of 255 at most."""


def _colours(heatmap: np.ndarray, name: str = "inferno") -> np.ndarray:
    """Colours (height, width, 3), 0 to 255, as floats."""
    from matplotlib import colormaps

    return 255 * colormaps[name](heatmap)[..., :3]


def _overlay(photo: Any, heatmap: Any, alpha: float) -> Any:
    blended = (1 - alpha) * photo + alpha * _colours(heatmap)
    return np.round(blended).astype("uint8")


def _overlay_with_pillow(photo: Any, heatmap: Any, alpha: float) -> Any:
    from PIL import Image

    colours = Image.fromarray(_colours(heatmap).astype("uint8"))
    return np.asarray(Image.blend(Image.fromarray(photo), colours, alpha))


def _overlay_in_unit_range(photo: Any, heatmap: Any, alpha: float) -> Any:
    from matplotlib import colormaps
    from skimage.util import img_as_float, img_as_ubyte

    return img_as_ubyte(img_as_float(photo) * (1 - alpha) + colormaps["inferno"](heatmap)[:, :, :3] * alpha)


def _overlay_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(6 if seed is None else seed)
    cases = []
    for _ in range(2):
        height, width = (int(n) for n in rng.choice(np.arange(14, 30), size=2, replace=False))
        alpha = float(rng.choice([0.3, 0.4, 0.6, 0.7]))
        inputs = {"seed": int(rng.integers(1, 10_000)), "height": height, "width": width, "alpha": alpha}
        cases.append(Case(f"a photo of {height} x {width}, alpha {alpha}", inputs))
    return cases


def _photo_and_heatmap(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    photo = _photos(inputs["seed"], 1, inputs["height"], inputs["width"])[0]
    small = np.random.default_rng(inputs["seed"]).uniform(size=(1, 4, 5))
    heatmap = _bilinear(small, inputs["height"], inputs["width"])[0]
    heatmap = ((heatmap - heatmap.min()) / (heatmap.max() - heatmap.min())).astype(np.float32)
    photo[heatmap > 0.8] = 255  # white under bright colours: only there do sums pass 255, whatever the draw
    return photo, heatmap


def _collect_overlay(answer: Any, case: Case) -> Arrays:
    photo, heatmap = _photo_and_heatmap(case.inputs)
    return {"overlay": plain(answer(photo, heatmap, case.inputs["alpha"]))}


def _judge_overlay(arrays: Arrays, case: Case) -> Verdict:
    photo, heatmap = _photo_and_heatmap(case.inputs)
    alpha, colours = case.inputs["alpha"], _colours(heatmap)
    expected = (1 - alpha) * photo + alpha * colours
    found = arrays["overlay"]
    grey = np.repeat(255 * heatmap[..., None], 3, axis=-1)
    mistakes = {
        "colours_not_scaled": (
            (1 - alpha) * photo + alpha * colours / 255,
            "The heatmap is hardly there: the colour map gives colours from 0 to 1, the photo goes to 255.",
        ),
        "alpha_swapped": (
            alpha * photo + (1 - alpha) * colours,
            "`alpha` is the heatmap's share; here the photo gets it.",
        ),
        "photo_not_weighted": (
            np.minimum(photo + alpha * colours, 255),
            "The heatmap was added to the full photo, so that bright places burn out at 255. Blend: the two shares sum to 1.",
        ),
        "overflow": (
            (photo + (alpha * colours).astype("uint8")).astype(float),
            "uint8 has wrapped around: 200 + 100 gives 44 there. Compute in floats, convert at the end.",
        ),
        "no_colour_map": (
            (1 - alpha) * photo + alpha * grey,
            "The heatmap is blended in grey. Send it through the colour map `inferno` first.",
        ),
        "red_blue_swapped": (
            (1 - alpha) * photo[..., ::-1] + alpha * colours,
            "Red and blue of the photo are swapped: BGR is for the network, people and PNG files want RGB.",
        ),
        "alpha_channel_kept": (
            np.concatenate([expected, np.full((*heatmap.shape, 1), 255.0)], axis=-1),
            "There are four channels: colour maps give red, green, blue and opacity. Leave the last one out.",
        ),
        "photo_only": (photo.astype(float), "This is the photo itself, without any heatmap."),
        "colours_only": (colours, "This is the heatmap in colours, without the photo."),
    }
    for name in ("jet", "viridis", "turbo", "hot", "plasma", "magma"):
        mistakes[f"colour_map_{name}"] = (
            (1 - alpha) * photo + alpha * _colours(heatmap, name),
            f"This is the colour map `{name}`; asked for is `inferno`.",
        )
    if _levels_apart(found, expected) <= OVERLAY_LEVELS and found.dtype == np.uint8:
        return passed()
    if min(_levels_apart(found, expected), _levels_apart(found, expected / 255) * 255) <= OVERLAY_LEVELS:
        return wrong(
            f"The colours are right, but as {found.dtype} from {found.min():.2f} to {found.max():.2f}; a PNG file needs "
            "whole numbers from 0 to 255: uint8.",
            "not_uint8",
        )
    distances = {name: _levels_apart(found, twin) for name, (twin, _) in mistakes.items()}
    nearest = min(distances, key=distances.__getitem__)
    if distances[nearest] <= OVERLAY_LEVELS:
        return wrong(mistakes[nearest][1], nearest)
    return first_problem(found, expected.shape, what="The result", axes="height, width, colours", kinds="u") or wrong(
        "Shape and dtype are right, but this is not (1 - alpha) parts of photo and alpha parts of coloured heatmap."
    )


def _levels_apart(found: Any, twin: np.ndarray) -> float:
    """The largest difference, in grey levels; infinite where the shapes differ or there are no numbers."""
    if not isinstance(found, np.ndarray) or found.shape != twin.shape:
        return math.inf
    return float(np.abs(found.astype(float) - twin).max())


def _overlay_with(
    blend: Callable[[np.ndarray, np.ndarray, float], np.ndarray], colour_map: str = "inferno"
) -> Callable:
    """A student's answer with something wrong in it: ``blend(photo, colours, alpha)``, colours from 0 to 1, RGBA."""

    def answer(photo: Any, heatmap: Any, alpha: float) -> Any:
        from matplotlib import colormaps

        return blend(np.asarray(photo), colormaps[colour_map](heatmap), alpha)

    return answer


OVERLAY = Exercise(
    id="02.overlay",
    title="Lay the map over the photo",
    answer="overlay",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        '`matplotlib.colormaps["inferno"](heatmap)` gives colours. Print its shape and its largest value.',
        "It gives (H, W, 4) from 0 to 1. Bring colours and photo to the same range before you mix them.",
        '`(1 - alpha) * photo + alpha * colours`, both (H, W, 3) from 0 to 255; round, then `.astype("uint8")`.',
    ),
    cases=_overlay_cases,
    collect=_collect_overlay,
    judge=_judge_overlay,
    reference=lambda: _overlay,
    wrong={
        "colours_not_scaled": lambda: _overlay_with(
            lambda photo, colours, alpha: ((1 - alpha) * photo + alpha * colours[..., :3]).astype("uint8")
        ),
        "alpha_swapped": lambda: _overlay_with(
            lambda photo, colours, alpha: (alpha * photo + (1 - alpha) * 255 * colours[..., :3]).astype("uint8")
        ),
        "photo_not_weighted": lambda: _overlay_with(
            lambda photo, colours, alpha: np.clip(photo + alpha * 255 * colours[..., :3], 0, 255).astype("uint8")
        ),
        "overflow": lambda: _overlay_with(
            lambda photo, colours, alpha: photo + (alpha * 255 * colours[..., :3]).astype("uint8")
        ),
        "no_colour_map": lambda: (
            lambda photo, heatmap, alpha: ((1 - alpha) * photo + alpha * 255 * heatmap[..., None]).astype("uint8")
        ),
        "red_blue_swapped": lambda: _overlay_with(
            lambda photo, colours, alpha: ((1 - alpha) * photo[..., ::-1] + alpha * 255 * colours[..., :3]).astype(
                "uint8"
            )
        ),
        "alpha_channel_kept": lambda: _overlay_with(
            lambda photo, colours, alpha: (
                (1 - alpha) * np.dstack([photo, np.full(photo.shape[:2], 255)]) + alpha * 255 * colours
            ).astype("uint8")
        ),
        "colour_map_jet": lambda: _overlay_with(
            lambda photo, colours, alpha: ((1 - alpha) * photo + alpha * 255 * colours[..., :3]).astype("uint8"), "jet"
        ),
        "not_uint8": lambda: _overlay_with(
            lambda photo, colours, alpha: (1 - alpha) * photo / 255 + alpha * colours[..., :3]
        ),
        "photo_only": lambda: lambda photo, heatmap, alpha: photo,
    },
    right={
        "Pillow's blend": lambda: _overlay_with_pillow,
        "floats from 0 to 1, then scikit-image": lambda: _overlay_in_unit_range,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 02.grad_cam
# ---------------------------------------------------------------------------------------------------------------------


def _grad_cam(model: Any, images: Any, classes: Any, layer_name: str) -> Any:
    features, gradients = _features_and_gradients(_logit_model(model), images, classes, layer_name)
    weights = np.mean(gradients, axis=(1, 2))
    maps = np.maximum(np.einsum("nhwk,nk->nhw", features, weights), 0)
    return _resize(maps, images.shape[1], images.shape[2])


def _grad_cam_in_a_loop(model: Any, images: Any, classes: Any, layer_name: str) -> Any:
    from skimage.transform import resize

    logits = _logit_model_by_clone(model)
    maps = []
    for image, index in zip(images, classes, strict=True):
        features, gradients = _features_and_gradients_in_two_halves(logits, image[None], [index], layer_name)
        small = np.clip((features[0] * gradients[0].mean(axis=(0, 1))).sum(axis=-1), 0, None)
        maps.append(resize(small, image.shape[:2], order=1, mode="edge", anti_aliasing=False))
    return np.stack(maps)


def _grad_cam_in_tensorflow(model: Any, images: Any, classes: Any, layer_name: str) -> Any:
    import tensorflow as tf

    features, gradients = _features_and_gradients_by_jacobian(_logit_model(model), images, classes, layer_name)
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1, keepdims=True))
    return tf.squeeze(tf.image.resize(maps, images.shape[1:3]), axis=-1)


def _grad_cam_with(
    *,
    softmax: bool = False,
    first_class: bool = False,
    top_class: bool = False,
    layer: str | None = None,
    combine: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    resize: Callable[[np.ndarray, int, int], np.ndarray] | None = None,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(model: Any, images: Any, classes: Any, layer_name: str) -> Any:
        if top_class:
            classes = np.argmax(model(images), axis=1)
        if first_class:
            classes = [classes[0]] * len(images)
        score_model = model if softmax else _logit_model(model)
        features, gradients = (
            np.asarray(part) for part in _features_and_gradients(score_model, images, classes, layer or layer_name)
        )
        maps = (combine or _cam_of_parts)(features, gradients)
        return (resize or _bilinear)(maps, images.shape[1], images.shape[2])

    return answer


def _cam_of_parts(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    return _relu(np.einsum("nhwk,nk->nhw", features, gradients.mean(axis=(1, 2))))


def _unrectified(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    return np.einsum("nhwk,nk->nhw", features, gradients.mean(axis=(1, 2)))


def _max_pooled_cam(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    return _relu(np.einsum("nhwk,nk->nhw", features, gradients.max(axis=(1, 2))))


def _not_pooled_cam(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    return _relu((features * gradients).sum(axis=-1))


def _relu_before_sum_cam(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    return np.einsum("nhwk,nk->nhw", features, _relu(gradients.mean(axis=(1, 2))))


def _grad_cam_mistakes(inputs: Mapping[str, Any], images: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    """What each mistake gives for the whole of Grad-CAM; `"right"` is among them, without a sentence."""
    height, width = images.shape[1:3]
    logits = _logits(inputs, images)
    classes = _classes(inputs, images)

    def large(small: np.ndarray) -> np.ndarray:
        return _bilinear(small, height, width)

    def of(score: Callable[[Any], Any], layer: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        return _parts(inputs, images, score, layer=layer)[:2]

    parts = of(_chosen(classes))
    small = _cam_of_parts(*parts)
    mistakes = {
        "softmax_left_on": (large(_cam_of_parts(*of(_chosen_probability(classes)))), SOFTMAX_LEFT_ON),
        "class_ignored": (large(_cam_of_parts(*of(_chosen(logits.argmax(axis=1))))), CLASS_IGNORED),
        "first_class_for_all": (large(_cam_of_parts(*of(_chosen([classes[0]] * len(images))))), FIRST_CLASS),
        "relu_missing": (large(_unrectified(*parts)), "There are negative values left: the ReLU is missing."),
        "absolute": (
            large(np.abs(_unrectified(*parts))),
            "Negative values were made positive. What speaks against the class now looks like evidence for it.",
        ),
        "relu_before_sum": (
            large(_relu_before_sum_cam(*parts)),
            "The ReLU came before the sum, so that no channel could speak against the class.",
        ),
        "relu_after_resize": (
            _relu(large(_unrectified(*parts))),
            "Almost: the ReLU belongs before the resizing. Otherwise negative neighbours eat into the positive ones.",
        ),
        "max_pooled": (
            large(_max_pooled_cam(*parts)),
            "The weights are the largest gradient of each channel; Grad-CAM takes the mean over the positions.",
        ),
        "not_pooled": (
            large(_not_pooled_cam(*parts)),
            "Features and gradients were multiplied position by position. Grad-CAM first averages each channel's "
            "gradient over the positions: one weight for each channel.",
        ),
        "weights_ignored": (
            large(parts[0].sum(axis=-1)),
            "This is the sum of the feature maps: without the weights, every class has the same map.",
        ),
        "not_resized": (small, "The map still has the layer's size; it should have the photo's."),
        "nearest": (
            _nearest(small, height, width),
            "The map consists of blocks: it was enlarged without interpolation.",
        ),
        "corners_aligned": (
            _corner_aligned(small, height, width),
            "The map was enlarged with corner pixels laid on one another, which shifts it by up to half a cell.",
        ),
        "already_scaled": (
            _scale(large(small)),
            "The map is scaled to 1. Return raw values: scaled maps of two classes cannot be compared any more.",
        ),
    }
    for layer in CONV_LAYERS:
        if layer != inputs["layer"]:
            mistakes[f"wrong_layer_{layer}"] = (large(_cam_of_parts(*of(_chosen(classes), layer))), WRONG_LAYER)
    return mistakes


def _expected_grad_cam(inputs: Mapping[str, Any], images: np.ndarray) -> np.ndarray:
    parts = _parts(inputs, images, _chosen(_classes(inputs, images)))[:2]
    return _bilinear(_cam_of_parts(*parts), *images.shape[1:3])


def _collect_grad_cam(answer: Any, case: Case) -> Arrays:
    images = _images(case.inputs)
    network = _tiny_vgg(**case.inputs)
    classes = _classes(case.inputs, images)
    return {"maps": plain(answer(network, images.copy(), classes, case.inputs["layer"]))}


def _judge_grad_cam(arrays: Arrays, case: Case) -> Verdict:
    images = _images(case.inputs)
    found, expected = arrays["maps"], _expected_grad_cam(case.inputs, images)
    if isinstance(found, np.ndarray) and found.ndim == 2:
        return wrong("One map came back for a batch of photos; asked for is one map for each of them.", "batch_ignored")
    mistakes = {} if same(found, expected) else _grad_cam_mistakes(case.inputs, images)
    verdict = verdict_on_array(
        found,
        expected,
        mistakes,
        what="The result",
        axes="photos, height, width",
        otherwise="The shape is right, the numbers are not. Check the steps one by one: each has its own check above.",
    )
    return wrong(verdict.message, "wrong_layer") if verdict.mistake.startswith("wrong_layer") else verdict


GRAD_CAM = Exercise(
    id="02.grad_cam",
    title="Grad-CAM in one function",
    answer="grad_cam",
    points=4,
    minutes=8,
    difficulty="medium",
    hints=(
        "You have every part already: `logit_model`, `features_and_gradients`, `pooled_gradients`, `weighted_sum`, "
        "`resize_maps`. In which order do they come?",
        "The network that is handed in ends with a softmax. What has to happen before you ask for gradients?",
        "logit model, features and gradients, one weight for each channel, weighted sum with ReLU, resize to "
        "`images.shape[1:3]`. Do not scale.",
    ),
    cases=_network_cases,
    collect=_collect_grad_cam,
    judge=_judge_grad_cam,
    reference=lambda: _grad_cam,
    wrong={
        "softmax_left_on": lambda: _grad_cam_with(softmax=True),
        "class_ignored": lambda: _grad_cam_with(top_class=True),
        "first_class_for_all": lambda: _grad_cam_with(first_class=True),
        "relu_missing": lambda: _grad_cam_with(combine=_unrectified),
        "absolute": lambda: _grad_cam_with(combine=lambda f, g: np.abs(_unrectified(f, g))),
        "relu_before_sum": lambda: _grad_cam_with(combine=_relu_before_sum_cam),
        "relu_after_resize": lambda: _grad_cam_with(
            combine=_unrectified, resize=lambda m, h, w: _relu(_bilinear(m, h, w))
        ),
        "max_pooled": lambda: _grad_cam_with(combine=_max_pooled_cam),
        "not_pooled": lambda: _grad_cam_with(combine=_not_pooled_cam),
        "weights_ignored": lambda: _grad_cam_with(combine=lambda f, g: f.sum(axis=-1)),
        "wrong_layer": lambda: _grad_cam_with(layer="block5_conv3"),
        "not_resized": lambda: _grad_cam_with(resize=lambda m, h, w: m),
        "nearest": lambda: _grad_cam_with(resize=_nearest),
        "corners_aligned": lambda: _grad_cam_with(resize=_corner_aligned),
        "already_scaled": lambda: _grad_cam_with(resize=lambda m, h, w: _scale(_bilinear(m, h, w))),
        "batch_ignored": lambda: _grad_cam_with(resize=lambda m, h, w: _bilinear(m, h, w)[0]),
    },
    right={
        "photo by photo, scikit-image": lambda: _grad_cam_in_a_loop,
        "TensorFlow and the Jacobian": lambda: _grad_cam_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 02.library
# ---------------------------------------------------------------------------------------------------------------------


def _library_grad_cam(model: Any, images: Any, classes: Any) -> Any:
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    gradcam = Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)
    return gradcam(CategoricalScore([int(index) for index in classes]), images)


def _library_with(
    *, linear: bool = True, clone: bool = True, score: Callable[[Any, Any, Any], Any] | None = None, **options: Any
) -> Callable:
    """A student's answer; ``score(model, images, classes)`` gives what tf-keras-vis takes as its score."""

    def answer(model: Any, images: Any, classes: Any) -> Any:
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
        from tf_keras_vis.utils.scores import CategoricalScore

        made = score(model, images, classes) if score else CategoricalScore([int(index) for index in classes])
        return Gradcam(model, model_modifier=ReplaceToLinear() if linear else None, clone=clone)(
            made, images, **options
        )

    return answer


def _top_class_score(model: Any, images: Any, classes: Any) -> Any:
    from tf_keras_vis.utils.scores import CategoricalScore

    return CategoricalScore([int(index) for index in np.argmax(model(images), axis=1)])


def _first_class_score(model: Any, images: Any, classes: Any) -> Any:
    from tf_keras_vis.utils.scores import CategoricalScore

    return CategoricalScore(int(classes[0]))


def _score_function(model: Any, images: Any, classes: Any) -> Any:
    return lambda output: [output[photo, int(index)] for photo, index in enumerate(classes)]


def _library_photo_by_photo(model: Any, images: Any, classes: Any) -> Any:
    return np.concatenate([_library_grad_cam(model, images[i : i + 1], classes[i : i + 1]) for i in range(len(images))])


def _library_on_own_logits(model: Any, images: Any, classes: Any) -> Any:
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.scores import CategoricalScore

    return Gradcam(_logit_model(model))(CategoricalScore([int(index) for index in classes]), images)


def _as_the_library_scales(maps: np.ndarray) -> np.ndarray:
    lowest = maps.min(axis=(1, 2), keepdims=True)
    return (maps - lowest) / (maps.max(axis=(1, 2), keepdims=True) - lowest + 1e-7)


def _collect_library(answer: Any, case: Case) -> Arrays:
    images = _images(case.inputs)
    network = _tiny_vgg(**case.inputs)
    maps = plain(answer(network, images.copy(), _classes(case.inputs, images)))
    return {"maps": maps, "model_afterwards": plain(network(images))}


def _judge_library(arrays: Arrays, case: Case) -> Verdict:
    inputs, images = {**case.inputs, "layer": CONV_LAYERS[-1]}, _images(case.inputs)
    height, width = images.shape[1:3]
    logits, classes = _logits(inputs, images), _classes(inputs, images)

    def small(score: Callable[[Any], Any]) -> np.ndarray:
        return _cam_of_parts(*_parts(inputs, images, score)[:2])

    def library(score: Callable[[Any], Any]) -> np.ndarray:
        return _as_the_library_scales(_corner_aligned(small(score), height, width))

    right = _chosen(classes)
    mistakes = {
        "softmax_left_on": (
            library(_chosen_probability(classes)),
            "The library explained the probability: it was not told to make the output linear.",
        ),
        "class_ignored": (library(_chosen(logits.argmax(axis=1))), CLASS_IGNORED),
        "first_class_for_all": (library(_chosen([classes[0]] * len(images))), FIRST_CLASS),
        "not_normalised": (
            _corner_aligned(small(right), height, width),
            "These are raw values. The library's own default (normalised) is asked for, for the comparison below.",
        ),
        "by_hand": (
            _bilinear(small(right), height, width),
            "This is your own Grad-CAM; here the library's is asked for, to set it beside yours.",
        ),
    }
    verdict = verdict_on_array(
        arrays["maps"],
        library(right),
        mistakes,
        what="The result",
        axes="photos, height, width",
        rtol=1e-3,  # float32 through another resampling and a division by a small range
        otherwise="The shape is right, the numbers are not what tf-keras-vis's Gradcam gives for these classes.",
    )
    if verdict.passed and not same(arrays["model_afterwards"], _softmax(logits)):
        return wrong(
            "The maps are right, but the model that was handed in has lost its softmax: the modifier worked on the "
            "model itself and not on a copy.",
            "callers_model_changed",
        )
    return verdict


LIBRARY = Exercise(
    id="02.library",
    title="Grad-CAM from tf-keras-vis",
    answer="library_grad_cam",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "Two objects do it: one that is made from the model, one that says which score is explained.",
        "`Gradcam(model, model_modifier=..., clone=True)` is then called with a score and the images. Which modifier takes "
        "the softmax away?",
        "`ReplaceToLinear()` is the modifier; `CategoricalScore([...])` takes a list with one class for each image.",
    ),
    cases=_network_cases,
    collect=_collect_library,
    judge=_judge_library,
    reference=lambda: _library_grad_cam,
    wrong={
        "softmax_left_on": lambda: _library_with(linear=False),
        "class_ignored": lambda: _library_with(score=_top_class_score),
        "first_class_for_all": lambda: _library_with(score=_first_class_score),
        "not_normalised": lambda: _library_with(normalize_cam=False),
        "by_hand": lambda: lambda model, images, classes: _grad_cam(model, images, classes, "block5_conv3"),
        "callers_model_changed": lambda: _library_with(clone=False),
    },
    right={
        "a function as the score": lambda: _library_with(score=_score_function),
        "photo by photo": lambda: _library_photo_by_photo,
        "on one's own logit model": lambda: _library_on_own_logits,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 02.nth_best_class
# ---------------------------------------------------------------------------------------------------------------------


def _nth_best_class(model: Any, photo: Any, nth: int, layer_name: str) -> tuple[Any, Any]:
    from labutils.vgg16 import preprocess_input

    images = preprocess_input(photo[np.newaxis].astype("float32"))
    probabilities = np.asarray(model(images))[0]
    class_index = np.argsort(-probabilities)[nth - 1]
    return class_index, _grad_cam(model, images, [class_index], layer_name)[0]


def _nth_best_class_by_sorting(model: Any, photo: Any, nth: int, layer_name: str) -> tuple[Any, Any]:
    images = _preprocessed(photo[np.newaxis])
    probabilities = model.predict(images, verbose=0)[0]
    ranking = sorted(range(len(probabilities)), key=lambda index: probabilities[index], reverse=True)
    return ranking[nth - 1], _grad_cam_in_a_loop(model, images, [ranking[nth - 1]], layer_name)[0]


def _nth_best_class_by_top_k(model: Any, photo: Any, nth: int, layer_name: str) -> tuple[Any, Any]:
    import tensorflow as tf

    images = tf.constant(_preprocessed(photo[np.newaxis]))
    class_index = int(tf.math.top_k(_logit_model(model)(images)[0], k=nth).indices[-1])
    return class_index, _grad_cam_in_tensorflow(model, images, [class_index], layer_name)[0]


def _nth_best_class_with(
    *,
    preprocess: Callable[[np.ndarray], np.ndarray] = _preprocessed,
    choose: Callable[[np.ndarray, int], int] = lambda scores, nth: np.argsort(-scores)[nth - 1],
    explain: Callable[[np.ndarray, int], int] = lambda scores, index: index,
    method: Callable = _grad_cam,
    finish: Callable[[int, np.ndarray], Any] = lambda index, maps: (index, maps[0]),
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(model: Any, photo: Any, nth: int, layer_name: str) -> Any:
        images = preprocess(photo[np.newaxis])
        scores = np.asarray(model(images))[0]
        index = choose(scores, nth)
        return finish(index, method(model, images, [explain(scores, index)], layer_name))

    return answer


def _nth_best_cases(seed: int | None) -> list[Case]:
    cases = _network_cases(None if seed is None else seed + 1, count=1)
    return [Case(f"{case.name}, class at rank {case.inputs['rank']}", case.inputs) for case in cases]


def _collect_nth_best(answer: Any, case: Case) -> Arrays:
    photo = _photos(**case.inputs)[0]
    return {"returned": plain(answer(_tiny_vgg(**case.inputs), photo, case.inputs["rank"], case.inputs["layer"]))}


def _judge_nth_best(arrays: Arrays, case: Case) -> Verdict:
    returned = arrays["returned"]
    if returned is None:
        return wrong("`nth_best_class` returned None. Is a `return` missing?", "nothing_returned")
    if not isinstance(returned, list) or len(returned) != 2:
        return wrong("Two things are asked for: return `class_index, heatmap`.", "not_a_pair")
    index, heatmap = as_number(returned[0]), returned[1]
    if index is None or not index.is_integer():
        return wrong(
            "`class_index` should be one integer: the class's place among the network's outputs.", "not_an_index"
        )
    if not isinstance(heatmap, np.ndarray):
        return wrong(f"`heatmap` should be an array; it is {described(heatmap)}.", "not_an_array")
    inputs, photos, nth = case.inputs, _photos(**case.inputs), case.inputs["rank"]
    images = _preprocessed(photos)

    def answer(images: np.ndarray, rank: int, score: Callable = _chosen) -> tuple[int, np.ndarray]:
        chosen = int(np.argsort(-_logits(inputs, images)[0])[rank])
        return chosen, _bilinear(_cam_of_parts(*_parts(inputs, images, score([chosen]))[:2]), *images.shape[1:3])[0]

    right = answer(images, nth - 1)
    if index == right[0] and same(heatmap, right[1]):
        return passed()
    raw = answer(photos.astype("float32"), nth - 1)
    best = answer(images, 0)
    mistakes = {
        "rgb_left_unpreprocessed": (
            raw,
            "The photo went into the network as it is, in RGB from 0 to 255. VGG16 wants it preprocessed.",
        ),
        "ascending": (
            answer(images, -nth),
            "You counted from the wrong end: `argsort` sorts upwards, so the first ones are the worst classes.",
        ),
        "off_by_one": (
            answer(images, nth),
            "One too far: the best class is number 1 for people, but place 0 of a sorted array.",
        ),
        "always_best": (best, "This is the best class and its map, whatever `nth` is."),
        "map_of_best": ((right[0], best[1]), "The class is right, but the map is still that of the best class."),
        "softmax_left_on": (answer(images, nth - 1, _chosen_probability), SOFTMAX_LEFT_ON),
    }
    for name, ((wrong_index, wrong_map), message) in mistakes.items():
        if index == wrong_index and same(heatmap, wrong_map):
            return wrong(message, name)
    if index == right[0] and np.shape(heatmap) == (1, *right[1].shape):
        return wrong("The map still has the batch's axis; one map (height, width) is asked for.", "batch_axis_kept")
    if index != right[0]:
        return wrong("This is another class than the one at that rank.")
    return verdict_on_array(
        heatmap,
        right[1],
        {},
        what="`heatmap`",
        axes="height, width",
        otherwise="The class is right, the map is not this class's Grad-CAM at that layer.",
    )


NTH_BEST_CLASS = Exercise(
    id="02.nth_best_class",
    title="The map of the n-th best class",
    answer="nth_best_class",
    points=3,
    minutes=8,
    difficulty="medium",
    hints=(
        "Three steps: make a batch of one preprocessed image, rank the classes, explain the one you want.",
        "`np.argsort` sorts upwards. How do you get the largest first, and at which place is number `nth` then?",
        "`photo[np.newaxis]` as floats goes into `preprocess_input`; `np.argsort(-values)` ranks from the largest down; "
        "`grad_cam` wants a list of classes and gives a batch of maps.",
    ),
    cases=_nth_best_cases,
    collect=_collect_nth_best,
    judge=_judge_nth_best,
    reference=lambda: _nth_best_class,
    wrong={
        "rgb_left_unpreprocessed": lambda: _nth_best_class_with(preprocess=lambda photos: photos.astype("float32")),
        "ascending": lambda: _nth_best_class_with(choose=lambda scores, nth: np.argsort(scores)[nth - 1]),
        "off_by_one": lambda: _nth_best_class_with(choose=lambda scores, nth: np.argsort(-scores)[nth]),
        "always_best": lambda: _nth_best_class_with(choose=lambda scores, nth: np.argmax(scores)),
        "map_of_best": lambda: _nth_best_class_with(explain=lambda scores, index: np.argmax(scores)),
        "softmax_left_on": lambda: _nth_best_class_with(method=_grad_cam_with(softmax=True)),
        "batch_axis_kept": lambda: _nth_best_class_with(finish=lambda index, maps: (index, maps)),
        "not_a_pair": lambda: _nth_best_class_with(finish=lambda index, maps: maps[0]),
        "not_an_index": lambda: _nth_best_class_with(finish=lambda index, maps: (f"class {index}", maps[0])),
        "nothing_returned": lambda: _nth_best_class_with(finish=lambda index, maps: None),
    },
    right={
        "sorted and photo by photo": lambda: _nth_best_class_by_sorting,
        "TensorFlow's top_k": lambda: _nth_best_class_by_top_k,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 02.share_inside
# ---------------------------------------------------------------------------------------------------------------------


def _share_inside(heatmap: Any, cell: Any) -> Any:
    top, left, bottom, right = cell
    positive = np.maximum(heatmap, 0)
    total = positive.sum()
    return positive[top:bottom, left:right].sum() / total if total > 0 else 0.0


def _share_inside_by_mask(heatmap: Any, cell: Any) -> Any:
    rows, columns = np.indices(heatmap.shape)
    inside = (rows >= cell[0]) & (rows < cell[2]) & (columns >= cell[1]) & (columns < cell[3])
    positive = np.where(heatmap > 0, heatmap, 0)
    return np.nan_to_num(positive[inside].sum() / max(positive.sum(), np.finfo("float32").tiny))


def _share_inside_in_loops(heatmap: Any, cell: Any) -> Any:
    inside = total = 0.0
    for row, values in enumerate(np.asarray(heatmap).tolist()):
        for column, value in enumerate(values):
            if value > 0:
                total += value
                inside += value * (cell[0] <= row < cell[2] and cell[1] <= column < cell[3])
    return inside / total if total else 0.0


def _share_with(
    *,
    positive: Callable[[np.ndarray], np.ndarray] = _relu,
    cell_of: Callable[[np.ndarray], Any] = lambda cell: cell,
    finish: Callable[[float, float], Any] = lambda inside, total: inside / total if total > 0 else 0.0,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(heatmap: Any, cell: Any) -> Any:
        top, left, bottom, right = cell_of(np.asarray(cell))
        values = positive(np.asarray(heatmap))
        with np.errstate(all="ignore"):
            return finish(values[top:bottom, left:right].sum(), values.sum())

    return answer


def _share_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(8 if seed is None else seed)
    cases = []
    for name, kind in (
        ("a map without negative values", "positive"),
        ("a map with negative values", "signed"),
        ("a map that is zero everywhere", "zero"),
    ):
        height, width = (int(n) for n in rng.choice(np.arange(16, 30), size=2, replace=False))
        top, left = 2 + int(rng.integers(0, 2)), 5 + int(rng.integers(0, 2))
        cell = [top, left, top + int(rng.integers(5, 7)), left + int(rng.integers(7, 9))]
        cases.append(
            Case(name, {"seed": int(rng.integers(1, 10_000)), "shape": [height, width], "cell": cell, "kind": kind})
        )
    return cases


def _share_map(inputs: Mapping[str, Any]) -> np.ndarray:
    values = _random(inputs) + 0.3
    return {"positive": _relu(values), "signed": values, "zero": np.zeros_like(values)}[inputs["kind"]]


def _judge_share(arrays: Arrays, case: Case) -> Verdict:
    share, heatmap, cell = arrays["share"], _share_map(case.inputs), np.array(case.inputs["cell"])
    if share is None:
        return wrong("`share_inside` returned None. Is a `return` missing?", "nothing_returned")
    share = as_number(share)
    if share is None:
        return wrong("One number is asked for: the share of the map that lies inside the cell.", "not_a_number")
    if not math.isfinite(share):
        return wrong(
            "A map that is zero everywhere gives NaN: 0 was divided by 0. No evidence anywhere means a share of 0.",
            "divided_by_zero",
        )
    expected = float(_share_inside(heatmap, cell))
    if math.isclose(share, expected, rel_tol=1e-4, abs_tol=1e-6):
        return passed()
    inclusive = cell + np.array([0, 0, 1, 1])
    swapped = cell[[1, 0, 3, 2]]
    top, left, bottom, right = cell
    mistakes = {
        "negatives_counted": (
            _share_with(positive=lambda values: values),
            "Negative values are counted as well. They can make the share larger than 1; take the positive part only.",
        ),
        "absolute": (_share_with(positive=np.abs), "Negative values are counted as positive ones."),
        "pixels_counted": (
            _share_with(positive=lambda values: values > 0),
            "You counted pixels. Add up the values: a bright pixel says more than a faint one.",
        ),
        "axes_swapped": (
            _share_with(cell_of=lambda _: swapped),
            "Rows and columns are swapped: a cell is (top, left, bottom, right), and the first axis of an array is the rows.",
        ),
        "one_pixel_too_many": (
            _share_with(cell_of=lambda _: inclusive),
            "The cell is one row and one column too large: `bottom` and `right` are the first ones outside.",
        ),
        "means_not_sums": (
            _share_with(finish=lambda inside, total: inside / total * heatmap.size / ((bottom - top) * (right - left))),
            "This is the ratio of two means. A share is the sum inside over the sum of everything.",
        ),
        "percent": (
            _share_with(finish=lambda inside, total: 100 * inside / total),
            "This is in per cent; return 0 to 1.",
        ),
        "outside": (
            _share_with(finish=lambda inside, total: 1 - inside / total),
            "This is the share outside the cell.",
        ),
        "not_divided": (
            _share_with(finish=lambda inside, total: inside),
            "This is the sum inside the cell; divide by the sum of the whole map to get a share.",
        ),
    }
    for name, (twin, message) in mistakes.items():
        if math.isclose(share, float(twin(heatmap, cell)), rel_tol=1e-4):
            return wrong(message, name)
    return wrong("This is not the sum of the positive values inside over the sum of all positive values.")


SHARE_INSIDE = Exercise(
    id="02.share_inside",
    title="How much of a map lies inside a cell",
    answer="share_inside",
    points=2,
    minutes=5,
    difficulty="easy",
    hints=(
        "A slice of the array is the cell: rows first, then columns.",
        "Take the positive part, add it up inside and everywhere, divide. What if everything is 0?",
        "`np.maximum(heatmap, 0)`, its sum over `[top:bottom, left:right]`, over its sum; an `if` for a total of 0.",
    ),
    cases=_share_cases,
    collect=lambda answer, case: {"share": plain(answer(_share_map(case.inputs), np.array(case.inputs["cell"])))},
    judge=_judge_share,
    reference=lambda: _share_inside,
    wrong={
        "negatives_counted": lambda: _share_with(positive=lambda values: values),
        "absolute": lambda: _share_with(positive=np.abs),
        "pixels_counted": lambda: _share_with(positive=lambda values: values > 0),
        "axes_swapped": lambda: _share_with(cell_of=lambda cell: cell[[1, 0, 3, 2]]),
        "one_pixel_too_many": lambda: _share_with(cell_of=lambda cell: cell + np.array([0, 0, 1, 1])),
        "means_not_sums": lambda: (
            lambda heatmap, cell: (
                np.maximum(heatmap, 0)[cell[0] : cell[2], cell[1] : cell[3]].mean()
                / max(np.maximum(heatmap, 0).mean(), 1e-30)
            )
        ),
        "percent": lambda: _share_with(finish=lambda inside, total: 100 * inside / total if total > 0 else 0.0),
        "outside": lambda: _share_with(finish=lambda inside, total: 1 - inside / total if total > 0 else 0.0),
        "not_divided": lambda: _share_with(finish=lambda inside, total: inside),
        "divided_by_zero": lambda: _share_with(finish=lambda inside, total: inside / total),
        "nothing_returned": lambda: lambda heatmap, cell: None,
    },
    right={
        "a mask": lambda: _share_inside_by_mask,
        "loops": lambda: _share_inside_in_loops,
    },
)

EXERCISES = [
    LOGITS,
    FEATURES_AND_GRADIENTS,
    POOLED_GRADIENTS,
    WEIGHTED_SUM,
    SCALE,
    RESIZE,
    OVERLAY,
    GRAD_CAM,
    LIBRARY,
    NTH_BEST_CLASS,
    SHARE_INSIDE,
]
"""In the order of the notebook."""
