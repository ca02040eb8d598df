"""`benchmarks` is not installed: it is found from the repository's root, whichever way pytest is started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
