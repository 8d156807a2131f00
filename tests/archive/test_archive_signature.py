"""A manifest is signed: whoever changes one and makes its hashes anew is found by anybody who has the public key."""

import base64
import hashlib
import re
from itertools import pairwise

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors.archive.directory import Directory
from connectors.archive.flaws import Cause
from connectors.archive.sealed import seal_lines
from connectors.archive.verify import verify_archive
from consent.notes import Signer, new_key
from sync.port import SuspendedError
from tests.archive.archive_samples import fill, make_ledger, state
from tests.jobs.conftest import Place

SIGNER = Signer.read("bank.example/assent", new_key())
STRANGER = Signer.read("bank.example/assent", new_key())


@pytest.fixture
def signing(root, connect):
    """Give a connector to the archive that signs with a key."""

    def open_one(signer=SIGNER):
        connector = connect(Directory(root), signer=signer)
        connector.prepare()
        return connector

    return open_one


def manifests(root, organization="acme"):
    return sorted((root / organization).glob("*.manifest.jsonl"))


def lines_of(path):
    """Return a manifest's lines without the hash at its end."""
    return path.read_bytes().splitlines()[:-1]


def rewrite(path, lines):
    """Put lines in a file's place, with the hash that they give: all that somebody without the key can do."""
    path.write_bytes(seal_lines(lines).data)


def changed(lines):
    """Return a manifest's lines with another time in the first."""
    first, times = re.subn(rb'"recorded_at":"\d{4}', b'"recorded_at":"2025', lines[0], count=1)
    assert (times, first != lines[0]) == (1, True)
    return [first, *lines[1:]]


def relink(paths):
    """Make the chain of manifests whole again after one of them was changed."""
    for before, path in pairwise(paths):
        lines = lines_of(path)
        first = orjson.loads(lines[0])
        first["previous"]["sha256"] = hashlib.sha256(before.read_bytes()).hexdigest()
        rewrite(path, [orjson.dumps(first, option=orjson.OPT_SORT_KEYS), *lines[1:]])


def found(root, *signers):
    flaws = verify_archive(root, keys=[one.verifier for one in signers]).flaws
    return {(flaw.file.rpartition("/")[2], flaw.cause) for flaw in flaws}


def test_anybody_checks_a_manifests_signature_with_a_few_lines_of_their_own(root, signing):
    fill(signing())

    for path in manifests(root):
        *signed, note, _ = path.read_bytes().splitlines(keepends=True)
        text, _, signature = orjson.loads(note)["signature"].partition("\n\n")
        name, encoded = signature.removeprefix("— ").split()
        public = base64.b64decode(SIGNER.verifier.split("+", 2)[2])

        assert text == f"assent-manifest/1\nacme/{path.name}\n{hashlib.sha256(b''.join(signed)).hexdigest()}"
        assert name == "bank.example/assent"
        Ed25519PublicKey.from_public_bytes(public[1:]).verify(base64.b64decode(encoded)[4:], f"{text}\n".encode())


def test_the_same_run_gives_the_same_signed_bytes(root, signing, connect, tmp_path):
    fill(signing())
    again = connect(Directory(tmp_path / "again"), signer=SIGNER)
    again.prepare()
    fill(again)

    assert [one.read_bytes() for one in manifests(root)] == [one.read_bytes() for one in manifests(tmp_path / "again")]


def test_a_whole_archive_is_vouched_for_by_the_key(root, signing):
    fill(signing())

    report = verify_archive(root, keys=[SIGNER.verifier])

    assert (report.flaws, report.notes, report.signed) == ([], [], 3)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_manifest_that_was_changed_and_given_new_hashes_is_named(root, signing, which):
    fill(signing())
    paths = manifests(root)

    rewrite(paths[which], changed(lines_of(paths[which])))
    relink(paths[which:])

    assert found(root) == set()  # without the key, nothing tells
    assert {(paths[at].name, Cause.CHANGED) for at in range(which, 3)} == found(root, SIGNER)


def test_a_signature_taken_away_or_made_with_another_key_is_named(root, signing):
    fill(signing())
    newest = manifests(root)[-1]
    lines = lines_of(newest)

    rewrite(newest, lines[:-1])
    taken = found(root, SIGNER)
    text = "".join(orjson.loads(lines[-1])["signature"].partition("\n\n")[:1]) + "\n"
    rewrite(newest, [*lines[:-1], orjson.dumps({"signature": STRANGER.sign(text)})])
    other = found(root, SIGNER)
    rewrite(newest, [*lines[:-1], b'{"signature":7}'])
    junk = found(root, SIGNER)

    assert taken == other == {(newest.name, Cause.UNSIGNED)}
    assert (newest.name, Cause.CHANGED) in junk


def test_one_manifest_signed_as_another_is_named(root, signing):
    fill(signing())
    paths = manifests(root)
    before, newest = lines_of(paths[1]), lines_of(paths[2])

    rewrite(paths[2], [*newest[:-1], before[-1]])

    assert found(root, SIGNER) == {(paths[2].name, Cause.CHANGED)}


def test_manifests_from_before_the_key_stay_and_are_vouched_for_by_the_first_that_is_signed(root, archive, signing):
    ledger = fill(archive)
    before = verify_archive(root)
    unsigned = found(root, SIGNER)

    signing().close(state(ledger, days=2))  # it says nothing new, but signs
    after = found(root, SIGNER)
    oldest = manifests(root)[0]
    rewrite(oldest, changed(lines_of(oldest)))

    assert (before.flaws, before.notes) == ([], [])
    assert unsigned == {(manifests(root)[2].name, Cause.UNSIGNED)}
    assert (len(manifests(root)), after) == (4, set())
    assert found(root, SIGNER) == {(oldest.name, Cause.REPLACED)}


def test_a_key_that_took_anothers_place_vouches_for_what_that_one_signed(root, signing):
    ledger = fill(signing())
    signing(STRANGER).close(state(ledger, days=9))

    assert found(root, STRANGER) == found(root, STRANGER, SIGNER) == set()
    assert found(root, SIGNER) == {(manifests(root)[-1].name, Cause.UNSIGNED)}
    [note] = verify_archive(root).notes
    assert "--key" in note.problem


@pytest.mark.parametrize("how", ["changed", "unsigned"])
def test_nothing_is_written_on_top_of_a_manifest_that_the_key_did_not_sign(root, signing, how):
    fill(signing())
    newest = manifests(root)[-1]
    lines = lines_of(newest)
    rewrite(newest, changed(lines) if how == "changed" else lines[:-1])

    with pytest.raises(SuspendedError) as raised:
        signing().close(state(make_ledger("acme", 40), days=9))

    assert newest.name in raised.value.advice
    assert len(manifests(root)) == 3


def test_a_process_without_the_key_writes_no_manifest_on_top_of_a_signed_one(root, signing, reopen):
    ledger = fill(signing())

    reopen().close(state(ledger, days=2))  # says nothing new
    with pytest.raises(SuspendedError) as raised:
        reopen().close(state(ledger, days=9))

    assert raised.value.code == "archive_key"
    assert len(manifests(root)) == 3
    assert found(root, SIGNER) == set()


def test_the_command_knows_the_keys_of_its_settings_and_takes_others(tmp_path):
    (tmp_path / "settings.toml").write_text('[destinations.archive]\nkind = "archive"\n')
    place = Place(tmp_path)
    verify = ("verify", "--archive", "var/archive")
    whole = place.run_all(
        ("init",), ("org", "create", "acme", "--name", "Acme"), ("sync",), verify, ("keys", "rotate", "--yes"), verify,
        ("sync",), (*verify, "--key", STRANGER.verifier), (*verify, "--key", "none"),
    )  # fmt: skip
    [newest] = manifests(tmp_path / "var/archive")[-1:]
    rewrite(newest, changed(lines_of(newest)))
    altered = place.run(*verify)

    assert [one.code for one in whole] == [0, 0, 0, 0, 0, 0, 0, 6, 2], [one.err for one in whole]
    assert "is signed by another key" in whole[-2].out
    assert altered.code == 6
    assert f"acme/{newest.name}: was changed" in altered.out
