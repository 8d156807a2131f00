"""What the clock does for archives: locks and holds follow the ledger, and what isn't acknowledged is sent again."""

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connectors.archive.bucket import Bucket
from connectors.archive.dropbox import Dropbox
from consent.holds import Cover, Covered, lift_hold, set_hold
from consent.ledger import newest_head
from consent.retention import DAY, DEFAULT_DAYS, kept_until
from consent.tags import Tags
from jobs.archiving import protect_archives, send_again
from sync.destinations import Destination
from sync.intake import Intake
from sync.migrate import tag_key
from tests.sync.sync_world import deliver_all, found, set_aside_for, text

BO = "+14045550001"


@pytest.fixture
def told(make_sqlite_url, open_databases):
    """A ledger with texts of two contacts."""
    database = open_databases(make_sqlite_url())
    found(database, "acme")
    take(
        database,
        text("Hi", contact=0),
        text("YES", contact=0, at=1),
        text("Hi", contact=1),
        text("STOP", contact=1, at=2),
    )
    return database


def take(database, *texts):
    intake = Intake(database)
    intake.take(list(texts))
    intake.close()


def locks_of(s3, lane):
    """Return until when and whether each segment of a lane is locked and held, by its name."""
    found_ = {}
    for key in s3.keys:
        if f"/{lane}/" in key or (lane == "manifest" and "manifest" in key):
            head = s3.client.head_object(Bucket=s3.bucket, Key=s3.key(key))
            found_[key] = head["ObjectLockRetainUntilDate"], head.get("ObjectLockLegalHoldStatus") == "ON"
    return found_


class TestInBuckets:
    @pytest.fixture
    def to(self, connect, bucket_settings, told):
        """A bucket that locks for a day only, so that every lock has to be made longer; delivered to."""
        archive = connect(Bucket(replace(bucket_settings, retention_days=1)), batch=2)
        archive.prepare()
        to = Destination("vault", archive, organizations=frozenset({"acme"}))
        deliver_all(told, to)
        return to

    def test_locks_last_as_long_as_their_entries_are_kept_and_grow_with_the_last_text(self, told, to, s3):
        first = protect_archives(told, [to])
        again = protect_archives(told, [to])
        consent, manifests = locks_of(s3, "consent"), locks_of(s3, "manifest")
        with told.read() as tx:
            kept = kept_until(tx, "acme", "consent", 0, 1)
            size = newest_head(tx, "acme").size

        assert first[0].changed == len(consent) + len(locks_of(s3, "messages")) + len(locks_of(s3, "audit")) + len(
            manifests
        )
        assert (again[0].changed, again[0].advice) == (0, "")
        now = datetime.now(UTC)
        for until, held in {**consent, **manifests}.values():
            assert timedelta(days=DEFAULT_DAYS - 1) < until - now < timedelta(days=DEFAULT_DAYS + 31)
            assert not held
        take(told, text("Hello again", contact=0, at=90))
        with told.read() as tx:
            relied_on = kept_until(tx, "acme", "consent", 0, 1)
            written = max(
                row[0]
                for row in tx.exec_driver_sql(
                    f"SELECT recorded_at FROM entry WHERE organization = 'acme' AND seq >= {size}"
                )
            )
        assert relied_on == written + DEFAULT_DAYS * DAY > kept

    def test_a_hold_is_on_the_objects_that_hold_what_is_held_and_goes_when_it_is_lifted(self, told, to, s3):
        with told.read() as tx:
            tags = Tags(tag_key(tx))
        with told.write() as tx:
            set_hold(tx, tags, "acme", "case-1", [Covered(Cover.CONTACT, BO)], actor="u1", note="subpoena", now=1)

        protect_archives(told, [to], organization="acme")
        held = {key for key, (_, held) in locks_of(s3, "messages").items() if held}
        free = {key for key, (_, held) in locks_of(s3, "messages").items() if not held}
        manifest = locks_of(s3, "manifest")["acme/000000000000.manifest.jsonl"]
        with told.write() as tx:
            lift_hold(tx, tags, "acme", "case-1", None, actor="u1", note="closed", now=2)
        protect_archives(told, [to], organization="acme")

        store = Bucket(s3.settings)
        assert held
        assert free
        for key in held | free:
            assert (BO.encode() in store.read(key)) is (key in held)
        assert manifest[1]
        assert not any(held for _, held in {**locks_of(s3, "messages"), **locks_of(s3, "manifest")}.values())

    def test_a_bucket_that_is_away_is_told_and_the_next_run_does_it(self, told, to, s3, connect, bucket_settings):
        away = Destination("vault", connect(Bucket(replace(bucket_settings, endpoint_url="http://127.0.0.1:9"))))

        [failed] = protect_archives(told, [away])

        assert failed.changed == 0
        assert "doesn't answer" in failed.advice
        assert protect_archives(told, [to])[0].changed > 0


class TestUnacknowledged:
    @pytest.fixture
    def settings(self, sshd, dropbox_settings):
        (sshd.place / "receipts").mkdir()
        (sshd.place / "receipts").chmod(0o755)
        return replace(dropbox_settings, receipts=str(sshd.place / "receipts"), deadline=0.5)

    def test_it_goes_out_five_times_more_by_itself_and_ends_as_a_dead_letter(self, told, settings, connect, sshd):
        archive = connect(Dropbox(settings))
        archive.prepare()
        to = Destination("vendor", archive, organizations=frozenset({"acme"}))
        deliver_all(told, to)
        with told.read() as tx:
            size = newest_head(tx, "acme").size
        incoming = sshd.place / "incoming"

        # All but one batch is acknowledged.
        stems = sorted(str(path.relative_to(incoming)).removesuffix(".zip") for path in incoming.rglob("*.zip"))
        for stem in stems[1:]:
            acknowledge(sshd, stem)
        sent = []
        for _ in range(7):
            age(incoming)
            sent.append(send_again(told, [to]))
            deliver_all(told, to)
        refused = set_aside_for(told, to, "refused")

        assert 0 < sent[0] < size
        assert sent == [*[sent[0]] * 6, 0]
        assert {one.code for one in refused} == {"unacknowledged"}
        assert len(refused) == sent[0]
        assert len(list(incoming.rglob("*.zip"))) == len(stems) + 5
        assert set_aside_for(told, to, "waiting") == []

    def test_what_is_acknowledged_is_left_alone(self, told, settings, connect, sshd):
        archive = connect(Dropbox(settings))
        archive.prepare()
        to = Destination("vendor", archive)
        deliver_all(told, to)
        for path in (sshd.place / "incoming").rglob("*.zip"):
            acknowledge(sshd, str(path.relative_to(sshd.place / "incoming")).removesuffix(".zip"))
        age(sshd.place / "incoming")

        assert send_again(told, [to]) == 0
        assert set_aside_for(told, to) == []


def acknowledge(sshd, stem):
    manifest = json.loads((sshd.place / "incoming" / f"{stem}.json").read_bytes())
    items = [{"name": one["name"], "sha256": one["sha256"], "status": "archived"} for one in manifest["files"]]
    told = {"format": "assent-receipt/1", "batch": stem, "sha256": manifest["zip"]["sha256"], "items": items}
    path = sshd.place / "receipts" / f"{stem}.receipt.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told))


def age(folder):
    for path in folder.rglob("*.json"):
        os.utime(path, (time.time() - 60, time.time() - 60))
