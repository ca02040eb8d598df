"""Make the pictures of the README and the docs: ``python docs/make_pictures.py``, or only ``... notebooks``.

Most are computed with the bundled network; those of the notebooks are the figures at their tops, taken from the executed
solutions. Run it again whenever the weights, a method, a figure or a solution has changed. Nothing is retouched.
"""

import base64
import io
import os
import sys
from pathlib import Path

os.environ["LABUTILS_WEIGHTS"] = "bundled"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nbformat
import numpy as np
from PIL import Image

from labutils import explain, photos, plots, vgg16, vit

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
# The layer of the course; left out, it is the last one with spatial maps: the pooling after it, with 7 x 7 places.
LAYER = "block5_conv3"
# Free of rights (see the README's credits), and each with a class of the bundled network.
NAMES = ("cat", "coffee", "astronaut")


def main() -> None:
    """Write every picture to docs/pictures; with "notebooks" as argument, those of the notebooks alone."""
    PICTURES.mkdir(exist_ok=True)
    for notebook in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.ipynb")):
        save(goal(notebook), PICTURES / f"notebook_{notebook.name[:2]}.png")
    if sys.argv[1:] == ["notebooks"]:
        return
    model = vgg16.VGG16()
    for name, figure in {
        "gallery": gallery(model),
        "predictions": predictions(model),
        "two_classes": two_classes(model),
        "more_methods": more_methods(model),
        "maximized": maximized(model),
        "attention": attention(vit.ViT()),
    }.items():
        print(f"{name}: {figure.alt_text}")
        save(drawn(figure), PICTURES / f"{name}.png")


def goal(notebook: Path) -> Image.Image:
    """The figure at a solution's top, which shows what the student will have made, at most 800 pixels wide."""
    (pictures,) = nbformat.read(notebook, as_version=4).cells[0].attachments.values()
    picture = Image.open(io.BytesIO(base64.b64decode(pictures["image/png"]))).convert("RGB")
    picture.thumbnail((800, 1000), Image.Resampling.LANCZOS)
    return picture


def gallery(model):
    """Photos by methods, each map for the class that the network gives first."""
    images, inputs = samples()
    classes = model.predict(inputs, verbose=0).argmax(axis=1)
    family = explain.cam_family(model, inputs, classes, layer=LAYER)
    maps = {
        "Grad-CAM": family["grad_cam"],
        "Grad-CAM++": family["grad_cam_plus_plus"],
        "Layer-CAM": family["layer_cam"],
        "Score-CAM": explain.score_cam(model, inputs, classes, layer=LAYER, progress=False),
        "SmoothGrad": explain.smooth_grad(model, inputs, classes, seed=0),
    }
    names = vgg16.class_names(model)
    return plots.gallery(images, maps, titles=[f"class: {names[index]}" for index in classes])


def predictions(model):
    """The three best classes of each photo."""
    images, inputs = samples()
    decoded = vgg16.decode_predictions(model.predict(inputs, verbose=0), top=3)
    return plots.predictions(images, decoded, titles=NAMES)


def two_classes(model):
    """The evidence for two classes in one photo that holds both."""
    image = cat_and_coffee()
    inputs = vgg16.preprocess_input(image[None].astype("float32"))
    names = vgg16.class_names(model)
    maps = {
        f"Grad-CAM for {name}": explain.grad_cam(model, inputs, names.index(name), layer=LAYER)[0]
        for name in ("cat", "cup")
    }
    return plots.side_by_side(maps, image, title="Two classes in one photo")


def more_methods(model):
    """The methods that cover, switch off or hand down, for the class that the network gives first."""
    images, inputs = samples()
    classes = model.predict(inputs, verbose=0).argmax(axis=1)
    rise = explain.rise(model, inputs, classes, seed=0)
    maps = {
        "Ablation-CAM": explain.ablation_cam(model, inputs, classes, layer=LAYER),
        "occlusion": explain.occlusion(model, inputs, classes),
        # RISE's level is the mean logit of masked photos and says nothing about places.
        "RISE, above its lowest": rise - rise.min(axis=(1, 2), keepdims=True),
        "LRP, epsilon-gamma-box": explain.lrp(model, inputs, classes),
        "LRP, alpha1-beta0": explain.lrp(model, inputs, classes, composite="alpha1_beta0"),
    }
    names = vgg16.class_names(model)
    return plots.gallery(images, maps, titles=[f"class: {names[index]}" for index in classes])


def maximized(model):
    """What excites a channel of an early, a middle and a late layer most, and what excites a class."""
    import matplotlib.pyplot as plt

    names = vgg16.class_names(model)
    channels = {"block1_conv2": [0, 6, 9], "block3_conv3": [0, 20, 33], "block5_conv3": [7, 40, 77]}
    channels["predictions"] = [names.index(name) for name in ("cat", "carton", "bicycle")]
    figure, axes = plt.subplots(3, len(channels), figsize=(9.6, 7.6), layout="constrained")
    for column, (layer, chosen) in enumerate(channels.items()):
        for ax, channel in zip(axes[:, column], chosen, strict=True):
            image = explain.maximize_activation(
                model, layer, channel, size=(160, 160) if layer != "predictions" else None,
                preprocess=vgg16.preprocess_input, seed=0, progress=False,
            )  # fmt: skip
            ax.imshow(image.astype("uint8"))
            ax.set_title(f"{layer} {channel}" if layer != "predictions" else f"class {names[channel]}", fontsize=10)
            ax.axis("off")
    figure.alt_text = "Images that excite a channel most: stripes early, textures later, parts of things for classes."
    return figure


def attention(model):
    """What a transformer's attention says of a photo with two things, and what it takes to ask for one of them."""
    image = cat_and_coffee()
    inputs = vit.preprocess_input(image[None].astype("float32"))
    names = vit.class_names(model)
    maps = {"Rollout, any class": explain.attention_rollout(model, inputs)[0]}
    for name in ("cat", "cup"):
        maps[f"Gradient rollout for {name}"] = explain.gradient_rollout(model, inputs, names.index(name))[0]
    return plots.side_by_side(maps, image, title="Attention followed through a transformer")


def cat_and_coffee() -> np.ndarray:
    """One photo, (224, 224, 3) uint8, the cat in its left half and the cup in its right."""
    halves = [photos.sample(name, size=(224, 112), fit="crop") for name in ("cat", "coffee")]
    return photos.mosaic(halves, grid=(1, 2))[0]


def samples() -> tuple[np.ndarray, np.ndarray]:
    """The photos, and the same preprocessed."""
    images = np.stack([photos.sample(name) for name in NAMES])
    return images, vgg16.preprocess_input(images.astype("float32"))


def drawn(figure) -> Image.Image:
    """A figure as pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture with 256 dithered colours: half the bytes, and no difference that is seen at this size."""
    palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE)
    picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
