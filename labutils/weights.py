"""Weight files: where they are, how they come here, and whether they are intact.

Two kinds. *Bundled* files lie in ``data/models`` and are listed in its ``manifest.json``; they come with labutils.
*Remote* files (`REMOTE`) are fetched on request; they stay in Keras's own cache, where ``keras.applications`` and
vit-keras look for them too, so that all share one download.

A file counts as present only when it is whole (at its full size or, of a zip file without a published digest, with the
directory that a zip file ends in), and is moved to its place only once it is complete and its digest is right: a
download that broke off is never used, and goes on where it stopped (`labutils.downloads`).

Bundled files have SHA-256 digests. Of remote ones the publishers give MD5, or nothing but the checksums inside a zip file;
the first copy that these show to be intact has its SHA-256 written beside it (``NAME.sha256``, as ``sha256sum`` writes
it), and from then on it is held to that.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from labutils import downloads

CHECKSUMS_INSIDE = "zip:crc32"
"""Digest of a zip file (an ``.npz`` is one) whose publisher gives none: its members carry a CRC-32 each."""


class WeightsError(OSError):
    """A weight file is missing, damaged or out of reach; the message says which and what to do."""


@dataclass(frozen=True)
class WeightFile:
    """One weight file.

    Attributes
    ----------
    name : str
        What `find`, `fetch` and `verify` call it.
    path : pathlib.Path
        Where it belongs on this machine, whether or not it is there.
    digest : str
        ``"sha256:<hex>"``; ``"md5:<hex>"`` where that is what the publisher gives, `CHECKSUMS_INSIDE` where it gives
        none.
    bytes : int
        Its size; a little less than that with `CHECKSUMS_INSIDE`: of its arrays alone, without their headers.
    licence : str
    origin : str
        Who made it or, for a remote file, the address it is fetched from.
    remote : bool
        Whether it is fetched rather than bundled.
    """

    name: str
    path: Path
    digest: str
    bytes: int
    licence: str
    origin: str
    remote: bool

    @property
    def size(self) -> str:
        """Its size as people say it, "528 MB" (of 2 ** 20 bytes, as Keras counts)."""
        return readable(self.bytes)


class State(NamedTuple):
    """What there is of a weight file; `detail` says how much of an incomplete one, and what is wrong with a damaged one."""

    state: Literal["here", "not here", "incomplete", "damaged"]
    detail: str = ""


@dataclass(frozen=True)
class Remote:
    """What is known of a remote file before it is on this machine.

    `folder` is where in Keras's cache it belongs; the other fields are those of `WeightFile`.
    """

    origin: str
    digest: str
    bytes: int
    licence: str
    folder: str = "models"

    @property
    def file(self) -> str:
        """The file's own name, the last part of its address."""
        return self.origin.rsplit("/", 1)[-1]


_KERAS_VGG16 = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
_VGG16_LICENCE = "CC BY 4.0 (Visual Geometry Group, Oxford; converted for Keras)"
_VIT_KERAS = "https://github.com/faustomorales/vit-keras/releases/download/dl/"
_VIT_LICENCE = "Apache-2.0 (google-research/vision_transformer; distributed by vit-keras)"

# Addresses and digests are Keras's own (keras/src/applications/vgg16.py and imagenet_utils.py); it publishes MD5.
# Those of the ViTs are vit-keras's, which gives neither digest nor size: 86,859,496 and 88,297,192 numbers of float32,
# with the positions of the 384 x 384 photos that the networks were fine-tuned on.
REMOTE: dict[str, Remote] = {
    "vgg16-imagenet": Remote(
        _KERAS_VGG16 + "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        "md5:64373286793e3c8b2b4e3219cbf3544b",
        553_467_096,
        _VGG16_LICENCE,
    ),
    "vgg16-imagenet-notop": Remote(
        _KERAS_VGG16 + "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5:6d6bbae143d832006294945121d1f1fc",
        58_889_256,
        _VGG16_LICENCE,
    ),
    "imagenet-classes": Remote(
        "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
        "md5:c2c37ea517e94d9795004a39431a14cb",
        35_363,
        "class names of ImageNet (WordNet licence)",
    ),
    "vit-b16-imagenet": Remote(
        _VIT_KERAS + "ViT-B_16_imagenet21k+imagenet2012.npz",
        CHECKSUMS_INSIDE,
        4 * 86_859_496,
        _VIT_LICENCE,
        folder="weights",
    ),
    "vit-b32-imagenet": Remote(
        _VIT_KERAS + "ViT-B_32_imagenet21k+imagenet2012.npz",
        CHECKSUMS_INSIDE,
        4 * 88_297_192,
        _VIT_LICENCE,
        folder="weights",
    ),
}


def models_folder() -> Path:
    """The folder of the bundled weights.

    ``LABUTILS_DATA`` names the data folder that holds ``models/``; otherwise it is ``data/`` beside the package in a
    checkout, or the copy inside an installed package.
    """
    if override := os.environ.get("LABUTILS_DATA"):
        return Path(override).expanduser() / "models"
    package = Path(__file__).resolve().parent
    checkout = package.parent / "data" / "models"
    return checkout if checkout.is_dir() else package / "bundled"


def keras_cache() -> Path:
    """Keras's own folder, which has one for each kind of file; ``KERAS_HOME`` moves it, as it does for Keras."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def files() -> dict[str, WeightFile]:
    """Every known weight file by name, bundled ones first.

    Raises
    ------
    WeightsError
        When the manifest of the bundled weights is unreadable. A missing one means that there are no bundled weights.
    """
    return {**_bundled(), **{name: _placed(name, remote) for name, remote in REMOTE.items()}}


def find(name: str) -> Path | None:
    """The file's path when it is on this machine and whole, else None. Its content is not read through: see `verify`.

    Raises
    ------
    ValueError
        When no file has this name.
    """
    file = _known(name)
    return file.path if file.path.is_file() and _lacking(file.path, file) is None else None


def state(name: str) -> State:
    """What there is of the file on this machine, seen without reading it through.

    Raises
    ------
    ValueError
        When no file has this name.
    """
    file = _known(name)
    if find(name):
        return State("here")
    if started := downloads.started(file.path):
        here, whole = started
        return State("incomplete", f"{readable(here)} of {readable(whole or file.bytes)} are here")
    if file.path.is_file():
        return State("damaged", _lacking(file.path, file) or "")
    return State("not here")


def verify(name: str) -> Path:
    """The file's path, once its size and digest have been checked.

    A remote file is held to the SHA-256 that was recorded when it was first found intact; where there is none yet, to its
    publisher's digest, and then its SHA-256 is recorded.

    Raises
    ------
    ValueError
        When no file has this name.
    WeightsError
        When it is missing or damaged.
    """
    file = _known(name)
    if not file.path.is_file():
        found = state(name)
        there = f"is incomplete: {found.detail}" if found.state == "incomplete" else "is not on this machine"
        raise WeightsError(f"{name} {there} (expected at {file.path}). {_way_out(file)}")
    if damage := _damage(file.path, file):
        raise WeightsError(f"{file.path} is damaged: {damage}. {_way_out(file)}")
    if not _recorded(file.path):
        _record(file)
    return file.path


def fetch(name: str) -> Path:
    """The path of an intact file, downloaded first when it is not here, with a progress bar.

    A download that stopped, for whatever reason, goes on where it was when this is called again.

    ``LABUTILS_MIRROR`` takes the place of each file's own server: one or several addresses that end in a folder
    (``https://``, ``http://``, ``file://``) or folders, with spaces or commas between them, tried in this order; the
    file's name is appended.

    Raises
    ------
    ValueError
        When no file has this name.
    WeightsError
        When no server can be reached, or gives the intact file, or it cannot be written.
    """
    file = _known(name)
    try:
        return verify(name)
    except WeightsError:
        if not (addresses := _addresses(file)):
            raise
    # Of a zip file only the least size is known.
    size = None if file.digest == CHECKSUMS_INSIDE else file.bytes
    try:
        downloads.download(addresses, file.path, lambda path: _damage(path, file), size=size)
    except downloads.FolderError as error:
        elsewhere = f"set {'KERAS_HOME' if file.remote else 'LABUTILS_DATA'} to a folder elsewhere"
        raise WeightsError(
            f"cannot download {file.path.name} ({file.size}): {error}. Mend that, or {elsewhere}."
        ) from error
    except downloads.DownloadError as error:
        raise _out_of_reach(file, error) from error
    _record(file)
    return file.path


def readable(count: int) -> str:
    """A number of bytes as people say it."""
    return f"{count / 2**20:,.0f} MB" if count >= 2**20 else f"{count / 2**10:,.0f} kB"


def _known(name: str) -> WeightFile:
    known = files()
    if name not in known:
        raise ValueError(f"no weight file is called {name!r}; there are: {', '.join(known)}")
    return known[name]


def _bundled() -> dict[str, WeightFile]:
    folder = models_folder()
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return {}
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
        return {
            name: WeightFile(
                name,
                folder / entry["file"],
                f"sha256:{entry['sha256']}",
                entry["bytes"],
                entry["licence"],
                entry["origin"],
                remote=False,
            )
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{manifest} is not a manifest of weights ({error!r}). {_BUNDLED_WAY_OUT}") from error


def _placed(name: str, remote: Remote) -> WeightFile:
    path = keras_cache() / remote.folder / remote.file
    return WeightFile(name, path, remote.digest, remote.bytes, remote.licence, remote.origin, remote=True)


def _lacking(path: Path, file: WeightFile) -> str | None:
    """What shows, without reading it all, that `path` is not the whole of `file`; None where nothing does."""
    if file.digest == CHECKSUMS_INSIDE:
        try:
            zipfile.ZipFile(path).close()
        except Exception as error:  # Altered bytes make zipfile raise many kinds.
            return f"it is not a whole zip file ({error})"
        return None
    size = path.stat().st_size
    return None if size == file.bytes else f"{size:,} bytes instead of {file.bytes:,}"


def _damage(path: Path, file: WeightFile) -> str | None:
    """What shows that `path` does not hold `file`, whole and unaltered; None where nothing does."""
    return _lacking(path, file) or _altered(path, file)


def _altered(path: Path, file: WeightFile) -> str | None:
    """What shows that the content of `path` is not that of `file`; None where nothing does."""
    if not file.digest.startswith("sha256:") and (recorded := _recorded(path)):
        altered = _digest(path, "sha256") != recorded
        return f"its SHA-256 is not the one in {_record_path(path).name}, of when it was intact" if altered else None
    if file.digest == CHECKSUMS_INSIDE:
        try:
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
        except Exception as error:
            return f"one of its arrays cannot be read ({error})"
        return bad and f"its array {bad.removesuffix('.npy')!r} does not match its checksum"
    algorithm, _, expected = file.digest.partition(":")
    return None if _digest(path, algorithm) == expected else "its content does not match its digest"


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str | None:
    """The SHA-256 that the content of `path` had when it was first found intact; None where none is written down."""
    try:
        found = re.match(r"[0-9a-f]{64}\b", _record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found and found[0]


def _record(file: WeightFile) -> None:
    """Write down the SHA-256 of an intact file whose publisher gives none."""
    if file.digest.startswith("sha256:"):
        return
    # A cache that may only be read, as of a class, goes without.
    with suppress(OSError):
        line = f"{_digest(file.path, 'sha256')}  {file.path.name}\n"
        _record_path(file.path).write_text(line, encoding="utf-8", newline="\n")


def _addresses(file: WeightFile) -> list[str]:
    """Where the file can be fetched from, best first; nowhere, for a bundled one without a mirror."""
    mirrors = os.environ.get("LABUTILS_MIRROR", "").strip()
    if not mirrors:
        return [file.origin] if file.remote else []
    # A folder is looked for first: its name may hold spaces.
    given = [mirrors] if Path(mirrors).is_dir() else [text for text in re.split(r"[\s,]+", mirrors) if text]
    return [f"{_as_address(text).rstrip('/')}/{file.path.name}" for text in given]


def _as_address(mirror: str) -> str:
    if re.match(r"(https?|ftp|file)://", mirror):
        return mirror
    folder = Path(mirror).expanduser()
    if not folder.is_dir():
        raise WeightsError(f"LABUTILS_MIRROR names {mirror!r}, which is neither an address (https://...) nor a folder")
    return folder.absolute().as_uri()


_BUNDLED_WAY_OUT = "It comes with labutils: restore it from the repository, or set LABUTILS_DATA to the folder data/."


def _way_out(file: WeightFile) -> str:
    return f"Get it with: labutils weights fetch {file.name}" if file.remote else _BUNDLED_WAY_OUT


def _out_of_reach(file: WeightFile, reason: Exception) -> WeightsError:
    kept = ""
    if started := downloads.started(file.path):
        kept = f" {readable(started[0])} of it are here; the same command goes on from there."
    return WeightsError(
        f"cannot download {file.path.name} ({file.size}) from {reason}.{kept} Ways on: use the weights "
        f"that come with labutils (weights='bundled'); copy the file from elsewhere to {file.path.parent}; or name a "
        "server or folder that has it in LABUTILS_MIRROR."
    )
