"""Settings that every test shares: offline weights, quiet TensorFlow, figures without a screen."""

import os

# Set before TensorFlow or matplotlib is imported anywhere; kernels started by the tests inherit them.
os.environ["LABUTILS_WEIGHTS"] = "bundled"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
