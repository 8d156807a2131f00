"""`/v1/organizations/…`: which there are, and their features, settings, texts, words and lines."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from consent import lines, organizations, wording
from consent.database import Database
from consent.organizations import ForbiddenError, Organization, SettingError
from consent.policy import Policy
from consent.tags import Tags
from consent.templates import TEMPLATE_NAMES
from consent.values import Mode
from jobs.access import Grant, Scope
from jobs.api.keys import needs, require_sight
from jobs.api.queries import PROBLEMS, plus
from jobs.asking import QuestionError, found_organization, number
from jobs.organizing import told_features, told_keywords, told_line, told_organization, told_template
from jobs.web.problems import ProblemError
from sync.migrate import tag_key

OrgId = Annotated[str, Path(description="An organization's id.")]
Reads = Annotated[Grant, Depends(needs(Scope.ORGANIZATIONS_READ))]
Writes = Annotated[Grant, Depends(needs(Scope.ORGANIZATIONS_WRITE))]
Language = Annotated[str | None, Query(description="One of its languages; the first where it is missing.")]
Switch = Literal["on", "off"]

_REFUSED: dict[int | str, dict[str, Any]] = {409: PROBLEMS[404] | {"description": "A rule forbids it"}}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Features(_Body):
    """What is to be switched; `sms_opt_in` on is `mode` consent."""

    sms_opt_in: Switch | None = None
    mode: Mode | None = None
    group_messaging: Switch | None = None


class Settings(_Body):
    """What an organization decides for itself, written as `assent org set` takes it."""

    opt_out_scope: Literal["pair", "sub_org", "org"] | None = None
    default_region: str | None = None
    languages: list[str] | None = None
    held_inbound: Literal["release", "discard"] | None = None
    blocked_outbound: str | None = Field(default=None, description="drop, or release:HOURS")
    capability: Literal["ordered", "not_ordered"] | None = None


class Text(_Body):
    """An automatic text; null restores the default."""

    text: str | None
    language: str | None = None


class Word(_Body):
    """A keyword: one that opts in replaces the former, others are added."""

    word: str
    language: str | None = None


class Employee(_Body):
    """Whose a line is."""

    id: str
    name: str


class Owner(_Body):
    """Who a line is registered to."""

    employee: Employee


def organization_router(database: Database) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/organizations", tags=["organizations"], responses=PROBLEMS)
    for add in (_add_organizations, _add_settings, _add_features, _add_texts, _add_keywords, _add_lines):
        add(router, database)
    return router


def _add_organizations(router: APIRouter, database: Database) -> None:
    @router.get("", summary="The organizations, by id.")
    def list_organizations(
        grant: Reads,
        after: Annotated[str, Query(description="An id: begin behind it.")] = "",
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Response:
        with database.read() as tx:
            found = [one for one in organizations.organizations(tx) if one.id > after and grant.sees(one.id)]
            rows = [told_organization(tx, one) for one in found[:limit]]
        return _json({"organizations": rows, "next": rows[-1]["id"] if len(found) > limit else None})

    @router.get("/{org}", summary="One organization with the settings in force.")
    def get_organization(grant: Reads, org: OrgId) -> Response:
        with database.read() as tx:
            one, _ = _found(tx, grant, org)
            return _json(told_organization(tx, one))


def _add_settings(router: APIRouter, database: Database) -> None:
    @router.put("/{org}/settings", summary="Change what an organization decides for itself.", responses=_REFUSED)
    def set_settings(grant: Writes, org: OrgId, asked: Settings) -> Response:
        require_sight(grant, org)
        given = asked.model_dump(exclude_none=True)
        if "capability" in given and grant.organizations is not None:
            # What was ordered is between the vendor and a customer; a customer's own token doesn't order.
            raise ProblemError(403, "missing_scope", "A token of one organization can't change what was ordered.")

        def change(tx: Connection) -> None:
            for key, value in given.items():
                written = ",".join(value) if isinstance(value, list) else value
                organizations.set_setting(tx, org, key, written, actor=grant.id, now=_now())

        return _json(_changed(database, change, lambda tx: told_organization(tx, found_organization(tx, org)[0])))


def _add_features(router: APIRouter, database: Database) -> None:
    @router.get("/{org}/features", summary="What is switched on.")
    def get_features(grant: Reads, org: OrgId) -> Response:
        with database.read() as tx:
            return _json(told_features(_found(tx, grant, org)[1]))

    @router.put("/{org}/features", summary="Switch SMS Opt-In or group messaging.", responses=_REFUSED)
    def set_features(grant: Writes, org: OrgId, asked: Features) -> Response:
        require_sight(grant, org)
        if asked.mode is not None and asked.sms_opt_in is not None:
            raise ProblemError(422, "invalid_request", "`sms_opt_in` and `mode` say the same thing: give one of them.")
        released: list[str] = []

        def change(tx: Connection) -> None:
            actor, now = grant.id, _now()
            # What is switched off goes first, so that one call may exchange the two.
            for name in sorted(("sms_opt_in", "group_messaging"), key=lambda one: getattr(asked, one) != "off"):
                value = getattr(asked, name)
                if value is not None:
                    released.extend(organizations.set_feature(tx, org, name, value == "on", actor=actor, now=now))
            if asked.mode is not None:
                released.extend(organizations.set_mode(tx, org, asked.mode, actor=actor, now=now))

        told = _changed(database, change, lambda tx: told_features(found_organization(tx, org)[1]))
        return _json({**told, "released": released})


def _add_texts(router: APIRouter, database: Database) -> None:
    @router.get("/{org}/templates", summary="Every text that is in force.")
    def list_templates(grant: Reads, org: OrgId, language: Language = None) -> Response:
        with database.read() as tx:
            policy = _found(tx, grant, org)[1]
        return _json({"templates": [told_template(policy, key, language) for key in TEMPLATE_NAMES]})

    @router.get("/{org}/templates/{key}", summary="One text that is in force.")
    def get_template(grant: Reads, org: OrgId, key: str, language: Language = None) -> Response:
        with database.read() as tx:
            policy = _found(tx, grant, org)[1]
        return _json(told_template(policy, _known(key), language))

    @router.put("/{org}/templates/{key}", summary="Set a text, or restore its default.", responses=_REFUSED)
    def set_template(grant: Writes, org: OrgId, key: str, asked: Text) -> Response:
        require_sight(grant, org)
        _known(key)
        return _json(_changed(
            database,
            lambda tx: wording.set_template(tx, org, key, asked.text, asked.language, actor=grant.id, now=_now()),
            lambda tx: told_template(found_organization(tx, org)[1], key, asked.language),
        ))  # fmt: skip


def _add_keywords(router: APIRouter, database: Database) -> None:
    @router.get("/{org}/keywords", summary="The words that are live, the shown one first.")
    def list_keywords(grant: Reads, org: OrgId) -> Response:
        with database.read() as tx:
            return _json({"keywords": told_keywords(_found(tx, grant, org)[1])})

    @router.put("/{org}/keywords/{use}", summary="Set or add a keyword.", responses=_REFUSED)
    def set_keyword(grant: Writes, org: OrgId, use: Literal["opt_in", "opt_out", "help"], asked: Word) -> Response:
        require_sight(grant, org)
        return _json(_changed(
            database,
            lambda tx: wording.set_keyword(tx, org, use, asked.word, asked.language, actor=grant.id, now=_now()),
            lambda tx: {"keywords": told_keywords(found_organization(tx, org)[1])},
        ))  # fmt: skip


def _add_lines(router: APIRouter, database: Database) -> None:
    @router.get("/{org}/lines", summary="The lines and whose they are, by number.")
    def list_lines(
        grant: Reads,
        org: OrgId,
        after: Annotated[str | None, Query(description="A line: begin behind it.")] = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ) -> Response:
        with database.read() as tx:
            one, policy = _found(tx, grant, org)
            found = lines.list_lines(
                tx, one.main, sub_organization=policy.sub_organization, after=plus(after) or "", limit=limit + 1
            )
        rows = [told_line(known, one.main) for known in found[:limit]]
        return _json({"lines": rows, "next": rows[-1]["line"] if len(found) > limit else None})

    @router.put("/{org}/lines/{line}", summary="Register a line to an employee.", responses=_REFUSED)
    def set_line(grant: Writes, org: OrgId, line: str, asked: Owner) -> Response:
        require_sight(grant, org)
        with _refusing(), database.write() as tx:
            one, policy = found_organization(tx, org)
            done = lines.set_line(
                tx, Tags(tag_key(tx)), one.main, number(line, "line", policy), asked.employee.id, asked.employee.name,
                sub_organization=policy.sub_organization, actor=grant.id, now=_now(),
                may_take=lambda sub: grant.sees(one.main, sub),
            )  # fmt: skip
        return _json(told_line(done.line, one.main) | {"entries": [entry.id for entry in done.entries]})


def _changed(
    database: Database, change: Callable[[Connection], Any], told: Callable[[Connection], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Make a change and tell what is in force after it, in one transaction."""
    with _refusing(), database.write() as tx:
        change(tx)
        return told(tx)


def _found(tx: Connection, grant: Grant, org: str) -> tuple[Organization, Policy]:
    require_sight(grant, org)
    with _refusing():
        return found_organization(tx, org)


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell what a rule forbids, and what can't be set, as problems."""
    try:
        yield
    except ForbiddenError as error:
        raise ProblemError(409, "refused_by_policy", _sentence(error)) from None
    except SettingError as error:
        status, code = (404, "unknown_organization") if "no organization" in str(error) else (422, "invalid_setting")
        raise ProblemError(status, code, _sentence(error)) from None
    except QuestionError as error:
        raise ProblemError(404 if error.code == "unknown_organization" else 422, error.code, _sentence(error)) from None


def _known(key: str) -> str:
    if key not in TEMPLATE_NAMES:
        raise ProblemError(404, "not_found", f"A text is one of {', '.join(TEMPLATE_NAMES)}.")
    return key


def _sentence(error: Exception) -> str:
    told = str(error)
    # A key stands as it is written: `mo.request.contact`, `group_messaging`.
    first = told.split(" ", 1)[0]
    return f"{told}." if "_" in first or "." in first else f"{told[0].upper()}{told[1:]}."


def _json(told: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(told), media_type="application/json")


def _now() -> int:
    return time.time_ns() // 1_000
