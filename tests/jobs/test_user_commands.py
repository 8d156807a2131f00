"""`user` and `token`: people and programs are let in, changed and shut out from the command line."""

import json
import sqlite3
from contextlib import closing

import pytest

PASSWORD = "four quite ordinary words"
ANN = "ann@bank.example"


def entries(place, *kinds):
    rows = place.run("export", "--format", "jsonl", "-o", "-", "--lane", "audit").lines
    return [row for row in rows if row["kind"] in kinds]


def test_a_user_is_made_with_a_link_to_choose_a_password(acme):
    made, listed = acme.run_all(
        ("user", "add", "Ann@Bank.example", "--name", "Ann Lee", "--role", "reports", "--org", "acme", "--json"),
        ("user", "list", "--json"),
    )

    assert made.code == 0, made.err
    assert (made.json["login"], made.json["roles"], made.json["organization"]) == (ANN, ["reports"], "acme")
    assert made.json["link"].startswith("http://127.0.0.1:8080/portal/welcome/")
    assert [(one["login"], one["state"]) for one in listed.lines] == [(ANN, "no_password")]


def test_a_list_of_one_organization_is_as_long_as_asked_for_whoever_else_there_is(acme):
    below, all_of_it = ("--org", "acme"), ()
    users = zip(("ann", "bea", "cyd", "dee", "eve"), (all_of_it, below, all_of_it, below, below), strict=True)
    tokens = zip(("one", "two", "crm"), (all_of_it, all_of_it, below), strict=True)
    ended = acme.run_all(
        *(("user", "add", f"{name}@bank.example", "--role", "reports", *org) for name, org in users),
        *(("token", "create", name, "--scope", "entries.read", *org) for name, org in tokens),
        ("user", "list", "--org", "acme", "--limit", "2", "--json"),
        ("token", "list", "--org", "acme", "--limit", "1", "--json"),
    )

    assert [one.code for one in ended] == [0] * 10
    assert [one["login"] for one in ended[-2].lines] == ["bea@bank.example", "dee@bank.example"]
    assert [one["name"] for one in ended[-1].lines] == ["crm"]


def test_a_list_of_an_organization_that_is_none_is_no_empty_list(acme):
    for what, refused in zip(
        ("user", "token"), acme.run_all(("user", "list", "--org", "nope"), ("token", "list", "--org", "nope")),
        strict=True,
    ):  # fmt: skip
        assert (refused.code, refused.out) == (2, ""), what
        assert "there is no organization of this id: see `assent org list`" in refused.err


def test_a_password_from_standard_input_is_kept_as_argon2id_and_written_nowhere(acme):
    made = acme.run("user", "add", ANN, "--role", "setup", "--password-stdin", told=PASSWORD + "\n")
    again = acme.run("user", "passwd", ANN, "--password-stdin", told="five other very ordinary words\n")

    assert (made.code, again.code) == (0, 0), made.err + again.err
    stored = (acme.folder / "var/assent.db").read_bytes()
    stored += b"".join(path.read_bytes() for path in acme.folder.glob("var/assent.db-*"))
    assert b"$argon2id$v=19$m=65536,t=3,p=4$" in stored
    assert PASSWORD.encode() not in stored


def test_every_change_of_a_user_is_an_entry_with_who_did_it_and_no_name_in_its_body(acme):
    ends = acme.run_all(
        ("user", "add", ANN, "--name", "Ann Lee", "--role", "reports", "--org", "acme"),
        ("user", "set", ANN, "--role", "setup", "--role", "operations", "--name", "Ann Smith"),
        ("user", "disable", ANN),
        ("user", "enable", ANN),
        ("user", "link", ANN, "--sign-in", "--json"),
    )

    assert [end.code for end in ends] == [0] * 5, [end.err for end in ends]
    found = [row for row in entries(acme, "setting", "access") if row["body"].get("id", "").startswith("usr-")]
    assert [row["body"].get("setting") or row["body"]["operation"] for row in found] == [
        "user", "link", "user", "user", "user", "link",
    ]  # fmt: skip
    assert {row["organization"] for row in found} == {"acme"}
    assert all(row["body"]["actor"].startswith("cli-") for row in found)
    assert found[2]["body"]["after"] == {"roles": ["operations", "setup"], "of": "acme", "disabled": False}
    assert found[2]["values"]["name_before"]["value"] == "Ann Lee"
    assert not [row for row in found if "Ann" in json.dumps(row["body"]) or "ann@" in json.dumps(row["body"])]


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (("user", "add", ANN), 2, "--role is missing"),
        (("user", "add", "a b", "--role", "setup"), 2, "without blanks"),
        (("user", "add", ANN, "--role", "king"), 2, "king"),
        (("user", "add", ANN, "--role", "setup", "--org", "nobody"), 2, "assent org list"),
        (("user", "set", ANN, "--role", "setup"), 2, "assent user list"),
        (("user", "set", ANN), 2, "nothing to change"),
        (("user", "set", ANN, "--org", "acme", "--all-orgs"), 2, "exclude each other"),
        (("user", "passwd", ANN), 2, "--password-stdin"),
        (("user", "link", ANN), 2, "assent user list"),
        (("user", "sessions", ANN), 2, "assent user list"),
        (("token", "create", "crm"), 2, "--scope is missing"),
        (("token", "create", "crm", "--scope", "everything"), 2, "no scope everything"),
        (("token", "create", " ", "--scope", "all"), 2, "say what it is for"),
        (("token", "create", "crm", "--scope", "all", "--expires", "soon"), 2, "--expires"),
        (("token", "create", "crm", "--scope", "all", "--expires", "2020-01-01T00:00:00Z"), 2, "future"),
        (("token", "create", "crm", "--scope", "all", "--org", "nobody"), 2, "assent org list"),
        (("token", "revoke", "tok-0"), 2, "assent token list"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(acme, command, code, told):
    [ended] = acme.run_all(command)

    assert ended.code == code
    assert told in ended.err


def test_a_password_that_is_easy_to_guess_is_refused_and_nobody_is_made(acme):
    for bad in ("short", "ann@bank.example1", "aaaaaaaaaaaaaaaaaaaa", "12345678901234567890"):
        ended = acme.run("user", "add", ANN, "--role", "setup", "--password-stdin", told=bad + "\n")
        assert ended.code == 8, ended.err
        assert bad not in ended.err
    assert acme.run("user", "list", "--json").lines == []


def test_a_token_is_shown_once_and_listed_without_its_secret(acme):
    made, listed, revoked, after = acme.run_all(
        ("token", "create", "crm", "--scope", "messages,consent.read", "--org", "acme", "--expires", "90d", "--json"),
        ("token", "list", "--json"),
        ("token", "list"),
        ("token", "create", "all of it", "--scope", "all", "--expires", "never", "--json"),
    )

    assert made.code == 0, made.err
    assert made.json["token"].startswith("assent_")
    assert made.json["scopes"] == ["consent.read", "messages"]
    assert (listed.lines[0]["state"], listed.lines[0]["used_at"]) == ("active", None)
    assert made.json["token"] not in listed.out + revoked.out
    assert (after.json["expires_at"], len(after.json["scopes"])) == (None, 11)
    ended = acme.run("token", "revoke", made.json["id"], "--json")
    assert ended.json["state"] == "revoked"
    assert made.json["token"].encode() not in (acme.folder / "var/assent.db").read_bytes()


def test_a_restored_backup_brings_no_ended_session_or_link_back(acme):
    acme.run("user", "add", ANN, "--role", "setup")
    acme.run("sync")
    made = acme.run("db", "backup", "backup.db")

    restored = acme.run("db", "restore", "backup.db", "--yes")

    assert made.code == 0, made.err
    assert restored.code == 0, restored.err
    with closing(sqlite3.connect(acme.folder / "var/assent.db")) as database:
        assert database.execute("SELECT count(*) FROM access_user").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM access_link").fetchone() == (0,)


def test_an_empty_system_tells_the_link_for_its_first_user_and_a_used_one_does_not(place):
    place.run("init")

    empty = logged(place, 2)
    place.run("user", "add", ANN, "--role", "setup")
    used = logged(place, 1)

    assert [one["link"].partition("/welcome/")[0] for one in empty if one["event"] == "users.none"] == [
        empty[0]["url"] + "/portal"
    ]
    assert not [one for one in used if one["event"] == "users.none"]


def logged(place, lines):
    """Return what a server logs from its start to its end, which comes after so many lines."""
    server = place.start("serve", "--port", "0", "--no-jobs")
    try:
        told = [server.stderr.readline() for _ in range(lines)]
    finally:
        server.terminate()
        _, rest = server.communicate(timeout=30)
    return [json.loads(line) for line in [*told, *rest.splitlines()]]
