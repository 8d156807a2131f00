"""Organizations, their features, texts and words, told in the words of the interface: for HTTP and command line."""

from typing import Any

from sqlalchemy import Connection

from consent.canonical import timestamp
from consent.lexicon import DEFAULT_OPT_OUT, HELP_WORDS
from consent.organizations import Organization, read_policies
from consent.owners import Line
from consent.policy import Policy
from consent.revocations import FLOOR
from consent.templates import TEMPLATE_NAMES


def told_organization(tx: Connection, one: Organization) -> dict[str, Any]:
    """Return an organization with the settings in force, in the words that set them."""
    policy = read_policies(tx, one.main)[one.id]
    return {
        "id": one.id,
        "main": one.main,
        "parent": one.parent,
        "name": one.name,
        "mode": policy.mode.value,
        "group_messaging": "on" if policy.group_messaging else "off",
        "capability": "ordered" if policy.capability else "not_ordered",
        "opt_out_scope": policy.scope.value,
        "default_region": policy.default_region,
        "languages": list(policy.languages),
        "held_inbound": policy.held_inbound,
        "blocked_outbound": policy.blocked_outbound,
    }


def told_features(policy: Policy) -> dict[str, str]:
    """Return what is switched on; an opt-in service that was not ordered isn't shown."""
    mode = policy.mode.value
    told = {"sms_opt_in": "on" if mode == "consent" else "off", "mode": mode} if policy.capability else {}
    return told | {"group_messaging": "on" if policy.group_messaging else "off"}


def told_template(policy: Policy, key: str, language: str | None) -> dict[str, Any]:
    """Return a text that is in force."""
    found = policy.template(key, policy.language_of(language))
    return {
        "key": key,
        "name": TEMPLATE_NAMES[key],
        "language": found.language,
        "version": found.version,
        "sha256": found.sha256,
        "text": found.text,
    }


def told_keywords(policy: Policy) -> list[dict[str, Any]]:
    """Return the words that are live, the shown one first; the floor can't be removed and is always accepted."""
    own = policy.keywords
    rows: list[dict[str, Any]] = []
    for language in policy.languages:
        shown = policy.opt_out(language)
        more = [word for word in own.get("opt_out", {}).get(language, ()) if word != shown]
        rows += [
            {"use": "opt_in", "language": language, "shown": policy.opt_in(language), "also": []},
            {"use": "opt_out", "language": language, "shown": shown, "also": [*more, *FLOOR, *DEFAULT_OPT_OUT]},
            {"use": "help", "language": language, "shown": HELP_WORDS[0].upper(),
             "also": [*own.get("help", {}).get(language, ()), *HELP_WORDS[1:]]},
        ]  # fmt: skip
    return rows


def told_line(one: Line, main: str) -> dict[str, Any]:
    """Return a line and whose it is."""
    return {
        "org": one.sub_organization or main,
        "line": one.line,
        "employee": {"id": one.employee_id, "name": one.employee_name},
        "since": timestamp(one.since),
        "registered": one.registered,
    }
