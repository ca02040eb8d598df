"""Random views of a batch of photos and, cut the same way, of the teacher's maps. Everything runs batched in TensorFlow.

Sources give classes away: by framing, resolution, colour and backdrop. Each step here takes one of these cues away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

CHANNEL_MEANS_BGR = (103.939, 116.779, 123.68)
"""What `keras.applications.vgg16.preprocess_input` subtracts."""


@dataclass(frozen=True)
class Views:
    """An augmented batch: network input, teacher targets on the network's own grid, soft labels, trust in the maps."""

    inputs: tf.Tensor
    maps: tf.Tensor
    labels: tf.Tensor
    trust: tf.Tensor


def to_network_input(rgb: tf.Tensor) -> tf.Tensor:
    """RGB in [0, 255] to what VGG16 takes: BGR minus the channel means."""
    import tensorflow as tf

    return tf.reverse(rgb, axis=[-1]) - tf.constant(CHANNEL_MEANS_BGR)


def augment(
    images: tf.Tensor,
    aspects: tf.Tensor,
    backdrops: tf.Tensor,
    maps: tf.Tensor,
    labels: tf.Tensor,
    *,
    side: int,
    grid: int,
    smallest: float,
    calm: bool = False,
) -> Views:
    """Random crop, flip, backdrop, colour, blur, noise, erasing and mixing.

    Parameters
    ----------
    images : (b, s, s, 3) uint8 RGB; aspects : (b,) width over height before the photos were stretched.
    backdrops : (b, s, s) float, 1 where a cut-out shows its white backdrop.
    maps : (b, h, w, c) teacher maps (c may be 0); labels : (b, classes) float.
    side, grid : sizes of the network's input and of its last feature map.
    smallest : least share of a photo's area that a crop shows.
    calm : leave erasing and mixing out.
    """
    import tensorflow as tf

    count = tf.shape(images)[0]
    photos = tf.cast(images, tf.float32)
    photos, pasted = _replace_backdrops(photos, backdrops)
    boxes = _random_boxes(aspects, smallest)
    everyone = tf.range(count)
    # Outside of the photo (views from further off) stands -1, then one random colour a view.
    views = tf.image.crop_and_resize(photos, boxes, everyone, (side, side), extrapolation_value=-1.0)
    views = tf.where(views < 0.0, tf.random.uniform((count, 1, 1, 3), 0.0, 255.0), views)
    # A map of h cells spans the photo edge to edge; crop_and_resize samples between cell centres, which for these
    # coarse maps is close enough.
    maps = tf.image.crop_and_resize(tf.cast(maps, tf.float32), boxes, everyone, (grid, grid))
    views = _refocus(views, side)
    views, maps, labels, mixed = _vary(views, maps, labels, side, grid, calm)
    trust = 1.0 - tf.maximum(pasted, tf.gather(pasted, mixed))
    return Views(to_network_input(views), maps, labels, trust)


def _vary(views, maps, labels, side, grid, calm):
    """Colour, erasing and mixing, compiled together: dozens of element-wise steps become a few passes over memory."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def vary(views, maps, labels):
        recoloured = _recolour(views)
        if calm:
            return recoloured, maps, labels, tf.range(tf.shape(views)[0])
        return _mix(_erase(recoloured, side), maps, labels, side, grid)

    return vary(views, maps, labels)


def _random_boxes(aspects: tf.Tensor, smallest: float) -> tf.Tensor:
    """(b, 4) boxes y1, x1, y2, x2, the photo being [0, 1]; a flipped view has x1 > x2.

    One in six shows the whole photo, one in twelve sees it from further off, with room around it.
    """
    import tensorflow as tf

    count = tf.shape(aspects)[0]
    area = tf.random.uniform((count,), smallest, 1.0)
    # Between "stretched to the square as it is" and "the square cut out of the photo before it was stretched".
    ratio = tf.exp(tf.random.uniform((count,), -0.3, 0.3)) * aspects ** -tf.random.uniform((count,), 0.0, 1.0)
    width = tf.minimum(tf.sqrt(area * ratio), 1.0)
    height = tf.minimum(tf.sqrt(area / ratio), 1.0)
    whole = tf.random.uniform((count,)) < 1 / 6
    width, height = tf.where(whole, 1.0, width), tf.where(whole, 1.0, height)
    zoom = tf.where(tf.random.uniform((count,)) < 1 / 12, tf.random.uniform((count,), 1.2, 1.8), 1.0)
    width, height = width * zoom, height * zoom
    left = tf.random.uniform((count,)) * (1.0 - width)
    top = tf.random.uniform((count,)) * (1.0 - height)
    flipped = tf.random.uniform((count,)) < 0.5
    x1, x2 = tf.where(flipped, left + width, left), tf.where(flipped, left, left + width)
    return tf.stack([top, x1, top + height, x2], axis=1)


def _replace_backdrops(photos: tf.Tensor, backdrops: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Put a magnified corner of another photo behind most cut-outs; returns the photos and (b,) 1 where pasted."""
    import tensorflow as tf

    count = tf.shape(photos)[0]
    size = photos.shape[1]
    pasted = tf.cast(tf.random.uniform((count,)) < 0.7, tf.float32) * tf.reduce_max(backdrops, axis=(1, 2))
    chosen = tf.where(pasted > 0)[:, 0]
    corner = tf.random.uniform((tf.size(chosen), 2), 0.0, 0.65)
    boxes = tf.concat([corner, corner + 0.35], axis=1)
    other = tf.cast((chosen + 1) % tf.cast(count, tf.int64), tf.int32)
    scenes = tf.image.crop_and_resize(photos, boxes, other, (size, size))
    behind = tf.gather(backdrops, chosen)[..., None]
    composed = tf.gather(photos, chosen) * (1.0 - behind) + scenes * behind
    return tf.tensor_scatter_nd_update(photos, chosen[:, None], composed), pasted


def _refocus(views: tf.Tensor, side: int) -> tf.Tensor:
    """Blur a quarter of the views and sharpen another: training photos are small, those of a phone are crisp at any size."""
    import tensorflow as tf

    count = tf.shape(views)[0]
    factor = tf.random.uniform((), 0.25, 0.65)
    small = tf.cast(tf.cast(side, tf.float32) * factor, tf.int32)
    draw = tf.random.uniform((count,))
    chosen = tf.where(draw < 1 / 2)[:, 0]
    original = tf.gather(views, chosen)
    blurred = tf.image.resize(tf.image.resize(original, (small, small), antialias=True), (side, side))
    strength = tf.random.uniform((tf.size(chosen), 1, 1, 1), 0.2, 1.2)
    sharpened = tf.clip_by_value(original + strength * (original - blurred), 0.0, 255.0)
    refocused = tf.where(tf.gather(draw, chosen)[:, None, None, None] < 1 / 4, blurred, sharpened)
    return tf.tensor_scatter_nd_update(views, chosen[:, None], refocused)


def _recolour(views: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast, saturation, colour cast, some grey, a little noise."""
    import tensorflow as tf

    count = tf.shape(views)[0]

    def draw(low: float, high: float, channels: int = 1) -> tf.Tensor:
        return tf.random.uniform((count, 1, 1, channels), low, high)

    grey = tf.image.rgb_to_grayscale(views)
    saturation = tf.where(draw(0, 1) < 0.1, 0.0, draw(0.4, 1.6))
    views = grey + (views - grey) * saturation
    mean = tf.reduce_mean(views, axis=(1, 2, 3), keepdims=True)
    views = mean + (views - mean) * draw(0.7, 1.3)
    views = views * draw(0.7, 1.3) * draw(0.88, 1.12, 3)
    views += tf.random.normal(tf.shape(views)) * draw(0.0, 12.0) * tf.cast(draw(0, 1) < 0.25, tf.float32)
    return tf.clip_by_value(views, 0.0, 255.0)


def _rectangles(count: tf.Tensor, size: int, low: float, high: float) -> tf.Tensor:
    """(b, size, size, 1) masks, each one rectangle with sides between ``low`` and ``high`` of the image's."""
    import tensorflow as tf

    extent = tf.random.uniform((count, 2, 1), low, high)
    start = tf.random.uniform((count, 2, 1)) * (1.0 - extent)
    places = (tf.range(size, dtype=tf.float32) + 0.5) / tf.cast(size, tf.float32)
    inside = tf.cast((places >= start) & (places < start + extent), tf.float32)
    return (inside[:, 0, :, None] * inside[:, 1, None, :])[..., None]


def _erase(views: tf.Tensor, side: int) -> tf.Tensor:
    import tensorflow as tf

    count = tf.shape(views)[0]
    chosen = tf.cast(tf.random.uniform((count, 1, 1, 1)) < 0.2, tf.float32)
    hole = _rectangles(count, side, 0.15, 0.45) * chosen
    return views * (1.0 - hole) + hole * tf.random.uniform((count, 1, 1, 3), 0.0, 255.0)


def _mix(views, maps, labels, side, grid):
    """CutMix (Yun et al., ICCV 2019) on a sixth of the batches, mixup (Zhang et al., ICLR 2018) on another."""
    import tensorflow as tf

    count = tf.shape(views)[0]
    draw = tf.random.uniform(())
    partner = tf.where(draw < 1 / 3, tf.random.shuffle(tf.range(count)), tf.range(count))
    window = _rectangles(count, side, 0.3, 0.8)
    share = tf.random.uniform((count, 1, 1, 1), 0.1, 0.4)
    inputs_share = tf.where(draw < 1 / 6, window, share * tf.ones_like(window))
    cell = side // grid
    maps_share = tf.reduce_mean(tf.reshape(inputs_share, (-1, grid, cell, grid, cell, 1)), axis=(2, 4))
    labels_share = tf.reduce_mean(inputs_share, axis=(1, 2))

    def blend(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        return values * (1.0 - weight) + tf.gather(values, partner) * weight

    return blend(views, inputs_share), blend(maps, maps_share), blend(labels, labels_share), partner
