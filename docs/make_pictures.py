"""Make the pictures of the README and the docs: ``python docs/make_pictures.py``, or only some: ``... notebooks gallery``.

Most are computed with the bundled network; those of the notebooks are the figures at their tops, taken from the executed
solutions. Run it again whenever the weights, a method, a figure or a solution has changed. Nothing is retouched.
Pictures of pages and widgets, which need a browser, come from ``docs/make_screenshots.py``.
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

from labutils import evaluate, explain, photos, plots, vgg16, vit
from labutils.plots.figures import INK
from labutils.plots.words import percent

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
# The layer of the course; left out, it is the last one with spatial maps: the pooling after it, with 7 x 7 places.
LAYER = "block5_conv3"
# Free of rights (see the README's credits), and each with a class of the bundled network.
NAMES = ("cat", "coffee", "astronaut")


def main() -> None:
    """Write the pictures that are named to docs/pictures; all of them where none is."""
    figures = {
        "why_cat_why_cup": why_cat_why_cup,
        "gallery": gallery,
        "predictions": predictions,
        "more_methods": more_methods,
        "maximized": maximized,
        "attention": attention,
    }
    wanted = sys.argv[1:] or ["notebooks", *figures]
    unknown = [name for name in wanted if name not in ("notebooks", *figures)]
    if unknown:
        sys.exit(f"no picture {unknown[0]!r}; there are: notebooks, {', '.join(figures)}")
    PICTURES.mkdir(exist_ok=True)
    if "notebooks" in wanted:
        for notebook in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.ipynb")):
            save(goal(notebook), PICTURES / f"notebook_{notebook.name[:2]}.png")
    for name, make in figures.items():
        if name in wanted:
            figure = make()
            print(f"{name}: {figure.alt_text}")
            save(drawn(figure), PICTURES / f"{name}.png")


def goal(notebook: Path) -> Image.Image:
    """The figure at a solution's top, which shows what the student will have made, at most 800 pixels wide."""
    (pictures,) = nbformat.read(notebook, as_version=4).cells[0].attachments.values()
    picture = Image.open(io.BytesIO(base64.b64decode(pictures["image/png"]))).convert("RGB")
    picture.thumbnail((800, 1000), Image.Resampling.LANCZOS)
    return picture


def why_cat_why_cup():
    """The README's first picture: two questions to one photo, three methods' answers, and how right each is."""
    from matplotlib.figure import Figure

    model, asked = vgg16.VGG16(), ("cat", "cup")
    inputs = vgg16.preprocess_input(cat_and_coffee()[np.newaxis].astype("float32"))
    names = vgg16.class_names(model)
    probabilities = model.predict(inputs, verbose=0)[0]
    inputs, classes = np.repeat(inputs, 2, axis=0), [names.index(name) for name in asked]
    methods = {
        "Grad-CAM": explain.grad_cam(model, inputs, classes, layer=LAYER),
        "Score-CAM": explain.score_cam(model, inputs, classes, layer=LAYER, progress=False),
        "guided backprop": explain.guided_backprop(model, inputs, classes),
    }
    figure = Figure(figsize=(9.6, 5.9), dpi=125, facecolor="white")
    figure.subplots_adjust(left=0.004, right=0.996, top=0.93, bottom=0.065, wspace=0.035, hspace=0.16)
    axes = figure.subplots(2, 1 + len(methods))
    # Letters of this size can still be read on a phone, where the picture is 390 pixels wide.
    title, text = {"fontsize": 17}, {"ha": "center", "va": "top", "fontsize": 16}
    for ax in axes.flat:
        ax.axis("off")
    photo = cat_and_coffee(448)
    axes[0, 0].imshow(photo)
    axes[0, 0].set_title("one photo", **title)
    best = int(probabilities.argmax())
    says = f"“{names[best]}”, {percent(probabilities[best])}"
    beside = axes[1, 0]
    beside.text(0.5, 0.93, says, **text | {"fontsize": 19}, weight="bold", transform=beside.transAxes)
    beside.text(0.5, 0.76, "says the network.", **text, transform=beside.transAxes)
    rows = "\n".join(f"{place} row: why {name}?" for place, name in zip(("Upper", "Lower"), asked, strict=True))
    beside.text(
        0.5, 0.45, rows, **text | {"fontsize": 15}, transform=beside.transAxes, color="#555555", linespacing=1.5
    )
    told = []
    for column, (method, maps) in enumerate(methods.items(), start=1):
        axes[0, column].set_title(method, **title)
        shares = evaluate.grid_pointing_game(maps, [0, 1], grid=(1, 2))
        for ax, heatmap, share, name in zip(axes[:, column], maps, shares, asked, strict=True):
            ax.imshow(plots.overlay_pixels(photo, heatmap, alpha=0.55))
            words = f"{percent(share)} on the {name}"
            blind = share <= 0.5  # what a flat map has
            ax.text(
                0.5, -0.025, words, **text, weight="bold", transform=ax.transAxes, color="#b3261e" if blind else INK
            )
            told.append(f"{method} {words}")
    figure.alt_text = f"The network says {says}. {'; '.join(told)}."
    return figure


def gallery():
    """Photos by methods, each map for the class that the network gives first."""
    model = vgg16.VGG16()
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


def predictions():
    """The three best classes of each photo."""
    model = vgg16.VGG16()
    images, inputs = samples()
    decoded = vgg16.decode_predictions(model.predict(inputs, verbose=0), top=3)
    return plots.predictions(images, decoded, titles=NAMES)


def more_methods():
    """The methods that cover, switch off or hand down, for the class that the network gives first."""
    model = vgg16.VGG16()
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


def maximized():
    """What excites a channel of an early, a middle and a late layer most, and what excites a class."""
    import matplotlib.pyplot as plt

    model = vgg16.VGG16()
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


def attention():
    """What a transformer's attention says of a photo with two things, and what it takes to ask for one of them."""
    model = vit.ViT()
    image = cat_and_coffee()
    inputs = vit.preprocess_input(image[None].astype("float32"))
    names = vit.class_names(model)
    maps = {"Rollout, any class": explain.attention_rollout(model, inputs)[0]}
    for name in ("cat", "cup"):
        maps[f"Gradient rollout for {name}"] = explain.gradient_rollout(model, inputs, names.index(name))[0]
    return plots.side_by_side(maps, image, title="Attention followed through a transformer")


def cat_and_coffee(side: int = 224) -> np.ndarray:
    """One photo, (side, side, 3) uint8, the cat in its left half and the cup in its right."""
    halves = [photos.sample(name, size=(side, side // 2), fit="crop") for name in ("cat", "coffee")]
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
