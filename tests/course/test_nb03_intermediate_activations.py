"""What the judges of notebook 03 hold for the truth, against labutils, by hand, and on cases that cannot be mixed up."""

import numpy as np
import pytest

from labutils import explain, plots
from labutils.course import registry
from labutils.course.checking import assess
from labutils.course.exercise import Status
from labutils.course.exercises import nb03_intermediate_activations as nb03

SEEDS = (None, 11, 12, 13)
each_seed = pytest.mark.parametrize("seed", SEEDS)


def inputs_of(exercise_id, seed):
    return [case.inputs for case in registry.find(exercise_id).cases(seed)]


@each_seed
def test_layers_are_those_of_labutils(seed):
    (inputs,) = inputs_of("03.predict_layers", seed)
    expected = nb03._truth(inputs)
    ours = explain.activations(nb03._network(inputs), nb03._network_images(inputs))
    assert list(ours) == list(expected)
    for name in list(ours)[:-1]:  # of the last one labutils gives the logits
        np.testing.assert_allclose(ours[name], expected[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(expected["answer"].sum(axis=1), 1, rtol=1e-5)
    assert len({values.shape[1:] for values in expected.values()}) == len(expected)


@each_seed
def test_receptive_fields_are_those_of_labutils(seed):
    import keras

    for inputs in inputs_of("03.receptive_field", seed):
        for stack in nb03._stacks(inputs):
            image = keras.Input((400, 500, 1))
            x = keras.layers.Activation("linear")(image)
            for kernel, stride in stack:
                x = keras.layers.Conv2D(1, kernel, strides=stride, padding="same")(x)
            last = x._keras_history.operation.name
            model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalMaxPooling2D()(x)))
            statistics = explain.activation_statistics(model, np.zeros((1, 400, 500, 1), np.float32), [last])
            assert statistics[last].receptive_field.size == (nb03._receptive_field(stack),) * 2


@pytest.mark.parametrize(
    ("layers", "size"),
    [
        ([], 1),
        ([(3, 1)], 3),
        ([(3, 1), (3, 1)], 5),  # VGG16's first block: 3, 5, and 6 behind the pooling
        ([(3, 1), (3, 1), (2, 2)], 6),
        ([(3, 1), (3, 1), (2, 2), (3, 1)], 10),
        ([(1, 2), (3, 1)], 5),  # only every second pixel is looked at: 3 of them span 5
    ],
)
def test_receptive_field_by_hand(layers, size):
    assert nb03._receptive_field(layers) == size


@each_seed
def test_stacks_tell_every_mistake_from_every_other(seed):
    stacks = [stack for inputs in inputs_of("03.receptive_field", seed) for stack in nb03._stacks(inputs)]
    answers = {name: tuple(twin(stack) for stack in stacks) for name, (twin, _) in nb03._FIELD_WRONG.items()}
    answers[""] = tuple(nb03._receptive_field(stack) for stack in stacks)
    assert len(set(answers.values())) == len(answers)


@each_seed
def test_sizes_asked_for_tell_the_axes_apart(seed):
    for inputs in inputs_of("03.choose_layer", seed):
        layers, sizes = nb03._layers(inputs), [tuple(size) for size in inputs["sizes"]]
        answers = {name: tuple(twin(layers, size) for size in sizes) for name, (twin, _) in nb03._CHOOSE_WRONG.items()}
        answers[""] = tuple(nb03._choose_layer(layers, size) for size in sizes)
        assert len(set(answers.values())) == len(answers)
        assert None in answers[""], "One size that no layer has."
        assert len(set(answers[""])) >= 4


def test_choose_layer_by_hand():
    shapes = {"a": (2, 8, 6, 3), "b": (2, 8, 6, 5), "c": (2, 4, 6, 5), "d": (2, 120), "e": (2, 10)}
    layers = {name: np.zeros(shape) for name, shape in shapes.items()}
    assert nb03._choose_layer(layers, (8, 6)) == "b"
    assert nb03._choose_layer(layers, [4, 6]) == "c"
    assert nb03._choose_layer(layers, (6, 8)) is None


def test_tile_by_hand():
    maps = np.stack([np.full((1, 2), number) for number in (1, 2, 3)], axis=-1)
    np.testing.assert_array_equal(nb03._tile(maps, 2), [[1, 1, 2, 2], [3, 3, 0, 0]])
    np.testing.assert_array_equal(nb03._tile(maps, 3), [[1, 1, 2, 2, 3, 3]])
    np.testing.assert_array_equal(nb03._tile(maps, 5), [[1, 1, 2, 2, 3, 3, 0, 0, 0, 0]])


@each_seed
def test_tiles_are_in_the_order_of_the_channel_grid(seed):
    for inputs in inputs_of("03.tile", seed):
        maps, columns = nb03._maps(inputs), inputs["columns"]
        height, width, channels = maps.shape
        assert len({height, width, columns, -(-channels // columns)}) == 4
        figure = plots.channel_grid(maps, columns=columns, shared=True)
        canvas = np.asarray(figure.axes[0].images[0].get_array())
        tiled = nb03._tile(maps, columns)
        step = canvas.shape[0] * columns // (-(-channels // columns) * columns), canvas.shape[1] // columns
        for channel in range(channels):
            row, column = divmod(channel, columns)
            values = tiled[row * height : (row + 1) * height, column * width : (column + 1) * width]
            np.testing.assert_array_equal(values, maps[..., channel])
            panel = canvas[row * step[0] + 13 : (row + 1) * step[0], column * step[1] : (column + 1) * step[1] - 2]
            brightest = np.unravel_index(values.argmax(), values.shape)
            light = panel[: panel.shape[0] // height * height].sum(axis=-1)
            enlarged = panel.shape[1] // width
            assert light[brightest[0] * enlarged, brightest[1] * enlarged] == light[: height * enlarged].max()


@each_seed
def test_tile_cases_leave_places_over_and_fill_them(seed):
    left = [-inputs["shape"][2] % inputs["columns"] for inputs in inputs_of("03.tile", seed)]
    assert left[0] > 0
    assert left[1] == 0


@each_seed
def test_sparsity_and_dead_channels_are_those_of_labutils(seed):
    import keras

    for inputs in inputs_of("03.sparsity", seed):
        activations = nb03._channels(inputs)
        assert len(set(activations.shape)) == 4
        same, pool = keras.layers.Activation("linear", name="same"), keras.layers.GlobalMaxPooling2D()
        model = keras.Sequential([keras.Input(activations.shape[1:]), same, pool, keras.layers.Dense(2)])
        statistics = explain.activation_statistics(model, activations, ["same"])["same"]
        np.testing.assert_array_equal(nb03._dead_channels(activations), statistics.dead)
        assert nb03._sparsity(activations).mean() == pytest.approx(statistics.sparsity)
        kinds = np.array(inputs["kinds"])
        np.testing.assert_array_equal(nb03._dead_channels(activations), kinds == "dead")
        assert (kinds == "dead").sum() == 2


@each_seed
def test_correlations_are_numpys(seed):
    for inputs in inputs_of("03.correlations", seed):
        maps, picture = nb03._maps_and_picture(inputs)
        assert len(set(maps.shape)) == 3
        found = nb03._correlations(maps, picture)
        constant = np.ptp(maps, axis=(0, 1)) == 0
        assert constant.sum() == 2
        for channel in range(maps.shape[2]):
            wanted = 0 if constant[channel] else np.corrcoef(maps[..., channel].ravel(), picture.ravel())[0, 1]
            assert found[channel] == pytest.approx(wanted, abs=1e-6)
        assert found.min() < -0.3
        assert found.max() > 0.3


def test_correlations_of_nan_alone_are_not_called_right():
    verdict = assess(registry.find("03.correlations"), lambda maps, picture: np.full(maps.shape[2], np.nan))
    assert verdict.status is Status.WRONG
    assert verdict.mistake != "nan_for_constant"


def test_what_numpy_gives_for_constant_maps_gets_its_diagnosis():
    def answer(maps, picture):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array([np.corrcoef(values.ravel(), picture.ravel())[0, 1] for values in np.moveaxis(maps, 2, 0)])

    assert assess(registry.find("03.correlations"), answer).mistake == "nan_for_constant"


@each_seed
def test_a_step_moves_the_image_by_its_length_where_nothing_is_clipped(seed):
    inputs, flat = inputs_of("03.ascent_step", seed)
    image, gradient = nb03._image_and_gradient(inputs)
    moved = nb03._ascent_step(np.full(image.shape, 127.0), gradient, inputs["length"]) - 127
    assert np.sqrt((moved**2).mean()) == pytest.approx(inputs["length"])
    assert (np.sign(moved) == np.sign(gradient)).all()
    stepped = nb03._ascent_step(image, gradient, inputs["length"])
    assert stepped.min() == 0
    assert stepped.max() == 255
    image, gradient = nb03._image_and_gradient(flat)
    np.testing.assert_array_equal(nb03._ascent_step(image, gradient, 5), image)


def test_a_step_that_changes_the_image_in_place_and_returns_it_is_right():
    def answer(image, gradient, length):
        if gradient.any():
            image += length * gradient / np.sqrt(np.square(gradient).mean())
        return image.clip(0, 255)

    assert assess(registry.find("03.ascent_step"), answer).passed


@pytest.mark.parametrize("exercise_id", ["03.tile", "03.correlations"])
def test_right_up_to_the_last_digits_passes_and_one_percent_off_does_not(exercise_id):
    exercise = registry.find(exercise_id)
    reference = exercise.reference()
    assert assess(exercise, lambda *arrays: reference(*arrays) * (1 + 1e-6)).passed
    assert assess(exercise, lambda *arrays: reference(*arrays) * 1.01).status is Status.WRONG


def test_the_public_cases_pasted_in_do_not_pass_on_drawn_ones():
    exercise = registry.find("03.choose_layer")
    reference = exercise.reference()
    public = {
        tuple(nb03._layers(inputs)): [reference(nb03._layers(inputs), size) for size in inputs["sizes"]]
        for inputs in inputs_of("03.choose_layer", None)
    }

    def pasted(activations, size):
        return reference(activations, size) if tuple(activations) in public else "layer_a"

    assert assess(exercise, pasted).passed
    assert assess(exercise, pasted, exercise.cases(1)).status is Status.WRONG
