"""``python -m labutils``: the command line where its script is not on the path."""

import sys

from labutils.cli import main

sys.exit(main())
