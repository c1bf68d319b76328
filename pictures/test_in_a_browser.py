"""Pictures as a reader uses them: with a mouse, with a keyboard, in the dark, on a telephone."""

from __future__ import annotations

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

FILES = pytest.mark.parametrize("suffix", [".svg", ".html"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


def cell_of(page, rank, number=0):
    """Return what is drawn of a rank in the picture of one mesh dim."""
    cell = page.find_elements(By.CSS_SELECTOR, f'.cell[aria-label^="rank {rank} at "]')[number]
    return next(iter(cell.find_elements(By.TAG_NAME, "rect")), cell)


def told(page):
    """Return the texts that are shown of ranks."""
    found = page.find_elements(By.CSS_SELECTOR, ".told")
    return [
        each.text or each.get_attribute("textContent")
        for each in found
        if each.value_of_css_property("visibility") == "visible"
        and each.value_of_css_property("display") != "none"
    ]


@FILES
def test_pointing_at_a_rank_tells_its_place_and_groups(look, small, suffix):
    page = look(small, suffix)
    assert told(page) == []
    ActionChains(page).move_to_element(cell_of(page, 22, number=1)).perform()
    text = "\n".join(told(page))
    assert "rank 22 at pp=1, dp=1, tp=2" in text
    assert "dp G: 18, 22, 26, 30" in text
    for mark in ("pp G", "tp F"):
        assert mark in text
    ActionChains(page).move_to_element(page.find_element(By.CSS_SELECTOR, "h1, .title")).perform()
    assert told(page) == []


@FILES
def test_the_tab_key_goes_from_rank_to_rank(look, small, suffix):
    page = look(small, suffix)
    for rank in range(3):
        ActionChains(page).send_keys(Keys.TAB).perform()
        assert f"rank {rank} at pp=0, dp=0, tp={rank}" in "\n".join(told(page))
    focused = page.switch_to.active_element
    assert focused.get_attribute("aria-label").startswith("rank 2 at pp=0, dp=0, tp=2\npp C: 2, 18")


@SCHEMES
@FILES
def test_the_console_is_empty_and_nothing_is_asked_for(look, small, suffix, scheme):
    page = look(small, suffix, scheme=scheme)
    ActionChains(page).move_to_element(cell_of(page, 3)).perform()
    assert page.get_log("browser") == []
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize("drawing", ["small", "large"])
@pytest.mark.parametrize("width", [320, 360, 768])
def test_a_page_fits_a_narrow_screen(look, drawing, width, request):
    page = look(request.getfixturevalue(drawing), ".html", width=width)
    assert page.execute_script("return document.scrollingElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [320, 1000])
def test_what_is_told_stays_on_the_screen(look, small, width):
    page = look(small, ".html", width=width)
    for rank in (0, 31):
        cell = cell_of(page, rank)
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
        ActionChains(page).move_to_element(cell).perform()
        (text,) = [
            each for each in page.find_elements(By.CSS_SELECTOR, ".told") if each.is_displayed()
        ]
        assert text.rect["x"] >= 0
        assert text.rect["x"] + text.rect["width"] <= width
        assert text.rect["y"] >= cell.rect["y"] + cell.rect["height"]


@SCHEMES
@FILES
def test_the_paper_follows_the_reader(look, small, suffix, scheme):
    page = look(small, suffix, scheme=scheme)
    paper = page.find_element(By.CSS_SELECTOR, ".paper" if suffix == ".svg" else ".mesh")
    shown = paper.value_of_css_property("fill" if suffix == ".svg" else "background-color")
    channels = [int(part) for part in shown[shown.index("(") + 1 : -1].split(",")[:3]]
    assert (max(channels) < 60) == (scheme == "dark")


@FILES
def test_a_large_world_is_drawn_in_part(look, large, suffix):
    page = look(large, suffix)
    assert cell_of(page, 70001).is_displayed()
    assert 100 < len(page.find_elements(By.CSS_SELECTOR, ".cell")) < 500
    assert page.get_log("browser") == []
