"""The command line as scripts use it: real processes, what they print where, and the codes that they end with."""

import json
import signal


def lines_of(*texts):
    return "".join(json.dumps(one) + "\n" for one in texts)


def test_an_organization_is_set_up_by_commands_and_rules_follow_from_there(place, text):
    (place.folder / "texts.jsonl").write_text(lines_of(text("Hello", employee=None)))

    *made, taken, orgs, lines, features = place.run_all(
        ("org", "create", "acme", "--name", "Acme Bank"),
        ("--json", "feature", "set", "acme", "sms_opt_in", "on"),
        ("org", "set", "acme", "languages", "en,es"),
        ("line", "set", "acme", "(415) 555-0100", "--employee", "e1", "--name", "Ann Lee"),
        ("ingest", "texts.jsonl"),
        ("org", "list", "--json"),
        ("line", "list", "acme", "--json"),
        ("feature", "list", "acme", "--json"),
    )

    assert [one.code for one in made] == [0, 0, 0, 0]
    assert made[1].json["value"] == "on"
    assert taken.lines[0]["verdict"] == "held"
    assert "Ann Lee" in taken.lines[0]["auto_messages"][0]["text"]
    assert [(one["mode"], one["languages"]) for one in orgs.lines] == [("consent", ["en", "es"])]
    assert [(one["line"], one["employee"]) for one in lines.lines] == [
        ("+14155550100", {"id": "e1", "name": "Ann Lee"})
    ]
    assert {one["feature"]: one["value"] for one in features.lines} == {
        "sms_opt_in": "on", "mode": "consent", "group_messaging": "off",
    }  # fmt: skip


WRONG = [
    (("feature", "set", "acme", "group_messaging", "on"), 8, "sms_opt_in is on"),
    (("feature", "set", "nobody", "sms_opt_in", "on"), 2, "assent org list"),
    (("feature", "set", "acme", "sms_opt_in", "maybe"), 2, "on, off"),
    (("org", "create", "system", "--name", "S"), 2, "not `system`"),
    (("org", "create", "acme", "--name", "A"), 2, "ids are final"),
    (("org", "set", "acme", "opt_out_scope", "world"), 2, "pair, sub_org, org"),
    (("org", "set", "acme", "color", "blue"), 2, "opt_out_scope"),
    (("line", "set", "acme", "12", "--employee", "e1", "--name", "A"), 2, "`line` has too"),
    (("consent", "show", "+14045550123", "--at", "yesterday"), 2, "--at"),
    (("consent", "show", "+14045550123", "--org", "nobody"), 2, "assent org list"),
    (("consent", "show", "+14045550123", "--channel", "pigeon"), 2, "whatsapp"),
    (("ingest", "nowhere.jsonl"), 2, "can't be read"),
    (("entry", "show", "acme-000000009999"), 2, "no entry"),
    (("entry", "show", "acme-5"), 2, "looks like"),
    (("export", "-o", "var/assent.db"), 2, "name another file"),
    (("sync", "--destination", "mars"), 2, "archive"),
    (("resync", "--since", "then"), 2, "--since"),
    (("verify", "--archive", "nowhere"), 5, "mount it"),
    (("serve",), 4, "assent init"),
    (("--config", "nowhere.toml", "status"), 4, "no file nowhere.toml"),
    (("frobnicate",), 2, "No such command"),
]


def test_a_wrong_call_says_what_to_do_and_ends_with_its_code(acme):
    ended = acme.run_all(*(arguments for arguments, _, _ in WRONG))

    for (arguments, code, told), one in zip(WRONG, ended, strict=True):
        assert (one.code, one.out) == (code, ""), arguments
        assert told in one.err, arguments
        assert "Traceback" not in one.err, arguments


def test_a_conversation_goes_all_the_way(acme, text):
    texts = [text("Hi", sender="employee"), text("YES", "10:02"), text("STOP", "10:10"), {"id": "bad"}]
    (acme.folder / "texts.jsonl").write_text(lines_of(*texts))

    taken, again = acme.run_all(("ingest", "texts.jsonl"), ("ingest", "texts.jsonl"))

    assert taken.code == again.code == 3
    assert taken.out == again.out
    assert [one.get("state") for one in taken.lines] == ["pending", "opted_in", "opted_out", None]
    stop = taken.lines[2]["entries"][1]

    then, now, entry, synced, status, verified, exported = acme.run_all(
        ("consent", "show", "4045550123", "--at", "2024-05-06T10:05:00Z", "--json"),
        ("--json", "consent", "show", "+14045550123", "--org", "acme"),
        ("entry", "show", stop, "--json"),
        ("sync", "--json"),
        ("status", "--json"),
        ("verify", "--ledger", "--archive", "var/archive", "--json"),
        ("export", "--org", "acme", "-o", "-"),
    )

    assert [(one["allowed"], one["state"], one["entry"]) for one in then.json] == [
        (True, "opted_in", taken.lines[1]["entries"][1])
    ]
    assert [(one["allowed"], one["state"], one["entry"]) for one in now.json] == [(False, "opted_out", stop)]
    assert (entry.json["id"], entry.json["body"]["decision"]) == (stop, "opted_out")
    assert entry.json["values"]["contact"]["value"] == "+14045550123"
    assert (synced.code, synced.json["destinations"][0]["owed"]) == (0, 0)
    [ledger] = [one for one in status.json["ledgers"] if one["organization"] == "acme"]
    assert ledger["size"] == synced.json["destinations"][0]["settled"]
    assert (verified.code, verified.json["ok"]) == (0, True)
    assert [one["seq"] for one in exported.lines] == list(range(ledger["size"]))


def test_a_changed_byte_in_the_archive_is_named_and_ends_6(acme, text):
    (acme.folder / "texts.jsonl").write_text(lines_of(text("STOP")))
    acme.run_all(("ingest", "texts.jsonl"), ("sync",))
    segment = acme.folder / "var/archive/acme/consent/000000000000.segment.jsonl"
    segment.chmod(0o600)
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"opted_out", b"opted_in_", 1))

    ended = acme.run("verify", "--archive", "var/archive", ASSENT_CONFIG="/nowhere/settings.toml")

    assert ended.code == 6
    assert "no key is known" in ended.err
    assert "acme/consent/000000000000.segment.jsonl" in ended.out
    assert "+14045550123" not in ended.out + ended.err


def test_a_stop_with_half_an_emoji_is_taken(acme, text):
    cut = lines_of(text("Hi", sender="employee")) + json.dumps(text("STOP")).replace("STOP", r"STOP \ud83d") + "\n"
    no_id = json.dumps(text("STOP", id="SM?")).replace("SM?", r"SM\ud83d") + "\n"

    ended = acme.run("ingest", "-", told="\ufeff" + cut + no_id + "not JSON\n" + "[" * 100_000 + "\n")

    assert ended.code == 3
    assert [one.get("state") for one in ended.lines] == ["pending", "opted_out", None, None, None]
    assert ended.lines[1]["flags"] == ["repaired"]
    assert [one["id"] for one in ended.lines[2:]] == ["SM\ud83d", None, None]


def test_an_ingest_that_was_killed_is_taken_again_with_the_same_answers(acme, text):
    texts = [text("Hello", contact=f"+1404555{n:04}") for n in range(100, 2600)]
    (acme.folder / "texts.jsonl").write_text(lines_of(*texts))
    killed = acme.start("ingest", "texts.jsonl")
    answered = [killed.stdout.readline() for _ in range(20)]
    killed.kill()
    answered += [line for line in killed.stdout if line.endswith("\n")]
    killed.communicate()

    ended, verified = acme.run_all(("ingest", "texts.jsonl"), ("verify",))

    assert killed.returncode == -signal.SIGKILL
    assert len(answered) < len(texts)
    assert ended.code == 0
    answers = ended.out.splitlines(keepends=True)
    assert answers[: len(answered)] == answered
    assert len(answers) == len(texts)
    entries = [entry for one in ended.lines for entry in one["entries"]]
    assert len(set(entries)) == len(entries) == 3 * len(texts)
    assert verified.code == 0
