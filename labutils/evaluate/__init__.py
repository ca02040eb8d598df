"""Numbers that say whether a map can be trusted: maps and a model in, one number an image out.

Each metric is fooled by something, so each comes with its control: deletion and insertion with the curve of another
map, the pointing game with the image's centre, the grid pointing game with the share that a flat map gets, weight
randomisation with a method that ignores the weights. See ``docs/methods.md``.
"""

from labutils.evaluate.curves import Curve, blurred, deletion_curve, insertion_curve
from labutils.evaluate.league import LEAGUE, league_table
from labutils.evaluate.mosaics import Mosaics, confident_mosaics, textured_mosaics
from labutils.evaluate.pointing import centre_baseline, grid_pointing_game, pointing_game
from labutils.evaluate.randomization import randomized, rank_correlation, weight_randomization

__all__ = [
    "LEAGUE",
    "Curve",
    "Mosaics",
    "blurred",
    "centre_baseline",
    "confident_mosaics",
    "deletion_curve",
    "grid_pointing_game",
    "insertion_curve",
    "league_table",
    "pointing_game",
    "randomized",
    "rank_correlation",
    "textured_mosaics",
    "weight_randomization",
]
