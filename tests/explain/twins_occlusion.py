"""Occlusion once more, slowly and obviously: one copy of the image for each patch. Nothing here uses `labutils`."""

import numpy as np


def starts(size, side, stride):
    """0, stride, 2 stride ... as long as the patch fits, and the last place where it fits."""
    found = [start for start in range(size) if start % stride == 0 and start + side <= size]
    return found if found[-1] == size - side else [*found, size - side]


def occlusion(image, score, patch, stride, fill):
    """score: image -> S_c; patch and stride: (height, width); fill: an image. The map in float64."""
    height, width = image.shape[:2]
    total, covered = np.zeros((height, width)), np.zeros((height, width))
    unoccluded = score(image)
    for top in starts(height, patch[0], stride[0]):
        for left in starts(width, patch[1], stride[1]):
            occluded = image.copy()
            for i in range(top, top + patch[0]):
                for j in range(left, left + patch[1]):
                    occluded[i, j] = fill[i, j]
            drop = unoccluded - score(occluded)
            for i in range(top, top + patch[0]):
                for j in range(left, left + patch[1]):
                    total[i, j] += drop
                    covered[i, j] += 1
    return np.array(
        [[total[i, j] / covered[i, j] if covered[i, j] else 0.0 for j in range(width)] for i in range(height)]
    )


def reached(inputs, outputs, extent, stride, before, first, end):
    """Which outputs of a sliding layer see one of the inputs first to end, by looking at each."""
    return [
        output
        for output in range(outputs)
        if any(first <= output * stride - before + tap < end for tap in range(extent))
        and any(0 <= output * stride - before + tap < inputs for tap in range(extent))
    ]
