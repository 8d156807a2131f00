"""Every page for everybody: at 360 px, by keyboard, with a screen reader, and from nowhere but this portal."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.screenshots import SHOTS
from tests.portal.portal_stage import GRACE

AXE = (Path(__file__).parent / "axe.min.js").read_text()
_RULES = "{runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}}"


def walk(visitor, names):
    """Open pages, and return what axe finds on each and which are wider than the screen."""
    page, found, wide = visitor.page, [], []
    for name in names:
        SHOTS[name](page, visitor.portal)
        page.wait_for_load_state()
        page.evaluate(AXE)
        told = page.evaluate(f"axe.run(document, {_RULES})")
        found += [
            (name, one["id"], [node["target"] for node in one["nodes"]][:3])
            for one in told["violations"] if one["impact"] in ("moderate", "serious", "critical")
        ]  # fmt: skip
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(name)
    return found, wide


def test_every_page_is_fit_for_all_at_360_pixels_and_asks_nobody_else(portal, visit):
    visitor = visit("all@assent.example", width=360, dark=True)

    found, wide = walk(visitor, SHOTS)

    assert found == []
    assert wide == []
    assert visitor.outside == []
    # Nothing that the policy forbids was tried; a page that says what is wrong comes with its status.
    assert [one for one in visitor.errors if "the server responded with a status of 4" not in one] == []


def test_the_pages_of_each_kind_are_fit_for_all_on_a_wide_screen(portal, visit):
    visitor = visit("all@assent.example")

    found, wide = walk(visitor, ("timeline", "decisions", "message", "features-dialog", "destination"))

    assert found == []
    assert wide == []


def test_the_way_from_sign_in_to_a_timeline_goes_by_keyboard_alone(portal, visit):
    page = visit("reports@acme.example").page
    press = page.keyboard.press

    expect(page.get_by_label("Number, name, entry id or date")).to_be_focused()
    page.keyboard.type("grace")
    press("Enter")
    page.wait_for_url("**/reports/search?asked=*")
    page.locator("body").press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    press("Enter")
    for _ in range(6):
        press("Tab")
        if page.evaluate("document.activeElement.textContent.includes('Grace Kim')"):
            break
    press("Enter")

    expect(page.get_by_role("heading", level=1)).to_contain_text("Grace Kim")


def test_a_dialog_takes_the_focus_and_gives_it_back(portal, visit):
    page = visit("setup@acme.example").page
    page.goto(f"{portal.url}/setup/acme/features")
    page.get_by_label("Enable SMS Opt-in").focus()

    page.keyboard.press("Space")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")

    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_label("Enable SMS Opt-in")).to_be_focused()
    expect(page.get_by_label("Enable SMS Opt-in")).to_be_checked()


def test_a_contrast_theme_and_less_motion_change_nothing_that_is_told(portal, visit):
    page = visit("reports@acme.example", forced_colors="active", reduced_motion="reduce").page

    page.goto(portal.url + portal.conversation(GRACE))

    expect(page.locator(".rule.out")).to_contain_text("Opted out")
