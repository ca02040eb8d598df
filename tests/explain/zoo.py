"""A small zoo of models: paper-sized ones with hand-set weights, random ones in several builds, and what watches them.

The paper-sized ones are made so that feature maps and gradients can be read off: in `linear_head` the feature maps *are*
the image and the gradient *is* the given array, so that every CAM can be worked out with a pencil.
"""

import hashlib
import json

import keras
import numpy as np

L = keras.layers


def linear_head(gradient, *, activation="softmax"):
    """S_c(x) = sum_ijk gradient[i, j, k, c] * x[i, j, k], read off a layer "maps" that hands the image on.

    gradient : (h, w, channels, classes). So A = x and dS_c/dA = gradient[..., c], for every image.
    """
    h, w, channels, classes = np.shape(gradient)
    image = keras.Input((h, w, channels))
    maps = L.Conv2D(channels, 1, use_bias=False, name="maps")(image)
    logits = L.Dense(classes, activation=activation, use_bias=False, name="logits")(L.Flatten()(maps))
    model = keras.Model(image, logits)
    model.get_layer("maps").set_weights([np.eye(channels, dtype=np.float32)[np.newaxis, np.newaxis]])
    model.get_layer("logits").set_weights([np.reshape(gradient, (-1, classes)).astype(np.float32)])
    return model


def dense_net(*layers, activations=None):
    """Dense layers with the given (kernel, bias) pairs, on feature vectors; the last one linear."""
    model = keras.Sequential([keras.Input((len(layers[0][0]),))])
    for index, (kernel, bias) in enumerate(layers):
        activation = "relu" if index < len(layers) - 1 else "linear"
        model.add(L.Dense(np.shape(kernel)[1], activation=activation))
        model.layers[-1].set_weights([np.asarray(kernel, np.float32), np.asarray(bias, np.float32)])
    return model


def pixelwise(weights, heads, relu):
    """S = sum over pixels of heads @ relu(weights * x), for images (h, w, 1) of any size; `relu` makes it.

    relu : function of (units, kernel) that gives the layers of one 1 x 1 convolution with its ReLU.
    """
    model = keras.Sequential([keras.Input((None, None, 1)), *relu(len(weights))])
    model.add(L.GlobalAveragePooling2D())
    model.add(L.Dense(1, use_bias=False))
    model.layers[0].set_weights([np.reshape(weights, (1, 1, 1, -1)).astype(np.float32)])
    model.layers[-1].set_weights([np.reshape(heads, (-1, 1)).astype(np.float32)])
    return model


SIZE = (11, 14, 3)  # not square on purpose


def cnn_layers(*, relu="relu", final="softmax", dtype=None):
    """The layers of a small random CNN: stride, padding, max-pooling, batch norm, dropout, both kinds of ReLU."""
    return [
        L.Conv2D(6, 3, padding="same", activation=relu, name="conv1", dtype=dtype),
        L.MaxPooling2D(2, name="pool", dtype=dtype),
        L.Conv2D(5, 3, padding="same", use_bias=False, name="conv2", dtype=dtype),
        L.BatchNormalization(name="norm", dtype=dtype),
        L.Activation(relu, name="relu2", dtype=dtype) if callable(relu) else L.ReLU(name="relu2", dtype=dtype),
        L.Flatten(name="flatten", dtype=dtype),
        L.Dropout(0.5, name="dropout", dtype=dtype),
        L.Dense(7, activation=relu, name="fc", dtype=dtype),
        L.Dense(4, activation=final, name="predictions", dtype=dtype),
    ]


def chain(tensor, layers):
    for layer in layers:
        tensor = layer(tensor)
    return tensor


def shake(model, seed=0):
    """Random weights, biases and batch statistics, so that nothing is zero or one by default."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        shape = tuple(variable.shape)
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.5, 2.0, shape))
        elif len(shape) > 1:
            variable.assign(rng.normal(0, 1.5 / np.sqrt(np.prod(shape[:-1])), shape))
        elif "seed" not in variable.path:
            variable.assign(rng.normal(0, 0.1, shape))
    return model


def functional(seed=0, **options):
    image = keras.Input(SIZE)
    return shake(keras.Model(image, chain(image, cnn_layers(**options))), seed)


def sequential(seed=0, **options):
    return shake(keras.Sequential([keras.Input(SIZE), *cnn_layers(**options)]), seed)


def sequential_built_by_call(seed=0):
    model = keras.Sequential(cnn_layers())
    model(np.zeros((2, *SIZE), np.float32))
    return shake(model, seed)


def nested(seed=0):
    """A Functional backbone up to the feature maps, used as a layer, and a Sequential head."""
    image, inner = keras.Input(SIZE), keras.Input(SIZE)
    layers = cnn_layers()
    backbone = keras.Model(inner, chain(inner, layers[:5]), name="backbone")
    head = keras.Sequential(layers[5:], name="head")
    return shake(keras.Model(image, head(backbone(image, training=False))), seed)


def separate_softmax(seed=0):
    image = keras.Input(SIZE)
    return shake(keras.Model(image, L.Softmax()(chain(image, cnn_layers(final="linear")))), seed)


def separate_activation(seed=0):
    image = keras.Input(SIZE)
    logits = chain(image, cnn_layers(final=None))
    return shake(keras.Model(image, L.Activation("linear")(L.Activation("softmax", dtype="float32")(logits))), seed)


def raw_operation(seed=0):
    image = keras.Input(SIZE)
    return shake(keras.Model(image, keras.ops.softmax(chain(image, cnn_layers(final=None)))), seed)


def lambda_softmax(seed=0):
    image = keras.Input(SIZE)
    return shake(keras.Model(image, L.Lambda(keras.ops.softmax)(chain(image, cnn_layers(final=None)))), seed)


def linear(seed=0):
    return functional(seed, final=None)


SAME_MODEL = {
    "functional": functional,
    "sequential": sequential,
    "sequential built by a call": sequential_built_by_call,
    "nested": nested,
    "separate Softmax": separate_softmax,
    "separate Activation": separate_activation,
    "raw operation": raw_operation,
    "Lambda": lambda_softmax,
    "linear": linear,
}
"""One and the same network in every build that must give one and the same map."""


def sigmoid_binary(seed=0):
    """One unit with a sigmoid: class 0 is its only logit."""
    image = keras.Input(SIZE)
    tensor = L.GlobalAveragePooling2D()(chain(image, cnn_layers()[:5]))
    return shake(keras.Model(image, L.Dense(1, activation="sigmoid")(tensor)), seed)


def sigmoid_multilabel(seed=0):
    return functional(seed, final="sigmoid")


def residual(seed=0):
    """Skip connections around layers, raw operations, ReLU6, depthwise, a layer called twice, any image size."""
    image = keras.Input((None, None, 3))
    tensor = L.Rescaling(1 / 64)(image)
    stem = L.Conv2D(6, 3, strides=2, padding="same", name="stem")(tensor)
    twice = L.Conv2D(6, 3, padding="same", name="twice")
    tensor = L.ReLU(6.0, name="relu6")(twice(L.Activation("relu6", name="act6")(twice(stem))))
    tensor = L.DepthwiseConv2D(3, padding="same", name="depthwise")(tensor)
    tensor = keras.ops.relu(L.Add(name="sum")([tensor, stem]) * 0.5)
    maps = L.Conv2D(8, 1, name="project", activation="relu")(tensor)
    pooled = L.Concatenate()([L.GlobalAveragePooling2D()(maps), L.GlobalMaxPooling2D()(maps)])
    return shake(keras.Model(image, L.Dense(4, activation="softmax")(pooled)), seed)


def vgg_like(seed=0):
    image = keras.Input((16, 24, 3))
    tensor = image
    for block, channels in enumerate((4, 8), start=1):
        for index in (1, 2):
            name = f"block{block}_conv{index}"
            tensor = L.Conv2D(channels, 3, padding="same", activation="relu", name=name)(tensor)
        tensor = L.MaxPooling2D(name=f"block{block}_pool")(tensor)
    tensor = L.Dense(16, activation="relu", name="fc1")(L.Flatten()(tensor))
    return shake(keras.Model(image, L.Dense(5, activation="softmax", name="predictions")(tensor)), seed)


TOKENS = (8, 12, 3)  # 2 x 3 patches of 4 x 4


def transformer(
    seed=0, *, before=1, pooled=False, depth=2, heads=2, call=None, nested=None, dtype=None, final="softmax", **options
):
    """A tiny ViT on images that are not square, its layers named as those of `labutils.vit`.

    before : how many tokens stand before the patches. pooled : the head reads the mean over all tokens and not token 0.
    call, options : of each MultiHeadAttention's call, and of the layer. nested : "functional" or "sequential", the
    transformer used as a layer in a model of that kind.
    """
    from labutils.vit_layers import ClassToken, PositionEmbedding

    image = keras.Input(TOKENS)
    tensor = L.Conv2D(6, 4, strides=4, name="patch_embedding", dtype=dtype)(L.Rescaling(1 / 64, dtype=dtype)(image))
    tensor = L.Reshape((-1, 6), name="patches", dtype=dtype)(tensor)
    for number in reversed(range(before)):
        tensor = ClassToken(name="class_token" if number == 0 else f"register{number}", dtype=dtype)(tensor)
    tensor = PositionEmbedding(name="position_embedding", dtype=dtype)(tensor)
    for block in range(1, depth + 1):
        looked_at = L.LayerNormalization(epsilon=1e-6, name=f"block{block}_norm1", dtype=dtype)(tensor)
        attention = L.MultiHeadAttention(heads, 3, name=f"block{block}_attention", dtype=dtype, **options)
        given = attention(looked_at, looked_at, **(call or {}))
        given = given[0] if isinstance(given, tuple | list) else given
        tensor = L.Add(name=f"block{block}_add1", dtype=dtype)([tensor, given])
        given = L.LayerNormalization(epsilon=1e-6, name=f"block{block}_norm2", dtype=dtype)(tensor)
        given = L.Dense(12, activation="gelu", name=f"block{block}_dense1", dtype=dtype)(given)
        given = L.Dense(6, name=f"block{block}_dense2", dtype=dtype)(given)
        tensor = L.Add(name=f"block{block}_add2", dtype=dtype)([tensor, given])
    tensor = L.LayerNormalization(epsilon=1e-6, name="norm", dtype=dtype)(tensor)
    if pooled:
        tensor = L.GlobalAveragePooling1D(name="pool", dtype=dtype)(tensor)
    else:
        tensor = L.Flatten()(L.Cropping1D((0, tensor.shape[1] - 1), name="class_output", dtype=dtype)(tensor))
    logits = L.Dense(4, activation=final, name="predictions", dtype=dtype)
    if nested is None:
        return shake(keras.Model(image, logits(tensor)), seed)
    body = keras.Model(image, tensor, name="body")
    if nested == "sequential":
        return shake(keras.Sequential([keras.Input(TOKENS), body, logits]), seed)
    outer = keras.Input(TOKENS)
    return shake(keras.Model(outer, logits(body(L.Activation("linear")(outer)))), seed)


def photos(n=3, size=SIZE, seed=1):
    """n random uint8 images with some structure."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, -(-size[0] // 4), -(-size[1] // 4), size[2]))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : size[0], : size[1]]
    return np.clip(fine + rng.integers(-20, 21, fine.shape), 0, 255).astype(np.uint8)


def state(model):
    """Everything of a model that a method could have changed, as one hashable record."""
    layers = model._flatten_layers()
    return {
        "weights": hashlib.sha256(b"".join(np.asarray(v).tobytes() for v in model.variables)).hexdigest(),
        "config": json.dumps(model.get_config(), default=str, sort_keys=True),
        "activations": [id(getattr(layer, "activation", None)) for layer in layers],
        "trainable": [layer.trainable for layer in layers],
        "built": [layer.built for layer in layers],
        "nodes": [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers],
        "attributes": [sorted(vars(layer)) for layer in layers],
        "losses": [len(layer._losses) for layer in layers],
        "compiled": [
            id(getattr(model, name, None)) for name in ("optimizer", "loss", "_compile_metrics", "_compile_loss")
        ],
        "functions": [id(getattr(model, f"{name}_function", None)) for name in ("train", "test", "predict")],
        "optimizer": [
            np.asarray(v).tobytes() for v in (model.optimizer.variables if getattr(model, "optimizer", None) else [])
        ],
    }
