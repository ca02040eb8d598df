"""Weight files: where they are, how they come here, and whether they are intact.

Two kinds. *Bundled* files lie in ``data/models`` and are listed in its ``manifest.json``; they come with labutils.
*Remote* files (`REMOTE`) are fetched on request; they stay in Keras's own cache, where ``keras.applications`` and
vit-keras look for them too, so that all share one download.

A file counts as present only when it is whole (at its full size or, of a zip file without a published digest, with the
directory that a zip file ends in), and is moved to its place only once it is complete and its digest is right: a
download that broke off is never used.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROBE_SECONDS = 5.0
"""How long a server may take to answer at all before it counts as out of reach."""

STALL_SECONDS = 30.0
"""How long a running download may go without a byte."""

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
        """Its size as messages give it."""
        return f"about {self.bytes / 1e6:.0f} MB" if self.digest == CHECKSUMS_INSIDE else f"{self.bytes:,} bytes"


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


def verify(name: str) -> Path:
    """The file's path, once its size and digest have been checked.

    Raises
    ------
    ValueError
        When no file has this name.
    WeightsError
        When it is missing or damaged.
    """
    file = _known(name)
    if not file.path.is_file():
        raise WeightsError(f"{name} is not on this machine (expected at {file.path}). {_way_out(file)}")
    damage = _lacking(file.path, file) or _altered(file.path, file)
    if damage:
        raise WeightsError(f"{file.path} is damaged: {damage}. {_way_out(file)}")
    return file.path


def fetch(name: str) -> Path:
    """The path of an intact file, downloaded first when it is not here.

    ``LABUTILS_MIRROR`` (an address ending in a folder, ``https://`` or ``file://``) takes the place of each file's own
    server; the file's name is appended.

    Raises
    ------
    ValueError
        When no file has this name.
    WeightsError
        When the server cannot be reached, stalls, or sends something else; nothing is left behind.
    """
    file = _known(name)
    try:
        return verify(name)
    except WeightsError:
        mirror = os.environ.get("LABUTILS_MIRROR")
        if not (file.remote or mirror):
            raise
    url = f"{mirror.rstrip('/')}/{file.path.name}" if mirror else file.origin
    _require_answer(url, file)
    _download(url, file)
    return file.path


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


def _altered(path: Path, file: WeightFile) -> str | None:
    """What shows that the content of `path` is not that of `file`; None where nothing does."""
    if file.digest == CHECKSUMS_INSIDE:
        try:
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
        except Exception as error:
            return f"one of its arrays cannot be read ({error})"
        return bad and f"its array {bad.removesuffix('.npy')!r} does not match its checksum"
    algorithm = file.digest.partition(":")[0]
    with path.open("rb") as stream:
        digest = f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"
    return None if digest == file.digest else "its content does not match its digest"


_BUNDLED_WAY_OUT = "It comes with labutils: restore it from the repository, or set LABUTILS_DATA to the folder data/."


def _way_out(file: WeightFile) -> str:
    return f"Get it with: labutils weights fetch {file.name}" if file.remote else _BUNDLED_WAY_OUT


def _out_of_reach(url: str, file: WeightFile, reason: object) -> WeightsError:
    return WeightsError(
        f"cannot download {file.path.name} ({file.size}) from {url}: {reason}. Ways on: use the weights "
        f"that come with labutils (weights='bundled'); copy the file from elsewhere to {file.path.parent}; or name a "
        "server that has it in LABUTILS_MIRROR."
    )


def _require_answer(url: str, file: WeightFile) -> None:
    """Raise at once when nothing answers at `url`.

    The question is asked in a thread of its own because looking up a host's name obeys no timeout, and through urllib
    because that honours the proxies that the download will use.
    """
    outcome: list[BaseException | None] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS).close()
            outcome.append(None)
        except urllib.error.HTTPError:
            outcome.append(None)  # An answer, if not to this question: some servers refuse HEAD. The download will say.
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    error = outcome[0] if outcome else TimeoutError(f"no answer within {PROBE_SECONDS:g} s")
    if error is not None:
        raise _out_of_reach(url, file, getattr(error, "reason", error)) from error


def _download(url: str, file: WeightFile) -> None:
    """Fetch with Keras's downloader (progress bar, digest) into a folder of its own; move into place when complete."""
    import keras

    algorithm, _, expected = file.digest.partition(":")
    hashed = {} if file.digest == CHECKSUMS_INSIDE else {"file_hash": expected, "hash_algorithm": algorithm}
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=file.path.parent) as folder, _stall_limit():
            complete = keras.utils.get_file(file.path.name, url, cache_dir=folder, cache_subdir="", **hashed)
            if not hashed and (damage := _lacking(Path(complete), file) or _altered(Path(complete), file)):
                raise ValueError(f"what came is damaged: {damage}")
            os.replace(complete, file.path)
    except Exception as error:  # get_file raises bare Exception for what the server said.
        raise _out_of_reach(url, file, error) from error


@contextmanager
def _stall_limit() -> Iterator[None]:
    """Give new sockets a timeout; Keras's downloader takes none itself."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
