"""`hold`, `retention`, `erase`: what must be kept, for how long, and what must not."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.shared import Config, Json, Limit, Yes, confirm, group, now, print_lines, print_object, print_table, say
from jobs.exits import Exit, Problem

if TYPE_CHECKING:
    from jobs.build import Parts

hold = group("Legal holds: what is under one is neither erased nor disposed of.")
retention = group("How long each kind of entry is kept; it can be lengthened and never shortened.")

Org = Annotated[str, typer.Option("--org", metavar="O", help="The main organization.")]
OrgId = Annotated[str, typer.Argument(metavar="ORG", help="A main organization's id.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The hold's name: a case's number, no person's.")]
Contacts = Annotated[
    list[str] | None, typer.Option("--contact", metavar="N", help="A contact, in every conversation; may be repeated.")
]
Conversations = Annotated[
    list[str] | None, typer.Option("--conversation", metavar="ID", help="One conversation; may be repeated.")
]
All = Annotated[bool, typer.Option("--all", help="The organization's whole ledger.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(hold, name="hold")
    app.add_typer(retention, name="retention")
    app.command()(erase)


@hold.command("set")
def set_(
    name: Name,
    org: Org,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="Who asked for it, and why.")],
    contact: Contacts = None,
    conversation: Conversations = None,
    everything: All = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Put contacts, conversations or the whole ledger under a hold, or more under one in force."""
    from consent.holds import set_hold
    from jobs.build import assembled, host_actor

    with assembled(config) as parts:
        with parts.database.write() as tx:
            tags, main, covered = _covered(tx, org, contact, conversation, everything)
            if not covered:
                raise Problem(Exit.USAGE, "say what to hold: --contact, --conversation or --all")
            done = set_hold(tx, tags, main, name, covered, actor=host_actor(), note=reason, now=now())
        locked = _carry(parts, main)
    if as_json:
        print_object({"hold": name, "org": main, "entries": [entry.id for entry in done], "archives": locked})
    else:
        print(f"{name} holds {len(done):,} more" if done else f"{name} held all of it already")


@hold.command()
def lift(
    name: Name,
    org: Org,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="Who decided it, and why.")],
    contact: Contacts = None,
    conversation: Conversations = None,
    everything: All = False,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let go of what a hold covers, or of the part that is named; retention and erasure reach it again."""
    from consent.holds import lift_hold
    from jobs.build import assembled, host_actor

    part = "a part of " if contact or conversation or everything else ""
    confirm(f"{part}{name} would be lifted, and what it covers could be disposed of or erased", yes)
    with assembled(config) as parts:
        with parts.database.write() as tx:
            tags, main, covered = _covered(tx, org, contact, conversation, everything)
            done = lift_hold(tx, tags, main, name, covered or None, actor=host_actor(), note=reason, now=now())
        locked = _carry(parts, main)
    if as_json:
        print_object({"hold": name, "org": main, "entries": [entry.id for entry in done], "archives": locked})
    else:
        print(f"{name} holds {len(done):,} less")


@hold.command("list")
def list_(
    org: Annotated[str | None, typer.Option("--org", metavar="O", help="Only of this organization.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only of this hold.")] = None,
    limit: Limit = 1000,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print what is held, since when, by whom and why."""
    from consent.canonical import entry_id, timestamp
    from consent.holds import list_holds
    from consent.ledger import read_entry
    from jobs.asking import found_organization
    from jobs.build import assembled

    rows: list[dict[str, Any]] = []
    with assembled(config, only_reads=True) as parts, parts.database.read() as tx:
        if org is not None:
            found_organization(tx, org)
        for one in [one for one in list_holds(tx, org) if name in (None, one.name)][:limit]:
            said = read_entry(tx, one.organization, one.seq)
            facts, values = (said.facts(), said.revealed()) if said is not None else ({}, {})
            rows.append(
                {
                    "org": one.organization, "hold": one.name, "cover": one.cover.value,
                    "subject": values.get("contact") or facts.get("conversation"), "since": timestamp(one.since),
                    "actor": facts.get("actor"), "reason": values.get("note"),
                    "entry": entry_id(one.organization, one.seq),
                }
            )  # fmt: skip
    if as_json:
        print_lines(rows)
        return
    columns = ("ORG", "HOLD", "COVER", "SUBJECT", "SINCE", "ACTOR", "REASON")
    print_table(columns, ([row[column.lower()] for column in columns] for row in rows), empty="Nothing is held.")


@retention.command("list")
def list_periods(org_id: OrgId, config: Config = None, as_json: Json = False) -> None:
    """Print how long each kind of entry is kept after it was recorded, consent after its last text."""
    from consent.kinds import LANE_OF, Kind, Lane
    from consent.retention import read_periods, write_period
    from jobs.asking import found_organization
    from jobs.build import assembled

    with assembled(config) as parts, parts.database.read() as tx:
        periods = read_periods(tx, found_organization(tx, org_id)[0].main)
    rows = [
        {
            "org": org_id,
            "kind": kind.value,
            "period": write_period(periods[kind]) if kind in periods else None,
            "days": periods.get(kind),
            "from": None if kind not in periods
            else "last text of the conversation" if LANE_OF[kind] is Lane.CONSENT else "record",
        }
        for kind in Kind
    ]  # fmt: skip
    if as_json:
        print_lines(rows)
    else:
        print_table(("KIND", "KEPT", "FROM"), ((one["kind"], one["period"] or "for good", one["from"]) for one in rows))


@retention.command("set")
def set_period(
    org_id: OrgId,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="As `retention list` names it, or all.")],
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="As 7y or 2600d; it can't be made shorter again.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Keep a kind of entry longer; shorter is refused."""
    from consent.kinds import Kind
    from consent.retention import DISPOSABLE, read_period, set_periods, write_period
    from jobs.build import assembled, host_actor

    if kind != "all" and kind not in list(Kind):
        raise Problem(Exit.USAGE, f"a kind is one of {', '.join(one.value for one in DISPOSABLE)}, or all")
    kinds = DISPOSABLE if kind == "all" else [Kind(kind)]
    days = read_period(period)
    with assembled(config) as parts, parts.database.write() as tx:
        set_periods(tx, org_id, kinds, days, actor=host_actor(), now=now())
    if as_json:
        print_object({"org": org_id, "kinds": [one.value for one in kinds], "days": days})
    else:
        print(f"{org_id}: {kind} is kept {write_period(days)}")


@retention.command()
def dispose(
    org: Annotated[str | None, typer.Option("--org", metavar="O", help="Only of this organization.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.", show_default=False)] = False,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Dispose now of what is past its retention and under no hold, as the scheduled job does."""
    from jobs.build import assembled, host_actor
    from jobs.disposing import dispose_all

    if not dry_run:
        confirm("what is past its retention would be disposed of for good", yes)
    with assembled(config) as parts:
        done = dispose_all(parts.database, organization=org, actor=host_actor(), now=now(), dry_run=dry_run)
    if as_json:
        print_lines({"org": one.organization, "entries": one.entries, "held": one.held} for one in done)
    else:
        columns = ("ORG", "WOULD GO" if dry_run else "DISPOSED OF", "KEPT BY A HOLD")
        print_table(columns, ((one.organization, f"{one.entries:,}", f"{one.held:,}") for one in done))


def erase(
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="A phone number.")],
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="On what grounds; name nobody.")],
    org: Annotated[str | None, typer.Option("--org", metavar="O", help="The main organization [the only one].")] = None,
    yes: Yes = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Destroy a contact's names, numbers and texts; an opt-out is still honored. Refused under a legal hold."""
    from consent.erasure import erase as destroy
    from consent.tags import Tags
    from jobs import asking
    from jobs.build import assembled, host_actor
    from sync.migrate import tag_key
    from sync.schema import metadata

    confirm("everything that says who this contact is would be destroyed for good", yes)
    if not reason.strip():
        raise Problem(Exit.USAGE, "an erasure needs its grounds: --reason")
    with assembled(config) as parts:
        with parts.database.read() as tx:
            if org is None:
                # One customer's contact isn't another's: where there are several, whose is said and never guessed.
                mains = asking.main_organizations(tx)
                if len(mains) != 1:
                    raise Problem(Exit.USAGE, f"name the organization with --org: there are {len(mains)} main ones")
                [org] = mains
            one, policy = asking.found_organization(tx, org)
            number, tags = asking.number(contact, "contact", policy), Tags(tag_key(tx))
        done = destroy(
            parts.database, metadata, tags, one.main, number, actor=host_actor(), note=reason, now=now()
        )  # fmt: skip
    if as_json:
        told = done.told.id if done.told is not None else None
        print_object({"conversations": done.conversations, "entries": done.entries, "entry": told})
        return
    print(f"erased {done.entries:,} entries of {done.conversations:,} conversations")
    say("what destinations, backups and exports hold of it is not reached from here")


def _carry(parts: "Parts", main: str) -> list[dict[str, Any]]:
    """Bring a change of holds to the files of archives that can be held; what is away now, the job reaches later."""
    from jobs.archiving import protect_archives

    done = protect_archives(parts.database, parts.destinations, organization=main)
    for one in done:
        if one.advice:
            say(f"{one.destination}: its files aren't held as they should be yet, the hourly job does it: {one.advice}")
        elif one.changed:
            say(f"{one.destination}: {one.changed:,} files changed their locks or holds")
    return [{"destination": one.destination, "files": one.changed, "done": not one.advice} for one in done]


def _covered(
    tx: Any, org: str, contacts: list[str] | None, conversations: list[str] | None, everything: bool
) -> tuple[Any, str, list[Any]]:
    """Return the tags, the main organization and what is named, numbers in E.164."""
    from consent.holds import Cover, Covered
    from consent.tags import Tags
    from jobs import asking
    from sync.migrate import tag_key

    one, policy = asking.found_organization(tx, org)
    named = [Covered(Cover.CONTACT, asking.number(given, "contact", policy)) for given in contacts or ()]
    named += [Covered(Cover.CONVERSATION, id) for id in conversations or ()]  # noqa: A001
    return Tags(tag_key(tx)), one.main, named + ([Covered(Cover.ALL)] if everything else [])
