"""Jupyter: notebooks get this Python as their kernel, and JupyterLab has the widgets' front ends."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Any

from labutils.doctor.findings import Finding, ok, pip_line, problem, python_line
from labutils.doctor.packages import install_line, installed, on_colab, unmet_requirements

FRONT_ENDS = {"jupyterlab_widgets": "@jupyter-widgets/jupyterlab-manager", "anywidget": "anywidget"}
"""Distributions that bring a front end of widgets, and what JupyterLab calls it."""


def kernel() -> Finding | None:
    """``python3``, which the notebooks ask for, is this Python and not that of another environment."""
    if on_colab():
        return None
    import ipykernel
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_core.paths import prefer_environment_over_user

    mend = python_line(
        "-m",
        "ipykernel",
        "install",
        "--sys-prefix" if prefer_environment_over_user() else "--user",
        "--name",
        "python3",
    )
    try:
        spec = KernelSpecManager().get_kernel_spec("python3")
        program = spec.argv[0]
    except Exception as error:  # whatever a kernel.json that is broken makes Jupyter raise
        return problem(f"the kernel python3, which the notebooks ask for, cannot be read: {error!r}", mend)
    if not _is_this_python(program):
        if _named_by_environment(spec.resource_dir):
            mend = f"remove {spec.resource_dir}, which the environment variable JUPYTER_PATH leads to"
        return problem(f"notebooks would run in another Python, {program} (by {spec.resource_dir})", mend)
    return ok(f"notebooks run in this Python, with ipykernel {ipykernel.__version__}")


def _is_this_python(program: str) -> bool:
    """Whether Jupyter would start this Python. Environments are told apart by folders: their programs are all links."""
    major, minor = sys.version_info[:2]
    if program in ("python", f"python{major}", f"python{major}.{minor}"):
        return True  # jupyter_client puts its own Python in the place of these.
    return os.path.realpath(os.path.dirname(program)) == os.path.realpath(os.path.dirname(sys.executable))


def _named_by_environment(folder: str) -> bool:
    given = [Path(part) for part in os.environ.get("JUPYTER_PATH", "").split(os.pathsep) if part]
    return any(Path(folder).is_relative_to(part) for part in given)


def widgets() -> Finding | None:
    """JupyterLab is here and loads the front ends that the installed widgets need."""
    if on_colab():
        return None
    from jupyter_core.paths import jupyter_path
    from jupyterlab.commands import get_app_dir
    from jupyterlab_server.config import get_federated_extensions, get_page_config

    folders = jupyter_path("labextensions")
    try:
        found = get_federated_extensions(folders)
        disabled = get_page_config(folders, os.path.join(get_app_dir(), "settings"))["disabledExtensions"]
    except (OSError, ValueError, KeyError) as error:
        return problem(f"JupyterLab cannot read its extensions ({error}), in one of: {', '.join(folders)}")
    unmet = [complaint for name in ("ipywidgets", "anywidget") for complaint in unmet_requirements(name, set())]
    if unmet:
        return problem(", ".join(unmet), install_line())
    for distribution, name in FRONT_ENDS.items():
        if trouble := _front_end_trouble(distribution, name, found.get(name), disabled):
            return trouble
    versions = [f"{name} {installed(name)}" for name in ("jupyterlab", "ipywidgets", *FRONT_ENDS)]
    return ok(f"{', '.join(versions)}; front ends are found and enabled")


def _front_end_trouble(
    distribution: str, name: str, found: dict[str, Any] | None, disabled: list[str]
) -> Finding | None:
    if found is None:
        return problem(
            f"JupyterLab does not find the front end {name} of {distribution}", _reinstall_line(distribution)
        )
    # "name:plugin" turns off a part of it.
    if any(entry.partition(":")[0] == name for entry in disabled):
        return problem(
            f"the front end {name} is disabled in JupyterLab",
            python_line("-m", "jupyter", "labextension", "enable", name),
        )
    own = _own_version(distribution, name)
    if own and own != found["version"]:
        return problem(
            f"JupyterLab loads version {found['version']} of {name}, from {found['ext_path']}, where {distribution} "
            f"brings {own}",
            f"remove the folder {found['ext_path']}",
        )
    return None


def _own_version(distribution: str, name: str) -> str | None:
    """The version of the front end that came with the distribution; None where its list of files does not say."""
    for file in importlib.metadata.files(distribution) or ():
        if file.as_posix().endswith(f"labextensions/{name}/package.json") and (path := Path(file.locate())).is_file():
            return json.loads(path.read_text(encoding="utf-8"))["version"]
    return None


def _reinstall_line(distribution: str) -> str:
    return pip_line("install", "--force-reinstall", "--no-deps", f"{distribution}=={installed(distribution)}")
