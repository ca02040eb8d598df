"""Weight randomisation: does a map change when what the network has learnt is destroyed?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.arguments import Classes, batches, check_classes, check_images, check_seed
from labutils.explain.progress import Progress, track
from labutils.explain.surgery import OpenModel, open_model, stand_in

if TYPE_CHECKING:
    import keras

_IMAGES_AT_ONCE = 32


def weight_randomization(
    method: Callable[..., Any],
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    seed: int | None = None,
    progress: Progress = None,
) -> dict[str, float]:
    """Cascading weight randomisation: how alike the maps stay as layer after layer forgets what it learnt.

    From the output down, one layer after the other gets random weights, and keeps them. After each, the maps of the
    randomised network are compared with the original ones: Spearman's rank correlation of ``|map|``, averaged over the
    images. A method that explains the network must fall towards 0; one that stays high draws the image's edges whatever
    the network knows. A method that does not depend on the weights scores exactly 1.

    All of it happens on a copy of the model. The original runs the method once, the copy once for each layer.

    Weights that are vectors (biases, the gains and statistics of a normalisation) are shuffled; all others are drawn
    from a normal distribution of mean 0 with the layer's own root mean square. So activations keep their scale through
    all layers, which an initialiser like Glorot's does not ensure, and variances stay positive.

    Parameters
    ----------
    method : callable
        ``method(model, images, classes) -> (n, ...)``, such as `labutils.explain.grad_cam`; for options, a lambda or
        `functools.partial`. Give randomised methods a seed.
    model : keras.Model
        Functional or Sequential, of layers that Keras can copy. It is not changed.
    images : array_like
        (n, H, W, C) or (H, W, C), as the model takes them (preprocessed), of any number type.
    classes : None, int or n ints
        None takes the original model's top class of each image, for all networks.
    seed : int or None
        The same seed gives the same weights.
    progress : None, bool or callable
        See `labutils.explain.progress.track`.

    Returns
    -------
    dict of str to float
        Layer name -> rank correlation once this layer and all above it are random, -1 to 1; in the order of the
        randomisation. Nested layers are named with their model, ``"backbone/conv1"``. Where one of two maps is
        constant, and so has no ranking (Grad-CAM's is often all zero), their correlation counts as 0; where both are,
        as 1.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model, a layer that cannot be copied, or a method that returns something else
        than one finite map for each image.

    References
    ----------
    Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018.
    """
    opened = open_model(model)
    images = check_images(opened, images)
    classes = check_classes(opened, classes, len(images))
    rng = np.random.default_rng(check_seed(seed))
    if (classes < 0).any():
        parts = [opened.logits(images[batch]) for batch in batches(len(images), _IMAGES_AT_ONCE)]
        classes = np.concatenate(parts).argmax(axis=-1).astype(np.int32)
    copy = _copy(model)

    original = checked_result(method, model, images, classes)
    correlations = {}
    for name, layer in track(_layers_from_the_top(open_model(copy)), progress, "Weight randomisation"):
        _randomize(layer, rng)
        maps = checked_result(method, copy, images, classes)
        correlations[name] = float(rank_correlation(original, maps).mean())
    return correlations


def randomized(model: keras.Model, layers: Sequence[str] | None = None, *, seed: int | None = None) -> keras.Model:
    """A copy of a model in which some layers, or all, have forgotten what they learnt.

    Their weights are those that `weight_randomization` gives them, from the output down: the first k names of its result
    and the same seed give the network of its k-th step.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, of layers that Keras can copy. It is not changed.
    layers : sequence of str or None
        Names as in the result of `weight_randomization`, in any order; None takes every layer that learnt something.
    seed : int or None
        The same seed gives the same weights.

    Returns
    -------
    keras.Model
        Uncompiled; nothing in it is shared with `model`.

    Raises
    ------
    TypeError, ValueError
        A layer that there is not, or without weights, or one that cannot be copied.
    """
    opened = open_model(model)
    if isinstance(layers, str):
        raise TypeError(f"layers: names of layers, such as [{layers!r}], are needed, not one text")
    rng = np.random.default_rng(check_seed(seed))
    known = [name for name, _ in _layers_from_the_top(opened)]
    for name in layers or ():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=3)
            meant = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise ValueError(f"layers: {name!r} is no layer with weights of '{opened.name}'{meant}; possible: {known}")
    copy = _copy(model)
    for name, layer in _layers_from_the_top(open_model(copy)):
        if layers is None or name in layers:
            _randomize(layer, rng)
    return copy


def rank_correlation(maps: Any, others: Any) -> np.ndarray:
    """Spearman's rank correlation of the magnitudes of maps, image by image: do both put the places in one order?

    Parameters
    ----------
    maps, others : array_like
        (n, ...) both, in one shape; signs are ignored, as `weight_randomization` does.

    Returns
    -------
    numpy.ndarray
        (n,) float64, -1 to 1: exactly 1 for equal rankings (two constant maps among them), 0 where one map is constant.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    first, second = (np.abs(np.asarray(values, np.float64)) for values in (maps, others))
    if first.shape != second.shape or first.ndim < 2:
        raise ValueError(f"others: shape {second.shape} does not fit the maps, {first.shape}; both are (n, ...)")
    return np.array([_rank_correlation(one.ravel(), other.ravel()) for one, other in zip(first, second, strict=True)])


def _layers_from_the_top(opened: OpenModel) -> list[tuple[str, Any]]:
    """Every layer that has learnt weights, once, with its name; a layer always comes after those that use its output."""
    paths = {id(place.layer): place.path for place in opened.places}
    layers: dict[int, Any] = {}
    for step in reversed(opened.steps):
        if getattr(step.operation, "trainable_weights", ()):
            layers.setdefault(id(step.operation), step.operation)
    if not layers:
        raise ValueError(f"model: '{opened.name}' has no layer with weights to randomise")
    return [(paths.get(key, layer.name), layer) for key, layer in layers.items()]


def _randomize(layer: keras.Layer, rng: np.random.Generator) -> None:
    for variable in layer.weights:
        values = np.asarray(variable, np.float64)
        if values.ndim == 1:
            variable.assign(rng.permutation(values))
        else:
            variable.assign(np.sqrt(np.mean(values**2)) * rng.standard_normal(values.shape))


def checked_result(
    method: Callable[..., Any], model: keras.Model, images: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """A method's maps, (n, ...); it gets arrays of its own, so that it cannot change those of the next run."""
    maps = method(model, images.copy(), classes.copy())
    array = np.asarray(maps) if not isinstance(maps, tuple) else np.empty(0)
    if array.dtype.kind not in "biuf" or array.ndim < 2 or len(array) != len(images):
        raise ValueError(
            f"method: it must return {len(images)} maps, an array of shape ({len(images)}, H, W), not "
            f"{type(maps).__name__} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError("method: its maps have NaN or infinite values")
    return array


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation; exactly 1 for equal rankings, 0 where one of the two is constant."""
    from scipy.stats import rankdata

    first, second = (rankdata(values) - (values.size + 1) / 2 for values in (first, second))
    if np.array_equal(first, second):
        return 1.0
    norm = np.sqrt((first**2).sum()) * np.sqrt((second**2).sum())
    return float((first * second).sum() / norm) if norm > 0 else 0.0


# ---------------------------------------------------------------------------------------------------------------------
# A copy of a model that shares nothing with it


def _copy(model: keras.Model) -> keras.Model:
    import keras

    # The same graph without what `compile` added, which the copy does not need and Keras may not be able to copy.
    bare = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    copy = keras.models.clone_model(bare, clone_function=_copy_layer, recursive=True)
    copy.set_weights(bare.get_weights())
    copy.trainable = True
    return copy


def _copy_layer(layer: keras.Layer) -> keras.Layer:
    import keras

    is_leaf = not isinstance(layer, keras.Layer) or not layer._flatten_layers(include_self=False)
    if is_leaf and not getattr(layer, "variables", ()):  # also what Keras cannot serialise, such as a Python lambda
        return stand_in(layer, _inbound_nodes=[], _outbound_nodes=[])
    # Functions and classes of the user's own, which Keras finds again by name only if it is told where.
    own = {value.__name__: value for value in vars(layer).values() if hasattr(value, "__name__")}
    try:
        with keras.saving.custom_object_scope({**own, type(layer).__name__: type(layer)}):
            # Not frozen, so that `trainable_weights` tells what was learnt from what was set.
            return type(layer).from_config({**layer.get_config(), "trainable": True})
    except Exception as error:  # whatever a layer of the user's own raises
        raise ValueError(
            f"model: layer '{layer.name}' ({type(layer).__name__}) cannot be copied, which weight randomisation needs; "
            "a layer of your own needs `get_config`, and an activation must be a named function and not a lambda"
        ) from error
