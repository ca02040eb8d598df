"""The house itself: the same pins everywhere, no addresses, no machine paths, a light import."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def lock_lines() -> list[str]:
    return [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.strip()]


def test_the_lock_holds_exact_pins_and_nothing_else():
    pin = re.compile(r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+( ; .+)?$")
    assert [line for line in lock_lines() if not pin.match(line)] == []
    assert len(lock_lines()) > 50


def test_environment_yml_has_the_pins_of_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip_section,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip_section == lock_lines()


def test_every_package_of_pyproject_is_pinned():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        line for extra in ("cpu", "lab", "grading", "dev") for line in project["optional-dependencies"][extra]
    ]
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in wanted}
    pinned = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in lock_lines()}
    assert names - pinned == set()


def test_a_laptop_gets_no_cuda_build():
    assert not [line for line in lock_lines() if line.startswith(("nvidia-", "tensorflow[and-cuda]"))]
    (plain,) = [line for line in lock_lines() if line.startswith("tensorflow==")]
    from packaging.requirements import Requirement

    for platform in (
        {"sys_platform": "linux", "platform_machine": "x86_64"},
        {"sys_platform": "win32", "platform_machine": "AMD64"},
    ):
        assert not Requirement(plain).marker.evaluate(platform)


def test_no_file_names_a_machine_path_or_a_package_address():
    # Put together here, so that this file does not match itself.
    forbidden = re.compile(
        "|".join(["/" + "work/", "/" + "root/", "index" + "-url ", r"pypi\." + "org", "files.python" + "hosted"])
    )
    found = []
    for path in tracked_files():
        if path.suffix in {".h5", ".png", ".jpg"}:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if forbidden.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_the_readme_has_the_three_lines_that_make_lab_runs():
    makefile, readme = (ROOT / "Makefile").read_text(), (ROOT / "README.md").read_text()
    for command in ("-m venv", "pip install -r requirements.lock", "pip install --no-deps -e ."):
        assert (
            command.replace("install -r", "install --quiet -r") in makefile
            or command.replace("install --no-deps", "install --quiet --no-deps") in makefile
            or command in makefile
        )
        assert command in readme, f"README.md lacks the line with {command!r}"


def test_the_bundled_weights_are_light():
    from labutils import weights

    models = ROOT / "data" / "models"
    assert sum(path.stat().st_size for path in models.glob("*.h5")) < 25_000_000
    assert weights.find("vgg16").stat().st_size < 16_000_000
