"""The demo from its first text to its last check: what happens in which order, and what is told of it."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from typing import Any

from consent.organizations import create_organization, set_feature
from jobs.access import Purpose, Role
from jobs.access.links import make_link
from jobs.access.users import create_user, user
from jobs.build import Parts, host_actor
from jobs.demo.breaks import Broken, break_archive, break_portal, break_salesforce
from jobs.demo.checks import Checked, check_all
from jobs.demo.conversations import ORGANIZATIONS, read_conversations, split
from jobs.demo.cutter import Cutter
from jobs.demo.folder import ARCHIVE, LOGS, SETTINGS, STANDIN, own_folder, write_settings
from jobs.demo.programs import Portal, StandIn, free_port
from jobs.demo.stage import Stage
from jobs.demo.telling import Teller
from jobs.exits import Exit
from jobs.initialize import initialize
from jobs.logs import configure_logs
from jobs.settings import load_settings

_VARIABLES = "ASSENT_"
_LOGIN = "demo@example.com"
_PORTAL_URL = "ASSENT_DESTINATIONS__PORTAL__URL"


def run(folder: Path, *, as_json: bool) -> int:
    """Run the demo in a folder of its own and return the exit code.

    1 where a fault didn't strike or wasn't made up for, 6 where a destination differs from the ledger.
    Raises Problem where the folder isn't the demo's, or a program of it doesn't start.
    """
    began = time.monotonic()
    teller = Teller(to_stderr=as_json)
    # What the environment sets is meant for the real thing: no demo may write to that database.
    for name in [name for name in os.environ if name.startswith(_VARIABLES)]:
        del os.environ[name]
    with ExitStack() as stack:
        root = stack.enter_context(own_folder(folder))
        log = stack.enter_context((root / LOGS / "demo.log").open("a", encoding="utf-8"))
        stack.callback(configure_logs)
        configure_logs("info", log)
        stage = _set_up(root, folder, teller, stack)
        broken = _play(stage, teller)
        checked = _check(stage, teller)
        link = f"{stage.portal_url}/portal/welcome/{_sign_in_key(stage.parts)}"
    _tell_results(teller, checked, time.monotonic() - began)
    commands = _commands(folder, checked)
    agrees = all(not ledger.problem for ledger in checked.ledgers) and all(one.agrees for one in checked.destinations)
    teller.tell_next(commands, f"then open {link}, which signs you in once, within a day")
    if as_json:
        teller.print_json(_document(folder, stage, broken, checked, time.monotonic() - began, commands))
    return Exit.DONE if agrees else Exit.DIFFERENT


def _set_up(root: Path, shown: Path, teller: Teller, stack: ExitStack) -> Stage:
    teller.title("Assent, one text all the way: a demo that needs no account and writes to its own folder only.")
    teller.step(f"Set up in {shown}")
    standin = StandIn(root)
    stack.callback(standin.end)
    standin.wait()
    port = free_port()
    write_settings(root, standin.address, portal_port=port)
    initialize(root / SETTINGS)
    portal = Portal(root)
    stack.callback(portal.end)
    portal_url = portal.wait()
    cutter = Cutter(port)
    stack.callback(cutter.close)
    # We deliver to the portal through something that can cut connections; the settings name the portal itself.
    parts = Parts(load_settings(root / SETTINGS, {_PORTAL_URL: f"{cutter.url}/portal"}))
    stack.callback(parts.close)
    stage = Stage(root, parts, standin, cutter, portal_url)
    stack.callback(stage.close)
    with parts.database.write() as tx:
        now, actor = time.time_ns() // 1000, host_actor()
        for organization, name in ORGANIZATIONS.items():
            create_organization(tx, organization, name, parent=None, actor=actor, now=now)
            set_feature(tx, organization, "sms_opt_in", True, actor=actor, now=now)
        create_user(tx, _LOGIN, "Demo", Role, organization=None, actor=actor, now=now)
    teller.row("salesforce", f"a stand-in over TLS, {standin.address.url}")
    teller.row("archive", f"a write-once directory, {shown / ARCHIVE}")
    teller.row("portal", f"hosted by `assent serve`, {portal_url}/portal/")
    teller.row("organizations", ", ".join(ORGANIZATIONS) + ", both with SMS opt-in switched on")
    return stage


def _sign_in_key(parts: Parts) -> str:
    """Return the key of a link that signs the demo's user in, to the portal that `assent serve` hosts afterwards."""
    with parts.database.write() as tx:
        now = time.time_ns() // 1000
        return make_link(tx, Purpose.SIGN_IN, user(tx, _LOGIN).id, now, seconds=24 * 3600)


def _play(stage: Stage, teller: Teller) -> Sequence[Broken]:
    """Take the sample in four parts and deliver each; three of them while a destination is broken."""
    first, *others = split(read_conversations())
    teller.step("Take texts, decide, write them to the ledger, deliver")
    teller.tell_taken(stage.take(first))
    teller.tell_owed("owed before", stage.status())
    stage.sync()
    stage.require_caught_up()
    teller.tell_owed("owed after", stage.status())
    broken = []
    breaks = (break_salesforce, break_archive, break_portal)
    for at, (strike, texts) in enumerate(zip(breaks, others, strict=True), 1):
        broken.append(strike(stage, texts, teller, f"Break {at} of {len(breaks)}"))
    return broken


def _check(stage: Stage, teller: Teller) -> Checked:
    teller.step("Verify the three against the ledger")
    checked = check_all(stage.parts, stage.root / ARCHIVE)
    for ledger in checked.ledgers:
        if ledger.entries or ledger.problem:
            teller.row(
                ledger.subject, ledger.problem or f"{ledger.entries} entries: every number, hash and root is right"
            )
    for one in checked.destinations:
        teller.row(one.name, "; ".join(one.problems) if one.problems else one.how)
    return checked


def _tell_results(teller: Teller, checked: Checked, seconds: float) -> None:
    teller.step(f"Done in {seconds:.1f} s")
    teller.table(
        ("DESTINATION", "OWED", "DELIVERED", "REFUSED", "VERIFIED"),
        [(one.name, one.owed, one.delivered, one.refused, _verdict(one.verified, one.agrees))
         for one in checked.destinations],
    )  # fmt: skip


def _verdict(verified: int, agrees: bool) -> str:
    return f"{verified}" if agrees else f"{verified}, DIFFERENT"


def _commands(folder: Path, checked: Checked) -> dict[str, str]:
    """Return what to try next: commands that work as they stand, from the current directory."""
    assent, config = _program(), f"--config {quote(str(folder / SETTINGS))}"
    package, state = checked.package, folder / STANDIN
    standin = f"{_from_here(Path(sys.executable))} -m connectors.salesforce.standin"
    return {
        "what each destination is owed": f"{assent} status {config}",
        "a STOP as the ledger keeps it": f"{assent} entry show {checked.stop} {config}",
        "all that was decided": f"{assent} export --format jsonl --kind decision -o - {config}",
        "every hash again": f"{assent} verify --ledger {config}",
        "the archive, without the database": f"{assent} verify --archive {quote(str(folder / ARCHIVE))} {config}",
        "the portal": f"{assent} serve {config}",
        "the Salesforce stand-in": f"{standin} --package {_from_here(package)} --state {quote(str(state))}",
        "with these two running": f"{assent} reconcile {config}",
    }


def _program() -> str:
    """Return how this program was called, as a shell would find it again."""
    called, found = Path(sys.argv[0]), shutil.which("assent")
    if called.name != "assent" or (found and Path(found).resolve() == called.resolve()):
        return "assent"
    return _from_here(called)


def _from_here(path: Path) -> str:
    """Return a path for a shell, from the current directory where it lies below."""
    here = Path.cwd()
    return quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _document(
    folder: Path, stage: Stage, broken: Sequence[Broken], checked: Checked, seconds: float, commands: dict[str, str]
) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "organizations": list(ORGANIZATIONS),
        "texts": stage.taken.told(),
        "breaks": [one.told() for one in broken],
        "ledgers": [ledger.told() for ledger in checked.ledgers],
        "destinations": [one.told() for one in checked.destinations],
        "ok": all(not ledger.problem for ledger in checked.ledgers) and all(one.agrees for one in checked.destinations),
        "seconds": round(seconds, 1),
        "next": commands,
    }
