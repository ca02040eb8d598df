"""Attribution methods for Keras models: where in an image the reason for a class lies.

Every method takes a model, images as the model takes them and classes, and returns one raw float32 map an image:
``grad_cam(model, images, classes=None, *, layer=None) -> (n, H, W)``. See ``docs/methods.md``.
"""

from labutils.explain.cam import cam_family, grad_cam, grad_cam_plus_plus, layer_cam, score_cam
from labutils.explain.gradients import (
    gradient_times_input,
    guided_backprop,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from labutils.explain.surgery import Passes, count_passes

__all__ = [
    "Passes",
    "cam_family",
    "count_passes",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient_times_input",
    "guided_backprop",
    "integrated_gradients",
    "layer_cam",
    "saliency",
    "score_cam",
    "smooth_grad",
]
