"""Widgets for notebooks: choose photos, and look into a model with the mouse or the keyboard.

`PhotoPicker` (samples, a folder, uploads), `MethodExplorer` (methods, classes, layers), `ActivationExplorer` (layers,
channels), `OcclusionExplorer` (patch, stride, fill), `AttentionExplorer` (layers, heads, patches). Each is shown by
naming it at the end of a cell. The work runs in the background and is kept, long work can be stopped, and where
widgets cannot run (nbconvert, GitHub) a plain figure stands in its place.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "ActivationExplorer": "activations",
    "AttentionExplorer": "attention",
    "MethodExplorer": "methods",
    "OcclusionExplorer": "occlusion",
    "PhotoPicker": "picker",
}

__all__ = ["ActivationExplorer", "AttentionExplorer", "MethodExplorer", "OcclusionExplorer", "PhotoPicker"]


def __getattr__(name: str) -> Any:
    # ipywidgets is imported by those who use it: `import labutils.widgets` costs nothing.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
