"""Photos in: any picture file to a ``(height, width, 3)`` uint8 array, sample photos by name, mosaics.

Everything here works without a network and without TensorFlow. Arrays are RGB, uint8, 0 to 255, row 0 at the top, as
the photo is meant to be seen; ``size`` is always ``(height, width)`` in pixels, as in Keras.

How a photo becomes an array
    Only the first frame of an animation is taken. The orientation that a phone notes in EXIF is applied. Transparent
    parts are laid over **white**. Grey becomes three equal channels, CMYK is converted to RGB (JPEGs as Adobe writes
    them, inverted), 16 bits become 8. Embedded colour profiles are not applied. A photo whose end is missing is an
    error, not a photo with a grey bottom.

How it is resized
    With Pillow's antialiased bilinear filter, after an averaging reduction where the photo is much larger than asked
    for. ``keras.utils.load_img`` takes the nearest pixel by default, which drops most of a phone photo's pixels and
    makes fine texture flicker; the values therefore differ a little from Keras's.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import io
import os
import struct
import threading
import unicodedata
import warnings
import zlib
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple, Union

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

Fit = Literal["stretch", "crop", "pad"]
Source = Union[str, os.PathLike, bytes, bytearray, memoryview, IO[bytes], "Image.Image"]

MAX_PIXELS = 250_000_000
"""Photos beyond this are refused from their header alone; the largest phone sensors have 200 megapixels."""

MAX_DECODED_PIXELS = 100_000_000
"""What may be unpacked at full resolution, some 0.4 GB. JPEGs come under it because they can be unpacked smaller."""

PAD_COLOUR = (124, 116, 104)
"""The mean colour of ImageNet, which VGG16's preprocessing turns into 0: padding that says nothing."""

FITS: tuple[Fit, ...] = ("stretch", "crop", "pad")

# Formats are listed, not "all that Pillow knows": its EPS reader runs Ghostscript. HEIF is there for those who have
# installed pillow-heif.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "HEIF")
_POSSIBLE = "JPEG, PNG, WebP, GIF, BMP or TIFF"
_DAMAGED = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)
_RAW = "is a camera's raw file, which cannot be developed here. Export it as JPEG from your photo program."
_TIFF_SUBFILE, _REDUCED = 254, 1  # raw files are TIFFs whose first picture is marked as a reduced version of another
_LONGEST_NAME = 255  # bytes, on every common file system
_LITTER = {".ds_store", ".gitkeep", ".gitignore", ".ipynb_checkpoints", "thumbs.db", "desktop.ini", "readme.md"}
_pillow_limit = threading.Lock()


class PhotoError(ValueError):
    """A file that cannot be used as a photo; the message names it, says why, and what is possible."""


# --- one photo ------------------------------------------------------------------------------------------------------


def load(source: Source, size: tuple[int, int] | None = (224, 224), *, fit: Fit = "stretch") -> np.ndarray:
    """A photo as an array.

    Parameters
    ----------
    source
        Path of a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file; or its bytes; or an open binary file; or a Pillow image.
    size
        ``(height, width)`` of the result in pixels; None keeps the photo's own size.
    fit
        ``"stretch"`` changes the aspect ratio (as Keras does), ``"crop"`` keeps it and cuts off what sticks out,
        ``"pad"`` keeps it and fills up with `PAD_COLOUR`.

    Returns
    -------
    numpy.ndarray
        ``(height, width, 3)`` uint8, RGB, 0 to 255.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        With near names, or what to give instead.
    PhotoError
        Not a photo, a damaged or cut-off one, or one too large to unpack. A `ValueError`.
    """
    from PIL import Image

    size = _checked_size(size)
    if fit not in FITS:
        raise ValueError(f"fit is one of {', '.join(map(repr, FITS))}, not {fit!r}.")
    if isinstance(source, Image.Image):
        rgb = _unpacked(source, "the given image", size)
    else:
        name, file = _open_source(source)
        with file:
            rgb = _unpacked(_opened(file, name, size), name, size)
    return np.array(rgb if size is None else _fitted(rgb, size, fit))


def _checked_size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """`size` as two ints, or None; an error for anything else."""
    if size is None:
        return None
    message = f"size is (height, width) in pixels, such as (224, 224), or None for the photo's own; not {size!r}."
    if isinstance(size, (str, bytes)) or not isinstance(size, Iterable):
        raise TypeError(message)
    pair = tuple(size)
    if len(pair) != 2 or not all(isinstance(side, (int, np.integer)) and side > 0 for side in pair):
        raise ValueError(message)
    return int(pair[0]), int(pair[1])


def _open_source(source: Source) -> tuple[str, IO[bytes]]:
    """What to call the photo in messages, and a file to read it from that may be closed."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the given bytes", io.BytesIO(bytes(source))
    if isinstance(source, (str, os.PathLike)):
        return str(source), _open_path(source)
    if hasattr(source, "read"):
        try:
            content = source.read()
        except UnicodeDecodeError:
            content = None
        if not isinstance(content, bytes):
            raise TypeError("The photo's file is open in text mode; open it with mode 'rb'.")
        return str(getattr(source, "name", "the open file")), io.BytesIO(content)
    hint = {"ndarray": " An array is loaded already.", "list": " Load one at a time.", "tuple": " Load one at a time."}
    kind = type(source).__name__
    raise TypeError(
        f"A photo is given as a path, as bytes, as an open binary file or as a Pillow image; not as {kind}."
        + hint.get(kind, "")
    )


def _open_path(source: str | os.PathLike) -> IO[bytes]:
    """The file, opened; or an error that says what is at that path instead."""
    text = os.fsdecode(source)
    if text.lower().startswith(("http://", "https://", "ftp://", "file://", "data:")):
        advice = "Leave out file://" if text.lower().startswith("file:") else "Download the photo first"
        raise PhotoError(f"{_shortened(text)} is an address, not a file. {advice}, then give the file's path.")
    path = Path(text).expanduser()
    if not text or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise FileNotFoundError(f"{_shortened(text)} is too long for a file's name." if text else "The path is empty.")
    try:
        if not path.exists():
            raise FileNotFoundError(_missing(path))
        if path.is_dir():
            raise IsADirectoryError(
                f"{path} is a folder, not a photo. Give one file in it{_examples(path)}; "
                "labutils.photos.load_folder reads all of them."
            )
        if not path.is_file():
            raise PhotoError(f"{path} is neither a file nor a folder (a device or a pipe), so not a photo.")
        return path.open("rb")
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read by you: change its permissions, or copy it.") from error


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:60]}... ({len(text)} characters)"


def _examples(folder: Path) -> str:
    names = [entry.name for entry in _entries(folder) if entry.is_file() and entry.name.lower() not in _LITTER]
    return f" (such as {', '.join(names[:3])})" if names else ""


def _missing(path: Path) -> str:
    """Message for a path that is not there: the first part of it that is missing, and names close to that part."""
    if path.is_symlink():
        return f"{path} is a link to {os.readlink(path)}, which is not there."
    # Absolute, so that "photos/cat.jpg" also says where it was looked for.
    absolute = Path(os.path.abspath(path))
    first_missing = absolute
    while not first_missing.parent.is_dir() and first_missing.parent != first_missing:
        first_missing = first_missing.parent
    if first_missing.exists():
        return f"There is no {path}: {first_missing} is a file, not a folder."
    folder = first_missing.parent
    message = f"There is no {path}"
    if first_missing != absolute:
        message += f": the folder {first_missing} is not there"
    elif not path.is_absolute():
        message += f" (looked in {folder})"
    near = _near(first_missing.name, [entry.name for entry in _entries(folder)])
    return f"{message}. Did you mean {' or '.join(near)}?" if near else f"{message}."


def _near(name: str, names: Sequence[str]) -> list[str]:
    """Up to three of `names` that a person may have meant by `name`; letter case and Unicode form do not count."""

    def folded(text: str) -> str:
        return unicodedata.normalize("NFC", text).casefold()

    originals = {folded(candidate): candidate for candidate in reversed(names)}
    close = difflib.get_close_matches(folded(name), originals, n=3, cutoff=0.6)
    # "cat" for "cat.jpg" is too short a match for difflib, and the commonest slip where extensions are hidden.
    stem = [key for key in originals if Path(key).stem == Path(folded(name)).stem and key not in close]
    return [originals[key] for key in [*stem, *close]][:3]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda entry: entry.name.casefold())
    except OSError:
        return []


# --- decoding -------------------------------------------------------------------------------------------------------


def _opened(file: IO[bytes], name: str, size: tuple[int, int] | None) -> Image.Image:
    """Pillow's image of the photo in `file`, not unpacked; a JPEG will be unpacked smaller, but well above `size`."""
    head = file.read(1024)
    if not head:
        raise PhotoError(f"{name} is empty (0 bytes): the download or copy did not finish.")
    picture = _identify(file, name, head)
    if size is not None:
        picture.draft(None, (_room(size), _room(size)))  # only JPEG can unpack smaller, others ignore it
    return picture


def _room(size: tuple[int, int]) -> int:
    """A photo is shrunk no further than to this many pixels before the good filter: three times the asked-for size."""
    return 3 * max(size)


def _unpacked(picture: Image.Image, name: str, size: tuple[int, int] | None) -> Image.Image:
    """The picture as an upright RGB image: at its own size, or smaller but well above `size`."""
    from PIL import Image

    width, height = picture.size
    if width * height > MAX_DECODED_PIXELS:
        raise PhotoError(
            f"{name} is {width} x {height} pixels, which take too much memory to unpack; at most "
            f"{MAX_DECODED_PIXELS / 1e6:.0f} megapixels are possible (a JPEG loaded at a smaller size: "
            f"{MAX_PIXELS / 1e6:.0f}). Save a smaller copy of it."
        )
    try:
        picture.load()
        rgb = _to_rgb(picture, name)
        orientation = _orientation(picture)
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoError(
            f"{name} ({width} x {height} pixels) does not fit into memory; save a smaller copy."
        ) from error
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise PhotoError(
            f"{name} is damaged or its end is missing ({error}), so part of the photo would be blank. "
            "Download or copy it again, or open and save it with an image editor."
        ) from error
    if size is not None and (factor := min(rgb.width, rgb.height) // _room(size)) > 1:
        rgb = rgb.reduce(factor)
    return _upright(rgb, orientation)


def _identify(file: IO[bytes], name: str, head: bytes) -> Image.Image:
    """Pillow's image with only its header read; an error that says what the file is where that is no photo."""
    from PIL import Image, UnidentifiedImageError

    Image.init()
    _register_heif()
    formats = [known for known in _FORMATS if known in Image.OPEN]
    try:
        # Pillow's own limit would refuse the largest honest phone photos; it is a module global, hence the lock.
        with _pillow_limit, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS // 2
            try:
                picture = Image.open(file, formats=formats)
            finally:
                Image.MAX_IMAGE_PIXELS = before
        if picture.format == "TIFF" and picture.tag_v2.get(_TIFF_SUBFILE, 0) & _REDUCED:
            raise PhotoError(f"{name} {_RAW} What can be read here is only the small preview in it.")
        return picture
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"{name} claims more pixels than any camera has and was not unpacked: {error} Save a smaller copy of it."
        ) from error
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name} {_what_it_is(head)}") from error
    except _DAMAGED as error:
        raise PhotoError(
            f"{name} is damaged: its header cannot be read ({error}). Download or copy it again, or open and save it "
            "with an image editor."
        ) from error


@functools.cache
def _register_heif() -> None:
    """Let Pillow read HEIC where the package for it is installed."""
    if find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()


def _what_it_is(head: bytes) -> str:
    """The rest of the sentence "<file> ..." for a file that Pillow does not know, from its first bytes."""
    kind = head[8:12] if head[4:8] == b"ftyp" or head[:4] == b"RIFF" else b""
    if kind[:3] in (b"hei", b"hev", b"mif", b"msf"):
        return (
            "is a HEIC photo, as iPhones take them, which cannot be read here. Convert it to JPEG: on a Mac with "
            "Preview (File, Export), on Windows with Photos (Save as), on the phone by sharing it by mail; or set the "
            "iPhone's Camera, Formats to Most Compatible. With the package pillow-heif installed it can be read."
        )
    if kind[:3] == b"avi":
        return (
            "is an AVIF photo that is damaged or cut off, or too new for this version of Pillow (AVIF needs 11.3). "
            "Download or copy it again, or save it as JPEG or PNG."
        )
    if kind == b"crx ":
        return _RAW
    if kind == b"AVI " or head[4:8] == b"ftyp" or head.startswith(b"\x1aE\xdf\xa3"):
        return "is a video, not a photo. Save one frame of it as JPEG or PNG."
    if not any(head):
        return "starts with nothing but zeros, as a copy that did not finish does. Download or copy it again."
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    tiff = (
        "is a TIFF of a kind that cannot be read here (big-endian BigTIFF, a camera's raw file), or one that is cut off. "
        "Save it as JPEG or PNG."
    )
    kinds = {
        b"%pdf": "is a PDF document. Export its picture as JPEG or PNG (a screenshot will do).",
        b"8bps": "is a Photoshop document. Export it as JPEG or PNG.",
        b"pk\x03\x04": "is a ZIP archive (or an office document). Unpack it and take the photo in it.",
        b"version https://git-lfs": "is a Git LFS pointer: the photo itself was not fetched. Run `git lfs pull`.",
        b"fujifilmccd-raw": _RAW,
        b"ii*\x00": tiff,
        b"mm\x00*": tiff,
        b"mm\x00+": tiff,
        b"\xff\x0a": "is a JPEG XL photo, which cannot be read here. Save it as JPEG or PNG.",
        b"\x00\x00\x00\x0cjxl ": "is a JPEG XL photo, which cannot be read here. Save it as JPEG or PNG.",
        b"\xff\xd8": "starts as a JPEG but is damaged or cut off before the picture begins. Download or copy it again.",
        b"\x89png": "starts as a PNG but is damaged or cut off before the picture begins. Download or copy it again.",
        b"gif8": "starts as a GIF but is damaged or cut off before the picture begins. Download or copy it again.",
    }
    if kind == b"WEBP":
        return "starts as a WebP but is damaged or cut off. Download or copy it again."
    for magic, meaning in kinds.items():
        if start.startswith(magic):
            return meaning
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page, not a photo: save the picture itself (right click, Save image as)."
    if start.startswith(b"<") and b"<svg" in start:
        return "is an SVG drawing, which holds shapes instead of pixels. Export it as PNG."
    if b"\x00" not in head and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return f"holds text, not a photo, whatever its name says. Possible are {_POSSIBLE}."
    return f"is in no picture format that is known here. Possible are {_POSSIBLE}."


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    """RGB, 8 bits; transparent parts over white."""
    from PIL import Image

    if picture.mode in ("F", "I") or picture.mode.startswith("I;"):
        return _from_deep_grey(picture, name)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, (255, 255, 255))
    white.paste(picture, mask=picture)
    return white


def _from_deep_grey(picture: Image.Image, name: str) -> Image.Image:
    """16-bit grey, 0 to 65535, to 8 bits. Pillow's own conversion would clip all above 255 to white."""
    from PIL import Image

    values = np.asarray(picture)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise PhotoError(
            f"{name} holds {values.dtype} measurements from {values.min():g} to {values.max():g}, and there is no telling "
            "which of them are black and white. Scale them to 0 to 255 and save as PNG."
        )
    grey = np.rint(values / 257.0).astype(np.uint8)
    if (transparent := picture.info.get("transparency")) is not None:
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) where there is none or EXIF is broken."""
    try:
        return picture.getexif().get(0x0112, 1)
    except _DAMAGED:
        return 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture as its EXIF orientation asks for it to be shown (EXIF 2.3, tag 0x0112)."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return picture.transpose(turns[orientation]) if orientation in turns else picture


def _fitted(picture: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """The picture at `size` (height, width)."""
    from PIL import Image

    height, width = size
    bilinear = Image.Resampling.BILINEAR
    if fit == "stretch":
        return picture.resize((width, height), bilinear)
    if fit == "crop":
        scale = min(picture.width / width, picture.height / height)
        kept = np.array([width * scale, height * scale])
        left, top = (np.array(picture.size) - kept) / 2
        return picture.resize((width, height), bilinear, box=(left, top, left + kept[0], top + kept[1]))
    scale = min(width / picture.width, height / picture.height)
    inner = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    padded = Image.new("RGB", (width, height), PAD_COLOUR)
    padded.paste(picture.resize(inner, bilinear), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return padded


# --- folders --------------------------------------------------------------------------------------------------------


class Photos(NamedTuple):
    """Several photos of one size: ``images, names, paths = load_folder(...)``."""

    images: np.ndarray
    """``(n, height, width, 3)`` uint8."""
    names: list[str]
    """A title for each: the file's name without its ending, or the sample's name."""
    paths: list[Path]
    """The file of each."""


def load_folder(
    folder: str | os.PathLike, size: tuple[int, int] = (224, 224), *, fit: Fit = "stretch", maximum: int | None = None
) -> Photos:
    """All photos of a folder, in the order of their names; subfolders are not read.

    What is no photo, or cannot be read, is left out, with one warning that names each file and says why.

    Parameters
    ----------
    folder
        Path of a folder.
    size, fit
        As for `load`; all photos get the same size.
    maximum
        Stop after so many photos; None reads all.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder, or it is a file.
    PhotoError
        Nothing in it is a photo.
    """
    if _checked_size(size) is None:
        raise ValueError("load_folder needs a size: photos of different sizes do not make one array.")
    folder = Path(folder).expanduser()
    if not folder.exists():
        raise FileNotFoundError(_missing(folder))
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, not a folder; labutils.photos.load reads one photo.")
    images, paths, skipped = [], [], []
    for entry in _entries(folder):
        if entry.name.lower() in _LITTER:
            continue
        if len(images) == maximum:
            break
        try:
            images.append(_folder_photo(entry, size, fit))
            paths.append(entry)
        except (PhotoError, OSError) as error:
            skipped.append(f"- {entry.name}: {str(error).removeprefix(f'{entry} ')}")
    if skipped:
        warnings.warn(f"Left out from {folder}:\n" + "\n".join(skipped), stacklevel=2)
    if not images:
        raise PhotoError(f"{folder} holds no photo that can be read. Put {_POSSIBLE} files into it.")
    return Photos(np.stack(images), [path.stem for path in paths], paths)


def _folder_photo(entry: Path, size: tuple[int, int], fit: Fit) -> np.ndarray:
    if entry.name.startswith("."):
        raise PhotoError("is hidden (its name starts with a dot).")
    if entry.is_dir():
        raise PhotoError("is a folder; its photos are not read.")
    return load(entry, size, fit=fit)


def photos_folder() -> Path:
    """The folder for the student's own photos: ``data/photos`` of the checkout, or of the working folder.

    The environment variable ``LABUTILS_DATA`` names another ``data``.
    """
    if override := os.environ.get("LABUTILS_DATA"):
        return Path(override).expanduser() / "photos"
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "data" / "photos").is_dir():
        return checkout / "data" / "photos"
    # Installed without a checkout, as on Colab. Notebooks run in notebooks/, scripts in the folder above it.
    here = Path.cwd()
    return next((base / "data" / "photos" for base in (here, here.parent) if (base / "data").is_dir()), here / "photos")


def own_photos(
    minimum: int = 3, size: tuple[int, int] = (224, 224), *, fit: Fit = "stretch", maximum: int = 12
) -> Photos:
    """The student's photos from ``data/photos`` when there are at least `minimum`, else the sample photos.

    Says in one line which it took. At most `maximum` are read, so that a whole camera roll does not stop a notebook.
    The samples, too, are at least `minimum`, and those with a class of the bundled network come first.
    """
    folder = photos_folder()
    found = []
    if folder.is_dir() and any(entry.name.lower() not in _LITTER for entry in _entries(folder)):
        try:
            own = load_folder(folder, size, fit=fit, maximum=maximum)
        except PhotoError as error:
            print(error)
        else:
            found = own.names
            if len(found) >= minimum:
                print(f"{len(found)} of your own photos, from {_short(folder)}: {', '.join(found)}.")
                return own
    names = sample_names()[: max(3, minimum)]
    images = np.stack([sample(name, size, fit=fit) for name in names])
    have = f"holds only {len(found)} photo{'s' * (len(found) > 1)}" if found else "holds none of your own"
    print(f"Sample photos: {', '.join(names)} ({_short(folder)} {have}; put {minimum} or more there to use them).")
    return Photos(images, names, [sample_path(name) for name in names])


def _short(folder: Path) -> str:
    """``data/photos``, so that a notebook's output does not depend on where the course lies."""
    return "/".join(folder.parts[-2:])


# --- samples --------------------------------------------------------------------------------------------------------

# Name -> package and file. All of them lie in the packages' wheels (scikit-image calls them legacy datasets), so
# nothing is downloaded.
_SAMPLES = {
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}
_ALIASES = {"chelsea": "cat"}


def sample_names() -> list[str]:
    """Names of the sample photos."""
    return list(_SAMPLES)


def sample_path(name: str) -> Path:
    """The file of a sample photo (PNG or JPEG), inside scikit-image or scikit-learn.

    Raises
    ------
    ValueError
        No sample has that name.
    FileNotFoundError
        The package that carries it is not installed, or without its data.
    """
    key = _ALIASES.get(name, name)
    if key not in _SAMPLES:
        raise ValueError(f"There is no sample photo {name!r}. Possible are {', '.join(sample_names())}.")
    package, file = _SAMPLES[key]
    # find_spec does not import the package, which for scikit-learn would take a second.
    spec = find_spec(package)
    path = Path(spec.submodule_search_locations[0]) / file if spec else None
    if path is None or not path.is_file():
        distribution = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
        raise FileNotFoundError(
            f"The sample photo {name!r} comes with {distribution}, which is not installed or has no {file}; reinstall it."
        )
    return path


def sample(name: str, size: tuple[int, int] | None = (224, 224), *, fit: Fit = "stretch") -> np.ndarray:
    """A sample photo by name; `size`, `fit` and result as for `load`. See `sample_names`."""
    return load(sample_path(name), size, fit=fit)


# Outlines of what each sample photo shows, drawn by hand on the photo stretched to 224 x 224: (x, y) in pixels there.
_OUTLINES = {
    "cat": "0,110 20,100 35,20 60,0 205,0 190,40 175,70 178,100 170,140 150,175 140,205 150,224 0,224",
    "coffee": "64,60 70,30 90,12 118,8 142,22 152,48 150,85 135,112 128,135 105,150 95,165 84,172 74,165 80,140 72,115 66,90",
    "astronaut": "67,40 75,15 100,5 125,15 133,40 128,60 118,80 135,105 155,125 160,160 140,224 10,224 10,190 25,140 "
    "45,110 55,80 75,75 80,60",
    "motorcycle": "28,100 45,75 60,70 95,85 130,75 150,40 165,55 165,85 195,140 205,165 200,195 185,205 165,190 150,155 "
    "120,175 75,180 45,175 38,140 50,110",
    "rocket": "107,70 112,66 117,80 118,212 106,212",
    "flower": "110,44 128,50 145,70 154,100 154,130 145,160 128,180 110,188 90,182 72,162 61,132 62,100 72,70 90,50",
}


def sample_mask(name: str, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    """Where a sample photo shows what it is of, for games that need the truth (`labutils.evaluate.pointing_game`).

    The outlines are drawn by hand, a few pixels rough, on the photo stretched to a square (``fit="stretch"``).

    Parameters
    ----------
    name : str
        One of `sample_names`.
    size : (int, int)
        Height and width in pixels.

    Returns
    -------
    numpy.ndarray
        (H, W) bool, true on the object.

    Raises
    ------
    ValueError
        When no sample has this name.
    """
    from skimage.draw import polygon2mask

    sample_path(name)  # names what is possible
    height, width = _pair(size, "size", "(height, width) in pixels")
    points = np.array([point.split(",") for point in _OUTLINES[_ALIASES.get(name, name)].split()], float)
    # Pixel centres lie at half; polygon2mask tests whole coordinates.
    return polygon2mask((height, width), points[:, ::-1] * (height / 224, width / 224) - 0.5)


# --- mosaics --------------------------------------------------------------------------------------------------------


def mosaic(
    photos: Sequence[np.ndarray] | np.ndarray, grid: tuple[int, int] = (2, 2), size: tuple[int, int] = (224, 224)
) -> tuple[np.ndarray, np.ndarray]:
    """Several photos as the cells of one.

    Parameters
    ----------
    photos
        As many ``(H, W, 3)`` uint8 arrays as the grid has cells, row by row; each is stretched to its cell.
    grid
        ``(rows, columns)``.
    size
        ``(height, width)`` of the mosaic in pixels.

    Returns
    -------
    image : numpy.ndarray
        ``(height, width, 3)`` uint8.
    cells : numpy.ndarray
        ``(n, 4)`` int: ``top, left, bottom, right`` of each photo, so that ``image[top:bottom, left:right]`` is it.
    """
    from PIL import Image

    cells = mosaic_cells(grid, size)
    if len(photos) != len(cells):
        raise ValueError(f"A grid of {grid[0]} x {grid[1]} takes {len(cells)} photos, not {len(photos)}.")
    height, width = cells[-1, 2:]
    image = np.empty((height, width, 3), np.uint8)
    for index, (photo, (top, left, bottom, right)) in enumerate(zip(photos, cells, strict=True)):
        picture = Image.fromarray(_checked_photo(photo, index))
        image[top:bottom, left:right] = _fitted(picture, (bottom - top, right - left), "stretch")
    return image, cells


def mosaic_cells(grid: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Where the cells of a mosaic lie: ``(rows * columns, 4)`` int, ``top, left, bottom, right``, row by row.

    Sides that the grid does not divide are cut at the nearest pixels. `grid` and `size` as for `mosaic`.
    """
    rows, columns = _pair(grid, "grid", "(rows, columns)")
    height, width = _pair(size, "size", "(height, width)")
    if rows > height or columns > width:
        raise ValueError(f"A grid of {rows} x {columns} does not fit into {height} x {width} pixels.")
    down = np.rint(np.linspace(0, height, rows + 1)).astype(int)
    across = np.rint(np.linspace(0, width, columns + 1)).astype(int)
    corners = [(down[row], across[column]) for row in range(rows) for column in range(columns)]
    ends = [(down[row + 1], across[column + 1]) for row in range(rows) for column in range(columns)]
    return np.hstack([corners, ends])


def _pair(value: tuple[int, int], name: str, meaning: str) -> tuple[int, int]:
    if len(value) != 2 or min(value) < 1:
        raise ValueError(f"{name} is {meaning}, both at least 1; not {value!r}.")
    return int(value[0]), int(value[1])


def _checked_photo(photo: np.ndarray, index: int) -> np.ndarray:
    photo = np.asarray(photo)
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(
            f"Photo {index} is {photo.dtype} of shape {photo.shape}; a mosaic takes (H, W, 3) uint8 arrays, "
            "as labutils.photos.load gives them (before preprocess_input)."
        )
    return photo
