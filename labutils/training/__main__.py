"""Train a bundled network: ``python -m labutils.training vgg16 --photos DIR [--teacher WEIGHTS] --out data/models``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labutils.training.fit import Phase, Recipe


def phase(text: str) -> Phase:
    """``96x28`` (side x epochs) or ``96x28x0.2`` (and the least share of the area in a crop)."""
    try:
        side, epochs, *smallest = text.split("x")
        side, epochs, least = int(side), int(epochs), float(smallest[0]) if smallest else 0.2
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not SIDExEPOCHS or SIDExEPOCHSxAREA") from None
    if side % 32 or side <= 0 or epochs < 1 or not 0 < least <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r}: the side must be a multiple of 32, epochs at least 1, area in (0, 1]"
        )
    return Phase(side, epochs, least)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m labutils.training", description=__doc__)
    options.add_argument("network", choices=["vgg16"], help="what to train")
    options.add_argument("--photos", type=Path, required=True, help="folder with train/<class>/* and val/<class>/*")
    options.add_argument("--teacher", type=Path, help="MobileNetV2 weights (.weights.h5) with their 1000-class top")
    options.add_argument(
        "--out", type=Path, default=Path("data/models"), help="where the weights go (default %(default)s)"
    )
    options.add_argument(
        "--work", type=Path, default=Path("training-runs/vgg16"), help="checkpoints (default %(default)s)"
    )
    options.add_argument("--width", choices=["quarter", "half"], default="quarter", help="channels of VGG16 to keep")
    options.add_argument("--phases", type=phase, nargs="+", help="SIDExEPOCHS ..., for instance 96x28 128x10 224x4")
    options.add_argument("--precision", choices=["mixed_bfloat16", "float32"], default="mixed_bfloat16")
    options.add_argument("--seed", type=int, default=Recipe.seed)
    options.add_argument(
        "--hold-out-sources",
        action="store_true",
        help="leave one source of each class out, test on it, write held_out.json to --work and no weights",
    )
    options.add_argument("--held-out-report", type=Path, help="such a held_out.json, to be told in the model card")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; returns the exit code."""
    options = parser().parse_args(arguments)
    width = {"quarter": 4, "half": 2}[options.width]
    phases = {}
    if options.phases:
        phases = {"phases": tuple(options.phases), "cosine_epochs": sum(each.epochs for each in options.phases)}
    recipe = replace(
        Recipe(precision=options.precision, seed=options.seed),
        channels=tuple(channels // width for channels in (64, 128, 256, 512, 512)),
        **phases,
    )
    from labutils.training import run

    try:
        if options.hold_out_sources:
            run.test_on_held_out_sources(recipe, options.photos, options.teacher, options.work)
        else:
            run.train_and_ship(
                recipe,
                options.photos,
                options.teacher,
                options.work,
                options.out,
                options.width,
                options.held_out_report,
            )
    except (ValueError, OSError) as error:
        print(f"labutils.training: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on from {options.work}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
