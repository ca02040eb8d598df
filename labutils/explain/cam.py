"""Class activation maps: the feature maps of a layer, weighted by what they mean to a class.

Notation, as in the papers: A is the layer's feature maps, (n, h, w, channels); S_c the logit of class c; g = dS_c/dA.
Every map is cut at zero (ReLU) at the layer's resolution and then resized to the image, bilinearly, with half-pixel
centres. Values are raw: scaling for display belongs to the plots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.arguments import Classes, batches, check_classes, check_count, check_images, refuse_broken
from labutils.explain.progress import Progress, track
from labutils.explain.surgery import TOP_CLASS, Cut, OpenModel, count, open_model

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_IMAGES_AT_ONCE = 8  # keeps memory flat for long batches, and low for early layers


# The maps at the layer's resolution, (n, h, w), from A and g in float64.


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0.0)


def _weighted_sum(weights: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """ReLU(sum_k w_k A_k)."""
    return _relu(np.einsum("nk,nhwk->nhw", weights, maps))


def _grad_cam(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return _weighted_sum(gradient.mean(axis=(1, 2)), maps)


def _grad_cam_plus_plus(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    # g^2 / (2 g^2 + g^3 sum A) with g^2 cancelled: a small gradient neither underflows nor meets a fixed epsilon.
    denominator = 2.0 + gradient * maps.sum(axis=(1, 2), keepdims=True)
    defined = (gradient != 0.0) & (denominator != 0.0)
    alpha = np.divide(1.0, denominator, out=np.zeros_like(denominator), where=defined)
    return _weighted_sum((alpha * _relu(gradient)).sum(axis=(1, 2)), maps)


def _layer_cam(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return _relu((_relu(gradient) * maps).sum(axis=-1))


_FAMILY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "grad_cam": _grad_cam,
    "grad_cam_plus_plus": _grad_cam_plus_plus,
    "layer_cam": _layer_cam,
}


def grad_cam(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    layer: str | keras.Layer | None = None,
    upsample: bool = True,
) -> np.ndarray:
    """Grad-CAM: each channel weighted by the mean of its gradient; ``ReLU(sum_k w_k A_k)``, ``w_k = mean_ij g``.

    One forward pass and one backward pass that stops at the layer.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential; a last softmax or sigmoid is left out. It is not changed.
    images : array_like
        (n, H, W, C) or (H, W, C), as the model takes them (preprocessed), of any number type.
    classes : None, int or n ints
        None takes each image's top class.
    layer : str, keras.Layer or None
        Where to read the feature maps; None takes the last layer with spatial maps, of a transformer what its last
        attention looks at. Tokens are taken as maps where they are patches; the class token is left out.
    upsample : bool
        False leaves the maps at the layer's resolution, (n, h, w).

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw, in logits; not negative.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.
    """
    return _cams(["grad_cam"], model, images, classes, layer, upsample)["grad_cam"]


def grad_cam_plus_plus(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    layer: str | keras.Layer | None = None,
    upsample: bool = True,
) -> np.ndarray:
    """Grad-CAM++: positive gradients, weighted by position, so that several instances of a class all count.

    ``alpha = g^2 / (2 g^2 + g^3 sum_ij A)``, 0 where the denominator is 0; ``w_k = sum_ij alpha ReLU(g)``;
    map = ``ReLU(sum_k w_k A_k)``. The paper derives alpha for the score exp(S_c); that factor cancels in alpha and is
    left out of w, so the map stays finite however large the logit is.

    Parameters, returns and errors are those of `grad_cam`.

    References
    ----------
    Chattopadhay et al., Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks,
    WACV 2018.
    """
    return _cams(["grad_cam_plus_plus"], model, images, classes, layer, upsample)["grad_cam_plus_plus"]


def layer_cam(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    layer: str | keras.Layer | None = None,
    upsample: bool = True,
) -> np.ndarray:
    """Layer-CAM: each position weighted by its own positive gradient; ``ReLU(sum_k ReLU(g_k) A_k)``.

    Without an average over positions it stays sharp in early layers too.

    Parameters, returns and errors are those of `grad_cam`.

    References
    ----------
    Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 2021.
    """
    return _cams(["layer_cam"], model, images, classes, layer, upsample)["layer_cam"]


def cam_family(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    layer: str | keras.Layer | None = None,
    upsample: bool = True,
) -> dict[str, np.ndarray]:
    """Grad-CAM, Grad-CAM++ and Layer-CAM together, for the one forward and one backward pass that each needs alone.

    Parameters and errors are those of `grad_cam`.

    Returns
    -------
    dict
        ``"grad_cam"``, ``"grad_cam_plus_plus"``, ``"layer_cam"`` -> maps as `grad_cam` returns them.
    """
    return _cams(list(_FAMILY), model, images, classes, layer, upsample)


def _cams(
    names: list[str],
    model: keras.Model,
    images: Any,
    classes: Classes,
    layer: str | keras.Layer | None,
    upsample: bool,
) -> dict[str, np.ndarray]:
    opened = open_model(model)
    images = check_images(opened, images)
    classes = check_classes(opened, classes, len(images))
    cut = opened.cut(layer)
    size = images.shape[1:3] if upsample else None
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    sums: list[np.ndarray] = []  # NaN or infinite where something in them is
    for batch in batches(len(images), _IMAGES_AT_ONCE):
        maps, gradient = opened.feature_gradients(images[batch], classes[batch], cut)
        maps, gradient = maps.astype(np.float64), gradient.astype(np.float64)
        sums.append((maps + gradient).sum(axis=(1, 2, 3)))
        for name in names:
            parts[name].append(_finish(_FAMILY[name](maps, gradient), size))
    refuse_broken(opened, np.concatenate(sums))
    return {name: np.concatenate(maps) for name, maps in parts.items()}


def _finish(maps: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Maps (n, h, w) as float32, resized to (n, H, W) where a size is given."""
    maps = maps.astype(np.float32)
    return maps if size is None else _resize(maps, size).numpy()


def _resize(maps: np.ndarray | tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """(n, h, w) -> (n, H, W): bilinear, half-pixel centres, no antialiasing."""
    import tensorflow as tf

    return tf.image.resize(maps[..., tf.newaxis], size, method="bilinear", antialias=False)[..., 0]


def score_cam(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    layer: str | keras.Layer | None = None,
    upsample: bool = True,
    batch_size: int = 32,
    max_channels: int | None = None,
    progress: Progress = None,
) -> np.ndarray:
    """Score-CAM: each channel weighted by the logit that is left when the channel's map masks the image. No gradients.

    Each channel's map is upsampled and scaled to [0, 1]: H_k. The weights are the softmax over channels of the score
    increase ``S_c(x * H_k) - S_c(0)`` over the all-zero image; map = ``ReLU(sum_k w_k A_k)``. A channel whose map is
    constant masks nothing and is skipped; where all are, the map is zero. S_c(0) is the same for every channel and so
    cancels in the softmax: the pass that it would take is saved.

    One forward pass an image, and one for each channel that is not constant, in batches; memory does not grow with the
    number of channels.

    Parameters
    ----------
    model, images, classes, layer, upsample
        As for `grad_cam`. "Masked" means pulled towards 0 in the model's input units: for VGG16 the mean colour.
    batch_size : int
        Masked images in a forward pass.
    max_channels : int or None
        Take only the channels whose maps vary most (standard deviation over positions), as Faster Score-CAM does;
        None takes all.
    progress : None, bool or callable
        See `labutils.explain.progress.track`.

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw, in the units of the feature maps; not negative.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, CVPR Workshops 2020.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    classes = check_classes(opened, classes, len(images))
    cut = opened.cut(layer)
    batch_size = check_count(batch_size, "batch_size")
    channels = None if max_channels is None else check_count(max_channels, "max_channels")

    maps, classes = _maps_and_classes(opened, images, classes, cut)
    chosen = _varying_channels(maps, channels)
    scores = np.full((len(images), maps.shape[-1]), -np.inf)
    pairs = np.argwhere(chosen)  # (image, channel), packed across images so that every batch but the last is full
    for batch in track(list(batches(len(pairs), batch_size)), progress, "Score-CAM"):
        image, channel = pairs[batch].T
        masked = _masked(images[image], maps[image, :, :, channel])
        scores[image, channel] = opened.logits(masked)[np.arange(len(image)), classes[image]]

    refuse_broken(opened, np.where(chosen, scores, 0))
    weights = _softmax(scores)
    size = images.shape[1:3] if upsample else None
    return _finish(_weighted_sum(weights, maps.astype(np.float64)), size)


def _maps_and_classes(
    opened: OpenModel, images: np.ndarray, classes: np.ndarray, cut: Cut
) -> tuple[np.ndarray, np.ndarray]:
    maps, tops = [], []
    for batch in batches(len(images), _IMAGES_AT_ONCE):
        some_maps, logits = opened.feature_maps(images[batch], cut)
        maps.append(some_maps)
        tops.append(logits.argmax(axis=-1))
    maps = np.concatenate(maps)
    refuse_broken(opened, maps)
    return maps, np.where(classes < 0, np.concatenate(tops), classes)


def _varying_channels(maps: np.ndarray, limit: int | None) -> np.ndarray:
    """Which channels of which image to score, (n, channels) bool: not constant and, with a limit, those that vary most."""
    varying = maps.max(axis=(1, 2)) > maps.min(axis=(1, 2))
    if limit is None:
        return varying
    spread = np.where(varying, maps.std(axis=(1, 2), dtype=np.float64), -1.0)
    rank = np.argsort(np.argsort(-spread, axis=1, kind="stable"), axis=1)
    return varying & (rank < limit)


def _masked(images: np.ndarray, maps: np.ndarray) -> tf.Tensor:
    """Images (b, H, W, C) times their maps (b, h, w), upsampled and then scaled to [0, 1]."""
    import tensorflow as tf

    masks = _resize(maps, images.shape[1:3])
    low = tf.reduce_min(masks, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(masks, axis=(1, 2), keepdims=True)
    return images * tf.math.divide_no_nan(masks - low, high - low)[..., tf.newaxis]


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis; -inf, a skipped channel, gets 0, and so do all where all are skipped."""
    highest = scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isfinite(highest), highest, 0.0))
    total = exponentials.sum(axis=-1, keepdims=True)
    return np.divide(exponentials, total, out=np.zeros_like(exponentials), where=total > 0)


def ablation_cam(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    layer: str | keras.Layer | None = None,
    upsample: bool = True,
    batch_size: int = 64,
    progress: Progress = None,
) -> np.ndarray:
    """Ablation-CAM: each channel weighted by the share of the logit that is lost without it. No gradients.

    ``w_k = (S_c - S_c without channel k) / S_c``, where "without" sets channel k of the layer to 0; map =
    ``ReLU(sum_k w_k A_k)``. A channel that is zero already has weight 0 and is skipped.

    The division is the paper's and only scales the map, as long as the logit is positive. Where it is negative, the
    signs of the weights turn: the map then shows what speaks against the class. Where it is exactly 0, the weights are
    the differences themselves.

    One forward pass an image; the feature maps are kept, and for each channel that is not zero only the layers above
    are run again, in batches. `count_passes` counts each of these short runs as one forward pass. Memory does not grow
    with the number of channels.

    Parameters
    ----------
    model, images, classes, layer, upsample
        As for `grad_cam`.
    batch_size : int
        Ablated feature maps in a run of the layers above.
    progress : None, bool or callable
        See `labutils.explain.progress.track`.

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw, in the units of the feature maps; not negative.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Desai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
    Localization, WACV 2020.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    classes = check_classes(opened, classes, len(images))
    cut = opened.cut(layer)
    batch_size = check_count(batch_size, "batch_size")

    weights = np.zeros((len(images), cut.shape[-1]))
    kept: list[np.ndarray] = []
    work = [(index, batch) for index in range(len(images)) for batch in batches(cut.shape[-1], batch_size)]
    for index, batch in track(work, progress, "Ablation-CAM"):
        if index == len(kept):
            ablation = _Ablation(opened, cut, images[index], classes[index])
            kept.append(ablation.maps)
        channels = ablation.channels[batch]
        if channels.size:
            weights[index, channels] = ablation.drops(channels)

    maps = np.stack(kept).astype(np.float64)
    refuse_broken(opened, maps, weights)
    size = images.shape[1:3] if upsample else None
    return _finish(_weighted_sum(weights, maps), size)


class _Ablation:
    """One image cut at a layer: its feature maps, (h, w, channels), and what the logit loses without some of them.

    Attributes
    ----------
    maps : numpy.ndarray
        The feature maps, float32.
    channels : numpy.ndarray
        The channels that are not zero everywhere.
    """

    def __init__(self, opened: OpenModel, cut: Cut, image: np.ndarray, chosen: int):
        import tensorflow as tf

        def start(images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
            maps, carried = cut.trunk(images)
            return maps, carried, cut.head(maps, carried)

        image = image[np.newaxis]
        maps, self._carried, logits = opened.compile(("ablation", cut.tensor), start, image)(image)
        count(forward=1)
        logits = logits.numpy()[0].astype(np.float64)
        self._class = logits.argmax() if chosen == TOP_CLASS else chosen
        self._score = logits[self._class]
        self._maps = tf.cast(maps, tf.float32)
        self.maps = self._maps.numpy()[0]
        self.channels = np.flatnonzero(self.maps.any(axis=(0, 1)))
        self._head = self._compile_head(opened, cut, maps.dtype)

    def _compile_head(self, opened: OpenModel, cut: Cut, dtype: tf.DType) -> Callable:
        import tensorflow as tf

        def head(maps: tf.Tensor, carried: list[tf.Tensor], channels: tf.Tensor) -> tf.Tensor:
            without = 1.0 - tf.one_hot(channels, maps.shape[-1])
            ablated = tf.cast(maps * without[:, tf.newaxis, tf.newaxis, :], dtype)
            return cut.head(ablated, [tf.repeat(other, tf.size(channels), axis=0) for other in carried])

        others = [tf.TensorSpec(other.shape, other.dtype) for other in self._carried]
        shapes = tuple(tuple(other.shape) for other in self._carried)
        key = ("ablation head", cut.tensor, shapes)
        return opened.compile(key, head, self._maps, others, tf.TensorSpec([None], tf.int32))

    def drops(self, channels: np.ndarray) -> np.ndarray:
        """(S_c - S_c without the channel) / S_c for some channels; not divided where S_c is 0."""
        logits = self._head(self._maps, self._carried, channels.astype(np.int32)).numpy()
        count(forward=len(channels))
        return (self._score - logits[:, self._class]) / (self._score or 1.0)
