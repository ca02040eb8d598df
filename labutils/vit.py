"""A Vision Transformer that shows its attention, used as one uses a network of ``keras.applications``.

An image becomes a grid of patches, each patch a token, and one more token, the class token, collects what the
classifier reads. Every ``blockN_attention`` is a ``keras.layers.MultiHeadAttention`` in the graph of the model, so that
`labutils.explain.attention` can ask each for its scores.

Sources: A. Dosovitskiy et al., An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale, ICLR 2021; the
bundled network is that paper's hybrid, whose patches are cut from the feature map of a convolutional stem, and is trained
as DeiT is (H. Touvron et al., Training data-efficient image transformers & distillation through attention, ICML 2021).
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labutils import pretrained

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras
    import numpy as np

EPSILON = 1e-6
"""Of every layer normalisation, as in the public checkpoints."""


@dataclass(frozen=True)
class Architecture:
    """What may differ from one ViT to another.

    Attributes
    ----------
    stem : tuple of tuple of int
        Channels of 3 x 3 convolutions before the patches: one tuple a block, each block followed by 2 x 2 max pooling;
        empty where patches are cut from the image itself.
    patch : int
        Side of a patch in pixels of the image.
    width : int
        Length of a token.
    depth, heads : int
        Number of blocks, and of attention heads in each.
    hidden : int
        Units between the two dense layers of a block.
    outputs : int
        Units of ``predictions``.
    classes : tuple of (str, str)
        Class ids and names, in the order of the outputs; empty where they are not known.
    """

    stem: tuple[tuple[int, ...], ...] = ()
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    outputs: int = pretrained.IMAGENET_CLASSES
    classes: pretrained.Classes = ()

    def __post_init__(self) -> None:
        for name in ("patch", "width", "depth", "heads", "hidden", "outputs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"heads must divide the width, {self.width}; {self.heads} does not")
        if self.patch % 2 ** len(self.stem):
            raise ValueError(
                f"patch must be a multiple of {2 ** len(self.stem)}, what {len(self.stem)} blocks of the stem make one "
                f"pixel of, not {self.patch}"
            )

    @property
    def sizes(self) -> tuple:
        """What two ViTs must share for the weights of one to fit the other, outputs apart."""
        return self.stem, self.patch, self.width, self.depth, self.heads, self.hidden

    def __str__(self) -> str:
        stem = f"a stem of {len(self.stem)} blocks, " if self.stem else ""
        return (
            f"{stem}patches of {self.patch} pixels, {self.depth} blocks of width {self.width} with {self.heads} heads and "
            f"{self.hidden} hidden units"
        )


VARIANTS = {"B/16": Architecture(patch=16), "B/32": Architecture(patch=32)}
"""The public architectures, by the names of the paper."""


def ViT(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = "auto",
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    classifier_activation: str | Callable | None = "softmax",
    variant: str | None = None,
    name: str = "vit",
) -> keras.Model:
    """Build a Vision Transformer.

    Its layers, in order: the stem's ``stem1_conv1`` ... (bundled weights only), ``patch_embedding``, ``class_token``,
    ``position_embedding``; in each block ``blockN_norm1``, ``blockN_attention``, ``blockN_add1``, ``blockN_norm2``,
    ``blockN_dense1``, ``blockN_dense2``, ``blockN_add2``; then ``norm``, ``class_output`` and ``predictions``.

    Parameters
    ----------
    include_top : bool
        Whether to include ``class_output`` and ``predictions``; without them the model returns all tokens.
    weights : str, path or None
        - ``"auto"``: ImageNet (B/16) when its file is already on this machine, else bundled; prints which it took.
          ``LABUTILS_WEIGHTS=bundled`` or ``=imagenet`` decides instead.
        - ``"bundled"``: the small network that comes with labutils, 14 x 14 patches.
        - ``"imagenet"``: the public checkpoint of ImageNet-21k, fine-tuned on ImageNet, in the ``.npz`` form that
          vit-keras distributes, from Keras's cache or downloaded into it (about 330 MB).
        - a path: such an ``.npz``; ``.weights.h5`` weights of a ViT, with the architecture of the ``.json`` beside it
          (``<stem>.json``) or, without one, that of `variant`; or a whole ViT saved as ``.keras``. (By itself
          ``keras.models.load_model`` opens such a ``.keras`` file after ``import labutils.vit_layers``.)
        - ``None``: random.
    input_shape : (int, int, int), optional
        Height, width and 3; both sides multiples of the patch. 224 x 224 by default, or the size that a ``.keras``
        file was saved with. Weights of another size have their positions resized, which works, and works best near
        the size of the training.
    classes : int, optional
        Number of outputs. Weights bring their own number; it is free only with ``weights=None`` (1000 by default).
    classifier_activation : str, callable or None
        Activation of ``predictions``; None gives logits.
    variant : "B/16" or "B/32", optional
        Which public architecture: with ``weights="imagenet"`` and None, B/16 by default; with ``"auto"`` it is that of
        the ImageNet weights. Of a file it is what must be in it; ``.weights.h5`` files without a ``.json`` do not
        tell by themselves.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Not compiled. Takes ``(n, H, W, 3)`` as `preprocess_input` gives it, returns ``(n, classes)``.

    Raises
    ------
    ValueError
        When an argument is none of its choices, or the file does not hold a ViT of the expected architecture.
    labutils.weights.WeightsError
        When the weights are missing, damaged or cannot be downloaded.
    """
    if not isinstance(include_top, bool):
        raise ValueError(f"include_top must be True or False, not {include_top!r}; weights are named: weights=...")
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant must be one of {', '.join(map(repr, VARIANTS))}, not {variant!r}")
    imagenet = _imagenet_name(variant)
    source = pretrained.resolve(weights, imagenet)
    if source == "bundled" and variant is not None and weights != "auto":
        raise ValueError(f"variant: the bundled weights have an architecture of their own; {variant!r} goes without")
    path = pretrained.weights_path(source, "vit", imagenet)
    saved = pretrained.open_saved(path) if path is not None and path.suffix == ".keras" else None
    checkpoint = _read_checkpoint(path) if path is not None and path.suffix == ".npz" else None
    if saved is not None:
        architecture = _architecture_of_saved(saved, path, include_top)
        input_shape = input_shape or saved.input_shape[1:]
    elif checkpoint is not None:
        architecture = _architecture_of_checkpoint(checkpoint, path)
    else:
        architecture = _architecture_beside(path, variant)
    if isinstance(source, Path) and variant is not None and architecture.sizes != VARIANTS[variant].sizes:
        raise ValueError(f"variant: {path} is no {variant}; it has {architecture}")
    if include_top:
        fixed = source in ("bundled", "imagenet") or checkpoint is not None or saved is not None
        classes = pretrained.check_classes(classes, architecture.outputs, fixed=fixed or bool(architecture.classes))
        pretrained.check_activation(classifier_activation, pretrained=path is not None)
    shape = _check_input_shape(input_shape, architecture.patch)

    model = _build(architecture, include_top, shape, classes, classifier_activation, name)
    if saved is not None:
        _copy_weights(saved, model, path)
    elif checkpoint is not None:
        _load_checkpoint(model, checkpoint, path)
    elif path is not None:
        _load_weights(model, architecture, path)
    pretrained.remember_classes(architecture.classes)
    if weights == "auto":
        print(pretrained.auto_message("ViT", source, architecture.classes, pretrained.megabytes(imagenet)))
    return model


def preprocess_input(x: np.ndarray | Any, data_format: str | None = None) -> np.ndarray | Any:
    """Turn RGB values of 0 to 255 into what the ViT takes: RGB from -1 to 1.

    This is Keras's ``imagenet_utils.preprocess_input(mode="tf")``, as for MobileNetV2: **a NumPy array of floats is
    changed in place**, an array of integers is copied first. It is not what VGG16 takes.

    Parameters
    ----------
    x : array or tensor, (n, H, W, 3) or (H, W, 3)
        RGB values, 0 to 255.
    data_format : str, optional
        ``"channels_last"`` (as above) or ``"channels_first"``; None takes Keras's setting.

    Returns
    -------
    array or tensor
        Of the same shape, float, -1 to 1; 0 is middle grey.
    """
    from keras.applications import mobilenet_v2

    return mobilenet_v2.preprocess_input(x, data_format=data_format)


def decode_predictions(preds: np.ndarray | Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The most probable classes of each photo, in Keras's format.

    Parameters
    ----------
    preds : array or tensor, (n, classes)
        What ``model.predict`` gave. The number of columns tells which network it was: the one that `ViT` (or
        `labutils.vgg16.VGG16`) built last with that many classes, a bundled one, or ImageNet's 1000.
    top : int
        How many classes a photo.

    Returns
    -------
    list of list of (class_id, name, probability)
        One list a photo, most probable first.

    Raises
    ------
    ValueError
        When `preds` is not two-dimensional, or no class list has as many names as it has columns.
    labutils.weights.WeightsError
        When ImageNet's class names are neither on this machine nor to be had.
    """
    return pretrained.decode(preds, top)


def class_names(model_or_count: keras.Model | int) -> list[str]:
    """The names of the classes, in the order of the outputs.

    Parameters
    ----------
    model_or_count : keras.Model or int
        A network that `ViT` built, or its number of classes.

    Raises
    ------
    ValueError
        When no class list has that many names.
    """
    count = model_or_count if isinstance(model_or_count, int) else model_or_count.output_shape[-1]
    return [name for _, name in pretrained.classes_of(count)]


def build_network(architecture: Architecture, side: int = 224) -> keras.Model:
    """An untrained ViT of any architecture for square images, as `labutils.training` ships it."""
    return _build(architecture, True, (side, side, 3), architecture.outputs, "softmax", "vit")


# What the file holds -------------------------------------------------------------------------------------------------


def _imagenet_name(variant: str | None) -> str:
    return f"vit-{(variant or 'B/16').lower().replace('/', '')}-imagenet"


def _architecture_beside(path: Path | None, variant: str | None) -> Architecture:
    """The architecture that the sidecar of a weights file gives; without a sidecar, that of the variant."""
    sidecar = pretrained.sidecar_of(path)
    if sidecar is None:
        return VARIANTS[variant or "B/16"]
    try:
        record = json.loads(sidecar.read_text(encoding="utf-8"))
        if record["network"] != "vit":
            raise ValueError(f"the network is {record['network']!r}, not 'vit'")
        classes = tuple((class_id, class_name) for class_id, class_name in record["classes"])
        sizes = {key: int(record[key]) for key in ("patch", "width", "depth", "heads", "hidden")}
        stem = tuple(tuple(block) for block in record["stem"])
        return Architecture(stem=stem, outputs=len(classes), classes=classes, **sizes)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{sidecar} does not describe a ViT (network, stem, patch, width, depth, heads, hidden, classes): {error}"
        ) from error


def _architecture_of_saved(saved: keras.Model, path: Path, include_top: bool) -> Architecture:
    """The architecture of a whole model, read off its layers; class names from the sidecar, where there is one."""
    by_name = {layer.name: layer for layer in getattr(saved, "layers", [])}
    wanted = ["patch_embedding", "class_token", "position_embedding", "block1_attention", "block1_dense1", "norm"]
    missing = [name for name in [*wanted, *["predictions"] * include_top] if name not in by_name]
    if missing:
        raise ValueError(
            f"{path} holds a Keras model that is not a ViT of labutils (no layer {missing[0]!r}); load it with "
            "keras.models.load_model: labutils.explain takes any Keras image classifier"
        )
    blocks = sum(name.startswith("stem") and name.endswith("_pool") for name in by_name)
    stem = tuple(
        tuple(layer.filters for name, layer in by_name.items() if name.startswith(f"stem{block}_conv"))
        for block in range(1, blocks + 1)
    )
    embedding = by_name["patch_embedding"]
    architecture = Architecture(
        stem=stem,
        patch=embedding.kernel_size[0] * 2 ** len(stem),
        width=embedding.filters,
        depth=sum(name.endswith("_attention") for name in by_name),
        heads=by_name["block1_attention"].num_heads,
        hidden=by_name["block1_dense1"].units,
        outputs=by_name["predictions"].units if "predictions" in by_name else pretrained.IMAGENET_CLASSES,
    )
    described = _architecture_beside(path.with_suffix(".h5"), None)
    if not described.classes or "predictions" not in by_name:
        return architecture
    if described.outputs != architecture.outputs:
        raise ValueError(
            f"{path} has {architecture.outputs} outputs, but the .json beside it lists {described.outputs} classes"
        )
    return dataclasses.replace(architecture, classes=described.classes)


# Building ------------------------------------------------------------------------------------------------------------


def _check_input_shape(input_shape: tuple | None, patch: int) -> tuple[int, int, int]:
    shape = pretrained.check_sides((224, 224, 3) if input_shape is None else input_shape)
    if shape[2] != 3:
        raise ValueError(f"a ViT takes 3 colour channels, not input_shape={shape}")
    if any(not isinstance(side, numbers.Integral) or side < patch or side % patch for side in shape[:2]):
        raise ValueError(f"input_shape must have sides that are multiples of the patch, {patch} pixels, not {shape}")
    return shape


def _build(
    architecture: Architecture,
    include_top: bool,
    input_shape: tuple[int, int, int],
    classes: int | None,
    classifier_activation: str | Callable | None,
    name: str,
) -> keras.Model:
    import keras
    from keras import layers

    from labutils.vit_layers import ClassToken, PositionEmbedding

    x = inputs = layers.Input(input_shape)
    for block, channels in enumerate(architecture.stem, 1):
        for index, filters in enumerate(channels, 1):
            conv = layers.Conv2D(filters, 3, activation="relu", padding="same", name=f"stem{block}_conv{index}")
            x = conv(x)
        x = layers.MaxPooling2D(2, name=f"stem{block}_pool")(x)
    cut = architecture.patch // 2 ** len(architecture.stem)
    x = layers.Conv2D(architecture.width, cut, strides=cut, name="patch_embedding")(x)
    x = layers.Reshape((-1, architecture.width), name="patches")(x)
    x = ClassToken(name="class_token")(x)
    x = PositionEmbedding(name="position_embedding")(x)
    for number in range(1, architecture.depth + 1):
        x = _block(x, architecture, f"block{number}")
    x = layers.LayerNormalization(epsilon=EPSILON, name="norm")(x)
    if include_top:
        x = layers.Cropping1D((0, x.shape[1] - 1), name="class_output")(x)
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    return keras.Model(inputs, x, name=name)


def _block(x: keras.KerasTensor, architecture: Architecture, name: str) -> keras.KerasTensor:
    """One pre-norm transformer block: tokens look at each other, then each goes through two dense layers."""
    from keras import layers

    y = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm1")(x)
    heads, width = architecture.heads, architecture.width
    y = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(y, y)
    x = layers.Add(name=f"{name}_add1")([x, y])
    y = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_norm2")(x)
    y = layers.Dense(architecture.hidden, activation="gelu", name=f"{name}_dense1")(y)
    y = layers.Dense(width, name=f"{name}_dense2")(y)
    return layers.Add(name=f"{name}_add2")([x, y])


# Loading -------------------------------------------------------------------------------------------------------------


def _load_weights(model: keras.Model, architecture: Architecture, path: Path) -> None:
    """Weights that Keras saved; positions are resized when they are of photos of another size than the model's."""
    include_top = model.layers[-1].name == "predictions"
    grid = _grid_in(path, model)
    trained = model
    if grid != _grid_of(model):
        shape = (*(side * architecture.patch for side in grid), 3)
        trained = _build(architecture, include_top, shape, model.output_shape[-1], None, model.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of each part that does not fit, before Keras raises: once is enough.
            trained.load_weights(path)
    except Exception as error:  # Keras raises many kinds, some of them long; what matters is which file it was.
        outputs = f" and {model.output_shape[-1]} outputs" if include_top else ""
        raise ValueError(
            f"{path} does not hold the weights of a ViT with {architecture}{outputs}. Other architectures need a .json "
            "of the same stem beside the file, which gives its network, stem, patch, width, depth, heads, hidden and "
            "classes, as in data/models."
        ) from error
    if trained is not model:
        _copy_weights(trained, model, path)


def _grid_in(path: Path, model: keras.Model) -> tuple[int, int]:
    """Rows and columns of the positions in a file that Keras saved.

    The file has their number alone. As many as a square has are taken for one; where the file cannot be read, loading
    it will say so.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            patches = file["layers/position_embedding/vars/0"].shape[1] - 1
    except (OSError, KeyError):
        return _grid_of(model)
    side = math.isqrt(patches)
    if side**2 == patches:
        return side, side
    if math.prod(_grid_of(model)) == patches:
        return _grid_of(model)
    raise ValueError(
        f"{path} has positions for {patches} patches, which are no square; say by input_shape of what size the photos were"
    )


def _grid_of(model: keras.Model) -> tuple[int, int]:
    """Rows and columns of a model's patches."""
    return tuple(model.get_layer("patch_embedding").output.shape[1:3])


def _copy_weights(trained: keras.Model, model: keras.Model, path: Path) -> None:
    for layer in model.layers:
        if not layer.weights:
            continue
        try:
            values = trained.get_layer(layer.name).get_weights()
            if layer.name == "position_embedding":
                _set_positions(model, values[0], _grid_of(trained))
            else:
                layer.set_weights(values)
        except ValueError as error:
            raise ValueError(f"{path} does not fit a ViT at its layer {layer.name!r}: {error}") from error


def _set_positions(model: keras.Model, positions: np.ndarray, grid: tuple[int, int]) -> None:
    """Learned positions (1, 1 + rows * columns, width), resized to the model's grid where it has another.

    As the ViT's authors do it: linear interpolation that keeps the corners in their places (``scipy.ndimage.zoom``).
    """
    import numpy as np
    from scipy import ndimage

    wanted = _grid_of(model)
    if wanted != grid:
        patches = positions[0, 1:].reshape(*grid, -1)
        zoom = (wanted[0] / grid[0], wanted[1] / grid[1], 1)
        patches = ndimage.zoom(patches, zoom, order=1)
        positions = np.concatenate([positions[0, :1], patches.reshape(-1, patches.shape[-1])])[np.newaxis]
    model.get_layer("position_embedding").set_weights([positions])


def _read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as saved:
            return {key: saved[key] for key in saved.files}
    except Exception as error:  # zipfile's and NumPy's many kinds
        raise ValueError(f"{path} is not an .npz of arrays: {error}") from error


_ATTENTION = "MultiHeadDotProductAttention_1"


def _architecture_of_checkpoint(arrays: Mapping[str, np.ndarray], path: Path) -> Architecture:
    blocks = {key.split("/")[1] for key in arrays if key.startswith("Transformer/encoderblock_")}
    needed = ["embedding/kernel", "cls", "head/kernel", "Transformer/posembed_input/pos_embedding"]
    if blocks:
        needed += [
            f"Transformer/encoderblock_0/{part}/kernel" for part in (f"{_ATTENTION}/query", "MlpBlock_3/Dense_0")
        ]
    missing = [key for key in needed if key not in arrays]
    if missing or not blocks:
        raise ValueError(
            f"{path} is not a ViT checkpoint in the form that vit-keras distributes: it has no "
            f"{missing[0] if missing else 'Transformer/encoderblock_0'!r}"
        )
    if "pre_logits/kernel" in arrays:
        raise ValueError(
            f"{path} is a checkpoint of ImageNet-21k before fine-tuning (it has 'pre_logits'); labutils takes those "
            "fine-tuned on ImageNet, such as ViT-B_16_imagenet21k+imagenet2012.npz"
        )
    embedding = arrays["embedding/kernel"]
    first = "Transformer/encoderblock_0"
    try:
        return Architecture(
            patch=embedding.shape[0],
            width=embedding.shape[-1],
            depth=len(blocks),
            heads=arrays[f"{first}/{_ATTENTION}/query/kernel"].shape[1],
            hidden=arrays[f"{first}/MlpBlock_3/Dense_0/kernel"].shape[-1],
            outputs=arrays["head/kernel"].shape[-1],
        )
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path} is not a ViT checkpoint: the shapes of its arrays do not fit ({error})") from error


def _load_checkpoint(model: keras.Model, arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Flax's arrays into the model's layers; Keras's MultiHeadAttention keeps its kernels in the same shapes."""

    def put(layer: str, *keys: str) -> None:
        try:
            model.get_layer(layer).set_weights([arrays[key] for key in keys])
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path} does not fit a ViT at {keys[0]!r} (layer {layer!r}): {error}") from error

    put("patch_embedding", "embedding/kernel", "embedding/bias")
    put("class_token", "cls")
    positions = arrays["Transformer/posembed_input/pos_embedding"]
    side = math.isqrt(max(positions.shape[1] - 1, 0)) if positions.ndim == 3 else 0
    if not side or positions.shape != (1, side**2 + 1, arrays["embedding/kernel"].shape[-1]):
        raise ValueError(
            f"{path} does not fit a ViT at 'Transformer/posembed_input/pos_embedding': shape {positions.shape} is not "
            "(1, tokens, width) of a class token and a square grid of patches"
        )
    _set_positions(model, positions, (side, side))
    depth = sum(layer.name.endswith("_attention") for layer in model.layers)
    for number in range(depth):
        block, source = f"block{number + 1}", f"Transformer/encoderblock_{number}"
        put(f"{block}_norm1", f"{source}/LayerNorm_0/scale", f"{source}/LayerNorm_0/bias")
        attention = [
            f"{source}/{_ATTENTION}/{part}/{kind}"
            for part in ("query", "key", "value", "out")
            for kind in ("kernel", "bias")
        ]
        put(f"{block}_attention", *attention)
        put(f"{block}_norm2", f"{source}/LayerNorm_2/scale", f"{source}/LayerNorm_2/bias")
        for index in (1, 2):
            dense = f"{source}/MlpBlock_3/Dense_{index - 1}"
            put(f"{block}_dense{index}", f"{dense}/kernel", f"{dense}/bias")
    put("norm", "Transformer/encoder_norm/scale", "Transformer/encoder_norm/bias")
    if model.layers[-1].name == "predictions":
        put("predictions", "head/kernel", "head/bias")
