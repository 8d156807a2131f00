"""Batches for an archive vendor on a real OpenSSH server: whole or not there, deterministic, acknowledged."""

import io
import json
import os
import subprocess
import time
import zipfile
from dataclasses import replace
from hashlib import sha256

import asyncssh
import pytest

from connectors.archive.dropbox import Dropbox
from connectors.archive.flaws import Cause
from connectors.archive.stored import store
from connectors.archive.verify import verify_store
from consent.kinds import Lane
from sync.port import Batch, Receipt, Refusal, SuspendedError, TransientError
from tests.archive.archive_samples import fill, lane_of, make_ledger, push, state, until_taken
from tests.archive.conftest import known_at

STEM = "acme/consent/000000000000.segment"
CONSENT = lane_of(make_ledger("acme", 13), Lane.CONSENT)


@pytest.fixture
def incoming(sshd):
    """Where the batches arrive."""
    return sshd.place / "incoming"


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def code_of(archive, entries=CONSENT):
    with pytest.raises((TransientError, SuspendedError)) as raised:
        push(archive, entries)
    return type(raised.value), raised.value.code


def test_a_batch_is_a_zip_of_mails_and_the_record_with_a_manifest_that_coreutils_can_check(dropbox, incoming, tmp_path):
    push(dropbox, CONSENT)
    dropbox.close(state(make_ledger("acme", 13), lanes=[Lane.CONSENT]))

    manifest = json.loads((incoming / f"{STEM}.json").read_bytes())
    zipped = (incoming / f"{STEM}.zip").read_bytes()
    with zipfile.ZipFile(incoming / f"{STEM}.zip") as pack:
        pack.extractall(tmp_path)
        names = pack.namelist()
        times = {one.date_time for one in pack.infolist()}
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)

    assert files(incoming) == [
        "acme/000000000000.manifest.jsonl", f"{STEM}.json", f"{STEM}.zip", "assent-archive.json",
    ]  # fmt: skip
    assert manifest["zip"] == {
        "bytes": len(zipped), "name": "000000000000.segment.zip", "sha256": sha256(zipped).hexdigest(),
    }  # fmt: skip
    assert names == [*(f"eml/{one.id}.eml" for one in CONSENT), "segment.jsonl", "SHA256SUMS"]
    assert [one["entry"] for one in manifest["files"]] == [one.id for one in CONSENT]
    assert manifest["count"] == len(CONSENT)
    assert times == {(1980, 1, 1, 0, 0, 0)}
    assert checked.returncode == 0, checked.stdout
    assert not any("4045550123" in name for name in [*names, *files(incoming)])


def test_a_zip_is_what_the_standard_library_makes_of_the_same_files():
    files = [("eml/a.eml", b"words\r\n" * 500), ("segment.jsonl", b""), ("SHA256SUMS", bytes(range(256)))]
    theirs = io.BytesIO()

    with zipfile.ZipFile(theirs, "w") as archive:
        for name, data in files:
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr = 3, 0o100640 << 16
            archive.writestr(member, data)

    assert store(files) == theirs.getvalue()
    with pytest.raises(ValueError, match="65,534"):
        store([(f"{at}", b"") for at in range(65_535)])


def test_the_same_entries_are_the_same_bytes_whenever_and_wherever_they_are_sent(connect, sshd, dropbox_settings):
    copies = []
    for name in ("one", "two"):
        archive = connect(Dropbox(replace(dropbox_settings, path=f"{sshd.place}/{name}")))
        archive.prepare()
        push(archive, CONSENT)
        copies.append([(sshd.place / name / f"{STEM}{end}").read_bytes() for end in (".zip", ".json")])
        time.sleep(1.1)  # a ZIP would keep the second

    assert copies[0] == copies[1]


def test_a_cut_all_along_an_upload_ends_as_one_batch_of_the_right_bytes(
    connect, sshd, dropbox_settings, dropbox, incoming, wire, archive, root
):
    between = wire(sshd.port)
    cut = connect(Dropbox(known_at(sshd, dropbox_settings, between.port)), read_back=1.0)
    cut.check()  # connected: what is cut from now on is the upload
    piece = cuts = 0

    while between.cuts == cuts:
        # An upload is some 85 pieces: two folders, and of two files open, write, fsync, close, rename and what is asked
        # in between. Every third will do, as each request is answered before the next one goes.
        piece, cuts = piece + 3, cuts + 1
        organization = f"acme-{piece}"
        entries = lane_of(make_ledger(organization, 13), Lane.CONSENT)
        push(archive, entries)
        between.cut_before(piece)
        receipts = until_taken(cut, entries)

        name = f"{organization}/consent/000000000000.segment"
        assert [one.remote_id for one in receipts] == [f"{name}.jsonl"] * len(entries)
        left = [name for name in files(incoming / organization) if not name.endswith(".part")]
        assert left == ["consent/000000000000.segment.json", "consent/000000000000.segment.zip"], piece
        zipped = (incoming / f"{name}.zip").read_bytes()
        assert json.loads((incoming / f"{name}.json").read_bytes())["zip"]["sha256"] == sha256(zipped).hexdigest()
        with zipfile.ZipFile(incoming / f"{name}.zip") as pack:
            assert pack.read("segment.jsonl") == (root / f"{name}.jsonl").read_bytes()
            assert len(pack.namelist()) == len(entries) + 2

    assert cuts > 15


def test_a_crash_between_zip_and_manifest_is_completed_with_the_same_bytes(
    connect, dropbox, incoming, dropbox_settings
):
    push(dropbox, CONSENT)
    manifest = (incoming / f"{STEM}.json").read_bytes()
    (incoming / f"{STEM}.json").unlink()
    again = connect(Dropbox(dropbox_settings))

    # The batch may have other bounds now: more was recorded meanwhile.
    longer = lane_of(make_ledger("acme", 30), Lane.CONSENT)
    with pytest.raises(TransientError) as raised:
        push(again, longer)
    settled = again.push(Batch("acme", "consent", longer))

    assert raised.value.code == "archive_busy"
    assert (incoming / f"{STEM}.json").read_bytes() == manifest
    assert [type(one) for one in settled] == [Receipt] * len(CONSENT)


def test_a_zip_that_is_there_with_other_bytes_is_never_written_over(connect, sshd, dropbox_settings, dropbox, incoming):
    for folder in (incoming / "acme", incoming / "acme/consent"):
        folder.mkdir()
        folder.chmod(0o777)
    (incoming / f"{STEM}.zip").write_bytes(b"PK somebody else's")

    assert code_of(dropbox) == (SuspendedError, "archive_damaged")

    assert (incoming / f"{STEM}.zip").read_bytes() == b"PK somebody else's"
    assert not (incoming / f"{STEM}.json").exists()


def test_another_content_under_a_held_position_is_an_alarm_and_stays(dropbox, incoming):
    push(dropbox, CONSENT)
    before = (incoming / f"{STEM}.zip").read_bytes()

    outcomes = dropbox.push(Batch("acme", "consent", lane_of(make_ledger("acme", 13, text="START"), Lane.CONSENT)))

    assert {one.code for one in outcomes if isinstance(one, Refusal)} == {"tamper"}
    assert (incoming / f"{STEM}.zip").read_bytes() == before


def test_a_server_with_another_key_gets_nothing(connect, sshd, dropbox_settings, dropbox):
    other = sshd.known_hosts.with_name("known_other")
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    other.write_text(f"[127.0.0.1]:{sshd.port} {stranger}")
    archive = connect(
        Dropbox(replace(dropbox_settings, remote=replace(dropbox_settings.remote, known_hosts=str(other))))
    )

    assert code_of(archive) == (SuspendedError, "archive_host_key")
    assert [one.ok for one in archive.check()] == [False]


def test_a_wrong_key_of_ours_and_a_forbidden_folder_wait_for_a_person(connect, sshd, dropbox_settings, dropbox):
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    stranger = connect(Dropbox(replace(dropbox_settings, remote=replace(dropbox_settings.remote, private_key=key))))

    assert code_of(stranger) == (SuspendedError, "archive_forbidden")
    (sshd.place / "incoming").chmod(0o500)
    assert code_of(dropbox) == (SuspendedError, "archive_forbidden")
    (sshd.place / "incoming").chmod(0o700)
    assert push(dropbox, CONSENT)


def test_a_full_disk_is_waited_for_and_leaves_nothing(connect, sshd, dropbox_settings, dropbox, incoming):
    dropbox.shut()
    sshd.stop()
    sshd.start(file_size=3000)
    assert code_of(connect(Dropbox(dropbox_settings))) == (TransientError, "archive_full")
    left = [name for name in files(incoming) if not name.endswith((".part", "assent-archive.json"))]

    sshd.stop()
    sshd.start()

    assert left == []
    assert push(connect(Dropbox(dropbox_settings)), CONSENT)


def test_a_server_that_is_gone_and_comes_back_is_taken_up_again(dropbox, sshd):
    push(dropbox, CONSENT[:2])
    assert sshd.hang_up() > 0

    receipts = until_taken(dropbox, CONSENT[2:])

    assert [one.pos for one in dropbox.find("acme", "consent", 0, 99)] == [one.pos for one in CONSENT]
    assert len(receipts) == len(CONSENT) - 2


def test_flipped_missing_extra_truncated_and_swapped_files_are_named(connect, dropbox, incoming, dropbox_settings):
    fill(dropbox)
    store = Dropbox(dropbox_settings)
    assert verify_store(store).flaws == []
    zips = sorted(path for path in incoming.rglob("*.zip"))
    first, second, third = zips[0], zips[1], zips[2]

    def named(path):
        flaws = verify_store(store).flaws
        stem = str(path.relative_to(incoming)).removesuffix(".zip").removesuffix(".json")
        return any(flaw.file.startswith(stem) for flaw in flaws)

    def flip(data):
        return data[:500] + bytes([data[500] ^ 4]) + data[501:]

    for change in (lambda data: data[: len(data) // 2], lambda data: b"", flip):
        whole = first.read_bytes()
        first.write_bytes(change(whole))
        assert named(first)
        first.write_bytes(whole)
    manifest = second.with_suffix(".json")
    kept = manifest.read_bytes()
    manifest.unlink()
    assert named(second)
    manifest.write_bytes(kept)
    third.rename(third.with_suffix(".kept"))
    assert named(third)
    third.with_suffix(".kept").rename(third)
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    assert named(first)
    assert named(second)
    first.write_bytes(one)
    second.write_bytes(other)
    assert verify_store(store).flaws == []
    store.shut()


class TestReceipts:
    """What the archive says of what it took."""

    @pytest.fixture
    def settings(self, sshd, dropbox_settings):
        receipts = sshd.place / "receipts"
        receipts.mkdir()
        receipts.chmod(0o755)
        return replace(dropbox_settings, receipts=str(receipts), deadline=0.0)

    @pytest.fixture
    def vendor(self, sshd, incoming):
        """Write the archive's receipt for a batch, its items as told."""

        def write(stem, *, status="archived", only=None, sha=None):
            manifest = json.loads((incoming / f"{stem}.json").read_bytes())
            items = [
                {"name": one["name"], "sha256": one["sha256"], "status": status, "reason": ""}
                for one in manifest["files"] if only is None or one["entry"] in only
            ]  # fmt: skip
            told = {"format": "assent-receipt/1", "batch": stem, "sha256": sha or manifest["zip"]["sha256"],
                    "items": items}  # fmt: skip
            path = sshd.place / "receipts" / f"{stem}.receipt.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(told))

        return write

    @pytest.fixture
    def archive(self, connect, settings):
        archive = connect(Dropbox(settings))
        archive.prepare()
        return archive

    @staticmethod
    def age(incoming):
        for path in incoming.rglob("*.json"):
            os.utime(path, (time.time() - 60, time.time() - 60))

    def test_a_receipt_for_all_settles_it_duplicates_too(self, archive, incoming, vendor):
        push(archive, CONSENT[:3])
        self.age(incoming)
        assert archive.unacknowledged("acme", "consent") == [0, 1, 2]

        vendor(STEM, status="duplicate")

        assert archive.unacknowledged("acme", "consent") == []
        assert len(list(archive.find("acme", "consent", 0, 99))) == 3

    def test_what_a_receipt_lacks_fails_or_has_another_hash_of_is_owed(self, archive, incoming, vendor):
        push(archive, CONSENT[:3])
        self.age(incoming)

        vendor(STEM, only={CONSENT[0].id})
        assert archive.unacknowledged("acme", "consent") == [1, 2]
        vendor(STEM, status="failed")
        assert archive.unacknowledged("acme", "consent") == [0, 1, 2]
        vendor(STEM, sha="0" * 64)
        assert archive.unacknowledged("acme", "consent") == [0, 1, 2]

    def test_within_the_deadline_silence_is_no_answer(self, connect, settings, vendor):
        patient = connect(Dropbox(replace(settings, deadline=3600.0)))
        patient.prepare()
        push(patient, CONSENT[:3])

        assert patient.unacknowledged("acme", "consent") == []
        assert len(list(patient.find("acme", "consent", 0, 99))) == 3

    def test_it_is_sent_again_five_times_and_then_a_dead_letter_until_the_receipt_comes(
        self, archive, incoming, vendor, connect, settings
    ):
        push(archive, CONSENT[:2])
        for _ in range(5):
            self.age(incoming)
            assert archive.unacknowledged("acme", "consent") == [0, 1]
            push(connect(Dropbox(settings)), CONSENT[:2], late=True)
        self.age(incoming)

        given_up = archive.push(Batch("acme", "consent", CONSENT[:2], late=True))
        stems = sorted(path.stem for path in incoming.rglob("*.zip"))
        vendor(f"acme/consent/{stems[-1]}")
        after = archive.push(Batch("acme", "consent", CONSENT[:2], late=True))

        assert [one.code for one in given_up] == ["unacknowledged"] * 2
        assert len(stems) == 6
        assert [type(one) for one in after] == [Receipt] * 2
        assert {flaw.cause for flaw in verify_store(Dropbox(settings)).flaws} <= {Cause.UNLISTED, Cause.REPEATED}
