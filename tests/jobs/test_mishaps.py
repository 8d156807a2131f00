"""When something is wrong: a sentence that says what to do, the right code, nothing lost, nothing personal shown."""

import json
import sys

import pytest
from sqlalchemy import make_url

CANARIES = ("4045550123", "4155550100", "Zanzibar", "nine o'clock")

# Root may write anywhere; without these capabilities its processes obey the modes of files like anyone's.
OBEYING = """
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
SMALL_DISK = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def canary(text):
    return lambda *given, **more: text(*given, **more) | {
        "text": "see you at nine o'clock", "employee": {"id": "e1", "name": "Zanzibar Quill"},
    }  # fmt: skip


def lines_of(*texts):
    return "".join(json.dumps(one) + "\n" for one in texts)


def shows_nothing(ended):
    return not [canary for canary in CANARIES if canary in ended.err]


def test_a_database_without_tables_ends_4_and_names_the_command(bare):
    ended = bare.run("status")

    assert ended.code == 4
    assert "assent db upgrade" in ended.err


def test_bad_settings_end_4_with_all_faults_at_once(place):
    (place.folder / "settings.toml").write_text('[server]\nprot = 1\n[database]\nurl = "oracle:///x"\n')

    ended = place.run("ingest", "-", ASSENT_SERVER__TOKEN="short")

    assert ended.code == 4
    assert all(key in ended.err for key in ("server.prot", "database.url", "server.token"))
    assert "short" not in ended.err


def test_a_read_only_database_ends_4_and_nothing_is_taken(acme, canary):
    for path in acme.folder.joinpath("var").iterdir():
        path.chmod(0o400)
    acme.folder.joinpath("var").chmod(0o500)

    refused = acme.run("ingest", "-", told=lines_of(canary("Hi")), under=(sys.executable, "-c", OBEYING))

    acme.folder.joinpath("var").chmod(0o700)
    for path in acme.folder.joinpath("var").iterdir():
        path.chmod(0o600)
    assert (refused.code, refused.out) == (4, "")
    assert "read-only" in refused.err or "can't be opened" in refused.err
    assert shows_nothing(refused)
    assert acme.run("ingest", "-", told=lines_of(canary("Hi"))).code == 0


def test_a_postgresql_that_only_reads_ends_4(place, make_postgres_url, postgres, canary):
    url = make_postgres_url()
    name = make_url(url).database
    assert place.run("org", "create", "acme", "--name", "Acme", ASSENT_DATABASE__URL=url).code == 0
    postgres.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    refused = place.run("ingest", "-", told=lines_of(canary("Hi")), ASSENT_DATABASE__URL=url)

    assert (refused.code, refused.out) == (4, "")
    assert "read-only" in refused.err
    assert shows_nothing(refused)


def test_a_database_that_is_away_ends_1_as_it_may_come_back(place):
    ended = place.run("status", ASSENT_DATABASE__URL="postgresql://somebody@127.0.0.1:1/assent")

    assert ended.code == 1
    assert "can't be reached" in ended.err
    assert "somebody" not in ended.err


def test_a_full_disk_ends_1_and_what_was_answered_is_kept(acme, canary):
    texts = lines_of(*(canary("Hi", contact=f"+1404555{n:04}") for n in range(100, 800)))
    (acme.folder / "texts.jsonl").write_text(texts)

    full = acme.run("ingest", "texts.jsonl", under=(sys.executable, "-c", SMALL_DISK))
    after, verified = acme.run_all(("ingest", "texts.jsonl"), ("verify",))

    assert full.code == 1
    assert "disk" in full.err
    assert shows_nothing(full)
    assert after.code == 0
    assert after.out.startswith(full.out)
    assert verified.code == 0


def test_a_file_that_is_no_database_ends_4(acme, canary):
    for path in acme.folder.joinpath("var").iterdir():
        path.unlink()
    acme.folder.joinpath("var/assent.db").write_bytes(b"nine o'clock +14045550123 " * 1000)

    ended = acme.run("ingest", "-", told=lines_of(canary("Hi")))

    assert ended.code == 4
    assert "no SQLite database" in ended.err
    assert shows_nothing(ended)


def test_a_path_that_cannot_be_made_ends_4(place):
    (place.folder / "file").write_text("")

    ended = place.run("status", ASSENT_DATABASE__URL="sqlite:///file/below/assent.db")

    assert ended.code == 4
    assert "[database] url" in ended.err


def test_an_archive_that_is_gone_ends_5_and_delivers_when_it_is_back(acme, canary):
    (acme.folder / "first.jsonl").write_text(lines_of(canary("Hi")))
    (acme.folder / "second.jsonl").write_text(lines_of(canary("Hi", "10:05")))
    acme.run_all(("ingest", "first.jsonl"), ("sync",))
    (acme.folder / "var/archive").rename(acme.folder / "var/away")

    _, away = acme.run_all(("ingest", "second.jsonl"), ("sync", "--json"))

    (acme.folder / "var/away").rename(acme.folder / "var/archive")
    back = acme.run("sync", "--json")
    assert away.code == 5
    assert away.json["destinations"][0]["owed"] > 0
    assert shows_nothing(away)
    assert (back.code, back.json["destinations"][0]["owed"]) == (0, 0)


def test_a_reader_that_goes_away_leaves_no_traceback(acme, canary):
    texts = lines_of(*(canary("Hi", contact=f"+1404555{n:04}") for n in range(100, 1100)))
    (acme.folder / "texts.jsonl").write_text(texts)
    running = acme.start("ingest", "texts.jsonl")
    running.stdout.readline()
    running.stdout.close()

    err = running.stderr.read()
    running.stderr.close()

    assert running.wait() == 1
    assert err == ""
