"""Pages from templates: everything a page shows is escaped, and everything it loads lies beside this file."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobs.web.guard import GuardedRoute
from jobs.web.navigation import areas
from jobs.web.problems import ProblemError
from jobs.web.times import Times
from jobs.web.vendor import EXCLUSIVE, MAIN_ONLY, NOT_ORDERED
from jobs.web.words import CONSENT_WORDS, masked, plural, shown, words

_HERE = Path(__file__).parent
_STATIC = {
    "portal.css": "text/css; charset=utf-8",
    "portal.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class PageRoute(GuardedRoute):
    """A route whose errors are pages; `request.state.base` is the path that the portal stands under."""

    for_browsers = True

    @staticmethod
    def answer(request: Request, error: ProblemError) -> Response:
        """Show what went wrong; a visitor without a session is shown the way in."""
        if error.status == 401:
            return to_sign_in(request)
        answer = page(request, "problem.html", error.status, title="That didn't work", detail=error.detail)
        answer.headers.update(error.headers)
        return answer


def page(request: Request, template: str, status: int = 200, **shown: Any) -> Response:
    """Return a rendered page; templates see the `viewer`, None where nobody is signed in, and write by `times`."""
    viewer = getattr(request.state, "viewer", None)
    base = getattr(request.state, "base", "/portal")
    times = getattr(request.state, "times", None) or Times()
    path, org = request.url.path.removeprefix(base), request.path_params.get("org")
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    html = _templates().get_template(template).render(
        base=base, viewer=viewer, times=times, here=here if request.method == "GET" else f"{base}/",
        areas=areas(viewer, path, org) if viewer is not None else [], area_org=org, static=f"{base}/static",
        version=_version(), **shown,
    )  # fmt: skip
    # Whether it is in UTC or the viewer's zone, and whose: pages are never kept (`no-store`) all the same.
    return HTMLResponse(html, status, headers={"vary": "cookie, hx-request"})


def to_sign_in(request: Request) -> Response:
    """Send a visitor to the sign-in page, and from there back to what they asked for."""
    base = request.state.base
    if "hx-request" in request.headers:
        # A part of a page: the whole page must go there, and come back to where it was.
        page_at = urlsplit(request.headers.get("hx-current-url", ""))
        back = page_at.path + (f"?{page_at.query}" if page_at.query else "")
        return Response(status_code=401, headers={"hx-redirect": f"{base}/sign-in?next={quote(back)}"})
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = f"?next={quote(asked)}" if request.method == "GET" and asked != f"{base}/" else ""
    return RedirectResponse(f"{base}/sign-in{back}", 303)


def static_file(name: str) -> Response:
    """Return one of the files that pages load."""
    if name not in _STATIC:
        raise ProblemError(404, "not_found", "There is no such file.")
    # Its address carries what it holds, so that a browser may keep it and never shows an old one.
    return Response(_file(name), media_type=_STATIC[name], headers={"cache-control": "max-age=31536000, immutable"})


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"CONSENT": CONSENT_WORDS}
    made.globals |= {"not_ordered": NOT_ORDERED, "main_only": MAIN_ONLY, "exclusive": EXCLUSIVE}
    made.filters |= {"shown": shown, "words": words, "masked": masked, "plural": plural, "pair": _pair, "same": _same}
    return made


@cache
def _version() -> str:
    """Return a word for what pages load as it is in this version."""
    return hashlib.sha256(b"".join(_file(name) for name in sorted(_STATIC))).hexdigest()[:12]


@cache
def _file(name: str) -> bytes:
    return (_HERE / "static" / name).read_bytes()


def _pair(one: Any) -> tuple[str, str]:
    """Return an organization as a choice: its id, and what it is called."""
    return one.id, f"{one.name} ({one.id})"


def _same(one: str) -> tuple[str, str]:
    """Return a name as a choice."""
    return one, one
