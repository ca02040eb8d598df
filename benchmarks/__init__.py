"""Speed and memory of `labutils.explain`, beside the libraries that a user would take instead: `python -m benchmarks`."""
