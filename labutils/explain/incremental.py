"""Logits of an image under many patches, each layer computed only where the patch can reach.

The idea of Krypton (Nakandala et al., SIGMOD 2019). A patch changes a window of the image; a convolution over that
changes a window that is a little larger, and so on up. The feature maps of the image without a patch are computed once
and kept. For a patch, a layer is then run on the smallest piece of its input that its changed outputs see: the changed
window, pasted into the kept maps, with what lies beyond their border (zeros for a convolution) around it. After the
last such layer the window is pasted into the kept maps whole, and the rest of the model, the head, is run on them.

A batch of patches goes through one convolution call, so its windows must have one size: the largest that one of its
patches needs, windows near the border being moved inwards. What a window holds beyond its patch's reach is computed
again and comes out as it was. Batches are made of patches whose windows are about equally large: a patch at the border
reaches less, because its windows are cut off there.

All of the geometry is in tables of indices that are made in NumPy (`_Layout`); the compiled run only gathers what they
say and applies the layers. So it is compiled once, for all window sizes, patches and strides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.surgery import OpenModel, Step, stand_in

if TYPE_CHECKING:
    import tensorflow as tf

    from labutils.explain.occlusion import Patches

# ---------------------------------------------------------------------------------------------------------------------
# Which layers there are


@dataclass(frozen=True)
class Axis:
    """How a layer's outputs lie on its inputs along the height or the width."""

    inputs: int
    outputs: int
    extent: int
    stride: int
    before: int  # positions of padding before the first input

    def reached(self, first: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The outputs, first to end, that see one of the inputs, first to end (exclusive)."""
        lowest = -((self.extent - 1 - self.before - first) // self.stride)
        highest = (end - 1 + self.before) // self.stride + 1
        lowest = np.clip(lowest, 0, self.outputs)
        return lowest, np.clip(highest, lowest, self.outputs)

    def seen(self, first: np.ndarray, count: int) -> np.ndarray:
        """The inputs that `count` outputs from each first one on see, (patches, inputs); some may lie outside."""
        length = (count - 1) * self.stride + self.extent
        return (first * self.stride - self.before)[:, np.newaxis] + np.arange(length)


@dataclass(frozen=True)
class Sliding:
    """A layer that computes each output position from a neighbourhood: its geometry, for any image size."""

    extent: tuple[int, int]
    strides: tuple[int, int]
    padding: str | tuple[tuple[int, int], tuple[int, int]]
    outside: float = 0.0  # what the layer sees beyond the border

    def axes(self, size: tuple[int, int]) -> tuple[Axis, Axis]:
        """Height and width, for an input of this size."""
        return self._axis(0, size[0]), self._axis(1, size[1])

    def _axis(self, axis: int, inputs: int) -> Axis:
        extent, stride = self.extent[axis], self.strides[axis]
        if self.padding == "same":
            outputs = -(-inputs // stride)
            before = max((outputs - 1) * stride + extent - inputs, 0) // 2
        else:
            before, after = (0, 0) if self.padding == "valid" else self.padding[axis]
            outputs = (inputs + before + after - extent) // stride + 1
        return Axis(inputs, outputs, extent, stride, before)


def _sliding(operation: Any) -> Sliding | None:
    """The geometry of a convolution, a pooling, a padding or a cropping; None for anything else."""
    from keras import layers

    kind = type(operation)  # and not isinstance: a subclass may compute something else
    if kind in (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D):
        if getattr(operation, "groups", 1) != 1 or not _is_pointwise_activation(operation.activation):
            return None  # grouped convolutions go through XLA, which would compile for each window size
        extent = [1 + (k - 1) * d for k, d in zip(operation.kernel_size, operation.dilation_rate, strict=True)]
        return Sliding(tuple(extent), tuple(operation.strides), operation.padding)
    if kind in (layers.MaxPooling2D, layers.AveragePooling2D):
        outside = -np.inf if kind is layers.MaxPooling2D else 0.0
        return Sliding(tuple(operation.pool_size), tuple(operation.strides), operation.padding, outside)
    if kind is layers.ZeroPadding2D:
        return Sliding((1, 1), (1, 1), operation.padding)
    if kind is layers.Cropping2D:
        return Sliding((1, 1), (1, 1), tuple((-before, -after) for before, after in operation.cropping))
    return None


def _on_window(operation: Any, real: tf.Tensor) -> Callable:
    """The layer on windows that already hold what lies beyond the border; `real`, (b, h, w, 1), is 0 there, 1 inside."""
    from keras import layers

    if isinstance(operation, layers.ZeroPadding2D | layers.Cropping2D):
        return lambda windows: windows
    valid = stand_in(operation, padding="valid")
    if isinstance(operation, layers.AveragePooling2D) and operation.padding == "same":
        return lambda windows: valid(windows) / valid(real)  # the mean over those inside only
    return valid


def _is_pointwise_activation(activation: Any) -> bool:
    """Whether an activation treats each position on its own: Keras's do, of a function of one's own nobody knows."""
    import keras

    if isinstance(activation, keras.Layer):
        return _is_pointwise(activation)
    return activation is None or getattr(activation, "__module__", "").startswith("keras.src.activations")


def _is_pointwise(operation: Any) -> bool:
    """Whether an operation with one input treats each position on its own, and all positions alike."""
    from keras import layers

    kind = type(operation)
    if kind in (layers.Activation, layers.Dense):
        return _is_pointwise_activation(operation.activation)
    if kind in (layers.BatchNormalization, layers.Normalization, layers.LayerNormalization, layers.Softmax):
        return np.ravel(operation.axis).tolist() in ([-1], [3])
    if kind is layers.Rescaling:
        return np.ndim(operation.scale) <= 1 and np.ndim(operation.offset) <= 1
    if kind is layers.PReLU:
        return list(operation.shared_axes or ()) == [1, 2]
    return kind in (
        layers.ReLU,
        layers.LeakyReLU,
        layers.ELU,
        layers.Identity,
        layers.Dropout,
        layers.SpatialDropout2D,
        layers.GaussianDropout,
        layers.GaussianNoise,
        layers.ActivityRegularization,
    )


def _is_pointwise_arithmetic(step: Step) -> bool:
    """Whether a step is a raw operation on each number alone: `keras.ops.relu(x)`, or `x / 127.5 - 1`."""
    import keras

    arguments = keras.tree.flatten([step.node.arguments.args, step.node.arguments.kwargs])
    others = [value for value in arguments if not isinstance(value, keras.KerasTensor)]
    names = ("Relu", "Relu6", "LeakyRelu", "Elu", "Silu", "Gelu", "Tanh", "Sigmoid")
    names += ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")
    is_known = type(step.operation).__name__ in names and not isinstance(step.operation, keras.Layer)
    return is_known and all(np.ndim(value) == 0 for value in others)


# ---------------------------------------------------------------------------------------------------------------------
# The chain


@dataclass(frozen=True)
class Stage:
    """A sliding layer, the step of this index, and the steps after it that treat each position on its own."""

    index: int
    sliding: Sliding
    pointwise: tuple[int, ...]
    source: int
    result: int
    cost: float  # multiplications for each output position, about


@dataclass(frozen=True)
class Chain:
    """A model as a chain of stages, with pointwise steps before it and a head of any kind after it."""

    before: tuple[int, ...]
    stages: tuple[Stage, ...]
    head: tuple[int, ...]


def find_chain(opened: OpenModel) -> tuple[Chain | None, str]:
    """The model as a chain, or None where it is none; and the reason, in words."""
    groups, taken = _walk(opened)
    before, *slidings = groups
    head = tuple(range(taken, len(opened.steps)))
    if not slidings:
        return None, "no convolution or pooling layer that can be computed in windows"
    by_neighbourhood = [index for index in head if _is_local(opened.steps[index])]
    if by_neighbourhood:
        stop, after = (opened.steps[index].operation for index in (taken, by_neighbourhood[0]))
        rest = "" if after is stop else f", before '{after.name}'"
        return None, f"the chain of layers ends at '{stop.name}' ({type(stop).__name__}){rest}"
    stages = tuple(_stage(opened, indices) for indices in slidings)
    return Chain(tuple(before), stages, head), f"a chain of layers up to '{opened.steps[taken - 1].operation.name}'"


def _is_local(step: Step) -> bool:
    """Whether a step is of those that make a network expensive, and so must not be left to the head."""
    from keras import layers

    kinds = layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D, layers.SeparableConv2D
    kinds += layers.MaxPooling2D, layers.AveragePooling2D
    # Of maps with one position, as after global pooling, a convolution is a dense layer.
    return isinstance(step.operation, kinds) and tuple(step.node.input_tensors[0].shape[1:3]) != (1, 1)


def _walk(opened: OpenModel) -> tuple[list[list[int]], int]:
    """The steps of the chain in groups, each but the first led by a sliding layer; and the number of steps in it."""
    uses: dict[int, int] = {}
    for step in opened.steps:
        for tensor in step.inputs:
            uses[tensor] = uses.get(tensor, 0) + 1
    groups: list[list[int]] = [[]]
    tensor = 0
    for index, step in enumerate(opened.steps):
        if uses[tensor] != 1 or not _can_follow(opened, index, tensor):
            return groups, index
        if _sliding(step.operation):
            groups.append([])
        groups[-1].append(index)
        tensor = step.outputs[0]
    return groups, len(opened.steps)


def _can_follow(opened: OpenModel, index: int, tensor: int) -> bool:
    step = opened.steps[index]
    # A stand-in for a layer whose softmax is left out would bring it back.
    if step.inputs != (tensor,) or len(step.outputs) != 1 or index in opened.left_out:
        return False
    is_spatial = len(step.node.input_tensors[0].shape) == 4
    is_known = _sliding(step.operation) or _is_pointwise(step.operation) or _is_pointwise_arithmetic(step)
    return is_spatial and bool(is_known)


def _stage(opened: OpenModel, indices: list[int]) -> Stage:
    first, last = opened.steps[indices[0]], opened.steps[indices[-1]]
    sliding = _sliding(first.operation)
    return Stage(indices[0], sliding, tuple(indices[1:]), first.inputs[0], last.outputs[0], _cost(first, sliding))


def _cost(step: Step, sliding: Sliding) -> float:
    weights = sum(np.prod(variable.shape) for variable in step.operation.weights)
    return float(weights + np.prod(sliding.extent) * step.node.input_tensors[0].shape[-1])


# ---------------------------------------------------------------------------------------------------------------------
# Where the windows lie


@dataclass(frozen=True)
class _Reach:
    """Along one axis: what a patch changes in each stage's output, first to end, (patches, stages)."""

    first: np.ndarray
    end: np.ndarray

    @property
    def widths(self) -> np.ndarray:
        return self.end - self.first


def _reach(axes: list[Axis], starts: np.ndarray, side: int) -> _Reach:
    first, end = starts, starts + side
    intervals = []
    for axis in axes:
        first, end = axis.reached(first, end)
        intervals.append((first, end))
    return _Reach(*(np.stack(ends, axis=-1) for ends in zip(*intervals, strict=True)))


def _windows(axes: list[Axis], starts: np.ndarray, side: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Along one axis, for each stage and then the head: the inputs to gather, and the changed window in them.

    Yields
    ------
    seen : (patches, inputs)
        Positions in the stage's input; those beyond the border are negative or too large.
    start : (patches,)
        Where the window begins that the stage before computed (for the first stage: the patch).
    width : int
        How wide it is.
    """
    reach = _reach(axes, starts, side)
    start, width = starts, side
    for number, axis in enumerate(axes):
        next_width = max(1, reach.widths[:, number].max())
        next_start = np.minimum(reach.first[:, number], axis.outputs - next_width)
        yield axis.seen(next_start, next_width), start, width
        start, width = next_start, next_width
    yield np.broadcast_to(np.arange(axes[-1].outputs), (len(starts), axes[-1].outputs)), start, width


def _table(
    size: tuple[int, int],
    rows: tuple[np.ndarray, np.ndarray, int],
    columns: tuple[np.ndarray, np.ndarray, int],
    own_is_whole: bool,
) -> np.ndarray:
    """Indices (patches, h, w) into: one position beyond the border, the kept map, and the patches' own windows.

    With ``own_is_whole`` there is in the place of the windows one whole map, the same for all patches (the fill).
    """
    (row, top, height), (column, left, width) = rows, columns
    row, column = row[:, :, np.newaxis], column[:, np.newaxis, :]
    down, right = row - top[:, np.newaxis, np.newaxis], column - left[:, np.newaxis, np.newaxis]
    kept = 1 + row * size[1] + column
    if own_is_whole:
        own = kept + size[0] * size[1]
    else:
        own = 1 + size[0] * size[1] + (np.arange(len(row))[:, np.newaxis, np.newaxis] * height + down) * width + right
    is_own = (down >= 0) & (down < height) & (right >= 0) & (right < width)
    is_inside = (row >= 0) & (row < size[0]) & (column >= 0) & (column < size[1])
    return np.where(is_inside, np.where(is_own, own, kept), 0).astype(np.int32)


def _classes(widths: np.ndarray, costs: np.ndarray, number: int) -> list[np.ndarray]:
    """Positions along an axis in so many classes of about equal windows: the least cost when each is as wide as its widest.

    widths : (positions, stages); costs : (stages,), for each unit of width.
    """
    order = np.argsort(widths @ costs, kind="stable")
    n = len(order)
    # cost[i, j]: of one class with the positions i to j (inclusive) in this order.
    cost = np.full((n, n), np.inf)
    for i in range(n):
        widest = np.maximum.accumulate(widths[order[i:]], axis=0)
        cost[i, i:] = (widest @ costs) * np.arange(1, n - i + 1)
    best, cuts = cost[0], []
    for _ in range(min(number, n) - 1):
        # The last class begins at i >= 1: the best of what is before it, and itself.
        total = best[:-1, np.newaxis] + cost[1:]
        cuts.append(total.argmin(axis=0) + 1)
        best = total.min(axis=0)
    ends, end = [n], n
    for cut in reversed(cuts):
        end = int(cut[end - 1])
        ends.append(end)
    return np.split(order, ends[:0:-1])


# ---------------------------------------------------------------------------------------------------------------------
# The route


class IncrementalRoute:
    """Occluded images through the windows that the patches reach; see the module's docstring."""

    def __init__(self, opened: OpenModel, chain: Chain, patches: Patches):
        self._opened, self._chain, self._patches = opened, chain, patches
        self._axes: list[tuple[Axis, Axis]] = []
        self._sizes = [patches.size]
        for stage in chain.stages:
            self._axes.append(stage.sliding.axes(self._sizes[-1]))
            self._sizes.append(tuple(axis.outputs for axis in self._axes[-1]))

    def batches(self, batch_size: int) -> list[np.ndarray]:
        """The numbers of the patches of each batch, patches with about equal windows together."""
        patches = self._patches
        axes = list(zip(*self._axes, strict=True))
        widths = [
            _reach(list(axis), starts, side).widths
            for axis, starts, side in zip(axes, (patches.tops, patches.lefts), patches.sides, strict=True)
        ]
        costs = np.array([stage.cost for stage in self._chain.stages])
        number = max(1, round(np.sqrt(patches.count / batch_size)))  # so that most batches are nearly full
        rows, columns = (
            _classes(mine, costs * other.mean(axis=0), number) for mine, other in (widths, reversed(widths))
        )
        groups = [np.add.outer(row * len(patches.lefts), column).ravel() for row in rows for column in columns]
        return [part for group in groups for part in np.array_split(group, -(-len(group) // batch_size))]

    def start(self, image: np.ndarray, fill: np.ndarray) -> tuple[np.ndarray, tuple]:
        """Logits of the image, (classes,), and what `logits` needs: image, fill and all kept maps."""
        import tensorflow as tf

        sources = [stage.source for stage in self._chain.stages[1:]] + [self._chain.stages[-1].result]

        def run(images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            tensors = self._opened.run({0: tf.cast(images, self._opened.dtype)}, range(len(self._opened.steps)))
            return tf.cast(tensors[self._opened.output], tf.float32), [_positions(tensors[t]) for t in sources]

        pair = np.stack([image, fill])
        logits, kept = self._opened.compile(("kept maps",), run, pair)(pair[:1])
        return logits.numpy()[0], (pair, kept)

    def logits(self, start: tuple, numbers: np.ndarray) -> np.ndarray:
        """Logits of the image under each of these patches, (patches, classes)."""
        import tensorflow as tf

        pair, kept = start
        index = tf.TensorSpec([None, None, None], tf.int32)
        specs = [tf.TensorSpec([None, maps.shape[-1]], maps.dtype) for maps in kept]
        run = self._opened.compile(("windows",), self._run, pair, specs, [index] * len(self._sizes))
        return run(pair, kept, self._tables(numbers)).numpy()

    def _tables(self, numbers: np.ndarray) -> list[np.ndarray]:
        rows, columns = (
            _windows(list(axis), starts, side)
            for axis, starts, side in zip(
                zip(*self._axes, strict=True), self._patches.corners(numbers), self._patches.sides, strict=True
            )
        )
        return [
            _table(size, row, column, own_is_whole=number == 0)
            for number, (size, row, column) in enumerate(zip(self._sizes, rows, columns, strict=True))
        ]

    def _run(self, pair: tf.Tensor, kept: list[tf.Tensor], tables: list[tf.Tensor]) -> tf.Tensor:
        """The compiled run of a batch."""
        import tensorflow as tf

        opened, stages = self._opened, self._chain.stages
        first = stages[0].source
        image, fill = tf.unstack(opened.run({0: tf.cast(pair, opened.dtype)}, self._chain.before)[first], num=2)
        kept, windows = [_positions(image), *kept], fill
        for stage, maps, table in zip(stages, kept, tables, strict=False):
            inputs = _gather(maps, windows, table, stage.sliding.outside)
            real = tf.cast(table > 0, inputs.dtype)[..., tf.newaxis]
            layer = {stage.index: _on_window(opened.steps[stage.index].operation, real)}
            windows = opened.run({stage.source: inputs}, [stage.index, *stage.pointwise], stand_ins=layer)[stage.result]
        pasted = _gather(kept[-1], windows, tables[-1], 0.0)
        pasted = tf.reshape(pasted, [-1, *self._sizes[-1], pasted.shape[-1]])  # the head may need to know its size
        return tf.cast(opened.run({stages[-1].result: pasted}, self._chain.head)[opened.output], tf.float32)


def _positions(maps: tf.Tensor) -> tf.Tensor:
    """(..., channels) -> (positions, channels)."""
    import tensorflow as tf

    return tf.reshape(maps, [-1, maps.shape[-1]])


def _gather(kept: tf.Tensor, windows: tf.Tensor, table: tf.Tensor, outside: float) -> tf.Tensor:
    """What a table says: position 0 lies outside, then come the kept map's and then the windows'."""
    import tensorflow as tf

    beyond = tf.fill([1, kept.shape[-1]], tf.constant(outside, kept.dtype))
    return tf.gather(tf.concat([beyond, kept, _positions(windows)], axis=0), table)
