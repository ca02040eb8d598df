"""From the trained twin to the shipped network: fold batch norm, spread pooling over ``fc1``, calibrate, store as float16."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labutils.training.network import EPSILON, conv_names

if TYPE_CHECKING:
    import keras

POOLED = 7
"""VGG16's last pooled map is POOLED x POOLED at 224 x 224."""


def folded_weights(trained: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Layer name -> (kernel, bias) of the shipped network, from the twin's variables by path.

    Folding is exact: ``gamma (W x - mean) / sqrt(variance + epsilon) + beta`` is linear in x. So is spreading the mean over
    POOLED x POOLED positions: each position of ``fc1`` gets the kernel divided by the number of positions.
    """

    def folded(name: str) -> tuple[np.ndarray, np.ndarray]:
        norm = f"{name}_norm"
        scale = trained[f"{norm}/gamma"] / np.sqrt(trained[f"{norm}/variance"] + EPSILON)
        return trained[f"{name}/kernel"] * scale, trained[f"{norm}/beta"] - trained[f"{norm}/mean"] * scale

    layers = {name: folded(name) for name in conv_names()}
    kernel, bias = folded("fc1")
    layers["fc1"] = (np.tile(kernel[0, 0] / POOLED**2, (POOLED**2, 1)), bias)
    kernel, bias = folded("fc2")
    layers["fc2"] = (kernel[0, 0], bias)
    layers["predictions"] = (trained["predictions/kernel"], trained["predictions/bias"])
    return layers


def shipped_network(layers: Mapping[str, tuple[np.ndarray, np.ndarray]], channels, dense, classes: int) -> keras.Model:
    """`labutils.vgg16`'s network of these sizes with these weights."""
    from labutils.vgg16 import build_network

    network = build_network(channels=channels, dense=dense, classes=classes)
    for name, weights in layers.items():
        network.get_layer(name).set_weights(list(weights))
    return network


def with_prior(layers: Mapping[str, tuple[np.ndarray, np.ndarray]], counts: np.ndarray, power: float) -> dict:
    """The same layers with ``power * log(counts)`` added to the logits: frequent classes become likelier.

    The correction of a classifier's prior (Saerens et al., Neural Computation 2002), in the bias.
    """
    kernel, bias = layers["predictions"]
    return {**layers, "predictions": (kernel, bias + power * np.log(np.maximum(counts, 1)))}


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimises the negative log-likelihood of ``labels`` (Guo et al., ICML 2017)."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -scaled[np.arange(len(labels)), labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))


def calibrated(layers: Mapping[str, tuple[np.ndarray, np.ndarray]], temperature: float) -> dict:
    """The same layers with the logits divided by ``temperature``; the ranking of the classes does not change."""
    kernel, bias = layers["predictions"]
    return {**layers, "predictions": (kernel / temperature, bias / temperature)}


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: mean |confidence - accuracy| over equal-width confidence bins, weighted by their size."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[place == b].mean() - right[place == b].mean()) * (place == b).mean() for b in np.unique(place)
    ]
    return float(np.sum(gaps))


def store(network: keras.Model, out: Path, stem: str, sidecar: dict, licence: str) -> Path:
    """Write ``<stem>.weights.h5`` (float16, compressed), its sidecar ``<stem>.json`` and its line in ``manifest.json``."""
    import h5py

    out.mkdir(parents=True, exist_ok=True)
    target, half = out / f"{stem}.weights.h5", out / f"{stem}.half.weights.h5"
    network.save_weights(half)
    with h5py.File(half, "r") as full, h5py.File(target.with_suffix(".tmp"), "w") as small:
        small.attrs.update(full.attrs)

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                small.require_group(name).attrs.update(item.attrs)
            else:
                small.create_dataset(name, data=item[()].astype(np.float16), compression="gzip", shuffle=True)

        full.visititems(copy)
    half.unlink()
    os.replace(target.with_suffix(".tmp"), target)
    (out / f"{stem}.json").write_text(json.dumps(sidecar, indent=1) + "\n")
    manifest_path = out / "manifest.json"
    manifest = json.loads(manifest_path.read_text()) if manifest_path.exists() else {}
    manifest[sidecar["network"]] = {
        "file": target.name,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "bytes": target.stat().st_size,
        "licence": licence,
        "origin": "trained by this project",
    }
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")
    return target
