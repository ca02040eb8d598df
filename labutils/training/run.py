"""The two things that a training run is for: weights to ship, and a test on sources that it did not see."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from labutils.training.card import SAMPLE_CLASSES, Evaluation, model_card, vgg16_recipe, vit_recipe
from labutils.training.class_ids import class_id
from labutils.training.dataset import PhotoSet, class_folders, hold_out_sources, load_split
from labutils.training.export import best_temperature, calibrated, folded_weights, shipped_network, store, with_prior
from labutils.training.fit import Recipe, Trainer
from labutils.training.localisation import localisation
from labutils.training.teacher import Teacher, build_teacher
from labutils.training.tokens import augmented_tokens, plain_tokens, stem_of
from labutils.training.transformer import VitRecipe, VitTrainer, with_stem


def train_and_ship(
    recipe: Recipe, photos: Path, teacher: Path | None, work: Path, out: Path, width: str, held_out_report: Path | None
) -> Path:
    """Train, fold, calibrate, store, describe; returns the weights' path."""
    train, val = load_photos(photos)
    trainer = Trainer(recipe, train, val, load_teacher(teacher, train, work), work)
    trainer.run()

    classes = len(train.classes)
    counts = np.bincount(train.labels, minlength=classes)
    layers = folded_weights(trainer.averaged_weights())
    sizes = {"channels": list(recipe.channels), "dense": list(recipe.dense)}
    val_photos = photos / "val"
    raw = file_probabilities(shipped_network(layers, classes=classes, **sizes), val_photos, val)
    temperature = best_temperature(np.log(np.maximum(raw, np.finfo(np.float32).tiny)), val.labels)
    stem = f"vgg16_{width}"
    sidecar = {"network": "vgg16", **sizes, "classes": [[class_id(name), name] for name in train.classes]}
    layers = with_prior(calibrated(layers, temperature), counts, recipe.prior)
    network = shipped_network(layers, classes=classes, **sizes)
    path = store(network, out, stem, sidecar, licence="MIT")

    from labutils.vgg16 import VGG16

    shipped = VGG16(weights=path)
    card = model_card(
        title=f"VGG16, {width} of the channels, {classes} classes",
        network="vgg16",
        recipe_lines=vgg16_recipe(recipe, taught=teacher is not None),
        train=train,
        photos=photos,
        teacher=teacher,
        evaluation=Evaluation(file_probabilities(shipped, val_photos, val), val.labels, train.classes),
        uncalibrated=raw,
        temperature=temperature,
        samples=say_of_samples(shipped, train.classes),
        held_out=json.loads(held_out_report.read_text()) if held_out_report else None,
        size=path.stat().st_size,
    )
    (out / f"{stem}.md").write_text(card)
    print(f"wrote {path} and its card {out / f'{stem}.md'}")
    return path


def train_and_ship_vit(recipe: VitRecipe, photos: Path, teacher: Path | None, work: Path, out: Path) -> Path:
    """Views through the stem, training, calibration, storing, describing; returns the weights' path.

    The stem is that of the bundled VGG16, which must be there.
    """
    from labutils.vgg16 import VGG16
    from labutils.vit import Architecture, ViT, preprocess_input

    if teacher is None:
        raise ValueError("--teacher is needed for the vit: its patches learn from the teacher's map alone")
    vgg16 = VGG16(weights="bundled")
    stem = stem_of(vgg16, "block4_pool")
    train, val = load_photos(photos)
    taught = load_teacher(teacher, train, work)
    options = {"views": recipe.views, "smallest": recipe.smallest, "evenness": recipe.evenness, "seed": recipe.seed}
    tokens = augmented_tokens(stem, train, taught, work, **options)
    sizes = {"width": recipe.width, "depth": recipe.depth, "heads": recipe.heads, "hidden": recipe.hidden}
    convolutions = [
        [layer.filters for layer in vgg16.layers if layer.name.startswith(f"block{b}_conv")] for b in range(1, 5)
    ]
    classes = [[class_id(name), name] for name in train.classes]
    architecture = Architecture(stem=tuple(map(tuple, convolutions)), outputs=len(classes), **sizes)
    trainer = VitTrainer(recipe, architecture, tokens, (plain_tokens(stem, val.images), val.labels), taught, work)
    trainer.run()

    network = with_stem(trainer, vgg16)
    raw = file_probabilities(network, photos / "val", val, preprocess=preprocess_input)
    temperature = best_temperature(np.log(np.maximum(raw, np.finfo(np.float32).tiny)), val.labels)
    top = {"predictions": network.get_layer("predictions").get_weights()}
    counts = np.bincount(train.labels, minlength=len(classes))
    top = with_prior(calibrated(top, temperature), counts, recipe.prior)
    network.get_layer("predictions").set_weights(list(top["predictions"]))
    sidecar = {"network": "vit", "stem": convolutions, "patch": architecture.patch, **sizes, "classes": classes}
    path = store(network, out, "vit_small", sidecar, licence="MIT")

    shipped = ViT(weights=path)
    probabilities_of_val = file_probabilities(shipped, photos / "val", val, preprocess=preprocess_input)
    card = model_card(
        title=f"ViT, small, {len(classes)} classes",
        network="vit",
        recipe_lines=vit_recipe(recipe, trainer.taken),
        train=train,
        photos=photos,
        teacher=teacher,
        evaluation=Evaluation(probabilities_of_val, val.labels, train.classes),
        uncalibrated=raw,
        temperature=temperature,
        samples=say_of_samples(shipped, train.classes, preprocess=preprocess_input),
        localisation=localisation(shipped, vgg16),
        size=path.stat().st_size,
    )
    (out / "vit_small.md").write_text(card)
    print(f"wrote {path} and its card {out / 'vit_small.md'}")
    return path


def test_on_held_out_sources(recipe: Recipe, photos: Path, teacher: Path | None, work: Path) -> dict:
    """Train without one source of every class that has several, test on those; writes ``held_out.json`` to ``work``."""
    train, _ = load_photos(photos)
    keep, out, held = hold_out_sources(train)
    if not held:
        raise ValueError(f"no class under {photos}/train has a second source of 20 photos or more to hold out")
    seen, unseen = train.subset(keep), train.subset(out)
    trainer = Trainer(recipe, seen, unseen, load_teacher(teacher, seen, work), work)
    trainer.run()
    side = recipe.phases[-1].side
    evaluation = Evaluation(_softmax(trainer.logits(unseen.images, side)), unseen.labels, train.classes)
    report = {
        "top1": evaluation.top1,
        "top3": evaluation.top3,
        "mean_recall": evaluation.mean_recall,
        "photos": len(unseen),
        "epochs": recipe.epochs,
        "phases": ", ".join(f"{phase.epochs} at {phase.side} x {phase.side}" for phase in recipe.phases),
        "classes": {
            name: {
                "source": source,
                "photos": int((unseen.labels == train.classes.index(name)).sum()),
                "recall": evaluation.recalls[name],
            }
            for name, source in held.items()
        },
        "recipe": asdict(recipe),
    }
    (work / "held_out.json").write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"held-out sources: {report['top1']:.1%} top-1, {report['mean_recall']:.1%} mean recall; {work / 'held_out.json'}"
    )
    return report


def load_photos(photos: Path) -> tuple[PhotoSet, PhotoSet]:
    """The training and validation photos, with the classes of ``train/``."""
    classes = class_folders(photos / "train")
    return load_split(photos / "train", classes), load_split(photos / "val", classes)


def load_teacher(weights: Path | None, train: PhotoSet, work: Path) -> Teacher | None:
    """What the teacher says of ``train``; kept in ``work``, since it takes minutes and a resumed run needs it again."""
    if weights is None:
        return None
    if not weights.is_file():
        raise ValueError(f"--teacher {weights}: no such file")
    kept = work / "teacher.npz"
    if kept.exists():
        with np.load(kept) as saved:
            if list(saved["names"]) == train.names:
                return Teacher(
                    **{key: saved[key] for key in ("maps", "top_kernel", "top_bias", "mapping")},
                    sharpness=float(saved["sharpness"]),
                )
    teacher = build_teacher(weights, train.images, train.labels, len(train.classes))
    work.mkdir(parents=True, exist_ok=True)
    np.savez(kept, names=np.array(train.names), **vars(teacher))
    return teacher


def file_probabilities(
    network, folder: Path, photos: PhotoSet, batch_size: int = 64, preprocess: Callable | None = None
) -> np.ndarray:
    """Probabilities (n, classes) of the files ``folder/<class>/<name>``, loaded, resized and preprocessed as users do.

    ``preprocess`` is VGG16's by default.
    """
    from labutils.photos import load

    paths = [folder / photos.classes[label] / name for label, name in zip(photos.labels, photos.names, strict=True)]
    parts = []
    for start in tqdm(range(0, len(paths), batch_size), desc="testing", unit="batch"):
        batch = np.stack([load(path) for path in paths[start : start + batch_size]])
        parts.append(probabilities(network, batch, preprocess))
    return np.concatenate(parts)


def probabilities(network, images: np.ndarray, preprocess: Callable | None = None) -> np.ndarray:
    """Probabilities (n, classes) of photos (n, 224, 224, 3) uint8; ``preprocess`` is VGG16's by default."""
    from labutils import vgg16

    return network((preprocess or vgg16.preprocess_input)(images.astype("float32")), training=False).numpy()


def say_of_samples(
    network, classes: list[str], top: int = 3, preprocess: Callable | None = None
) -> dict[str, list[tuple[str, float]]]:
    """The best classes of each sample photo that shows a class of this network, and of the rocket, which shows none."""
    from labutils import photos

    names = [name for name, shows in SAMPLE_CLASSES.items() if shows in classes] + ["rocket"]
    said = probabilities(network, np.stack([photos.sample(name) for name in names]), preprocess)
    return {
        name: [(classes[i], float(row[i])) for i in np.argsort(-row)[:top]]
        for name, row in zip(names, said, strict=True)
    }


def _softmax(logits: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    return softmax(logits, axis=1)
