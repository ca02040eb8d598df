"""The methods that a report shows, as data: a new method joins by a record."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


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
    has_level : bool
        Whether the map has a level that says nothing about places: only differences within it are then shown.
    has_gap : bool
        Whether the map should add up to a known number, so that it takes ``return_gap``.
    """

    name: str
    title: str
    says: str
    has_layer: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    has_level: bool = False
    has_gap: bool = False


METHODS: tuple[Method, ...] = (
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
    ),
    Method(
        "guided_backprop",
        "Guided backprop",
        "Edges that excite the network. It hardly depends on the class: a control, not an explanation.",
    ),
)


def choose(names: Sequence[str] | None) -> list[Method]:
    """The methods of these names, in the order given; None gives all.

    Raises
    ------
    ValueError
        When a name is none of theirs.
    """
    known = {method.name: method for method in METHODS}
    chosen = list(known) if names is None else [name.strip().lower().replace("-", "_") for name in names]
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"there is no method {name!r}{meant}; there are: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(chosen)]
