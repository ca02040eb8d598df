"""Layer-wise relevance propagation (LRP): a logit, handed back from layer to layer until it lies on the pixels.

The rules themselves, that is the papers' formulas, are in `relevance_rules.py`. Here: which layers there are, which of
them are merged first, which rule each gets (`COMPOSITES`), and the way there and back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.activations import Layers, find_places
from labutils.explain.arguments import (
    Classes,
    batches,
    check_baseline,
    check_classes,
    check_images,
    check_share,
    refuse_broken,
)
from labutils.explain.relevance_rules import Linear, epsilon_rule, gamma_rule, z_box_rule, z_plus_rule
from labutils.explain.surgery import TOP_CLASS, OpenModel, activation_name, count, open_model, rectifies

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_INPUT = "input"  # the images' name among the layers
_IMAGES_AT_ONCE = 4  # what every layer adds up and what it gives are kept until their relevance is known


@dataclass(frozen=True)
class Composite:
    """Which rule a layer gets: by its input, a feature vector (n, features) or feature maps; and the first layer."""

    vectors: str
    maps: str
    first: str | None = None


COMPOSITES = {
    "epsilon_gamma_box": Composite(vectors="epsilon", maps="gamma", first="z_box"),
    "epsilon": Composite(vectors="epsilon", maps="epsilon"),
    "gamma": Composite(vectors="gamma", maps="gamma"),
    "alpha1_beta0": Composite(vectors="z_plus", maps="z_plus"),
}


def lrp(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    composite: str = "epsilon_gamma_box",
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    bounds: tuple[Any, Any] | None = None,
    return_gap: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Layer-wise relevance propagation: the logit S_c as a sum of pixels' contributions.

    Every layer that adds things up shares the relevance of each of its outputs out among its inputs, by one of the rules
    of `labutils.explain.relevance_rules`. A batch norm is merged into the convolution or dense layer before it, or else
    after it. Activations hand relevance on unchanged, max-pooling gives it to the winner (the first of equals).

    Counted as one forward and one backward pass. A convolution is computed twice in them by the epsilon rule, as for a
    gradient, and three to seven times by the others (seven where its inputs may be negative and no ReLU follows).

    Parameters
    ----------
    model, images, classes
        As for `labutils.explain.saliency`.
    composite : str
        ``"epsilon_gamma_box"``: z-box for the first layer, gamma for what works on feature maps, epsilon for what works
        on vectors (the dense layers). ``"epsilon"``, ``"gamma"``, ``"alpha1_beta0"``: the one rule for every layer.
    epsilon : float
        Added to the magnitude of every sum that the epsilon rule divides by, in that layer's own units. Larger values
        hold back more of what is weak or contradictory. With 0, LRP of a ReLU network is `gradient_times_input`.
    gamma : float
        How much more what argues for an output counts, in the gamma rule.
    bounds : None or (low, high)
        For z-box, the lowest and the highest value that a pixel can have, in the model's input units: numbers, one per
        channel, or images. For pixels from 0 to 255 it is ``preprocess_input`` of an image of 0 and of one of 255. None
        takes each image's own lowest and highest value of each channel; feature vectors then have no box, and their
        first layer gets the rule of the others.
    return_gap : bool
        Also return the conservation gap.

    Returns
    -------
    maps : numpy.ndarray
        (n, H, W) float32, raw and signed, in logits: summed over colours. (n, features) for feature vectors.
    gap : numpy.ndarray
        Only with ``return_gap``: (n,) float32, sum of the map minus S_c, in logits: what biases and epsilon have kept.
        Without either it is zero. `layer_relevance` shows in which layers.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible; or a layer without a rule.

    References
    ----------
    Bach et al., On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation, PLOS
    ONE, 2015. Montavon et al., Layer-Wise Relevance Propagation: An Overview, 2019 (the composite).
    """
    opened = open_model(model)
    images = check_images(opened, images)
    (relevance,), score = _propagate(opened, images, classes, (0,), composite, epsilon, gamma, bounds)
    relevance = relevance.astype(np.float64)
    maps = relevance if relevance.ndim == 2 else relevance.sum(axis=-1)
    gap = relevance.reshape(len(images), -1).sum(axis=1) - score
    return (maps.astype(np.float32), gap.astype(np.float32)) if return_gap else maps.astype(np.float32)


def layer_relevance(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    layers: Layers = None,
    composite: str = "epsilon_gamma_box",
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    bounds: tuple[Any, Any] | None = None,
) -> dict[str, np.ndarray]:
    """The relevance of every layer's output on the way down, from the same passes as `lrp`.

    In a chain of layers, each array sums to the logit S_c less what the layers above it have kept: that shows where
    relevance is lost. Where branches run side by side, their sums add up to it.

    Parameters
    ----------
    model, images, classes, composite, epsilon, gamma, bounds
        As for `lrp`.
    layers : None, str, keras.Layer or a list of these
        As for `labutils.explain.activations`; the name ``"input"`` stands for the images. None takes the images and
        all layers, but those whose output no relevance ever lies on because they are merged with a batch norm.

    Returns
    -------
    dict
        Layer -> (n, ...) float32, in the shape of the layer's output, raw and signed, in logits; first the input, then
        in the order in which the layers run, or in the order asked for. What belongs to the last layer is S_c at the
        class and 0 elsewhere. The map that `lrp` gives is what the input has, summed over colours.

    Raises
    ------
    TypeError, ValueError
        As `lrp`; no such layer, or one that is merged with a batch norm.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    numbers = _relevant_tensors(opened, layers)
    relevance, _ = _propagate(opened, images, classes, tuple(numbers.values()), composite, epsilon, gamma, bounds)
    return {name: values.astype(np.float32) for name, values in zip(numbers, relevance, strict=True)}


def _relevant_tensors(opened: OpenModel, layers: Layers) -> dict[str, int]:
    """Layer -> number of its output, with the input as `_INPUT`; in the order asked for."""
    crossed = {stage.output for stage in _stages(opened)}
    if layers is None:
        return {_INPUT: 0} | {place.path: place.tensor for place in opened.reached_places() if place.tensor in crossed}
    numbers: dict[str, int] = {}
    for layer in layers if isinstance(layers, list | tuple) and layers else [layers]:
        if isinstance(layer, str) and layer == _INPUT:
            numbers[_INPUT] = 0
            continue
        ((name, place),) = find_places(opened, layer).items()
        if place.tensor not in crossed:
            raise ValueError(
                f"layers: '{place.path}' is merged with the batch norm beside it for LRP, and its own output has no "
                "relevance; ask for the other one"
            )
        numbers[name] = place.tensor
    return numbers


def _propagate(
    opened: OpenModel,
    images: np.ndarray,
    classes: Classes,
    numbers: tuple[int, ...],
    composite: Any,
    epsilon: Any,
    gamma: Any,
    bounds: Any,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Relevance of the tensors of these numbers, and S_c, (n,); the options of `lrp` are checked here."""
    rules = _check_composite(composite)
    epsilon, gamma = check_share(epsilon, "epsilon"), check_share(gamma, "gamma")
    box = _check_bounds(opened, bounds, images) if rules.first else ()
    classes = check_classes(opened, classes, len(images))
    stages = _stages(opened)

    def run(images: tf.Tensor, classes: tf.Tensor, epsilon: tf.Tensor, gamma: tf.Tensor, *box: tf.Tensor) -> Any:
        relevance, score = _Propagation(opened, rules, epsilon, gamma).run(stages, images, classes, box)
        return *(relevance[number] for number in numbers), score

    import tensorflow as tf

    like_images = tf.TensorSpec([None, *images.shape[1:]], tf.float32)
    specs = [tf.TensorSpec([None], tf.int32), *[tf.TensorSpec([], tf.float32)] * 2, *[like_images] * len(box)]
    compiled = opened.compile(("lrp", composite, len(box), numbers), run, images, *specs)
    parts = [
        compiled(images[batch], classes[batch], epsilon, gamma, *(end[batch] for end in box))
        for batch in batches(len(images), _IMAGES_AT_ONCE)
    ]
    count(forward=len(images), backward=len(images))
    *relevance, score = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    refuse_broken(opened, *relevance, score)
    return relevance, score


def _check_composite(composite: Any) -> Composite:
    if not isinstance(composite, str) or composite not in COMPOSITES:
        possible = ", ".join(f"'{name}'" for name in COMPOSITES)
        error = ValueError if isinstance(composite, str) else TypeError
        raise error(f"composite: {composite!r} is not one of {possible}")
    return COMPOSITES[composite]


def _check_bounds(opened: OpenModel, bounds: Any, images: np.ndarray) -> tuple[np.ndarray, ...]:
    """Lowest and highest values, like the images each; nothing where feature vectors come without."""
    if bounds is None:
        if images.ndim == 2:
            return ()
        positions = tuple(range(1, images.ndim - 1))
        ends = images.min(axis=positions, keepdims=True), images.max(axis=positions, keepdims=True)
        return tuple(np.broadcast_to(end, images.shape) for end in ends)
    if not isinstance(bounds, tuple | list | np.ndarray) or len(bounds) != 2:
        raise TypeError(f"bounds: None or a pair (low, high) is needed, not {type(bounds).__name__} {bounds!r}")
    low, high = (
        check_baseline(opened, end, images, name=f"bounds ({name})")
        for end, name in zip(bounds, ("low", "high"), strict=True)
    )
    slack = 1e-3 * (high - low)  # resizing and preprocessing round
    if (low > high).any():
        raise ValueError("bounds: low is above high; they are (lowest value, highest value)")
    if (images < low - slack).any() or (images > high + slack).any():
        raise ValueError(
            f"bounds: images have values from {images.min():.6g} to {images.max():.6g}, some outside of bounds that span "
            f"{low.min():.6g} to {high.max():.6g}; bounds are in the model's input units, after preprocessing"
        )
    return low, high


# ---------------------------------------------------------------------------------------------------------------------
# From steps to stages

KINDS = {
    "weights": "Dense Conv1D Conv2D Conv3D DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D",
    "sum": "Add Subtract Average Mean Sum AveragePooling1D AveragePooling2D AveragePooling3D "
    "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D",
    "scale": "BatchNormalization Normalization Rescaling Multiply Divide TrueDivide Negative",
    "winner": "MaxPooling1D MaxPooling2D MaxPooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D",
    "route": "Flatten Reshape Permute Concatenate ZeroPadding1D ZeroPadding2D ZeroPadding3D "
    "Cropping1D Cropping2D Cropping3D RepeatVector GetItem Transpose Squeeze ExpandDims",
    "keep": "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout "
    "Identity ActivityRegularization RandomFlip RandomRotation RandomZoom RandomTranslation RandomContrast "
    "RandomBrightness",
}
"""The Keras layers and operations that have a rule, by what they do to relevance."""

ACTIVATIONS = (
    "linear relu relu6 leakyrelu prelu elu selu celu gelu silu swish hardsilu hardswish mish tanh hardtanh softsign "
    "tanhshrink hardshrink softshrink"
)
"""The activations that hand relevance on: element by element, and g(0) = 0, so that what is off has none."""

_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}


@dataclass
class _Stage:
    """What relevance crosses at once: a step, or a layer with the batch norms merged into it.

    Attributes
    ----------
    kind : str
        The method of `_Propagation` that knows it.
    step : int
        Index of the step.
    inputs, output : tuple of int, int
        Numbers of the tensors.
    before, after : keras.Layer or None
        The batch norm merged into it that comes before it, and the one that comes after.
    rectified : bool
        Whether a ReLU follows, and nothing else reads the output.
    """

    kind: str
    step: int
    inputs: tuple[int, ...]
    output: int
    before: Any = None
    after: Any = None
    rectified: bool = False


def _stages(opened: OpenModel) -> list[_Stage]:
    """The opened model's steps as stages, batch norms merged; every layer must have a rule."""
    kinds = [_kind(opened, index) for index in range(len(opened.steps))]
    stages: dict[int, _Stage] = {}  # by the number of the output
    readers: dict[int, list[int]] = {opened.output: [-1]}
    for index, step in enumerate(opened.steps):
        for number in step.inputs:
            readers.setdefault(number, []).append(index)
    for index, step in enumerate(opened.steps):
        stage = _Stage(kinds[index], index, step.inputs, step.outputs[0])
        made_by = stages.get(step.inputs[0])
        alone = made_by is not None and len(readers[step.inputs[0]]) == 1
        if alone and _is_norm(step) and _takes_norm_after(opened, made_by):
            stage = stages.pop(made_by.output)
            stage.output, stage.after = step.outputs[0], step.operation
        elif (
            alone
            and stage.kind == "weights"
            and getattr(step.operation, "groups", 1) == 1
            and _gives_norm(opened, made_by)
        ):
            stages.pop(made_by.output)
            stage.inputs, stage.before = made_by.inputs, opened.steps[made_by.step].operation
        stages[stage.output] = stage
    relus = {i for i, kind in enumerate(kinds) if kind == "activate" and rectifies(opened.steps[i].operation)}
    for stage in stages.values():
        ends_in_relu = stage.kind == "weights" and rectifies(opened.steps[stage.step].operation)
        stage.rectified = ends_in_relu or relus.issuperset(readers[stage.output])
    return list(stages.values())


def _kind(opened: OpenModel, index: int) -> str:
    """What a step does to relevance: a key of `KINDS`, or "activate"."""
    step = opened.steps[index]
    name, activation = _keras_name(step.operation), activation_name(step.operation)
    kind = _KIND_OF.get(name)
    is_activation = name == "Activation" or (name and not hasattr(step.operation, "activation"))
    if kind is None and is_activation and index in opened.left_out:
        kind = "keep"
    elif kind is None and is_activation and activation in ACTIVATIONS.split():
        kind = "activate"
    elif kind == "sum" and len(step.inputs) == 1 and name in ("Add", "Subtract"):
        kind = "scale"  # a constant is added
    has_rule = {
        "weights": (index in opened.left_out or activation in ACTIVATIONS.split())
        and not getattr(step.operation, "quantization_mode", None),
        "scale": len(step.inputs) == 1 and not _divides_a_constant(step),
        "sum": name != "Average" or len(step.inputs) > 1,  # one tensor: the operation, whose weights may be negative
    }
    if kind is None or len(step.outputs) != 1 or not has_rule.get(kind, True):
        why = {"weights": f", activation '{activation}'", "scale": ", not with a constant"}
        if mode := getattr(step.operation, "quantization_mode", None):
            why["weights"] = f", quantised to {mode}"
        raise ValueError(
            f"model: layer '{step.operation.name}' ({type(step.operation).__name__}{why.get(kind, '')}) of '{opened.name}' "
            f"has no LRP rule; layers that have one: {', '.join(sorted(_KIND_OF))}; and the activations "
            f"{', '.join(ACTIVATIONS.split())}"
        )
    return kind


def _keras_name(operation: Any) -> str:
    """The name of Keras's class; empty for a class of one's own, whose `call` could do anything."""
    return type(operation).__name__ if type(operation).call.__module__.startswith("keras.") else ""


def _divides_a_constant(step: Any) -> bool:
    """Whether a step is constant / x, and not x / constant."""
    import keras

    is_division = type(step.operation).__name__ in ("Divide", "TrueDivide")
    return is_division and not isinstance(step.node.arguments.args[0], keras.KerasTensor)


def _is_norm(step: Any) -> bool:
    """Whether a step is a batch norm of channels, that can be merged."""
    if _keras_name(step.operation) != "BatchNormalization":
        return False
    return step.operation.axis in (-1, len(step.node.input_tensors[0].shape) - 1)


def _takes_norm_after(opened: OpenModel, stage: _Stage) -> bool:
    operation = opened.steps[stage.step].operation
    return stage.kind == "weights" and stage.after is None and activation_name(operation) == "linear"


def _gives_norm(opened: OpenModel, stage: _Stage) -> bool:
    return stage.kind == "scale" and _is_norm(opened.steps[stage.step])


# ---------------------------------------------------------------------------------------------------------------------
# There and back

_Back = Callable[[Any], list]
"""Relevance of a stage's output -> relevance of each of its inputs."""


class _Propagation:
    """One run through the stages, forwards with all tensors kept, and back with the relevance."""

    def __init__(self, opened: OpenModel, rules: Composite, epsilon: tf.Tensor, gamma: tf.Tensor):
        self.opened, self.rules, self.epsilon, self.gamma = opened, rules, epsilon, gamma
        self.tensors: dict[int, tf.Tensor] = {}
        self.ends: dict[int, list] = {}  # lowest and highest values, of the image and of what only re-scales it
        self.nonnegative: set[int] = set()

    def run(self, stages: list[_Stage], images: tf.Tensor, classes: tf.Tensor, box: tuple) -> tuple:
        """Relevance of every tensor that a stage reads or gives, by number (0 is the images), and S_c."""
        import keras
        import tensorflow as tf

        dtype = "float64" if self.opened.dtype == "float64" else "float32"
        self.tensors[0] = tf.cast(images, dtype)
        self.epsilon, self.gamma = tf.cast(self.epsilon, dtype), tf.cast(self.gamma, dtype)
        if box:
            self.ends[0] = [tf.cast(end, dtype) for end in box]
        backs = []
        with keras.StatelessScope(initialize_variables=False):
            for stage in stages:
                inputs = [self.tensors[number] for number in stage.inputs]
                self.tensors[stage.output], back = getattr(self, f"_{stage.kind}")(stage, inputs)
                backs.append((stage, back))
            logits = self.tensors[self.opened.output]
            classes = tf.where(classes == TOP_CLASS, tf.argmax(logits, axis=-1, output_type=tf.int32), classes)
            start = logits * tf.one_hot(classes, self.opened.classes, dtype=logits.dtype)
            relevance = {0: tf.zeros_like(self.tensors[0]), self.opened.output: start}
            for stage, back in reversed(backs):
                for number, share in zip(stage.inputs, back(relevance[stage.output]), strict=True):
                    relevance[number] = relevance[number] + share if number in relevance else share
        return relevance, tf.reduce_sum(start, axis=-1)

    def _rule(
        self, stage: _Stage, layer: Linear, x: tf.Tensor, z: tf.Tensor, relevance: tf.Tensor, ends: list | None = None
    ) -> tf.Tensor:
        """Relevance of x, by the rule for what this stage reads: the image (x between these ends), a vector or maps."""
        is_vector = self.tensors[stage.inputs[0]].shape.rank == 2
        name = self.rules.vectors if is_vector else self.rules.maps
        if ends:
            return z_box_rule(layer, x, relevance, *ends)
        if name == "epsilon":
            return epsilon_rule(layer, x, z, relevance, self.epsilon)
        if name == "gamma":
            return gamma_rule(layer, x, z, relevance, self.gamma)
        return z_plus_rule(layer, x, relevance)

    def _call(self, stage: _Stage, inputs: list) -> tf.Tensor:
        """What the step makes of these inputs, in their precision: `call` casts nothing, as calling the layer would."""
        import tensorflow as tf

        step = self.opened.steps[stage.step]
        known = dict(zip(stage.inputs, inputs, strict=True))
        outputs = self.opened.run(known, [stage.step], stand_ins={stage.step: step.operation.call})
        return tf.cast(outputs[step.outputs[0]], inputs[0].dtype)

    def _same_kind(self, stage: _Stage, output: tf.Tensor, make: Callable | None = None) -> None:
        """Note what the output has of its inputs: no negative values; the image's lowest and highest values."""
        import tensorflow as tf

        if self.nonnegative.issuperset(stage.inputs):
            self.nonnegative.add(stage.output)
        if make and all(number in self.ends for number in stage.inputs):
            ends = [make([self.ends[number][end] for number in stage.inputs]) for end in (0, 1)]
            self.ends[stage.output] = [tf.minimum(*ends), tf.maximum(*ends)]

    # One method a kind: (stage, inputs) -> output, and the way back ----------------------------------------------

    def _keep(self, stage: _Stage, inputs: list) -> tuple[tf.Tensor, _Back]:
        self._same_kind(stage, inputs[0], lambda inputs: inputs[0])
        return inputs[0], lambda relevance: [relevance]

    def _activate(self, stage: _Stage, inputs: list) -> tuple[tf.Tensor, _Back]:
        if rectifies(self.opened.steps[stage.step].operation):
            self.nonnegative.add(stage.output)
        return self._call(stage, inputs), lambda relevance: [relevance]

    def _route(self, stage: _Stage, inputs: list) -> tuple[tf.Tensor, _Back]:
        output = self._call(stage, inputs)
        self._same_kind(stage, output, lambda inputs: self._call(stage, inputs))
        return output, lambda relevance: _transposed(lambda inputs: self._call(stage, inputs), inputs, relevance)

    def _winner(self, stage: _Stage, inputs: list) -> tuple[tf.Tensor, _Back]:
        output = self._call(stage, inputs)
        self._same_kind(stage, output)
        if "Global" in type(self.opened.steps[stage.step].operation).__name__:
            return output, lambda relevance: [_to_first_winner(inputs[0], relevance)]
        return output, lambda relevance: _transposed(lambda inputs: self._call(stage, inputs), inputs, relevance)

    def _scale(self, stage: _Stage, inputs: list) -> tuple[tf.Tensor, _Back]:
        """An input times something, and a constant: one contribution an output, and a bias."""
        import tensorflow as tf

        scale, shift = self._scale_and_shift(stage, inputs[0])
        scaled = scale * inputs[0]
        layer = Linear(tf.multiply, tf.ones([], scaled.dtype), shift, rectified=stage.rectified)
        output = layer(scaled)
        if stage.inputs[0] in self.ends:
            ends = [scale * end + shift for end in self.ends[stage.inputs[0]]]
            self.ends[stage.output] = [tf.minimum(*ends), tf.maximum(*ends)]
        if stage.inputs[0] in self.ends or _has_no_shift(self.opened.steps[stage.step].operation):
            return output, lambda relevance: [relevance]  # the same in other units: so is z-box
        return output, lambda relevance: [self._rule(stage, layer, scaled, output, relevance)]

    def _scale_and_shift(self, stage: _Stage, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        import keras
        import tensorflow as tf

        operation = self.opened.steps[stage.step].operation
        match type(operation).__name__:
            case "BatchNormalization":
                sides = [1] * x.shape.rank
                sides[operation.axis] = -1
                scale, shift = (tf.reshape(values, sides) for values in _norm(operation, x.dtype))
            case "Rescaling":
                scale, shift = tf.cast(operation.scale, x.dtype), tf.cast(operation.offset, x.dtype)
            case "Normalization":
                mean, deviation = tf.cast(operation.mean, x.dtype), tf.sqrt(tf.cast(operation.variance, x.dtype))
                deviation = tf.maximum(deviation, keras.backend.epsilon())
                scale, shift = (deviation, mean) if operation.invert else (1 / deviation, -mean / deviation)
            case "Multiply" | "Divide" | "TrueDivide" | "Negative":
                scale, shift = self._call(stage, [tf.ones_like(x[:1])]), tf.zeros([], x.dtype)
            case _:
                shift = self._call(stage, [tf.zeros_like(x[:1])])
                scale = tf.round(self._call(stage, [tf.ones_like(x[:1])]) - shift)  # 1 or -1
        return scale, shift

    def _sum(self, stage: _Stage, inputs: list) -> tuple[tf.Tensor, _Back]:
        """Sums with weights that are not negative: pooling, Add."""
        import tensorflow as tf

        step = self.opened.steps[stage.step]
        nonnegative = self.nonnegative.issuperset(stage.inputs) and type(step.operation).__name__ != "Subtract"
        if nonnegative:
            self.nonnegative.add(stage.output)
        one, zero = tf.ones([], inputs[0].dtype), tf.zeros([], inputs[0].dtype)
        if len(inputs) == 1:
            layer = Linear(lambda x, w: w * self._call(stage, [x]), one, zero, nonnegative, stage.rectified)
            output = layer(inputs[0])
            ends = self.ends.get(stage.inputs[0])
            return output, lambda relevance: [self._rule(stage, layer, inputs[0], output, relevance, ends)]
        weight = one / len(inputs) if type(step.operation).__name__ == "Average" else one
        layer = Linear(lambda x, w: w * tf.reduce_sum(x, axis=0), weight, zero, nonnegative, stage.rectified)
        signs = [1, -1] if type(step.operation).__name__ == "Subtract" else [1] * len(inputs)
        terms = _stacked([sign * term for sign, term in zip(signs, inputs, strict=True)])
        output = layer(terms)
        return output, lambda relevance: _transposed(
            _stacked, inputs, self._rule(stage, layer, terms, output, relevance)
        )

    def _weights(self, stage: _Stage, inputs: list) -> tuple[tf.Tensor, _Back]:
        import tensorflow as tf

        (x,), operation = inputs, self.opened.steps[stage.step].operation
        ends = self.ends.get(stage.inputs[0])
        crossed = []
        for layer in self._linear(stage, x):
            crossed.append((layer, x, layer(x)))
            x = crossed[-1][2]

        def back(relevance: tf.Tensor) -> list:
            for layer, x, z in reversed(crossed):
                relevance = self._rule(stage, layer, x, z, relevance, ends if layer is crossed[0][0] else None)
            return [relevance]

        if stage.step in self.opened.left_out or stage.after:
            return x, back
        if rectifies(operation):
            self.nonnegative.add(stage.output)
        activation = getattr(operation.activation, "call", operation.activation)  # it may be a layer
        return tf.cast(activation(x), x.dtype), back

    def _linear(self, stage: _Stage, x: tf.Tensor) -> list[Linear]:
        """The layer, without its activation, and the batch norms merged into it; two where it is separable."""
        import tensorflow as tf

        operation = self.opened.steps[stage.step].operation
        applied = [(apply, tf.cast(kernel, x.dtype)) for apply, kernel in _applied(operation)]
        biases = [tf.zeros([], x.dtype) for _ in applied]
        if operation.bias is not None:
            biases[-1] = tf.cast(operation.bias, x.dtype)
        if stage.before is not None:
            scale, shift = _norm(stage.before, x.dtype)
            apply, kernel = applied[0]
            biases[0] += apply(shift * tf.ones_like(x[:1]), kernel)  # a map: the padding is zero, not the shift
            applied[0] = apply, kernel * scale[:, tf.newaxis]
        if stage.after is not None:
            scale, shift = _norm(stage.after, x.dtype)
            apply, kernel = applied[-1]
            sides = kernel.shape[-2:] if "Depthwise" in type(operation).__name__ else kernel.shape[-1:]
            applied[-1] = apply, kernel * tf.reshape(scale, sides)
            biases[-1] = biases[-1] * scale + shift
        last = len(applied) - 1
        return [
            Linear(
                apply,
                kernel,
                bias,
                nonnegative=index == 0 and self.nonnegative.issuperset(stage.inputs),
                rectified=index == last and stage.rectified,
            )
            for index, ((apply, kernel), bias) in enumerate(zip(applied, biases, strict=True))
        ]


def _has_no_shift(operation: Any) -> bool:
    return type(operation).__name__ in ("Multiply", "Divide", "TrueDivide", "Negative") or not np.any(
        getattr(operation, "offset", True)
    )


def _applied(operation: Any) -> list[tuple[Callable, Any]]:
    """A layer's weights, each with the function of (x, weights) that applies them."""
    import keras

    def depthwise(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return keras.ops.depthwise_conv(
            x, kernel, operation.strides, operation.padding, dilation_rate=operation.dilation_rate
        )

    name = type(operation).__name__
    if name == "Dense":
        return [(keras.ops.matmul, operation.kernel)]
    if name.startswith("Depthwise"):
        return [(depthwise, operation.kernel)]
    if name.startswith("Separable"):
        return [(depthwise, operation.depthwise_kernel), (keras.ops.conv, operation.pointwise_kernel)]
    return [(operation.convolution_op, operation.kernel)]


def _norm(layer: keras.layers.BatchNormalization, dtype: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch norm in inference is x * scale + shift, (channels,) each."""
    import tensorflow as tf

    scale = tf.math.rsqrt(tf.cast(layer.moving_variance, dtype) + layer.epsilon)
    scale = scale * tf.cast(layer.gamma, dtype) if layer.scale else scale
    shift = -tf.cast(layer.moving_mean, dtype) * scale
    return scale, shift + tf.cast(layer.beta, dtype) if layer.center else shift


def _stacked(terms: list) -> tf.Tensor:
    """The terms of a sum, (terms, n, ...), broadcast as the sum does."""
    import tensorflow as tf

    shape = tf.shape(sum(terms))
    return tf.stack([tf.broadcast_to(term, shape) for term in terms])


def _transposed(function: Callable[[list], tf.Tensor], inputs: list, relevance: tf.Tensor) -> list:
    """Relevance of a function's inputs, where each output is one of the inputs."""
    import tensorflow as tf

    inputs = [tf.identity(values) for values in inputs]  # one and the same tensor may come twice
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        output = function(inputs)
    return tape.gradient(output, inputs, output_gradients=relevance, unconnected_gradients="zero")


def _to_first_winner(maps: tf.Tensor, relevance: tf.Tensor) -> tf.Tensor:
    """Relevance of a global maximum, to the position that has it; to the first of equals (a gradient would be split)."""
    import tensorflow as tf

    n, channels = tf.shape(maps)[0], tf.shape(maps)[-1]
    positions = tf.reshape(maps, [n, -1, channels])
    winner = tf.one_hot(tf.argmax(positions, axis=1), tf.shape(positions)[1], axis=1, dtype=maps.dtype)
    return tf.reshape(winner * tf.reshape(relevance, [n, 1, channels]), tf.shape(maps))
