"""What the networks of labutils share: choosing weights, class names, and the checks of common arguments."""

from __future__ import annotations

import json
import numbers
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labutils import weights as weight_files

if TYPE_CHECKING:
    import numpy as np

Classes = tuple[tuple[str, str], ...]
"""Ids and names of classes, in the order of the outputs."""

IMAGENET_CLASSES = 1000

_CHOICES = "'auto', 'bundled', 'imagenet', the path of a weights file, or None (random)"

# Class lists of the networks built so far, by number of classes: predictions carry nothing but their column count.
_classes_by_count: dict[int, Classes] = {}


def resolve(weights: str | os.PathLike[str] | None, imagenet: str) -> str | Path | None:
    """The choice that "auto" comes to, and paths as `Path`; other choices unchanged.

    Parameters
    ----------
    weights
        What the caller gave: one of the choices, a path or None.
    imagenet : str
        The name of the ImageNet weights in `labutils.weights`.
    """
    if weights is None or weights in ("bundled", "imagenet"):
        return weights
    if weights == "auto":
        choice = os.environ.get("LABUTILS_WEIGHTS")
        if choice not in (None, "", "bundled", "imagenet"):
            raise ValueError(f"LABUTILS_WEIGHTS must be 'bundled' or 'imagenet', not {choice!r}")
        return choice or ("imagenet" if weight_files.find(imagenet) else "bundled")
    if not isinstance(weights, str | os.PathLike):
        raise ValueError(f"weights must be {_CHOICES}, not {weights!r}")
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(f"weights must be {_CHOICES}; {str(weights)!r} is none of them, and no such file exists")
    return path


def weights_path(source: str | Path | None, bundled: str, imagenet: str) -> Path | None:
    """The intact file of a resolved choice, fetched where it must be; None for random weights.

    Parameters
    ----------
    source
        What `resolve` gave.
    bundled, imagenet : str
        The names of the two in `labutils.weights`.
    """
    if source == "bundled":
        if bundled not in weight_files.files():
            raise weight_files.WeightsError(
                f"the bundled weights are not in {weight_files.models_folder()}: restore data/models from the "
                "repository, set LABUTILS_DATA to the folder data/, or take weights='imagenet' "
                f"(a {megabytes(imagenet)} download)"
            )
        return weight_files.verify(bundled)
    if source == "imagenet":
        return weight_files.fetch(imagenet)
    return source


def megabytes(name: str) -> str:
    """The size of a weight file as people say it, "528 MB" (of 2 ** 20 bytes, as Keras counts)."""
    return f"{weight_files.files()[name].bytes / 2**20:.0f} MB"


def sidecar_of(path: Path | None) -> Path | None:
    """The .json beside a weights file that describes its network, where there is one."""
    sidecar = path and path.with_name(path.name.removesuffix(".h5").removesuffix(".weights") + ".json")
    return sidecar if sidecar and sidecar.is_file() else None


def remember_classes(classes: Classes) -> None:
    """From now on, predictions with that many columns are of these classes."""
    if classes:
        _classes_by_count[len(classes)] = classes


def decode(preds: np.ndarray | Any, top: int) -> list[list[tuple[str, str, float]]]:
    """`decode_predictions` of every network: the most probable classes of each row, in Keras's format."""
    from keras import ops

    preds = ops.convert_to_numpy(preds)
    if preds.ndim != 2:
        raise ValueError(
            "`decode_predictions` expects a batch of predictions (i.e. a 2D array of shape (samples, classes)). "
            f"Received array with shape: {preds.shape}"
        )
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top!r}")
    classes = classes_of(preds.shape[1])
    # Ties come in Keras's order: argsort, reversed.
    return [[(*classes[index], row[index]) for index in row.argsort()[-top:][::-1]] for row in preds]


def classes_of(count: int) -> Classes:
    """Ids and names of the class list with `count` entries; ValueError when there is none."""
    known = {**_bundled_classes(), **_classes_by_count}
    if count in known:
        return known[count]
    if count == IMAGENET_CLASSES:
        index = json.loads(weight_files.fetch("imagenet-classes").read_text(encoding="utf-8"))
        return tuple((class_id, class_name) for class_id, class_name in (index[str(i)] for i in range(count)))
    counts = sorted({*known, IMAGENET_CLASSES})
    raise ValueError(
        f"no class list has {count} names (known: {', '.join(map(str, counts))}); "
        "predictions must have one column a class, shape (samples, classes)"
    )


def _bundled_classes() -> dict[int, Classes]:
    known: dict[int, Classes] = {}
    for name, file in weight_files.files().items():
        sidecar = None if file.remote or not weight_files.find(name) else sidecar_of(file.path)
        if sidecar:
            classes = tuple((class_id, label) for class_id, label in json.loads(sidecar.read_text("utf-8"))["classes"])
            known.setdefault(len(classes), classes)
    return known


def check_classes(classes: int | None, own: int, *, fixed: bool) -> int:
    """The number of outputs: what the caller asks for, where the weights leave it free, else their own."""
    if classes is None or classes == own:
        return own
    if fixed:
        raise ValueError(f"these weights have {own} classes, not classes={classes}; weights=None leaves it free")
    if not isinstance(classes, numbers.Integral) or classes < 1:
        raise ValueError(f"classes must be at least 1 and a whole number, not {classes!r}")
    return classes


def check_activation(activation: str | Callable | None, pretrained: bool) -> None:
    """Pretrained networks end in a softmax or in logits."""
    import keras

    if pretrained and activation not in (
        "softmax",
        "linear",
        None,
        keras.activations.softmax,
        keras.activations.linear,
    ):
        raise ValueError(
            f"with pretrained weights classifier_activation must be 'softmax' or None (logits), not {activation!r}"
        )


def check_sides(shape: Sequence | None) -> tuple:
    """An input shape as a tuple of three."""
    if not isinstance(shape, Sequence) or len(shape) != 3:
        raise ValueError(f"input_shape must be (height, width, channels), not {shape!r}")
    return tuple(shape)


def open_saved(path: Path) -> Any:
    """A whole model from a ``.keras`` file, the layers of `labutils.vit` included."""
    import keras

    import labutils.vit_layers  # noqa: F401 - registers them

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds, some of them long; what matters is which file it was.
        raise ValueError(f"{path} is not a model that Keras can load: {_what_it_is(path) or error}") from error


def _what_it_is(path: Path) -> str | None:
    """What a file is that holds no model, where Keras says no more than "file not found"; None where it may hold one."""
    if not path.exists():
        return "there is no such file"
    if path.is_dir():
        return "it is a folder; save the model as one file, model.save('model.keras')"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return None if "config.json" in archive.namelist() else "it is a ZIP archive without a Keras model in it"
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    if head.startswith(b"\x89HDF"):
        return None if path.suffix in (".h5", ".hdf5") else "it is an HDF5 file; call it .h5"
    kinds = {
        b"PK": "its end is missing: the download or copy did not finish",
        b"version https://git-lfs": "it is a Git LFS pointer: the file itself was not fetched. Run `git lfs pull`",
        b"<": "it is a web page: download the file itself",
    }
    if not head:
        return "it is empty: the download or copy did not finish"
    return next((kind for start, kind in kinds.items() if head.startswith(start)), "it is no .keras file")


def auto_message(network: str, source: str | Path | None, classes: Classes, download: str) -> str:
    """What ``weights="auto"`` says it took, and how to get the other."""
    if source == "imagenet":
        return (
            f"{network}: ImageNet weights, {IMAGENET_CLASSES} classes. "
            f"The small offline network: {network}(weights='bundled')."
        )
    return (
        f"{network}: bundled weights, {len(classes)} classes. "
        f"ImageNet's {IMAGENET_CLASSES} classes: {network}(weights='imagenet'), a {download} download."
    )
