"""What a real S3 with Object Lock refuses, and what we find where it can't refuse."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from connectors.archive.bucket import Bucket
from connectors.archive.flaws import Cause
from connectors.archive.store import Protection
from connectors.archive.verify import verify_store
from consent.kinds import Lane
from sync.port import Batch, Refusal, SuspendedError, TransientError
from tests.archive.archive_samples import fill, lane_of, make_ledger, push, state, until_taken
from tests.archive.s3_server import OTHER_KEY, OTHER_SECRET

SEGMENT = "acme/consent/000000000000.segment.jsonl"
MANIFEST = "acme/000000000000.manifest.jsonl"


@pytest.fixture
def consent(bucket):
    """Six entries of a lane, delivered and closed."""
    entries = lane_of(make_ledger("acme", 13), Lane.CONSENT)
    push(bucket, entries)
    bucket.close(state(make_ledger("acme", 13), lanes=[Lane.CONSENT]))
    return entries


def causes(settings):
    report = verify_store(Bucket(settings))
    return {(flaw.file, flaw.cause) for flaw in report.flaws}, [(note.file, note.cause) for note in report.notes]


def refused(call, *codes, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    assert raised.value.response["Error"]["Code"] in codes


def test_the_service_itself_refuses_to_delete_shorten_downgrade_or_overwrite(s3, consent, bucket_settings):
    where = {"Bucket": s3.bucket, "Key": s3.key(SEGMENT), "VersionId": s3.versions(SEGMENT)[0]}
    found = s3.client.head_object(**where)
    until = found["ObjectLockRetainUntilDate"]

    def lock(mode, when):
        return {"Retention": {"Mode": mode, "RetainUntilDate": when}} | where

    assert found["ObjectLockMode"] == "COMPLIANCE"
    assert timedelta(days=2590) < until - datetime.now(UTC) < timedelta(days=2593)
    refused(s3.client.delete_object, "AccessDenied", **where)
    refused(s3.client.delete_object, "AccessDenied", BypassGovernanceRetention=True, **where)
    refused(s3.client.put_object_retention, "AccessDenied", **lock("COMPLIANCE", until - timedelta(days=1)))
    refused(s3.client.put_object_retention, "AccessDenied", **lock("GOVERNANCE", until + timedelta(days=1)))
    refused(
        s3.client.put_bucket_versioning, "InvalidBucketState",
        Bucket=s3.bucket, VersioningConfiguration={"Status": "Suspended"},
    )  # fmt: skip
    # S3 takes another object of the name; ours stays, counts, and the stranger is found.
    s3.client.put_object(Bucket=s3.bucket, Key=s3.key(SEGMENT), Body=b"other bytes\n")
    assert Bucket(bucket_settings).read(SEGMENT).startswith(b'{"count":')
    assert (SEGMENT, Cause.REWRITTEN) in causes(bucket_settings)[0]


def test_a_delete_marker_hides_nothing_from_us_and_is_found(s3, bucket, consent, bucket_settings):
    s3.client.delete_object(Bucket=s3.bucket, Key=s3.key(SEGMENT))
    s3.client.delete_object(Bucket=s3.bucket, Key=s3.key(MANIFEST))

    flaws, _ = causes(bucket_settings)
    held = list(bucket.find("acme", "consent", 0, 99))
    again = push(bucket, consent)

    assert flaws == {(SEGMENT, Cause.HIDDEN), (MANIFEST, Cause.HIDDEN)}
    assert [one.pos for one in held] == [one.pos for one in consent]
    assert {one.remote_id for one in again} == {SEGMENT}
    assert len(s3.versions(SEGMENT)) == 1


def test_an_equal_second_version_is_worth_knowing_and_no_flaw(s3, consent, bucket_settings):
    s3.client.put_object(Bucket=s3.bucket, Key=s3.key(SEGMENT), Body=Bucket(bucket_settings).read(SEGMENT))

    flaws, notes = causes(bucket_settings)

    assert flaws == set()
    assert (SEGMENT, Cause.LEFTOVER) in notes


def test_a_segment_that_is_there_with_other_bytes_is_an_alarm_and_stays(s3, bucket, consent, connect, bucket_settings):
    elsewhere = replace(bucket_settings, prefix=f"{bucket_settings.prefix}-b")
    other = connect(Bucket(elsewhere))
    other.prepare()
    push(other, lane_of(make_ledger("acme", 13, text="START"), Lane.CONSENT))

    outcomes = other.push(Batch("acme", "consent", consent))

    assert {type(one) for one in outcomes} == {Refusal}
    assert {one.code for one in outcomes} == {"tamper"}
    assert len(s3.client.list_object_versions(Bucket=s3.bucket, Prefix=f"{elsewhere.prefix}/acme/")["Versions"]) == 1


def test_of_many_writers_of_one_name_one_wins_and_all_see_the_same_bytes(bucket_settings, bucket):
    stores = [Bucket(bucket_settings) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda at: stores[at].create("acme/consent/x", b"%d\n" % at), range(4)))
    read = {store.read("acme/consent/x") for store in stores}

    assert won.count(True) == 1
    assert read == {b"%d\n" % won.index(True)}


def test_a_lock_is_made_longer_and_never_shorter_and_a_hold_set_and_lifted(s3, bucket, consent):
    def look(name=SEGMENT):
        return s3.client.head_object(Bucket=s3.bucket, Key=s3.key(name))

    first = look()["ObjectLockRetainUntilDate"]
    far = datetime.now(UTC).replace(microsecond=0) + timedelta(days=4000)
    asked = []

    def protect(until, held=False):
        def ask(first, last):
            asked.append((first, last))
            return Protection(until, held)

        return bucket.protect("acme", "consent", ask)

    assert protect(first - timedelta(days=1)) == (0, first - timedelta(days=1))
    assert look()["ObjectLockRetainUntilDate"] == first
    assert protect(far) == (1, far)
    longer = look()["ObjectLockRetainUntilDate"]
    assert longer == far + timedelta(days=30)
    assert protect(far + timedelta(days=29))[0] == 0
    assert protect(far, held=True)[0] == 1
    assert look()["ObjectLockLegalHoldStatus"] == "ON"
    assert protect(far, held=False)[0] == 1
    assert look()["ObjectLockLegalHoldStatus"] == "OFF"
    assert look()["ObjectLockRetainUntilDate"] == longer
    assert set(asked) == {(0, 5)}
    assert bucket.protect_manifests("acme", Protection(far, held=True)) == 1
    assert look(MANIFEST)["ObjectLockLegalHoldStatus"] == "ON"


def test_governance_with_a_hold_keeps_what_a_bypass_would_free(s3, connect, bucket_settings):
    weaker = replace(bucket_settings, lock="governance", legal_hold=True, retention_days=1)
    archive = connect(Bucket(weaker))
    archive.prepare()
    push(archive, lane_of(make_ledger("acme", 5), Lane.CONSENT))
    where = {"Bucket": s3.bucket, "Key": s3.key(SEGMENT), "VersionId": s3.versions(SEGMENT)[0]}

    refused(s3.client.delete_object, "AccessDenied", BypassGovernanceRetention=True, **where)
    changed = archive.protect("acme", "consent", lambda *_: Protection(datetime.now(UTC), held=False))
    s3.client.put_object_legal_hold(LegalHold={"Status": "OFF"}, **where)
    refused(s3.client.delete_object, "AccessDenied", **where)
    s3.client.delete_object(BypassGovernanceRetention=True, **where)

    assert changed[0] == 0  # the settings say that all is held
    assert s3.versions(SEGMENT) == []


def test_a_bucket_that_does_not_lock_is_refused_at_the_start(s3, connect, bucket_settings):
    plain = f"plain-{bucket_settings.prefix.rpartition('/')[2]}"
    s3.client.create_bucket(Bucket=plain)
    archive = connect(Bucket(replace(bucket_settings, bucket=plain)))

    with pytest.raises(SuspendedError) as raised:
        archive.prepare()

    assert raised.value.code == "archive_unlocked"
    assert [one.ok for one in archive.check()] == [False]
    assert "Contents" not in s3.client.list_objects_v2(Bucket=plain)


def test_no_key_a_strangers_key_and_no_bucket_are_told_apart(connect, bucket_settings):
    def code(**changed):
        with pytest.raises((SuspendedError, TransientError)) as raised:
            connect(Bucket(replace(bucket_settings, **changed))).prepare()
        return raised.value.code

    assert code(secret_access_key="wrong") == "archive_forbidden"
    assert code(access_key_id=OTHER_KEY, secret_access_key=OTHER_SECRET) == "archive_forbidden"
    assert code(bucket="nowhere-at-all") == "archive_missing"


def test_an_upload_that_is_cut_anywhere_ends_as_one_object_of_the_right_bytes(
    s3, s3_server, wire, connect, bucket_settings
):
    between = wire(s3_server.port)
    entries = lane_of(make_ledger("acme", 400), Lane.CONSENT)

    def place(name):
        settings = replace(bucket_settings, prefix=f"{bucket_settings.prefix}/{name}")
        connect(Bucket(settings)).prepare()
        url = f"http://127.0.0.1:{between.port}"
        return settings, connect(Bucket(replace(settings, endpoint_url=url)), read_back=1.0)

    _, smooth = place("smooth")
    expected = push(smooth, entries)
    whole = between.sent

    for cut, share in enumerate((0.002, 0.1, 0.5, 0.9, 0.998), 1):
        settings, archive = place(f"cut-{cut}")
        between.cut_after(int(whole * share))
        receipts = until_taken(archive, entries)

        assert between.cuts == cut
        assert receipts == expected
        assert list(s3.client.get_paginator("list_object_versions").paginate(
            Bucket=s3.bucket, Prefix=f"{settings.prefix}/acme/"
        ).search("Versions[].Key")) == [f"{settings.prefix}/{SEGMENT}"]  # fmt: skip


def test_an_answer_that_is_lost_leaves_one_object_and_a_retry_settles_it(s3, s3_server, wire, connect, bucket_settings):
    between = wire(s3_server.port)
    connect(Bucket(bucket_settings)).prepare()
    archive = connect(Bucket(replace(bucket_settings, endpoint_url=f"http://127.0.0.1:{between.port}")))
    entries = lane_of(make_ledger("acme", 400), Lane.CONSENT)

    between.swallow_answers(1)
    receipts = until_taken(archive, entries)

    assert between.cuts == 1
    assert {one.remote_id for one in receipts} == {SEGMENT}
    flaws, _ = causes(bucket_settings)
    assert {cause for _, cause in flaws} <= {Cause.UNLISTED}


def test_a_flipped_missing_or_foreign_object_is_found_by_its_name(s3, connect, bucket, bucket_settings):
    fill(bucket)
    assert causes(bucket_settings) == (set(), [])
    copy = replace(bucket_settings, prefix=f"{bucket_settings.prefix}-copy")

    # What a lock forbids there, whoever keeps a copy can do.
    victims = [key for key in s3.keys if key.startswith("acme/")]
    gone, flipped = victims[3], victims[-1]
    for key in s3.keys:
        data = bytearray(s3.client.get_object(Bucket=s3.bucket, Key=s3.key(key))["Body"].read())
        if key == flipped:
            data[len(data) // 2] ^= 1
        if key != gone:
            s3.client.put_object(Bucket=s3.bucket, Key=f"{copy.prefix}/{key}", Body=bytes(data))
    s3.client.put_object(Bucket=s3.bucket, Key=f"{copy.prefix}/acme/consent/notes.txt", Body=b"hello")
    flaws, _ = causes(copy)

    files = {file for file, _ in flaws}
    assert {gone, flipped, "acme/consent/notes.txt"} <= files
    assert ("acme/consent/notes.txt", Cause.FOREIGN) in flaws
