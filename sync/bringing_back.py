"""Bring back: what an archive holds behind a ledger's end is appended again, byte for byte, under the same numbers.

A database that was lost and restored from a backup is older than what it had delivered. The archive keeps whole
entries, so the ledger goes on from there; what is kept beside it (states, lines, settings, holds, which messages were
taken) is made anew from the same entries. The tree tells whether it is the same ledger: its root after the last entry
must be the one that the archive's manifest states.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import orjson
import structlog
from sqlalchemy import Connection

from consent import merkle
from consent.contacts import reach_of
from consent.conversation import evolve
from consent.conversations import Standing
from consent.database import Database, insert, run, upsert
from consent.entry import Entry, leaf_of
from consent.erasure import erase_again, scrub
from consent.holds import Cover, hold_table
from consent.kinds import SYSTEM, Kind, Lane
from consent.ledger import create_ledger, entry_table, head_table, lock, newest_head
from consent.organizations import organization_table
from consent.owners import Line
from consent.replay import begun
from consent.reviews import note_reviews
from consent.standings import Standings
from consent.tags import Tags
from consent.values import Consent, Group, Message, Scope, Sender
from sync.destinations import State, set_state
from sync.migrate import tag_key
from sync.schema import metadata

log = structlog.get_logger()

#: Entries in one transaction.
_PAGE = 2_000


@runtime_checkable
class Library(Protocol):
    """A connector to a place that keeps whole entries."""

    def organizations(self) -> Sequence[str]:
        """Return the names of the ledgers that it keeps something of."""
        ...

    def entries(self, organization: str, lane: str, first: int) -> Iterator[Entry]:
        """Yield the entries of a lane from a position on, in order, each proven by its leaf; damaged ones are left out.

        Raises TransientError or SuspendedError where it can't be read.
        """
        ...

    def stated(self, organization: str) -> tuple[int, bytes] | None:
        """Return the size and root of the ledger as it was told last, None where it was never told."""
        ...


class OtherLedgerError(Exception):
    """What the archive holds isn't a continuation of this ledger; the message says what to do."""


def bring_back(
    database: Database, library: Library, organization: str, progress: Callable[[int], None] | None = None
) -> int:
    """Append what a library holds behind a ledger's end, as far as there is no gap, and return how many entries.

    Killed in the middle, it goes on where it was. Raises OtherLedgerError, and what the library raises.
    """
    with database.read() as tx:
        tags, start = Tags(tag_key(tx)), newest_head(tx, organization).size
    _prove(database, library, organization)
    brought = erased = 0
    following = _following(database, library, organization)
    while page := list(islice(following, _PAGE)):
        with database.write() as tx:
            create_ledger(tx, organization)
            _append(tx, organization, page)
            making = _Beside(tx, organization, tags)
            for entry in page:
                making.take(entry)
            making.write()
        erased += making.erased
        brought += len(page)
        if progress is not None:
            progress(brought)
    if erased:
        scrub(database)
    if brought:
        log.warning("ledger.brought_back", organization=organization, first=start, count=brought)
    return brought


def _following(database: Database, library: Library, organization: str) -> Iterator[Entry]:
    """Yield what the library holds behind the ledger's end, in order of seq, up to the first gap."""
    with database.read() as tx:
        head = newest_head(tx, organization)
    seq, ends = head.size, dict(head.lanes)
    lanes = [library.entries(organization, lane, head.lanes[lane]) for lane in Lane]
    for entry in merge(*lanes, key=lambda one: one.seq):
        if (entry.organization, entry.seq, entry.pos) != (organization, seq, ends[entry.lane]):
            return
        seq, ends[entry.lane] = seq + 1, entry.pos + 1
        yield entry


def _prove(database: Database, library: Library, organization: str) -> None:
    """Compare the roots before anything is written."""
    stated = library.stated(organization)
    with database.read() as tx:
        head = newest_head(tx, organization)
    if stated is None or stated[0] < head.size:
        return
    size, frontier = head.size, list(head.frontier)
    following = _following(database, library, organization)
    while size < stated[0] and (page := list(islice(following, min(_PAGE, stated[0] - size)))):
        frontier = merkle.extend(frontier, size, [entry.leaf for entry in page])
        size += len(page)
    if size == stated[0] and merkle.root(frontier) != stated[1]:
        raise OtherLedgerError(
            f"{organization}: the archive's entries are no continuation of this ledger (another root after {size:,}). "
            "Run `assent verify --archive`; if the archive is whole, this backup is of another installation"
        )


def _append(tx: Connection, organization: str, page: Sequence[Entry]) -> None:
    head = lock(tx, organization)
    lanes = dict(head.lanes)
    for entry in page:
        if entry.body is not None and leaf_of(entry) != entry.leaf:
            raise OtherLedgerError(
                f"{entry.id}: its leaf hash isn't that of its members; run `assent verify --archive`"
            )
        lanes[entry.lane] += 1
    if page[0].seq != head.size:
        raise OtherLedgerError(f"{organization}: something was appended meanwhile; stop all other processes")
    frontier = merkle.extend(head.frontier, head.size, [entry.leaf for entry in page])
    insert(tx, entry_table, page)
    sizes = (lanes[Lane.CONSENT], lanes[Lane.MESSAGES], lanes[Lane.AUDIT])
    row = (organization, page[-1].seq + 1, *sizes, merkle.packed(frontier), page[-1].recorded_at)
    insert(tx, head_table, [row])


@dataclass(slots=True)
class _Taken:
    """What came in, as the inbox knows it, and the entries that it wrote."""

    id_tag: bytes
    content_tag: bytes
    first: int
    count: int = 1


class _Beside:
    """Makes what is kept beside a ledger from entries, in their order."""

    def __init__(self, tx: Connection, organization: str, tags: Tags) -> None:
        self._tx, self._organization, self._tags = tx, organization, tags
        self._standings = Standings(tx, organization, tags)
        self._known: dict[str, Standing] = {}
        self._reviews: list[Entry] = []
        self._taken: list[_Taken] = []
        self.erased = 0

    def take(self, entry: Entry) -> None:
        """Do what the entry says was done."""
        facts, said = entry.facts(), entry.revealed()
        self._note_message(entry, facts, said)
        if entry.conversation is not None and entry.version is not None and entry.body is not None:
            self._evolve(entry, facts, said)
        match Kind(entry.kind):
            case Kind.MESSAGE:
                self._note_line(entry, facts, said)
                self._note_stop(entry, facts, said)
            case Kind.DECISION:
                self._note_stop(entry, facts, said)
            case Kind.REASSIGNMENT:
                self._reassign(entry, facts, said)
            case Kind.REVIEW:
                self._reviews.append(entry)
            case Kind.SETTING | Kind.TEMPLATE:
                self._set(entry, facts, said)
            case Kind.RETENTION:
                self._retain(entry, facts, said)
            case Kind.OPERATION if entry.organization == SYSTEM and facts.get("operation") in ("pause", "resume"):
                state = State.PAUSED if facts["operation"] == "pause" else State.OK
                advice = said.get("note") if state is State.PAUSED else None
                set_state(self._tx, facts["destination"], state, entry.recorded_at, advice=advice)
            case Kind.AUTO_MESSAGE | Kind.DELIVERY | Kind.ACCESS | Kind.OPERATION | Kind.CHECKPOINT:
                pass

    def write(self) -> None:
        """Store it."""
        self._standings.write()
        note_reviews(self._tx, self._reviews)
        for one in self._taken:
            run(
                self._tx,
                """INSERT INTO inbox (organization, id_tag, content_tag, first_seq, entries) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT DO NOTHING""",
                [self._organization, one.id_tag, one.content_tag, one.first, one.count],
            )
        self._reviews, self._taken = [], []

    def _note_message(self, entry: Entry, facts: dict[str, Any], said: dict[str, Any]) -> None:
        """Take note of what came in and wrote this entry: what the entry names, or what wrote the one before it."""
        if facts.get("review") == "closed":
            content = self._tags("content", facts["outcome"])
            self._taken.append(_Taken(self._tags("review", facts["opening"]), content, entry.seq))
            return
        id = said.get("message_id")  # noqa: A001
        tag = self._tags("id", id) if isinstance(id, str) else None
        last = self._taken[-1] if self._taken else None
        follows = last is not None and last.first + last.count == entry.seq and entry.conversation is not None
        if tag is None:
            of_last = entry.kind != Kind.MESSAGE  # one whose values were erased is nobody's
        else:
            of_last = last is not None and (tag == last.id_tag or facts.get("source") == "review")
        if last is not None and follows and of_last:
            last.count += 1
        elif tag is not None:
            # What it said isn't in the ledger in the form that it came in: the id alone tells a repeat.
            self._taken.append(_Taken(tag, b"", entry.seq))

    def _evolve(self, entry: Entry, facts: dict[str, Any], said: dict[str, Any]) -> None:
        assert entry.conversation is not None
        assert entry.version is not None
        standing = self._standing(entry, entry.conversation, facts)
        before = standing.conversation
        if not before.contact and isinstance(contact := said.get("contact"), str):
            before = before._replace(contact=contact)  # erased, and known again since
        standing.conversation = evolve(before, Kind(entry.kind), entry.version, entry.occurred_at, facts)
        standing.changed = True
        if entry.kind == Kind.AUTO_MESSAGE and facts["template"].endswith("request.contact"):
            standing.request_seq = entry.seq

    def _standing(self, entry: Entry, conversation: str, facts: dict[str, Any]) -> Standing:
        if conversation not in self._known:
            found = self._standings.by_id(conversation)
            self._known[conversation] = found[0] if found else self._standings.brought_back(
                begun(entry, conversation, facts)
            )  # fmt: skip
        return self._known[conversation]

    def _note_line(self, entry: Entry, facts: dict[str, Any], said: dict[str, Any]) -> None:
        if "employee_id" not in said:
            return
        self._standings.taken_over(Message(
            "", self._organization, facts.get("sub_organization"), facts["channel"], Group.TEXT,
            Sender(facts["sender"]), said["line"], said["contact"], "", entry.occurred_at, entry.occurred_at,
            said["employee_id"], said.get("employee_name"),
        ))  # fmt: skip

    def _note_stop(self, entry: Entry, facts: dict[str, Any], said: dict[str, Any]) -> None:
        opts_out = facts.get("decision", facts.get("again")) == Consent.OPTED_OUT
        if opts_out and "scope" in facts and "elsewhere" not in facts and "contact" in said:
            reach = reach_of(Scope(facts["scope"]), facts.get("sub_organization"))
            self._standings.contacts.stop(said["contact"], reach, entry.occurred_at, entry.seq)

    def _reassign(self, entry: Entry, facts: dict[str, Any], said: dict[str, Any]) -> None:
        if facts.get("event") == "number_reassigned" and "contact" in said:
            self._standings.contacts.reassign(said["contact"], entry.occurred_at)
        elif "employee_id" in said:
            self._standings.owners.give(said["line"], said["employee_id"], said.get("employee_name"), entry.occurred_at)

    def _set(self, entry: Entry, facts: dict[str, Any], said: dict[str, Any]) -> None:
        if facts.get("setting") == "organization":
            row = (facts["id"], self._organization, facts["parent"], facts["name"], orjson.dumps({}))
            upsert(self._tx, organization_table, [row])
        elif facts.get("setting") == "line" and "line" in said:
            known = self._standings.owners.line(said["line"])
            same = known is not None and known.employee_id == said["employee_id"]
            since = known.since if known is not None and same else entry.occurred_at
            self._standings.owners.assign(Line(
                said["line"], facts.get("sub_organization"), said["employee_id"], said["employee_name"], since, True
            ))  # fmt: skip
        elif facts.get("setting") in ("token", "user", "password"):
            self._let_in_no_more(entry, facts)
        elif "id" in facts:
            self._change(facts)

    def _let_in_no_more(self, entry: Entry, facts: dict[str, Any]) -> None:
        """Take from users and tokens of the backup what was taken from them since; who was made since is made anew."""
        id, after = facts["id"], facts.get("after")  # noqa: A001
        if facts["setting"] == "token" and facts.get("revoked"):
            sql = "UPDATE access_token SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?"
            run(self._tx, sql, [entry.occurred_at, id])
        elif facts["setting"] == "password":  # the old one was given up; the new one is lost
            run(self._tx, "UPDATE access_user SET password = NULL WHERE id = ?", [id])
        elif after is not None:
            # Enabled again since is enabled by hand: ledgers come back one by one, not in the order of the changes.
            sql = "UPDATE access_user SET roles = ?, organization = ?, disabled_at = coalesce(disabled_at, ?)"
            disabled_at = entry.occurred_at if after["disabled"] else None
            run(self._tx, f"{sql} WHERE id = ?", [",".join(after["roles"]), after["of"], disabled_at, id])

    def _change(self, facts: dict[str, Any]) -> None:
        """Change an organization's settings as `consent.organizations` and `consent.wording` did."""
        row = run(self._tx, "SELECT settings FROM organization WHERE id = ?", [facts["id"]]).first()
        settings: dict[str, Any] = orjson.loads(row.settings) if row is not None else {}
        if "template" in facts:
            text = {"text": facts["after"], "version": facts["template_version"]}
            settings.setdefault("texts", {}).setdefault(facts["template"], {})[facts["language"]] = text
        elif facts["setting"] == "keyword":
            settings.setdefault("keywords", {}).setdefault(facts["use"], {})[facts["language"]] = facts["after"]
        else:
            settings |= facts["after"]
        changed = orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)
        run(self._tx, "UPDATE organization SET settings = ? WHERE id = ?", [changed, facts["id"]])

    def _retain(self, entry: Entry, facts: dict[str, Any], said: dict[str, Any]) -> None:
        # What was disposed of is past its retention still: the next run disposes of it again, with its snapshot.
        match facts.get("retention"):
            case "hold":
                cover = Cover(facts["cover"])
                subject = {
                    Cover.CONTACT: self._tags("contact", said.get("contact", "")),
                    Cover.CONVERSATION: facts.get("conversation", "").encode(),
                    Cover.ALL: b"",
                }[cover]
                row = (self._organization, facts["hold"], cover.value, subject, entry.recorded_at, entry.seq)
                upsert(self._tx, hold_table, [row])
            case "lift":
                sql = "DELETE FROM hold WHERE organization = ? AND name = ? AND seq = ?"
                run(self._tx, sql, [self._organization, facts["hold"], facts["set_by"]])
            case "erasure":
                # On what stands in the tables: what is remembered here is stored first, and read anew afterwards.
                self.write()
                erase_again(self._tx, metadata, self._tags, entry)
                self._standings, self._known = Standings(self._tx, self._organization, self._tags), {}
                self.erased += 1
