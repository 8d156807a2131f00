"""Pages from templates: everything a page shows is escaped, and everything it loads lies beside this file."""

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobs.web.guard import GuardedRoute
from jobs.web.problems import ProblemError

_HERE = Path(__file__).parent
_STATIC = {"portal.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


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
    """Return a rendered page; templates see the `viewer`, None where nobody is signed in."""
    viewer = getattr(request.state, "viewer", None)
    base = getattr(request.state, "base", "/portal")
    html = _templates().get_template(template).render(base=base, viewer=viewer, **shown)
    return HTMLResponse(html, status)


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
    return Response(_file(name), media_type=_STATIC[name], headers={"cache-control": "max-age=300"})


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _file(name: str) -> bytes:
    return (_HERE / "static" / name).read_bytes()
