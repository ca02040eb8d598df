"""Small data sets for models that students train themselves: handwritten digits, and house sales with known coefficients.

Nothing here touches the network unless it is told to. The digits are MNIST's where Keras has them already, else the 8 x 8
ones that come with scikit-learn; the houses are made up, so that it is known what a model should find in them.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from labutils import weights

DigitSource = Literal["auto", "sklearn", "mnist"]

DIGIT_SOURCES: tuple[DigitSource, ...] = ("auto", "sklearn", "mnist")

MNIST_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
"""Where ``keras.datasets.mnist`` fetches it."""

MNIST_DIGEST = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
"""Its SHA-256, as Keras gives it."""

TEST_SHARE = 0.25
"""The share of scikit-learn's digits that is kept for testing."""

_DAMAGED = (OSError, EOFError, KeyError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class DatasetError(OSError):
    """A data set is missing, damaged or out of reach; the message says which and what to do."""


class Digits(NamedTuple):
    """Pictures of handwritten digits, with what they are.

    Attributes
    ----------
    x_train, x_test : numpy.ndarray
        (n, H, W, 1) float32 from 0 (paper) to 1 (ink); 8 x 8 or 28 x 28 pixels.
    y_train, y_test : numpy.ndarray
        (n,) int64, 0 to 9.
    name : str
        Which digits these are.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    name: str


class Houses(NamedTuple):
    """House sales, made up: ``price = intercept + x @ coefficients + noise``.

    Attributes
    ----------
    x : numpy.ndarray
        (n, 3) float32, one column for each of `names`, in `units`.
    price : numpy.ndarray
        (n,) float32, in euros.
    names, units : tuple of str
        What the columns are, and what they are counted in.
    coefficients : numpy.ndarray
        (3,) float64: by how many euros the price rises with one more unit of each.
    intercept : float
        In euros.
    """

    x: np.ndarray
    price: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    coefficients: np.ndarray
    intercept: float


def digits(source: DigitSource = "auto", *, download: bool = False) -> Digits:
    """Handwritten digits, divided into training and test pictures in the same way every time.

    Parameters
    ----------
    source : str
        - ``"sklearn"``: the 1797 digits of 8 x 8 pixels that come with scikit-learn.
        - ``"mnist"``: the 70,000 of 28 x 28 from ``datasets/mnist.npz`` in Keras's folder (``~/.keras``, or
          ``KERAS_HOME``), where ``keras.datasets.mnist`` keeps them.
        - ``"auto"``: MNIST when that file is there and intact, else scikit-learn's; prints which it took.
          ``LABUTILS_WEIGHTS=bundled`` takes scikit-learn's, so that every machine has the same.
    download : bool
        Whether ``source="mnist"`` may download the file (11 MB) when it is missing or damaged.

    Returns
    -------
    Digits

    Raises
    ------
    ValueError
        When `source` is none of its choices, or `download` is asked for without ``source="mnist"``.
    DatasetError
        When MNIST is asked for and is missing, damaged or cannot be downloaded.
    """
    if source not in DIGIT_SOURCES:
        raise ValueError(f"source must be one of {', '.join(map(repr, DIGIT_SOURCES))}, not {source!r}")
    if download and source != "mnist":
        raise ValueError(f"download=True goes with source='mnist', not with {source!r}")
    if source == "auto":
        return _whichever_is_here()
    if source == "sklearn":
        return _bundled_digits()
    path = mnist_path()
    try:
        return _read_mnist(path)
    except DatasetError:
        if not download:
            raise
    return _read_mnist(_downloaded_mnist(path))


def mnist_path() -> Path:
    """Where Keras keeps MNIST on this machine, whether or not it is there."""
    return weights.keras_cache() / "datasets" / "mnist.npz"


def houses(count: int = 500, seed: int = 0) -> Houses:
    """Made-up house sales: large houses have more bedrooms, old ones are smaller, and the price is linear.

    Parameters
    ----------
    count : int
        How many sales.
    seed : int
        The same seed gives the same houses.

    Returns
    -------
    Houses
        ``size`` (34 to 260 square metres), ``bedrooms`` (1 to 7) and ``age`` (0 to 120 years). The noise of the price has
        a standard deviation of 8,000 euros, a tenth of the price's own.

    Raises
    ------
    ValueError
        When `count` is not a whole number of at least 1.
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"count must be a whole number of at least 1, not {count!r}")
    rng = np.random.default_rng(seed)
    age = np.clip(rng.gamma(2.0, 17.0, count), 0, 120).round()
    size = np.clip(np.exp(rng.normal(4.75, 0.3, count) - 0.003 * (age - 34)), 34, 260).round()
    bedrooms = np.clip(np.rint(size / 38 + rng.normal(0, 0.7, count)), 1, 7)
    x = np.stack([size, bedrooms, age], axis=1)
    coefficients, intercept = np.array([2100.0, 12000.0, -900.0]), 45000.0
    price = intercept + x @ coefficients + rng.normal(0, 8000, count)
    names, units = ("size", "bedrooms", "age"), ("m²", "rooms", "years")
    return Houses(x.astype("float32"), price.astype("float32"), names, units, coefficients, intercept)


def _whichever_is_here() -> Digits:
    other = "MNIST's 28 x 28: digits(source='mnist', download=True), an 11 MB download."
    if mnist_path().exists() and os.environ.get("LABUTILS_WEIGHTS") != "bundled":
        try:
            found = _read_mnist(mnist_path())
        except DatasetError as error:
            other = str(error)
        else:
            print(f"Digits: {_described(found)}. The small ones: digits(source='sklearn').")
            return found
    found = _bundled_digits()
    print(f"Digits: {_described(found)}. {other}")
    return found


def _described(digits: Digits) -> str:
    height, width = digits.x_train.shape[1:3]
    return f"{digits.name}, {len(digits.x_train) + len(digits.x_test):,} pictures of {height} x {width} pixels"


def _bundled_digits() -> Digits:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images, labels = (data.images / 16).astype("float32")[..., np.newaxis], data.target.astype("int64")
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=TEST_SHARE, stratify=labels, random_state=0
    )
    return Digits(x_train, y_train, x_test, y_test, "scikit-learn's digits")


def _read_mnist(path: Path) -> Digits:
    if not path.is_file():
        raise DatasetError(f"MNIST is not on this machine (expected at {path}). {_ways_out(path)}")
    try:
        # Arrays of objects would run code when they are loaded; the zip file's own checksums show altered bytes.
        with np.load(path, allow_pickle=False) as file:
            arrays = [np.asarray(file[name]) for name in ("x_train", "y_train", "x_test", "y_test")]
        _require_digits(*arrays)
    except _DAMAGED as error:
        raise DatasetError(f"{path} is damaged ({error}). {_ways_out(path)}") from error
    x_train, y_train, x_test, y_test = arrays
    return Digits(_as_images(x_train), y_train.astype("int64"), _as_images(x_test), y_test.astype("int64"), "MNIST")


def _require_digits(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> None:
    """An error unless these are grey pictures of 0 to 255 with a label from 0 to 9 each."""
    for images, labels in ((x_train, y_train), (x_test, y_test)):
        if images.ndim != 3 or images.dtype != np.uint8 or images.shape[1:] != x_train.shape[1:]:
            raise ValueError(f"its pictures are {images.shape} {images.dtype}, not (n, height, width) uint8")
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "ui" or not len(labels):
            raise ValueError(f"its labels are {labels.shape} {labels.dtype}, for {len(images)} pictures")
        if labels.min() < 0 or labels.max() > 9:
            raise ValueError(f"its labels go from {labels.min()} to {labels.max()}, not from 0 to 9")


def _as_images(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., np.newaxis].astype("float32") / 255


def _downloaded_mnist(path: Path) -> Path:
    import keras

    path.parent.mkdir(parents=True, exist_ok=True)  # Keras takes another folder where its own is not there.
    folder = path.parent.parent
    try:
        return Path(keras.utils.get_file(path.name, MNIST_ORIGIN, file_hash=MNIST_DIGEST, cache_dir=str(folder)))
    except Exception as error:  # Keras raises Exception itself when the server is out of reach.
        raise DatasetError(f"cannot download MNIST from {MNIST_ORIGIN} ({error}). {_ways_out(path)}") from error


def _ways_out(path: Path) -> str:
    return (
        f"Ways on: digits(source='sklearn') needs no file; digits(source='mnist', download=True) downloads it (11 MB); or "
        f"copy mnist.npz from another machine to {path.parent}."
    )
