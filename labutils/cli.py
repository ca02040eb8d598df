"""The command line: ``labutils start | explain | build | grade | weights``.

Each command is a function that adds its parser and names the function that runs it; what a command needs is imported
when it runs. A user's mistake gives one line on stderr and no traceback.

Exit status: 0 done; 1 not possible (a message says why), or a check found a difference; 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from labutils import __version__

if TYPE_CHECKING:
    from labutils import report

DONE, NOT_POSSIBLE, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

EXPLAIN_EXAMPLES = """\
examples:
  labutils explain cat                        a sample photo, the bundled network
  labutils explain dog.jpg --classes cat,dog  the evidence for two classes
  labutils explain cat --model vit            what a Vision Transformer attends to
  labutils explain *.jpg --model mine.keras --preprocess mobilenet_v2 --labels names.txt
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    parser = _parser()
    options, further = parser.parse_known_args(arguments)
    if further and options.run is not start:
        parser.error(f"unrecognised arguments: {' '.join(further)}")
    options.further = further
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        return options.run(options)
    except KeyboardInterrupt:
        goes_on = "; the same command goes on where it was" if options.run is grade else ""
        print(f"interrupted{goes_on}", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        return _not_possible(_missing_package(error))
    except (ValueError, OSError) as error:
        return _not_possible(str(error))


def start(options: argparse.Namespace) -> int:
    """Open JupyterLab at a notebook."""
    root = _root()
    found = sorted((root / "notebooks").glob(f"{options.notebook}*.ipynb"))
    if not found:
        there = ", ".join(path.stem for path in sorted((root / "notebooks").glob("*.ipynb"))) or "none"
        raise FileNotFoundError(f"no notebook {options.notebook!r} in {root / 'notebooks'}; there are: {there}")
    if find_spec("jupyterlab") is None:
        raise ModuleNotFoundError("jupyterlab", name="jupyterlab")
    # The file browser starts at the root, so that data/photos is in reach.
    command = [sys.executable, "-m", "jupyterlab", str(found[0]), f"--ServerApp.root_dir={root}"]
    if _is_root():  # in a container, where JupyterLab would refuse without being told
        command.append("--allow-root")
    return subprocess.call([*command, *options.further])


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def explain(options: argparse.Namespace) -> int:
    """Write a report on photos."""
    from tqdm.auto import tqdm

    from labutils import report

    _check_explain_options(options)
    if not options.out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {options.out.parent} to write {options.out.name} to")
    report.choose(options.methods)  # A wrong name is known before the network is built.
    paths = [report.find_photo(photo) for photo in options.photos]
    _check_photos(paths)
    network = _network(options)
    methods = report.choose(options.methods, network)
    classes = None if options.classes is None else [network.class_index(name) for name in options.classes]
    with tqdm(total=len(paths) * len(methods) * len(classes or [0]), unit="map", leave=False) as bar:
        explained = [report.explain_photo(network, path, methods, classes, options.layer, bar.update) for path in paths]
    options.out.write_text(report.render(network, explained, _settings(options, network)), encoding="utf-8")
    for photo in explained:
        best = ", ".join(f"{label} {probability:.0%}" for label, probability in photo.predictions[:3])
        print(f"{photo.title}: {best}")
    print(f"report: {options.out}")
    return DONE


def build(options: argparse.Namespace) -> int:
    """Make notebooks/ from solutions/, or check that it is what they give."""
    from labutils.course.build import build as build_notebooks

    root = _root()
    differing = build_notebooks(root, check=options.check)
    for path in differing:
        print(f"{'differs' if options.check else 'wrote'}: {path.relative_to(root)}")
    if not differing:
        print("notebooks/ is what solutions/ gives")
    return NOT_POSSIBLE if options.check and differing else DONE


def grade(options: argparse.Namespace) -> int:
    """Grade a folder of submissions."""
    from tqdm.auto import tqdm

    from labutils.course.grading import batch, course_notebook, submissions
    from labutils.course.grading.grader import Settings, available_isolation
    from labutils.course.grading.isolation import Limits

    root = options.course or _root()
    courses = course_notebook.load_all(root / "notebooks")
    chosen = _chosen_notebooks(options.notebooks, courses)
    found = submissions.find(options.submissions, list(courses), chosen)
    if options.out.resolve().is_relative_to(options.submissions.resolve()):
        raise ValueError(f"--out {options.out} lies among the submissions; take a folder beside them")
    if options.out.exists() and not options.out.is_dir():
        raise NotADirectoryError(f"--out {options.out} is a file; name a folder for the grades")
    options.out.mkdir(parents=True, exist_ok=True)
    batch.marks_by_hand(options.out)  # a mistake in the table is known before the long work
    limits = Limits(seconds=options.seconds, memory=round(options.memory * 2**30))
    settings = Settings(batch.seed_of(options.out, options.seed), limits)
    if options.dask is None:
        print(f"students' code runs with {available_isolation().words()}", file=sys.stderr)
    with tqdm(total=len(found.submissions), unit="notebook") as bar:
        graded = batch.grade_class(
            found.submissions,
            options.out,
            courses,
            settings,
            jobs=options.jobs,
            dask=options.dask,
            hidden=[options.submissions, options.out, root / "solutions"],
            progress=lambda done, total: bar.update(done - bar.n),
        )
    students = batch.write_all(options.out, graded, courses, found.notes)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    handed_in = sum(submission.path is not None for submission in found.submissions)
    print(f"{handed_in} notebooks of {len(students)} students: {options.out / 'overview.html'}")
    print(f"to look at: {sum(bool(student.odd) for student in students)} students (students.csv says why)")
    print(f"to mark by hand: {sum(student.open_thinks for student in students)} answers (think_tasks.csv)")
    return DONE


def list_weights(options: argparse.Namespace) -> int:
    """Show every weight file, and whether it is on this machine."""
    from labutils import weights

    for file in weights.files().values():
        state = "here" if weights.find(file.name) else "not here"
        print(f"{file.name:<22}{file.bytes / 1e6:>8.1f} MB  {state:<9} {file.licence:<28} {file.path}")
    return DONE


def fetch_weights(options: argparse.Namespace) -> int:
    """Download a weight file, unless it is here and intact."""
    from labutils import weights

    print(weights.fetch(options.name))
    return DONE


def verify_weights(options: argparse.Namespace) -> int:
    """Check size and digest: of one file, or of all that are on this machine."""
    from labutils import weights

    here = [file.name for file in weights.files().values() if file.path.exists() or not file.remote]
    damaged = False
    for name in [options.name] if options.name else here:
        try:
            print(f"intact: {name} ({weights.verify(name)})")
        except weights.WeightsError as error:
            damaged = True
            print(f"labutils: {error}", file=sys.stderr)
    return NOT_POSSIBLE if damaged else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="labutils", description="Why did this image classifier say that, and can the answer be trusted?"
    )
    parser.add_argument("--version", action="version", version=f"labutils {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_start, _add_explain, _add_build, _add_grade, _add_weights):
        add(commands)
    return parser


def _add_start(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "start", help="open JupyterLab at a notebook", description="Further options are handed to JupyterLab."
    )
    parser.add_argument("notebook", nargs="?", default="01", help="how its name begins (01)")
    parser.set_defaults(run=start)


def _add_explain(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "explain",
        help="write a report on photos: predictions and every method's map",
        epilog=EXPLAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="a photo file, or a sample photo by name (cat)")
    parser.add_argument(
        "--model",
        default="vgg16",
        metavar="M",
        help="vgg16 (the default), vit, or M.keras: another classifier, saved by Keras",
    )
    parser.add_argument("--weights", help="of --model vgg16 or vit: auto (the default), bundled, imagenet, or a file")
    parser.add_argument(
        "--preprocess",
        metavar="HOW",
        help="what --model M.keras needs: none (the default: values of 0 to 255), scale01, vit, a network of "
        "keras.applications such as vgg16 or mobilenet_v2, or module:function",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="names of M.keras's classes: one a line, or a JSON list"
    )
    parser.add_argument("--methods", type=_names, metavar="A,B", help="methods by name (all that suit the network)")
    parser.add_argument("--classes", type=_names, metavar="A,B", help="classes by name or number (the most probable)")
    parser.add_argument("--layer", help="the layer that class activation maps look at (the last one that counts)")
    parser.add_argument("-o", "--out", type=Path, default=Path("report.html"), help="the page to write (report.html)")
    parser.set_defaults(run=explain)


def _add_build(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("build", help="make the students' notebooks from the solutions")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if they differ")
    parser.set_defaults(run=build)


def _add_grade(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "grade",
        help="grade a folder of submissions",
        description="Reads SUBMISSIONS/<student>/<notebook>.ipynb. Writes grades.csv, students.csv, think_tasks.csv, "
        "overview.html and feedback/<student>.html. Stopped and started again, it goes on where it was.",
    )
    parser.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help="a folder with one folder a student")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the folder of the grades")
    parser.add_argument("--notebooks", nargs="+", metavar="NN", help="notebooks by number (all that were handed in)")
    parser.add_argument(
        "--seed", type=int, help="draws the cases that students have not seen (a secret one, kept in DIR/settings.json)"
    )
    parser.add_argument(
        "--jobs",
        type=_number(int, lambda jobs: jobs > 0, "above 0"),
        default=os.cpu_count() or 1,
        help="notebooks at once (the cores)",
    )
    parser.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler, whose workers then do the work")
    parser.add_argument(
        "--seconds",
        type=_number(float, lambda seconds: seconds > 0, "above 0"),
        default=60.0,
        help="longest time for one answer (60)",
        metavar="S",
    )
    parser.add_argument(
        "--memory",
        type=_number(float, lambda size: size >= 0.5, "0.5 or more"),
        default=4.0,
        help="most memory of one answer (4)",
        metavar="GB",
    )
    parser.add_argument("--course", type=Path, metavar="DIR", help="the folder of the course (this one)")
    parser.set_defaults(run=grade)


def _add_weights(commands: argparse._SubParsersAction) -> None:
    actions = commands.add_parser("weights", help="list, fetch or verify weight files").add_subparsers(
        title="actions", metavar="ACTION", required=True
    )
    actions.add_parser("list", help="every known file").set_defaults(run=list_weights)
    fetch = actions.add_parser("fetch", help="download a file")
    fetch.add_argument("name")
    fetch.set_defaults(run=fetch_weights)
    verify = actions.add_parser("verify", help="check size and digest")
    verify.add_argument("name", nargs="?", help="one file (all that are here)")
    verify.set_defaults(run=verify_weights)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("at least one name is needed")
    return names


def _number(kind: type, fits: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    """A parser of finite numbers that fit; ``wanted`` says which these are."""

    def parse(text: str) -> float:
        value = kind(text)
        if not (fits(value) and value < float("inf")):
            raise argparse.ArgumentTypeError(f"{text} is not {wanted}")
        return value

    parse.__name__ = "number"  # argparse names it in its message
    return parse


def _chosen_notebooks(wanted: Sequence[str] | None, courses: Iterable[str]) -> list[str] | None:
    """The full names of notebooks given by how they begin; None where none is given."""
    if wanted is None:
        return None
    courses = list(courses)
    chosen = [[name for name in courses if name.startswith(text.removesuffix(".ipynb"))] for text in wanted]
    for text, names in zip(wanted, chosen, strict=True):
        if len(names) != 1:
            raise ValueError(f"--notebooks {text}: the course has {', '.join(courses)}")
    return [name for names in chosen for name in names]


def _root() -> Path:
    """The folder of the course: the current one if it has notebooks or solutions, else the checkout of labutils."""
    checkout = Path(__file__).resolve().parents[1]
    for folder in (Path.cwd(), checkout):
        if (folder / "notebooks").is_dir() or (folder / "solutions").is_dir():
            return folder
    raise FileNotFoundError("there is no folder notebooks/ here; run this in the folder of the course")


def _check_explain_options(options: argparse.Namespace) -> None:
    from labutils import report

    built_in = options.model in report.BUILT_IN
    for name in ("preprocess", "labels"):
        if getattr(options, name) is not None and built_in:
            raise ValueError(f"--{name} goes with --model M.keras: {options.model} brings its own")
    if options.weights is not None and not built_in:
        raise ValueError(f"--weights goes with --model {' or '.join(report.BUILT_IN)}: {options.model} has its own")
    if not (built_in or Path(options.model).is_file()):
        raise FileNotFoundError(
            f"there is no model file {options.model}; --model is {', '.join(report.BUILT_IN)}, or a file saved by Keras"
        )


def _check_photos(paths: Sequence[Path]) -> None:
    """Read every photo once before the long work, so that a bad one is known at once, and all of them together."""
    from labutils import photos

    problems = []
    for path in paths:
        try:
            photos.load(path)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    if problems:
        raise ValueError(" | ".join(problems))


def _network(options: argparse.Namespace) -> report.Network:
    from labutils import report

    if options.model in report.BUILT_IN:
        return report.BUILT_IN[options.model](options.weights or "auto")
    if options.preprocess is None:
        print("no --preprocess given: the model gets pixel values of 0 to 255", file=sys.stderr)
    return report.saved_network(Path(options.model), options.preprocess, options.labels)


def _settings(options: argparse.Namespace, network: report.Network) -> dict[str, str]:
    from labutils import report

    given = [
        f"--{name}={value}" for name in ("model", "weights", "labels", "layer") if (value := getattr(options, name))
    ]
    if options.model not in report.BUILT_IN:
        given.append(f"--preprocess={network.preparation}")
    if options.classes:
        given.append(f"--classes={','.join(options.classes)}")
    if options.methods:
        given.append(f"--methods={','.join(options.methods)}")
    height, width = network.size
    return {
        "Command": shlex.join(["labutils", "explain", *options.photos, *given]),
        "Network": network.title,
        "Preprocessing": network.preparation,
        "Photos as the network sees them": f"{height} × {width} pixels, stretched",
        "Layer of the class activation maps": options.layer or _default_layer(network),
        "Made": datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
    }


def _default_layer(network: report.Network) -> str:
    return "the tokens that the last attention looks at" if network.has_attention else "the last one with feature maps"


def _missing_package(error: ModuleNotFoundError) -> str:
    extras = {
        "tensorflow": "cpu",
        "keras": "cpu",
        "jupyterlab": "lab",
        "nbgrader": "grading",
        "psutil": "grading",
        "distributed": "cluster",
    }
    extra = extras.get((error.name or "").partition(".")[0])
    return f"{error.name} is not installed: pip install 'labutils[{extra}]'" if extra else str(error)


def _not_possible(message: str) -> int:
    """Say it in one line; a message of several lines, as Keras's are, loses what follows the first."""
    print(f"labutils: {next(iter(message.splitlines()), 'failed')}", file=sys.stderr)
    return NOT_POSSIBLE
