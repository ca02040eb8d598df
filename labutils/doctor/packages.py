"""Packages: what labutils needs is here, in versions that fit, and as requirements.lock has them."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from labutils.doctor.findings import Finding, listed, ok, pip_line, problem, warning

if TYPE_CHECKING:
    from packaging.requirements import Requirement

TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly")
"""Distributions of one and the same Python package; one of them is enough, and two overwrite each other."""


def packages() -> Finding:
    """What the course needs against what is installed, then against requirements.lock where there is a checkout."""
    try:
        unmet = list(unmet_requirements("labutils", {"cpu"} if on_colab() else {"cpu", "lab"}))
    except importlib.metadata.PackageNotFoundError:
        return problem("labutils itself is not installed, so notebooks cannot import it", *_set_up_lines())
    if unmet:
        return problem(listed(unmet), install_line())
    here = [name for name in TENSORFLOWS if _version(name)]
    if len(here) > 1:
        return warning(
            f"{' and '.join(here)} are both installed and overwrite each other's files",
            pip_line("uninstall", *here),
            install_line(),
        )
    lock = lock_file()
    if lock is None:
        return ok("all that labutils needs is here")
    differing = list(_differences(lock))
    if differing:
        return warning(f"other than in requirements.lock: {listed(differing)}", install_line())
    return ok("all as in requirements.lock")


def unmet_requirements(name: str, extras: set[str]) -> Iterator[str]:
    """What a distribution asks for, and what that asks for in turn, where it is missing or of another version.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        When the distribution itself is not installed.
    """
    seen, waiting = set(), [(name, frozenset(extras))]
    told = set()
    while waiting:
        asking = waiting.pop(0)
        if asking in seen:
            continue
        seen.add(asking)
        for requirement in _requirements(*asking):
            version = installed(requirement.name)
            if version is None:
                complaint = f"{requirement.name} is missing"
            elif not requirement.specifier.contains(version, prereleases=True):
                complaint = f"{requirement.name} is {version}, but {asking[0]} needs {requirement.specifier}"
            else:
                waiting.append((_distribution(requirement.name), frozenset(requirement.extras)))
                continue
            if complaint not in told:
                told.add(complaint)
                yield complaint


def installed(name: str) -> str | None:
    """The version of a distribution, of any TensorFlow for a TensorFlow; None where it is not installed."""
    return _version(_distribution(name))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _distribution(name: str) -> str:
    """The name itself or, of a TensorFlow, that of the one that is installed."""
    candidates = TENSORFLOWS if name in TENSORFLOWS else ()
    return next((candidate for candidate in candidates if _version(candidate)), name)


def _requirements(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What a distribution asks for on this machine."""
    for line in importlib.metadata.requires(name) or ():
        requirement = _requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield requirement


def _requirement(line: str) -> Requirement:
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError as missing:
        try:  # pip carries a copy.
            from pip._vendor.packaging.requirements import Requirement
        except ModuleNotFoundError:
            raise missing from None
    return Requirement(line)


def _differences(lock: Path) -> Iterator[str]:
    """Pins of the lock that are not what is installed."""
    for line in lock.read_text(encoding="utf-8").splitlines():
        pin = line.partition("#")[0].strip()
        if not pin:
            continue
        requirement = _requirement(pin)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        version = installed(requirement.name)
        if version is None:
            yield f"{requirement.name} is missing"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} ({str(requirement.specifier).removeprefix('==')} there)"


def lock_file() -> Path | None:
    """requirements.lock of the checkout that this labutils runs from."""
    lock = Path(__file__).resolve().parents[2] / "requirements.lock"
    return lock if lock.is_file() else None


def install_line() -> str:
    """The line that installs everything as the course has it."""
    lock = lock_file()
    return (
        pip_line("install", "-r", _from_here(lock)) if lock else pip_line("install", "--upgrade", "labutils[cpu,lab]")
    )


def _set_up_lines() -> list[str]:
    lock = lock_file()
    return [install_line(), *([pip_line("install", "--no-deps", "-e", _from_here(lock.parent))] if lock else [])]


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def on_colab() -> bool:
    """Whether this is Google Colab, which brings its own front end."""
    return "COLAB_RELEASE_TAG" in os.environ
