"""The zoo of models lives with the tests of `labutils.explain`; here it is needed when these tests run alone, too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "explain"))
