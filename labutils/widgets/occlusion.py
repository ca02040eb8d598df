"""The explorer of occlusion: a patch that covers the photo, place by place, and what that costs the class."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets
import numpy as np
import traitlets

from labutils import explain, plots
from labutils.explain.occlusion import Patches, lay_patches
from labutils.plots.words import percent, sides
from labutils.widgets.explorer import ClassChooser, Explorer, Preprocess
from labutils.widgets.view import PictureView
from labutils.widgets.work import Background, Report, Stopped

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from labutils.widgets.picker import PhotoPicker

AT_ONCE = 5.0
"""Seconds: a map that takes longer waits for the Run button."""

UNMEASURED = 300
"""So many positions are computed at once while nothing is known of the model's pace."""

PAUSE = 0.3
"""Seconds after a slider's last move until the work begins."""

BATCH = 16
"""Patches in a pass: few, so that Stop is heeded soon. Sixty-four are no faster on a CPU."""

FILLS = {
    "the photo's mean colour": "mean",
    "black": "black",
    "white": "white",
    "grey": "grey",
    "the photo, blurred": "blurred",
    "a colour of your own": "own",
}

_LUMINANCE = np.array([0.299, 0.587, 0.114])


class Choice(NamedTuple):
    photo: int
    class_index: int | None
    patch: int
    stride: int
    fill: str
    """"mean", "blurred" or a colour."""


class Place(NamedTuple):
    """A photo under one patch."""

    photo: int
    patch: int
    top: int
    left: int
    fill: str


class Found(NamedTuple):
    """A map and what it cost."""

    probabilities: np.ndarray
    class_index: int
    values: np.ndarray
    positions: int
    seconds: float


class OcclusionExplorer(Explorer):
    """One photo, one class, a patch that covers it in steps: choose, and see which places the class rests on.

    The first picture is what the network sees with the patch at one place; a click moves the patch there and tells what
    becomes of the class's probability. The second one is the map. Maps that take up to five seconds come by themselves;
    longer ones wait for the Run button, and can be stopped.

    Parameters
    ----------
    model : keras.Model
        An image classifier, Functional or Sequential. It is not changed.
    photos : numpy.ndarray or PhotoPicker, optional
        (n, H, W, 3) or (n, H, W) uint8, as people see them; None takes the student's own and the samples.
    preprocess : callable, optional
        From photos (n, H, W, C) float32, 0 to 255, to what the model takes; None hands them over as they are.
    titles, class_names : sequence of str, optional
    patch, stride : int, optional
        At first, in pixels; None takes a seventh of the photo's shorter side, 32 of 224, and half of that.

    Raises
    ------
    TypeError, ValueError
        A model that cannot be opened, or a patch or stride larger than the photo.

    Examples
    --------
    >>> OcclusionExplorer(model, photos, preprocess=vgg16.preprocess_input)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: keras.Model,
        photos: np.ndarray | PhotoPicker | None = None,
        *,
        preprocess: Preprocess | None = None,
        titles: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        patch: int | None = None,
        stride: int | None = None,
    ):
        super().__init__(model, photos, preprocess=preprocess, titles=titles, class_names=class_names)
        self._places = Background(self._cover, self._covered, self._not_covered, lambda done, total: None)
        self._paces: dict[int, float] = {}
        self._waits_for_run = False
        self._asked: Choice | None = None
        self._shown_place: Place | None = None
        shorter = min(self.picker.items[0].image.shape[:2])
        patch = _checked_side(math.ceil(shorter / 7) if patch is None else patch, "patch", shorter)
        stride = _checked_side(max(1, patch // 2) if stride is None else stride, "stride", shorter)
        wide = {"style": {"description_width": "initial"}}
        self.patch = ipywidgets.IntSlider(
            description="Patch, pixels", value=patch, min=1, max=shorter, tooltip="Side of the patch in pixels", **wide
        )
        self.stride = ipywidgets.IntSlider(
            description="Step, pixels",
            value=stride,
            min=1,
            max=shorter,
            tooltip="Pixels from one place of the patch to the next",
            **wide,
        )
        self.fill = ipywidgets.Dropdown(
            description="Patch shows",
            options=FILLS,
            tooltip="What the patch puts over the photo, in the photo's own colours",
            **wide,
        )
        self.colour = ipywidgets.ColorPicker(
            description="Colour", value="#ff00ff", concise=True, tooltip="The patch's colour", layout={"width": "150px"}
        )
        self.class_chooser = ClassChooser(self.class_names)
        self.run_button = ipywidgets.Button(
            description="Run", icon="play", tooltip="Compute the map for these settings", layout={"width": "90px"}
        )
        self.run_button.on_click(lambda _: self.run())
        self.cost = ipywidgets.HTML()
        self.seen = PictureView(place="Patch", marks=False)
        self.view.place, self.view.marks = "Patch", False
        traitlets.link((self.seen, "chosen"), (self.view, "chosen"))
        self.seen.observe(self._place_chosen, "chosen")
        controls = [self.class_chooser, self.patch, self.stride, self.fill, self.colour]
        self._arrange(controls, [self.seen, self.view])
        self.children[1].children += (self.opacity, self.run_button, self.cost)

    # Controls --------------------------------------------------------------------------------------------------------

    def _choice(self) -> Choice:
        own = self.fill.value == "own"
        self.colour.layout.display = None if own else "none"
        fill = self.colour.value if own else self.fill.value
        return Choice(self.picker.chosen[0], self.class_chooser.value, self.patch.value, self.stride.value, fill)

    def _ask(self, choice: Choice) -> None:
        try:
            patches = self._patches(choice)
            self._lay(patches)
        except Exception as error:  # a colour that is none, say
            self._background.stop()
            self._failed(choice, error)
            return
        seconds = self._estimate(choice.patch, patches.count)
        self._say_cost(patches, seconds)
        quick = patches.count <= UNMEASURED if seconds is None else seconds <= AT_ONCE
        under_way = choice == self._asked and self._background.busy
        if quick or under_way or self._background.keeps(choice):
            self._begin(choice, 0.0 if self._asked is None else PAUSE)
        else:
            self._wait_for_run()

    def _begin(self, choice: Choice, pause: float) -> None:
        if self._waits_for_run:
            self.view.caption = ""
        self._asked, self._waits_for_run = choice, False
        self.run_button.disabled = True
        self._background.ask(choice, pause)

    def run(self) -> None:
        """Compute the map for what is chosen, however long it takes."""
        with self._background.asking:
            self._begin(self._choice(), 0.0)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the map, at most so many seconds; without a limit, one that waits for the Run button is computed.

        Returns whether it is there.
        """
        if self._waits_for_run:
            if seconds is not None:
                return False
            self.run()
        return super().wait(seconds) and self._places.wait(seconds)

    def _wait_for_run(self) -> None:
        self._asked, self._waits_for_run = None, True
        self._background.stop()
        self._rest()
        self.view.show_nothing()
        self.view.caption = "The map of these settings waits for the Run button."
        self.run_button.disabled = False
        self.say("")

    def _estimate(self, patch: int, positions: int) -> float | None:
        """Seconds, from the pace at the most similar patch so far; None before the first map."""
        if not self._paces:
            return None
        nearest = min(self._paces, key=lambda known: abs(math.log(known / patch)))
        return self._paces[nearest] * positions

    def _say_cost(self, patches: Patches, seconds: float | None) -> None:
        text = f"{patches.count:,} place{'s' * (patches.count > 1)}"
        text += f", {_duration(seconds)}" if seconds is not None else ""
        if self.stride.value > self.patch.value and patches.count > 1:
            text += "; steps longer than the patch leave pixels out"
        self.cost.value = f'<span role="status">{text}.</span>'

    # The patch at one place ------------------------------------------------------------------------------------------

    def _patches(self, choice: Choice) -> Patches:
        size = self.photo.shape[:2]
        return lay_patches(size, (choice.patch, choice.patch), (choice.stride, choice.stride))

    def _lay(self, patches: Patches) -> None:
        """Show the patch, where the last one was or in the middle."""
        grid = [len(patches.tops), len(patches.lefts)]
        if grid != self.seen.grid:
            before, at = self.seen.grid, self.seen.chosen
            shares = [(index + 0.5) / count for index, count in zip(at, before, strict=True)] if at else [0.5, 0.5]
            self.seen.grid = self.view.grid = grid
            self.seen.chosen = [int(share * count) for share, count in zip(shares, grid, strict=True)]
        self._show_place()

    def _place_chosen(self, _change: Any) -> None:
        with self._background.asking:
            if self.picker.chosen:
                self._show_place()

    def _place(self) -> Place:
        choice = self._choice()
        patches = self._patches(choice)
        top, left = (
            int(starts[min(index, len(starts) - 1)])
            for index, starts in zip(self.seen.chosen, (patches.tops, patches.lefts), strict=True)
        )
        return Place(choice.photo, choice.patch, top, left, choice.fill)

    def _show_place(self) -> None:
        place = self._place()
        if place != self._shown_place:
            covered = self._covered_pixels(place)
            self._shown_place = place
            height, width = covered.shape[:2]
            with self.seen.hold_sync():
                self.seen.show_photo(covered)
                self.seen.caption = "What the network sees"  # until its answer is there
                self.seen.box = [place.top / height, place.left / width, place.patch / height, place.patch / width]
            self.view.box = self.seen.box
        self._places.ask(place)

    def _covered_pixels(self, place: Place) -> np.ndarray:
        pixels = self._pixels(place.photo)
        return cover(pixels, filling(pixels, place.fill), place.top, place.left, place.patch)

    def _pixels(self, number: int) -> np.ndarray:
        """The photo with the colours that the model sees: a model of one channel gets it grey."""
        pixels = self.picker.items[number].image
        if pixels.ndim == 3 and self.model.input_shape[-1] == 1:
            pixels = np.rint(pixels @ _LUMINANCE).astype(np.uint8)
        return pixels

    def _cover(self, place: Place, report: Report) -> np.ndarray:
        """The probabilities under the patch."""
        self.probabilities(place.photo)
        return self._answer(self._as_input(self._covered_pixels(place)))

    def _covered(self, place: Place, after: np.ndarray) -> None:
        before = self.probabilities(place.photo)
        index = self._class_index(before, self.class_chooser.value)
        change = _change(float(before[index]), float(after[index]))
        self.seen.caption = f"What the network sees: {self.class_names[index]} {change} under the patch."
        self.seen.alt = f"The photo with the patch from row {place.top}, column {place.left}. {self.seen.caption}"

    def _not_covered(self, place: Place, error: Exception) -> None:
        if not isinstance(error, Stopped):
            self.seen.caption = f"Not possible here: {error}"

    # The map ---------------------------------------------------------------------------------------------------------

    def _work(self, choice: Choice, report: Report) -> Found:
        image, pixels = self._input(choice.photo), self._pixels(choice.photo)
        probabilities = self.probabilities(choice.photo)
        class_index = self._class_index(probabilities, choice.class_index)
        fill = self._as_input(filling(pixels, choice.fill))[0]
        positions = self._patches(choice).count
        started = time.perf_counter()
        marks: list[tuple[int, float]] = []

        def advance(done: int, total: int) -> None:
            marks.append((max(1, positions * done // total), time.perf_counter() - started))
            self._paces[choice.patch] = _pace(marks)
            report(marks[-1][0], positions)

        options = {"patch": choice.patch, "stride": choice.stride, "fill": fill, "batch_size": BATCH}
        values = explain.occlusion(self.model, image, [class_index], **options, progress=advance)[0]
        return Found(probabilities, class_index, values, positions, time.perf_counter() - started)

    def _show(self, choice: Choice, found: Found) -> None:
        self.class_chooser.rank(found.probabilities)
        heading = self._heading(choice, found)
        self.view.show_map(found.values, heading, what=heading)
        name = self.class_names[found.class_index]
        self.say(
            f"How far the logit of {name} falls when a pixel is covered, on average over the patches that cover it: red "
            "where the class rests on the place, blue where it does better without.",
            f"Cost: {found.positions + 1:,} forward passes, {found.seconds:.2f} s.",
        )
        self.run_button.disabled = True

    def _failed(self, choice: Choice | None, error: Exception) -> None:
        if isinstance(error, Stopped) and choice != self._asked:
            return  # given up for settings that wait for the Run button, and say so
        super()._failed(choice, error)
        self._asked = None  # what is under way has nothing more to say
        self.run_button.disabled = choice is None  # no photo
        if isinstance(error, Stopped):
            self._stop.layout.display = "none"
            self.say("Stopped. The Run button begins again.")

    def _class_index(self, probabilities: np.ndarray, chosen: int | None) -> int:
        return int(probabilities.argmax()) if chosen is None else chosen

    def _drawn(self, choice: Choice, found: Found) -> Figure:
        return plots.overlay(self.photo, found.values, title=self._heading(choice, found), alpha=self.opacity.value)

    def _heading(self, choice: Choice, found: Found) -> str:
        name = self.class_names[found.class_index]
        share = percent(float(found.probabilities[found.class_index]))
        fill = next((words for words, value in FILLS.items() if value == choice.fill), f"colour {choice.fill}")
        patch = f"patch of {sides(choice.patch, choice.patch)}, step {choice.stride}, {fill}"
        return f"Occlusion for {name} ({share}) in {self.picker.items[choice.photo].name}: {patch}"


def filling(pixels: np.ndarray, fill: str) -> np.ndarray:
    """What a patch shows everywhere: "mean" or "blurred" of the photo, or a CSS colour; shape and kind as the photo's."""
    from PIL import Image, ImageColor, ImageFilter

    if fill == "blurred":
        blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(min(pixels.shape[:2]) / 10))
        return np.asarray(blurred)
    colour = pixels.mean(axis=(0, 1)) if fill == "mean" else np.array(ImageColor.getrgb(fill)[:3])
    if pixels.ndim == 2 and colour.ndim:
        colour = colour @ _LUMINANCE
    return np.broadcast_to(np.rint(colour).astype(np.uint8), pixels.shape)


def cover(pixels: np.ndarray, fill: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """The photo with a patch of the fill on it."""
    covered = pixels.copy()
    patch = slice(top, top + side), slice(left, left + side)
    covered[patch] = fill[patch]
    return covered


def _checked_side(value: Any, name: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: an int is needed, not {type(value).__name__} {value!r}")
    if not 1 <= value <= most:
        raise ValueError(f"{name}: {value} pixels do not fit the photos' shorter side; 1 to {most} are possible")
    return int(value)


def _pace(marks: Sequence[tuple[int, float]]) -> float:
    """Seconds a place, from (places done, seconds since the start); what comes before the first report counts little."""
    (first, start), (last, now) = marks[0], marks[-1]
    # A model's first pass with a patch size is compiled, which later ones need not wait for.
    return (now - start) / (last - first) if last > first else now / last


def _change(before: float, after: float) -> str:
    one, other = percent(before), percent(after)
    if one == other:
        return f"stays at {one}"
    return f"{'falls' if after < before else 'rises'} from {one} to {other}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "less than 1 s"
    return f"about {seconds:.0f} s" if seconds < 100 else f"about {seconds / 60:.0f} minutes"
