"""A run ends with a manifest: what was written, how far the ledger is, and the manifest before."""

import hashlib

import orjson
import pytest

from connectors.archive.verify import verify_archive
from consent.kinds import Lane
from consent.merkle import root_of
from sync.port import SuspendedError
from tests.archive.archive_samples import fill, lane_of, make_ledger, push, state


def manifests(root, organization="acme"):
    return sorted((root / organization).glob("*.manifest.jsonl"))


def read(path):
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_a_manifest_lists_the_segments_since_the_one_before_with_their_hashes(root, archive):
    ledger = fill(archive)

    heads = [read(path) for path in manifests(root)]

    listed = [line["name"] for lines in heads for line in lines[1:-1]]
    assert sorted(listed) == sorted(path.relative_to(root).as_posix() for path in root.rglob("*.segment.jsonl"))
    for lines in heads:
        for line in lines[1:-1]:
            data = (root / line["name"]).read_bytes()
            assert (line["sha256"], line["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    newest = heads[-1][0]
    assert newest["root"] == root_of(entry.leaf for entry in ledger).hex()
    assert newest["size"] == len(ledger)
    assert newest["lanes"]["messages"] == {"settled": 16, "size": 16}
    assert newest["checkpoint"] == "a checkpoint\n"
    assert {lane: tail["held"] for lane, tail in newest["tails"].items()} == {
        "audit": 8, "consent": 16, "messages": 16,
    }  # fmt: skip
    assert sum(lines[0]["kinds"].get("message", 0) for lines in heads) == 16


def test_each_manifest_names_the_one_before_and_ends_with_its_own_hash(root, archive):
    fill(archive)
    paths = manifests(root)

    for before, path in zip([None, *paths], paths, strict=False):
        lines = path.read_bytes().splitlines(keepends=True)
        named = orjson.loads(lines[0])["previous"]
        assert orjson.loads(lines[-1]) == {"sha256": hashlib.sha256(b"".join(lines[:-1])).hexdigest()}
        assert named == (
            before and {"name": f"acme/{before.name}", "sha256": hashlib.sha256(before.read_bytes()).hexdigest()}
        )


def test_nothing_new_on_the_same_day_writes_no_manifest(root, archive, reopen):
    ledger = fill(archive)
    before = manifests(root)

    archive.close(state(ledger, days=2))
    reopen().close(state(ledger, days=2))

    assert manifests(root) == before


def test_an_empty_day_is_a_manifest_too(root, archive):
    ledger = fill(archive)

    archive.close(state(ledger, days=3))
    archive.close(state(ledger, days=4))

    assert len(manifests(root)) == 5
    assert [len(read(path)) - 2 for path in manifests(root)[3:]] == [0, 0]
    assert verify_archive(root).flaws == []


def test_a_ledger_that_nothing_was_delivered_of_has_a_manifest(root, archive):
    ledger = make_ledger("acme", 5)

    archive.close(state(ledger, lanes=[]))

    assert read(manifests(root)[0])[0]["segments"] == 0
    assert verify_archive(root).ok


def test_a_run_cut_before_its_manifest_is_listed_by_the_next_one(root, archive, reopen):
    ledger = fill(archive)
    more = make_ledger("acme", 50)
    consent = lane_of(more, Lane.CONSENT)
    push(archive, consent[len(lane_of(ledger, Lane.CONSENT)) :])
    archive.shut()
    cut = verify_archive(root)

    again = reopen()
    push(again, consent)  # the retry, which writes nothing
    again.close(state(more, lanes=[Lane.CONSENT], days=2))

    assert [flaw.file for flaw in cut.flaws] == ["acme/000000000003.manifest.jsonl"]
    assert verify_archive(root).flaws == []


@pytest.mark.parametrize("damage", ["manifest", "newest segment", "segment before it"])
def test_no_manifest_is_written_on_top_of_damage(root, archive, reopen, damage):
    ledger = fill(archive)
    more = make_ledger("acme", 50)
    owed = lane_of(more, Lane.CONSENT)[len(lane_of(ledger, Lane.CONSENT)) :]
    push(archive, owed[:2])
    push(archive, owed[2:])
    path = {
        "manifest": manifests(root)[-1],
        "newest segment": root / f"acme/consent/{owed[2].pos:012d}.segment.jsonl",
        "segment before it": root / f"acme/consent/{owed[0].pos:012d}.segment.jsonl",
    }[damage]
    path.write_bytes(path.read_bytes().replace(b"assent", b"absent", 1))

    with pytest.raises(SuspendedError) as seen:
        reopen().close(state(more, days=5))

    assert path.name in seen.value.advice
    assert path.name in {flaw.file.rpartition("/")[2] for flaw in verify_archive(root).flaws}


def test_no_manifest_is_written_where_a_segment_is_missing(root, archive, reopen):
    ledger = fill(archive)
    more = make_ledger("acme", 50)
    owed = lane_of(more, Lane.CONSENT)[len(lane_of(ledger, Lane.CONSENT)) :]
    push(archive, owed[:2])
    push(archive, owed[2:])
    (root / f"acme/consent/{owed[0].pos:012d}.segment.jsonl").unlink()

    with pytest.raises(SuspendedError) as seen:
        reopen().close(state(more, days=5))

    assert f"{owed[0].pos:012d}.segment.jsonl is missing" in seen.value.advice
