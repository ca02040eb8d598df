"""What the layers of a network give: their activations, statistics of them, and images that excite a channel most."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.arguments import batches, check_count, check_images, check_pair, check_seed
from labutils.explain.progress import Progress, track
from labutils.explain.receptive import ReceptiveField, receptive_fields
from labutils.explain.surgery import OpenModel, Place, open_model

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Layers = str | object | Sequence[Any] | None
"""None (all layers), a layer's name, a layer, or a list of names and layers."""

_IMAGES_AT_ONCE = 8  # all layers of a VGG16 together are some 60 MB an image


def activations(model: keras.Model, images: Any, layers: Layers = None) -> dict[str, np.ndarray]:
    """The activations of many layers, from one forward pass an image.

    The pass is the one that every method here rests on: without the last softmax or sigmoid, so that the last layer
    gives logits, and in inference mode.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential. It is not changed.
    images : array_like
        (n, H, W, C) or (H, W, C), as the model takes them (preprocessed), of any number type; or feature vectors,
        (n, features) or (features,).
    layers : None, str, keras.Layer or a list of these
        None takes every layer that leads to the output; of a layer that is called several times the last call. A name
        may have the models before it that the layer is nested in, ``"backbone/conv"``.

    Returns
    -------
    dict
        Layer -> (n, ...) float32, raw, in the order asked for or, for None, in which the layers run. Names given stay
        as they were given; layers get their name with the models that they are nested in.

    Raises
    ------
    TypeError, ValueError
        No such layer (close names are given) or images that do not fit the model.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    places = find_places(opened, layers)
    tensors = [place.tensor for place in places.values()]
    parts = [opened.activations(images[batch], tensors) for batch in batches(len(images), _IMAGES_AT_ONCE)]
    return {name: np.concatenate(arrays) for name, arrays in zip(places, zip(*parts, strict=True), strict=True)}


def find_places(opened: OpenModel, layers: Layers) -> dict[str, Place]:
    """What an argument ``layers`` asks for: names as given, or with the models they are nested in -> places."""
    if layers is None:
        return {place.path: place for place in opened.reached_places()}
    wanted = layers if isinstance(layers, list | tuple) else [layers]
    if not wanted:
        raise ValueError("layers: an empty list; None takes all layers")
    places = [opened.place(layer, argument="layers") for layer in wanted]
    return {layer if isinstance(layer, str) else place.path: place for layer, place in zip(wanted, places, strict=True)}


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """How a layer reacts to some images.

    Attributes
    ----------
    shape : tuple of int
        Of the activations of one image.
    sparsity : float
        Share of the activations that are exactly 0.
    dead : numpy.ndarray
        (channels,) bool: channels that are 0 everywhere in all images. The last axis holds the channels.
    mean, std, max : float
        Over all images, positions and channels.
    receptive_field : ReceptiveField or None
        What a unit sees of the image; None where it cannot be told, and for feature vectors.
    """

    shape: tuple[int, ...]
    sparsity: float
    dead: np.ndarray
    mean: float
    std: float
    max: float
    receptive_field: ReceptiveField | None


def activation_statistics(model: keras.Model, images: Any, layers: Layers = None) -> dict[str, LayerStatistics]:
    """Sparsity, dead channels, mean, spread and receptive field of many layers, from one forward pass an image.

    The activations themselves are not kept: memory does not grow with the number of images.

    Parameters and errors are those of `activations`.

    Returns
    -------
    dict
        Layer -> `LayerStatistics`, named and ordered as by `activations`.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    places = find_places(opened, layers)
    tensors = [place.tensor for place in places.values()]
    parts = [opened.activations(images[batch], tensors, _summary) for batch in batches(len(images), _IMAGES_AT_ONCE)]
    fields = receptive_fields(opened, images.shape[1:3]) if images.ndim == 4 else {}
    return {
        name: _statistics([part[index] for part in parts], fields.get(tensor))
        for index, (name, tensor) in enumerate(zip(places, tensors, strict=True))
    }


def _summary(tensor: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Of activations (n, ..., channels): mean, variance, maximum and number of non-zeros, (n, channels); their shape."""
    import tensorflow as tf

    positions = list(range(1, tensor.shape.rank - 1))
    return (
        tf.reduce_mean(tensor, positions),
        tf.math.reduce_variance(tensor, positions),
        tf.reduce_max(tensor, positions),
        tf.math.count_nonzero(tensor, positions),
        tf.shape(tensor)[1:],
    )


def _statistics(summaries: list[tuple[np.ndarray, ...]], field: ReceptiveField | None) -> LayerStatistics:
    means, variances, largest, nonzeros, shapes = zip(*summaries, strict=True)
    # Every image and channel has as many positions as any other, so that means may be averaged.
    means, variances = np.concatenate(means).astype(np.float64), np.concatenate(variances).astype(np.float64)
    nonzeros, shape = np.concatenate(nonzeros), tuple(int(side) for side in shapes[0])
    return LayerStatistics(
        shape=shape,
        sparsity=float(1 - nonzeros.sum() / (len(nonzeros) * np.prod(shape))),
        dead=~nonzeros.any(axis=0),
        mean=float(means.mean()),
        std=float(np.sqrt(variances.mean() + means.var())),
        max=float(np.max(np.concatenate(largest))),
        receptive_field=field,
    )


# What excites a channel ---------------------------------------------------------------------------------------------

_FIRST_STEP, _LAST_STEP = 0.1, 0.025  # root mean square of a step, where 1 is half the way from low to high
_MOMENTUM = 0.9
_SMOOTHNESS = 2.0, 1.0  # the power of the frequency by which a step's spectrum is divided, at first and at last
_DECAY = 0.02  # share by which the picture fades towards grey in the first step; none in the last
_LEAK = (
    0.1  # share of the negative that a ReLU at the end of the layer lets through in the first step; none in the last
)
_SIDE = 224  # height and width of the image where the model takes any
_START, _RESTART = 0.06, 0.3  # root mean square of a random picture: at the start, and where it has no gradient

# How the red, green and blue of photos vary: together (grey) most, then red against blue, then green against both. A
# square root of their covariance, from Olah et al.'s Lucid.
_COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])


def maximize_activation(
    model: keras.Model,
    layer: str | keras.Layer | None,
    channel: int,
    *,
    centre: bool = False,
    size: int | Sequence[int] | None = None,
    bounds: Sequence[Any] = (0.0, 255.0),
    preprocess: Callable[[np.ndarray], Any] | None = None,
    steps: int = 100,
    jitter: int = 16,
    seed: int | None = None,
    progress: Progress = None,
) -> np.ndarray:
    """An image that excites a channel of a layer most: what the channel looks for.

    Gradient ascent from faint noise. What keeps the picture readable: the image is shifted at random before each step
    (jitter); each step's spectrum is divided by a power of the frequency, that falls from 2 to 1, so that coarse shapes
    come first and fine ones last (waves longer than the unit's receptive field count as that long); colours move
    together as they do in photos; and the picture fades towards grey, less and less. Steps have a fixed length that
    shrinks, so that the scale of the activations does not matter.

    It shows one of many images, at the edge of or outside what the network was trained on, and not what the channel does
    on photos: look at the photos that excite it as well.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, on images. It is not changed.
    layer : str, keras.Layer or None
        Any layer; None takes the logits. A ReLU that ends it lets the negative through at first, and less and less, so
        that there is a gradient where it gives 0.
    channel : int
        Which channel, unit or class. A channel's mean over all positions is maximised.
    centre : bool
        Only the activation at the middle position instead of the mean.
    size : int, (int, int) or None
        Height and width of the image; None takes the model's, or 224 where it takes any. Layers below the first dense
        one may be shown other sizes.
    bounds : (low, high)
        Range of the image's values, numbers or one for each colour.
    preprocess : callable or None
        What turns images with values within the bounds into what the model takes, such as
        `labutils.vgg16.preprocess_input`; None where the model takes them as they are. It must treat each pixel by
        itself and linearly (shift, scale, order of colours), as those of ``keras.applications`` do.
    steps : int
        Forward and backward passes, to the layer and no further.
    jitter : int
        Largest shift in pixels; at most an eighth of the image's shorter side is used.
    seed : int or None
        The same seed gives the same image.
    progress : None, bool or callable
        See `labutils.explain.progress.track`.

    Returns
    -------
    numpy.ndarray
        (H, W, C) float32 within the bounds, *before* preprocessing: with the defaults ``image.astype("uint8")`` is a
        picture, and ``model(preprocess(image[None]))`` what the network says of it.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Erhan et al., Visualizing Higher-Layer Features of a Deep Network, 2009; Simonyan et al., ICLR Workshop 2014; Olah et
    al., Feature Visualization, Distill 2017, doi:10.23915/distill.00007 (jitter, spectrum, colours).

    Examples
    --------
    >>> image = maximize_activation(model, "block5_conv3", 7, preprocess=preprocess_input)  # doctest: +SKIP
    >>> plt.imshow(image.astype("uint8"))  # doctest: +SKIP
    """
    opened = open_model(model)
    place = _logits(opened) if layer is None else opened.place(layer)
    channel, shape = _check_channel(channel, place), _check_size(opened, place, size)
    steps, seed = check_count(steps, "steps"), check_seed(seed)
    jitter = min(_check_jitter(jitter), min(shape[:2]) // 8)
    low, high = _check_bounds(bounds, shape[2])
    weight, bias = (np.eye(shape[2]), 0.0) if preprocess is None else _as_linear(preprocess, shape, low, high)

    draw = np.random.default_rng(seed)
    conditioner = _Conditioner(shape, _longest_wave(opened, place, shape))
    picture = _START * conditioner(draw.standard_normal(shape), _SMOOTHNESS[1])  # -1 is low, 1 is high
    velocity = np.zeros(shape)
    for step in track(range(steps), progress, "Maximising"):
        share = step / max(steps - 1, 1)
        shift = tuple(draw.integers(-jitter, jitter + 1, 2))
        shown = np.roll(low + (picture + 1) / 2 * (high - low), shift, axis=(0, 1)) @ weight + bias
        images = shown[np.newaxis].astype(np.float32)
        (gradient,) = opened.channel_gradients(images, place, channel, leak=_LEAK * (1 - share), centre=centre)
        gradient = np.roll(gradient @ weight.T * (high - low), (-shift[0], -shift[1]), axis=(0, 1))
        if not gradient.any() and not velocity.any():  # a ReLU below is shut: start from another picture
            picture = _RESTART * conditioner(draw.standard_normal(shape), _SMOOTHNESS[1])
        direction = conditioner(gradient, _SMOOTHNESS[0] + share * (_SMOOTHNESS[1] - _SMOOTHNESS[0]))
        velocity = _MOMENTUM * velocity + (1 - _MOMENTUM) * direction
        picture *= 1 - _DECAY * (1 - share)
        picture += _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** share * velocity
        picture = np.clip(picture, -1, 1)
    return (low + (picture + 1) / 2 * (high - low)).astype(np.float32)


def _logits(opened: OpenModel) -> Place:
    return next(place for place in reversed(opened.reached_places()) if place.tensor == opened.output)


def _check_channel(channel: Any, place: Place) -> int:
    if isinstance(channel, bool) or not isinstance(channel, numbers.Integral):
        raise TypeError(f"channel: an int is needed, not {type(channel).__name__} {channel!r}")
    channels = place.shape[-1]
    if not 0 <= channel < channels:
        raise ValueError(
            f"channel: {channel} is out of range; '{place.path}' has {channels} channels, 0 to {channels - 1}"
        )
    return int(channel)


def _check_size(opened: OpenModel, place: Place, size: Any) -> tuple[int, int, int]:
    """The image's shape, which the layers up to the place can take."""
    if len(opened.input_shape) != 3:
        raise ValueError(f"model: it takes feature vectors, {opened.input_shape}; an image is needed to make a picture")
    *sides, colours = opened.input_shape
    own = tuple(side or _SIDE for side in sides)
    wanted = own if size is None else check_pair(size, "size")
    if any(side not in (None, given) for side, given in zip(sides, wanted, strict=True)):
        try:
            opened.channel_gradients(np.zeros((1, *wanted, colours), np.float32), place, 0)
        except Exception as error:  # Keras and TensorFlow raise many kinds
            raise ValueError(
                f"size: the layers up to '{place.path}' do not take images of {wanted}; the model's own size is {own}"
            ) from error
    return *wanted, colours


def _check_jitter(jitter: Any) -> int:
    if isinstance(jitter, bool) or not isinstance(jitter, numbers.Integral):
        raise TypeError(f"jitter: an int of at least 0 is needed, not {type(jitter).__name__} {jitter!r}")
    if jitter < 0:
        raise ValueError(f"jitter: an int of at least 0 is needed, not {jitter}")
    return int(jitter)


def _check_bounds(bounds: Any, colours: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        low, high = (np.broadcast_to(np.asarray(bound, np.float64), colours) for bound in bounds)
    except (TypeError, ValueError):
        raise TypeError(
            f"bounds: (low, high) is needed, each a number or {colours} numbers, one for each colour; not {bounds!r}"
        ) from None
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(f"bounds: finite values with low below high are needed, not {bounds!r}")
    return low, high


class _Conditioner:
    """Makes a gradient a step: its spectrum divided by a power of the frequency, its colours mixed, its length 1."""

    def __init__(self, shape: tuple[int, int, int], longest: int):
        down, across = np.fft.fftfreq(shape[0])[:, np.newaxis], np.fft.rfftfreq(shape[1])
        self._shape = shape
        self._frequency = np.maximum(np.hypot(down, across), 1 / longest)[..., np.newaxis]
        self._colours = _root(_COLOURS @ _COLOURS.T) if shape[2] == 3 else np.eye(shape[2])

    def __call__(self, gradient: np.ndarray, power: float) -> np.ndarray:
        spectrum = np.fft.rfft2(gradient, axes=(0, 1)) / self._frequency**power
        smooth = np.fft.irfft2(spectrum, s=self._shape[:2], axes=(0, 1)) @ self._colours
        length = np.sqrt((smooth**2).mean())
        return smooth / length if length > 0 else smooth


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values) @ vectors.T


def _longest_wave(opened: OpenModel, place: Place, shape: tuple[int, int, int]) -> int:
    """The longest wave that a unit can tell from a plain colour, in pixels: as long as its receptive field."""
    field = receptive_fields(opened, shape[:2])[place.tensor]
    return min(max(shape[:2]), max(field.size)) if field else max(shape[:2])


def _as_linear(
    preprocess: Callable[[np.ndarray], Any], shape: tuple[int, int, int], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Preprocessing as ``pixel @ weight + bias``, found by trying it on random images of which the second is dimmer."""
    draw = np.random.default_rng(0)
    images = low + draw.random((2, *shape)) * (high - low) * np.array([1.0, 0.5]).reshape(2, 1, 1, 1)
    given = [np.asarray(preprocess(image[np.newaxis].astype(np.float32).copy()), np.float64) for image in images]
    if any(values.shape != (1, *shape) for values in given):
        raise ValueError(f"preprocess: it turned images of shape {(1, *shape)} into {given[0].shape}")
    pixels = np.concatenate([images.reshape(-1, shape[2]), np.ones((images[..., 0].size, 1))], axis=1)
    values = np.concatenate(given).reshape(-1, shape[2])
    solution = np.linalg.lstsq(pixels, values, rcond=None)[0]
    if np.abs(pixels @ solution - values).max() > 1e-3 * np.abs(values).max():
        raise ValueError("preprocess: it does not treat each pixel by itself and linearly (shift, scale, colour order)")
    return solution[:-1], solution[-1]
