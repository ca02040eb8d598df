"""Exercises of notebook 03: a batch of one, all layers at once, choosing a layer, tiling its channels, and numbers about them.

All answers but one are functions of arrays, so that the cases need no network; `predict_layers` gets a tiny one.
Heights, widths, channels, photos and columns all differ, so that axes that have changed places show. Every judge
knows the right numbers and those that each common mistake would give.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from labutils.course.exercise import Arrays, Case, Exercise, Verdict
from labutils.course.judging import as_answers, as_number, described, passed, plain, same, verdict_on_array, wrong


def _twins(mistakes: Mapping[str, tuple[Callable, str]], *arguments: Any) -> dict[str, tuple[Any, str]]:
    """What each mistake gives for these arguments, as `verdict_on_array` takes it; those that cannot work are left out."""
    found = {}
    for name, (twin, message) in mistakes.items():
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                found[name] = np.asarray(twin(*arguments)), message
        except ValueError:  # shapes that do not fit together in this case
            continue
    return found


def _number_as_array(found: Any) -> Any:
    """One number where an array is asked for, as an array without axes, so that it can be recognised by its value."""
    return found if as_number(found) is None else np.asarray(found)


# ---------------------------------------------------------------------------------------------------------------------
# 03.to_batch
# ---------------------------------------------------------------------------------------------------------------------


def _to_batch(photo: Any) -> Any:
    return photo[np.newaxis]


def _to_batch_in_tensorflow(photo: Any) -> Any:
    import tensorflow as tf

    return tf.expand_dims(photo, axis=0)


def _swapped_by_reshape(photo: np.ndarray) -> np.ndarray:
    height, width, colours = photo.shape
    return photo.reshape(1, width, height, colours)


_TO_BATCH_WRONG: dict[str, tuple[Callable, str]] = {
    "unchanged": (
        lambda photo: photo,
        "This is still one photo, (height, width, colours). The network takes a list of photos: one more axis is needed, "
        "of length 1.",
    ),
    "axis_at_the_end": (
        lambda photo: photo[..., np.newaxis],
        "The new axis is at the end. The photos come first: (photos, height, width, colours).",
    ),
    "axis_in_the_middle": (
        lambda photo: photo[:, np.newaxis],
        "The new axis is behind the height. The photos come first: (photos, height, width, colours).",
    ),
    "height_and_width_swapped": (
        _swapped_by_reshape,
        "Height and width have changed places. An array's shape is (height, width, colours): rows come first. And "
        "`reshape` to the other order does not turn the photo, it tears its rows apart.",
    ),
    "transposed": (
        lambda photo: photo.transpose(1, 0, 2)[np.newaxis],
        "The photo was turned on its side (height and width have changed places). Only an axis is to be added.",
    ),
    "colours_first": (
        lambda photo: photo.transpose(2, 0, 1)[np.newaxis],
        "The colours come first here. That is PyTorch's order; Keras takes (photos, height, width, colours).",
    ),
    "colours_first_by_reshape": (
        lambda photo: photo.reshape(1, 3, *photo.shape[:2]),
        "The colours should stay last. And `reshape` to another order of axes does not move the colours to the front: it "
        "mixes the pixels up.",
    ),
    "twice": (
        lambda photo: np.stack([photo, photo]),
        "The photo is there twice. A batch of one photo is asked for.",
    ),
    "two_new_axes": (
        lambda photo: photo[np.newaxis, np.newaxis],
        "There is one axis too many in front: a list of lists of photos.",
    ),
    "flattened": (
        lambda photo: photo.reshape(1, -1),
        "The photo has been laid out in one line. Height, width and colours should stay axes of their own.",
    ),
    "rescaled": (
        lambda photo: photo[np.newaxis] / 255,
        "The values have changed: they were divided by 255. Only the shape is to change; preprocessing comes later.",
    ),
}


def _to_batch_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(2 if seed is None else seed)
    cases = []
    for _ in range(2):
        height, width = (int(n) for n in rng.choice([5, 6, 7, 8, 9], size=2, replace=False))
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [height, width, 3]}
        cases.append(Case(f"a photo of {height} x {width}", inputs))
    return cases


def _photo(inputs: Mapping[str, Any]) -> np.ndarray:
    return np.random.default_rng(inputs["seed"]).integers(0, 256, size=inputs["shape"]).astype(np.uint8)


def _judge_to_batch(arrays: Arrays, case: Case) -> Verdict:
    photo = _photo(case.inputs)
    found = arrays["batch"]
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], np.ndarray):
        return wrong("This is a Python list with the photo in it. One array with four axes is asked for.", "a_list")
    return verdict_on_array(
        found,
        _to_batch(photo),
        _twins(_TO_BATCH_WRONG, photo),
        what="The result",
        axes="photos, height, width, colours",
        kinds="uif",
        otherwise="The shape is right, the values are not those of the photo. Only an axis is to be added.",
    )


TO_BATCH = Exercise(
    id="03.to_batch",
    title="One photo as a batch",
    answer="to_batch",
    points=1,
    minutes=3,
    difficulty="easy",
    hints=(
        "Nothing but the shape changes: (height, width, 3) becomes (1, height, width, 3).",
        "`reshape` can do it, and so can `np.expand_dims` or an index with `np.newaxis`. Ask the photo for its height and "
        "width; other photos may have others.",
        "Put `np.newaxis` where the new axis should be: first. Or `np.expand_dims` with `axis=0`.",
    ),
    cases=_to_batch_cases,
    collect=lambda answer, case: {"batch": plain(answer(_photo(case.inputs)))},
    judge=_judge_to_batch,
    reference=lambda: _to_batch,
    wrong={
        **as_answers(_TO_BATCH_WRONG),
        "a_list": lambda: lambda photo: [photo],
        "nothing_returned": lambda: lambda photo: None,
    },
    right={
        "reshape": lambda: lambda photo: photo.reshape(1, *photo.shape),
        "stack": lambda: lambda photo: np.stack([photo]),
        "expand_dims": lambda: lambda photo: np.expand_dims(photo, 0),
        "TensorFlow": lambda: _to_batch_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 03.predict_layers
# ---------------------------------------------------------------------------------------------------------------------


def _network(inputs: Mapping[str, Any]) -> Any:
    """A tiny convolutional network with the same random weights for the same seed.

    Built anew at each call: an answer may spoil the model it was given, and the next check must not suffer from it.
    """
    import keras
    from keras import layers

    height, width = inputs["size"]
    few, many = inputs["channels"]
    image = layers.Input((height, width, 3), name="photo")
    x = layers.Conv2D(few, 3, padding="same", activation="relu", name="first_conv")(image)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(many, 3, activation="relu", name="second_conv")(x)
    x = layers.Flatten(name="line")(x)
    x = layers.Dense(inputs["classes"], activation="softmax", name="answer")(x)
    network = keras.Model(image, x)
    rng = np.random.default_rng(inputs["seed"])
    network.set_weights([rng.normal(0, 0.3, weight.shape) for weight in network.weights])
    return network


def _network_images(inputs: Mapping[str, Any]) -> np.ndarray:
    shape = (inputs["photos"], *inputs["size"], 3)
    return np.random.default_rng(inputs["seed"] + 1).normal(0, 1, shape).astype(np.float32)


def _network_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(6 if seed is None else seed)
    height, width = (int(n) for n in rng.choice([8, 10, 12, 14], size=2, replace=False))
    few, many = (int(n) for n in rng.choice([4, 5, 6, 7], size=2, replace=False))
    inputs = {
        "seed": int(rng.integers(1, 10_000)),
        "size": [height, width],
        "channels": [few, many],
        "classes": int(rng.integers(8, 12)),
        "photos": int(rng.integers(2, 4)),
    }
    return [Case(f"{inputs['photos']} photos of {height} x {width}, a network of five layers", inputs)]


def _predict_layers(model: Any, images: Any) -> Any:
    import keras

    layers = model.layers[1:]
    everything = keras.Model(model.input, [layer.output for layer in layers])
    return {layer.name: array for layer, array in zip(layers, everything.predict(images, verbose=0), strict=True)}


def _predict_layers_with_a_dict(model: Any, images: Any) -> Any:
    import keras

    outputs = {layer.name: layer.output for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}
    return {name: tensor.numpy() for name, tensor in keras.Model(model.input, outputs)(images).items()}


def _predict_layer_by_layer(model: Any, images: Any) -> Any:
    """Hands each layer's output to the next one."""
    results, x = {}, images
    for layer in model.layers[1:]:
        x = layer(x)
        results[layer.name] = np.array(x)
    return results


def _predict_one_model_each(model: Any, images: Any) -> Any:
    import keras

    return {
        layer.name: keras.Model(model.inputs[0], layer.output)(images, training=False) for layer in model.layers[1:]
    }


@functools.lru_cache(maxsize=4)
def _true_layers(seed: int, size: tuple, channels: tuple, classes: int, photos: int) -> dict[str, np.ndarray]:
    """What every layer of a case's network gives; asked once for each case, no answer gets hold of it."""
    inputs = {"seed": seed, "size": size, "channels": channels, "classes": classes, "photos": photos}
    return {
        name: np.array(value)
        for name, value in _predict_layer_by_layer(_network(inputs), _network_images(inputs)).items()
    }


def _truth(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return _true_layers(
        inputs["seed"], tuple(inputs["size"]), tuple(inputs["channels"]), inputs["classes"], inputs["photos"]
    )


def _all_same(found: Mapping[str, Any], expected: Mapping[str, np.ndarray]) -> bool:
    return set(found) == set(expected) and all(
        isinstance(found[name], np.ndarray) and same(found[name], values) for name, values in expected.items()
    )


def _layers_with(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable:
    """A student's answer that makes something wrong of the right arrays."""
    return lambda model, images: change(_predict_layer_by_layer(model, images))


def _names_shifted(results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(["photo", *results], results.values(), strict=False))


_LAYERS_WRONG: dict[str, tuple[Callable[[dict[str, np.ndarray]], Any], str]] = {
    "names_shifted": (
        _names_shifted,
        "Every array has the name of the layer before it: the names begin with the input layer, the outputs behind it. "
        "Make both lists from the same layers.",
    ),
    "last_layer_only": (
        lambda results: dict([list(results.items())[-1]]),
        "Only the last layer is there. A model has as many outputs as you list when you make it.",
    ),
    "first_photo_only": (
        lambda results: {name: values[:1] for name, values in results.items()},
        "Only the first photo is there. All of `images` should go through the network.",
    ),
    "photo_axis_dropped": (
        lambda results: {name: values[0] for name, values in results.items()},
        "The arrays are those of the first photo, without the photos' axis. Keep it, and all photos.",
    ),
    "backwards": (
        lambda results: dict(zip(results, list(results.values())[::-1], strict=True)),
        "The names run from the first layer to the last, the arrays from the last to the first.",
    ),
}


def _judge_predict_layers(arrays: Arrays, case: Case) -> Verdict:
    found, expected = arrays["layers"], _truth(case.inputs)
    if found is None:
        return wrong("`predict_layers` returned None. Is a `return` missing?", "nothing_returned")
    if isinstance(found, list):
        message = "This is a list. Without the names nobody can tell which array is whose: give a dict, name -> array."
        return wrong(message, "a_list")
    if not isinstance(found, dict) or set(found) == {"unreadable"}:
        return wrong(f"This is {described(found)}; a dict is asked for, layer name -> array.", "not_a_dict")
    if _all_same(found, expected):
        return passed()
    if any(isinstance(value, dict) and "unreadable" in value for value in found.values()):
        return wrong(
            "There are symbols in it, not numbers: `layer.output` only says where in the network a value will be. "
            "Make a model with these outputs, and let it predict.",
            "no_numbers",
        )
    if any(key.startswith("<") for key in found):
        return wrong("The keys are the layers themselves. Use their names: `layer.name`.", "layers_as_keys")
    images = _network_images(case.inputs)
    if "photo" in found and _all_same({name: value for name, value in found.items() if name != "photo"}, expected):
        return wrong(
            "The input layer is in it too. What it gives is the photo itself; leave it out.", "input_layer_kept"
        )
    for name, (change, message) in _LAYERS_WRONG.items():
        if _all_same(found, change(expected)):
            return wrong(message, name)
    kernels = {layer.name: layer.get_weights()[0] for layer in _network(case.inputs).layers if layer.get_weights()}
    if _all_same(found, kernels):
        return wrong(
            "These are the layers' weights, which are the same for every photo. What the layers make of `images` is "
            "asked for.",
            "weights",
        )
    missing = [name for name in expected if name not in found]
    if missing:
        return wrong(f"The layer '{missing[0]}' is missing.", "layers_missing")
    extra = [name for name in found if name not in expected]
    if extra:
        return wrong(f"There is no layer '{extra[0]}' in this model.")
    for name, values in expected.items():
        verdict = verdict_on_array(
            found[name],
            values,
            {},
            what=f"What you give for the layer '{name}'",
            axes="photos first",
            otherwise=f"The values of the layer '{name}' are not those that it gives for these {len(images)} photos.",
        )
        if not verdict.passed:
            return verdict
    return passed()


def _weights_of_layers(model: Any, images: Any) -> Any:
    return {layer.name: layer.get_weights()[0] for layer in model.layers if layer.get_weights()}


PREDICT_LAYERS = Exercise(
    id="03.predict_layers",
    title="All layers at once",
    answer="predict_layers",
    points=3,
    minutes=8,
    difficulty="medium",
    hints=(
        "As in the cell above, with more outputs: a list of every layer's `output`. `model.layers` holds the layers in "
        "order; the first one is the input layer.",
        "`predict` of a model with a list of outputs gives a list of arrays in the same order. Which names belong to them?",
        "Take `model.layers[1:]` once, and use it twice: for the outputs of the new model, and for the names that you "
        "`zip` with what it predicts.",
    ),
    cases=_network_cases,
    collect=lambda answer, case: {"layers": plain(answer(_network(case.inputs), _network_images(case.inputs)))},
    judge=_judge_predict_layers,
    reference=lambda: _predict_layers,
    wrong={
        **{
            name: functools.partial(lambda change: _layers_with(change), change)
            for name, (change, _) in _LAYERS_WRONG.items()
        },
        "input_layer_kept": lambda: lambda model, images: {"photo": images} | _predict_layer_by_layer(model, images),
        "a_list": lambda: _layers_with(lambda results: list(results.values())),
        "not_a_dict": lambda: lambda model, images: np.array(model(images)),
        "no_numbers": lambda: lambda model, images: {layer.name: layer.output for layer in model.layers[1:]},
        "layers_as_keys": lambda: (
            lambda model, images: dict(
                zip(model.layers[1:], _predict_layer_by_layer(model, images).values(), strict=True)
            )
        ),
        "weights": lambda: _weights_of_layers,
        "layers_missing": lambda: _layers_with(
            lambda results: {name: values for name, values in results.items() if values.ndim == 4}
        ),
        "nothing_returned": lambda: lambda model, images: None,
    },
    right={
        "a dict of outputs": lambda: _predict_layers_with_a_dict,
        "layer by layer": lambda: _predict_layer_by_layer,
        "a model for each layer": lambda: _predict_one_model_each,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 03.choose_layer
# ---------------------------------------------------------------------------------------------------------------------


def _choose_layer(activations: Any, size: Any) -> Any:
    chosen = None
    for name, values in activations.items():
        if values.ndim == 4 and values.shape[1:3] == tuple(size):
            chosen = name
    return chosen


def _choose_layer_backwards(activations: Any, size: Any) -> Any:
    return next((name for name in reversed(activations) if np.shape(activations[name])[1:3] == tuple(size)), None)


def _choose_layer_from_a_list(activations: Any, size: Any) -> Any:
    fitting = [name for name, values in activations.items() if list(values.shape[1:-1]) == list(size)]
    return fitting[-1] if fitting else None


def _choose_layer_by_size(activations: Any, size: Any) -> Any:
    last_of_size = {values.shape[1:3]: name for name, values in activations.items()}
    return last_of_size.get(tuple(size))


def _fitting(activations: Any, fits: Callable[[tuple[int, ...]], bool]) -> list[str]:
    return [name for name, values in activations.items() if fits(values.shape)]


def _last_with(fits: Callable[[tuple[int, ...], tuple[int, int]], bool]) -> Callable:
    """A student's answer that asks something else of the shape."""
    return lambda activations, size: (_fitting(activations, lambda shape: fits(shape, tuple(size))) or [None])[-1]


_CHOOSE_WRONG: dict[str, tuple[Callable, str]] = {
    "first_not_last": (
        lambda activations, size: (_fitting(activations, lambda shape: shape[1:3] == tuple(size)) or [None])[0],
        "This is the first layer whose maps have that size. The last one is asked for.",
    ),
    "height_alone": (
        _last_with(lambda shape, size: len(shape) == 4 and shape[1] == size[0]),
        "Only the heights are compared. A layer with maps as high and of another width is taken too.",
    ),
    "width_alone": (
        _last_with(lambda shape, size: len(shape) == 4 and shape[2] == size[1]),
        "Only the widths are compared. A layer with maps as wide and of another height is taken too.",
    ),
    "photos_counted": (
        _last_with(lambda shape, size: shape[:2] == size),
        "The first axis counts the photos. Height and width are the two after it.",
    ),
    "channels_counted": (
        _last_with(lambda shape, size: shape[-2:] == size),
        "The last axis counts the channels. Height and width are the two before it.",
    ),
    "height_and_width_swapped": (
        _last_with(lambda shape, size: shape[1:3] == size[::-1]),
        "Height and width have changed places: `size` is (height, width), and so is the order in the shape.",
    ),
    "last_layer": (
        lambda activations, size: list(activations)[-1],
        "This is the last layer of all, whatever its size.",
    ),
    "last_with_maps": (
        lambda activations, size: _fitting(activations, lambda shape: len(shape) == 4)[-1],
        "This is the last layer that has maps, whatever their size.",
    ),
    "most_channels": (
        lambda activations, size: max(activations, key=lambda name: activations[name].shape[-1]),
        "This is the layer with the most channels, whatever the size of its maps.",
    ),
}


def _choose_cases(seed: int | None) -> list[Case]:
    """Layers of three sizes, twice or three times each; the sizes asked for include those that a mixed-up axis would find."""
    rng = np.random.default_rng(4 if seed is None else seed)
    cases = []
    for _ in range(2):
        sides = [int(n) for n in rng.choice(np.arange(4, 16), size=5, replace=False)]
        (high, low), (wide, middle, narrow) = sorted(sides[:2], reverse=True), sorted(sides[2:], reverse=True)
        sizes = [(high, wide), (high, middle), (low, narrow)]  # one step that halves the width alone, as it were
        photos = int(rng.integers(2, 4))
        channels = [int(n) for n in rng.choice(np.arange(16, 40), size=3, replace=False)]
        names = [f"layer_{letter}" for letter in rng.permutation(list("abcdefghijkl"))]
        shapes = [
            [photos, *size, count]
            for size, count in zip(sizes, channels, strict=True)
            for _ in range(int(rng.integers(2, 4)))
        ]
        shapes.append([photos, low, wide, 3])  # as high as the maps before it, as wide as the first
        dense = [[photos, 50 + int(rng.integers(0, 9))], [photos, 7]]
        layers = [[name, shape] for name, shape in zip(names, shapes + dense, strict=False)]
        asked = [
            *sizes,
            (wide, high),  # no layer has it, unless height and width change places
            (photos, high),
            (narrow, channels[2]),
            (low + high, wide),
        ]
        inputs = {"layers": layers, "sizes": [list(size) for size in asked]}
        cases.append(Case(f"{len(layers)} layers for {photos} photos", inputs))
    return cases


def _layers(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in inputs["layers"]}


def _judge_choose_layer(arrays: Arrays, case: Case) -> Verdict:
    layers, sizes, found = _layers(case.inputs), [tuple(size) for size in case.inputs["sizes"]], arrays["names"]
    expected = [_choose_layer(layers, size) for size in sizes]
    if any(isinstance(name, np.ndarray) for name in found):
        return wrong("An array is given back. The name of the layer is asked for.", "array_not_name")
    if found == expected:
        return passed()
    if all(name is None for name in found):
        return wrong("`choose_layer` returned None every time. Is a `return` missing?", "nothing_returned")
    if any(isinstance(name, list) for name in found):
        return wrong("A list is given back. One name is asked for, that of the last layer that fits.", "a_list")
    if any(isinstance(name, int | float) for name in found):
        return wrong(
            "A number is given back. The name of the layer is asked for, as the dict has it.", "number_not_name"
        )
    for name, (twin, message) in _CHOOSE_WRONG.items():
        if found == [twin(layers, size) for size in sizes]:
            return wrong(message, name)
    unknown = next((name for name in found if isinstance(name, str) and name not in layers), None)
    if unknown is not None:
        return wrong(
            f"'{unknown}' is no layer of this network. Let the function find the name in the dict.", "unknown_layer"
        )
    size, right = next((size, right) for size, right, name in zip(sizes, expected, found, strict=True) if name != right)
    there = "no layer has" if right is None else "some layers have"
    return wrong(f"For maps of {size[0]} x {size[1]}, which {there}, the result is not right. Print the shapes.")


CHOOSE_LAYER = Exercise(
    id="03.choose_layer",
    title="Choose a layer",
    answer="choose_layer",
    points=1,
    minutes=5,
    difficulty="easy",
    hints=(
        "Go through the dict with a loop and look at each array's shape. Which two of its axes are height and width?",
        "The shape is (photos, height, width, channels); a slice of it gives (height, width). Layers behind `flatten` "
        "have shorter shapes, which cannot be equal to a size.",
        "Begin with `None` and overwrite it whenever a layer fits: what is left after the loop is the last one.",
    ),
    cases=_choose_cases,
    collect=lambda answer, case: {
        "names": [plain(answer(_layers(case.inputs), tuple(size))) for size in case.inputs["sizes"]]
    },
    judge=_judge_choose_layer,
    reference=lambda: _choose_layer,
    wrong={
        **as_answers(_CHOOSE_WRONG),
        "array_not_name": lambda: lambda activations, size: activations.get(_choose_layer(activations, size)),
        "a_list": lambda: lambda activations, size: _fitting(activations, lambda shape: shape[1:3] == size),
        "number_not_name": lambda: (
            lambda activations, size: [
                index for index, values in enumerate(activations.values()) if values.shape[1:3] in (size, (50,), (7,))
            ][-1]
        ),
        "unknown_layer": lambda: lambda activations, size: "block5_conv3",
        "nothing_returned": lambda: lambda activations, size: None,
    },
    right={
        "from the end": lambda: _choose_layer_backwards,
        "a list of those that fit": lambda: _choose_layer_from_a_list,
        "a dict by size": lambda: _choose_layer_by_size,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 03.tile
# ---------------------------------------------------------------------------------------------------------------------


def _tile(maps: Any, columns: int) -> Any:
    height, width, channels = maps.shape
    rows = -(-channels // columns)
    picture = np.zeros((rows * height, columns * width))
    for channel in range(channels):
        row, column = divmod(channel, columns)
        down, right = row * height, column * width
        picture[down : down + height, right : right + width] = maps[:, :, channel]
    return picture


def _tile_by_transpose(maps: Any, columns: int) -> Any:
    height, width, channels = maps.shape
    rows = math.ceil(channels / columns)
    padded = np.pad(maps, [(0, 0), (0, 0), (0, rows * columns - channels)])
    return padded.reshape(height, width, rows, columns).transpose(2, 0, 3, 1).reshape(rows * height, columns * width)


def _tile_by_blocks(maps: Any, columns: int) -> Any:
    panels = [maps[..., channel] for channel in range(maps.shape[-1])]
    while len(panels) % columns:
        panels.append(np.zeros_like(panels[0]))
    return np.block([panels[start : start + columns] for start in range(0, len(panels), columns)])


def _tile_in_tensorflow(maps: Any, columns: int) -> Any:
    import tensorflow as tf

    channels = maps.shape[2]
    missing = -channels % columns
    panels = tf.transpose(tf.pad(maps, [[0, 0], [0, 0], [0, missing]]), (2, 0, 1))
    rows = [tf.concat(tf.unstack(panels[i : i + columns]), axis=1) for i in range(0, channels + missing, columns)]
    return tf.concat(rows, axis=0)


def _filled(maps: np.ndarray, columns: int, **how: Any) -> tuple[np.ndarray, int]:
    """The maps with as many empty ones behind them as the last row has room for, and the number of rows."""
    rows = -(-maps.shape[2] // columns)
    return np.pad(maps, [(0, 0), (0, 0), (0, rows * columns - maps.shape[2])], **how), rows


def _tile_scrambled(maps: np.ndarray, columns: int) -> np.ndarray:
    filled, rows = _filled(maps, columns)
    return filled.reshape(rows * maps.shape[0], columns * maps.shape[1])


def _tile_torn(maps: np.ndarray, columns: int) -> np.ndarray:
    filled, rows = _filled(maps, columns)
    return filled.transpose(2, 0, 1).reshape(rows * maps.shape[0], columns * maps.shape[1])


def _tile_column_by_column(maps: np.ndarray, columns: int) -> np.ndarray:
    filled, rows = _filled(maps, columns)
    order = [column * rows + row for row in range(rows) for column in range(columns)]
    return _tile(filled[:, :, order], columns)


def _tile_turned(maps: np.ndarray, columns: int) -> np.ndarray:
    return _tile(maps.transpose(1, 0, 2), columns)


def _tile_full_rows(maps: np.ndarray, columns: int) -> np.ndarray:
    rows = maps.shape[2] // columns
    return _tile(maps[:, :, : rows * columns], columns)


def _tile_row_too_many(maps: np.ndarray, columns: int) -> np.ndarray:
    picture = _tile(maps, columns)
    rows = maps.shape[2] // columns + 1
    more = rows * maps.shape[0] - picture.shape[0]
    return np.pad(picture, [(0, more), (0, 0)])


def _tile_as_rows(maps: np.ndarray, columns: int) -> np.ndarray:
    return _tile(maps, -(-maps.shape[2] // columns))


def _tile_wrapped(maps: np.ndarray, columns: int) -> np.ndarray:
    filled, _ = _filled(maps, columns, mode="wrap")
    return _tile(filled, columns)


def _tile_each_scaled(maps: np.ndarray, columns: int) -> np.ndarray:
    return _tile(maps / np.abs(maps).max(axis=(0, 1), keepdims=True), columns)


_TILE_WRONG: dict[str, tuple[Callable, str]] = {
    "scrambled": (
        _tile_scrambled,
        "The channels are scrambled: `reshape` reads the numbers in their order, and next to each other in memory are the "
        "channels of one position, not the positions of one channel. The axes have to be moved first.",
    ),
    "rows_torn": (
        _tile_torn,
        "The channels are whole, but each lies in a long line, row of pixels after row of pixels, and runs on into its "
        "neighbour's place. In the picture's top line the first row of *every* map of the first row has to come.",
    ),
    "column_by_column": (
        _tile_column_by_column,
        "The channels go down the columns. They should go along the rows: channel 1 stands to the right of channel 0.",
    ),
    "maps_turned": (_tile_turned, "Each map lies on its side: its height and width have changed places."),
    "last_row_missing": (
        _tile_full_rows,
        "The last row is missing: where the channels do not fill it, it still has to be there. How do you round the "
        "number of rows up?",
    ),
    "row_too_many": (
        _tile_row_too_many,
        "There is an empty row at the bottom: these channels fill their rows, and no more is needed.",
    ),
    "columns_taken_for_rows": (
        _tile_as_rows,
        "`columns` says how many maps stand beside each other; here it is the number of rows.",
    ),
    "gaps_filled": (
        _tile_wrapped,
        "In the places that are left over, channels are shown a second time. They should be 0.",
    ),
    "each_scaled": (
        _tile_each_scaled,
        "Each map was divided by its largest value. Leave the values as they are: scaling belongs to the figure.",
    ),
    "one_row": (
        lambda maps, columns: np.concatenate(np.moveaxis(maps, 2, 0), axis=1),
        "All the maps are in one row. After `columns` of them a new row begins.",
    ),
    "one_channel": (lambda maps, columns: maps[:, :, 0], "This is channel 0 alone."),
}


def _tile_cases(seed: int | None) -> list[Case]:
    """One count of channels that leaves places over, and one that fills its rows."""
    rng = np.random.default_rng(8 if seed is None else seed)
    cases = []
    for more in (int(rng.integers(1, 3)), 0):
        columns, rows = (int(n) for n in rng.choice([3, 4, 5], size=2, replace=False))
        height, width = (int(n) for n in rng.choice([6, 7, 8, 9], size=2, replace=False))
        channels = columns * (rows - 1) + more if more else columns * rows
        inputs = {"seed": int(rng.integers(1, 10_000)), "shape": [height, width, channels], "columns": columns}
        cases.append(Case(f"{channels} maps of {height} x {width} in {columns} columns", inputs))
    return cases


def _maps(inputs: Mapping[str, Any]) -> np.ndarray:
    """Random maps of (height, width, channels), none of them zero everywhere."""
    return np.random.default_rng(inputs["seed"]).uniform(0.1, 3, inputs["shape"]).astype(np.float32)


def _judge_tile(arrays: Arrays, case: Case) -> Verdict:
    maps, columns = _maps(case.inputs), case.inputs["columns"]
    return verdict_on_array(
        arrays["picture"],
        _tile(maps, columns),
        _twins(_TILE_WRONG, maps, columns),
        what="The picture",
        axes="height, width",
        otherwise="The size is right, the values are not. Try it with two channels, one full of ones and one full of "
        "twos, and look at the picture.",
    )


TILE = Exercise(
    id="03.tile",
    title="All channels in one picture",
    answer="tile",
    points=3,
    minutes=10,
    difficulty="medium",
    hints=(
        "Start with a picture of zeros of the right size. How many rows do you need? Round up: `math.ceil`, or "
        "`-(-a // b)`.",
        "Channel k stands in row `k // columns` and column `k % columns` (`divmod` gives both). At which pixel does its "
        "place begin?",
        "In a loop over the channels, write `maps[:, :, channel]` into a slice of the picture: from row times height on, "
        "as many pixels as a map is high, and likewise to the right.",
    ),
    cases=_tile_cases,
    collect=lambda answer, case: {"picture": plain(answer(_maps(case.inputs), case.inputs["columns"]))},
    judge=_judge_tile,
    reference=lambda: _tile,
    wrong={**as_answers(_TILE_WRONG), "nothing_returned": lambda: lambda maps, columns: None},
    right={
        "reshape and transpose": lambda: _tile_by_transpose,
        "blocks": lambda: _tile_by_blocks,
        "TensorFlow": lambda: _tile_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 03.receptive_field
# ---------------------------------------------------------------------------------------------------------------------


def _receptive_field(layers: Any) -> Any:
    size, step = 1, 1
    for kernel, stride in layers:
        size += (kernel - 1) * step
        step *= stride
    return size


def _receptive_field_backwards(layers: Any) -> Any:
    """From one unit of the last layer down to the image: how many pixels, each time, does that many units need?"""
    size = 1
    for kernel, stride in reversed(layers):
        size = (size - 1) * stride + kernel
    return size


def _receptive_field_by_recursion(layers: Any) -> Any:
    if not layers:
        return 1
    (kernel, stride), *above = layers
    return (_receptive_field_by_recursion(above) - 1) * stride + kernel


def _receptive_field_in_numpy(layers: Any) -> Any:
    if len(layers) == 0:
        return np.int64(1)
    kernels, strides = np.array(layers).T
    steps = np.cumprod(np.concatenate([[1], strides[:-1]]))
    return 1 + ((kernels - 1) * steps).sum()


def _field_with(grow: Callable[[int, int, int, int], tuple[int, int]], start: int = 1) -> Callable:
    """A student's answer with another rule: ``grow(size, step, kernel, stride)`` gives the new size and step."""

    def answer(layers: Any) -> int:
        size, step = start, 1
        for kernel, stride in layers:
            size, step = grow(size, step, kernel, stride)
        return size

    return answer


_FIELD_WRONG: dict[str, tuple[Callable, str]] = {
    "strides_ignored": (
        _field_with(lambda size, step, kernel, stride: (size + kernel - 1, step)),
        "The strides make no difference here. Behind a layer of stride 2, neighbours are two pixels apart, and every "
        "kernel reaches twice as far.",
    ),
    "kernels_added": (
        _field_with(lambda size, step, kernel, stride: (size + kernel, step), start=0),
        "This is the sum of the kernels' sizes. Two windows that lie beside each other overlap, and share most of their "
        "pixels.",
    ),
    "kernels_multiplied": (
        _field_with(lambda size, step, kernel, stride: (size * kernel, step)),
        "The kernels' sizes are multiplied. But windows of neighbours overlap: each further pixel of a kernel adds only "
        "one step.",
    ),
    "whole_kernel_added": (
        _field_with(lambda size, step, kernel, stride: (size + kernel * step, step * stride)),
        "Each layer adds a whole kernel. One of its pixels is there already: a kernel of 3 reaches 2 further, a kernel "
        "of 1 nothing.",
    ),
    "stride_too_early": (
        _field_with(lambda size, step, kernel, stride: (size + (kernel - 1) * step * stride, step * stride)),
        "A layer's stride moves the layers **above** it apart. Its own kernel still reaches over neighbours as they were "
        "before.",
    ),
    "only_the_stride_before": (
        _field_with(lambda size, step, kernel, stride: (size + (kernel - 1) * step, stride)),
        "Only the stride of the layer just before counts here. The steps of all layers below multiply: two layers of "
        "stride 2 make neighbours 4 pixels apart.",
    ),
    "own_stride": (
        _field_with(lambda size, step, kernel, stride: (size + (kernel - 1) * stride, step)),
        "Each kernel is multiplied by its own stride. What counts is how far apart its inputs are, and the layers below "
        "decide that.",
    ),
    "last_layer_first": (
        lambda layers: _receptive_field(list(reversed(layers))),
        "The layers are taken from the last to the first with the rule for the other direction. The order matters: a "
        "stride acts on the layers above it.",
    ),
    "begins_at_zero": (
        _field_with(lambda size, step, kernel, stride: (size + (kernel - 1) * step, step * stride), start=0),
        "One too few: before any layer, a unit is a pixel and sees 1 pixel, itself.",
    ),
    "step_not_size": (
        lambda layers: math.prod(stride for _, stride in layers),
        "This is how far apart neighbours are (the step), not how much one of them sees.",
    ),
}


def _field_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(3 if seed is None else seed)
    stacks = [[], [[3, 1]]]
    for length in (4, 5):
        stack = [[int(rng.choice([2, 3, 5])), int(rng.choice([1, 2, 3]))] for _ in range(length)]
        # Whatever is drawn: a kernel and a stride behind another one, strides below larger kernels, no symmetry.
        stack[0], stack[1], stack[-1] = [3, 2], [int(rng.choice([3, 5])), 3], [int(rng.choice([5, 7])), 1]
        stacks.append(stack)
    cases = [
        Case("stacks of 0 and 1 layers", {"stacks": stacks[:2]}),
        Case("stacks of 4 and 5 layers", {"stacks": stacks[2:]}),
    ]
    return cases[::-1]


def _stacks(inputs: Mapping[str, Any]) -> list[list[tuple[int, int]]]:
    return [[(kernel, stride) for kernel, stride in stack] for stack in inputs["stacks"]]


def _judge_receptive_field(arrays: Arrays, case: Case) -> Verdict:
    stacks, found = _stacks(case.inputs), arrays["sizes"]
    if all(size is None for size in found):
        return wrong("`receptive_field` returned None. Is a `return` missing?", "nothing_returned")
    numbers = [as_number(size) for size in found]
    if None in numbers:
        return wrong(f"One number is asked for, the size in pixels; this is {described(found[0])}.", "not_a_number")
    if numbers == [_receptive_field(stack) for stack in stacks]:
        return passed()
    for name, (twin, message) in _FIELD_WRONG.items():
        if numbers == [twin(stack) for stack in stacks]:
            return wrong(message, name)
    stack, number = next(
        (stack, number) for stack, number in zip(stacks, numbers, strict=True) if number != _receptive_field(stack)
    )
    return wrong(
        f"For the layers {stack} you give {number:g}. Draw the first two layers on paper, one row of pixels each, and "
        "count."
    )


RECEPTIVE_FIELD = Exercise(
    id="03.receptive_field",
    title="How much does a unit see?",
    answer="receptive_field",
    points=2,
    minutes=8,
    difficulty="medium",
    hints=(
        "Carry two numbers from layer to layer: the size of the window, and the step, the distance in pixels between "
        "neighbours. Both are 1 at the image.",
        "A kernel that covers 3 neighbours sees one window and two steps more. Which step: the one before or behind this "
        "layer?",
        "For each layer, in order: first let the window grow by the kernel less one, times the step; then multiply the "
        "step by the stride.",
    ),
    cases=_field_cases,
    collect=lambda answer, case: {"sizes": [plain(answer(stack)) for stack in _stacks(case.inputs)]},
    judge=_judge_receptive_field,
    reference=lambda: _receptive_field,
    wrong={
        **as_answers(_FIELD_WRONG),
        "not_a_number": lambda: lambda layers: (_receptive_field(layers),) * 2,
        "nothing_returned": lambda: lambda layers: None,
    },
    right={
        "from the top down": lambda: _receptive_field_backwards,
        "recursion": lambda: _receptive_field_by_recursion,
        "NumPy": lambda: _receptive_field_in_numpy,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 03.sparsity and 03.dead_channels
# ---------------------------------------------------------------------------------------------------------------------


def _sparsity(activations: Any) -> Any:
    return (activations == 0).mean(axis=(0, 1, 2))


def _sparsity_by_counting(activations: Any) -> Any:
    photos, height, width, channels = activations.shape
    alive = np.array([np.count_nonzero(activations[..., channel]) for channel in range(channels)])
    return 1 - alive / (photos * height * width)


def _sparsity_in_tensorflow(activations: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(tf.cast(tf.equal(activations, 0), tf.float32), axis=[0, 1, 2])


def _sparsity_with(
    zero: Callable[[np.ndarray], np.ndarray] = lambda activations: activations == 0, axis: Any = (0, 1, 2)
) -> Callable:
    """A student's answer that counts something else, or along other axes."""
    return lambda activations: zero(activations).mean(axis=axis)


_SPARSITY_WRONG: dict[str, tuple[Callable, str]] = {
    "non_zeros": (
        _sparsity_with(lambda activations: activations != 0),
        "This is the share that is **not** 0.",
    ),
    "one_number": (
        lambda activations: np.float64((activations == 0).mean()),
        "This is one number for the whole layer. One for each channel is asked for.",
    ),
    "one_for_each_photo": (
        _sparsity_with(axis=(1, 2, 3)),
        "This is one number for each photo. The channels are the last axis; average over the other three.",
    ),
    "photos_kept": (
        _sparsity_with(axis=(1, 2)),
        "There is still a row for each photo. Count over the photos as well.",
    ),
    "positions_kept": (
        _sparsity_with(axis=0),
        "There is still a number for each position. Count over height and width as well.",
    ),
    "one_for_each_position": (
        _sparsity_with(axis=(0, 3)),
        "This is one number for each position of a map. One for each channel is asked for.",
    ),
    "first_photo_only": (
        lambda activations: (activations[0] == 0).mean(axis=(0, 1)),
        "Only the first photo is counted.",
    ),
    "count_not_share": (
        lambda activations: (activations == 0).sum(axis=(0, 1, 2)).astype(float),
        "This is the number of zeros. Divide it by the number of values that there are.",
    ),
    "percent": (
        lambda activations: 100 * (activations == 0).mean(axis=(0, 1, 2)),
        "These are percentages. A share goes from 0 to 1.",
    ),
    "negatives_counted": (
        _sparsity_with(lambda activations: activations <= 0),
        "Negative values are counted as zeros too. There are none behind a ReLU; but not every layer has one.",
    ),
    "small_values_counted": (
        _sparsity_with(lambda activations: np.abs(activations) < 1e-3),
        "Small values are counted as zeros too. Only exact zeros should be: a ReLU makes exact ones.",
    ),
    "mean_activation": (
        lambda activations: activations.mean(axis=(0, 1, 2)),
        "These are the channels' mean values. First ask of each value whether it is 0, then take the mean of the "
        "answers.",
    ),
}


def _channel_cases(seed: int | None) -> list[Case]:
    """Activations with channels of every kind that can be mistaken for a dead one; their order is drawn."""
    rng = np.random.default_rng(13 if seed is None else seed)
    cases = []
    for _ in range(2):
        height, width, photos = (int(n) for n in rng.choice([3, 4, 5, 6], size=3, replace=False))
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "shape": [photos, height, width],
            "kinds": [str(kind) for kind in rng.permutation([*_KINDS, "dead", "usual"])],
        }
        cases.append(Case(f"{photos} photos, {len(inputs['kinds'])} maps of {height} x {width}", inputs))
    return cases


def _usual(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """As behind a ReLU: half of the values are 0, and each photo has others that are not."""
    values = np.maximum(rng.normal(0, 1, shape), 0)
    values[:, 0, 0], values[:, -1, -1] = 0.5, 0
    return values


def _one_photo_dead(rng: np.random.Generator, shape: Any, photo: int) -> np.ndarray:
    values = _usual(rng, shape)
    values[photo] = 0
    return values


def _mean_zero(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Values of both signs whose mean over each photo is 0 exactly, since they come in pairs."""
    values = np.zeros(shape)
    values[:, 0, 0], values[:, -1, -1] = 1.5, -1.5
    values[:, 0, -1], values[:, -1, 0] = 0.25, -0.25
    return values


_KINDS: dict[str, Callable[[np.random.Generator, Any], np.ndarray]] = {
    "usual": _usual,
    "dead": lambda rng, shape: np.zeros(shape),
    "first photo dead": lambda rng, shape: _one_photo_dead(rng, shape, 0),
    "last photo dead": lambda rng, shape: _one_photo_dead(rng, shape, -1),
    "mean zero": _mean_zero,
    "constant": lambda rng, shape: np.full(shape, 0.5),
    "negative": lambda rng, shape: -_usual(rng, shape),
    "tiny": lambda rng, shape: 1e-5 * _usual(rng, shape),
    "never zero": lambda rng, shape: rng.uniform(0.1, 1, shape),
}


def _channels(inputs: Mapping[str, Any]) -> np.ndarray:
    """(photos, height, width, channels) float32, one channel of each kind."""
    rng = np.random.default_rng(inputs["seed"])
    return np.stack([_KINDS[kind](rng, inputs["shape"]) for kind in inputs["kinds"]], axis=-1).astype(np.float32)


def _judge_sparsity(arrays: Arrays, case: Case) -> Verdict:
    activations = _channels(case.inputs)
    return verdict_on_array(
        _number_as_array(arrays["shares"]),
        _sparsity(activations),
        _twins(_SPARSITY_WRONG, activations),
        what="The result",
        axes="channels",
        otherwise="There is one number for each channel, as there should be, but it is not the share of zeros.",
    )


SPARSITY = Exercise(
    id="03.sparsity",
    title="How much of it is zero?",
    answer="sparsity",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "`activations == 0` gives True or False for each value. What is the mean of these?",
        "The mean of True and False is the share of True. Over which axes should it go, so that the channels are left?",
        "The axes are (photos, height, width, channels): take the mean over the first three, `axis=(0, 1, 2)`.",
    ),
    cases=_channel_cases,
    collect=lambda answer, case: {"shares": plain(answer(_channels(case.inputs)))},
    judge=_judge_sparsity,
    reference=lambda: _sparsity,
    wrong={**as_answers(_SPARSITY_WRONG), "nothing_returned": lambda: lambda activations: None},
    right={
        "counting channel by channel": lambda: _sparsity_by_counting,
        "TensorFlow": lambda: _sparsity_in_tensorflow,
        "positions in one line": lambda: (
            lambda activations: np.mean(activations.reshape(-1, activations.shape[-1]) == 0, axis=0)
        ),
    },
)


def _dead_channels(activations: Any) -> Any:
    return ~activations.any(axis=(0, 1, 2))


def _dead_by_sparsity(activations: Any) -> Any:
    return _sparsity(activations) == 1


def _dead_in_a_loop(activations: Any) -> Any:
    return np.array([not activations[..., channel].any() for channel in range(activations.shape[-1])])


_DEAD_WRONG: dict[str, tuple[Callable, str]] = {
    "dead_in_one_photo": (
        lambda activations: (activations == 0).all(axis=(1, 2)).any(axis=0),
        "Channels are called dead that give nothing for *one* of the photos. They may only have found nothing there; "
        "dead is what gives nothing for *all* of them.",
    ),
    "first_photo_only": (
        lambda activations: ~activations[0].any(axis=(0, 1)),
        "Only the first photo is looked at. A channel that finds nothing in it may well find something in the others.",
    ),
    "photos_kept": (
        lambda activations: ~activations.any(axis=(1, 2)),
        "There is still a row for each photo. A channel is dead if it is 0 in all of them.",
    ),
    "any_zero": (
        lambda activations: (activations == 0).any(axis=(0, 1, 2)),
        "These are the channels that are 0 *somewhere*: nearly all. Dead is what is 0 *everywhere*.",
    ),
    "alive": (
        lambda activations: activations.any(axis=(0, 1, 2)),
        "These are the channels that are alive: it is the wrong way round.",
    ),
    "mean_is_zero": (
        lambda activations: np.isclose(activations.mean(axis=(0, 1, 2)), 0, atol=1e-9),
        "A mean (or a sum) of 0 does not make a channel dead: values of both signs may cancel out. Not every layer ends "
        "with a ReLU.",
    ),
    "constant": (
        lambda activations: np.ptp(activations, axis=(0, 1, 2)) == 0,
        "A channel that is the same everywhere is called dead here, whatever its value. Dead is 0 everywhere.",
    ),
    "never_positive": (
        lambda activations: activations.max(axis=(0, 1, 2)) <= 0,
        "A channel that is negative is called dead here. It does give something; not every layer ends with a ReLU.",
    ),
    "small_values": (
        lambda activations: np.abs(activations).max(axis=(0, 1, 2)) < 1e-3,
        "A weak channel is called dead here. Weak is not dead: only exact zeros count.",
    ),
    "one_answer": (
        lambda activations: ~activations.any(),
        "This is one answer for the whole layer. One for each channel is asked for.",
    ),
    "numbers_not_truth": (
        lambda activations: np.flatnonzero(~activations.any(axis=(0, 1, 2))),
        "These are the numbers of the dead channels. One truth value for each channel is asked for.",
    ),
}


def _judge_dead_channels(arrays: Arrays, case: Case) -> Verdict:
    activations = _channels(case.inputs)
    found = arrays["dead"]
    if isinstance(found, bool):
        found = np.array(found)
    return verdict_on_array(
        found,
        _dead_channels(activations),
        _twins(_DEAD_WRONG, activations),
        what="The result",
        axes="channels",
        kinds="b",
        otherwise="There is one truth value for each channel, as there should be, but not all of them are right.",
    )


DEAD_CHANNELS = Exercise(
    id="03.dead_channels",
    title="Which channels are dead?",
    answer="dead_channels",
    points=1,
    minutes=4,
    difficulty="easy",
    hints=(
        "`activations == 0` again. Which of NumPy's functions says whether *all* values along some axes are True?",
        "`.all(axis=...)` and `.any(axis=...)` take several axes, as `.mean` did. The channels should be left.",
        "All over photos, height and width: `axis=(0, 1, 2)` again.",
    ),
    cases=_channel_cases,
    collect=lambda answer, case: {"dead": plain(answer(_channels(case.inputs)))},
    judge=_judge_dead_channels,
    reference=lambda: _dead_channels,
    wrong={**as_answers(_DEAD_WRONG), "nothing_returned": lambda: lambda activations: None},
    right={
        "from the sparsity": lambda: _dead_by_sparsity,
        "channel by channel": lambda: _dead_in_a_loop,
        "largest absolute value": lambda: lambda activations: np.abs(activations).max(axis=(0, 1, 2)) == 0,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 03.correlations
# ---------------------------------------------------------------------------------------------------------------------


def _correlations(maps: Any, picture: Any) -> Any:
    values = maps.reshape(-1, maps.shape[-1])
    values = values - values.mean(axis=0)
    wanted = picture.ravel() - picture.mean()
    lengths = np.sqrt((values**2).sum(axis=0) * (wanted**2).sum())
    return np.divide(wanted @ values, lengths, out=np.zeros(len(lengths)), where=lengths > 0)


def _correlations_in_a_loop(maps: Any, picture: Any) -> Any:
    result = []
    for channel in range(maps.shape[2]):
        values = maps[:, :, channel]
        constant = values.min() == values.max()
        result.append(0.0 if constant else np.corrcoef(values.ravel(), picture.ravel())[0, 1])
    return np.array(result)


def _correlations_by_scores(maps: Any, picture: Any) -> Any:
    """Means of products of values that are measured in standard deviations from their mean."""
    spread = maps.std(axis=(0, 1))
    scores = (maps - maps.mean(axis=(0, 1))) / np.where(spread > 0, spread, 1)
    wanted = (picture - picture.mean()) / picture.std()
    return np.einsum("hwk,hw->k", scores, wanted) / picture.size


def _correlations_in_tensorflow(maps: Any, picture: Any) -> Any:
    import tensorflow as tf

    values = tf.cast(maps, tf.float64) - tf.reduce_mean(tf.cast(maps, tf.float64), axis=(0, 1))
    wanted = tf.cast(picture, tf.float64)[..., tf.newaxis]
    wanted = wanted - tf.reduce_mean(wanted)
    lengths = tf.norm(values, axis=(0, 1)) * tf.norm(wanted)
    return tf.math.divide_no_nan(tf.reduce_sum(values * wanted, axis=(0, 1)), lengths)


def _safely(products: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.divide(products, lengths, out=np.zeros(np.shape(products)), where=lengths > 0)


def _cosine(maps: np.ndarray, picture: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(maps, axis=(0, 1)) * np.linalg.norm(picture)
    return _safely(np.einsum("hwk,hw->k", maps, picture), lengths)


def _covariance(maps: np.ndarray, picture: np.ndarray) -> np.ndarray:
    return np.einsum("hwk,hw->k", maps - maps.mean(axis=(0, 1)), picture - picture.mean()) / picture.size


def _scrambled_correlations(maps: np.ndarray, picture: np.ndarray) -> np.ndarray:
    lines = maps.reshape(maps.shape[2], -1)
    return _correlations(lines.T[np.newaxis], picture.reshape(1, -1))


def _rank_correlations(maps: np.ndarray, picture: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    ranks = np.apply_along_axis(rankdata, 0, maps.reshape(-1, maps.shape[2]))
    return _correlations(ranks[np.newaxis], rankdata(picture)[np.newaxis])


def _unequal_divisors(maps: np.ndarray, picture: np.ndarray) -> np.ndarray:
    return _correlations(maps, picture) * picture.size / (picture.size - 1)


def _whole_matrix(maps: np.ndarray, picture: np.ndarray) -> np.ndarray:
    lines = np.concatenate([picture.reshape(1, -1), maps.reshape(-1, maps.shape[2]).T])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.corrcoef(lines)


_CORRELATIONS_WRONG: dict[str, tuple[Callable, str]] = {
    "scrambled": (
        _scrambled_correlations,
        "The maps are scrambled: `reshape` to (channels, ...) cuts the numbers in their order, and next to each other are "
        "the channels of one position. Put the positions in one line and keep the channels last, or transpose first.",
    ),
    "absolute": (
        lambda maps, picture: np.abs(_correlations(maps, picture)),
        "The signs are gone. Keep them: a map that is bright where the picture is dark has a correlation below 0.",
    ),
    "squared": (
        lambda maps, picture: _correlations(maps, picture) ** 2,
        "These are the squares of the correlations.",
    ),
    "means_not_subtracted": (
        _cosine,
        "The means have not been subtracted. Without that, two pictures that are both positive always seem to agree.",
    ),
    "means_of_positions": (
        lambda maps, picture: _correlations(maps - maps.mean(axis=2, keepdims=True), picture),
        "The mean over the channels was subtracted at each position. Each **map's** own mean, over its positions, should "
        "be.",
    ),
    "covariance": (
        _covariance,
        "These are covariances: they grow with the size of the values. Divide by both standard deviations.",
    ),
    "divided_once": (
        lambda maps, picture: _safely(_covariance(maps, picture), maps.std(axis=(0, 1))),
        "Divided by the maps' standard deviations, but not by the picture's.",
    ),
    "unequal_divisors": (
        _unequal_divisors,
        "A little too large: the covariance was divided by n - 1 and the standard deviations by n. `np.cov` and `np.std` "
        "differ in that; use the same in both.",
    ),
    "ranks": (
        _rank_correlations,
        "This is Spearman's correlation, of ranks. Pearson's is asked for, of the values themselves.",
    ),
    "one_number": (
        lambda maps, picture: np.float64(
            np.corrcoef(maps.ravel(), np.repeat(picture[..., np.newaxis], maps.shape[2], axis=2).ravel())[0, 1]
        ),
        "This is one number for all the maps together. One for each channel is asked for.",
    ),
    "whole_matrix": (
        _whole_matrix,
        "This is the matrix of all with all, as `np.corrcoef` gives it. Only the picture's row is asked for, without its "
        "correlation with itself, and with 0 for the maps that are the same everywhere.",
    ),
}


def _correlation_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(17 if seed is None else seed)
    cases = []
    for _ in range(2):
        height, width, channels = (int(n) for n in rng.choice([5, 6, 7, 8], size=3, replace=False))
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "shape": [height, width, channels],
            # One of the maps that follow the picture upwards and one of those that follow it downwards: some of each stay.
            "constant": [int(rng.choice(np.arange(first, channels, 2))) for first in rng.permutation(2)],
        }
        cases.append(Case(f"{channels} maps and a picture of {height} x {width}", inputs))
    return cases


def _maps_and_picture(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Maps that follow the picture more or less, up or down, behind a ReLU; one is 0 everywhere and one 0.5."""
    rng = np.random.default_rng(inputs["seed"])
    height, width, channels = inputs["shape"]
    picture = rng.uniform(0.2, 0.9, (height, width))
    strength = np.where(np.arange(channels) % 2, -1, 1) * rng.uniform(1, 3, channels)
    maps = (picture[..., np.newaxis] - 0.5) * strength + rng.normal(0, 0.3, (height, width, channels)) + 0.3
    maps = np.maximum(maps, 0) * rng.uniform(0.5, 8, channels)
    dead, constant = inputs["constant"]
    maps[..., dead], maps[..., constant] = 0, 0.5
    return maps.astype(np.float32), picture


def _judge_correlations(arrays: Arrays, case: Case) -> Verdict:
    maps, picture = _maps_and_picture(case.inputs)
    expected = _correlations(maps, picture)
    found = _number_as_array(arrays["correlations"])
    if isinstance(found, np.ndarray) and found.dtype.kind == "f" and np.isnan(found).any():
        found = np.nan_to_num(found)
        if same(found, expected):
            return wrong(
                "Right, but for the maps that are the same everywhere, such as dead ones: they have no correlation, and "
                "dividing by their standard deviation of 0 gives NaN. Give them 0.",
                "nan_for_constant",
            )
    twins = {
        name: (np.nan_to_num(twin), message)
        for name, (twin, message) in _twins(_CORRELATIONS_WRONG, maps, picture).items()
    }
    return verdict_on_array(
        found,
        expected,
        twins,
        what="The result",
        axes="channels",
        otherwise="There is one number for each channel, as there should be, but it is not Pearson's correlation with the "
        "picture.",
    )


CORRELATIONS = Exercise(
    id="03.correlations",
    title="Does a map look like a picture?",
    answer="correlations",
    points=2,
    minutes=8,
    difficulty="medium",
    hints=(
        "A loop over the channels will do. For one map, `np.corrcoef` takes two lists of numbers: what turns a map into "
        "one?",
        "`np.corrcoef(a.ravel(), b.ravel())` is a 2 x 2 matrix; the number that you want is beside its diagonal. And "
        "which maps would make it divide by 0?",
        "For each channel: 0 if the map's smallest and largest value are the same, else entry `[0, 1]` of that matrix. "
        "Gather the numbers in an array.",
    ),
    cases=_correlation_cases,
    collect=lambda answer, case: {"correlations": plain(answer(*_maps_and_picture(case.inputs)))},
    judge=_judge_correlations,
    reference=lambda: _correlations,
    wrong={
        **as_answers(_CORRELATIONS_WRONG),
        "nan_for_constant": lambda: (
            lambda maps, picture: np.where(maps.std(axis=(0, 1)) > 0, _correlations(maps, picture), np.nan)
        ),
        "nothing_returned": lambda: lambda maps, picture: None,
    },
    right={
        "a loop with np.corrcoef": lambda: _correlations_in_a_loop,
        "standard scores and einsum": lambda: _correlations_by_scores,
        "TensorFlow": lambda: _correlations_in_tensorflow,
    },
)

# ---------------------------------------------------------------------------------------------------------------------
# 03.ascent_step
# ---------------------------------------------------------------------------------------------------------------------


def _ascent_step(image: Any, gradient: Any, length: float) -> Any:
    scale = np.sqrt((gradient**2).mean())
    if scale == 0:
        return image
    return np.clip(image + length * gradient / scale, 0, 255)


def _ascent_step_by_norm(image: Any, gradient: Any, length: float) -> Any:
    norm = np.linalg.norm(gradient)
    direction = gradient * math.sqrt(gradient.size) / norm if norm > 0 else np.zeros_like(gradient)
    return (image + length * direction).clip(0, 255)


def _ascent_step_in_tensorflow(image: Any, gradient: Any, length: float) -> Any:
    import tensorflow as tf

    step = tf.math.divide_no_nan(gradient, tf.sqrt(tf.reduce_mean(tf.square(gradient))))
    return tf.clip_by_value(image + length * step, 0, 255)


def _ascent_step_as_keras_has_it(image: Any, gradient: Any, length: float) -> Any:
    """With a tiny number in the divisor against the division by zero."""
    return np.clip(image + length * gradient / (np.sqrt(np.mean(np.square(gradient))) + 1e-10), 0, 255)


def _step_with(
    size_of: Callable[[np.ndarray], Any] = lambda gradient: np.sqrt((gradient**2).mean()),
    sign: int = 1,
    bounds: tuple[float, float] = (0, 255),
) -> Callable:
    """A student's answer that divides by something else, goes the other way or has other bounds."""

    def answer(image: Any, gradient: Any, length: float) -> Any:
        if not gradient.any():
            return image
        return np.clip(image + sign * length * gradient / size_of(gradient), *bounds)

    return answer


_STEP_WRONG: dict[str, tuple[Callable, str]] = {
    "downhill": (
        _step_with(sign=-1),
        "This step goes down: the activation gets smaller. To climb, add the step.",
    ),
    "not_normalized": (
        _step_with(lambda gradient: 1.0),
        "The gradient has not been divided by its size. Gradients with respect to pixels are tiny, and nothing would "
        "happen to the image.",
    ),
    "divided_by_norm": (
        _step_with(np.linalg.norm),
        "The gradient was divided by its whole length, the root of the **sum** of squares. With the root of their **mean** "
        "the step is `length` grey levels for a pixel, however many pixels there are.",
    ),
    "divided_by_largest": (
        _step_with(lambda gradient: np.abs(gradient).max()),
        "The gradient was divided by its largest value. One pixel with a large gradient would keep all the others from "
        "moving.",
    ),
    "divided_by_mean": (
        _step_with(lambda gradient: np.abs(gradient).mean()),
        "The gradient was divided by the mean of its absolute values. The root of the mean of its squares is asked for.",
    ),
    "mean_of_squares": (
        _step_with(lambda gradient: (gradient**2).mean()),
        "The gradient was divided by the mean of its squares; the root is missing.",
    ),
    "standard_deviation": (
        _step_with(np.std),
        "The gradient was divided by its standard deviation, which leaves out its mean. The root of the mean of the squares "
        "themselves is asked for.",
    ),
    "sign_only": (
        lambda image, gradient, length: np.clip(image + length * np.sign(gradient), 0, 255),
        "Every pixel moves equally far: only the gradient's sign is used. Pixels that matter more should move further.",
    ),
    "each_colour_by_itself": (
        lambda image, gradient, length: np.clip(
            image + length * gradient / np.maximum(np.sqrt((gradient**2).mean(axis=(0, 1))), 1e-30), 0, 255
        ),
        "Each colour has been divided by its own size. One number for the whole gradient keeps its direction.",
    ),
    "not_clipped": (
        _step_with(bounds=(-np.inf, np.inf)),
        "Some pixels have left the range of a photo. After the step, clip to 0 ... 255.",
    ),
    "clipped_to_one": (
        _step_with(bounds=(0, 1)),
        "The pixels were clipped to 0 ... 1. They go from 0 to 255 here.",
    ),
    "step_alone": (
        lambda image, gradient, length: length * gradient / max(np.sqrt((gradient**2).mean()), 1e-30),
        "This is the step alone. Add it to the image.",
    ),
}


def _step_cases(seed: int | None) -> list[Case]:
    rng = np.random.default_rng(19 if seed is None else seed)
    cases = []
    for kind in ("an image", "a gradient of zeros"):
        height, width = (int(n) for n in rng.choice([5, 6, 7, 8], size=2, replace=False))
        inputs = {
            "seed": int(rng.integers(1, 10_000)),
            "shape": [height, width, 3],
            "length": int(rng.integers(6, 12)),
            "flat": kind != "an image",
        }
        cases.append(Case(f"{kind}, {height} x {width}", inputs))
    return cases


def _image_and_gradient(inputs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(inputs["seed"])
    image = rng.uniform(0, 255, inputs["shape"])
    image[0, :, :], image[-1, :, :] = 254.5, 0.5  # a step leads out of the range here
    if inputs["flat"]:
        return image, np.zeros(inputs["shape"])
    return image, 2e-3 * (rng.normal(0.4, 1, inputs["shape"]) * np.array([0.6, 1, 1.6]))


def _judge_ascent_step(arrays: Arrays, case: Case) -> Verdict:
    image, gradient = _image_and_gradient(case.inputs)
    found, length = arrays["image"], case.inputs["length"]
    if not gradient.any() and isinstance(found, np.ndarray) and np.isnan(found).any():
        return wrong(
            "Where the gradient is zero everywhere, the image should stay as it is; dividing by 0 makes NaN of it.",
            "nan_for_no_gradient",
        )
    return verdict_on_array(
        found,
        _ascent_step(image, gradient, length),
        _twins(_STEP_WRONG, image, gradient, length),
        what="The image",
        axes="height, width, colours",
        otherwise="The shape is right, the values are not: the image, plus `length` times the gradient divided by the "
        "root of the mean of its squares, clipped to 0 ... 255.",
    )


def _step_dividing_by_zero(image: Any, gradient: Any, length: float) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(image + length * gradient / np.sqrt((gradient**2).mean()), 0, 255)


ASCENT_STEP = Exercise(
    id="03.ascent_step",
    title="One step uphill",
    answer="ascent_step",
    points=2,
    minutes=6,
    difficulty="medium",
    hints=(
        "The size of the gradient is one number: square all its values, take their mean, take the root.",
        "Divide by the size, multiply by `length`, and go in the gradient's direction. Then see that no pixel leaves the "
        "range, and what happens if the size is 0.",
        "If the size is 0, return the image. Otherwise add the step and hand the sum to `np.clip` with 0 and 255.",
    ),
    cases=_step_cases,
    collect=lambda answer, case: {"image": plain(answer(*_image_and_gradient(case.inputs), case.inputs["length"]))},
    judge=_judge_ascent_step,
    reference=lambda: _ascent_step,
    wrong={
        **as_answers(_STEP_WRONG),
        "nan_for_no_gradient": lambda: _step_dividing_by_zero,
        "nothing_returned": lambda: lambda image, gradient, length: None,
    },
    right={
        "by the norm": lambda: _ascent_step_by_norm,
        "TensorFlow": lambda: _ascent_step_in_tensorflow,
        "a tiny number in the divisor": lambda: _ascent_step_as_keras_has_it,
    },
)

EXERCISES = (
    TO_BATCH,
    PREDICT_LAYERS,
    CHOOSE_LAYER,
    TILE,
    RECEPTIVE_FIELD,
    SPARSITY,
    DEAD_CHANNELS,
    CORRELATIONS,
    ASCENT_STEP,
)
