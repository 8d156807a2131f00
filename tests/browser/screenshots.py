"""`make screenshots`: every page of the portal in both widths and both themes, for people to look at.

    python -m tests.browser.screenshots [FOLDER]      FOLDER: var/screenshots

Three of them stand in the README: `--keep` writes those to jobs/web/screenshots.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.browser.chromium import chromium
from tests.portal.portal_stage import GRACE, OMAR, Stage, stage

_KEPT = Path(__file__).parents[2] / "jobs/web/screenshots"
_WIDTHS = (1280, 360)

Shot = Callable[[Page, Stage], None]


def _at(path: str) -> Shot:
    return lambda page, made: page.goto(made.url + path) and None


def _found(page: Page, made: Stage) -> None:
    page.goto(made.url + "/reports")
    page.get_by_label("Number, name, entry id or date").fill("o")
    page.get_by_role("button", name="Find", exact=True).click()


def _consent(page: Page, made: Stage) -> None:
    page.goto(made.url + "/reports/consent")
    page.get_by_label("Organization", exact=True).select_option("acme")
    page.get_by_label("Contact", exact=True).fill("(404) 555-0123")
    page.get_by_label("Line", exact=True).fill("415 555 0100")
    page.get_by_label("At", exact=True).fill("2026-11-21 10:00")
    page.get_by_role("button", name="Answer").click()


def _dialog(page: Page, made: Stage) -> None:
    page.goto(made.url + "/setup/acme/features")
    page.get_by_label("Enable SMS Opt-in").click()
    page.get_by_role("dialog").wait_for()


def _review(page: Page, made: Stage) -> None:
    page.goto(made.url + "/reports/reviews")
    page.get_by_role("link", name="stop by at 5").first.click()


def _line_errors(page: Page, made: Stage) -> None:
    page.goto(made.url + "/setup/acme/lines")
    page.get_by_text("Register a line").click()
    page.get_by_label("Line", exact=True).fill("12")
    page.get_by_label("Employee’s id").fill("e7")
    page.get_by_label("Employee’s name").fill("Nora")
    page.get_by_role("button", name="Register", exact=True).click()


def _edited(page: Page, made: Stage) -> None:
    page.goto(made.url + "/setup/acme/messages/mo.request.contact")
    page.get_by_role("textbox", name="Text").fill(
        "[Auto Message] <Employee Name> of <Organization> would like to text you. Reply <Opt-in Text> to agree, "
        "<Opt-out Text> to decline."
    )
    page.get_by_role("button", name="Save").click()


def _resync(page: Page, made: Stage) -> None:
    page.goto(made.url + "/operations/destinations/archive/resync")
    page.get_by_role("button", name="Dry run").click()


def _run(page: Page, made: Stage) -> None:
    page.goto(made.url + "/operations/destinations/archive")
    page.get_by_role("button", name="Reconcile").click()
    page.get_by_text("No difference").wait_for()


SHOTS: dict[str, Shot] = {
    "find": _at("/reports"),
    "found": _found,
    "timeline": lambda page, made: page.goto(made.url + made.conversation(GRACE)) and None,
    "timeline-omar": lambda page, made: page.goto(made.url + made.conversation(OMAR)) and None,
    "entry": _at("/entries/acme-000000000012"),
    "days": _at("/reports/days?first=2026-01-01&last=2030-12-31&org=acme"),
    "consent": _consent,
    "decisions": _at("/reports/decisions?days=30"),
    "reviews": _at("/reports/reviews"),
    "review": _review,
    "downloads": _at("/reports/downloads"),
    "organizations": _at("/setup"),
    "features": _at("/setup/acme/features"),
    "features-dialog": _dialog,
    "features-not-ordered": _at("/setup/initech/features"),
    "features-below": _at("/setup/acme-west/features"),
    "messages": _at("/setup/acme/messages"),
    "message": _edited,
    "keywords": _at("/setup/acme/keywords"),
    "lines": _line_errors,
    "general": _at("/setup/acme/general"),
    "operations": _at("/operations"),
    "destination": _at("/operations/destinations/salesforce"),
    "refused": _at("/operations/refused"),
    "refused-entries": _at("/operations/refused/salesforce"),
    "resync": _resync,
    "run": _run,
    "runs": _at("/operations/runs"),
    "problem": _at("/nowhere"),
}
#: Those of the README.
KEPT = ("timeline", "message", "operations")


def main() -> None:
    """Make them."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", nargs="?", type=Path, default=Path("var/screenshots"))
    asked.add_argument("--only", nargs="+", choices=SHOTS)
    asked.add_argument("--keep", action="store_true", help="write those of the README, too")
    told = asked.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="assent-shots-") as folder,
        stage(f"sqlite:///{folder}/assent.db") as made,
        chromium() as browser,
    ):
        for width in _WIDTHS:
            for dark in (False, True):
                _shoot(browser, made, told.folder, width, dark, told.only or list(SHOTS), keep=told.keep)
    print(f"{len(list(told.folder.glob('*.png')))} pages in {told.folder}")


def _shoot(
    browser: Browser, made: Stage, folder: Path, width: int, dark: bool, names: list[str], *, keep: bool
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light",
        timezone_id="America/New_York",
    )  # fmt: skip
    page = context.new_page()
    page.goto(made.url + "/sign-in")
    end = f"{width}-{'dark' if dark else 'light'}"
    page.screenshot(path=folder / f"sign-in-{end}.png", full_page=True)
    page.goto(made.link("all@assent.example"))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/reports")
    for name in names:
        SHOTS[name](page, made)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / f"{name}-{end}.png", full_page=True)
        if keep and name in KEPT and width == _WIDTHS[0] and not dark:
            _KEPT.mkdir(exist_ok=True)
            if name == "timeline":
                # From a text to the decision and what followed: what a timeline is about.
                page.locator(".rule.in").evaluate("one => window.scrollTo(0, one.offsetTop - 280)")
            page.screenshot(path=_KEPT / f"{name}.png")
    context.close()


if __name__ == "__main__":
    main()
