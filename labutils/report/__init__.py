"""The report: HTML pages that show what a network said of photos, and why, by every method.

`network` says what is explained, `methods` by what, `explanation` does the work, `scores` says what the maps are worth,
`page` makes HTML of it, and `output` writes that down, with numbers for scripts.
"""

from labutils.report.explanation import (
    Evidence,
    ExplainedPhoto,
    Map,
    Prediction,
    explain_photo,
    find_photos,
    printable,
    work,
)
from labutils.report.methods import METHODS, Method, choose
from labutils.report.network import BUILT_IN, Network, saved_network, vgg16_network, vit_network
from labutils.report.output import Output, Targets, pages_folder
from labutils.report.page import render

__all__ = [
    "BUILT_IN",
    "METHODS",
    "Evidence",
    "ExplainedPhoto",
    "Map",
    "Method",
    "Network",
    "Output",
    "Prediction",
    "Targets",
    "choose",
    "explain_photo",
    "find_photos",
    "pages_folder",
    "printable",
    "render",
    "saved_network",
    "vgg16_network",
    "vit_network",
    "work",
]
