"""The metrics once more, slowly and obviously, pixel by pixel. Nothing here uses `labutils`."""

import numpy as np


def curve(probability, image, start, end, heat, steps):
    """probability: image -> of the class. Pixels of `start` become those of `end`, one after the other."""
    height, width = heat.shape
    pixels = [(row, column) for row in range(height) for column in range(width)]
    pixels.sort(key=lambda pixel: -heat[pixel])  # Python's sort keeps the order of equals
    current, done, fractions, scores = start.copy(), 0, [], []
    for step in range(steps + 1):
        wanted = int(step * len(pixels) / steps + 0.5)
        while done < wanted:
            current[pixels[done]] = end[pixels[done]]
            done += 1
        fractions.append(done / len(pixels))
        scores.append(probability(current))
    area = 0.0
    for k in range(steps):
        area += (fractions[k + 1] - fractions[k]) * (scores[k + 1] + scores[k]) / 2
    return fractions, scores, area


def blur(image, sigma=5):
    """A Gaussian window of 2 sigma + 1 pixels, down and then across; beyond the border, the mirror image."""
    height, width = image.shape[:2]
    kernel = {offset: np.exp(-(offset**2) / (2 * sigma**2)) for offset in range(-sigma, sigma + 1)}
    total = sum(kernel.values())

    def mirrored(position, side):
        position %= 2 * side
        return position if position < side else 2 * side - 1 - position

    down = np.zeros(image.shape)
    for row in range(height):
        for offset, weight in kernel.items():
            down[row] += weight / total * image[mirrored(row + offset, height)]
    across = np.zeros(image.shape)
    for column in range(width):
        for offset, weight in kernel.items():
            across[:, column] += weight / total * down[:, mirrored(column + offset, width)]
    return across


def is_hit(heat, mask, tolerance):
    height, width = heat.shape
    if heat.max() == heat.min():
        return False
    for row in range(height):
        for column in range(width):
            if heat[row, column] == heat.max():
                nearest = min(
                    np.sqrt((row - r) ** 2 + (column - c) ** 2)
                    for r in range(height)
                    for c in range(width)
                    if mask[r, c]
                )
                if nearest > tolerance:
                    return False
    return True


def share(heat, edges_down, edges_across, cell):
    columns = len(edges_across) - 1
    inside = total = 0.0
    for row in range(heat.shape[0]):
        for column in range(heat.shape[1]):
            positive = max(heat[row, column], 0)
            down = sum(row >= edge for edge in edges_down[1:-1])
            across = sum(column >= edge for edge in edges_across[1:-1])
            total += positive
            inside += positive * (down * columns + across == cell)
    return inside / total if total else 0.0
