"""Exercises of notebook 04: where the patches go, covering, the fill, batches, averaging, what a patch reaches, RISE.

All answers are functions of arrays. Where the notebook has a network, the cases have a function of a few multiplications,
drawn from the seed, that counts how often and with how many images it is called. No image is square, and no two lengths
of a case are the same, so that swapped axes show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from labutils.course.exercise import Arrays, Case, Exercise, Verdict
from labutils.course.judging import as_answers, as_number, passed, plain, same, verdict_on_array, wrong

# ---------------------------------------------------------------------------------------------------------------------
# What the cases and judges share
# ---------------------------------------------------------------------------------------------------------------------


def _image(inputs: Mapping[str, Any]) -> np.ndarray:
    """A preprocessed image, (height, width, channels) float32, of both signs."""
    return np.random.default_rng(inputs["seed"]).normal(0, 40, inputs["shape"]).astype(np.float32)


def _fill(inputs: Mapping[str, Any]) -> Any:
    """One number, or one for each channel."""
    return inputs["fill"] if isinstance(inputs["fill"], float) else np.array(inputs["fill"], np.float32)


def _whole_numbers(found: Any) -> list[int] | None:
    """The integers of an array, a list or a range in one line; None for anything else."""
    if isinstance(found, list):
        values = [as_number(item) for item in found]
        if None in values or any(isinstance(item, float) for item in found):
            return None
        return [int(value) for value in values]
    if isinstance(found, np.ndarray) and found.ndim == 1 and found.dtype.kind in "iu":
        return found.tolist()
    return None


def _has_fractions(found: Any) -> bool:
    """Whether a result is one line of numbers, floats among them."""
    if isinstance(found, list):
        return bool(found) and all(as_number(item) is not None for item in found)
    return isinstance(found, np.ndarray) and found.ndim == 1 and found.size > 0 and found.dtype.kind == "f"


# ---------------------------------------------------------------------------------------------------------------------
# 04.positions
# ---------------------------------------------------------------------------------------------------------------------


def _positions(size: int, side: int, stride: int) -> Any:
    last = size - side
    return np.append(np.arange(0, last, stride), last)


def _positions_in_a_loop(size: int, side: int, stride: int) -> list[int]:
    found, start = [], 0
    while start + side < size:
        found.append(start)
        start += stride
    return [*found, size - side]


def _positions_clamped(size: int, side: int, stride: int) -> Any:
    return np.unique(np.minimum(range(0, size - side + stride, stride), size - side))


_POSITIONS_WRONG: dict[str, tuple[Callable, str]] = {
    "border_missed": (
        lambda size, side, stride: np.arange(0, size - side + 1, stride),
        "Where the stride does not fit in evenly, the last pixels lie under no patch. One more patch is needed there, "
        "moved back so that it ends at the border.",
    ),
    "last_fitting_missed": (
        lambda size, side, stride: np.arange(0, size - side, stride),
        "`range` and `arange` stop **before** their end, so even a patch that fits exactly at the border is left out; and "
        "where none fits exactly, the border lies under no patch at all.",
    ),
    "beyond_the_border": (
        lambda size, side, stride: np.arange(0, size, stride),
        "Some patches reach beyond the border, so that they cover less than the others. The last place where a whole patch "
        "fits is nearer than `size`.",
    ),
    "last_twice": (
        lambda size, side, stride: np.append(np.arange(0, size - side + 1, stride), size - side),
        "Where the stride fits in evenly, the last position is in the list twice: one patch would count double.",
    ),
    "one_too_far": (
        lambda size, side, stride: np.append(np.arange(0, size - side, stride), size - side + 1),
        "The last patch begins one pixel too late, and ends one pixel beyond the border.",
    ),
    "one_too_early": (
        lambda size, side, stride: np.append(np.arange(0, size - side - 1, stride), max(size - side - 1, 0)),
        "The last patch begins one pixel too early: the last pixel of all is under no patch.",
    ),
    "at_the_last_pixel": (
        lambda size, side, stride: np.append(np.arange(0, size - side, stride), size - 1),
        "The last patch begins at the last pixel, so that nearly all of it lies outside. It should **end** there.",
    ),
    "evenly_spread": (
        lambda size, side, stride: np.linspace(0, size - side, -(-(size - side) // stride) + 1).astype(int),
        "The positions are spread evenly, so the steps are not the stride. Take whole strides from 0 on; only the last "
        "step may be shorter.",
    ),
    "every_pixel": (
        lambda size, side, stride: np.arange(size - side + 1),
        "There is a patch at every pixel: the stride was not used.",
    ),
    "side_as_stride": (
        lambda size, side, stride: np.append(np.arange(0, size - side, side), size - side),
        "The patches stand side by side, whatever the stride: from one to the next it is `stride` pixels, not `side`.",
    ),
    "not_from_zero": (
        lambda size, side, stride: np.append(np.arange(stride, size - side, stride), size - side),
        "The first patch should begin at pixel 0.",
    ),
}


def _positions_cases(seed: int | None) -> list[Case]:
    """Strides that fit in evenly, that do not, that leave gaps, and a patch as large as the image."""
    rng = np.random.default_rng(4 if seed is None else seed)
    side, stride, steps = (int(n) for n in (rng.integers(6, 9), rng.integers(3, 6), rng.integers(5, 8)))
    rest = int(rng.integers(1, stride))
    settings = [
        [side + steps * stride, side, stride],
        [side + steps * stride + rest, side, stride],
        [side + steps * (side + 3) + 2, side, side + 3],
        [side + stride, side + stride, stride],
    ]
    return [Case("images of " + ", ".join(str(size) for size, _, _ in settings) + " pixels", {"settings": settings})]


def _judge_positions(arrays: Arrays, case: Case) -> Verdict:
    settings, results = case.inputs["settings"], arrays["positions"]
    if any(result is None for result in results):
        return wrong("`positions` returned None. Is a `return` missing?", "nothing_returned")
    numbers = [_whole_numbers(result) for result in results]
    if None in numbers:
        if all(number is not None or _has_fractions(result) for number, result in zip(numbers, results, strict=True)):
            return wrong("The positions should be integers, so that they can index an array.", "not_integers")
        return wrong("One line of integers is asked for: where the patches begin along **one** axis.", "not_a_line")
    expected = [_positions(*setting).tolist() for setting in settings]
    if numbers == expected:
        return passed()
    for name, (twin, message) in _POSITIONS_WRONG.items():
        if numbers == [list(map(int, twin(*setting))) for setting in settings]:
            return wrong(message, name)
    if [sorted(line) for line in numbers] == expected:
        return wrong("These are the right positions in another order: count from 0 upwards.", "not_in_order")
    (size, side, stride), found = next(
        (setting, line) for setting, line, right in zip(settings, numbers, expected, strict=True) if line != right
    )
    return wrong(
        f"For {size} pixels, patches of {side} and a stride of {stride} you give {found}. Draw it: does every patch lie "
        "inside, and every pixel under a patch?"
    )


POSITIONS = Exercise(
    id="04.positions",
    title="Where the patches begin",
    answer="positions",
    points=2,
    minutes=6,
    difficulty="easy",
    hints=(
        "Which is the last pixel at which a patch of this side can begin and still lie inside? Call it `last`.",
        "Go from 0 in steps of the stride as long as you are before `last`; then `last` itself, once.",
        "`np.arange` stops before its end: with `last` as the end it gives all the positions but the last, whether "
        "the stride fits in or not. `np.append` adds one more.",
    ),
    cases=_positions_cases,
    collect=lambda answer, case: {"positions": [plain(answer(*setting)) for setting in case.inputs["settings"]]},
    judge=_judge_positions,
    reference=lambda: _positions,
    wrong={
        **as_answers(_POSITIONS_WRONG),
        "not_in_order": lambda: lambda *setting: _positions(*setting)[::-1],
        "not_integers": lambda: lambda *setting: _positions(*setting) * 1.0,
        "not_a_line": lambda: lambda *setting: [(start, start) for start in _positions(*setting).tolist()],
        "nothing_returned": lambda: lambda *setting: None,
    },
    right={
        "a loop and a list": lambda: _positions_in_a_loop,
        "clamped, then each once": lambda: _positions_clamped,
        "Python's range": lambda: lambda size, side, stride: [*range(0, size - side, stride), size - side],
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 04.cover
# ---------------------------------------------------------------------------------------------------------------------


def _cover(image: Any, top: int, left: int, side: int, fill: Any) -> Any:
    covered = image.copy()
    covered[top : top + side, left : left + side] = fill
    return covered


def _cover_by_where(image: Any, top: int, left: int, side: int, fill: Any) -> Any:
    rows, columns = np.indices(image.shape[:2])
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return np.where(inside[..., np.newaxis], fill, image)


def _cover_pixel_by_pixel(image: Any, top: int, left: int, side: int, fill: Any) -> Any:
    covered = np.array(image)
    for row in range(top, top + side):
        for column in range(left, left + side):
            covered[row, column, :] = fill
    return covered


def _covered_at(
    rows: Callable[[int, int, int], slice],
    columns: Callable[[int, int, int], slice],
) -> Callable:
    """A student's answer that covers something else: each slice is made of top, left and side."""

    def answer(image: Any, top: int, left: int, side: int, fill: Any) -> Any:
        covered = image.copy()
        covered[rows(top, left, side), columns(top, left, side)] = fill
        return covered

    return answer


def _in_place(image: Any, top: int, left: int, side: int, fill: Any) -> Any:
    image[top : top + side, left : left + side] = fill
    return image


def _all_but_the_patch(image: Any, top: int, left: int, side: int, fill: Any) -> Any:
    patch = image[top : top + side, left : left + side]
    covered = np.zeros_like(image) + fill
    covered[top : top + side, left : left + side] = patch
    return covered


def _one_channel(image: Any, top: int, left: int, side: int, fill: Any) -> Any:
    covered = image.copy()
    covered[top : top + side, left : left + side, 0] = np.ravel(fill)[0]
    return covered


def _added(image: Any, top: int, left: int, side: int, fill: Any) -> Any:
    covered = image.copy()
    covered[top : top + side, left : left + side] += fill
    return covered


_COVER_WRONG: dict[str, tuple[Callable, str]] = {
    "rows_and_columns_swapped": (
        _covered_at(lambda top, left, side: slice(left, left + side), lambda top, left, side: slice(top, top + side)),
        "The patch lies at the mirrored place: `top` counts rows, the first axis of the image, and `left` columns.",
    ),
    "side_as_end": (
        _covered_at(lambda top, left, side: slice(top, side), lambda top, left, side: slice(left, side)),
        "A slice `a:b` runs from a to b: its second number is where it ends, not how long it is.",
    ),
    "one_too_many": (
        _covered_at(
            lambda top, left, side: slice(top, top + side + 1), lambda top, left, side: slice(left, left + side + 1)
        ),
        "The patch is one pixel too high and too wide: the end of a slice does not belong to it.",
    ),
    "one_too_few": (
        _covered_at(
            lambda top, left, side: slice(top, top + side - 1), lambda top, left, side: slice(left, left + side - 1)
        ),
        "The patch is one pixel too low and too narrow: the end of a slice does not belong to it.",
    ),
    "centred": (
        _covered_at(
            lambda top, left, side: slice(max(top - side // 2, 0), top - side // 2 + side),
            lambda top, left, side: slice(max(left - side // 2, 0), left - side // 2 + side),
        ),
        "The patch has its middle at (top, left). Its upper left corner should be there.",
    ),
    "all_but_the_patch": (
        _all_but_the_patch,
        "Everything but the patch is covered. It is the other way round: the patch disappears, the rest stays.",
    ),
    "one_channel": (
        _one_channel,
        "Only the first channel is covered; the network still sees the patch in the others.",
    ),
    "added": (
        _added,
        "The fill was added to the pixels, so that they still show through. It should take their place.",
    ),
    "zero_always": (
        lambda image, top, left, side, fill: _cover(image, top, left, side, 0),
        "The patch is 0 whatever `fill` is.",
    ),
    "patch_alone": (
        lambda image, top, left, side, fill: _cover(image, top, left, side, fill)[top : top + side, left : left + side],
        "This is the patch alone. The whole image is asked for, with the patch in it.",
    ),
}


def _cover_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(8 if seed is None else seed)
    cases = []
    for kind in ("one number", "a number for each channel"):
        height, width = (int(n) for n in rng.choice([13, 14, 15, 17, 18], size=2, replace=False))
        side = int(rng.integers(4, 6))
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "shape": [height, width, 3],
            "top": int(rng.integers(1, 4)),
            "left": int(rng.integers(5, 8)),
            "side": side,
            "fill": float(rng.integers(20, 90))
            if kind == "one number"
            else (rng.random(3) * 90 + 20).round(2).tolist(),
        }
        cases.append(Case(f"{height} x {width} pixels, a patch of {side} x {side}, the fill {kind}", inputs))
    return cases


def _collect_cover(answer: Any, case: Case) -> Arrays:
    inputs = case.inputs
    image = _image(inputs)
    covered = plain(answer(image, inputs["top"], inputs["left"], inputs["side"], _fill(inputs)))
    return {"covered": covered, "image_after": plain(image)}


def _judge_cover(arrays: Arrays, case: Case) -> Verdict:
    inputs, image = case.inputs, _image(case.inputs)
    asked = image, inputs["top"], inputs["left"], inputs["side"], _fill(inputs)
    verdict = verdict_on_array(
        arrays["covered"],
        _cover(*asked),
        {name: (twin(*(np.copy(image), *asked[1:])), message) for name, (twin, message) in _COVER_WRONG.items()},
        what="The result",
        axes="height, width, channels",
        otherwise="The shape is right; the values are not those of the image with the fill from `top` to `top + side` and from "
        "`left` to `left + side`.",
    )
    if verdict.passed and not np.array_equal(arrays["image_after"], image):
        return wrong(
            "The covered image is right, but the one that was handed in has been changed with it: the next patch would come "
            "on top of this one. Cover a copy.",
            "original_changed",
        )
    return verdict


COVER = Exercise(
    id="04.cover",
    title="Cover a patch",
    answer="cover",
    points=1,
    minutes=5,
    difficulty="easy",
    hints=(
        "Make a copy, then write the fill into a slice of it.",
        "The rows of the patch are those from `top` on, `side` of them. Where does a slice end that begins at `top`?",
        "Index the copy with two slices, of the rows and of the columns, and assign `fill` to it: NumPy puts one number "
        "into all channels, and three numbers one into each.",
    ),
    cases=_cover_cases,
    collect=_collect_cover,
    judge=_judge_cover,
    reference=lambda: _cover,
    wrong={
        **as_answers(_COVER_WRONG),
        "original_changed": lambda: _in_place,
        "wrong_dtype": lambda: lambda *asked: _cover(*asked).astype(int),
        "nothing_returned": lambda: lambda *asked: None,
    },
    right={
        "np.where": lambda: _cover_by_where,
        "pixel by pixel": lambda: _cover_pixel_by_pixel,
        "in float64": lambda: lambda image, *rest: _cover(image.astype("float64"), *rest),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 04.fill_for
# ---------------------------------------------------------------------------------------------------------------------


def _fill_for(colour: Any, preprocess: Callable) -> Any:
    picture = np.array(colour, dtype="float32").reshape(1, 1, 1, 3)
    return preprocess(picture)[0, 0, 0]


def _fill_of_a_whole_picture(colour: Any, preprocess: Callable) -> Any:
    picture = np.zeros((2, 5, 4, 3)) + np.asarray(colour)
    return np.asarray(preprocess(picture)).mean(axis=(0, 1, 2))


def _fill_by_last_axis(colour: Any, preprocess: Callable) -> Any:
    return preprocess(np.array([float(value) for value in colour]))


def _as_array(colour: Any) -> np.ndarray:
    return np.array(colour, dtype=np.float32)


def _preprocessing(kind: str, seed: int) -> Callable:
    """A network's preprocessing; like Keras's, some change an array of floats in place."""

    def as_vgg16(values: np.ndarray) -> np.ndarray:
        values = values if values.dtype.kind == "f" else values.astype(np.float32)
        values[...] = values[..., ::-1] - np.array([103.939, 116.779, 123.68])
        return values

    def as_vit(values: np.ndarray) -> np.ndarray:
        return values / 127.5 - 1

    def by_deviations(values: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return (values / 255 - rng.uniform(0.3, 0.6, 3)) / rng.uniform(0.2, 0.3, 3)

    return {"VGG16's": as_vgg16, "a ViT's": as_vit, "another network's": by_deviations}[kind]


_FILL_WRONG: dict[str, tuple[Callable, str]] = {
    "unpreprocessed": (
        lambda colour, preprocess: _as_array(colour),
        "This is still the colour as people write it, RGB from 0 to 255. The network never sees such numbers: send the "
        "colour through the same preprocessing as the photo.",
    ),
    "zero": (
        lambda colour, preprocess: np.zeros(3),
        "0 is not the colour asked for: for VGG16 it is the mean colour, for a ViT middle grey.",
    ),
    "turned_round_again": (
        lambda colour, preprocess: preprocess(_as_array(colour))[::-1],
        "The channels were turned round after the preprocessing. Whether the network wants RGB or BGR is the "
        "preprocessing's business: it has done so already.",
    ),
    "turned_round_before": (
        lambda colour, preprocess: preprocess(_as_array(colour)[::-1].copy()),
        "The colour was turned round before the preprocessing, which takes RGB.",
    ),
    "divided_by_255": (
        lambda colour, preprocess: preprocess(_as_array(colour) / 255),
        "The colour was divided by 255 first. `preprocess` takes values from 0 to 255, as a photo has them.",
    ),
    "vgg16_always": (
        lambda colour, preprocess: _preprocessing("VGG16's", 0)(_as_array(colour)),
        "VGG16's preprocessing is written into the function. It should work with whatever `preprocess` it is given.",
    ),
    "preprocessed_twice": (
        lambda colour, preprocess: preprocess(preprocess(_as_array(colour))),
        "The colour went through the preprocessing twice.",
    ),
    "scaled_by_hand": (
        lambda colour, preprocess: _as_array(colour) / 127.5 - 1,
        "These are values from -1 to 1, whatever `preprocess` does. Let `preprocess` decide.",
    ),
    "batch_kept": (
        lambda colour, preprocess: preprocess(_as_array(colour).reshape(1, 1, 1, 3)),
        "The numbers are right, but they are still a picture of one pixel. Take that pixel: three numbers.",
    ),
    "one_number": (
        lambda colour, preprocess: float(preprocess(_as_array(colour)).mean()),
        "One number is the same in all channels, and the channels differ: black, for VGG16, is three different numbers.",
    ),
}


def _fill_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(12 if seed is None else seed)
    cases = []
    for kind in ("VGG16's", "a ViT's", "another network's"):
        colour = rng.choice(np.arange(20, 250), size=3, replace=False).tolist()
        inputs = {"kind": kind, "seed": int(rng.integers(1, 10_000)), "colour": colour}
        cases.append(Case(f"the colour {tuple(colour)} for {kind} preprocessing", inputs))
    return cases


def _collect_fill(answer: Any, case: Case) -> Arrays:
    preprocess = _preprocessing(case.inputs["kind"], case.inputs["seed"])
    from_list = plain(answer(tuple(case.inputs["colour"]), preprocess))
    colour = _as_array(case.inputs["colour"])
    return {"fill": from_list, "of_array": plain(answer(colour, preprocess)), "colour_after": plain(colour)}


def _judge_fill(arrays: Arrays, case: Case) -> Verdict:
    colour, preprocess = case.inputs["colour"], _preprocessing(case.inputs["kind"], case.inputs["seed"])
    found = np.array(arrays["fill"]) if _has_fractions(arrays["fill"]) else arrays["fill"]
    if found is not None and as_number(found) is not None:
        return wrong(_FILL_WRONG["one_number"][1], "one_number")
    verdict = verdict_on_array(
        found,
        _fill_for(colour, preprocess),
        {
            name: (twin(colour, preprocess), message)
            for name, (twin, message) in _FILL_WRONG.items()
            if name != "one_number"
        },
        what="The result",
        axes="channels",
        otherwise="These are not the numbers that a pixel of this colour has after the preprocessing.",
    )
    if verdict.passed and not np.array_equal(arrays["colour_after"], _as_array(colour)):
        return wrong(
            "The result is right, but the colour that was handed in has been changed: this preprocessing works in place on "
            "arrays of floats (the trap of notebook 01). Give it a copy.",
            "colour_changed",
        )
    if verdict.passed and not same(np.ravel(arrays["of_array"]), np.ravel(_fill_for(colour, preprocess))):
        return wrong("The result is right for a tuple and wrong for an array.")
    return verdict


FILL_FOR = Exercise(
    id="04.fill_for",
    title="A colour in the network's numbers",
    answer="fill_for",
    points=2,
    minutes=5,
    difficulty="easy",
    hints=(
        "How does a photo come to the network? A photo of one pixel comes the same way.",
        "`preprocess` takes photos, (photos, height, width, 3) floats. Make one of 1 x 1 pixel, in a new array.",
        "`np.array(colour, ...)` makes a copy; `reshape` gives it four axes; after the preprocessing index the first three "
        "away again.",
    ),
    cases=_fill_cases,
    collect=_collect_fill,
    judge=_judge_fill,
    reference=lambda: _fill_for,
    wrong={
        **as_answers(_FILL_WRONG),
        "colour_changed": lambda: lambda colour, preprocess: preprocess(np.asarray(colour, np.float32)),
        "nothing_returned": lambda: lambda colour, preprocess: None,
    },
    right={
        "a picture of many pixels": lambda: _fill_of_a_whole_picture,
        "the last axis alone": lambda: _fill_by_last_axis,
        "a list": lambda: lambda colour, preprocess: [float(value) for value in _fill_for(colour, preprocess)],
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 04.drops
# ---------------------------------------------------------------------------------------------------------------------


def _drops(score: Callable, image: Any, tops: Any, lefts: Any, side: int, fill: Any, batch_size: int) -> Any:
    corners = [(top, left) for top in tops for left in lefts]
    scores = []
    for start in range(0, len(corners), batch_size):
        batch = [_cover(image, top, left, side, fill) for top, left in corners[start : start + batch_size]]
        scores.extend(score(np.stack(batch)))
    before = score(image[np.newaxis])[0]
    return (before - np.array(scores)).reshape(len(tops), len(lefts))


def _drops_by_repeat(score: Callable, image: Any, tops: Any, lefts: Any, side: int, fill: Any, batch_size: int) -> Any:
    """Numbers the patches, makes each batch with `np.repeat`, and writes into the result."""
    before = float(score(image[None])[0])
    result = np.zeros(len(tops) * len(lefts))
    for numbers in np.array_split(np.arange(result.size), -(-result.size // batch_size)):
        batch = np.repeat(image[None], len(numbers), axis=0)
        for picture, number in zip(batch, numbers, strict=True):
            top, left = tops[number // len(lefts)], lefts[number % len(lefts)]
            picture[top : top + side, left : left + side] = fill
        result[numbers] = before - score(batch)
    return result.reshape(len(tops), -1)


def _drops_with_the_image_in_the_first_batch(
    score: Callable, image: Any, tops: Any, lefts: Any, side: int, fill: Any, batch_size: int
) -> Any:
    pictures = [image] + [_cover(image, top, left, side, fill) for top in tops for left in lefts]
    scores = [score(np.array(pictures[at : at + batch_size])) for at in range(0, len(pictures), batch_size)]
    first, *others = np.concatenate(scores)
    return np.reshape([first - other for other in others], (len(tops), len(lefts)))


def _drops_with(
    *,
    covered: Callable = _cover,
    finish: Callable[[float, np.ndarray], Any] = lambda before, scores: before - scores,
    lay_out: Callable[[np.ndarray, int, int], Any] = lambda values, rows, columns: values.reshape(rows, columns),
    columns_first: bool = False,
    size_of: Callable[[int, int, int], int] = lambda batch_size, count, columns: batch_size,
    whole_batches_only: bool = False,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(score: Callable, image: Any, tops: Any, lefts: Any, side: int, fill: Any, batch_size: int) -> Any:
        corners = [(top, left) for top in tops for left in lefts]
        if columns_first:
            corners = [(top, left) for left in lefts for top in tops]
        count = len(corners)
        before, scores = score(image[None])[0], np.full(count, score(image[None])[0])
        at_once = size_of(batch_size, count, len(lefts))
        for start in range(0, count - at_once + 1 if whole_batches_only else count, at_once):
            batch = [covered(image, *corner, side, fill) for corner in corners[start : start + at_once]]
            scores[start : start + at_once] = score(np.stack(batch))
        return lay_out(finish(before, scores), len(tops), len(lefts))

    return answer


def _covers_add_up(score: Callable, image: Any, tops: Any, lefts: Any, side: int, fill: Any, batch_size: int) -> Any:
    """One picture for all patches, which never gets back what was covered."""
    dirty = image.copy()
    return _drops_with(covered=lambda _, *asked: _in_place(dirty, *asked).copy())(
        score, image, tops, lefts, side, fill, batch_size
    )


_DROPS_WRONG: dict[str, tuple[Callable, str]] = {
    "scores_not_drops": (
        _drops_with(finish=lambda before, scores: scores),
        "These are the scores under the patches. How far each is **below** the score of the uncovered image is asked for.",
    ),
    "sign_turned": (
        _drops_with(finish=lambda before, scores: scores - before),
        "The sign is the wrong way round: a patch that hides evidence lowers the score, and that is a positive drop.",
    ),
    "relative": (
        _drops_with(finish=lambda before, scores: (before - scores) / before),
        "The drops were divided by the score of the uncovered image. Leave them in units of the score; a logit may be near "
        "0, or negative.",
    ),
    "negative_drops_cut": (
        _drops_with(finish=lambda before, scores: np.maximum(before - scores, 0)),
        "Negative drops were set to 0. They say something: what is hidden there spoke against the class.",
    ),
    "absolute": (
        _drops_with(finish=lambda before, scores: np.abs(before - scores)),
        "The sign is lost. Whether covering lowers or raises the score makes all the difference.",
    ),
    "transposed": (
        _drops_with(lay_out=lambda values, rows, columns: values.reshape(rows, columns).T),
        "Rows and columns are swapped: row r of the result belongs to `tops[r]`, column c to `lefts[c]`.",
    ),
    "columns_first": (
        _drops_with(columns_first=True),
        "The patches were visited column by column and laid out row by row, so that the drops stand in the wrong places. "
        "Let the last index, that of the lefts, run fastest.",
    ),
    "top_and_left_swapped": (
        _drops_with(covered=lambda image, top, left, side, fill: _cover(image, left, top, side, fill)),
        "Top and left have changed places in the call that covers.",
    ),
    "not_laid_out": (
        _drops_with(lay_out=lambda values, rows, columns: values),
        "The drops are right and still in one line. Lay them out: one row for each top, one column for each left.",
    ),
    "covers_add_up": (
        _covers_add_up,
        "From patch to patch more of the image disappears: every picture needs its own copy of the **uncovered** image.",
    ),
    "last_batch_missing": (
        _drops_with(whole_batches_only=True),
        "The last patches were left out: their number is not a multiple of the batch size, so the last batch is smaller.",
    ),
    "fill_ignored": (
        _drops_with(covered=lambda image, top, left, side, fill: _cover(image, top, left, side, 0)),
        "The patches are 0 whatever `fill` is.",
    ),
}


def _drops_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(21 if seed is None else seed)
    cases = []
    for _ in range(2):
        height, width = (int(n) for n in rng.choice([14, 15, 17, 18], size=2, replace=False))
        side = int(rng.integers(3, 5))
        tops = [0, 2, 5, height - side]
        lefts = [0, 3, 4, 7, width - side]
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "shape": [height, width, 2],
            "tops": tops,
            "lefts": lefts,
            "side": side,
            "fill": (rng.random(2) * 60 + 20).round(2).tolist(),
            "batch_size": int(rng.integers(6, 10)),  # more than a row of patches, and no divisor of the 20
        }
        cases.append(Case(f"{len(tops)} x {len(lefts)} patches, batches of at most {inputs['batch_size']}", inputs))
    return cases


def _score(inputs: Mapping[str, Any], calls: list[int] | None = None) -> Callable:
    """Stands for a network: (n, H, W, C) -> (n,) scores; notes how many images each call had."""
    weights = np.random.default_rng(inputs["seed"] + 1).normal(0, 1, inputs["shape"])

    def score(batch: Any) -> np.ndarray:
        batch = np.asarray(batch, dtype=np.float64)
        if batch.ndim != 4 or batch.shape[1:] != tuple(inputs["shape"]):
            height, width, channels = inputs["shape"]
            raise ValueError(f"score takes a batch, (n, {height}, {width}, {channels}); this has shape {batch.shape}")
        if calls is not None:
            calls.append(len(batch))
        return 9 + (np.tanh(batch / 40) * weights).mean(axis=(1, 2, 3)) * 30

    return score


def _drops_arguments(inputs: Mapping[str, Any], calls: list[int] | None = None) -> tuple:
    tops, lefts = np.array(inputs["tops"]), np.array(inputs["lefts"])
    return _score(inputs, calls), _image(inputs), tops, lefts, inputs["side"], _fill(inputs), inputs["batch_size"]


def _collect_drops(answer: Any, case: Case) -> Arrays:
    calls: list[int] = []
    drops = plain(answer(*_drops_arguments(case.inputs, calls)))
    return {"drops": drops, "calls": calls}


def _judge_drops(arrays: Arrays, case: Case) -> Verdict:
    inputs, calls = case.inputs, arrays["calls"]
    verdict = verdict_on_array(
        arrays["drops"],
        _drops(*_drops_arguments(inputs)),
        {name: (twin(*_drops_arguments(inputs)), message) for name, (twin, message) in _DROPS_WRONG.items()},
        what="The result",
        axes="tops, lefts",
        otherwise="The shape is right, the drops are not: the score of the uncovered image minus that under each patch.",
    )
    if not verdict.passed:
        return verdict
    count, batch_size = len(inputs["tops"]) * len(inputs["lefts"]), inputs["batch_size"]
    needed = math.ceil(count / batch_size) + 1
    if not calls:
        return wrong("The numbers came about without a single call of `score`.", "score_not_called")
    if max(calls) > batch_size:
        return wrong(
            f"The drops are right, but `score` got {max(calls)} images at once where {batch_size} are allowed. On a fine grid "
            "that would be thousands of copies of the photo in memory.",
            "too_many_at_once",
        )
    if len(calls) > needed:
        name, each = (
            ("one_at_a_time", "one image each") if max(calls) == 1 else ("half_empty_batches", "few images each")
        )
        return wrong(
            f"The drops are right, but `score` was called {len(calls)} times, with {each}; {needed} calls do it for {count} "
            f"patches in batches of {batch_size}. Fill the batches.",
            name,
        )
    return passed()


DROPS = Exercise(
    id="04.drops",
    title="All patches, in batches",
    answer="drops",
    points=3,
    minutes=10,
    difficulty="hard",
    hints=(
        "Three steps: a list of all corners (top, left), row by row; their scores, batch by batch; the drops, laid out.",
        "`range(0, len(corners), batch_size)` gives where each batch begins, and a slice may reach beyond the end of a list. "
        "`np.stack` makes a batch of a list of covered images.",
        "Collect the scores in one list with `extend`. The score of the uncovered image needs a batch of one: "
        "`image[np.newaxis]`. At the end `reshape` to (number of tops, number of lefts).",
    ),
    cases=_drops_cases,
    collect=_collect_drops,
    judge=_judge_drops,
    reference=lambda: _drops,
    wrong={
        **as_answers(_DROPS_WRONG),
        "one_at_a_time": lambda: _drops_with(size_of=lambda batch_size, count, columns: 1),
        "too_many_at_once": lambda: _drops_with(size_of=lambda batch_size, count, columns: count),
        "half_empty_batches": lambda: _drops_with(size_of=lambda batch_size, count, columns: columns - 1),
        "nothing_returned": lambda: lambda *asked: None,
    },
    right={
        "numbered patches and np.repeat": lambda: _drops_by_repeat,
        "the image in the first batch": lambda: _drops_with_the_image_in_the_first_batch,
        "in float32": lambda: lambda *asked: _drops(*asked).astype("float32"),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 04.average
# ---------------------------------------------------------------------------------------------------------------------


def _average(drops: Any, tops: Any, lefts: Any, side: int, size: Any) -> Any:
    total, coverage = np.zeros(size), np.zeros(size)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            total[top : top + side, left : left + side] += drops[row, column]
            coverage[top : top + side, left : left + side] += 1
    return total / np.maximum(coverage, 1)


def _average_pixel_by_pixel(drops: Any, tops: Any, lefts: Any, side: int, size: Any) -> Any:
    heatmap = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            rows = [row for row, top in enumerate(tops) if top <= y < top + side]
            columns = [column for column, left in enumerate(lefts) if left <= x < left + side]
            if rows and columns:
                heatmap[y, x] = drops[np.ix_(rows, columns)].mean()
    return heatmap


def _average_by_matrices(drops: Any, tops: Any, lefts: Any, side: int, size: Any) -> Any:
    down, across = (
        ((np.arange(length) >= np.array(starts)[:, None]) & (np.arange(length) < np.array(starts)[:, None] + side))
        * 1.0
        for length, starts in zip(size, (tops, lefts), strict=True)
    )
    coverage = down.T @ np.ones(drops.shape) @ across
    return np.divide(down.T @ drops @ across, coverage, out=np.zeros(size), where=coverage > 0)


def _totals(drops: Any, tops: Any, lefts: Any, side: int, size: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the drops, and number of patches, at each pixel."""
    coverage = _painted(lambda old, drop: old + 1)(drops, tops, lefts, side, size)
    return _painted(lambda old, drop: old + drop)(drops, tops, lefts, side, size), coverage


def _painted(write: Callable[[np.ndarray, float], Any]) -> Callable:
    """A student's answer that paints each patch into the map, somehow."""

    def answer(drops: Any, tops: Any, lefts: Any, side: int, size: Any) -> Any:
        heatmap = np.zeros(size)
        for row, top in enumerate(tops):
            for column, left in enumerate(lefts):
                inside = np.s_[top : top + side, left : left + side]
                heatmap[inside] = write(heatmap[inside], drops[row, column])
        return heatmap

    return answer


def _divided(by: Callable[[np.ndarray, Any, int], Any]) -> Callable:
    """A student's answer that divides the sums by something: of the coverage, the drops and the side."""

    def answer(drops: Any, tops: Any, lefts: Any, side: int, size: Any) -> Any:
        total, coverage = _totals(drops, tops, lefts, side, size)
        return total / by(coverage, drops, side)

    return answer


def _stretched(drops: Any, tops: Any, lefts: Any, side: int, size: Any) -> Any:
    rows, columns = (np.arange(length) * count // length for length, count in zip(size, drops.shape, strict=True))
    return drops[np.ix_(rows, columns)]


_AVERAGE_WRONG: dict[str, tuple[Callable, str]] = {
    "summed": (
        _painted(lambda old, drop: old + drop),
        "Where patches overlap, their drops are summed: a pixel under four patches looks four times as important. Divide "
        "by how many patches cover each pixel.",
    ),
    "painted_over": (
        _painted(lambda old, drop: drop),
        "Each patch was painted over the ones before it, so that only the last counts. All that cover a pixel count alike.",
    ),
    "largest": (
        _painted(np.maximum),
        "This keeps the largest of the drops that cover a pixel (and 0). Their mean is asked for.",
    ),
    "divided_by_largest_coverage": (
        _divided(lambda coverage, drops, side: coverage.max()),
        "The sums were all divided by the same number, the largest coverage. At the border fewer patches overlap than in "
        "the middle: each pixel has its own.",
    ),
    "divided_by_all_patches": (
        _divided(lambda coverage, drops, side: drops.size),
        "The sums were divided by the number of all patches. Only those that cover a pixel count for it.",
    ),
    "divided_by_area": (
        _divided(lambda coverage, drops, side: side**2),
        "The sums were divided by the pixels of a patch. Divide by the number of patches over each pixel.",
    ),
    "zeros_not_counted": (
        _painted(lambda old, drop: np.where(old == 0, drop, (old + drop) / 2)),
        "This takes the mean of the last drop and of what was there before, so that later patches weigh more. Sum up first, "
        "then divide once.",
    ),
    "stretched": (
        _stretched,
        "The grid of drops was stretched to the size of the image. A patch covers more than its own cell, and the last one "
        "lies nearer than a stride.",
    ),
    "negative_cut": (
        lambda *asked: np.maximum(_average(*asked), 0),
        "Negative values were set to 0. They say something: what lies there speaks against the class.",
    ),
    "scaled": (
        lambda *asked: _average(*asked) / np.abs(_average(*asked)).max(),
        "The map was divided by its largest value. Leave it in units of the score: the figure does the scaling.",
    ),
}


def _average_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(31 if seed is None else seed)
    cases = []
    for kind, stride in (("overlap", 3), ("gaps", 6)):
        side = 4 if kind == "gaps" else 5
        height, width = (int(side + n * stride + rng.integers(1, 3)) for n in rng.choice([2, 3, 4], 2, replace=False))
        tops, lefts = (_positions(length, side, stride).tolist() for length in (height, width))
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "tops": tops,
            "lefts": lefts,
            "side": side,
            "size": [height, width],
        }
        words = "that overlap" if kind == "overlap" else "with gaps between them"
        cases.append(Case(f"{len(tops)} x {len(lefts)} patches {words}, {height} x {width} pixels", inputs))
    return cases


def _average_arguments(inputs: Mapping[str, Any]) -> tuple:
    tops, lefts = np.array(inputs["tops"]), np.array(inputs["lefts"])
    drops = np.random.default_rng(inputs["seed"]).normal(0.5, 1, (len(tops), len(lefts)))
    return drops, tops, lefts, inputs["side"], tuple(inputs["size"])


def _judge_average(arrays: Arrays, case: Case) -> Verdict:
    found, expected = arrays["map"], _average(*_average_arguments(case.inputs))
    is_map = isinstance(found, np.ndarray) and found.dtype.kind == "f" and found.shape == expected.shape
    if is_map and np.isnan(found[expected == 0]).any() and same(np.nan_to_num(found), expected):
        return wrong(
            "NaN where no patch lies: there the sum and the coverage are both 0. Such pixels should be 0.",
            "divided_by_zero",
        )
    return verdict_on_array(
        found,
        expected,
        {name: (twin(*_average_arguments(case.inputs)), message) for name, (twin, message) in _AVERAGE_WRONG.items()},
        what="The result",
        axes="height, width",
        otherwise="The shape is right, the values are not: at each pixel, the sum of the drops of the patches over it, divided by "
        "how many they are.",
    )


def _unguarded(*asked: Any) -> Any:
    total, coverage = _totals(*asked)
    with np.errstate(invalid="ignore"):
        return total / coverage


AVERAGE = Exercise(
    id="04.average",
    title="From drops to a map",
    answer="average",
    points=2,
    minutes=7,
    difficulty="medium",
    hints=(
        "Keep two maps of zeros: one sums up the drops, the other counts the patches.",
        "For each patch add its drop to one slice of the first map, and 1 to the same slice of the second.",
        "Divide the first by the second at the end; where the second is 0, the first is 0 as well, so any number above 0 does "
        "as the divisor there: `np.maximum`.",
    ),
    cases=_average_cases,
    collect=lambda answer, case: {"map": plain(answer(*_average_arguments(case.inputs)))},
    judge=_judge_average,
    reference=lambda: _average,
    wrong={
        **as_answers(_AVERAGE_WRONG),
        "divided_by_zero": lambda: _unguarded,
        "wrong_shape": lambda: lambda *asked: _average(*asked).T,
        "nothing_returned": lambda: lambda *asked: None,
    },
    right={
        "pixel by pixel": lambda: _average_pixel_by_pixel,
        "matrix products": lambda: _average_by_matrices,
        "in float32": lambda: lambda *asked: _average(*asked).astype("float32"),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 04.reached
# ---------------------------------------------------------------------------------------------------------------------


def _reached(first: int, end: int, size: int, kind: str) -> Any:
    if kind == "conv":
        return max(first - 1, 0), min(end + 1, size)
    return first // 2, (end + 1) // 2


def _reached_by_looking(first: int, end: int, size: int, kind: str) -> Any:
    """Looks at every output whether it sees one of the inputs."""
    seen = {
        "conv": lambda output: range(output - 1, output + 2),
        "pool": lambda output: range(2 * output, 2 * output + 2),
    }
    outputs = size if kind == "conv" else size // 2
    found = [output for output in range(outputs) if any(first <= place < end for place in seen[kind](output))]
    return [min(found), max(found) + 1]


def _reached_by_marks(first: int, end: int, size: int, kind: str) -> Any:
    """Marks the changed positions, and lets the marks through the layer."""
    marks = np.zeros(size)
    marks[first:end] = 1
    after = np.convolve(marks, np.ones(3), mode="same") if kind == "conv" else marks.reshape(-1, 2).max(axis=1)
    places = np.flatnonzero(after)
    return np.array([places[0], places[-1] + 1])


def _reached_with(*, conv: Callable = _reached, pool: Callable = _reached) -> Callable:
    """A student's answer that has one of the two layers wrong."""
    return lambda first, end, size, kind: (conv if kind == "conv" else pool)(first, end, size, kind)


_REACHED_WRONG: dict[str, tuple[Callable, str]] = {
    "not_grown": (
        _reached_with(conv=lambda first, end, size, kind: (first, end)),
        "The convolution leaves the window as it is. But the output just beside it sees one changed input too.",
    ),
    "grown_to_one_side": (
        _reached_with(conv=lambda first, end, size, kind: (first, min(end + 1, size))),
        "The convolution makes the window grow to one side only. A 3 x 3 convolution looks one position to either side.",
    ),
    "grown_by_the_kernel": (
        _reached_with(conv=lambda first, end, size, kind: (max(first - 3, 0), min(end + 3, size))),
        "The convolution makes the window grow by its whole width on either side. The middle of the kernel lies on the output "
        "itself: how far does it look from there?",
    ),
    "beyond_the_border": (
        _reached_with(conv=lambda first, end, size, kind: (first - 1, end + 1)),
        "The window grows beyond the border of the map, where there are no outputs.",
    ),
    "half_reached_dropped": (
        _reached_with(pool=lambda first, end, size, kind: (first // 2, max(end // 2, first // 2 + 1))),
        "A cell of the pooling of which only the first half has changed was left out. One changed input is enough to "
        "change its output.",
    ),
    "first_rounded_up": (
        _reached_with(pool=lambda first, end, size, kind: ((first + 1) // 2, (end + 1) // 2)),
        "A cell of the pooling of which only the second half has changed was left out. One changed input is enough to "
        "change its output.",
    ),
    "one_cell_too_many": (
        _reached_with(pool=lambda first, end, size, kind: (first // 2, end // 2 + 1)),
        "Where the window ends at the end of a pooling cell, there is one cell too many: `end` is the first position that has "
        "**not** changed.",
    ),
    "pool_not_halved": (
        _reached_with(pool=lambda first, end, size, kind: (first, end)),
        "Behind the pooling there are half as many positions; the window is still counted in those before it.",
    ),
    "pool_grows_too": (
        _reached_with(pool=lambda first, end, size, kind: (max(first - 1, 0) // 2, min(end + 2, size) // 2)),
        "The window grows in the pooling as well. Its cells do not overlap: each input is in one cell only.",
    ),
    "kinds_swapped": (
        lambda first, end, size, kind: _reached(first, end, size, "pool" if kind == "conv" else "conv"),
        "The two kinds have changed places: the convolution makes the window grow, the pooling halves it.",
    ),
    "end_included": (
        lambda first, end, size, kind: (_reached(first, end, size, kind)[0], _reached(first, end, size, kind)[1] - 1),
        "The second number is the last position of the window. As for a slice, the first one **behind** it is asked for.",
    ),
    "length_returned": (
        lambda first, end, size, kind: (
            _reached(first, end, size, kind)[0],
            _reached(first, end, size, kind)[1] - _reached(first, end, size, kind)[0],
        ),
        "The second number is the window's length. The first position behind it is asked for.",
    ),
}


def _reached_cases(seed: int | None) -> list[Case]:
    """Windows at both borders and inside, with even and odd ends, before either kind of layer."""
    rng = np.random.default_rng(41 if seed is None else seed)
    size = int(2 * rng.integers(9, 15))
    odd, even = int(2 * rng.integers(2, 4) + 1), int(2 * rng.integers(2, 4))
    settings = [
        [first, end, size, kind]
        for kind in ("conv", "pool")
        for first, end in (
            (even, even + 4),
            (odd, odd + 4),
            (odd, odd + 5),
            (even, even + 3),
            (0, odd),
            (size - odd, size),
        )
    ]
    return [Case(f"maps of {size} positions", {"settings": settings})]


def _judge_reached(arrays: Arrays, case: Case) -> Verdict:
    settings, results = case.inputs["settings"], arrays["windows"]
    if any(result is None for result in results):
        return wrong(
            "`reached` returned None, for one kind of layer at least. Is a `return` missing?", "nothing_returned"
        )
    pairs = [_whole_numbers(result) for result in results]
    bad = [result for pair, result in zip(pairs, results, strict=True) if pair is None]
    if bad and all(_has_fractions(result) and len(result) == 2 for result in bad):
        return wrong("Positions are integers: halve with `//`.", "not_integers")
    if any(pair is None or len(pair) != 2 for pair in pairs):
        return wrong(
            "Two integers are asked for: the first position of the window, and the first behind it.", "not_a_pair"
        )
    if pairs == [list(_reached(*setting)) for setting in settings]:
        return passed()
    for name, (twin, message) in _REACHED_WRONG.items():
        if pairs == [list(twin(*setting)) for setting in settings]:
            return wrong(message, name)
    (first, end, size, kind), found = next(
        (setting, pair) for setting, pair in zip(settings, pairs, strict=True) if pair != list(_reached(*setting))
    )
    layer = "a 3 x 3 convolution" if kind == "conv" else "a 2 x 2 pooling"
    return wrong(
        f"Of a map of {size} positions, {first} to {end - 1} have changed (end = {end}); behind {layer} you give {tuple(found)}. "
        "Draw the positions and ask of each output near the ends whether it sees a changed input."
    )


REACHED = Exercise(
    id="04.reached",
    title="How far a patch reaches",
    answer="reached",
    points=3,
    minutes=7,
    difficulty="medium",
    hints=(
        "Take a pencil: eight positions, of which 3, 4, 5 have changed. Which outputs of a 3-wide kernel see one of them? "
        "Which pairs (0, 1), (2, 3), (4, 5), (6, 7) hold one?",
        "The convolution: one more on either side, unless the map ends there (`max`, `min`). The pooling: position p lies in "
        "pair p // 2.",
        "For the pooling, the window's last position is `end - 1`; the pair it lies in is the last; the first pair behind "
        "the window comes one later. Does your formula give 3 for end = 5 and for end = 6?",
    ),
    cases=_reached_cases,
    collect=lambda answer, case: {"windows": [plain(answer(*setting)) for setting in case.inputs["settings"]]},
    judge=_judge_reached,
    reference=lambda: _reached,
    wrong={
        **as_answers(_REACHED_WRONG),
        "not_integers": lambda: lambda *setting: [value / 1 for value in _reached(*setting)],
        "not_a_pair": lambda: lambda *setting: list(range(*_reached(*setting))),
        "nothing_returned": lambda: lambda *setting: None,
    },
    right={
        "looking at every output": lambda: _reached_by_looking,
        "marks that go through the layer": lambda: _reached_by_marks,
        "rounded up by -(-x // 2)": lambda: (
            lambda first, end, size, kind: (
                [max(0, first - 1), min(size, end + 1)] if kind == "conv" else [first // 2, -(-end // 2)]
            )
        ),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 04.rise_map
# ---------------------------------------------------------------------------------------------------------------------


def _rise_map(scores: Any, masks: Any, keep: float) -> Any:
    return np.tensordot(scores, masks, axes=1) / (len(masks) * keep)


def _rise_in_a_loop(scores: Any, masks: Any, keep: float) -> Any:
    total = np.zeros(masks.shape[1:])
    for score, mask in zip(scores, masks, strict=True):
        total += score * mask
    return total / len(scores) / keep


def _rise_by_broadcasting(scores: Any, masks: Any, keep: float) -> Any:
    return (scores[:, None, None] * masks).mean(axis=0) / keep


_RISE_WRONG: dict[str, tuple[Callable, str]] = {
    "keep_forgotten": (
        lambda scores, masks, keep: np.tensordot(scores, masks, axes=1) / len(masks),
        "The division by `keep` is missing: a pixel is shown in that share of the masks only, and the map should be the mean "
        "over those.",
    ),
    "not_divided": (
        lambda scores, masks, keep: np.tensordot(scores, masks, axes=1),
        "The sum over the masks is right and not divided yet: it grows with the number of masks.",
    ),
    "number_forgotten": (
        lambda scores, masks, keep: np.tensordot(scores, masks, axes=1) / keep,
        "The sum is divided by `keep` and not by the number of masks.",
    ),
    "multiplied_by_keep": (
        lambda scores, masks, keep: np.tensordot(scores, masks, axes=1) / len(masks) * keep,
        "It was multiplied by `keep` where the formula divides.",
    ),
    "divided_by_scores": (
        lambda scores, masks, keep: np.tensordot(scores, masks, axes=1) / scores.sum(),
        "The sum was divided by the sum of the scores, which may be 0 or negative. The formula divides by the number of "
        "masks times `keep`.",
    ),
    "divided_by_coverage": (
        lambda scores, masks, keep: np.tensordot(scores, masks, axes=1) / masks.sum(axis=0),
        "Each pixel was divided by its own coverage, the sum of the masks there. That is a method of its own (and less "
        "noisy); the formula divides by what the coverage is on average.",
    ),
    "masks_turned_round": (
        lambda scores, masks, keep: np.tensordot(scores, 1 - masks, axes=1) / (len(masks) * keep),
        "This adds up what was hidden. A mask is 1 where the image is shown, and what is shown earns the score.",
    ),
    "scores_not_used": (
        lambda scores, masks, keep: masks.mean(axis=0) / keep,
        "The scores are not in it: this is how often each pixel was shown.",
    ),
    "negative_scores_cut": (
        lambda scores, masks, keep: np.tensordot(np.maximum(scores, 0), masks, axes=1) / (len(masks) * keep),
        "Negative scores were set to 0. A logit may be negative, and that counts.",
    ),
    "softmax_of_scores": (
        lambda scores, masks, keep: np.tensordot(np.exp(scores) / np.exp(scores).sum(), masks, axes=1),
        "The weights are a softmax of the scores, as in Score-CAM. RISE weighs with the scores themselves.",
    ),
    "lowest_subtracted": (
        lambda scores, masks, keep: _rise_map(scores, masks, keep) - _rise_map(scores, masks, keep).min(),
        "The map's lowest value was subtracted. That is for the figure; leave the values as the formula gives them.",
    ),
    "best_mask": (
        lambda scores, masks, keep: masks[scores.argmax()],
        "This is the mask with the highest score. All masks belong into the sum, each with its score.",
    ),
}


def _rise_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(51 if seed is None else seed)
    cases = []
    for keep in (0.25, 0.6):
        count, height, width = (int(n) for n in rng.choice([6, 7, 8, 9, 11], size=3, replace=False))
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [count, height, width], "keep": keep}
        cases.append(Case(f"{count} masks of {height} x {width}, keep = {keep}", inputs))
    return cases


def _rise_arguments(inputs: Mapping[str, Any]) -> tuple:
    rng = np.random.default_rng(inputs["seed"])
    count = inputs["shape"][0]
    masks = np.clip(rng.normal(inputs["keep"], 0.3, inputs["shape"]), 0.01, 1)
    scores = rng.permutation(np.linspace(-2, 4, count)) + rng.normal(0, 0.2, count)
    return scores, masks, inputs["keep"]


RISE_MAP = Exercise(
    id="04.rise_map",
    title="The RISE map",
    answer="rise_map",
    points=2,
    minutes=5,
    difficulty="medium",
    hints=(
        "A weighted sum of masks, and one division at the end.",
        "The scores are (masks,), the masks (masks, height, width). Give the scores two more axes, and NumPy multiplies each "
        "mask with its score.",
        "Sum over the first axis; divide by the number of masks and by `keep`. `np.tensordot(..., axes=1)` does the product and "
        "the sum in one step.",
    ),
    cases=_rise_cases,
    collect=lambda answer, case: {"map": plain(answer(*_rise_arguments(case.inputs)))},
    judge=lambda arrays, case: verdict_on_array(
        arrays["map"],
        _rise_map(*_rise_arguments(case.inputs)),
        {name: (twin(*_rise_arguments(case.inputs)), message) for name, (twin, message) in _RISE_WRONG.items()},
        what="The result",
        axes="height, width",
        otherwise="The shape is right, the values are not: the sum of the masks, each times its score, divided by the number of "
        "masks times `keep`.",
    ),
    reference=lambda: _rise_map,
    wrong={
        **as_answers(_RISE_WRONG),
        "wrong_shape": lambda: lambda scores, masks, keep: scores[:, None, None] * masks / (len(masks) * keep),
        "nothing_returned": lambda: lambda scores, masks, keep: None,
    },
    right={
        "a loop": lambda: _rise_in_a_loop,
        "broadcasting": lambda: _rise_by_broadcasting,
        "einsum": lambda: lambda scores, masks, keep: np.einsum("n,nhw->hw", scores / keep, masks) / len(scores),
    },
)

EXERCISES = [POSITIONS, COVER, FILL_FOR, DROPS, AVERAGE, REACHED, RISE_MAP]
"""In the order of the notebook."""
