"""Exercises of notebook 05: tokens, one head, attention rollout, its gradient-weighted form, and comparing two maps.

All answers are functions of arrays, so that the cases need no network: attention is drawn at random, with other numbers
of layers, photos, heads and patches for every seed, and grids that are not square. Every judge knows the right numbers
and those that each common mistake would give.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from labutils.course.exercise import Arrays, Case, Exercise, Verdict
from labutils.course.judging import RTOL, as_answers, as_number, passed, plain, results_of, verdict_on_array, wrong

Mistakes = Mapping[str, tuple[Any, str]]

# ---------------------------------------------------------------------------------------------------------------------
# What the cases are made of
# ---------------------------------------------------------------------------------------------------------------------


def _attention_cases(seed: int | None, *, what: str = "attention") -> list[Case]:
    """Attention of (layers, photos, heads, tokens, tokens), no two of the first three lengths the same."""
    rng = np.random.default_rng(3 if seed is None else seed)
    cases = []
    for _ in range(2):
        layers = int(rng.integers(3, 6))
        photos, heads = (int(n) for n in rng.choice([n for n in (2, 3, 4, 5) if n != layers], size=2, replace=False))
        rows, columns = (int(n) for n in rng.choice([3, 4, 5, 6], size=2, replace=False))
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "shape": [layers, photos, heads, 1 + rows * columns, 1 + rows * columns],
            "grid": [rows, columns],
            "layer": int(rng.integers(0, layers - 1)),  # never the last
            "head": int(rng.integers(1, heads)),  # never the first
        }
        name = f"{what} of {layers} layers, {photos} photos, {heads} heads, {rows} x {columns} patches"
        cases.append(Case(name, inputs))
    return cases


def _attention(inputs: Mapping[str, Any]) -> np.ndarray:
    """Random attention whose rows sum to 1."""
    scores = np.random.default_rng(inputs["seed"]).normal(0, 2, inputs["shape"])
    return _softmax(scores).astype(np.float32)


def _gradients(inputs: Mapping[str, Any]) -> np.ndarray:
    return np.random.default_rng(inputs["seed"] + 1).normal(0, 2, inputs["shape"]).astype(np.float32)


def _softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


# ---------------------------------------------------------------------------------------------------------------------
# 05.prepare
# ---------------------------------------------------------------------------------------------------------------------


def _prepare(photos: Any) -> Any:
    return photos.astype("float32") / 127.5 - 1


def _prepare_by_labutils(photos: Any) -> Any:
    from labutils.vit import preprocess_input

    return preprocess_input(photos.astype("float32"))


def _prepare_in_tensorflow(photos: Any) -> Any:
    import tensorflow as tf

    return tf.cast(photos, tf.float32) * (2 / 255) - 1


def _prepare_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(5 if seed is None else seed)
    cases = []
    for count in (2, 1):
        height, width = (int(n) for n in rng.choice([5, 6, 7, 8, 9], size=2, replace=False))
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [count, height, width, 3]}
        cases.append(Case(f"{count} photo(s) of {height} x {width}", inputs))
    return cases


def _photos(inputs: Mapping[str, Any]) -> np.ndarray:
    """Random RGB photos, uint8, that do not reach from 0 to 255: each has its own darkest and brightest value."""
    rng = np.random.default_rng(inputs["seed"])
    darkest = rng.integers(10, 60, size=(inputs["shape"][0], 1, 1, 1))
    return (darkest + rng.integers(0, 180, size=inputs["shape"])).astype(np.uint8)


def _stretched(photos: np.ndarray) -> np.ndarray:
    values = photos.astype("float32")
    low, high = (bound(axis=(1, 2, 3), keepdims=True) for bound in (values.min, values.max))
    return 2 * (values - low) / (high - low) - 1


def _as_vgg16_wants(photos: np.ndarray) -> np.ndarray:
    from labutils.vgg16 import preprocess_input

    return np.asarray(preprocess_input(photos.astype("float32")))


def _judge_prepare(arrays: Arrays, case: Case) -> Verdict:
    photos = _photos(case.inputs)
    expected = _prepare(photos)
    mistakes = {
        "unpreprocessed": (photos, "These are still the photos' own values, 0 to 255."),
        "zero_to_one": (
            photos / 255,
            "These values go from 0 to 1. The ViT was trained on -1 to 1: what is black to it is middle grey to you.",
        ),
        "minus_half": (photos / 255 - 0.5, "These values go from -0.5 to 0.5, half as far as they should."),
        "as_for_vgg16": (
            _as_vgg16_wants(photos),
            "This is what VGG16 takes: BGR minus the mean colour. Each network wants the preprocessing that it was "
            "trained with.",
        ),
        "bgr": (expected[..., ::-1], "Red and blue have changed places. The ViT takes RGB, as the photos have it."),
        "stretched": (
            _stretched(photos),
            "Each photo is stretched to its own darkest and brightest value. The same grey must always give the same "
            "number, whatever else is in the photo.",
        ),
        "inverted": (-expected, "Black should become -1 and white 1, not the other way round."),
    }
    return verdict_on_array(
        arrays["prepared"],
        expected,
        mistakes,
        what="The result",
        axes="photos, height, width, colours",
        otherwise="The shape is right, the values are not: 0 should become -1, and 255 should become 1.",
    )


PREPARE = Exercise(
    id="05.prepare",
    title="What the ViT takes",
    answer="prepare",
    points=1,
    minutes=3,
    difficulty="easy",
    hints=(
        "Two steps: a division that takes 0 ... 255 to 0 ... 2, then a subtraction.",
        "What is half of 255? Make floats of the integers first, or let the division do it.",
        "Divide by 127.5, subtract 1. Nothing depends on the photo, and the colours keep their order.",
    ),
    cases=_prepare_cases,
    collect=lambda answer, case: {"prepared": plain(answer(_photos(case.inputs)))},
    judge=_judge_prepare,
    reference=lambda: _prepare,
    wrong={
        "unpreprocessed": lambda: lambda photos: photos.astype("float32"),
        "zero_to_one": lambda: lambda photos: photos.astype("float32") / 255,
        "minus_half": lambda: lambda photos: photos / 255 - 0.5,
        "as_for_vgg16": lambda: _as_vgg16_wants,
        "bgr": lambda: lambda photos: photos[..., ::-1] / 127.5 - 1,
        "stretched": lambda: _stretched,
        "inverted": lambda: lambda photos: 1 - photos / 127.5,
        "wrong_dtype": lambda: lambda photos: (photos / 127.5 - 1).astype("int32"),
        "nothing_returned": lambda: lambda photos: None,
    },
    right={
        "labutils' own": lambda: _prepare_by_labutils,
        "TensorFlow": lambda: _prepare_in_tensorflow,
        "interpolation": lambda: lambda photos: np.interp(photos, [0, 255], [-1, 1]),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 05.read_head
# ---------------------------------------------------------------------------------------------------------------------


def _read_head(attention: Any, layer: int, head: int, grid: Any) -> Any:
    rows, columns = grid
    class_token = attention[layer, :, head, 0]
    return class_token[:, 1:].reshape(-1, rows, columns)


def _read_head_in_loops(attention: Any, layer: int, head: int, grid: Any) -> Any:
    maps = np.zeros((attention.shape[1], *grid))
    for photo in range(attention.shape[1]):
        for row in range(grid[0]):
            for column in range(grid[1]):
                maps[photo, row, column] = attention[layer][photo][head][0][1 + row * grid[1] + column]
    return maps


def _read_head_in_tensorflow(attention: Any, layer: int, head: int, grid: Any) -> Any:
    import tensorflow as tf

    rows = tf.gather(tf.convert_to_tensor(attention)[layer], head, axis=1)[:, 0, :]
    _, patches = tf.split(rows, [1, -1], axis=1)
    return tf.reshape(patches, (-1, *grid))


def _read_head_by_token_map(attention: Any, layer: int, head: int, grid: Any) -> Any:
    from labutils.explain import token_map

    return token_map(attention[layer][:, head], tuple(grid))


def _read_head_with(
    *,
    row_of: Callable[[np.ndarray], np.ndarray] = lambda matrices: matrices[:, 0, 1:],
    matrices_of: Callable[..., np.ndarray] = lambda attention, layer, head: attention[layer][:, head],
    finish: Callable[[np.ndarray, Any], Any] = lambda rows, grid: rows.reshape(-1, *grid),
) -> Callable:
    """A student's answer with something wrong in it."""
    return lambda attention, layer, head, grid: finish(row_of(matrices_of(attention, layer, head)), grid)


_READ_HEAD_WRONG: dict[str, tuple[Callable, str]] = {
    "column_not_row": (
        _read_head_with(row_of=lambda matrices: matrices[:, 1:, 0]),
        "This is the class token's column: how much each patch takes from the class token. Its row says how much the "
        "class token takes from each patch.",
    ),
    "class_token_kept": (
        _read_head_with(row_of=lambda matrices: matrices[:, 0, :-1]),
        "The class token is still in it, as the first value, and the last patch has fallen off the end: everything is "
        "one place too far.",
    ),
    "row_of_a_patch": (
        _read_head_with(row_of=lambda matrices: matrices[:, 1, 1:]),
        "This is the row of the first patch. The class token is token 0.",
    ),
    "transposed": (
        _read_head_with(finish=lambda rows, grid: rows.reshape(-1, *grid[::-1]).transpose(0, 2, 1)),
        "The patches were laid out column by column. They come row by row: first the whole top row from left to right.",
    ),
    "rows_and_columns_swapped": (
        _read_head_with(finish=lambda rows, grid: rows.reshape(-1, *grid[::-1])),
        "Rows and columns of the grid have changed places: `grid` is (rows, columns).",
    ),
    "not_reshaped": (
        _read_head_with(finish=lambda rows, grid: rows),
        "The numbers are right and still in one line for each photo. Lay them out as the grid of patches.",
    ),
    "whole_row": (
        _read_head_with(row_of=lambda matrices: matrices[:, 0], finish=lambda rows, grid: rows),
        "This is the class token's whole row, its attention to itself included. Drop that one, then lay out the rest as "
        "the grid of patches.",
    ),
    "heads_averaged": (
        _read_head_with(matrices_of=lambda attention, layer, head: attention[layer].mean(axis=1)),
        "This is the mean over all heads, whichever is asked for.",
    ),
    "first_head": (
        _read_head_with(matrices_of=lambda attention, layer, head: attention[layer][:, 0]),
        "This is head 0, whichever is asked for.",
    ),
    "last_layer": (
        _read_head_with(matrices_of=lambda attention, layer, head: attention[-1][:, head]),
        "This is the last layer, whichever is asked for.",
    ),
    "one_photo": (
        _read_head_with(finish=lambda rows, grid: rows[0].reshape(grid)),
        "This is the first photo's map alone. One map for each photo is asked for.",
    ),
    "scaled": (
        _read_head_with(finish=lambda rows, grid: (rows / rows.max(axis=1, keepdims=True)).reshape(-1, *grid)),
        "Each map was divided by its largest value. Leave the shares as they are: the figure does the scaling.",
    ),
    "patches_made_to_sum_to_one": (
        _read_head_with(finish=lambda rows, grid: (rows / rows.sum(axis=1, keepdims=True)).reshape(-1, *grid)),
        "The patches' shares were made to sum to 1. They sum to less, since the class token takes some from itself.",
    ),
}


def _judge_read_head(arrays: Arrays, case: Case) -> Verdict:
    attention, inputs = _attention(case.inputs), case.inputs
    asked = attention, inputs["layer"], inputs["head"], tuple(inputs["grid"])
    return verdict_on_array(
        arrays["maps"],
        _read_head(*asked),
        results_of(_READ_HEAD_WRONG, *asked),
        what="The result",
        axes="photos, rows, columns",
        otherwise="The shape is right; the values are not those of the class token's row in that layer and head.",
    )


READ_HEAD = Exercise(
    id="05.read_head",
    title="Read one head",
    answer="read_head",
    points=2,
    minutes=5,
    difficulty="easy",
    hints=(
        "The axes are (layers, photos, heads, tokens, tokens). Two of them you index, one you keep; what is left is a "
        "matrix for each photo.",
        "Row i of the matrix belongs to token i, and token 0 is the class token. Which entry of its row is no patch?",
        "Take the layer, all photos, the head, row 0; leave out the first value; `reshape` to the number of photos (or "
        "-1), rows, columns.",
    ),
    cases=_attention_cases,
    collect=lambda answer, case: {
        "maps": plain(
            answer(_attention(case.inputs), case.inputs["layer"], case.inputs["head"], tuple(case.inputs["grid"]))
        )
    },
    judge=_judge_read_head,
    reference=lambda: _read_head,
    wrong={
        **as_answers(_READ_HEAD_WRONG),
        "nothing_returned": lambda: lambda attention, layer, head, grid: None,
    },
    right={
        "loops": lambda: _read_head_in_loops,
        "TensorFlow": lambda: _read_head_in_tensorflow,
        "labutils' token_map": lambda: _read_head_by_token_map,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 05.token_at
# ---------------------------------------------------------------------------------------------------------------------


def _token_at(y: int, x: int, size: Any, grid: Any) -> Any:
    row = y // (size[0] // grid[0])
    column = x // (size[1] // grid[1])
    return 1 + row * grid[1] + column


def _token_at_by_table(y: int, x: int, size: Any, grid: Any) -> Any:
    numbers = 1 + np.arange(grid[0] * grid[1]).reshape(grid)
    patch = np.ones((size[0] // grid[0], size[1] // grid[1]), dtype=int)
    return np.kron(numbers, patch)[y, x]


def _token_at_by_shares(y: int, x: int, size: Any, grid: Any) -> Any:
    place = math.floor(y * grid[0] / size[0]), math.floor(x * grid[1] / size[1])
    return int(np.ravel_multi_index(place, grid)) + 1


def _token_at_by_counting(y: int, x: int, size: Any, grid: Any) -> Any:
    token = 0
    for top in range(0, size[0], size[0] // grid[0]):
        for left in range(0, size[1], size[1] // grid[1]):
            token += 1
            if top <= y < top + size[0] // grid[0] and left <= x < left + size[1] // grid[1]:
                return token
    raise ValueError("outside the photo")


def _place(y: int, x: int, size: Any, grid: Any) -> tuple[int, int]:
    return y * grid[0] // size[0], x * grid[1] // size[1]


def _token_with(number: Callable[[int, int, Any], Any]) -> Callable:
    """A student's answer that finds the patch and numbers it in a way of its own."""
    return lambda y, x, size, grid: number(*_place(y, x, size, grid), grid)


_TOKEN_WRONG: dict[str, tuple[Callable, str]] = {
    "class_token_forgotten": (
        _token_with(lambda row, column, grid: row * grid[1] + column),
        "One too few: token 0 is the class token, so the first patch is token 1.",
    ),
    "one_too_many": (
        _token_with(lambda row, column, grid: row * grid[1] + column + 2),
        "One too many: there is one token before the patches, and rows and columns are counted from 0.",
    ),
    "rows_counted_from_one": (
        _token_with(lambda row, column, grid: 1 + (row + 1) * grid[1] + column),
        "A whole row too far: above the patches of row 0 there is nothing to skip.",
    ),
    "times_rows": (
        _token_with(lambda row, column, grid: 1 + row * grid[0] + column),
        "To come to the next row you go past a whole row of patches. How many are there in a row?",
    ),
    "column_by_column": (
        _token_with(lambda row, column, grid: 1 + column * grid[0] + row),
        "The patches are counted column by column here; they are numbered row by row.",
    ),
    "y_and_x_swapped": (
        lambda y, x, size, grid: _token_at(x, y, size, grid),
        "`y` and `x` have changed places: `y` counts pixels downwards and tells the row.",
    ),
    "rounded": (
        lambda y, x, size, grid: 1 + round(y * grid[0] / size[0]) * grid[1] + round(x * grid[1] / size[1]),
        "Rounding moves pixels in the lower or right half of a patch into the next one. Which pixels belong to patch 0?",
    ),
    "hard_coded": (
        lambda y, x, size, grid: 1 + (y // 16) * 14 + x // 16,
        "14 x 14 patches of 16 pixels are written into the function. It should work for any `size` and `grid`.",
    ),
    "patch_of_one_side": (
        lambda y, x, size, grid: 1 + (y * grid[0] // size[0]) * grid[1] + x * grid[0] // size[0],
        "A patch's height was taken for its width too; here they differ.",
    ),
}


def _token_cases(seed: int | None) -> list[Case]:
    """Photos and grids that are not square, with pixels in the first and the last patch, at borders, and anywhere."""
    rng = np.random.default_rng(9 if seed is None else seed)
    cases = []
    for _ in range(2):
        rows, columns = (int(n) for n in rng.choice([3, 4, 5, 6, 7], size=2, replace=False))
        tall, wide = (int(n) for n in rng.choice([8, 10, 12, 14], size=2, replace=False))
        height, width = rows * tall, columns * wide
        anywhere = [[int(rng.integers(0, height)), int(rng.integers(0, width))] for _ in range(4)]
        # The last but one: (row 1, column 1) begins there. The last: the end of row 0.
        pixels = [[0, 0], [height - 1, width - 1], *anywhere, [tall, wide], [tall - 1, width - 1]]
        inputs = {"size": [height, width], "grid": [rows, columns], "pixels": pixels}
        cases.append(Case(f"{height} x {width} pixels, {rows} x {columns} patches", inputs))
    return cases


def _collect_token_at(answer: Any, case: Case) -> Arrays:
    size, grid = tuple(case.inputs["size"]), tuple(case.inputs["grid"])
    return {"tokens": [plain(answer(y, x, size, grid)) for y, x in case.inputs["pixels"]]}


def _judge_token_at(arrays: Arrays, case: Case) -> Verdict:
    size, grid, pixels = tuple(case.inputs["size"]), tuple(case.inputs["grid"]), case.inputs["pixels"]
    tokens = arrays["tokens"]
    if any(token is None for token in tokens):
        return wrong("`token_at` returned None. Is a `return` missing?", "nothing_returned")
    if any(isinstance(token, list) and len(token) == 2 for token in tokens):
        return wrong("One number is asked for: the token's, not the row and the column of its patch.", "row_and_column")
    numbers = [as_number(token) for token in tokens]
    if None in numbers:
        return wrong("One whole number is asked for: the token's.", "not_a_number")
    if any(isinstance(token, float) or (isinstance(token, np.ndarray) and token.dtype.kind == "f") for token in tokens):
        return wrong(
            "A token's number should be an integer, so that it can index an array: divide with `//`.", "not_an_integer"
        )
    for name, (twin, message) in {"": (_token_at, ""), **_TOKEN_WRONG}.items():
        if numbers == [twin(y, x, size, grid) for y, x in pixels]:
            return wrong(message, name) if name else passed()
    (y, x), found = next(
        (pixel, number)
        for pixel, number in zip(pixels, numbers, strict=True)
        if number != _token_at(*pixel, size, grid)
    )
    return wrong(
        f"For the pixel y={y}, x={x} of a photo of {size[0]} x {size[1]} pixels in {grid[0]} x {grid[1]} patches you "
        f"give token {found:g}. Find the row and the column of its patch with a pencil, then count."
    )


TOKEN_AT = Exercise(
    id="05.token_at",
    title="The token of a pixel",
    answer="token_at",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "First find out how high and how wide a patch is; then which row and column of patches the pixel is in.",
        "`y // height_of_a_patch` is the row. How many patches come before row 2, and how many tokens before any patch?",
        "The row times the patches in a row, plus the column, plus one for the class token.",
    ),
    cases=_token_cases,
    collect=_collect_token_at,
    judge=_judge_token_at,
    reference=lambda: _token_at,
    wrong={
        **as_answers(_TOKEN_WRONG),
        "not_an_integer": lambda: lambda y, x, size, grid: float(_token_at(y, x, size, grid)),
        "row_and_column": lambda: _place,
        "not_a_number": lambda: lambda y, x, size, grid: f"token {_token_at(y, x, size, grid)}",
        "nothing_returned": lambda: lambda y, x, size, grid: None,
    },
    right={
        "a table of all pixels": lambda: _token_at_by_table,
        "shares and NumPy's own numbering": lambda: _token_at_by_shares,
        "counting patches": lambda: _token_at_by_counting,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 05.one_layer and 05.rollout
# ---------------------------------------------------------------------------------------------------------------------


def _one_layer(attention: Any) -> Any:
    mixed = attention.mean(axis=1) + np.eye(attention.shape[-1])
    return mixed / mixed.sum(axis=-1, keepdims=True)


def _one_layer_in_loops(attention: Any) -> Any:
    photos, heads, tokens, _ = attention.shape
    result = np.zeros((photos, tokens, tokens))
    for photo in range(photos):
        for token in range(tokens):
            row = sum(attention[photo, head, token] for head in range(heads)) / heads
            row[token] += 1
            result[photo, token] = row / sum(row)
    return result


def _one_layer_in_tensorflow(attention: Any) -> Any:
    import tensorflow as tf

    mixed = tf.reduce_mean(attention, axis=1)
    mixed = tf.linalg.set_diag(mixed, tf.linalg.diag_part(mixed) + 1)
    return mixed / tf.reduce_sum(mixed, axis=-1, keepdims=True)


def _one_layer_by_einsum(attention: Any) -> Any:
    tokens = np.shape(attention)[-1]
    return np.einsum("phij->pij", attention) / (2 * np.shape(attention)[1]) + np.identity(tokens) / 2


def _by_rows(mixed: np.ndarray) -> np.ndarray:
    return mixed / mixed.sum(axis=-1, keepdims=True)


def _one_layer_with(
    *,
    heads: Callable[[np.ndarray], np.ndarray] = lambda attention: attention.mean(axis=1),
    skip: Callable[[np.ndarray], np.ndarray] = lambda mean: mean + np.eye(mean.shape[-1]),
    divide: Callable[[np.ndarray], np.ndarray] = _by_rows,
) -> Callable:
    """A student's answer with something wrong in it."""
    return lambda attention: divide(skip(heads(attention)))


_ONE_LAYER_WRONG: dict[str, tuple[Callable, str]] = {
    "identity_missing": (
        _one_layer_with(skip=lambda mean: mean),
        "The identity matrix is missing: the skip connection carries every token past the attention, and this matrix "
        "knows nothing of it.",
    ),
    "not_divided": (
        _one_layer_with(divide=lambda mixed: mixed),
        "The rows sum to 2: the identity has been added, and the rows have not been divided by their sums yet.",
    ),
    "whole_matrix": (
        _one_layer_with(divide=lambda mixed: mixed / mixed.sum(axis=(-2, -1), keepdims=True)),
        "The matrix was divided by the sum of all its entries. Each **row** should sum to 1: it says where one token has "
        "what it holds from.",
    ),
    "columns": (
        _one_layer_with(divide=lambda mixed: mixed / mixed.sum(axis=-2, keepdims=True)),
        "The columns sum to 1 instead of the rows. Row i says what token i is made of: its shares should sum to 1.",
    ),
    "divided_by_largest": (
        _one_layer_with(divide=lambda mixed: mixed / mixed.max(axis=-1, keepdims=True)),
        "Each row was divided by its largest value, so that it peaks at 1. It should sum to 1.",
    ),
    "softmax_again": (
        _one_layer_with(divide=_softmax),
        "A softmax was taken of attention that has been through one already. Divide each row by its sum.",
    ),
    "heads_summed": (
        _one_layer_with(heads=lambda attention: attention.sum(axis=1)),
        "The heads were added up, so that they weigh more against the skip connection the more heads there are. Take "
        "their mean.",
    ),
    "heads_max": (
        _one_layer_with(heads=lambda attention: attention.max(axis=1)),
        "This takes the strongest head for each pair of tokens. Rollout takes the mean over the heads.",
    ),
    "first_head": (
        _one_layer_with(heads=lambda attention: attention[:, 0]),
        "Only head 0 is in it. Rollout takes the mean over all heads.",
    ),
    "ones_added": (
        _one_layer_with(skip=lambda mean: mean + 1),
        "1 was added everywhere. The skip connection hands each token on to **itself** alone: only the diagonal gets a 1.",
    ),
}


def _judge_one_layer(arrays: Arrays, case: Case) -> Verdict:
    attention = _attention(case.inputs)[case.inputs["layer"]]
    mistakes = results_of(_ONE_LAYER_WRONG, attention)
    mistakes["photos_averaged"] = (
        _by_rows(attention.mean(axis=0) + np.eye(attention.shape[-1])),
        "You averaged over the photos and kept the heads. It is the other way round.",
    )
    mistakes["heads_kept"] = (
        _by_rows(attention + np.eye(attention.shape[-1])),
        "There is still one matrix for each head; their mean is asked for.",
    )
    return verdict_on_array(
        arrays["matrices"],
        _one_layer(attention),
        mistakes,
        what="The result",
        axes="photos, tokens, tokens",
        otherwise="The shape is right, the numbers are not. The order is: mean over the heads, plus the identity, each "
        "row divided by its sum.",
    )


ONE_LAYER = Exercise(
    id="05.one_layer",
    title="One layer as a matrix",
    answer="one_layer",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "The axes are (photos, heads, tokens, tokens). Average one of them away; then two more steps.",
        "`np.eye(n)` is the identity. What do the rows sum to once you have added it, and what should they sum to?",
        "The mean over axis 1, plus `np.eye` of the number of tokens; then divide by the sum over the last axis, kept as "
        "an axis of length 1 (`keepdims=True`).",
    ),
    cases=lambda seed: _attention_cases(seed, what="one layer's attention, out"),
    collect=lambda answer, case: {"matrices": plain(answer(_attention(case.inputs)[case.inputs["layer"]]))},
    judge=_judge_one_layer,
    reference=lambda: _one_layer,
    wrong={
        **as_answers(_ONE_LAYER_WRONG),
        "photos_averaged": lambda: lambda attention: _by_rows(attention.mean(axis=0) + np.eye(attention.shape[-1])),
        "heads_kept": lambda: lambda attention: _by_rows(attention + np.eye(attention.shape[-1])),
        "nothing_returned": lambda: lambda attention: None,
    },
    right={
        "loops": lambda: _one_layer_in_loops,
        "TensorFlow, ones added on the diagonal": lambda: _one_layer_in_tensorflow,
        "einsum, and half of each": lambda: _one_layer_by_einsum,
    },
)


def _rollout(attention: Any) -> Any:
    result = np.eye(attention.shape[-1])
    for layer in attention:
        result = _one_layer(layer) @ result
    return result


def _rollout_by_reduce(attention: Any) -> Any:
    return functools.reduce(lambda below, layer: np.matmul(layer, below), [_one_layer(layer) for layer in attention])


def _rollout_by_einsum(attention: Any) -> Any:
    result = _one_layer(attention[-1])
    for layer in attention[-2::-1]:
        result = np.einsum("pij,pjk->pik", result, _one_layer_in_loops(layer))
    return result


def _rollout_in_tensorflow(attention: Any) -> Any:
    import tensorflow as tf

    matrices = tf.map_fn(_one_layer_in_tensorflow, tf.convert_to_tensor(attention))
    result = matrices[0]
    for layer in range(1, len(attention)):
        result = tf.matmul(matrices[layer], result)
    return result


def _rollout_by_labutils(attention: Any) -> Any:
    from labutils.explain import rollout

    return rollout(attention)


def _divided_at_the_end(attention: Any) -> Any:
    photos, tokens = attention.shape[1], attention.shape[-1]
    matrices = attention.mean(axis=2) + np.eye(tokens)
    product = np.stack([np.linalg.multi_dot(matrices[::-1, photo]) for photo in range(photos)])
    return product / product.sum(axis=2)[..., None]


def _rollout_with(
    *,
    layer: Callable[[np.ndarray], np.ndarray] = _one_layer,
    combine: Callable[[list[np.ndarray]], np.ndarray] = lambda matrices: functools.reduce(
        lambda below, above: above @ below, matrices
    ),
    finish: Callable[[np.ndarray], Any] = lambda result: result,
) -> Callable:
    """A student's answer with something wrong in it."""
    return lambda attention: finish(combine([layer(one) for one in attention]))


_IN_A_LAYER = "identity_missing", "not_divided", "whole_matrix", "columns", "heads_summed", "heads_max", "first_head"
"""What can go wrong in one layer can go wrong in all of them."""

_ROLLOUT_WRONG: dict[str, tuple[Callable, str]] = {
    "first_to_last": (
        _rollout_with(combine=lambda matrices: functools.reduce(np.matmul, matrices)),
        "The layers are multiplied from the first to the last. The last layer's matrix stands on the left: it asks the "
        "layer below where *its* tokens come from.",
    ),
    "elementwise": (
        _rollout_with(combine=lambda matrices: np.prod(matrices, axis=0)),
        "The matrices were multiplied entry by entry (`*`). What flows through two layers is their matrix product (`@`).",
    ),
    "layers_averaged": (
        _rollout_with(combine=lambda matrices: np.mean(matrices, axis=0)),
        "This is the mean over the layers. What flows through one layer after the other is a product.",
    ),
    "layers_added": (
        _rollout_with(combine=lambda matrices: np.sum(matrices, axis=0)),
        "This is the sum of the layers. What flows through one layer after the other is a product.",
    ),
    "last_layer_only": (
        _rollout_with(combine=lambda matrices: matrices[-1]),
        "This is the last layer alone. The layers below it have mixed the tokens already.",
    ),
    "first_layer_only": (
        _rollout_with(combine=lambda matrices: matrices[0]),
        "This is the first layer alone. Is the result of each round kept for the next one?",
    ),
    "first_layer_missing": (
        _rollout_with(combine=lambda matrices: functools.reduce(lambda below, above: above @ below, matrices[1:])),
        "The first layer is missing from the product.",
    ),
    "last_layer_missing": (
        _rollout_with(combine=lambda matrices: functools.reduce(lambda below, above: above @ below, matrices[:-1])),
        "The last layer is missing from the product.",
    ),
    "transposed": (
        _rollout_with(finish=lambda result: np.swapaxes(result, -1, -2)),
        "Rows and columns of the result have changed places. Row i should say where token i of the last layer comes "
        "from.",
    ),
    "class_token_only": (
        _rollout_with(finish=lambda result: result[:, 0]),
        "This is the class token's row alone. Give the whole matrix, (photos, tokens, tokens); the row is read from it "
        "later.",
    ),
    **{
        name: (_rollout_with(layer=twin), message)
        for name, (twin, message) in _ONE_LAYER_WRONG.items()
        if name in _IN_A_LAYER
    },
}


def _judge_rollout(arrays: Arrays, case: Case) -> Verdict:
    attention = _attention(case.inputs)
    return verdict_on_array(
        arrays["rollout"],
        _rollout(attention),
        results_of(_ROLLOUT_WRONG, attention),
        what="The result",
        axes="photos, tokens, tokens",
        otherwise="The shape is right, the numbers are not those of the product of all layers' matrices.",
    )


ROLLOUT = Exercise(
    id="05.rollout",
    title="Attention rollout",
    answer="rollout",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "`one_layer` gives each layer's matrix. How do you get from the matrices of two layers to that of both together?",
        "`attention` has the layers as its first axis, so a loop over it gives one after the other, the first layer "
        "first. On which side of what you have so far does the next one stand?",
        "Start with the identity, and in each round put the layer's matrix on the **left** of the product: `new @ so_far`.",
    ),
    cases=_attention_cases,
    collect=lambda answer, case: {"rollout": plain(answer(_attention(case.inputs)))},
    judge=_judge_rollout,
    reference=lambda: _rollout,
    wrong={
        **as_answers(_ROLLOUT_WRONG),
        "nothing_returned": lambda: lambda attention: None,
    },
    right={
        "reduce": lambda: _rollout_by_reduce,
        "einsum, from the last layer down": lambda: _rollout_by_einsum,
        "TensorFlow": lambda: _rollout_in_tensorflow,
        "rows divided at the end": lambda: _divided_at_the_end,
        "labutils' own": lambda: _rollout_by_labutils,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 05.class_difference
# ---------------------------------------------------------------------------------------------------------------------


def _class_difference(maps_of: Callable, first: Any, second: Any) -> Any:
    one, other = maps_of(first), maps_of(second)
    difference = np.abs(one - other).max(axis=(1, 2))
    largest = np.maximum(np.abs(one).max(axis=(1, 2)), np.abs(other).max(axis=(1, 2)))
    return np.divide(difference, largest, out=np.zeros_like(largest), where=largest > 0)


def _class_difference_in_loops(maps_of: Callable, first: Any, second: Any) -> Any:
    shares = []
    for one, other in zip(maps_of(first), maps_of(second), strict=True):
        largest = max(abs(value) for value in [*one.ravel(), *other.ravel()])
        shares.append(np.max(np.abs(other - one)) / largest if largest else 0.0)
    return np.array(shares)


def _class_difference_in_tensorflow(maps_of: Callable, first: Any, second: Any) -> Any:
    import tensorflow as tf

    both = tf.stack([maps_of(first), maps_of(second)])
    largest = tf.reduce_max(tf.abs(both), axis=(0, 2, 3))
    return tf.math.divide_no_nan(tf.reduce_max(tf.abs(both[0] - both[1]), axis=(1, 2)), largest)


def _largest(maps: np.ndarray) -> np.ndarray:
    return np.abs(maps).max(axis=(1, 2))


def _divide(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    return np.divide(values, by, out=np.zeros(np.broadcast(values, by).shape), where=by > 0)


def _difference_with(
    *,
    second_of: Callable[[Any, Any], Any] = lambda first, second: second,
    before: Callable[[np.ndarray], np.ndarray] = lambda maps: maps,
    measure: Callable[[np.ndarray], np.ndarray] = _largest,
    scale: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda one, other: np.maximum(
        _largest(one), _largest(other)
    ),
    finish: Callable[[np.ndarray, np.ndarray], Any] = _divide,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(maps_of: Callable, first: Any, second: Any) -> Any:
        one, other = before(maps_of(first)), before(maps_of(second_of(first, second)))
        with np.errstate(all="ignore"):
            return finish(measure(one - other), scale(one, other))

    return answer


_DIFFERENCE_WRONG: dict[str, tuple[Callable, str]] = {
    "one_class_twice": (
        _difference_with(second_of=lambda first, second: first),
        "0 for maps that do differ: both maps are of the same class. Is `maps_of` called once with `first` and once with "
        "`second`?",
    ),
    "signed": (
        _difference_with(measure=lambda difference: difference.max(axis=(1, 2))),
        "This is the largest difference in one direction only. A place where the second map is far brighter counts as "
        "much as one where the first is: take absolute values.",
    ),
    "averaged": (
        _difference_with(measure=lambda difference: np.abs(difference).mean(axis=(1, 2))),
        "This averages the difference over the map, where a small place that differs much gets lost. Take the largest.",
    ),
    "differences_cancel": (
        _difference_with(measure=lambda difference: np.abs(difference.mean(axis=(1, 2)))),
        "Differences of both signs cancel in this mean: two very different maps can come out as equal.",
    ),
    "not_divided": (
        _difference_with(finish=lambda difference, scale: difference),
        "This is the difference in the maps' own unit. Whether it is much or little shows only beside the maps: divide by "
        "the largest absolute value of the two.",
    ),
    "scaled_first": (
        _difference_with(before=lambda maps: _divide(maps, _largest(maps)[:, None, None])),
        "Each map was scaled to its own maximum first. Two maps of the same form, one much weaker than the other, would "
        "come out as equal.",
    ),
    "divided_by_first": (
        _difference_with(scale=lambda one, other: _largest(one)),
        "You divided by the first map's largest value alone. The second map's may be larger: take the larger of the two.",
    ),
    "divided_by_sum": (
        _difference_with(scale=lambda one, other: _largest(one) + _largest(other)),
        "You divided by the sum of the two maps' largest values; the larger of the two is asked for.",
    ),
    "largest_value_without_sign": (
        _difference_with(scale=lambda one, other: np.maximum(one.max(axis=(1, 2)), other.max(axis=(1, 2)))),
        "Maps may have negative values: the largest **absolute** value is asked for below the line as well.",
    ),
    "similarity": (
        _difference_with(finish=lambda difference, scale: 1 - _divide(difference, scale)),
        "This is 1 for maps that are the same. The difference is asked for: 0 for the same.",
    ),
    "one_number": (
        _difference_with(measure=lambda difference: np.abs(difference).max(), scale=lambda one, other: np.abs([one, other]).max()),
        "This is one number for all photos together. Each photo has its own.",
    ),
}  # fmt: skip


def _difference_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(4 if seed is None else seed)
    cases = []
    for kind, name in (
        ("by class", "maps that depend on the class"),
        ("same", "maps that do not"),
        ("zero", "a map that is zero everywhere"),
    ):
        while True:
            photos, rows, columns = (int(n) for n in rng.choice([3, 4, 5, 6, 7], size=3, replace=False))
            first, second = (rng.permutation(8)[:photos] for _ in range(2))
            inputs = {
                "seed": int(rng.integers(1, 10_000)),
                "shape": [8, photos, rows, columns],
                "kind": kind,
                "first": [int(c) for c in first],
                "second": [int(c) for c in second],
            }
            if kind != "by class" or _shows_every_mistake(inputs):
                break
        cases.append(Case(name, inputs))
    return cases


def _shows_every_mistake(inputs: Mapping[str, Any]) -> bool:
    """Whether the classes differ for every photo, and every mistake gives other numbers than the right answer."""
    asked = functools.partial(_maps, inputs), inputs["first"], inputs["second"]
    right = _class_difference(*asked)
    mistakes = [np.broadcast_to(twin(*asked), right.shape) for twin, _ in _DIFFERENCE_WRONG.values()]
    differ = all(one != other for one, other in zip(inputs["first"], inputs["second"], strict=True))
    return differ and all(np.abs(mistake - right).max() > 0.02 for mistake in mistakes)


def _maps(inputs: Mapping[str, Any], classes: Any) -> np.ndarray:
    """A pretended method: one map a photo for the classes asked for, (photos, rows, columns), with values of both signs."""
    rng = np.random.default_rng(inputs["seed"])
    maps = rng.normal(size=inputs["shape"]) * rng.uniform(0.2, 1, size=(*inputs["shape"][:2], 1, 1))
    if inputs["kind"] == "same":
        maps[:] = maps[0]
    if inputs["kind"] == "zero":
        maps[:, 0] = 0
    photos = inputs["shape"][1]
    return maps[np.broadcast_to(classes, photos), np.arange(photos)].astype(np.float32)


def _collect_difference(answer: Any, case: Case) -> Arrays:
    inputs = case.inputs
    maps_of = functools.partial(_maps, inputs)
    return {"difference": plain(answer(maps_of, list(inputs["first"]), list(inputs["second"])))}


def _judge_difference(arrays: Arrays, case: Case) -> Verdict:
    inputs, found = case.inputs, arrays["difference"]
    asked = functools.partial(_maps, inputs), inputs["first"], inputs["second"]
    expected = _class_difference(*asked)
    if as_number(found) is not None:
        return wrong(_DIFFERENCE_WRONG["one_number"][1], "one_number")
    if isinstance(found, list) and found and None not in [as_number(value) for value in found]:
        found = np.array([as_number(value) for value in found])
    if isinstance(found, np.ndarray) and found.dtype.kind == "f" and np.isnan(found).any():
        return wrong(
            "NaN for a photo whose maps are zero everywhere: 0 was divided by 0. Two empty maps do not differ: 0.",
            "divided_by_zero",
        )
    return verdict_on_array(
        found,
        expected,
        results_of(_DIFFERENCE_WRONG, *asked),
        what="The result",
        axes="photos",
        otherwise="The shape is right; the numbers are not the largest difference over the largest absolute value.",
    )


CLASS_DIFFERENCE = Exercise(
    id="05.class_difference",
    title="Does the map depend on the class?",
    answer="class_difference",
    points=2,
    minutes=7,
    difficulty="medium",
    hints=(
        "`maps_of(first)` gives one map a photo, (photos, height, width). Get both, then compare them photo by photo.",
        "The largest absolute difference is a maximum over the axes 1 and 2. Divide it by the largest absolute value that "
        "either of the two maps has.",
        "`np.abs(...).max(axis=(1, 2))` three times: of the difference and of each map; `np.maximum` for the larger of "
        "two; and where that is 0, the answer is 0 (`np.divide` has `out` and `where`).",
    ),
    cases=_difference_cases,
    collect=_collect_difference,
    judge=_judge_difference,
    reference=lambda: _class_difference,
    wrong={
        **as_answers(_DIFFERENCE_WRONG),
        "divided_by_zero": lambda: _difference_with(finish=lambda difference, scale: difference / scale),
        "nothing_returned": lambda: lambda maps_of, first, second: None,
    },
    right={
        "loops": lambda: _class_difference_in_loops,
        "TensorFlow": lambda: _class_difference_in_tensorflow,
        "a list": lambda: lambda *asked: _class_difference_in_loops(*asked).tolist(),
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 05.gradient_rollout
# ---------------------------------------------------------------------------------------------------------------------


def _gradient_rollout(attention: Any, gradients: Any) -> Any:
    relevance = np.eye(attention.shape[-1])
    for layer, gradient in zip(attention, gradients, strict=True):
        weighted = np.maximum(gradient * layer, 0).mean(axis=1)
        relevance = relevance + weighted @ relevance
    return relevance


def _gradient_rollout_in_loops(attention: Any, gradients: Any) -> Any:
    layers, photos, heads, tokens, _ = attention.shape
    result = np.stack([np.eye(tokens)] * photos)
    for layer in range(layers):
        for photo in range(photos):
            weighted = np.zeros((tokens, tokens))
            for head in range(heads):
                product = attention[layer, photo, head] * gradients[layer, photo, head]
                weighted += np.where(product > 0, product, 0) / heads
            result[photo] += weighted @ result[photo]
    return result


def _gradient_rollout_multiplied_out(attention: Any, gradients: Any) -> Any:
    factors = np.eye(attention.shape[-1]) + (np.clip(gradients, 0, None) * attention).mean(axis=2)
    return functools.reduce(np.matmul, factors[::-1])


def _gradient_rollout_in_tensorflow(attention: Any, gradients: Any) -> Any:
    import tensorflow as tf

    weighted = tf.reduce_mean(tf.nn.relu(tf.multiply(attention, gradients)), axis=2)
    relevance = tf.eye(attention.shape[-1], batch_shape=[attention.shape[1]])
    for layer in tf.unstack(weighted):
        relevance += tf.einsum("pij,pjk->pik", layer, relevance)
    return relevance


def _gradient_rollout_by_labutils(attention: Any, gradients: Any) -> Any:
    from labutils.explain import gradient_weighted_rollout

    return gradient_weighted_rollout(attention, gradients)


def _mean_of_positive(layer: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return _relu(gradient * layer).mean(axis=1)


def _gradient_rollout_with(
    *,
    weigh: Callable[[np.ndarray, np.ndarray], np.ndarray] = _mean_of_positive,
    update: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda weighted, relevance: (
        relevance + weighted @ relevance
    ),
    layers: Callable[[np.ndarray], np.ndarray] = lambda stack: stack,
    finish: Callable[[np.ndarray], Any] = lambda relevance: relevance,
) -> Callable:
    """A student's answer with something wrong in it."""

    def answer(attention: Any, gradients: Any) -> Any:
        relevance = np.broadcast_to(np.eye(attention.shape[-1]), (attention.shape[1], *attention.shape[-2:]))
        for layer, gradient in zip(layers(attention), layers(gradients), strict=True):
            relevance = update(weigh(layer, gradient), relevance)
        return finish(relevance)

    return answer


_GRADIENT_WRONG: dict[str, tuple[Callable, str]] = {
    "relu_missing": (
        _gradient_rollout_with(weigh=lambda layer, gradient: (gradient * layer).mean(axis=1)),
        "There is no ReLU: attention that speaks against the class is subtracted, and two such layers multiply to "
        "evidence for it.",
    ),
    "absolute": (
        _gradient_rollout_with(weigh=lambda layer, gradient: np.abs(gradient * layer).mean(axis=1)),
        "Absolute values make attention that speaks against the class count as if it spoke for it. Set negative values "
        "to 0.",
    ),
    "relu_after_mean": (
        _gradient_rollout_with(weigh=lambda layer, gradient: _relu((gradient * layer).mean(axis=1))),
        "The ReLU comes after the mean over the heads: a head that speaks against the class has cancelled one that speaks "
        "for it. Head by head, first the ReLU, then the mean.",
    ),
    "heads_summed": (
        _gradient_rollout_with(weigh=lambda layer, gradient: _relu(gradient * layer).sum(axis=1)),
        "The heads were added up; take their mean.",
    ),
    "heads_max": (
        _gradient_rollout_with(weigh=lambda layer, gradient: _relu(gradient * layer).max(axis=1)),
        "This takes the strongest head for each pair of tokens; take the mean over the heads.",
    ),
    "gradient_ignored": (
        _gradient_rollout_with(weigh=lambda layer, gradient: layer.mean(axis=1)),
        "The gradients have no part in it, so the result is the same for every class.",
    ),
    "attention_ignored": (
        _gradient_rollout_with(weigh=lambda layer, gradient: _relu(gradient).mean(axis=1)),
        "These are the gradients alone. Weigh the attention with them: multiply, entry by entry.",
    ),
    "means_multiplied": (
        _gradient_rollout_with(weigh=lambda layer, gradient: _relu(gradient.mean(axis=1) * layer.mean(axis=1))),
        "Attention and gradients were averaged over the heads before they were multiplied. Each head has its own gradient: "
        "multiply first.",
    ),
    "matrix_product": (
        _gradient_rollout_with(weigh=lambda layer, gradient: _relu(gradient @ layer).mean(axis=1)),
        "Gradient and attention were multiplied as matrices (`@`). Each entry of the attention has its own gradient: "
        "multiply entry by entry (`*`).",
    ),
    "identity_missing": (
        _gradient_rollout_with(update=lambda weighted, relevance: weighted @ relevance),
        "What was there before is lost in each round: the skip connection is missing. New relevance is **added** to R.",
    ),
    "from_the_right": (
        _gradient_rollout_with(update=lambda weighted, relevance: relevance + relevance @ weighted),
        "The layer's matrix stands on the right of R. It takes from what the layers below have gathered: it belongs on "
        "the left.",
    ),
    "last_to_first": (
        _gradient_rollout_with(layers=lambda stack: stack[::-1]),
        "The layers were taken from the last to the first. R grows from the first layer up.",
    ),
    "layers_added": (
        _gradient_rollout_with(update=lambda weighted, relevance: relevance + weighted),
        "The layers are only added up. Each takes from what the layers below have gathered: multiply with R before you "
        "add.",
    ),
    "last_layer_only": (
        _gradient_rollout_with(layers=lambda stack: stack[-1:]),
        "Only the last layer is in it.",
    ),
    "rows_divided": (
        _gradient_rollout_with(update=lambda weighted, relevance: _by_rows(weighted + np.eye(weighted.shape[-1])) @ relevance),
        "The rows were divided by their sums, as in plain rollout. Here the values are evidence and keep their size.",
    ),
    "started_at_zero": (
        lambda attention, gradients: np.zeros(attention.shape[1:2] + attention.shape[-2:]),
        "Everything is 0: R began as zeros, and nothing times nothing stays nothing. It begins as the identity.",
    ),
    "identity_taken_away": (
        _gradient_rollout_with(finish=lambda relevance: relevance - np.eye(relevance.shape[-1])),
        "The identity was taken away at the end. Leave it in: R starts as the identity and grows.",
    ),
    "class_token_only": (
        _gradient_rollout_with(finish=lambda relevance: relevance[:, 0]),
        "This is the class token's row alone. Give the whole matrix, (photos, tokens, tokens).",
    ),
}  # fmt: skip


def _judge_gradient_rollout(arrays: Arrays, case: Case) -> Verdict:
    attention, gradients = _attention(case.inputs), _gradients(case.inputs)
    return verdict_on_array(
        arrays["relevance"],
        _gradient_rollout(attention, gradients),
        results_of(_GRADIENT_WRONG, attention, gradients),
        what="The result",
        axes="photos, tokens, tokens",
        otherwise="The shape is right, the numbers are not. For each layer, from the first up: gradient times attention, "
        "ReLU, mean over the heads; then R plus that matrix times R.",
    )


GRADIENT_ROLLOUT = Exercise(
    id="05.gradient_rollout",
    title="Gradient-weighted rollout",
    answer="gradient_rollout",
    points=3,
    minutes=10,
    difficulty="hard",
    hints=(
        "Two parts for each layer: a matrix (photos, tokens, tokens) from attention and gradients, and what it does to R.",
        "Multiply gradient and attention entry by entry, set to 0 what is negative, and only then average over the heads "
        "(of one layer: axis 1). What has R to be before the first layer?",
        "R begins as `np.eye(tokens)`. `zip` gives attention and gradient of one layer after the other; in each round "
        "R grows by `matrix @ R`.",
    ),
    cases=lambda seed: _attention_cases(seed, what="attention and gradients"),
    collect=lambda answer, case: {"relevance": plain(answer(_attention(case.inputs), _gradients(case.inputs)))},
    judge=_judge_gradient_rollout,
    reference=lambda: _gradient_rollout,
    wrong={
        **as_answers(_GRADIENT_WRONG),
        "nothing_returned": lambda: lambda attention, gradients: None,
    },
    right={
        "loops": lambda: _gradient_rollout_in_loops,
        "multiplied out, ReLU of the gradient": lambda: _gradient_rollout_multiplied_out,
        "TensorFlow and einsum": lambda: _gradient_rollout_in_tensorflow,
        "labutils' own": lambda: _gradient_rollout_by_labutils,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 05.rank_correlation
# ---------------------------------------------------------------------------------------------------------------------


def _rank_correlation(one: Any, other: Any) -> Any:
    from scipy.stats import rankdata

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return np.corrcoef(rankdata(one), rankdata(other))[0, 1]


def _rank_correlation_by_scipy(one: Any, other: Any) -> Any:
    from scipy.stats import spearmanr

    if one.min() == one.max() or other.min() == other.max():
        return 0
    return spearmanr(one.ravel(), other.ravel()).statistic


def _rank_correlation_by_counting(one: Any, other: Any) -> Any:
    def ranks(values: np.ndarray) -> np.ndarray:
        flat = values.ravel()
        return np.array([(flat < value).sum() + (flat == value).sum() / 2 for value in flat])

    first, second = (ranks(values) - ranks(values).mean() for values in (one, other))
    length = np.linalg.norm(first) * np.linalg.norm(second)
    return first @ second / length if length > 0 else 0.0


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


def _correlation_of(ranks: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """A student's answer that correlates something else than the ranks."""
    return lambda one, other: (
        0.0 if np.ptp(one) == 0 or np.ptp(other) == 0 else _correlation(ranks(np.ravel(one)), ranks(np.ravel(other)))
    )


def _kendall(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import kendalltau

    return float(np.nan_to_num(kendalltau(one.ravel(), other.ravel()).statistic))


_RANK_WRONG: dict[str, tuple[Callable, str]] = {
    "values_not_ranks": (
        _correlation_of(lambda values: values),
        "This is the correlation of the values. One very bright patch decides it; ranks ask only for the order.",
    ),
    "argsort_is_not_ranks": (
        _correlation_of(np.argsort),
        "`argsort` gives the places of the smallest, the second smallest, ... value; a rank is the place of each value "
        "in that order.",
    ),
    "ties_by_order": (
        _correlation_of(lambda values: np.argsort(np.argsort(values))),
        "Equal values got different ranks, by their place in the map. Maps after a ReLU have many zeros: equal values share "
        "the mean of their ranks.",
    ),
    "absolute": (
        lambda one, other: abs(_rank_correlation(one, other)),
        "The sign is lost: -1 means that one map is bright just where the other is dark.",
    ),
    "squared": (
        lambda one, other: _rank_correlation(one, other) ** 2,
        "This is the square of the correlation; it has lost its sign.",
    ),
    "negated": (
        lambda one, other: -_rank_correlation(one, other),
        "The sign is the wrong way round: are the ranks of one of the maps counted from the largest value down?",
    ),
    "kendall": (
        _kendall,
        "This is Kendall's rank correlation; Spearman's is asked for: the correlation of the ranks.",
    ),
    "other_transposed": (
        lambda one, other: _rank_correlation(one, other.T),
        "One of the maps was flattened row by row and the other column by column.",
    ),
}


def _rank_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(6 if seed is None else seed)
    cases = []
    for kind in ("alike", "opposite", "many zeros", "constant"):
        rows, columns = (int(n) for n in rng.choice([5, 6, 7, 8, 9], size=2, replace=False))
        cases.append(
            Case(f"maps of {rows} x {columns}: {kind}", {"kind": kind, "seed": int(rng.integers(1, 10_000)), "shape": [rows, columns]})
        )  # fmt: skip
    return cases


def _pair(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Two maps that share a part, with a few values that tower over the rest."""
    rng = np.random.default_rng(inputs["seed"])
    common, own, its = rng.normal(size=(3, *inputs["shape"]))
    sign = -1 if inputs["kind"] == "opposite" else 1
    one, other = np.exp(common + 0.7 * own), np.exp(sign * common + 0.7 * its)
    if inputs["kind"] == "many zeros":
        one, other = _relu(one - np.median(one)), _relu(other - np.median(other))
    if inputs["kind"] == "constant":
        other = np.full(inputs["shape"], 0.25)
    return one.astype(np.float32), other.astype(np.float32)


def _judge_rank_correlation(arrays: Arrays, case: Case) -> Verdict:
    one, other = _pair(case.inputs)
    expected, found = _rank_correlation(one, other), arrays["correlation"]
    if found is None:
        return wrong("`rank_correlation` returned None. Is a `return` missing?", "nothing_returned")
    if isinstance(found, list) and len(found) == 2 and as_number(found[0]) is not None:
        return wrong(
            "Two numbers came back. `scipy.stats.spearmanr` gives the correlation and a p-value; the correlation alone is "
            "asked for.",
            "p_value_kept",
        )
    if (isinstance(found, np.ndarray) and found.ndim == 2 and found.size > 1) or isinstance(found, list):
        return wrong(
            "A table of correlations came back. `np.corrcoef` gives a 2 x 2 matrix of which one entry is asked for; and "
            "both maps have to be flattened, or their columns are compared one by one.",
            "matrix_returned",
        )
    found = as_number(found)
    if found is None:
        return wrong("One number is asked for: the correlation of the two maps' ranks.", "not_a_number")
    if not math.isfinite(found):
        return wrong(
            "NaN for a map that is the same everywhere: all its ranks are equal, so it has no order to compare. Return 0 "
            "for it.",
            "divided_by_zero",
        )
    if math.isclose(found, expected, abs_tol=RTOL):
        return passed()
    for name, (twin, message) in _RANK_WRONG.items():
        if math.isclose(found, twin(one, other), abs_tol=RTOL):
            return wrong(message, name)
    return wrong("This is not the correlation of the two maps' ranks.")


def _unguarded(one: np.ndarray, other: np.ndarray) -> Any:
    from scipy.stats import rankdata

    with np.errstate(all="ignore"):
        return np.corrcoef(rankdata(one), rankdata(other))[0, 1]


RANK_CORRELATION = Exercise(
    id="05.rank_correlation",
    title="Do two maps agree?",
    answer="rank_correlation",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "Two steps: replace each map's values by their ranks, then correlate the ranks.",
        "`rankdata` gives equal values the mean of their ranks. `np.corrcoef` of two lists gives a 2 x 2 matrix: which entry?",
        "Flatten both, rank both, take the entry `[0, 1]` of `np.corrcoef`; before that, return 0 where a map's smallest "
        "value is its largest.",
    ),
    cases=_rank_cases,
    collect=lambda answer, case: {"correlation": plain(answer(*_pair(case.inputs)))},
    judge=_judge_rank_correlation,
    reference=lambda: _rank_correlation,
    wrong={
        **as_answers(_RANK_WRONG),
        "divided_by_zero": lambda: _unguarded,
        "p_value_kept": lambda: lambda one, other: (_rank_correlation(one, other), 0.01),
        "matrix_returned": lambda: lambda one, other: np.corrcoef(np.ravel(one), np.ravel(other)),
        "not_a_number": lambda: lambda one, other: f"{_rank_correlation(one, other):.2f}",
        "nothing_returned": lambda: lambda one, other: None,
    },
    right={
        "SciPy's spearmanr": lambda: _rank_correlation_by_scipy,
        "counting": lambda: _rank_correlation_by_counting,
        "a Python number": lambda: lambda one, other: float(_rank_correlation(one, other)),
    },
)

EXERCISES = [
    PREPARE,
    READ_HEAD,
    TOKEN_AT,
    ONE_LAYER,
    ROLLOUT,
    CLASS_DIFFERENCE,
    GRADIENT_ROLLOUT,
    RANK_CORRELATION,
]
"""In the order of the notebook."""
