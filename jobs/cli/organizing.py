"""`org`, `feature`, `line`: organizations, what is switched on for them, and whose a line is."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from jobs.cli.shared import Config, Json, group, now, print_lines, print_object, print_table
from jobs.exits import Exit, Problem

org = group("Organizations: a main one has its own ledger; others stand below it.")
feature = group("Features that are switched for a main organization's whole account.")
line = group("Lines: which number is whose.")

OrgId = Annotated[str, typer.Argument(metavar="ORG", help="An organization's id.")]


class Feature(StrEnum):
    """What can be switched."""

    SMS_OPT_IN = "sms_opt_in"
    GROUP_MESSAGING = "group_messaging"
    MODE = "mode"


def register(root: typer.Typer) -> None:
    """Add these commands."""
    root.add_typer(org, name="org")
    root.add_typer(feature, name="feature")
    root.add_typer(line, name="line")


@org.command("list")
def list_organizations(config: Config = None, as_json: Json = False) -> None:
    """Print all organizations."""
    from consent.organizations import organizations
    from jobs.build import assembled

    with assembled(config) as parts, parts.database.read() as tx:
        found = organizations(tx)
    rows = [{"id": one.id, "main": one.main, "parent": one.parent, "name": one.name} for one in found]
    if as_json:
        print_lines(rows)
    else:
        print_table(
            ("ID", "MAIN", "PARENT", "NAME"), (row.values() for row in rows),
            empty="No organization yet: `assent org create acme --name 'Acme Bank'`.",
        )  # fmt: skip


@org.command()
def create(
    org_id: Annotated[str, typer.Argument(metavar="ID", help="2 to 32 of a-z, 0-9 and -; final.")],
    name: Annotated[str, typer.Option("--name", metavar="N", help="As contacts read it.")],
    parent: Annotated[str | None, typer.Option("--parent", metavar="ID", help="The organization above it.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make an organization; a main one gets a ledger of its own."""
    from consent.organizations import create_organization
    from jobs.build import assembled, host_actor

    with assembled(config) as parts, parts.database.write() as tx:
        made = create_organization(tx, org_id, name, parent=parent, actor=host_actor(), now=now())
    if as_json:
        print_object({"id": made.id, "main": made.main, "parent": made.parent, "name": made.name})
    else:
        print(f"{made.id} is there" + (f", below {made.parent}" if made.parent else ""))


@org.command("set")
def set_organization(
    org_id: OrgId,
    key: Annotated[str, typer.Argument(metavar="KEY", help="opt_out_scope, default_region, languages, …")],
    value: Annotated[str, typer.Argument(metavar="VALUE")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Set what an organization decides for itself: opt_out_scope, default_region, languages (comma-separated),
    held_inbound, blocked_outbound, or capability (ordered, not_ordered).
    """
    from consent.organizations import set_setting
    from jobs.build import assembled, host_actor

    with assembled(config) as parts, parts.database.write() as tx:
        set_setting(tx, org_id, key, value, actor=host_actor(), now=now())
    _tell(as_json, org_id, key, value)


@feature.command("list")
def list_features(org_id: OrgId, config: Config = None, as_json: Json = False) -> None:
    """Print what is switched on for an organization, and its settings in force."""
    from consent.organizations import organization, read_policies
    from jobs.build import assembled

    with assembled(config) as parts, parts.database.read() as tx:
        try:
            one = organization(tx, org_id)
        except LookupError as error:
            raise Problem(Exit.USAGE, "there is no organization of this id: see `assent org list`") from error
        policy = read_policies(tx, one.main)[org_id]
    told = {
        "organization": org_id,
        "mode": policy.mode.value,
        "sms_opt_in": policy.mode.value == "consent",
        "group_messaging": policy.group_messaging,
        "capability": "ordered" if policy.capability else "not_ordered",
        "opt_out_scope": policy.scope.value,
        "languages": list(policy.languages),
        "default_region": policy.default_region,
    }
    if as_json:
        print_object(told)
    else:
        print_table(("FEATURE", "VALUE"), ((name, _plain(value)) for name, value in told.items()))


@feature.command("set")
def set_feature(
    org_id: OrgId,
    name: Feature,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="on or off; of mode: off, consent or disclaimer.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Switch SMS Opt-In or group messaging, which exclude each other, for the whole account."""
    from consent import organizations
    from consent.values import Mode
    from jobs.build import assembled, host_actor

    choices = [mode.value for mode in Mode] if name is Feature.MODE else ["on", "off"]
    if value not in choices:
        raise Problem(Exit.USAGE, f"{name.value} is one of {', '.join(choices)}")
    actor, at = host_actor(), now()
    with assembled(config) as parts, parts.database.write() as tx:
        if name is Feature.MODE:
            organizations.set_mode(tx, org_id, Mode(value), actor=actor, now=at)
        else:
            organizations.set_feature(tx, org_id, name.value, value == "on", actor=actor, now=at)
    _tell(as_json, org_id, name.value, value)


@line.command("list")
def list_lines(org_id: OrgId, config: Config = None, as_json: Json = False) -> None:
    """Print the lines of an organization and whose they are."""
    from consent.canonical import timestamp
    from consent.lines import list_lines as read_lines
    from jobs.build import assembled

    with assembled(config) as parts, parts.database.read() as tx:
        main, sub, _ = _organization(tx, org_id)
        found = read_lines(tx, main, sub_organization=sub)
    rows = [
        {
            "line": one.line,
            "organization": one.sub_organization or main,
            "employee": {"id": one.employee_id, "name": one.employee_name},
            "since": timestamp(one.since),
        }
        for one in found
    ]
    if as_json:
        print_lines(rows)
    else:
        table = ((one.line, one.employee_id, one.employee_name, timestamp(one.since)) for one in found)
        print_table(("LINE", "EMPLOYEE", "NAME", "SINCE"), table, empty="No line is known yet.")


@line.command("set")
def set_line(
    org_id: OrgId,
    number: Annotated[str, typer.Argument(metavar="LINE", help="A phone number.")],
    employee: Annotated[str, typer.Option("--employee", metavar="ID", help="The employee's id.")],
    name: Annotated[str, typer.Option("--name", metavar="N", help="The employee's name, as contacts read it.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Register a line to an employee; with another employee its conversations begin anew (an opt-out stays)."""
    from consent import lines
    from consent.numbers import NumberError, read_number
    from consent.tags import Tags
    from jobs.build import assembled, host_actor
    from sync.migrate import tag_key

    with assembled(config) as parts, parts.database.write() as tx:
        main, sub, region = _organization(tx, org_id)
        try:
            read = read_number(number, region)
        except NumberError as error:
            raise Problem(Exit.USAGE, f"LINE {error}") from error
        done = lines.set_line(
            tx, Tags(tag_key(tx)), main, read, employee, name, sub_organization=sub, actor=host_actor(), now=now()
        )
    if as_json:
        told = {"id": employee, "name": name}
        print_object({"line": read, "organization": org_id, "employee": told, "begun_anew": done.begun_anew})
    else:
        print(f"registered; {done.begun_anew} conversations begin anew")


def _organization(tx: Any, org_id: str) -> tuple[str, str | None, str]:
    """Return an organization's main one, its own id where it is below that, and its default region."""
    from consent.organizations import organization, read_policies

    try:
        one = organization(tx, org_id)
    except LookupError as error:
        raise Problem(Exit.USAGE, "there is no organization of this id: see `assent org list`") from error
    return one.main, one.id if one.parent is not None else None, read_policies(tx, one.main)[one.id].default_region


def _tell(as_json: bool, org_id: str, key: str, value: str) -> None:
    if as_json:
        print_object({"organization": org_id, key: value})
    else:
        print(f"{org_id}: {key} is {value}")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
