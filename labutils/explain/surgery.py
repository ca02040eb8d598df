"""Opening a model: logits without the final softmax, feature maps, and gradients, with the model left as it was.

This is the only file that knows how Keras stores a model. `open_model` flattens a Functional or Sequential model, with
all the models nested in it, into a list of steps, and re-runs those steps itself. That is what makes the rest possible
without cloning: the last softmax or sigmoid is left out of *this run*, the gradient can start from any feature map,
and guided backpropagation can change what a ReLU does to the gradient. Nothing is ever assigned to the model: the one
layer that must behave differently is run through a stand-in that shares its variables, and everything runs inside
`keras.StatelessScope`, which drops whatever a layer tries to record (losses, counters, statistics).

Runs are compiled (`tf.function`) once per model, layer and image size, and kept for as long as the model lives.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
import os
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

TOP_CLASS = -1
"""In an array of classes: this image's class with the largest logit."""

_TOKENS_BESIDE = 16
"""So many tokens may stand before the patches: the class token, a distillation token, registers."""

_SIDE = 128  # height and width of the images that a model of any size is tried on

_PROBABILITIES = {"softmax", "softmax_v2", "log_softmax", "log_softmax_v2", "sigmoid"}  # v2: TensorFlow's own functions
_RECTIFIERS = {"relu", "relu6"}


# ---------------------------------------------------------------------------------------------------------------------
# Counting passes


@dataclass
class Passes:
    """Image-passes through the network: one image through all its layers forwards, or one gradient backwards."""

    forward: int = 0
    backward: int = 0


_counters = threading.local()


@contextmanager
def count_passes() -> Iterator[Passes]:
    """Count the forward and backward image-passes of everything that `labutils.explain` does inside the block.

    A backward pass counts as one however far it goes: Grad-CAM's stops at its layer, a saliency map's reaches the image.

    Yields
    ------
    Passes
        ``.forward`` and ``.backward``, complete when the block ends.

    Examples
    --------
    >>> with count_passes() as passes:  # doctest: +SKIP
    ...     grad_cam(model, images)
    >>> passes  # doctest: +SKIP
    Passes(forward=3, backward=3)
    """
    passes = Passes()
    active = _counters.__dict__.setdefault("active", [])
    active.append(passes)
    try:
        yield passes
    finally:
        active[:] = [counter for counter in active if counter is not passes]


def count(forward: int, backward: int = 0) -> None:
    for passes in _counters.__dict__.get("active", ()):
        passes.forward += forward
        passes.backward += backward


# ---------------------------------------------------------------------------------------------------------------------
# What the last layer and the ReLUs look like


def _function_name(activation: Any) -> str:
    function = getattr(activation, "func", activation)  # functools.partial
    return getattr(function, "__name__", "")


def _is_kind(activation: Any, layer_name: str, operation_names: set[str], function_names: set[str]) -> bool:
    """Whether an activation, given as a function, a Keras layer or a raw Keras operation, is of one of these kinds."""
    import keras

    if isinstance(activation, getattr(keras.layers, layer_name)):
        return True
    if isinstance(activation, keras.Operation) and not isinstance(activation, keras.Layer):
        return type(activation).__name__ in operation_names
    if isinstance(activation, keras.layers.Activation):
        return _is_kind(activation.activation, layer_name, operation_names, function_names)
    return _function_name(activation) in function_names


def _is_probability(activation: Any) -> bool:
    return _is_kind(activation, "Softmax", {"Softmax", "LogSoftmax", "Sigmoid"}, _PROBABILITIES)


def _is_log_softmax(activation: Any) -> bool:
    import keras

    if isinstance(activation, keras.layers.Activation):
        return _is_log_softmax(activation.activation)
    return _function_name(activation).startswith("log_softmax") or type(activation).__name__ == "LogSoftmax"


def _is_rectifier(activation: Any) -> bool:
    kind = _is_kind(activation, "ReLU", {"Relu", "Relu6", "ReLU"}, _RECTIFIERS)
    return kind and not getattr(activation, "negative_slope", 0)  # a leaky ReLU lets every gradient through


def _activation_of(operation: Any) -> Any:
    """What is applied last by this operation: its `activation`, a Lambda's function, or the operation itself."""
    import keras

    if isinstance(operation, keras.layers.Lambda):
        return operation.function
    return getattr(operation, "activation", None) or operation


def activation_name(operation: Any) -> str:
    """What an operation applies last, in one spelling: "relu" for ``activation="relu"``, ``ReLU()`` and ``ops.relu``."""
    import keras

    last = _activation_of(operation)
    last = getattr(last, "activation", last)  # an Activation layer given as the activation
    name = type(last).__name__ if isinstance(last, keras.Operation) else _function_name(last)
    return name.replace("_", "").lower()


def rectifies(operation: Any) -> bool:
    """Whether an operation ends in a ReLU, so that it gives nothing below zero."""
    last = _activation_of(operation)
    return _is_rectifier(last) and not isinstance(last, functools.partial)  # which could have given it a slope


def _passes_through(operation: Any) -> bool:
    """Whether an operation hands its input on unchanged in inference, but for the shape."""
    import keras

    layers = keras.layers
    if isinstance(operation, layers.Activation):
        return _function_name(operation.activation) == "linear"
    return isinstance(
        operation, layers.Dropout | layers.Flatten | layers.Reshape | layers.Identity | layers.ActivityRegularization
    )


def _ends_linearly(operation: Any) -> bool:
    """Whether it is a layer of Keras that gives weighted sums, of any sign and size."""
    activation = getattr(operation, "activation", None)
    return _function_name(activation) == "linear" and type(operation).call.__module__.startswith("keras.")


def _moves_channels_last(operation: Any) -> bool:
    """Whether it turns (channels, height, width) into (height, width, channels)."""
    kind = type(operation).__name__
    return (kind == "Permute" and tuple(operation.dims) == (2, 3, 1)) or (
        kind == "Transpose" and tuple(operation.axes or ()) == (0, 2, 3, 1)
    )


def _without_activation(operation: Any) -> Callable:
    """The operation without its softmax or sigmoid, its weights shared, itself untouched."""
    import keras

    if _activation_of(operation) is operation or isinstance(operation, keras.layers.Lambda):
        return lambda inputs, *args, **kwargs: inputs
    return stand_in(operation, activation=keras.activations.linear)


def stand_in(operation: Any, **attributes: Any) -> Callable:
    """The operation with some of its attributes changed, its weights shared, itself untouched."""
    other = object.__new__(type(operation))  # not copy.copy: Keras would save and load the layer
    # Some libraries leave a bound method of the layer in it (Xplique's GradCAM its `call`), which knows only the layer.
    own = {
        name: types.MethodType(value.__func__, other) if getattr(value, "__self__", None) is operation else value
        for name, value in vars(operation).items()
    }
    other.__dict__.update(own, **attributes)
    return other


def _is_attention(operation: Any) -> bool:
    import keras

    return isinstance(operation, keras.layers.MultiHeadAttention)


def _telling_attention(operation: Any, tell: Callable[[tf.Tensor], None]) -> Callable:
    """An attention layer that hands its attention, (n, heads, tokens, tokens), to ``tell`` and goes on with it."""

    def softmax(scores: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        attention = operation._softmax(scores, mask=mask)
        tell(attention)
        return attention

    # Keras goes through its softmax layer only where scores are asked for; flash attention never has them.
    other = stand_in(operation, _softmax=softmax, _flash_attention=False)

    def run(*args: Any, **kwargs: Any) -> Any:
        outputs, scores = other(*args, **{**kwargs, "return_attention_scores": True})
        return (outputs, scores) if kwargs.get("return_attention_scores") else outputs

    return run


def _only_positive_gradients(outputs: tf.Tensor) -> tf.Tensor:
    """The identity, whose gradient is cut at zero."""
    import tensorflow as tf

    @tf.custom_gradient
    def gate(values: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return tf.identity(values), tf.nn.relu

    return gate(outputs)


# ---------------------------------------------------------------------------------------------------------------------
# Flattening a model into steps


@dataclass(frozen=True)
class Step:
    """One call of one operation. Tensors are numbered: `inputs` and `outputs` are the numbers."""

    operation: Any
    node: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def argument(self, name: str) -> Any:
        """What the operation was called with in the graph, by the name of the parameter: a symbolic tensor, mostly."""
        arguments = self.node.arguments
        return inspect.signature(self.operation.call).bind(*arguments.args, **arguments.kwargs).arguments[name]

    def number_of(self, symbol: Any) -> int:
        """The number of a symbolic tensor that the operation was called with."""
        symbols = zip(self.node.input_tensors, self.inputs, strict=True)
        return next(number for tensor, number in symbols if tensor is symbol)


@dataclass(frozen=True)
class Place:
    """A tensor that can be asked for by a layer's name: where it is and what shape it has (the batch is None)."""

    path: str
    layer: Any
    tensor: int
    shape: tuple[int | None, ...]

    grid: tuple[int, int] | None = None
    """Of tokens, (None, tokens, width): rows and columns of the patches, the last of the tokens, row by row."""

    @property
    def is_spatial(self) -> bool:
        return len(self.shape) == 4 or self.grid is not None

    @property
    def beside(self) -> int:
        """How many tokens stand before the patches of the grid: the class token and its like."""
        return self.shape[1] - self.grid[0] * self.grid[1]


@dataclass
class _Flattened:
    """A model as a list of steps in an order in which they can run; tensor 0 is the image."""

    steps: list[Step] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    grids: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of every tensor that comes from a map of known size: that map's rows and columns."""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def add(self, graph: Any, arguments: list[int], prefix: str = "") -> list[int]:
        """Append a model's steps, run on the tensors `arguments`; returns the numbers of its outputs."""
        number = {id(tensor): argument for tensor, argument in zip(graph.inputs, arguments, strict=True)}
        for node in _nodes_in_order(graph):
            operation = node.operation
            inputs = [number[id(tensor)] for tensor in node.input_tensors]
            if _is_graph(operation) and len(operation.inputs) == len(inputs):
                outputs = self.add(operation, inputs, f"{prefix}{operation.name}/")
            else:
                outputs = [next(self.numbers) for _ in node.outputs]
                self.steps.append(Step(operation, node, tuple(inputs), tuple(outputs)))
            number.update((id(tensor), output) for tensor, output in zip(node.outputs, outputs, strict=True))
            for tensor, output in zip(node.outputs, outputs, strict=True):
                self._inherit_grid(inputs, output, tensor.shape)
            if len(outputs) == 1:
                shape = (None, *node.outputs[0].shape[1:])
                grid = self._grid_of_tokens(outputs[0], shape)
                self.places.append(Place(prefix + operation.name, operation, outputs[0], shape, grid))
        return [number[id(tensor)] for tensor in graph.outputs]

    def _inherit_grid(self, inputs: list[int], output: int, shape: tuple) -> None:
        own = tuple(shape[1:3]) if len(shape) == 4 and None not in shape[1:3] else None
        inherited = next((self.grids[number] for number in inputs if number in self.grids), None)
        if own or inherited:
            self.grids.setdefault(output, own or inherited)

    def _grid_of_tokens(self, number: int, shape: tuple) -> tuple[int, int] | None:
        """The grid of the patches of (None, tokens, width); None where these are not a map's patches."""
        grid = self.grids.get(number)
        if grid is None or len(shape) != 3 or shape[1] is None:
            return None
        return grid if 0 <= shape[1] - grid[0] * grid[1] <= _TOKENS_BESIDE else None


def _is_graph(operation: Any) -> bool:
    """Whether an operation is a model whose graph can be walked: built, and not a subclass with a `call` of its own."""
    import keras

    is_graph = isinstance(operation, keras.Sequential | keras.Function) and hasattr(operation, "inputs")
    return is_graph and type(operation).call.__module__.startswith("keras.")


def _nodes_in_order(graph: Any) -> list[Any]:
    """The nodes between a graph's inputs and outputs, every node after those that it needs."""
    # A stack and not recursion: ResNet-152 is deeper than Python's recursion limit.
    known = {id(tensor) for tensor in graph.inputs}
    ordered: list[Any] = []
    stack = list(reversed(graph.outputs))
    while stack:
        tensor = stack[-1]
        if id(tensor) in known:
            stack.pop()
            continue
        operation, node_index, _ = tensor._keras_history
        node = operation._inbound_nodes[node_index]
        missing = [needed for needed in node.input_tensors if id(needed) not in known]
        if missing:
            stack.extend(reversed(missing))
        else:
            ordered.append(node)
            known.update(id(output) for output in node.outputs)
    return ordered


# ---------------------------------------------------------------------------------------------------------------------
# The opened model


class OpenModel:
    """A model opened up: its logits, its feature maps, and the gradients of a logit.

    Made by `open_model`. It refers to the model's layers and variables, so new weights are seen at once.

    Attributes
    ----------
    input_shape : tuple
        Shape of one image, (H, W, C), or of one feature vector, (features,); None where the model takes any size.
    classes : int
        Number of logits.
    steps : list of Step
        What runs, in order. Tensors are numbered; tensor 0 is the images and `output` the number of the logits.
    left_out : frozenset of int
        Indices of the steps whose softmax or sigmoid is left out: at most one, the model's last activation. A step
        that does more (a Dense layer with its activation) runs without it, one that does nothing else is skipped.
    places : list of Place
        The tensors that have a layer's name.
    dtype : str
        What the images are cast to before the first step.
    """

    def __init__(self, flattened: _Flattened, output: int, model_name: str, input_tensor: Any, classes: int):
        self.steps = _needed(flattened.steps, output)
        self.places = flattened.places
        self._used = {tensor for step in self.steps for tensor in step.inputs}
        self.output = output
        self.name = model_name
        self.dtype = input_tensor.dtype if "float" in input_tensor.dtype else "float32"
        self.input_shape = tuple(input_tensor.shape[1:])
        self.classes = classes
        self._replaced = self._find_last_activation()
        self.left_out = frozenset(self._replaced)
        self._compiled: dict[tuple, Callable] = {}
        self._refuse_channels_first()
        self._refuse_broken_weights()
        self._refuse_hidden_probabilities(input_tensor)

    def _find_last_activation(self) -> dict[int, Callable]:
        """Index of the step that ends in a softmax or sigmoid -> what to run in its place."""
        made_by = {output: index for index, step in enumerate(self.steps) for output in step.outputs}
        tensor = self.output
        if tensor in made_by:
            self._refuse_opaque(self.steps[made_by[tensor]].operation)
        while tensor in made_by:
            step = self.steps[made_by[tensor]]
            if _is_probability(_activation_of(step.operation)):
                return {made_by[tensor]: _without_activation(step.operation)}
            if not _passes_through(step.operation):
                break
            tensor = step.inputs[0]
        return {}

    def _refuse_opaque(self, last: Any) -> None:
        import keras

        if isinstance(last, keras.Model):
            raise ValueError(
                f"model: '{self.name}' ends in the subclassed model '{last.name}' ({type(last).__name__}), whose layers "
                "are hidden in its `call`, and with them a possible softmax; end in Functional or Sequential models"
            )

    def _refuse_hidden_rectifiers(self) -> None:
        import keras

        for step in self.steps:
            if not isinstance(step.operation, keras.Layer):
                continue
            last = _activation_of(step.operation)  # a layer too where it was given as `activation=ReLU()`: not hidden
            inner = step.operation._flatten_layers(include_self=False)
            if any(_is_rectifier(_activation_of(layer)) for layer in inner if layer is not last):
                raise ValueError(
                    f"model: layer '{step.operation.name}' ({type(step.operation).__name__}) of '{self.name}' has ReLUs "
                    "hidden inside; guided backpropagation reaches only those in the graph of the model"
                )

    def _refuse_channels_first(self) -> None:
        for step in self.steps:
            is_spatial = any(len(tensor.shape) == 4 for tensor in step.node.input_tensors)
            if is_spatial and getattr(step.operation, "data_format", None) == "channels_first":
                raise ValueError(
                    f"model: layer '{step.operation.name}' of '{self.name}' has data_format='channels_first'; "
                    "labutils.explain reads feature maps as (n, height, width, channels), so 'channels_last' is needed"
                )
            if 0 in step.inputs and _moves_channels_last(step.operation):
                height, width, channels = (self.input_shape[axis] for axis in (1, 2, 0))
                raise ValueError(
                    f"model: '{self.name}' takes images with channels first, {self.input_shape}, and turns them itself; "
                    f"make one that takes them last: image = keras.Input(({height}, {width}, {channels})); "
                    "model = keras.Model(image, model(keras.layers.Permute((3, 1, 2))(image)))"
                )

    def _refuse_hidden_probabilities(self, input_tensor: Any) -> None:
        """A softmax that cannot be told by its name shows in what comes out: rows that are shares of one."""
        import keras

        last = next((step.operation for step in reversed(self.steps) if not _passes_through(step.operation)), None)
        if self.left_out or self.classes == 1 or last is None or _ends_linearly(last):
            return
        sides = [side or _SIDE for side in self.input_shape]
        images = np.random.default_rng(0).random((input_tensor.shape[0] or 2, *sides), dtype=np.float32)
        outputs = keras.ops.convert_to_numpy(self.forward(images))
        if (outputs < 0).any() or not np.allclose(outputs.sum(axis=-1), 1, atol=1e-3):
            return
        kind = ", ".join(filter(None, [type(last).__name__, _function_name(_activation_of(last))]))
        raise ValueError(
            f"model: '{last.name}' ({kind}), the last layer of '{self.name}', gives probabilities, but is no softmax that "
            "can be left out; explanations need logits: end the model in them, or take "
            "keras.Model(model.inputs, keras.ops.log(model.outputs[0]))"
        )

    def _refuse_broken_weights(self) -> None:
        # What they come to is no sign: depending on the machine, a ReLU makes 0 of NaN.
        for step in self.steps:
            if not all(np.isfinite(weight).all() for weight in getattr(step.operation, "weights", ())):
                raise ValueError(
                    f"model: layer '{step.operation.name}' of '{self.name}' has NaN or infinite weights; its training "
                    "went wrong: repeat it with a smaller learning rate"
                )

    # Running -------------------------------------------------------------------------------------------------------

    def run(
        self,
        known: dict[int, tf.Tensor],
        indices: Iterable[int],
        *,
        guided: bool = False,
        stand_ins: Mapping[int, Callable] | None = None,
    ) -> dict[int, tf.Tensor]:
        """Run some of the steps on known tensors in inference mode; returns all tensors by number.

        ``stand_ins`` are run in the place of the steps of these indices (`stand_in`).
        """
        import keras

        tensors, replaced = dict(known), {**self._replaced, **(stand_ins or {})}
        with keras.StatelessScope(initialize_variables=False):
            for index in indices:
                step = self.steps[index]
                symbols = zip(step.node.input_tensors, step.inputs, strict=True)
                args, kwargs = step.node.arguments.fill_in({id(symbol): tensors[number] for symbol, number in symbols})
                if "training" in inspect.signature(step.operation.call).parameters:
                    kwargs = {**kwargs, "training": False}
                outputs = keras.tree.flatten(replaced.get(index, step.operation)(*args, **kwargs))
                if guided and _is_rectifier(_activation_of(step.operation)):
                    outputs = [_only_positive_gradients(output) for output in outputs]
                tensors.update(zip(step.outputs, outputs, strict=True))
        return tensors

    def forward(self, images: tf.Tensor, *, guided: bool = False) -> tf.Tensor:
        """Logits, (n, classes), as a differentiable function of the images, to be used inside a compiled function.

        With ``guided``, every ReLU lets only positive gradients through (`gradients.guided_backprop`).
        """
        import tensorflow as tf

        images = tf.cast(images, self.dtype)
        logits = self.run({0: images}, range(len(self.steps)), guided=guided)[self.output]
        return tf.cast(logits, tf.float32)

    def cut(self, layer: str | keras.Layer | None = None) -> Cut:
        """Cut the model in two at a layer's output: images -> feature maps, and feature maps -> logits.

        Parameters
        ----------
        layer : str, keras.Layer or None
            A name (``"block5_conv3"``, or ``"backbone/block5_conv3"`` where the name alone is not unique), a layer, or
            None for the last layer with spatial maps, i.e. with an output of shape (n, h, w, channels); of a
            transformer, which has none behind its attention, for what the last attention looks at. Tokens, (n, tokens,
            width), count as maps where they are the patches of an earlier feature map, after up to 16 other tokens.
            Of a layer that is called several times the last call is taken.

        Raises
        ------
        TypeError, ValueError
            No such layer (close names are given), no spatial maps there, or it does not lead to the logits.
        """
        place = self._last_spatial() if layer is None else self._place(layer)
        if place.tensor not in self._used:
            raise ValueError(f"layer: '{place.path}' does not lead to the output of '{self.name}'; {self._choices()}")
        if not place.is_spatial:
            raise ValueError(
                f"layer: '{place.path}' has no spatial maps: its output has shape {place.shape}, "
                f"(None, height, width, channels) is needed; {self._choices()}"
            )
        return Cut(self, place, _dependent(self.steps, place.tensor))

    def _spatial_places(self) -> list[Place]:
        return [place for place in self.places if place.is_spatial and place.tensor in self._used]

    def _last_spatial(self) -> Place:
        places = self._spatial_places()
        if not places:
            raise ValueError(f"layer: '{self.name}' has no layer with spatial maps (n, height, width, channels)")
        maps = [index for index, place in enumerate(places) if place.grid is None]
        # Behind its last attention a transformer reads off the class token alone: the patches matter up to there.
        attended = next((self._looked_at(index) for index in reversed(self.attention_steps())), None)
        tokens = [index for index, place in enumerate(places) if place.grid and place.tensor == attended]
        if tokens and not (maps and maps[-1] > tokens[-1]):
            return places[tokens[-1]]
        places = [places[index] for index in maps] or places
        # A pooled 1 x 1 map has four axes as well, but no positions to tell apart.
        return next((place for place in reversed(places) if place.shape[1:3] != (1, 1)), places[-1])

    def attention_steps(self) -> list[int]:
        """Indices of the steps that are attention layers, from the first to the last."""
        return [index for index, step in enumerate(self.steps) if _is_attention(step.operation)]

    def _looked_at(self, index: int) -> int:
        """The number of the tensor whose tokens ask, in the attention layer of this step."""
        return self.steps[index].number_of(self.steps[index].argument("query"))

    def tokens(self) -> Place:
        """What the first attention layer looks at, with the grid of its patches.

        Raises
        ------
        ValueError
            The model has no attention layers in its graph, or their rows and columns are not the same tokens in every
            layer, or these are not the patches of a grid.
        """
        indices = self.attention_steps()
        if not indices:
            raise ValueError(
                f"model: '{self.name}' has no MultiHeadAttention layer in its graph (inside a layer of another kind it "
                "is out of reach); a transformer such as labutils.vit.ViT is needed"
            )
        for index in indices:
            self._refuse_other_attention(self.steps[index])
        counts = [self.steps[index].argument("query").shape[1] for index in indices]
        if len(set(counts)) > 1:
            raise ValueError(f"model: the attention layers of '{self.name}' differ in their number of tokens: {counts}")
        looked_at = self._looked_at(indices[0])
        place = next((place for place in self.places if place.tensor == looked_at and place.grid), None)
        if place is None:
            raise ValueError(
                f"model: the tokens that '{self.steps[indices[0]].operation.name}' of '{self.name}' looks at are not "
                "the patches of a feature map, row by row, with the class token before them"
            )
        return place

    def _refuse_other_attention(self, step: Step) -> None:
        """Attention whose matrix is not one of tokens by the same tokens."""
        query, value = step.argument("query"), step.argument("value")
        layer = f"model: attention layer '{step.operation.name}' of '{self.name}'"
        if len(query.shape) != 3:
            raise ValueError(
                f"{layer} looks at an input of shape {tuple(query.shape)}, (None, tokens, width) is needed"
            )
        if query is not value:
            raise ValueError(
                f"{layer} takes query and value from different tensors (cross-attention): its rows and columns are not "
                "the same tokens, and cannot be followed from layer to layer"
            )

    def reached_places(self) -> list[Place]:
        """The layers' outputs on the way to the logits, in the order in which they run; of nested models the layers."""
        reached = {*self._used, self.output}
        return [place for place in self.places if place.tensor in reached and not _is_graph(place.layer)]

    def place(self, layer: str | keras.Layer, *, argument: str = "layer") -> Place:
        """The output of any layer on the way to the logits, with spatial maps or without; errors as those of `cut`.

        They name the ``argument``.
        """
        place = self._place(layer, argument, spatial=False)
        if place.tensor not in {*self._used, self.output}:
            choices = self._choices(spatial=False)
            raise ValueError(f"{argument}: '{place.path}' does not lead to the output of '{self.name}'; {choices}")
        return place

    def _place(self, layer: str | keras.Layer, argument: str = "layer", *, spatial: bool = True) -> Place:
        import keras

        if isinstance(layer, keras.Operation):
            found = [place for place in self.places if place.layer is layer]
            if not found:
                choices = self._choices(spatial=spatial)
                raise ValueError(f"{argument}: '{layer.name}' is not a layer of '{self.name}'; {choices}")
            return found[-1]
        if not isinstance(layer, str):
            raise TypeError(
                f"{argument}: a layer's name, a layer or None is needed, not {type(layer).__name__} {layer!r}"
            )
        found = [place for place in self.places if layer in (place.path, place.path.rpartition("/")[2])]
        if not found:
            raise ValueError(
                f"{argument}: '{self.name}' has no layer '{layer}'; {self._choices(layer, spatial=spatial)}"
            )
        if len({id(place.layer) for place in found}) > 1:
            paths = sorted({place.path for place in found})
            raise ValueError(
                f"{argument}: '{layer}' is the name of several layers of '{self.name}': choose from {paths}"
            )
        return found[-1]

    def _choices(self, wrong: str | None = None, *, spatial: bool = True) -> str:
        places = self._spatial_places() if spatial else self.reached_places()
        names = list(dict.fromkeys(place.path for place in places))
        if not names:
            return "the model has no layer with spatial maps"
        short = {name.rpartition("/")[2]: name for name in names}
        close = difflib.get_close_matches(wrong, {*short, *names}, n=3) if wrong else []
        if close:
            return "close names: " + ", ".join(f"'{name}'" for name in dict.fromkeys(short.get(n, n) for n in close))
        listed = ", ".join(f"'{name}'" for name in names[-12:])
        return f"layers{' with spatial maps' * spatial}: {listed}"

    # Compiled passes ------------------------------------------------------------------------------------------------

    def compile(self, key: tuple, function: Callable, images: np.ndarray | tf.Tensor, *more: Any) -> Callable:
        """The compiled function for this key and image size; the batch stays free, so that no batch size retraces."""
        import tensorflow as tf

        key = (*key, tuple(images.shape[1:]))
        if key not in self._compiled:
            signature = [tf.TensorSpec([None, *images.shape[1:]], tf.float32), *more]
            # A partial, because TensorFlow counts retracing by code object and would warn of the fifth model's tracing.
            function = functools.partial(function)
            self._compiled[key] = tf.function(function, input_signature=signature, autograph=False)
        return self._compiled[key]

    def logits(self, images: np.ndarray | tf.Tensor) -> np.ndarray:
        """Logits of a batch, (n, classes) float32. One forward pass an image."""
        run = self.compile(("logits",), self.forward, images)
        count(forward=len(images))
        return run(images).numpy()

    def probabilities(self, images: np.ndarray | tf.Tensor) -> np.ndarray:
        """Probabilities of a batch, (n, classes) float32. One forward pass an image.

        What the model's own last softmax or sigmoid gives, as in ``model.predict`` (of a log-softmax, its exponential).
        Of a model that ends in logits: their softmax, or the sigmoid where there is a single one.
        """
        import tensorflow as tf

        own = {index: self.steps[index].operation for index in self.left_out}
        is_logarithm = any(_is_log_softmax(_activation_of(operation)) for operation in own.values())

        def run(images: tf.Tensor) -> tf.Tensor:
            tensors = self.run({0: tf.cast(images, self.dtype)}, range(len(self.steps)), stand_ins=own)
            output = tf.cast(tensors[self.output], tf.float32)
            if own:
                return tf.exp(output) if is_logarithm else output
            return tf.sigmoid(output) if self.classes == 1 else tf.nn.softmax(output)

        run = self.compile(("probabilities",), run, images)
        count(forward=len(images))
        return run(images).numpy()

    def feature_maps(self, images: np.ndarray, cut: Cut) -> tuple[np.ndarray, np.ndarray]:
        """Feature maps at a cut, (n, h, w, channels), and logits, (n, classes). One forward pass an image."""
        import tensorflow as tf

        def run(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            maps, carried = cut.trunk(images)
            return tf.cast(maps, tf.float32), cut.head(maps, carried)

        maps, logits = self.compile(("feature_maps", cut.tensor), run, images)(images)
        count(forward=len(images))
        return maps.numpy(), logits.numpy()

    def activations(
        self, images: np.ndarray, tensors: Sequence[int], summary: Callable[[tf.Tensor], Any] | None = None
    ) -> list[Any]:
        """Some tensors of the run, by number, as float32 arrays. One forward pass an image.

        With a ``summary``, what it makes of each tensor instead: the tensors themselves are not kept.
        """
        import tensorflow as tf

        def run(images: tf.Tensor) -> list[Any]:
            known = self.run({0: tf.cast(images, self.dtype)}, range(len(self.steps)))
            wanted = [tf.cast(known[number], tf.float32) for number in tensors]
            return [summary(tensor) for tensor in wanted] if summary else wanted

        results = self.compile(("activations", tuple(tensors), summary), run, images)(images)
        count(forward=len(images))
        return tf.nest.map_structure(lambda result: result.numpy(), results)

    def channel_gradients(
        self, images: np.ndarray, place: Place, channel: int, *, leak: float = 0.0, centre: bool = False
    ) -> np.ndarray:
        """The gradient of a channel's mean over positions, in the images' shape.

        With ``centre``, of the channel at the middle position. A ReLU that ends the layer leaks: it lets the share
        ``leak`` of what is negative through. One forward and one backward pass an image, to the layer and no further:
        images of any size that the layers below take.
        """
        import tensorflow as tf

        needed = {id(step) for step in _needed(self.steps, place.tensor)}
        indices = [index for index, step in enumerate(self.steps) if id(step) in needed]
        last = self.steps[indices[-1]].operation
        rectified = _is_rectifier(_activation_of(last))
        stand_ins = {indices[-1]: _without_activation(last)} if rectified else {}

        def run(images: tf.Tensor, channel: tf.Tensor, leak: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)
                known = self.run({0: tf.cast(images, self.dtype)}, indices, stand_ins=stand_ins)
                values = tf.gather(tf.cast(known[place.tensor], tf.float32), channel, axis=-1)
                if rectified:
                    values = tf.where(values > 0, values, leak * values)
                if centre and place.is_spatial:
                    if place.grid:
                        values = tf.reshape(values[:, place.beside :], (-1, *place.grid))
                    score = values[:, tf.shape(values)[1] // 2, tf.shape(values)[2] // 2]
                else:
                    score = tf.reduce_mean(tf.reshape(values, (tf.shape(values)[0], -1)), axis=1)
            return tape.gradient(score, images, unconnected_gradients="zero")

        key, numbers = ("channel_gradients", place.tensor, centre), (tf.TensorSpec([], tf.int32), tf.TensorSpec([]))
        gradient = self.compile(key, run, images, *numbers)(images, channel, leak)
        count(forward=len(images), backward=len(images))
        return gradient.numpy()

    def attention(self, images: np.ndarray) -> np.ndarray:
        """The attention of every layer, (layers, n, heads, tokens, tokens) float32. One forward pass an image."""

        def run(images: tf.Tensor) -> tf.Tensor:
            told: list[tf.Tensor] = []
            self._run_telling(images, told.append)
            return self._stacked(told)

        attention = self.compile(("attention",), run, images)(images)
        count(forward=len(images))
        return attention.numpy()

    def attention_gradients(self, images: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every layer's attention A and dS_c/dA, both (layers, n, heads, tokens, tokens) float32.

        One forward and one backward pass an image.
        """
        import tensorflow as tf

        def run(images: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            told: list[tf.Tensor] = []
            with tf.GradientTape(watch_accessed_variables=False) as tape:

                def tell(attention: tf.Tensor) -> None:
                    tape.watch(attention)
                    told.append(attention)

                score = _score(self._run_telling(images, tell), classes)
            gradients = tape.gradient(score, told, unconnected_gradients="zero")
            return self._stacked(told), self._stacked(gradients)

        run = self.compile(("attention_gradients",), run, images, tf.TensorSpec([None], tf.int32))
        attention, gradients = run(images, classes)
        count(forward=len(images), backward=len(images))
        return attention.numpy(), gradients.numpy()

    def _run_telling(self, images: tf.Tensor, tell: Callable[[tf.Tensor], None]) -> tf.Tensor:
        """Logits, every attention layer telling its attention on the way."""
        import tensorflow as tf

        told: list[int] = []
        stand_ins = {
            index: _telling_attention(self.steps[index].operation, lambda a: (told.append(1), tell(a)))
            for index in self.attention_steps()
        }
        known = self.run({0: tf.cast(images, self.dtype)}, range(len(self.steps)), stand_ins=stand_ins)
        if len(told) != len(stand_ins):
            raise ValueError(f"model: an attention layer of '{self.name}' computes its attention in a way of its own")
        return tf.cast(known[self.output], tf.float32)

    def _stacked(self, attention: list[tf.Tensor]) -> tf.Tensor:
        import tensorflow as tf

        heads = [layer.shape[1] for layer in attention]
        if len(set(heads)) > 1:
            raise ValueError(f"model: the attention layers of '{self.name}' differ in their number of heads: {heads}")
        return tf.stack([tf.cast(layer, tf.float32) for layer in attention])

    def feature_gradients(self, images: np.ndarray, classes: np.ndarray, cut: Cut) -> tuple[np.ndarray, np.ndarray]:
        """Feature maps A at a cut and the gradient dS_c/dA, both (n, h, w, channels) float32.

        One forward pass an image, and one backward pass that stops at the cut.
        """
        import tensorflow as tf

        def run(images: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            maps, carried = cut.trunk(images)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(maps)
                score = _score(cut.head(maps, carried), classes)
            gradient = tape.gradient(score, maps, unconnected_gradients="zero")
            return tf.cast(maps, tf.float32), tf.cast(gradient, tf.float32)

        key = ("feature_gradients", cut.tensor)
        maps, gradient = self.compile(key, run, images, tf.TensorSpec([None], tf.int32))(images, classes)
        count(forward=len(images), backward=len(images))
        return maps.numpy(), gradient.numpy()

    def input_gradients(
        self, images: np.ndarray, classes: np.ndarray, *, guided: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The gradient dS_c/dx, in the images' shape, and S_c, (n,). One forward and one backward pass an image."""
        import tensorflow as tf

        if guided:
            self._refuse_hidden_rectifiers()

        def run(images: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)
                score = _score(self.forward(images, guided=guided), classes)
            return tape.gradient(score, images, unconnected_gradients="zero"), score

        key = ("input_gradients", guided)
        gradient, score = self.compile(key, run, images, tf.TensorSpec([None], tf.int32))(images, classes)
        count(forward=len(images), backward=len(images))
        return gradient.numpy(), score.numpy()


class Cut:
    """A model cut in two at a layer's output. Made by `OpenModel.cut`.

    Of tokens, the patches are handed out as maps on their grid; the class token and its like are carried past.

    Attributes
    ----------
    path : str
        The layer's name, with the names of the models that it is nested in.
    shape : tuple
        Shape of the feature maps, (None, h, w, channels).
    tensor : int
        The number of the layer's output.
    """

    def __init__(self, opened: OpenModel, place: Place, head: list[int]):
        self._opened = opened
        self.path, self.shape, self.tensor = place.path, place.shape, place.tensor
        self._beside: int | None = None
        if place.grid:
            self.shape = (None, *place.grid, place.shape[2])
            self._beside = place.beside
        self._head = head
        steps = opened.steps
        self._trunk = [index for index in range(len(steps)) if index not in set(head)]
        made_in_head = {output for index in head for output in steps[index].outputs}
        # What the head needs besides the feature maps: the other arm of a skip connection around the layer.
        needed = {tensor for index in head for tensor in steps[index].inputs} - made_in_head - {place.tensor}
        self._carried = sorted(needed)

    def trunk(self, images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Images -> feature maps, (n, h, w, channels), and whatever else the head needs (skip connections)."""
        import tensorflow as tf

        tensors = self._opened.run({0: tf.cast(images, self._opened.dtype)}, self._trunk)
        maps, carried = tensors[self.tensor], [tensors[number] for number in self._carried]
        if self._beside is None:
            return maps, carried
        patches = tf.reshape(maps[:, self._beside :], (-1, *self.shape[1:]))
        return patches, [maps[:, : self._beside], *carried]

    def head(self, maps: tf.Tensor, carried: list[tf.Tensor]) -> tf.Tensor:
        """Feature maps and what `trunk` gave besides them -> logits, (n, classes) float32; differentiable."""
        import tensorflow as tf

        if self._beside is not None:
            beside, *carried = carried
            patches = tf.reshape(maps, (-1, self.shape[1] * self.shape[2], self.shape[3]))
            maps = tf.concat([tf.cast(beside, patches.dtype), patches], axis=1)
        known = {self.tensor: maps, **dict(zip(self._carried, carried, strict=True))}
        return tf.cast(self._opened.run(known, self._head)[self._opened.output], tf.float32)


def _score(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """S_c of each image, (n,); `TOP_CLASS` is resolved here, so that it costs no pass of its own."""
    import tensorflow as tf

    top = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.gather(logits, tf.where(classes == TOP_CLASS, top, classes), axis=1, batch_dims=1)


def _needed(steps: list[Step], output: int) -> list[Step]:
    """The steps that the output needs, in their order."""
    wanted, kept = {output}, []
    for step in reversed(steps):
        if wanted.intersection(step.outputs):
            wanted.update(step.inputs)
            kept.append(step)
    return kept[::-1]


def _dependent(steps: list[Step], tensor: int) -> list[int]:
    """Indices of the steps that depend on a tensor, directly or through others."""
    reached, indices = {tensor}, []
    for index, step in enumerate(steps):
        if reached.intersection(step.inputs):
            reached.update(step.outputs)
            indices.append(index)
    return indices


# ---------------------------------------------------------------------------------------------------------------------
# From a Keras model to an opened one

_opened: weakref.WeakKeyDictionary[Any, tuple[list, OpenModel]] = weakref.WeakKeyDictionary()


def open_model(model: keras.Model) -> OpenModel:
    """Open a Keras model; the same model gives the same opened one, compiled functions included, while nothing changed.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with models nested in it or not; one input, one output of shape (n, classes).

    Raises
    ------
    TypeError
        Not a Keras model.
    ValueError
        A model that cannot be opened: subclassed, not built, several inputs or outputs, an output of another shape,
        channels first, weights that are NaN, probabilities that come from anything but a last softmax or sigmoid.
    """
    _check_openable(model)
    flattened = _Flattened()
    (output,) = flattened.add(model, [next(flattened.numbers)])
    fingerprint = _fingerprint(flattened)
    if model not in _opened or _opened[model][0] != fingerprint:
        opened = OpenModel(flattened, output, model.name, model.inputs[0], model.outputs[0].shape[-1])
        _opened[model] = fingerprint, opened
    return _opened[model][1]


def _fingerprint(flattened: _Flattened) -> list[tuple]:
    """What a compiled run rests on: another activation, added layers or replaced variables must compile anew."""
    # Objects and not their ids wherever they compare by identity, so that no id can be used again while it matters.
    return [
        (
            step.operation,
            id(step.node),
            getattr(step.operation, "activation", None),
            str(getattr(step.operation, "dtype_policy", "")),
            tuple(id(variable) for variable in getattr(step.operation, "variables", ())),
        )
        for step in flattened.steps
    ]


def _check_openable(model: Any) -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(f"labutils.explain needs Keras on TensorFlow; here it runs on {keras.backend.backend()}")
    if not isinstance(model, keras.Model):
        hint = ""
        if isinstance(model, str | os.PathLike):
            hint = "; load it first: keras.saving.load_model(path)"
        elif isinstance(model, type | types.FunctionType):
            hint = "; call it first, if it makes one"
        raise TypeError(f"model: a Keras model is needed, not {type(model).__name__}{hint}")
    name = f"model: '{model.name}'"
    if isinstance(model, keras.Sequential) and not hasattr(model, "inputs"):
        raise ValueError(f"{name} is not built yet: call it on an image, or give it a keras.Input, first")
    if not _is_graph(model):
        raise ValueError(
            f"{name} is a subclassed model ({type(model).__name__}), whose layers are hidden in its `call`; "
            "a Functional or Sequential model is needed"
        )
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            listed = ", ".join(f"'{getattr(tensor, 'name', '?')}'" for tensor in tensors)
            way = {
                "input": "make a model of the images alone, that holds the other inputs fixed",
                "output": "make a model with one: keras.Model(model.inputs[0], model.outputs[0])",
            }
            raise ValueError(f"{name} has {len(tensors)} {kind}s ({listed}), one is needed; {way[kind]}")
    shape = model.outputs[0].shape
    if len(shape) != 2 or shape[-1] is None:
        raise ValueError(
            f"{name} has an output of shape {tuple(shape)}, (None, classes) is needed: one number for each class"
        )
