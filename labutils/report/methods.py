"""The methods that a report shows, as data: a new method joins by a record."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labutils.report.network import DEFAULT_SIDE, Network


@dataclass(frozen=True)
class Method:
    """One method of `labutils.explain`.

    Attributes
    ----------
    name : str
        Its function there.
    title : str
        What a report calls it.
    says : str
        What its map means, in a line.
    has_layer : bool
        Whether it looks at one layer's feature maps and so takes ``layer``.
    options : mapping
        Options other than the defaults, such as a seed.
    options_for : callable
        Further options that depend on the (height, width) of the network's photos.
    has_level : bool
        Whether the map has a level that says nothing about places: only differences within it are then shown.
    has_gap : bool
        Whether the map should add up to a known number, so that it takes ``return_gap``.
    needs_attention : bool
        Whether it reads attention, and so is for transformers alone.
    for_transformers : bool
        Whether it says something of a transformer.
    """

    name: str
    title: str
    says: str
    has_layer: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    options_for: Callable[[tuple[int, int]], Mapping[str, Any]] = lambda size: {}
    has_level: bool = False
    has_gap: bool = False
    needs_attention: bool = False
    for_transformers: bool = True

    def suits(self, network: Network) -> bool:
        """Whether a report on this network has the method when nobody names it."""
        return self.for_transformers if network.has_attention else not self.needs_attention


def _patch_that_fits(size: tuple[int, int]) -> Mapping[str, Any]:
    """Occlusion's own patch is made for photos of some 224 pixels; smaller and much larger ones have it in proportion."""
    side = min(size)
    if 64 <= side <= 2 * DEFAULT_SIDE:
        return {}
    patch = max(1, side // (4 if side < 64 else 14))
    return {"patch": patch, "stride": max(1, patch // 2)}


METHODS: tuple[Method, ...] = (
    Method(
        "attention_map",
        "Attention, last layer",
        "How much the class token takes from each patch in the last layer, on average over its heads. It knows no class.",
        needs_attention=True,
    ),
    Method(
        "attention_rollout",
        "Attention rollout",
        "How much of each patch arrives at the class token through all layers. It is the same for every class.",
        needs_attention=True,
    ),
    Method(
        "gradient_rollout",
        "Gradient rollout",
        "As rollout, but of attention that speaks for the class: each head's is weighted by its gradient.",
        needs_attention=True,
    ),
    Method(
        "grad_cam",
        "Grad-CAM",
        "Regions whose features speak for the class: each feature map weighted by its mean gradient.",
        has_layer=True,
    ),
    Method(
        "grad_cam_plus_plus",
        "Grad-CAM++",
        "As Grad-CAM, but every place with a positive gradient counts, so several objects of a class all show.",
        has_layer=True,
    ),
    Method(
        "layer_cam",
        "Layer-CAM",
        "As Grad-CAM, but each place is weighted by its own gradient: finer, and useful in early layers too.",
        has_layer=True,
    ),
    Method(
        "score_cam",
        "Score-CAM",
        "Regions that by themselves keep the class's score up; found by masking the photo, without gradients.",
        has_layer=True,
    ),
    Method(
        "ablation_cam",
        "Ablation-CAM",
        "Regions of the features without which the class's score falls; found by switching each off, without gradients.",
        has_layer=True,
    ),
    Method(
        "occlusion",
        "Occlusion",
        "How far the score drops when a small square there is covered; blue where covering it helps the class.",
        options_for=_patch_that_fits,
    ),
    Method(
        "rise",
        "RISE",
        "The score averaged over the random masks that leave the place visible; coloured from its lowest value. Coarse.",
        options={"masks": 500, "seed": 0},
        has_level=True,
    ),
    Method(
        "saliency",
        "Saliency",
        "Pixels where a tiny change would move the class's score most, in whichever direction.",
    ),
    Method(
        "smooth_grad",
        "SmoothGrad",
        "Saliency averaged over noisy copies of the photo, which takes away most of its speckle.",
        options={"seed": 0},
    ),
    Method(
        "gradient_times_input",
        "Gradient × input",
        "A first guess at each pixel's share in the score; red speaks for the class, blue against it.",
    ),
    Method(
        "integrated_gradients",
        "Integrated gradients",
        "Each pixel's share in the score's rise from the baseline to the photo; the shares add up to that rise.",
        has_gap=True,
    ),
    Method(
        "lrp",
        "LRP",
        "The score, handed down from layer to layer: red speaks for the class, blue against it. The gap is what biases keep.",
        has_gap=True,
        for_transformers=False,  # It has no rule for attention.
    ),
    Method(
        "guided_backprop",
        "Guided backprop",
        "Edges that excite the network. It hardly depends on the class: a control, not an explanation.",
        for_transformers=False,  # A transformer has no ReLUs to guide, or those of its stem alone.
    ),
)


def choose(names: Sequence[str] | None, network: Network | None = None) -> list[Method]:
    """The methods of these names, in the order given; None gives all or, for a network, those that suit it.

    Raises
    ------
    ValueError
        When a name is none of theirs, or that of a method which this network cannot have.
    """
    known = {method.name: method for method in METHODS}
    if names is None:
        return [method for method in METHODS if network is None or method.suits(network)]
    chosen = [name.strip().lower().replace("-", "_") for name in names]
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"there is no method {name!r}{meant}; there are: {', '.join(known)}")
        if network is not None and known[name].needs_attention and not network.has_attention:
            raise ValueError(f"{name} reads attention, and {network.title} has no attention layers; --model vit has")
    return [known[name] for name in dict.fromkeys(chosen)]
