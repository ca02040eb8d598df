"""What a check gives, and how the lines that mend something are written."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What one check found: whether it is well, a sentence, and the lines that mend it (none where nothing does)."""

    state: Literal["ok", "warning", "problem"]
    says: str
    mend: tuple[str, ...] = ()


def ok(says: str) -> Finding:
    return Finding("ok", says)


def warning(says: str, *mend: str) -> Finding:
    return Finding("warning", says, mend)


def problem(says: str, *mend: str) -> Finding:
    return Finding("problem", says, mend)


def python_line(*arguments: str | os.PathLike) -> str:
    """A command line of this Python, to be pasted into a shell."""
    return " ".join(map(_quoted, (sys.executable, *arguments)))


def pip_line(command: str, *arguments: str | os.PathLike) -> str:
    """A command line of pip; of uv, whose environments have no pip, where uv is here."""
    if find_spec("pip") is None and shutil.which("uv"):
        return " ".join(map(_quoted, ("uv", "pip", command, "--python", sys.executable, *arguments)))
    line = python_line("-m", "pip", command, *arguments)
    return line if find_spec("pip") else f"{python_line('-m', 'ensurepip')} && {line}"


def _quoted(argument: str | os.PathLike) -> str:
    text = os.fspath(argument)
    return f'"{text}"' if set(text) & set(" []<>&'()") else text


def listed(items: Sequence[str], most: int = 6) -> str:
    """The items with commas; the number of the rest where there are more than `most`."""
    rest = len(items) - most
    return ", ".join(items) if rest <= 0 else f"{', '.join(items[:most])}, and {rest} more"
