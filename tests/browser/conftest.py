"""One Chromium and one portal for all these tests; each test signs in by itself."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.chromium import NoChromiumError, chromium
from tests.portal.portal_stage import Stage, stage


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; where it is missing, every test fails with what to install.

    It ends with its file: as long as it is up, its event loop runs in the main thread, and no other can there.
    """
    try:
        with chromium() as browser:
            yield browser
    except NoChromiumError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A portal at work on the sample."""
    with stage(f"sqlite:///{tmp_path_factory.mktemp('portal')}/assent.db") as made:
        yield made


class Visitor:
    """Somebody at a browser of their own, signed in; what their browser asks of others is noted."""

    def __init__(self, portal: Stage, context: BrowserContext) -> None:
        self.portal, self.context = portal, context
        self.page: Page = context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        context.on("request", lambda request: self._note(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def open(self, path: str) -> Page:
        self.page.goto(self.portal.url + path)
        return self.page

    def _note(self, url: str) -> None:
        if not url.startswith((self.portal.server.address, "data:", "blob:")):
            self.outside.append(url)


@pytest.fixture
def visit(browser: Browser, portal: Stage, tmp_path: Path) -> Iterator[Callable[..., Visitor]]:
    """Sign somebody in, in a browser context of their own."""
    made: list[Visitor] = []

    def visit(
        login: str = "all@assent.example", *, width: int = 1280, dark: bool = False, **options: object
    ) -> Visitor:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light",
            timezone_id="America/New_York", locale="en-US", **options,
        )  # fmt: skip
        context.set_default_timeout(10_000)
        visitor = Visitor(portal, context)
        made.append(visitor)
        visitor.page.goto(portal.link(login))
        visitor.page.get_by_role("button", name="Sign in").click()
        visitor.page.wait_for_url("**/portal/**")
        return visitor

    yield visit
    for visitor in made:
        visitor.context.close()
