"""A real JupyterLab, a real browser, and notebooks cut down to what their explorer needs.

Screenshots are kept in ``tests/browser/screenshots``, to be looked at.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from labutils.course.grading.names import names_of, statements_of

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(__file__).parent / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_CHROMIUM = "Chromium is not installed: the notebooks are not tried in a browser"


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def course(tmp_path_factory):
    """A copy of the course, so that running it changes nothing here."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copytree(ROOT / "data" / "models", folder / "data" / "models")
    (folder / "data" / "photos").mkdir()
    (folder / "explorers").mkdir()
    for path in sorted((ROOT / "solutions").glob("*.ipynb")):
        nbformat.write(up_to_explorer(nbformat.read(path, as_version=4)), folder / "explorers" / path.name)
    return folder


@pytest.fixture(scope="session")
def lab(browser, course):
    """A JupyterLab over the copy, which serves Notebook 7 as well; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        f"--ServerApp.root_dir={course}",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--ServerApp.disable_check_xsrf=True",  # so that kernels can be stopped from here
    ]
    settings = os.environ | {
        "LABUTILS_WEIGHTS": "bundled",
        "LABUTILS_DATA": str(course / "data"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *options]
    server = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=2).close()
                break
            except OSError:
                assert server.poll() is None, "JupyterLab ended at once"
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def up_to_explorer(notebook):
    """The notebook with the cells alone that its explorer's cell needs, without outputs."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    explorer = next(index for index, cell in enumerate(cells) if cell.id == "explorer")
    kept, needed = [], set()
    for cell in reversed(cells[: explorer + 1]):
        names = names_of(statements_of(cell.source))
        if cell.id in ("explorer", "install") or needed & set(names.touches):
            kept.insert(0, cell)
            needed |= set(names.needs) | set(names.later)
    for cell in kept:
        cell.outputs, cell.execution_count = [], None
    notebook.cells = kept
    return notebook


IDLE = {"lab": "text=| Idle", "notebook": ".jp-Notebook-ExecutionIndicator[data-status=idle]"}
"""What each front end shows once the kernel can be asked."""


class Page:
    """A notebook in the browser."""

    def __init__(self, page, front_end: str):
        self.page, self.idle = page, IDLE[front_end]
        self.problems = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def run_all(self, seconds: float = 240) -> None:
        """Run every cell through the menu, and wait until the kernel has done them."""
        self.page.locator(self.idle).first.wait_for(timeout=60_000)  # the kernel has answered
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()
        self.page.wait_for_function(
            """() => {
                const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
                return prompts.some(p => /\\[\\d+\\]/.test(p)) && !prompts.some(p => p.includes('*'));
            }""",
            timeout=1000 * seconds,
        )

    def keep(self, name: str) -> None:
        """Keep a screenshot, to be looked at."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.fixture
def opened(browser, lab, course):
    """Opens a notebook of the course, in JupyterLab or in Notebook; the page is closed with its kernel."""
    pages = []
    for photo in (course / "data" / "photos").iterdir():  # what an earlier test has uploaded
        photo.unlink()

    def open_notebook(path: str, front_end: str = "lab") -> Page:
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        workspace = path.replace("/", "-").removesuffix(".ipynb")  # its own, without what was open earlier
        where = {"lab": f"lab/workspaces/{workspace}/tree/{path}", "notebook": f"notebooks/{path}"}[front_end]
        page.goto(f"{lab}/{where}")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        pages.append(page)
        return Page(page, front_end)

    yield open_notebook
    for page in pages:
        page.close()
    stop_kernels(lab)


def stop_kernels(address: str) -> None:
    """Each holds a TensorFlow; eight of them would fill a small machine."""
    for kernel in json.load(urllib.request.urlopen(f"{address}/api/sessions")):
        request = urllib.request.Request(f"{address}/api/sessions/{kernel['id']}", method="DELETE")
        urllib.request.urlopen(request).close()
