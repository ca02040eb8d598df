"""LRP once more, slowly and obviously: every layer as a dense matrix, every rule output by output, in float64 NumPy.

The matrix of a layer is found by pushing unit vectors through it. Images and maps are flat vectors here. Nothing here
uses `labutils`, and no rule cuts inputs or weights: each works on the list of an output's contributions.
"""

import keras
import numpy as np


def epsilon_shares(contributions, bias, epsilon):
    z = contributions.sum() + bias
    return divided(contributions, z + epsilon if z >= 0 else z - epsilon)


def gamma_shares(contributions, bias, gamma):
    z = contributions.sum() + bias
    sign = 1 if z >= 0 else -1
    contributions = contributions + gamma * np.where(contributions * sign > 0, contributions, 0)
    bias = bias + gamma * (bias if bias * sign > 0 else 0)
    return divided(contributions, contributions.sum() + bias)


def z_plus_shares(contributions, bias):
    contributions = np.where(contributions > 0, contributions, 0)
    return divided(contributions, contributions.sum() + max(bias, 0))


def divided(contributions, total):
    return contributions / total if total != 0 else np.zeros_like(contributions)


def through(weights, bias, x, relevance, shares):
    """Relevance of a layer's inputs. shares: (contributions of all inputs to one output, its bias) -> their shares."""
    found = np.zeros(len(x))
    for k in np.flatnonzero(relevance):
        found += shares(x * weights[:, k], bias[k]) * relevance[k]
    return found


def through_box(weights, x, relevance, low, high):
    found = np.zeros(len(x))
    for k in np.flatnonzero(relevance):
        w = weights[:, k]
        contributions = x * w - low * np.where(w > 0, w, 0) - high * np.where(w < 0, w, 0)
        found += divided(contributions, contributions.sum()) * relevance[k]
    return found


def matrix(layer, shape):
    """A layer without its activation, for inputs of this shape: weights (inputs, outputs), bias, and output shape."""
    config = {**layer.get_config(), "dtype": "float64"}
    if "activation" in config:
        config["activation"] = "linear"
    twin = type(layer).from_config(config)
    twin.build((1, *shape))
    twin.set_weights([np.asarray(weights, np.float64) for weights in layer.get_weights()])
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    bias = np.asarray(twin(np.zeros((1, *shape)), training=False))[0]
    outputs = np.concatenate([np.asarray(twin(part, training=False)) for part in np.array_split(units, 8) if len(part)])
    return (outputs - bias).reshape(len(units), -1), bias.ravel(), bias.shape


def winners(maps, layer):
    """Max-pooling as a matrix: 1 from each window's largest value, the first of equals, to its output."""
    height, width, channels = maps.shape
    if "Global" in type(layer).__name__:
        size, strides = (height, width), (1, 1)
    else:
        size, strides = layer.pool_size, layer.strides
    rows, columns = (height - size[0]) // strides[0] + 1, (width - size[1]) // strides[1] + 1
    result = np.zeros((height, width, channels, rows, columns, channels))
    for i in range(rows):
        for j in range(columns):
            for c in range(channels):
                top, left = i * strides[0], j * strides[1]
                window = maps[top : top + size[0], left : left + size[1], c]
                di, dj = np.unravel_index(window.argmax(), window.shape)
                result[top + di, left + dj, c, i, j, c] = 1
    return result.reshape(maps.size, -1)


class Chain:
    """Layers one after the other, explained: the logit's relevance on the image, (H, W, C), summed over the colours."""

    def __init__(self, vectors, maps, box=None):
        """vectors, maps: the shares of layers that read vectors or maps. box: (low, high), like the image, or None."""
        self.vectors, self.maps, self.box = vectors, maps, box

    def shares(self, shape):
        return self.vectors if len(shape) == 1 else self.maps

    def explain(self, layers, image, chosen):
        x, shape, crossed = image.astype(np.float64).ravel(), image.shape, []
        for layer, *following in steps(layers):
            crossed.append((layer, x, shape))
            if "MaxPooling" in type(layer).__name__:
                weights = winners(x.reshape(shape), layer)
                crossed[-1] += (weights, None)
                shape = (*np.shape(layer(x.reshape(1, *shape)))[1:],)
                x = x @ weights
            elif has_matrix(layer):
                weights, bias, shape = matrix(layer, shape)
                for norm in following:
                    scale, shift, _ = matrix(norm, shape)
                    weights, bias = weights @ scale, bias @ scale + shift
                crossed[-1] += (weights, bias)
                x = activated(layer, x @ weights + bias)
            else:
                x = activated(layer, x)
                shape = (len(x),) if isinstance(layer, keras.layers.Flatten) else shape
        relevance = np.where(np.arange(len(x)) == chosen, x, 0)
        return self.back(crossed, relevance).reshape(image.shape).sum(axis=-1)

    def back(self, crossed, relevance):
        first = next(index for index, entry in enumerate(crossed) if has_matrix(entry[0]))
        for index in reversed(range(len(crossed))):
            layer, x, shape, *affine = crossed[index]
            if "MaxPooling" in type(layer).__name__:
                relevance = affine[0] @ relevance
            elif has_matrix(layer) and index == first and self.box:
                relevance = through_box(affine[0], x, relevance, *(end.ravel() for end in self.box))
            elif has_matrix(layer):
                relevance = through(*affine, x, relevance, self.shares(shape))
        return relevance


def steps(layers):
    """The layers, each batch norm with the convolution or dense layer before it."""
    grouped = []
    for layer in layers:
        before = grouped[-1][0] if grouped else None
        has_weights = isinstance(before, keras.layers.Dense | keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
        is_linear = has_weights and before.activation is keras.activations.linear
        if isinstance(layer, keras.layers.BatchNormalization) and is_linear:
            grouped[-1].append(layer)
        else:
            grouped.append([layer])
    return grouped


def has_matrix(layer):
    names = "Dense Conv2D DepthwiseConv2D AveragePooling2D GlobalAveragePooling2D BatchNormalization Normalization"
    return type(layer).__name__ in names.split()


def activated(layer, x):
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", "linear")
    if isinstance(layer, keras.layers.ReLU):
        name = "relu"
    return {"relu": np.maximum(x, 0), "relu6": np.clip(x, 0, 6)}.get(name, x)  # a last softmax is left out


def residual(model, image, chosen, vectors, maps, box=None):
    """`zoo.residual`, walked by hand: relevance of the image, (H, W)."""
    layer = {layer.name: layer for layer in model.layers}
    kind = {type(layer).__name__: layer for layer in model.layers}
    x = image.ravel() / 64
    stem, stem_bias, small = matrix(layer["stem"], image.shape)
    twice, twice_bias, _ = matrix(layer["twice"], small)
    depthwise, depthwise_bias, _ = matrix(layer["depthwise"], small)
    project, project_bias, wide = matrix(layer["project"], small)
    average, _, _ = matrix(kind["GlobalAveragePooling2D"], wide)
    head, head_bias, _ = matrix(kind["Dense"], (2 * wide[-1],))

    s = x @ stem + stem_bias
    t1 = np.clip(s @ twice + twice_bias, 0, 6)
    t2 = np.clip(t1 @ twice + twice_bias, 0, 6)
    d = t2 @ depthwise + depthwise_bias
    r = np.maximum((d + s) / 2, 0)
    p = np.maximum(r @ project + project_bias, 0)
    largest = winners(p.reshape(wide), kind["GlobalMaxPooling2D"])
    v = np.concatenate([p @ average, p @ largest])
    logits = v @ head + head_bias

    relevance = through(head, head_bias, v, np.where(np.arange(len(logits)) == chosen, logits, 0), vectors)
    of_average, of_largest = np.split(relevance, 2)
    relevance = through(average, np.zeros(wide[-1]), p, of_average, maps) + largest @ of_largest
    relevance = through(project, project_bias, r, relevance, maps)
    terms = zip(d, s, relevance, strict=True)
    of_d, of_s = np.array([maps(np.array([d_i, s_i]), 0.0) * total for d_i, s_i, total in terms]).T
    relevance = through(depthwise, depthwise_bias, t2, of_d, maps)
    relevance = through(twice, twice_bias, t1, relevance, maps)
    relevance = of_s + through(twice, twice_bias, s, relevance, maps)
    if box:
        relevance = through_box(stem, x, relevance, *(end.ravel() / 64 for end in box))
    else:
        relevance = through(stem, stem_bias, x, relevance, maps)
    return relevance.reshape(image.shape).sum(axis=-1), logits[chosen]
