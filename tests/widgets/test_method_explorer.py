"""The explorer of methods, classes and layers: the values of `labutils.explain`, whatever is chosen."""

import itertools
import threading

import keras
import numpy as np
import pytest
import zoo

from labutils import explain
from labutils.widgets import MethodExplorer
from labutils.widgets import methods as methods_module
from labutils.widgets.explorer import Chooser

LONG = 60
HOSTILE = "<img src=x onerror=alert(1)> & co"
PHOTOS = zoo.photos(2)


def scaled(photos):
    return photos / 64


def answered(explorer):
    """The map that is shown, once it is there; an error when there is none."""
    assert explorer.wait(LONG)
    assert explorer._problem is None, explorer._problem
    assert not explorer.view.busy
    return explorer._result[1].values


def said(explorer):
    """What stands below the picture once the work is over, as the page shows it."""
    assert explorer.wait(LONG)
    return explorer.words.value


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return zoo.functional()


@pytest.fixture
def explorer(model):
    explorer = MethodExplorer(model, PHOTOS, preprocess=scaled, titles=["one", HOSTILE], class_names=[*"abc", HOSTILE])
    yield explorer
    explorer.close()
    assert explorer.wait(LONG)


class TestMaps:
    def test_each_method_gives_what_explain_gives(self, explorer, model):
        """At its defaults, and of the methods that look at a layer, at the first and the last as well."""
        image = scaled(PHOTOS[:1].astype("float32"))
        top = model.predict(image, verbose=0).argmax(axis=1)
        for name, method in explorer._methods.items():
            explorer.method.value = name
            options = {**method.options, **method.options_for(image.shape[1:3])}
            assert explorer.layer.disabled == (not method.has_layer)
            for index in {0, 1, len(explorer.layer.options) - 1} if method.has_layer else {0}:
                explorer.layer.index = index
                shown = answered(explorer)
                layer = {"layer": explorer.layer.value} if explorer.layer.value else {}
                expected = getattr(explain, name)(model, image, top, **options, **layer)[0]
                np.testing.assert_allclose(shown, expected, rtol=1e-5, atol=1e-6, err_msg=name)
                assert shown.any() == bool(explorer.view.map)
                assert method.title in explorer.view.caption
            explorer.layer.index = 0
        assert len(explorer._methods) >= 13

    def test_each_photo_and_class(self, explorer, model):
        answered(explorer)
        for photo, class_index in itertools.product((1, 0), (0, 3, None)):
            explorer.picker.chosen = (photo,)
            explorer.class_chooser.value = class_index
            image = scaled(PHOTOS[photo].astype("float32"))
            np.testing.assert_allclose(answered(explorer), explain.grad_cam(model, image, class_index)[0], atol=1e-6)

    def test_the_plain_figure_at_both_ends_of_the_opacity(self, explorer):
        for opacity in (0, 1):
            explorer.opacity.value = opacity
            assert "Grad-CAM for" in explorer.figure().alt_text

    def test_one_method_can_be_asked_for(self, model):
        explorer = MethodExplorer(model, PHOTOS, methods=["saliency"])
        assert explorer.method.value == "saliency"
        assert answered(explorer).shape == PHOTOS.shape[1:3]

    def test_a_method_that_there_is_not_is_named(self, model):
        with pytest.raises(ValueError, match=r"there is no method 'grad_cm' \(did you mean grad_cam"):
            MethodExplorer(model, PHOTOS, methods=["grad_cm"])


def small_model(shape, activation="softmax"):
    layers = [keras.layers.Conv2D(3, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    return zoo.shake(keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(4, activation=activation)]))


class TestModels:
    def test_digits(self):
        model = small_model((8, 8, 1))
        digits = np.random.default_rng(0).random((2, 8, 8))
        explorer = MethodExplorer(model, digits)
        pixels = np.rint(255 * digits[:1]).astype("float32")[..., np.newaxis]
        np.testing.assert_allclose(answered(explorer), explain.grad_cam(model, pixels)[0], rtol=1e-5)
        assert explorer.view.small
        assert explorer.figure().alt_text

    def test_a_model_of_one_channel_gets_colour_photos_in_grey(self):
        model = small_model((11, 14, 1))
        explorer = MethodExplorer(model, PHOTOS)
        grey = np.rint(PHOTOS[:1].astype("float32") @ np.float32([0.299, 0.587, 0.114]))[..., np.newaxis]
        np.testing.assert_allclose(answered(explorer), explain.grad_cam(model, grey)[0], rtol=1e-5)

    def test_a_model_that_gives_logits_shows_probabilities(self):
        explorer = MethodExplorer(small_model(zoo.SIZE, activation=None), PHOTOS, methods=["saliency"])
        answered(explorer)
        probabilities = explorer._result[1].probabilities
        assert probabilities.sum() == pytest.approx(1)
        assert (probabilities >= 0).all()

    def test_a_model_without_spatial_layers_has_the_methods_that_need_none(self):
        model = keras.Sequential([keras.Input(zoo.SIZE), keras.layers.Flatten(), keras.layers.Dense(3)])
        explorer = MethodExplorer(model, PHOTOS)
        assert not any(method.has_layer for method in explorer._methods.values())
        assert [name for name, _ in explorer.layer.options] == ["the last that counts"]
        explorer.method.value = "saliency"
        answered(explorer)

    def test_photos_of_another_size_or_colour_than_the_model_takes_are_said(self):
        explorer = MethodExplorer(small_model((11, 14, 4)), PHOTOS)
        assert "Not possible here: images: shape (1, 11, 14, 3) does not fit the model" in said(explorer)
        with pytest.raises(ValueError, match="does not fit the model"):
            explorer.figure()

    def test_class_names_must_be_as_many_as_the_classes(self, model):
        with pytest.raises(ValueError, match="class_names has 2 names; the model has 4 classes"):
            MethodExplorer(model, PHOTOS, class_names=["a", "b"])

    def test_something_else_than_a_model_is_refused(self):
        with pytest.raises(TypeError, match="a Keras model is needed, not str"):
            MethodExplorer("vgg16", PHOTOS)


class TestProblems:
    def test_a_method_that_fails_says_so_and_the_next_one_works(self, explorer, monkeypatch):
        def failing(*_args, **_options):
            raise ValueError("first <b>line</b>\nsecond line")

        monkeypatch.setattr(explain, "saliency", failing)
        answered(explorer)
        explorer.method.value = "saliency"
        assert 'role="alert"' in said(explorer)
        assert "Not possible here: first &lt;b&gt;line&lt;/b&gt;</div>" in explorer.words.value
        assert (explorer.view.map, explorer.view.caption, explorer.view.busy) == (b"", "", False)
        explorer.method.value = "grad_cam"
        answered(explorer)
        assert "alert" not in explorer.words.value

    def test_the_plain_figure_of_what_failed_raises_it_and_does_not_do_it_again(self, explorer, monkeypatch):
        calls = []

        def failing(*_args, **_options):
            calls.append(1)
            raise ValueError("no")

        monkeypatch.setattr(explain, "saliency", failing)
        explorer.method.value = "saliency"
        explorer.wait(LONG)
        with pytest.raises(ValueError, match="no"):
            explorer.figure()
        assert calls == [1]

    def test_a_map_that_has_no_scale_is_said(self, explorer, monkeypatch):
        monkeypatch.setattr(explain, "saliency", lambda *_args, **_options: np.full((1, 11, 14), np.nan, np.float32))
        explorer.method.value = "saliency"
        assert "Not possible here: heatmap has 154 values of 154 that are NaN" in said(explorer)

    def test_no_photo_is_chosen(self, model):
        from labutils.widgets import PhotoPicker

        explorer = MethodExplorer(model, PhotoPicker(PHOTOS), preprocess=scaled)
        answered(explorer)
        explorer.picker.chosen = ()
        assert "no photo is chosen" in said(explorer)
        with pytest.raises(ValueError, match="no photo is chosen"):
            explorer.figure()
        explorer.picker.chosen = (1,)
        answered(explorer)

    def test_names_from_outside_are_never_markup(self, explorer):
        answered(explorer)
        explorer.picker.chosen = (1,)
        answered(explorer)
        explorer.class_chooser.value = 3
        answered(explorer)
        assert explorer.view.caption.count(HOSTILE) == 2
        assert "<img" not in explorer.words.value
        assert any(HOSTILE in label for label, _ in explorer.class_chooser.options)


class TestLists:
    def test_a_chosen_class_stays_chosen_on_another_photo(self, explorer):
        answered(explorer)
        explorer.class_chooser.value = 2
        answered(explorer)
        explorer.picker.chosen = (1,)
        answered(explorer)
        assert explorer.class_chooser.value == 2
        assert explorer.class_chooser.options[explorer.class_chooser.index][1] == 2
        assert explorer._result[0].class_index == 2

    def test_the_most_probable_class_can_be_chosen_again(self, explorer):
        """As the browser does it, by the number of the line."""
        answered(explorer)
        explorer.class_chooser.set_state({"index": 3})
        answered(explorer)
        explorer.class_chooser.set_state({"index": 0})
        assert explorer.class_chooser.index == 0
        assert explorer.class_chooser.value is None
        answered(explorer)
        assert explorer._result[0].class_index is None

    def test_the_classes_stand_in_the_order_of_their_probability(self, explorer):
        answered(explorer)
        order = np.argsort(-explorer._result[1].probabilities)
        assert [value for _, value in explorer.class_chooser.options] == [None, *order]

    def test_other_options_without_the_chosen_one_go_to_the_first(self):
        chooser = Chooser(options=[("none", None), ("a", 1), ("b", 2)], value=2)
        chooser.options = [("none", None), ("a", 1)]
        assert (chooser.index, chooser.value, chooser.label) == (0, None, "none")


class Gate:
    """A method that waits, reports, and goes on."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, _model, images, _classes=None, *, progress, **_options):
        progress(2, 5)
        self.begun.set()
        assert self.open.wait(LONG)
        progress(3, 5)
        return np.ones(images.shape[:3], np.float32)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate()
    monkeypatch.setattr(explain, "score_cam", gate)
    # Nothing is left out between two reports.
    monkeypatch.setattr("labutils.widgets.work.REPORTS_EACH_SECOND", np.inf)
    yield gate
    gate.open.set()


def start(explorer, gate):
    answered(explorer)
    explorer.method.value = "score_cam"
    assert gate.begun.wait(LONG)


def visible(part):
    return part.layout.display != "none"


class TestLongWork:
    def test_shows_how_far_it_is_and_can_be_stopped_and_begun_again(self, explorer, gate):
        start(explorer, gate)
        assert explorer.view.busy
        assert (explorer._bar.value, explorer._bar.max, explorer._bar.description) == (2, 5, "2 of 5")
        assert visible(explorer._bar)
        assert explorer._stop.description == "Stop"
        explorer._stop.click()
        gate.open.set()
        assert "Stopped." in said(explorer)
        assert (explorer.view.map, explorer.view.busy) == (b"", False)
        assert not visible(explorer._bar)
        assert visible(explorer._stop)
        assert explorer._stop.description == "Start again"
        explorer._stop.click()
        assert answered(explorer).shape == (11, 14)
        assert not visible(explorer._stop)

    def test_another_choice_takes_its_place(self, explorer, gate):
        start(explorer, gate)
        explorer.method.value = "grad_cam"  # kept
        assert explorer._result[0].method == "grad_cam"
        assert not explorer.view.busy
        assert not visible(explorer._bar)
        gate.open.set()
        answered(explorer)
        assert explorer._result[0].method == "grad_cam"

    def test_another_photo_is_shown_at_once_without_the_old_map(self, explorer, gate):
        start(explorer, gate)
        before = explorer.view.photo
        explorer.picker.chosen = (1,)
        assert explorer.view.photo != before
        assert (explorer.view.map, explorer.view.caption, explorer.view.busy) == (b"", "", True)
        gate.open.set()
        answered(explorer)

    def test_is_given_up_when_the_explorer_is_closed(self, model, gate):
        explorer = MethodExplorer(model, PHOTOS, preprocess=scaled)
        start(explorer, gate)
        explorer.close()
        gate.open.set()
        assert explorer.wait(LONG)
        assert explorer._result[0].method == "grad_cam"

    def test_a_cell_run_again_makes_an_explorer_that_does_not_wait(self, explorer, model, gate):
        start(explorer, gate)
        second = MethodExplorer(model, PHOTOS, preprocess=scaled)
        answered(second)
        assert explorer._background.busy
        second.close()


def test_many_clicks_end_at_the_last(explorer):
    answered(explorer)
    for _ in range(3):
        for method in explorer.method.options[:4]:
            explorer.method.value = method[1]
        for photo in (1, 0):
            explorer.picker.chosen = (photo,)
    answered(explorer)
    assert explorer._result[0] == methods_module.Choice(0, explorer.method.value, None, None)
    assert explorer.view.caption == explorer._heading(*explorer._result)
