"""A PyTorch network with a Keras model's layers and weights, so that Captum explains the same function."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import torch

TOLERANCE = 1e-4
"""Of the logits' largest magnitude: two float32 implementations of the same sums."""


def twin(model: keras.Model, images: np.ndarray) -> torch.nn.Module:
    """A chain of Conv2D, MaxPooling2D, pooling to a vector and Dense layers, as a PyTorch network without the softmax.

    ``network.features`` and ``network.classifier`` hold the layers under their Keras names, each ReLU as
    ``<layer>_relu``: Captum hooks modules, and every one is used once.

    Parameters
    ----------
    model : keras.Model
        A chain that starts at the image; a last softmax is left out.
    images : ndarray
        (n, H, W, C): the logits of both networks are compared on them.

    Raises
    ------
    ValueError
        A layer that has no twin, or logits that differ.
    """
    import torch

    features: OrderedDict[str, Any] = OrderedDict()
    classifier: OrderedDict[str, Any] = OrderedDict()
    flattened: tuple[int, ...] = ()
    pooled = False
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in ("InputLayer", "Dropout"):
            continue
        if kind == "Conv2D":
            features[layer.name] = _convolution(layer)
        elif kind == "MaxPooling2D":
            features[layer.name] = torch.nn.MaxPool2d(layer.pool_size, layer.strides)
        elif kind == "GlobalAveragePooling2D":
            pooled = True
        elif kind == "Flatten":
            flattened = tuple(layer.input.shape[1:])
        elif kind == "Dense":
            classifier[layer.name] = _dense(layer, flattened)
            flattened = ()
        else:
            raise ValueError(f"the layer '{layer.name}' ({kind}) has no PyTorch twin here")
        if getattr(getattr(layer, "activation", None), "__name__", "") == "relu":
            (classifier if classifier else features)[f"{layer.name}_relu"] = torch.nn.ReLU()
    network = _network(features, classifier, pooled).eval()
    _check(network, model, images)
    return network


def _convolution(layer: Any) -> torch.nn.Module:
    """Keras kernels are (h, w, in, out), PyTorch's (out, in, h, w)."""
    import torch

    kernel = np.ascontiguousarray(layer.get_weights()[0].transpose(3, 2, 0, 1))
    padding = "same" if layer.padding == "same" and set(layer.strides) == {1} else 0
    if layer.padding == "same" and padding == 0:
        raise ValueError(f"the layer '{layer.name}' pads a strided convolution, which PyTorch does differently")
    convolution = torch.nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2:], layer.strides, padding)
    return _with_weights(convolution, kernel, layer)


def _dense(layer: Any, flattened: tuple[int, ...]) -> torch.nn.Module:
    """Keras flattens (h, w, channels), PyTorch (channels, h, w): the first dense kernel's rows are put in that order."""
    import torch

    kernel = layer.get_weights()[0]
    if flattened:
        kernel = kernel.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    dense = torch.nn.Linear(*kernel.shape)
    return _with_weights(dense, np.ascontiguousarray(kernel.T), layer)


def _with_weights(module: Any, kernel: np.ndarray, layer: Any) -> torch.nn.Module:
    import torch

    bias = layer.get_weights()[1] if layer.use_bias else np.zeros(len(kernel), np.float32)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(kernel))
        module.bias.copy_(torch.from_numpy(bias))
    return module


def _network(features: OrderedDict, classifier: OrderedDict, pooled: bool) -> torch.nn.Module:
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = torch.nn.Sequential(features)
            self.classifier = torch.nn.Sequential(classifier)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.features(images)
            # A function and no module: Captum's LRP has no rule for a Flatten module.
            return self.classifier(maps.mean(dim=(2, 3)) if pooled else torch.flatten(maps, 1))

    return Network()


def _check(network: torch.nn.Module, model: keras.Model, images: np.ndarray) -> None:
    import torch

    from labutils.explain.surgery import open_model

    ours = open_model(model).logits(images)
    with torch.no_grad():
        theirs = network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))).numpy()
    difference = np.abs(ours - theirs).max() / np.abs(ours).max()
    if not difference <= TOLERANCE:
        raise ValueError(f"the PyTorch twin's logits differ from the model's by {difference:.1e} of their largest")
