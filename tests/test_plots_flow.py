"""The drawing of a small network with its relevance: what is written where, and what is refused."""

import io

import numpy as np
import pytest

from labutils import plots

# x = (1, 2), hidden (2, 3) of which 1 is a bias, score 9; relevance with epsilon 0.
ACTIVATIONS = [np.array([1.0, 2.0]), np.array([2.0, 3.0]), np.array([9.0])]
RELEVANCE = [np.array([7.0, -1.0]), np.array([6.0, 3.0]), np.array([9.0])]
MESSAGES = [np.array([[6.0, 1.0], [-3.0, 2.0]]), np.array([[6.0], [3.0]])]


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_every_unit_and_every_line_has_its_number():
    figure = plots.relevance_flow(ACTIVATIONS, RELEVANCE, MESSAGES, names=["input", "hidden", "output"])
    written = texts(figure)
    assert {"$a$ = 2\n$R$ = \N{MINUS SIGN}1", "$a$ = 9\n$R$ = 9", "\N{MINUS SIGN}3", "hidden"} <= set(written)
    assert "sum of $R$: 6\nkept on the way: 3" in written
    assert "sum of $R$: 9\nkept on the way: 0" in written
    assert len(figure.axes[0].lines) == 6
    figure.savefig(io.BytesIO(), format="png")


def test_lines_are_as_wide_as_what_they_carry_and_coloured_by_sign():
    lines = plots.relevance_flow(ACTIVATIONS, RELEVANCE, MESSAGES).axes[0].lines
    six, one, minus_three, _, _, _ = lines
    assert six.get_linewidth() > minus_three.get_linewidth() > one.get_linewidth()
    red, _, blue, _ = six.get_color()
    assert red > blue
    red, _, blue, _ = minus_three.get_color()
    assert blue > red


def test_described_in_words():
    figure = plots.relevance_flow(ACTIVATIONS, RELEVANCE, MESSAGES, title="paper")
    assert figure.alt_text.startswith("A small network with the relevance of every unit (paper). input: relevance 7, ")
    assert "layer 1: relevance 6, 3, sum 9" in figure.alt_text


def test_a_network_of_zeros():
    zeros = [[np.zeros_like(array) for array in arrays] for arrays in (ACTIVATIONS, RELEVANCE, MESSAGES)]
    plots.relevance_flow(*zeros).savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activations": ACTIVATIONS[:1]}, "activations: at least the input and one layer"),
        ({"activations": [np.zeros(7), *ACTIVATIONS[1:]]}, r"activations are \(units,\) with 1 to 6 units"),
        ({"activations": [np.zeros((1, 2)), *ACTIVATIONS[1:]]}, r"one has shape \(1, 2\)"),
        ({"relevance": RELEVANCE[::-1]}, "relevance has the shapes"),
        ({"messages": [MESSAGES[0], MESSAGES[1].T]}, r"messages has the shapes .*\(1, 2\).*; here they are .*\(2, 1\)"),
        ({"names": ["one"]}, "names has 1 texts for 3 columns"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    given = {"activations": ACTIVATIONS, "relevance": RELEVANCE, "messages": MESSAGES, **change}
    with pytest.raises(ValueError, match=message):
        plots.relevance_flow(**given)
