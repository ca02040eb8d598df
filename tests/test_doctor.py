"""Each check on a machine where all is well, and on one with each trouble that it is there for."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from labutils import doctor, weights
from labutils.doctor import files, jupyter, machine, packages
from labutils.doctor.findings import Finding, listed, pip_line

ROOT = Path(doctor.__file__).parents[2]


def trouble(finding: Finding | None, state: str) -> str:
    """The finding as one text, once it is known to be of that kind and to say what mends it."""
    assert finding.state == state, finding
    assert finding.mend
    return "\n".join([finding.says, *finding.mend])


def well(finding: Finding | None) -> str:
    assert finding.state == "ok", finding
    assert not finding.mend
    return finding.says


KERAS = """
import json, os, sys, time
from unittest.mock import MagicMock
keras, tf, tape = sys.modules[__name__], MagicMock(), MagicMock()
__version__, tf.__version__ = "3.15", "2.20"
backend, ops = MagicMock(), MagicMock()
backend.backend.return_value = "tensorflow"
tf.GradientTape.return_value.__enter__.return_value = tape
tape.gradient.return_value.numpy.return_value.tolist.return_value = [[66.0, 88.0]]
convolution = ops.conv.return_value.numpy.return_value.ravel.return_value.tolist
convolution.return_value = [9.0] * 4
tf.config.list_physical_devices.return_value = []
sys.modules["tensorflow"] = tf
"""


@pytest.fixture
def keras(tmp_path, monkeypatch):
    """Writes a Keras for the process that computes: one that works, with these lines added."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(lines=""):
        (tmp_path / "keras.py").write_text(KERAS + lines)

    return write


class TestAll:
    def test_this_machine_has_no_problem(self, keras):
        keras()  # The real one takes seconds to start in a process of its own; `TestTensorFlow` runs it in this one.
        found = dict(doctor.examine())
        assert {title: finding for title, finding in found.items() if finding.state == "problem"} == {}
        assert {"Python", "Packages", "Kernel", "Widgets", "TensorFlow"} <= set(found)

    def test_check_that_fails_is_its_own_problem_and_the_rest_go_on(self, monkeypatch):
        def fails():
            raise RuntimeError("the disk is on fire\nand so on")

        def lacks():
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

        checks = {"A": fails, "B": lacks, "C": lambda: Finding("ok", "fine"), "TensorFlow": fails}
        monkeypatch.setattr(doctor, "CHECKS", checks)
        found = dict(doctor.examine())
        assert found["A"] == Finding("problem", "cannot be checked: RuntimeError: the disk is on fire")
        assert "numpy is not installed" in trouble(found["B"], "problem")
        assert found["C"].state == "ok"
        assert found["TensorFlow"].state == "problem"

    def test_starts_where_no_package_is_installed(self, empty_python):
        code = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from labutils.cli import main; sys.exit(main(['doctor']))"
        )
        # -S hides what is installed from it; PYTHONPATH hides Keras from the process that computes.
        done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=empty_python)
        assert done.returncode == 1, done.stderr
        assert done.stderr == ""
        said = done.stdout
        assert "Packages: " in said
        assert "Bundled weights: vgg16, vit: intact" in said
        assert "numpy is not installed" in said
        assert said.splitlines()[-1].endswith("run labutils doctor again.")

    @pytest.fixture
    def empty_python(self, tmp_path):
        (tmp_path / "keras.py").write_text("raise ModuleNotFoundError(\"No module named 'keras'\", name='keras')")
        # Without colours or encodings of the terminal that the tests run in.
        return {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONIOENCODING": "utf-8"}


class TestPython:
    def test_supported_versions_are_those_of_the_package(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        (oldest, too_new) = (".".join(map(str, version)) for version in (machine.OLDEST, machine.TOO_NEW))
        assert project["requires-python"] == f">={oldest},<{too_new}"

    def test_this_one(self):
        assert sys.executable in well(machine.python())

    @pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)])
    def test_unsupported(self, monkeypatch, version):
        monkeypatch.setattr(sys, "version_info", version)
        assert "labutils runs on 3.11 to 3.13" in trouble(machine.python(), "problem")

    def test_32_bits(self, monkeypatch):
        monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
        assert "32 bits" in trouble(machine.python(), "problem")

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("TERM_PROGRAM", "vscode", f"choose {sys.executable} as their kernel"),
            ("COLAB_RELEASE_TAG", "x", "on Colab files go"),
        ],
    )
    def test_places_that_differ(self, monkeypatch, name, value, says):
        monkeypatch.delenv("TERM_PROGRAM", raising=False)
        assert machine.place() is None
        monkeypatch.setenv(name, value)
        assert says in machine.place().says

    def test_on_colab_its_own_front_end_is_not_looked_for(self, monkeypatch):
        monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
        assert jupyter.kernel() is jupyter.widgets() is None


class TestPackages:
    @pytest.fixture
    def environment(self, tmp_path, monkeypatch):
        """Installs distributions into an environment that is empty but for labutils, which needs two, in a checkout."""
        site = tmp_path / "site-packages"

        def install(name, version, *requires):
            folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
            folder.mkdir(parents=True)
            lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
            (folder / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {line}" for line in requires)]))

        install(
            "labutils", "0.1.0", "numpy>=2", 'tensorflow-cpu>=2.18; extra == "cpu"', 'jupyterlab>=4.2; extra == "lab"'
        )
        install("numpy", "2.4.6")
        install("jupyterlab", "4.6.6", 'tornado>=6; sys_platform != "amiga"', 'wand; sys_platform == "amiga"')
        import packaging.requirements  # noqa: F401 - no longer found from here on, and so loaded before

        monkeypatch.setattr(sys, "path", [str(site)])
        monkeypatch.setattr(packages, "__file__", str(tmp_path / "labutils" / "doctor" / "packages.py"))
        return install

    @pytest.fixture
    def lock(self, tmp_path):
        lock = tmp_path / "requirements.lock"
        lock.write_text("numpy==2.4.6\ntensorflow-cpu==2.20.0\ntornado==6.5\nwand==1.0 ; sys_platform == 'amiga'\n")
        return lock

    def test_as_in_the_lock(self, environment, lock):
        environment("tensorflow-cpu", "2.20.0")
        environment("tornado", "6.5")
        assert well(packages.packages()) == "all as in requirements.lock"

    def test_without_a_checkout_what_labutils_needs_counts(self, environment):
        environment("tensorflow-cpu", "2.19.0")
        environment("tornado", "6.5")
        assert well(packages.packages()) == "all that labutils needs is here"

    def test_missing_and_old_ones_are_named_however_deep(self, environment, lock):
        environment("tensorflow-cpu", "2.17.0")
        said = trouble(packages.packages(), "problem")
        assert "tensorflow-cpu is 2.17.0, but labutils needs >=2.18, tornado is missing" in said
        assert str(lock) in said

    def test_without_a_checkout_the_line_names_labutils(self, environment):
        assert '"labutils[cpu,lab]"' in trouble(packages.packages(), "problem")

    def test_other_versions_than_the_locks_are_a_warning(self, environment, lock):
        environment("tensorflow-cpu", "2.20.0")
        environment("tornado", "6.4.1")
        lock.write_text(lock.read_text() + "nbval==0.11\n")
        said = trouble(packages.packages(), "warning")
        assert "other than in requirements.lock: tornado 6.4.1 (6.5 there), nbval is missing" in said

    @pytest.mark.parametrize("name", ["tensorflow", "tensorflow-macos"])
    def test_any_tensorflow_does(self, environment, name):
        environment(name, "2.20.0")
        environment("tornado", "6.5")
        well(packages.packages())

    def test_two_tensorflows_overwrite_each_other(self, environment):
        for name in ("tensorflow", "tensorflow-cpu"):
            environment(name, "2.20.0")
        environment("tornado", "6.5")
        assert "tensorflow and tensorflow-cpu are both installed" in trouble(packages.packages(), "warning")

    def test_labutils_itself(self, environment, tmp_path, lock):
        shutil.rmtree(tmp_path / "site-packages" / "labutils-0.1.0.dist-info")
        assert "--no-deps -e" in trouble(packages.packages(), "problem")

    def test_line_for_an_environment_without_pip(self, monkeypatch):
        monkeypatch.setattr("labutils.doctor.findings.find_spec", lambda name: None)
        monkeypatch.setattr(shutil, "which", lambda name: "/bin/uv")
        assert pip_line("install", "a b").startswith("uv pip install --python ")
        assert pip_line("install", "a b").endswith(' "a b"')
        monkeypatch.setattr(shutil, "which", lambda name: None)
        assert " -m ensurepip && " in pip_line("install", "x")

    def test_long_lists_are_cut(self):
        assert listed(list("abc"), 3) == "a, b, c"
        assert listed(list("abcde"), 3) == "a, b, c, and 2 more"


class TestMemoryAndDisk:
    @pytest.fixture
    def linux(self, tmp_path, monkeypatch):
        """A Linux without psutil, and with what is written into a folder as its /proc and /sys."""
        monkeypatch.setitem(sys.modules, "psutil", None)
        monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
        monkeypatch.setattr(machine, "CGROUP", tmp_path)
        (tmp_path / "meminfo").write_text(f"MemTotal: {16 << 20} kB\nMemFree: 100 kB\nMemAvailable: {8 << 20} kB\n")
        return tmp_path

    def test_enough(self, linux):
        assert well(machine.memory()) == "8.0 GB free"

    @pytest.mark.parametrize(("free", "state"), [(3, "warning"), (1, "problem")])
    def test_too_little(self, linux, free, state):
        (linux / "meminfo").write_text(f"MemAvailable: {free << 20} kB\n")
        assert f"{free}.0 GB free; the course needs about 4 GB" in trouble(machine.memory(), state)

    @pytest.mark.parametrize(
        ("limit", "used"),
        [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
    )
    def test_share_of_a_container(self, linux, limit, used):
        (linux / "memory").mkdir()
        (linux / limit).write_text(f"{2 << 30}\n")
        (linux / used).write_text(f"{1 << 30}\n")
        assert "1.0 GB free" in trouble(machine.memory(), "problem")

    def test_container_without_a_limit(self, linux):
        (linux / "memory.max").write_text("max\n")
        assert well(machine.memory()) == "8.0 GB free"

    def test_psutil_is_asked_where_it_is(self, linux, monkeypatch):
        fake = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=5 << 30))
        monkeypatch.setitem(sys.modules, "psutil", fake)
        assert well(machine.memory()) == "5.0 GB free"

    def test_where_nothing_tells(self, linux):
        (linux / "meminfo").unlink()
        assert "psutil" in trouble(machine.memory(), "warning")

    @pytest.mark.parametrize(("free", "state"), [(2**30, "warning"), (2**20, "problem")])
    def test_disk_that_is_full(self, monkeypatch, tmp_path, free, state):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "not" / "yet" / "there"))
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free if path == tmp_path else 2**40))
        assert "set KERAS_HOME" in trouble(machine.disk(), state)

    def test_disk_with_room(self, monkeypatch, tmp_path):
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**40))
        assert well(machine.disk()).startswith("1024.0 GB free")


class TestTensorFlow:
    def test_what_is_computed(self, capsys):
        exec(machine._COMPUTE, {})
        said = json.loads(capsys.readouterr().out)
        assert {name: said[name] for name in machine._RIGHT} == machine._RIGHT
        assert said["backend"] == "tensorflow"

    def test_right_result(self, keras):
        keras("print('a library greets')")
        assert well(machine.tensorflow()) == "2.20 with Keras 3.15 computes right, on the processor"

    def test_gpus_are_counted(self, keras):
        keras("tf.config.list_physical_devices.return_value = [1, 2]")
        assert well(machine.tensorflow()).endswith("computes right, 2 GPUs")

    @pytest.mark.parametrize(
        ("lines", "says", "mend"),
        [
            (
                "convolution.return_value = [8.0] * 4",
                "a wrong convolution: [8.0, 8.0, 8.0, 8.0], not",
                "--force-reinstall",
            ),
            ("backend.backend.return_value = 'torch'", "set to compute with torch", "KERAS_BACKEND=tensorflow"),
            ("import jax_is_not_here as jax", "set to compute with jax", "KERAS_BACKEND=tensorflow"),
            (
                "import nothing_of_this_name",
                "does not start: ModuleNotFoundError: No module named",
                "requirements.lock",
            ),
            ("raise ImportError('DLL load failed while importing _pywrap')", "a DLL that it needs", "VCRedist"),
            ("raise TypeError('Descriptors cannot be created')", "TypeError: Descriptors cannot", "--force-reinstall"),
            ("sys.exit(3)", "ended with exit status 3", "--force-reinstall"),
        ],
        ids=[
            "wrong result",
            "other backend",
            "other backend that is not here",
            "missing package",
            "missing DLL",
            "broken package",
            "silent end",
        ],
    )
    def test_trouble(self, keras, lines, says, mend):
        keras(lines)
        said = trouble(machine.tensorflow(), "problem")
        assert says in said
        assert mend in said

    @pytest.mark.skipif(os.name == "nt", reason="signals")
    @pytest.mark.parametrize(("signal", "says"), [("SIGILL", "instructions (AVX)"), ("SIGSEGV", "crashed (SIGSEGV)")])
    def test_crash_is_reported_and_survived(self, keras, signal, says):
        keras(f"import signal; os.kill(os.getpid(), signal.{signal})")
        assert says in trouble(machine.tensorflow(), "problem")

    def test_hang(self, keras, monkeypatch):
        monkeypatch.setattr(machine, "TENSORFLOW_SECONDS", 0.3)
        keras("time.sleep(60)")
        assert "no result within 0.3 s" in trouble(machine.tensorflow(), "problem")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A data folder with one bundled file and no photos, and an empty Keras cache, in the current folder."""
    (tmp_path / "data" / "models").mkdir(parents=True)
    (tmp_path / "data" / "photos").mkdir()
    (tmp_path / "data" / "models" / "a.h5").write_bytes(b"abc")
    entry = {"file": "a.h5", "sha256": weights.hashlib.sha256(b"abc").hexdigest(), "bytes": 3}
    manifest = json.dumps({"a": {**entry, "licence": "MIT", "origin": "a test"}})
    (tmp_path / "data" / "models" / "manifest.json").write_text(manifest)
    monkeypatch.setenv("LABUTILS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestWeights:
    def test_intact(self, course):
        assert well(files.bundled_weights()) == "a: intact"
        assert "none is needed" in well(files.fetched_weights())

    @pytest.mark.parametrize("content", [b"ab", b"abd", None], ids=["half", "altered", "missing"])
    def test_bundled_one_that_is_not(self, course, content):
        path = course / "data" / "models" / "a.h5"
        path.unlink() if content is None else path.write_bytes(content)
        assert f"copy data/models of the course to {path.parent}" in trouble(files.bundled_weights(), "problem")
        (course / ".git").mkdir()
        assert f'git -C "{course}" checkout -- data/models' in trouble(files.bundled_weights(), "problem")

    def test_no_bundled_ones(self, course, monkeypatch):
        (course / "data" / "models" / "manifest.json").unlink()
        assert "LABUTILS_DATA" in trouble(files.bundled_weights(), "problem")

    @pytest.fixture
    def fetched(self, course, monkeypatch):
        digest = "sha256:" + weights.hashlib.sha256(b"abc").hexdigest()
        monkeypatch.setattr(weights, "REMOTE", {"tiny": weights.Remote("http://x.invalid/tiny.h5", digest, 3, "MIT")})
        (course / "keras" / "models").mkdir(parents=True)
        return course / "keras" / "models" / "tiny.h5"

    def test_fetched_one(self, fetched):
        fetched.write_bytes(b"abc")
        assert well(files.fetched_weights()) == "tiny: intact"

    @pytest.mark.parametrize(
        ("suffix", "content", "says"),
        [
            ("", b"abd", "tiny is damaged"),
            ("", b"ab", "tiny is damaged"),
            (".part", b"ab", "tiny is incomplete (0 kB of 0 kB are here)"),
        ],
        ids=["altered", "half", "under way"],
    )
    def test_fetched_one_that_is_not_intact_is_a_warning(self, fetched, suffix, content, says):
        fetched.with_name(fetched.name + suffix).write_bytes(content)
        said = trouble(files.fetched_weights(), "warning")
        assert says in said
        assert "labutils weights fetch tiny" in said


class TestPhotosAndFolders:
    def test_none_yet(self, course):
        (course / "data" / "photos" / "README.md").touch()
        assert "the notebooks take sample photos" in well(files.own_photos())

    def test_readable_ones(self, course):
        for name in ("a.png", "b.jpg"):
            Image.new("RGB", (20, 30)).save(course / "data" / "photos" / name)
        assert well(files.own_photos()).startswith("2 in ")

    def test_each_bad_one_is_named_with_its_reason(self, course):
        folder = course / "data" / "photos"
        Image.new("RGB", (20, 30)).save(folder / "good.png")
        (folder / "empty.jpg").touch()
        (folder / "half.png").write_bytes((folder / "good.png").read_bytes()[:40])
        (folder / "album").mkdir()
        said = trouble(files.own_photos(), "warning")
        assert "3 of 4 in" in said
        assert "empty.jpg: is empty" in said
        assert "half.png: " in said
        assert "album: is a folder" in said

    def test_camera_roll_is_not_read_to_its_end(self, course, monkeypatch):
        monkeypatch.setattr(files, "MOST_PHOTOS", 1)
        for name in ("a.png", "b.png"):
            Image.new("RGB", (20, 30)).save(course / "data" / "photos" / name)
        assert well(files.own_photos()).startswith("the first 1 of 2 in ")

    def test_samples(self, monkeypatch):
        assert "cat, coffee" in well(files.sample_photos())
        monkeypatch.setattr("labutils.photos.find_spec", lambda name: None)
        assert "comes with scikit-image, which is not installed" in trouble(files.sample_photos(), "problem")

    def test_folders_that_can_be_written(self, course):
        assert str(course / "data" / "photos") in well(files.folders())
        assert list((course / "data" / "photos").iterdir()) == []

    def test_no_folder_for_photos(self, course):
        (course / "data" / "photos").rmdir()
        assert "mkdir" in trouble(files.folders(), "warning")
        assert files.own_photos() is None

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
    def test_folder_that_cannot_be_written(self, course, monkeypatch):
        monkeypatch.chdir("/proc/self")
        assert "cannot be written" in trouble(files.folders(), "problem")


class TestJupyter:
    @pytest.fixture
    def shared(self, tmp_path, monkeypatch):
        """A folder of Jupyter's that comes before those of this environment."""
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
        return tmp_path

    @pytest.fixture
    def kernel_of(self, shared):
        """Installs a kernel python3 that starts the given program."""

        def install(text):
            (shared / "kernels" / "python3").mkdir(parents=True)
            (shared / "kernels" / "python3" / "kernel.json").write_text(text)

        return install

    def test_this_python(self):
        assert "notebooks run in this Python" in well(jupyter.kernel())

    @pytest.mark.parametrize("program", [sys.executable, "python", "python3"])
    def test_names_of_this_python(self, kernel_of, program):
        kernel_of(
            json.dumps({"argv": [program, "-m", "ipykernel_launcher"], "display_name": "x", "language": "python"})
        )
        well(jupyter.kernel())

    def test_kernel_of_another_environment_with_the_same_python_behind_it(self, kernel_of, tmp_path):
        other = tmp_path / "other" / "bin" / "python"
        other.parent.mkdir(parents=True)
        other.symlink_to(sys.executable)
        kernel_of(json.dumps({"argv": [str(other)], "display_name": "x", "language": "python"}))
        said = trouble(jupyter.kernel(), "problem")
        assert f"would run in another Python, {other}" in said
        assert "JUPYTER_PATH" in said

    def test_kernel_of_another_environment_in_a_place_of_jupyters(self, kernel_of, shared, monkeypatch):
        monkeypatch.delenv("JUPYTER_PATH")
        monkeypatch.setattr("jupyter_core.paths.ENV_JUPYTER_PATH", [str(shared)])
        monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
        kernel_of(json.dumps({"argv": ["/opt/old/bin/python"], "display_name": "x", "language": "python"}))
        assert "-m ipykernel install --sys-prefix --name python3" in trouble(jupyter.kernel(), "problem")

    @pytest.mark.parametrize("text", ["{", "[]", '{"argv": []}'])
    def test_kernel_that_cannot_be_read(self, kernel_of, text):
        kernel_of(text)
        assert "cannot be read" in trouble(jupyter.kernel(), "problem")

    def test_front_ends(self):
        assert "anywidget" in well(jupyter.widgets())

    def test_front_end_that_is_not_there(self, tmp_path, monkeypatch):
        for places in ("ENV_JUPYTER_PATH", "SYSTEM_JUPYTER_PATH"):
            monkeypatch.setattr(f"jupyter_core.paths.{places}", [str(tmp_path)])
        monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
        said = trouble(jupyter.widgets(), "problem")
        assert "does not find the front end @jupyter-widgets/jupyterlab-manager" in said
        assert "--force-reinstall --no-deps jupyterlab_widgets==" in said

    @pytest.mark.parametrize("entry", ["anywidget", "anywidget:plugin"])
    def test_front_end_that_is_disabled(self, tmp_path, monkeypatch, entry):
        (tmp_path / "labconfig").mkdir()
        (tmp_path / "labconfig" / "page_config.json").write_text(json.dumps({"disabledExtensions": {entry: True}}))
        monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(tmp_path))
        assert "labextension enable anywidget" in trouble(jupyter.widgets(), "problem")

    def test_front_end_of_another_version_that_comes_first(self, shared):
        folder = shared / "labextensions" / "anywidget"
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps({"name": "anywidget", "version": "0.1", "jupyterlab": {}}))
        said = trouble(jupyter.widgets(), "problem")
        assert f"loads version 0.1 of anywidget, from {folder}" in said

    def test_extension_that_cannot_be_read(self, shared):
        folder = shared / "labextensions" / "broken"
        folder.mkdir(parents=True)
        (folder / "package.json").write_text("{")
        finding = jupyter.widgets()
        assert finding.state == "problem"
        assert str(shared / "labextensions") in finding.says
