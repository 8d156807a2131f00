"""The sections of the portal, by role: what stands beside every page."""

from typing import NamedTuple

from jobs.access import Role, Viewer


class Item(NamedTuple):
    """One page of a section."""

    name: str
    #: Below the portal's base.
    path: str
    is_current: bool = False


class Area(NamedTuple):
    """One section."""

    name: str
    path: str
    items: tuple[Item, ...]
    is_current: bool = False


_REPORTS = (
    ("Find", "/reports"),
    ("May it be sent?", "/reports/consent"),
    ("Opt-ins and opt-outs", "/reports/decisions"),
    ("Reviews", "/reports/reviews"),
    ("Downloads", "/reports/downloads"),
)
_SETUP = (("Organizations", "/setup"),)
_OF_ORGANIZATION = (
    ("Feature Settings", "features"),
    ("Messages", "messages"),
    ("Keywords", "keywords"),
    ("Lines", "lines"),
    ("General", "general"),
)
_OPERATIONS = (("Overview", "/operations"), ("Refused entries", "/operations/refused"), ("Runs", "/operations/runs"))


def areas(viewer: Viewer, path: str, org: str | None) -> list[Area]:
    """Return the sections that a viewer may open; `path` is the page's, `org` the organization it is about."""
    setup = [*_SETUP, *((name, f"/setup/{org}/{part}") for name, part in _OF_ORGANIZATION if org)]
    known = (
        (Role.REPORTS, "Reports", [*_REPORTS]),
        (Role.SETUP, "Setup", setup),
        (Role.OPERATIONS, "Operations", [*_OPERATIONS]),
    )
    return [_area(name, pages, path) for role, name, pages in known if viewer.may(role)]


def _area(name: str, pages: list[tuple[str, str]], path: str) -> Area:
    # The longest path that the page's begins with is where it stands.
    within = [at for _, at in pages if path == at or path.startswith(f"{at}/")]
    current = max(within, key=len, default=None)
    if current is None and name == "Reports" and path.startswith("/entries/"):
        current = "/reports"
    items = tuple(Item(word, at, at == current) for word, at in pages)
    return Area(name, pages[0][1], items, current is not None)
