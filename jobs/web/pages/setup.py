"""Setup: the tree of organizations, Feature Settings with their confirmation, and what an organization decides."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from consent import organizations as settings
from consent.database import run
from consent.lexicon import LANGUAGE_WORDS
from consent.organizations import Organization, SettingError, read_policies
from consent.policy import Policy
from consent.values import Consent, Mode, Scope
from jobs.access import Role, Viewer
from jobs.web.pages.desk import Desk, given, is_part, missing, seen_organization, seen_organizations, sentence
from jobs.web.problems import ProblemError
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer

#: What can be switched, by its name in the address: the name of the command line, and the vendor's.
_FEATURES = {"sms-opt-in": ("sms_opt_in", "SMS Opt-in"), "group-messaging": ("group_messaging", "Group Messaging")}

LANGUAGE_NAMES = {
    "en": "English", "fr": "French", "es": "Spanish", "pt": "Portuguese", "de": "German", "it": "Italian",
    "zh": "Chinese",
}  # fmt: skip

Setup = Annotated[Viewer, Depends(viewer(Role.SETUP))]


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/setup")

    @router.get("")
    def tree(request: Request, who: Setup) -> Response:
        return _tree(desk, request, who)

    @router.post("")
    def create(request: Request, who: Setup, told: Annotated[Form, Depends(form)]) -> Response:
        return _create(desk, request, who, given(told, ("id", "name", "parent")))

    @router.get("/{org}")
    def to_features(request: Request, who: Setup, org: str) -> Response:
        with desk.database.read() as tx:
            seen_organization(tx, who, org)
        return RedirectResponse(f"{request.state.base}/setup/{org}/features", 303)

    @router.get("/{org}/features")
    def features(request: Request, who: Setup, org: str) -> Response:
        return _features(desk, request, who, org)

    @router.get("/{org}/features/{feature}/confirm")
    def confirm(request: Request, who: Setup, org: str, feature: str, enabled: str = "") -> Response:
        return _confirm(desk, request, who, org, feature, enabled == "on")

    @router.post("/{org}/features/{feature}")
    def switch(
        request: Request, who: Setup, org: str, feature: str, told: Annotated[Form, Depends(form)]
    ) -> Response:  # fmt: skip
        return _switch(desk, request, who, org, feature, told)

    @router.get("/{org}/general")
    def general(request: Request, who: Setup, org: str) -> Response:
        return _general(desk, request, who, org)

    @router.post("/{org}/general/{key}")
    def decide(
        request: Request, who: Setup, org: str, key: str, told: Annotated[Form, Depends(form)]
    ) -> Response:  # fmt: skip
        return _decide(desk, request, who, org, key, told)

    return router


def main_of(tx: Connection, who: Viewer, org: str) -> tuple[Organization, Policy]:
    """Return an organization of a viewer's tree and the settings in force for it."""
    one = seen_organization(tx, who, org)
    return one, read_policies(tx, one.main)[one.id]


def _tree(
    desk: Desk, request: Request, who: Viewer, *, errors: dict[str, str] | None = None, told: Form | None = None
) -> Response:  # fmt: skip
    with desk.database.read() as tx:
        seen = seen_organizations(tx, who)
        policies: dict[str, Policy] = {}
        for main in dict.fromkeys(one.main for one in seen):
            policies |= read_policies(tx, main)
        lines = _lines(tx, {one.main for one in seen})
    nodes = _nodes(seen, None if who.organization is None else who.organization)
    return page(
        request, "organizations.html", 422 if errors else 200, nodes=nodes, policies=policies, lines=lines,
        seen=seen, errors=errors or {}, told=told or {}, may_create_main=who.organizations is None,
        created=next((one.name for one in seen if one.id == request.query_params.get("created")), ""),
    )  # fmt: skip


def _nodes(seen: Sequence[Organization], root: str | None) -> list[dict[str, Any]]:
    """Return the tree as nodes with children: from the viewer's own organization on, or all of them."""
    known = {one.id for one in seen}

    def below(parent: str | None) -> list[dict[str, Any]]:
        return [{"one": one, "children": below(one.id)} for one in seen if one.parent == parent]

    tops = [one for one in seen if one.id == root or (root is None and one.parent not in known)]
    return [{"one": one, "children": below(one.id)} for one in tops]


def _lines(tx: Connection, mains: set[str]) -> dict[str, int]:
    """Return how many lines each organization has by itself."""
    counts: dict[str, int] = {}
    for main in mains:
        rows = run(
            tx,
            "SELECT sub_organization, count(*) AS lines FROM line WHERE organization = ? GROUP BY sub_organization",
            [main],
        )
        for row in rows:
            counts[row.sub_organization or main] = row.lines
    return counts


def _create(desk: Desk, request: Request, who: Viewer, told: dict[str, Any]) -> Response:
    errors = {}
    parent = told["parent"] or None
    with desk.database.read() as tx:
        seen = {one.id for one in seen_organizations(tx, who)}
    if (parent is None and who.organizations is not None) or (parent is not None and parent not in seen):
        errors["parent"] = "Choose the organization that it belongs to."
    if not errors:
        try:
            with desk.database.write() as tx:
                settings.create_organization(
                    tx, told["id"], told["name"], parent=parent, actor=who.id, now=desk.access.clock()
                )
        except SettingError as error:
            errors["name" if "name" in str(error) else "id"] = sentence(error)
    if errors:
        return _tree(desk, request, who, errors=errors, told=told)
    return RedirectResponse(f"{request.state.base}/setup?created={told['id']}", 303)


def _features(
    desk: Desk, request: Request, who: Viewer, org: str, *, error: str | None = None, status: int = 200
) -> Response:  # fmt: skip
    with desk.database.read() as tx:
        one, policy = main_of(tx, who, org)
        main = next(other for other in settings.organizations(tx, one.main) if other.id == one.main)
    return page(
        request, "features.html", status, one=one, main=main, policy=policy, is_main=one.parent is None,
        sees_main=who.sees(main.id), error=error, saved=request.query_params.get("saved"),
        released=request.query_params.get("released"),
    )  # fmt: skip


def _asked(desk: Desk, who: Viewer, org: str, feature: str, enabled: bool) -> dict[str, Any]:
    """Return what the confirmation names: every organization and line that a change would affect."""
    if feature not in _FEATURES:
        raise missing()
    with desk.database.read() as tx:
        one, policy = main_of(tx, who, org)
        if one.parent is not None:
            raise ProblemError(
                403, "main_only", "This is set at the main organization and applies to the entire account."
            )
        tree = settings.organizations(tx, one.main)
        lines = _lines(tx, {one.main})
        waiting = 0
        if feature == "sms-opt-in" and not enabled:
            sql = "SELECT count(*) FROM conversation WHERE organization = ? AND consent = ?"
            waiting = int(run(tx, sql, [one.main, Consent.PENDING.value]).scalar_one())
    return {
        "one": one, "policy": policy, "feature": feature, "name": _FEATURES[feature][1], "enabled": enabled,
        "tree": [{"one": each, "lines": lines.get(each.id, 0)} for each in tree], "lines": sum(lines.values()),
        "waiting": waiting,
    }  # fmt: skip


def _confirm(desk: Desk, request: Request, who: Viewer, org: str, feature: str, enabled: bool) -> Response:
    asked = _asked(desk, who, org, feature, enabled)
    template = "features_dialog.html" if is_part(request) else "features_confirm.html"
    return page(request, template, **asked)


def _switch(desk: Desk, request: Request, who: Viewer, org: str, feature: str, told: Form) -> Response:
    """Switch a feature once it was confirmed; two that exclude each other are told apart by the ledger's lock."""
    enabled = told.get("enabled") == "on"
    if told.get("confirmed") != "yes":
        return _confirm(desk, request, who, org, feature, enabled)
    _asked(desk, who, org, feature, enabled)
    try:
        with desk.database.write() as tx:
            released = settings.set_feature(
                tx, org, _FEATURES[feature][0], enabled, actor=who.id, now=desk.access.clock()
            )
    except SettingError as error:
        # The words of the command line end with its command, which a reader of a page has no use for.
        said = sentence(error).split(" (`")[0].split(", or run `")[0].rstrip(".") + "."
        return _features(desk, request, who, org, error=_spelled(said), status=409)
    more = f"&released={len(released)}" if released else ""
    at = f"{request.state.base}/setup/{org}/features?saved={feature}-{'on' if enabled else 'off'}{more}"
    return RedirectResponse(at, 303)


def _spelled(said: str) -> str:
    for name, words in _FEATURES.values():
        said = said.replace(name, words).replace(name.capitalize(), words)
    return said


def _general(
    desk: Desk, request: Request, who: Viewer, org: str, *, errors: dict[str, str] | None = None,
    told: Form | None = None,
) -> Response:  # fmt: skip
    with desk.database.read() as tx:
        one, policy = main_of(tx, who, org)
    kept, _, hours = policy.blocked_outbound.partition(":")
    return page(
        request, "general.html", 422 if errors else 200, one=one, policy=policy, errors=errors or {}, told=told or {},
        scopes={scope.value: words for scope, words in _SCOPES.items()}, languages=LANGUAGE_NAMES,
        known=[language for language in LANGUAGE_WORDS if language in LANGUAGE_NAMES],
        hours=hours or "24", releases=kept == "release", own=one.settings, saved=request.query_params.get("saved"),
    )  # fmt: skip


_SCOPES = {
    Scope.PAIR: "This line only",
    Scope.SUB_ORG: "Every line of the sub-organization",
    Scope.ORG: "Every line of the organization",
}
_KEYS = ("opt_out_scope", "default_region", "languages", "held_inbound", "blocked_outbound")


def _decide(desk: Desk, request: Request, who: Viewer, org: str, key: str, told: Form) -> Response:
    if key not in _KEYS:
        raise missing()
    with desk.database.read() as tx:
        seen_organization(tx, who, org)
    value = told.get("value", "")
    if key == "languages":
        value = ",".join(dict.fromkeys([told.get("first", ""), *(one for one in LANGUAGE_NAMES if told.get(one))]))
    if key == "blocked_outbound" and value == "release":
        value = f"release:{told.get('hours', '').strip() or '24'}"
    try:
        with desk.database.write() as tx:
            settings.set_setting(tx, org, key, value, actor=who.id, now=desk.access.clock())
    except SettingError as error:
        return _general(desk, request, who, org, errors={key: sentence(error)}, told=told)
    return RedirectResponse(f"{request.state.base}/setup/{org}/general?saved={key}", 303)


__all__ = ["LANGUAGE_NAMES", "Mode", "main_of", "router"]
