"""The command line: what it does, what it says when it cannot, and its exit status."""

import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from labutils import cli, doctor, weights
from labutils.cli import main
from labutils.doctor import Finding


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(here):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential([keras.Input((16, 16, 3)), *layers, keras.layers.Dense(3, "softmax")]).save(here / "m.keras")
    return "m.keras"


@pytest.fixture
def photo(here):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype="uint8")).save(here / "photo.png")
    return "photo.png"


def refused(capsys, *arguments) -> str:
    """The one line on stderr of a command that was not possible."""
    assert main(arguments) == cli.NOT_POSSIBLE
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "Traceback" not in message
    return message.removeprefix("labutils: ").rstrip("\n")


class TestUsage:
    @pytest.mark.parametrize("arguments", [[], ["grade", "x"], ["explain"], ["build", "--chek"], ["weights"]])
    def test_wrong_usage(self, capsys, arguments):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == cli.WRONG_USAGE
        assert "usage: labutils" in capsys.readouterr().err

    def test_only_what_works_is_offered(self, capsys):
        with pytest.raises(SystemExit) as stopped:
            main(["--help"])
        assert stopped.value.code == 0
        offered = capsys.readouterr().out
        assert all(command in offered for command in ("start", "explain", "build", "grade", "weights", "doctor"))

    def test_interrupt(self, monkeypatch, capsys):
        def interrupted(name):
            raise KeyboardInterrupt

        monkeypatch.setattr(weights, "fetch", interrupted)
        assert main(["weights", "fetch", "vgg16"]) == cli.INTERRUPTED
        assert capsys.readouterr().err == "interrupted; the same command goes on where it was\n"

    def test_as_a_module(self):
        done = subprocess.run([sys.executable, "-m", "labutils", "--version"], capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stdout.startswith("labutils ")

    def test_missing_package_says_what_to_install(self, monkeypatch, capsys):
        def fetch(name):
            raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

        monkeypatch.setattr(weights, "fetch", fetch)
        assert (
            refused(capsys, "weights", "fetch", "vgg16") == "tensorflow is not installed: pip install 'labutils[cpu]'"
        )


class TestExplain:
    def test_sample_photo_on_the_bundled_network(self, here, capsys):
        assert main(["explain", "cat", "--methods", "grad_cam,saliency", "--no-scores"]) == cli.DONE
        page = (here / "report.html").read_text(encoding="utf-8")
        assert "Grad-CAM" in page
        assert "Saliency" in page
        assert "SmoothGrad" not in page
        said = capsys.readouterr().out.splitlines()
        assert said[-2].startswith("chelsea.png: cat ")
        assert said[-1] == "report: report.html"

    def test_own_model_with_everything_given(self, here, model, photo):
        (here / "names.txt").write_text("ant\nbee\ncow\n")
        arguments = ["--preprocess", "scale01", "--labels", "names.txt", "--methods", "grad-cam", "--classes", "bee,2"]
        assert main(["explain", photo, "--model", model, *arguments, "-o", "mine.html"]) == cli.DONE
        page = (here / "mine.html").read_text(encoding="utf-8")
        assert "Why “bee”" in page
        assert "Why “cow”" in page
        assert page.count("Control: pixels at random") == 2
        assert "--preprocess=scale01" in page

    @pytest.fixture
    def small_vit(self, here):
        """A ViT of five classes as ``vit.weights.h5`` with its sidecar."""
        from labutils.vit import Architecture, build_network

        sizes = {"patch": 32, "width": 8, "depth": 2, "heads": 2, "hidden": 8}
        classes = [[f"n{index:08}", f"thing_{index}"] for index in range(5)]
        keras.utils.set_random_seed(0)
        build_network(Architecture(outputs=5, **sizes)).save_weights(here / "vit.weights.h5")
        (here / "vit.json").write_text(json.dumps({"network": "vit", "stem": [], "classes": classes, **sizes}))
        return "vit.weights.h5"

    def test_vit(self, here, small_vit, photo):
        methods = ["--methods", "attention_rollout,grad_cam", "--classes", "thing 3", "--no-scores"]
        assert main(["explain", photo, "--model", "vit", "--weights", small_vit, *methods]) == cli.DONE
        page = (here / "report.html").read_text(encoding="utf-8")
        for text in (
            "ViT, weights from vit.weights.h5",
            "Attention rollout",
            "Why “thing 3”",
            "the tokens that the last attention looks at",
            "--model=vit --weights=vit.weights.h5",
        ):
            assert text in page

    def test_vgg16_by_name_is_the_default(self, here, photo, capsys):
        pages = []
        for model in ([], ["--model", "vgg16", "--weights", "bundled"]):
            assert main(["explain", photo, *model, "--methods", "grad_cam", "--no-scores"]) == cli.DONE
            pages.append(capsys.readouterr().out.splitlines()[-2])
        assert pages[0] == pages[1]

    def test_own_model_without_preprocessing_is_told(self, here, model, photo, capsys):
        assert main(["explain", photo, "--model", model, "--methods", "saliency"]) == cli.DONE
        assert "no --preprocess given: the model gets pixel values of 0 to 255" in capsys.readouterr().err

    def test_command_on_the_page_makes_the_same_maps_again(self, here, model, photo):
        import html
        import re
        import shlex

        pictures = []
        command = [
            "explain",
            photo,
            "--model",
            model,
            "--preprocess",
            "scale01",
            "--methods",
            "saliency",
            "--no-scores",
        ]
        for _ in range(2):
            assert main(command) == cli.DONE
            page = (here / "report.html").read_text(encoding="utf-8")
            pictures.append(re.findall(r'src="(data:image/[^"]*)"', page))
            command = shlex.split(html.unescape(re.search(r"<code>(.*?)</code>", page)[1]))[1:]
        assert pictures[0] == pictures[1]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["no.jpg"], "There is no no.jpg"),
            (["photo.png", "--methods", "gradcam"], "no method 'gradcam'"),
            (["photo.png", "--model", "no.keras"], "there is no model file no.keras"),
            (["photo.png", "--model", "m.keras", "--preprocess", "vgg"], "no preprocessing 'vgg'"),
            (["photo.png", "--model", "m.keras", "--classes", "7"], "class 7 is out of range"),
            (["photo.png", "--model", "photo.png"], "is not a model that Keras can load"),
            (["photo.png", "--custom", "own.py"], "--custom goes with --model M.keras: vgg16 brings its own"),
            (["photo.png", "--model", "vti"], "there is no model file vti; --model is vgg16, vit, or a file"),
            (["photo.png", "--labels", "x.txt"], "--labels goes with --model M.keras: vgg16 brings its own"),
            (["photo.png", "--model", "vit", "--preprocess", "none"], "--preprocess goes with --model M.keras: vit"),
            (["photo.png", "--model", "m.keras", "--weights", "bundled"], "--weights goes with --model vgg16 or vit"),
            (["photo.png", "--methods", "saliency,attention_map"], "attention_map reads attention, and VGG16, bundled"),
            (["photo.png", "--weights", "imagnet"], "weights must be 'auto', 'bundled'"),
            (["photo.png", "-o", "nowhere/report.html"], "there is no folder nowhere"),
            (["no.jpg", "neither.jpg"], "no.jpg.* | .*neither.jpg"),
        ],
    )
    def test_not_possible(self, here, model, photo, capsys, arguments, message):
        # A model without --preprocess would add its own line.
        if "--model" in arguments and "--preprocess" not in arguments and "vit" not in arguments:
            arguments = [*arguments, "--preprocess", "none"]
        assert message.split(".* | .*")[0] in refused(capsys, "explain", *arguments)
        assert not (here / "report.html").exists()

    def test_all_bad_photos_are_named_at_once(self, here, capsys):
        line = refused(capsys, "explain", "no.jpg", "neither.jpg")
        assert "no.jpg" in line
        assert "neither.jpg" in line


class TestStart:
    @pytest.fixture
    def started(self, monkeypatch):
        commands = []
        monkeypatch.setattr(subprocess, "call", lambda command: commands.append(command) or 0)
        return commands

    def test_root_is_let_in_as_containers_need(self, here, started, monkeypatch):
        (here / "notebooks").mkdir()
        (here / "notebooks" / "01_setup.ipynb").touch()
        for is_root in (True, False):
            monkeypatch.setattr(cli, "_is_root", lambda is_root=is_root: is_root)
            assert main(["start"]) == cli.DONE
        assert ["--allow-root" in command for command in started] == [True, False]

    def test_opens_the_first_notebook_with_the_course_as_its_root(self, here, started, monkeypatch):
        monkeypatch.setattr(cli, "_is_root", lambda: False)
        (here / "notebooks").mkdir()
        for name in ("01_setup.ipynb", "02_maps.ipynb"):
            (here / "notebooks" / name).touch()
        assert main(["start"]) == cli.DONE
        assert main(["start", "02", "--no-browser"]) == cli.DONE
        root, address = f"--ServerApp.root_dir={here}", "--LabApp.default_url=/lab/tree/notebooks"
        jupyter = [sys.executable, "-m", "jupyterlab"]
        assert started[0] == [
            *jupyter,
            str(here / "notebooks" / "01_setup.ipynb"),
            root,
            f"{address}/01_setup.ipynb",
        ]
        assert started[1] == [
            *jupyter,
            str(here / "notebooks" / "02_maps.ipynb"),
            root,
            f"{address}/02_maps.ipynb",
            "--no-browser",
        ]

    def test_unknown_notebook_lists_the_known(self, here, started, capsys):
        (here / "notebooks").mkdir()
        (here / "notebooks" / "01_setup.ipynb").touch()
        assert "there are: 01_setup" in refused(capsys, "start", "09")
        assert started == []


class TestBuild:
    @pytest.fixture
    def builds(self, here, monkeypatch):
        (here / "solutions").mkdir()
        calls = []

        def build(root, check=False):
            calls.append((root, check))
            return [root / "notebooks" / "01_x.ipynb"] if len(calls) == 1 else []

        monkeypatch.setattr("labutils.course.build.build", build)
        return calls

    def test_check_fails_while_something_differs(self, here, builds, capsys):
        assert main(["build", "--check"]) == cli.NOT_POSSIBLE
        assert "differs: notebooks/01_x.ipynb" in capsys.readouterr().out
        assert main(["build", "--check"]) == cli.DONE
        assert builds == [(here, True), (here, True)]

    def test_build_writes(self, here, builds, capsys):
        assert main(["build"]) == cli.DONE
        assert "wrote: notebooks/01_x.ipynb" in capsys.readouterr().out
        assert builds == [(here, False)]


class TestWeights:
    @pytest.fixture
    def bundled(self, here, monkeypatch):
        (here / "models").mkdir()
        entry = {"file": "a.h5", "sha256": weights.hashlib.sha256(b"abc").hexdigest(), "bytes": 3}
        entry |= {"licence": "MIT", "origin": "a test"}
        (here / "models" / "manifest.json").write_text(json.dumps({"a": entry}))
        (here / "models" / "a.h5").write_bytes(b"abc")
        monkeypatch.setenv("LABUTILS_DATA", str(here))
        monkeypatch.setenv("KERAS_HOME", str(here / "keras"))
        monkeypatch.setenv("LABUTILS_MIRROR", "http://127.0.0.1:9")
        return here / "models" / "a.h5"

    def test_list(self, bundled, capsys):
        part = bundled.parents[1] / "keras" / "models" / f"{weights.REMOTE['vgg16-imagenet'].file}.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(bytes(3 * 2**20))
        assert main(["weights", "list"]) == cli.DONE
        said = capsys.readouterr().out
        lines = {line.split()[0]: line for line in said.splitlines()}
        assert lines["a"].split()[1:5] == ["0", "kB", "here", "MIT"]
        assert " 528 MB  incomplete " in lines["vgg16-imagenet"]
        assert "3 MB of 528 MB are here; fetching it goes on from there" in said
        assert " not here " in lines["imagenet-classes"]

    def test_list_for_scripts(self, bundled, capsys):
        bundled.write_bytes(b"ab")
        assert main(["weights", "list", "--json"]) == cli.DONE
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["a"]["state"] == "damaged"
        assert rows["a"]["path"] == str(bundled)
        assert rows["vgg16-imagenet"]["state"] == "not here"
        assert rows["vgg16-imagenet"]["bytes"] == 553_467_096

    def test_fetch_prints_the_paths(self, bundled, capsys):
        assert main(["weights", "fetch", "a", "a"]) == cli.DONE
        assert capsys.readouterr().out == f"{bundled}\n{bundled}\n"

    def test_fetch_goes_on_with_the_others(self, bundled, capsys):
        assert main(["weights", "fetch", "imagenet-classes", "a"]) == cli.NOT_POSSIBLE
        said = capsys.readouterr()
        assert said.out == f"{bundled}\n"
        assert said.err.startswith("labutils: cannot download imagenet_class_index.json (35 kB)")
        assert said.err.count("\n") == 1

    def test_fetch_without_a_name_says_what_there_is(self, bundled, capsys):
        assert main(["weights", "fetch"]) == cli.WRONG_USAGE
        assert "which file? There are: vgg16-imagenet (528 MB), " in capsys.readouterr().err

    @pytest.mark.parametrize("action", ["fetch", "verify"])
    def test_unknown_name_is_known_before_anything_is_done(self, bundled, capsys, action):
        assert "no weight file is called 'b'; there are: a, vgg16-imagenet" in refused(
            capsys, "weights", action, "a", "b"
        )

    def test_verify(self, bundled, capsys):
        assert main(["weights", "verify"]) == cli.DONE
        assert capsys.readouterr().out == f"intact: a ({bundled})\n"
        bundled.write_bytes(b"abd")
        assert "a.h5 is damaged" in refused(capsys, "weights", "verify")
        assert "a.h5 is damaged" in refused(capsys, "weights", "verify", "a")

    def test_verify_what_is_not_there(self, bundled, capsys):
        assert main(["weights", "verify", "vgg16-imagenet", "a"]) == cli.NOT_POSSIBLE
        said = capsys.readouterr()
        assert "vgg16-imagenet is not on this machine" in said.err
        assert "intact: a" in said.out
        bundled.unlink()
        assert "a is not on this machine" in refused(capsys, "weights", "verify")


class TestDoctor:
    @pytest.fixture
    def checks(self, monkeypatch):
        """Three checks, one of each kind."""
        checks = {
            "Paint": lambda: Finding("ok", "is dry"),
            "Roof": lambda: Finding("warning", "leaks", ("buy a bucket", "buy a roof")),
            "TensorFlow": lambda: Finding("problem", "is out for lunch", ("wait",)),
        }
        monkeypatch.setattr(doctor, "CHECKS", checks)
        return checks

    def test_a_line_for_each_check_and_those_that_mend_below(self, checks, capsys):
        assert main(["doctor"]) == cli.NOT_POSSIBLE
        assert capsys.readouterr().out.splitlines()[1:] == [
            "✓ Paint: is dry",
            "! Roof: leaks",
            "    buy a bucket",
            "    buy a roof",
            "✗ TensorFlow: is out for lunch",
            "    wait",
            "1 problem and 1 warning: mend them with the lines below them, then run labutils doctor again.",
        ]

    def test_lines_that_mend_several_things_are_said_once(self, checks, capsys):
        checks["TensorFlow"] = checks["Roof"]
        main(["doctor"])
        assert capsys.readouterr().out.splitlines()[3:7] == [
            "    buy a bucket",
            "    buy a roof",
            "! TensorFlow: leaks",
            "    as above",
        ]

    def test_warnings_are_no_failure(self, checks, capsys):
        checks["TensorFlow"] = lambda: None
        assert main(["doctor"]) == cli.DONE
        assert capsys.readouterr().out.endswith(
            "! Roof: leaks\n    buy a bucket\n    buy a roof\nThe course runs here; 1 warning to look at.\n"
        )

    def test_all_well(self, checks, capsys):
        checks |= {"Roof": lambda: None, "TensorFlow": lambda: Finding("ok", "computes")}
        assert main(["doctor"]) == cli.DONE
        assert capsys.readouterr().out.endswith("All is well: labutils start opens the course.\n")

    def test_for_scripts(self, checks, capsys):
        assert main(["doctor", "--json"]) == cli.NOT_POSSIBLE
        assert json.loads(capsys.readouterr().out) == [
            {"check": "Paint", "state": "ok", "says": "is dry", "mend": []},
            {"check": "Roof", "state": "warning", "says": "leaks", "mend": ["buy a bucket", "buy a roof"]},
            {"check": "TensorFlow", "state": "problem", "says": "is out for lunch", "mend": ["wait"]},
        ]

    def test_terminal_that_knows_few_signs(self, checks, monkeypatch):
        checks["Paint"] = lambda: Finding("ok", "Foto größer als 貓.jpg")
        terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
        monkeypatch.setattr(sys, "stdout", terminal)
        main(["doctor"])
        said = terminal.buffer.getvalue().decode("cp1252").splitlines()
        assert said[1:3] == ["+ Paint: Foto größer als \\u8c93.jpg", "! Roof: leaks"]
        assert "x TensorFlow: is out for lunch" in said
