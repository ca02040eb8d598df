"""Attention of a transformer, followed through its layers.

Notation, as in the papers: A is a layer's attention, (tokens, tokens) for each head; row i says how much token i takes
from every token, so that each row sums to 1. E_h is the mean over heads, I the identity: the skip connection around
the attention. Everything here is a pure function of arrays.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from labutils.explain.cam import _finish

_ROW_SUM_TOLERANCE = 0.01  # float16 and bfloat16 attention comes within it; a wrong axis or missing softmax does not


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
    Rows do not sum to 1: a row of R - I is evidence, in logits, and 0 where no head argues for the class.

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
