"""The ledger: gapless numbers and one true tree, whoever writes, on both databases."""

import hashlib
import json
import subprocess
import sys
import threading
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
import rfc8785
from sqlalchemy.exc import IntegrityError

from consent.database import open_database
from consent.entry import entry_json, leaf_of
from consent.kinds import SYSTEM, Kind
from consent.ledger import (
    Appending,
    append,
    create_ledger,
    ledgers,
    lock,
    newest_head,
    read_conversation,
    read_entry,
    read_lane,
    read_positions,
    read_range,
)
from consent.values import Record
from tests.ledger.append_driver import main as append_many
from tests.ledger.auditing import assert_whole

NOON = 1_795_000_000_000_000
_DRIVER = Path(__file__).with_name("append_driver.py")


def record(kind=Kind.MESSAGE, at=NOON, **values):
    return Record(kind, at, {"verdict": "delivered"}, values or {"text": "Hi", "contact": "+14045550123"}, "c0ffee", 1)


@pytest.fixture
def acme(database):
    with database.write() as tx:
        create_ledger(tx, "acme")
    return database


def write(database, *records, organization="acme", now=NOON):
    with database.write() as tx:
        return append(tx, organization, records, now)


def test_a_new_ledger_is_empty_and_its_root_is_that_of_no_leaves(acme):
    with acme.read() as tx:
        head = newest_head(tx, "acme")
        names = ledgers(tx)

    assert (head.size, head.root.hex()) == (0, hashlib.sha256(b"").hexdigest())
    assert names == ["acme", SYSTEM]


def test_entries_are_numbered_without_gaps_in_the_ledger_and_in_their_lanes(acme):
    for kinds in (list(Kind), list(Kind)[::2]):
        write(acme, *[record(kind) for kind in kinds])

    entries = assert_whole(acme, "acme")

    assert [entry.kind for entry in entries] == [*Kind, *list(Kind)[::2]]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 700])
def test_one_commit_of_any_size_is_one_head(acme, count):
    write(acme, *[record(list(Kind)[at % len(Kind)]) for at in range(count)])

    assert len(assert_whole(acme, "acme")) == count
    with acme.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM head WHERE organization = 'acme'").scalar_one() == 1


def test_heads_are_inserted_and_never_updated(acme):
    seen = []
    for _ in range(5):
        write(acme, record(), record(Kind.DECISION))
        with acme.read() as tx:
            rows = tx.exec_driver_sql("SELECT * FROM head WHERE organization = 'acme' ORDER BY size").fetchall()
        assert rows[:-1] == seen
        seen = rows

    assert [row.size for row in seen] == [2, 4, 6, 8, 10]


def test_writing_nothing_leaves_no_head(acme):
    with acme.write() as tx:
        Appending(tx, lock(tx, "acme"), NOON).write()

    with acme.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM head").scalar_one() == 0


def test_a_commit_that_failed_leaves_no_trace_and_no_gap(acme):
    write(acme, record())

    with acme.engine.connect() as tx:  # killed before its commit
        append(tx, "acme", [record(), record(Kind.DECISION)], NOON)
    write(acme, record(Kind.DECISION))

    assert [entry.kind for entry in assert_whole(acme, "acme")] == ["message", "decision"]


def test_threads_with_databases_of_their_own_keep_numbers_gapless_and_the_tree_right(acme, database_url):
    failures = []

    def work():
        try:
            append_many(database_url, "acme", 24)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(assert_whole(acme, "acme")) == 3 * 24 * 2


def test_processes_keep_numbers_gapless_and_the_tree_right(acme, database_url):
    command = [sys.executable, str(_DRIVER), database_url, "acme", "30"]
    root = Path(__file__).parents[2]

    processes = [subprocess.Popen(command, cwd=root, env={"PYTHONPATH": str(root)}) for _ in range(2)]
    append_many(database_url, "acme", 30)
    codes = [process.wait() for process in processes]

    assert codes == [0, 0]
    assert len(assert_whole(acme, "acme")) == 3 * 30 * 2


def test_a_writer_of_one_ledger_does_not_wait_for_another_ledger(make_postgres_url, open_databases):
    url = make_postgres_url()
    one, other = open_databases(url), open_databases(url)
    with one.write() as tx:
        create_ledger(tx, "acme")
        create_ledger(tx, "globex")

    with one.write() as tx:
        append(tx, "acme", [record()], NOON)
        write(other, record(), organization="globex")

    assert len(assert_whole(one, "acme")) == len(assert_whole(one, "globex")) == 1


def test_a_position_can_not_be_written_twice(acme):
    [entry] = write(acme, record())

    with pytest.raises(IntegrityError), acme.write() as tx:
        tx.exec_driver_sql(
            "INSERT INTO entry (organization, seq, lane, pos, kind, occurred_at, recorded_at, leaf)"
            " SELECT organization, seq + 1, lane, pos, kind, occurred_at, recorded_at, leaf FROM entry"
        )

    assert assert_whole(acme, "acme") == [entry]


def test_recorded_times_never_go_backwards_whatever_the_clock_does(acme):
    for now in (NOON, NOON - 3_600_000_000, NOON + 1):
        write(acme, record(), now=now)

    assert [entry.recorded_at for entry in assert_whole(acme, "acme")] == [NOON, NOON, NOON + 1]


def test_an_entry_can_be_read_by_number_lane_position_and_conversation(acme):
    written = write(acme, *[record(list(Kind)[at % len(Kind)]) for at in range(30)])

    with acme.read() as tx:
        lane = [entry for entry in written if entry.lane == "consent"]
        assert read_range(tx, "acme", 3, 5) == written[3:8]
        assert read_lane(tx, "acme", "consent", 2, 4) == lane[2:6]
        assert read_positions(tx, "acme", "consent", [7, 1, 99]) == [lane[1], lane[7]]
        assert read_positions(tx, "acme", "consent", []) == []
        assert (read_entry(tx, "acme", 29), read_entry(tx, "acme", 30)) == (written[29], None)
        assert read_conversation(tx, "acme", "c0ffee") == written
        assert read_conversation(tx, "acme", "c0ffee", [2]) == []
        assert read_conversation(tx, "globex", "c0ffee") == []


def test_any_text_comes_back_byte_for_byte(acme):
    texts = ["\x00", "\u2028 👋🏽", "'; DROP TABLE entry; --", "\\N", "\\.", "a\tb\r\nc", "", "%s ? :x"]

    entries = write(acme, *[record(text=text) for text in texts * 2])

    assert assert_whole(acme, "acme") == entries
    assert [entry.revealed()["text"] for entry in entries] == texts * 2


def test_a_body_holds_no_personal_value_and_no_two_commitments_are_alike(acme):
    entries = write(acme, *[record(text="STOP", contact="+14045550123", employee_name="Ann Lee") for _ in range(3)])

    commits = {held["commit"] for entry in entries for held in entry.facts().values() if isinstance(held, dict)}

    assert len(commits) == 9
    for entry in entries:
        assert not any(word in entry.body for word in (b"STOP", b"+1404", b"Ann"))


def test_erased_values_leave_every_hash_as_it_was(acme):
    write(acme, record(text="STOP"), record(Kind.DECISION, text="STOP"))
    before = assert_whole(acme, "acme")

    with acme.write() as tx:
        tx.exec_driver_sql("UPDATE entry SET personal = NULL")

    after = assert_whole(acme, "acme")
    assert [(entry.leaf, entry.body, entry.revealed()) for entry in after] == [
        (entry.leaf, entry.body, {}) for entry in before
    ]
    assert all(json.loads(entry_json(entry))["values"] is None for entry in after)


def test_a_disposed_entry_keeps_its_number_its_id_and_its_leaf(acme):
    [before] = write(acme, record())

    with acme.write() as tx:
        tx.exec_driver_sql("UPDATE entry SET personal = NULL, body = NULL")

    with acme.read() as tx:
        after = read_entry(tx, "acme", 0)
    assert (after.id, after.leaf, after.facts(), after.revealed()) == (before.id, before.leaf, {}, {})
    assert json.loads(entry_json(after))["body"] is None
    with pytest.raises(ValueError, match="has no body"):
        leaf_of(after)


@pytest.mark.parametrize(
    "change",
    [
        "body = CAST('{}' AS BYTES)",
        "kind = 'review'",
        "occurred_at = occurred_at + 1",
        "version = 2",
        "recorded_at = recorded_at + 1",
    ],
)
def test_a_changed_member_no_longer_has_its_leaf(acme, change):
    write(acme, record())

    with acme.write() as tx:
        tx.exec_driver_sql(f"UPDATE entry SET {change.replace('BYTES', 'bytea' if acme.is_postgres else 'blob')}")

    with acme.read() as tx:
        entry = read_entry(tx, "acme", 0)
    assert leaf_of(entry) != entry.leaf


def test_a_changed_value_no_longer_has_its_commitment(acme):
    [entry] = write(acme, record(text="YES"))

    held = json.loads(entry.values)["text"]
    commit = entry.facts()["text"]["commit"]

    def commitment_of(value):
        salted = urlsafe_b64decode(held["salt"] + "==") + b"text\x00" + rfc8785.dumps(value)
        return urlsafe_b64decode(commit + "=") == hashlib.sha256(salted).digest()

    assert commitment_of("YES")
    assert not commitment_of("NO")


def test_a_read_sees_one_state_of_the_database(acme, database_url):
    other = open_database(database_url)
    with acme.read() as tx:
        before = newest_head(tx, "acme").size
        write(other, record())
        after = newest_head(tx, "acme").size
        listed = len(read_range(tx, "acme", 0, 10))
    other.dispose()

    assert (before, after, listed) == (0, 0, 0)
