"""What a widget leaves where nobody can click: a plain figure.

A notebook's output may hold one thing in several forms, of which each front end takes the best that it can show. So a
widget here goes out together with a PNG of what it shows at first: JupyterLab takes the widget; GitHub, nbviewer and
nbconvert, which have no kernel, take the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATIENCE = 2.0
"""Seconds that a widget's first picture is waited for, so that it can go into the notebook; the widget comes anyway."""


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

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        live = someone_is_there()
        data = dict(super()._repr_mimebundle_(include=include, exclude=exclude)) if live else {}
        metadata: dict = {}
        if self.wait(PATIENCE if live else None):
            try:
                figure_data, metadata = self.figure()._repr_mimebundle_()
            except Exception as error:  # The widget says the same, and others can be chosen in it.
                figure_data = {"text/plain": f"Not possible here: {error}"}
            data |= figure_data
        return data, metadata
