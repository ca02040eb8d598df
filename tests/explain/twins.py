"""The methods once more, slowly and obviously: NumPy loops and finite differences, in float64.

Nothing here uses `labutils`.
"""

import numpy as np


def gradient(function, point, step=1e-6):
    """d function / d point by central differences; function gives one number for each of a stack of points."""
    steps = step * np.eye(point.size).reshape(-1, *point.shape)
    difference = function(point + steps) - function(point - steps)
    return difference.reshape(point.shape) / (2 * step)


def resize(image, height, width):
    """Bilinear with half-pixel centres: output pixel i sits at (i + 1/2) * h / H - 1/2 of the input, clamped."""
    h, w = image.shape
    result = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            dy, dx = y - top, x - left
            upper = image[top, left] * (1 - dx) + image[top, right] * dx
            lower = image[bottom, left] * (1 - dx) + image[bottom, right] * dx
            result[i, j] = upper * (1 - dy) + lower * dy
    return result


def grad_cam(maps, g):
    h, w, channels = maps.shape
    total = np.zeros((h, w))
    for k in range(channels):
        weight = sum(g[i, j, k] for i in range(h) for j in range(w)) / (h * w)
        total += weight * maps[:, :, k]
    return np.maximum(total, 0)


def grad_cam_plus_plus(maps, g):
    h, w, channels = maps.shape
    total = np.zeros((h, w))
    for k in range(channels):
        weight, sum_of_map = 0.0, maps[:, :, k].sum()
        for i in range(h):
            for j in range(w):
                denominator = 2 * g[i, j, k] ** 2 + g[i, j, k] ** 3 * sum_of_map
                alpha = g[i, j, k] ** 2 / denominator if denominator != 0 else 0.0
                weight += alpha * max(g[i, j, k], 0)
        total += weight * maps[:, :, k]
    return np.maximum(total, 0)


def layer_cam(maps, g):
    h, w, channels = maps.shape
    total = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            total[i, j] = sum(max(g[i, j, k], 0) * maps[i, j, k] for k in range(channels))
    return np.maximum(total, 0)


def score_cam(maps, image, score):
    """score: image -> S_c. The increase is taken over the all-zero image, as the paper writes it."""
    height, width = image.shape[:2]
    kept, increases = [], []
    for k in range(maps.shape[-1]):
        mask = resize(maps[:, :, k], height, width)
        if mask.max() == mask.min():
            continue
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        kept.append(k)
        increases.append(score(image * mask[:, :, None]) - score(np.zeros_like(image)))
    weights = np.exp(np.array(increases) - max(increases))
    weights /= weights.sum()
    return np.maximum(sum(weight * maps[:, :, k] for weight, k in zip(weights, kept, strict=True)), 0)


def smooth_grad(image, gradient_of, samples, noise, seed):
    rng = np.random.default_rng(seed)
    total = np.zeros(image.shape)
    for _ in range(samples):
        copy = image + noise * (image.max() - image.min()) * rng.standard_normal(image.shape, dtype=np.float32)
        total += gradient_of(copy)
    return np.abs(total / samples).max(axis=-1)


def integrated_gradients(image, baseline, gradient_of, steps):
    total = np.zeros(image.shape)
    for step in range(steps):
        total += gradient_of(baseline + (step + 0.5) / steps * (image - baseline))
    return (total / steps * (image - baseline)).sum(axis=-1)
