"""Downloads that go on where they stopped, and that give a file its name only when it is whole and checked.

What has come of ``NAME`` lies beside the place where it belongs, as ``NAME.part``; ``NAME.part.json`` holds the address,
the size, and the server's mark of this version of the file (its ETag, or its date). A server that no longer has that
version, or cannot send a part of a file, sends all of it anew. One process at a time downloads a file; others wait for
it. urllib reads, because it knows proxies, ``https://`` and ``file://``.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from labutils import __version__

if os.name == "nt":
    import msvcrt
else:
    import fcntl

PROBE_SECONDS = 10.0
"""How long a server may take to answer at all before it counts as out of reach."""

STALL_SECONDS = 30.0
"""How long a running download may go without a byte."""

CONNECTIONS = 20
"""How often a download is taken up again at once when its connection breaks, as long as each brings something."""

WAIT_SECONDS = 0.2  # between two looks at whether another process is done
BAR_SECONDS = 0.5  # what comes faster needs no progress bar
BLOCK = 1 << 20


class DownloadError(OSError):
    """A file could not be downloaded; the message says why, for each address that was tried."""


class FolderError(DownloadError):
    """The file cannot be written where it belongs: no space is left, or the folder may not be written to."""


class _WrongFileError(OSError):
    """The server sends something else; what is already here is left as it is."""


def download(
    addresses: Sequence[str], path: Path, check: Callable[[Path], str | None], *, size: int | None = None
) -> None:
    """Bring a file to its place from the first address that gives it whole, with a progress bar.

    Parameters
    ----------
    addresses
        ``https://``, ``http://`` or ``file://``, tried in this order. Each goes on with what the one before brought.
    path : pathlib.Path
        Where the file belongs.
    check
        Gets the path of the complete file, and gives what is wrong with it, or None.
    size : int
        In bytes; None where it is not known before.

    Raises
    ------
    FolderError
        When the file cannot be written.
    DownloadError
        When no address gives it. What came is kept, unless it is damaged.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    with _alone(path):
        if path.is_file() and check(path) is None:
            return  # Another process brought it meanwhile.
        for address in addresses:
            try:
                return _bring(address, path, check, size)
            except FolderError:
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:
                failures.append(f"{address}: {_reason(error)}")
    raise DownloadError(" | ".join(failures))


def started(path: Path) -> tuple[int, int | None] | None:
    """How many bytes of an unfinished download are here, and of how many if that is known; None where there is none."""
    size = _size(_part(path))
    return (size, _notes(path).get("size")) if size else None


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _notes_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _notes(path: Path) -> dict[str, Any]:
    """What is known of the unfinished download of `path`: its address, size and version; nothing where unreadable."""
    try:
        notes = json.loads(_notes_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _discard(path: Path) -> None:
    """Remove what has come of `path`."""
    with _writing(path):
        _part(path).unlink(missing_ok=True)
        _notes_path(path).unlink(missing_ok=True)


def _bring(address: str, path: Path, check: Callable[[Path], str | None], size: int | None) -> None:
    """Complete the file from one address, check it, and move it to its place."""
    went_on = _size(_part(path)) > 0
    _complete(address, path, size)
    if damage := check(_part(path)):
        _discard(path)
        if not went_on:
            raise _WrongFileError(f"what came is damaged and was removed: {damage}")
        print(f"{path.name}: with what was here before it is damaged; removed, starting anew", file=sys.stderr)
        return _bring(address, path, check, size)
    with _writing(path):
        os.replace(_part(path), path)
        _notes_path(path).unlink(missing_ok=True)


def _complete(address: str, path: Path, size: int | None) -> None:
    """Add what is missing, in several connections where they break and each brings something."""
    for _ in range(CONNECTIONS):
        before = _size(_part(path))
        try:
            return _add(address, path, size)
        except (FolderError, _WrongFileError, urllib.error.HTTPError):
            raise
        except (OSError, http.client.HTTPException):
            if _size(_part(path)) <= before:
                raise
    raise ConnectionError(f"the connection broke {CONNECTIONS} times")


def _add(address: str, path: Path, size: int | None) -> None:
    """Add what is missing, in one connection."""
    part, notes = _part(path), _notes(path)
    here, total = _size(part), size or notes.get("size")
    if here and here == total:
        return
    headers = {"User-Agent": f"labutils/{__version__}"}
    if here:
        headers["Range"] = f"bytes={here}-"
        if notes.get("address") == address and notes.get("version"):
            headers["If-Range"] = notes["version"]
    try:
        response = _answer(urllib.request.Request(address, headers=headers))
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not here:
            raise
        if error.headers.get("Content-Range") == f"bytes */{here}":
            return  # All of it is here.
        _discard(path)
        return _add(address, path, size)
    with response:
        start, length = _span(response)
        _require_expected(response, length, size)
        if start != 0 and here and (start != here or (total and length and length != total)):
            _discard(path)
            return _add(address, path, size)
        if start not in (0, here):
            raise _WrongFileError("the server sends a part of the file that it was not asked for")
        _require_room(path, (length or 0) - here)
        _note(path, address, response, length)
        _copy(response, path, start, length or size)
    here, length = _size(part), length or size
    if length and here > length:
        _discard(path)
        raise _WrongFileError(f"the file there has more than {length:,} bytes")
    if length and here < length:
        raise ConnectionError(f"the connection broke off after {here:,} of {length:,} bytes")


def _answer(request: urllib.request.Request) -> Any:
    """The server's response, or its absence as an error within `PROBE_SECONDS`.

    It is waited for in a thread of its own because looking up a host's name obeys no timeout.
    """
    outcome: queue.SimpleQueue = queue.SimpleQueue()

    def ask() -> None:
        try:
            outcome.put(urllib.request.urlopen(request, timeout=STALL_SECONDS))
        except Exception as error:
            outcome.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = outcome.get(timeout=PROBE_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {PROBE_SECONDS:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _span(response: Any) -> tuple[int | None, int | None]:
    """Where in the file the response begins, and the whole file's size; None where the server does not say it."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        return (int(found[1]), None if found[2] == "*" else int(found[2])) if found else (None, None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _require_expected(response: Any, length: int | None, size: int | None) -> None:
    if response.headers.get_content_type() == "text/html":
        raise _WrongFileError("a web page came instead of the file (a network's log-in page? open it in a browser)")
    if size and length and length != size:
        raise _WrongFileError(f"the file there has {length:,} bytes instead of {size:,}")


def _require_room(path: Path, missing: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if missing > free:
        raise FolderError(
            f"no space is left in {path.parent}: {missing / 2**20:,.0f} MB are needed and {free / 2**20:,.0f} MB are free"
        )


def _note(path: Path, address: str, response: Any, length: int | None) -> None:
    etag = response.headers.get("ETag")
    # A weak ETag ("much the same content") does not identify bytes; RFC 9110 bars it from If-Range.
    version = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    with _writing(path):
        notes = {"address": address, "version": version, "size": length}
        _notes_path(path).write_text(json.dumps(notes), encoding="utf-8")


def _copy(response: Any, path: Path, start: int, length: int | None) -> None:
    """Write what comes behind the first `start` bytes; all that came is on the disk however this ends.

    It ends with the response, or when there is more than `length`.
    """
    from tqdm.auto import tqdm

    bar = tqdm(
        desc=path.name, total=length, initial=start, unit="B", unit_scale=True, unit_divisor=1024, delay=BAR_SECONDS
    )
    # Without a buffer: one would try to write once more when it is closed, and hide the first error behind a second.
    with _writing(path):
        stream = _part(path).open("ab" if start else "wb", buffering=0)
    with stream, bar:
        # read1 gives what there is; read would wait for a whole block, and lose it when the connection breaks.
        while block := response.read1(BLOCK):
            rest = memoryview(block)
            while rest:
                with _writing(path):
                    rest = rest[stream.write(rest) :]
            bar.update(len(block))
            if length and stream.tell() > length:
                break
        with _writing(path):
            os.fsync(stream.fileno())


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Errors of the file system as `FolderError`, so that they are not taken for the server's."""
    try:
        yield
    except OSError as error:
        raise FolderError(f"cannot write to {path.parent}: {error.strerror or error}") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process downloads to `path`, and keep others waiting meanwhile."""
    lock = path.with_name(f"{path.name}.lock")
    told = False
    while True:
        with _writing(path):
            stream = lock.open("ab")
        # The one before removed the file: a lock on a removed file keeps nobody waiting.
        with suppress(FileNotFoundError):
            if _locked(stream) and os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                break
        stream.close()
        if not told:
            print(f"{path.name}: another process is downloading it; waiting for that", file=sys.stderr)
            told = True
        time.sleep(WAIT_SECONDS)
    try:
        yield
    finally:
        if os.name == "nt":  # where an open file cannot be removed
            stream.close()
        with suppress(OSError):
            lock.unlink()
        stream.close()


def _locked(stream: BinaryIO) -> bool:
    """Whether the file is now ours; the operating system frees it when the process ends, however it ends."""
    try:
        if os.name == "nt":
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # A file system without locks: the digest will tell if two got in each other's way.
    return True


def _reason(error: Exception) -> str:
    """Why, without what is for programmers: urllib wraps the system's errors, which carry numbers."""
    if isinstance(error, urllib.error.HTTPError):
        return str(error)
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__
