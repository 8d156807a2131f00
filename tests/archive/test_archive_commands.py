"""The commands of an archive, each transport set up in settings as a person would, on real servers."""

import json

import pytest

from jobs.settings import load_settings
from jobs.settings.faults import SettingsError
from tests.archive.s3_server import ACCESS_KEY, SECRET_KEY
from tests.archive.smtp_server import PASSWORD, USER
from tests.jobs.conftest import Place

_TEXTS = "\n".join(
    json.dumps(
        {"id": f"SM{at}", "org": "acme", "channel": "sms", "sender": sender, "line": "+14155550100",
         "employee": {"id": "e1", "name": "Ann Lee"}, "contact": "+14045550123", "text": words,
         "sent_at": f"2026-11-23T10:00:0{at}Z"}
    )
    for at, (sender, words) in enumerate([("employee", "Hi"), ("contact", "YES"), ("contact", "STOP")])
)  # fmt: skip


def place_with(folder, destination):
    """Return a folder whose one destination is an archive, after three texts were delivered to it."""
    folder.mkdir()
    (folder / "settings.toml").write_text(f'[destinations.archive]\nkind = "archive"\n{destination}')
    (folder / "texts").write_text(_TEXTS)
    place = Place(folder)
    ended = place.run_all(
        ("db", "upgrade"), ("org", "create", "acme", "--name", "Acme"), ("feature", "set", "acme", "sms_opt_in", "on"),
        ("ingest", "texts"), ("sync", "--json"), ("sync", "--json"), ("status", "--json"),
        ("reconcile", "--destination", "archive", "--json"),
    )  # fmt: skip
    assert [one.code for one in ended] == [0] * len(ended), [one.err for one in ended]
    [status] = ended[-2].json["destinations"]
    assert (status["owed"], status["state"]) == (0, "ok")
    return place


def entries_of(place):
    return sum(one["size"] for one in place.run("status", "--json").json["ledgers"])


@pytest.fixture
def in_bucket(tmp_path, s3):
    """A folder that delivers to a bucket, and the bucket's address."""
    settings = s3.settings
    (tmp_path / "secret").write_text(SECRET_KEY)
    place = place_with(
        tmp_path / "place",
        f'transport = "s3"\nbucket = "{settings.bucket}"\nprefix = "{settings.prefix}"\n'
        f'endpoint_url = "{settings.endpoint_url}"\naccess_key_id = "{ACCESS_KEY}"\n'
        'secret_access_key_file = "../secret"\n',
    )
    return place, f"s3://{settings.bucket}/{settings.prefix}"


@pytest.fixture
def on_server(tmp_path, sshd):
    """A folder that delivers to an SFTP server, and the archive's address."""
    settings = sshd.settings
    (tmp_path / "key").write_text(settings.private_key)
    place = place_with(
        tmp_path / "place",
        f'transport = "sftp"\nhost = "{settings.host}"\nport = {settings.port}\nusername = "{settings.username}"\n'
        f'private_key_file = "../key"\nknown_hosts_file = "{settings.known_hosts}"\n'
        f'remote_path = "{sshd.place}/incoming"\n',
    )
    return place, f"sftp://{settings.host}:{settings.port}{sshd.place}/incoming"


def test_a_bucket_is_delivered_to_reconciled_and_verified_by_its_address(in_bucket, s3):
    place, address = in_bucket

    alone, compared, unknown = place.run_all(
        ("verify", "--archive", address, "--json"), ("verify", "--ledger", "--archive", address, "--json"),
        ("verify", "--archive", "ftp://x/y"),
    )  # fmt: skip
    s3.client.delete_object(Bucket=s3.bucket, Key=s3.key("acme/consent/000000000000.segment.jsonl"))
    hidden = place.run("verify", "--archive", address)

    assert alone.code == 0, alone.out
    assert compared.code == 0, compared.out
    assert [one["subject"] for one in compared.json["verified"]] == ["ledger acme", "ledger system", "archive"]
    assert alone.json["verified"][0]["entries"] == entries_of(place) > 10
    assert unknown.code == 2
    assert "s3://BUCKET/PREFIX" in unknown.err
    assert hidden.code == 6
    assert "acme/consent/000000000000.segment.jsonl: is hidden by a delete marker" in hidden.out


def test_a_hold_is_set_and_lifted_on_the_objects_as_the_command_ends(in_bucket, s3):
    place, _ = in_bucket

    def held():
        keys = [key for key in s3.keys if key.startswith("acme/messages/")]
        heads = [s3.client.head_object(Bucket=s3.bucket, Key=s3.key(key)) for key in keys]
        return {head.get("ObjectLockLegalHoldStatus") == "ON" for head in heads}

    [put] = place.run_all(
        ("hold", "set", "case-1", "--org", "acme", "--contact", "+14045550123", "--reason", "subpoena", "--json")
    )
    during = held()
    [refused, lifted] = place.run_all(
        ("erase", "+14045550123", "--org", "acme", "--reason", "asked", "--yes"),
        ("hold", "lift", "case-1", "--org", "acme", "--reason", "closed", "--yes", "--json"),
    )

    assert put.code == 0, put.err
    [archive] = put.json["archives"]
    assert (archive["destination"], archive["done"], archive["files"] > 0) == ("archive", True, True)
    assert during == {True}
    assert (refused.code, "legal hold" in refused.err) == (8, True)
    assert lifted.code == 0
    assert held() == {False}


def test_an_sftp_server_is_delivered_to_reconciled_and_verified_by_its_address(on_server, sshd):
    place, address = on_server

    alone, unknown = place.run_all(("verify", "--archive", address), ("verify", "--archive", "sftp://elsewhere/x"))
    zipped = sshd.place / "incoming/acme/consent/000000000000.segment.zip"
    data = bytearray(zipped.read_bytes())
    data[len(data) // 2] ^= 1
    zipped.write_bytes(data)
    flipped, reconciled = place.run_all(("verify", "--archive", address), ("reconcile", "--json"))

    assert alone.code == 0, alone.out
    assert (unknown.code, "no destination in the settings" in unknown.err) == (2, True)
    assert flipped.code == 6
    assert "acme/consent/000000000000.segment" in flipped.out
    assert reconciled.code == 6


def test_mails_are_delivered_and_what_was_accepted_is_verified(tmp_path, smtpd):
    (tmp_path / "password").write_text(PASSWORD)
    place = place_with(
        tmp_path / "place",
        f'transport = "smtp"\nhost = "localhost"\nport = {smtpd.port}\nusername = "{USER}"\n'
        f'password_file = "../password"\nca_bundle = "{smtpd.folder}/ca.pem"\nsender = "assent@bank.example"\n'
        'recipient = "journal@archive.example"\ndomain = "ledger.bank.example"\ntime_zone = "America/New_York"\n',
    )

    verified = place.run("verify", "--archive", "var/archive", "--json")
    mails = [mail for mail in smtpd.mails if "X-Assent-Entry" in mail]

    assert verified.code == 0, verified.out
    assert len(mails) == verified.json["verified"][0]["entries"] == entries_of(place)
    assert all(mail["Message-ID"].endswith("@ledger.bank.example>") for mail in mails)
    assert any("America/New_York" in mail.get_body().get_content() for mail in mails)


@pytest.mark.parametrize(
    ("transport", "lacks"),
    [
        ("s3", ["bucket"]),
        ("sftp", ["host", "username", "known_hosts_file", "private_key_file"]),
        ("smtp", ["host", "sender", "recipient"]),
    ],
)
def test_settings_that_lack_something_are_told_all_at_once(tmp_path, transport, lacks):
    (tmp_path / "settings.toml").write_text(
        f'[destinations.vault]\nkind = "archive"\ntransport = "{transport}"\ntime_zone = "Mars/Olympus"\n'
    )

    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path / "settings.toml", {})

    told = [fault.key for fault in raised.value.faults]
    assert sorted(told) == sorted(f"destinations.vault.{name}" for name in (*lacks, "time_zone"))
