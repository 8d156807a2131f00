"""`proof`, `verify FILE`, `keys` and `erase` as whoever must convince somebody uses them."""

import json

from tests.jobs.test_commands import lines_of


def test_an_entry_is_proven_offline_and_the_key_changes_without_breaking_it(bare, text):
    bare.run("init")
    (bare.folder / "texts").write_text(lines_of(text("Hi", sender="employee"), text("YES", "10:05")))
    _, _, taken, made, again, listed = bare.run_all(
        ("org", "create", "acme", "--name", "Acme Bank"),
        ("feature", "set", "acme", "sms_opt_in", "on"),
        ("ingest", "texts"),
        ("proof", "acme-000000000005", "-o", "proof.json", "--json"),
        ("proof", "acme-000000000005", "-o", "proof.json"),
        ("keys", "list", "--json"),
    )
    assert taken.code == 0
    key = listed.lines[0]["key"]
    (bare.folder / "elsewhere").mkdir()
    told = json.loads((bare.folder / "proof.json").read_text())
    told["entry"]["body"]["reason"] = "other"
    (bare.folder / "bent.json").write_text(json.dumps(told))
    (bare.folder / "torn.json").write_bytes((bare.folder / "proof.json").read_bytes().replace(b"{", b"z", 1))

    alone, trusted, bent, torn, nothing, missing, asked, rotated, after, still, unknown = bare.run_all(
        ("--config", "/nowhere.toml", "verify", "proof.json", "--json"),
        ("verify", "proof.json", "--key", key, "--json"),
        ("verify", "bent.json"),
        ("verify", "torn.json"),
        ("verify", "texts"),
        ("verify", "nowhere.json"),
        ("keys", "rotate"),
        ("keys", "rotate", "--yes", "--json"),
        ("keys", "list", "--json"),
        ("verify", "proof.json", "--key", key, "--json"),
        ("proof", "acme-000000009999", "-o", "-"),
    )

    assert (made.code, made.json["key"], again.code) == (0, key, 2)
    assert (alone.code, alone.json["ok"], alone.json["trusted"]) == (0, True, False)
    assert (trusted.code, trusted.json["trusted"]) == (0, True)
    assert (bent.code, "leaf hash" in bent.out) == (6, True)
    assert (torn.code, "damaged" in torn.err) == (6, True)
    assert (nothing.code, missing.code, unknown.code) == (6, 2, 2)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert (rotated.code, rotated.json["before"]) == (0, key)
    assert {(row["key"], row["in_force"]) for row in after.lines} == {(key, False), (rotated.json["key"], True)}
    assert still.json["ok"]


def test_an_erasure_names_its_organization_only_where_there_are_several(bare, text):
    (bare.folder / "texts").write_text(lines_of(text("Hi", sender="employee"), text("YES", "10:05")))
    bare.run_all(("db", "upgrade"), ("org", "create", "acme", "--name", "Acme Bank"), ("ingest", "texts"))

    asked, only, _, several = bare.run_all(
        ("erase", "+14045550123", "--reason", "on request"),
        ("erase", "+14045550123", "--reason", "on request", "--yes", "--json"),
        ("org", "create", "other", "--name", "Other Bank"),
        ("erase", "+14045550123", "--reason", "on request", "--yes"),
    )

    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert (only.code, only.json["conversations"], only.json["entries"] > 0) == (0, 1, True)
    assert (several.code, "--org" in several.err) == (2, True)
