"""Write requirements.lock from pyproject.toml, and environment.yml from requirements.lock. Run by ``make lock``."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXTRAS = ("cpu", "lab", "grading", "cluster", "dev")

HEADER = """\
# The pins of requirements.lock for conda and Binder; written by `make lock`, held to the lock by tests/test_house.py.
# conda env create -f environment.yml && conda activate labutils && pip install --no-deps -e .
name: labutils
channels:
  - conda-forge
dependencies:
  - python=3.12
  - pip
  - pip:
"""


def main() -> None:
    """Resolve once for Python 3.11 to 3.13 and every platform; no addresses are written."""
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    options = ["--universal", "--python-version", "3.11", "--no-header", "--no-annotate", "--no-emit-index-url"]
    compile_command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "pyproject.toml", *options, *extras]
    subprocess.run([*compile_command, "-o", "requirements.lock"], cwd=ROOT, check=True)
    pins = (ROOT / "requirements.lock").read_text().splitlines()
    lines = "".join(f'      - "{pin}"\n' for pin in pins if pin.strip())
    (ROOT / "environment.yml").write_text(HEADER + lines)


if __name__ == "__main__":
    main()
