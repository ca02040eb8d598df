"""Text that anyone may have written, made fit to be shown, and files that are there whole or not at all."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

LONGEST = 20_000
"""Most characters of a text that are shown: a spreadsheet's cell takes 32,767, a reader fewer."""

_TERMINAL_CODE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
_LINE_END = re.compile("\r\n|[\r\u2028\u2029]")
# Control characters, those that turn the direction of the text around them, halves of surrogate pairs (UTF-8 has none).
_UNSHOWABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)

_TRACEBACK_FOLDER = re.compile(r'(?<=File ")[^"\n]*[/\\](?=[^"\n/\\]*")')
_FOLDER = re.compile(r"(?<![\w.:/~])(?:/[\w.+@~-]+)+/(?=[\w.+@~-])|(?<!\w)[A-Za-z]:[/\\](?:[\w.+@~ -]+[/\\])*(?=\w)")


def clean(text: str) -> str:
    """The text without what could disturb a page or a table: odd characters become ``\ufffd``, terminal codes go."""
    return _UNSHOWABLE.sub("\ufffd", _LINE_END.sub("\n", _TERMINAL_CODE.sub("", text)))


def shortened(text: str, most: int = LONGEST) -> str:
    """The text, or if it is longer than ``most`` its beginning and its end, and between them a line that says so."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters are left out ...]\n{text[-half:]}"


def trimmed(text: str) -> str:
    """The text as it may be shown, its lines kept: clean, and not too long."""
    return shortened(clean(text))


def one_line(text: str) -> str:
    """The text in one line, every run of white space a single space."""
    return " ".join(clean(text).split())


def explanation(reason: str) -> str:
    """A verdict's reason as it may be shown: as `trimmed` has it, and without this machine's folders."""
    return _FOLDER.sub(".../", _TRACEBACK_FOLDER.sub("", trimmed(reason)))


TRACEBACK = "Traceback (most recent call last):"


def told(reason: str) -> str:
    """What a reason says in sentences: of one that holds a traceback what stands before it, and the error itself."""
    before, _, trace = reason.partition(TRACEBACK)
    error = next((line.strip() for line in reversed(trace.splitlines()) if line.strip()), "")
    return "\n".join(part for part in (error, before.strip()) if part)


def traceback_of(reason: str) -> str:
    """The traceback that a reason holds, or ""."""
    _, heading, trace = reason.partition(TRACEBACK)
    return heading + trace


def caseless(name: str) -> str:
    """A file's name as a system takes it that ignores case, and how accents are encoded: "Zoë" and "zoë" are one."""
    return unicodedata.normalize("NFKD", name).casefold()


def write_whole(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name[:80]}.{os.getpid()}.unfinished")
    try:
        unfinished.write_text(text, encoding, newline="")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
