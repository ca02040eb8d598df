"""Occlusion against pencil and paper and the slow twin, and the incremental route against whole images."""

import importlib
import itertools

import keras
import numpy as np
import pytest
import twins_occlusion as twins
import zoo

from labutils.explain import count_passes
from labutils.explain.incremental import Axis, IncrementalRoute, Sliding, _classes, _reach, _windows, find_chain
from labutils.explain.occlusion import FullRoute, lay_patches, occlusion
from labutils.explain.surgery import open_model

L = keras.layers
module = importlib.import_module("labutils.explain.occlusion")  # the package may export the function by this name


def linear(weights):
    """S(x) = sum weights * x, a model without feature maps: (h, w, channels)."""
    model = keras.Sequential([keras.Input(np.shape(weights)), L.Flatten(), L.Dense(1, use_bias=False)])
    model.set_weights([np.reshape(weights, (-1, 1)).astype(np.float32)])
    return model


# By hand ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [linear, lambda weights: zoo.linear_head(weights[..., None])])
@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        # w x = 1 4 9 16 25; patches of two pixels at 0, 2 and, moved back to the border, 3: drops 5, 25, 41.
        (0.0, [5, 5, 25, 33, 41]),
        # w (x - 2) = -1 0 3 8 15: drops -1, 11, 23.
        (2.0, [-1, -1, 11, 17, 23]),
        ([2.0], [-1, -1, 11, 17, 23]),
        # Filled with itself plus one: w (-1), drops -3, -7, -9.
        ([[[2.0], [3.0], [4.0], [5.0], [6.0]]], [-3, -3, -7, -8, -9]),
    ],
)
def test_worked_out_by_hand(build, fill, expected):
    numbers = np.arange(1.0, 6.0).reshape(1, 5, 1)  # the weights, and the image too
    result = occlusion(build(numbers), numbers, patch=(1, 2), stride=2, fill=fill)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[expected]], rtol=1e-6)


def test_two_axes_by_hand():
    # 3 x 3 image, patches 2 x 2, stride 1: the drops are the sums over the patches, each pixel has their mean.
    weights = np.arange(9.0).reshape(3, 3, 1)
    sums = np.array([[8, 12], [20, 24]])
    expected = [[8, 10, 12], [14, 16, 18], [20, 22, 24]]
    assert [[weights[i : i + 2, j : j + 2].sum() for j in (0, 1)] for i in (0, 1)] == sums.tolist()
    np.testing.assert_allclose(occlusion(linear(weights), np.ones((3, 3, 1)), patch=2, stride=1), [expected], rtol=1e-6)


def test_pixels_under_no_patch_get_zero():
    # One pixel at 0, 3, 6 and 7.
    result = occlusion(linear(np.ones((1, 8, 1))), np.ones((1, 8, 1)), patch=1, stride=3)
    np.testing.assert_array_equal(result, [[[1, 0, 0, 1, 0, 0, 1, 1]]])


@pytest.mark.parametrize(("size", "side", "stride"), [(224, 16, 8), (17, 4, 3), (9, 9, 2), (5, 1, 1), (10, 3, 8)])
def test_the_first_and_last_pixel_are_covered(size, side, stride):
    result = occlusion(linear(np.ones((1, size, 1))), np.ones((1, size, 1)), patch=(1, side), stride=stride)[0, 0]
    assert result[0] == result[-1] == side
    assert stride > side or (result == side).all()


def test_top_class_is_that_of_the_unoccluded_image():
    # S = (x0, x1): the top class of (3, 2) is 0, but with the first pixel covered it is 1.
    model = zoo.linear_head(np.eye(2).reshape(1, 2, 1, 2))
    np.testing.assert_array_equal(occlusion(model, [[[3.0], [2.0]]], patch=1, stride=1), [[[3, 0]]])


# Against the slow twin ----------------------------------------------------------------------------------------------

SIZE = (13, 18, 3)  # odd, even, not square


def conv(filters=4, kernel=3, **options):
    return L.Conv2D(filters, kernel, **({"padding": "same", "activation": "relu"} | options))


CHAINS = {
    "same": lambda: [conv(), conv(kernel=5), conv(kernel=1)],
    "valid": lambda: [conv(padding="valid"), conv(kernel=(2, 4), padding="valid")],
    "same, even kernels": lambda: [conv(kernel=2), conv(kernel=4)],
    "same, strides": lambda: [conv(strides=2), conv(kernel=5, strides=3)],
    "valid, strides": lambda: [conv(strides=2, padding="valid"), conv(kernel=2, strides=2, padding="valid")],
    "strides that leave pixels out": lambda: [conv(kernel=2, strides=3, padding="valid"), conv(kernel=1, strides=2)],
    "different strides along the axes": lambda: [conv(kernel=(3, 2), strides=(2, 1)), L.MaxPooling2D((1, 3))],
    "dilated": lambda: [conv(dilation_rate=2), conv(kernel=2, dilation_rate=(1, 3), padding="valid")],
    # Linear convolutions, so that maps are negative and a border of zeros would be seen.
    "max-pooling": lambda: [conv(activation=None), L.MaxPooling2D(3, strides=2, padding="same"), L.MaxPooling2D(2)],
    "average pooling": lambda: [
        conv(),
        L.AveragePooling2D(3, strides=1, padding="same"),
        L.AveragePooling2D(3, strides=2, padding="same"),
        L.AveragePooling2D(2),
    ],
    "batch norm and activations": lambda: [
        L.Rescaling(1 / 64, offset=-1),
        L.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 1.0, 2.0]),
        conv(use_bias=False, activation=None),
        L.BatchNormalization(),
        L.LeakyReLU(),
        L.Dropout(0.5),
        conv(activation=L.ReLU(3.0)),
        L.PReLU(shared_axes=[1, 2]),
        L.LayerNormalization(),
        conv(activation="gelu"),
    ],
    "raw operations": lambda: [
        lambda x: x / 2 - 1,
        conv(activation=None),
        keras.ops.relu,
        lambda x: 0.5 * x,
        conv(strides=2),
    ],
    "float64": lambda: [conv(dtype="float64"), L.MaxPooling2D(3, strides=2, padding="same", dtype="float64")],
    "depthwise and separable": lambda: [
        conv(),
        L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2),
        L.SeparableConv2D(5, 3, padding="same", activation="relu"),
    ],
    "padding and cropping": lambda: [
        L.ZeroPadding2D(((0, 1), (2, 3))),
        conv(strides=2, padding="valid"),
        L.Cropping2D(((1, 0), (0, 2))),
        conv(padding="valid"),
    ],
    "windows that outgrow the map": lambda: [conv(kernel=7), conv(kernel=9), L.MaxPooling2D(4), conv(kernel=5)],
}
HEADS = {
    "flatten": lambda maps: L.Dense(3)(L.Flatten()(maps)),
    "branches": lambda maps: L.Dense(3)(
        L.Concatenate()([L.GlobalMaxPooling2D()(maps), L.GlobalAveragePooling2D()(maps), L.Flatten()(maps * maps)])
    ),
}


def build(layers, head="flatten", size=SIZE, seed=0):
    """A random network with logits."""
    image = keras.Input(size)
    model = keras.Model(image, HEADS[head](zoo.chain(image, layers)))
    for layer in model.layers:
        if isinstance(layer, L.Normalization):
            assert not layer.weights  # given, not learnt: `shake` leaves them
    return zoo.shake(model, seed)


def images(n=2, size=SIZE):
    return zoo.photos(n, size) / np.float32(64) - 1


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def slow(model, batch, chosen, patch, stride, fill):
    fill = np.broadcast_to(np.asarray(fill, np.float32), batch.shape)
    return np.stack(
        [
            twins.occlusion(x, lambda x, c=c: float(model(x[None], training=False)[0, c]), pair(patch), pair(stride), f)
            for x, c, f in zip(batch, chosen, fill, strict=True)
        ]
    )


def logit_scale(model, batch):
    return np.abs(np.asarray(model(batch, training=False))).max()


def rounding_scale(model, batch):
    """What float32 rounding is relative to: the largest value anywhere in the network, for logits are sums that cancel."""
    outputs = [layer.output for layer in model.layers]
    return max(np.abs(np.asarray(values)).max() for values in keras.Model(model.inputs, outputs)(batch, training=False))


def full_scores(model, image, fill, patches, chosen):
    """Logits of the occluded images by Keras alone, all at once: (patches,)."""
    occluded = np.repeat(image[None], patches.count, axis=0)
    for number, (top, left) in enumerate(itertools.product(patches.tops, patches.lefts)):
        place = number, slice(top, top + patches.sides[0]), slice(left, left + patches.sides[1])
        occluded[place] = np.broadcast_to(fill, image.shape)[place[1:]]
    return np.asarray(model(occluded, training=False))[:, chosen]


@pytest.mark.parametrize("name", CHAINS)
def test_incremental_equals_whole_images(name):
    model, (image,) = build(CHAINS[name](), "branches" if name == "same" else "flatten"), images(1)
    for patch, stride in [((5, 3), (4, 5)), ((1, 1), (3, 4)), ((4, 18), (3, 1)), (SIZE[:2], (1, 1))]:
        fill = np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
        result, route = occlusion(
            model, image, 1, patch=patch, stride=stride, fill=fill, batch_size=7, return_route=True
        )
        assert route == "incremental"
        patches = lay_patches(SIZE[:2], patch, stride)
        scores = full_scores(model, image, fill, patches, 1)
        score = float(model(image[None], training=False)[0, 1])
        expected = patches.average(score - scores)
        assert np.ptp(scores) > 0 or patches.count == 1
        scale = max(np.abs(scores).max(), rounding_scale(model, image[None]))
        np.testing.assert_allclose(result[0], expected, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("seed", range(4))
def test_incremental_equals_whole_images_on_random_chains(seed):
    rng = np.random.default_rng(seed)
    size = (*rng.integers(11, 24, 2).tolist(), 2)
    layers = []
    for _ in range(4):
        kernel, stride = int(rng.choice([1, 2, 3, 5])), int(rng.choice([1, 1, 2, 3]))
        padding = "same" if min(size) < 30 and rng.random() < 0.7 else "valid"
        padding = padding if len(layers) < 2 else "same"  # later maps may be smaller than a kernel
        kind = rng.choice(["conv", "conv", "max", "average", "dilated"])
        if kind == "dilated":
            layers.append(conv(3, kernel, dilation_rate=2))
        elif kind == "conv":
            layers.append(conv(3, kernel, strides=stride, padding=padding, activation="tanh"))
        else:
            pool = L.MaxPooling2D if kind == "max" else L.AveragePooling2D
            layers.append(pool(kernel, strides=stride, padding=padding))
    model, (image,) = build(layers, size=size, seed=seed), images(1, size)
    assert find_chain(open_model(model))[0] is not None
    patch, stride = tuple(rng.integers(1, 8, 2).tolist()), tuple(rng.integers(1, 6, 2).tolist())
    result = occlusion(model, image, 2, patch=patch, stride=stride, fill=0.5, batch_size=16)[0]
    patches = lay_patches(size[:2], patch, stride)
    scores = full_scores(model, image, np.float32(0.5), patches, 2)
    score = float(model(image[None], training=False)[0, 2])
    scale = max(np.abs(scores).max(), rounding_scale(model, image[None]))
    np.testing.assert_allclose(result, patches.average(score - scores), rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("kind", ["vgg_like", "residual", "nested"])
@pytest.mark.parametrize("fill", [0.25, [0.5, -1.0, 2.0]])
def test_equals_the_slow_twin(kind, fill):
    model = getattr(zoo, kind)()
    size = (16, 24, 3) if kind == "vgg_like" else zoo.SIZE
    batch, chosen = images(2, size), [2, 0]
    logits = without_softmax(model)
    result, route = occlusion(
        model, batch, chosen, patch=(5, 4), stride=(4, 7), fill=fill, batch_size=5, return_route=True
    )
    assert route == ("full" if kind == "residual" else "incremental")
    expected = slow(logits, batch, chosen, (5, 4), (4, 7), fill)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * logit_scale(logits, batch))


def without_softmax(model):
    """The same network with logits: a twin of the last layer, with its weights."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        if layer.name == "predictions" or (isinstance(layer, L.Dense) and layer.units == model.output_shape[-1]):
            layer.activation = keras.activations.linear
    return copy


def test_bundled_network():
    from labutils.vgg16 import VGG16, preprocess_input

    model, logits = VGG16(weights="bundled"), VGG16(weights="bundled", classifier_activation=None)
    photo = preprocess_input(zoo.photos(1, (224, 224, 3)).astype(np.float32))[0]
    result, route = occlusion(model, photo, 3, patch=(40, 16), stride=(92, 104), return_route=True)
    assert route == "incremental"
    patches = lay_patches((224, 224), (40, 16), (92, 104))
    scores = full_scores(logits, photo, np.float32(0), patches, 3)
    expected = patches.average(float(logits(photo[None])[0, 3]) - scores)
    assert patches.count == 9
    np.testing.assert_allclose(result[0], expected, rtol=0, atol=1e-5 * np.abs(scores).max())


# Which route --------------------------------------------------------------------------------------------------------


class OwnConv(L.Conv2D):
    pass


@pytest.mark.parametrize("kind", [*zoo.SAME_MODEL, "vgg_like", "sigmoid_binary"])
def test_chains_are_recognised(kind):
    model = zoo.SAME_MODEL[kind]() if kind in zoo.SAME_MODEL else getattr(zoo, kind)()
    chain, why = find_chain(open_model(model))
    assert "relu2" in why or "block2_pool" in why
    assert len(chain.stages) == (6 if kind == "vgg_like" else 3)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (lambda: [conv(), OwnConv(4, 3, name="own")], "'own'"),
        (lambda: [conv(), conv(activation=lambda x: x - x[:, :1], name="odd"), conv()], "'odd'"),
        (lambda: [conv(), L.BatchNormalization(axis=1, name="rows"), conv(name="after")], "'rows'"),
        (lambda: [conv(), L.PReLU(name="by_position"), conv(name="after")], "'by_position'"),
        (lambda: [conv(groups=1), conv(groups=2, name="grouped")], "'grouped'"),
        (lambda: [conv(), lambda x: x * np.ones((1, SIZE[1], 4), np.float32), conv()], "'multiply"),
        (lambda: [L.Identity()], "no convolution"),
    ],
)
def test_layers_that_no_chain_may_hold(layers, reason):
    chain, why = find_chain(open_model(build(layers())))
    assert chain is None
    assert reason in why


def test_a_skip_connection_takes_the_full_route():
    image = keras.Input(SIZE)
    stem = conv(name="stem")(image)
    model = zoo.shake(keras.Model(image, HEADS["flatten"](L.Add()([stem, conv(name="arm")(stem)]))))
    maps, route = occlusion(model, images(1), patch=6, stride=6, return_route=True)
    assert (route, maps.shape) == ("full", (1, *SIZE[:2]))
    assert "'arm'" in route.why


def test_a_final_softmax_over_maps_is_left_to_the_head():
    # The convolution's softmax is left out of the run, which the window's stand-in for it would not know.
    image = keras.Input((6, 6, 1))
    maps = L.Conv2D(3, 6, activation="softmax")(conv()(image))
    model = zoo.shake(keras.Model(image, L.Flatten()(maps)))
    assert find_chain(open_model(model))[0] is None


def test_a_head_may_hold_convolutions_of_one_position():
    image = keras.Input(SIZE)
    pooled = L.GlobalAveragePooling2D(keepdims=True)(conv()(image))
    model = zoo.shake(keras.Model(image, L.Flatten()(L.Conv2D(3, 1, activation="softmax")(pooled))))
    assert len(find_chain(open_model(model))[0].stages) == 1


def test_both_routes_give_the_same(monkeypatch):
    model, batch = zoo.vgg_like(), images(2, (16, 24, 3))
    incremental = occlusion(model, batch, patch=3, stride=2, fill=1.0)
    monkeypatch.setattr(module, "find_chain", lambda opened: (None, "told to"))
    full, route = occlusion(model, batch, patch=3, stride=2, fill=1.0, return_route=True)
    assert (route, route.why) == ("full", "told to")
    np.testing.assert_allclose(incremental, full, rtol=0, atol=1e-5 * np.abs(full).max())


# The geometry -------------------------------------------------------------------------------------------------------


def test_reached_is_exact_against_looking_at_each_output():
    for inputs, extent, stride, padding in itertools.product((7, 10), (1, 2, 3, 5), (1, 2, 3), ("same", "valid")):
        axis = Sliding((extent, extent), (stride, stride), padding).axes((inputs, inputs))[0]
        kernel = L.MaxPooling2D(extent, strides=stride, padding=padding)
        assert axis.outputs == kernel.compute_output_shape((1, inputs, inputs, 1))[1]
        for first, end in itertools.combinations(range(inputs + 1), 2):
            lowest, highest = axis.reached(np.array([first]), np.array([end]))
            expected = twins.reached(inputs, axis.outputs, extent, stride, axis.before, first, end)
            assert list(range(lowest[0], highest[0])) == expected


def test_windows_by_hand():
    # Two 3 x 3 convolutions and 2 x 2 pooling on 20 pixels, a patch of 4 at 8 and at 0: 7-13, 6-14, 3-7; 0-5, 0-6, 0-3.
    axes = [Axis(20, 20, 3, 1, 1), Axis(20, 20, 3, 1, 1), Axis(20, 10, 2, 2, 0)]
    reach = _reach(axes, np.array([8, 0]), 4)
    assert reach.first.tolist() == [[7, 6, 3], [0, 0, 0]]
    assert reach.end.tolist() == [[13, 14, 7], [5, 6, 3]]


def test_windows_stay_inside_the_maps():
    axes = [Axis(20, 20, 3, 1, 1), Axis(20, 10, 2, 2, 0), Axis(10, 4, 1, 3, 0), Axis(4, 4, 5, 1, 2)]
    starts = np.arange(17)
    for axis, (seen, start, width) in zip(axes, _windows(axes, starts, 4), strict=False):
        assert (start >= 0).all()
        assert (start + width <= axis.inputs).all()
        assert seen.shape[1] <= axis.inputs + axis.extent - 1
    assert (list(_windows(axes, starts, 4))[-1][0] == np.arange(4)).all()  # the head has the whole map


def test_classes_cost_the_least_of_all_splits():
    rng = np.random.default_rng(0)
    widths, costs = np.sort(rng.integers(1, 9, (7, 2)), axis=0), np.array([1.0, 3.0])

    def cost(classes):
        return sum(len(c) * (widths[c].max(axis=0) @ costs) for c in classes)

    for number in (1, 2, 3):
        found = _classes(rng.permutation(widths), costs, number)
        assert sorted(np.concatenate(found)) == list(range(7))
    for number in (1, 2, 3, 7, 9):
        splits = [np.split(np.arange(7), cuts) for cuts in itertools.combinations(range(1, 7), min(number, 7) - 1)]
        assert cost(_classes(widths, costs, number)) == min(map(cost, splits))


def test_only_windows_are_computed():
    # 3 x 3 on 40 x 40: a patch of 4 x 4 is seen by at most 6 x 6 outputs, which see 8 x 8 inputs.
    model = build([conv()], size=(40, 40, 3))
    opened = open_model(model)
    route = IncrementalRoute(opened, find_chain(opened)[0], lay_patches((40, 40), (4, 4), (4, 4)))
    shapes = [route._tables(batch)[0].shape[1:] for batch in route.batches(10)]
    assert max(shapes) == (8, 8)
    assert min(shapes) == (7, 7)  # patches in a corner


# Properties ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vgg_like", "residual"])
def test_a_batch_gives_what_a_loop_gives(kind):
    model, batch = getattr(zoo, kind)(), zoo.photos(3, (16, 24, 3))
    fills = zoo.photos(3, (16, 24, 3), seed=5)
    whole = occlusion(model, batch, [1, 0, 3], patch=6, stride=5, fill=fills)
    for index, chosen in enumerate([1, 0, 3]):
        alone = occlusion(model, batch[index], chosen, patch=6, stride=5, fill=fills[index])
        np.testing.assert_allclose(alone[0], whole[index], rtol=0, atol=1e-5 * np.abs(whole).max())


def test_any_image_size():
    image = keras.Input((None, None, 3))
    maps = zoo.chain(image, [conv(), L.MaxPooling2D(), conv()])
    model = zoo.shake(keras.Model(image, L.Dense(2)(L.GlobalAveragePooling2D()(maps))))
    for size in ((9, 14, 3), (16, 7, 3)):
        batch = images(1, size)
        result, route = occlusion(model, batch, 1, patch=4, stride=3, return_route=True)
        assert route == "incremental"
        expected = slow(model, batch, [1], 4, 3, 0.0)
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * logit_scale(model, batch))


@pytest.mark.parametrize("kind", ["vgg_like", "residual"])
def test_cost_and_memory_do_not_depend_on_the_number_of_patches(kind, monkeypatch):
    model, batch = getattr(zoo, kind)(), images(2, (16, 24, 3))
    route = FullRoute if kind == "residual" else IncrementalRoute
    original, sizes = route.logits, []
    monkeypatch.setattr(
        route, "logits", lambda self, kept, numbers: sizes.append(len(numbers)) or original(self, kept, numbers)
    )
    with count_passes() as passes:
        occlusion(model, batch, patch=4, stride=2, batch_size=9)
    patches = 7 * 11
    assert max(sizes) <= 9
    assert sum(sizes) == 2 * patches
    assert (passes.forward, passes.backward) == (2 * (1 + patches), 0)


@pytest.mark.parametrize("kind", ["vgg_like", "residual"])
def test_batch_size_changes_nothing(kind):
    model, batch = getattr(zoo, kind)(), images(1, (16, 24, 3))
    large = occlusion(model, batch, patch=4, stride=3, batch_size=1000)
    for batch_size in (1, 6):
        small = occlusion(model, batch, patch=4, stride=3, batch_size=batch_size)
        np.testing.assert_allclose(small, large, rtol=0, atol=1e-5 * np.abs(large).max())


@pytest.mark.parametrize("kind", ["vgg_like", "residual"])
def test_model_and_image_are_left_as_they_were_even_when_interrupted(kind):
    model, batch = getattr(zoo, kind)(), images(2, (16, 24, 3))
    before, copy, told = zoo.state(model), batch.copy(), []

    def stop(done, total):
        told.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    expected = occlusion(model, batch, patch=4, stride=4)
    with pytest.raises(KeyboardInterrupt):
        occlusion(model, batch, patch=4, stride=4, batch_size=6, progress=stop)
    assert [done for done, _ in told] == [1, 2]
    assert zoo.state(model) == before
    np.testing.assert_array_equal(batch, copy)
    np.testing.assert_array_equal(occlusion(model, batch, patch=4, stride=4), expected)


def test_new_weights_are_seen():
    model, batch = zoo.vgg_like(), images(1, (16, 24, 3))
    first = occlusion(model, batch, 0, patch=8, stride=8)
    zoo.shake(model, seed=9)
    second = occlusion(model, batch, 0, patch=8, stride=8)
    fresh = zoo.vgg_like(seed=9)
    assert not np.allclose(first, second)
    np.testing.assert_allclose(second, occlusion(fresh, batch, 0, patch=8, stride=8), rtol=1e-5)


def test_integers_and_a_fill_equal_to_the_image_give_zero():
    model, batch = zoo.vgg_like(), zoo.photos(1, (16, 24, 3))
    assert batch.dtype == np.uint8
    result = occlusion(model, batch, patch=5, stride=4, fill=batch)
    scale = np.abs(occlusion(model, batch, patch=5, stride=4)).max()
    np.testing.assert_allclose(result, np.zeros((1, 16, 24)), atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"patch": 17}, ValueError, r"patch: \(17, 17\) .* larger than the image, \(16, 24\)"),
        ({"patch": (4, 25)}, ValueError, "patch: .* larger"),
        ({"patch": 0}, ValueError, "patch: an int of at least 1"),
        ({"patch": 2.5}, TypeError, "patch: an int or a pair"),
        ({"patch": (2, 2.5)}, TypeError, "patch: an int"),
        ({"patch": (1, 2, 3)}, TypeError, "patch: an int or a pair"),
        ({"patch": "16"}, TypeError, "patch: an int or a pair"),
        ({"patch": True}, TypeError, "patch: an int"),
        ({"stride": 0}, ValueError, "stride: an int of at least 1"),
        ({"stride": None}, TypeError, "stride: an int or a pair"),
        ({"fill": [1.0, 2.0]}, ValueError, r"fill: shape \(2,\) does not fit"),
        ({"fill": np.nan}, ValueError, "fill: NaN"),
        ({"fill": "black"}, TypeError, "fill: an array of numbers"),
        ({"batch_size": 0}, ValueError, "batch_size"),
    ],
)
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        occlusion(zoo.vgg_like(), images(1, (16, 24, 3)), **({"patch": 4} | options))


def test_feature_vectors_have_no_patches():
    model = zoo.dense_net((np.ones((4, 2)), np.zeros(2)))
    with pytest.raises(ValueError, match="images: occlusion needs images"):
        occlusion(model, np.ones((1, 4)))
