"""The explorer of a transformer's attention: layers, heads, and whose attention it is."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets
import numpy as np
import traitlets

from labutils import explain, plots
from labutils.explain.surgery import open_model
from labutils.plots.scales import scale_of
from labutils.plots.words import in_words, percent, rounded
from labutils.widgets.explorer import Chooser, ClassChooser, Explorer, Preprocess
from labutils.widgets.view import PictureView, colours
from labutils.widgets.work import Report

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from labutils.widgets.picker import PhotoPicker

KEPT_BYTES = 256_000_000
"""So much attention is kept, that of the newest photos: one of ViT-B/16 has 22 MB at 224 pixels, 192 MB at 384."""

SMALLEST = 240
"""Width in pixels down to which the photo and the map stay beside each other: one clicks here and looks there."""

HEADS_IN_A_ROW = 6

HEAD_WIDTH = 128
"""Of the small map of a head, in pixels."""

STRONGEST = 3
"""So many of the strongest patches are named."""


class Choice(NamedTuple):
    """What does not count is None: a layer and a head in a rollout, a class where no gradient is taken."""

    photo: int
    what: str
    layer: int | None
    head: int | None
    patch: tuple[int, int] | None
    class_index: int | None


class Found(NamedTuple):
    """One token's row of an attention matrix."""

    shares: np.ndarray
    """(tokens,), as the model has them."""
    heads: np.ndarray | None
    """(heads, rows, columns): what the same token takes in every head of the layer."""
    class_index: int | None
    probabilities: np.ndarray | None


class AttentionExplorer(Explorer):
    """One photo, and what one token of a transformer takes from each of its patches.

    Left the photo: a click, or the arrow keys, choose the patch whose attention is shown; right the map of it. One
    layer's attention (its heads one by one below), rollout through all layers, or gradient rollout for a class. One
    forward pass gives all attention for a photo, and is kept. Layers, heads, rows and columns are counted from 0, as
    `labutils.explain` does.

    Parameters
    ----------
    model : keras.Model
        A transformer as `labutils.explain.attention` takes it, such as `labutils.vit.ViT`. It is not changed.
    photos : numpy.ndarray or PhotoPicker, optional
        (n, H, W, 3) or (n, H, W) uint8, as people see them; None takes the student's own and the samples.
    preprocess : callable, optional
        From photos (n, H, W, C) float32, 0 to 255, to what the model takes; None hands them over as they are.
    titles, class_names : sequence of str, optional

    Raises
    ------
    TypeError, ValueError
        A model that cannot be opened, or whose attention is not that of a photo's patches; the message says why.

    Examples
    --------
    >>> AttentionExplorer(vit.ViT(), photos, preprocess=vit.preprocess_input)  # doctest: +SKIP
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
        tokens = open_model(model).tokens()
        super().__init__(model, photos, preprocess=preprocess, titles=titles, class_names=class_names)
        self._grid, self._before = tokens.grid, tokens.beside
        layers = [self._opened.steps[index].operation for index in self._opened.attention_steps()]
        self._heads = layers[0].num_heads
        self._kept = Kept(KEPT_BYTES)

        kinds = [("one layer", "layer"), ("rollout: all layers", "rollout"), ("gradient rollout: a class", "gradient")]
        self.what = ipywidgets.Dropdown(description="Attention", options=kinds)
        names = [(f"{number}: {layer.name}", number) for number, layer in enumerate(layers)]
        several = ipywidgets.SelectionSlider if len(names) > 1 else ipywidgets.Dropdown  # no slider has a single stop
        wide = {"width": "400px", "max_width": "100%"}  # beside it stands the layer's name
        self.layer = several(description="Layer", options=names, value=len(names) - 1, layout=wide)
        heads = [("mean of all heads", None), *((f"head {number}", number) for number in range(self._heads))]
        self.head = Chooser(description="Head", options=heads)
        self.class_chooser = ClassChooser(self.class_names)
        self._make_token_controls()
        self._make_heads_view()
        whose = ipywidgets.Box([self.whose, self.row, self.column], layout={"flex_flow": "row wrap"})
        for view in (self.patches, self.view):
            view.layout = {"flex": f"1 1 {SMALLEST}px", "min_width": "0", "max_width": f"{view.width}px"}
        whole_row = {"flex": "1 1 100%", "flex_flow": "row wrap", "grid_gap": "8px 20px"}  # the heads come below it
        pictures = ipywidgets.Box([self.patches, self.view], layout=whole_row)
        self._arrange([self.what, self.layer, self.head, self.class_chooser, whose], [pictures, self.heads])
        self.children[1].children += (self.opacity,)

    def _make_token_controls(self) -> None:
        """The photo with its patches, a list and two sliders, all of which say whose attention it is."""
        rows, columns = self._grid
        everything = "the class token" if self._before else "the mean of all tokens"
        self.whose = ipywidgets.Dropdown(description="Of", options=[(everything, "all"), ("a patch", "patch")])
        self.row = ipywidgets.IntSlider(description="Row", value=rows // 2, max=max(rows - 1, 1))
        self.column = ipywidgets.IntSlider(description="Column", value=columns // 2, max=max(columns - 1, 1))
        self.row.disabled, self.column.disabled = rows == 1, columns == 1  # a slider needs a second stop all the same
        self.patches = PictureView(
            grid=[rows, columns],
            alt=f"The photo in {rows} x {columns} patches",
            caption="Click a patch, or move with the arrow keys.",
        )
        for trait in ("photo", "aspect", "small"):
            traitlets.dlink((self.view, trait), (self.patches, trait))
        self.whose.observe(self._follow_list, "value")
        self.row.observe(self._follow_sliders, "value")
        self.column.observe(self._follow_sliders, "value")
        self.patches.observe(self._follow_patch, "chosen")
        self.patches.observe(self.refresh, "chosen")

    def _make_heads_view(self) -> None:
        """The small maps of all heads, of which one can be chosen."""
        rows = math.ceil(self._heads / HEADS_IN_A_ROW)
        columns = math.ceil(self._heads / rows)
        self.heads = PictureView(grid=[rows, columns], place="Head", width=columns * HEAD_WIDTH)
        self.head.observe(self._mark_head, "value")
        self.heads.observe(self._follow_head, "chosen")

    # Controls that follow each other ---------------------------------------------------------------------------------

    def _follow_list(self, change: Any) -> None:
        if change.new == "all":
            self.patches.chosen = []
        elif not self.patches.chosen:
            self.patches.chosen = [self.row.value, self.column.value]

    def _follow_sliders(self, change: Any) -> None:
        row, column = self.patches.chosen or (self.row.value, self.column.value)
        self.patches.chosen = [change.new, column] if change.owner is self.row else [row, change.new]

    def _follow_patch(self, change: Any) -> None:
        if change.new:
            self.row.value, self.column.value = change.new
        self.whose.value = "patch" if change.new else "all"

    def _follow_head(self, change: Any) -> None:
        if not change.new:
            return
        number = change.new[0] * self.heads.grid[1] + change.new[1]
        if number < self._heads:
            self.head.value = number
        else:  # the last row may not be full
            self.heads.chosen = change.old

    def _mark_head(self, change: Any) -> None:
        self.heads.chosen = [] if change.new is None else list(divmod(change.new, self.heads.grid[1]))

    # What is asked and found -----------------------------------------------------------------------------------------

    def _choice(self) -> Choice:
        what = self.what.value
        self.layer.disabled = self.head.disabled = what != "layer"
        self.class_chooser.disabled = what != "gradient"
        layer, head = (self.layer.value, self.head.value) if what == "layer" else (None, None)
        patch = tuple(self.patches.chosen) or None
        class_index = self.class_chooser.value if what == "gradient" else None
        return Choice(self.picker.chosen[0], what, layer, head, patch, class_index)

    def _work(self, choice: Choice, _report: Report) -> Found:
        probabilities, class_index = None, choice.class_index
        if choice.what == "gradient":
            probabilities = self.probabilities(choice.photo)
            class_index = int(probabilities.argmax()) if class_index is None else class_index
        shares = self._row(self._matrix(choice, class_index), choice.patch)
        heads = None
        if choice.what == "layer":
            rows = [self._row(head, choice.patch) for head in self._attention(choice.photo)[choice.layer]]
            heads = np.stack([self._on_patches(row) for row in rows])
        return Found(shares, heads, class_index, probabilities)

    def _attention(self, photo: int) -> np.ndarray:
        """A photo's attention, (layers, heads, tokens, tokens)."""
        return self._kept.get(photo, lambda: explain.attention(self.model, self._input(photo))[:, 0])

    def _matrix(self, choice: Choice, class_index: int | None) -> np.ndarray:
        """(tokens, tokens); row i is what token i takes."""
        photo = choice.photo
        if choice.what == "rollout":
            return self._kept.get((photo, "rollout"), lambda: explain.rollout(self._attention(photo))[0])
        if choice.what == "gradient":
            return self._kept.get((photo, class_index), lambda: self._evidence(photo, class_index))
        layer = self._attention(photo)[choice.layer]
        return layer.mean(axis=0) if choice.head is None else layer[choice.head]

    def _evidence(self, photo: int, class_index: int) -> np.ndarray:
        found = explain.attention_gradients(self.model, self._input(photo), [class_index])
        relevance = explain.gradient_weighted_rollout(*found)[0]
        # The identity that it starts from is no evidence.
        return relevance - np.eye(len(relevance), dtype=relevance.dtype)

    def _row(self, matrix: np.ndarray, patch: tuple[int, int] | None) -> np.ndarray:
        if patch is None and not self._before:
            return matrix.mean(axis=0)
        token = 0 if patch is None else self._before + patch[0] * self._grid[1] + patch[1]
        return matrix[token].copy()  # a view would keep all of a photo's attention in memory

    def _on_patches(self, shares: np.ndarray) -> np.ndarray:
        return shares[self._before :].reshape(self._grid)

    # How it is shown -------------------------------------------------------------------------------------------------

    def _show(self, choice: Choice, found: Found) -> None:
        if found.probabilities is not None:
            self.class_chooser.rank(found.probabilities)
        rows, columns = self._grid
        row, column = choice.patch or (0, 0)
        self.view.box = [row / rows, column / columns, 1 / rows, 1 / columns] if choice.patch else []
        heading = self._heading(choice, found)
        self.view.show_map(self._on_patches(found.shares), heading, what=heading)
        self._show_heads(choice, found)
        self.say(*self._in_words(choice, found))

    def _show_heads(self, choice: Choice, found: Found) -> None:
        self.heads.layout.display = "none" if found.heads is None else None
        if found.heads is None:
            return
        rows, columns = self.heads.grid
        size = round(HEAD_WIDTH * self.photo.shape[0] / self.photo.shape[1]), HEAD_WIDTH
        cells = np.zeros((rows * columns, *size, 3), np.uint8)
        down, across = (np.arange(side) * patches // side for side, patches in zip(size, self._grid, strict=True))
        for cell, values in zip(cells, found.heads, strict=False):  # the last cells may stay empty
            # Squares, and not smooth: of so small a map one wants to see what each patch gets.
            cell[:] = colours(values, scale_of([values], None))[np.ix_(down, across)]
        montage = cells.reshape(rows, columns, *size, 3).swapaxes(1, 2).reshape(rows * size[0], columns * size[1], 3)
        with self.heads.hold_sync():
            self.heads.show_photo(montage)
            self.heads.caption = (
                f"The {self._heads} heads of layer {choice.layer} one by one, row by row from head 0, each on its own "
                "scale. Click one."
            )
            self.heads.alt = "; ".join(f"head {number}: {in_words(head)}" for number, head in enumerate(found.heads))

    def _failed(self, choice: Any, error: Exception) -> None:
        super()._failed(choice, error)
        self.heads.layout.display = "none"

    def _in_words(self, choice: Choice, found: Found) -> list[str]:
        on_patches = self._on_patches(found.shares)
        if not on_patches.any():
            return ["No head argues for this class: the map is zero everywhere."]
        number = rounded if choice.what == "gradient" else percent
        strongest = np.argsort(-on_patches, axis=None, kind="stable")[:STRONGEST]
        places = zip(*np.unravel_index(strongest, self._grid), strict=True)
        named = ", ".join(f"({row}, {column}) {number(float(on_patches[row, column]))}" for row, column in places)
        half, count = _patches_with_half(on_patches), on_patches.size
        lines = [
            f"Strongest patches, as (row, column): {named}.",
            f"How spread: half of what comes from patches comes from {half} of the {count}; if all gave the same, it "
            f"would be {math.ceil(count / 2)}.",
        ]
        if self._before and choice.what != "gradient":
            lines.insert(0, self._beside_in_words(found.shares))
        return lines

    def _beside_in_words(self, shares: np.ndarray) -> str:
        """What the tokens get that have no place in the photo."""
        others = self._before - 1
        more = f", {percent(float(shares[1 : self._before].sum()))} from {others} further tokens" if others else ""
        on_patches = percent(float(shares[self._before :].sum()))
        return f"{percent(float(shares[0]))} comes from the class token{more}, and {on_patches} from the patches."

    def _whose(self, patch: tuple[int, int] | None) -> str:
        if patch is not None:
            return f"patch {patch}"
        return "the class token" if self._before else "all tokens on average"

    def _heading(self, choice: Choice, found: Found, *, mean: str = "mean of all heads") -> str:
        whose, name = self._whose(choice.patch), self.picker.items[choice.photo].name
        if choice.what == "rollout":
            return f"Rollout through all layers: what arrives at {whose}, in {name}"
        if choice.what == "gradient":
            title = self.class_names[found.class_index]
            share = percent(float(found.probabilities[found.class_index]))
            return f"Gradient rollout for {title} ({share}): what speaks for it at {whose}, in {name}"
        head = mean if choice.head is None else f"head {choice.head}"
        return f"Layer {choice.layer}, {head}: what {whose} takes from each patch, in {name}"

    def _drawn(self, choice: Choice, found: Found) -> Figure:
        title = self._heading(choice, found)
        photo = self.picker.items[choice.photo].image
        if self._before <= 1 and choice.what != "gradient":  # these figures know no further tokens, and shares alone
            if choice.what == "layer" and choice.head is None and (self._before or choice.patch):
                layer = self._attention(choice.photo)[choice.layer]
                title = self._heading(choice, found, mean="all heads")
                return plots.attention_heads(layer, photo, self._grid, patch=choice.patch, title=title)
            if choice.patch:
                matrix, alpha = self._matrix(choice, None), self.opacity.value
                return plots.attention_of_patches(matrix, photo, self._grid, [choice.patch], title=title, alpha=alpha)
        return plots.overlay(photo, self._on_patches(found.shares), title=title, alpha=self.opacity.value)


class Kept:
    """Arrays that were made, the ones used last, up to a number of bytes; the newest in any case."""

    def __init__(self, limit: int):
        self._limit = limit
        self._arrays: dict[Hashable, np.ndarray] = {}
        self._using = threading.RLock()  # a figure may be drawn while other work goes on

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        with self._using:
            array = self._arrays.pop(key) if key in self._arrays else make()
            self._arrays[key] = array
            while len(self._arrays) > 1 and sum(kept.nbytes for kept in self._arrays.values()) > self._limit:
                del self._arrays[next(iter(self._arrays))]
            return array


def _patches_with_half(values: np.ndarray) -> int:
    """How many patches, the strongest first, have half of the whole."""
    running = np.cumsum(np.sort(values, axis=None)[::-1], dtype=float)
    return int(np.searchsorted(running, running[-1] / 2)) + 1
