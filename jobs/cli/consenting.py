"""`consent`: what a contact agreed to, at any instant; a revocation that came by telephone, mail or at the counter."""

from typing import Annotated, Any

import typer

from jobs.cli.shared import Config, Json, at_time, group, now, print_object, print_table
from jobs.exits import Exit, Problem

app = group("Consent: what a contact agreed to, and revocations that came another way.")

Contact = Annotated[str, typer.Argument(metavar="CONTACT", help="A phone number.")]
Line = Annotated[str | None, typer.Option("--line", metavar="L", help="Only with this line.")]
Channel = Annotated[str | None, typer.Option("--channel", metavar="C", help="text or whatsapp.")]


def register(root: typer.Typer) -> None:
    """Add these commands."""
    root.add_typer(app, name="consent")


@app.command()
def show(
    contact: Contact,
    org: Annotated[str | None, typer.Option("--org", metavar="O", help="Only with this organization.")] = None,
    line: Line = None,
    channel: Channel = None,
    at: Annotated[str | None, typer.Option("--at", metavar="T", help="Then, by the events' own clock.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print what held then, the entry that proves it, and what had been recorded by then."""
    from jobs.asking import main_organizations, told_consent
    from jobs.build import assembled

    instant = at_time(at, "--at")
    instant = now() if instant is None else instant
    found: list[dict[str, Any]] = []
    with assembled(config) as parts, parts.database.read() as tx:
        for asked in [org] if org is not None else main_organizations(tx):
            found += told_consent(tx, asked, contact, line, channel, instant)
    if as_json:
        print_object(found)  # as /v1/consent gives it
        return
    columns = ("ORG", "LINE", "CHANNEL", "MAY TEXT", "STATE", "ORIGIN", "ENTRY", "KNOWN THEN", "ENTRY THEN")
    rows = (
        (
            one["org"], one["line"], one["channel"], "yes" if one["allowed"] else "NO", one["state"], one["origin"],
            one["entry"], one["known"]["state"], one["known"]["entry"],
        )
        for one in found
    )  # fmt: skip
    print_table(columns, rows, empty="No conversation with this contact.")


@app.command()
def revoke(
    contact: Contact,
    org: Annotated[str, typer.Option("--org", metavar="O", help="The organization that was told.")],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What was said, when, to whom.")],
    line: Line = None,
    channel: Channel = None,
    scope: Annotated[str | None, typer.Option("--scope", metavar="S", help="pair, sub_org or org.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write down that a contact revoked consent by other means; the contact is told as after any STOP."""
    import secrets

    from jobs.build import assembled, host_actor
    from sync.intake import Intake

    named = {"line": line, "channel": channel, "scope": scope}
    event = {
        "id": f"revoke-{secrets.token_hex(8)}", "org": org, "event": "revoked", "contact": contact, "note": note,
        "actor": host_actor(), **{name: value for name, value in named.items() if value is not None},
    }  # fmt: skip
    with assembled(config) as parts:
        intake = Intake(parts.database)
        try:
            [answer] = intake.take([event])
        finally:
            intake.close()
    if "error" in answer:
        raise Problem(Exit.USAGE, answer["error"]["detail"])
    if as_json:
        print_object(answer)
        return
    columns = ("LINE", "CHANNEL", "STATE")
    rows = ((one["line"], one["channel"], one["state"]) for one in answer["changed"])
    print_table(columns, rows, empty="Nothing changed: it was opted out already.")
