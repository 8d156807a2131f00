"""The drill: a backup, more entries, the loss of the database, the restore; and what the remotes hold comes back."""

import sqlite3
import threading

import pytest

from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.archive.verify import verify_archive
from consent.erasure import erase
from consent.holds import Cover, Covered, set_hold
from consent.kinds import SYSTEM
from consent.ledger import newest_head
from consent.lines import set_line
from consent.organizations import create_organization, set_setting
from consent.tags import Tags
from consent.wording import set_keyword
from jobs.access import Role, Scope
from jobs.access.tokens import create_token, revoke_token, token
from jobs.access.users import change_user, create_user, store_password, user
from sync.backup import BackupError, backup, look_into, restore, sizes_in
from sync.bringing_back import OtherLedgerError, bring_back
from sync.destinations import Destination, pause, register, resume
from sync.intake import Intake
from sync.migrate import tag_key, upgrade
from sync.restored import catch_up, compare, is_to_be_compared, mark_restored, quick_look
from sync.schema import metadata
from tests.ledger.auditing import assert_whole
from tests.sync.sync_world import NOON, deliver_all, destination, entries, found, ids, text

#: What is kept of deliveries is made anew by delivering: what is there already is found there.
_OF_DELIVERY = {"receipt", "late_receipt", "lease", "set_aside", "destination", "resync", "finding", "alarm", "head"}


@pytest.fixture
def archive(tmp_path):
    """A real archive on disk."""
    connector = ArchiveConnector(Directory(tmp_path / "archive"), batch=50)
    connector.prepare()
    yield Destination("archive", connector)
    connector.shut()


def kept_beside(database):
    """Return every row that is kept beside the ledgers, by table; the receipts of deliveries aside."""
    with database.read() as tx:
        rows = {
            table.name: {
                tuple(bytes(cell) if isinstance(cell, bytes | memoryview) else cell for cell in row)
                for row in tx.exec_driver_sql(f"SELECT * FROM {table.name}")
            }
            for table in metadata.sorted_tables if table.name not in _OF_DELIVERY
        }  # fmt: skip
    # A stop of everything is proven by its decision; which entry of that step is named is nobody's business.
    rows["contact"] = {row[:3] for row in rows["contact"]}
    rows["sub_organization_stop"] = {row[:4] for row in rows["sub_organization_stop"]}
    # What came in is known by its id alone: what it said can't be told from the entries. What wrote none is gone, and
    # so is the id that was lawfully erased.
    erased = {(one.organization, one.seq) for one in entries(database) if one.values is None}
    rows["inbox"] = {(row[0], row[1], *row[3:]) for row in rows["inbox"] if row[4] and (row[0], row[3]) not in erased}
    return rows


def a_day(intake, database, at=0):
    """Everything that a ledger can be told on a day."""
    with database.read() as tx:
        tags = Tags(tag_key(tx))
    told = [text("Hello", sender="employee", contact=n, at=at + n) for n in range(12)]
    told += [text("YES", contact=n, at=at + 60 + n) for n in range(6)]
    told += [text("STOP", contact=n, at=at + 120 + n) for n in range(3, 8)]
    told += [text("How do I stop these?", contact=1, at=at + 150)]
    told += [text("Hi", sender="employee", contact=1, line=1, at=at + 160, group=["+14045550001", "+14045550002"])]
    intake.take(told)
    with database.write() as tx:
        create_organization(tx, f"acme-{at}", "A branch", parent="acme", actor="ann", now=NOON)
        set_setting(tx, "acme", "blocked_outbound", "release:12", actor="ann", now=NOON)
        set_keyword(tx, "acme", "opt_out", f"BASTA{at}", None, actor="ann", now=NOON)
        line = f"+1415555{at + 2:04d}"
        set_line(tx, tags, "acme", line, "e9", "Bo Ek", sub_organization=None, actor="ann", now=NOON)
        covered = [Covered(Cover.CONTACT, "+14045550007")]
        set_hold(tx, tags, "acme", f"case-{at}", covered, actor="ann", note="asked for", now=NOON)
    intake.take([
        {"id": f"EV1-{at}", "org": "acme", "event": "number_reassigned", "contact": "+14045550004",
         "at": "2026-11-23T14:00:00Z"},
        {"id": f"EV2-{at}", "org": "acme", "event": "line_reassigned", "line": "+14155550001",
         "employee": {"id": "e7", "name": "Cy Dee"}, "at": "2026-11-23T14:01:00Z"},
        {"id": f"EV3-{at}", "org": "acme", "event": "revoked", "contact": "+14045559999", "note": "by letter",
         "at": "2026-11-23T14:02:00Z"},
        {"id": f"EV4-{at}", "org": f"acme-{at}", "event": "revoked", "contact": "+14045559998", "note": "by letter",
         "scope": "sub_org", "at": "2026-11-23T14:03:00Z"},
        {"id": f"EV5-{at}", "org": "acme", "event": "number_reassigned", "contact": "+14045559997",
         "at": "2026-11-23T14:04:00Z"},
        text("STOPALL", contact=3, at=at + 200),  # closed already, so no decision tells of it
    ])  # fmt: skip
    erase(database, metadata, tags, "acme", "+14045550002", actor="ann", note="asked for", now=NOON)
    # Known again after the erasure.
    intake.take([text("It's me again", contact=2, at=at + 300)])


def test_what_a_lost_database_had_delivered_is_told_entry_by_entry_and_comes_back_from_the_archive(
    make_database_url, open_databases, tmp_path, archive
):
    lost = open_databases(make_database_url())
    found(lost, "acme")
    memory = destination("memory", batch=100)
    intake = Intake(lost)
    a_day(intake, lost)
    deliver_all(lost, archive, memory)
    backup(lost, tmp_path / "evening.backup", [upgrade])
    # At least 1,000 more entries, of every sort.
    a_day(intake, lost, at=1000)
    intake.take([text("Hi", contact=100 + n, at=2000 + n) for n in range(340)])
    register(lost, [archive, memory])
    pause(lost, "memory", "Migration", "ann", NOON)
    resume(lost, "memory", "Done", "ann", NOON)
    with lost.write() as tx:
        create_organization(tx, "later", "Later Bank", parent=None, actor="ann", now=NOON)
    intake.take([text("Hello", org="later", at=3000)])
    deliver_all(lost, archive, memory)
    intake.close()
    restored = open_databases(make_database_url())
    restore(restored, tmp_path / "evening.backup", [upgrade], mark=mark_restored)
    unknown = set(ids(lost)) - set(ids(restored))

    told = compare(restored, [archive, memory])
    caught_up = catch_up(restored, [archive, memory])

    assert len(unknown) >= 1_000
    assert {one.entry for one in told.beyond if one.destination == "archive"} == unknown
    assert {one.entry for one in told.beyond if one.destination == "memory"} == {
        one for one in unknown if not one.startswith("later")
    }
    assert (caught_up.beyond, caught_up.refused, caught_up.unreachable) == ([], [], {})
    assert sum(caught_up.brought_back.values()) == len(unknown)
    assert not is_to_be_compared(restored)
    assert entries(restored) == entries(lost)
    assert_whole(restored, "acme")
    was, now = kept_beside(lost), kept_beside(restored)
    assert {name: now[name] ^ rows for name, rows in was.items() if now[name] != rows} == {}
    # Nothing is delivered twice, and nothing that is new is taken for something else.
    before = sorted(memory.connector.ids())
    again = Intake(restored)
    [fresh] = again.take([text("STOP", contact=100, at=4000)])
    again.close()
    assert fresh["state"] == "opted_out"
    assert deliver_all(restored, archive, memory).owed == 0
    assert sorted(set(memory.connector.ids()) - set(before)) == fresh["entries"]
    assert verify_archive(tmp_path / "archive").flaws == []


def test_what_was_said_after_users_and_tokens_were_made_comes_back_too(
    make_database_url, open_databases, tmp_path, archive
):
    lost = open_databases(make_database_url())
    found(lost, "acme")
    backup(lost, tmp_path / "evening.backup", [upgrade])
    with lost.write() as tx:
        create_user(tx, "ann@acme.example", "Ann Lee", [Role.SETUP], organization="acme", actor="cli", now=NOON)
        change_user(tx, "ann@acme.example", roles=[Role.REPORTS], actor="cli", now=NOON)
        create_user(tx, "bo@bank.example", "Bo Ek", [Role.SETUP], organization=None, actor="cli", now=NOON)
        create_token(tx, "a gateway", [Scope.MESSAGES], organization="acme", expires_at=None, actor="cli", now=NOON)
    intake = Intake(lost)
    intake.take([text("STOP")])
    intake.close()
    deliver_all(lost, archive)
    restored = open_databases(make_database_url())
    restore(restored, tmp_path / "evening.backup", [upgrade], mark=mark_restored)

    caught_up = catch_up(restored, [archive])

    assert (caught_up.beyond, caught_up.refused) == ([], [])
    assert entries(restored) == entries(lost)


def test_what_was_taken_from_users_and_tokens_since_the_backup_is_not_given_back_by_a_restore(
    make_database_url, open_databases, tmp_path, archive
):
    lost = open_databases(make_database_url())
    found(lost, "acme")
    with lost.write() as tx:
        for name in ("ann", "bo", "cy"):
            made = create_user(tx, name, name, [Role.SETUP, Role.REPORTS], organization=None, actor="cli", now=NOON)
            store_password(tx, made.id, "old", actor="cli", now=NOON)
        one = create_token(tx, "a", [Scope.MESSAGES], organization="acme", expires_at=None, actor="cli", now=NOON)[0]
    backup(lost, tmp_path / "evening.backup", [upgrade])
    with lost.write() as tx:
        change_user(tx, "ann", disabled=True, actor="cli", now=NOON)
        change_user(tx, "bo", roles=[Role.REPORTS], organization="acme", actor="cli", now=NOON)
        store_password(tx, made.id, "new", actor="cli", now=NOON)
        revoke_token(tx, one.id, actor="cli", now=NOON)
    deliver_all(lost, archive)
    restored = open_databases(make_database_url())
    restore(restored, tmp_path / "evening.backup", [upgrade], mark=mark_restored)

    catch_up(restored, [archive])

    with restored.read() as tx:
        ann, bo, cy = (user(tx, name) for name in ("ann", "bo", "cy"))
        assert (ann.disabled_at, token(tx, one.id).revoked_at) == (NOON, NOON)
        assert (bo.roles, bo.organization, bo.has_password) == ({Role.REPORTS}, "acme", True)
        assert (cy.has_password, cy.disabled_at) == (False, None)


def test_a_text_that_was_taken_before_the_loss_gets_its_first_answer_after_it(
    make_database_url, open_databases, tmp_path, archive
):
    lost = open_databases(make_database_url())
    found(lost, "acme")
    backup(lost, tmp_path / "b", [upgrade])
    texts = [text("Hi", sender="employee"), text("YES", at=60), text("Hello", at=70), text("STOP", at=80)]
    intake = Intake(lost)
    first = intake.take(texts)
    intake.close()
    deliver_all(lost, archive)
    restored = open_databases(make_database_url())
    restore(restored, tmp_path / "b", [upgrade], mark=mark_restored)
    catch_up(restored, [archive])

    intake = Intake(restored)
    again = intake.take(texts)
    intake.close()

    assert again == first
    assert ids(restored) == ids(lost)


def test_a_backup_holds_one_state_while_texts_come_in(database, tmp_path):
    found(database, "acme")
    intake = Intake(database)
    intake.take([text("Hi", contact=n) for n in range(50)])
    stop, taken = threading.Event(), []

    def write():
        while not stop.is_set():
            taken.extend(intake.take([text("Hi", contact=len(taken) + 1000)]))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backup(database, tmp_path / f"{n}.backup", [upgrade]) for n in range(3)]
    finally:
        stop.set()
        writer.join()
        intake.close()

    assert taken
    for one in made:
        with sqlite3.connect(one.path) as source:
            [(size, newest, states)] = source.execute(
                """SELECT (SELECT count(*) FROM entry WHERE organization = 'acme'),
                (SELECT max(size) FROM head WHERE organization = 'acme'), (SELECT count(*) FROM conversation)"""
            )
        assert size == newest == one.ledgers["acme"]
        assert size == 2 + 3 * states
        assert one.path.stat().st_mode & 0o777 == 0o600
        assert look_into(one.path) == one


def test_a_backup_of_either_database_is_restored_into_the_other(
    make_sqlite_url, make_postgres_url, open_databases, tmp_path
):
    start = open_databases(make_sqlite_url())
    found(start, "acme")
    intake = Intake(start)
    a_day(intake, start)
    intake.close()
    backup(start, tmp_path / "1", [upgrade])
    other = open_databases(make_postgres_url())
    restore(other, tmp_path / "1", [upgrade], mark=lambda tx: None)
    backup(other, tmp_path / "2", [upgrade])
    back = open_databases(make_sqlite_url())

    restore(back, tmp_path / "2", [upgrade], mark=lambda tx: None)

    assert entries(other) == entries(back) == entries(start)
    assert kept_beside(other) == kept_beside(back) == kept_beside(start)
    assert sizes_in(back) == sizes_in(start)


def test_a_file_that_is_no_backup_changes_nothing(database, tmp_path):
    found(database, "acme")
    before = ids(database)
    (tmp_path / "letter").write_text("Dear Sir, " * 1000)
    good = backup(database, tmp_path / "good", [upgrade]).path
    bent = bytearray(good.read_bytes())
    bent[8192:12288] = bytes(4096)
    (tmp_path / "bent").write_bytes(bent)

    for name in ("letter", "bent", "nowhere"):
        with pytest.raises(BackupError):
            restore(database, tmp_path / name, [upgrade], mark=mark_restored)
    with pytest.raises(BackupError, match="overwrites nothing"):
        backup(database, good, [upgrade])

    assert ids(database) == before
    assert sorted(path.name for path in tmp_path.iterdir() if "." not in path.name) == ["bent", "good", "letter"]


def test_an_archive_of_another_installation_is_no_continuation(make_database_url, open_databases, archive):
    other, ours = open_databases(make_database_url()), open_databases(make_database_url())
    for one, said in ((other, "Hello"), (ours, "Good morning")):
        found(one, "acme")
        intake = Intake(one)
        intake.take([text(said, contact=n) for n in range(5 if one is other else 2)])
        intake.close()
    deliver_all(other, archive)
    before = ids(ours)

    with pytest.raises(OtherLedgerError, match="another root"):
        bring_back(ours, archive.connector, "acme")
    told = catch_up(ours, [archive])

    assert ids(ours) == before
    assert len(told.refused) == 1
    assert told.beyond


def test_what_was_lost_in_the_archive_too_is_named_and_the_database_stays_closed(
    make_database_url, open_databases, tmp_path, archive
):
    lost = open_databases(make_database_url())
    found(lost, "acme")
    backup(lost, tmp_path / "b", [upgrade])
    intake = Intake(lost)
    intake.take([text("Hi", contact=n) for n in range(60)])
    intake.close()
    memory = destination("memory", batch=100)
    deliver_all(lost, archive, memory)
    folder = tmp_path / "archive/acme/consent"
    first = folder / "000000000000.segment.jsonl"
    first.unlink()
    restored = open_databases(make_database_url())
    restore(restored, tmp_path / "b", [upgrade], mark=mark_restored)

    told = catch_up(restored, [archive, memory])

    size = sizes_in(restored)["acme"]
    assert size < sizes_in(lost)["acme"]
    assert {one.entry for one in told.beyond} == {f"acme-{seq:012d}" for seq in range(size, sizes_in(lost)["acme"])}
    assert is_to_be_compared(restored)


def test_a_quick_look_finds_an_older_database_and_waits_for_nobody_who_is_mute(
    make_database_url, open_databases, tmp_path
):
    lost = open_databases(make_database_url())
    found(lost, "acme")
    backup(lost, tmp_path / "b", [upgrade])
    intake = Intake(lost)
    intake.take([text("Hi")])
    intake.close()
    memory, mute = destination("memory"), destination("mute")
    deliver_all(lost, memory, mute)
    answer = threading.Event()
    find = mute.connector.find
    mute.connector.find = lambda *asked: answer.wait(20) and find(*asked)
    restored = open_databases(make_database_url())
    restore(restored, tmp_path / "b", [upgrade], mark=mark_restored)

    told = quick_look(restored, [memory, mute], 0.3)
    answer.set()

    assert {one.entry for one in told.beyond} == set(ids(lost)) - set(ids(restored))
    assert list(told.unreachable) == ["mute"]
    assert quick_look(lost, [memory, mute], 5).beyond == []
    with lost.read() as tx:
        assert newest_head(tx, SYSTEM).size == 0
