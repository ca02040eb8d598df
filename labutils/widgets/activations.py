"""The explorer of activations: every layer, every channel, and what is to be said of them in numbers."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets
import numpy as np
import traitlets

from labutils import explain, plots
from labutils.explain.activations import find_places
from labutils.explain.receptive import ReceptiveField, receptive_fields
from labutils.plots.scales import Scale, colour_map, display_limit
from labutils.plots.words import percent, rounded, sides
from labutils.widgets.explorer import Explorer, Preprocess
from labutils.widgets.view import PictureView
from labutils.widgets.work import Report

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from labutils.explain.surgery import Place
    from labutils.widgets.picker import PhotoPicker

KEPT_BYTES = 250_000_000
"""Of photos' activations, the last photo's in any case: those of the full-size VGG16 take 60 MB a photo."""

OVERVIEW = 480
"""Pixels that the picture of all channels is wide and high at most, roughly."""

LARGEST_CELL = 120
"""Pixels of one channel in it at most."""

UNIT_CELL = 20
"""Pixels of one unit in it, a single colour, where there are many."""

BARS = 12
"""So many units of a layer without positions are shown as bars: those with the largest values."""

_GREY = 219  # of a channel that is zero everywhere


class Choice(NamedTuple):
    photo: int
    layer: str
    channel: int | None
    """None: the one with the largest value."""


@dataclass(frozen=True, eq=False)
class Layer:
    """What one photo makes of a layer, without the maps themselves.

    Attributes
    ----------
    statistics : LayerStatistics
    peaks : numpy.ndarray
        (channels,), each channel's largest value; of a layer without positions the values.
    shares_of_zeros : numpy.ndarray
        (channels,).
    cells : numpy.ndarray
        (channels, height, width, 3) uint8: each channel small, in colours.
    """

    statistics: explain.LayerStatistics
    peaks: np.ndarray
    shares_of_zeros: np.ndarray
    cells: np.ndarray

    @property
    def ranked(self) -> np.ndarray:
        """The channels, the one with the largest value first."""
        return np.argsort(-self.peaks, kind="stable")


class Found(NamedTuple):
    layer: Layer
    channel: int
    values: np.ndarray
    """(h, w), the channel's map."""


@dataclass(eq=False)
class _Seen:
    """A photo's activations, layer -> (positions..., channels), and what has been made of them."""

    activations: dict[str, np.ndarray]
    fields: dict[int, ReceptiveField | None]
    layers: dict[str, Layer] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(values.nbytes for values in self.activations.values())


class ActivationExplorer(Explorer):
    """One photo, one layer, one channel: choose, and see what the network makes of the photo there.

    Beside the channel's map, all channels of the layer stand in one picture; a click on one chooses it. A click on the
    map chooses a position; its receptive field, what the position sees of the photo, is framed. One forward pass a photo
    gives all layers.

    Parameters
    ----------
    model : keras.Model
        On images, Functional or Sequential. It is not changed.
    photos : numpy.ndarray or PhotoPicker, optional
        (n, H, W, 3) or (n, H, W) uint8, as people see them; None takes the student's own and the samples.
    preprocess : callable, optional
        From photos (n, H, W, C) float32, 0 to 255, to what the model takes; None hands them over as they are.
    titles, class_names : sequence of str, optional
        Of the photos, and of the units of the last layer.
    layers : None, str, keras.Layer or a list of these
        Those that can be chosen, the first one shown first; None takes all on the way to the output.

    Raises
    ------
    TypeError, ValueError
        A model that cannot be opened, or no such layer (close names are given).

    Examples
    --------
    >>> ActivationExplorer(model, photos, preprocess=vgg16.preprocess_input)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: keras.Model,
        photos: np.ndarray | PhotoPicker | None = None,
        *,
        preprocess: Preprocess | None = None,
        titles: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        layers: str | object | Sequence[Any] | None = None,
    ):
        super().__init__(model, photos, preprocess=preprocess, titles=titles, class_names=class_names)
        self._layers = layers
        self._places: dict[str, Place] = {
            # A raw operation may give a single number, which has no channels.
            name: place
            for name, place in find_places(self._opened, layers).items()
            if len(place.shape) > 1
        }
        self._seen: dict[int, _Seen] = {}
        self._follows_the_largest = True  # until a channel is chosen
        self._shown_channel = 0
        self._shown_overview: tuple | None = None
        self._shown_order = np.arange(0)
        self.layer = ipywidgets.Dropdown(
            description="Layer",
            options=[(f"{name}: {_shape_in_words(place)}", name) for name, place in self._places.items()],
            tooltip="Layers in the order in which they run, with rows x columns of positions and channels",
            layout={"width": "340px"},
        )
        self.channel = ipywidgets.IntSlider(
            description="Channel", readout=False, tooltip="Channel of the layer, counted from 0"
        )
        self.number = ipywidgets.BoundedIntText(
            description="number",
            tooltip="Channel of the layer, counted from 0",
            style={"description_width": "initial"},
            layout={"width": "130px"},
        )
        traitlets.link((self.channel, "value"), (self.number, "value"))
        self.order = ipywidgets.Dropdown(
            description="Overview",
            options=[("by number", False), ("largest value first", True)],
            tooltip="Order of the channels in the picture of all of them",
        )
        self.opacity.value = self.view.opacity = 0.75
        self.view.place, self.view.marks = "Position", False
        self.overview = PictureView(place="Channel at", marks=False)
        self.bars = ipywidgets.HTML(layout={"width": "300px"})
        self._take_range(self.layer.value)
        self.layer.observe(self._layer_changed, "value")
        self.channel.observe(self._channel_moved, "value")
        self.view.observe(self._position_chosen, "chosen")
        self.overview.observe(self._cell_chosen, "chosen")
        self._arrange([self.layer, self.order], [self.view, self.bars, self.overview])
        layer, order = self.children[1].children
        self.children[1].children = [layer, self.channel, self.number, order, self.opacity]

    # Controls --------------------------------------------------------------------------------------------------------

    def _layer_changed(self, change: Any) -> None:
        self._follows_the_largest = True
        self._take_range(change.new)

    def _take_range(self, layer: str) -> None:
        last = self._places[layer].shape[-1] - 1
        self._shown_channel = min(self.channel.value, last)  # a shorter range moves the slider; nobody chose that
        for control in (self.channel, self.number):
            control.max = last
            control.disabled = last == 0

    def _channel_moved(self, change: Any) -> None:
        if change.new != self._shown_channel:
            self._follows_the_largest = False
            self.refresh()

    def _cell_chosen(self, change: Any) -> None:
        if not change.new:
            return
        row, column = change.new
        cell = row * self.overview.grid[1] + column
        if cell < len(self._shown_order):
            self.channel.value = int(self._shown_order[cell])
        else:  # the last row is not full
            self._mark_cell()

    # Work ------------------------------------------------------------------------------------------------------------

    def _choice(self) -> Choice:
        channel = None if self._follows_the_largest else self.channel.value
        return Choice(self.picker.chosen[0], self.layer.value, channel)

    def _work(self, choice: Choice, report: Report) -> Found:
        seen = self._look_at(choice.photo)
        place = self._places[choice.layer]
        values = seen.activations[choice.layer]
        maps = _as_maps(values, place)
        if choice.layer not in seen.layers:
            if not np.isfinite(values).all():
                raise ValueError(f"'{choice.layer}' gives values that are no numbers (NaN or infinite) for this photo")
            seen.layers[choice.layer] = Layer(
                _statistics(values, seen.fields.get(place.tensor)),
                maps.max(axis=(0, 1)),
                (maps == 0).mean(axis=(0, 1)),
                _cells(maps),
            )
        layer = seen.layers[choice.layer]
        channel = int(layer.ranked[0]) if choice.channel is None else choice.channel
        return Found(layer, channel, maps[..., channel].copy())

    def _look_at(self, number: int) -> _Seen:
        """The activations of a photo: kept, or from one forward pass."""
        seen = self._seen.pop(number, None)
        if seen is None:
            image = self._input(number)
            arrays = explain.activations(self.model, image, self._layers)
            values = {name: array[0] for name, array in arrays.items()}
            seen = _Seen(values, receptive_fields(self._opened, image.shape[1:3]))
        self._seen[number] = seen
        while len(self._seen) > 1 and sum(kept.size for kept in self._seen.values()) > KEPT_BYTES:
            del self._seen[next(iter(self._seen))]
        return seen

    # Showing ---------------------------------------------------------------------------------------------------------

    def _show(self, choice: Choice, found: Found) -> None:
        self._shown_channel = found.channel
        self.channel.value = found.channel
        spatial = self._places[choice.layer].is_spatial
        heading = self._heading(choice, found)
        with self.view.hold_sync():
            grid = list(found.values.shape) if spatial else []
            if grid != self.view.grid:
                self.view.chosen, self.view.grid = [], grid
            if spatial:
                self.view.show_map(_squares(found.values, self.photo.shape), heading, what=heading)
            else:
                self.view.show_nothing()
                self.view.caption, self.view.alt = heading, f"The photo {self.title}"
        is_list = found.values.size == 1 and not spatial
        self.bars.layout.display = None if is_list else "none"
        self.bars.value = self._bars(choice, found) if is_list else ""
        self._show_overview(choice, found)
        self._show_numbers()

    def _failed(self, choice: Any, error: Exception) -> None:
        super()._failed(choice, error)
        self._shown_overview = None
        self.bars.value = ""
        self.overview.show_nothing()
        for view in (self.view, self.overview):
            view.grid, view.chosen, view.box = [], [], []
        self.overview.photo = b""

    def _show_overview(self, choice: Choice, found: Found) -> None:
        shown = choice.photo, choice.layer, self.order.value
        if shown != self._shown_overview:
            self._shown_overview = shown
            cells = found.layer.cells
            count = len(cells)
            self._shown_order = found.layer.ranked if self.order.value else np.arange(count)
            pixels, grid = _laid_out(cells[self._shown_order])
            dead = int(found.layer.statistics.dead.sum())
            scale = "one colour scale" if found.values.size == 1 else "each on its own scale"
            order = "the largest value first, " if self.order.value else ""
            grey = f"; grey: the {dead} that are 0" if dead else ""
            with self.overview.hold_sync():
                self.overview.show_photo(pixels)
                wide = OVERVIEW if found.values.size > 1 else max(OVERVIEW // 2, grid[1] * UNIT_CELL)
                self.overview.width = min(OVERVIEW, wide, grid[1] * LARGEST_CELL)
                self.overview.grid = list(grid)
                self.overview.caption = f"All {_count(count, _noun(found))}, {order}{scale}{grey}. A click chooses one."
                self.overview.alt = self.overview.caption
        self._mark_cell()

    def _mark_cell(self) -> None:
        """Frame the shown channel in the overview."""
        rows, columns = self.overview.grid
        cell = int(np.flatnonzero(self._shown_order == self._shown_channel)[0])
        row, column = divmod(cell, columns)
        with self.overview.hold_sync():
            self.overview.chosen = [row, column]
            self.overview.box = [row / rows, column / columns, 1 / rows, 1 / columns]

    def _position_chosen(self, _change: Any) -> None:
        with self._background.asking:
            if self._problem is None and not self._background.busy:
                self._show_numbers()

    def _show_numbers(self) -> None:
        """Say what there is to say of the layer, the channel and the position, and frame what the position sees."""
        choice, found = self._result
        lines = [self._layer_in_words(choice, found), self._channel_in_words(found)]
        self.view.box = []
        if self._places[choice.layer].is_spatial:
            where = tuple(self.view.chosen) or np.unravel_index(found.values.argmax(), found.values.shape)
            if self.view.chosen or found.values.any():
                lines.append(self._position_in_words(found, where))
                self.view.box = _frame(found.layer.statistics.receptive_field, where)
        self.say(*filter(None, lines))

    def _layer_in_words(self, choice: Choice, found: Found) -> str:
        statistics = found.layer.statistics
        count, dead = len(statistics.dead), int(statistics.dead.sum())
        positions = " x ".join(map(str, statistics.shape[:-1]))
        text = f"{choice.layer}: {_count(count, _noun(found))}" + (f" of {positions} positions" if positions else "")
        text += f"; {percent(statistics.sparsity)} of the values are 0"
        text += f"; {dead} of {count} channels are 0 everywhere on this photo" if dead and positions else ""
        text += (
            f"; mean {rounded(statistics.mean)}, spread {rounded(statistics.std)}, largest {rounded(statistics.max)}."
        )
        return text + (" Logits: what the network has before its last activation." if self._is_output(choice) else "")

    def _channel_in_words(self, found: Found) -> str:
        layer, channel = found.layer, found.channel
        rank, count = int(np.flatnonzero(layer.ranked == channel)[0]) + 1, len(layer.peaks)
        name, value = f"{_noun(found).capitalize()} {channel}", rounded(float(layer.peaks[channel]))
        if layer.statistics.dead[channel]:
            where = "everywhere " if found.values.size > 1 else ""
            return f"{name}: 0 {where}on this photo, so dead here; another photo may wake it."
        if found.values.size == 1:
            return f"{name}: {value}, rank {rank} of {count}."
        zeros = percent(float(layer.shares_of_zeros[channel]))
        return f"{name}: largest value {value}, rank {rank} of {count}; {zeros} of its values are 0."

    def _position_in_words(self, found: Found, where: tuple[int, int]) -> str:
        row, column = where
        which = "Position" if self.view.chosen else "It is largest at"
        text = f"{which} row {row}, column {column} of {sides(*found.values.shape)}"
        text += f": {rounded(float(found.values[where]))}." if self.view.chosen else "."
        seen = found.layer.statistics.receptive_field
        if seen is None:
            return text
        height, width = (part.stop - part.start for part in seen.window(*where))
        if (height, width) == seen.image:
            return f"{text} It can see the whole photo."
        if 0 in seen.stride:
            return f"{text} All positions together see {sides(height, width)} pixels of the photo."
        return f"{text} It sees {sides(height, width)} pixels of the photo: the frame."

    def _bars(self, choice: Choice, found: Found) -> str:
        units = self._shown_units(choice, found)
        limit = max(map(abs, units.values())) or 1.0
        chosen = self._unit(choice, found.channel, _noun(found))
        rows = []
        for name, value in units.items():
            colour = "#1f5f8b" if value >= 0 else "#b3261e"
            bar = f'<div style="width: {100 * abs(value) / limit:.1f}%; height: 9px; background: {colour}"></div>'
            weight = "bold" if name == chosen else "normal"
            label = f'<td style="font-weight: {weight}; padding-right: 8px">{html.escape(name)}</td>'
            number = f'<td style="text-align: right; padding-right: 8px">{rounded(value)}</td>'
            rows.append(f'<tr>{label}{number}<td style="width: 45%">{bar}</td></tr>')
        title = f"<caption>The {_count(len(units), 'unit')} with the largest values</caption>"
        return f'<table style="width: 100%; font-size: 13px; line-height: 1.5">{title}{"".join(rows)}</table>'

    def _shown_units(self, choice: Choice, found: Found) -> dict[str, float]:
        """The units with the largest values, and the chosen one."""
        first = [int(unit) for unit in found.layer.ranked[:BARS]]
        units = first if found.channel in first else [*first[:-1], found.channel]
        return {self._unit(choice, unit, _noun(found)): float(found.layer.peaks[unit]) for unit in units}

    def _unit(self, choice: Choice, channel: int, noun: str) -> str:
        return f"{channel} {self.class_names[channel]}" if self._is_output(choice) else f"{noun} {channel}"

    def _is_output(self, choice: Choice) -> bool:
        return self._places[choice.layer].tensor == self._opened.output

    def _drawn(self, choice: Choice, found: Found) -> Figure:
        heading = self._heading(choice, found)
        if self._places[choice.layer].is_spatial:
            name = f"{choice.layer}, channel {found.channel}"
            values = _squares(found.values, self.photo.shape)
            return plots.side_by_side({name: values}, self.photo, title=heading, alpha=self.opacity.value)
        return plots.bars(self._shown_units(choice, found), x_label="largest value", title=heading)

    def _heading(self, choice: Choice, found: Found) -> str:
        name = f" ({self.class_names[found.channel]})" if self._is_output(choice) else ""
        return f"{_noun(found).capitalize()} {found.channel}{name} of {choice.layer} for {self.picker.items[choice.photo].name}"


def _shape_in_words(place: Place) -> str:
    """ "56 x 56 x 256", "4096 units"; without the positions where the model takes images of any size."""
    positions = place.grid or place.shape[1:-1]
    if None in positions:
        return f"{place.shape[-1]} channels"
    return " x ".join(map(str, (*positions, place.shape[-1]))) if positions else _count(place.shape[-1], "unit")


def _as_maps(values: np.ndarray, place: Place) -> np.ndarray:
    """A layer's activations as (h, w, channels): of tokens their grid, of positions without one a row of them."""
    if place.grid is not None:
        return values[place.beside :].reshape(*place.grid, -1)
    return values if place.is_spatial else values.reshape(1, -1, values.shape[-1])


def _statistics(values: np.ndarray, seen: ReceptiveField | None) -> explain.LayerStatistics:
    """As `explain.activation_statistics`, which would cost a pass of its own."""
    return explain.LayerStatistics(
        shape=values.shape,
        sparsity=float((values == 0).mean()),
        dead=~values.any(axis=tuple(range(values.ndim - 1))),
        mean=float(values.mean(dtype=np.float64)),
        std=float(values.std(dtype=np.float64)),
        max=float(values.max()),
        receptive_field=seen,
    )


def _squares(values: np.ndarray, photo: tuple[int, ...]) -> np.ndarray:
    """A map with each position as a square of values, about as large as the photo: what is coarse shall look coarse."""
    down, across = (max(1, side // positions) for side, positions in zip(photo, values.shape, strict=False))
    return values.repeat(down, axis=0).repeat(across, axis=1)


def _frame(seen: ReceptiveField | None, where: tuple[int, int]) -> list[float]:
    """What a position sees, as top, left, height and width in shares of the photo; empty where it cannot be told."""
    if seen is None or 0 in seen.stride:
        return []
    down, across = seen.window(*where)
    height, width = seen.image
    shares = down.start / height, across.start / width
    return [*shares, (down.stop - down.start) / height, (across.stop - across.start) / width]


# All channels in one picture ------------------------------------------------------------------------------------------


def _grid(count: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns for so many maps of this size in a picture that is about as wide as high."""
    columns = min(count, max(1, math.ceil(math.sqrt(count * height / width))))
    return math.ceil(count / columns), columns


def _cells(maps: np.ndarray) -> np.ndarray:
    """Each channel of (h, w, channels) in colours on its own scale, (channels, height, width, 3) uint8.

    Enlarged in squares or reduced by averaging. Single values share one scale: on its own each would be full colour.
    """
    height, width, count = maps.shape
    if height == 1 < width:
        height = math.ceil(width / 8)  # a row of positions, drawn as stripes
        maps = np.repeat(maps, height, axis=0)
    stack = np.moveaxis(maps, 2, 0).astype(float)
    limits = np.array([display_limit(values) for values in stack] if stack[0].size > 1 else [np.abs(stack).max()])
    stack = stack / np.where(limits > 0, limits, 1)[:, np.newaxis, np.newaxis]
    rows, columns = _grid(count, height, width)
    room = max(1, min(LARGEST_CELL, OVERVIEW // max(rows, columns) - 1))
    stack = _scaled(stack, room)
    signed = bool(stack.min() < 0)
    scale = Scale(colour_map(None, signed), 1.0, signed, 1.0)
    flat = stack.reshape(-1, stack.shape[2])
    colours = np.rint(255 * scale.colours(flat, flat.shape)).astype(np.uint8).reshape(*stack.shape, 3)
    colours[~maps.any(axis=(0, 1))] = _GREY
    return colours


def _scaled(stack: np.ndarray, room: int) -> np.ndarray:
    """Maps (n, h, w) with their longer side close to so many pixels."""
    longer = max(stack.shape[1:])
    if longer <= room:
        return stack.repeat(room // longer, axis=1).repeat(room // longer, axis=2)
    from PIL import Image

    size = [max(1, round(side * room / longer)) for side in stack.shape[1:]]
    pictures = (Image.fromarray(values.astype(np.float32)) for values in stack)
    return np.stack([np.asarray(picture.resize(size[::-1], Image.Resampling.BOX), float) for picture in pictures])


def _laid_out(cells: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Cells (n, h, w, 3) row by row in one picture (H, W, 4) with transparent gaps, and its rows and columns."""
    count, height, width, _ = cells.shape
    rows, columns = _grid(count, height, width)
    picture = np.zeros((rows * columns, height + 1, width + 1, 4), np.uint8)
    picture[:count, :height, :width, :3] = cells
    picture[:count, :height, :width, 3] = 255
    picture = picture.reshape(rows, columns, height + 1, width + 1, 4).swapaxes(1, 2)
    return picture.reshape(rows * (height + 1), columns * (width + 1), 4), (rows, columns)


def _noun(found: Found) -> str:
    return "unit" if found.values.size == 1 else "channel"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
