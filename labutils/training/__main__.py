"""Train a bundled network: ``python -m labutils.training vgg16|vit --photos DIR [--teacher WEIGHTS]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labutils.training import transformer
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


def token_phase(text: str) -> transformer.Phase:
    """``49x6`` (tokens x epochs)."""
    try:
        kept, epochs = text.split("x")
        kept, epochs = int(kept), float(epochs)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not TOKENSxEPOCHS") from None
    if not 1 <= kept <= 196 or epochs <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: 1 to 196 tokens, and more than 0 epochs")
    return transformer.Phase(epochs, kept)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m labutils.training", description=__doc__)
    networks = options.add_subparsers(dest="network", required=True, metavar="{vgg16,vit}")
    vgg16 = networks.add_parser("vgg16", help="the small VGG16")
    vit = networks.add_parser("vit", help="the small Vision Transformer, on the stem of the bundled VGG16")
    for name, network in (("vgg16", vgg16), ("vit", vit)):
        network.add_argument("--photos", type=Path, required=True, help="folder with train/<class>/* and val/<class>/*")
        network.add_argument("--teacher", type=Path, help="MobileNetV2 weights (.weights.h5) with their 1000-class top")
        network.add_argument(
            "--out", type=Path, default=Path("data/models"), help="where the weights go (default %(default)s)"
        )
        network.add_argument(
            "--work", type=Path, default=Path("training-runs") / name, help="checkpoints (default %(default)s)"
        )
        network.add_argument("--seed", type=int, default=1)
    vgg16.add_argument("--width", choices=["quarter", "half"], default="quarter", help="channels of VGG16 to keep")
    vgg16.add_argument("--phases", type=phase, nargs="+", help="SIDExEPOCHS ..., for instance 96x28 128x10 224x4")
    vgg16.add_argument("--precision", choices=["mixed_bfloat16", "float32"], default="mixed_bfloat16")
    vgg16.add_argument(
        "--hold-out-sources",
        action="store_true",
        help="leave one source of each class out, test on it, write held_out.json to --work and no weights",
    )
    vgg16.add_argument("--held-out-report", type=Path, help="such a held_out.json, to be told in the model card")
    vit.add_argument("--views", type=int, default=transformer.VitRecipe.views, help="augmented views of each photo")
    vit.add_argument("--phases", type=token_phase, nargs="+", help="TOKENSxEPOCHS ..., for instance 49x6 98x1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        {"vgg16": _vgg16, "vit": _vit}[options.network](options)
    except (ValueError, OSError) as error:
        print(f"labutils.training: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on from {options.work}", file=sys.stderr)
        return 130
    return 0


def _vgg16(options: argparse.Namespace) -> None:
    from labutils.training import run

    width = {"quarter": 4, "half": 2}[options.width]
    phases = {}
    if options.phases:
        phases = {"phases": tuple(options.phases), "cosine_epochs": sum(each.epochs for each in options.phases)}
    recipe = replace(
        Recipe(precision=options.precision, seed=options.seed),
        channels=tuple(channels // width for channels in (64, 128, 256, 512, 512)),
        **phases,
    )
    common = recipe, options.photos, options.teacher, options.work
    if options.hold_out_sources:
        run.test_on_held_out_sources(*common)
    else:
        run.train_and_ship(*common, options.out, options.width, options.held_out_report)


def _vit(options: argparse.Namespace) -> None:
    from labutils.training import run

    recipe = transformer.VitRecipe(seed=options.seed, views=options.views)
    if options.phases:
        *mixed, last = options.phases
        recipe = replace(recipe, phases=(*mixed, last._replace(calm=True)))
    run.train_and_ship_vit(recipe, options.photos, options.teacher, options.work, options.out)


if __name__ == "__main__":
    sys.exit(main())
