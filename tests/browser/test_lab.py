"""Notebook 01 as a student opens it, in JupyterLab and in Notebook 7."""

import pytest
from conftest import CHROMIUM, NO_CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)


def test_an_untouched_notebook_stops_at_its_first_todo_with_one_clear_message(opened):
    page = opened("notebooks/01_vgg16_setup.ipynb")
    page.run_all()
    messages = page.page.locator(".jp-OutputArea-output").filter(has_text="TodoNotDone")
    messages.first.evaluate("element => element.scrollIntoView({block: 'center'})")
    page.page.wait_for_timeout(500)
    page.keep("01_untouched")
    assert messages.count() == 1
    assert page.problems == []


def test_widgets_run_in_notebook_7(opened):
    page = opened("explorers/01_vgg16_setup.ipynb", front_end="notebook")
    page.run_all()
    photo = page.page.locator(".labutils-picker-photo")
    photo.first.wait_for()
    photo.nth(3).click()
    assert photo.nth(3).get_attribute("aria-pressed") == "true"
    page.keep("01_notebook_7")
