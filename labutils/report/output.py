"""Where a report goes: pages, their index, numbers for scripts and raw maps. Each file is there whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np

from labutils import __version__
from labutils.report.explanation import Evidence, ExplainedPhoto, Map, printable
from labutils.report.network import Network
from labutils.report.page import Entry, Links, entry_of, render, render_index, strongest, versions
from labutils.report.scores import STEPS, Score

FORMAT_VERSION = 1
"""Of the JSON: grows when a script that read the former one may fail."""


@dataclass(frozen=True)
class Targets:
    """What to write; None leaves it out.

    Attributes
    ----------
    page : Path or None
        The page of a single photo; of several the index, whose pages lie in a folder beside it.
    json : Path, open text file or None
        The numbers, for scripts.
    maps : Path or None
        A folder for the raw maps, one ``.npz`` a photo.
    """

    page: Path | None
    json: Path | IO[str] | None = None
    maps: Path | None = None


class Output:
    """Writes photo after photo, so that whatever is there at any moment can be opened.

    Parameters
    ----------
    network : Network
    photos : sequence of Path
        All that were asked for.
    targets : Targets
    settings_for : callable
        From photos to what it takes to explain them again, name -> value.
    """

    def __init__(
        self,
        network: Network,
        photos: Sequence[Path],
        targets: Targets,
        settings_for: Callable[[Sequence[Path]], Mapping[str, str]],
    ):
        self._network, self._photos, self._targets, self._settings_for = network, photos, targets, settings_for
        self._names = file_names(photos)
        self._titles = titles(photos)
        self._entries: list[Entry] = []
        self._last: tuple[Path, ExplainedPhoto, Entry | None] | None = None
        self._failed: list[dict[str, str]] = []
        self._records: list[dict[str, Any]] = []

    def title(self, path: Path) -> str:
        """What to call a photo among the others."""
        return self._titles[path]

    def add(self, path: Path, photo: ExplainedPhoto) -> None:
        """Write an explained photo's page and maps, and the index again."""
        maps = None
        if self._targets.maps:
            maps = self._targets.maps / f"{self._names[path]}.npz"
            maps.parent.mkdir(exist_ok=True)
            write(maps, lambda file: np.savez_compressed(file, **_arrays(photo)))
        page = self._targets.page and self._page(path)
        if page and len(self._photos) == 1:
            write(page, render(self._network, photo, self._settings_for([path])))
        elif page:
            self._add_page(path, photo)
        self._records.append(_photo_record(path, photo, page, maps))

    def fail(self, path: Path, problem: str) -> None:
        """Note a photo that cannot be explained."""
        self._failed.append({"path": str(path), "problem": problem})

    def finish(self, complete: bool) -> None:
        """Write the index a last time, and the numbers; nothing where nothing was explained."""
        if self._entries:
            self._write_index()
        if self._targets.json is None or not self._records:
            return
        record = {
            "format": "labutils explain",
            "version": FORMAT_VERSION,
            "labutils": __version__,
            "complete": complete,
            "network": {
                "title": self._network.title,
                "classes": len(self._network.labels),
                "preprocessing": self._network.preparation,
                "size": list(self._network.size),
            },
            "settings": {**self._settings_for(self._photos), "Versions": versions()},
            "photos": self._records,
            "failed": self._failed,
        }
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        if isinstance(self._targets.json, Path):
            write(self._targets.json, text)
        else:
            self._targets.json.write(text)

    def _page(self, path: Path) -> Path:
        if len(self._photos) == 1:
            return self._targets.page
        return pages_folder(self._targets.page) / f"{self._names[path]}.html"

    def _add_page(self, path: Path, photo: ExplainedPhoto) -> None:
        page = self._page(path)
        page.parent.mkdir(exist_ok=True)
        entry = entry_of(photo, f"./{_quoted(page.parent.name)}/{_quoted(page.name)}")
        previous = self._entries[-1] if self._entries else None
        self._write_page(path, photo, previous)
        self._entries.append(entry)
        if self._last:  # Its page can lead on now, and not before: no link of a page leads to nothing.
            self._write_page(*self._last, entry)
        self._last = path, photo, previous
        self._write_index()

    def _write_page(
        self, path: Path, photo: ExplainedPhoto, previous: Entry | None, following: Entry | None = None
    ) -> None:
        links = Links(f"../{_quoted(self._targets.page.name)}", _from_beside(previous), _from_beside(following))
        write(self._page(path), render(self._network, photo, self._settings_for([path]), links))

    def _write_index(self) -> None:
        page = self._targets.page
        failed = [printable(each["problem"]) for each in self._failed]
        settings = self._settings_for(self._photos)
        folder = pages_folder(page).name
        write(page, render_index(self._network, self._entries, failed, len(self._photos), folder, settings))


def _from_beside(entry: Entry | None) -> Entry | None:
    """The entry with its address as seen from another page."""
    return entry and dataclasses.replace(entry, address=f"./{entry.address.rpartition('/')[2]}")


def pages_folder(index: Path) -> Path:
    """The folder of the pages that an index leads to, named as browsers name that of a saved page's files."""
    return index.with_name(f"{index.stem}_files")


def file_names(photos: Sequence[Path]) -> dict[Path, str]:
    """A file name for each photo, without its ending, of characters that are the same on every disk and in every link."""
    width = len(str(len(photos)))
    return {path: f"{number:0{width}}-{_plain(path.stem)}" for number, path in enumerate(photos, start=1)}


def titles(photos: Sequence[Path]) -> dict[Path, str]:
    """What to call each photo: its file's name, or its path where another has the same name."""
    names = [path.name for path in photos]
    return {path: path.name if names.count(path.name) == 1 else str(path) for path in photos}


def write(path: Path, content: str | Callable[[IO[bytes]], object]) -> None:
    """Write a file under another name and move it to its own, so that no half one ever stands there.

    Parameters
    ----------
    path : Path
        Its folder must be there.
    content : str or callable
        Text, written as UTF-8, or a function that writes to an open file.
    """
    if path.exists() and not path.is_file():  # A device such as /dev/null, which is not to be replaced.
        with path.open("wb") as file:
            _fill(file, content)
        return
    half = path.with_name(f".labutils-{os.getpid()}.half")
    try:
        with half.open("wb") as file:
            _fill(file, content)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def _fill(file: IO[bytes], content: str | Callable[[IO[bytes]], object]) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content.encode("utf-8", "replace"))


def _plain(stem: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:40] or "photo"


def _quoted(name: str) -> str:
    return quote(os.fsencode(name))


def _arrays(photo: ExplainedPhoto) -> dict[str, np.ndarray]:
    """The raw maps as ``<class>/<method>``, and the photo as ``photo``."""
    maps = {
        f"{evidence.class_index}/{each.method.name}": each.values
        for evidence in photo.evidence
        for each in evidence.maps
        if each.values is not None
    }
    return {"photo": photo.picture, **maps}


# ---------------------------------------------------------------------------------------------------------------------
# The numbers, for scripts


def _photo_record(path: Path, photo: ExplainedPhoto, page: Path | None, maps: Path | None) -> dict[str, Any]:
    return {
        "title": photo.title,
        "path": str(path),
        "page": page and str(page),
        "maps": maps and str(maps),
        "predictions": [
            {"class": index, "label": label, "probability": probability}
            for index, label, probability in photo.predictions
        ],
        "explained": [_evidence_record(evidence) for evidence in photo.evidence],
    }


def _evidence_record(evidence: Evidence) -> dict[str, Any]:
    scores = evidence.scores
    of_maps = scores.maps if scores else [None] * len(evidence.maps)
    record = {
        "class": evidence.class_index,
        "label": evidence.label,
        "probability": evidence.probability,
        "methods": [
            {**_map_record(each), **_score_record(score)} for each, score in zip(evidence.maps, of_maps, strict=True)
        ],
        "scores": None,
    }
    if scores:
        record["scores"] = {
            "steps": STEPS,
            "baseline": "blurred photo",
            "probability_untouched": scores.untouched,
            "probability_blurred": scores.blurred,
            "controls": [{"control": name, **_score_record(score)} for name, score in scores.controls.items()],
            "forward": scores.forward,
            "seconds": scores.seconds,
        }
    return record


def _map_record(found: Map) -> dict[str, Any]:
    record = {"method": found.method.name, "title": found.method.title, "problem": found.problem or None}
    values = found.values
    if values is None:
        return record | dict.fromkeys(("min", "max", "sum", "strongest", "gap", "forward", "backward", "seconds"))
    row, column = strongest(found.shown)
    return record | {
        "min": float(values.min()),
        "max": float(values.max()),
        "sum": float(values.sum(dtype="float64")),
        "strongest": {"row": row, "column": column} if found.shown.any() else None,
        "gap": _finite(found.gap),
        "forward": found.forward,
        "backward": found.backward,
        "seconds": found.seconds,
    }


def _score_record(score: Score | None) -> dict[str, float | None]:
    return {column: _finite(getattr(score, column, None)) for column in ("deletion", "insertion")}


def _finite(value: float | None) -> float | None:
    """The value, or None where it is one that JSON has no word for."""
    return value if value is not None and np.isfinite(value) else None
