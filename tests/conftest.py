"""Settings that every test shares: offline weights, quiet TensorFlow, figures without a screen, fixed seeds."""

import os
import zlib

import pytest

# Set before TensorFlow or matplotlib is imported anywhere; kernels started by the tests inherit them.
os.environ["LABUTILS_WEIGHTS"] = "bundled"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Seed Keras, NumPy and Python before a test and its fixtures: a model's random weights are the same every day."""
    import keras

    keras.utils.set_random_seed(zlib.crc32(item.nodeid.encode()) % 2**31)
