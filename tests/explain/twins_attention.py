"""Attention rollout and the gradient-weighted recursion once more, entry by entry. Nothing here uses `labutils`."""

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
