"""Make the screenshots of the README and the docs: ``python docs/make_screenshots.py``, or only some: ``... report feedback``.

Pages are written and graded, widgets run in a JupyterLab of their own, all in a temporary folder; Chromium looks at them.
Needs Chromium and Playwright's Python package, and some minutes. Run it again when a page or a widget looks different.
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from make_pictures import NAMES, PICTURES, ROOT
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

WIDTH = 1000
"""Of the pages, in pixels; the README is shown about as wide."""

PHONE = 390

SETUP = f"""\
import numpy as np
from labutils import photos, vgg16, vit
from labutils.widgets import *

names = {NAMES}
images = np.stack([photos.sample(name) for name in names])
model = vgg16.VGG16(weights="bundled")
given = dict(preprocess=vgg16.preprocess_input, titles=names)"""

WIDGETS = {
    "picker": "PhotoPicker(images, titles=names)",
    "methods": """\
explorer = MethodExplorer(model, images, **given)
explorer.wait()  # the first map takes seconds to compile, which are not what to show
explorer.layer.value = "block5_conv3"
explorer""",
    "activations": "ActivationExplorer(model, images, **given)",
    "occlusion": "OcclusionExplorer(model, images, **given)",
    "attention": """\
explorer = AttentionExplorer(vit.ViT(weights="bundled"), images, preprocess=vit.preprocess_input, titles=names)
explorer.whose.value = "patch"
explorer""",
}

# Typical mistakes, with which a feedback page has something to say.
ANSWERS = {
    "01-preprocess": "def preprocess(images):\n    return images.astype('float32') / 255",
    "01-best_classes": "def best_classes(probabilities):\n    return probabilities.argmax(axis=0)",
}


def main() -> None:
    """Write the screenshots that are named to docs/pictures; all of them where none is."""
    shots = {"report": report, "several": several, "feedback": feedback, "widgets": widgets}
    wanted = sys.argv[1:] or list(shots)
    unknown = [name for name in wanted if name not in shots]
    if unknown:
        sys.exit(f"no screenshot {unknown[0]!r}; there are: {', '.join(shots)}")
    os.environ["LABUTILS_WEIGHTS"] = "bundled"
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        for name in wanted:
            shots[name](browser, Path(folder))
        browser.close()


def report(browser: Browser, folder: Path) -> None:
    """The page of one photo and its table of scores, on a desktop; the page on a dark phone."""
    labutils("explain", "cat", "-o", folder / "report.html")
    page = opened(browser, folder / "report.html", WIDTH, 1000)
    keep(page.screenshot(), "report")
    keep(page.locator("details", has_text="Scores:").screenshot(), "report_scores")
    phone = opened(browser, folder / "report.html", PHONE, 780, dark=True)
    keep(phone.screenshot(), "report_phone")


def several(browser: Browser, folder: Path) -> None:
    """The page that leads to those of several photos."""
    labutils("explain", *NAMES, "-o", folder / "several.html", "--methods", "grad_cam,layer_cam,lrp")
    keep(opened(browser, folder / "several.html", WIDTH, 760).screenshot(), "report_several")


def feedback(browser: Browser, folder: Path) -> None:
    """What a student gets back who made two typical mistakes."""
    notebook = nbformat.read(ROOT / "solutions" / "01_vgg16_setup.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = ANSWERS.get(cell.id, cell.source)
    student = folder / "submissions" / "ada"
    student.mkdir(parents=True)
    nbformat.write(notebook, student / "01_vgg16_setup.ipynb")
    labutils("grade", folder / "submissions", "--out", folder / "grades", "--course", ROOT, "--seed", "1")
    keep(opened(browser, folder / "grades" / "feedback" / "ada.html", 860, 880).screenshot(), "feedback")


def widgets(browser: Browser, folder: Path) -> None:
    """Each widget as JupyterLab shows it."""
    cells = [new_code_cell(source, id=name) for name, source in {"setup": SETUP, **WIDGETS}.items()]
    # Without a kernel's name JupyterLab would ask for one.
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), folder / "widgets.ipynb")
    with jupyterlab(folder) as address:
        page = browser.new_page(viewport={"width": 1180, "height": 1500})
        page.goto(f"{address}/lab/tree/widgets.ipynb")
        page.get_by_text("| Idle").wait_for(timeout=90_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_function(
            """() => {
                const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
                return prompts.every(p => /\\[\\d+\\]/.test(p));
            }""",
            timeout=300_000,
        )
        outputs = page.locator(".jp-OutputArea-output:has(.jupyter-widgets)")
        for number, name in enumerate(WIDGETS):
            output = outputs.nth(number)
            output.scroll_into_view_if_needed()
            page.wait_for_function(
                "() => [...document.querySelectorAll('[aria-busy]')].every(e => e.getAttribute('aria-busy') !== 'true')",
                timeout=120_000,
            )
            page.wait_for_timeout(3_000)  # until the last picture is drawn
            keep(output.screenshot(), f"widget_{name}")


def labutils(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "labutils", *map(str, arguments)], check=True, cwd=ROOT)


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """A JupyterLab over a folder; gives its address."""
    settings = {
        # All cells stay in the page, also those that are out of sight.
        "notebook-extension/tracker": '{"windowingMode": "none"}',
        "apputils-extension/notification": '{"fetchNews": "false"}',
    }
    for name, text in settings.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += [f"--ServerApp.root_dir={folder}", "--IdentityProvider.token="]
    environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def opened(browser: Browser, path: Path, width: int, height: int, *, dark: bool = False) -> Page:
    """A page from a file, as a screen of this size shows it."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", device_scale_factor=1
    )
    page = context.new_page()
    page.goto(path.as_uri())
    return page


def keep(png: bytes, name: str) -> None:
    """Write a screenshot as WebP: smaller than a PNG of 256 colours, and photos look better."""
    path = PICTURES / f"{name}.webp"
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=85, method=6)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
