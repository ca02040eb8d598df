"""The photo picker without a browser: what is there at first, what choosing does, and every message a page can send."""

import io
import threading
from pathlib import Path

import numpy as np
import pytest
import traitlets
from ipywidgets.widgets.widget import CallbackDispatcher
from PIL import Image

from labutils import photos
from labutils.photos import PhotoError
from labutils.widgets import picker as module
from labutils.widgets.picker import MAX_FROM_FOLDER, MAX_GIVEN, MAX_UPLOAD, PhotoPicker, safe_name, shown_name

SAMPLES = photos.sample_names()
RED, BLUE = (200, 30, 30), (30, 30, 200)
PATIENCE = 20  # seconds; a test that waits so long has failed


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch) -> Path:
    """The student's photos of this test, a folder that is not there yet."""
    monkeypatch.setenv("LABUTILS_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "photos"


@pytest.fixture(autouse=True)
def errors_are_fatal(monkeypatch):
    """ipywidgets logs what a callback raises, and goes on; here it fails the test."""

    def call(self, *arguments):
        for callback in self.callbacks:
            callback(*arguments)

    monkeypatch.setattr(CallbackDispatcher, "__call__", call)


def jpeg(colour=RED, side=24) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def folder_of(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(jpeg())
    return folder


def given(count=3, side=16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, side, side, 3), dtype=np.uint8)


def status(picker) -> str:
    picker.items.wait_for(None, PATIENCE)
    return picker._area.status


class Page:
    """A page that shows the picker: sends messages, and keeps the answers."""

    def __init__(self, picker):
        self.picker = picker
        self.answers = []
        picker._area.send = self.answers.append

    def say(self, kind, *buffers, **content):
        self.picker._area._handle_custom_msg({"kind": kind, **content}, [memoryview(buffer) for buffer in buffers])

    def part(self, content, upload="1", *, name="cat.jpg", size=None, offset=0, batch="a"):
        size = len(content) if size is None else size
        self.say("part", content, upload=upload, batch=batch, name=name, size=size, offset=offset)

    @property
    def over(self) -> list[bool]:
        return [answer["over"] for answer in self.answers]


# --- at first ---------------------------------------------------------------------------------------------------------


def test_without_own_photos_there_are_the_samples_and_three_are_chosen():
    picker = PhotoPicker()
    assert picker.names == SAMPLES[:3]
    assert picker.chosen == (0, 1, 2)
    assert [(item.name, item.source) for item in picker.items] == [(name, "sample") for name in SAMPLES]
    assert picker.items[0].path == photos.sample_path("cat")
    np.testing.assert_array_equal(picker.images[0], photos.sample("cat"))
    assert "sample photos" in status(picker)


def test_own_photos_come_first(own_folder):
    folder_of(own_folder, "b.jpg", "a.jpg", "README.md")
    picker = PhotoPicker(size=(20, 30), fit="crop")
    assert [item.name for item in picker.items] == ["a", "b", *SAMPLES]
    assert picker.names == ["a", "b", "cat"]
    assert picker.photos().paths[0] == own_folder / "a.jpg"
    assert picker.images.shape == (3, 20, 30, 3)
    assert status(picker) == "2 photos of your own, from data/photos, and the samples."


def test_an_own_photo_that_cannot_be_read_is_named(own_folder):
    folder_of(own_folder, "a.jpg")
    (own_folder / "notes.txt").write_text("hello")
    picker = PhotoPicker()
    assert [item.name for item in picker.items][:2] == ["a", "cat"]
    assert "notes.txt: holds text, not a photo" in status(picker)


def test_it_is_there_at_once_and_whoever_asks_waits(monkeypatch):
    free, load = threading.Event(), photos._folder_photo

    def held_up(*arguments):
        free.wait(PATIENCE)
        return load(*arguments)

    monkeypatch.setattr(photos, "_folder_photo", held_up)
    picker = PhotoPicker()
    assert picker.chosen == (0, 1, 2)
    assert not picker.wait(0)
    picker.chosen = (2,)  # of those that are promised
    threading.Timer(0.02, free.set).start()
    assert picker.items[1].name == "coffee"
    assert len(picker.items) == len(SAMPLES)
    assert picker.names == ["astronaut"]


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        pytest.param(given(3), (16, 16, 3), id="colours"),
        pytest.param(given(1), (16, 16, 3), id="a single photo"),
        pytest.param(given(1)[0], (16, 16, 3), id="a photo without the first axis"),
        pytest.param(given(60), (16, 16, 3), id="sixty"),
        pytest.param(given(3)[..., 0], (16, 16), id="grey"),
        pytest.param(given(3)[..., :1], (16, 16), id="grey with an axis of one colour"),
        pytest.param(given(3)[..., :1] / 255, (16, 16), id="digits from 0 to 1"),
        pytest.param(given(3).astype("float32"), (16, 16, 3), id="floats from 0 to 255"),
    ],
)
def test_given_photos_are_all_chosen(array, shape):
    picker = PhotoPicker(array)
    count = 1 if array.shape == (16, 16, 3) else len(array)
    assert picker.chosen == tuple(range(count))
    assert picker.images.shape == (count, *shape)
    assert picker.images.dtype == np.uint8
    expected = given(count)[..., 0] if len(shape) == 2 else given(count)
    np.testing.assert_array_equal(picker.images, expected)
    assert picker.names[0] == "photo 1"
    assert {item.source for item in picker.items} == {"given"}
    assert picker.photos().paths == [None] * count


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"photos": np.zeros((2, 8, 8, 4), np.uint8)}, r"shape \(2, 8, 8, 4\)", id="four channels"),
        pytest.param({"photos": np.zeros((0, 8, 8, 3), np.uint8)}, "1 to 200 photos, not 0", id="none"),
        pytest.param({"photos": np.zeros((MAX_GIVEN + 1, 2, 2), np.uint8)}, r"photos\[:200\]", id="too many"),
        pytest.param({"photos": given() - 100.0}, "looks preprocessed", id="preprocessed"),
        pytest.param({"photos": [given()[0], given(1, 8)[0]]}, "one array of photos of one size", id="two sizes"),
        pytest.param({"photos": given(), "titles": ["one"]}, "1 titles for 3 photos", id="too few titles"),
        pytest.param({"titles": ["one"]}, "titles are names of given photos", id="titles alone"),
        pytest.param({"size": None}, "needs a size", id="no size"),
        pytest.param({"size": (0, 3)}, "size is", id="impossible size"),
        pytest.param({"fit": "squash"}, "'squash'", id="unknown fit"),
    ],
)
def test_bad_arguments_are_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        PhotoPicker(**arguments)


def test_what_the_browser_gets_is_small():
    picker = PhotoPicker(multiple=False)
    picker.items.wait_for(None, PATIENCE)
    assert len(picker._area.photos) == len(SAMPLES)
    for card in picker._area.photos:
        assert max(Image.open(io.BytesIO(card["picture"])).size) <= module.THUMBNAIL
        assert card["source"] == "sample"
    assert picker._area.chosen == [0]
    assert picker._area.progress == {}


def test_its_files_take_nothing_from_elsewhere_and_no_text_as_html():
    for file in (module.PickerArea._esm, module.PickerArea._css):
        text = str(file)
        assert "labutils-picker" in text
        for forbidden in ("innerHTML", "insertAdjacentHTML", "http:", "https:", "url("):
            assert forbidden not in text


# --- choosing ---------------------------------------------------------------------------------------------------------


def test_what_is_chosen_can_be_set_and_observed():
    picker, seen = PhotoPicker(given(4), titles=list("abcd")), []
    picker.observe(lambda change: seen.append(change.new), "chosen")
    picker.chosen = [3, 1, 3]
    assert picker.chosen == (1, 3)
    assert seen == [(1, 3)]
    assert picker.names == ["b", "d"]
    assert picker._area.chosen == [1, 3]


def test_clicks_arrive():
    picker, seen = PhotoPicker(given(4)), []
    picker.observe(lambda change: seen.append(change.new), "chosen")
    picker._area.set_state({"chosen": [2]})
    picker._area.set_state({"chosen": []})
    assert seen == [(2,), ()]


def test_an_impossible_choice_of_a_page_is_put_right():
    picker = PhotoPicker(given(2))
    picker._area.set_state({"chosen": [7]})
    assert picker.chosen == (0, 1)
    assert picker._area.chosen == [0, 1]


@pytest.mark.parametrize("wrong", [(3,), (-1,), ("0",), (0.5,)], ids=["beyond", "negative", "text", "between"])
def test_there_is_no_such_photo(wrong):
    picker = PhotoPicker(given(3))
    with pytest.raises(traitlets.TraitError, match=r"There is no photo .* 0 to 2"):
        picker.chosen = wrong


@pytest.mark.parametrize("wrong", [(), (0, 1)], ids=["none", "two"])
def test_a_picker_of_one_has_always_one(wrong):
    picker = PhotoPicker(given(3), multiple=False)
    assert picker.chosen == (0,)
    picker.chosen = (2,)
    with pytest.raises(traitlets.TraitError, match="exactly one"):
        picker.chosen = wrong
    assert picker.chosen == (2,)


def test_none_chosen_is_an_error_for_who_asks_for_them_and_a_word_in_the_figure():
    picker = PhotoPicker(given(2))
    picker.chosen = ()
    for ask in (picker.photos, lambda: picker.images, lambda: picker.names):
        with pytest.raises(ValueError, match="No photo is chosen"):
            ask()
    assert "none is chosen" in picker.figure().alt_text


def test_the_figure_shows_what_is_chosen():
    picker = PhotoPicker(given(3), titles=["one", "two", "three"])
    picker.chosen = (0, 2)
    assert picker.figure().alt_text == "2 pictures: one; three."


def test_the_figure_of_very_many_shows_the_first():
    alt_text = PhotoPicker(given(25)[..., 0]).figure().alt_text
    assert "The first 20 of 25 chosen photos" in alt_text
    assert "photo 20." in alt_text


# --- uploads ----------------------------------------------------------------------------------------------------------


def test_an_added_photo_is_read_as_the_others_and_chosen_too():
    picker = PhotoPicker(given(2), keep=False)
    item = picker.add("cat.jpg", jpeg(BLUE))
    assert (item.name, item.path, item.source) == ("cat", None, "uploaded")
    np.testing.assert_array_equal(item.image, photos.load(jpeg(BLUE), (16, 16)))
    assert picker.chosen == (0, 1, 2)
    assert picker.items[2] is item
    assert picker._area.photos[2]["name"] == "cat"
    assert picker._area.status == "cat.jpg is added until the notebook is closed."


def test_an_added_photo_becomes_grey_among_grey_ones():
    picker = PhotoPicker(given(2)[..., 0], multiple=False, keep=False)
    item = picker.add("blue.jpg", jpeg((0, 0, 255)))
    assert item.image.shape == (16, 16)
    assert np.abs(item.image.astype(int) - 29).max() <= 1  # 0.114 * 255: what blue weighs in grey
    assert picker.chosen == (2,)


def test_photos_of_one_name_can_be_told_apart():
    picker = PhotoPicker(keep=False)
    names = [picker.add("cat.jpg", content).name for content in (jpeg(RED), jpeg(BLUE))]
    picker.items.wait_for(None, PATIENCE)
    everyone = [item.name for item in picker.items]
    assert len(set(everyone)) == len(everyone) == len(SAMPLES) + 2
    assert all(name.startswith("cat") for name in names)


BAD = [
    pytest.param(b"", "is empty", id="nothing in it"),
    pytest.param(b"hello there", "holds text", id="text"),
    pytest.param(jpeg(side=200)[:900], "damaged", id="cut off"),
    pytest.param(b"\0\0\0\x18ftypheic" + bytes(100), "HEIC", id="of an iPhone"),
    pytest.param(b"%PDF-1.7" + bytes(100), "is a PDF document", id="a document"),
]


@pytest.mark.parametrize(("content", "said"), BAD)
def test_a_bad_upload_is_one_sentence_and_changes_nothing(content, said, own_folder):
    picker = PhotoPicker(given(2))
    page = Page(picker)
    page.part(content, name="<b>odd</b>.jpg")
    assert page.answers == [{"kind": "received", "upload": "1", "over": True}]
    assert picker._area.status.startswith("b>.jpg ")
    assert said in picker._area.status
    assert len(picker.items) == len(picker._area.photos) == 2
    assert picker.chosen == (0, 1)
    assert not own_folder.exists()
    with pytest.raises(PhotoError, match=rf"odd\.jpg .*{said}"):
        picker.add("odd.jpg", content)


def test_parts_are_put_together():
    content, picker = jpeg(), PhotoPicker(given(1))
    page = Page(picker)
    for offset in range(0, len(content), 100):
        page.part(content[offset : offset + 100], offset=offset, size=len(content))
    assert page.over == [False] * (len(page.over) - 1) + [True]
    assert picker.names == ["photo 1", "cat"]
    np.testing.assert_array_equal(picker.images[1], photos.load(content, (16, 16)))


def test_parts_of_two_files_may_take_turns():
    picker, contents = PhotoPicker(given(1)), {"1": jpeg(RED), "2": jpeg(BLUE)}
    page = Page(picker)
    half = 200
    for piece in (slice(0, half), slice(half, None)):
        for upload, content in contents.items():
            page.part(content[piece], upload, name=f"{upload}.jpg", size=len(content), offset=piece.start)
    assert page.over == [False, False, True, True]
    assert picker.names == ["photo 1", "1", "2"]
    assert picker.images[1, 8, 8, 0] > 150 > picker.images[2, 8, 8, 0]
    assert picker._area.status.startswith("2 photos are added")


WHOLE = jpeg()


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([(0, 100), (200, 300)], id="one is missing"),
        pytest.param([(100, 200)], id="the first is missing"),
        pytest.param([(0, 100), (0, 100)], id="one comes twice"),
        pytest.param([(0, 100), (100, 100)], id="the file shrank"),
        pytest.param([(0, len(WHOLE) + 1)], id="the file grew"),
    ],
)
def test_a_file_that_does_not_arrive_whole_is_given_up_and_can_be_added_again(parts):
    picker = PhotoPicker(given(1))
    page = Page(picker)
    for start, end in parts:
        page.part((WHOLE + b"\0")[start:end], size=len(WHOLE), offset=start)
    assert page.over[-1]
    assert picker._area.status == "cat.jpg did not arrive whole: it changed, or the connection broke off. Add it again."
    page.part(WHOLE[100:], size=len(WHOLE), offset=100)  # was on its way
    assert picker._area.status.count("cat.jpg") == 1
    page.part(WHOLE, "2", batch="b")
    assert picker.names == ["photo 1", "cat"]


def test_a_huge_file_is_refused_from_its_first_part():
    picker = PhotoPicker(given(1))
    page = Page(picker)
    for offset in (0, 1000):
        page.part(bytes(1000), name="huge.jpg", size=MAX_UPLOAD + 50_000_000, offset=offset)
    assert page.over == [True, True]
    assert picker._area.status == "huge.jpg has 150 MB; a photo may have 100. Save a smaller copy of it."


def test_uploads_of_pages_that_were_closed_do_not_pile_up():
    picker = PhotoPicker(given(1))
    page = Page(picker)
    for upload in range(20):
        page.part(bytes(10), str(upload), size=1000)
    assert len(picker._uploads._received) == module.MAX_UNFINISHED
    page.part(bytes(10), "0", size=1000, offset=10)
    assert page.over[-1], "The page must not wait for more of what was given up."


def test_files_that_are_dropped_together_are_reported_on_together():
    picker = PhotoPicker(given(1), keep=False)
    page = Page(picker)
    page.say("refused", batch="a", upload=None, text="holiday\N{RIGHT-TO-LEFT OVERRIDE} is a folder.")
    for number in range(30):
        page.part(jpeg() if number < 20 else b"hello", str(number), name=f"{number}.jpg")
    lines = picker._area.status.splitlines()
    assert lines[:2] == ["20 photos are added until the notebook is closed.", "holiday is a folder."]
    assert lines[2].startswith("20.jpg holds text")
    assert lines[-1] == "6 more could not be read."
    page.part(b"hello", "next", name="next.jpg", batch="b")
    assert picker._area.status.startswith("next.jpg holds text")


def test_a_stopped_upload_is_forgotten():
    picker = PhotoPicker(given(1))
    page = Page(picker)
    page.part(WHOLE[:100], size=len(WHOLE))
    page.say("stop")
    page.say("refused", batch="a", upload="1", text="Stopped: cat.jpg not added.")
    assert picker._area.status == "Stopped: cat.jpg not added."
    assert not picker._uploads._received


# --- keeping ----------------------------------------------------------------------------------------------------------


def test_an_upload_is_kept_where_the_next_notebook_finds_it(own_folder):
    picker = PhotoPicker(given(1))
    item = picker.add("cat.jpg", WHOLE)
    assert item.path == own_folder / "cat.jpg"
    assert item.path.read_bytes() == WHOLE
    assert picker._area.status == "cat.jpg is added and kept in data/photos, where every notebook finds it."
    assert PhotoPicker().names[0] == "cat"
    assert [item.name for item in PhotoPicker().items].count("cat (2)") == 1  # the sample


def test_another_photo_of_that_name_overwrites_nothing(own_folder):
    picker = PhotoPicker(given(1))
    picker.add("cat.jpg", jpeg(RED))
    item = picker.add("cat.jpg", jpeg(BLUE))
    assert item.path == own_folder / "cat-2.jpg"
    assert (own_folder / "cat.jpg").read_bytes() == jpeg(RED)
    assert "as cat-2.jpg" in picker._area.status


def test_the_same_photo_again_is_one_photo(own_folder):
    picker = PhotoPicker(given(1))
    first = picker.add("cat.jpg", WHOLE)
    picker.chosen = (0,)
    assert picker.add("cat.jpg", WHOLE) is first
    assert picker.chosen == (0, 1)
    assert [path.name for path in own_folder.iterdir()] == ["cat.jpg"]


def test_a_folder_that_cannot_be_written_costs_only_the_keeping(tmp_path):
    (tmp_path / "data").write_text("a file where the folder should be")
    picker = PhotoPicker(given(1))
    item = picker.add("cat.jpg", WHOLE)
    assert item.path is None
    assert picker.names == ["photo 1", "cat"]
    assert picker._area.status.startswith("cat.jpg is added for now, but could not be kept: ")


def test_a_full_disk_leaves_no_half_photo(own_folder, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    opened = Path.open

    def open_then_full(self, *arguments):
        file = opened(self, *arguments)
        file.close()
        return type("Full", (io.BytesIO,), {"write": full})()

    monkeypatch.setattr(Path, "open", open_then_full)
    picker = PhotoPicker(given(1))
    picker.add("cat.jpg", WHOLE)
    assert "could not be kept: No space left on device" in picker._area.status
    assert list(own_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cat.jpg", "cat.jpg"),
        ("My cat (1).JPEG", "My cat (1).JPEG"),
        ("../../x.jpg", "x.jpg"),
        ("..\\..\\x.jpg", "x.jpg"),
        ("/etc/passwd", "passwd.jpg"),
        ("C:\\photos\\x.jpg", "x.jpg"),
        ("con.png", "photo-con.png"),
        ("COM1.holiday.png", "photo-COM1.holiday.png"),
        ("console.png", "console.png"),
        (".hidden", "hidden.jpg"),
        ("...jpg", "jpg.jpg"),
        pytest.param("..", "photo.jpg", id="the folder above"),
        pytest.param("", "photo.jpg", id="no name"),
        ("a/", "photo.jpg"),
        ("readme.md", "readme.md.jpg"),
        ("thumbs.db", "thumbs.db.jpg"),
        ("page.html", "page.html.jpg"),
        ('a<b>:"c|d?e*.png', "a-b---c-d-e-.png"),
        pytest.param("line\nbreak\0.png", "linebreak.png", id="control characters"),
        pytest.param("\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", "gpj.exe.jpg", id="written backwards"),
        pytest.param("half \ud83d pair.png", "half  pair.png", id="half a surrogate pair"),
        pytest.param("Kätzchen 猫 🐈.jpg", "Kätzchen 猫 🐈.jpg", id="other scripts"),
        pytest.param("Ka\u0308tzchen.jpg", "Kätzchen.jpg", id="decomposed letters"),
        ("dots. .jpg", "dots.jpg"),
        pytest.param("猫" * 500 + ".png", "猫" * 40 + ".png", id="very long"),
    ],
)
def test_names_of_kept_files(name, kept, tmp_path):
    assert safe_name(name) == kept
    assert module.kept_file(tmp_path / "photos", name, b"x").parent == tmp_path / "photos"
    assert [path.name for path in (tmp_path / "photos").iterdir()] == [kept]


def test_a_very_long_name_is_shortened_for_people():
    picker = PhotoPicker(given(1), keep=False)
    picker.add("a" * 5000 + ".jpg", WHOLE)
    assert shown_name("a" * 5000 + ".jpg") == "a" * 40 + "…" + "a" * 11 + ".jpg"
    assert len(picker.names[1]) < 60
    assert len(picker._area.status) < 120


# --- folders ----------------------------------------------------------------------------------------------------------


def test_the_photos_of_a_folder_join(tmp_path):
    folder = folder_of(tmp_path / "holiday", "beach.jpg", "beach.png", ".hidden.jpg")
    (folder / "notes.txt").write_text("hello")
    (folder / "more").mkdir()
    picker = PhotoPicker(given(2))
    picker.open_folder(folder)
    assert [(item.name, item.source) for item in picker.items[2:]] == [("beach", "folder"), ("beach (2)", "folder")]
    assert picker.items[3].path == folder / "beach.png"
    assert picker.items[3].image.shape == (16, 16, 3)
    assert picker.chosen == (0, 1)
    lines = status(picker).splitlines()
    assert lines[0] == "2 photos from holiday."
    assert [line.split(":")[0] for line in lines[1:]] == [".hidden.jpg", "more", "notes.txt"]
    assert len(picker._area.photos) == 4


def test_a_folder_that_is_opened_again_adds_only_what_is_new(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "holiday", "a.jpg")
    picker = PhotoPicker(given(1))
    page = Page(picker)
    picker.open_folder(folder)
    monkeypatch.chdir(tmp_path)
    page.say("folder", path="holiday")
    assert status(picker) == "The photos of holiday are here already."
    folder_of(folder, "b.jpg")
    page.say("folder", path=f' "{folder}" ')
    assert status(picker) == "1 photo from holiday."
    assert [item.name for item in picker.items] == ["photo 1", "a", "b"]


def test_of_a_large_folder_the_first_are_read(tmp_path):
    folder = folder_of(tmp_path / "roll", *(f"{number:03}.jpg" for number in range(MAX_FROM_FOLDER + 4)))
    picker = PhotoPicker(given(1))
    picker.open_folder(folder)
    assert len(picker.items) == 1 + MAX_FROM_FOLDER
    assert status(picker).splitlines()[1] == f"Only the first {MAX_FROM_FOLDER} files were read; 4 were not."


@pytest.mark.parametrize(
    ("typed", "error", "said"),
    [
        pytest.param("holidya", FileNotFoundError, "Did you mean holiday", id="a slip"),
        pytest.param("file.txt", NotADirectoryError, "is a file, not a folder", id="a file"),
        pytest.param("empty", PhotoError, "holds no photo", id="an empty folder"),
        pytest.param("a\0b", FileNotFoundError, "There is no a", id="an impossible character"),
        pytest.param("x" * 3000, OSError, "xxx", id="far too long"),
    ],
)
def test_a_folder_that_cannot_be_opened_is_one_sentence(typed, error, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "holiday", "a.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("hello")
    picker = PhotoPicker(given(1))
    Page(picker).say("folder", path=typed)
    assert said in status(picker)
    assert 0 < len(status(picker)) <= 400
    assert "\n" not in status(picker)
    assert len(picker.items) == 1
    with pytest.raises(error, match=said):
        picker.open_folder(typed)


def test_no_path_is_asked_for():
    picker = PhotoPicker(given(1))
    Page(picker).say("folder", path="  ")
    assert picker._area.status == "Type the path of a folder first."


@pytest.fixture
def stop_after_two(monkeypatch):
    """Loads two photos, then stops as a page does, then goes on."""
    load, count, pages = photos._folder_photo, [0], []

    def stopping(*arguments):
        count[0] += 1
        if count[0] == 2:
            pages[0].say("stop")
        return load(*arguments)

    monkeypatch.setattr(photos, "_folder_photo", stopping)
    return pages


def test_loading_can_be_stopped_and_taken_up_again(tmp_path, stop_after_two):
    folder = folder_of(tmp_path / "holiday", *(f"{letter}.jpg" for letter in "abcd"))
    picker = PhotoPicker(given(1))
    stop_after_two.append(Page(picker))
    picker.open_folder(folder)
    assert [item.name for item in picker.items[1:]] == ["a", "b"]
    assert status(picker) == "2 photos from holiday.\nStopped before all were loaded."
    picker.open_folder(folder)
    assert [item.name for item in picker.items[1:]] == list("abcd")


def test_stopped_at_once_only_what_is_there_is_chosen(monkeypatch):
    started, load = threading.Event(), photos._folder_photo
    monkeypatch.setattr(photos, "_folder_photo", lambda *arguments: started.wait(PATIENCE) and load(*arguments))
    picker = PhotoPicker()
    clipped = threading.Event()
    picker.observe(lambda _: clipped.set(), "chosen")
    Page(picker).say("stop")
    started.set()
    assert clipped.wait(PATIENCE)
    assert picker.chosen == tuple(range(len(picker.items)))
    assert len(picker.items) < 3


def test_progress_is_told_while_photos_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "UPDATES_EACH_SECOND", 1e9)
    seen = []
    picker = PhotoPicker(given(1))
    picker._area.observe(lambda change: seen.append((dict(change.new), len(picker._area.photos))), "progress")
    picker.open_folder(folder_of(tmp_path / "holiday", "a.jpg", "b.jpg"))
    status(picker)
    what = {"what": "Loading photos of holiday", "total": 2}
    assert seen[:2] == [({**what, "done": 0}, 1), ({**what, "done": 1}, 2)]
    assert picker._area.progress == {}


def test_names_that_no_message_can_carry_are_mended(own_folder, monkeypatch):
    """Linux allows any bytes in names; Python shows those that are no UTF-8 as halves of pairs."""
    folder_of(own_folder, "a.jpg")
    entry = photos._entries(own_folder)[0]
    monkeypatch.setattr(photos, "_entries", lambda _: [entry.with_name("a\udcff.jpg")])
    monkeypatch.setattr(photos, "_folder_photo", lambda *_: given(1)[0])
    picker = PhotoPicker(size=(16, 16))
    assert len(picker.items) == len(SAMPLES) + 1
    assert picker.items[0].name == picker._area.photos[0]["name"] == "a"
