"""What a user would take instead: one file a library, each with its `RIVALS`. None of them has to be installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.methods import Options
from benchmarks.scene import Scene


@dataclass(frozen=True)
class Rival:
    """What another library calls one of the methods.

    Attributes
    ----------
    method : str
        The function of `labutils.explain`.
    calls : str
        Its name there.
    prepare : callable
        (scene, options) -> a function of no arguments that does the work once: what is timed. Whatever a user does
        once a model, such as cloning it, is done by `prepare`. The work returns the map of the first photo.
    differs : str
        How what it computes differs from ours; empty where it is the same.
    compared : callable or None
        Like `prepare`, for the map that is compared with ours: CAMs before they are resized. None takes `prepare`;
        `NO_MAP` stands for work that has no map.
    """

    method: str
    calls: str
    prepare: Callable[[Scene, Options], Callable[[], Any]]
    differs: str = ""
    compared: Callable[[Scene, Options], Callable[[], Any]] | None = None


def NO_MAP(scene: Scene, options: Options) -> Callable[[], None]:
    """Stands in `Rival.compared` for work that has no map."""
    return lambda: None


@dataclass(frozen=True)
class Library:
    """A library: its name in tables, its distributions, what is imported, the file with its `RIVALS`."""

    name: str
    packages: tuple[str, ...]
    imports: tuple[str, ...]
    file: str
    own_forward: bool = False  # runs a twin of the model on a framework of its own

    @property
    def versions(self) -> str:
        """Versions, or why it cannot be used."""
        try:
            found = ", ".join(f"{package} {version(package)}" for package in self.packages)
        except PackageNotFoundError:
            return "not installed"
        return found if not self.fails else f"{found}: cannot be imported ({self.fails})"

    @property
    def fails(self) -> str:
        """Why its import fails; empty where it succeeds."""
        try:
            for module in self.imports:
                importlib.import_module(module)
        except Exception as error:  # a library that does not fit the others fails in its own way
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
        return ""

    @property
    def rivals(self) -> tuple[Rival, ...]:
        """What it offers; nothing where it is not installed or does not import."""
        return () if self.fails else importlib.import_module(f"benchmarks.libraries.{self.file}").RIVALS


LIBRARIES: tuple[Library, ...] = (
    Library("by hand", (), (), "by_hand"),
    Library("tf-keras-vis", ("tf-keras-vis",), ("tf_keras_vis",), "tf_keras_vis"),
    Library("Xplique", ("xplique",), ("xplique.attributions",), "xplique"),
    Library("vit-keras", ("vit-keras",), ("vit_keras.visualize",), "vit_keras"),
    Library("Captum", ("captum", "torch"), ("torch", "captum.attr"), "captum", own_forward=True),
)


def rivals_of(method: str) -> list[tuple[Library, Rival]]:
    """Everything installed that does this method."""
    return [(library, rival) for library in LIBRARIES for rival in library.rivals if rival.method == method]
