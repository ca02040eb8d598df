"""A corpus of odd photos, made anew for each test, with what must come of each: known colours, or an error that helps.

Most of them show the same scene, red and green above, blue and grey below, on 64 x 48 pixels: every turn, mirroring,
crop and swap of colours of it is different. Pillow writes what it can; the rest is put together byte by byte.
"""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from PIL import Image, ImageCms

from labutils.photos import PhotoError

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
SCENE = (RED, GREEN, BLUE, GREY)
SIZE = (48, 64)
ORIENTATION = 0x0112


class OddPhoto(NamedTuple):
    """One odd photo.

    Attributes
    ----------
    name : str
        What is odd about it, in words.
    place : function of a folder
        Puts it there, and returns what is handed to `labutils.photos.load`.
    entry : str or None
        The name of the file that lies in the folder then, for `load_folder`; None where none does.
    corners, size, tolerance
        Of a right photo: the colours in the middle of its four quarters (upper left, upper right, lower left, lower
        right), its (height, width), and how far its values may be off: what the format loses.
    error, said
        Of one that is refused: the error's type, and a regular expression for the reason that the message gives.
    """

    name: str
    place: Callable[[Path], Any]
    entry: str | None
    corners: tuple = SCENE
    size: tuple[int, int] = SIZE
    tolerance: int = 0
    error: type[Exception] | None = None
    said: str = ""


# --- making files -----------------------------------------------------------------------------------------------------


def pixels(size: tuple[int, int] = SIZE, corners: tuple = SCENE) -> np.ndarray:
    """Four quarters of these colours, uint8."""
    height, width = size
    array = np.empty((height, width, len(corners[0])), np.uint8)
    array[: height // 2, : width // 2], array[: height // 2, width // 2 :] = corners[:2]
    array[height // 2 :, : width // 2], array[height // 2 :, width // 2 :] = corners[2:]
    return array


def scene(size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray(pixels(size))


def noise() -> Image.Image:
    """A photo that no format can pack into a few bytes, so that a share of its file is a share of it."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image | None = None, **options: Any) -> bytes:
    return encoded(image or scene(), "JPEG", quality=95, **options)


def exif(orientation: Any) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def orientation_in_words() -> bytes:
    """EXIF whose orientation is the text "up"."""
    return b"Exif\x00\x00MM\x00*" + struct.pack(">IHHHI4sI", 8, 1, ORIENTATION, 2, 3, b"up", 0)


STORED = {
    # How a camera that notes this orientation has stored an upright scene (EXIF 2.3, table of tag 0x0112).
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def stored(orientation: int) -> Image.Image:
    turn = STORED[orientation]
    return scene() if turn is None else scene().transpose(turn)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(array: np.ndarray, colour: int, *, extra: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of 8 or 16 bits by hand, for kinds that Pillow does not write; `colour` is the type of the PNG standard."""
    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, colour, 0, 0, interlaced)
    # Row and column where a pass starts, and its steps: Adam7, or all pixels at once.
    adam7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    passes = adam7 if interlaced else [(0, 0, 1, 1)]
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    rows = [row for top, left, down, across in passes for row in big_endian[top::down, left::across]]
    data = zlib.compress(b"".join(b"\x00" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_of_sides(side: int) -> bytes:
    """A PNG whose header claims a square of that side."""
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) + chunk(b"IEND", b"")
    )


def ycck() -> bytes:
    """A JPEG as Photoshop saves CMYK: inverted, as YCC of the ink and black, which its Adobe marker says."""
    ycc = np.asarray(Image.fromarray(255 - pixels()).convert("YCbCr"))
    planes = [Image.fromarray(255 - ycc[..., channel]) for channel in range(3)]  # Pillow inverts once more
    data = jpeg(Image.merge("CMYK", [*planes, Image.new("L", planes[0].size, 0)]))
    marker = data.index(b"Adobe") + 11
    return data[:marker] + b"\x02" + data[marker + 1 :]


def bmp(bits: int, compression: int, palette: bytes, body: bytes, masks: bytes = b"", sides=(64, 48)) -> bytes:
    """A BMP by hand; its rows go from the bottom up, or down where the height is negative."""
    sizes = struct.pack(
        "<IiiHHIIiiII", 40 + len(masks), *sides, 1, bits, compression, len(body), 0, 0, len(palette) // 4, 0
    )
    start = 14 + len(sizes) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + sizes + masks + palette + body


def bmp_with_alpha() -> bytes:
    """BITMAPV4HEADER, as screenshots are copied on Windows: red, green, blue and alpha have masks."""
    array = pixels(corners=tuple((*colour, 255 * opaque) for colour, opaque in zip(SCENE, (1, 1, 1, 0), strict=True)))
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return bmp(32, 3, b"", array[::-1, :, [2, 1, 0, 3]].tobytes(), masks)


def bmp_of_runs() -> bytes:
    """Run-length coded: (count, colour) pairs, 0 0 at the end of a row, 0 1 at the end of the picture."""
    palette = b"".join(bytes((*reversed(colour), 0)) for colour in SCENE)
    return bmp(8, 1, palette, (b"\x20\x02\x20\x03\x00\x00" * 24) + (b"\x20\x00\x20\x01\x00\x00" * 24) + b"\x00\x01")


def tiff(array: np.ndarray, **options: Any) -> bytes:
    """A TIFF of a kind that Pillow does not write."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **{"photometric": "rgb"} | options)
    return buffer.getvalue()


def palette(transparency: int | bytes | None = None) -> Image.Image:
    numbers = Image.fromarray(pixels(corners=((0,), (1,), (2,), (3,)))[..., 0]).convert("P")
    numbers.putpalette([value for colour in SCENE for value in colour])
    if transparency is not None:
        numbers.info["transparency"] = transparency
    return numbers


def animated(format: str, **options: Any) -> bytes:
    return encoded(scene(), format, save_all=True, append_images=[Image.new("RGB", (64, 48), BLACK)], **options)


def with_alpha(*opacities: int) -> Image.Image:
    return Image.fromarray(pixels(corners=tuple((*colour, a) for colour, a in zip(SCENE, opacities, strict=True))))


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def xmp(orientation: int) -> bytes:
    text = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    return chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + text)


def riff(kind: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4096) + kind + bytes(64)


def ftyp(brand: bytes) -> bytes:
    return b"\x00\x00\x00\x18ftyp" + brand + bytes(40)


def cut(data: bytes, share: float) -> bytes:
    return data[: max(40, int(share * len(data)))]


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


# --- putting them into the folder -------------------------------------------------------------------------------------


def right(name: str, file: str, make: Callable[[], bytes], corners: tuple = SCENE, size=SIZE, tolerance=0) -> OddPhoto:
    """A file that is read."""
    return OddPhoto(name, _writer(file, make), file, corners, size, tolerance)


def wrong(name: str, file: str, make: Callable[[], bytes], said: str) -> OddPhoto:
    """A file that is refused."""
    return OddPhoto(name, _writer(file, make), file, error=PhotoError, said=said)


def _writer(file: str, make: Callable[[], bytes]) -> Callable[[Path], Path]:
    def place(folder: Path) -> Path:
        path = folder / file
        path.write_bytes(make())
        return path

    return place


def _link(folder: Path) -> Path:
    link = folder / "link to nowhere.jpg"
    link.symlink_to(folder / "moved.jpg")
    return link


def _pipe(folder: Path) -> Path:
    pipe = folder / "pipe.jpg"
    os.mkfifo(pipe)
    return pipe


def _subfolder(folder: Path) -> Path:
    inner = folder / "album.jpg"
    inner.mkdir()
    (inner / "beach.png").write_bytes(encoded(scene()))
    return inner


def _near(folder: Path) -> Path:
    (folder / "Kitten.PNG").write_bytes(encoded(scene()))
    return folder / "kiten.jpg"


def _open_file(mode: str) -> Callable[[Path], Any]:
    def place(folder: Path) -> Any:
        path = folder / f"opened as {mode}.png"
        path.write_bytes(encoded(scene()))
        return path.open(mode)

    return place


def given(name: str, make: Callable[[], Any], **expected: Any) -> OddPhoto:
    """Not a file in the folder but something else that is handed over."""
    return OddPhoto(name, lambda folder: make(), None, **expected)


# --- the corpus -------------------------------------------------------------------------------------------------------

TURNED = [
    *(
        right(
            f"JPEG with EXIF orientation {number}",
            f"turned {number}.jpg",
            lambda number=number: jpeg(stored(number), exif=exif(number)),
            tolerance=6,
        )
        for number in STORED
    ),
    right("PNG with EXIF orientation", "turned.png", lambda: encoded(stored(6), exif=exif(6))),
    right("WebP with EXIF orientation", "turned.webp", lambda: encoded(stored(5), "WEBP", lossless=True, exif=exif(5))),
    right("TIFF with EXIF orientation", "turned.tif", lambda: encoded(stored(8), "TIFF", exif=exif(8))),
    right(
        "AVIF with EXIF orientation",
        "turned.avif",
        lambda: encoded(stored(6), "AVIF", quality=95, exif=exif(6)),
        tolerance=8,
    ),
    right("orientation in XMP only", "xmp.png", lambda: png(np.asarray(stored(3)), 2, extra=xmp(3))),
    right("orientation that does not exist", "turned 77.jpg", lambda: jpeg(exif=exif(77)), tolerance=6),
    right("orientation that is text", "turned by words.jpg", lambda: jpeg(exif=orientation_in_words()), tolerance=6),
    right("EXIF that is broken", "exif.jpg", lambda: jpeg(exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"), tolerance=6),
    right("EXIF of 60 kB", "maker note.jpg", lambda: jpeg(exif=exif(1).tobytes() + bytes(60_000)), tolerance=6),
]

COLOURS = [
    right("JPEG, progressive", "progressive.jpg", lambda: jpeg(progressive=True), tolerance=6),
    right("JPEG, grey", "grey.jpg", lambda: jpeg(Image.new("L", (64, 48), 77)), ((77,) * 3,) * 4, tolerance=2),
    right("JPEG, stored as RGB", "rgb.jpg", lambda: jpeg(keep_rgb=True), tolerance=6),
    right("JPEG, CMYK, inverted as Adobe does", "cmyk.jpg", lambda: jpeg(scene().convert("CMYK")), tolerance=6),
    right("JPEG, YCCK", "ycck.jpg", ycck, tolerance=8),
    right("JPEG with a colour profile", "profile.jpg", lambda: jpeg(icc_profile=profile()), tolerance=6),
    right("JPEG with a broken colour profile", "no profile.jpg", lambda: jpeg(icc_profile=b"nothing"), tolerance=6),
    right(
        "PNG, 1 bit",
        "1 bit.png",
        lambda: encoded(scene().convert("L").point(lambda v: 255 * (v > 100), "1")),
        (BLACK, WHITE, BLACK, WHITE),
    ),
    right(
        "PNG, grey with alpha",
        "grey and alpha.png",
        lambda: encoded(with_alpha(255, 255, 255, 0).convert("LA")),
        ((76,) * 3, (150,) * 3, (29,) * 3, WHITE),
        tolerance=1,
    ),
    right(
        "PNG with alpha",
        "alpha.png",
        lambda: encoded(with_alpha(255, 0, 127, 255)),
        (RED, WHITE, (128, 128, 255), GREY),
        tolerance=1,
    ),
    right("PNG, palette", "palette.png", lambda: encoded(palette())),
    right("PNG, palette of 2 bits", "2 bits.png", lambda: encoded(palette(), bits=2)),
    right("PNG, palette with a transparent colour", "index.png", lambda: encoded(palette(1)), (RED, WHITE, BLUE, GREY)),
    right(
        "PNG, palette with alpha for each colour",
        "alphas.png",
        lambda: encoded(palette(b"\x00\xff\x7f\xff")),
        (WHITE, GREEN, (128, 128, 255), GREY),
        tolerance=1,
    ),
    right(
        "PNG with a transparent colour",
        "key.png",
        lambda: encoded(scene(), transparency=BLUE),
        (RED, GREEN, WHITE, GREY),
    ),
    right(
        "PNG, 16-bit grey",
        "16 bit grey.png",
        lambda: png(257 * pixels()[..., :1].astype(np.uint16), 0),
        (WHITE, BLACK, BLACK, GREY),
    ),
    right("PNG, 16-bit colour", "16 bit.png", lambda: png(257 * pixels().astype(np.uint16), 2)),
    right(
        "PNG, 16-bit colour with alpha",
        "16 bit alpha.png",
        lambda: png(257 * np.asarray(with_alpha(255, 255, 0, 255)).astype(np.uint16), 6),
        (RED, GREEN, WHITE, GREY),
    ),
    right("PNG, interlaced", "interlaced.png", lambda: png(pixels(), 2, interlaced=True)),
    right(
        "TIFF, 16-bit grey",
        "16 bit grey.tif",
        lambda: encoded(Image.fromarray(257 * pixels()[..., 0].astype(np.uint16)), "TIFF"),
        (WHITE, BLACK, BLACK, GREY),
    ),
    right("TIFF, CMYK", "cmyk.tif", lambda: encoded(scene().convert("CMYK"), "TIFF")),
    right(
        "TIFF, Lab",
        "lab.tif",
        lambda: encoded(Image.merge("LAB", [Image.new("L", (64, 48), v) for v in (255, 128, 128)]), "TIFF"),
        (WHITE,) * 4,
        tolerance=2,
    ),
    right("TIFF, compressed by LZW", "lzw.tif", lambda: encoded(scene(), "TIFF", compression="tiff_lzw")),
    right(
        "TIFF, compressed by JPEG",
        "jpeg.tif",
        lambda: encoded(scene(), "TIFF", compression="jpeg", quality=95),
        tolerance=8,
    ),
    right(
        "TIFF, a fax",
        "fax.tif",
        lambda: encoded(scene().convert("L").point(lambda v: 255 * (v > 100), "1"), "TIFF", compression="group4"),
        (BLACK, WHITE, BLACK, WHITE),
    ),
    right("TIFF in tiles", "tiles.tif", lambda: tiff(pixels(), tile=(16, 16))),
    right("TIFF in planes", "planes.tif", lambda: tiff(np.moveaxis(pixels(), -1, 0), planarconfig="separate")),
    right("BigTIFF", "big.tif", lambda: tiff(pixels(), bigtiff=True, byteorder="<")),
    right("TIFF, big-endian", "big-endian.tif", lambda: tiff(pixels(), byteorder=">")),
    right("TIFF, 16-bit colour", "16 bit.tif", lambda: tiff(257 * pixels().astype(np.uint16))),
    right("TIFF of several pages", "pages.tif", lambda: animated("TIFF")),
    right("BMP with alpha", "alpha.bmp", bmp_with_alpha, (RED, GREEN, BLUE, WHITE)),
    right("BMP of runs", "runs.bmp", bmp_of_runs),
    right("BMP from the top down", "down.bmp", lambda: bmp(24, 0, b"", pixels()[..., ::-1].tobytes(), sides=(64, -48))),
    right("JPEG 2000", "photo.jp2", lambda: encoded(scene(), "JPEG2000")),
    right("AVIF", "photo.avif", lambda: encoded(scene(), "AVIF", quality=95), tolerance=8),
    right(
        "WebP with alpha",
        "alpha.webp",
        lambda: encoded(with_alpha(255, 255, 255, 0), "WEBP", lossless=True),
        (RED, GREEN, BLUE, WHITE),
    ),
    right("WebP, lossy", "lossy.webp", lambda: encoded(scene(), "WEBP", quality=95), tolerance=10),
    right(
        "GIF with a transparent colour", "transparent.gif", lambda: encoded(palette(1), "GIF"), (RED, WHITE, BLUE, GREY)
    ),
]

FRAMES = [
    right("GIF, animated", "animated.gif", lambda: animated("GIF")),
    right("WebP, animated", "animated.webp", lambda: animated("WEBP", lossless=True)),
    right("PNG, animated", "animated.png", lambda: animated("PNG")),
    right("AVIF, animated", "animated.avif", lambda: animated("AVIF", quality=95), tolerance=8),
    right("MPO, two pictures of one scene", "stereo.mpo", lambda: animated("MPO", quality=95), tolerance=6),
]
"""Of several pictures in a file the first counts; the others are black."""

SHAPES = [
    right("a single pixel", "1 x 1.png", lambda: encoded(Image.new("RGB", (1, 1), RED)), (RED,) * 4, (1, 1)),
    right(
        "one pixel high",
        "1 x 300.png",
        lambda: encoded(scene((2, 300)).crop((0, 0, 300, 1))),
        (RED, GREEN) * 2,
        (1, 300),
    ),
    right(
        "one pixel wide",
        "300 x 1.png",
        lambda: encoded(scene((300, 2)).crop((0, 0, 1, 300))),
        (RED, RED, BLUE, BLUE),
        (300, 1),
    ),
    right(
        "8000 pixels wide and 10 high", "8000 x 10.jpg", lambda: jpeg(scene((10, 8000))), size=(10, 8000), tolerance=24
    ),
    right(
        "a panorama on its side",
        "panorama.jpg",
        lambda: jpeg(scene((4000, 32)), exif=exif(1)),
        size=(4000, 32),
        tolerance=6,
    ),
]

NAMES = [
    right("PNG that is called .jpg", "really a png.jpg", lambda: encoded(scene())),
    right("JPEG that is called .png", "really a jpeg.png", jpeg, tolerance=6),
    right("no extension at all", "photo", lambda: encoded(scene())),
    right("a name with an umlaut in two parts (NFD)", "u\u0308ber.png", lambda: encoded(scene())),
    right("a name in emoji and kanji", "😺 写真.png", lambda: encoded(scene())),
    right("a very long name", "x" * 200 + ".png", lambda: encoded(scene())),
    right(
        "a name that looks like a pattern and an option",
        "--cat[1]*.png" if os.name == "posix" else "--cat[1].png",
        lambda: encoded(scene()),
    ),
]

BURDENED = [
    right("JPEG with other data behind its end", "motion photo.jpg", lambda: jpeg() + ftyp(b"mp42"), tolerance=6),
    right(
        "PNG with 2 MB of text",
        "prompt.png",
        lambda: png(pixels(), 2, extra=chunk(b"tEXt", b"prompt\x00" + b"x" * 2_000_000)),
    ),
    wrong(
        "PNG with 2 MB of text, compressed",
        "workflow.png",
        lambda: png(pixels(), 2, extra=chunk(b"zTXt", b"workflow\x00\x00" + zlib.compress(b"x" * 2_000_000))),
        "too large.*save it with an image editor",
    ),
    right(
        "PNG with a broken colour profile",
        "iccp.png",
        lambda: png(pixels(), 2, extra=chunk(b"iCCP", b"sRGB\x00\x00junk")),
    ),
    right(
        "PNG with a colour profile and gamma",
        "iccp and gamma.png",
        lambda: png(
            pixels(),
            2,
            extra=chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"iCCP", b"sRGB\x00\x00" + zlib.compress(profile())),
        ),
    ),
]

DAMAGED = [
    wrong("empty", "empty.jpg", lambda: b"", r"is empty \(0 bytes\): the download or copy did not finish"),
    wrong("nothing but zeros", "zeros.jpg", lambda: bytes(4096), "nothing but zeros.*copy it again"),
    *(
        wrong(
            f"{format} cut off {where}",
            f"cut {where}.{format.lower()}",
            lambda f=format, s=share: cut(encoded(noise(), f), s),
            "damaged|cut off|end is missing",
        )
        for format in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF")
        for where, share in (("in its header", 0), ("half-way", 0.5), ("near its end", 0.97))
    ),
    wrong(
        "JPEG without its last row, progressive",
        "cut progressive.jpg",
        lambda: cut(encoded(noise(), "JPEG", progressive=True), 0.8),
        "end is missing",
    ),
    wrong("PNG with a flipped byte", "flipped.png", lambda: flipped(encoded(noise()), 2000), "damaged"),
    wrong(
        "a JPEG's header claiming 65500 x 65500 pixels",
        "bomb.jpg",
        lambda: jpeg().replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 65500, 65500), 1),
        "more pixels than any camera",
    ),
    wrong(
        "a PNG's header claiming 60000 x 60000 pixels",
        "bomb.png",
        lambda: png_of_sides(60_000),
        "more pixels than any camera",
    ),
    wrong(
        "a PNG of 11000 x 11000 pixels",
        "poster.png",
        lambda: png_of_sides(11_000),
        "at most 100 megapixels.*Save a smaller copy",
    ),
]

NO_PHOTOS = [
    wrong("HEIC", "IMG_0001.HEIC", lambda: ftyp(b"heic"), "HEIC photo, as iPhones take them.*Convert it to JPEG"),
    wrong("HEIC that is called .jpg", "IMG_0002.jpg", lambda: ftyp(b"mif1"), "HEIC photo"),
    wrong("video, MP4", "clip.mp4", lambda: ftyp(b"isom"), "is a video.*Save one frame"),
    wrong("video, the other half of a live photo", "live.mov", lambda: ftyp(b"qt  "), "is a video"),
    wrong("video, AVI", "clip.avi", lambda: riff(b"AVI "), "is a video"),
    wrong("video, Matroska", "clip.mkv", lambda: b"\x1aE\xdf\xa3" + bytes(60), "is a video"),
    wrong("sound, WAV", "song.wav", lambda: riff(b"WAVE"), "is in no picture format"),
    wrong("PDF", "scan.pdf", lambda: b"%PDF-1.7\n" + bytes(100), "is a PDF document.*Export"),
    wrong("SVG", "drawing.svg", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG drawing.*Export it as PNG"),
    wrong(
        "SVG behind a declaration and a comment",
        "icon.svg",
        lambda: b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- by hand -->\n<!DOCTYPE svg>\n<svg/>',
        "SVG drawing",
    ),
    wrong("SVG behind a comment", "logo.svg", lambda: b"<!-- Generator: by hand -->\n<svg/>", "SVG drawing"),
    wrong("web page", "cat.jpg", lambda: b"\n<!DOCTYPE html><html><body>Not found", "web page.*Save image as"),
    wrong("web page without a doctype", "dog.jpg", lambda: b"<head><title>403</title></head>", "web page"),
    wrong("text", "notes.txt", lambda: "Milch, Brötchen\n".encode(), "holds text"),
    wrong("JSON", "error.png", lambda: json.dumps({"error": "denied"}).encode(), "holds text"),
    wrong("ZIP", "photos.zip", lambda: b"PK\x03\x04" + bytes(60), "ZIP archive"),
    wrong(
        "Git LFS pointer",
        "large.png",
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "git lfs pull",
    ),
    wrong(
        "raw file, DNG with a small preview",
        "raw.dng",
        lambda: tiff(pixels(), subfiletype=1, extratags=[(50706, 1, 4, (1, 4, 0, 0), True)]),
        "camera's raw file",
    ),
    wrong("raw file, Canon's CR3", "raw.cr3", lambda: ftyp(b"crx "), "camera's raw file"),
    wrong("raw file, Fujifilm's", "raw.raf", lambda: b"FUJIFILMCCD-RAW 0201" + bytes(60), "camera's raw file"),
    wrong(
        "TIFF of measurements",
        "float.tif",
        lambda: encoded(Image.fromarray(np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)), "TIFF"),
        "float32 measurements from -1 to 1.*save as PNG",
    ),
    wrong(
        "TIFF of measurements, all missing",
        "nan.tif",
        lambda: encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"),
        "measurements.*save as PNG",
    ),
    wrong(
        "BigTIFF, big-endian",
        "big-endian big.tif",
        lambda: tiff(pixels(), bigtiff=True, byteorder=">"),
        "TIFF of a kind that cannot be read here.*Save it",
    ),
    wrong("Photoshop document", "layers.psd", lambda: b"8BPS" + bytes(60), "Photoshop document"),
    wrong("JPEG XL", "photo.jxl", lambda: b"\xff\x0a" + bytes(60), "JPEG XL"),
    wrong("JPEG XL in a container", "container.jxl", lambda: b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(60), "JPEG XL"),
    wrong("icon", "favicon.ico", lambda: encoded(scene(), "ICO"), "no picture format that is known here"),
    wrong(
        "PostScript, which must not run",
        "figure.eps",
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "text",
    ),
    wrong("NumPy array", "array.npy", lambda: b"\x93NUMPY" + bytes(60), "no picture format that is known here"),
]

PLACES = [
    OddPhoto(
        "a missing file with a near name", _near, None, error=FileNotFoundError, said=r"Did you mean Kitten\.PNG\?"
    ),
    OddPhoto(
        "a folder",
        _subfolder,
        "album.jpg",
        error=IsADirectoryError,
        said=r"is a folder.*such as beach\.png|photos are not read",
    ),
    OddPhoto(
        "a file taken for a folder",
        lambda folder: _near(folder).with_name("Kitten.PNG") / "cat.jpg",
        None,
        error=FileNotFoundError,
        said=r"Kitten\.PNG is a file, not a folder",
    ),
    OddPhoto(
        "a name longer than file systems allow",
        lambda folder: folder / ("y" * 5000),
        None,
        error=FileNotFoundError,
        said="too long",
    ),
    given("a device", lambda: os.devnull, error=PhotoError, said="neither a file nor a folder|is empty"),
    given("an address", lambda: "https://example.org/cat.jpg", error=PhotoError, said="Download the photo first"),
    given(
        "an address of a file",
        lambda: "file:///home/ada/cat.jpg",
        error=PhotoError,
        said="Leave out file://, then give",
    ),
    given(
        "a data URI", lambda: "data:image/png;base64," + "A" * 5000, error=PhotoError, said="is an address, not a file"
    ),
    given("an empty name", lambda: "", error=FileNotFoundError, said="The path is empty"),
    given("a name with a zero byte", lambda: "cat\x00.jpg", error=FileNotFoundError, said="There is no"),
]

OBJECTS = [
    given("bytes", lambda: encoded(scene())),
    given("a bytearray", lambda: bytearray(encoded(scene()))),
    given("a memoryview with steps", lambda: memoryview(np.frombuffer(encoded(scene()), np.uint8).repeat(2))[::2]),
    given("a BytesIO", lambda: io.BytesIO(encoded(scene()))),
    OddPhoto("an open file", _open_file("rb"), None),
    OddPhoto("a file open as text", _open_file("r"), None, error=TypeError, said="mode 'rb'"),
    given("a Pillow image", lambda: Image.open(io.BytesIO(jpeg(stored(6), exif=exif(6)))), tolerance=6),
    given("None", lambda: None, error=TypeError, said="as a path, as bytes"),
    given("an int", lambda: 3, error=TypeError, said="not as int"),
    given("an array", pixels, error=TypeError, said="not as ndarray.*already"),
    given("a list of paths", lambda: ["a.jpg", "b.jpg"], error=TypeError, said="not as list.*one at a time"),
]

ON_POSIX = [
    right("a name with a line break", "two\nlines.png", lambda: encoded(scene())),
    OddPhoto(
        "a link to nowhere",
        _link,
        "link to nowhere.jpg",
        error=FileNotFoundError,
        said=r"a link to .*moved\.jpg, which is not there",
    ),
    OddPhoto("a pipe", _pipe, "pipe.jpg", error=PhotoError, said="neither a file nor a folder"),
]
"""What there is on Linux and macOS only."""

PHOTOS = [
    *TURNED,
    *COLOURS,
    *FRAMES,
    *SHAPES,
    *NAMES,
    *BURDENED,
    *DAMAGED,
    *NO_PHOTOS,
    *PLACES,
    *OBJECTS,
    *(ON_POSIX if os.name == "posix" else []),
]
