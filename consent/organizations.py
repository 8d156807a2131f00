"""Organizations: a main one and a tree of sub-organizations, their settings, and who changed what.

Every change is an entry of the audit lane, written in the transaction that makes it. A change takes effect between
two messages, in every process: whoever holds a ledger's lock compares the size of its audit lane with the one that
its policies were read at.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from phonenumbers import SUPPORTED_REGIONS
from sqlalchemy import Column, Connection, LargeBinary, String, Table

from consent.database import Database, insert, metadata, run
from consent.kinds import SYSTEM, Kind
from consent.ledger import append, create_ledger, lock
from consent.lexicon import LANGUAGE_WORDS
from consent.policy import Policy, policy_of
from consent.releasing import release_waiting
from consent.values import Mode, Record, Scope

_ID = re.compile(r"[a-z0-9-]{2,32}")

organization_table = Table(
    "organization",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("main", String(32), nullable=False, index=True),
    Column("parent", String(32), nullable=True),
    Column("name", String(200), nullable=False),
    # Canonical JSON of what this organization sets itself; the rest comes from those above it.
    Column("settings", LargeBinary, nullable=False),
)

#: How old a blocked text may be at most to go out at a YES, hours.
_MOST_HOURS = 168

#: Features by the names of the command line: which mode or value stands for on and off.
FEATURES = ("sms_opt_in", "group_messaging")


class SettingError(Exception):
    """A change that can't be made as asked; the message says why and what to do."""


class ForbiddenError(SettingError):
    """A change that is well put and that a rule forbids."""


@dataclass(frozen=True, slots=True)
class Organization:
    """One organization as it is set up."""

    id: str
    main: str
    parent: str | None
    name: str
    settings: Mapping[str, Any]


class Directory:
    """Which organizations there are and what rules for them, remembered by one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mains: dict[str, str] = {}
        self._policies: dict[str, tuple[int, dict[str, Policy]]] = {}

    def main_of(self, id: str) -> str | None:  # noqa: A002
        """Return the main organization of an organization, None if there is none of this id."""
        main = self._mains.get(id)
        if main is None:
            with self._database.read() as tx:
                self._mains |= {row.id: row.main for row in run(tx, "SELECT id, main FROM organization")}
            main = self._mains.get(id)
        return main

    def policies(self, tx: Connection, main: str, audit_size: int) -> Mapping[str, Policy]:
        """Return the effective policies of a main organization and those below it.

        `audit_size` is the size of its ledger's audit lane, read under the ledger's lock or in this snapshot.
        """
        known = self._policies.get(main)
        if known is None or known[0] != audit_size:
            known = self._policies[main] = (audit_size, read_policies(tx, main))
        return known[1]

    def forget(self) -> None:
        """Read everything anew: a transaction was rolled back."""
        self._policies.clear()


def read_policies(tx: Connection, main: str) -> dict[str, Policy]:
    """Return the effective policy of every organization of a tree, by id."""
    return _policies({one.id: one for one in organizations(tx, main)}, main)


def changed_policies(tx: Connection, one: Organization, settings: Mapping[str, Any]) -> list[Policy]:
    """Return what would rule an organization and those below it, once it had set these settings."""
    tree = {other.id: other for other in organizations(tx, one.main)}
    tree[one.id] = replace(one, settings={**one.settings, **settings})
    policies = _policies(tree, one.main)
    return [policies[one.id], *(policies[id] for id in tree if _is_below(tree, tree[id], one.id))]  # noqa: A001


def _policies(tree: Mapping[str, Organization], main: str) -> dict[str, Policy]:
    return {
        id: policy_of(id, main, tree[main].name, [tree[above].settings for above in lineage(tree, id)])
        for id in tree  # noqa: A001
    }


def lineage(tree: Mapping[str, Organization], id: str) -> list[str]:  # noqa: A002
    """Return an organization and all above it, the main one first."""
    above = [id]
    while (parent := tree[above[0]].parent) is not None:
        above.insert(0, parent)
    return above


def organizations(tx: Connection, main: str | None = None) -> list[Organization]:
    """Return all organizations, or those of one tree, by id."""
    sql = "SELECT id, main, parent, name, settings FROM organization"
    rows = run(tx, sql + " ORDER BY id") if main is None else run(tx, sql + " WHERE main = ? ORDER BY id", [main])
    return [Organization(row.id, row.main, row.parent, row.name, orjson.loads(row.settings)) for row in rows]


def organization(tx: Connection, id: str) -> Organization:  # noqa: A002
    """Return one organization; LookupError if there is none of this id."""
    row = run(tx, "SELECT id, main, parent, name, settings FROM organization WHERE id = ?", [id]).first()
    if row is None:
        raise LookupError("there is no organization of this id")
    return Organization(row.id, row.main, row.parent, row.name, orjson.loads(row.settings))


def create_organization(
    tx: Connection, id: str, name: str, *, parent: str | None, actor: str, now: int  # noqa: A002
) -> Organization:  # fmt: skip
    """Make an organization: a main one with a ledger of its own, or one below `parent`."""
    if not _ID.fullmatch(id) or id == SYSTEM:
        raise SettingError(f"an organization's id is 2 to 32 of a-z, 0-9 and -, and not `{SYSTEM}`")
    if not name.strip() or len(name) > 200:
        raise SettingError("an organization's name is 1 to 200 characters")
    try:
        main = id if parent is None else organization(tx, parent).main
    except LookupError:
        raise SettingError("there is no parent organization of this id: see `assent org list`") from None
    if run(tx, "SELECT 1 FROM organization WHERE id = ?", [id]).first() is not None:
        raise SettingError("there is an organization of this id already: ids are final")
    if parent is None:
        create_ledger(tx, id)
    insert(tx, organization_table, [(id, main, parent, name.strip(), orjson.dumps({}))])
    facts = {"setting": "organization", "id": id, "parent": parent, "name": name.strip(), "actor": actor}
    append(tx, main, [Record(Kind.SETTING, now, facts, {})], now)
    return organization(tx, id)


def set_feature(tx: Connection, id: str, feature: str, on: bool, *, actor: str, now: int) -> list[str]:  # noqa: A002
    """Switch `sms_opt_in` or `group_messaging`, which exclude each other.

    At the main organization it rules the whole account; below, it may only be stricter. Returns as `set_mode`.
    """
    if feature not in FEATURES:
        raise SettingError(f"a feature is one of {', '.join(FEATURES)}")
    if feature == "sms_opt_in":
        return set_mode(tx, id, Mode.CONSENT if on else Mode.OFF, actor=actor, now=now)
    one, policy = for_change(tx, id, below=True)
    changed = changed_policies(tx, one, {feature: on})
    if on and not changed[0].group_messaging:
        raise _looser(one, f"group_messaging is off at the main organization {one.main}")
    asking = next((other for other in changed if other.group_messaging and other.mode is not Mode.OFF), None)
    if on and asking is not None:
        raise ForbiddenError(
            f"group_messaging can't be switched on while sms_opt_in is on at {asking.id} (its mode is "
            f"{asking.mode.value}): switch sms_opt_in off first (`assent feature set {asking.id} sms_opt_in off`)"
        )
    before = {"group_messaging": policy.group_messaging}
    change_settings(tx, one, {"group_messaging": on}, before=before, actor=actor, now=now)
    return []


def set_mode(tx: Connection, id: str, mode: Mode, *, actor: str, now: int) -> list[str]:  # noqa: A002
    """Set a consent mode: for a main organization's whole account, or a stricter one below it.

    Returns the ids of the texts that waited for an answer and may now go out: those of pending contacts, where
    the mode was switched off.
    """
    one, policy = for_change(tx, id, below=True)
    if mode is not Mode.OFF and not policy.capability:
        raise ForbiddenError(
            "SMS Opt-in was not ordered for this organization: have your admin team reach out to support, "
            f"or run `assent org set {one.main} capability ordered`"
        )
    changed = changed_policies(tx, one, {"mode": mode.value})
    if changed[0].mode is not mode:
        raise _looser(one, f"the mode at the main organization {one.main}, or below it, is {changed[0].mode.value}")
    grouping = next((other for other in changed if other.group_messaging and other.mode is not Mode.OFF), None)
    if mode is not Mode.OFF and grouping is not None:
        raise ForbiddenError(
            "sms_opt_in can't be switched on while group_messaging is on: switch group_messaging off first "
            f"(`assent feature set {grouping.id} group_messaging off`)"
        )
    change_settings(tx, one, {"mode": mode.value}, before={"mode": policy.mode.value}, actor=actor, now=now)
    if mode is not Mode.OFF or policy.mode is Mode.OFF:
        return []
    return release_waiting(tx, one.main, read_policies(tx, one.main), actor=actor, now=now)


def _looser(one: Organization, what: str) -> ForbiddenError:
    return ForbiddenError(f"{what}, and rules the whole account: {one.id} below it may be stricter, never looser")


def set_setting(tx: Connection, id: str, key: str, value: str, *, actor: str, now: int) -> None:  # noqa: A002
    """Set one of `SETTINGS`, given as a person writes it; languages are separated by commas."""
    if key not in SETTINGS:
        raise SettingError(f"a setting is one of {', '.join(SETTINGS)}")
    one, policy = for_change(tx, id, below=key != "capability")
    setting: Any = _SETTING[key](value.strip())
    before = {"capability": policy.capability, "opt_out_scope": policy.scope.value, "languages": list(policy.languages)}
    if key == "opt_out_scope":
        _check_scope(tx, one, Scope(setting))
    if key == "capability" and not setting and policy.mode is not Mode.OFF:
        raise ForbiddenError(
            f"capability can't be not_ordered while sms_opt_in is on: switch it off first (`assent feature set {id} "
            "mode off`)"
        )
    if key == "languages":
        for changed in changed_policies(tx, one, {key: setting}):
            if (clash := changed.clash()) is not None:
                raise ForbiddenError(
                    f"{clash} at {changed.id}: no word may stand for two things; set another one first"
                )
    known = before[key] if key in before else getattr(policy, key)
    change_settings(tx, one, {key: setting}, before={key: known}, actor=actor, now=now)


def _check_scope(tx: Connection, one: Organization, scope: Scope) -> None:
    """Refuse a scope that would leave a sub-organization's opt-outs reaching less far than those above it."""
    tree = {other.id: other for other in organizations(tx, one.main)}
    above = one.parent
    while above is not None:
        if "opt_out_scope" in tree[above].settings:
            if _WIDTH[scope] < _WIDTH[Scope(tree[above].settings["opt_out_scope"])]:
                raise ForbiddenError(
                    f"{above} sets a wider opt_out_scope: a sub-organization may be stricter, never looser"
                )
            break
        above = tree[above].parent
    for other in tree.values():
        own = other.settings.get("opt_out_scope")
        if own is not None and _WIDTH[Scope(own)] < _WIDTH[scope] and _is_below(tree, other, one.id):
            raise ForbiddenError(f"{other.id} below it sets a narrower opt_out_scope: widen that first")


def _is_below(tree: Mapping[str, Organization], one: Organization, id: str) -> bool:  # noqa: A002
    while one.parent is not None:
        if one.parent == id:
            return True
        one = tree[one.parent]
    return False


def for_change(tx: Connection, id: str, *, below: bool = False) -> tuple[Organization, Policy]:  # noqa: A002
    """Return an organization as it stands under its ledger's lock, so that of two changes one sees the other.

    With `below` it may be a sub-organization.
    """
    try:
        main = organization(tx, id).main
        lock(tx, main)
        one = organization(tx, id)
    except LookupError:
        raise SettingError("there is no organization of this id: see `assent org list`") from None
    if one.parent is not None and not below:
        raise ForbiddenError(f"this is set at the main organization {one.main} and rules its whole account")
    return one, read_policies(tx, main)[id]


def _one_of(choices: Mapping[str, Any]) -> Callable[[str], Any]:
    def read(value: str) -> Any:
        if value not in choices:
            raise SettingError(f"the value is one of {', '.join(choices)}")
        return choices[value]

    return read


def _region(value: str) -> str:
    region = value.upper()
    if region not in SUPPORTED_REGIONS:
        raise SettingError("default_region is a country's two letters, as US")
    return region


def _languages(value: str) -> list[str]:
    languages = list(dict.fromkeys(one.strip().lower() for one in value.split(",") if one.strip()))
    if not languages or not LANGUAGE_WORDS.keys() >= set(languages):
        raise SettingError(
            f"languages are some of {', '.join(LANGUAGE_WORDS)}, separated by commas, the usual one first"
        )
    return languages


def _blocked_outbound(value: str) -> str:
    """Read what becomes of employees' blocked texts at a YES; the content of an old one may be stale by then."""
    kept, _, hours = value.partition(":")
    if value == "drop" or (
        kept == "release" and (hours or "24").isdecimal() and 1 <= int(hours or "24") <= _MOST_HOURS
    ):
        return "drop" if value == "drop" else f"release:{int(hours or '24')}"
    raise SettingError(
        f"the value is drop, or release:HOURS for texts at most so old (1 to {_MOST_HOURS}; release alone means 24)"
    )


_SETTING: Mapping[str, Callable[[str], Any]] = {
    "opt_out_scope": _one_of({scope.value: scope.value for scope in Scope}),
    "default_region": _region,
    "languages": _languages,
    "held_inbound": _one_of({"release": "release", "discard": "discard"}),
    "blocked_outbound": _blocked_outbound,
    "capability": _one_of({"ordered": True, "not_ordered": False}),
}
#: What `set_setting` sets.
SETTINGS = tuple(_SETTING)

_WIDTH = {Scope.PAIR: 0, Scope.SUB_ORG: 1, Scope.ORG: 2}


def change_settings(
    tx: Connection, one: Organization, settings: Mapping[str, Any], *, before: Mapping[str, Any], actor: str, now: int
) -> None:
    """Store settings of an organization whose ledger is locked, and the entry that says who changed what."""
    facts = {
        "setting": next(iter(settings)),
        "id": one.id,
        "before": dict(before),
        "after": dict(settings),
        "actor": actor,
    }
    store_settings(tx, one, settings, Record(Kind.SETTING, now, facts, {}), now)


def store_settings(tx: Connection, one: Organization, settings: Mapping[str, Any], record: Record, now: int) -> None:
    """Store settings beside those that an organization has, with the record of the change."""
    changed = orjson.dumps({**one.settings, **settings}, option=orjson.OPT_SORT_KEYS)
    run(tx, "UPDATE organization SET settings = ? WHERE id = ?", [changed, one.id])
    append(tx, one.main, [record], now)
