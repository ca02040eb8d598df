"""The marks: their ratios and verdicts, from made-up seconds."""

import pytest

from benchmarks import occlusion, report
from benchmarks.compare import LABUTILS, Row
from benchmarks.marks import MARKS, Findings, Mark, number, ratio
from benchmarks.methods import METHODS
from benchmarks.timing import Timing


def rows(method, ours, forward, **theirs):
    """A method's rows from seconds; theirs as library_calls=seconds."""
    found = [Row(method, LABUTILS, method, Timing(ours), Timing(forward), "1 + 1")]
    for name, seconds in theirs.items():
        library, _, calls = name.partition("_")
        found.append(Row(method, library, calls, Timing(seconds), Timing(forward)))
    return found


def test_a_ratio_is_of_medians_and_of_fastest_rounds():
    findings = Findings(rows("saliency", [3.0, 9.0, 4.0], [2.0, 1.0, 4.0], other_Saliency=[8.0, 2.0, 6.0]))
    assert ratio("saliency", LABUTILS, "one forward pass")(findings) == (2.0, 3.0)
    assert ratio("saliency", "other Saliency", LABUTILS)(findings) == (1.5, pytest.approx(2 / 3))
    assert ratio("saliency", "absent Saliency", LABUTILS)(findings) is None
    assert ratio("lrp", LABUTILS, "one forward pass")(findings) is None


@pytest.mark.parametrize(
    ("limit", "at_most", "values", "verdict"),
    [
        (2.0, True, (2.0, 1.0), "met"),
        (2.0, True, (2.1, 1.9), "missed, met by the fastest round"),
        (2.0, True, (2.1, 2.1), "missed"),
        (2.0, False, (2.0, 2.0), "met"),
        (2.0, False, (1.9, 2.5), "missed, met by the fastest round"),
        (2.0, False, (1.9, 1.9), "missed"),
    ],
)
def test_the_verdict_is_the_medians(limit, at_most, values, verdict):
    findings = Findings(numbers={"thing": values})
    assert Mark("thing", limit, number("thing"), at_most).verdict(findings) == verdict


def test_what_was_not_measured_has_no_verdict():
    assert {mark.verdict(Findings()) for mark in MARKS} == {"not measured"}


def test_every_mark_is_read_from_what_a_run_finds():
    """A renamed method or rival would leave its mark "not measured" for ever."""
    from benchmarks.libraries.by_hand import PASSES
    from benchmarks.libraries.vit_keras import CALLS

    findings = Findings()
    for method in METHODS:
        findings.rows += rows(method.name, [1.0], [1.0])
    findings.rows.append(Row("score_cam", "by hand", PASSES, Timing([1.0]), Timing([1.0])))
    findings.rows.append(Row("attention_rollout", "vit-keras", CALLS, Timing([1.0]), Timing([1.0])))
    findings.rows.append(Row("smooth_grad", "tf-keras-vis", "SmoothGrad", Timing([1.0]), Timing([1.0])))
    for name in (*occlusion.LIMITS, "occlusion error", "memory score_cam", "memory rise", "memory occlusion"):
        findings.numbers[name] = 1.0, 1.0
    assert [mark.what for mark in MARKS if mark.verdict(findings) == "not measured"] == []


def test_the_page_shows_ratios_and_verdicts():
    findings = Findings(numbers={occlusion.FULL: (5.94, 6.0), "occlusion error": (2e-5, 2e-5)})
    page = report.marks(findings)
    assert "| at least 5 | 5.94 | 6.00 | met |" in page
    assert "| at most 0.0001 | 2e-05 | 2e-05 | met |" in page
