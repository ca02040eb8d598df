"""Attention rollout, the gradient-weighted recursion and a whole ViT once more, entry by entry and token by token.

Nothing here uses `labutils`.
"""

import math

import numpy as np


def product(left, right):
    n = len(left)
    return [[sum(left[i][k] * right[k][j] for k in range(n)) for j in range(n)] for i in range(n)]


def rollout(attention):
    """attention: (layers, heads, tokens, tokens) of one image -> (tokens, tokens)."""
    layers, heads, n, _ = np.shape(attention)
    matrices = []
    for layer in range(layers):
        matrix = [[0.0] * n for _ in range(n)]
        for i in range(n):
            for j in range(n):
                matrix[i][j] = sum(float(attention[layer][h][i][j]) for h in range(heads)) / heads + (i == j)
            total = sum(matrix[i])
            matrix[i] = [value / total for value in matrix[i]]
        matrices.append(matrix)
    result = matrices[-1]
    for matrix in reversed(matrices[:-1]):
        result = product(result, matrix)
    return np.array(result)


def gradient_weighted(attention, gradients):
    """(I + A_bar_L) ... (I + A_bar_1): the recursion multiplied out."""
    layers, heads, n, _ = np.shape(attention)
    result = [[float(i == j) for j in range(n)] for i in range(n)]
    for layer in reversed(range(layers)):
        factor = [[0.0] * n for _ in range(n)]
        for i in range(n):
            for j in range(n):
                for h in range(heads):
                    factor[i][j] += max(float(gradients[layer][h][i][j]) * float(attention[layer][h][i][j]), 0) / heads
                factor[i][j] += i == j
        result = product(result, factor)
    return np.array(result)


def vit(weights, image, heads, given=None):
    """Logits, (classes,), and attention, (layers, heads, tokens, tokens), of a ViT without a stem, in float64.

    weights: layer name -> arrays, as Keras gives them. given: {layer: attention} to go on with in place of its own.
    """
    (kernel, bias), (token,), (positions,) = (
        weights[name] for name in ("patch_embedding", "class_token", "position_embedding")
    )
    side, tokens = len(kernel), [token[0, 0]]
    for top in range(0, image.shape[0], side):
        for left in range(0, image.shape[1], side):
            patch = image[top : top + side, left : left + side]
            tokens.append(np.array([(patch * kernel[..., unit]).sum() for unit in range(len(bias))]) + bias)
    tokens = [token + position for token, position in zip(tokens, positions[0], strict=True)]

    attention, depth = [], sum(name.endswith("_attention") for name in weights)
    for layer in range(depth):
        block = f"block{layer + 1}"
        looked_at = [normalised(token, *weights[f"{block}_norm1"]) for token in tokens]
        query, query_bias, key, key_bias, value, value_bias, out, out_bias = weights[f"{block}_attention"]
        attention.append([])
        changes = [np.array(out_bias) for _ in tokens]
        for head in range(heads):
            queries = [x @ query[:, head] + query_bias[head] for x in looked_at]
            keys = [x @ key[:, head] + key_bias[head] for x in looked_at]
            values = [x @ value[:, head] + value_bias[head] for x in looked_at]
            scores = [[q @ k / math.sqrt(len(q)) for k in keys] for q in queries]
            own = [[math.exp(s) / sum(map(math.exp, row)) for s in row] for row in scores]
            rows = given[layer][head] if given and layer in given else own
            attention[-1].append(rows)
            for i, row in enumerate(rows):
                changes[i] = changes[i] + sum(a * v for a, v in zip(row, values, strict=True)) @ out[head]
        tokens = [token + change for token, change in zip(tokens, changes, strict=True)]
        for i, token in enumerate(tokens):
            (kernel1, bias1), (kernel2, bias2) = weights[f"{block}_dense1"], weights[f"{block}_dense2"]
            inside = normalised(token, *weights[f"{block}_norm2"]) @ kernel1 + bias1
            gelu = np.array([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in inside])
            tokens[i] = token + gelu @ kernel2 + bias2
    kernel, bias = weights["predictions"]
    return normalised(tokens[0], *weights["norm"]) @ kernel + bias, np.array(attention)


def normalised(token, gamma, beta):
    return (token - token.mean()) / math.sqrt(token.var() + 1e-6) * gamma + beta
