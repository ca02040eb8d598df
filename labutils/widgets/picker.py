"""Choose photos with the mouse or the keyboard: samples, one's own, a folder's, and uploads by button, drop or paste.

`PhotoPicker` keeps the photos as arrays in the kernel; the browser gets small copies of them, and sends uploads in
parts of 1 MB: one message of more than 10 MB would end a Jupyter server's connection.
"""

from __future__ import annotations

import io
import itertools
import operator
import os
import re
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anywidget
import numpy as np
import traitlets

from labutils import photos as photo_files
from labutils.photos import PhotoError, Photos
from labutils.plots import pictures
from labutils.plots.arguments import checked_image, checked_titles
from labutils.widgets.plain import WithPlainFigure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Source = Literal["given", "own", "sample", "uploaded", "folder"]

MAX_GIVEN = 200
"""Photos that a picker takes to start with: of more, nobody finds one."""

MAX_FROM_FOLDER = 60
"""Files that are read from one folder."""

MAX_UPLOAD = 100_000_000
"""Bytes of one uploaded file; the largest phone photos have some 60 MB."""

MAX_UNFINISHED = 4
"""Uploads that may be under way at once; the oldest is given up for a fifth, as its page was closed."""

MAX_DRAWN = 20
"""Photos in the plain figure."""

THUMBNAIL = 128
"""Longer side of a small copy in pixels; it is shown at some 90, on fine screens with more dots each."""

UPDATES_EACH_SECOND = 4
"""How often the browser hears of photos while many are loaded; each time it gets all small copies."""

_CHOSEN_AT_FIRST = 3
_PICTURE_ENDING = re.compile(r"\.(jpe?g|jfif|mpo|png|webp|gif|bmp|tiff?|avif|jp2|hei[cf])", re.IGNORECASE)
# Windows has no files of these names.
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)
_SOURCE_WORDS = {"uploaded": "uploaded", "own": "yours", "sample": "sample", "folder": "folder", "given": ""}


@dataclass(frozen=True, eq=False)
class Item:
    """One photo of a picker."""

    name: str
    """A title: the file's name without its ending, the sample's name, or the given title."""
    image: np.ndarray = field(repr=False)
    """(H, W, 3) uint8, or (H, W) uint8 where the given photos are grey."""
    path: Path | None
    """Its file; None for arrays and for uploads that are not kept."""
    source: Source


class Items(Sequence):
    """A picker's photos, some of which may still be on their way: asking for one waits until it is there."""

    def __init__(self) -> None:
        self._there: list[Item] = []
        self._loads = 0
        self._changed = threading.Condition()

    def __getitem__(self, index: Any) -> Any:
        number = None if isinstance(index, slice) else operator.index(index)
        self.wait_for(None if number is None or number < 0 else number + 1)
        return self._there[index]

    def __len__(self) -> int:
        self.wait_for(None)
        return len(self._there)

    def __repr__(self) -> str:
        return repr(self._there)

    @property
    def there(self) -> list[Item]:
        """Those that need no waiting."""
        return list(self._there)

    @property
    def loading(self) -> bool:
        return self._loads > 0

    def wait_for(self, count: int | None, seconds: float | None = None) -> bool:
        """Wait until so many are there (None: all) or no more will come; returns whether that was in time."""
        enough = float("inf") if count is None else count
        with self._changed:
            return self._changed.wait_for(lambda: len(self._there) >= enough or not self._loads, seconds)

    def join(self, item: Item) -> int:
        """Add one; returns its index."""
        with self._changed:
            self._there.append(item)
            self._changed.notify_all()
            return len(self._there) - 1

    def more_will_come(self) -> None:
        with self._changed:
            self._loads += 1

    def no_more_will_come(self) -> None:
        with self._changed:
            self._loads -= 1
            self._changed.notify_all()


class PickerArea(anywidget.AnyWidget):
    """The picker in the browser."""

    _esm = Path(__file__).with_name("picker.js")
    _css = Path(__file__).with_name("picker.css")

    photos = traitlets.List(traitlets.Dict()).tag(sync=True)
    """Of each: ``name``, ``source`` (a word on where it is from) and ``picture``, the bytes of a small copy."""
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)
    multiple = traitlets.Bool(True).tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)
    progress = traitlets.Dict().tag(sync=True)
    """``what``, ``done`` and ``total`` of photos that are being loaded; empty when none are."""
    most_files = traitlets.Int(MAX_FROM_FOLDER).tag(sync=True)
    """So many are uploaded at once."""


class PhotoPicker(WithPlainFigure):
    """Photos to choose from; `chosen` says which, and can be observed.

    New photos come in by a button, by dropping files, by pasting and from a folder. An upload is also kept in the
    folder of the student's own photos, so that every notebook finds it.

    Parameters
    ----------
    photos : numpy.ndarray, optional
        (n, H, W, 3), or (n, H, W) or (n, H, W, 1) for grey ones; uint8, or float from 0 to 1. Photos that come in later
        get their size, and become grey where these are. None starts with the student's own photos and the samples.
    titles : sequence of str, optional
        Names of the given photos.
    size, fit
        Of photos from files, as for `labutils.photos.load`.
    folder : path, optional
        Of the student's own photos; None takes `labutils.photos.photos_folder`.
    multiple : bool
        Whether any number can be chosen (at first all given photos, else three) or always exactly one (the first).
    keep : bool
        Whether uploads are written to the folder.

    Attributes
    ----------
    chosen : tuple of int
        Ascending indices into `items`.

    Raises
    ------
    ValueError, TypeError
        `photos` is no array of photos, or has another number than `titles`.
    """

    chosen = traitlets.Tuple()

    def __init__(
        self,
        photos: np.ndarray | None = None,
        *,
        titles: Sequence[str] | None = None,
        size: tuple[int, int] = (224, 224),
        fit: photo_files.Fit = "stretch",
        folder: str | os.PathLike | None = None,
        multiple: bool = True,
        keep: bool = True,
    ):
        super().__init__()
        given = [] if photos is None else _given(photos, titles)
        if photos is None and titles is not None:
            raise ValueError("titles are names of given photos; without photos, the files' names are taken.")
        if fit not in photo_files.FITS:
            raise ValueError(f"fit is one of {', '.join(map(repr, photo_files.FITS))}, not {fit!r}.")
        if photo_files._checked_size(size) is None:
            raise ValueError("A picker needs a size, such as (224, 224): its photos make one array.")
        self._size, self._fit = (given[0].image.shape[:2] if given else size), fit
        self._grey = bool(given) and given[0].image.ndim == 2
        own_folder = photo_files.photos_folder() if folder is None else Path(folder).expanduser()
        self._folder = Path(os.path.abspath(own_folder))
        self._multiple, self._keeps = multiple, keep
        self._items = Items()
        self._cards: list[dict] = []
        self._showing = threading.RLock()
        self._one_load = threading.Lock()
        self._stop = threading.Event()
        self._uploads = Uploads()
        self._report, self._batch = Report(), None
        self._area = PickerArea(multiple=multiple)
        self._promised = len(given) or _CHOSEN_AT_FIRST  # there are always as many samples
        for item in given:
            self._join(item)
        self._area.chosen = list(self.chosen)
        self.children = [self._area]
        self.observe(self._hand_on, "chosen")
        self._area.observe(self._take_over, "chosen")
        self._area.on_msg(self._received)
        if given:
            self._show()
        else:
            self._load_first()

    # Choosing --------------------------------------------------------------------------------------------------------

    @property
    def items(self) -> Items:
        """All photos, in the order in which they came; asking for one that is still being loaded waits for it."""
        return self._items

    @traitlets.default("chosen")
    def _at_first(self) -> tuple[int, ...]:
        return tuple(range(self._promised if self._multiple else 1))

    @traitlets.validate("chosen")
    def _possible(self, proposal: Any) -> tuple[int, ...]:
        count = max(len(self._items.there), self._promised if self._items.loading else 0)
        chosen = proposal.value
        wrong = [index for index in chosen if not isinstance(index, (int, np.integer)) or not 0 <= index < count]
        if wrong:
            raise traitlets.TraitError(f"There is no photo {wrong[0]!r}: the {count} photos are 0 to {count - 1}.")
        if not self._multiple and count and len(set(chosen)) != 1:
            raise traitlets.TraitError(f"Of this picker exactly one photo is chosen, such as (0,); not {chosen}.")
        return tuple(sorted({int(index) for index in chosen}))

    def _hand_on(self, change: Any) -> None:
        self._area.chosen = list(change.new)

    def _take_over(self, change: Any) -> None:
        try:
            self.chosen = tuple(change.new)
        except traitlets.TraitError:
            self._area.chosen = list(self.chosen)

    def _choose(self, index: int) -> None:
        self.chosen = (*self.chosen, index) if self._multiple else (index,)

    def photos(self) -> Photos:
        """The chosen photos: images (n, H, W, 3) or (n, H, W) uint8, names, and paths (None for those without a file).

        Raises
        ------
        ValueError
            None is chosen.
        """
        self.wait()
        there = self._items.there
        items = [there[index] for index in self.chosen if index < len(there)]
        if not items:
            raise ValueError("No photo is chosen: click one in the picker, or set its chosen = (0,).")
        images = np.stack([item.image for item in items])
        return Photos(images, [item.name for item in items], [item.path for item in items])

    @property
    def images(self) -> np.ndarray:
        """The chosen photos, (n, H, W, 3) or (n, H, W) uint8; an error when none is chosen."""
        return self.photos().images

    @property
    def names(self) -> list[str]:
        """The chosen photos' names; an error when none is chosen."""
        return self.photos().names

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the chosen photos are loaded, at most so many seconds; returns whether they are."""
        return self._items.wait_for(max(self.chosen, default=0) + 1, seconds) and bool(self._items.there)

    def figure(self) -> Figure:
        """The chosen photos side by side; the first ones of all where none is chosen."""
        self.wait()
        there = self._items.there
        chosen = [there[index] for index in self.chosen if index < len(there)]
        shown = (chosen or there)[:MAX_DRAWN]
        if not chosen:
            title = "Photos to choose from; none is chosen"
        else:
            title = f"The first {MAX_DRAWN} of {len(chosen)} chosen photos" if len(chosen) > MAX_DRAWN else ""
        return pictures([item.image for item in shown], titles=[item.name for item in shown], title=title)

    # Photos come in --------------------------------------------------------------------------------------------------

    def add(self, name: str, content: bytes) -> Item:
        """Add a photo from a file's name and bytes, as an upload does, and choose it.

        Returns
        -------
        Item
            The new photo; or the one that is there already, where its kept file is one of the picker's.

        Raises
        ------
        PhotoError
            The bytes are no photo that can be read.
        """
        report = Report()
        item = self._take_in(name, content, report)
        self._area.status = report.words()
        return item

    def _take_in(self, name: str, content: bytes, report: Report) -> Item:
        shown = shown_name(name)
        file = io.BytesIO(content)
        file.name = shown  # what messages call it
        image = self._like_the_others(photo_files.load(file, self._size, fit=self._fit))
        path = None
        if self._keeps:
            try:
                path = kept_file(self._folder, name, content)
            except OSError as error:
                report.not_kept = error.strerror or str(error)
        report.added.append(shown)
        report.kept_as.append(path)
        for index, item in enumerate(self._items.there):
            if path is not None and item.path == path:
                self._choose(index)
                return item
        index = self._join_named(Path(shown).stem, image, path, "uploaded")
        self._show()
        self._choose(index)
        return self._items.there[index]

    def open_folder(self, path: str | os.PathLike) -> None:
        """Let the photos of a folder join, in the background; what is no photo is named in the status line.

        The first `MAX_FROM_FOLDER` files are read, in the order of their names.

        Raises
        ------
        FileNotFoundError, NotADirectoryError
            There is no such folder (near names are given), or it is a file.
        PhotoError
            It is empty.
        """
        folder = Path(path).expanduser()
        if not folder.exists():
            raise FileNotFoundError(photo_files._missing(folder))
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file, not a folder; add one photo with the button.")
        files = _files(folder)
        if not files:
            raise PhotoError(f"{folder} holds no photo.")
        report = Report(folder=shown_name(os.path.abspath(folder)), unread=len(files[MAX_FROM_FOLDER:]))
        first = [(file, file.stem, "folder") for file in files[:MAX_FROM_FOLDER]]
        self._load(first, report, f"Loading photos of {report.folder}")

    def _load_first(self) -> None:
        own = _files(self._folder)
        files = [(file, file.stem, "own") for file in own[:MAX_FROM_FOLDER]]
        samples = [(photo_files.sample_path(name), name, "sample") for name in photo_files.sample_names()]
        report = Report(own_folder=self._folder, unread=len(own[MAX_FROM_FOLDER:]))
        self._load([*files, *samples], report, "Loading your photos and the samples")

    def _load(self, files: list[tuple[Path, str, Source]], report: Report, what: str) -> None:
        self._items.more_will_come()
        self._area.status = ""
        # A daemon: photos that nobody waits for must not keep the kernel from ending.
        threading.Thread(
            target=self._load_all, args=[files, report, what, self._stop], name="labutils.widgets.picker", daemon=True
        ).start()

    def _load_all(
        self, files: list[tuple[Path, str, Source]], report: Report, what: str, stop: threading.Event
    ) -> None:
        """In a thread: load, and show now and then what there is."""
        try:
            with self._one_load:
                shown_at = time.monotonic()
                for done, (file, name, source) in enumerate(files):
                    if stop.is_set():
                        report.stopped = True
                        break
                    if time.monotonic() - shown_at > 1 / UPDATES_EACH_SECOND:
                        shown_at = time.monotonic()
                        self._show({"what": what, "done": done, "total": len(files)})
                    if file in {item.path for item in self._items.there}:
                        continue
                    try:
                        image = photo_files._folder_photo(file, self._size, self._fit)
                    except (PhotoError, OSError) as error:
                        report.problems.append(f"{file.name}: {str(error).removeprefix(f'{file} ')}")
                    else:
                        self._join_named(name, self._like_the_others(image), file, source)
                        report.loaded[source] = report.loaded.get(source, 0) + 1
        finally:
            self._show({})
            self._area.status = report.words()
            self._items.no_more_will_come()
            count = len(self._items.there)
            if self.chosen and self.chosen[-1] >= count and not self._items.loading:  # it was stopped early
                self.chosen = tuple(index for index in self.chosen if index < count) or tuple(range(min(count, 1)))

    def _like_the_others(self, image: np.ndarray) -> np.ndarray:
        from PIL import Image

        return np.array(Image.fromarray(image).convert("L")) if self._grey else image

    def _join_named(self, name: str, image: np.ndarray, path: Path | None, source: Source) -> int:
        """Join under this name, with a number where another photo has it: nobody could tell the two apart."""
        with self._showing:
            taken = {item.name for item in self._items.there}
            free = next(free for free in _numbered(_visible(name) or "photo", " ({})") if free not in taken)
            return self._join(Item(free, image, path, source))

    def _join(self, item: Item) -> int:
        card = {"name": item.name, "source": _SOURCE_WORDS[item.source], "picture": _thumbnail(item.image)}
        with self._showing:
            self._cards.append(card)
            return self._items.join(item)

    def _show(self, progress: dict | None = None) -> None:
        with self._showing:
            self._area.photos = list(self._cards)
            if progress is not None:
                self._area.progress = progress

    # What the browser says -------------------------------------------------------------------------------------------

    def _received(self, _widget: Any, content: dict, buffers: list[memoryview]) -> None:
        kind = content.get("kind")
        if kind == "part":
            self._receive_part(content, buffers)
        elif kind == "refused":
            if upload := content.get("upload"):
                self._uploads.give_up(upload)
            if text := content.get("text"):
                report = self._report_of(content)
                report.problems.append(text)
                self._area.status = report.words()
        elif kind == "folder":
            self._open_typed_folder(str(content.get("path", "")))
        elif kind == "stop":
            self._stop.set()
            self._stop = threading.Event()

    def _receive_part(self, content: dict, buffers: list[memoryview]) -> None:
        report = self._report_of(content)
        try:
            whole = self._uploads.take(content, buffers)
            if whole is not None:
                self._take_in(content["name"], whole, report)
        except PhotoError as error:
            report.problems.append(str(error))
        finally:
            over = not self._uploads.unfinished(content["upload"])
            if over:
                self._area.status = report.words()
            # The browser sends the next part, or the next file, once it has this answer.
            self._area.send({"kind": "received", "upload": content["upload"], "over": over})

    def _report_of(self, content: dict) -> Report:
        """Files that are dropped together are reported on together."""
        if content.get("batch") != self._batch:
            self._report, self._batch = Report(), content.get("batch")
        return self._report

    def _open_typed_folder(self, text: str) -> None:
        text = text.strip().strip("\"'")  # Windows copies paths with quotation marks
        if not text:
            self._area.status = "Type the path of a folder first."
            return
        try:
            self.open_folder(text)
        except (OSError, ValueError, RuntimeError) as error:
            self._area.status = _line(str(error))


# Words ---------------------------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What became of some files, for the status line."""

    added: list[str] = field(default_factory=list)
    """Names of uploads."""
    kept_as: list[Path | None] = field(default_factory=list)
    not_kept: str = ""
    """Why an upload could not be written."""
    folder: str = ""
    own_folder: Path | None = None
    loaded: dict[Source, int] = field(default_factory=dict)
    unread: int = 0
    """Files beyond `MAX_FROM_FOLDER`."""
    stopped: bool = False
    problems: list[str] = field(default_factory=list)

    def words(self) -> str:
        """Lines of plain text."""
        lines = [self._uploads(), self._first(), self._from_folder()]
        if self.stopped:
            lines.append("Stopped before all were loaded.")
        if self.unread:
            lines.append(f"Only the first {MAX_FROM_FOLDER} files were read; {self.unread} were not.")
        shown = self.problems[:5]
        lines += shown
        if more := len(self.problems) - len(shown):
            lines.append(f"{more} more could not be read.")
        return "\n".join(_line(line) for line in lines if line)

    def _uploads(self) -> str:
        if not self.added:
            return ""
        one = len(self.added) == 1
        start = f"{self.added[0]} is added" if one else f"{len(self.added)} photos are added"
        if self.not_kept:
            return f"{start} for now, but could not be kept: {self.not_kept}."
        if None in self.kept_as:
            return f"{start} until the notebook is closed."
        path = self.kept_as[0]
        renamed = f" as {path.name}" if one and path.name != self.added[0] else ""
        kept = f"kept in {photo_files._short(path.parent)}{renamed}"
        return f"{start} and {kept}, where every notebook finds {'it' if one else 'them'}."

    def _first(self) -> str:
        if self.own_folder is None:
            return ""
        if own := self.loaded.get("own", 0):
            return f"{_count(own)} of your own, from {photo_files._short(self.own_folder)}, and the samples."
        return "These are sample photos. Add your own: with the button, by dropping them here, or by pasting."

    def _from_folder(self) -> str:
        if not self.folder:
            return ""
        if loaded := self.loaded.get("folder", 0):
            return f"{_count(loaded)} from {self.folder}."
        return "" if self.problems or self.stopped else f"The photos of {self.folder} are here already."


def _count(number: int) -> str:
    return "1 photo" if number == 1 else f"{number} photos"


def _line(text: str) -> str:
    """Text on one line, without what cannot be seen, and not too long."""
    seen = _visible(" ".join(text.split()))
    return seen if len(seen) <= 400 else f"{seen[:399]}…"


def _visible(text: str) -> str:
    # Half surrogate pairs, which no message takes, and marks that turn the direction of writing are among these.
    return "".join(letter for letter in text if unicodedata.category(letter)[0] != "C")


# Files ---------------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> list[Path]:
    """What may be photos in a folder, as absolute paths: a file is known by its path however the folder is named."""
    entries = photo_files._entries(Path(os.path.abspath(folder)))
    return [entry for entry in entries if entry.name.lower() not in photo_files._LITTER]


def _base_name(name: str) -> str:
    """The last part of a path of any system, normalised."""
    return unicodedata.normalize("NFC", _visible(re.split(r"[/\\]", str(name))[-1])).strip()


def shown_name(name: str) -> str:
    """A file's name for people: without folders, and shortened where nobody would read on."""
    base = _base_name(name) or "photo"
    return base if len(base) <= 60 else f"{base[:40]}…{base[-15:]}"


def safe_name(name: str) -> str:
    """A name that a photo can have on every system, visible and not too long, as near to the given one as can be."""
    base = re.sub(r'[<>:"|?*]', "-", _base_name(name)).rstrip(". ")
    stem, ending = os.path.splitext(base)
    if not _PICTURE_ENDING.fullmatch(ending):
        stem, ending = base, ".jpg"  # programs look into the file for what it is, but only into files of such names
    stem = stem.encode()[:120].decode(errors="ignore").strip(". ") or "photo"
    if _DEVICES.fullmatch(stem.split(".")[0].strip()):
        stem = f"photo-{stem}"
    return stem + ending


def kept_file(folder: Path, name: str, content: bytes) -> Path:
    """Write a photo into the folder under a name that is free; one that is there already is not written again.

    Raises
    ------
    OSError
        It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem, ending = os.path.splitext(safe_name(name))
    for candidate in _numbered(stem, "-{}"):
        path = folder / f"{candidate}{ending}"
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
                return path
        except OSError:
            path.unlink(missing_ok=True)  # a full disk leaves half a photo
            raise
        else:
            return path
    raise AssertionError("numbers do not end")


def _numbered(name: str, pattern: str) -> Iterator[str]:
    """The name, then with 2, 3 and so on."""
    return itertools.chain([name], (name + pattern.format(number) for number in itertools.count(2)))


class Uploads:
    """Files that come in parts, several at once perhaps."""

    def __init__(self) -> None:
        self._received: dict[str, bytearray] = {}
        self._given_up: deque[str] = deque(maxlen=4 * MAX_UNFINISHED)  # of which parts may still be on their way

    def take(self, content: dict, buffers: list[memoryview]) -> bytes | None:
        """Take one part; returns the whole file with the last one. Parts of what was given up are passed over.

        Parameters
        ----------
        content : dict
            ``upload`` (an identifier), ``name``, ``size`` of the whole and ``offset`` of the part in bytes.
        buffers : list of buffers
            The part.

        Raises
        ------
        PhotoError
            The file is too large, or a part is missing; what was received of it is given up.
        """
        upload, name, size = content["upload"], shown_name(content["name"]), content["size"]
        if upload in self._given_up:
            return None
        received = self._received.get(upload, bytearray())
        if size > MAX_UPLOAD:
            self.give_up(upload)
            raise PhotoError(
                f"{name} has {size / 1e6:,.0f} MB; a photo may have {MAX_UPLOAD / 1e6:.0f}. Save a smaller copy of it."
            )
        part = memoryview(buffers[0]) if buffers else memoryview(b"")
        expected = content["offset"] == len(received) and len(received) + part.nbytes <= size
        if not expected or (part.nbytes == 0 and size > 0):
            self.give_up(upload)
            raise PhotoError(f"{name} did not arrive whole: it changed, or the connection broke off. Add it again.")
        received += part
        self._received.pop(upload, None)
        if len(received) == size:
            return bytes(received)
        self._received[upload] = received  # as the newest
        if len(self._received) > MAX_UNFINISHED:
            self.give_up(next(iter(self._received)))
        return None

    def unfinished(self, upload: str) -> bool:
        return upload in self._received

    def give_up(self, upload: str) -> None:
        self._received.pop(upload, None)
        self._given_up.append(upload)


# Arrays --------------------------------------------------------------------------------------------------------------


def _given(photos: np.ndarray, titles: Sequence[str] | None) -> list[Item]:
    """The given photos as items; an error that says what is wrong with them."""
    possible = "photos is (n, H, W, 3), or (n, H, W) or (n, H, W, 1) for grey ones"
    try:
        array = np.asarray(photos)
    except ValueError as error:
        raise ValueError(f"{possible}: one array of photos of one size.") from error
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3)):
        array = array[np.newaxis]
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim not in (3, 4) or array.shape[3:] not in ((), (3,)):
        raise ValueError(f"{possible}; this has shape {np.shape(photos)}.")
    count = len(array)
    if not 1 <= count <= MAX_GIVEN:
        raise ValueError(f"A picker takes 1 to {MAX_GIVEN} photos, not {count}; photos[:{MAX_GIVEN}] are the first.")
    grey = array.ndim == 3
    # All at once, below each other: whether values are 0 to 1 or 0 to 255 is seen from all of them.
    pixels = checked_image(array.reshape(-1, *array.shape[2:]), "photos")
    images = (pixels[..., 0] if grey else pixels).reshape(array.shape)
    names = checked_titles(titles, count) if titles is not None else [f"photo {number + 1}" for number in range(count)]
    return [Item(name, image, None, "given") for name, image in zip(names, images, strict=True)]


def _thumbnail(image: np.ndarray) -> bytes:
    """A small copy: PNG where the photo is small itself (digits have hard edges), else JPEG."""
    from PIL import Image

    picture = Image.fromarray(image)
    small = max(picture.size) <= THUMBNAIL
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, **({"format": "PNG"} if small else {"format": "JPEG", "quality": 85}))
    return buffer.getvalue()
