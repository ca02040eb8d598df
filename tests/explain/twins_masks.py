"""Ablation-CAM, RISE and receptive fields once more, slowly and obviously. Nothing here uses `labutils`."""

import numpy as np
import tensorflow as tf
import twins


def ablation_cam(maps, score):
    """maps : (h, w, channels); score: maps -> S_c."""
    whole, total = score(maps), np.zeros(maps.shape[:2])
    for k in range(maps.shape[-1]):
        ablated = maps.copy()
        ablated[:, :, k] = 0
        total += (whole - score(ablated)) / whole * maps[:, :, k]
    return np.maximum(total, 0)


def rise_masks(size, masks, cells, keep, seed):
    """One mask at a time: a grid, upsampled to one cell more than the image, and a cut at a shift of its own."""
    rng, result = np.random.default_rng(seed), []
    sides = [int(np.ceil(size[axis] / cells[axis])) for axis in (0, 1)]
    for _ in range(masks):
        drawn = rng.random(2 + cells[0] * cells[1])
        top, left = int(drawn[0] * sides[0]), int(drawn[1] * sides[1])
        grid = np.zeros(cells)
        for i in range(cells[0]):
            for j in range(cells[1]):
                grid[i, j] = drawn[2 + i * cells[1] + j] < keep
        large = twins.resize(grid, (cells[0] + 1) * sides[0], (cells[1] + 1) * sides[1])
        result.append(large[top : top + size[0], left : left + size[1]])
    return np.array(result)


def rise(image, masks, keep, score):
    total = np.zeros(image.shape[:2])
    for mask in masks:
        total += score(image * mask[:, :, None]) * mask
    return total / (len(masks) * keep)


def seen_window(model, images, row, column):
    """First and last row and column that the unit at (row, column) of a model's output has a gradient for."""
    images = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        score = tf.reduce_sum(model(images, training=False)[:, row, column])
    seen = np.abs(tape.gradient(score, images)).sum(axis=(0, 3)) > 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
