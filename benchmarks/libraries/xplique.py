"""Xplique: Keras, on a model that ends in its logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.libraries import Rival
from benchmarks.libraries.by_hand import logits_model
from benchmarks.methods import Options
from benchmarks.scene import Scene


def rival(
    method: str,
    kind: str,
    arguments: Callable[[Scene, Options], Mapping[str, Any]] = lambda scene, options: {},
    differs: str = "",
    reduce: Callable[[np.ndarray], np.ndarray] = lambda values: values[..., 0],
    compared: Callable | None = None,
) -> Rival:
    """An explainer of that class; `arguments` translates our options, `reduce` loses the colours as we do."""

    def prepare(scene: Scene, options: Options) -> Callable[[], np.ndarray]:
        import xplique.attributions

        model = logits_model(scene)
        explainer = getattr(xplique.attributions, kind)(model, **arguments(scene, options))
        target = np.eye(model.output_shape[-1], dtype=np.float32)[[scene.label] * len(scene.images)]
        return lambda: reduce(np.asarray(explainer(scene.images, target))[0])

    return Rival(method, kind, prepare, differs, compared)


def cam_before_resizing(kind: str) -> Callable[[Scene, Options], Callable[[], np.ndarray]]:
    """Its map at the layer's resolution, from the parts of the explainer: it resizes bicubically."""

    def prepare(scene: Scene, options: Options) -> Callable[[], np.ndarray]:
        import xplique.attributions

        model = logits_model(scene)
        explainer = getattr(xplique.attributions, kind)(model, conv_layer=scene.layer)
        target = np.eye(model.output_shape[-1], dtype=np.float32)[[scene.label]]

        def run() -> np.ndarray:
            maps, gradient = explainer._gradient(scene.images[:1], target)
            return np.asarray(explainer._apply_weights(explainer._compute_weights(gradient, maps), maps))[0]

        return run

    return prepare


def _layer(scene: Scene, options: Options) -> dict[str, Any]:
    return {"conv_layer": scene.layer}


def _noise(scene: Scene, options: Options) -> dict[str, Any]:
    return {
        "nb_samples": options["samples"],
        "noise": 0.2 * float(np.ptp(scene.images[0])),  # theirs is in input units
        "batch_size": 8,
        "reducer": None,
    }


def _steps(scene: Scene, options: Options) -> dict[str, Any]:
    return {"steps": options["steps"], "batch_size": options["steps"], "reducer": "sum"}


def _patches(scene: Scene, options: Options) -> dict[str, Any]:
    return {"patch_size": options["patch"], "patch_stride": options["stride"], "batch_size": 64}


def _largest(values: np.ndarray) -> np.ndarray:
    return np.abs(values).max(axis=-1)


RIVALS = (
    rival("grad_cam", "GradCAM", _layer, compared=cam_before_resizing("GradCAM")),
    rival(
        "grad_cam_plus_plus",
        "GradCAMPP",
        _layer,
        "the mean of A where the paper has its sum",
        compared=cam_before_resizing("GradCAMPP"),
    ),
    rival("saliency", "Saliency"),
    rival("gradient_times_input", "GradientInput", lambda scene, options: {"reducer": "sum"}),
    rival("guided_backprop", "GuidedBackprop", lambda scene, options: {"reducer": None}, reduce=_largest),
    rival("smooth_grad", "SmoothGrad", _noise, "other noise", _largest),
    rival("integrated_gradients", "IntegratedGradients", _steps, "the trapezoid rule"),
    rival("occlusion", "Occlusion", _patches),
    rival(
        "rise",
        "Rise",
        lambda scene, options: {"nb_samples": options["masks"], "batch_size": 64},
        "other masks, one shift a batch; divided by each pixel's own coverage",
    ),
)
