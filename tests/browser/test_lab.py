"""Notebook 01 in a real JupyterLab, driven through a real browser as a student does; screenshots are kept beside this file.

Skipped, with the reason, where there is no Chromium.
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

import pytest

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(__file__).parent / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: JupyterLab is not tried in a browser"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab over copies of the notebooks, so that running them changes nothing here; gives its address."""
    folder = tmp_path_factory.mktemp("lab")
    for part in ("notebooks", "solutions"):
        shutil.copytree(ROOT / part, folder / part)
    port = free_port()
    options = [
        f"--ServerApp.root_dir={folder}",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
    ]
    settings = os.environ | {"LABUTILS_WEIGHTS": "bundled", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
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


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield chromium
        chromium.close()


def run_all(browser, address: str, notebook: str):
    """Open a notebook, run every cell through the menu, wait until the kernel is idle again; returns the page."""
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    # A workspace of its own: what an earlier page left open stays out of this one.
    workspace = notebook.replace("/", "-").removesuffix(".ipynb")
    page.goto(f"{address}/lab/workspaces/{workspace}/tree/{notebook}")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.get_by_text("| Idle").wait_for(timeout=60_000)  # the status bar, once the kernel has answered
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(
        """() => {
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
            return prompts.some(p => /\\[\\d+\\]/.test(p)) && !prompts.some(p => p.includes('*'));
        }""",
        timeout=240_000,
    )
    return page


def keep_screenshot(page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_the_solution_runs_through_and_shows_its_figures(lab, browser):
    page = run_all(browser, lab, "solutions/01_vgg16_setup.ipynb")
    # JupyterLab draws only cells near the view: ask the document itself, saved, not the page.
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1500)
    saved = urllib.request.urlopen(f"{lab}/api/contents/solutions/01_vgg16_setup.ipynb?type=notebook").read()
    cells = [cell for cell in json.loads(saved)["content"]["cells"] if cell["cell_type"] == "code"]
    errors = [output["evalue"] for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert errors == []
    assert all(cell["execution_count"] for cell in cells if cell["source"].strip())
    figures = [output for cell in cells for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert figures
    page.locator(".jp-RenderedImage").last.evaluate("element => element.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(500)
    keep_screenshot(page, "01_solution")


def test_an_untouched_notebook_stops_at_its_first_todo_with_one_clear_message(lab, browser):
    page = run_all(browser, lab, "notebooks/01_vgg16_setup.ipynb")
    messages = page.locator(".jp-OutputArea-output").filter(has_text="TodoNotDone")
    messages.first.evaluate("element => element.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(500)
    keep_screenshot(page, "01_untouched")
    assert messages.count() == 1
    assert "01.titles" in messages.first.text_content()
