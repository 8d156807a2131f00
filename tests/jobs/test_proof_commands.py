"""`proof`, `verify FILE` and `keys` as whoever must convince somebody uses them."""

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

    alone, trusted, bent, nothing, asked, rotated, after, still, unknown = bare.run_all(
        ("--config", "/nowhere.toml", "verify", "proof.json", "--json"),
        ("verify", "proof.json", "--key", key, "--json"),
        ("verify", "bent.json"),
        ("verify", "texts"),
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
    assert (nothing.code, unknown.code) == (2, 2)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert (rotated.code, rotated.json["before"]) == (0, key)
    assert {(row["key"], row["in_force"]) for row in after.lines} == {(key, False), (rotated.json["key"], True)}
    assert still.json["ok"]
