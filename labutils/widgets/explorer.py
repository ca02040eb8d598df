"""What all explorers share: photos to choose from, work in the background with progress and a stop, and words on it."""

from __future__ import annotations

import html
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import traitlets

from labutils.explain.arguments import check_images
from labutils.explain.surgery import open_model
from labutils.widgets.picker import PhotoPicker
from labutils.widgets.plain import WithPlainFigure
from labutils.widgets.view import PictureView
from labutils.widgets.work import Background, Report, Stopped

if TYPE_CHECKING:
    import keras

DEFAULT_SIDE = 224
"""Height and width of photos, in pixels, for models that take any."""

CLASSES_LISTED = 100
"""A list of classes has so many, the most probable first; a thousand make no list that one can choose from."""

Preprocess = Callable[[np.ndarray], np.ndarray]
"""From photos (n, H, W, C) float32, 0 to 255, to what the model takes."""


class Explorer(WithPlainFigure):
    """A widget that asks a model about one photo at a time.

    A subclass says what is chosen (`_choice`, hashable, the photo's number first), makes the result for a choice
    (`_work`, in the background), shows it (`_show`) and draws it as a plain figure (`_drawn`). It calls `_arrange` at
    the end of its ``__init__``, and `refresh` is called when one of its controls changes.

    Parameters
    ----------
    model : keras.Model
    photos : numpy.ndarray or PhotoPicker, optional
        As `PhotoPicker` takes them, or one of these.
    preprocess : callable, optional
        From photos (n, H, W, C) float32, 0 to 255, to what the model takes; None hands them over as they are.
    titles : sequence of str, optional
        The photos' names.
    class_names : sequence of str, optional
        A name for each of the model's classes; None takes those that `labutils` knows for this number, else numbers.
    """

    def __init__(
        self,
        model: keras.Model,
        photos: np.ndarray | PhotoPicker | None = None,
        *,
        preprocess: Preprocess | None = None,
        titles: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
    ):
        self._opened = open_model(model)  # names what is wrong with a model that cannot be opened
        if len(self._opened.input_shape) not in (2, 3):
            raise ValueError(
                f"model: '{model.name}' takes inputs of shape {self._opened.input_shape}; an explorer shows models of "
                "photos, (height, width, channels) or (height, width)"
            )
        super().__init__()
        self._background = Background(self._work, self._finished, self._failed, self._advance, self._begun)
        self.model = model
        self._preprocess = preprocess
        self.class_names = _names(class_names, self._opened.classes)
        if not isinstance(photos, PhotoPicker):
            size = tuple(side or DEFAULT_SIDE for side in model.input_shape[1:3])
            photos = PhotoPicker(photos, titles=titles, size=size, multiple=False)
        self.picker = photos
        self.view = PictureView()
        self.opacity = ipywidgets.FloatSlider(
            description="Opacity",
            value=self.view.opacity,
            min=0,
            max=1,
            step=0.05,
            readout_format=".0%",
            tooltip="Of the map over the photo; 100 % shows the map alone",
        )
        ipywidgets.jslink((self.opacity, "value"), (self.view, "opacity"))  # in the browser: no wait for the kernel
        self._probabilities: dict[int, np.ndarray] = {}
        self._problem: Exception | None = None
        self._answered: Hashable = None  # the choice whose result, or problem, is shown
        self._bar = ipywidgets.IntProgress(
            description="Working", layout={"width": "260px", "display": "none"}, style={"description_width": "initial"}
        )
        self._stop = ipywidgets.Button(layout={"width": "auto", "display": "none"})
        self._stop.on_click(lambda _: self.stop() if self._background.busy else self.refresh())
        self.words = ipywidgets.HTML()
        self._shown_photo: int | None = None

    # To be said by a subclass ------------------------------------------------------------------------------------

    def _choice(self) -> Hashable:
        raise NotImplementedError

    def _work(self, choice: Any, report: Report) -> Any:
        raise NotImplementedError

    def _show(self, choice: Any, result: Any) -> None:
        raise NotImplementedError

    def _drawn(self, choice: Any, result: Any) -> Any:
        raise NotImplementedError

    # For subclasses ----------------------------------------------------------------------------------------------

    def _arrange(self, controls: Sequence[ipywidgets.Widget], views: Sequence[ipywidgets.Widget] | None = None) -> None:
        """Put everything in its place, watch the controls, and ask for the first result."""
        for control in controls:
            control.observe(self.refresh, "value")
        self.picker.observe(self.refresh, "chosen")
        wrapping = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "4px 16px"}
        views_layout = {"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "8px 20px", "margin": "6px 0"}
        self.children = [
            self.picker,
            ipywidgets.Box(list(controls), layout=wrapping),
            ipywidgets.Box([self._bar, self._stop], layout=wrapping),
            ipywidgets.Box(list(views or [self.view]), layout=views_layout),
            self.words,
        ]
        self.refresh()

    @property
    def photo(self) -> np.ndarray:
        """The chosen photo as people see it, (H, W, 3) or (H, W) uint8."""
        return self.picker.items[self.picker.chosen[0]].image

    @property
    def title(self) -> str:
        """The chosen photo's name."""
        return self.picker.items[self.picker.chosen[0]].name

    def _input(self, number: int) -> np.ndarray:
        """One photo as the model takes it, (1, H, W, C) float32."""
        return self._as_input(self.picker.items[number].image)

    def _as_input(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels as people see them, (H, W, 3) or (H, W), as the model takes them, (1, H, W, C) float32."""
        pixels = pixels.astype("float32")
        shape = self._opened.input_shape
        if pixels.ndim == 3 and shape[2:] in ((), (1,)):  # without an axis for the channels, digits mostly: grey
            pixels = np.rint(pixels @ np.array([0.299, 0.587, 0.114], "float32"))
        if pixels.ndim == 2 and len(shape) == 3:
            pixels = np.repeat(pixels[..., np.newaxis], shape[2], axis=-1)
        batch = pixels[np.newaxis]
        return check_images(self._opened, batch if self._preprocess is None else self._preprocess(batch))

    def probabilities(self, number: int) -> np.ndarray:
        """What the model says of one photo, (classes,)."""
        if number not in self._probabilities:
            self._probabilities[number] = self._answer(self._input(number))
        return self._probabilities[number]

    def _answer(self, image: np.ndarray) -> np.ndarray:
        """What the model says of one input, (1, H, W, C): probabilities, (classes,)."""
        probabilities = self._opened.probabilities(image)[0]
        if not np.isfinite(probabilities).all():
            raise ValueError("the model's answer to this photo is not a number (NaN)")
        return probabilities

    # What goes on ------------------------------------------------------------------------------------------------

    def refresh(self, _change: object = None) -> None:
        """Ask for what is chosen now; what was asked for before is given up."""
        with self._background.asking:  # what was asked for before must not be shown with this photo
            if not self.picker.chosen:
                self._background.stop()
                self._failed(None, ValueError("no photo is chosen"))
                return
            choice = self._choice()
            if self.picker.chosen[0] != self._shown_photo:
                self._shown_photo = self.picker.chosen[0]
                photo = self.photo
                self.view.show_photo(np.repeat(photo[..., np.newaxis], 3, axis=2) if photo.ndim == 2 else photo)
            self._ask(choice)

    def _ask(self, choice: Any) -> None:
        self._background.ask(choice)

    def stop(self) -> None:
        """Give up what is being computed."""
        self._background.stop()

    def wait(self, seconds: float | None = None) -> bool:
        return self._background.wait(seconds)

    def figure(self) -> Any:
        """What is chosen now, as a matplotlib figure; waits for it.

        Raises
        ------
        Exception
            What the model or the method raised, where it is not possible.
        """
        failed_before = self._problem is not None and self.picker.chosen and self._answered == self._choice()
        if not failed_before:
            self.refresh()
        self.wait()
        if self._problem is not None:
            raise self._problem
        return self._drawn(*self._result)

    def close(self) -> None:
        if self.comm is not None:  # it is neither closed already nor a widget that could not be made
            self.stop()
        super().close()

    def _begun(self, _choice: Any) -> None:
        self.view.busy = True
        self._bar.value, self._bar.description = 0, "Working"
        self._stop.description, self._stop.icon = "Stop", "stop"
        self._stop.tooltip = "Give up what is being computed"

    def _advance(self, done: int, total: int) -> None:
        self._bar.max, self._bar.value = total, done
        self._bar.description = f"{done} of {total}" if done else "Working"
        for part in (self._bar, self._stop):
            part.layout.display = None

    def _rest(self) -> None:
        self.view.busy = False
        for part in (self._bar, self._stop):
            part.layout.display = "none"

    def _finished(self, choice: Any, result: Any) -> None:
        self._problem, self._result, self._answered = None, (choice, result), choice
        self._rest()
        try:
            self._show(choice, result)
        except Exception as error:  # a map of NaN, say
            self._failed(choice, error)

    def _failed(self, choice: Any, error: Exception) -> None:
        self._problem, self._answered = error, choice
        self._rest()
        self.view.show_nothing()
        if isinstance(error, Stopped):
            self._answered = None
            self._stop.description, self._stop.icon, self._stop.tooltip = "Start again", "play", ""
            self._stop.layout.display = None
            self.say("Stopped.")
        else:
            first = next(iter(str(error).splitlines()), "") or type(error).__name__
            self.say(f"Not possible here: {first}", alert=True)

    def say(self, *lines: str, alert: bool = False) -> None:
        """Write lines of plain text below the picture."""
        role, colour = ("alert", "; color: var(--jp-error-color1, #b3261e)") if alert else ("status", "")
        self.words.value = (
            f'<div role="{role}" style="line-height: 1.5{colour}">'
            + "<br>".join(html.escape(line) for line in lines)
            + "</div>"
        )


class Chooser(ipywidgets.Dropdown):
    """A list in which None can be chosen, and which keeps what is chosen when it gets other options.

    The Dropdown of ipywidgets takes None for "nothing is chosen", and goes to the first of other options.
    """

    @traitlets.observe("value")
    def _propagate_value(self, change: Any) -> None:
        self.index = self._options_values.index(change.new)

    @traitlets.observe("options")
    def _propagate_options(self, change: Any) -> None:
        if change is None:  # while it is made
            super()._propagate_options(change)
            return
        labels, values = zip(*self._options_full, strict=True)
        self.set_trait("_options_labels", labels)
        self._options_values = values
        self.index = values.index(self.value) if self.value in values else 0
        self.label, self.value = labels[self.index], values[self.index]


class ClassChooser(Chooser):
    """A list of the model's classes: the photo's most probable one (None), then all by probability."""

    def __init__(self, names: Sequence[str]):
        self._names = names
        super().__init__(description="Class", options=[("the most probable", None)])

    def rank(self, probabilities: np.ndarray) -> None:
        """Put the classes in the order of one photo's probabilities; what is chosen stays chosen."""
        from labutils.plots.words import percent

        order = [int(index) for index in np.argsort(-probabilities, kind="stable")[:CLASSES_LISTED]]
        if self.value is not None and self.value not in order:
            order.append(self.value)
        listed = [(f"{self._names[index]}, {percent(float(probabilities[index]))}", index) for index in order]
        options = [(f"the most probable: {self._names[order[0]]}", None), *listed]
        if options != list(self.options):
            self.options = options


def _names(given: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if given is not None:
        if len(given) != count:
            raise ValueError(f"class_names has {len(given)} names; the model has {count} classes")
        return tuple(map(str, given))
    from labutils import pretrained
    from labutils.weights import WeightsError

    try:
        return tuple(name.replace("_", " ") for _, name in pretrained.classes_of(count))
    except (WeightsError, ValueError):
        return tuple(f"class {index}" for index in range(count))
