"""Pages from templates: everything a page shows is escaped, and everything it loads lies beside this file."""

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobs.web.guard import GuardedRoute
from jobs.web.problems import ProblemError

_HERE = Path(__file__).parent
_STATIC = {"portal.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


class PageRoute(GuardedRoute):
    """A route whose errors are pages; `request.state.base` is the path that the portal stands under."""

    @staticmethod
    def answer(request: Request, error: ProblemError) -> Response:
        """Show what went wrong; a visitor without a session is shown the way in."""
        if error.status == 401:
            return RedirectResponse(f"{request.state.base}/sign-in", 303)
        answer = page(request, "problem.html", error.status, title="That didn't work", detail=error.detail)
        answer.headers.update(error.headers)
        return answer


def page(request: Request, template: str, status: int = 200, *, signed_in: bool = False, **shown: Any) -> Response:
    """Return a rendered page."""
    html = _templates().get_template(template).render(base=request.state.base, signed_in=signed_in, **shown)
    return HTMLResponse(html, status)


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
