"""`user`: who may sign in to the portal, with which roles, and whose data they see."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.shared import Config, Json, Limit, group, now, print_lines, print_object, print_table, say
from jobs.exits import Exit, Problem

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from jobs.access.users import User
    from jobs.build import Parts

user = group("Users of the portal: their roles, passwords and sessions.")

#: How long a link holds, seconds.
_DAY = 24 * 3600


class Role(StrEnum):
    """What a user may do (as `jobs.access.Role`, without its imports)."""

    SETUP = "setup"
    REPORTS = "reports"
    OPERATIONS = "operations"


Login = Annotated[str, typer.Argument(metavar="LOGIN", help="Such as their e-mail address.")]
Roles = Annotated[
    list[Role] | None, typer.Option("--role", metavar="R", help=f"One of {', '.join(Role)}; may be repeated.")
]
Org = Annotated[
    str | None, typer.Option("--org", metavar="O", help="They see this organization and those below it [all].")
]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input; else a link asks for it.")
]


def register(root: typer.Typer) -> None:
    """Add these commands."""
    root.add_typer(user, name="user")


@user.command()
def add(
    login: Login,
    name: Annotated[str | None, typer.Option("--name", metavar="N", help="As others read it [the login].")] = None,
    role: Roles = None,
    org: Org = None,
    password_stdin: FromStdin = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a user, and a one-time link by which they choose a password (it holds for a day)."""
    from jobs.access import passwords, users
    from jobs.access.viewer import Role as Granted
    from jobs.build import assembled, host_actor

    if not role:
        raise Problem(Exit.USAGE, f"--role is missing: name one or several of {', '.join(Role)}")
    hashed = passwords.hash_password(_read_password(login, name or "")) if password_stdin else None
    with assembled(config) as parts, parts.database.write() as tx:
        actor, at = host_actor(), now()
        made = users.create_user(
            tx, login, name or login, [Granted(one) for one in role], organization=org, actor=actor, now=at
        )
        if hashed is not None:
            users.store_password(tx, made.id, hashed, actor=actor, now=at)
        told = _row(users.user(tx, login)) | ({} if hashed else {"link": _link(parts, tx, made, sign_in=False)})
    _tell(told, as_json, f"made {told['login']}")


@user.command("list")
def list_users(
    after: Annotated[
        str, typer.Option("--after", metavar="LOGIN", help="Begin behind this one.", show_default=False)
    ] = "",
    org: Annotated[str | None, typer.Option("--org", metavar="O", help="Only those of this organization.")] = None,
    limit: Limit = 1000,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print the users by login."""
    from jobs.access.users import users
    from jobs.build import assembled

    with assembled(config) as parts, parts.database.read() as tx:
        rows = [_row(one) for one in users(tx, organization=org, after=after, limit=limit)]
    if as_json:
        print_lines(rows)
        return
    columns = ("LOGIN", "NAME", "ROLES", "ORGANIZATION", "STATE", "ID")
    table = ([r["login"], r["name"], ", ".join(r["roles"]), r["organization"] or "all", r["state"], r["id"]]
             for r in rows)  # fmt: skip
    print_table(columns, table, empty="No user yet: `assent user add ann@bank.example --role setup`.")


@user.command("set")
def set_user(
    login: Login,
    name: Annotated[str | None, typer.Option("--name", metavar="N", help="As others read it.")] = None,
    role: Roles = None,
    org: Org = None,
    all_orgs: Annotated[bool, typer.Option("--all-orgs", help="They see all organizations.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Change a user's name, roles (all of them are named anew) or organization; it holds from their next page on."""
    if org is not None and all_orgs:
        raise Problem(Exit.USAGE, "--org and --all-orgs exclude each other")
    if name is None and not role and org is None and not all_orgs:
        raise Problem(Exit.USAGE, "nothing to change: name --name, --role, --org or --all-orgs")
    changes: dict[str, Any] = {"name": name, "organization": org, "sees_all": all_orgs, "roles": role or None}
    _change(login, config, as_json, "changed", **changes)


@user.command()
def disable(login: Login, config: Config = None, as_json: Json = False) -> None:
    """Shut a user out: their sessions and links end at once; what they did stays in the records."""
    _change(login, config, as_json, "disabled", disabled=True)


@user.command()
def enable(login: Login, config: Config = None, as_json: Json = False) -> None:
    """Let a disabled user sign in again, with the password they had."""
    _change(login, config, as_json, "enabled", disabled=False)


@user.command()
def passwd(
    login: Login, password_stdin: FromStdin = False, config: Config = None, as_json: Json = False
) -> None:  # fmt: skip
    """Set a user's password, read from standard input or asked for on a terminal; their sessions end, a lock too."""
    from jobs.access import passwords, users
    from jobs.build import assembled, host_actor

    if not password_stdin and not sys.stdin.isatty():
        raise Problem(
            Exit.USAGE,
            "there is no terminal to ask on: use --password-stdin, or let them choose by `assent user link`",
        )
    with assembled(config) as parts:
        with parts.database.read() as tx:
            one = users.user(tx, login)
        hashed = passwords.hash_password(_read_password(one.login, one.name))
        with parts.database.write() as tx:
            users.store_password(tx, one.id, hashed, actor=host_actor(), now=now())
            told = _row(users.user(tx, login))
    _tell(told, as_json, f"set the password of {told['login']}")


@user.command()
def link(
    login: Login,
    sign_in: Annotated[bool, typer.Option("--sign-in", help="Signs them in once, without a password.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print a one-time link by which a user chooses a new password; it holds for a day and replaces earlier ones."""
    from jobs.access import users
    from jobs.build import assembled

    with assembled(config) as parts, parts.database.write() as tx:
        one = users.user(tx, login)
        if one.disabled_at is not None:
            raise Problem(Exit.POLICY, "this user is disabled: `assent user enable` first")
        made = _link(parts, tx, one, sign_in=sign_in)
    if as_json:
        print_object({"login": one.login, "link": made})
    else:
        print(made)


@user.command()
def sessions(login: Login, config: Config = None, as_json: Json = False) -> None:
    """Print a user's open sessions, the newest first."""
    from consent.canonical import timestamp
    from jobs.access import users
    from jobs.access.sessions import open_sessions
    from jobs.build import assembled

    with assembled(config) as parts, parts.database.read() as tx:
        found = open_sessions(tx, users.user(tx, login).id)
    rows = [{"id": s.id, "since": timestamp(s.created_at), "seen": timestamp(s.seen_at)} for s in found]
    if as_json:
        print_lines(rows)
    else:
        print_table(("SESSION", "SINCE", "LAST SEEN"), (list(row.values()) for row in rows), empty="No open session.")


@user.command()
def revoke(
    login: Login,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="Only this one, as `user sessions` gives it.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """End a user's sessions, at once and wherever their cookies are."""
    from jobs.access import note_access, users
    from jobs.access.sessions import end_sessions
    from jobs.build import assembled, host_actor

    with assembled(config) as parts, parts.database.write() as tx:
        one = users.user(tx, login)
        ended = end_sessions(tx, one.id, session)
        if session is not None and not ended:
            raise Problem(Exit.USAGE, f"{login} has no open session of this id: see `assent user sessions {login}`")
        if ended:
            facts = {"id": one.id, "sessions": ended}
            note_access(
                tx, "revoke", actor=host_actor(), organization=one.organization, now=now(), facts=facts
            )  # fmt: skip
    if as_json:
        print_object({"login": one.login, "ended": ended})
    else:
        print(f"ended {ended} sessions of {one.login}")


def _change(login: str, config: Any, as_json: bool, done: str, **changes: Any) -> None:
    from jobs.access import users
    from jobs.access.viewer import Role as Granted
    from jobs.build import assembled, host_actor

    if changes.get("roles"):
        changes["roles"] = [Granted(one) for one in changes["roles"]]
    with assembled(config) as parts, parts.database.write() as tx:
        told = _row(users.change_user(tx, login, actor=host_actor(), now=now(), **changes))
    _tell(told, as_json, f"{done} {told['login']}")


def _link(parts: "Parts", tx: "Connection", one: "User", *, sign_in: bool) -> str:
    """Make a link, and record that it was made: whoever holds it is that user."""
    from jobs.access import Purpose, note_access
    from jobs.access.links import make_link
    from jobs.build import host_actor

    purpose = Purpose.SIGN_IN if sign_in else Purpose.PASSWORD
    key = make_link(tx, purpose, one.id, now(), seconds=_DAY)
    facts = {"id": one.id, "purpose": purpose.value}
    note_access(tx, "link", actor=host_actor(), organization=one.organization, now=now(), facts=facts)
    return f"{parts.public_url}/portal/welcome/{key}"


def _read_password(*known: str) -> str:
    from jobs.access.passwords import check_password

    if sys.stdin.isatty():
        given = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    check_password(given, *known)
    return str(given)


def _row(one: "User") -> dict[str, Any]:
    from consent.canonical import timestamp

    state = "active" if one.has_password else "no_password"
    if one.locked_until > now():
        state = "locked"
    if one.disabled_at is not None:
        state = "disabled"
    return {
        "id": one.id, "login": one.login, "name": one.name, "roles": sorted(one.roles),
        "organization": one.organization, "state": state, "created_at": timestamp(one.created_at),
    }  # fmt: skip


def _tell(told: dict[str, Any], as_json: bool, done: str) -> None:
    if as_json:
        print_object(told)
        return
    print(f"{done}: {', '.join(told['roles'])}; sees {told['organization'] or 'all organizations'}")
    if "link" in told:
        say("Let them open this link once, within a day, to choose a password:")
        print(told["link"])
