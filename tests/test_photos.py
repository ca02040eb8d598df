"""Photos in: every kind of file gives upright RGB, and whatever is no photo gives an error that says what it is.

More odd ones, one line each, are in the corpus of `test_odd_inputs.py`.
"""

import contextlib
import io
import os
import struct
import sys
import types
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from labutils import photos
from labutils.photos import PhotoError

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def quarters(width=64, height=48) -> Image.Image:
    """Red and green above, blue and grey below: every turn and mirroring of it is different."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = GREY
    return Image.fromarray(pixels)


def corners(array):
    """The colours of the four quarters: upper left, upper right, lower left, lower right."""
    height, width = array.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return [tuple(int(value) for value in array[row, column]) for row in rows for column in columns]


def encoded(image, format="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def assert_quarters(array, tolerance):
    for seen, expected in zip(corners(array), (RED, GREEN, BLUE, GREY), strict=True):
        np.testing.assert_allclose(seen, expected, atol=tolerance)


def png(width, height, depth, colour, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG written by hand, for kinds that Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# --- kinds of file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("GIF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 4),
        ("JPEG", {"quality": 95, "progressive": True}, 4),
        ("WEBP", {"quality": 90}, 8),
    ],
)
def test_every_format(tmp_path, format, options, tolerance):
    path = tmp_path / f"photo.{format.lower()}"
    quarters().save(path, format=format, **options)
    array = photos.load(path)
    assert (array.shape, array.dtype) == ((224, 224, 3), np.uint8)
    assert array.flags.writeable
    assert_quarters(array, tolerance)
    assert_quarters(photos.load(path, size=None), tolerance)
    assert photos.load(path, size=None).shape == (48, 64, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        # How a camera that writes this orientation has stored an upright scene (EXIF 2.3, table of tag 0x0112).
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_exif_orientation(format, orientation, stored):
    image = quarters() if stored is None else quarters().transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if format == "JPEG" else {"lossless": True} if format == "WEBP" else {}
    data = encoded(image, format, exif=exif, **options)
    assert photos.load(data, size=None).shape == (48, 64, 3)
    assert_quarters(photos.load(data, size=None), 6)
    assert_quarters(photos.load(data, size=(30, 40)), 6)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_quarters(photos.load(encoded(quarters(), "PNG", exif=exif)), 0)


def test_transparent_parts_are_over_white():
    image = quarters().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([[255] * 32 + [0] * 32], 48, axis=0).astype(np.uint8)))
    assert corners(photos.load(encoded(image))) == [RED, (255,) * 3, BLUE, (255,) * 3]
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 51))
    assert corners(photos.load(encoded(half))) == [(204,) * 3] * 4  # 255 * (1 - 51 / 255)


def test_grey_with_alpha():
    image = Image.merge("LA", [Image.new("L", (8, 8), 100), Image.new("L", (8, 8), 0)])
    assert np.all(photos.load(encoded(image)) == 255)
    image.putalpha(255)
    assert np.all(photos.load(encoded(image)) == 100)


def test_grey_and_one_bit():
    assert np.all(photos.load(encoded(Image.new("L", (8, 8), 77))) == 77)
    bits = Image.fromarray(np.eye(2, dtype=bool))
    assert corners(photos.load(encoded(bits), size=None).repeat(4, 0).repeat(4, 1)) == [
        (255,) * 3,
        (0,) * 3,
        (0,) * 3,
        (255,) * 3,
    ]


def test_sixteen_bit_grey_keeps_its_range():
    values = np.array([[0, 257 * 100], [32896, 65535]], np.uint16)
    seen = photos.load(encoded(Image.fromarray(values)), size=None)[..., 0]
    np.testing.assert_array_equal(seen, [[0, 100], [128, 255]])


def test_sixteen_bit_grey_with_a_transparent_value():
    values = struct.pack(">BHHBHH", 0, 0, 257, 0, 514, 65535)
    transparent = struct.pack(">I", 2) + b"tRNS" + struct.pack(">H", 257)
    transparent += struct.pack(">I", zlib.crc32(transparent[4:]))
    seen = photos.load(png(2, 2, 16, 0, values, transparent), size=None)[..., 0]
    np.testing.assert_array_equal(seen, [[0, 255], [2, 255]])


def test_sources(tmp_path):
    path = tmp_path / "été 写真.png"
    quarters().save(path)
    expected = photos.load(path)
    link = tmp_path / "link.png"
    link.symlink_to(path)
    data = path.read_bytes()
    with path.open("rb") as file:
        sources = [
            str(path),
            link,
            os.fsencode(path).decode(),
            bytearray(data),
            memoryview(data),
            io.BytesIO(data),
            file,
        ]
        for source in sources:
            np.testing.assert_array_equal(photos.load(source), expected)
        assert not file.closed, "The caller's file stays open."


# --- resizing ---------------------------------------------------------------------------------------------------------


def test_resizing_averages_instead_of_picking_pixels():
    """A fine chequerboard is grey from afar; the nearest pixel would give black or white."""
    board = np.indices((2240, 2240)).sum(0) % 2 * 255
    seen = photos.load(encoded(Image.fromarray(board.astype(np.uint8))))
    np.testing.assert_allclose(seen, 127.5, atol=1.5)


def test_size_is_height_then_width():
    assert photos.load(encoded(quarters()), size=(10, 20)).shape == (10, 20, 3)


def test_crop_keeps_the_middle_and_the_aspect():
    image = Image.new("RGB", (300, 100), RED)
    image.paste(Image.new("RGB", (100, 100), BLUE), (100, 0))
    assert np.all(photos.load(encoded(image), size=(100, 100), fit="crop") == BLUE)
    assert np.all(
        photos.load(encoded(image.transpose(Image.Transpose.ROTATE_90)), size=(50, 50), fit="crop")[2:-2] == BLUE
    )


def test_pad_keeps_everything_and_the_aspect():
    seen = photos.load(encoded(Image.new("RGB", (200, 100), RED)), size=(100, 100), fit="pad")
    assert np.all(seen[25:75] == RED)
    assert np.all(seen[:25] == photos.PAD_COLOUR)
    assert np.all(seen[75:] == photos.PAD_COLOUR)


@pytest.mark.parametrize("fit", photos.FITS)
@pytest.mark.parametrize("shape", [(1, 1), (3000, 1), (1, 3000)])
def test_extreme_shapes(fit, shape):
    assert photos.load(encoded(Image.new("RGB", shape, RED)), fit=fit).shape == (224, 224, 3)


def test_a_large_jpeg_looks_like_the_same_photo_shrunk(tmp_path):
    """JPEGs are unpacked at a fraction of their size; the result must be what full unpacking gives."""
    large = Image.open(photos.sample_path("cat")).convert("RGB").resize((3600, 2400), Image.Resampling.BICUBIC)
    data = encoded(large, "JPEG", quality=95)
    reference = np.asarray(large.resize((224, 224), Image.Resampling.BOX), float)
    assert np.abs(photos.load(data) - reference).mean() < 2


@pytest.mark.parametrize("size", [(0, 5), (5,), (5, 5, 3), (1.5, 2), (-1, 4)])
def test_bad_sizes(size):
    with pytest.raises(ValueError, match="height, width"):
        photos.load(encoded(quarters()), size=size)


def test_bad_fit_and_bad_source():
    with pytest.raises(ValueError, match="'stretch', 'crop', 'pad'"):
        photos.load(encoded(quarters()), fit="squeeze")
    with pytest.raises(TypeError, match="ndarray"):
        photos.load(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(TypeError, match="height, width"):
        photos.load(encoded(quarters()), size=224)
    with pytest.raises(TypeError, match="'rb'"):
        photos.load(io.StringIO("text"))


# --- what is no photo -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_photo_without_its_end_is_an_error(tmp_path, format, share):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    path = tmp_path / "half.photo"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(PhotoError, match=r"half\.photo"):
        photos.load(path)


def test_every_cut_and_every_flipped_byte_gives_a_photo_or_a_photo_error():
    """Fuzzing: nothing but PhotoError may escape, whatever is wrong inside the file."""
    generator = np.random.default_rng(1)
    for format in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        data = encoded(quarters(), format)
        for _ in range(60):
            broken = bytearray(data)
            for place in generator.integers(0, len(data), 4):
                broken[place] = generator.integers(0, 256)
            with contextlib.suppress(PhotoError):
                assert photos.load(broken).shape == (224, 224, 3)


def test_a_picture_too_large_to_unpack_is_refused_and_the_limit_of_pillow_put_back():
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PhotoError, match=r"12000 x 10000.*100 megapixels"):
            photos.load(png(12_000, 10_000, 8, 2, b"\x00"))
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_108_megapixel_phone_photo(tmp_path):
    """12000 x 9000: full unpacking would take 430 MB, and Pillow itself warns of a bomb."""
    path = tmp_path / "phone.jpg"
    quarters(12_000, 9_000).save(path, quality=80)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_quarters(photos.load(path), 6)
    with pytest.raises(PhotoError, match="at a smaller size"):
        photos.load(path, size=None)


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("cat.jpg", "Cat.JPG"),
        ("cta.jpg", "cat.jpg"),
        ("cat", "cat.jpeg"),
        ("cat.jpg", "cat.jpg.jpg"),
        ("cafe\u0301.jpg", "caf\u00e9.png"),
    ],
)
def test_near_names_are_suggested(tmp_path, asked, there):
    (tmp_path / there).write_bytes(encoded(quarters()))
    (tmp_path / "something else.txt").touch()
    with pytest.raises(FileNotFoundError) as raised:
        photos.load(tmp_path / asked)
    assert str(raised.value).endswith(f"Did you mean {there}?")


def test_a_missing_folder_is_named(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match=r"the folder .*fotos is not there\. Did you mean photos\?"):
        photos.load(tmp_path / "fotos" / "cat.jpg")


def test_nothing_near_nothing_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as raised:
        photos.load("cat.jpg")
    assert str(raised.value) == f"There is no cat.jpg (looked in {tmp_path})."


@pytest.mark.parametrize("address", ["https://example.org/cat.jpg", "HTTP://example.org/cat.jpg"])
def test_an_address_is_no_file(address):
    with pytest.raises(PhotoError, match="Download the photo first"):
        photos.load(address)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "cat.jpg"
    path.write_bytes(encoded(quarters()))
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything, so the refusal has to be played

        def refuse(self, *_args, **_options):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(PermissionError, match=r"cat\.jpg may not be read"):
        photos.load(path)


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for name, colour in (("b.png", RED), ("A.jpg", BLUE), ("c.gif", GREEN)):
        Image.new("RGB", (20, 10), colour).save(tmp_path / name)
    return tmp_path


def test_load_folder(folder):
    (folder / ".DS_Store").touch()
    (folder / "README.md").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, names, paths = photos.load_folder(folder, size=(12, 14))
    assert (images.shape, images.dtype) == ((3, 12, 14, 3), np.uint8)
    assert names == ["A", "b", "c"]
    assert paths == [folder / name for name in ("A.jpg", "b.png", "c.gif")]
    np.testing.assert_array_equal(images[1], photos.load(folder / "b.png", size=(12, 14)))


def test_load_folder_names_what_it_leaves_out(folder):
    (folder / ".hidden.jpg").write_bytes(encoded(quarters()))
    (folder / "notes.txt").write_text("buy milk")
    (folder / "broken.jpg").write_bytes(encoded(quarters(), "JPEG")[:-20])
    (folder / "more").mkdir()
    (folder / "link.jpg").symlink_to(folder / "gone.jpg")
    with pytest.warns(UserWarning, match="Left out") as caught:
        assert photos.load_folder(folder).names == ["A", "b", "c"]
    assert len(caught) == 1
    said = str(caught[0].message).splitlines()[1:]
    reasons = {line.split(": ")[0].removeprefix("- "): line for line in said}
    assert sorted(reasons) == [".hidden.jpg", "broken.jpg", "link.jpg", "more", "notes.txt"]
    for name, reason in {
        ".hidden.jpg": "hidden",
        "broken.jpg": "end is missing",
        "link.jpg": "not there",
        "more": "folder",
        "notes.txt": "text",
    }.items():
        assert reason in reasons[name]
    assert caught[0].filename == __file__


def test_load_folder_maximum(folder):
    assert photos.load_folder(folder, maximum=2).names == ["A", "b"]


def test_load_folder_errors(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhotoError, match="no photo that can be read"):
        photos.load_folder(tmp_path / "empty")
    with pytest.raises(NotADirectoryError, match="load reads one photo"):
        photos.load_folder(folder / "b.png")
    with pytest.raises(FileNotFoundError, match="Did you mean empty"):
        photos.load_folder(tmp_path / "emty")
    with pytest.raises(ValueError, match="size"):
        photos.load_folder(folder, size=None)


def test_where_own_photos_are(tmp_path, monkeypatch):
    monkeypatch.delenv("LABUTILS_DATA", raising=False)
    assert (photos.photos_folder() / "README.md").is_file(), "data/photos of this checkout."
    monkeypatch.setenv("LABUTILS_DATA", str(tmp_path))
    assert photos.photos_folder() == tmp_path / "photos"


def test_own_photos_without_a_checkout(tmp_path, monkeypatch):
    """As on Colab: the package lies elsewhere, the notebook runs in notebooks/ beside data/."""
    monkeypatch.delenv("LABUTILS_DATA", raising=False)
    monkeypatch.setattr(photos, "__file__", str(tmp_path / "site-packages" / "labutils" / "photos.py"))
    (tmp_path / "course" / "data").mkdir(parents=True)
    (tmp_path / "course" / "notebooks").mkdir()
    for folder in ("course", "course/notebooks"):
        monkeypatch.chdir(tmp_path / folder)
        assert photos.photos_folder() == tmp_path / "course" / "data" / "photos"


def test_own_photos(folder, monkeypatch, capsys):
    monkeypatch.setattr(photos, "photos_folder", lambda: folder)
    assert photos.own_photos().names == ["A", "b", "c"]
    assert "3 of your own photos" in capsys.readouterr().out
    own = photos.own_photos(minimum=4, size=(30, 40))
    assert own.names == photos.sample_names()[:4]
    assert own.images.shape == (4, 30, 40, 3)
    assert own.paths == [photos.sample_path(name) for name in own.names]
    out = capsys.readouterr().out
    assert "Sample photos" in out
    assert "only 3 photos" in out
    assert out.count("\n") == 1
    assert len(photos.own_photos(minimum=1, maximum=2).images) == 2


def test_own_photos_in_a_new_checkout(tmp_path, monkeypatch, capsys):
    (tmp_path / "README.md").touch()
    monkeypatch.setattr(photos, "photos_folder", lambda: tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert photos.own_photos().names == photos.sample_names()[:3]
    assert "none of your own" in capsys.readouterr().out


def test_own_photos_with_nothing_but_rubbish(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("no photo")
    monkeypatch.setattr(photos, "photos_folder", lambda: tmp_path)
    with pytest.warns(UserWarning, match=r"notes\.txt"):
        assert photos.own_photos().names == photos.sample_names()[:3]


# --- samples and mosaics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*photos.sample_names(), "chelsea"])
def test_samples_need_no_network(name, monkeypatch):
    def no_network(*_args, **_options):
        raise AssertionError("A sample photo asked for the network.")

    monkeypatch.setattr("socket.socket.connect", no_network)
    assert photos.sample_path(name).is_file()
    assert photos.sample(name).shape == (224, 224, 3)
    assert photos.sample(name).std() > 20, "A photo, not a flat colour."


def test_samples_are_the_photos_of_scikit_image():
    import skimage.data

    np.testing.assert_array_equal(photos.sample("cat", size=None), skimage.data.chelsea())
    np.testing.assert_array_equal(photos.sample("chelsea"), photos.sample("cat"))
    np.testing.assert_array_equal(photos.sample("motorcycle", size=None), skimage.data.stereo_motorcycle()[0])


def test_no_such_sample():
    with pytest.raises(ValueError, match=r"'dog'.*cat, coffee, astronaut, motorcycle, rocket, flower"):
        photos.sample("dog")


def test_mosaic_cells_hold_the_photos():
    tiles = [np.full((30, 50, 3), colour, np.uint8) for colour in (RED, GREEN, BLUE, GREY)]
    image, cells = photos.mosaic(tiles, size=(101, 80))
    assert (image.shape, image.dtype) == ((101, 80, 3), np.uint8)
    for (top, left, bottom, right), colour in zip(cells, (RED, GREEN, BLUE, GREY), strict=True):
        assert np.all(image[top:bottom, left:right] == colour)
    assert sum((bottom - top) * (right - left) for top, left, bottom, right in cells) == 101 * 80
    assert corners(image) == [RED, GREEN, BLUE, GREY]


def test_mosaic_of_two():
    image, cells = photos.mosaic([photos.sample("cat"), photos.sample("coffee")], grid=(1, 2))
    assert image.shape == (224, 224, 3)
    np.testing.assert_array_equal(cells, [[0, 0, 224, 112], [0, 112, 224, 224]])
    np.testing.assert_array_equal(
        image[:, 112:], np.asarray(Image.fromarray(photos.sample("coffee")).resize((112, 224), 2))
    )


def test_mosaic_errors():
    cat = photos.sample("cat")
    with pytest.raises(ValueError, match="takes 4 photos, not 2"):
        photos.mosaic([cat, cat])
    with pytest.raises(ValueError, match="Photo 1 is float64"):
        photos.mosaic([cat, cat / 255.0], grid=(1, 2))
    with pytest.raises(ValueError, match="grid is"):
        photos.mosaic([cat], grid=(0, 1))
    with pytest.raises(ValueError, match="does not fit"):
        photos.mosaic([cat] * 9, grid=(3, 3), size=(2, 2))


def test_import_is_light():
    """Neither TensorFlow nor the packages that only lend their sample photos are imported."""
    import subprocess
    import sys

    code = (
        "import sys; from labutils import photos; photos.sample('cat');"
        "print([name for name in ('tensorflow', 'keras', 'matplotlib', 'skimage', 'sklearn') if name in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


# --- outlines of the samples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", photos.sample_names())
def test_each_sample_has_an_outline(name):
    mask = photos.sample_mask(name)
    assert mask.shape == (224, 224)
    assert mask.dtype == bool
    assert 0.01 < mask.mean() < 0.9


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("cat", (95, 85), (60, 10)),  # the left eye; the blanket
        ("coffee", (80, 100), (160, 135)),  # the coffee; the spoon
        ("astronaut", (60, 100), (100, 180)),  # the face; the shuttle
        ("motorcycle", (150, 60), (60, 20)),  # the rear wheel; the garage
        ("rocket", (150, 112), (150, 80)),  # the rocket; the sky
        ("flower", (110, 110), (215, 120)),  # the flower; the one below
    ],
)
def test_an_outline_holds_the_object_and_not_its_surroundings(name, inside, outside):
    """Rows and columns read off the photo at 224 x 224."""
    mask = photos.sample_mask(name)
    assert mask[inside]
    assert not mask[outside]


def test_outlines_scale_with_the_photo():
    large, small = photos.sample_mask("flower"), photos.sample_mask("flower", (56, 112))
    assert small.shape == (56, 112)
    blocks = large.reshape(56, 4, 112, 2).mean(axis=(1, 3))
    assert (small == (blocks > 0.5)).mean() > 0.98


def test_an_outline_of_no_sample_is_refused():
    with pytest.raises(ValueError, match=r"'zebra'.*Possible are cat"):
        photos.sample_mask("zebra")


def test_heic_is_handed_to_pillow_heif_where_that_is_installed(monkeypatch):
    registered = []
    heif = types.SimpleNamespace(register_heif_opener=lambda: registered.append("here"))
    monkeypatch.setitem(sys.modules, "pillow_heif", heif)
    monkeypatch.setattr(photos, "find_spec", lambda name: name)
    photos._register_heif.cache_clear()
    try:
        photos._register_heif()
        photos._register_heif()
    finally:
        photos._register_heif.cache_clear()
    assert registered == ["here"]
