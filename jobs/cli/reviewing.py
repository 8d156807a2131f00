"""`review`: texts that may have been revocations, for a person to look at and say what they were."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from jobs.cli.shared import Config, Json, Limit, group, print_lines, print_object, print_table, say
from jobs.exits import Exit, Problem

app = group("Possible revocations: texts that a person must look at, each until it is due.")


class As(StrEnum):
    """What a text was (as `consent.reviews.Outcome`, without its imports)."""

    OPTED_OUT = "opted_out"
    NO_REVOCATION = "no_revocation"


def register(root: typer.Typer) -> None:
    """Add these commands."""
    root.add_typer(app, name="review")


@app.command("list")
def list_reviews(
    org: Annotated[str | None, typer.Option("--org", metavar="O", help="Only this organization's.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Closed ones too, in the order they were opened in.")] = False,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only open ones whose due date is over.")] = False,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="Begin behind this one, for the next page.")
    ] = None,
    limit: Limit = 1000,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print what waits for a person, the one that is due first at the top."""
    from consent.reviews import State
    from jobs.build import assembled
    from jobs.reviewing import told_reviews

    if all_ and overdue:
        raise Problem(Exit.USAGE, "--all and --overdue exclude each other: choose one")
    state = State.ALL if all_ else State.OVERDUE if overdue else State.OPEN
    with assembled(config) as parts, parts.database.read() as tx:
        page = told_reviews(tx, org=org, state=state, after=after, limit=limit)
    if as_json:
        print_lines(page.reviews)
    else:
        columns = ("ID", "DUE", "LINE", "CONTACT", "STATE", "OUTCOME", "WORD", "TEXT")
        rows = (
            (
                one["id"], one["due_at"][:16] + ("Z OVERDUE" if one["overdue"] else "Z"), one["line"], one["contact"],
                one["state"], one["outcome"], one["word"], one["text"],
            )
            for one in page.reviews
        )  # fmt: skip
        print_table(columns, rows, empty="Nothing to review.")
    if page.next is not None:
        say(f"there are more: --after {page.next}")


@app.command()
def close(
    review: Annotated[str, typer.Argument(metavar="ID", help="As `review list` gives it: acme-000000000005.")],
    outcome: Annotated[As, typer.Option("--as", help="What the text was.")],
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="Why; it stands in the records.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say what a text was. As opted_out, the contact is opted out as of that text, and told as after any STOP.

    What was decided after the text stands. The same outcome again changes nothing and ends 0; the other one ends 8.
    """
    from consent.reviews import Outcome
    from jobs.build import assembled, host_actor
    from jobs.reviewing import close as close_review
    from sync.intake import Intake

    with assembled(config) as parts:
        intake = Intake(parts.database)
        try:
            told = close_review(intake, review, Outcome(outcome.value), reason, host_actor())
        finally:
            intake.close()
    if as_json:
        print_object(told)
        return
    print(f"closed {told['id']} as {told['outcome']}{_effect(told)}")
    if told["changed"]:
        rows = ((one["line"], one["channel"], one["state"]) for one in told["changed"])
        print_table(("LINE", "CHANNEL", "STATE"), rows)


def _effect(told: dict[str, Any]) -> str:
    return {
        "duplicate": "; the contact was opted out already",
        "late": "; the contact decided again after that text, and that stands",
        "number_reassigned": "; the number has been another person's since that text, and nothing changed",
    }.get(told["reason"] or "", "")
