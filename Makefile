# make lab      set up .venv and open JupyterLab at notebook 01
# make test     ruff, unit tests, the explorers in a real JupyterLab, then the solutions under nbval, two at a time
# make browser  the notebooks and their explorers in a real JupyterLab (needs Chromium, and says so without)
# make training the tests that train small networks, which make test leaves out
# make demo     a report on a sample photo: report.html
# make build    notebooks/ from solutions/
# make lock     requirements.lock and environment.yml anew from pyproject.toml
# make clean    what the other targets made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: lab test unit nbval training browser lint demo build lock clean

lab: $(VENV)/ready
	$(BIN)/labutils start

test: lint unit nbval

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: $(VENV)/ready
	LABUTILS_WEIGHTS=bundled $(BIN)/python -m pytest tests -m "not training" -n 2 --dist loadfile

nbval: $(VENV)/ready
	LABUTILS_WEIGHTS=bundled $(BIN)/python -m pytest --nbval --nbval-cell-timeout=180 -n 2 --dist loadfile solutions

training: $(VENV)/ready
	LABUTILS_WEIGHTS=bundled $(BIN)/python -m pytest tests/training

browser: $(VENV)/ready
	LABUTILS_WEIGHTS=bundled $(BIN)/python -m pytest tests/browser

demo: $(VENV)/ready
	LABUTILS_WEIGHTS=bundled $(BIN)/labutils explain cat -o report.html

build: $(VENV)/ready
	$(BIN)/labutils build

lock: $(VENV)/ready
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python .ci/lock.py

# Three lines set everything up; README.md has the same three for Windows.
$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Downloading and installing the packages, TensorFlow among them: some minutes, about 2.5 GB in $(VENV)."
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info report.html .pytest_cache .ruff_cache solutions/output notebooks/output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
