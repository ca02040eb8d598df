"""What keeps the course from running on this machine, and the line that mends it.

It exists for installations that are broken: nothing but the standard library is imported until a check needs more, and a
check that fails itself is reported as that check's problem while the rest go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from labutils.doctor import files, jupyter, machine, packages
from labutils.doctor.findings import Finding, problem

__all__ = ["CHECKS", "Finding", "examine", "summary"]

CHECKS: dict[str, Callable[[], Finding | None]] = {
    "Python": machine.python,
    "Place": machine.place,
    "Packages": packages.packages,
    "Memory": machine.memory,
    "Disk": machine.disk,
    "Folders": files.folders,
    "Bundled weights": files.bundled_weights,
    "Fetched weights": files.fetched_weights,
    "Sample photos": files.sample_photos,
    "Your photos": files.own_photos,
    "Kernel": jupyter.kernel,
    "Widgets": jupyter.widgets,
    "TensorFlow": machine.tensorflow,
}
"""Every check by its title, in the order of the report; None is for what does not matter here."""

SLOW = "TensorFlow"
"""The check that runs in a process of its own while the others are made."""


def examine() -> Iterator[tuple[str, Finding]]:
    """Make every check; titles and findings, each as soon as it is there."""
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(_found, CHECKS[SLOW])
        for title, check in CHECKS.items():
            finding = slow.result() if title == SLOW else _found(check)
            if finding is not None:
                yield title, finding


def _found(check: Callable[[], Finding | None]) -> Finding | None:
    try:
        return check()
    except ModuleNotFoundError as error:
        return problem(f"cannot be checked: {error.name} is not installed", packages.install_line())
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        return problem(f"cannot be checked: {type(error).__name__}: {reason}")


def summary(findings: list[Finding]) -> str:
    """The sentence that the report ends with."""
    problems = sum(finding.state == "problem" for finding in findings)
    warnings = sum(finding.state == "warning" for finding in findings)
    seen = f"{warnings} warning{'s' if warnings > 1 else ''}"
    if problems:
        count = f"{problems} problem{'s' if problems > 1 else ''}{f' and {seen}' if warnings else ''}"
        return f"{count}: mend them with the lines below them, then run labutils doctor again."
    if warnings:
        return f"The course runs here; {seen} to look at."
    return "All is well: labutils start opens the course."
