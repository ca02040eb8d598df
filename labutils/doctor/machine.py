"""The machine: its Python, memory and disk, and whether TensorFlow computes on it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from labutils import weights
from labutils.doctor.findings import Finding, ok, pip_line, problem, warning
from labutils.doctor.packages import install_line, installed, on_colab

OLDEST, TOO_NEW = (3, 11), (3, 14)
"""Versions of Python that work, from the first up to, but not with, the second; pyproject.toml says the same."""

NEEDED_MEMORY, LEAST_MEMORY = 4 * 2**30, 2 * 2**30
NEEDED_DISK, LEAST_DISK = 2 * 2**30, 2**28
TENSORFLOW_SECONDS = 120.0
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")

_ILLEGAL_INSTRUCTION, _DLL_NOT_FOUND = 0xC000001D, 0xC0000135
"""How Windows ends a process that uses an instruction, or a DLL, that is not there."""

# A product, its gradient and a convolution, small enough to know what comes out: x W = 11, so d(x W)^2/dx = 22 W.
_COMPUTE = """
import json, keras
said = {"keras": keras.__version__, "backend": keras.backend.backend()}
if said["backend"] == "tensorflow":
    import tensorflow as tf
    x, weights = tf.Variable([[1.0, 2.0]]), tf.constant([[3.0], [4.0]])
    with tf.GradientTape() as tape:
        y = keras.ops.sum(keras.ops.matmul(x, weights) ** 2)
    said["gradient"] = tape.gradient(y, x).numpy().tolist()
    said["convolution"] = keras.ops.conv(tf.ones((1, 4, 4, 1)), tf.ones((3, 3, 1, 1))).numpy().ravel().tolist()
    said["tensorflow"], said["gpus"] = tf.__version__, len(tf.config.list_physical_devices("GPU"))
print(json.dumps(said))
"""
_RIGHT = {"gradient": [[66.0, 88.0]], "convolution": [9.0] * 4}


def python() -> Finding:
    """A version that labutils supports, with 64 bits, which TensorFlow needs."""
    version = platform.python_version()
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        newest = f"3.{TOO_NEW[1] - 1}"
        return problem(
            f"{version} is not supported; labutils runs on 3.{OLDEST[1]} to {newest}",
            f"remove .venv, install Python {newest}, and set up again: make lab PYTHON=python{newest}",
        )
    if sys.maxsize < 2**32:
        return problem(f"{version} has 32 bits, for which there is no TensorFlow", "install the 64-bit Python")
    return ok(f"{version} ({sys.executable})")


def place() -> Finding | None:
    """What is different where notebooks do not run in JupyterLab."""
    if on_colab():
        return warning(
            "on Colab files go when the session ends: keep photos in Drive, and upload them to /content/photos",
            "from google.colab import output; output.enable_custom_widget_manager()  # in a cell, if no widget appears",
        )
    if os.environ.get("TERM_PROGRAM") == "vscode":
        return ok(
            f"VS Code draws notebooks itself: choose {sys.executable} as their kernel, and let its setting "
            "jupyter.widgetScriptSources name jsdelivr.com"
        )
    return None


def memory() -> Finding:
    """Enough for TensorFlow, a network and a batch of maps."""
    free = _free_memory()
    if free is None:
        return warning(
            "how much is free cannot be told here; the course needs about 4 GB", pip_line("install", "psutil")
        )
    says = f"{free / 2**30:.1f} GB free"
    if free >= NEEDED_MEMORY:
        return ok(says)
    mend = "close other programs and other notebooks' kernels (JupyterLab: Kernel, Shut Down All Kernels)"
    return (problem if free < LEAST_MEMORY else warning)(f"{says}; the course needs about 4 GB", mend)


def _free_memory() -> int | None:
    """Bytes that programs may still take: of the machine or, in a container, of its share; None where none can tell."""
    known = list(_container_memory())
    try:
        import psutil

        known.append(psutil.virtual_memory().available)
    except ImportError:
        with suppress(OSError, StopIteration):
            lines = MEMINFO.read_text().splitlines()
            known.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
        if sys.platform == "win32":
            known.append(_windows_memory())
    return min(known, default=None)


def _container_memory() -> Iterator[int]:
    """What the control groups of Linux leave (version 2, then 1); nothing without a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" is no limit.
            yield int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text())


def _windows_memory() -> int:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in ("total", "available", "pages", "free_pages", "virtual", "free_virtual", "extended")
        ]

    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status.available


def disk() -> Finding:
    """Room for what notebooks write and, where it lies elsewhere, for fetched weights."""
    free = {}
    for folder in (Path.cwd(), weights.keras_cache()):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free[folder] = shutil.disk_usage(there).free
    folder = min(free, key=free.get)
    says = f"{free[folder] / 2**30:.1f} GB free in {folder}"
    if free[folder] >= NEEDED_DISK:
        return ok(says)
    mend = "remove what you no longer need there"
    if folder == weights.keras_cache():
        mend += ", or set KERAS_HOME to a folder on another disk"
    return (problem if free[folder] < LEAST_DISK else warning)(f"{says}; ImageNet's weights take 0.5 GB", mend)


def tensorflow() -> Finding:
    """TensorFlow, behind Keras, gets a small result right; in a process of its own, which may crash or hang."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _COMPUTE],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=TENSORFLOW_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return problem(f"gave no result within {TENSORFLOW_SECONDS:g} s", _again())
    if done.returncode:
        return _crash(done.returncode, done.stderr)
    said = json.loads(done.stdout.splitlines()[-1])
    if said["backend"] != "tensorflow":
        return _other_backend(said["backend"])
    wrong = [name for name, value in _RIGHT.items() if said[name] != value]
    if wrong:
        return problem(f"computes a wrong {' and '.join(wrong)}: {said[wrong[0]]}, not {_RIGHT[wrong[0]]}", _again())
    gpus = f", {said['gpus']} GPU{'s' if said['gpus'] > 1 else ''}" if said["gpus"] else ", on the processor"
    return ok(f"{said['tensorflow']} with Keras {said['keras']} computes right{gpus}")


def _crash(code: int, stderr: str) -> Finding:
    """Why the process that computes ended, and what to do."""
    if code in (-signal.SIGILL, _ILLEGAL_INSTRUCTION):
        return problem(
            "needs instructions (AVX) that this processor, or its emulation, does not have",
            "run the course on another computer or on Colab; on a Mac with Apple's chip, take a Python for arm64",
        )
    if code == _DLL_NOT_FOUND or "DLL load failed" in stderr:
        return problem(
            "a DLL that it needs is missing: Microsoft's Visual C++ Redistributable",
            "winget install Microsoft.VCRedist.2015+.x64",
        )
    if code < 0:
        with suppress(ValueError):
            return problem(f"crashed ({signal.Signals(-code).name})", _again())
    if missing := re.search(r"No module named '(jax|torch|openvino)", stderr):
        return _other_backend(missing[1])
    last = (stderr.strip().splitlines() or [f"ended with exit status {code}"])[-1]
    missing = "No module named" in last
    return problem(f"does not start: {last}", install_line() if missing else _again())


def _other_backend(name: str) -> Finding:
    return problem(
        f"Keras is set to compute with {name}; labutils needs TensorFlow",
        f'set KERAS_BACKEND=tensorflow, or write "backend": "tensorflow" into {weights.keras_cache() / "keras.json"}',
    )


def _again() -> str:
    """The line that installs TensorFlow anew, in the version that is here."""
    for name in ("tensorflow-cpu", "tensorflow"):
        if version := installed(name):
            return pip_line("install", "--force-reinstall", "--no-deps", f"{name}=={version}")
    return install_line()
