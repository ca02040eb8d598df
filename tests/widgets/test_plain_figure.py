"""What a widget leaves in a notebook: a picture where nobody can click, the widget and a picture where somebody can."""

import threading
from types import SimpleNamespace

import IPython
import numpy as np
import pytest

from labutils import plots
from labutils.widgets import plain
from labutils.widgets.plain import WithPlainFigure, someone_is_there

WIDGET = "application/vnd.jupyter.widget-view+json"


class Picture(WithPlainFigure):
    """A widget whose figure is there when `ready` is set."""

    def __init__(self, *, problem=None, ready=True):
        super().__init__()
        self.ready = threading.Event()
        self.problem = problem
        if ready:
            self.ready.set()

    def wait(self, seconds=None):
        self.limit = seconds
        return self.ready.wait(seconds)

    def figure(self):
        if self.problem:
            raise self.problem
        return plots.pictures(np.zeros((1, 4, 4, 3), np.uint8), titles=["a <b>photo</b>"])


@pytest.fixture
def somebody(monkeypatch):
    monkeypatch.setattr(plain, "someone_is_there", lambda: True)


def test_with_nobody_there_it_is_a_picture_with_its_words_and_no_widget():
    picture = Picture()
    data, metadata = picture._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    assert data["image/png"].startswith(b"\x89PNG")
    assert metadata == {"image/png": {"alt": data["text/plain"]}}
    assert "a <b>photo</b>" in data["text/plain"]
    assert picture.limit is None  # a notebook that is executed for its pictures waits for them


@pytest.mark.usefixtures("somebody")
class TestWithSomebodyThere:
    def test_it_is_both(self):
        data, metadata = Picture()._repr_mimebundle_()
        assert set(data) == {WIDGET, "image/png", "text/plain"}
        assert metadata["image/png"]["alt"]

    def test_a_picture_that_takes_long_is_left_out(self, monkeypatch):
        monkeypatch.setattr(plain, "PATIENCE", 0)
        data, metadata = Picture(ready=False)._repr_mimebundle_()
        assert WIDGET in data
        assert "image/png" not in data
        assert metadata == {}

    def test_a_picture_that_takes_long_comes_into_the_output_later(self, monkeypatch):
        shown, updated = [], threading.Event()
        handle = SimpleNamespace(update=lambda *forms, **more: (shown.append((*forms, more)), updated.set()))
        monkeypatch.setattr(IPython.display, "display", lambda *forms, **more: shown.append((*forms, more)) or handle)
        monkeypatch.setattr(plain, "PATIENCE", 0)
        picture = Picture(ready=False)
        picture._ipython_display_()
        picture.ready.set()
        assert updated.wait(10)
        (first, how), (second, more) = shown
        assert how == {"raw": True, "display_id": True}
        assert set(first) == {WIDGET, "text/plain"}
        assert first["text/plain"] == "Picture: run this cell to use it"
        assert set(second) == {WIDGET, "image/png", "text/plain"}
        assert more["metadata"]["image/png"]["alt"]

    def test_a_picture_that_is_quick_is_shown_as_anything_else(self):
        with pytest.raises(NotImplementedError):
            Picture()._ipython_display_()

    def test_a_picture_that_is_not_possible_is_said_in_its_place(self):
        data, metadata = Picture(problem=ValueError("no such layer"))._repr_mimebundle_()
        assert set(data) == {WIDGET, "text/plain"}
        assert data["text/plain"] == "Not possible here: no such layer"
        assert metadata == {}


def test_with_nobody_there_a_picture_that_is_not_possible_is_words():
    data, _ = Picture(problem=ValueError("no such layer"))._repr_mimebundle_()
    assert data == {"text/plain": "Not possible here: no such layer"}


@pytest.mark.parametrize(
    ("shell", "there"),
    [
        (None, False),
        (SimpleNamespace(), False),
        (SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False)), False),
        (SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True)), True),
        (SimpleNamespace(kernel=SimpleNamespace()), True),
    ],
    ids=["plain Python", "IPython in a terminal", "nbclient", "JupyterLab", "a kernel of another kind"],
)
def test_somebody_is_there_where_input_could_be_answered(monkeypatch, shell, there):
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    assert someone_is_there() is there
