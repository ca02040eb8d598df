"""The methods that are measured, as data: a new method joins by a record.

What another library does for a method is a record too, in that library's file in `benchmarks/libraries`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.scene import Scene

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """One function of `labutils.explain`.

    Attributes
    ----------
    name : str
        The function.
    options : mapping
        What it is compared with: the same work for every library, small enough to repeat.
    quick : mapping
        What differs in a quick run.
    layer : bool
        Whether it looks at a layer's feature maps.
    network : str
        ``"vgg16"`` or ``"vit"``: what it is measured on (`scene.scene_of`).
    call : callable or None
        (scene, options) -> result, where the arguments are not the contract's.
    """

    name: str
    options: Options = field(default_factory=dict)
    quick: Options = field(default_factory=dict)
    layer: bool = False
    network: str = "vgg16"
    call: Callable[[Scene, Options], Any] | None = None

    def run(self, scene: Scene, options: Options) -> Any:
        """Do it once, for the scene's photos and class."""
        from labutils import explain

        if self.call is not None:
            return self.call(scene, options)
        function = getattr(explain, self.name)
        arguments = {"layer": scene.layer} if self.layer else {}
        if "progress" in inspect.signature(function).parameters:
            arguments["progress"] = False
        return function(scene.model, scene.images, scene.label, **arguments, **options)

    def map(self, scene: Scene, options: Options) -> np.ndarray | None:
        """Its map of the first photo, CAMs at their layer's resolution; None where it does not give a map."""
        if self.call is not None:
            return None
        return self.run(scene, {**options, **({"upsample": False} if self.layer else {})})[0]

    def chosen(self, quick: bool) -> Options:
        return {**self.options, **self.quick} if quick else self.options


def _cam_family(scene: Scene, options: Options) -> dict[str, np.ndarray]:
    from labutils import explain

    return explain.cam_family(scene.model, scene.images, scene.label, layer=scene.layer, **options)


def _maximize(scene: Scene, options: Options) -> np.ndarray:
    from labutils import explain

    return explain.maximize_activation(scene.model, scene.layer, 0, progress=False, **options)


def _attention(scene: Scene, options: Options) -> np.ndarray:
    from labutils import explain

    return explain.attention(scene.model, scene.images, **options)


def _activations(scene: Scene, options: Options) -> Any:
    from labutils import explain

    return explain.activations(scene.model, scene.images, **options)


METHODS: tuple[Method, ...] = (
    Method("grad_cam", layer=True),
    Method("grad_cam_plus_plus", layer=True),
    Method("layer_cam", layer=True),
    Method("cam_family", call=_cam_family),
    Method("score_cam", {"max_channels": 32}, {"max_channels": 16}, layer=True),
    Method("ablation_cam", layer=True),
    Method("saliency"),
    Method("gradient_times_input"),
    Method("guided_backprop"),
    Method("smooth_grad", {"samples": 8, "seed": 0}, {"samples": 4}),
    Method("integrated_gradients", {"steps": 8}, {"steps": 4}),
    Method("lrp", {"composite": "epsilon", "epsilon": 1e-9}),
    Method("occlusion", {"patch": 56, "stride": 56}),
    Method("rise", {"masks": 32, "seed": 0}, {"masks": 16}),
    Method("activations", call=_activations),
    Method("maximize_activation", {"steps": 8, "seed": 0}, {"steps": 4}, call=_maximize),
    Method("attention", network="vit", call=_attention),
    Method("attention_rollout", network="vit"),
    Method("gradient_rollout", network="vit"),
)


def named(names: list[str] | None) -> list[Method]:
    """The methods of these names, in the table's order; None gives all.

    Raises
    ------
    ValueError
        When a name is none of theirs.
    """
    known = [method.name for method in METHODS]
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(f"--only: there is no method {unknown[0]!r}; there are: {', '.join(known)}")
    return [method for method in METHODS if names is None or method.name in names]
