"""A corpus of odd models, built anew for each test, with what must come of each: known maps, or an error that helps.

Known are maps in two ways. Most models compute what a plain one does: the same little network in other clothing, or
another network beside the same written plainly, their weights alike. So their maps must be those of the plain one, whose
methods `tests/explain` holds to formulas and slow twins. The others are linear, `S_c = sum of gradient * image`, and their
maps are worked out by hand below.
"""

import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

L, ops = keras.layers, keras.ops
SIZE = (6, 8, 3)  # not square on purpose
CLASSES = 3
PHOTOS = np.random.default_rng(0).random((2, *SIZE), dtype=np.float32)

METHODS = {
    "grad_cam": {},
    "saliency": {},
    "integrated_gradients": {"steps": 4},
    "occlusion": {"patch": 3, "stride": 2},
    "score_cam": {},
    "lrp": {},
}
CAMS = ("grad_cam", "score_cam")

Refused = Mapping[str, str]
"""Method -> a regular expression for the reason that its error gives."""


def refused(said: str, *methods: str) -> Refused:
    return dict.fromkeys(methods or METHODS, said)


class OddModel(NamedTuple):
    """One odd model.

    Attributes
    ----------
    name : str
        What is odd about it, in words.
    build : function
        Gives the model.
    twin : function, dict or None
        What knows its maps: a function that builds a plain model with the same ones, or method -> maps, of all methods
        that are tried then.
    refused : dict
        The methods that must refuse it, with the reason that they give; `error` is of that type.
    photos : numpy.ndarray
        What it is shown.
    tolerance : float
        How far maps may be off, as a share of the largest value: what the number type costs.
    classes : (int, int)
        Of the two photos.
    """

    name: str
    build: Callable[[], Any]
    twin: Callable[[], Any] | dict[str, np.ndarray] | None = None
    refused: Refused = MappingProxyType({})
    photos: np.ndarray = PHOTOS
    tolerance: float = 1e-4
    classes: tuple[int, int] = (0, CLASSES - 1)
    error: type[Exception] = ValueError


# --- plain models -----------------------------------------------------------------------------------------------------


def shaken(model: Any, seed: int = 1) -> Any:
    """Random weights and batch statistics; alike in two models whose variables are alike but for their shapes."""
    draw = np.random.default_rng(seed)
    for variable in model.weights:
        shape = tuple(variable.shape)
        is_scale = "variance" in variable.path or "gamma" in variable.path
        variable.assign(draw.uniform(0.5, 2.0, shape) if is_scale else draw.normal(0, 0.4, shape))
    return model


def conv(**options: Any) -> keras.Layer:
    return L.Conv2D(4, 3, **{"padding": "same", "activation": "relu", "name": "maps"} | options)


def head(**options: Any) -> keras.Layer:
    return L.Dense(CLASSES, **{"activation": "softmax", "name": "scores"} | options)


def functional(*layers: Any, size: tuple = SIZE, **options: Any) -> keras.Model:
    """These layers, or functions of a tensor, one after the other."""
    tensor = image = keras.Input(size, **options)
    for layer in layers:
        tensor = layer(tensor)
    return shaken(keras.Model(image, tensor))


def plain() -> keras.Model:
    return functional(conv(), L.GlobalAveragePooling2D(), head())


def with_head(*layers: Any) -> keras.Model:
    """The plain model with other layers in the place of its convolution."""
    return functional(*layers, L.GlobalAveragePooling2D(), head())


def ending_in(*layers: Any) -> keras.Model:
    """The plain model with other layers in the place of its head."""
    return functional(conv(), L.GlobalAveragePooling2D(), *layers)


# --- clothing ---------------------------------------------------------------------------------------------------------


def layers() -> list:
    return [conv(), L.GlobalAveragePooling2D(), head()]


def sequential_built_by_call() -> keras.Model:
    model = keras.Sequential(layers())
    model(PHOTOS)
    return shaken(model)


def sequential_built_by_shape() -> keras.Model:
    model = keras.Sequential(layers())
    model.build((None, *SIZE))
    return shaken(model)


def nested_twice() -> keras.Model:
    return functional(functional(functional(conv())), keras.Sequential(layers()[1:]))


def turned_inside() -> keras.Model:
    return functional(L.Permute((2, 3, 1)), *layers(), size=(3, 6, 8))


def turned_back() -> keras.Model:
    image = keras.Input(SIZE)
    return keras.Model(image, turned_inside()(L.Permute((3, 1, 2))(image)))


class WithItsOwnTraining(keras.Model):
    """Subclassed for its training only: its graph is a Functional model's."""

    def train_step(self, data):
        return {"loss": 0.0}


class Hidden(keras.Model):
    """Subclassed, its layers hidden in `call`."""

    def __init__(self, *layers: Any, **options: Any):
        super().__init__(**options)
        self.parts = list(layers)

    def call(self, inputs):
        for layer in self.parts:
            inputs = layer(inputs)
        return inputs


class OwnConv(L.Conv2D):
    """A layer of one's own."""

    def call(self, inputs):
        return ops.relu(ops.conv(inputs, self.kernel, padding="same") + self.bias)


def own_relu(tensor):
    return ops.maximum(tensor, 0.0)


def own_softmax(tensor):
    exponentials = ops.exp(tensor - ops.max(tensor, axis=-1, keepdims=True))
    return exponentials / ops.sum(exponentials, axis=-1, keepdims=True)


class Sharpened(L.Layer):
    """A softmax with a temperature, in a layer of one's own."""

    def call(self, inputs):
        return ops.softmax(inputs / 0.5)


def own_training() -> keras.Model:
    model = plain()
    return WithItsOwnTraining(model.inputs, model.outputs)


def of_two_outputs() -> keras.Model:
    model = plain()
    return keras.Model(model.inputs, {"scores": model.outputs[0], "maps": model.get_layer("maps").output})


def one_of_two_outputs() -> keras.Model:
    model = of_two_outputs()
    return keras.Model(model.inputs[0], model.output["scores"])


def of_two_inputs() -> keras.Model:
    left, right = keras.Input(SIZE, name="left"), keras.Input(SIZE, name="right")
    return keras.Model([left, right], head()(L.GlobalAveragePooling2D()(L.Add()([left, right]))))


def in_dict_and_list() -> keras.Model:
    """As converters write them."""
    model = functional(*layers(), name="image")
    return keras.Model({"image": model.inputs[0]}, [model.outputs[0]])


def frozen() -> keras.Model:
    model = plain()
    model.trainable = False
    return model


def trained() -> keras.Model:
    """Compiled with a loss, metrics and an optimizer that has a state; its weights are the plain ones again."""
    model = plain()
    weights = model.get_weights()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.train_on_batch(PHOTOS, np.array([0, 2]))
    model.set_weights(weights)
    return model


def saved(name: str) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            plain().save(path)
            return keras.models.load_model(path)

    return build


def quantised() -> keras.Model:
    model = plain()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the layers that it leaves as they are
        model.quantize("int8")
    return model


def smooth() -> keras.Model:
    """The plain model without the bends of a ReLU, at which the rounding of a small number type tips a gradient over."""
    return with_head(conv(activation="tanh"))


def under_policy(policy: str) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            return smooth()
        finally:
            keras.config.set_dtype_policy(before)

    return make


def of_doubles() -> keras.Model:
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        return plain()
    finally:
        keras.config.set_floatx(before)


def of_broken_weights(value: float) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        model = plain()
        kernel, *others = model.get_weights()
        kernel[..., 0] = value
        model.set_weights([kernel, *others])
        return model

    return build


def of_zeros() -> keras.Model:
    model = plain()
    model.set_weights([np.zeros_like(weights) for weights in model.get_weights()])
    return model


def ensemble() -> keras.Model:
    image = keras.Input(SIZE)
    return keras.Model(image, L.Average()([plain()(image), shaken(plain(), seed=2)(image)]))


CLOTHING = [
    OddModel("Sequential", lambda: shaken(keras.Sequential([keras.Input(SIZE), *layers()])), plain),
    OddModel("Sequential built by a call", sequential_built_by_call, plain),
    OddModel("Sequential built by a shape", sequential_built_by_shape, plain),
    OddModel(
        "Sequential of a Functional",
        lambda: shaken(keras.Sequential([keras.Input(SIZE), functional(conv()), *layers()[1:]])),
        plain,
    ),
    OddModel("nested twice, with a Sequential head", nested_twice, plain),
    OddModel("subclassed for its training only", own_training, plain),
    OddModel("one of two outputs, chosen", one_of_two_outputs, plain),
    OddModel("channels first, turned as the refusal says", turned_back, plain),
    OddModel("dict in, list out", in_dict_and_list, plain),
    OddModel("any image size", lambda: functional(*layers(), size=(None, None, 3)), plain),
    OddModel("a fixed batch size", lambda: functional(*layers(), batch_size=1), plain),
    OddModel("integer input", lambda: functional(*layers(), dtype="uint8"), plain),
    OddModel("frozen", frozen, plain),
    OddModel("compiled and trained", trained, plain),
    OddModel("saved and loaded, .keras", saved("model.keras"), plain),
    OddModel("saved and loaded, .h5", saved("model.h5"), plain),
    OddModel("mixed precision, float16", under_policy("mixed_float16"), smooth, tolerance=0.01),
    OddModel("mixed precision, bfloat16", under_policy("mixed_bfloat16"), smooth, tolerance=0.1),
    OddModel(
        "one layer of float16",
        lambda: with_head(conv(activation="tanh", dtype="mixed_float16")),
        smooth,
        tolerance=0.01,
    ),
    OddModel("float64", of_doubles, plain),
    OddModel(
        "quantised to int8", quantised, plain, refused("quantised to int8.*has no LRP rule", "lrp"), tolerance=0.1
    ),
]

PROBABILITIES = "gives probabilities.*logits"

ENDS = [
    OddModel("logits", lambda: ending_in(head(activation=None)), plain),
    OddModel("softmax by a TensorFlow function", lambda: ending_in(head(activation=tf.nn.softmax)), plain),
    OddModel("softmax as a layer", lambda: ending_in(head(activation=None), L.Softmax()), plain),
    OddModel(
        "softmax as an Activation in float32",
        lambda: ending_in(head(activation=None), L.Activation("softmax", dtype="float32")),
        plain,
    ),
    OddModel("softmax as an operation", lambda: ending_in(head(activation=None), ops.softmax), plain),
    OddModel("softmax in a Lambda", lambda: ending_in(head(activation=None), L.Lambda(tf.nn.softmax)), plain),
    OddModel("log-softmax", lambda: ending_in(head(activation="log_softmax")), plain),
    OddModel(
        "softmax, then dropout and a reshape",
        lambda: ending_in(head(), L.Dropout(0.5), L.Reshape((CLASSES,))),
        plain,
    ),
    OddModel("sigmoid for each of several labels", lambda: ending_in(head(activation="sigmoid")), plain),
    OddModel(
        "sigmoid, one unit",
        lambda: ending_in(L.Dense(1, activation="sigmoid")),
        lambda: ending_in(L.Dense(1)),
        classes=(0, 0),
    ),
    OddModel(
        "softmax over one class",
        lambda: ending_in(L.Dense(1, activation="softmax")),
        lambda: ending_in(L.Dense(1)),
        classes=(0, 0),
    ),
    OddModel(
        "temperature before the softmax",
        lambda: ending_in(head(activation=None), L.Rescaling(2.0), L.Softmax()),
        lambda: ending_in(head(activation=None), L.Rescaling(2.0)),
    ),
    OddModel(
        "softmax of one's own",
        lambda: ending_in(head(activation=own_softmax)),
        refused=refused(f"own_softmax.*{PROBABILITIES}"),
    ),
    OddModel(
        "softmax in a layer of one's own",
        lambda: ending_in(head(activation=None), Sharpened()),
        refused=refused(f"Sharpened.*{PROBABILITIES}"),
    ),
    OddModel(
        "temperature behind the softmax",
        lambda: ending_in(head(), L.Lambda(lambda p: p**2 / ops.sum(p**2, -1, keepdims=True))),
        refused=refused(PROBABILITIES),
    ),
    OddModel("mean of two networks' probabilities", ensemble, refused=refused(f"Average.*{PROBABILITIES}")),
]


# --- other layers, and the same written plainly -----------------------------------------------------------------------


def normed(**options: Any) -> keras.Model:
    return with_head(conv(activation=None), L.BatchNormalization(name="norm", **options), L.ReLU())


def norm_merged() -> keras.Model:
    """Conv, batch norm and ReLU as one convolution."""
    kernel, bias, gamma, beta, mean, variance, *rest = normed().get_weights()
    scale = gamma / np.sqrt(variance + 1e-3)
    model = plain()
    model.set_weights([kernel * scale, (bias - mean) * scale + beta, *rest])
    return model


def norm_as_convolution() -> keras.Model:
    """A batch norm behind a ReLU as a convolution of each channel by itself."""
    kernel, bias, gamma, beta, mean, variance, *rest = with_head(conv(), L.BatchNormalization()).get_weights()
    scale = gamma / np.sqrt(variance + 1e-3)
    model = with_head(conv(), L.DepthwiseConv2D(1))
    model.set_weights([kernel, bias, scale.reshape(1, 1, 4, 1), beta - mean * scale, *rest])
    return model


def merged_scale(scale: Any, offset: float = 0.0) -> keras.Model:
    """The plain model, its convolution without padding, on pixels times a scale plus an offset."""
    model = with_head(conv(padding="valid"))
    kernel, bias, *rest = model.get_weights()
    model.set_weights([kernel * np.reshape(scale, (-1, 1)), bias + offset * kernel.sum(axis=(0, 1, 2)), *rest])
    return model


def sloped(slope: keras.Layer) -> keras.Model:
    """The plain model with another activation, which may have a slope of 0.2 as its weight."""
    model = with_head(conv(activation=None), slope)
    kernel, bias, *rest = plain().get_weights()
    model.set_weights([kernel, bias, *(np.full(weight.shape, 0.2) for weight in slope.weights), *rest])
    return model


def small_conv() -> keras.Layer:
    return L.Conv2D(3, 3, padding="same", activation="relu")


def used_twice(separate: bool) -> keras.Model:
    first = small_conv()
    second = small_conv() if separate else first
    model = with_head(first, second)
    for layer in (first, second):
        layer.set_weights([np.linspace(-1, 1, 81).reshape(3, 3, 3, 3), np.array([0.1, 0.2, 0.3])])
    model.get_layer("scores").set_weights([np.linspace(-1, 1, 9).reshape(3, 3), np.zeros(3)])
    return model


def attended(attend: Callable) -> keras.Model:
    return functional(
        L.Conv2D(5, 2, strides=2, activation="relu"), L.Reshape((12, 5)), attend, L.GlobalAveragePooling1D(), head()
    )


class OwnAttention(L.Layer):
    """Self-attention of two heads in raw operations."""

    def build(self, shape):
        for name in ("query", "key", "value"):
            self.add_weight(name=f"{name}_kernel", shape=(shape[-1], 2, 3))
            self.add_weight(name=f"{name}_bias", shape=(2, 3))
        self.add_weight(name="out_kernel", shape=(2, 3, shape[-1]))
        self.add_weight(name="out_bias", shape=(shape[-1],))

    def call(self, x):
        wq, bq, wk, bk, wv, bv, wo, bo = (variable.value for variable in self.weights)
        query, key, value = (ops.einsum("ntd,dhk->nthk", x, w) + b for w, b in ((wq, bq), (wk, bk), (wv, bv)))
        attention = ops.softmax(ops.einsum("nthk,nshk->nhts", query, key) / np.sqrt(3.0))
        return ops.einsum("nthk,hkd->ntd", ops.einsum("nhts,nshk->nthk", attention, value), wo) + bo


class OwnRecurrence(L.Layer):
    """A simple recurrence over rows in raw operations."""

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 4))
        self.recurrent = self.add_weight(name="recurrent", shape=(4, 4))
        self.bias = self.add_weight(name="bias", shape=(4,))

    def call(self, x):
        state = ops.zeros_like(x[:, 0, :4])
        for row in range(x.shape[1]):
            state = ops.tanh(x[:, row] @ self.kernel + state @ self.recurrent + self.bias)
        return state


class OwnTransposed(L.Layer):
    """A transposed convolution of stride 1: one whose kernel is turned by half a circle."""

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(3, 3, 4, shape[-1]))
        self.bias = self.add_weight(name="bias", shape=(4,))

    def call(self, inputs):
        kernel = ops.flip(ops.transpose(self.kernel, (0, 1, 3, 2)), (0, 1))
        return ops.relu(ops.conv(inputs, kernel, padding="same") + self.bias)


NO_RULE = refused("has no LRP rule", "lrp")
NO_MAPS = refused("has no layer with spatial maps", *CAMS)

PARTS = [
    OddModel("batch norm before the ReLU", normed, norm_merged),
    OddModel("batch norm behind the ReLU", lambda: with_head(conv(), L.BatchNormalization()), norm_as_convolution),
    OddModel(
        "augmentation, noise, and dropout that is always on",
        lambda: with_head(
            L.RandomFlip(),
            L.RandomRotation(0.2),
            L.RandomContrast(0.5),
            L.GaussianNoise(1.0),
            conv(),
            lambda maps: L.Dropout(0.5)(maps, training=True),
            L.SpatialDropout2D(0.5),
        ),
        plain,
    ),
    OddModel(
        "rescaling inside",
        lambda: with_head(L.Rescaling(1 / 127.5, -1), conv(padding="valid")),
        lambda: merged_scale(1 / 127.5, -1),
        photos=np.rint(255 * PHOTOS).astype(np.uint8),
    ),
    OddModel(
        "normalisation inside",
        lambda: with_head(L.Normalization(mean=[0.0] * 3, variance=[0.25, 1.0, 4.0]), conv(padding="valid")),
        lambda: merged_scale([2.0, 1.0, 0.5]),
    ),
    OddModel("a layer of one's own", lambda: with_head(OwnConv(4, 3, padding="same")), plain, NO_RULE),
    OddModel("an activation of one's own", lambda: with_head(conv(activation=own_relu)), plain, NO_RULE),
    OddModel("ReLU in a Lambda", lambda: with_head(conv(activation=None), L.Lambda(ops.relu)), plain),
    OddModel("a ReLU layer given as activation", lambda: with_head(conv(activation=L.ReLU())), plain),
    OddModel("a hidden model in the middle", lambda: with_head(Hidden(conv())), plain, NO_RULE),
    OddModel(
        "pooling by an operation",
        lambda: functional(conv(), lambda maps: ops.mean(maps, axis=(1, 2)), head()),
        plain,
    ),
    OddModel(
        "maximum over positions",
        lambda: functional(conv(), L.GlobalMaxPooling2D(), head()),
        lambda: functional(conv(), L.MaxPooling2D((6, 8)), L.Flatten(), head()),
    ),
    OddModel("a layer used twice", lambda: used_twice(separate=False), lambda: used_twice(separate=True)),
    OddModel(
        "depthwise",
        lambda: with_head(L.DepthwiseConv2D(3, activation="relu")),
        lambda: with_head(L.Conv2D(3, 3, groups=3, activation="relu")),
    ),
    OddModel(
        "separable",
        lambda: with_head(L.SeparableConv2D(4, 3, use_bias=False, activation="relu")),
        lambda: with_head(L.DepthwiseConv2D(3, use_bias=False), L.Conv2D(4, 1, use_bias=False, activation="relu")),
    ),
    OddModel(
        "transposed convolution",
        lambda: with_head(L.Conv2DTranspose(4, 3, padding="same", activation="relu")),
        lambda: with_head(OwnTransposed()),
        NO_RULE,
    ),
    OddModel("PReLU", lambda: sloped(L.PReLU(shared_axes=[1, 2, 3])), lambda: sloped(L.LeakyReLU(0.2))),
    OddModel(
        "GELU",
        lambda: with_head(conv(activation="gelu")),
        lambda: with_head(conv(activation=None), L.Activation("gelu")),
    ),
    OddModel("Swish", lambda: with_head(conv(activation="swish")), lambda: with_head(conv(activation=None), ops.silu)),
    OddModel(
        "attention",
        lambda: attended(lambda x: L.MultiHeadAttention(2, 3)(x, x)),
        lambda: attended(OwnAttention()),
        NO_RULE,
    ),
    OddModel(
        "recurrence over rows",
        lambda: functional(L.Reshape((6, 24)), L.SimpleRNN(4), head()),
        lambda: functional(L.Reshape((6, 24)), OwnRecurrence(), head()),
        NO_MAPS | NO_RULE,
    ),
    OddModel(
        "no spatial layer",
        lambda: functional(L.Flatten(), head(use_bias=False)),
        lambda: functional(L.Conv2D(CLASSES, SIZE[:2], use_bias=False), L.Flatten()),
        NO_MAPS,
    ),
]


# --- maps worked out by hand ------------------------------------------------------------------------------------------


def linear(gradient: np.ndarray) -> keras.Model:
    """S_c(x) = sum of gradient[..., c] * x, read off a layer that hands the image on: A = x, dS_c/dA = gradient."""
    *size, channels, classes = gradient.shape
    maps = L.Conv2D(channels, 1, use_bias=False)
    model = functional(maps, L.Flatten(), L.Dense(classes, use_bias=False), size=(*size, channels))
    model.set_weights([np.eye(channels).reshape(1, 1, channels, channels), gradient.reshape(-1, classes)])
    return model


def linear_maps(photos: np.ndarray, gradient: np.ndarray) -> dict[str, np.ndarray]:
    """Of `linear`, for class 0 of the first photo and the last class of the second."""
    each = [
        by_hand(x, g) for x, g in zip(photos.astype(np.float64), (gradient[..., 0], gradient[..., -1]), strict=True)
    ]
    return {method: np.stack([maps[method] for maps in each]) for method in each[0]}


def by_hand(x: np.ndarray, g: np.ndarray) -> dict[str, np.ndarray]:
    low, high = x.min(axis=(0, 1)), x.max(axis=(0, 1))
    masked_scores = np.array(
        [(x * ((x[..., k] - low[k]) / (high[k] - low[k]))[..., None] * g).sum() for k in range(len(low))]
    )
    weights = np.exp(masked_scores) / np.exp(masked_scores).sum()
    drops, covers = np.zeros(x.shape[:2]), np.zeros(x.shape[:2])
    for top in (0, 2, 3):
        for left in (0, 2, 4, 5):
            patch = slice(top, top + 3), slice(left, left + 3)
            drops[patch] += (x * g)[patch].sum()
            covers[patch] += 1
    return {
        "grad_cam": np.maximum((x * g.mean(axis=(0, 1))).sum(axis=-1), 0),
        "saliency": np.abs(g).max(axis=-1),
        "integrated_gradients": (x * g).sum(axis=-1),
        "occlusion": drops / covers,
        "score_cam": np.maximum((x * weights).sum(axis=-1), 0),
        # A pixel at the end of its range that argues least has no relevance in the first layer: here, the lowest.
        "lrp": (x * g * (x > low)).sum(axis=-1),
    }


def of_channels(name: str, channels: int) -> OddModel:
    draw = np.random.default_rng(channels)
    photos = draw.random((2, *SIZE[:2], channels), dtype=np.float32)
    gradient = draw.normal(size=(*SIZE[:2], channels, CLASSES)).astype(np.float32)
    return OddModel(name, lambda: linear(gradient), linear_maps(photos, gradient), photos=photos)


FEATURES = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]], np.float32)
KERNEL = np.array([[1.0, 0.0, -2.0], [3.0, 0.0, 4.0], [0.5, 0.0, 1.0]], np.float32)
CONTRIBUTIONS = FEATURES * KERNEL[:, [0, 2]].T


def on_features() -> keras.Model:
    model = functional(L.Dense(CLASSES, use_bias=False), size=(3,))
    model.set_weights([KERNEL])
    return model


VOLUMES = np.random.default_rng(1).random((2, 4, *SIZE), dtype=np.float32)
SLOPES = np.array([[3.0, 0.0, -1.0], [-4.0, 0.0, 2.0], [0.5, 0.0, 5.0]], np.float32)  # (channels, classes)


def linear_over(layer: type[keras.Layer], axes: int) -> keras.Model:
    """The mean over all positions of the channels times `SLOPES`: a convolution of one position, then pooling."""
    pooling = {1: L.GlobalAveragePooling1D, 2: L.GlobalAveragePooling2D, 3: L.GlobalAveragePooling3D}[axes]
    size = {1: SIZE[1:], 2: SIZE, 3: VOLUMES.shape[1:]}[axes]
    model = functional(layer(CLASSES, 1, use_bias=False), pooling(), size=size)
    model.set_weights([SLOPES.reshape((1,) * axes + SLOPES.shape)])
    return model


def linear_over_frames() -> keras.Model:
    video = keras.Input(VOLUMES.shape[1:])
    return keras.Model(video, L.GlobalAveragePooling1D()(L.TimeDistributed(linear_over(L.Conv2D, 2))(video)))


def spread(axes: int, inputs: np.ndarray | None = None) -> np.ndarray:
    """Its saliency, and with inputs its integrated gradients, of the first class and the last, at each position."""
    shape = {1: SIZE[1:2], 3: VOLUMES.shape[1:4]}[axes]
    slopes = SLOPES[:, [0, -1]].T.reshape(2, *(1,) * axes, 3) / np.prod(shape)
    if inputs is None:
        return np.broadcast_to(np.abs(slopes).max(axis=-1), (2, *shape))
    return (slopes * inputs).sum(axis=-1)


NO_PATCHES = refused(r"occlusion needs images, \(n, H, W, C\); the model takes inputs of shape", "occlusion")

LINEAR = [
    of_channels("grey images", 1),
    of_channels("images of 4 channels", 4),
    of_channels("images of 5 channels", 5),
    OddModel("weights that are all zero", of_zeros, dict.fromkeys(METHODS, np.zeros((2, *SIZE[:2])))),
    OddModel(
        "feature vectors",
        on_features,
        {"saliency": KERNEL[:, [0, 2]].T, "integrated_gradients": CONTRIBUTIONS, "lrp": CONTRIBUTIONS},
        NO_MAPS | NO_PATCHES,
        FEATURES,
    ),
    OddModel(
        "sequences",
        lambda: linear_over(L.Conv1D, 1),
        {"saliency": spread(1), "integrated_gradients": spread(1, PHOTOS[:, 0])},
        NO_MAPS | NO_PATCHES,
        PHOTOS[:, 0],
    ),
    OddModel(
        "volumes",
        lambda: linear_over(L.Conv3D, 3),
        {"saliency": spread(3), "integrated_gradients": spread(3, VOLUMES)},
        NO_MAPS | NO_PATCHES,
        VOLUMES,
    ),
    OddModel(
        "a model for each frame of a video",
        linear_over_frames,
        {"saliency": spread(3), "integrated_gradients": spread(3, VOLUMES)},
        NO_MAPS | NO_PATCHES,
        VOLUMES,
    ),
]


# --- what cannot be explained -----------------------------------------------------------------------------------------


def channels_first() -> keras.Model:
    return functional(L.Conv2D(4, 3, data_format="channels_first", name="maps"), L.Flatten(), head(), size=(3, 6, 8))


class Estimator:
    """Like a model of scikit-learn or PyTorch."""

    def predict(self, images):
        return np.zeros((len(images), CLASSES))


def no_model(name: str, make: Callable[[], Any], said: str) -> OddModel:
    return OddModel(name, make, refused=refused(said), error=TypeError)


ANOTHER = "a Keras model is needed, not"
REFUSED = [
    OddModel("two outputs", of_two_outputs, refused=refused(r"has 2 outputs.*keras\.Model")),
    OddModel(
        "two inputs",
        of_two_inputs,
        refused=refused(r"has 2 inputs \('left', 'right'\), one is needed; make a model of the images alone"),
    ),
    OddModel(
        "subclassed",
        lambda: Hidden(*layers()),
        refused=refused(r"is a subclassed model \(Hidden\).*Functional or Sequential"),
    ),
    OddModel(
        "ending in a hidden model",
        lambda: functional(conv(), Hidden(*layers()[1:])),
        refused=refused(r"ends in the subclassed model"),
    ),
    OddModel(
        "Sequential that is not built",
        lambda: keras.Sequential(layers()),
        refused=refused("is not built yet: call it on an image"),
    ),
    OddModel(
        "channels first",
        channels_first,
        refused=refused("'maps' of .* has data_format='channels_first'.*'channels_last' is needed"),
        photos=np.moveaxis(PHOTOS, -1, 1),
    ),
    OddModel(
        "channels first outside, turned inside",
        turned_inside,
        refused=refused(r"channels first, \(3, 6, 8\).*Permute\(\(3, 1, 2\)\)"),
        photos=np.moveaxis(PHOTOS, -1, 1),
    ),
    OddModel(
        "an output for each pixel",
        lambda: functional(conv()),
        refused=refused(r"output of shape \(None, 6, 8, 4\), \(None, classes\) is needed: one number"),
    ),
    OddModel(
        "an output without classes",
        lambda: ending_in(head(), lambda scores: scores[:, 0]),
        refused=refused(r"output of shape \(None,\), \(None, classes\) is needed"),
    ),
    OddModel(
        "NaN weights",
        of_broken_weights(np.nan),
        refused=refused("'maps' of .* has NaN or infinite weights; its training"),
    ),
    OddModel(
        "infinite weights",
        of_broken_weights(np.inf),
        refused=refused("'maps' of .* has NaN or infinite weights; its training"),
    ),
    OddModel(
        "outputs that overflow",
        of_broken_weights(3e38),
        refused=refused("NaN or infinite values for image.*its numbers outgrow their type"),
    ),
    no_model("None", lambda: None, f"{ANOTHER} NoneType"),
    no_model("a path", lambda: "model.keras", rf"{ANOTHER} str.*keras\.saving\.load_model"),
    no_model("a function that would make one", lambda: keras.applications.VGG16, f"{ANOTHER} function; call it first"),
    no_model("a class", lambda: keras.Model, f"{ANOTHER} type; call it first"),
    no_model("an estimator of another library", Estimator, f"{ANOTHER} Estimator"),
    no_model("a layer", conv, f"{ANOTHER} Conv2D"),
    no_model("a TensorFlow module", lambda: tf.Module(), f"{ANOTHER} Module"),
]

# --- files that hold no model -----------------------------------------------------------------------------------------


class OddFile(NamedTuple):
    """A file that is given as a saved model: its name, a function of its path that writes it, and what is said of it."""

    name: str
    file: str
    write: Callable[[Path], Any]
    said: str


def rewritten(suffix: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    """A saved model of that kind, its bytes changed."""

    def write(path: Path) -> None:
        whole = path.with_name(f"whole{suffix}")
        plain().save(whole)
        path.write_bytes(change(whole.read_bytes()))

    return write


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "nothing")


FILES = [
    OddFile("missing", "gone.keras", lambda path: None, "there is no such file"),
    OddFile("empty", "empty.keras", lambda path: path.touch(), "it is empty: the download or copy did not finish"),
    OddFile("cut off", "cut.keras", rewritten(".keras", lambda data: data[:9000]), "its end is missing"),
    OddFile("HDF5 that is called .keras", "old.keras", rewritten(".h5", bytes), "it is an HDF5 file; call it .h5"),
    OddFile("weights alone", "w.weights.h5", lambda path: plain().save_weights(path), "No model config found"),
    OddFile(
        "SavedModel folder", "saved", lambda path: path.mkdir(), r"it is a folder; save the model as one file.*\.keras"
    ),
    OddFile("text", "notes.keras", lambda path: path.write_text("my model"), "it is no .keras file"),
    OddFile("web page", "page.keras", lambda path: path.write_text("\n<!DOCTYPE html>"), "it is a web page"),
    OddFile(
        "Git LFS pointer",
        "lfs.keras",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"),
        "git lfs pull",
    ),
    OddFile("another archive", "model.keras", archive, "ZIP archive without a Keras model"),
]


# --- images for the plain model ---------------------------------------------------------------------------------------


class OddImages(NamedTuple):
    """Images handed to the plain model: those of `PHOTOS` in another form, or what is refused, and why."""

    name: str
    make: Callable[[], Any]
    error: type[Exception] | None = None
    said: str = ""


def read_only() -> np.ndarray:
    photos = PHOTOS.copy()
    photos.flags.writeable = False
    return photos


def with_value(value: float) -> np.ndarray:
    photos = PHOTOS.copy()
    photos[1, 0, 0, 0] = value
    return photos


NEEDED = r"does not fit the model, which takes \(n, 6, 8, 3\) or one of shape \(6, 8, 3\)"
IMAGES = [
    OddImages("float64", lambda: PHOTOS.astype(np.float64)),
    OddImages("long double", lambda: PHOTOS.astype(np.longdouble)),
    OddImages("big-endian", lambda: PHOTOS.astype(">f4")),
    OddImages("nested lists", PHOTOS.tolist),
    OddImages("a tuple of arrays", lambda: tuple(PHOTOS)),
    OddImages("a tensor", lambda: tf.constant(PHOTOS)),
    OddImages("a variable", lambda: keras.Variable(PHOTOS)),
    OddImages("read-only", read_only),
    OddImages("Fortran order", lambda: np.asfortranarray(PHOTOS)),
    OddImages("backwards in memory", lambda: PHOTOS[:, ::-1].copy()[:, ::-1]),
    OddImages("every second of a larger array", lambda: PHOTOS.repeat(2, axis=2)[:, :, ::2]),
    OddImages("a masked array without a mask", lambda: np.ma.MaskedArray(PHOTOS)),
    OddImages("NaN", lambda: with_value(np.nan), ValueError, r"images: NaN or infinite values in number \[1\]"),
    OddImages("infinity", lambda: with_value(np.inf), ValueError, r"images: NaN or infinite values in number \[1\]"),
    OddImages(
        "beyond float32", lambda: with_value(1.0).astype(np.float64) * 1e300, ValueError, "images: NaN or infinite"
    ),
    OddImages("none at all", lambda: PHOTOS[:0], ValueError, r"images: an empty array of shape \(0, 6, 8, 3\)"),
    OddImages("an empty list", list, ValueError, f"images: .*{NEEDED}"),
    OddImages("grey", lambda: PHOTOS[..., :1], ValueError, rf"images: shape \(2, 6, 8, 1\) {NEEDED}"),
    OddImages("without a colour axis", lambda: PHOTOS[..., 0], ValueError, rf"images: shape \(2, 6, 8\) {NEEDED}"),
    OddImages("RGBA", lambda: PHOTOS[..., [0, 1, 2, 2]], ValueError, rf"images: shape \(2, 6, 8, 4\) {NEEDED}"),
    OddImages(
        "channels first", lambda: np.moveaxis(PHOTOS, -1, 1), ValueError, rf"images: shape \(2, 3, 6, 8\) {NEEDED}"
    ),
    OddImages("on their side", lambda: PHOTOS.swapaxes(1, 2), ValueError, rf"images: shape \(2, 8, 6, 3\) {NEEDED}"),
    OddImages(
        "a batch of batches", lambda: PHOTOS[np.newaxis], ValueError, rf"images: shape \(1, 2, 6, 8, 3\) {NEEDED}"
    ),
    OddImages("of different sizes", lambda: [PHOTOS[0], PHOTOS[1, :4]], ValueError, "images: all must have one shape"),
    OddImages(
        "a masked array with a mask", lambda: np.ma.masked_less(PHOTOS, 0.5), ValueError, r"images: .*masked.*filled"
    ),
    OddImages("numbers as objects", lambda: PHOTOS.astype(object), TypeError, "images: an array of numbers is needed"),
    OddImages("numbers as text", lambda: PHOTOS.astype(str), TypeError, "images: an array of numbers is needed"),
    OddImages("complex", lambda: PHOTOS.astype(complex), TypeError, "images: an array of numbers is needed"),
    OddImages("a path", lambda: "cat.jpg", TypeError, r"images: an array of numbers is needed, not str.*photos\.load"),
    OddImages("a list of paths", lambda: ["cat.jpg", "dog.jpg"], TypeError, "images: an array of numbers is needed"),
    OddImages("None", lambda: None, TypeError, "images: an array of numbers is needed, not NoneType"),
    OddImages("a dict", lambda: {"images": PHOTOS}, TypeError, "images: an array of numbers is needed, not dict"),
    OddImages(
        "a generator",
        lambda: (photo for photo in PHOTOS),
        TypeError,
        "images: an array of numbers is needed, not generator",
    ),
    OddImages(
        "a dataset",
        lambda: tf.data.Dataset.from_tensor_slices(PHOTOS),
        TypeError,
        "images: an array of numbers is needed",
    ),
]

MODELS = [*CLOTHING, *ENDS, *PARTS, *LINEAR, *REFUSED]
