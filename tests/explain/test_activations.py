"""Activations, their statistics, receptive fields against textbooks and gradients, and images that excite a channel."""

import keras
import numpy as np
import pytest
import twins_masks
import zoo

from labutils.explain import count_passes
from labutils.explain.activations import activation_statistics, activations, maximize_activation
from labutils.explain.receptive import receptive_fields
from labutils.explain.surgery import open_model

L = zoo.L


def names_of(model):
    return [layer.name for layer in model.layers[1:]]


class TestActivations:
    def test_equal_what_keras_gives_layer_by_layer(self):
        model, photos = zoo.functional(), zoo.photos()
        given = activations(model, photos)
        assert list(given) == names_of(model)
        model.layers[-1].activation = keras.activations.linear  # for Keras's turn: the last layer gives logits
        for name, values in given.items():
            expected = keras.Model(model.input, model.get_layer(name).output)(photos, training=False).numpy()
            assert values.dtype == np.float32
            assert values.shape == expected.shape
            np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())

    def test_cost_one_forward_pass_and_long_batches_are_cut(self):
        model, photos = zoo.functional(), zoo.photos(11)
        with count_passes() as passes:
            given = activations(model, photos)
        assert (passes.forward, passes.backward) == (11, 0)
        for name, values in activations(model, photos[9]).items():
            np.testing.assert_allclose(values[0], given[name][9], rtol=1e-4, atol=1e-5 * np.abs(given[name]).max())

    def test_layers_are_given_by_name_or_as_they_are_in_the_order_asked_for(self):
        model, photos = zoo.functional(), zoo.photos(2)
        given = activations(model, photos, ["fc", model.get_layer("conv1"), "pool"])
        assert list(given) == ["fc", "conv1", "pool"]
        assert given["conv1"].shape == (2, 11, 14, 6)
        np.testing.assert_array_equal(activations(model, photos, "fc")["fc"], given["fc"])

    def test_nested_layers_have_their_path_and_names_given_stay(self):
        model, photos = zoo.nested(), zoo.photos(2)
        given = activations(model, photos)
        assert list(given) == [f"backbone/{name}" for name in ("conv1", "pool", "conv2", "norm", "relu2")] + [
            f"head/{name}" for name in ("flatten", "dropout", "fc", "predictions")
        ]
        np.testing.assert_array_equal(activations(model, photos, "relu2")["relu2"], given["backbone/relu2"])
        np.testing.assert_array_equal(activations(model, photos, "backbone")["backbone"], given["backbone/relu2"])
        np.testing.assert_array_equal(
            activations(model, photos, model.get_layer("backbone").get_layer("pool"))["backbone/pool"],
            given["backbone/pool"],
        )

    @pytest.mark.parametrize("build", zoo.SAME_MODEL)
    def test_last_layer_gives_logits_in_every_build(self, build):
        photos = zoo.photos(2)
        expected = zoo.linear()(photos).numpy()
        np.testing.assert_allclose(list(activations(zoo.SAME_MODEL[build](), photos).values())[-1], expected, rtol=1e-4)

    def test_shared_layer_gives_its_last_call(self):
        model, photos = zoo.residual(), zoo.photos(2)
        given = activations(model, photos, ["twice", "relu6"])
        np.testing.assert_array_equal(np.clip(given["twice"], 0, 6), given["relu6"])

    def test_feature_vectors(self):
        model = zoo.dense_net(([[1.0, -1.0], [1.0, 2.0]], [0.0, 1.0]), ([[1.0], [2.0]], [0.0]))
        first, last = activations(model, [[1.0, 2.0], [3.0, -1.0]]).values()
        np.testing.assert_allclose(first, [[3, 4], [2, 0]])  # (1 + 2, -1 + 4 + 1), (3 - 1, ReLU(-3 - 2 + 1))
        np.testing.assert_allclose(last, [[11], [2]])

    def test_model_is_left_as_it_was(self):
        model, photos = zoo.functional(), zoo.photos()
        before = zoo.state(model)
        activations(model, photos)
        activation_statistics(model, photos)
        assert zoo.state(model) == before

    @pytest.mark.parametrize(
        ("layers", "error", "message"),
        [
            ("fcc", ValueError, "^layers: '.*' has no layer 'fcc'; close names: 'fc'"),
            ("xyz", ValueError, "^layers: '.*' has no layer 'xyz'; layers: 'conv1', 'pool', .*'predictions'"),
            (["conv1", 3], TypeError, "^layers: a layer's name, a layer or None is needed, not int 3"),
            (L.Dense(3, name="stranger"), ValueError, "^layers: 'stranger' is not a layer of"),
            ([], ValueError, "layers: an empty list"),
        ],
    )
    def test_wrong_layers_are_named(self, layers, error, message):
        with pytest.raises(error, match=message):
            activations(zoo.functional(), zoo.photos(), layers)

    def test_layer_beside_the_way_to_the_output_is_refused(self):
        image = keras.Input((4, 4, 1))
        tensor = L.Flatten(name="flat")(image)
        side = L.Dense(2, name="side")(tensor)
        keras.Model(image, side)
        inner = keras.Model(image, [L.Dense(3, name="main")(tensor), side])
        model = keras.Model(inner.input, inner.outputs[0])
        with pytest.raises(ValueError, match=r"^layers: .*'side'"):
            activations(model, np.ones((4, 4, 1)), "side")


class TestStatistics:
    def test_equal_numpy_over_all_images(self):
        model, photos = zoo.functional(), zoo.photos(11)
        model.get_layer("conv1").bias.assign([0, 0, -1e6, 0, 0, 0])  # kills channel 2
        statistics = activation_statistics(model, photos)
        for name, values in activations(model, photos).items():
            got = statistics[name]
            assert got.shape == values.shape[1:]
            assert got.sparsity == pytest.approx((values == 0).mean(), abs=1e-12)
            np.testing.assert_array_equal(got.dead, (values == 0).reshape(-1, values.shape[-1]).all(axis=0))
            values = values.astype(np.float64)
            assert [got.mean, got.std, got.max] == pytest.approx(
                [values.mean(), values.std(), values.max()], rel=1e-5, abs=1e-6 * values.std()
            )
        assert list(statistics) == names_of(model)
        assert statistics["conv1"].dead[2]

    def test_channel_that_lives_in_one_image_only_is_not_dead(self):
        model = zoo.pixelwise([1, -1], [1, 1], lambda n: [L.Conv2D(n, 1, activation="relu", use_bias=False, name="c")])
        images = np.ones((9, 2, 2, 1))
        np.testing.assert_array_equal(activation_statistics(model, images, "c")["c"].dead, [False, True])
        images[8] = -1
        np.testing.assert_array_equal(activation_statistics(model, images, "c")["c"].dead, [False, False])
        assert activation_statistics(model, images, "c")["c"].sparsity == 0.5

    def test_cost_is_one_forward_pass_an_image(self):
        with count_passes() as passes:
            activation_statistics(zoo.functional(), zoo.photos(11))
        assert (passes.forward, passes.backward) == (11, 0)

    def test_feature_vectors_have_no_receptive_field(self):
        model = zoo.dense_net(([[1.0], [1.0]], [0.0]))
        (only,) = activation_statistics(model, [[1.0, 2.0], [3.0, 5.0]]).values()
        assert (only.shape, only.mean, only.std, only.max, only.receptive_field) == ((1,), 5.5, 2.5, 8.0, None)


def fields_of(model, image):
    opened = open_model(model)
    fields = receptive_fields(opened, image)
    return {place.path: fields[place.tensor] for place in opened.reached_places()}


def fully_convolutional(*layers, image=(37, 43, 2)):
    """Layers with positive weights, so that nothing that a unit can see cancels out, below a head."""
    tensor = source = keras.Input(image)
    rng = np.random.default_rng(0)
    for layer in layers:
        tensor = layer(tensor)
    model = keras.Model(source, L.Dense(1)(L.GlobalAveragePooling2D()(tensor)))
    for variable in model.variables:
        variable.assign(rng.uniform(0.1, 1.0, tuple(variable.shape)))
    return model, keras.Model(source, tensor)


def conv(kernel=3, **options):
    return L.Conv2D(2, kernel, **options)


CHAINS = {
    "valid": [conv(), conv(5)],
    "same": [conv(padding="same"), conv(4, padding="same")],
    "strides": [conv(strides=2, padding="same"), conv((3, 5), strides=(2, 3), padding="same"), conv()],
    "strides, valid": [conv(4, strides=3), conv(3, strides=2)],
    "dilation": [conv(dilation_rate=2), conv(dilation_rate=(1, 3), padding="same")],
    "depthwise": [L.DepthwiseConv2D(3, strides=2, padding="same"), L.SeparableConv2D(2, 3, padding="same")],
    "average pooling": [conv(), L.AveragePooling2D(3, strides=2, padding="same"), conv(padding="same")],
    "max pooling": [conv(padding="same"), L.MaxPooling2D(2), conv(padding="same"), L.MaxPooling2D(3, strides=2)],
    "padding and cropping": [L.ZeroPadding2D(((3, 1), (0, 2))), conv(7, strides=2), L.Cropping2D(((1, 0), (2, 1)))],
    "element-wise": [conv(), L.BatchNormalization(), L.ReLU(), L.Dropout(0.5), conv(1), L.Dense(3)],
}


class TestReceptiveField:
    @pytest.mark.parametrize("chain", CHAINS)
    def test_is_where_the_gradient_is_not_zero(self, chain):
        model, maps = fully_convolutional(*CHAINS[chain])
        field = fields_of(model, (37, 43))[maps.layers[-1].name]
        # A maximum sees one pixel of its window at a time: many images together see them all.
        images = np.random.default_rng(1).random((400 if "max" in chain else 2, 37, 43, 2))
        height, width = maps.output_shape[1:3]
        for row, column in {(0, 0), (height // 2, width // 2), (height - 1, width - 1)}:
            assert field.window(row, column) == twins_masks.seen_window(maps, images, row, column)

    def test_of_branches_is_the_largest(self):
        image = keras.Input((None, None, 1))
        stem = conv(padding="same", name="stem")(image)
        far = conv(padding="same", dilation_rate=4)(stem)
        tensor = L.Concatenate(name="both")([L.Add(name="sum")([far, stem]), stem])
        model = keras.Model(image, L.Dense(1)(L.GlobalMaxPooling2D()(tensor)))
        fields = fields_of(model, (30, 40))
        assert fields["sum"] == fields["both"]
        assert (fields["sum"].size, fields["sum"].stride, fields["sum"].start) == ((11, 11), (1, 1), (-5, -5))
        assert fields["stem"].size == (3, 3)

    def test_of_vgg16(self):
        fields = fields_of(keras.applications.VGG16(weights=None), (224, 224))
        sizes = {name: field.size[0] for name, field in fields.items()}
        textbook = {
            "block1_conv1": 3, "block1_conv2": 5, "block1_pool": 6, "block2_conv2": 14, "block2_pool": 16,
            "block3_conv3": 40, "block3_pool": 44, "block4_conv3": 92, "block4_pool": 100, "block5_conv3": 196,
            "block5_pool": 212,
        }  # fmt: skip
        assert {name: sizes[name] for name in textbook} == textbook
        assert fields["block5_conv3"].stride == (16, 16)
        assert fields["block5_conv3"].centre == (7.5, 7.5)
        assert fields["block5_conv3"].window(0, 13) == (slice(0, 106), slice(118, 224))
        for name in ("flatten", "fc1", "predictions"):
            assert (fields[name].size, fields[name].stride) == ((224, 224), (0, 0))
            assert fields[name].window() == (slice(0, 224), slice(0, 224))

    @pytest.mark.parametrize(
        ("network", "layer", "size"),
        # Araujo et al., Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
        [("ResNet50", "conv5_block3_out", 483), ("MobileNetV2", "out_relu", 491)],
    )
    def test_of_residual_networks(self, network, layer, size):
        model = getattr(keras.applications, network)(weights=None)
        assert fields_of(model, (224, 224))[layer].size == (size, size)

    def test_one_position_spread_over_all_makes_every_unit_see_the_image(self):
        image = keras.Input((12, 16, 2))
        maps = conv(padding="same", name="maps")(image)
        gate = L.Dense(2, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(maps))
        scaled = L.Multiply(name="scaled")([maps, gate])
        fields = fields_of(keras.Model(image, L.Dense(1)(L.Flatten()(scaled))), (12, 16))
        assert fields["maps"].size == (3, 3)
        assert (fields["scaled"].size, fields["scaled"].stride) == ((12, 16), (0, 0))

    def test_pixels_that_no_stride_reaches_do_not_count(self):
        # Seven columns in steps of three: units see columns 0 to 2 and 3 to 5.
        model, _ = fully_convolutional(conv(3, strides=3), image=(6, 7, 1))
        assert list(fields_of(model, (6, 7)).values())[-1].window() == (slice(0, 6), slice(0, 6))

    def test_behind_a_layer_of_unknown_reach_it_is_not_told(self):
        image = keras.Input((8, 8, 1))
        maps = conv(name="before")(image)
        tensor = L.ReLU(name="after")(L.Lambda(lambda values: values[:, ::-1], output_shape=(6, 6, 2))(maps))
        fields = fields_of(keras.Model(image, L.Dense(1)(L.Flatten()(tensor))), (8, 8))
        assert fields["before"].size == (3, 3)
        assert fields["after"] is None


WAVE = np.cos(2 * np.pi * (2 * np.arange(16)[:, None] / 16 + 3 * np.arange(24)[None] / 24))[..., None]


def wave_detector(activation=None):
    """One unit of a dense layer, "wave", whose weights are one plane wave; and its negative."""
    image = keras.Input((16, 24, 1))
    units = L.Dense(2, use_bias=False, activation=activation, name="wave")(L.Flatten()(image))
    model = keras.Model(image, L.Dense(2, activation="softmax", use_bias=False, name="last")(units))
    model.get_layer("wave").set_weights([np.stack([WAVE.ravel(), -WAVE.ravel()], axis=1)])
    model.get_layer("last").set_weights([np.eye(2)])
    return model


class TestMaximize:
    @pytest.mark.parametrize(
        ("layer", "activation"), [("wave", None), ("wave", "relu"), (None, None), ("last", "relu")]
    )
    @pytest.mark.parametrize(("channel", "sign"), [(0, 1), (1, -1)])
    def test_linear_unit_gets_its_own_weights(self, layer, activation, channel, sign):
        # w x is largest, among images of one norm, for x = w. ReLUs that are 0 at the start, here or below, are no obstacle.
        image = maximize_activation(wave_detector(activation), layer, channel, jitter=0, seed=0)
        assert np.corrcoef(image.ravel(), sign * WAVE.ravel())[0, 1] > 0.95
        assert image.shape == (16, 24, 1)
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 255

    @pytest.mark.parametrize("layer", ["conv1", "relu2", "fc", "predictions"])
    @pytest.mark.parametrize("channel", [1, 3])
    def test_activation_is_far_above_that_of_random_images(self, layer, channel):
        model = zoo.functional(1)
        image = maximize_activation(model, layer, channel, steps=60, seed=0)

        def excitement(images):
            return activations(model, images, layer)[layer][..., channel].reshape(len(images), -1).mean(axis=1)

        random = excitement(zoo.photos(200))
        assert excitement(image[None])[0] > random.max() + random.std()

    def test_centre_excites_the_middle_position(self):
        model = zoo.functional()
        image = maximize_activation(model, "conv1", 4, centre=True, jitter=0, steps=60, seed=0)
        middle = activations(model, image, "conv1")["conv1"][0, 5, 7, 4]
        assert middle > activations(model, zoo.photos(200), "conv1")["conv1"][:, 5, 7, 4].max()
        # Of a 3 x 3 filter's picture only 3 x 3 pixels matter; the rest fades to the grey it came from.
        away = image[:, :3] - 127.5
        assert np.abs(image[4:7, 6:9] - 127.5).mean() > 5 * np.abs(away).mean()

    def test_same_seed_same_image(self):
        model = zoo.functional()
        first = maximize_activation(model, "relu2", 0, steps=5, seed=1)
        np.testing.assert_array_equal(maximize_activation(model, "relu2", 0, steps=5, seed=1), first)
        assert not np.allclose(maximize_activation(model, "relu2", 0, steps=5, seed=2), first)

    def test_cost_and_one_compilation_for_all_channels(self):
        model = zoo.functional()
        with count_passes() as passes:
            for channel in (0, 1, 2):
                maximize_activation(model, "relu2", channel, steps=5)
        assert (passes.forward, passes.backward) == (15, 15)
        runs = [run for key, run in open_model(model)._compiled.items() if key[0] == "channel_gradients"]
        assert [run.experimental_get_tracing_count() for run in runs] == [1]

    def test_preprocessing_is_undone(self):
        # The detector sees -WAVE where the preprocessing turns light into dark.
        image = maximize_activation(wave_detector(), "wave", 0, jitter=0, seed=0, preprocess=lambda x: 1 - x / 127.5)
        assert np.corrcoef(image.ravel(), -WAVE.ravel())[0, 1] > 0.95
        assert image.min() >= 0
        assert image.max() > 200

    @pytest.mark.parametrize(
        ("preprocess", "light", "dark"),
        [(None, 0, 2), (keras.applications.vgg16.preprocess_input, 2, 0), (lambda x: x[..., [1, 2, 0]], 1, 0)],
    )
    def test_preprocessing_that_changes_the_order_of_colours(self, preprocess, light, dark):
        # The unit looks for much of the first colour that it is given, and for little of the third.
        model = zoo.linear_head(np.broadcast_to([[[[1.0], [0.0], [-1.0]]]], (8, 8, 3, 1)), activation=None)
        image = maximize_activation(model, None, 0, preprocess=preprocess, seed=0)
        assert (image[..., light] - image[..., dark]).min() > 200

    def test_coarse_shapes_come_before_fine_ones(self):
        # All waves excite the unit alike; in the picture the long ones are the strong ones.
        weights = np.random.default_rng(0).standard_normal((32, 32, 1, 1))
        image = maximize_activation(zoo.linear_head(weights), None, 0, jitter=0, seed=0)[..., 0]
        strength = np.abs(np.fft.fft2(image - image.mean()))
        frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32))
        assert strength[(frequency > 0) & (frequency < 0.15)].mean() > 4 * strength[frequency > 0.35].mean()

    def test_bounds_hold_for_each_colour(self):
        low, high = [-1.0, 0.0, 5.0], [1.0, 0.5, 6.0]
        image = maximize_activation(zoo.functional(), "conv1", 0, bounds=(low, high), steps=20, seed=0)
        assert (image >= np.float32(low)).all()
        assert (image <= np.float32(high)).all()
        assert (np.ptp(image, axis=(0, 1)) > 0.1 * (np.array(high) - low)).all()

    def test_other_sizes_where_the_layers_take_them(self):
        assert maximize_activation(zoo.functional(), "relu2", 0, size=(20, 31), steps=2).shape == (20, 31, 3)
        assert maximize_activation(zoo.residual(), None, 0, size=17, steps=2).shape == (17, 17, 3)
        with pytest.raises(ValueError, match=r"size: .*'fc' do not take .*\(20, 31\).* own size is \(11, 14\)"):
            maximize_activation(zoo.functional(), "fc", 0, size=(20, 31), steps=2)

    def test_interruption_leaves_the_model_as_it_was(self):
        model = zoo.functional()
        before = zoo.state(model)

        def stop(done, total):
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            maximize_activation(model, "fc", 0, steps=10, progress=stop)
        assert zoo.state(model) == before

    def test_channel_without_a_gradient_gives_a_finite_image(self):
        model = zoo.linear_head(np.zeros((8, 8, 3, 2)))
        assert np.isfinite(maximize_activation(model, None, 0, steps=3)).all()

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"channel": 6}, ValueError, "channel: 6 is out of range; 'conv1' has 6 channels, 0 to 5"),
            ({"channel": -1}, ValueError, "channel: -1 is out of range"),
            ({"channel": "a"}, TypeError, "channel: an int is needed, not str"),
            ({"layer": "conv3"}, ValueError, "has no layer 'conv3'; close names: 'conv"),
            ({"steps": 0}, ValueError, "steps: .* not 0"),
            ({"jitter": -1}, ValueError, "jitter: .* not -1"),
            ({"jitter": 0.5}, TypeError, "jitter: .* not float"),
            ({"bounds": 255}, TypeError, r"bounds: \(low, high\) is needed"),
            ({"bounds": (0, [1, 2])}, TypeError, r"bounds: \(low, high\) is needed"),
            ({"bounds": (1, 0)}, ValueError, "bounds: .* low below high"),
            ({"bounds": (0, np.inf)}, ValueError, "bounds: finite"),
            ({"preprocess": lambda x: x[..., :1]}, ValueError, "preprocess: .* shape"),
            ({"preprocess": lambda x: (x - x.mean()) / x.std()}, ValueError, "preprocess: .* each pixel by itself"),
            ({"preprocess": lambda x: x**2}, ValueError, "preprocess: .* linearly"),
        ],
    )
    def test_wrong_arguments_are_named(self, options, error, message):
        options = {"layer": "conv1", "channel": 0, "steps": 2, **options}
        with pytest.raises(error, match=message):
            maximize_activation(zoo.functional(), **options)

    def test_feature_vectors_are_refused(self):
        with pytest.raises(ValueError, match="model: it takes feature vectors"):
            maximize_activation(zoo.dense_net(([[1.0], [1.0]], [0.0])), None, 0)
