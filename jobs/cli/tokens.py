"""`token`: what other systems send with their calls, with scopes, an end, and one organization's tree or all."""

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.shared import Config, Json, Limit, at_time, group, now, print_lines, print_object, print_table, say
from jobs.exits import Exit, Problem

if TYPE_CHECKING:
    from jobs.access.tokens import Token

token = group("API tokens: only their hashes are kept.")

_SPAN = re.compile(r"(\d{1,4})([dh])")
_MICROS = {"d": 86_400 * 1_000_000, "h": 3_600 * 1_000_000}


class Scope(StrEnum):
    """What a token may do (as `jobs.access.Scope`, without its imports)."""

    MESSAGES = "messages"
    CONSENT_READ = "consent.read"
    CONSENT_IMPORT = "consent.import"
    ENTRIES_READ = "entries.read"
    REVIEWS_READ = "reviews.read"
    REVIEWS_CLOSE = "reviews.close"
    ORGANIZATIONS_READ = "organizations.read"
    ORGANIZATIONS_WRITE = "organizations.write"
    DESTINATIONS_READ = "destinations.read"
    DESTINATIONS_OPERATE = "destinations.operate"
    METRICS = "metrics"


def register(root: typer.Typer) -> None:
    """Add these commands."""
    root.add_typer(token, name="token")


@token.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="S", help=f"Some of {', '.join(Scope)}, or all; repeated or comma-separated."),
    ] = None,
    org: Annotated[
        str | None, typer.Option("--org", metavar="O", help="It reaches this organization and those below it [all].")
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="T", help="90d, 12h, an RFC 3339 time, or never.")
    ] = "365d",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it: this once, since only its hash is kept."""
    from jobs.access import tokens
    from jobs.access.tokens import Scope as Granted
    from jobs.build import assembled, host_actor

    chosen = [Granted(one) for one in _scopes(scope or [])]
    at = now()
    with assembled(config) as parts, parts.database.write() as tx:
        made, secret = tokens.create_token(
            tx, name, chosen, organization=org, expires_at=_end(expires, at), actor=host_actor(), now=at
        )
    if as_json:
        print_object(_row(made) | {"token": secret})
    else:
        say(f"made {made.id}; it is shown this once:")
        print(secret)


@token.command("list")
def list_tokens(
    after: Annotated[
        str, typer.Option("--after", metavar="ID", help="Begin behind this one.", show_default=False)
    ] = "",
    org: Annotated[str | None, typer.Option("--org", metavar="O", help="Only those of this organization.")] = None,
    limit: Limit = 1000,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print the tokens, ended ones too."""
    from jobs.access.tokens import tokens
    from jobs.build import assembled

    with assembled(config) as parts, parts.database.read() as tx:
        rows = [_row(one) for one in tokens(tx, organization=org, after=after, limit=limit)]
    if as_json:
        print_lines(rows)
        return
    columns = ("ID", "NAME", "SCOPES", "ORGANIZATION", "STATE", "EXPIRES", "LAST USED")
    table = ([r["id"], r["name"], ", ".join(r["scopes"]), r["organization"] or "all", r["state"], r["expires_at"],
              r["used_at"]] for r in rows)  # fmt: skip
    print_table(columns, table, empty="No token yet: `assent token create NAME --scope messages`.")


@token.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `token list` gives it.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """End a token: it is refused from the next request on."""
    from jobs.access.tokens import revoke_token
    from jobs.build import assembled, host_actor

    with assembled(config) as parts, parts.database.write() as tx:
        ended = revoke_token(tx, token_id, actor=host_actor(), now=now())
    if as_json:
        print_object(_row(ended))
    else:
        print(f"revoked {ended.id}")


def _scopes(given: list[str]) -> list[str]:
    chosen = [one.strip() for part in given for one in part.split(",") if one.strip()]
    known = [scope.value for scope in Scope]
    unknown = [one for one in chosen if one not in (*known, "all")]
    if unknown or not chosen:
        what = f"there is no scope {unknown[0]}" if unknown else "--scope is missing"
        raise Problem(Exit.USAGE, f"{what}: name some of {', '.join(known)}, or all")
    return known if "all" in chosen else chosen


def _end(expires: str, at: int) -> int | None:
    if expires == "never":
        return None
    match = _SPAN.fullmatch(expires)
    return at + int(match[1]) * _MICROS[match[2]] if match else at_time(expires, "--expires")


def _row(one: "Token") -> dict[str, Any]:
    from consent.canonical import timestamp

    ended = one.expires_at is not None and one.expires_at <= now()
    state = "revoked" if one.revoked_at is not None else "expired" if ended else "active"
    return {
        "id": one.id, "name": one.name, "scopes": sorted(one.scopes), "organization": one.organization, "state": state,
        "created_at": timestamp(one.created_at),
        "expires_at": None if one.expires_at is None else timestamp(one.expires_at),
        "used_at": None if one.used_at is None else timestamp(one.used_at),
    }  # fmt: skip
