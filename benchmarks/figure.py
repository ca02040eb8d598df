"""One picture of how cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare import FORWARD
from benchmarks.growth import Growth

# Okabe and Ito's colours, which people with any colour vision can tell apart, and a marker each besides.
_STYLES = {
    FORWARD: ("#000000", "o"),
    "cam_family": ("#0072B2", "s"),
    "saliency": ("#D55E00", "^"),
    "lrp": ("#009E73", "D"),
    "ablation_cam": ("#CC79A7", "v"),
    "score_cam": ("#E69F00", "P"),
    "occlusion": ("#56B4E9", "X"),
}


def draw(found: Sequence[Growth], path: Path) -> None:
    """Seconds against each axis, both logarithmic: a line of slope one doubles when the axis doubles."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.3 * len(found), 3.9), layout="constrained")
    for axes, grown in zip(figure.subplots(1, len(found), squeeze=False, sharey=True)[0], found, strict=True):
        for name, seconds in grown.seconds.items():
            colour, marker = _STYLES[name]
            values = grown.axis.values
            axes.plot(values, seconds, color=colour, marker=marker, markersize=5, label=name, linewidth=1.6)
        axes.set(xscale="log", yscale="log", xlabel=grown.axis.name)
        axes.set_xticks(values, [str(value) for value in values])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("seconds")
    handles = {
        label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False)
    figure.savefig(path, dpi=150)
