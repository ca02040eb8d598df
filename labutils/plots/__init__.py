"""Maps and predictions to matplotlib figures: the only place that scales values for display.

Methods return raw values; here they are divided by one number, so **0 stays 0** and keeps its colour. No minimum is
subtracted, which would give the weakest place of every map the look of "no evidence". Maps without negative values take
a perceptually uniform colour map (inferno); maps with negative values a diverging one whose middle is 0, over the photo
in grey, so that all red and blue is the map's. A map that is zero everywhere is shown as the plain photo and captioned
"all zero".

Every figure states its scale. Unless told otherwise, full colour is the absolute value that 99.5 % of a map stay below:
a CAM looks the same as with its maximum, while a gradient, whose few largest pixels tower over the rest, can be seen.

Every function returns a `matplotlib.figure.Figure` that pyplot does not know, so a notebook shows it once and nothing
has to be closed; ``figure.savefig("file.png")`` writes it. ``figure.alt_text`` describes it in words, for the ``alt`` of
an HTML page; a notebook's output carries it in its metadata, as `IPython.display.Image` does. Figures are at most some 10
inches wide, at 100 dots an inch: a notebook's width.
"""

from labutils.plots.channels import channel_grid
from labutils.plots.charts import bars, lines
from labutils.plots.classes import predictions
from labutils.plots.figures import WIDTH
from labutils.plots.flow import relevance_flow
from labutils.plots.hidden import matrix, points
from labutils.plots.league import league
from labutils.plots.maps import gallery, overlay, side_by_side
from labutils.plots.pictures import pictures
from labutils.plots.scales import (
    DIVERGING,
    PERCENTILE,
    SEQUENTIAL,
    display_limit,
    normalize,
    overlay_pixels,
    save_overlay,
)
from labutils.plots.tokens import attention_heads, attention_of_patches, patch_grid
from labutils.plots.windows import reach

__all__ = [
    "DIVERGING",
    "PERCENTILE",
    "SEQUENTIAL",
    "WIDTH",
    "attention_heads",
    "attention_of_patches",
    "bars",
    "channel_grid",
    "display_limit",
    "gallery",
    "league",
    "lines",
    "matrix",
    "normalize",
    "overlay",
    "overlay_pixels",
    "patch_grid",
    "pictures",
    "points",
    "predictions",
    "reach",
    "relevance_flow",
    "save_overlay",
    "side_by_side",
]
