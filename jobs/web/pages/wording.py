"""Setup: the automatic texts and the two keywords by their names on the vendor's page, with preview and history."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Annotated, Any, NamedTuple

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from consent.database import fetch
from consent.kinds import Kind, Lane
from consent.lexicon import DEFAULT_OPT_OUT, HELP_WORDS, LANGUAGE_WORDS
from consent.normal import normalized
from consent.organizations import Organization, SettingError, for_change
from consent.policy import Policy
from consent.revocations import FLOOR
from consent.segments import segments
from consent.templates import (
    DEFAULT_TEMPLATES,
    EMPLOYEE_NAME,
    OPT_IN_TEXT,
    OPT_OUT_TEXT,
    ORGANIZATION,
    REASON,
    TEMPLATE_NAMES,
    Template,
    clean_name,
    render,
)
from consent.wording import LONGEST_TEXT, check_text, set_keyword, set_template
from jobs.access import Role, Viewer
from jobs.access.users import names_of
from jobs.web.pages.desk import Desk, missing, sentence
from jobs.web.pages.setup import LANGUAGE_NAMES, main_of
from jobs.web.problems import ProblemError
from jobs.web.rendering import PageRoute, page
from jobs.web.sign_in import Form, form, viewer
from jobs.web.vendor import DESCRIPTIONS, KEYWORD_NAMES

#: The texts in the order in which a conversation meets them.
_GROUPS = (
    ("When an employee texts first (MO)", "mo."),
    ("When a customer texts first (MT)", "mt."),
    ("Beside them", ""),
)
_EMPLOYEE = "Ann Lee"
#: Changes that a history shows.
_MOST = 50

Setup = Annotated[Viewer, Depends(viewer(Role.SETUP))]


class Change(NamedTuple):
    """One change of a text or word, as its entry tells it."""

    entry: str
    at: int
    actor: str
    language: str
    version: int | None
    before: Any
    after: Any


def router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=PageRoute, prefix="/setup/{org}")

    @router.get("/messages")
    def texts(request: Request, who: Setup, org: str, language: str = "") -> Response:
        return _texts(desk, request, who, org, language)

    @router.get("/messages/{key}")
    def edit(request: Request, who: Setup, org: str, key: str, language: str = "") -> Response:
        return _edit(desk, request, who, org, key, language)

    @router.post("/messages/{key}/preview")
    def preview(
        request: Request, who: Setup, org: str, key: str, told: Annotated[Form, Depends(form)]
    ) -> Response:  # fmt: skip
        with desk.database.read() as tx:
            _, policy = _chosen(tx, who, org, key)
        language = policy.language_of(told.get("language"))
        return page(request, "message_preview.html", **_previewed(policy, key, language, _text(told)))

    @router.post("/messages/{key}")
    def keep(request: Request, who: Setup, org: str, key: str, told: Annotated[Form, Depends(form)]) -> Response:
        return _keep(desk, request, who, org, key, told)

    @router.get("/keywords")
    def keywords(request: Request, who: Setup, org: str) -> Response:
        return _keywords(desk, request, who, org)

    @router.post("/keywords/{use}")
    def set_word(request: Request, who: Setup, org: str, use: str, told: Annotated[Form, Depends(form)]) -> Response:
        return _set_word(desk, request, who, org, use, told)

    return router


def _chosen(tx: Connection, who: Viewer, org: str, key: str) -> tuple[Organization, Policy]:
    if key not in DEFAULT_TEMPLATES:
        raise missing()
    one, policy = main_of(tx, who, org)
    if not policy.capability:
        raise ProblemError(404, "not_found", "SMS Opt-in was not ordered for this organization.")
    return one, policy


def _texts(desk: Desk, request: Request, who: Viewer, org: str, wanted: str) -> Response:
    with desk.database.read() as tx:
        one, policy = main_of(tx, who, org)
    language = policy.language_of(wanted)
    groups = []
    for name, prefix in _GROUPS:
        keys = [key for key in TEMPLATE_NAMES if (key.startswith(prefix) if prefix else key[:3] not in ("mo.", "mt."))]
        groups.append((name, [_listed(policy, key, language) for key in keys]))
    return page(
        request, "messages.html", one=one, policy=policy, groups=groups, language=language,
        languages=[(code, LANGUAGE_NAMES.get(code, code)) for code in policy.languages],
    )  # fmt: skip


def _listed(policy: Policy, key: str, language: str) -> dict[str, Any]:
    found = policy.template(key, language)
    text = _rendered(policy, language, found)
    return {
        "key": key, "name": TEMPLATE_NAMES[key], "text": text, "version": found.version,
        "is_default": found.version == 0, "spoken": found.language, "segments": segments(text),
        "to": "employee" if key.endswith("employee") else "customer",
    }  # fmt: skip


def _edit(
    desk: Desk, request: Request, who: Viewer, org: str, key: str, wanted: str, *, text: str | None = None,
    error: str | None = None,
) -> Response:  # fmt: skip
    with desk.database.read() as tx:
        one, policy = _chosen(tx, who, org, key)
        history = _history(tx, one, Kind.TEMPLATE, "template", key)
    language = policy.language_of(wanted)
    in_force = policy.template(key, language)
    shown = in_force.text if text is None else text
    placeholders = [EMPLOYEE_NAME, ORGANIZATION, OPT_IN_TEXT, OPT_OUT_TEXT]
    return page(
        request, "message.html", 422 if error else 200, one=one, key=key, name=TEMPLATE_NAMES[key], text=shown,
        description=DESCRIPTIONS[key].format(name=policy.name), in_force=in_force, error=error, language=language,
        languages=[(code, LANGUAGE_NAMES.get(code, code)) for code in policy.languages], longest=LONGEST_TEXT,
        placeholders=placeholders + ([REASON] if key == "undeliverable.employee" else []),
        history=[one for one in history if one.language == language], saved="saved" in request.query_params,
        **_previewed(policy, key, language, shown),
    )  # fmt: skip


def _previewed(policy: Policy, key: str, language: str, text: str) -> dict[str, Any]:
    """Return how a text would read, what it costs, what is wrong with it, how it differs from the default."""
    wrong = None
    try:
        check_text(policy, key, text, language)
    except SettingError as error:
        wrong = sentence(error)
    rendered = _rendered(policy, language, Template(key, text, 0, "", language))
    default = DEFAULT_TEMPLATES[key].text
    return {
        "rendered": rendered, "segments": segments(rendered), "wrong": wrong, "difference": _difference(default, text),
        "is_default": text == default, "sender": policy.name,
    }  # fmt: skip


def _rendered(policy: Policy, language: str, template: Template) -> str:
    return render(template, {
        EMPLOYEE_NAME: _EMPLOYEE,
        ORGANIZATION: clean_name(policy.name, policy.organization),
        OPT_IN_TEXT: policy.opt_in(language),
        OPT_OUT_TEXT: policy.opt_out(language),
        REASON: "the number is a landline",
    })  # fmt: skip


def _difference(before: str, after: str) -> list[tuple[str, str]]:
    """Return what was kept, taken out and put in, word by word: (`same`, `del` or `ins`, words)."""
    old, new = (re.findall(r"<[^<>]*>\s*|[^\s<]+\s*|\s+|<", text) for text in (before, after))
    parts: list[tuple[str, str]] = []
    for what, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            parts.append(("same", "".join(old[a:b])))
            continue
        if b > a:
            parts.append(("del", "".join(old[a:b])))
        if d > c:
            parts.append(("ins", "".join(new[c:d])))
    return parts


def _keep(desk: Desk, request: Request, who: Viewer, org: str, key: str, told: Form) -> Response:
    """Keep a text, restore the default, or restore an earlier version: each a new version, each an entry."""
    with desk.database.read() as tx:
        _, policy = _chosen(tx, who, org, key)
    language = policy.language_of(told.get("language"))
    text: str | None = _text(told)
    if told.get("restore") == "default" or text == DEFAULT_TEMPLATES[key].text:
        text = None
    at = f"{request.state.base}/setup/{org}/messages/{key}?language={language}"
    try:
        with desk.database.write() as tx:
            # Under the lock: what is sent twice, or changes nothing, makes no new version.
            in_force = for_change(tx, org, below=True)[1].template(key, language)
            if text != in_force.text and (text is not None or in_force.version):
                set_template(tx, org, key, text, language, actor=who.id, now=desk.access.clock())
    except SettingError as error:
        return _edit(desk, request, who, org, key, language, text=text, error=sentence(error))
    return RedirectResponse(f"{at}&saved=1", 303)


def _text(told: Form) -> str:
    # A browser sends line ends as two characters.
    return told.get("text", "").replace("\r\n", "\n").replace("\r", "\n")


def _history(
    tx: Connection, one: Organization, kind: Kind, name: str, value: str
) -> list[Change]:  # fmt: skip
    """Return the changes of a text or a keyword of one organization, the newest first."""
    rows = fetch(
        tx,
        """SELECT seq, occurred_at, body FROM entry WHERE organization = ? AND lane = ? AND kind = ?
        ORDER BY pos DESC LIMIT ?""",
        [one.main, Lane.AUDIT.value, kind.value, 20 * _MOST],
    )
    told = [(seq, at, orjson.loads(body)) for seq, at, body in rows if body]
    mine = [each for each in told if each[2].get(name) == value and each[2].get("id") == one.id][:_MOST]
    names = names_of(tx, {facts.get("actor", "") for _, _, facts in mine})
    return [
        Change(f"{one.main}-{seq:012d}", at, names.get(facts.get("actor", ""), facts.get("actor", "")),
               facts.get("language", ""), facts.get("template_version"), facts.get("before"), facts.get("after"))
        for seq, at, facts in mine
    ]  # fmt: skip


def _keywords(
    desk: Desk, request: Request, who: Viewer, org: str, *, errors: dict[str, str] | None = None,
    told: Form | None = None,
) -> Response:  # fmt: skip
    with desk.database.read() as tx:
        one, policy = main_of(tx, who, org)
        history = [
            (use, change) for use in ("opt_in", "opt_out", "help")
            for change in _history(tx, one, Kind.SETTING, "use", use)
        ]  # fmt: skip
    history.sort(key=lambda each: -each[1].at)
    return page(
        request, "keywords.html", 422 if errors else 200, one=one, policy=policy, names=KEYWORD_NAMES,
        rows=[_words(policy, language) for language in policy.languages], errors=errors or {}, told=told or {},
        floor=FLOOR, always=_plain(DEFAULT_OPT_OUT), help_words=HELP_WORDS, history=history,
        saved=request.query_params.get("saved"),
    )  # fmt: skip


def _words(policy: Policy, language: str) -> dict[str, Any]:
    shown = policy.opt_out(language)
    own = policy.keywords.get("opt_out", {}).get(language, ())
    spoken = LANGUAGE_WORDS.get(language, ((), ()))[1]
    return {
        "language": language, "name": LANGUAGE_NAMES.get(language, language), "opt_in": policy.opt_in(language),
        "opt_out": shown, "also": _plain([*own, *spoken], but=shown),
        "help": _plain(policy.keywords.get("help", {}).get(language, ())),
    }  # fmt: skip


def _plain(words: Sequence[str], *, but: str = "") -> list[str]:
    return list(dict.fromkeys(word for word in words if normalized(word) != normalized(but)))


def _set_word(desk: Desk, request: Request, who: Viewer, org: str, use: str, told: Form) -> Response:
    if use not in ("opt_in", "opt_out", "help"):
        raise missing()
    language = told.get("language", "")
    try:
        with desk.database.write() as tx:
            _, policy = main_of(tx, who, org)
            live = {"opt_in": policy.opt_in(language), "opt_out": policy.opt_out(language)}.get(use)
            if told.get("word", "").strip() != live:
                set_keyword(tx, org, use, told.get("word", ""), language, actor=who.id, now=desk.access.clock())
    except SettingError as error:
        return _keywords(desk, request, who, org, errors={f"{use}.{language}": sentence(error)}, told=told)
    return RedirectResponse(f"{request.state.base}/setup/{org}/keywords?saved={use}", 303)
