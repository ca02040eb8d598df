"""Marks the tests that train a network: `make test` leaves them to `make training`, as its time goes to the rest."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent

TRAINED = {"shipped", "trained"}
"""Fixtures that hold a network trained here."""

TRAINING = {
    "test_a_killed_run_goes_on_and_ends_where_an_unbroken_one_does",
    "test_holding_sources_out_reports_and_ships_nothing",
    "test_views_are_kept_and_a_killed_run_goes_on",
}


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents and (item.originalname in TRAINING or TRAINED & set(item.fixturenames)):
            item.add_marker(pytest.mark.training)
