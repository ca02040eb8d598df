"""Receptive fields: which window of the image a unit can see, by exact arithmetic along the model's graph.

Along one axis, unit i of a layer sees the pixels ``start + i * stride`` to ``start + i * stride + size - 1``. Each layer
turns the window of its input into its own; where branches meet, the window that encloses all of theirs counts.
Windows reach beyond the image where the layers pad.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from labutils.explain.surgery import OpenModel, Step

# What works on each position by itself: layers, and the raw operations that the layers are made of.
_LAYERS = """
    Activation ActivityRegularization Add AlphaDropout Average BatchNormalization Dense Dropout ELU
    GaussianDropout GaussianNoise Identity LeakyReLU Maximum Minimum Multiply Normalization PReLU ReLU Rescaling
    SpatialDropout2D Subtract
"""
_OPERATIONS = """
    Absolute Add Cast Clip Divide Elu Exp Gelu HardSigmoid HardSilu HardTanh LeakyRelu Log Maximum Minimum
    Multiply Negative Relu Relu6 Selu Sigmoid Silu Softplus Sqrt Square Subtract Tanh TrueDivide
"""


@dataclass(frozen=True)
class ReceptiveField:
    """The window of the image that each unit of a layer can see. All pairs are (down, across), in pixels.

    The unit at (row, column) sees from ``start + (row, column) * stride``, `size` pixels each way. A layer whose units
    have no positions (dense, flattened, pooled over all positions) has the stride 0: the window, cut to the image, that
    all its units see together.

    Attributes
    ----------
    size : (int, int)
        Height and width of the window.
    stride : (int, int)
        From a unit's window to the next unit's.
    start : (int, int)
        First row and column that the unit at (0, 0) sees; below 0 where padding reaches beyond the image.
    image : (int, int)
        Height and width of the image.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    start: tuple[int, int]
    image: tuple[int, int]

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the window of the unit at (0, 0); 0 is the middle of the first pixel."""
        return self.start[0] + (self.size[0] - 1) / 2, self.start[1] + (self.size[1] - 1) / 2

    def window(self, row: int = 0, column: int = 0) -> tuple[slice, slice]:
        """The pixels that a unit sees, cut to the image, for indexing: ``photo[field.window(3, 5)]``."""
        starts = [
            first + place * step for first, place, step in zip(self.start, (row, column), self.stride, strict=True)
        ]
        down, across = (
            slice(min(max(start, 0), side), min(max(start + size, 0), side))
            for start, size, side in zip(starts, self.size, self.image, strict=True)
        )
        return down, across


@dataclass(frozen=True)
class _Axis:
    """The windows of `units` units along one axis."""

    start: int
    size: int
    stride: int
    units: int

    def together(self, side: int) -> _Axis:
        """The window that all units see together, cut to the image's side."""
        start = max(self.start, 0)
        end = min(self.start + (self.units - 1) * self.stride + self.size, side)
        return _Axis(start, end - start, 0, 1)

    def slid_over(self, kernel: int, stride: int, dilation: int, padding: str) -> _Axis:
        reach = (kernel - 1) * dilation + 1
        if padding == "same":  # TensorFlow's rule: the odd pixel of padding goes to the end
            units = -(-self.units // stride)
            before = max((units - 1) * stride + reach - self.units, 0) // 2
        else:
            units, before = (self.units - reach) // stride + 1, 0
        size = self.size + (reach - 1) * self.stride
        return _Axis(self.start - before * self.stride, size, self.stride * stride, units)

    def padded(self, before: int, after: int) -> _Axis:
        return _Axis(self.start - before * self.stride, self.size, self.stride, self.units + before + after)

    def joined(self, other: _Axis) -> _Axis | None:
        """The windows that enclose both; None where they move in different strides."""
        if self.units != other.units or (self.units > 1 and self.stride != other.stride):
            return None
        start = min(self.start, other.start)
        return _Axis(start, max(self.start + self.size, other.start + other.size) - start, self.stride, self.units)


_Window = tuple[_Axis, _Axis]


def receptive_fields(opened: OpenModel, image: tuple[int, int]) -> dict[int, ReceptiveField | None]:
    """The receptive field of every tensor of a run on images of this height and width, by the tensor's number.

    None where it cannot be told: behind a layer whose reach is not known here (a lambda, a subclassed layer, an
    upsampling) for as long as there are positions.
    """
    pixels = _Axis(0, 1, 1, image[0]), _Axis(0, 1, 1, image[1])
    windows: dict[int, _Window | None] = {0: pixels}
    for step in opened.steps:
        window = _after(step, [windows[number] for number in step.inputs], image)
        windows.update(dict.fromkeys(step.outputs, window))
    return {number: window and _field(window, image) for number, window in windows.items()}


def _field(window: _Window, image: tuple[int, int]) -> ReceptiveField:
    down, across = window
    return ReceptiveField((down.size, across.size), (down.stride, across.stride), (down.start, across.start), image)


def _after(step: Step, inputs: list[_Window | None], image: tuple[int, int]) -> _Window | None:
    """The window behind a step, from those of its inputs."""
    import keras

    if not inputs or None in inputs:
        return None
    operation, shape = step.operation, step.node.outputs[0].shape
    sliding, layers = _sliding(operation), keras.layers
    if len(shape) != 4 or isinstance(operation, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D):
        return _together(inputs, image)
    if sliding is not None:
        kernels, strides, dilations, padding = sliding
        return tuple(
            axis.slid_over(*numbers, padding)
            for axis, *numbers in zip(inputs[0], kernels, strides, dilations, strict=True)
        )
    if isinstance(operation, layers.ZeroPadding2D):
        return tuple(axis.padded(*sides) for axis, sides in zip(inputs[0], operation.padding, strict=True))
    if isinstance(operation, layers.Cropping2D):
        crops = [(-before, -after) for before, after in operation.cropping]
        return tuple(axis.padded(*sides) for axis, sides in zip(inputs[0], crops, strict=True))
    if _is_position_by_position(operation):
        return _joined(inputs, image)
    # Whatever it does, it sees no more than its inputs do; where those have no positions, that is told.
    return _together(inputs, image) if all(axis.stride == 0 for window in inputs for axis in window) else None


def _together(windows: list[_Window], image: tuple[int, int]) -> _Window:
    """The window that all units of all inputs see together."""
    joined = [[window[axis].together(side) for window in windows] for axis, side in enumerate(image)]
    return reduce(_Axis.joined, joined[0]), reduce(_Axis.joined, joined[1])


def _joined(windows: list[_Window], image: tuple[int, int]) -> _Window | None:
    """The windows behind a layer that combines its inputs position by position."""
    axes = []
    for side, along in zip(image, zip(*windows, strict=True), strict=True):
        if len({axis.units for axis in along}) > 1:  # one position, broadcast to all: as in squeeze-and-excitation
            along = [axis.together(side) for axis in along]
        axes.append(reduce(lambda one, other: one and one.joined(other), along))
    return None if None in axes else tuple(axes)


def _sliding(operation: Any) -> tuple[Any, Any, Any, str] | None:
    """Kernel, strides, dilations (each a pair) and padding of a convolution or pooling; None of anything else."""
    from keras import layers

    if isinstance(operation, layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D):
        return operation.kernel_size, operation.strides, operation.dilation_rate, operation.padding
    if isinstance(operation, layers.MaxPooling2D | layers.AveragePooling2D):
        return operation.pool_size, operation.strides, (1, 1), operation.padding
    return None


def _is_position_by_position(operation: Any) -> bool:
    from keras import Layer, layers

    if not isinstance(operation, Layer):
        return type(operation).__name__ in _OPERATIONS.split()
    if isinstance(operation, layers.Concatenate | layers.Softmax | layers.LayerNormalization):
        return operation.axis in (-1, 3, [-1], [3])
    return isinstance(operation, tuple(getattr(layers, name) for name in _LAYERS.split()))
