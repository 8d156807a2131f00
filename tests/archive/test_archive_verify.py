"""An archive says by itself whether it is as it was written, and names what isn't."""

import hashlib
import itertools
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from connectors.archive.connector import ArchiveConnector
from connectors.archive.directory import Directory
from connectors.archive.flaws import Cause
from connectors.archive.sealed import seal_lines
from connectors.archive.verify import Report, verify_archive, verify_store
from consent.canonical import canonical
from consent.entry import Entry
from consent.kinds import Lane
from sync.port import TransientError
from tests.archive.archive_samples import fill, lane_of, make_ledger, push, state


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def named(report: Report) -> set[str]:
    return {flaw.file for flaw in report.flaws}


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change a file's lines and give it a hash that fits, as a careful forger would."""
    lines = path.read_bytes().split(b"\n")[:-2]
    path.write_bytes(seal_lines(change(lines)).data)


def test_an_archive_as_it_was_written_is_well(root, ledger):
    report = verify_archive(root)

    assert report.flaws == []
    assert report.notes == []
    assert (report.ledgers, report.entries) == (2, 55)
    assert (report.manifests, report.roots) == (6, 6)
    assert report.segments == len([name for name in files(root) if "segment" in name])
    assert any(".late-" in name for name in files(root))


def test_a_flipped_bit_is_found_and_its_file_named_wherever_it_is(root, archive):
    fill(archive, "acme", 9)
    flips = 0

    for name in files(root):
        path = root / name
        sound = path.read_bytes()
        for at in range(0, len(sound), 41):
            path.write_bytes(sound[:at] + bytes([sound[at] ^ (1 << at % 8)]) + sound[at + 1 :])
            report = verify_archive(root)
            assert name in named(report), (name, at)
            flips += 1
        path.write_bytes(sound)

    assert flips > 300
    assert verify_archive(root).ok


def test_every_missing_file_is_found_and_named(root, ledger):
    for name in files(root):
        (root / name).rename(root.parent / "aside")

        report = verify_archive(root)

        assert name in named(report), name
        assert all(flaw.cause in {Cause.MISSING, Cause.GAP, Cause.UNLISTED} for flaw in report.flaws), name
        (root.parent / "aside").rename(root / name)
    assert verify_archive(root).ok


@pytest.mark.parametrize("cut", [1, 2, 60, 78, 79, 300])
def test_every_truncated_file_is_found_and_named(root, ledger, cut):
    for name in files(root):
        path = root / name
        sound = path.read_bytes()
        path.write_bytes(sound[:-cut])

        assert name in named(verify_archive(root)), name
        path.write_bytes(sound)


def test_an_emptied_file_is_found_and_named(root, ledger):
    for name in files(root):
        path = root / name
        sound = path.read_bytes()
        path.write_bytes(b"")

        assert name in named(verify_archive(root)), name
        path.write_bytes(sound)


def test_a_renamed_segment_is_named_as_what_it_is_and_as_what_is_missing(root, ledger):
    path = root / "acme/consent/000000000000.segment.jsonl"
    path.rename(path.with_name("000000000099.segment.jsonl"))

    report = verify_archive(root)

    causes = {flaw.file: flaw.cause for flaw in report.flaws}
    assert causes["acme/consent/000000000099.segment.jsonl"] is Cause.RENAMED
    assert causes["acme/consent/000000000000.segment.jsonl"] is Cause.MISSING


def test_two_swapped_files_are_both_named(root, ledger):
    names = [name for name in files(root) if name.startswith("acme/")]
    pairs = list(itertools.pairwise(names))

    for one, other in pairs:
        (root / one).rename(root / "aside")
        (root / other).rename(root / one)
        (root / "aside").rename(root / other)

        assert {one, other} <= named(verify_archive(root)), (one, other)

        (root / one).rename(root / "aside")
        (root / other).rename(root / one)
        (root / "aside").rename(root / other)


def test_two_swapped_ledgers_are_both_named(root, ledger):
    (root / "acme").rename(root / "aside")
    (root / "umbrella").rename(root / "acme")
    (root / "aside").rename(root / "umbrella")

    report = verify_archive(root)

    assert {name.split("/")[0] for name in named(report)} == {"acme", "umbrella"}


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "acme/x.segment.jsonl", "acme/consent/notes.txt", "acme/billing/x", "Ümläut", "acme/consent/deep/x"],
)
def test_a_file_that_does_not_belong_there_is_named(root, ledger, name):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("hello")

    report = verify_archive(root)

    assert [flaw.cause for flaw in report.flaws] == [Cause.FOREIGN]
    assert name.startswith(report.flaws[0].file)


def test_a_copy_of_a_segment_under_another_name_is_named(root, ledger):
    shutil.copy(root / "acme/consent/000000000000.segment.jsonl", root / "acme/consent/000000000100.segment.jsonl")

    report = verify_archive(root)

    assert [(flaw.file, flaw.cause) for flaw in report.flaws] == [
        ("acme/consent/000000000100.segment.jsonl", Cause.RENAMED)
    ]


def test_a_forged_value_with_a_fitting_file_hash_is_found_and_its_entry_named(root, ledger):
    name = "acme/messages/000000000000.segment.jsonl"

    def forge(lines):
        return [lines[0], lines[1].replace(b"+14045550123", b"+14045550199"), *lines[2:]]

    rewrite(root / name, forge)
    report = verify_archive(root)

    assert (report.flaws[0].file, report.flaws[0].entry) == (name, "acme-000000000000")
    assert "contact" in report.flaws[0].problem


def test_a_forged_entry_whose_every_hash_fits_is_found_by_the_files_that_name_its_segment(root, ledger):
    name = "acme/consent/000000000000.segment.jsonl"

    def forge(lines):
        entry = orjson.loads(lines[1])
        entry["body"]["number"] = 99
        leaf = {member: entry[member] for member in entry if member not in {"id", "leaf_hash", "values"}}
        entry["leaf_hash"] = hashlib.sha256(b"\x00" + canonical(leaf)).hexdigest()
        return [lines[0], canonical(entry), *lines[2:]]

    rewrite(root / name, forge)
    report = verify_archive(root)

    causes = {flaw.cause for flaw in report.flaws}
    assert causes == {Cause.REPLACED, Cause.ROOT}
    assert {flaw.file for flaw in report.flaws if flaw.cause is Cause.REPLACED} == {name}


def test_a_forged_root_in_the_newest_manifest_is_named(root, ledger):
    name = "acme/000000000002.manifest.jsonl"

    def forge(lines):
        first = orjson.loads(lines[0])
        first["root"] = hashlib.sha256(b"another").hexdigest()
        return [canonical(first), *lines[1:]]

    rewrite(root / name, forge)
    report = verify_archive(root)

    assert [(flaw.file, flaw.cause) for flaw in report.flaws] == [(name, Cause.ROOT)]


def test_a_removed_entry_in_a_segment_that_was_made_to_fit_is_found(root, ledger):
    name = "acme/messages/000000000000.segment.jsonl"

    def forge(lines):
        first = orjson.loads(lines[0])
        first["count"] -= 1
        first["last"] -= 1
        first["kinds"]["message"] -= 1
        return [canonical(first), *lines[1:-1]]

    rewrite(root / name, forge)
    report = verify_archive(root)

    assert {(flaw.file, flaw.cause) for flaw in report.flaws} >= {(name, Cause.REPLACED), (name, Cause.GAP)}


def test_the_newest_manifest_removed_is_named_by_the_segments_that_none_lists(root, ledger):
    newest = root / "acme/000000000002.manifest.jsonl"
    newest.unlink()

    report = verify_archive(root)

    assert [(flaw.file, flaw.cause) for flaw in report.flaws] == [("acme/000000000002.manifest.jsonl", Cause.UNLISTED)]


def test_positions_that_were_never_delivered_are_told(root, archive):
    entries = lane_of(make_ledger("acme", 30), Lane.CONSENT)
    push(archive, entries[:3])
    push(archive, entries[5:8])
    archive.close(state(make_ledger("acme", 30), lanes=[Lane.CONSENT]))

    report = verify_archive(root)

    assert [flaw.cause for flaw in report.flaws] == [Cause.GAP, Cause.GAP]
    assert "positions 3 to 4" in report.flaws[0].problem
    assert "positions 8 to 11" in report.flaws[1].problem


def test_a_position_held_twice_is_told(root, ledger, reopen):
    first = root / "acme/consent/000000000000.segment.jsonl"
    lines = first.read_bytes().split(b"\n")[:-2]
    head = orjson.loads(lines[0]) | {"late": True, "number": 50, "previous": {"name": "x", "sha256": "y"}}
    late = root / "acme/consent/000000000000.late-00000050.segment.jsonl"
    late.write_bytes(seal_lines([canonical(head), *lines[1:]]).data)

    report = verify_archive(root)

    assert Cause.REPEATED in {flaw.cause for flaw in report.flaws}


def test_an_archive_of_one_lane_is_well_and_says_that_its_roots_were_not_compared(root, archive):
    entries = make_ledger("acme", 30)
    push(archive, lane_of(entries, Lane.CONSENT))
    archive.close(state(entries, lanes=[Lane.CONSENT]))

    report = verify_archive(root)

    assert report.ok
    assert [note.cause for note in report.notes] == [Cause.PARTIAL]
    assert report.roots == 0


def test_an_archive_that_takes_entries_from_now_on_is_well(root, archive):
    push(archive, lane_of(make_ledger("acme", 30), Lane.CONSENT)[4:])
    archive.shut()

    report = verify_archive(root)

    assert [flaw.cause for flaw in report.flaws] == [Cause.UNLISTED]
    assert "begins at position 4" in report.notes[0].problem


def test_erased_and_disposed_entries_break_nothing(root, archive):
    entries = make_ledger("acme", 10)
    entries[0] = entries[0]._replace(values=None)
    entries[3] = entries[3]._replace(values=None, body=None)
    for lane in Lane:
        push(archive, lane_of(entries, lane))
    archive.close(state(entries))

    report = verify_archive(root)

    assert report.flaws == []
    assert report.roots == 1


@pytest.mark.parametrize("leaf", ["", "z" * 64, "A" * 64, 7, None])
def test_a_disposed_entry_whose_leaf_hash_cant_be_one_is_named(root, archive, leaf):
    push(archive, [make_ledger("acme", 1)[0]._replace(values=None, body=None)])
    archive.close(state(make_ledger("acme", 1)))
    path = root / "acme/messages/000000000000.segment.jsonl"
    rewrite(path, lambda lines: [lines[0], canonical(orjson.loads(lines[1]) | {"leaf_hash": leaf})])

    report = verify_archive(root)

    assert ("acme/messages/000000000000.segment.jsonl", "acme-000000000000") in {
        (flaw.file, flaw.entry) for flaw in report.flaws
    }


def test_what_a_crash_left_is_worth_a_note_and_no_alarm(root, ledger):
    (root / "acme/consent/.000000000099.segment.jsonl.0123456789abcdef.part").write_bytes(b"{")

    report = verify_archive(root)

    assert report.ok
    assert [note.cause for note in report.notes] == [Cause.LEFTOVER]


def test_a_run_at_work_is_told_from_a_removed_manifest(root, archive):
    push(archive, lane_of(make_ledger("acme", 10), Lane.CONSENT))

    during = verify_archive(root)
    archive.shut()
    after = verify_archive(root)

    assert (during.ok, [note.cause for note in during.notes]) == (True, [Cause.UNLISTED])
    assert [flaw.file for flaw in after.flaws] == ["acme/000000000000.manifest.jsonl"]


def test_an_archive_is_compared_with_the_ledger_entry_by_entry(root, ledger):
    held: dict[tuple[str, str], list[Entry]] = {}
    for entry in ledger:
        held.setdefault((entry.organization, entry.lane), []).append(entry)
    consent = held["acme", "consent"]
    consent[2] = consent[2]._replace(leaf=bytes(32))
    held["acme", "audit"].pop()

    def read(organization, lane, first, last):
        return [entry for entry in held.get((organization, lane), []) if first <= entry.pos <= last]

    shutil.rmtree(root / "umbrella")
    report = verify_archive(root, ledger=read)

    assert [(flaw.entry, flaw.problem) for flaw in report.flaws if flaw.cause is Cause.DIFFERENT] == [
        (ledger[39].id, "isn't in the ledger"),
        (consent[2].id, "isn't as in the ledger"),
    ]


def test_a_file_with_many_wrong_entries_is_told_in_a_few_lines(root, ledger):
    name = "acme/messages/000000000000.segment.jsonl"
    rewrite(root / name, lambda lines: [lines[0], *(line.replace(b"sms", b"mms") for line in lines[1:])])

    told = [flaw for flaw in verify_archive(root).flaws if flaw.file == name]

    assert [flaw.entry is None for flaw in told] == [False, False, False, True]
    assert "more entries" in told[-1].problem


def test_no_number_and_no_text_is_told(root, ledger):
    name = "acme/messages/000000000000.segment.jsonl"
    rewrite(root / name, lambda lines: [line.replace(b"+1404", b"+1405").replace(b"STOP", b"stop") for line in lines])

    told = " ".join(map(str, verify_archive(root).flaws))

    assert "contact" in told
    assert "5550123" not in told
    assert "stop" not in told


def test_a_missing_archive_is_an_outage_and_no_empty_one(root):
    with pytest.raises(TransientError):
        verify_archive(root)


def test_verifying_says_how_far_it_is(root, archive: ArchiveConnector):
    push(archive, lane_of(make_ledger("acme", 12_000, text="x"), Lane.MESSAGES))
    seen: list[int] = []

    verify_archive(root, progress=seen.append)

    assert seen == [4096]


def test_several_processes_find_what_one_finds(root, archive):
    ledger = make_ledger("acme", 32_000, text="STOP")
    for lane in Lane:
        owed = lane_of(ledger, lane)
        for at in range(0, len(owed), 2000):
            push(archive, owed[at : at + 2000])
    archive.close(state(ledger))
    newest = sorted((root / "acme/consent").iterdir())[-1]
    newest.write_bytes(newest.read_bytes().replace(b"STOP", b"STOQ", 3))

    alone = verify_store(Directory(root))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    helped = verify_store(Directory(root), processes=2)

    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > before
    assert helped == alone
    assert len(alone.flaws) == 3
    assert alone.entries == len(ledger)
