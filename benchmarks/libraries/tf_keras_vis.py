"""tf-keras-vis: Keras, the model cloned once to take the softmax off."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.libraries import NO_MAP, Rival
from benchmarks.methods import Options
from benchmarks.scene import Scene

Work = Callable[[], np.ndarray]


def _score(scene: Scene):
    from tf_keras_vis.utils.scores import CategoricalScore

    return CategoricalScore([scene.label])


def _linear():
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear

    return ReplaceToLinear()


def cam(kind: str, expand: bool, scene: Scene, options: Options) -> Work:
    """A CAM, resized to the image or not, and not scaled."""
    from tf_keras_vis import gradcam, gradcam_plus_plus, layercam, scorecam

    modules = (gradcam, gradcam_plus_plus, layercam, scorecam)
    visualiser = next(getattr(module, kind) for module in modules if hasattr(module, kind))(scene.model, _linear())
    more = {"max_N": options["max_channels"]} if kind == "Scorecam" else {}
    return lambda: visualiser(
        _score(scene),
        scene.images,
        penultimate_layer=scene.layer,
        expand_cam=expand,
        normalize_cam=False,
        **more,
    )[0]


def cloned_each_time(scene: Scene, options: Options) -> Work:
    """As its examples have it in a function: a visualiser, and with it a clone of the model, a call."""
    return lambda: cam("Gradcam", True, scene, options)()


def saliency(scene: Scene, options: Options) -> Work:
    from tf_keras_vis.saliency import Saliency

    visualiser = Saliency(scene.model, _linear())
    more = {"smooth_samples": options["samples"], "smooth_noise": 0.2} if "samples" in options else {}
    return lambda: visualiser(_score(scene), scene.images, normalize_map=False, **more)[0]


def guided_backprop(scene: Scene, options: Options) -> Work:
    from tf_keras_vis.saliency import Saliency
    from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation

    visualiser = Saliency(scene.model, [_linear(), GuidedBackpropagation()])
    return lambda: visualiser(_score(scene), scene.images, normalize_map=False)[0]


def activation_maximization(scene: Scene, options: Options) -> Work:
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayer
    from tf_keras_vis.utils.scores import CategoricalScore

    visualiser = ActivationMaximization(scene.model, ExtractIntermediateLayer(scene.layer))
    return lambda: visualiser(CategoricalScore([0]), steps=options["steps"])[0]


def _cams(method: str, kind: str, differs: str = "") -> Rival:
    return Rival(method, kind, partial(cam, kind, True), differs, partial(cam, kind, False))


RIVALS = (
    _cams("grad_cam", "Gradcam"),
    Rival("grad_cam", "Gradcam, model cloned", cloned_each_time, compared=partial(cam, "Gradcam", False)),
    _cams("grad_cam_plus_plus", "GradcamPlusPlus", "divides each channel's alphas by their sum"),
    _cams("layer_cam", "Layercam"),
    _cams("score_cam", "Scorecam", "weights from a softmax over classes, of each mask alone"),
    Rival("saliency", "Saliency", saliency),
    Rival("smooth_grad", "SmoothGrad", saliency, "other noise"),
    Rival("guided_backprop", "Saliency with GuidedBackpropagation", guided_backprop),
    Rival("maximize_activation", "ActivationMaximization", activation_maximization, "no map", NO_MAP),
)
