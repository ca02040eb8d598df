"""The explorer of occlusion: the values of `labutils.explain`, colours as people name them, and work that can wait."""

import io
import threading

import keras
import numpy as np
import pytest
import zoo
from PIL import Image, ImageFilter

from labutils import explain
from labutils.widgets import OcclusionExplorer
from labutils.widgets import occlusion as occlusion_module
from labutils.widgets.occlusion import _duration, _pace

L = keras.layers
LONG = 60
PHOTOS = zoo.photos(2)
SHORTER = min(PHOTOS.shape[1:3])
HOSTILE = "<img src=x onerror=alert(1)>"


def preprocess(photos):
    """Other units than a photo's, channels the other way round: as VGG16's."""
    return photos[..., ::-1] / 64 - 1


def answered(explorer):
    """The map that is shown, once it is there; an error when there is none."""
    assert explorer.wait(LONG)
    assert explorer._problem is None, explorer._problem
    assert not explorer.view.busy
    return explorer._result[1].values


def seen(explorer):
    assert explorer._places.wait(LONG)
    return np.asarray(Image.open(io.BytesIO(explorer.seen.photo)))


@pytest.fixture(scope="module")
def model():
    # Its map takes the full route, which is compiled once for patches of all sizes.
    layers = [L.Flatten(), L.Dense(6, activation="relu"), L.Dense(4, activation="softmax")]
    return zoo.shake(keras.Sequential([keras.Input(zoo.SIZE), *layers]))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(occlusion_module, "PAUSE", 0)


@pytest.fixture
def explorer(model):
    explorer = OcclusionExplorer(
        model, PHOTOS, preprocess=preprocess, titles=["one", HOSTILE], class_names=[*"abc", HOSTILE]
    )
    yield explorer
    explorer.close()
    assert explorer._background.wait(LONG)


@pytest.fixture
def runs(monkeypatch):
    """The options of each call of `explain.occlusion`."""
    calls, real = [], explain.occlusion
    monkeypatch.setattr(explain, "occlusion", lambda *args, **options: calls.append(options) or real(*args, **options))
    return calls


def blurred(photo):
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(SHORTER / 10)))


FILLS = {
    "mean": np.rint(PHOTOS[0].mean(axis=(0, 1))),
    "black": np.zeros(3),
    "white": np.full(3, 255),
    "grey": np.full(3, 128),
    "blurred": blurred(PHOTOS[0]),
    "own": np.array([255, 0, 255]),
}


class TestMaps:
    @pytest.mark.parametrize("fill", FILLS)
    def test_each_fill_goes_through_the_preprocessing(self, explorer, model, fill):
        explorer.fill.value = fill
        fill_as_input = preprocess(np.broadcast_to(FILLS[fill], zoo.SIZE))
        image = preprocess(PHOTOS[:1].astype("float32"))
        expected = explain.occlusion(model, image, patch=2, stride=1, fill=fill_as_input)[0]
        np.testing.assert_allclose(answered(explorer), expected, atol=1e-5)

    @pytest.mark.parametrize(
        ("patch", "stride"),
        [(1, 1), (1, SHORTER), (SHORTER, SHORTER), (SHORTER, 1)],
        ids=["a pixel everywhere", "a pixel here and there", "all that fits", "all that fits, pixel by pixel"],
    )
    def test_patches_and_steps_at_their_extremes(self, explorer, model, patch, stride):
        answered(explorer)
        explorer.class_chooser.value = 0
        explorer.patch.value, explorer.stride.value = patch, stride
        image = preprocess(PHOTOS[:1].astype("float32"))
        fill = preprocess(FILLS["mean"])
        expected = explain.occlusion(model, image, 0, patch=patch, stride=stride, fill=fill)[0]
        np.testing.assert_allclose(answered(explorer), expected, atol=1e-5)
        assert ("leave pixels out" in explorer.cost.value) == (stride > patch)
        assert explorer.view.map

    def test_every_setting_is_computed_once(self, explorer, runs):
        first = answered(explorer)
        runs.clear()
        for patch in (3, 4, 3, 4):
            explorer.patch.value = patch
            answered(explorer)
        assert [options["patch"] for options in runs] == [3, 4]
        explorer.patch.value = 2
        assert answered(explorer) is first

    def test_the_plain_figure_says_what_was_done(self, explorer):
        explorer.opacity.value = 1
        explorer.fill.value = "blurred"
        text = explorer.figure().alt_text
        assert "patch of 2 x 2, step 1, the photo, blurred" in text
        assert "in one" in text

    def test_a_model_of_constant_answers_gives_an_empty_map(self):
        model = keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), L.Dense(1, kernel_initializer="zeros")])
        explorer = OcclusionExplorer(model, np.zeros((1, 8, 8), np.uint8))
        assert not answered(explorer).any()
        assert explorer.view.ends == ["all zero"]


@pytest.mark.parametrize(
    ("side", "patch", "stride"), [(1, 1, 1), (8, 2, 1), (28, 4, 2), (224, 32, 16)], ids=lambda number: str(number)
)
def test_patch_and_step_at_first_suit_the_photo(side, patch, stride):
    model = keras.Sequential([keras.Input((None, None, 1)), L.GlobalAveragePooling2D(), L.Dense(2)])
    explorer = OcclusionExplorer(model, np.zeros((1, side, side), np.uint8))
    assert (explorer.patch.value, explorer.stride.value) == (patch, stride)
    assert explorer.patch.max == explorer.stride.max == side
    assert answered(explorer).shape == (side, side)


class TestPlaces:
    def test_a_click_shows_what_the_network_sees_there_and_says(self, explorer, model):
        answered(explorer)
        explorer.patch.value, explorer.stride.value = 4, 2
        explorer.fill.value, explorer.class_chooser.value = "white", 3
        explorer.seen.chosen = [1, 2]
        covered = PHOTOS[0].copy()
        covered[2:6, 4:8] = 255
        np.testing.assert_array_equal(seen(explorer), covered)
        both = preprocess(np.stack([PHOTOS[0], covered]).astype("float32"))
        before, after = (f"{100 * share:.1f} %" for share in model.predict(both, verbose=0)[:, 3])
        assert f"{HOSTILE} falls from {before} to {after} under the patch" in explorer.seen.caption.replace(
            "rises", "falls"
        )
        height, width = zoo.SIZE[:2]
        assert explorer.seen.box == explorer.view.box == [2 / height, 4 / width, 4 / height, 4 / width]
        assert explorer.seen.grid == explorer.view.grid == [5, 6]

    def test_a_click_on_the_map_chooses_the_same_place(self, explorer):
        answered(explorer)
        explorer.view.chosen = [0, 0]
        assert explorer.seen.chosen == [0, 0]
        explorer.patch.value = SHORTER  # one row is left
        assert explorer.seen.chosen == [0, 0]
        answered(explorer)

    def test_a_model_of_one_channel_sees_every_colour_grey(self):
        model = zoo.shake(keras.Sequential([keras.Input((11, 14, 1)), L.Flatten(), L.Dense(2)]))
        explorer = OcclusionExplorer(model, PHOTOS)
        explorer.fill.value, explorer.colour.value = "own", "#ff0000"
        explorer.seen.chosen = [0, 0]
        grey = np.rint(PHOTOS[0] @ [0.299, 0.587, 0.114])
        grey[:2, :2] = 76
        np.testing.assert_array_equal(seen(explorer), grey)
        answered(explorer)


class TestLongWork:
    @pytest.fixture
    def slow(self, explorer, monkeypatch):
        """Whatever is not kept takes too long."""
        answered(explorer)
        monkeypatch.setattr(occlusion_module, "AT_ONCE", 0)
        return explorer

    def test_waits_for_the_button(self, slow, runs):
        slow.patch.value = 5
        assert not slow.wait(0)
        assert not runs
        assert "waits for the Run button" in slow.view.caption
        assert not slow.run_button.disabled
        assert not slow.view.map
        slow.run_button.click()
        answered(slow)
        assert [options["patch"] for options in runs] == [5]
        assert slow.run_button.disabled
        assert "patch of 5 x 5" in slow.view.caption

    def test_what_is_kept_waits_for_nothing(self, slow, runs):
        slow.patch.value = 5
        slow.patch.value = 2
        answered(slow)
        assert not runs
        assert slow.run_button.disabled

    def test_is_done_for_a_plain_figure(self, slow, runs):
        slow.patch.value = 5
        assert "patch of 5 x 5" in slow.figure().alt_text
        assert len(runs) == 1

    def test_many_places_wait_as_long_as_nothing_is_known_of_the_pace(self, model, monkeypatch, runs):
        monkeypatch.setattr(occlusion_module, "UNMEASURED", 10)
        explorer = OcclusionExplorer(model, PHOTOS)
        assert not explorer.wait(0)
        assert not runs
        assert explorer.cost.value.endswith("130 places.</span>")
        assert explorer.wait()
        answered(explorer)

    def test_begins_when_the_slider_rests(self, explorer, monkeypatch, runs):
        answered(explorer)
        runs.clear()
        monkeypatch.setattr(occlusion_module, "PAUSE", LONG)
        for patch in (3, 4, 5):
            explorer.patch.value = patch
        explorer.run()  # asks for the same: it is under way
        monkeypatch.setattr(occlusion_module, "PAUSE", 0)
        explorer.patch.value = 6
        answered(explorer)
        assert [options["patch"] for options in runs] == [6]

    def test_stop_stops_it_and_the_button_begins_again(self, slow, monkeypatch):
        real, reports, at_work, go_on = explain.occlusion, [], threading.Event(), threading.Event()

        def held(*args, progress, **options):
            def report(done, total):
                reports.append(done)
                at_work.set()
                assert go_on.wait(LONG)
                progress(done, total)

            return real(*args, progress=report, **options)

        monkeypatch.setattr(explain, "occlusion", held)
        slow.patch.value = 3
        slow.run()
        assert at_work.wait(LONG)
        assert slow.view.busy
        slow.stop()
        go_on.set()
        assert slow.wait(LONG)
        assert reports == [1]
        assert "Stopped. The Run button begins again." in slow.words.value
        assert not slow.view.busy
        slow.run_button.click()
        answered(slow)
        assert len(reports) > 2

    def test_settings_that_wait_end_what_is_under_way_without_a_word(self, slow, monkeypatch):
        at_work, go_on = threading.Event(), threading.Event()

        def held(*args, progress, **options):
            at_work.set()
            assert go_on.wait(LONG)
            progress(1, 2)

        monkeypatch.setattr(explain, "occlusion", held)
        slow.patch.value = 3
        slow.run()
        assert at_work.wait(LONG)
        slow.patch.value = 4
        go_on.set()
        assert slow._background.wait(LONG)
        assert "waits for the Run button" in slow.view.caption
        assert "Stopped" not in slow.words.value
        assert slow._problem is None

    def test_pace_leaves_out_what_comes_before_the_first_report(self):
        assert _pace([(10, 30.0)]) == 3
        assert _pace([(10, 30.0), (20, 31.0), (30, 32.0)]) == pytest.approx(0.1)

    @pytest.mark.parametrize(
        ("seconds", "words"), [(0.2, "less than 1 s"), (12.4, "about 12 s"), (180, "about 3 minutes")]
    )
    def test_time_in_words(self, seconds, words):
        assert _duration(seconds) == words


class TestProblems:
    def test_an_answer_of_nan_is_said(self):
        image = keras.Input((8, 8, 1))
        answer = keras.ops.log(-L.GlobalAveragePooling2D()(image) - 1)
        explorer = OcclusionExplorer(keras.Model(image, L.Dense(2)(answer)), np.ones((1, 8, 8), np.uint8))
        assert explorer.wait(LONG)
        assert "the model&#x27;s answer to this photo is not a number" in explorer.words.value
        assert "Not possible here: the model's answer" in explorer.seen.caption
        with pytest.raises(ValueError, match="is not a number"):
            explorer.figure()

    def test_a_colour_that_is_none_is_said_and_the_next_one_works(self, explorer):
        explorer.fill.value = "own"
        explorer.colour.value = "transparent"
        assert explorer.wait(LONG)
        assert "unknown color specifier" in explorer.words.value
        explorer.colour.value = "tomato"
        answered(explorer)

    @pytest.mark.parametrize("name", ["patch", "stride"])
    def test_a_patch_or_step_beyond_the_photo_is_named(self, model, name):
        with pytest.raises(ValueError, match=f"{name}: 12 pixels do not fit the photos' shorter side; 1 to 11 are"):
            OcclusionExplorer(model, PHOTOS, **{name: 12})
        with pytest.raises(TypeError, match=f"{name}: an int is needed, not float 2.5"):
            OcclusionExplorer(model, PHOTOS, **{name: 2.5})
