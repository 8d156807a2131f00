"""The faults: each strikes a world at work, goes on until it has really struck, heals, and says what it saw."""

import signal
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from tests.chaos.chaos_proxy import WAYS
from tests.chaos.chaos_stage import wait_until
from tests.chaos.chaos_world import LEASE, World

Fault = Callable[[World], str]


def host_killed(world: World) -> str:
    """kill -9 of a host, whatever it is at."""
    host = world.chance.choice(world.hosts)
    host.send(signal.SIGKILL)
    code = host.ended()
    world.restart(host)
    return _must(code == -signal.SIGKILL, f"ended by {code}")


def both_hosts_killed(world: World) -> str:
    """kill -9 of both: nobody is left to take over until one comes back."""
    gone = list(world.hosts)
    for host in gone:
        host.send(signal.SIGKILL)
    codes = [host.ended() for host in gone]
    for host in gone:
        world.restart(host)
    return _must(codes == [-signal.SIGKILL] * 2, f"ended by {codes}")


def host_ended(world: World) -> str:
    """SIGTERM: what is at work is finished, what was answered stands."""
    host = world.chance.choice(world.hosts)
    host.send(signal.SIGTERM)
    code = host.ended()
    world.restart(host)
    return _must(code == 143 and b'"server.stopped"' in host.log.read_bytes(), f"ended by {code}")


def host_paused(world: World) -> str:
    """SIGSTOP past the lease: another host takes over, and what the sleeper still wants to settle is refused."""
    host = world.chance.choice(world.hosts)
    host.send(signal.SIGSTOP)
    wait_until(host.is_stopped)
    time.sleep(LEASE * 1.4)
    host.send(signal.SIGCONT)
    wait_until(lambda: not host.is_stopped())
    return f"paused {LEASE * 1.4:.1f} s"


def backends_terminated(world: World) -> str:
    """Every connection to PostgreSQL is cut, a few times."""
    cut = 0
    deadline = time.monotonic() + 30
    while cut < 6 and time.monotonic() < deadline:
        name = world.database.engine.url.database
        rows = world.stage.administer(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'assent'"
            " AND (state <> 'idle' OR random() < 0.3)", name,
        )  # fmt: skip
        cut += len(rows)
        time.sleep(world.chance.uniform(0.005, 0.05))
    return _must(cut >= 6, f"{cut} connections")


def commits_cut(world: World) -> str:
    """The connection is cut in the middle of COMMIT, before the server heard it or after."""
    cutter = world.stage.cutter
    before = cutter.done
    wanted = world.chance.randint(2, 6)
    cutter.cut(*[world.chance.choice(["before", "after"]) for _ in range(wanted)])
    wait_until(lambda: cutter.done >= before + wanted)
    return f"{wanted} commits"


def database_locked(world: World) -> str:
    """Another process holds SQLite's write lock for a while."""
    other = sqlite3.connect(world.folder / "assent.db", isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    size = world.ask("SELECT count(*) FROM entry")
    time.sleep(world.chance.uniform(0.2, 1.0))
    same = size == world.ask("SELECT count(*) FROM entry")
    other.execute("ROLLBACK")
    other.close()
    return _must(same, "nobody wrote meanwhile")


def salesforce_answers(world: World) -> str:
    """Salesforce answers with errors, some with Retry-After, some of them lies about what it committed."""
    fault = world.chance.choice([
        {"status": 503, "errorCode": "SERVER_UNAVAILABLE"},
        {"status": 503, "errorCode": "SERVER_UNAVAILABLE", "when": "after"},
        {"status": 500, "errorCode": "UNKNOWN_EXCEPTION", "when": "after"},
        {"status": 503, "html": True},
        {"status": 429, "errorCode": "REQUEST_LIMIT_EXCEEDED", "headers": {"Retry-After": "1"}},
    ])  # fmt: skip
    return _armed(world, times=world.chance.randint(1, 3), **fault)


def salesforce_breaks(world: World) -> str:
    """The connection to Salesforce breaks: before it committed or after, in the middle of an answer, or in silence."""
    fault = world.chance.choice([
        {"cut": "before"}, {"cut": "after"}, {"half": True}, {"gzip_broken": True}, {"mute": "before"},
        {"mute": "after"}, {"latency_seconds": 0.4}, {"expire_sessions": True},
    ])  # fmt: skip
    return _armed(world, times=world.chance.randint(1, 2), **fault)


def salesforce_refuses_rows(world: World) -> str:
    """Salesforce refuses the rows of some batches: for a while, or until a person acts."""
    status = world.chance.choice(["UNABLE_TO_LOCK_ROW", "STRING_TOO_LONG"])
    fault = world.stage.control.arm(row={"statusCode": status}, times=world.chance.randint(1, 4))
    # It may be suspended already, for a quota that was said to be used up before.
    wait_until(lambda: world.stage.control.struck(fault) or _person_looks(world))
    struck = world.stage.control.struck(fault)
    return f"{status}, {struck} requests"


def credentials_revoked(world: World) -> str:
    """Salesforce refuses our key: suspended until it takes it again and a person says so."""
    control = world.stage.control
    fault = control.arm(route="token", status=400, error="invalid_grant", times=0)
    control.expire_sessions()
    # It may be suspended already, for rows that were refused before.
    wait_until(lambda: control.struck(fault) or _person_looks(world))
    wait_until(lambda: _state(world, "salesforce") == "suspended")
    struck = control.struck(fault)
    control.disarm()
    code = world.run("destination", "resume", "salesforce", "--reason", "the key was renewed")
    return _must(code == 0 and struck, f"refused {struck} times")


def archive_gone(world: World) -> str:
    """The archive's folder isn't there for a while."""
    elsewhere = world.archive.with_name("elsewhere")
    world.archive.rename(elsewhere)
    try:
        wait_until(lambda: world.ask("SELECT count(*) FROM lease WHERE destination = 'archive' AND attempts > 0"))
    finally:
        elsewhere.rename(world.archive)
    return "an outage was noted"


def portal_spoiled(world: World) -> str:
    """Exchanges with the portal are cut, hang, lose their answers or bring rubbish."""
    proxy = world.stage.portal
    before = proxy.struck
    ways = [world.chance.choice(WAYS) for _ in range(world.chance.randint(1, 6))]
    proxy.spoil(*ways)
    wait_until(lambda: proxy.struck >= before + len(ways))
    return ", ".join(ways)


def resynced(world: World) -> str:
    """A person brings everything to one place again, while all goes on."""
    name = world.chance.choice(["salesforce", "archive", "portal"])
    code = world.run("resync", "--destination", name)
    return _must(code in (0, 3), f"{name}, ended {code}")


def settings_changed(world: World) -> str:
    """Rules change while texts come in."""
    scope = world.chance.choice(["pair", "org"])
    code = world.run("org", "set", world.org, "opt_out_scope", scope)
    return _must(code == 0, f"scope {scope}")


ON_BOTH: tuple[Fault, ...] = (
    host_killed, both_hosts_killed, host_ended, host_paused, salesforce_answers, salesforce_breaks,
    salesforce_refuses_rows, credentials_revoked, archive_gone, portal_spoiled, resynced, settings_changed,
)  # fmt: skip
ON: dict[str, tuple[Fault, ...]] = {
    "sqlite": (*ON_BOTH, database_locked),
    "postgresql": (*ON_BOTH, backends_terminated, commits_cut),
}


class NotStruckError(Exception):
    """A fault was asked for and didn't strike: its schedule shows nothing."""


def _person_looks(world: World) -> bool:
    """Resume Salesforce where it was suspended: it had refused all rows of a batch for one cause."""
    if _state(world, "salesforce") == "suspended":
        world.run("destination", "resume", "salesforce", "--reason", "the package was deployed again")
    return False


def _state(world: World, name: str) -> Any:
    return world.ask(f"SELECT state FROM destination WHERE name = '{name}'")


def _armed(world: World, **fault: Any) -> str:
    control = world.stage.control
    number = control.arm(route="collections" if "expire_sessions" not in fault else "rest", **fault)
    wait_until(lambda: control.struck(number) >= fault["times"] or _person_looks(world))
    return f"{next(key for key in fault if key != 'times')}, {control.struck(number)} requests"


def _must(struck: Any, seen: str) -> str:
    if not struck:
        raise NotStruckError(seen)
    return seen
