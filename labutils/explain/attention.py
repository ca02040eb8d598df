"""Attention of a transformer: read off each layer, and followed through all of them.

Notation, as in the papers: A is a layer's attention, (tokens, tokens) for each head; row i says how much token i takes
from every token, so that each row sums to 1. E_h is the mean over heads, I the identity: the skip connection around
the attention. A model's tokens are the patches of a map, row by row, behind up to 16 others: the class token is the
first of them, the rest (a distillation token, registers) are left out of every map. `rollout`, `gradient_weighted_rollout` and `token_map` are pure functions of arrays; the others take
a model and images, as every method does.
"""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from labutils.explain.arguments import Classes, batches, check_classes, check_images
from labutils.explain.cam import _finish
from labutils.explain.surgery import OpenModel, Place, open_model

if TYPE_CHECKING:
    import keras

_ROW_SUM_TOLERANCE = 0.01  # float16 and bfloat16 attention comes within it; a wrong axis or missing softmax does not

_IMAGES_AT_ONCE = 8  # twelve layers of twelve heads and 577 tokens are 190 MB an image


def attention(model: keras.Model, images: Any) -> np.ndarray:
    """The attention of every layer and head.

    Parameters
    ----------
    model : keras.Model
        A transformer whose ``MultiHeadAttention`` layers are in its graph, such as `labutils.vit.ViT`. It is not
        changed.
    images : array_like
        (n, H, W, C) or (H, W, C), as the model takes them (preprocessed), of any number type.

    Returns
    -------
    numpy.ndarray
        (layers, n, heads, tokens, tokens) float32, first layer first; row i says how much token i takes from every
        token, and sums to 1. Token 0 is the class token, the patches are the last, row by row.

    Raises
    ------
    TypeError, ValueError
        A model without attention layers, or whose layers differ in heads or tokens, look from one tensor at another
        (cross-attention) or at anything but the patches of a map; images that do not fit it.
    """
    opened, images, _ = _opened(model, images)
    parts = [opened.attention(images[batch]) for batch in batches(len(images), _IMAGES_AT_ONCE)]
    return np.concatenate(parts, axis=1)


def attention_gradients(model: keras.Model, images: Any, classes: Classes = None) -> tuple[np.ndarray, np.ndarray]:
    """The attention A of every layer and head, and the gradient dS_c/dA of the class's logit.

    One forward and one backward pass an image.

    Parameters
    ----------
    model, images
        As for `attention`.
    classes : None, int or n ints
        None takes each image's top class.

    Returns
    -------
    attention, gradients : numpy.ndarray
        Both (layers, n, heads, tokens, tokens) float32, first layer first, as `gradient_weighted_rollout` takes them.

    Raises
    ------
    TypeError, ValueError
        As for `attention`; classes that the model does not have.
    """
    opened, images, _ = _opened(model, images)
    classes = check_classes(opened, classes, len(images))
    parts = [
        opened.attention_gradients(images[batch], classes[batch]) for batch in batches(len(images), _IMAGES_AT_ONCE)
    ]
    together, gradients = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    return together, gradients


def attention_map(
    model: keras.Model,
    images: Any,
    classes: Classes = None,
    *,
    block: int = -1,
    head: int | None = None,
    token: int | None = None,
    upsample: bool = True,
) -> np.ndarray:
    """Raw attention as a map: what one token takes from each patch, in one layer.

    The plainest reading, and a weak one: it says nothing of the layers below, nor of what the values carry, and it
    knows no class.

    Parameters
    ----------
    model, images
        As for `attention`.
    classes : None, int or n ints
        Checked, and without effect.
    block : int
        Which attention layer, 0 the first, -1 the last.
    head : int or None
        Which head; None takes the mean over all.
    token : int or None
        Whose row: 0 is the class token, ``1 + row * columns + column`` that of a patch (of a model with more tokens
        or none before the patches, their number instead of the 1). None takes the class token or, of a model without
        one, the mean over all tokens.
    upsample : bool
        False leaves the map at one value a patch, (n, rows, columns).

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw: shares of the token's attention.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.
    """
    opened, images, tokens = _opened(model, images)
    check_classes(opened, classes, len(images))
    layers = opened.attention_steps()
    block = _checked_index(block, len(layers), "block")
    heads = opened.steps[layers[block]].operation.num_heads
    head = None if head is None else _checked_index(head, heads, "head")
    chosen = _checked_token(token, tokens)
    parts = []
    for batch in batches(len(images), _IMAGES_AT_ONCE):
        layer = opened.attention(images[batch])[block]
        parts.append(layer.mean(axis=1) if head is None else layer[:, head])
    return _row(np.concatenate(parts), tokens, chosen, images.shape[1:3] if upsample else None)


def attention_rollout(
    model: keras.Model, images: Any, classes: Classes = None, *, token: int | None = None, upsample: bool = True
) -> np.ndarray:
    """Attention rollout as a map: how much of each patch arrives at the class token (`rollout`).

    It is the same whatever the class: attention is computed before the classifier asks.

    Parameters
    ----------
    model, images
        As for `attention`.
    classes : None, int or n ints
        Checked, and without effect.
    token : int or None
        As for `attention_map`.
    upsample : bool
        False leaves the map at one value a patch, (n, rows, columns).

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw: shares, which sum to 1 together with that of the class token itself.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Abnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020.
    """
    opened, images, tokens = _opened(model, images)
    check_classes(opened, classes, len(images))
    chosen = _checked_token(token, tokens)
    parts = [rollout(opened.attention(images[batch])) for batch in batches(len(images), _IMAGES_AT_ONCE)]
    return _row(np.concatenate(parts), tokens, chosen, images.shape[1:3] if upsample else None)


def gradient_rollout(
    model: keras.Model, images: Any, classes: Classes = None, *, token: int | None = None, upsample: bool = True
) -> np.ndarray:
    """Gradient-weighted rollout as a map: which patches the class token has its evidence for a class from.

    One forward and one backward pass an image (`gradient_weighted_rollout`).

    Parameters
    ----------
    model, images
        As for `attention`.
    classes : None, int or n ints
        None takes each image's top class.
    token : int or None
        As for `attention_map`.
    upsample : bool
        False leaves the map at one value a patch, (n, rows, columns).

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, raw, not negative; 0 where no head argues for the class. Attention times its gradient is in
        logits; their products through several layers are in no unit.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit the model: which, what it was and what is possible.

    References
    ----------
    Chefer, Gur & Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
    Transformers, ICCV 2021.
    """
    opened, images, tokens = _opened(model, images)
    classes = check_classes(opened, classes, len(images))
    chosen = _checked_token(token, tokens)
    parts = [
        gradient_weighted_rollout(*opened.attention_gradients(images[batch], classes[batch]))
        for batch in batches(len(images), _IMAGES_AT_ONCE)
    ]
    # The identity that R starts from is no evidence. The class token's row has none of it on the patches anyway.
    evidence = np.concatenate(parts) - np.eye(tokens.shape[1])
    return _row(evidence, tokens, chosen, images.shape[1:3] if upsample else None)


def rollout(attention: Any) -> np.ndarray:
    """Attention rollout: how much of each input token arrives at each output token, if attention were all there is.

    ``A_hat = (E_h[A] + I)``, each row divided by its sum; rollout = ``A_hat_L ... A_hat_2 A_hat_1``, from the last
    layer to the first. It knows no class: gradients are needed for that (`gradient_weighted_rollout`).

    Parameters
    ----------
    attention : array_like
        (layers, n, heads, tokens, tokens), or (layers, heads, tokens, tokens) of one image; first layer first, after
        the softmax, rows summing to 1.

    Returns
    -------
    numpy.ndarray
        (n, tokens, tokens) float32; row i is what reaches token i of the last layer, and sums to 1.

    Raises
    ------
    TypeError, ValueError
        No numbers, another shape, NaN, negative entries, or rows that do not sum to 1: where, and to what.

    References
    ----------
    Abnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020.
    """
    attention = _checked_attention(attention)
    result = identity = np.eye(attention.shape[-1])
    for layer in attention:
        mixed = layer.mean(axis=1, dtype=np.float64) + identity
        result = mixed / mixed.sum(axis=-1, keepdims=True) @ result
    return result.astype(np.float32)


def gradient_weighted_rollout(attention: Any, gradients: Any) -> np.ndarray:
    """Class-dependent relevance of tokens: attention, head by head, weighted by the gradient of the class's logit.

    ``A_bar = E_h[ReLU(dS_c/dA * A)]`` and ``R <- R + A_bar R``, from the first layer to the last, with R = I before it.
    Rows do not sum to 1: a row of R - I is evidence, and 0 where no head argues for the class.

    Parameters
    ----------
    attention : array_like
        As for `rollout`.
    gradients : array_like
        dS_c/dA, in the shape of the attention.

    Returns
    -------
    numpy.ndarray
        (n, tokens, tokens) float32, not negative; row i is the relevance of every input token to token i.

    Raises
    ------
    TypeError, ValueError
        As for `rollout`; gradients that have another shape, NaN or infinite values.

    References
    ----------
    Chefer, Gur & Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
    Transformers, ICCV 2021, equations 5 and 6.
    """
    shape = np.shape(attention)
    attention = _checked_attention(attention)
    gradients = _as_finite(gradients, "gradients")
    if gradients.shape != shape:
        raise ValueError(f"gradients: shape {gradients.shape} is not that of the attention, {shape}")
    relevance = np.eye(attention.shape[-1])
    for layer, gradient in zip(attention, gradients.reshape(attention.shape), strict=True):
        weighted = np.maximum(gradient.astype(np.float64) * layer, 0.0).mean(axis=1)
        relevance = relevance + weighted @ relevance
    return relevance.astype(np.float32)


def token_map(
    relevance: Any, grid: tuple[int, int], size: tuple[int, int] | None = None, *, token: int = 0
) -> np.ndarray:
    """A row of a token matrix as a map over the image: what one token has from each patch.

    Parameters
    ----------
    relevance : array_like
        (n, tokens, tokens), such as a rollout or one head's attention. Token 0 is the class token; the patches follow
        it, row by row.
    grid : (int, int)
        Rows and columns of patches.
    size : (int, int) or None
        Height and width of the image, to which the map is resized, bilinearly, with half-pixel centres; None leaves it
        at one value a patch.
    token : int
        Whose row: 0 is the class token, ``1 + row * columns + column`` that of a patch.

    Returns
    -------
    numpy.ndarray
        (n, H, W) float32, or (n, rows, columns) without a size; raw.

    Raises
    ------
    TypeError, ValueError
        Arguments that do not fit each other: which, what it was and what is possible.
    """
    relevance = _as_finite(relevance, "relevance")
    rows, columns = _checked_pair(grid, "grid", "(rows, columns) of patches")
    if relevance.ndim != 3 or relevance.shape[1] != relevance.shape[2]:
        raise ValueError(f"relevance: (n, tokens, tokens) is needed, not shape {relevance.shape}")
    tokens = relevance.shape[1]
    if tokens != 1 + rows * columns:
        raise ValueError(
            f"grid: {rows} x {columns} patches and the class token are {1 + rows * columns} tokens; "
            f"relevance has {tokens}"
        )
    if isinstance(token, bool) or not isinstance(token, numbers.Integral):
        raise TypeError(f"token: an int is needed, not {type(token).__name__} {token!r}")
    if not 0 <= token < tokens:
        raise ValueError(f"token: {token} is out of range; 0 is the class token, 1 to {tokens - 1} are the patches")
    patches = relevance[:, token, 1:].reshape(-1, rows, columns)
    return _finish(patches, None if size is None else _checked_pair(size, "size", "(height, width) in pixels"))


def _opened(model: keras.Model, images: Any) -> tuple[OpenModel, np.ndarray, Place]:
    opened = open_model(model)
    tokens = opened.tokens()
    return opened, check_images(opened, images), tokens


def _row(relevance: np.ndarray, tokens: Place, token: int | None, size: tuple[int, int] | None) -> np.ndarray:
    """The map of one token's row of (n, tokens, tokens), or of the mean over all rows."""
    row = relevance.mean(axis=1) if token is None else relevance[:, token]
    return _finish(row[:, tokens.beside :].reshape(-1, *tokens.grid), size)


def _checked_token(token: Any, tokens: Place) -> int | None:
    """The token asked for; None where all are to be averaged, for there is no class token."""
    number, before = tokens.shape[1], tokens.beside
    if token is None:
        return 0 if before else None
    if isinstance(token, bool) or not isinstance(token, numbers.Integral):
        raise TypeError(f"token: None or an int is needed, not {type(token).__name__} {token!r}")
    if not 0 <= token < number:
        others = f"{before} before the patches" if before else "all of them patches"
        raise ValueError(f"token: {token} is out of range; there are 0 to {number - 1}, {others}")
    return int(token)


def _checked_index(value: Any, length: int, name: str) -> int:
    """An index as Python has it: from the front, or negative from the back."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: an int is needed, not {type(value).__name__} {value!r}")
    if not -length <= value < length:
        raise ValueError(
            f"{name}: {value} is out of range; the model has {length}, 0 to {length - 1}, or -1 for the last"
        )
    return int(value)


def _checked_attention(attention: Any) -> np.ndarray:
    """Attention as (layers, n, heads, tokens, tokens), in its own number type."""
    attention = _as_finite(attention, "attention")
    if attention.ndim not in (4, 5) or attention.shape[-1] != attention.shape[-2] or attention.size == 0:
        raise ValueError(
            "attention: (layers, n, heads, tokens, tokens), or (layers, heads, tokens, tokens) of one image, is needed, "
            f"not shape {attention.shape}"
        )
    if attention.ndim == 4:
        attention = attention[:, np.newaxis]
    if (attention < 0).any():
        place = np.argwhere(attention < 0)[0]
        raise ValueError(f"attention: negative ({attention[tuple(place)]:.3g}) in {_where(place)}; after the softmax?")
    sums = attention.sum(axis=-1, dtype=np.float64)
    wrong = np.argwhere(np.abs(sums - 1) > _ROW_SUM_TOLERANCE)
    if wrong.size:
        place = wrong[0]
        raise ValueError(
            f"attention: every row must sum to 1; row {place[-1]} of {_where(place)} sums to {sums[tuple(place)]:.4g}"
        )
    return attention


def _where(place: np.ndarray) -> str:
    return f"layer {place[0]}, image {place[1]}, head {place[2]} (counted from 0)"


def _as_finite(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
        array = array if array.dtype.kind == "f" else array.astype(np.float32)  # bfloat16 is no float to NumPy
    except (TypeError, ValueError):
        raise TypeError(f"{name}: an array of numbers is needed, not {type(values).__name__}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: NaN or infinite values")
    return array


def _checked_pair(value: Any, name: str, meaning: str) -> tuple[int, int]:
    try:
        first, second = (int(side) for side in value if isinstance(side, numbers.Integral))
    except (TypeError, ValueError):
        raise TypeError(f"{name}: {meaning} is needed, two ints, not {value!r}") from None
    if first < 1 or second < 1:
        raise ValueError(f"{name}: {meaning} is needed, both at least 1, not {value!r}")
    return first, second
