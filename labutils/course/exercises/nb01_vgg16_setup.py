"""Exercises of notebook 01: from three photo files to the three best classes of each.

The cases run on small arrays, files and networks made from a seed, never on the notebook's own photos: an answer has to
work for any number of photos and classes, and a check takes a fraction of a second.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from labutils.course.exercise import Arrays, Case, Exercise, Verdict
from labutils.course.judging import compare, described, first_problem, passed, plain, same, wrong

MEAN_BGR = np.array([103.939, 116.779, 123.68], "float32")
"""ImageNet's mean colour in VGG16's channel order: blue, green, red."""

CHANGED_ITS_INPUT = (
    "The result is right, but the photos that were handed in have changed: `preprocess_input` works in place on arrays "
    "of floats. Whoever uses these photos afterwards gets wrong colours. Work on a copy.",
    "changed_its_input",
)


# ---------------------------------------------------------------------------------------------------------------------
# Cases
# ---------------------------------------------------------------------------------------------------------------------


def _rng(seed: int | None) -> np.random.Generator:
    return np.random.default_rng(1 if seed is None else seed)


def _photo_cases(seed: int | None) -> list[Case]:
    """Small batches of photos, as floats and as integers; never square, never as many photos as colours."""
    rng = _rng(seed)
    cases = []
    for dtype in ("float32", "uint8"):
        count, (height, width) = int(rng.choice([2, 4, 5])), map(int, rng.choice([9, 12, 15, 18], 2, replace=False))
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "count": count,
            "height": height,
            "width": width,
            "dtype": dtype,
        }
        cases.append(Case(f"{count} photos of {height} x {width}, {dtype}", inputs))
    return cases


def _photos(inputs: Any) -> np.ndarray:
    """The photos of a case, made anew: (count, height, width, 3), whole numbers from 0 to 255."""
    shape = (inputs["count"], inputs["height"], inputs["width"], 3)
    rng = np.random.default_rng(inputs["seed"])
    # Each photo gets a colour cast, so that swapped channels and mixed-up photos show.
    cast = rng.uniform(0.3, 1, size=(shape[0], 1, 1, 3))
    return np.floor(rng.integers(0, 256, size=shape) * cast).astype(inputs["dtype"])


def _preprocessed(photos: np.ndarray) -> np.ndarray:
    """VGG16's preprocessing of a copy."""
    from labutils.vgg16 import preprocess_input

    return preprocess_input(photos.astype("float32"))


def _collect_on_photos(answer: Any, case: Case) -> Arrays:
    photos = _photos(case.inputs)
    result = plain(answer(photos))
    return {"result": result, "photos_after": plain(photos)}


def _unchanged(verdict: Verdict, after: np.ndarray, before: np.ndarray) -> Verdict:
    """A right result counts only if the input is still what it was."""
    if verdict.passed and not np.array_equal(after, before):
        return wrong(*CHANGED_ITS_INPUT)
    return verdict


# ---------------------------------------------------------------------------------------------------------------------
# 01.titles
# ---------------------------------------------------------------------------------------------------------------------

_WORDS = ("my", "red", "cat", "garden", "coffee", "cup", "old", "bicycle", "harbour", "dog", "window", "tree")


def _title_cases(seed: int | None) -> list[Case]:
    rng = _rng(seed)
    endings = [".jpg", ".png", ".JPG", ".jpeg"]
    stems = ["_".join(rng.choice(_WORDS, 2, replace=False)) for _ in range(int(rng.integers(2, 5)))]
    stems.append(f"{rng.choice(_WORDS)}_{rng.integers(1, 29)}.{rng.integers(1, 13)}.2024")
    files = [f"data/photo_album/{stem}{rng.choice(endings)}" for stem in stems]
    return [Case(f"{len(files)} files", {"files": files})]


def _collect_titles(answer: Any, case: Case) -> Arrays:
    return {"result": plain(answer([Path(file) for file in case.inputs["files"]]))}


def titles_reference(paths: list[Path]) -> list[str]:
    return [path.stem.replace("_", " ") for path in paths]


_TITLE_MISTAKES = {
    "file_name": (
        lambda paths: [path.name for path in paths],
        "That is the whole name of the file: its extension (`.jpg`) has to go, and spaces take the place of underscores.",
    ),
    "extension_kept": (
        lambda paths: [path.name.replace("_", " ") for path in paths],
        "The file's extension (`.jpg`) is still part of the title.",
    ),
    "underscores_kept": (
        lambda paths: [path.stem for path in paths],
        "The underscores are still there; a title has spaces in their place.",
    ),
    "underscores_removed": (
        lambda paths: [path.stem.replace("_", "") for path in paths],
        "The underscores are gone, but no spaces have taken their place.",
    ),
    "folder_kept": (
        lambda paths: [str(path.with_suffix("")).replace("_", " ") for path in paths],
        "The folder is still part of the title.",
    ),
    "cut_at_first_dot": (
        lambda paths: [path.name.split(".")[0].replace("_", " ") for path in paths],
        "A name with more than one dot, such as `cat_1.5.2024.jpg`, is cut off at its first dot. Only what follows the "
        "last dot is the extension.",
    ),
    "capitals_changed": (
        lambda paths: [path.stem.replace("_", " ").title() for path in paths],
        "Upper and lower case have changed; a title keeps the letters of the file's name.",
    ),
    "reversed_order": (
        lambda paths: titles_reference(paths)[::-1],
        "The titles are right, but not in the order of the files.",
    ),
    "one_photo_only": (
        lambda paths: titles_reference(paths)[:1],
        "Only the first photo got a title. Is the `return` inside the loop?",
    ),
}


def _judge_titles(arrays: Arrays, case: Case) -> Verdict:
    found, paths = arrays["result"], [Path(file) for file in case.inputs["files"]]
    if found is None:
        return wrong("`make_titles` gives None. Is a `return` missing?", "nothing_returned")
    if isinstance(found, str):
        return wrong(
            "`make_titles` gives one text for all photos; a list with one title per photo is asked for.", "one_text"
        )
    if not isinstance(found, list) or not all(isinstance(title, str) for title in found):
        return wrong(f"`make_titles` gives {described(found)}; a list of texts is asked for.", "not_a_list_of_texts")
    if found == titles_reference(paths):
        return passed()
    for name, (mistake, message) in _TITLE_MISTAKES.items():
        if found == mistake(paths):
            return wrong(message, name)
    if len(found) != len(paths):
        return wrong(f"There are {len(found)} titles for {len(paths)} files.", "wrong_number")
    return wrong("The titles are not the files' names without folder and extension, with spaces for underscores.")


def _titles_by_os_path(paths: list[Path]) -> tuple[str, ...]:
    import os

    return tuple(" ".join(os.path.splitext(os.path.basename(path))[0].split("_")) for path in paths)


def _titles_by_loop(paths: list[Path]) -> list[str]:
    titles = []
    for path in paths:
        name = str(path.name)
        titles.append(name[: name.rindex(".")].replace("_", " "))
    return titles


TITLES = Exercise(
    id="01.titles",
    title="A title for each photo",
    answer="make_titles",
    points=1,
    minutes=5,
    difficulty="easy",
    hints=(
        "Each element of `paths` is a `pathlib.Path`. Try `paths[0].name` in a cell of its own; a path has other "
        "attributes of that sort.",
        "`Path.stem` is the file's name without the folder and without the extension. Texts have a method that replaces "
        "one piece of text by another.",
        "A list comprehension does it in one line: for every path take the stem, and in it replace underscores by spaces.",
    ),
    cases=_title_cases,
    collect=_collect_titles,
    judge=_judge_titles,
    reference=lambda: titles_reference,
    wrong={name: (lambda mistake=mistake: mistake) for name, (mistake, _) in _TITLE_MISTAKES.items()}
    | {
        "nothing_returned": lambda: lambda paths: None,
        "one_text": lambda: lambda paths: ", ".join(titles_reference(paths)),
        "not_a_list_of_texts": lambda: lambda paths: list(paths),
    },
    right={"os_path_and_tuple": lambda: _titles_by_os_path, "loop": lambda: _titles_by_loop},
)


# ---------------------------------------------------------------------------------------------------------------------
# 01.load_photos
# ---------------------------------------------------------------------------------------------------------------------

ANY_FILTER = 0.03
"""Tolerance for loaded photos, as a share of 255. Which filter resizes a photo is free (Keras takes the nearest pixel,
labutils an average); on the smooth pictures of these cases that moves no value by more than some 2 %. Cropping or
padding instead of stretching moves them by a third."""


def _file_cases(seed: int | None) -> list[Case]:
    rng = _rng(seed)
    count = int(rng.choice([2, 4, 5]))
    sizes = [[int(side) for side in rng.choice([180, 260, 300, 420], 2, replace=False)] for _ in range(count)]
    return [Case(f"{count} files of different sizes", {"seed": int(rng.integers(1, 10_000)), "sizes": sizes})]


def _write_photos(inputs: Any, folder: str) -> list[Path]:
    """PNG files of soft blobs of colour, in the sizes (height, width) of the case."""
    from PIL import Image

    rng = np.random.default_rng(inputs["seed"])
    paths = []
    for index, (height, width) in enumerate(inputs["sizes"]):
        few = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        paths.append(Path(folder) / f"photo_{index}.png")
        few.resize((width, height), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def _collect_files(answer: Any, case: Case) -> Arrays:
    with tempfile.TemporaryDirectory() as folder:
        return {"result": plain(answer(_write_photos(case.inputs, folder)))}


def load_photos_reference(paths: list[Path]) -> np.ndarray:
    from labutils import photos

    return np.stack([photos.load(path, size=(224, 224)) for path in paths])


def _load_each(paths: list[Path], **options: Any) -> list[np.ndarray]:
    from labutils import photos

    return [photos.load(path, **options) for path in paths]


def _judge_files(arrays: Arrays, case: Case) -> Verdict:
    found, count = arrays["result"], len(case.inputs["sizes"])
    if isinstance(found, list) and len(found) == count and all(isinstance(photo, np.ndarray) for photo in found):
        return wrong(
            "`load_photos` gives a list of arrays; the network takes one array with all photos in it. NumPy has a function "
            "that stacks arrays of the same shape.",
            "not_stacked",
        )
    if isinstance(found, np.ndarray):
        shapes = {
            (count * 224, 224, 3): ("joined_not_stacked", "The photos are joined to one tall picture"),
            (224, count * 224, 3): ("joined_not_stacked", "The photos are joined to one wide picture"),
            (224, 224, 3, count): ("photos_on_the_last_axis", "The photos are counted on the last axis"),
            (224, 224, 3): ("one_photo_only", "This is a single photo"),
            (1, 224, 224, 3): ("one_photo_only", "This is a single photo"),
        }
        if found.shape in shapes:
            name, message = shapes[found.shape]
            return wrong(f"{message}: shape {found.shape} instead of (n, 224, 224, 3), photos counted first.", name)
    shape, axes = (count, 224, 224, 3), "photos, height, width, colours"
    if problem := first_problem(found, shape, what="`load_photos`'s result", axes=axes, kinds="uif"):
        return problem
    with tempfile.TemporaryDirectory() as folder:
        paths = _write_photos(case.inputs, folder)
        right = load_photos_reference(paths).astype("float32")
        cropped, padded = (np.stack(_load_each(paths, fit=fit)).astype("float32") for fit in ("crop", "pad"))
    mistakes = {
        "scaled_to_one": (
            right / 255,
            "The values go from 0 to 1. VGG16's preprocessing expects them as they are in the file, 0 to 255.",
        ),
        "preprocessed_already": (
            _preprocessed(right),
            "The photos are preprocessed already; that comes in the next step.",
        ),
        "cropped": (cropped, "The photos are cropped. Here they are to be stretched to 224 x 224, as Keras does it."),
        "padded": (padded, "The photos are padded. Here they are to be stretched to 224 x 224, as Keras does it."),
        "blue_first": (right[..., ::-1], "Red and blue are swapped. Photos are loaded as RGB; swapping comes later."),
        "order_changed": (right[::-1], "The photos are not in the order of `paths`."),
        "rows_and_columns_swapped": (
            right.swapaxes(1, 2),
            "Rows and columns are swapped: the photos lie on their side.",
        ),
    }
    return compare(
        found, right, mistakes, rtol=ANY_FILTER, otherwise="The values are not those of the photos in `paths`."
    )


def _load_with_keras(paths: list[Path]) -> np.ndarray:
    import keras

    return np.array([keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224))) for path in paths])


def _load_with_loop(paths: list[Path]) -> np.ndarray:
    from labutils import photos

    batch = np.zeros((len(paths), 224, 224, 3), dtype="float32")
    for index, path in enumerate(paths):
        batch[index] = photos.load(str(path))
    return batch


LOAD_PHOTOS = Exercise(
    id="01.load_photos",
    title="All photos in one array",
    answer="load_photos",
    points=2,
    minutes=8,
    difficulty="easy",
    hints=(
        "Load one photo first and look at its shape: `photos.load(paths[0], size=(224, 224)).shape`.",
        "Load every path into a list, then turn the list of arrays of equal shape into one array with one axis more.",
        "`np.stack` puts a list of arrays on a new first axis; a list comprehension over `paths` makes the list.",
    ),
    cases=_file_cases,
    collect=_collect_files,
    judge=_judge_files,
    reference=lambda: load_photos_reference,
    wrong={
        "not_stacked": lambda: lambda paths: _load_each(paths, size=(224, 224)),
        "joined_not_stacked": lambda: lambda paths: np.concatenate(_load_each(paths, size=(224, 224))),
        "photos_on_the_last_axis": lambda: lambda paths: np.stack(_load_each(paths, size=(224, 224)), axis=-1),
        "one_photo_only": lambda: lambda paths: load_photos_reference(paths[:1]),
        "wrong_shape": lambda: lambda paths: np.stack(_load_each(paths, size=(256, 256))),
        "scaled_to_one": lambda: lambda paths: load_photos_reference(paths) / 255,
        "preprocessed_already": lambda: lambda paths: _preprocessed(load_photos_reference(paths)),
        "cropped": lambda: lambda paths: np.stack(_load_each(paths, fit="crop")),
        "padded": lambda: lambda paths: np.stack(_load_each(paths, fit="pad")),
        "blue_first": lambda: lambda paths: load_photos_reference(paths)[..., ::-1],
        "order_changed": lambda: lambda paths: load_photos_reference(paths[::-1]),
        "rows_and_columns_swapped": lambda: lambda paths: load_photos_reference(paths).swapaxes(1, 2),
        "nothing_returned": lambda: lambda paths: None,
    },
    right={"keras_load_img": lambda: _load_with_keras, "loop_into_zeros": lambda: _load_with_loop},
)


# ---------------------------------------------------------------------------------------------------------------------
# 01.preprocess
# ---------------------------------------------------------------------------------------------------------------------


def preprocess_reference(images: np.ndarray) -> np.ndarray:
    from labutils.vgg16 import preprocess_input

    return preprocess_input(images.astype("float32", copy=True))


def _preprocess_in_place(photos: np.ndarray) -> np.ndarray:
    from labutils.vgg16 import preprocess_input

    return preprocess_input(photos)


_PREPROCESS_MISTAKES = {
    "not_preprocessed": (
        lambda photos: photos.astype("float32"),
        "The photos come back as they went in: no mean subtracted, colours in the same order.",
    ),
    "preprocessed_twice": (
        lambda photos: _preprocessed(_preprocessed(photos)),
        "The result is preprocessed once more: the means are subtracted twice, and the second swap of red and blue takes "
        "back the first.",
    ),
    "means_subtracted_twice": (
        lambda photos: photos[..., ::-1] - 2 * MEAN_BGR,
        "The means are subtracted twice. `preprocess_input` was called twice on the same array, which it had changed already.",
    ),
    "colours_not_swapped": (
        lambda photos: photos - MEAN_BGR[::-1],
        "The means are subtracted, but the colours are still in the order red, green, blue. VGG16 takes blue first.",
    ),
    "wrong_means": (
        lambda photos: photos[..., ::-1] - MEAN_BGR[::-1],
        "Red and blue are swapped, but the means are not: each colour loses the mean of another.",
    ),
    "wrong_means_unswapped": (
        lambda photos: photos - MEAN_BGR,
        "The means belong to blue, green, red, but are subtracted from red, green, blue.",
    ),
    "means_not_subtracted": (
        lambda photos: photos[..., ::-1].astype("float32"),
        "Red and blue are swapped, but the mean colour is not subtracted.",
    ),
    "means_added": (
        lambda photos: photos[..., ::-1] + MEAN_BGR,
        "The mean colour is added; it has to be subtracted.",
    ),
    "scaled_to_one": (
        lambda photos: photos.astype("float32") / 255,
        "The values go from 0 to 1. That is how other networks are fed; VGG16 was trained on 0 to 255, minus the mean.",
    ),
    "divided_by_255_first": (
        lambda photos: _preprocessed(photos.astype("float32") / 255),
        "The photos were divided by 255 first, so that little more than the mean colour is left. `preprocess_input` "
        "expects values from 0 to 255.",
    ),
    "scaled_to_plus_minus_one": (
        lambda photos: photos.astype("float32") / 127.5 - 1,
        "The values go from -1 to 1. That is how MobileNet is fed; VGG16 takes 0 to 255, minus the mean.",
    ),
}


def _judge_preprocess(arrays: Arrays, case: Case) -> Verdict:
    found, photos = arrays["result"], _photos(case.inputs)
    axes = "photos, height, width, colours"
    if problem := first_problem(found, photos.shape, what="`preprocess`'s result", axes=axes):
        return problem
    verdict = compare(
        found,
        _preprocessed(photos),
        {name: (mistake(photos), message) for name, (mistake, message) in _PREPROCESS_MISTAKES.items()},
        otherwise="The values are not what VGG16's `preprocess_input` gives.",
    )
    return _unchanged(verdict, arrays["photos_after"], photos)


def _preprocess_by_hand(photos: np.ndarray) -> np.ndarray:
    return photos[..., ::-1].astype("float64") - [103.939, 116.779, 123.68]


def _preprocess_each(photos: np.ndarray) -> np.ndarray:
    import copy

    from keras.applications import vgg16

    return np.array([vgg16.preprocess_input(copy.deepcopy(photo).astype("float32")) for photo in photos])


def _preprocess_tensor(photos: np.ndarray) -> Any:
    import tensorflow as tf

    from labutils.vgg16 import preprocess_input

    return preprocess_input(tf.cast(photos, tf.float32))


PREPROCESS = Exercise(
    id="01.preprocess",
    title="What the network takes",
    answer="preprocess",
    points=2,
    minutes=8,
    difficulty="medium",
    hints=(
        "`preprocess_input` does the arithmetic. The question is what happens to `images` meanwhile: look again at the trap "
        "shown above.",
        "The trap opens for arrays of floats, and an array of integers does not stay one inside. Which method of an array "
        "gives you a new one, of a dtype of your choice?",
        "Call `preprocess_input` on a float copy of `images`, such as `images.astype(...)` makes, and return the result.",
    ),
    cases=_photo_cases,
    collect=_collect_on_photos,
    judge=_judge_preprocess,
    reference=lambda: preprocess_reference,
    wrong={name: (lambda mistake=mistake: mistake) for name, (mistake, _) in _PREPROCESS_MISTAKES.items()}
    | {
        "changed_its_input": lambda: _preprocess_in_place,
        "wrong_dtype": lambda: lambda photos: preprocess_reference(photos).astype("int64"),
        "wrong_shape": lambda: lambda photos: preprocess_reference(photos)[0],
        "not_an_array": lambda: lambda photos: list(preprocess_reference(photos)),
    },
    right={
        "by_hand": lambda: _preprocess_by_hand,
        "photo_by_photo": lambda: _preprocess_each,
        "tensor": lambda: _preprocess_tensor,
    },
)


# ---------------------------------------------------------------------------------------------------------------------
# 01.undo_preprocess
# ---------------------------------------------------------------------------------------------------------------------


def _undo_inputs(inputs: Any) -> np.ndarray:
    """Network inputs whose colours lie partly beyond 0 and 255, and never half-way between two integers.

    They are what preprocessing and a small change to the image give; odd eighths make rounding unambiguous.
    """
    rng = np.random.default_rng(inputs["seed"] + 1)
    photos = _photos(inputs)
    change = rng.integers(-60, 61, photos.shape) + rng.choice([0.125, 0.375, 0.625, 0.875], photos.shape)
    return (_preprocessed(photos) + change).astype("float32")


def _collect_undo(answer: Any, case: Case) -> Arrays:
    images = _undo_inputs(case.inputs)
    result = plain(answer(images))
    return {"result": result, "images_after": plain(images)}


def undo_reference(inputs: np.ndarray) -> np.ndarray:
    colours = (inputs + np.array([103.939, 116.779, 123.68]))[..., ::-1]
    return np.round(colours).clip(0, 255).astype("uint8")


def _to_photo(colours: np.ndarray) -> np.ndarray:
    return np.round(colours).clip(0, 255).astype("uint8")


def _wrapped(images: np.ndarray) -> np.ndarray:
    # By way of int64: what NumPy makes of a negative float as uint8 depends on the processor.
    return np.round((images + MEAN_BGR)[..., ::-1]).astype("int64").astype("uint8")


_UNDO_MISTAKES = {
    "blue_still_first": (
        lambda images: _to_photo(images + MEAN_BGR),
        "The mean is back, but blue still comes first: on the screen, skin turns blue. Swap red and blue as well.",
    ),
    "mean_missing": (
        lambda images: _to_photo(images[..., ::-1]),
        "Red and blue are swapped back, but the mean colour is not added: the photo comes out nearly black.",
    ),
    "mean_subtracted_again": (
        lambda images: _to_photo((images - MEAN_BGR)[..., ::-1]),
        "The mean colour is subtracted once more; undoing means adding it.",
    ),
    "means_swapped": (
        lambda images: _to_photo(images[..., ::-1] + MEAN_BGR),
        "The means are added to the wrong colours. 103.939 belongs to blue, which is the first channel of `inputs`; after "
        "the swap it is the last one.",
    ),
    "not_rounded": (
        lambda images: (images + MEAN_BGR)[..., ::-1].clip(0, 255).astype("uint8"),
        "Many values are 1 too small. `astype` cuts off what is behind the decimal point: round first.",
    ),
    "unchanged": (
        lambda images: _to_photo(images),
        "The values come back as they went in, apart from the dtype: neither the mean nor the order of colours is undone.",
    ),
}


def _judge_undo(arrays: Arrays, case: Case) -> Verdict:
    found, images = arrays["result"], _undo_inputs(case.inputs)
    axes = "photos, height, width, colours"
    if problem := first_problem(found, images.shape, what="`undo_preprocess`'s result", axes=axes, kinds="uif"):
        return problem
    if found.dtype != np.uint8:
        return wrong(
            f"The result has dtype {found.dtype}; photos are `uint8`, whole numbers from 0 to 255.", "not_uint8"
        )
    right = undo_reference(images)
    colours = (images + MEAN_BGR)[..., ::-1]
    inside = (colours > 0) & (colours < 255)
    if same(found[inside], right[inside]) and not same(found[~inside], right[~inside]):
        return wrong(
            "Values beyond 0 and 255 come out as noise: a `uint8` has no -3, it wraps round to 253. Limit the values to 0 "
            "and 255 before the change of dtype.",
            "not_clipped",
        )
    mistakes = {name: (mistake(images), message) for name, (mistake, message) in _UNDO_MISTAKES.items()}
    verdict = compare(
        found, right, mistakes, otherwise="These are not the colours that the preprocessing started from."
    )
    return _unchanged(verdict, arrays["images_after"], images)


def _undo_in_place(images: np.ndarray) -> np.ndarray:
    images += MEAN_BGR
    return _to_photo(images[..., ::-1])


def _undo_by_channel(images: np.ndarray) -> np.ndarray:
    blue, green, red = np.moveaxis(images.astype("float64"), -1, 0)
    photo = np.stack([red + 123.68, green + 116.779, blue + 103.939], axis=-1)
    return np.array(np.clip(np.rint(photo), 0, 255), dtype=np.uint8)


def _undo_with_copy(images: np.ndarray) -> np.ndarray:
    photo = images.copy()
    for channel, mean in enumerate([103.939, 116.779, 123.68]):
        photo[..., channel] += mean
    photo = np.flip(photo, axis=-1)
    photo[photo < 0] = 0
    photo[photo > 255] = 255
    return (photo + 0.5).astype("uint8")


UNDO_PREPROCESS = Exercise(
    id="01.undo_preprocess",
    title="Back to a photo",
    answer="undo_preprocess",
    points=3,
    minutes=12,
    difficulty="medium",
    hints=(
        "Preprocessing swapped red and blue, then subtracted the mean of each channel. Undo the steps from the last to the "
        "first.",
        "Which mean belongs to which channel depends on whether you swap before or after adding. `[..., ::-1]` swaps.",
        "Three things remain before `astype('uint8')`: no value below 0, none above 255 (`np.clip`), and no decimals, which "
        "`astype` would cut off rather than round (`np.round`).",
    ),
    cases=_photo_cases,
    collect=_collect_undo,
    judge=_judge_undo,
    reference=lambda: undo_reference,
    wrong={name: (lambda mistake=mistake: mistake) for name, (mistake, _) in _UNDO_MISTAKES.items()}
    | {
        "not_clipped": lambda: _wrapped,
        "not_uint8": lambda: lambda images: undo_reference(images).astype("float32"),
        "changed_its_input": lambda: _undo_in_place,
        "nothing_returned": lambda: lambda images: None,
    },
    right={"channel_by_channel": lambda: _undo_by_channel, "loop_over_means": lambda: _undo_with_copy},
)


# ---------------------------------------------------------------------------------------------------------------------
# 01.predict
# ---------------------------------------------------------------------------------------------------------------------


def _network_cases(seed: int | None) -> list[Case]:
    rng = _rng(seed)
    return [
        Case(f"{case.name}, {classes} classes", {**case.inputs, "classes": int(classes)})
        for case, classes in zip(_photo_cases(seed), rng.choice([6, 7, 8, 9], 2, replace=False), strict=True)
    ]


def _network(inputs: Any) -> Any:
    """A small network with the same random weights for the same case, built anew: an answer may spoil the one it gets."""
    import keras
    from keras import layers

    network = keras.Sequential(
        [
            layers.Input((inputs["height"], inputs["width"], 3)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(inputs["classes"], activation="softmax"),
        ]
    )
    rng = np.random.default_rng(inputs["seed"])
    # The inputs are about 100 in size, 27 of them make a feature: the logits come out at about 1.
    kernel, bias, dense, offset = network.weights
    network.set_weights(
        [
            rng.normal(0, 0.01, kernel.shape),
            rng.normal(0, 0.3, bias.shape),
            rng.normal(0, 0.8, dense.shape),
            rng.normal(0, 0.3, offset.shape),
        ]
    )
    return network


def _collect_predict(answer: Any, case: Case) -> Arrays:
    photos = _photos(case.inputs)
    result = plain(answer(_network(case.inputs), photos))
    return {"result": result, "photos_after": plain(photos)}


def predict_reference(model: Any, images: np.ndarray) -> np.ndarray:
    return model.predict(preprocess_reference(images), verbose=0)


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values)
    return powers / powers.sum(axis=1, keepdims=True)


def _call(model: Any, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(np.asarray(images, "float32")))


_PREDICT_MISTAKES = {
    "not_preprocessed": (
        _call,
        "The network saw the photos without preprocessing. It answers all the same, only worse: nothing warns you.",
    ),
    "preprocessed_twice": (
        lambda model, photos: _call(model, _preprocessed(_preprocessed(photos))),
        "The photos were preprocessed, and the result once more, before the network saw them.",
    ),
    "means_subtracted_twice": (
        lambda model, photos: _call(model, photos[..., ::-1] - 2 * MEAN_BGR),
        "The mean colour was subtracted twice before the network saw the photos: `preprocess_input` had changed them already.",
    ),
    "colours_not_swapped": (
        lambda model, photos: _call(model, photos - MEAN_BGR[::-1]),
        "The network saw red, green, blue; it takes blue first.",
    ),
    "scaled_to_one": (
        lambda model, photos: _call(model, photos.astype("float32") / 255),
        "The network saw values from 0 to 1: to VGG16 each of these photos is one even grey.",
    ),
    "divided_by_255_first": (
        lambda model, photos: _call(model, _preprocessed(photos.astype("float32") / 255)),
        "The photos were divided by 255 before the preprocessing: to VGG16 each of them is nearly black.",
    ),
    "softmax_again": (
        lambda model, photos: _softmax(_call(model, _preprocessed(photos))),
        "The network's last layer is a softmax already; a second one makes all classes nearly equal.",
    ),
    "photos_mixed_up": (
        lambda model, photos: _call(model, _preprocessed(photos))[::-1],
        "The rows are not in the order of the photos.",
    ),
    "first_photo_repeated": (
        lambda model, photos: np.repeat(_call(model, _preprocessed(photos[:1])), len(photos), axis=0),
        "Every row is the prediction for the first photo.",
    ),
}


def _judge_predict(arrays: Arrays, case: Case) -> Verdict:
    found, photos, model = arrays["result"], _photos(case.inputs), _network(case.inputs)
    right = _call(model, _preprocessed(photos))
    if isinstance(found, np.ndarray) and found.shape in (right[0].shape, right[:1].shape):
        return wrong(
            f"This is one row of probabilities, for {len(photos)} photos: shape {found.shape} instead of {right.shape}.",
            "one_photo_only",
        )
    if isinstance(found, np.ndarray) and found.shape == right.T.shape:
        return wrong(
            f"Rows and columns are swapped: shape {found.shape}; one row per photo is asked for.", "transposed"
        )
    if problem := first_problem(found, right.shape, what="`predict`'s result", axes="photos, classes"):
        return problem
    verdict = compare(
        found,
        right,
        {name: (mistake(model, photos), message) for name, (mistake, message) in _PREDICT_MISTAKES.items()},
        otherwise="These are not the network's probabilities for the preprocessed photos.",
    )
    return _unchanged(verdict, arrays["photos_after"], photos)


def _predict_each(model: Any, photos: np.ndarray) -> np.ndarray:
    rows = [model(preprocess_reference(photo)[None]) for photo in photos]
    return np.concatenate([row.numpy() for row in rows])


PREDICT = Exercise(
    id="01.predict",
    title="Ask the network",
    answer="predict",
    points=2,
    minutes=6,
    difficulty="easy",
    hints=(
        "Two steps: what the network takes, then what the network says. The first is your answer to `01.preprocess`.",
        "A Keras model has a method `predict`, which takes a whole batch; `verbose=0` keeps it quiet.",
        "Call `preprocess` on `images` and hand the result to `model.predict`; return what that gives, one row per photo.",
    ),
    cases=_network_cases,
    collect=_collect_predict,
    judge=_judge_predict,
    reference=lambda: predict_reference,
    wrong={name: (lambda mistake=mistake: mistake) for name, (mistake, _) in _PREDICT_MISTAKES.items()}
    | {
        "one_photo_only": lambda: lambda model, photos: predict_reference(model, photos[:1]),
        "transposed": lambda: lambda model, photos: predict_reference(model, photos).T,
        "changed_its_input": lambda: (
            lambda model, photos: (
                _call(model, _preprocess_in_place(photos))
                if photos.dtype == "float32"
                else predict_reference(model, photos)
            )
        ),
        "wrong_shape": lambda: lambda model, photos: predict_reference(model, photos).argmax(axis=1),
    },
    right={
        "call_the_model": lambda: lambda model, photos: model(preprocess_reference(photos), training=False),
        "photo_by_photo": lambda: _predict_each,
    },
)


# ---------------------------------------------------------------------------------------------------------------------
# 01.best_classes and 01.top_three
# ---------------------------------------------------------------------------------------------------------------------


def _probability_cases(seed: int | None) -> list[Case]:
    """Tables of probabilities with more classes than photos, drawn until every mistake gives another result."""
    rng = _rng(seed)
    cases = []
    for count in rng.choice([2, 3, 4], 2, replace=False):
        classes, case = int(rng.integers(8, 13)), None
        while case is None or not _tells_mistakes_apart(case):
            logits = rng.normal(0, 2, size=(int(count), classes))
            case = Case(f"{count} photos, {classes} classes", {"logits": logits.tolist()})
        cases.append(case)
    return cases


def _tells_mistakes_apart(case: Case) -> bool:
    """Whether all answers that the two judges know, the right one included, differ on this case."""
    probabilities, names = _probabilities(case), _names(case)
    best = [answer(probabilities) for answer in (best_classes_reference, *(m for m, _ in _BEST_MISTAKES.values()))]
    tops = [answer(probabilities, names) for answer in (top_three_reference, *(m for m, _ in _TOP_MISTAKES.values()))]
    return all(len({str(np.asarray(found).tolist()) for found in results}) == len(results) for results in (best, tops))


def _probabilities(case: Case) -> np.ndarray:
    return _softmax(np.array(case.inputs["logits"])).astype("float32")


def _collect_best(answer: Any, case: Case) -> Arrays:
    return {"result": plain(answer(_probabilities(case)))}


def best_classes_reference(probabilities: np.ndarray) -> np.ndarray:
    return probabilities.argmax(axis=1)


_BEST_MISTAKES = {
    "wrong_axis": (
        lambda probabilities: probabilities.argmax(axis=0),
        "This is the best photo of each class, not the best class of each photo: the maximum was taken along the wrong axis.",
    ),
    "whole_batch": (
        lambda probabilities: probabilities.argmax(),
        "This is one number for the whole table. Without an axis, `argmax` counts through all rows as if they were one.",
    ),
    "one_photo_only": (
        lambda probabilities: probabilities[0].argmax(),
        "This is the best class of the first photo alone.",
    ),
    "probabilities_not_classes": (
        lambda probabilities: probabilities.max(axis=1),
        "These are the highest probabilities; asked for is where they stand.",
    ),
    "counted_from_one": (
        lambda probabilities: probabilities.argmax(axis=1) + 1,
        "Every number is 1 too large. Classes are counted from 0.",
    ),
    "least_likely": (
        lambda probabilities: probabilities.argmin(axis=1),
        "These are the least likely classes.",
    ),
    "second_best": (
        lambda probabilities: probabilities.argsort(axis=1)[:, -2],
        "These are the second best classes.",
    ),
}


def _judge_best(arrays: Arrays, case: Case) -> Verdict:
    found, probabilities = arrays["result"], _probabilities(case)
    if isinstance(found, list) and found and all(type(item) is str for item in found):
        return wrong("These are names; asked for are the classes' numbers, from 0.", "names_not_numbers")
    if isinstance(found, list) and all(np.ndim(item) == 0 and np.isreal(item) for item in found):
        found = np.array(found)  # a list of numbers will do
    if isinstance(found, int | float):
        found = np.array(found)
    for name, (mistake, message) in _BEST_MISTAKES.items():
        if same(found, mistake(probabilities)):
            return wrong(message, name)
    shape = (len(probabilities),)
    if problem := first_problem(found, shape, what="`best_classes`'s result", axes="photos", kinds="ui"):
        return problem
    return compare(
        found, best_classes_reference(probabilities), {}, otherwise="These are not the most probable classes."
    )


BEST_CLASSES = Exercise(
    id="01.best_classes",
    title="The best class of each photo",
    answer="best_classes",
    points=1,
    minutes=5,
    difficulty="easy",
    hints=(
        "Each row of `probabilities` belongs to a photo, each column to a class. You want one column number for each row.",
        "`argmax` says where the maximum stands. Its `axis` is the axis that disappears.",
        "Rows are axis 0 and columns axis 1; the result has one number per row, so the columns have to disappear.",
    ),
    cases=_probability_cases,
    collect=_collect_best,
    judge=_judge_best,
    reference=lambda: best_classes_reference,
    wrong={name: (lambda mistake=mistake: mistake) for name, (mistake, _) in _BEST_MISTAKES.items()}
    | {
        "wrong_dtype": lambda: lambda probabilities: probabilities.argmax(axis=1).astype("float32"),
        "wrong_shape": lambda: lambda probabilities: probabilities.argmax(axis=1)[:, None],
        "names_not_numbers": lambda: lambda probabilities: [f"class {n}" for n in probabilities.argmax(axis=1)],
        "nothing_returned": lambda: lambda probabilities: print(end=""),
    },
    right={
        "list_of_ints": lambda: lambda probabilities: [int(np.argmax(row)) for row in probabilities],
        "last_axis_by_sorting": lambda: lambda probabilities: np.argsort(-probabilities, axis=-1)[:, 0],
        "index_of_max": lambda: lambda probabilities: [row.index(max(row)) for row in probabilities.tolist()],
    },
)


def _names(case: Case) -> list[str]:
    """Names in no order that a table could be sorted by."""
    return [f"{_WORDS[(5 * n + 3) % len(_WORDS)]}_{n}" for n in range(len(case.inputs["logits"][0]))]


def _collect_top(answer: Any, case: Case) -> Arrays:
    return {"result": plain(answer(_probabilities(case), _names(case)))}


def _top(probabilities: np.ndarray, names: list[str], ranks: slice) -> list[list[tuple[str, float]]]:
    """For each photo, (name, probability) of the classes at some ranks, best first."""
    order = np.argsort(-probabilities, axis=1)[:, ranks]
    return [[(names[c], float(row[c])) for c in chosen] for row, chosen in zip(probabilities, order, strict=True)]


def top_three_reference(probabilities: np.ndarray, names: list[str]) -> list[list[tuple[str, float]]]:
    table = []
    for row in probabilities:
        best_first = np.argsort(row)[::-1][:3]
        table.append([(names[c], float(row[c])) for c in best_first])
    return table


def _first_for_all(probabilities: np.ndarray, names: list[str]) -> list:
    best = np.argsort(-probabilities[0])[:3]
    return [[(names[c], float(row[c])) for c in best] for row in probabilities]


def _in_class_order(probabilities: np.ndarray, names: list[str]) -> list:
    order = np.sort(np.argsort(-probabilities, axis=1)[:, :3], axis=1)
    return [[(names[c], float(row[c])) for c in chosen] for row, chosen in zip(probabilities, order, strict=True)]


_TOP_MISTAKES = {
    "ascending": (
        lambda probabilities, names: [row[::-1] for row in _top(probabilities, names, slice(3))],
        "The three are right, but the best stands last.",
    ),
    "least_likely": (
        lambda probabilities, names: [row[::-1] for row in _top(probabilities, names, slice(-3, None))],
        "These are the three least likely classes: `argsort` puts the smallest first.",
    ),
    "best_one_missing": (
        lambda probabilities, names: _top(probabilities, names, slice(1, 4)),
        "These are the classes at ranks 2, 3 and 4: the best one is missing.",
    ),
    "first_photo_for_all": (
        _first_for_all,
        "Every photo got the classes of the first photo.",
    ),
    "not_sorted": (
        _in_class_order,
        "The three are right, but they stand in the order of the classes instead of best first.",
    ),
    "percent": (
        lambda probabilities, names: _top(100 * probabilities, names, slice(3)),
        "The names are right, but the probabilities are 100 times too large; the table below will make percents of them.",
    ),
    "rounded": (
        lambda probabilities, names: _top(np.round(probabilities, 2), names, slice(3)),
        "The probabilities are rounded. Keep them as they are; rounding belongs to the display.",
    ),
}


def _judge_top(arrays: Arrays, case: Case) -> Verdict:
    found, probabilities, names = arrays["result"], _probabilities(case), _names(case)
    if problem := _problem_of_table(found, len(probabilities)):
        return problem
    if _same_table(found, top_three_reference(probabilities, names)):
        return passed()
    for name, (mistake, message) in _TOP_MISTAKES.items():
        if _same_table(found, mistake(probabilities, names)):
            return wrong(message, name)
    return wrong("These are not the three most probable classes of each photo with their probabilities.")


def _problem_of_table(found: Any, count: int) -> Verdict | None:
    """What is wrong with the form of a top-3 table, before its values: n lists of three pairs (name, probability)."""
    if found is None:
        return wrong("`top_three` gives None. Is a `return` missing?", "nothing_returned")
    if not isinstance(found, list):
        return wrong(
            f"`top_three` gives {described(found)}; a list with one list per photo is asked for.", "not_a_list"
        )
    if len(found) == 3 and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in found
    ):
        return wrong("This is one list of three pairs; asked for is such a list for each photo.", "one_list_only")
    if len(found) != count or not all(isinstance(row, list) for row in found):
        return wrong(
            f"There are {len(found)} entries for {count} photos; one list per photo is asked for.", "wrong_number"
        )
    if any(len(row) != 3 for row in found):
        lengths = sorted({len(row) for row in found})
        return wrong(f"A photo's list has {lengths[0]} entries instead of three.", "not_three")
    pairs = [pair for row in found for pair in row]
    if all(isinstance(item, str) for item in pairs):
        return wrong(
            "The names are there without their probabilities; pairs `(name, probability)` are asked for.", "names_only"
        )
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return wrong("An entry is not a pair `(name, probability)`.", "not_pairs")
    if all(isinstance(pair[1], str) and not isinstance(pair[0], str) for pair in pairs):
        return wrong("The pairs are the wrong way round: `(name, probability)` is asked for.", "swapped_pairs")
    if not any(isinstance(pair[0], str) for pair in pairs):
        return wrong("The classes are numbers; asked for are their names, from `names`.", "numbers_not_names")
    if not all(
        isinstance(pair[0], str) and np.ndim(pair[1]) == 0 and not isinstance(pair[1], str | dict) for pair in pairs
    ):
        return wrong("An entry is not a pair of a text and a number, `(name, probability)`.", "not_pairs")
    return None


def _same_table(found: list, expected: list) -> bool:
    """Whether names are equal and probabilities agree (see `same`)."""
    names = [[pair[0] for pair in row] for row in found] == [[pair[0] for pair in row] for row in expected]
    numbers = np.array([[pair[1] for pair in row] for row in found], dtype="float64")
    return names and same(numbers, np.array([[pair[1] for pair in row] for row in expected]))


def _top_by_sorting_pairs(probabilities: np.ndarray, names: list[str]) -> list:
    return [
        sorted(zip(names, row, strict=True), key=lambda pair: pair[1], reverse=True)[:3]
        for row in probabilities.tolist()
    ]


def _top_by_heap(probabilities: np.ndarray, names: list[str]) -> tuple:
    import heapq

    return tuple(
        tuple((names[c], row[c]) for c in heapq.nlargest(3, range(len(names)), key=row.__getitem__))
        for row in probabilities
    )


def _reshaped(change: Any) -> Any:
    """A wrong answer that changes each right pair."""

    def answer(probabilities: np.ndarray, names: list[str]) -> list:
        return [[change(pair) for pair in row] for row in top_three_reference(probabilities, names)]

    return answer


TOP_THREE = Exercise(
    id="01.top_three",
    title="The three best classes of each photo",
    answer="top_three",
    points=3,
    minutes=12,
    difficulty="medium",
    hints=(
        "Begin with one photo: `row = probabilities[0]`. Which three columns hold its largest numbers, the largest first?",
        "`np.argsort(row)` gives the columns from the smallest number to the largest; `[::-1]` turns that round.",
        "For each row: take the first three columns of the reversed `argsort`, and for each such column `c` make the pair "
        "of `names[c]` and `float(row[c])`. Collect the three pairs in a list, and the lists of all rows in a list.",
    ),
    cases=_probability_cases,
    collect=_collect_top,
    judge=_judge_top,
    reference=lambda: top_three_reference,
    wrong={name: (lambda mistake=mistake: mistake) for name, (mistake, _) in _TOP_MISTAKES.items()}
    | {
        "one_list_only": lambda: lambda probabilities, names: top_three_reference(probabilities, names)[0],
        "not_three": lambda: lambda probabilities, names: _top(probabilities, names, slice(4)),
        "names_only": lambda: _reshaped(lambda pair: pair[0]),
        "swapped_pairs": lambda: _reshaped(lambda pair: pair[::-1]),
        "numbers_not_names": lambda: (
            lambda probabilities, names: [[(c, float(row[c])) for c in np.argsort(-row)[:3]] for row in probabilities]
        ),
        "not_pairs": lambda: _reshaped(lambda pair: ("n00000000", *pair)),
        "wrong_number": lambda: lambda probabilities, names: top_three_reference(probabilities, names)[1:],
        "nothing_returned": lambda: lambda probabilities, names: None,
    },
    right={"sorted_pairs": lambda: _top_by_sorting_pairs, "heap_and_tuples": lambda: _top_by_heap},
)


EXERCISES = [TITLES, LOAD_PHOTOS, PREPROCESS, UNDO_PREPROCESS, PREDICT, BEST_CLASSES, TOP_THREE]
