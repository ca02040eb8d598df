"""Exercises of notebook 08: metrics of heatmaps, a network that forgets, a cure for a planted shortcut, a league table.

All answers are functions of arrays, one of a small Keras model. Maps, images and scores are drawn at random, with other
sizes for every seed, never square, with ties and negative values. Every judge knows the right numbers and those that
each common mistake would give.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from labutils.course.exercise import Arrays, Case, Exercise, Verdict
from labutils.course.judging import (
    as_answers,
    as_number,
    compare,
    described,
    first_problem,
    passed,
    plain,
    results_of,
    same,
    verdict_on_array,
    wrong,
)

Mistakes = Mapping[str, tuple[Callable, str]]


def _as_array(found: Any) -> Any:
    """A list of numbers as the array that it stands for; anything else as it is."""
    if isinstance(found, list) and found and None not in [as_number(value) for value in found]:
        return np.array([as_number(value) for value in found])
    return found


def _two_sides(rng: np.random.Generator, sides: list[int]) -> tuple[int, int]:
    height, width = (int(n) for n in rng.choice(sides, size=2, replace=False))
    return height, width


# ---------------------------------------------------------------------------------------------------------------------
# 08.pixel_order
# ---------------------------------------------------------------------------------------------------------------------


def _pixel_order(heatmap: Any) -> Any:
    return np.argsort(-heatmap.ravel(), kind="stable")


def _pixel_order_in_python(heatmap: Any) -> Any:
    values = heatmap.ravel().tolist()
    return sorted(range(len(values)), key=lambda place: -values[place])


def _pixel_order_by_lexsort(heatmap: Any) -> Any:
    flat = heatmap.flatten()
    return np.lexsort((np.arange(flat.size), -flat))


def _pixel_order_in_tensorflow(heatmap: Any) -> Any:
    import tensorflow as tf

    return tf.argsort(tf.reshape(heatmap, [-1]), direction="DESCENDING", stable=True)


_ORDER_WRONG: dict[str, tuple[Callable, str]] = {
    "least_first": (
        lambda heatmap: np.argsort(heatmap.ravel(), kind="stable"),
        "This starts with the smallest value: the pixels that the map holds for the least important go first.",
    ),
    "ties_reversed": (
        lambda heatmap: np.argsort(heatmap.ravel(), kind="stable")[::-1],
        "Turning an ascending order round also turns round the pixels with equal values: among equals the one that comes "
        "first in the map goes first. What has to be sorted so that nothing needs turning round?",
    ),
    "ranks_not_order": (
        lambda heatmap: np.argsort(np.argsort(-heatmap.ravel(), kind="stable")),
        "These are ranks: at each pixel, its place in the order. The order itself is asked for: first the number of the most "
        "important pixel, then that of the next.",
    ),
    "magnitude": (
        lambda heatmap: np.argsort(-np.abs(heatmap.ravel()), kind="stable"),
        "You sorted by the magnitude. A strongly negative pixel speaks against the class: it goes last, not first.",
    ),
    "column_by_column": (
        lambda heatmap: np.argsort(-heatmap.ravel(order="F"), kind="stable"),
        "The pixels were numbered column by column. Number them row by row, as NumPy's `ravel` does.",
    ),
    "each_row_alone": (
        lambda heatmap: np.argsort(-heatmap, axis=-1, kind="stable"),
        "Each row was sorted by itself. All the pixels of the map make one order.",
    ),
    "values": (
        lambda heatmap: np.sort(heatmap.ravel())[::-1],
        "These are the values in falling order. Which pixels they belong to is asked for: their numbers.",
    ),
    "rows_and_columns": (
        lambda heatmap: np.stack(np.unravel_index(np.argsort(-heatmap.ravel(), kind="stable"), heatmap.shape), axis=-1),
        "These are rows and columns, in the right order. One number a pixel is asked for: row times the map's width plus "
        "column, which is what the place in the flattened map is.",
    ),
}


def _order_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(8 if seed is None else seed)
    cases = []
    for kind in ("signed", "ties"):
        height, width = _two_sides(rng, [3, 4, 5, 6])
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [height, width], "kind": kind}
        name = "a map with values of both signs" if kind == "signed" else "a map with many equal values"
        cases.append(Case(f"{name}, {height} x {width}", inputs))
    return cases


def _order_map(inputs: Mapping[str, Any]) -> np.ndarray:
    rng = np.random.default_rng(inputs["seed"])
    if inputs["kind"] == "ties":
        return rng.integers(-2, 3, size=inputs["shape"]).astype(np.float32)
    return rng.normal(size=inputs["shape"]).astype(np.float32)


def _judge_order(arrays: Arrays, case: Case) -> Verdict:
    heatmap = _order_map(case.inputs)
    found = _as_array(arrays["order"])
    if isinstance(found, np.ndarray) and found.dtype.kind == "f" and (found == np.round(found)).all():
        found = found.astype(int)  # whole numbers, in whatever type
    return verdict_on_array(
        found,
        _pixel_order(heatmap),
        results_of(_ORDER_WRONG, heatmap),
        what="The result",
        axes="pixels",
        kinds="iu",
        otherwise="The shape is right; the order is not that of falling values, with equal ones row by row.",
    )


PIXEL_ORDER = Exercise(
    id="08.pixel_order",
    title="Which pixel goes first?",
    answer="pixel_order",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "Flatten the map first. Then you want places, not values: which NumPy function gives the places that would sort an "
        "array?",
        "`np.argsort` sorts upwards. The largest first is the smallest first of something else that you can compute from the "
        "map.",
        'Sort the **negative** of the flattened map, and ask `np.argsort` for `kind="stable"`: that keeps equal values in the '
        "order in which they come.",
    ),
    cases=_order_cases,
    collect=lambda answer, case: {"order": plain(answer(_order_map(case.inputs)))},
    judge=_judge_order,
    reference=lambda: _pixel_order,
    wrong={**as_answers(_ORDER_WRONG), "nothing_returned": lambda: lambda heatmap: None},
    right={
        "Python's sorted": lambda: _pixel_order_in_python,
        "lexsort": lambda: _pixel_order_by_lexsort,
        "TensorFlow": lambda: _pixel_order_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 08.deletion_scores
# ---------------------------------------------------------------------------------------------------------------------


def _deletion_scores(score: Callable, image: Any, order: Any, baseline: Any, steps: int) -> Any:
    images = []
    for step in range(steps + 1):
        gone = order[: round(step / steps * len(order))]
        changed = image.copy()
        rows, columns = np.unravel_index(gone, image.shape[:2])
        changed[rows, columns] = baseline[rows, columns]
        images.append(changed)
    return score(np.stack(images))


def _deletion_scores_by_ranks(score: Callable, image: Any, order: Any, baseline: Any, steps: int) -> Any:
    ranks = np.empty(len(order), int)
    ranks[order] = np.arange(len(order))
    ranks = ranks.reshape(image.shape[:2])[..., None]
    counts = [round(len(order) * step / steps) for step in range(steps + 1)]
    return [float(score(np.where(ranks < count, baseline, image)[None])[0]) for count in counts]


def _deletion_scores_by_flat_pixels(score: Callable, image: Any, order: Any, baseline: Any, steps: int) -> Any:
    pixels, background = image.reshape(-1, image.shape[2]).copy(), baseline.reshape(-1, image.shape[2])
    scores = [score(image[np.newaxis])[0]]
    for chunk in np.array_split(order, steps):
        pixels[chunk] = background[chunk]
        scores.append(score(pixels.reshape(1, *image.shape))[0])
    return np.array(scores)


def _deletion_with(
    *,
    places: Callable[[Any, int, int], Any] = lambda order, step, steps: order[: round(step / steps * len(order))],
    where: Callable[[Any, Any], Any] = lambda gone, shape: np.unravel_index(gone, shape),
    start: Callable[[Any, Any], Any] = lambda image, baseline: (image, baseline),
    steps_of: Callable[[int], Any] = lambda steps: range(steps + 1),
    finish: Callable[[np.ndarray], Any] = lambda scores: scores,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(score: Callable, image: Any, order: Any, baseline: Any, steps: int) -> Any:
        shown, filling = start(image, baseline)
        images = []
        for step in steps_of(steps):
            changed = shown.copy()
            at = where(places(order, step, steps), image.shape[:2])
            changed[at] = filling[at]
            images.append(changed)
        return finish(score(np.stack(images)))

    return answer


def _one_array(score: Callable, image: Any, order: Any, baseline: Any, steps: int) -> Any:
    changed, images = image.copy(), []
    for step in range(steps + 1):
        at = np.unravel_index(order[: round(step / steps * len(order))], image.shape[:2])
        changed[at] = baseline[at]
        images.append(changed)
    return score(np.stack(images))


def _numbers_not_pixels(score: Callable, image: Any, order: Any, baseline: Any, steps: int) -> Any:
    images = []
    for step in range(steps + 1):
        gone = order[: round(step / steps * len(order))]
        changed = image.copy().ravel()
        changed[gone] = baseline.ravel()[gone]
        images.append(changed.reshape(image.shape))
    return score(np.stack(images))


_DELETION_WRONG: dict[str, tuple[Callable, str]] = {
    "one_array": (
        _one_array,
        "All scores are that of the last image. A list that holds the same array several times shows its last state "
        "everywhere: each step needs a copy of its own.",
    ),
    "not_cumulative": (
        _deletion_with(
            places=lambda order, step, steps: order[
                round(max(step - 1, 0) / steps * len(order)) : round(step / steps * len(order))
            ]
        ),
        "Each step deletes its own pixels and brings the earlier ones back. What is gone stays gone: after step k, all of the "
        "first k / steps of the order.",
    ),
    "insertion": (
        _deletion_with(start=lambda image, baseline: (baseline, image)),
        "This starts from the baseline and puts pixels of the photo in: that is insertion. Deletion starts from the whole "
        "photo.",
    ),
    "zero": (
        _deletion_with(start=lambda image, baseline: (image, np.zeros_like(image))),
        "Deleted pixels have become 0. They should become what `baseline` has at the same place.",
    ),
    "least_first": (
        _deletion_with(places=lambda order, step, steps: order[::-1][: round(step / steps * len(order))]),
        "The last pixels of the order go first here. `order` begins with the most important one.",
    ),
    "start_missing": (
        _deletion_with(steps_of=lambda steps: range(1, steps + 1)),
        "The first score is missing: that of the whole photo, with nothing deleted. There are steps + 1 scores.",
    ),
    "end_missing": (
        _deletion_with(steps_of=range),
        "The last score is missing: that of the baseline alone, with every pixel deleted. There are steps + 1 scores.",
    ),
    "numbers_not_pixels": (
        _numbers_not_pixels,
        "You flattened the photo with its colours and deleted single numbers, so that one pixel loses its red and another its "
        "blue. A pixel has all its colours: flatten height and width only, or turn the numbers into rows and columns.",
    ),
    "rows_and_columns_swapped": (
        _deletion_with(where=lambda gone, shape: (np.asarray(gone) % shape[0], np.asarray(gone) // shape[0])),
        "The pixels' numbers were read column by column. Pixel number n lies in row n // width and column n % width.",
    ),
    "drops": (
        _deletion_with(finish=lambda scores: scores[0] - scores),
        "These are the drops from the first score. The scores themselves are asked for.",
    ),
}


def _deletion_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(18 if seed is None else seed)
    cases = []
    for steps in (4, 5):
        while True:
            height, width = (int(n) for n in rng.choice([3, 4, 5, 6, 7, 8], size=2, replace=False))
            inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [height, width, 3], "steps": steps}
            if height * width % steps == 0 and height % width and width % height and _deletion_tells(inputs):
                break
        cases.append(Case(f"an image of {height} x {width} pixels in {steps} steps", inputs))
    return cases


def _deletion_inputs(inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the answer gets: a score of its own, an image, an order, a baseline and the number of steps."""
    rng = np.random.default_rng(inputs["seed"])
    weights = rng.normal(0, 0.6, size=inputs["shape"])

    def score(images: Any) -> np.ndarray:
        """The probability that a small network (of one layer) gives: (n, height, width, colours) to (n,)."""
        images = np.asarray(images, float)
        if images.ndim != 4 or images.shape[1:] != weights.shape:
            raise ValueError(
                f"score takes images of shape (n, {', '.join(map(str, weights.shape))}), not {images.shape}"
            )
        return 1 / (1 + np.exp(-(images * weights).sum(axis=(1, 2, 3))))

    image, baseline = rng.uniform(0.2, 1, size=inputs["shape"]), rng.uniform(-0.6, 0.1, size=inputs["shape"])
    order = rng.permutation(inputs["shape"][0] * inputs["shape"][1])
    return score, image, order, baseline, inputs["steps"]


def _deletion_tells(inputs: Mapping[str, Any]) -> bool:
    """Whether every mistake shows in this case."""
    asked = _deletion_inputs(inputs)
    right = _deletion_scores(*asked)
    twins = [twin(*asked) for twin, _ in _DELETION_WRONG.values()]
    return all(len(twin) != len(right) or np.abs(twin - right).max() > 0.02 for twin in twins)


def _judge_deletion(arrays: Arrays, case: Case) -> Verdict:
    asked = _deletion_inputs(case.inputs)
    return verdict_on_array(
        _as_array(arrays["scores"]),
        _deletion_scores(*asked),
        results_of(_DELETION_WRONG, *asked),
        what="The result",
        axes="steps + 1",
        otherwise="The shape is right; the scores are not those of the photo with the first pixels of the order replaced.",
    )


DELETION_SCORES = Exercise(
    id="08.deletion_scores",
    title="Delete pixel after pixel",
    answer="deletion_scores",
    points=3,
    minutes=9,
    difficulty="medium",
    hints=(
        "Step k: a copy of the photo, in which the first k / steps of the order have the baseline's pixels. k runs from 0 "
        "(nothing is gone) to steps (all is gone).",
        "How many pixels are gone after step k? `round(k / steps * len(order))`, and those are the first so many entries of "
        "`order`. `np.unravel_index(numbers, (height, width))` turns the numbers into rows and columns.",
        "With rows and columns: `copy[rows, columns] = baseline[rows, columns]` takes all colours at once. Collect the copies, "
        "`np.stack` them, and call `score` once (or call it for each as a batch of one).",
    ),
    cases=_deletion_cases,
    collect=lambda answer, case: {"scores": plain(answer(*_deletion_inputs(case.inputs)))},
    judge=_judge_deletion,
    reference=lambda: _deletion_scores,
    wrong={
        **as_answers(_DELETION_WRONG),
        "nothing_returned": lambda: lambda score, image, order, baseline, steps: None,
    },
    right={
        "ranks and np.where": lambda: _deletion_scores_by_ranks,
        "flat pixels, chunk by chunk": lambda: _deletion_scores_by_flat_pixels,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 08.area
# ---------------------------------------------------------------------------------------------------------------------


def _area(shares: Any, scores: Any) -> Any:
    widths = shares[1:] - shares[:-1]
    heights = (scores[1:] + scores[:-1]) / 2
    return (widths * heights).sum()


def _area_by_scipy(shares: Any, scores: Any) -> Any:
    from scipy.integrate import trapezoid

    return trapezoid(scores, shares)


def _area_in_a_loop(shares: Any, scores: Any) -> Any:
    area = 0.0
    for k in range(len(shares) - 1):
        area += (shares[k + 1] - shares[k]) * (scores[k] + scores[k + 1]) / 2
    return area


_AREA_WRONG: dict[str, tuple[Callable, str]] = {
    "mean": (
        lambda shares, scores: np.mean(scores),
        "This is the mean of the scores. Both ends count only half, and a wide step counts more than a narrow one.",
    ),
    "sum": (
        lambda shares, scores: np.sum(scores),
        "This is the sum of the scores: it grows with the number of steps. Each strip has a width.",
    ),
    "left_ends": (
        lambda shares, scores: (np.diff(shares) * scores[:-1]).sum(),
        "Each strip is a rectangle as high as its left end. The trapezoid rule takes the mean of both ends.",
    ),
    "right_ends": (
        lambda shares, scores: (np.diff(shares) * scores[1:]).sum(),
        "Each strip is a rectangle as high as its right end. The trapezoid rule takes the mean of both ends.",
    ),
    "width_one": (
        lambda shares, scores: ((scores[1:] + scores[:-1]) / 2).sum(),
        "Every strip counts as 1 wide, so the area grows with the number of steps. The widths are the differences of `shares`.",
    ),
    "equal_widths": (
        lambda shares, scores: ((scores[1:] + scores[:-1]) / 2).mean(),
        "Every strip counts as equally wide. The steps need not be equal: take the differences of `shares`.",
    ),
    "axes_swapped": (
        lambda shares, scores: (np.diff(scores) * (shares[1:] + shares[:-1]) / 2).sum(),
        "Shares and scores have changed places: this is the area between the curve and the other axis. (NumPy's and SciPy's "
        "`trapezoid` take the heights **first**.)",
    ),
    "above": (
        lambda shares, scores: 1 - (np.diff(shares) * (scores[1:] + scores[:-1]) / 2).sum(),
        "This is the area above the curve, up to 1. The one under it is asked for.",
    ),
}


def _area_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(28 if seed is None else seed)
    cases = []
    while len(cases) < 2:
        count = int(rng.integers(5, 9))
        inputs = {
            "shares": [0.0, *np.sort(rng.choice(np.arange(1, 40), size=count, replace=False) / 40).tolist(), 1.0],
            "scores": np.round(rng.uniform(0, 1, size=count + 2), 3).tolist(),
        }
        asked = _area_inputs(inputs)
        if all(abs(twin(*asked) - _area(*asked)) > 0.01 for twin, _ in _AREA_WRONG.values()):
            cases.append(Case(f"a curve of {count + 2} points at uneven distances", inputs))
    return cases


def _area_inputs(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(inputs["shares"]), np.array(inputs["scores"])


def _judge_area(arrays: Arrays, case: Case) -> Verdict:
    asked = _area_inputs(case.inputs)
    found = arrays["area"]
    if found is None:
        return wrong("The result is None. Is a `return` missing?", "nothing_returned")
    number = as_number(found)
    if number is None:
        return wrong(f"One number is asked for; the result is {described(found)}.", "not_a_number")
    return compare(
        number,
        _area(*asked),
        results_of(_AREA_WRONG, *asked),
        otherwise="This is a number, but not the area of the strips between the curve and the axis.",
    )


AREA = Exercise(
    id="08.area",
    title="The area under a curve",
    answer="area",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "Between two neighbouring points the curve is a straight line, and the strip below it is a trapezoid: width times mean "
        "height.",
        "The widths are the differences of neighbouring shares (`np.diff`), the heights the means of neighbouring scores.",
        "`scores[1:]` and `scores[:-1]` are the right and the left ends of all strips. Multiply widths by mean heights, sum.",
    ),
    cases=_area_cases,
    collect=lambda answer, case: {"area": plain(answer(*_area_inputs(case.inputs)))},
    judge=_judge_area,
    reference=lambda: _area,
    wrong={
        **as_answers(_AREA_WRONG),
        "nothing_returned": lambda: lambda shares, scores: None,
        "not_a_number": lambda: lambda shares, scores: np.diff(shares) * (scores[1:] + scores[:-1]) / 2,
    },
    right={
        "SciPy": lambda: _area_by_scipy,
        "a loop": lambda: _area_in_a_loop,
        "weights of the points": lambda: (
            lambda shares, scores: np.dot(scores, (np.diff(shares, prepend=0) + np.diff(shares, append=1)) / 2)
        ),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 08.is_hit
# ---------------------------------------------------------------------------------------------------------------------


def _is_hit(heatmap: Any, mask: Any, tolerance: float) -> Any:
    if heatmap.max() == heatmap.min():
        return False
    object_pixels = np.argwhere(mask)
    for peak in np.argwhere(heatmap == heatmap.max()):
        distance = np.hypot(*(object_pixels - peak).T).min()
        if distance > tolerance:
            return False
    return True


def _is_hit_by_distance_transform(heatmap: Any, mask: Any, tolerance: float) -> Any:
    from scipy.ndimage import distance_transform_edt

    peaks = heatmap == heatmap.max()
    return bool(np.ptp(heatmap) > 0 and distance_transform_edt(~mask)[peaks].max() <= tolerance)


def _is_hit_by_labutils(heatmap: Any, mask: Any, tolerance: float) -> Any:
    from labutils.evaluate import pointing_game

    return pointing_game(heatmap, mask, tolerance=tolerance)[0]


def _is_hit_with(
    *,
    peaks: Callable[[Any], Any] = lambda heatmap: np.argwhere(heatmap == heatmap.max()),
    targets: Callable[[Any], Any] = np.argwhere,
    distance: Callable[[Any], Any] = lambda difference: np.hypot(*difference.T),
    reached: Callable[[float, float], bool] = lambda distance, tolerance: distance <= tolerance,
    combine: Callable[[list], bool] = all,
    constant: bool = False,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(heatmap: Any, mask: Any, tolerance: float) -> Any:
        if not constant and np.ptp(heatmap) == 0:
            return False
        goals = targets(mask)
        return bool(combine([reached(distance(goals - peak).min(), tolerance) for peak in peaks(heatmap)]))

    return answer


def _first_peak(heatmap: np.ndarray) -> np.ndarray:
    return np.array([np.unravel_index(heatmap.argmax(), heatmap.shape)])


_HIT_WRONG: dict[str, tuple[Callable, str]] = {
    "tolerance_ignored": (
        _is_hit_with(reached=lambda distance, tolerance: distance == 0),
        "Only a maximum on the object itself counts here. One within `tolerance` pixels of it counts as well.",
    ),
    "below_tolerance": (
        _is_hit_with(reached=lambda distance, tolerance: distance < tolerance),
        "A maximum at exactly the tolerance still counts: at most, not less than. (With a tolerance of 0, a maximum on the "
        "object has to count.)",
    ),
    "square": (
        _is_hit_with(distance=lambda difference: np.abs(difference).max(axis=1)),
        "Rows and columns were compared with the tolerance one by one, so that a corner counts as near. Take the straight "
        "line: the root of the sum of squares.",
    ),
    "city_blocks": (
        _is_hit_with(distance=lambda difference: np.abs(difference).sum(axis=1)),
        "Rows and columns were added up as if one could only walk along them. Take the straight line: the root of the sum of "
        "squares.",
    ),
    "to_the_middle": (
        _is_hit_with(targets=lambda mask: np.argwhere(mask).mean(axis=0, keepdims=True)),
        "The distance is that to the middle of the object. It is to the nearest of its pixels, and 0 on any of them.",
    ),
    "swapped": (
        _is_hit_with(peaks=lambda heatmap: np.argwhere(heatmap == heatmap.max())[:, ::-1]),
        "Row and column of the maximum have changed places.",
    ),
    "first_maximum": (
        _is_hit_with(peaks=_first_peak),
        "`argmax` gives the first of several equal maxima, so the result depends on where it happens to lie. If several pixels "
        "share the maximum, all of them must be near the object.",
    ),
    "any_maximum": (
        _is_hit_with(combine=any),
        "One of several equal maxima was enough. A map with many maxima would win without knowing anything: all must be near "
        "the object.",
    ),
    "constant_hits": (
        _is_hit_with(constant=True),
        "A map that is the same everywhere points at nothing, and misses, however large the object is.",
    ),
    "weakest": (
        _is_hit_with(peaks=lambda heatmap: np.argwhere(heatmap == heatmap.min())),
        "This is where the map is lowest.",
    ),
    "magnitude": (
        _is_hit_with(peaks=lambda heatmap: np.argwhere(np.abs(heatmap) == np.abs(heatmap).max())),
        "This is where the magnitude is largest. A strongly negative place speaks against the class: the largest value counts.",
    ),
    "any_overlap": (
        lambda heatmap, mask, tolerance: bool(np.ptp(heatmap) > 0 and (heatmap[mask] > 0).any()),
        "Any positive value on the object was enough. Only the map's maximum counts in this game.",
    ),
}  # fmt: skip


def _hit_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(38 if seed is None else seed)
    cases = []
    for _ in range(2):
        while True:
            height, width = _two_sides(rng, [9, 10, 11, 12, 13])
            inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [height, width]}
            questions = _hit_questions(inputs)
            right = [_is_hit(*question) for question in questions]
            found = [tuple(twin(*question) for question in questions) for twin, _ in _HIT_WRONG.values()]
            if len({tuple(right), *found}) == 1 + len(found):
                break
        cases.append(Case(f"{len(questions)} maps of {height} x {width}", inputs))
    return cases


def _hit_questions(inputs: Mapping[str, Any]) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Maps, each with a mask and a tolerance: peaks at known places near a rectangle, shared maxima, a constant map."""
    rng = np.random.default_rng(inputs["seed"])
    height, width = inputs["shape"]
    questions = []

    def ask(offsets: Any, tolerance: float, *, flat: bool = False, large: bool = False) -> None:
        """The maximum at these rows and columns from the object's bottom right corner."""
        mask = np.zeros((height, width), bool)
        bottom, right = (2 * height) // 3, (2 * width) // 3
        mask[(0 if large else 1) : bottom, (0 if large else 2) : right] = True
        heatmap = rng.uniform(-0.5, 0.8, size=(height, width)).astype(np.float32)
        heatmap[0, -1] = -2  # far from the object, and the largest magnitude
        for down, across in offsets:
            heatmap[bottom - 1 + down, right - 1 + across] = 1
        questions.append((np.full_like(heatmap, 0.5) if flat else heatmap, mask, tolerance))

    ask([(0, 0)], 0)  # on the object, no tolerance
    ask([(-2, -1)], 1.5)  # on the object
    ask([(0, 2)], 2)  # at exactly the tolerance
    ask([(0, 2)], 1)  # the same place, by a smaller tolerance
    ask([(0, 3)], 3)  # further away, by a larger one
    ask([(2, 2)], 2)  # near by rows and by columns, not along the straight line
    ask([(1, 2)], 2.5)  # near along the straight line, not along rows and columns
    ask([(2, 3)], 3)
    ask([(0, 0), (3, 3)], 1)  # two maxima, the first on the object
    ask([(0, 3), (1, 0)], 1)  # two maxima, the second near
    ask([], 30, flat=True, large=True)
    ask([(3, 0)], 1)
    for _ in range(4):
        heatmap = rng.normal(size=(height, width)).astype(np.float32)
        mask = np.zeros((height, width), bool)
        top, left = int(rng.integers(0, height - 3)), int(rng.integers(0, width - 3))
        mask[top : top + 3, left : left + 4] = True
        questions.append((heatmap, mask, 2))
    return questions


def _as_truth(value: Any) -> bool | None:
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind == "b":
        return bool(value.item())
    return value if isinstance(value, bool) else None


def _judge_hit(arrays: Arrays, case: Case) -> Verdict:
    questions, found = _hit_questions(case.inputs), arrays["hits"]
    if any(value is None for value in found):
        return wrong("The result is None. Is a `return` missing?", "nothing_returned")
    truths = [_as_truth(value) for value in found]
    if None in truths:
        what = described(found[truths.index(None)])
        return wrong(f"`True` or `False` is asked for, for one map; the result is {what}.", "not_true_or_false")
    right = [_is_hit(*question) for question in questions]
    if truths == right:
        return passed()
    for name, (twin, message) in _HIT_WRONG.items():
        if truths == [twin(*question) for question in questions]:
            return wrong(message, name)
    place = next(index for index, truth in enumerate(truths) if truth != right[index])
    heatmap, mask, tolerance = questions[place]
    peaks = np.argwhere(heatmap == heatmap.max())
    where = "everywhere" if len(peaks) == heatmap.size else " and ".join(f"({row}, {column})" for row, column in peaks)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return wrong(
        f"A map whose maximum is at (row, column) {where}, an object in rows {rows[0]} to {rows[-1]} and columns {columns[0]} "
        f"to {columns[-1]}, a tolerance of {tolerance}: that is {'a hit' if right[place] else 'a miss'}, not "
        f"{'a hit' if truths[place] else 'a miss'}."
    )


IS_HIT = Exercise(
    id="08.is_hit",
    title="A hit or a miss?",
    answer="is_hit",
    points=2,
    minutes=7,
    difficulty="medium",
    hints=(
        "`np.argwhere(condition)` gives rows and columns of all places where the condition holds: of the object's pixels, and of "
        "all places where the map has its maximum.",
        "From one maximum to all pixels of the object: subtract, take `np.hypot` of the two columns, then the minimum. That is "
        "its distance to the object.",
        "A map whose maximum equals its minimum misses. For the others: every maximum's distance must be at most the tolerance. "
        "(`scipy.ndimage.distance_transform_edt(~mask)` gives the distances of all pixels at once.)",
    ),
    cases=_hit_cases,
    collect=lambda answer, case: {"hits": [plain(answer(*question)) for question in _hit_questions(case.inputs)]},
    judge=_judge_hit,
    reference=lambda: _is_hit,
    wrong={
        **as_answers(_HIT_WRONG),
        "nothing_returned": lambda: lambda heatmap, mask, tolerance: None,
        "not_true_or_false": lambda: lambda heatmap, mask, tolerance: mask[heatmap == heatmap.max()],
    },
    right={
        "distance transform": lambda: _is_hit_by_distance_transform,
        "labutils' own": lambda: _is_hit_by_labutils,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 08.share_inside
# ---------------------------------------------------------------------------------------------------------------------


def _share_inside(heatmap: Any, box: Any) -> Any:
    top, left, bottom, right = box
    positive = np.maximum(heatmap, 0)
    total = positive.sum()
    return positive[top:bottom, left:right].sum() / total if total > 0 else 0.0


def _share_inside_in_loops(heatmap: Any, box: Any) -> Any:
    inside = everywhere = 0.0
    for row in range(heatmap.shape[0]):
        for column in range(heatmap.shape[1]):
            value = max(float(heatmap[row, column]), 0.0)
            everywhere += value
            if box[0] <= row < box[2] and box[1] <= column < box[3]:
                inside += value
    return inside / everywhere if everywhere else 0.0


def _share_inside_by_mask(heatmap: Any, box: Any) -> Any:
    weights = np.where(heatmap > 0, heatmap, 0)
    if not weights.any():
        return 0
    mask = np.zeros(heatmap.shape, bool)
    mask[box[0] : box[2], box[1] : box[3]] = True
    return np.average(mask, weights=weights)


def _inside(values: np.ndarray, box: Any) -> np.ndarray:
    return values[box[0] : box[2], box[1] : box[3]]


def _share_with(
    *,
    part: Callable[[np.ndarray], np.ndarray] = lambda values: np.maximum(values, 0),
    cut: Callable[[np.ndarray, Any], np.ndarray] = _inside,
    reduce: Callable[[np.ndarray], Any] = np.sum,
    finish: Callable[[float, float], float] = lambda inside, everywhere: inside / everywhere if everywhere else 0.0,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(heatmap: Any, box: Any) -> Any:
        with np.errstate(all="ignore"):
            values = part(heatmap)
            return float(finish(reduce(cut(values, box)), reduce(values)))

    return answer


_SHARE_WRONG: dict[str, tuple[Callable, str]] = {
    "negatives_kept": (
        _share_with(part=lambda values: values),
        "Negative values are in the sums: they cancel positive ones, and the share can even leave 0 to 1. Set them to 0 first.",
    ),
    "magnitude": (
        _share_with(part=np.abs),
        "Magnitudes count what speaks against the class as if it spoke for it. Set negative values to 0.",
    ),
    "negative_part": (
        _share_with(part=lambda values: np.minimum(values, 0)),
        "This is the share of the negative values: what speaks against the class.",
    ),
    "share_of_pixels": (
        _share_with(part=lambda values: (values > 0).astype(float)),
        "This counts positive pixels, each the same, however strong. Sum their values.",
    ),
    "means_divided": (
        _share_with(reduce=np.mean),
        "These are means, not sums: a small box with much in it comes out above 1. A share divides sums.",
    ),
    "not_divided": (
        _share_with(finish=lambda inside, everywhere: inside),
        "This is what lies inside the box. Divide it by what lies in the whole map.",
    ),
    "inside_over_outside": (
        _share_with(finish=lambda inside, everywhere: inside / (everywhere - inside) if everywhere else 0.0),
        "This is inside divided by outside. A share is inside divided by everything.",
    ),
    "outside": (
        _share_with(finish=lambda inside, everywhere: 1 - inside / everywhere if everywhere else 0.0),
        "This is the share outside the box.",
    ),
    "rows_and_columns_swapped": (
        _share_with(cut=lambda values, box: values[box[1] : box[3], box[0] : box[2]]),
        "Rows and columns of the box have changed places. The box is (top, left, bottom, right): top and bottom are rows.",
    ),
    "height_and_width": (
        _share_with(cut=lambda values, box: values[box[0] : box[0] + box[2], box[1] : box[1] + box[3]]),
        "You took the last two numbers of the box for its height and width. They are the row and the column where it ends.",
    ),
    "last_row_left_out": (
        _share_with(cut=lambda values, box: values[box[0] : box[2] - 1, box[1] : box[3] - 1]),
        "The last row and the last column of the box are missing. `bottom` and `right` are the first that do not belong to "
        "it, as in a slice.",
    ),
    "scaled_first": (
        _share_with(part=lambda values: values - values.min()),
        "You subtracted the smallest value, so that every place but one counts as positive. 0 has a meaning in a map: set "
        "what lies below it to 0.",
    ),
    "nothing_positive": (
        _share_with(finish=lambda inside, everywhere: np.float64(inside) / everywhere),
        "Where nothing in the map is positive, 0 is divided by 0. A map that shows nothing shows nothing in the box: return 0.",
    ),
}  # fmt: skip


def _share_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(48 if seed is None else seed)
    cases = []
    for kind in ("signed", "signed", "nothing positive"):
        while True:
            height, width = _two_sides(rng, [8, 9, 10, 11, 12])
            top, left = (int(n) for n in rng.choice([1, 2, 3], size=2, replace=False))
            box = [top, left, int(rng.integers(top + 3, height)), int(rng.integers(left + 3, width))]
            inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [height, width], "box": box, "kind": kind}
            if kind != "signed" or _share_tells(inputs):
                break
        name = "a map with values of both signs" if kind == "signed" else "a map in which nothing is positive"
        cases.append(Case(f"{name}, {height} x {width}", inputs))
    return cases


def _share_map(inputs: Mapping[str, Any]) -> np.ndarray:
    rng = np.random.default_rng(inputs["seed"])
    heatmap = rng.normal(0.2, 1, size=inputs["shape"])
    return (heatmap if inputs["kind"] == "signed" else -np.abs(heatmap)).astype(np.float32)


def _share_tells(inputs: Mapping[str, Any]) -> bool:
    """Whether every mistake that shows in such a map gives another number than the right answer, and than the others."""
    asked = _share_map(inputs), inputs["box"]
    found = [_share_inside(*asked)]
    found += [twin(*asked) for name, (twin, _) in _SHARE_WRONG.items() if name != "nothing_positive"]
    gaps = np.abs(np.subtract.outer(found, found))[np.triu_indices(len(found), 1)]
    return bool(np.isfinite(found).all() and gaps.min() > 0.004)


def _judge_share(arrays: Arrays, case: Case) -> Verdict:
    asked = _share_map(case.inputs), case.inputs["box"]
    found = arrays["share"]
    if found is None:
        return wrong("The result is None. Is a `return` missing?", "nothing_returned")
    number = as_number(found)
    if number is None:
        return wrong(f"One number is asked for; the result is {described(found)}.", "not_a_number")
    if case.inputs["kind"] != "signed" and np.isnan(number):
        return wrong(_SHARE_WRONG["nothing_positive"][1], "nothing_positive")
    return compare(
        number,
        _share_inside(*asked),
        results_of(_SHARE_WRONG, *asked),
        otherwise="This is a number, but not the share of the map's positive values that lies in the box.",
    )


SHARE_INSIDE = Exercise(
    id="08.share_inside",
    title="How much of the map lies in the box?",
    answer="share_inside",
    points=2,
    minutes=5,
    difficulty="easy",
    hints=(
        "Three steps: set negative values to 0; sum what is inside the box; divide by the sum of the whole map.",
        "A box (top, left, bottom, right) is a slice of rows and a slice of columns. `np.maximum(heatmap, 0)` sets negative "
        "values to 0.",
        "Take care of the map in which nothing is positive before you divide: its total is 0, and the answer is 0.",
    ),
    cases=_share_cases,
    collect=lambda answer, case: {"share": plain(answer(_share_map(case.inputs), tuple(case.inputs["box"])))},
    judge=_judge_share,
    reference=lambda: _share_inside,
    wrong={
        **as_answers(_SHARE_WRONG),
        "nothing_returned": lambda: lambda heatmap, box: None,
        "not_a_number": lambda: lambda heatmap, box: _inside(np.maximum(heatmap, 0), box),
    },
    right={
        "loops": lambda: _share_inside_in_loops,
        "a weighted mean of a mask": lambda: _share_inside_by_mask,
        "a small number in place of the question": lambda: (
            lambda heatmap, box: _inside(heatmap.clip(0), box).sum() / (heatmap.clip(0).sum() + 1e-12)
        ),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 08.randomised
# ---------------------------------------------------------------------------------------------------------------------


def _randomised(model: Any, layers: Any, seed: int) -> Any:
    import keras

    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name in layers:
        layer = copy.get_layer(name)
        new = [np.sqrt((old**2).mean()) * rng.normal(size=old.shape) for old in layer.get_weights()]
        layer.set_weights(new)
    return copy


def _randomised_by_variables(model: Any, layers: Any, seed: int) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    copy = keras.models.clone_model(model)
    for old, new in zip(model.layers, copy.layers, strict=True):
        for before, after in zip(old.weights, new.weights, strict=True):
            spread = keras.ops.sqrt(keras.ops.mean(before**2))
            after.assign(spread * keras.random.normal(before.shape) if old.name in layers else before)
    return copy


def _randomised_by_shuffling(model: Any, layers: Any, seed: int) -> Any:
    import keras

    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for name in layers:
        layer = copy.get_layer(name)
        layer.set_weights([rng.permutation(old.ravel()).reshape(old.shape) for old in layer.get_weights()])
    return copy


def _randomised_by_labutils(model: Any, layers: Any, seed: int) -> Any:
    from labutils.evaluate import randomized

    return randomized(model, layers, seed=seed)


def _drawn(rng: np.random.Generator, old: np.ndarray) -> np.ndarray:
    return np.sqrt((old**2).mean()) * rng.normal(size=old.shape)


def _randomised_with(
    *,
    draw: Callable[[np.random.Generator, np.ndarray], np.ndarray] = _drawn,
    chosen: Callable[[Any, Any], Any] = lambda copy, layers: layers,
    copied: Callable[[Any], Any] | None = None,
    rng_of: Callable[[int], np.random.Generator] = np.random.default_rng,
    each: Callable[[list, Callable], list] = lambda weights, draw: [draw(old) for old in weights],
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(model: Any, layers: Any, seed: int) -> Any:
        import keras

        copy = keras.models.clone_model(model) if copied is None else copied(model)
        if copied is None:
            copy.set_weights(model.get_weights())
        rng = rng_of(seed)
        for name in chosen(copy, layers):
            layer = copy.get_layer(name)
            layer.set_weights(each(layer.get_weights(), functools.partial(draw, rng)))
        return copy

    return answer


def _fresh_clone(model: Any) -> Any:
    import keras

    return keras.models.clone_model(model)


def _all_layers(copy: Any, layers: Any) -> list[str]:
    return [layer.name for layer in copy.layers if layer.get_weights()]


_RANDOMISED_WRONG: dict[str, tuple[Callable, str]] = {
    "original_changed": (
        _randomised_with(copied=lambda model: model),
        "The original network has changed: it has forgotten as well, and there is nothing left to compare with. "
        "(`copy = model` is a second name for the same network.)",
    ),
    "weights_not_copied": (
        _randomised_with(copied=_fresh_clone),
        "The layers that you did not name have other weights than the original's, too. `clone_model` copies the layers, but "
        "gives them fresh random weights: the learnt ones have to be copied after it.",
    ),
    "nothing_changed": (
        _randomised_with(chosen=lambda copy, layers: []),
        "The named layers have kept their weights. (`get_weights` hands out copies: changing them changes nothing until "
        "`set_weights` puts them back.)",
    ),
    "zeros": (
        _randomised_with(draw=lambda rng, old: np.zeros_like(old)),
        "The named layers are all zero: nothing passes through them any more. A network that forgot still passes signals on.",
    ),
    "scale_lost": (
        _randomised_with(draw=lambda rng, old: rng.normal(size=old.shape)),
        "The new weights are not of the size of the old ones. After a few such layers, signals explode or die out, and the "
        "maps change for that reason alone. Multiply by the old weights' root mean square.",
    ),
    "noise_added": (
        _randomised_with(draw=lambda rng, old: old + _drawn(rng, old)),
        "The old weights are still in the new ones: you added noise to what was learnt. It has to be replaced.",
    ),
    "only_the_first": (
        _randomised_with(chosen=lambda copy, layers: layers[:1]),
        "Only the first of the named layers has new weights. `layers` is a list: all of them forget.",
    ),
    "all_layers": (
        _randomised_with(chosen=_all_layers),
        "Layers that were not named have forgotten, too. Only the named ones get new weights.",
    ),
    "biases_kept": (
        _randomised_with(each=lambda weights, draw: [draw(weights[0]), *weights[1:]]),
        "Only the first array of each layer has new values. A layer has several (kernel and bias): all of them were learnt.",
    ),
    "seed_ignored": (
        _randomised_with(rng_of=lambda seed: np.random.default_rng()),
        "The same seed gave two different networks. Make a generator from the seed, `np.random.default_rng(seed)`, and draw "
        "from it alone.",
    ),
    "same_for_every_seed": (
        _randomised_with(rng_of=lambda seed: np.random.default_rng(0)),
        "Two seeds gave the same network. Make the generator from the seed that is handed over.",
    ),
}


def _randomised_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(58 if seed is None else seed)
    filters, units = (int(n) for n in rng.choice([8, 9, 10, 11, 12], size=2, replace=False))
    inputs = {
        "seed": int(rng.integers(1, 10_000)),
        "filters": filters,
        "units": units,
        "layers": ["dense_b", "conv_b"] if rng.random() < 0.5 else ["dense_a", "conv_b"],
    }
    return [Case(f"a small network, {' and '.join(inputs['layers'])} to be forgotten", inputs)]


def _forgetful_network(inputs: Mapping[str, Any]) -> Any:
    """Two convolutions and two dense layers, whose weights (biases included) are all known and none of them zero."""
    import keras

    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((7, 6, 2)),
            layers.Conv2D(inputs["filters"], 3, activation="relu", name="conv_a"),
            layers.Conv2D(inputs["filters"] + 2, 3, activation="relu", name="conv_b"),
            layers.Flatten(),
            layers.Dense(inputs["units"] * 4, activation="relu", name="dense_a"),
            layers.Dense(inputs["units"] + 9, name="dense_b"),
        ]
    )
    rng = np.random.default_rng(inputs["seed"])
    network.set_weights([rng.normal(0.01, 0.05, size=w.shape).astype(np.float32) for w in network.get_weights()])
    return network


def _weights_of(network: Any) -> Any:
    """Layer -> its arrays, of a Keras model; for anything else what `plain` makes of it."""
    import keras

    if not isinstance(network, keras.Model):
        return plain(network)
    return {layer.name: [plain(w) for w in layer.get_weights()] for layer in network.layers if layer.get_weights()}


def _collect_randomised(answer: Any, case: Case) -> Arrays:
    network, seed = _forgetful_network(case.inputs), case.inputs["seed"]
    first = _weights_of(answer(network, list(case.inputs["layers"]), seed))
    after = _weights_of(network)
    again, other = (
        _weights_of(answer(_forgetful_network(case.inputs), list(case.inputs["layers"]), s)) for s in (seed, seed + 1)
    )
    return {"first": first, "after": after, "again": again, "other": other}


def _same_weights(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))


def _judge_randomised(arrays: Arrays, case: Case) -> Verdict:
    def mistake(name: str) -> Verdict:
        return wrong(_RANDOMISED_WRONG[name][1], name)

    before, first = _weights_of(_forgetful_network(case.inputs)), arrays["first"]
    if first is None:
        return wrong("The result is None. Is a `return` missing?", "nothing_returned")
    for found in (first, arrays["again"], arrays["other"]):
        if not (isinstance(found, dict) and all(isinstance(found.get(name), list) for name in before)):
            what = "something else" if isinstance(found, dict) else described(found)
            return wrong(f"A Keras model with the same layers is asked for; the result is {what}.", "not_a_model")
    if not all(_same_weights(arrays["after"][name], before[name]) for name in before):
        return mistake("original_changed")
    named = case.inputs["layers"]
    kept = [name for name in before if name not in named and _same_weights(first[name], before[name])]
    if len(kept) < len(before) - len(named):
        # A clone's fresh biases are zero, which no random draw gives.
        fresh = [name for name in before if name not in named and not np.any(first[name][-1])]
        return mistake("weights_not_copied" if fresh else "all_layers")
    unchanged = [name for name in named if _same_weights(first[name], before[name])]
    if unchanged:
        return mistake("nothing_changed" if len(unchanged) == len(named) else "only_the_first")
    return _verdict_on_draws(arrays, case, before) or passed()


def _verdict_on_draws(arrays: Arrays, case: Case, before: Mapping[str, list]) -> Verdict | None:
    """What is wrong with the new weights of the named layers, or None."""

    def mistake(name: str) -> Verdict:
        return wrong(_RANDOMISED_WRONG[name][1], name)

    first = arrays["first"]
    pairs = [pair for name in case.inputs["layers"] for pair in zip(before[name], first[name], strict=False)]
    if any(new.shape != old.shape or not np.isfinite(new).all() for old, new in pairs):
        return wrong("The new weights hold NaN or infinity, or have other shapes than the old ones.", "not_finite")
    if any(same(new, old) for old, new in pairs):
        return mistake("biases_kept")
    if any(not new.any() for _, new in pairs):
        return mistake("zeros")
    kernels = [(old.ravel(), new.ravel()) for old, new in pairs if old.ndim > 1]
    if any(np.corrcoef(old, new)[0, 1] > 0.3 for old, new in kernels):
        return mistake("noise_added")
    sizes = [np.sqrt((new**2).mean() / (old**2).mean()) for old, new in kernels]
    if max(sizes) > 1.3 or min(sizes) < 0.75:  # of hundreds of weights, drawn with the right size: within 1 +- 0.15
        return mistake("scale_lost")
    for name in case.inputs["layers"]:
        if not _same_weights(first[name], arrays["again"][name]):
            return mistake("seed_ignored")
    if all(_same_weights(first[name], arrays["other"][name]) for name in case.inputs["layers"]):
        return mistake("same_for_every_seed")
    return None


RANDOMISED = Exercise(
    id="08.randomised",
    title="A network that forgets",
    answer="randomised",
    points=3,
    minutes=9,
    difficulty="medium",
    hints=(
        "First a copy that knows all that the original knows: `keras.models.clone_model` copies the layers, and `set_weights` "
        "with the original's `get_weights` gives it the memory.",
        "Then for each name: the copy's `get_layer` finds the layer, and `get_weights()` of that is a list of arrays. Make a list "
        "of new arrays of the same shapes and hand it to that layer's `set_weights`.",
        "A new array: normal values from `np.random.default_rng(seed)` (one generator for all layers), times the root mean square "
        "of the old array.",
    ),
    cases=_randomised_cases,
    collect=_collect_randomised,
    judge=_judge_randomised,
    reference=lambda: _randomised,
    wrong={
        **as_answers(_RANDOMISED_WRONG),
        "nothing_returned": lambda: lambda model, layers, seed: None,
        "not_a_model": lambda: lambda model, layers, seed: model.get_weights(),
    },
    right={
        "variable by variable": lambda: _randomised_by_variables,
        "shuffled": lambda: _randomised_by_shuffling,
        "labutils' own": lambda: _randomised_by_labutils,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 08.cure
# ---------------------------------------------------------------------------------------------------------------------


def _cure(images: Any, box: Any, seed: int) -> Any:
    top, left, bottom, right = box
    rng = np.random.default_rng(seed)
    cured = images.copy()
    cured[:, top:bottom, left:right] = 0
    marked = rng.random(len(images)) < 0.5
    cured[marked, top:bottom, left:right] = 1
    return cured


def _cure_in_a_loop(images: Any, box: Any, seed: int) -> Any:
    import random

    dice, result = random.Random(seed), []
    for image in images:
        image = np.array(image)
        image[box[0] : box[2], box[1] : box[3]] = dice.choice([0, 1])
        result.append(image)
    return np.stack(result)


def _cure_by_exact_halves(images: Any, box: Any, seed: int) -> Any:
    inside = np.zeros(images.shape[1:], bool)
    inside[box[0] : box[2], box[1] : box[3]] = True
    values = np.random.default_rng(seed).permutation(len(images)) % 2
    return np.where(inside, values.reshape(-1, 1, 1, 1), images)


def _cured_with(
    values: Callable[[np.random.Generator, np.ndarray], Any],
    *,
    box_of: Callable[[Any], Any] = lambda box: box,
    rng_of: Callable[[int], np.random.Generator] = np.random.default_rng,
    copied: bool = True,
) -> Callable:
    """A student's answer: what the corner becomes, given what it is, (n, height, width, 1); None leaves it."""

    def answer(images: Any, box: Any, seed: int) -> Any:
        top, left, bottom, right = box_of(box)
        cured = images.copy() if copied else images
        corner = cured[:, top:bottom, left:right]
        cured[:, top:bottom, left:right] = np.broadcast_to(values(rng_of(seed), corner), corner.shape)
        return cured

    return answer


def _coins(rng: np.random.Generator, corner: np.ndarray) -> np.ndarray:
    return (rng.random((len(corner), 1, 1, 1)) < 0.5).astype(corner.dtype)


_CURE_WRONG: dict[str, tuple[Callable, str]] = {
    "still_tied": (
        _cured_with(lambda rng, corner: np.where(_coins(rng, corner) > 0, 1, corner)),
        "The chosen half gets the mark, but the others keep what they had: all images of the class that had the mark still have "
        "it, and the mark still says something. The ones that were not chosen need an empty corner.",
    ),
    "half_of_the_marked": (
        _cured_with(lambda rng, corner: np.where(_coins(rng, corner) > 0, 0, corner)),
        "The mark is gone from half of the images that had it, and no other image has got one: where there is a mark, it still "
        "says the class. Every image, whatever its class, has to have the same chance of one.",
    ),
    "none_marked": (
        _cured_with(lambda rng, corner: 0),
        "No image has a mark any more. The network cannot use it then, but it never learns to ignore it either: what it will "
        "say to a photo with a mark is anybody's guess. About half of them, at random, keep (or get) one.",
    ),
    "all_marked": (
        _cured_with(lambda rng, corner: 1),
        "Every image has the mark now. It tells nothing any more, but the network has never seen an image without one. A random "
        "half is to have it.",
    ),
    "other_classes_marked": (
        _cured_with(lambda rng, corner: 1 - corner),
        "Those without the mark have it now, and those with it have lost it: the mark says which class it is *not*. Chance must "
        "decide, not what an image had.",
    ),
    "pixels_at_random": (
        _cured_with(lambda rng, corner: (rng.random(corner.shape) < 0.5).astype(corner.dtype)),
        "Each pixel of the corner was drawn for itself. Chance decides once for each image: the whole mark or an empty corner.",
    ),
    "first_half": (
        _cured_with(lambda rng, corner: (np.arange(len(corner)) < len(corner) // 2).reshape(-1, 1, 1, 1)),
        "The first half of the images was marked, not a random one. If they come sorted by class, the mark still tells the class.",
    ),
    "wrong_corner": (
        _cured_with(_coins, box_of=lambda box: (box[1], box[0], box[3], box[2])),
        "You changed pixels outside the box: rows and columns have changed places. The box is (top, left, bottom, right).",
    ),
    "seed_ignored": (
        _cured_with(_coins, rng_of=lambda seed: np.random.default_rng()),
        "The same seed gave two different results. Draw from `np.random.default_rng(seed)`, so that you can repeat it.",
    ),
    "original_changed": (
        _cured_with(_coins, copied=False),
        "The images that were handed over have changed. Work on a copy: you will want to compare before and after.",
    ),
}


def _cure_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(68 if seed is None else seed)
    height, width = _two_sides(rng, [11, 12, 13, 14])
    top, left = (int(n) for n in rng.choice([0, 1, 2], size=2, replace=False))
    inputs = {
        "seed": int(rng.integers(1, 10_000)),
        "shape": [160, height, width, 1],
        "box": [top, left, top + 3, left + 4],
    }
    return [Case(f"160 images of {height} x {width}, sorted by class", inputs)]


def _cure_images(inputs: Mapping[str, Any]) -> np.ndarray:
    """Images of grey values; the last quarter, one class, carries the mark (1), all others have an empty corner (0)."""
    rng = np.random.default_rng(inputs["seed"])
    images = rng.uniform(0.1, 0.9, size=inputs["shape"]).astype(np.float32)
    top, left, bottom, right = inputs["box"]
    images[:, top:bottom, left:right] = 0
    images[-len(images) // 4 :, top:bottom, left:right] = 1
    return images


def _collect_cure(answer: Any, case: Case) -> Arrays:
    images, box, seed = _cure_images(case.inputs), tuple(case.inputs["box"]), case.inputs["seed"]
    cured = plain(answer(images, box, seed))
    return {"cured": cured, "images": plain(images), "again": plain(answer(_cure_images(case.inputs), box, seed))}


def _judge_cure(arrays: Arrays, case: Case) -> Verdict:
    def mistake(name: str) -> Verdict:
        return wrong(_CURE_WRONG[name][1], name)

    images, cured = _cure_images(case.inputs), arrays["cured"]
    problem = first_problem(cured, images.shape, what="The result", axes="images, height, width, 1")
    if problem:
        return problem
    if not same(arrays["images"], images):
        return mistake("original_changed")
    top, left, bottom, right = case.inputs["box"]
    outside = np.ones(images.shape[1:], bool)
    outside[top:bottom, left:right] = False
    if not same(cured[:, outside], images[:, outside]):
        return mistake("wrong_corner")
    corners = cured[:, ~outside]
    if not ((corners == 0) | (corners == 1)).all():
        return wrong("In the box, only 1 (the mark) and 0 (an empty corner) are asked for; there are other values.")
    if (corners != corners[:, :1]).any():
        return mistake("pixels_at_random")
    marked, had = corners[:, 0] == 1, images[:, top, left, 0] == 1
    if marked.all() or not marked.any():
        return mistake("all_marked" if marked.all() else "none_marked")
    if marked[had].all() or not marked[~had].any():
        return mistake("still_tied" if marked[had].all() else "half_of_the_marked")
    if (marked == ~had).all():
        return mistake("other_classes_marked")
    if (marked == (np.arange(len(marked)) < len(marked) // 2)).all():
        return mistake("first_half")
    if not same(arrays["again"], cured):
        return mistake("seed_ignored")
    # 40 images of one class and 120 of the others: a fair coin leaves these limits less than once in ten thousand times.
    if abs(marked[had].mean() - 0.5) > 0.32 or abs(marked[~had].mean() - 0.5) > 0.18:
        return wrong(
            f"Of the class that had the mark, {marked[had].mean():.0%} have it now; of the others {marked[~had].mean():.0%}. "
            "About half is asked for, of both."
        )
    return passed()


CURE = Exercise(
    id="08.cure",
    title="Make the mark worthless",
    answer="cure",
    points=3,
    minutes=8,
    difficulty="medium",
    hints=(
        "Two steps on a copy: first take the mark away from everybody, then give it to some, each by a toss of its own.",
        "A coin for each image: `np.random.default_rng(seed).random(len(images)) < 0.5` is an array of truth values, and such an "
        "array can stand as the first index.",
        "`cured[:, top:bottom, left:right]` is the corner of all images; with the truth values in place of the `:` it is that of the "
        "chosen ones. Set the first to 0, then the second to 1.",
    ),
    cases=_cure_cases,
    collect=_collect_cure,
    judge=_judge_cure,
    reference=lambda: _cure,
    wrong={**as_answers(_CURE_WRONG), "nothing_returned": lambda: lambda images, box, seed: None},
    right={
        "a loop": lambda: _cure_in_a_loop,
        "exact halves": lambda: _cure_by_exact_halves,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 08.mean_ranks
# ---------------------------------------------------------------------------------------------------------------------


def _mean_ranks(scores: Any, higher_is_better: Any) -> Any:
    from scipy.stats import rankdata

    badness = np.where(higher_is_better, -scores, scores)
    return rankdata(badness, axis=0).mean(axis=1)


def _mean_ranks_by_counting(scores: Any, higher_is_better: Any) -> Any:
    methods, metrics = scores.shape
    result = np.zeros(methods)
    for metric in range(metrics):
        column = scores[:, metric] * (-1 if higher_is_better[metric] else 1)
        for method in range(methods):
            better, equal = (column < column[method]).sum(), (column == column[method]).sum()
            result[method] += (1 + better + (equal - 1) / 2) / metrics
    return result


def _mean_ranks_column_by_column(scores: Any, higher_is_better: Any) -> Any:
    from scipy.stats import rankdata

    columns = zip(scores.T, higher_is_better, strict=True)
    return np.mean([rankdata(-column if higher else column) for column, higher in columns], axis=0).tolist()


def _ranks_with(
    *,
    badness: Callable[[Any, Any], Any] = lambda scores, higher: np.where(higher, -scores, scores),
    rank: Callable[[Any], Any] | None = None,
    average: Callable[[Any], Any] = lambda ranks: ranks.mean(axis=1),
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(scores: Any, higher_is_better: Any) -> Any:
        from scipy.stats import rankdata

        values = badness(scores, np.asarray(higher_is_better, bool))
        return average(rankdata(values, axis=0) if rank is None else rank(values))

    return answer


def _rank_ties_by(method: str) -> Callable[[Any], Any]:
    from scipy.stats import rankdata

    return lambda values: rankdata(values, axis=0, method=method)


def _ranked_across(values: Any) -> Any:
    from scipy.stats import rankdata

    return rankdata(values, axis=1)


_RANKS_WRONG: dict[str, tuple[Callable, str]] = {
    "direction_ignored": (
        _ranks_with(badness=lambda scores, higher: scores),
        "Low is taken for good in every column. Where `higher_is_better` is true, the highest score gets rank 1.",
    ),
    "high_is_good_everywhere": (
        _ranks_with(badness=lambda scores, higher: -scores),
        "High is taken for good in every column. Where `higher_is_better` is false, the lowest score gets rank 1.",
    ),
    "best_gets_the_largest": (
        _ranks_with(badness=lambda scores, higher: np.where(higher, scores, -scores)),
        "The best has the largest rank here, and the worst has 1. Rank 1 is for the best.",
    ),
    "argsort_once": (
        _ranks_with(rank=lambda values: 1 + np.argsort(values, axis=0, kind="stable")),
        "`argsort` says which method comes first, which second ...; it is the order, not the ranks. At each method you want its "
        "place in that order.",
    ),
    "counted_from_0": (
        _ranks_with(average=lambda ranks: ranks.mean(axis=1) - 1),
        "The best has rank 0 here. It should be 1.",
    ),
    "ties_by_order": (
        _ranks_with(rank=_rank_ties_by("ordinal")),
        "Methods with equal scores got different ranks, the one that is listed first the better one. Equals share the mean of "
        "their ranks.",
    ),
    "ties_take_the_best": (
        _ranks_with(rank=_rank_ties_by("min")),
        "Methods with equal scores all got the best of their ranks, so that ties are rewarded. They share the mean of their ranks.",
    ),
    "ties_dense": (
        _ranks_with(rank=_rank_ties_by("dense")),
        "After a tie the ranks go on without a gap. Two that share ranks 1 and 2 get 1.5 each, and the next one gets 3.",
    ),
    "ranked_across_metrics": (
        _ranks_with(rank=_ranked_across),
        "You ranked the columns of each method against each other: seconds against areas. Rank the methods within each column.",
    ),
    "mean_over_methods": (
        _ranks_with(average=lambda ranks: ranks.mean(axis=0)),
        "This is one number for each column. The mean is over the columns, one number for each method.",
    ),
    "values_averaged": (
        _ranks_with(rank=lambda values: values),
        "You averaged the scores themselves. Their units have nothing to do with each other, and the one with the largest numbers "
        "decides: rank them first.",
    ),
    "summed": (
        _ranks_with(average=lambda ranks: ranks.sum(axis=1)),
        "These are sums of ranks. Take the mean over the columns, which stays between 1 and the number of methods.",
    ),
}  # fmt: skip


def _ranks_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(78 if seed is None else seed)
    cases = []
    while len(cases) < 2:
        methods, metrics = (int(n) for n in rng.choice([4, 5, 6, 7], size=2, replace=False))
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "shape": [methods, metrics],
            "higher": [bool(b) for b in rng.permutation(np.arange(metrics) % 2 == 0)],
        }
        if _ranks_tell(inputs):
            cases.append(Case(f"{methods} methods, {metrics} metrics", inputs))
    return cases


def _ranks_inputs(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(inputs["seed"])
    # Whole tenths, so that there are ties; each column in a unit of its own.
    scores = rng.integers(0, 6, size=inputs["shape"]) / 10 * 10.0 ** rng.integers(0, 3, size=inputs["shape"][1])
    return scores, np.array(inputs["higher"])


def _ranks_tell(inputs: Mapping[str, Any]) -> bool:
    asked = _ranks_inputs(inputs)
    found = [_mean_ranks(*asked), *(twin(*asked) for twin, _ in _RANKS_WRONG.values())]
    found = [values for values in found if values.shape == found[0].shape]
    gaps = [np.abs(a - b).max() for i, a in enumerate(found) for b in found[:i]]
    return min(gaps) > 0.05


def _judge_ranks(arrays: Arrays, case: Case) -> Verdict:
    asked = _ranks_inputs(case.inputs)
    return verdict_on_array(
        _as_array(arrays["ranks"]),
        _mean_ranks(*asked),
        results_of(_RANKS_WRONG, *asked),
        what="The result",
        axes="methods",
        otherwise="The shape is right; the numbers are not the means of the methods' ranks.",
    )


MEAN_RANKS = Exercise(
    id="08.mean_ranks",
    title="Who wins?",
    answer="mean_ranks",
    points=2,
    minutes=7,
    difficulty="medium",
    hints=(
        "First make all columns point the same way: turn the sign of those where higher is better, so that low is good everywhere.",
        "Then rank within each column, that is along axis 0. `scipy.stats.rankdata` gives 1 to the lowest, and equals share the "
        "mean of their ranks.",
        "`np.where(higher_is_better, ..., ...)` chooses column by column; `rankdata` has `axis`; the mean at the end is over the "
        "columns, axis 1.",
    ),
    cases=_ranks_cases,
    collect=lambda answer, case: {"ranks": plain(answer(*_ranks_inputs(case.inputs)))},
    judge=_judge_ranks,
    reference=lambda: _mean_ranks,
    wrong={**as_answers(_RANKS_WRONG), "nothing_returned": lambda: lambda scores, higher_is_better: None},
    right={
        "counting": lambda: _mean_ranks_by_counting,
        "column by column": lambda: _mean_ranks_column_by_column,
    },
)

EXERCISES = (
    PIXEL_ORDER,
    DELETION_SCORES,
    AREA,
    IS_HIT,
    SHARE_INSIDE,
    RANDOMISED,
    CURE,
    MEAN_RANKS,
)
