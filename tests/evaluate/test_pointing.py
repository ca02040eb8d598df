"""The pointing games against pencil and paper, and against the slow twins."""

import numpy as np
import pytest
import twins_evaluate
import zoo

from labutils import explain
from labutils.evaluate import centre_baseline, grid_pointing_game, pointing_game
from labutils.photos import mosaic


def spot(*places, size=(40, 60)):
    array = np.zeros(size)
    for place in places:
        array[place] = 1
    return array


class TestPointingGame:
    def test_perfect_and_worst_maps(self):
        mask = np.zeros((40, 60), int)
        mask[5:10, 5:10] = 255
        inside, outside = spot((7, 8)), spot((35, 55))
        np.testing.assert_array_equal(pointing_game([inside, outside], [mask, mask]), [True, False])
        np.testing.assert_array_equal(pointing_game(mask, mask), [True])
        np.testing.assert_array_equal(pointing_game(-mask, mask), [False])

    @pytest.mark.parametrize(
        ("place", "tolerance", "hit"),
        [
            ((10, 25), 15, True),  # 15 pixels to the right
            ((10, 26), 15, False),
            ((19, 22), 15, True),  # 9 down, 12 across: 15
            ((20, 22), 15, False),
            ((10, 10), 0, True),
            ((10, 11), 0, False),
            ((11, 11), 1.4, False),
            ((11, 11), 1.5, True),
        ],
    )
    def test_distance_is_euclidean_to_the_nearest_pixel_of_the_mask(self, place, tolerance, hit):
        mask = spot((10, 10), (10, 9), (0, 0)).astype(bool)
        assert pointing_game(spot(place), mask, tolerance=tolerance).tolist() == [hit]

    def test_a_flat_map_points_at_nothing(self):
        everything = np.ones((2, 5, 5), bool)
        np.testing.assert_array_equal(pointing_game([np.zeros((5, 5)), np.ones((5, 5))], everything), [False, False])

    def test_every_maximum_must_hit(self):
        mask = spot((5, 5)).astype(bool)
        assert pointing_game(spot((5, 5), (5, 6)), mask, tolerance=1).all()
        assert not pointing_game(spot((5, 5), (39, 59)), mask).any()
        assert not pointing_game(spot((0, 0), (5, 5)), mask, tolerance=1).any()

    def test_negative_maps_have_a_maximum_too(self):
        assert pointing_game(spot((5, 5)) - 10, spot((5, 5)).astype(bool), tolerance=0).all()

    def test_equals_its_slow_twin_image_by_image(self):
        rng = np.random.default_rng(0)
        maps = rng.integers(0, 30, (40, 9, 7)) / 4
        masks = rng.random((40, 9, 7)) < 0.04
        masks[:, 4, 2] = True
        hits = pointing_game(maps, masks, tolerance=2)
        assert 5 < hits.sum() < 35
        for heat, mask, hit in zip(maps, masks, hits, strict=True):
            assert twins_evaluate.is_hit(heat, mask, 2) == hit
            assert pointing_game(heat, mask, tolerance=2).tolist() == [hit]


class TestCentreBaseline:
    @pytest.mark.parametrize(
        ("size", "place", "tolerance", "hit"),
        [
            ((5, 7), (2, 3), 0, True),
            ((5, 7), (2, 4), 0, False),
            ((5, 7), (2, 4), 1, True),
            ((4, 6), (1, 2), 0, True),  # four middle pixels
            ((4, 6), (2, 3), 0, True),
            ((4, 6), (0, 2), 0, False),
            ((40, 60), (20, 45), 15, True),  # the middle pixels are 19, 20 and 29, 30
            ((40, 60), (20, 46), 15, False),
            ((40, 60), (29, 42), 15, True),  # 9 down, 12 across
            ((40, 60), (30, 42), 15, False),
        ],
    )
    def test_worked_out_by_hand(self, size, place, tolerance, hit):
        mask = spot(place, size=size).astype(bool)
        assert centre_baseline(mask, tolerance=tolerance).tolist() == [hit]
        for flipped in (mask[::-1], mask[:, ::-1]):
            assert centre_baseline(flipped, tolerance=tolerance).tolist() == [hit]

    def test_is_the_game_of_a_map_that_points_at_the_centre(self):
        masks = np.random.default_rng(1).random((30, 31, 41)) < 0.002
        masks[:, 0, 0] = True
        central = np.broadcast_to(spot((15, 20), size=(31, 41)), masks.shape)
        hits = centre_baseline(masks, tolerance=8)
        assert 0 < hits.sum() < 30
        np.testing.assert_array_equal(hits, pointing_game(central, masks, tolerance=8))


class TestGridPointingGame:
    def test_worked_out_by_hand(self):
        # Positive: 1 + 2 in the first cell, 3 in the second, 4 in the third, 0 in the fourth.
        heat = [[1, 2, 3, -5], [4, -1, -2, 0]]
        np.testing.assert_allclose(grid_pointing_game([heat] * 4, [0, 1, 2, 3]), [0.3, 0.3, 0.4, 0.0])

    def test_perfect_and_worst_maps(self):
        perfect = np.zeros((6, 8))
        perfect[3:, :4] = 2.0
        np.testing.assert_array_equal(grid_pointing_game([perfect, 5 - perfect], [2, 2])[0], 1.0)
        np.testing.assert_array_equal(grid_pointing_game([perfect] * 3, [0, 1, 3]), [0, 0, 0])

    def test_flat_map_gets_the_cells_share_of_the_area(self):
        np.testing.assert_allclose(grid_pointing_game(np.full((4, 6, 6), 0.1), range(4)), [0.25] * 4)
        np.testing.assert_allclose(grid_pointing_game(np.full((9, 9, 9), 7), range(9), grid=(3, 3)), [1 / 9] * 9)

    @pytest.mark.parametrize("value", [0.0, -1.0])
    def test_nothing_positive_is_zero(self, value):
        np.testing.assert_array_equal(grid_pointing_game(np.full((2, 4, 4), value), 0), [0.0, 0.0])

    @pytest.mark.parametrize(("grid", "size"), [((2, 2), (101, 75)), ((3, 2), (100, 75)), ((2, 3), (7, 11))])
    def test_cells_are_where_the_mosaic_puts_its_photos(self, grid, size):
        black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
        for cell in range(grid[0] * grid[1]):
            photos = [white if index == cell else black for index in range(grid[0] * grid[1])]
            heat = mosaic(photos, grid, size)[0][..., 0]
            shares = grid_pointing_game([heat] * len(photos), range(len(photos)), grid=grid)
            np.testing.assert_array_equal(shares, np.arange(len(photos)) == cell)

    def test_equals_its_slow_twin_image_by_image(self):
        maps = np.random.default_rng(2).normal(size=(6, 10, 7))
        shares = grid_pointing_game(maps, range(6), grid=(3, 2))
        for index, heat in enumerate(maps):
            # 10 / 3 and 20 / 3 are nearest to 3 and 7; 7 / 2 lies half way, and rounds to the even 4.
            expected = twins_evaluate.share(heat, [0, 3, 7, 10], [0, 4, 7], index)
            np.testing.assert_allclose(shares[index], expected)
            np.testing.assert_allclose(grid_pointing_game(heat, index, grid=(3, 2)), [expected])

    def test_one_cell_for_all(self):
        maps = np.random.default_rng(3).random((3, 4, 4))
        np.testing.assert_array_equal(grid_pointing_game(maps, 1), grid_pointing_game(maps, [1, 1, 1]))

    def test_what_knows_no_class_scores_one_cells_share_of_a_whole_mosaic(self):
        # The shares of the four cells add up to 1 whatever the map: rollout's mean is 1/4, and no test of rollout.
        model, classes = zoo.transformer(), [0, 1, 2, 3]
        for photo in zoo.photos(3, zoo.TOKENS):
            asked = np.stack([photo] * 4)
            shares = grid_pointing_game(explain.attention_rollout(model, asked, classes), range(4))
            assert np.ptp(shares) > 0.01
            assert shares.mean() == pytest.approx(1 / 4, abs=1e-6)
        shares = grid_pointing_game(explain.gradient_rollout(model, asked, classes), range(4))
        assert abs(shares.mean() - 1 / 4) > 0.01


MASKS = np.zeros((3, 4, 5), bool)
MASKS[:2, 1, 1] = True


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pointing_game(np.zeros((3, 4, 5)), MASKS), ValueError, r"masks: number \[2\] .* is empty"),
        (lambda: centre_baseline(MASKS), ValueError, r"masks: number \[2\] .* is empty"),
        (lambda: pointing_game(np.zeros((2, 5, 4)), MASKS[:2]), ValueError, r"masks: shape \(2, 4, 5\) is not that"),
        (
            lambda: pointing_game(np.zeros((2, 4, 5)), MASKS[:2] * 0.5),
            TypeError,
            "masks: bools are needed.*masks > 0.5",
        ),
        (lambda: pointing_game(np.zeros((2, 4, 5)), MASKS[:2], tolerance=-1), ValueError, "tolerance"),
        (lambda: centre_baseline(MASKS[:2], tolerance=None), TypeError, "tolerance"),
        (lambda: pointing_game(np.full((2, 4, 5), np.inf), MASKS[:2]), ValueError, "maps: NaN or infinite"),
        (lambda: centre_baseline(MASKS[0, 0]), ValueError, r"masks: \(n, H, W\)"),
        (lambda: grid_pointing_game(np.zeros((2, 4, 5)), [0, 4]), ValueError, "cells: 4 is out of range.*0 to 3"),
        (lambda: grid_pointing_game(np.zeros((2, 4, 5)), -1), ValueError, "cells: -1 is out of range"),
        (lambda: grid_pointing_game(np.zeros((2, 4, 5)), [0, 1, 2]), ValueError, "cells: 3 cells for 2 maps"),
        (lambda: grid_pointing_game(np.zeros((2, 4, 5)), [[0, 1], [1, 1]]), TypeError, "cells: an int or 2 ints"),
        (lambda: grid_pointing_game(np.zeros((2, 4, 5)), 0.0), TypeError, "cells"),
        (lambda: grid_pointing_game(np.zeros((2, 4, 5)), 0, grid=(5, 1)), ValueError, "does not fit"),
        (lambda: grid_pointing_game(np.zeros((2, 0, 5)), 0), ValueError, "maps"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
