"""Agreement of two maps, by hand."""

import math

import numpy as np
import pytest

from benchmarks.agreement import agreement


def test_a_map_agrees_with_itself():
    values = np.arange(12.0).reshape(3, 4)
    assert agreement(values, values) == agreement(values, values.copy())
    assert agreement(values, values).rank == pytest.approx(1.0)
    assert agreement(values, values).difference == 0.0


def test_the_rank_does_not_see_scale_but_the_difference_does():
    values = np.array([[1.0, -2.0], [3.0, 4.0]])
    found = agreement(values, 2 * values)
    assert found.rank == pytest.approx(1.0)
    assert found.difference == pytest.approx(1.0)  # 8 - 4, over 4


def test_a_turned_map_has_rank_minus_one_and_ties_share_their_rank():
    assert agreement(np.array([[1.0, 2.0, 3.0]]), np.array([[9.0, 4.0, 1.0]])).rank == pytest.approx(-1.0)
    # Ranks 1.5, 1.5, 3 beside 1, 2, 3: covariance 0.5, deviations sqrt(0.5) and sqrt(2 / 3).
    tied = agreement(np.array([[1.0, 1.0, 2.0]]), np.array([[1.0, 2.0, 3.0]])).rank
    assert tied == pytest.approx(0.5 / math.sqrt(0.5 * 2 / 3))


def test_constant_maps_have_no_rank_and_zero_maps_no_scale():
    zero, one = np.zeros((2, 2)), np.ones((2, 2))
    assert math.isnan(agreement(one, one).rank)
    assert agreement(one, one).difference == 0.0
    assert math.isnan(agreement(zero, one).difference)


def test_maps_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(1, 2\)"):
        agreement(np.ones((2, 2)), np.ones((1, 2)))
