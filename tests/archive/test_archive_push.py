"""What the archive holds is never written again: retries settle it, another content is an alarm."""

import os
import threading
from pathlib import Path

import orjson
import pytest

from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.archive.sealed import seal_lines
from connectors.archive.verify import verify_archive
from consent.canonical import canonical
from consent.kinds import Lane
from sync.port import Batch, Receipt, Refusal, SuspendedError, TransientError
from tests.archive.archive_samples import fill, lane_of, make_ledger, push, state

CONSENT = "acme/consent"


@pytest.fixture
def entries():
    return lane_of(make_ledger("acme", 50), Lane.CONSENT)


def segments(root: Path, folder: str = CONSENT) -> list[str]:
    return sorted(path.name for path in (root / folder).iterdir())


def batch(entries, *, late=False):
    return Batch(entries[0].organization, entries[0].lane, entries, late)


def test_a_segment_is_named_by_its_first_position_and_names_the_one_written_before_it(root, archive, entries):
    push(archive, entries[:3])
    push(archive, entries[4:9])
    push(archive, entries[3:4], late=True)
    push(archive, entries[9:12])

    assert segments(root) == [
        "000000000000.segment.jsonl",
        "000000000003.late-00000002.segment.jsonl",
        "000000000004.segment.jsonl",
        "000000000009.segment.jsonl",
    ]
    heads = {name: orjson.loads((root / CONSENT / name).read_bytes().split(b"\n")[0]) for name in segments(root)}
    before = {name: head["previous"] and head["previous"]["name"] for name, head in heads.items()}
    assert before == {
        "000000000000.segment.jsonl": None,
        "000000000004.segment.jsonl": f"{CONSENT}/000000000000.segment.jsonl",
        "000000000003.late-00000002.segment.jsonl": f"{CONSENT}/000000000004.segment.jsonl",
        "000000000009.segment.jsonl": f"{CONSENT}/000000000003.late-00000002.segment.jsonl",
    }


def test_another_process_goes_on_where_the_first_one_ended(root, archive, reopen, entries):
    push(archive, entries[:5])
    push(archive, entries[2:3], late=True)

    push(reopen(), entries[5:9])
    push(archive, entries[9:12])
    archive.close(state(make_ledger("acme", 30), lanes=[Lane.CONSENT]))
    archive.shut()

    assert verify_archive(root).flaws == []


def test_a_retry_settles_exactly_what_the_segment_there_holds(root, archive, reopen, entries):
    first = push(archive, entries[:5])
    again = reopen()

    longer = again.push(batch(entries[:9]))
    rest = again.push(batch(entries[5:9]))
    middle = again.push(batch(entries[3:12]))

    assert list(longer) == first
    assert list(middle) == [*first[3:], *rest]
    assert segments(root) == ["000000000000.segment.jsonl", "000000000005.segment.jsonl"]


def test_no_file_is_ever_written_again(root, archive, reopen):
    ledger = fill(archive)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("*.jsonl")}

    for lane in Lane:
        push(reopen(), lane_of(ledger, lane), late=True)
        push(archive, lane_of(ledger, lane)[:5], late=True)
    archive.close(state(ledger, days=2))

    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("*.jsonl")} == before


def test_late_entries_that_are_partly_held_leave_one_copy_of_each(root, archive, entries):
    push(archive, entries[:2])
    push(archive, entries[5:8])
    push(archive, entries[3:4], late=True)

    receipts = push(archive, entries[1:6], late=True)

    held = list(archive.find("acme", "consent", 0, 99))
    assert [one.pos for one in held] == list(range(8))
    assert [one.digest for one in held[1:6]] == [receipt.digest for receipt in receipts]
    assert segments(root)[-2:] == ["000000000003.late-00000002.segment.jsonl", "000000000005.segment.jsonl"]


def test_late_entries_far_apart_find_what_is_held_of_each(root, archive, reopen):
    entries = lane_of(make_ledger("acme", 500), Lane.CONSENT)
    for start in range(0, 200, 20):
        push(archive, [*entries[start : start + 9], *entries[start + 9 : start + 10]])
        push(archive, entries[start + 11 : start + 20])

    push(reopen(), [entries[at] for at in (3, 10, 50, 119, 190)], late=True)
    push(archive, [entries[at] for at in (10, 30, 70)], late=True)
    receipts = push(reopen(), [entries[at] for at in (10, 30, 50, 70, 190)], late=True)

    assert [receipt.remote_id.partition(".")[2] for receipt in receipts] == [
        "late-00000020.segment.jsonl",
        "late-00000021.segment.jsonl",
        "late-00000020.segment.jsonl",
        "late-00000021.segment.jsonl",
        "late-00000020.segment.jsonl",
    ]


def test_another_content_under_the_same_position_is_an_alarm_and_never_an_overwrite(root, archive, reopen, entries):
    push(archive, entries[:3])
    before = (root / CONSENT / "000000000000.segment.jsonl").read_bytes()
    other = lane_of(make_ledger("acme", 20, text="another"), Lane.CONSENT)

    outcomes = reopen().push(batch([*other[:2], entries[2]]))

    assert [type(outcome) for outcome in outcomes] == [Refusal, Refusal, Receipt]
    assert outcomes[0].code == "tamper"
    assert "verify" in outcomes[0].advice
    assert (root / CONSENT / "000000000000.segment.jsonl").read_bytes() == before


def test_a_retry_that_meets_a_flipped_bit_settles_the_others(root, archive, reopen, entries):
    push(archive, entries[:3])
    path = root / CONSENT / "000000000000.segment.jsonl"
    path.write_bytes(path.read_bytes().replace(entries[1].leaf.hex().encode(), bytes(64), 1))

    outcomes = reopen().push(batch(entries[:3]))

    assert [type(outcome) for outcome in outcomes] == [Receipt, Refusal, Receipt]


def test_no_segment_is_written_on_top_of_a_damaged_one(root, archive, reopen, entries):
    push(archive, entries[:3])
    path = root / CONSENT / "000000000000.segment.jsonl"
    sound = path.read_bytes()
    path.write_bytes(sound[:-5])

    with pytest.raises(SuspendedError) as seen:
        reopen().push(batch(entries[3:5]))
    path.write_bytes(sound)
    push(reopen(), entries[3:5])

    assert seen.value.code == "archive_damaged"
    assert "000000000000.segment.jsonl" in seen.value.advice
    assert len(list(archive.find("acme", "consent", 0, 99))) == 5


def test_no_segment_is_written_where_listed_ones_are_gone(root, archive, reopen):
    ledger = fill(archive)
    extra = lane_of(make_ledger("acme", 60), Lane.CONSENT)[len(lane_of(ledger, Lane.CONSENT)) :]
    newest = root / CONSENT / segments(root)[-1]
    newest.rename(root.parent / "aside")

    with pytest.raises(SuspendedError):
        reopen().push(batch(extra))
    with pytest.raises(SuspendedError):
        reopen().close(state(ledger, days=9))
    (root.parent / "aside").rename(newest)

    assert len(push(reopen(), extra)) == len(extra)


def test_entries_erased_since_they_were_archived_are_held(root, archive, reopen, entries):
    receipts = push(archive, entries[:3])
    erased = [entry._replace(values=None) for entry in entries[:3]]
    disposed = [entry._replace(values=None, body=None) for entry in entries[:3]]

    assert push(reopen(), erased) == receipts
    assert push(reopen(), disposed, late=True) == receipts


def test_values_that_the_archive_lost_are_an_alarm(root, archive, reopen, entries):
    push(archive, [entry._replace(values=None) for entry in entries[:3]])

    outcomes = reopen().push(batch(entries[:3]))

    assert [type(outcome) for outcome in outcomes] == [Refusal] * 3


def test_a_changed_line_is_read_back_as_changed(root, archive, entries):
    receipts = push(archive, entries[:4])
    path = root / CONSENT / "000000000000.segment.jsonl"
    lines = path.read_bytes().split(b"\n")[:-2]
    lines[1] = lines[1].replace(b"STOP", b"stop")  # a value: the leaf doesn't tell, the digest does
    lines[2] = lines[2].replace(b'"channel":"sms"', b'"channel":"mms"')
    lines[3] = lines[3].replace(b'"version"', b"'version'")
    path.write_bytes(seal_lines(lines).data)

    held = {one.pos: one.digest for one in archive.find("acme", "consent", 0, 9)}

    assert sorted(held) == [0, 1, 3]  # a line that can't be read is no entry any more
    assert [held[pos] == receipts[pos].digest for pos in sorted(held)] == [False, False, True]


@pytest.mark.parametrize("gone", [{"values": {}}, {"values": None}, {"values": None, "body": None}])
def test_a_line_that_lost_values_or_its_body_is_read_back_as_changed(root, archive, entries, gone):
    whole, erased, lacking = push(archive, [entries[0], entries[1]._replace(values=None), entries[2]])
    path = root / CONSENT / "000000000000.segment.jsonl"
    lines = path.read_bytes().split(b"\n")[:-2]
    lines[3] = canonical(orjson.loads(lines[3]) | gone)
    path.write_bytes(seal_lines(lines).data)

    held = [one.digest for one in archive.find("acme", "consent", 0, 9)]

    assert held[:2] == [whole.digest, erased.digest]
    assert held[2] != lacking.digest


def test_a_missing_directory_is_an_outage_and_is_not_made_anew(root, archive, reopen, entries):
    push(archive, entries[:2])
    root.rename(root.parent / "elsewhere")

    for connector in (archive, reopen()):
        with pytest.raises(TransientError) as seen:
            connector.push(batch(entries[2:4]))
        with pytest.raises(TransientError):
            connector.close(state(make_ledger("acme", 5)))

    assert seen.value.code == "archive_missing"
    assert "mount it" in seen.value.advice
    assert not root.exists()


def test_an_empty_mount_point_is_an_outage_too(root, archive, reopen, entries):
    root.rename(root.parent / "elsewhere")
    root.mkdir()

    with pytest.raises(TransientError):
        archive.push(batch(entries[:2]))
    with pytest.raises(TransientError):
        list(reopen().find("acme", "consent", 0, 9))

    assert list(root.iterdir()) == []


def test_a_directory_restored_from_a_copy_is_read_anew(root, archive, entries):
    push(archive, entries[:2])
    os.system(f"cp -a {root} {root}-copy")
    push(archive, entries[2:4])
    root.rename(root.parent / "elsewhere")
    Path(f"{root}-copy").rename(root)

    push(archive, entries[2:6])

    assert segments(root) == ["000000000000.segment.jsonl", "000000000002.segment.jsonl"]
    assert len(list(archive.find("acme", "consent", 0, 9))) == 6


def test_making_the_directory_twice_changes_nothing(root, archive, entries):
    push(archive, entries[:2])

    archive.prepare()

    assert len(list(archive.find("acme", "consent", 0, 9))) == 2


def test_a_batch_with_a_gap_is_settled_up_to_the_gap(root, archive, entries):
    outcomes = archive.push(batch([*entries[:3], *entries[5:7]]))

    assert len(outcomes) == 3
    assert segments(root) == ["000000000000.segment.jsonl"]


def test_long_texts_make_shorter_segments_and_the_rest_stays_owed(archive):
    long = lane_of(make_ledger("acme", 100, text="x" * 1_000_000), Lane.MESSAGES)

    outcomes = archive.push(batch(long))

    assert len(outcomes) == 33
    assert len(archive.push(batch(long[33:]))) == 7


def test_a_batch_that_comes_below_what_is_held_is_marked_as_late(root, archive, entries):
    push(archive, entries[4:6])

    push(archive, entries[:2])

    assert segments(root) == ["000000000000.late-00000001.segment.jsonl", "000000000004.segment.jsonl"]
    assert [one.pos for one in archive.find("acme", "consent", 0, 9)] == [0, 1, 4, 5]


def test_many_writers_of_one_ledger_keep_one_chain_a_lane(root, archive, reopen):
    ledger = make_ledger("acme", 60)
    failures: list[Exception] = []

    def work(connector: ArchiveConnector, lane: str) -> None:
        try:
            entries = lane_of(ledger, lane)
            while entries:
                entries = entries[len(connector.push(batch(entries[:3]))) :]
            connector.close(state(ledger))
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(reopen(), lane)) for lane in Lane for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    report = verify_archive(root)
    assert failures == []
    assert (report.flaws, report.entries) == ([], 60)


def test_parts_that_a_crash_left_are_swept_when_they_are_old(root, archive, reopen, entries):
    push(archive, entries[:2])
    old = root / CONSENT / ".000000000002.segment.jsonl.0123456789abcdef.part"
    young = root / CONSENT / ".000000000002.segment.jsonl.fedcba9876543210.part"
    for part in (old, young):
        part.write_bytes(b"{")
    os.utime(old, (1, 1))

    push(reopen(), entries[2:4])

    assert (old.exists(), young.exists()) == (False, True)


def test_a_preflight_leaves_nothing_behind(root, archive):
    findings = archive.check()

    assert [finding.ok for finding in findings] == [True]
    assert [path.name for path in root.iterdir()] == ["assent-archive.json"]


def test_a_path_under_a_file_is_an_outage_that_says_what_to_do(tmp_path, entries):
    (tmp_path / "file").write_text("x")
    connector = ArchiveConnector(Directory(tmp_path / "file" / "archive"))

    with pytest.raises(TransientError):
        connector.prepare()
    with pytest.raises(TransientError):
        connector.push(batch(entries[:1]))

    assert [finding.ok for finding in connector.check()] == [False]
