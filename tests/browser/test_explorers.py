"""Every notebook's explorer in a real JupyterLab: choose, upload, move the sliders, and see the picture change."""

import io

import numpy as np
import pytest
from conftest import CHROMIUM, NO_CHROMIUM, Page
from PIL import Image

Error = pytest.importorskip("playwright.sync_api").Error

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)

NOTEBOOKS = {
    "02": "class_activation_maps",
    "03": "intermediate_activations",
    "04": "occlusion",
    "05": "vit_attention",
    "06": "your_own_model",
    "07": "relevance_propagation",
    "08": "can_you_trust_a_heatmap",
}


class Explorer:
    """The explorer on a page, as somebody who looks at it and uses its controls."""

    def __init__(self, opened: Page):
        self.page = opened.page
        self.page.locator(".labutils-view").first.scroll_into_view_if_needed()
        self.settle()

    def settle(self) -> None:
        """Wait until every picture is there and nothing is computed any more."""
        self.page.wait_for_function(
            """() => {
                const views = [...document.querySelectorAll('.labutils-stack')];
                const shown = views.flatMap(view => [...view.querySelectorAll('img:not([hidden])')]);
                return shown.length > 0
                    && views.every(view => view.getAttribute('aria-busy') !== 'true')
                    && shown.every(image => image.complete && image.naturalWidth > 0);
            }""",
            timeout=120_000,
        )

    def look(self) -> list[bytes]:
        """What is to be seen: pictures and words."""
        views = self.page.locator(".labutils-view")
        for _ in range(5):
            try:
                return [views.nth(index).screenshot(animations="disabled") for index in range(views.count())]
            except Error:  # the output was just given its plain figure, and drawn anew
                self.page.wait_for_timeout(500)
        pytest.fail("the pictures do not stay")

    def changes(self, action) -> None:
        """Do something, and see the picture change."""
        before = self.look()
        action()
        for _ in range(600):
            self.page.wait_for_timeout(100)
            self.settle()
            if self.look() != before:
                return
        pytest.fail(f"the picture stayed as it was after {action}")

    def choose(self, label: str, option: int) -> None:
        self.page.get_by_label(label, exact=True).select_option(index=option)

    def slide(self, label: str, key: str = "ArrowRight") -> None:
        """Move a slider by the keyboard."""
        slider = self.page.locator(".widget-slider, .widget-hslider").filter(has_text=label)
        slider.get_by_role("slider").first.press(key)

    def choose_photo(self, number: int) -> None:
        self.page.locator(".labutils-picker-photo").nth(number).click()

    def upload(self, name: str, content: bytes) -> None:
        self.page.locator(".labutils-picker-file").set_input_files(
            {"name": name, "mimeType": "image/jpeg", "buffer": content}
        )

    @property
    def photos(self) -> int:
        return self.page.locator(".labutils-picker-photo").count()


def jpeg(seed: int = 0) -> bytes:
    """A photo of a few coloured blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize((320, 240), Image.Resampling.NEAREST).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def explorer(opened, request):
    number = request.param
    page = opened(f"explorers/{number}_{NOTEBOOKS[number]}.ipynb")
    page.run_all()
    explorer = Explorer(page)
    page.keep(f"{number}_explorer")
    yield explorer
    page.keep(f"{number}_explorer_used")
    assert page.problems == []


def test_photos_are_picked_and_added(opened, course):
    page = opened("explorers/01_vgg16_setup.ipynb")
    page.run_all()
    photo = page.page.locator(".labutils-picker-photo")
    photo.first.wait_for()
    there = photo.count()
    first = photo.first
    assert first.get_attribute("aria-pressed") == "true"
    first.click()
    assert first.get_attribute("aria-pressed") == "false"
    first.press("Space")
    assert first.get_attribute("aria-pressed") == "true"
    page.page.locator(".labutils-picker-file").set_input_files(
        [
            {"name": "blocks.jpg", "mimeType": "image/jpeg", "buffer": jpeg()},
            {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"not a photo at all"},
        ]
    )
    photo.nth(there).wait_for()
    page.page.get_by_text("holds text, not a photo").wait_for()
    assert photo.count() == there + 1
    assert photo.nth(there).get_attribute("aria-pressed") == "true"
    assert (course / "data" / "photos" / "blocks.jpg").read_bytes() == jpeg()
    drop(page.page, "dropped.jpg", jpeg(1))
    photo.nth(there + 1).wait_for()
    assert photo.nth(there + 1).get_attribute("title") == "dropped"
    page.keep("01_picker")
    assert page.problems == []


def drop(page, name: str, content: bytes) -> None:
    """Let go of a file over the picker."""
    page.evaluate(
        """([name, bytes]) => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
            const picker = document.querySelector(".labutils-picker");
            for (const kind of ["dragenter", "dragover", "drop"]) {
                picker.dispatchEvent(new DragEvent(kind, { dataTransfer: dropped, bubbles: true, cancelable: true }));
            }
        }""",
        [name, list(content)],
    )


@pytest.mark.parametrize("explorer", ["02"], indirect=True)
def test_methods_classes_layers_and_an_own_photo(explorer):
    explorer.changes(lambda: explorer.choose_photo(1))
    explorer.changes(lambda: explorer.choose("Class", 2))
    explorer.changes(lambda: explorer.choose("Layer", 3))
    explorer.changes(lambda: explorer.choose("Method", 2))
    explorer.changes(lambda: explorer.slide("Opacity"))
    there = explorer.photos
    explorer.changes(lambda: explorer.upload("own.jpg", jpeg(2)))
    assert explorer.photos == there + 1


@pytest.mark.parametrize("explorer", ["06", "07", "08"], indirect=True)
def test_methods_and_classes(explorer):
    explorer.changes(lambda: explorer.choose("Method", 1))
    explorer.changes(lambda: explorer.choose("Class", 2))
    explorer.changes(lambda: explorer.slide("Opacity", "ArrowLeft"))
    explorer.changes(lambda: explorer.upload("own.jpg", jpeg(3)))


@pytest.mark.parametrize("explorer", ["03"], indirect=True)
def test_layers_and_channels(explorer):
    explorer.changes(lambda: explorer.slide("Channel"))
    explorer.changes(lambda: explorer.choose("Layer", 8))
    explorer.changes(lambda: explorer.choose_photo(1))
    explorer.changes(lambda: explorer.slide("Opacity", "ArrowLeft"))
    explorer.changes(lambda: explorer.upload("own.jpg", jpeg(4)))


@pytest.mark.parametrize("explorer", ["04"], indirect=True)
def test_patches(explorer):
    explorer.changes(lambda: explorer.slide("Patch, pixels"))
    explorer.changes(lambda: explorer.choose("Patch shows", 1))
    explorer.changes(lambda: explorer.slide("Opacity"))
    explorer.changes(lambda: explorer.upload("own.jpg", jpeg(5)))


@pytest.mark.parametrize("explorer", ["05"], indirect=True)
def test_layers_heads_and_patches(explorer):
    explorer.changes(lambda: explorer.page.locator(".labutils-choosable").first.click(position={"x": 60, "y": 60}))
    for arrow in ("ArrowRight", "ArrowDown", "ArrowUp"):  # up and down would also choose another cell
        explorer.changes(lambda arrow=arrow: explorer.page.locator(".labutils-choosable").first.press(arrow))
        assert explorer.page.evaluate("document.activeElement.classList.contains('labutils-choosable')")
    explorer.changes(lambda: explorer.slide("Row"))
    explorer.changes(lambda: explorer.choose("Head", 2))
    explorer.changes(lambda: explorer.slide("Opacity"))
    explorer.changes(lambda: explorer.upload("own.jpg", jpeg(6)))
