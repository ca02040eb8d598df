"""Cascading weight randomisation: what is randomised, on what, and what explainers known to be good or bad score."""

import functools

import keras
import numpy as np
import pytest
import zoo
from scipy.stats import spearmanr

from labutils import explain
from labutils.evaluate import weight_randomization

L = zoo.L
PHOTOS = zoo.photos(2) / np.float32(128)


def edges(model, images, classes):
    """An explainer that ignores the network, and signs its map."""
    return np.diff(images.sum(axis=-1), axis=2, append=0)


class TestSanity:
    @pytest.mark.parametrize("build", [zoo.functional, zoo.nested, zoo.residual])
    def test_an_explainer_that_ignores_the_weights_scores_exactly_one(self, build):
        result = weight_randomization(edges, build(), PHOTOS, seed=0)
        assert len(result) == 5
        assert set(result.values()) == {1.0}

    def test_noise_scores_about_zero(self):
        rng = np.random.default_rng(0)
        result = weight_randomization(lambda model, images, classes: rng.random((2, 40, 40)), zoo.functional(), PHOTOS)
        assert all(abs(value) < 0.1 for value in result.values())  # two maps of 1600 values: 0.018 is one deviation

    def test_gradients_see_the_weights_and_guided_backpropagation_hardly(self):
        # Adebayo et al., figure 2, in small: the bundled network on two photos.
        from labutils import photos
        from labutils.vgg16 import VGG16, preprocess_input

        images = preprocess_input(np.stack([photos.sample("cat"), photos.sample("motorcycle")]).astype(np.float32))
        model = VGG16()
        saliency = weight_randomization(explain.saliency, model, images, seed=0)
        guided = weight_randomization(explain.guided_backprop, model, images, seed=0)
        grad_cam = weight_randomization(explain.grad_cam, model, images, seed=0)
        names = [layer.name for layer in reversed(model.layers) if layer.weights]
        assert list(saliency) == list(guided) == list(grad_cam) == names
        assert saliency["block1_conv1"] < 0.3
        assert abs(grad_cam["block1_conv1"]) < 0.3
        assert all(guided[name] > saliency[name] for name in names)
        assert guided["block4_conv1"] > 0.6 > 0.4 > saliency["block4_conv1"]


class Spy:
    """A method that keeps the weights and classes that it was called with."""

    def __init__(self):
        self.models, self.weights, self.classes = [], [], []

    def __call__(self, model, images, classes):
        self.models.append(model)
        self.weights.append({variable.path: variable.numpy().copy() for variable in model.weights})
        self.classes.append(classes.copy())
        classes[:] = 0
        images[:] = 0
        return np.arange(8.0).reshape(2, 2, 2)


ORDER = ["predictions", "fc", "norm", "conv2", "conv1"]


class TestWhatIsRandomised:
    def test_layer_after_layer_from_the_top_and_they_stay_so(self):
        model, spy = zoo.functional(), Spy()
        before = zoo.state(model)
        assert list(weight_randomization(spy, model, PHOTOS, seed=0)) == ORDER
        assert spy.models[0] is model
        assert all(other is not model for other in spy.models[1:])
        assert zoo.state(model) == before
        for done, (weights, previous) in enumerate(zip(spy.weights[1:], spy.weights, strict=False), start=1):
            for path, values in weights.items():
                layer = path.split("/")[0]
                assert np.array_equal(values, spy.weights[0][path]) == (layer not in ORDER[:done]), path
                assert np.array_equal(values, previous[path]) == (layer != ORDER[done - 1]), path

    def test_kernels_keep_their_scale_and_vectors_their_values(self):
        spy = Spy()
        model = zoo.functional()
        weight_randomization(spy, model, PHOTOS, seed=0)
        for path, values in spy.weights[-1].items():
            original = spy.weights[0][path]
            if values.ndim == 1:
                np.testing.assert_array_equal(np.sort(values), np.sort(original))
            else:
                assert not np.isin(values, original).any()
                # The standard error of a root mean square of n normal values is 1 / sqrt(2 n) of it.
                ratio = np.sqrt((values**2).mean() / (original**2).mean())
                assert abs(ratio - 1) < 4 / np.sqrt(2 * values.size)
                assert abs(values.mean()) < 4 * values.std() / np.sqrt(values.size)

    def test_classes_are_the_original_s_throughout(self):
        model, spy = zoo.functional(), Spy()
        weight_randomization(spy, model, PHOTOS, seed=0)
        top = model(PHOTOS).numpy().argmax(axis=-1)
        assert top.any()
        np.testing.assert_array_equal(spy.classes, [top] * 6)
        spy = Spy()
        weight_randomization(spy, model, PHOTOS, [3, 1], seed=0)
        np.testing.assert_array_equal(spy.classes, [[3, 1]] * 6)

    def test_the_original_is_safe_from_what_a_method_does_to_its_model(self):
        model = zoo.functional()
        before = zoo.state(model)

        def vandal(given, images, classes):
            if given is not model:
                given.set_weights([np.zeros_like(values) for values in given.get_weights()])
                given.layers[-1].activation = keras.activations.linear
                given.get_layer("relu2").trainable = False
                raise KeyboardInterrupt
            return edges(given, images, classes)

        with pytest.raises(KeyboardInterrupt):
            weight_randomization(vandal, model, PHOTOS)
        assert zoo.state(model) == before

    def test_shared_and_nested_layers(self):
        result = weight_randomization(edges, zoo.residual(), PHOTOS)
        assert list(result)[1:] == ["project", "depthwise", "twice", "stem"]  # "twice" once
        assert list(weight_randomization(edges, zoo.nested(), PHOTOS)) == [
            "head/predictions",
            "head/fc",
            "backbone/norm",
            "backbone/conv2",
            "backbone/conv1",
        ]

    @pytest.mark.parametrize("build", [zoo.functional, zoo.sequential, zoo.nested])
    def test_frozen_layers_have_learnt_too(self, build):
        frozen = build()
        frozen.trainable = False
        state, spy = zoo.state(frozen), Spy()
        result = weight_randomization(spy, frozen, PHOTOS, seed=0)
        assert [name.rpartition("/")[2] for name in result] == ORDER
        first, last = (list(weights.values()) for weights in (spy.weights[0], spy.weights[-1]))
        assert not any(np.array_equal(before, after) for before, after in zip(first, last, strict=True))
        assert zoo.state(frozen) == state

    def test_preprocessing_layers_have_learnt_nothing(self):
        normalise = L.Normalization(name="normalise")
        normalise.adapt(zoo.photos())
        model = keras.Sequential([keras.Input(zoo.SIZE), normalise, L.Flatten(), L.Dense(2, name="dense")])
        spy = Spy()
        assert list(weight_randomization(spy, model, PHOTOS)) == ["dense"]
        for path, values in spy.weights[-1].items():
            assert path.startswith("dense") or np.array_equal(values, spy.weights[0][path])

    def test_a_model_without_weights(self):
        image = keras.Input(zoo.SIZE)
        with pytest.raises(ValueError, match="has no layer with weights"):
            weight_randomization(edges, keras.Model(image, L.GlobalAveragePooling2D()(image)), PHOTOS)


class TestRankCorrelation:
    """Worked out by hand: a method that gives one map of the original and another of the copy."""

    @staticmethod
    def correlation(first, second):
        model = keras.Sequential([keras.Input((1,)), L.Dense(1, name="dense")])
        method = lambda given, images, classes: np.array([first if given is model else second], float)  # noqa: E731
        return weight_randomization(method, model, [[1.0]])["dense"]

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            ([1, 2, 3, 4], [2, 1, 4, 3], 0.6),  # 1 - 6 * 4 / (4 * 15)
            ([1, 2, 3, 4], [4, 3, 2, 1], -1),
            ([1, 2, 3, 4], [1, 10, 1000, 1001], 1),  # only ranks count
            ([1, -2, 3, -4], [-1, 2, -3, 4], 1),  # and magnitudes
            ([1, 2, 2, 3], [1, 2, 3, 4], 4.5 / np.sqrt(4.5 * 5)),  # ranks 1, 2.5, 2.5, 4
            ([1, 2, 3, 4], [5, 5, 5, 5], 0),
            ([0, 0, 0, 0], [1, 2, 3, 4], 0),
            ([0, 0, 0, 0], [5, -5, 5, 5], 1),
        ],
    )
    def test_by_hand(self, first, second, expected):
        np.testing.assert_allclose(self.correlation(first, second), expected, rtol=1e-12)

    def test_equals_scipy_with_ties(self):
        rng = np.random.default_rng(0)
        first, second = rng.integers(0, 9, (2, 6, 7))
        np.testing.assert_allclose(
            self.correlation(first, second), spearmanr(first.ravel(), second.ravel()).statistic, rtol=1e-12
        )


@pytest.fixture(scope="module")
def expected():
    return weight_randomization(explain.saliency, zoo.functional(), PHOTOS, 1, seed=0)


class TestProperties:
    def test_seed(self):
        model = zoo.functional()
        first, again, other = (weight_randomization(explain.saliency, model, PHOTOS, seed=seed) for seed in (1, 1, 2))
        assert first == again
        assert first != other

    def test_a_batch_gives_the_mean_of_a_loop(self):
        model = zoo.functional()
        batch = weight_randomization(explain.saliency, model, PHOTOS, [2, 3], seed=0)
        loop = [weight_randomization(explain.saliency, model, PHOTOS[i], 2 + i, seed=0) for i in range(2)]
        for name, value in batch.items():
            np.testing.assert_allclose(value, (loop[0][name] + loop[1][name]) / 2, atol=1e-3)

    @pytest.mark.parametrize("build", zoo.SAME_MODEL)
    def test_every_build_of_a_model_gives_the_same_numbers(self, build, expected):
        result = weight_randomization(explain.saliency, zoo.SAME_MODEL[build](), PHOTOS, 1, seed=0)
        assert [name.rpartition("/")[2] for name in result] == list(expected)
        np.testing.assert_allclose(list(result.values()), list(expected.values()), atol=1e-3)

    def test_methods_with_options_and_progress(self):
        calls = []
        method = functools.partial(explain.grad_cam, layer="conv1", upsample=False)
        result = weight_randomization(
            method, zoo.functional(), PHOTOS, seed=0, progress=lambda done, total: calls.append((done, total))
        )
        assert calls == [(done, 5) for done in range(1, 6)]
        assert all(-1 <= value <= 1 for value in result.values())

    def test_feature_vectors(self):
        model = zoo.dense_net((np.eye(3), np.zeros(3)), (np.ones((3, 1)), [0.0]))
        assert len(weight_randomization(explain.saliency, model, [[1.0, 2.0, 3.0]], seed=0)) == 2


def my_relu(x):
    return keras.ops.relu(x)


class MyScale(L.Layer):
    """A layer that Keras cannot copy: its argument is nothing that can be written down."""

    def __init__(self, thing, **options):
        super().__init__(**options)
        self.thing = thing

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],))

    def call(self, inputs):
        return inputs * self.scale


class MyIdentity(MyScale):
    def build(self, shape):
        pass

    def call(self, inputs):
        return inputs


class TestCopies:
    def build(self, *layers):
        return zoo.shake(keras.Sequential([keras.Input(zoo.SIZE), *layers, L.Flatten(), L.Dense(2, name="last")]))

    @pytest.mark.parametrize(
        "layer",
        [
            lambda: L.Lambda(lambda x: 2 * x),
            lambda: L.Conv2D(2, 3, activation=my_relu),
            lambda: MyIdentity(object()),
            lambda: L.Dropout(0.5),
            lambda: L.Conv2D(2, 3, dtype="mixed_float16"),
        ],
    )
    def test_what_keras_alone_does_not_always_copy(self, layer):
        model = self.build(layer())
        before = zoo.state(model) if not isinstance(model.layers[0], MyIdentity) else None
        predicted = []

        def method(given, images, classes):
            predicted.append(given.predict(images, verbose=0))
            return explain.saliency(given, images, classes)

        result = weight_randomization(method, model, PHOTOS, seed=0)
        assert next(iter(result)) == "last"
        assert not np.array_equal(predicted[0], predicted[1])
        if before:
            model.predict_function = None  # of the method's own `predict`
            after = zoo.state(model)
            assert {key for key in before if before[key] != after[key]} <= {"attributes"}

    def test_compiled_with_a_loss_of_ones_own(self):
        model = zoo.functional()
        model.compile(loss=lambda truth, predicted: keras.ops.mean(predicted), optimizer="sgd")
        before = zoo.state(model)
        weight_randomization(edges, model, PHOTOS)
        assert zoo.state(model) == before

    @pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
    @pytest.mark.parametrize(
        "layer", [lambda: MyScale(object(), name="mine"), lambda: L.Dense(3, activation=lambda x: x, name="mine")]
    )
    def test_a_layer_that_cannot_be_copied_is_named(self, layer):
        with pytest.raises(ValueError, match=r"layer 'mine' \(\w+\) cannot be copied"):
            weight_randomization(edges, self.build(layer()), PHOTOS)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            lambda model, images, classes: images[:1, ..., 0],
            r"must return 2 maps, .* not ndarray of shape \(1, 11, 14\)",
        ),
        (lambda model, images, classes: (images, classes), "must return 2 maps.* not tuple"),
        (lambda model, images, classes: classes, "must return 2 maps"),
        (lambda model, images, classes: None, "must return 2 maps"),
        (lambda model, images, classes: np.full((2, 3, 3), np.nan), "NaN or infinite"),
    ],
)
def test_a_method_that_returns_no_maps(method, message):
    with pytest.raises(ValueError, match=f"method: .*{message}"):
        weight_randomization(method, zoo.functional(), PHOTOS)


def test_other_arguments_are_checked():
    for options, error in (({"seed": 0.5}, TypeError), ({"classes": 9}, ValueError)):
        with pytest.raises(error, match=next(iter(options))):
            weight_randomization(edges, zoo.functional(), PHOTOS, **options)
    with pytest.raises(TypeError, match="model: a Keras model"):
        weight_randomization(edges, None, PHOTOS)
