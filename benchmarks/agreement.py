"""How far two maps of the same thing agree: a fast map that is wrong is worth nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """Two maps compared.

    Attributes
    ----------
    rank : float
        Spearman's rank correlation over the pixels; NaN where a map is constant.
    difference : float
        Largest difference of a pixel over the largest magnitude of the reference; NaN where that is zero.
    """

    rank: float
    difference: float

    def __str__(self) -> str:
        return f"{self.rank:.4f}, {self.difference:.0e}"


def agreement(reference: np.ndarray, other: np.ndarray) -> Agreement:
    """Compare two maps of one shape, (H, W).

    Raises
    ------
    ValueError
        Maps of different shapes.
    """
    reference, other = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    if reference.shape != other.shape:
        raise ValueError(f"maps of one shape are needed, not {reference.shape} and {other.shape}")
    scale = np.abs(reference).max()
    difference = np.abs(reference - other).max() / scale if scale > 0 else float("nan")
    return Agreement(_rank_correlation(reference.ravel(), other.ravel()), float(difference))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import rankdata

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
