"""The report: one HTML page that shows what a network said of some photos, and why, by every method.

`network` says what is explained, `methods` by what, `explanation` does the work, `page` writes it down.
"""

from labutils.report.explanation import Evidence, ExplainedPhoto, Map, explain_photo, find_photo
from labutils.report.methods import METHODS, Method, choose
from labutils.report.network import BUILT_IN, Network, saved_network, vgg16_network, vit_network
from labutils.report.page import render

__all__ = [
    "BUILT_IN",
    "METHODS",
    "Evidence",
    "ExplainedPhoto",
    "Map",
    "Method",
    "Network",
    "choose",
    "explain_photo",
    "find_photo",
    "render",
    "saved_network",
    "vgg16_network",
    "vit_network",
]
