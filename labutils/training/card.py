"""The model card that a training run writes: data and licences, recipe, what it got, where it fails, on which date."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from labutils.training.dataset import PhotoSet
from labutils.training.export import calibration_error
from labutils.training.fit import Recipe
from labutils.training.transformer import VitRecipe

SAMPLE_CLASSES = {"cat": "cat", "coffee": "cup", "astronaut": "person", "motorcycle": "motorbike", "flower": "flower"}
"""Sample photos that show one of the course's classes; none of them is trained on."""


_INPUTS = {"vgg16": "BGR minus the channel means", "vit": "RGB from -1 to 1"}


@dataclass(frozen=True)
class Evaluation:
    """Probabilities (n, classes) that the shipped network gives to the validation photos, and what to compare with."""

    probabilities: np.ndarray
    labels: np.ndarray
    classes: list[str]

    @property
    def right(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1) == self.labels

    @property
    def top1(self) -> float:
        return float(self.right.mean())

    @property
    def top3(self) -> float:
        best = np.argsort(-self.probabilities, axis=1)[:, :3]
        return float((best == self.labels[:, None]).any(axis=1).mean())

    @property
    def recalls(self) -> dict[str, float]:
        """Class name -> share of its photos that were recognised, for the classes that have photos."""
        return {
            name: float(self.right[self.labels == label].mean())
            for label, name in enumerate(self.classes)
            if (self.labels == label).any()
        }

    @property
    def mean_recall(self) -> float:
        return float(np.mean(list(self.recalls.values())))

    def confusions(self, most: int = 8) -> list[tuple[str, str, int]]:
        """The most frequent mistakes: (what it was, what was said, how often)."""
        said = self.probabilities.argmax(axis=1)
        pairs = Counter(zip(self.labels[~self.right].tolist(), said[~self.right].tolist(), strict=True))
        return [(self.classes[was], self.classes[took], count) for (was, took), count in pairs.most_common(most)]


def licence_rows(photos: Path) -> dict[str, str]:
    """Source prefix -> "name; licence", from the table of ``SOURCES.md`` in the photos' folder where there is one."""
    page = photos / "SOURCES.md"
    rows: dict[str, str] = {}
    for line in page.read_text().splitlines() if page.exists() else []:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and not set(cells[0]) <= set("-: ") and cells[0] != "prefix":
            for prefix in re.split(r",\s*", cells[0]):
                rows[prefix] = f"{cells[1]}; {cells[2]}"
    return rows


def model_card(
    *,
    title: str,
    network: str,
    recipe_lines: list[str],
    train: PhotoSet,
    photos: Path,
    teacher: Path | None,
    evaluation: Evaluation,
    uncalibrated: np.ndarray,
    temperature: float,
    samples: dict[str, list[tuple[str, float]]],
    size: int,
    held_out: dict | None = None,
    localisation: dict[str, dict[str, float]] | None = None,
) -> str:
    """The card as Markdown.

    ``network`` is "vgg16" or "vit", ``samples`` maps a sample's name to its best (class, probability) pairs, ``size`` is
    in bytes, ``localisation`` is what `labutils.training.localisation` measured.
    """
    parts = [
        f"# {title}\n",
        f"Trained {date.today().isoformat()} by `python -m labutils.training {network}`. {size / 1e6:.1f} MB, float16 on "
        f"disk. Inputs: 224 x 224 x 3, as `labutils.{network}.preprocess_input` gives them ({_INPUTS[network]}). "
        f"Outputs: probabilities of {len(evaluation.classes)} classes.\n",
        "It is for teaching how explanations of classifiers work, offline and on a small laptop. It is not for decisions "
        "about people or anything that matters.\n",
        _results(evaluation, uncalibrated, temperature),
        _samples(samples),
        _held_out(held_out),
        _localisation(localisation),
        _failures(evaluation),
        _recipe(recipe_lines, teacher),
        _data(train, photos),
    ]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _results(evaluation: Evaluation, uncalibrated: np.ndarray, temperature: float) -> str:
    lines = [
        "## What it gets on `val/`\n",
        "| measure | value |\n|---|---|",
        f"| photos | {len(evaluation.labels)} |",
        f"| top-1 | {evaluation.top1:.1%} |",
        f"| top-3 | {evaluation.top3:.1%} |",
        f"| mean per-class recall | {evaluation.mean_recall:.1%} |",
        f"| calibration error (15 bins), as trained | {calibration_error(uncalibrated, evaluation.labels):.3f} |",
        f"| the same, logits divided by {temperature:.2f} (as shipped) | "
        f"{calibration_error(evaluation.probabilities, evaluation.labels):.3f} |",
        "\nThe temperature was fitted on `val/` itself; for photos from elsewhere expect the network to be surer than right.\n",
        "Recall by class: "
        + ", ".join(
            f"{name} {recall:.0%}" for name, recall in sorted(evaluation.recalls.items(), key=lambda kv: -kv[1])
        )
        + ".\n",
    ]
    return "\n".join(lines)


def _samples(samples: dict[str, list[tuple[str, float]]]) -> str:
    if not samples:
        return ""
    rows = [
        f"| {name} | {SAMPLE_CLASSES.get(name, 'none of the classes')} | "
        + ", ".join(f"{label} {probability:.2f}" for label, probability in best)
        + " |"
        for name, best in samples.items()
    ]
    return "\n".join(
        ["## The sample photos (never trained on)\n", "| photo | shows | network says |\n|---|---|---|", *rows, ""]
    )


def _held_out(report: dict | None) -> str:
    if not report:
        return ""
    rows = [
        f"| {name} | {row['source']} | {row['photos']} | {row['recall']:.0%} |"
        for name, row in report["classes"].items()
    ]
    return "\n".join(
        [
            "## Photos from sources it never saw\n",
            "Sources give classes away, so `val/` overstates what happens on a photo from a phone. In a run of its own "
            f"({report['epochs']} epochs: {report['phases']}) one source of every class that has several was left out "
            f"and tested on: **{report['top1']:.1%}** top-1, {report['mean_recall']:.1%} mean per-class recall over {report['photos']} photos. "
            "That run saw fewer photos, fewer sources and fewer epochs than the shipped network, "
            "so it is a pessimistic number.\n",
            "| class | source left out | photos | recognised |\n|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _failures(evaluation: Evaluation) -> str:
    weakest = sorted(evaluation.recalls.items(), key=lambda item: item[1])[:5]
    return "\n".join(
        [
            "## Known failures\n",
            "- Weakest classes: " + ", ".join(f"{name} ({recall:.0%})" for name, recall in weakest) + ".",
            "- Most frequent mistakes: "
            + ", ".join(f"{was} taken for {took} ({count})" for was, took, count in evaluation.confusions())
            + ".",
            f"- It knows {len(evaluation.classes)} classes and has no way to say 'none of these': a rocket gets the class that it resembles most.",
            "- Classes whose photos come from a single source are learnt partly with that source's look.\n",
        ]
    )


def _localisation(scores: dict[str, dict[str, float]] | None) -> str:
    if not scores:
        return ""
    columns = list(next(iter(scores.values())))
    rows = [f"| {name} | " + " | ".join(f"{row[key]:.2f}" for key in columns) + " |" for name, row in scores.items()]
    return "\n".join(
        [
            "## Where its maps point\n",
            "Sample photos, each in every cell of a 2 x 2 mosaic. *Object hit*: the map's peak lies on the outlined object "
            "(15 pixels of tolerance), the other cells showing textures. *Share, textures*: how much of the positive map "
            "lies in the photo's cell there. *Share, photos*: the same with other photos in the other cells, each asked for "
            "in turn; a map that knows no class gets exactly 0.25.\n",
            "| map | " + " | ".join(columns) + " |",
            "|---" * (len(columns) + 1) + "|",
            *rows,
            "",
        ]
    )


def _recipe(recipe_lines: list[str], teacher: Path | None) -> str:
    lines = ["## Recipe\n", *recipe_lines]
    if teacher:
        readme = teacher.parent / "README.md"
        paragraphs = readme.read_text().split("\n\n") if readme.exists() else []
        about = " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""
        lines.append(f"- Teacher: `{teacher.name}`. {about}".rstrip())
    return "\n".join([*lines, ""])


def vgg16_recipe(recipe: Recipe, taught: bool) -> list[str]:
    """A `Recipe` in words, a line a point; ``taught`` says whether there was a teacher."""
    phases = ", then ".join(
        f"{phase.epochs} epochs at {phase.side} x {phase.side} (crops from {phase.smallest:.0%} of the area"
        + (f", annealed from {phase.rate:g}" if phase.rate else "")
        + (", without erasing and mixing)" if phase.calm else ")")
        for phase in recipe.phases
    )
    lines = [
        f"- Channels {'-'.join(map(str, recipe.channels))}, dense {' and '.join(map(str, recipe.dense))}; batch norm after every layer "
        "and global average pooling while training, both folded exactly into the shipped VGG16 (`fc1` has the same weights at all 49 positions).",
        f"- {phases}; AdamW {recipe.learning_rate:g}, weight decay {recipe.weight_decay:g}, one cosine of "
        f"{recipe.cosine_epochs} epochs with one of warm-up, batch {recipe.batch_size}, {recipe.precision}, averaged weights, seed {recipe.seed}.",
        f"- Photos drawn with probability (class size)^-{recipe.evenness:g}. {_VARIED}erasing, CutMix and mixup. {_PRIOR.format(recipe.prior)}",
    ]
    if taught:
        lines.append(
            f"- Loss: {recipe.label_weight:g} x cross-entropy (label smoothing {recipe.label_smoothing:g}) + "
            f"{recipe.mapped_weight:g} x soft labels through the teacher's 1000 classes + {recipe.imagenet_weight:g} x the teacher's own "
            f"1000 classes + {recipe.map_weight:g} x its last feature map. See `labutils/training/teacher.py`."
        )
    else:
        lines.append(f"- Loss: cross-entropy with label smoothing {recipe.label_smoothing:g}; no teacher.")
    return lines


def vit_recipe(recipe: VitRecipe, steps: int) -> list[str]:
    """A `VitRecipe` in words, a line a point; ``steps`` is how many were taken in all."""
    phases = ", then ".join(
        f"{phase.epochs:g} epochs with {phase.kept} of each view's tokens{' and no mixing' if phase.calm else ''}"
        for phase in recipe.phases
    )
    return [
        f"- A hybrid: blocks 1 to 4 of the bundled VGG16, frozen, as the stem; 1 x 1 patch embedding of its 14 x 14 map; "
        f"{recipe.depth} pre-norm blocks of width {recipe.width}, {recipe.heads} heads, {recipe.hidden} hidden units.",
        f"- {recipe.views} rounds of augmented views, each of as many as there are photos, carried through the stem once. Photos drawn with "
        f"probability (class size)^-{recipe.evenness:g}; crops from {recipe.smallest:.0%} of the area. {_VARIED}erasing, CutMix and mixup; in "
        f"training also flipped token grids and rectangles of tokens from another view ({recipe.mixed:.0%}).",
        f"- {phases}: {steps} steps of {recipe.batch_size} views; AdamW {recipe.learning_rate:g}, weight decay {recipe.weight_decay:g}, one "
        f"cosine, stochastic depth {recipe.drop_path:g}, averaged weights, seed {recipe.seed}. {_PRIOR.format(recipe.prior)}",
        f"- Loss: cross-entropy (label smoothing {recipe.label_smoothing:g}) + {recipe.mapped_weight:g} x soft labels through the teacher's "
        f"1000 classes + {recipe.imagenet_weight:g} x the teacher's own 1000 classes, all from the class token, + {recipe.map_weight:g} x the "
        "teacher's last feature map, from the patches. See `labutils/training/transformer.py`.",
    ]


_VARIED = "Random crop, flip, zoom out, backdrops of cut-outs replaced, colour, grey, blur, sharpening, noise, "
_PRIOR = "At the end {:g} x log(class size) was added to the logits, which gives back part of what even sampling took."


def _data(train: PhotoSet, photos: Path) -> str:
    licences = licence_rows(photos)
    counts = Counter(train.sources)
    rows = [f"| {source} | {count} | {licences.get(source, 'not stated')} |" for source, count in counts.most_common()]
    return "\n".join(
        [
            "## Data\n",
            f"{len(train)} training photos of {len(train.classes)} classes. The photos are not part of the project.\n",
            "| source | photos | what it is; licence as stated where it was found |\n|---|---|---|",
            *rows,
        ]
    )
