"""The command line: ``labutils start | explain | build | grade | weights | doctor``.

Each command is a function that adds its parser and names the function that runs it; what a command needs is imported
when it runs. A user's mistake gives one line on stderr and no traceback.

Exit status: 0 done; 1 not possible (a message says why), or a check found a difference; 2 wrong usage; 3 done for some
photos and not for others; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote

from labutils import __version__

if TYPE_CHECKING:
    from labutils import report

DONE, NOT_POSSIBLE, WRONG_USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

EXPLAIN_EXAMPLES = """\
examples:
  labutils explain cat                        a sample photo, the bundled network
  labutils explain dog.jpg --classes cat,dog  the evidence for two classes
  labutils explain cat --model vit            what a Vision Transformer attends to
  labutils explain holiday -o holiday.html    a page for each photo of a folder, and one that leads to them
  labutils explain *.jpg --model mine.keras --preprocess mobilenet_v2 --labels names.txt
  labutils explain cat --json - --maps raw    numbers and raw maps for scripts, and no page

exit status:
  0 every photo explained; 1 none (a message says why); 2 wrong usage; 3 some photos could not be explained;
  130 interrupted: the photos finished so far are there
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
    except KeyboardInterrupt as stopped:
        goes_on = "; the same command goes on where it was" if options.run in (grade, fetch_weights) else str(stopped)
        print(f"interrupted{goes_on}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `| head` does. What is still unwritten goes nowhere, or Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_POSSIBLE
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
    # The address that it prints, for those whose browser it cannot open, leads to the notebook as well.
    command.append(f"--LabApp.default_url=/lab/tree/{quote(found[0].relative_to(root).as_posix())}")
    if _is_root():  # in a container, where JupyterLab would refuse without being told
        command.append("--allow-root")
    return subprocess.call([*command, *options.further])


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def explain(options: argparse.Namespace) -> int:
    """Write a report on photos."""
    numbers = sys.stdout if options.json == Path("-") else options.json
    # Of what else is said, by Keras too, nothing gets among the numbers.
    with redirect_stdout(sys.stderr) if numbers is sys.stdout else nullcontext():
        return _explain(options, numbers)


def _explain(options: argparse.Namespace, numbers: Path | TextIO | None) -> int:
    from labutils import report

    _check_explain_options(options)
    report.choose(options.methods)  # A wrong name is known before the network is built.
    names = report.find_photos(options.photos)
    targets = _targets(options, numbers, names)
    problems = _unreadable(names)
    if len(problems) == len(names):
        raise ValueError(" | ".join(problems.values()))
    network = _network(options)
    output = report.Output(
        network, list(names), targets, lambda photos: _settings(options, network, [names[photo] for photo in photos])
    )
    for path, problem in problems.items():
        output.fail(path, problem)
        print(f"labutils: {report.printable(problem)}", file=sys.stderr)
    failed = len(problems) + _explain_all(options, network, [path for path in names if path not in problems], output)
    if failed == len(names):
        return NOT_POSSIBLE
    for what, target in (("report", targets.page), ("numbers", options.json), ("raw maps", targets.maps)):
        if target:
            print(f"{what}: {target}")
    return SOME_FAILED if failed else DONE


def _explain_all(
    options: argparse.Namespace, network: report.Network, paths: Sequence[Path], output: report.Output
) -> int:
    """Explain photo after photo; returns how many could not be explained."""
    from tqdm.auto import tqdm

    from labutils import photos, report

    methods = report.choose(options.methods, network)
    classes = None if options.classes is None else [network.class_index(name) for name in options.classes]
    failed, done, complete = 0, 0, False
    layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    total = len(paths) * report.work(methods, classes, options.scores)
    with tqdm(total=total, leave=False, disable=None, bar_format=layout) as bar:

        def progress(what: str, share: float) -> None:
            bar.set_description_str(what, refresh=share == 0)  # the new work is named at once
            bar.update(share)

        try:
            for path in paths:
                try:
                    photo = report.explain_photo(
                        network,
                        path,
                        methods,
                        classes,
                        options.layer,
                        title=output.title(path),
                        scores=options.scores,
                        progress=progress,
                    )
                except (photos.PhotoError, ArithmeticError, OSError) as error:
                    failed += 1
                    output.fail(path, str(error))
                    bar.write(f"labutils: {report.printable(str(error))}", file=sys.stderr)
                    continue
                output.add(path, photo)
                done += 1
                best = ", ".join(f"{each.label} {each.probability:.0%}" for each in photo.predictions[:3])
                bar.write(f"{photo.title}: {best}")
            complete = True
        except KeyboardInterrupt:
            there = f"{done} of {len(paths)} photos finished and written" if done else "no photo was finished"
            raise KeyboardInterrupt(f"; {there}") from None
        finally:
            output.finish(complete)
    return failed


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
    courses = course_notebook.load_course(root)
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
    from dataclasses import asdict

    from labutils import weights

    known = {file: weights.state(file.name) for file in weights.files().values()}
    if options.json:
        rows = [{**asdict(file), "path": str(file.path), **state._asdict()} for file, state in known.items()]
        print(json.dumps(rows, indent=2))
        return DONE
    for remote, title in (
        (False, "Come with labutils:"),
        (True, "Fetched by labutils weights fetch NAME:"),
    ):
        print(title)
        for file, state in known.items():
            if file.remote == remote:
                print(f"  {file.name:<22}{file.size:>7}  {state.state:<11} {file.licence}")
                if state.detail:
                    goes_on = "; fetching it goes on from there" if state.state == "incomplete" else ""
                    print(f"{'':<33}{state.detail}{goes_on}")
    print(f"They lie in {weights.models_folder()} and, as Keras has them, in {weights.keras_cache()}.")
    return DONE


def fetch_weights(options: argparse.Namespace) -> int:
    """Download weight files, unless they are here and intact."""
    from labutils import weights

    known = weights.files()
    if not options.names:
        there = ", ".join(f"{file.name} ({file.size})" for file in known.values() if file.remote)
        print(f"labutils: which file? There are: {there}", file=sys.stderr)
        return WRONG_USAGE
    for name in options.names:
        weights.state(name)  # A wrong name is known before the first download.
    failed = False
    for name in options.names:
        try:
            print(weights.fetch(name))
        except weights.WeightsError as error:
            failed = True
            _not_possible(str(error))
    return NOT_POSSIBLE if failed else DONE


def verify_weights(options: argparse.Namespace) -> int:
    """Check size and digest: of the files that are named, or of all that are on this machine."""
    from labutils import weights

    known = weights.files()
    here = [file.name for file in known.values() if file.path.exists() or not file.remote]
    for name in options.names:
        weights.state(name)
    if not (options.names or here):
        print("no weight files are here")
    damaged = False
    for name in options.names or here:
        try:
            print(f"intact: {name} ({weights.verify(name)})")
        except weights.WeightsError as error:
            damaged = True
            _not_possible(str(error))
    return NOT_POSSIBLE if damaged else DONE


def doctor(options: argparse.Namespace) -> int:
    """Look for what keeps the course from running here, and say what mends it."""
    import platform
    from dataclasses import asdict

    from labutils.doctor import examine, summary

    found = {}
    if not options.json:
        _say(f"labutils {__version__} on {platform.platform()}; this takes some seconds")
    for title, finding in examine():
        if not options.json:
            said = {line for earlier in found.values() for line in earlier.mend}
            mend = ("as above",) if finding.mend and said.issuperset(finding.mend) else finding.mend
            _say(f"{_mark(finding.state)} {title}: {finding.says}", *(f"    {line}" for line in mend))
        found[title] = finding
    if options.json:
        rows = [{"check": title, **asdict(finding)} for title, finding in found.items()]
        print(json.dumps(rows, indent=2))
    else:
        _say(summary(list(found.values())))
    return NOT_POSSIBLE if any(finding.state == "problem" for finding in found.values()) else DONE


def _mark(state: str) -> str:
    """A tick, an exclamation mark or a cross, in signs that the output can show."""
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return {"ok": "+", "warning": "!", "problem": "x"}[state]
    return {"ok": "✓", "warning": "!", "problem": "✗"}[state]


def _say(*lines: str) -> None:
    """Print at once; what the output cannot show, as of a photo's name, is written as its code."""
    encoding = sys.stdout.encoding or "ascii"
    for line in lines:
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="labutils", description="Why did this image classifier say that, and can the answer be trusted?"
    )
    parser.add_argument("--version", action="version", version=f"labutils {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_start, _add_explain, _add_build, _add_grade, _add_weights, _add_doctor):
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
    parser.add_argument(
        "photos", nargs="+", metavar="PHOTO", help="a photo file, a folder of them, or a sample photo by name (cat)"
    )
    _add_network_options(parser)
    parser.add_argument("--methods", type=_names, metavar="A,B", help="methods by name (all that suit the network)")
    parser.add_argument("--classes", type=_names, metavar="A,B", help="classes by name or number (the most probable)")
    parser.add_argument("--layer", help="the layer that class activation maps look at (the last one that counts)")
    parser.add_argument("--no-scores", dest="scores", action="store_false", help="leave out the maps' scores: faster")
    parser.add_argument(
        "-o",
        "--out",
        type=_page_file,
        metavar="PAGE",
        help="the page to write (report.html), or a folder for it; of several photos, one that leads to the pages in the "
        "folder PAGE_files beside it",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the numbers for scripts (-: to standard output); without -o then no page",
    )
    parser.add_argument(
        "--maps", type=Path, metavar="DIR", help="write the raw maps, one .npz a photo; without -o then no page"
    )
    parser.set_defaults(run=explain)


def _add_network_options(parser: argparse.ArgumentParser) -> None:
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
        "--labels",
        type=Path,
        metavar="FILE",
        help="names of M.keras's classes: one a line, or a JSON list; two for a single output, that near 0 first",
    )
    parser.add_argument("--head", metavar="NAME", help="of an M.keras with several outputs, the one to explain")
    parser.add_argument(
        "--custom", metavar="MODULE", help="the Python module or file with the layers of your own in M.keras"
    )


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
    listing = actions.add_parser("list", help="every known file, and whether it is here")
    listing.add_argument("--json", action="store_true", help="for scripts")
    listing.set_defaults(run=list_weights)
    fetch = actions.add_parser(
        "fetch",
        help="download files",
        description="Downloads files; stopped and started again, it goes on where it was. LABUTILS_MIRROR, one or several "
        "addresses or folders, takes the place of the files' own servers.",
    )
    fetch.add_argument("names", nargs="*", metavar="NAME", help="as labutils weights list names it")
    fetch.set_defaults(run=fetch_weights)
    verify = actions.add_parser(
        "verify", help="check size and digest", description="Exit status 1 if one is damaged, or is named and not here."
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="one or several (all that are here)")
    verify.set_defaults(run=verify_weights)


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "doctor",
        help="look for what keeps the course from running here, with the line that mends it",
        description="Exit status 1 if there is a problem; warnings alone give 0.",
    )
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run=doctor)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("at least one name is needed")
    return names


def _page_file(text: str) -> Path:
    """The file of a page: itself, or index.html in a folder."""
    path = Path(text).expanduser()
    return path / "index.html" if path.is_dir() or text.endswith(("/", os.sep)) else path


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
    for name in ("preprocess", "labels", "head", "custom"):
        if getattr(options, name) is not None and built_in:
            raise ValueError(f"--{name} goes with --model M.keras: {options.model} brings its own")
    if options.weights is not None and not built_in:
        raise ValueError(f"--weights goes with --model {' or '.join(report.BUILT_IN)}: {options.model} has its own")
    if not (built_in or Path(options.model).is_file()):
        raise FileNotFoundError(
            f"there is no model file {options.model}; --model is {', '.join(report.BUILT_IN)}, or a file saved by Keras"
        )


def _targets(options: argparse.Namespace, numbers: Path | TextIO | None, names: Mapping[Path, str]) -> report.Targets:
    """What to write where; an error for what cannot be written, or would be written over what is read."""
    from labutils import report

    page = options.out or (None if options.json or options.maps else Path("report.html"))
    files = [path for path in (page, numbers) if isinstance(path, Path)]
    for path in [*files, *([options.maps] if options.maps else [])]:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"the folder {path.parent} may not be written to by you; name another")
    given = [path for name in ("model", "weights", "labels") if (path := getattr(options, name))]
    read = {Path(path).resolve() for path in (*given, *names)}
    for path in files:
        if path.resolve() in read:
            raise ValueError(f"{path} would be written over, and it is what is explained; name another file")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; name a file")
    if len(files) == 2 and files[0].resolve() == files[1].resolve():
        raise ValueError(f"page and numbers cannot both be written to {page}")
    folders = [options.maps, report.pages_folder(page) if page and len(names) > 1 else None]
    for folder in filter(None, folders):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file, and is to be a folder; move it, or name another")
    return report.Targets(page, numbers, options.maps)


def _unreadable(paths: Iterable[Path]) -> dict[Path, str]:
    """Read every photo once before the long work, so that the bad ones are known at once; what is wrong with each."""
    from labutils import photos

    problems = {}
    for path in paths:
        try:
            photos.load(path)
        except (ValueError, OSError) as error:
            problems[path] = str(error)
    return problems


def _network(options: argparse.Namespace) -> report.Network:
    from labutils import report

    if options.model in report.BUILT_IN:
        return report.BUILT_IN[options.model](options.weights or "auto")
    if options.preprocess is None:
        print(
            "no --preprocess given: the model gets pixel values of 0 to 255; if it was trained on 0 to 1, add "
            "--preprocess scale01",
            file=sys.stderr,
        )
    return report.saved_network(
        Path(options.model), options.preprocess, options.labels, head=options.head, custom=options.custom
    )


def _settings(options: argparse.Namespace, network: report.Network, photos: Sequence[str]) -> dict[str, str]:
    from labutils import report

    names = ("model", "weights", "labels", "head", "custom", "layer")
    given = [f"--{name}={value}" for name in names if (value := getattr(options, name))]
    if options.model not in report.BUILT_IN:
        given.append(f"--preprocess={network.preparation}")
    if options.classes:
        given.append(f"--classes={','.join(options.classes)}")
    if options.methods:
        given.append(f"--methods={','.join(options.methods)}")
    if not options.scores:
        given.append("--no-scores")
    height, width = network.size
    return {
        "Command": shlex.join(["labutils", "explain", *(photos if len(photos) == 1 else options.photos), *given]),
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
