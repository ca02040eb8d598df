"""Attribution methods for Keras models: where in an image the reason for a class lies.

Every method takes a model, images as the model takes them and classes, and returns one raw float32 map an image:
``grad_cam(model, images, classes=None, *, layer=None) -> (n, H, W)``. See ``docs/methods.md``.
"""

from labutils.explain.activations import LayerStatistics, activation_statistics, activations, maximize_activation
from labutils.explain.attention import (
    attention,
    attention_gradients,
    attention_map,
    attention_rollout,
    gradient_rollout,
    gradient_weighted_rollout,
    rollout,
    token_map,
)
from labutils.explain.cam import ablation_cam, cam_family, grad_cam, grad_cam_plus_plus, layer_cam, score_cam
from labutils.explain.gradients import (
    gradient_times_input,
    guided_backprop,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from labutils.explain.occlusion import occlusion
from labutils.explain.receptive import ReceptiveField
from labutils.explain.relevance import layer_relevance, lrp
from labutils.explain.rise import rise
from labutils.explain.surgery import Passes, count_passes
from labutils.explain.windows import Window, reached_windows

__all__ = [
    "LayerStatistics",
    "Passes",
    "ReceptiveField",
    "Window",
    "ablation_cam",
    "activation_statistics",
    "activations",
    "attention",
    "attention_gradients",
    "attention_map",
    "attention_rollout",
    "cam_family",
    "count_passes",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient_rollout",
    "gradient_times_input",
    "gradient_weighted_rollout",
    "guided_backprop",
    "integrated_gradients",
    "layer_cam",
    "layer_relevance",
    "lrp",
    "maximize_activation",
    "occlusion",
    "reached_windows",
    "rise",
    "rollout",
    "saliency",
    "score_cam",
    "smooth_grad",
    "token_map",
]
