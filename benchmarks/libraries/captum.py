"""Captum: PyTorch, on a twin of the model with the same weights (`torch_twin.py`)."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.libraries import Rival
from benchmarks.libraries.torch_twin import twin
from benchmarks.methods import Options
from benchmarks.scene import Scene

if TYPE_CHECKING:
    import torch

Work = Callable[[], np.ndarray]

_twins: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def network(scene: Scene) -> torch.nn.Module:
    """The twin of the scene's model, made once and checked against its logits."""
    if scene.model not in _twins:
        _twins[scene.model] = twin(scene.model, scene.images)
    return _twins[scene.model]


def images(scene: Scene) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(scene.images.transpose(0, 3, 1, 2)))


def forward(scene: Scene) -> Callable[[], None]:
    """The yardstick of this library: its own forward pass, without gradients."""
    import torch

    net, inputs = network(scene), images(scene)[:1]

    def run() -> None:
        with torch.no_grad():
            net(inputs)

    return run


def _first(values: torch.Tensor) -> np.ndarray:
    """(n, C, H, W) -> the first photo's, (H, W, C)."""
    return values.detach().numpy()[0].transpose(1, 2, 0)


def _largest(values: torch.Tensor) -> np.ndarray:
    return np.abs(_first(values)).max(axis=-1)


def _summed(values: torch.Tensor) -> np.ndarray:
    return _first(values).sum(axis=-1)


def attribution(kind: str, reduce: Callable[[torch.Tensor], np.ndarray], **arguments: object):
    """`captum.attr.<kind>(network).attribute(images, target=class)`."""

    def prepare(scene: Scene, options: Options) -> Work:
        import captum.attr

        explainer, inputs = getattr(captum.attr, kind)(network(scene)), images(scene)
        return lambda: reduce(explainer.attribute(inputs, target=scene.label, **arguments))

    return prepare


def noise_tunnel(scene: Scene, options: Options) -> Work:
    import torch
    from captum.attr import NoiseTunnel, Saliency

    explainer, inputs = NoiseTunnel(Saliency(network(scene))), images(scene)
    deviation = 0.2 * float(np.ptp(scene.images[0]))

    def run() -> np.ndarray:
        torch.manual_seed(0)
        maps = explainer.attribute(
            inputs,
            nt_type="smoothgrad",
            nt_samples=options["samples"],
            nt_samples_batch_size=8,
            stdevs=deviation,
            target=scene.label,
            abs=False,
        )
        return _largest(maps)

    return run


def integrated_gradients(scene: Scene, options: Options) -> Work:
    from captum.attr import IntegratedGradients

    explainer, inputs = IntegratedGradients(network(scene)), images(scene)
    return lambda: _summed(
        explainer.attribute(inputs, target=scene.label, n_steps=options["steps"], internal_batch_size=8)
    )


def occlusion(scene: Scene, options: Options) -> Work:
    import torch
    from captum.attr import Occlusion

    explainer, inputs = Occlusion(network(scene)), images(scene)

    def run() -> np.ndarray:
        with torch.no_grad():
            drops = explainer.attribute(
                inputs,
                sliding_window_shapes=(3, options["patch"], options["patch"]),
                strides=(3, options["stride"], options["stride"]),
                target=scene.label,
                perturbations_per_eval=32,
            )
        return _first(drops)[..., 0]  # each colour gets the whole patch's drop

    return run


def grad_cam(resized: bool):
    """Its map at the layer's resolution, or resized as its documentation says."""

    def prepare(scene: Scene, options: Options) -> Work:
        from captum.attr import LayerAttribution, LayerGradCam

        net, inputs = network(scene), images(scene)
        explainer = LayerGradCam(net, net.get_submodule(f"features.{scene.layer}_relu"))

        def run() -> np.ndarray:
            cams = explainer.attribute(inputs, target=scene.label, relu_attributions=True)
            size = tuple(inputs.shape[2:])
            return _first(LayerAttribution.interpolate(cams, size, "bilinear") if resized else cams)[..., 0]

        return run

    return prepare


RIVALS = (
    Rival("grad_cam", "LayerGradCam", grad_cam(True), compared=grad_cam(False)),
    Rival("saliency", "Saliency", attribution("Saliency", _largest)),
    Rival("gradient_times_input", "InputXGradient", attribution("InputXGradient", _summed)),
    Rival("guided_backprop", "GuidedBackprop", attribution("GuidedBackprop", _largest)),
    Rival("smooth_grad", "NoiseTunnel(Saliency)", noise_tunnel, "other noise"),
    Rival("integrated_gradients", "IntegratedGradients", integrated_gradients, "Gauss-Legendre points"),
    Rival("lrp", "LRP", attribution("LRP", _summed)),
    Rival("occlusion", "Occlusion", occlusion),
)
