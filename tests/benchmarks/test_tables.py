"""The tables of the page."""

from benchmarks import report
from benchmarks.agreement import Agreement
from benchmarks.compare import LABUTILS, Row
from benchmarks.flatness import CASES
from benchmarks.growth import AXES, Growth
from benchmarks.timing import Timing
from benchmarks.waits import Wait


def test_a_row_has_its_own_forward_passes_and_its_ratio_to_ours():
    ours = Row("lrp", LABUTILS, "lrp", Timing([0.2, 0.4, 0.3]), Timing([0.1]), "1 + 1", memory=12.4)
    theirs = Row("lrp", "Captum", "LRP", Timing([0.6]), Timing([0.3]), agreement=Agreement(0.99996, 6e-3))
    broken = Row("lrp", "Other", "LRP", fails="TypeError: no rule", differs="not shown")
    page = report.comparison([ours, theirs, broken], "a model", "a layer", {"lrp": {"epsilon": 1e-9}, "saliency": {}})
    assert "| lrp | **labutils** | 0.300 | 0.200 | 3.00 | 1.00 | 1 + 1 | 12 |  |  |" in page
    assert "| lrp | Captum: LRP | 0.600 | 0.600 | 2.00 | 2.00 |  |  | 1.0000, 6e-03 |  |" in page
    assert "| lrp | Other: LRP |  |  |  |  |  |  |  | failed: TypeError: no rule |" in page
    assert "The work: lrp epsilon=1e-09." in page


def test_growth_counts_in_the_first_columns_seconds():
    axis = AXES[0]
    page = report.growth([Growth(axis, {"saliency": [0.5, 1.0, 2.0]})])
    assert f"**By {axis.name}**" in page
    assert "| method | 64 | 128 | 224 |" in page
    assert "| saliency | 0.500 (1.0) | 1.000 (2.0) | 2.000 (4.0) |" in page


def test_memory_and_waits():
    assert "| score_cam | 8 times the channels | 600 | 660 | 1.10 |" in report.flat({"score_cam": (CASES[0], 600, 660)})
    assert "| rise | 7.13 | 6.94 |" in report.waiting([Wait("rise", 7.126, 6.941)])


def test_every_table_is_square():
    page = report.table(("a", "b"), [(1, 2), (3, 4)])
    assert page.splitlines() == ["| a | b |", "| --- | --- |", "| 1 | 2 |", "| 3 | 4 |"]
