"""`org`, `feature`, `line`: organizations, what is switched on for them, and whose a line is.

They say what they did and ask nothing. What a rule forbids ends 8 (features that exclude each other, one that was not
ordered, a sub-organization looser than those above it); a bad value or an unknown organization is usage, and ends 2.
"""

from enum import StrEnum
from typing import Annotated, Any

import typer

from jobs.cli.importing import import_lines
from jobs.cli.shared import Config, Json, Limit, group, now, print_lines, print_object, print_table
from jobs.exits import Exit, Problem

org = group("Organizations: a main one has its own ledger; others stand below it.")
feature = group("Features: switched for the whole account; a sub-organization may be stricter.")
line = group("Lines: which number is whose.")

OrgId = Annotated[str, typer.Argument(metavar="ORG", help="An organization's id.")]
After = Annotated[str, typer.Option("--after", help="Begin behind this one, for the next page.", show_default=False)]


class Feature(StrEnum):
    """What can be switched."""

    SMS_OPT_IN = "sms_opt_in"
    GROUP_MESSAGING = "group_messaging"
    MODE = "mode"


class Key(StrEnum):
    """What an organization decides for itself (as `consent.organizations.SETTINGS`, without its imports)."""

    OPT_OUT_SCOPE = "opt_out_scope"
    DEFAULT_REGION = "default_region"
    LANGUAGES = "languages"
    HELD_INBOUND = "held_inbound"
    BLOCKED_OUTBOUND = "blocked_outbound"
    CAPABILITY = "capability"


def register(root: typer.Typer) -> None:
    """Add these commands."""
    root.add_typer(org, name="org")
    root.add_typer(feature, name="feature")
    root.add_typer(line, name="line")


@org.command("list")
def list_organizations(
    main: Annotated[str | None, typer.Option("--org", metavar="O", help="Only this one and those below it.")] = None,
    after: After = "",
    limit: Limit = 1000,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print organizations and the settings in force, by id."""
    from consent.organizations import organizations
    from jobs.build import assembled
    from jobs.organizing import told_organization

    with assembled(config) as parts, parts.database.read() as tx:
        found = [one for one in organizations(tx, main) if one.id > after][:limit]
        rows = [told_organization(tx, one) for one in found]
    if as_json:
        print_lines(rows)
        return
    keys = ("id", "parent", "name", "mode", "group_messaging", "opt_out_scope", "default_region", "languages")
    columns = ("ID", "PARENT", "NAME", "MODE", "GROUP MESSAGING", "SCOPE", "REGION", "LANGUAGES")
    table = ([_plain(row[key]) for key in keys] for row in rows)
    print_table(columns, table, empty="No organization yet: `assent org create acme --name 'Acme Bank'`.")


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
    from jobs.organizing import told_organization

    with assembled(config) as parts, parts.database.write() as tx:
        made = create_organization(tx, org_id, name, parent=parent, actor=host_actor(), now=now())
        row = told_organization(tx, made)
    if as_json:
        print_object(row)
    else:
        print(f"made {made.id}" + (f", below {made.parent}" if made.parent else ""))


@org.command("set")
def set_organization(
    org_id: OrgId,
    key: Annotated[Key, typer.Argument(metavar="KEY", help=f"One of {', '.join(Key)}.")],
    value: Annotated[
        str,
        typer.Argument(metavar="VALUE", help="Of languages: comma-separated; of capability: ordered or not_ordered."),
    ],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Set what an organization decides for itself; it rules from the next message on, in every process."""
    from consent.organizations import organization, set_setting
    from jobs.build import assembled, host_actor
    from jobs.organizing import told_organization

    with assembled(config) as parts, parts.database.write() as tx:
        set_setting(tx, org_id, key.value, value, actor=host_actor(), now=now())
        row = told_organization(tx, organization(tx, org_id))
    if as_json:
        print_object(row)
    else:
        print(f"{org_id}: {key.value} is {_plain(row[key.value])}")


@feature.command("list")
def list_features(org_id: OrgId, config: Config = None, as_json: Json = False) -> None:
    """Print what is switched on for an organization; an opt-in service that was not ordered isn't shown."""
    from jobs.asking import found_organization
    from jobs.build import assembled
    from jobs.organizing import told_features

    with assembled(config) as parts, parts.database.read() as tx:
        told = told_features(found_organization(tx, org_id)[1])
    if as_json:
        print_lines({"org": org_id, "feature": name, "value": value} for name, value in told.items())
    else:
        print_table(("FEATURE", "VALUE"), told.items())


@feature.command("set")
def set_feature(
    org_id: OrgId,
    name: Annotated[Feature, typer.Argument(metavar="FEATURE", help=f"One of {', '.join(Feature)}.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="on or off; of mode: off, consent or disclaimer.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Switch SMS Opt-In or group messaging, which exclude each other; a sub-organization may only be stricter."""
    from consent import organizations
    from consent.values import Mode
    from jobs.build import assembled, host_actor

    choices = [mode.value for mode in Mode] if name is Feature.MODE else ["on", "off"]
    if value not in choices:
        raise Problem(Exit.USAGE, f"{name.value} is one of {', '.join(choices)}")
    actor, at = host_actor(), now()
    with assembled(config) as parts, parts.database.write() as tx:
        if name is Feature.MODE:
            released = organizations.set_mode(tx, org_id, Mode(value), actor=actor, now=at)
        else:
            released = organizations.set_feature(tx, org_id, name.value, value == "on", actor=actor, now=at)
    if as_json:
        print_object({"org": org_id, "feature": name.value, "value": value, "released": released})
    else:
        print(f"{org_id}: {name.value} is {value}")
        if released:
            print(f"{len(released)} texts that waited for an answer may now be delivered (--json gives their ids)")


@line.command("list")
def list_lines(
    org_id: OrgId, after: After = "", limit: Limit = 1000, config: Config = None, as_json: Json = False
) -> None:
    """Print the lines of an organization and whose they are: registered, or known by the last text from them."""
    from consent import lines
    from consent.canonical import timestamp
    from jobs.asking import found_organization
    from jobs.build import assembled
    from jobs.organizing import told_line

    with assembled(config) as parts, parts.database.read() as tx:
        one, policy = found_organization(tx, org_id)
        found = lines.list_lines(tx, one.main, sub_organization=policy.sub_organization, after=after, limit=limit)
    rows = [told_line(known, one.main) for known in found]
    if as_json:
        print_lines(rows)
        return
    columns = ("LINE", "EMPLOYEE", "NAME", "SINCE", "REGISTERED")
    table = (
        (k.line, k.employee_id, k.employee_name, timestamp(k.since), "yes" if k.registered else "no") for k in found
    )
    print_table(columns, table, empty="No line is known yet: `assent line set ORG LINE --employee ID --name N`.")


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
    from consent.tags import Tags
    from jobs import asking
    from jobs.build import assembled, host_actor
    from sync.migrate import tag_key

    with assembled(config) as parts, parts.database.write() as tx:
        one, policy = asking.found_organization(tx, org_id)
        done = lines.set_line(
            tx, Tags(tag_key(tx)), one.main, asking.number(number, "line", policy), employee, name,
            sub_organization=policy.sub_organization, actor=host_actor(), now=now(),
        )  # fmt: skip
    if as_json:
        told = {"id": done.line.employee_id, "name": done.line.employee_name}
        entries = [entry.id for entry in done.entries]
        print_object({"org": org_id, "line": done.line.line, "employee": told, "entries": entries})
    else:
        print("registered" if done.entries else "registered so already", end="")
        print(f"; {done.begun_anew:,} conversations begin anew" if done.begun_anew else "")


line.command("import")(import_lines)


def _plain(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value
