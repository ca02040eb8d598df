"""What a widget leaves where nobody can click: a plain figure.

A notebook's output may hold one thing in several forms, of which each front end takes the best that it can show. So a
widget here goes out together with a PNG of what it shows at first: JupyterLab takes the widget; GitHub, nbviewer and
nbconvert, which have no kernel, take the picture.
"""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any

import ipywidgets

if TYPE_CHECKING:
    from IPython.display import DisplayHandle
    from matplotlib.figure import Figure

PATIENCE = 2.0
"""Seconds that a widget's first picture is waited for before the widget is shown without; the picture comes later."""

LONGEST = 600.0
"""Seconds after which it does not come any more."""


def someone_is_there() -> bool:
    """Whether somebody can click: a front end that could also answer `input()` asked for this cell.

    nbclient (and with it nbconvert, papermill and nbgrader) and nbval execute notebooks without.
    """
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(getattr(kernel, "_allow_stdin", True))


class WithPlainFigure(ipywidgets.VBox):
    """A widget that is shown as a plain figure where widgets do not run.

    A subclass has `figure`, and may have `wait`.
    """

    def figure(self) -> Figure:
        """What the widget shows now, as a matplotlib figure with ``alt_text``."""
        raise NotImplementedError

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until what was asked for is there, at most so many seconds; returns whether it is."""
        return True

    def _ipython_display_(self) -> None:
        """Show it; where its picture takes long, the notebook's output gets that later."""
        from IPython.display import display

        if not someone_is_there() or self.wait(PATIENCE):
            raise NotImplementedError  # IPython asks for `_repr_mimebundle_`, as of any other object
        data, _ = self._forms(live=True, drawn=False)
        shown = display(data, raw=True, display_id=True)
        # With this cell's context, by which the kernel knows whose output it is.
        complete = contextvars.copy_context().run
        threading.Thread(target=complete, args=[self._complete, shown], name="labutils.widgets", daemon=True).start()

    def _complete(self, shown: DisplayHandle) -> None:
        if self.wait(LONGEST):
            data, metadata = self._forms(live=True, drawn=True)
            shown.update(data, raw=True, metadata=metadata)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        live = someone_is_there()
        return self._forms(live=live, drawn=self.wait(PATIENCE if live else None))

    def _forms(self, *, live: bool, drawn: bool) -> tuple[dict, dict]:
        """The forms of this output, and what goes with them: the widget where somebody is there, and the picture."""
        data: dict = {"text/plain": f"{type(self).__name__}: run this cell to use it"}
        metadata: dict = {}
        if live:
            data = dict(super()._repr_mimebundle_()) | data
        if drawn:
            try:
                picture, metadata = self.figure()._repr_mimebundle_()
            except Exception as error:  # The widget says the same, and others can be chosen in it.
                picture = {"text/plain": f"Not possible here: {error}"}
            data |= picture
        return data, metadata
