"""The explorer of methods, classes and layers."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import ipywidgets
import numpy as np

from labutils import explain, plots
from labutils.plots.words import percent
from labutils.report.methods import Method, choose
from labutils.report.network import Network
from labutils.widgets.explorer import Chooser, ClassChooser, Explorer, Preprocess
from labutils.widgets.work import Report

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from labutils.widgets.picker import PhotoPicker


class Choice(NamedTuple):
    photo: int
    method: str
    class_index: int | None
    layer: str | None


class Found(NamedTuple):
    """A map and what it cost."""

    probabilities: np.ndarray
    class_index: int
    values: np.ndarray
    passes: explain.Passes
    seconds: float


class MethodExplorer(Explorer):
    """One photo, one method, one class, one layer: choose, and see the map over the photo.

    Parameters
    ----------
    model : keras.Model
        An image classifier, Functional or Sequential. It is not changed.
    photos : numpy.ndarray or PhotoPicker, optional
        (n, H, W, 3) or (n, H, W) uint8, as people see them; None takes the student's own and the samples.
    preprocess : callable, optional
        From photos (n, H, W, C) float32, 0 to 255, to what the model takes; None hands them over as they are.
    titles, class_names : sequence of str, optional
    methods : sequence of str, optional
        Names of functions of `labutils.explain`, the first one shown first; None takes all that suit the model.

    Raises
    ------
    TypeError, ValueError
        A model that cannot be opened, or a method that there is not; the message says what is possible.

    Examples
    --------
    >>> MethodExplorer(model, photos, preprocess=vgg16.preprocess_input)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: keras.Model,
        photos: np.ndarray | PhotoPicker | None = None,
        *,
        preprocess: Preprocess | None = None,
        titles: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
    ):
        super().__init__(model, photos, preprocess=preprocess, titles=titles, class_names=class_names)
        spatial = dict.fromkeys(place.path for place in self._opened.reached_places() if place.is_spatial)
        chosen = choose(methods, Network(model.name, model, "none", self.class_names))
        if methods is None and not spatial:
            chosen = [method for method in chosen if not method.has_layer]
        self._methods: dict[str, Method] = {method.name: method for method in chosen}
        first = "grad_cam" if methods is None and spatial else chosen[0].name
        self.method = ipywidgets.Dropdown(
            description="Method", options=[(method.title, method.name) for method in chosen], value=first
        )
        self.class_chooser = ClassChooser(self.class_names)
        layers = [("the last that counts", None), *((name, name) for name in spatial)]
        self.layer = Chooser(description="Layer", options=layers)
        self._arrange([self.method, self.class_chooser, self.layer])
        self.children[1].children += (self.opacity,)

    def _choice(self) -> Choice:
        method = self._methods[self.method.value]
        self.layer.disabled = not method.has_layer
        layer = self.layer.value if method.has_layer else None
        return Choice(self.picker.chosen[0], method.name, self.class_chooser.value, layer)

    def _work(self, choice: Choice, report: Report) -> Found:
        method = self._methods[choice.method]
        image = self._input(choice.photo)
        probabilities = self.probabilities(choice.photo)
        class_index = int(probabilities.argmax()) if choice.class_index is None else choice.class_index
        function = getattr(explain, method.name)
        options = {**method.options, **method.options_for(image.shape[1:3])}
        if choice.layer is not None:
            options["layer"] = choice.layer
        if "progress" in inspect.signature(function).parameters:
            options["progress"] = report
            report(0, 1)  # so that it can be stopped before its first piece is done
        with explain.count_passes() as passes:
            started = time.perf_counter()
            values = function(self.model, image, [class_index], **options)[0]
            seconds = time.perf_counter() - started
        return Found(probabilities, class_index, values, passes, seconds)

    def _show(self, choice: Choice, found: Found) -> None:
        method = self._methods[choice.method]
        self.class_chooser.rank(found.probabilities)
        heading = self._heading(choice, found)
        self.view.show_map(found.values, heading, what=heading, level=method.has_level)
        cost = f"{found.passes.forward} forward and {found.passes.backward} backward passes, {found.seconds:.2f} s"
        self.say(method.says, f"Cost: {cost}.")

    def _drawn(self, choice: Choice, found: Found) -> Figure:
        values = found.values
        if self._methods[choice.method].has_level:
            values = values - values.min()
        return plots.overlay(self.photo, values, title=self._heading(choice, found), alpha=self.opacity.value)

    def _heading(self, choice: Choice, found: Found) -> str:
        name = self.class_names[found.class_index]
        share = percent(float(found.probabilities[found.class_index]))
        layer = f" at {choice.layer}" if choice.layer else ""
        return f"{self._methods[choice.method].title}{layer} for {name} ({share}) in {self.picker.items[choice.photo].name}"
