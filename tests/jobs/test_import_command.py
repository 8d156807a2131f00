"""`assent import` and `assent line import` as a customer uses them: their own lists, as they come."""

import csv
import io
import json
import re
import shlex
import shutil
import signal
import stat
import time
from datetime import datetime
from pathlib import Path

import xlsxwriter

from consent.database import open_database
from consent.ledger import walk

IMPORTING = Path(__file__).parents[2] / "jobs/importing"
HEAD = "Phone,Line,Consent,Date,Evidence\n"
GOOD = "(404) 555-0123,415-555-0100,yes,2025-01-02T10:00:00Z,form 1\n"


def bring(place, name, content, *options):
    """Write a list and import it; return how the command ended, and its summary."""
    (place.folder / name).write_text(content)
    [ended] = place.run_all(("import", name, "--org", "acme", "--json", *options))
    return ended, json.loads(ended.out) if ended.out else None


def decisions(place):
    database = open_database(f"sqlite:///{place.folder}/var/assent.db")
    with database.read() as tx:
        found = [entry for entry in walk(tx, "acme") if entry.kind == "decision"]
    database.dispose()
    return found


def states(place, contact):
    [shown] = place.run_all(("consent", "show", contact, "--json"))
    return {(one["line"], one["channel"]): one["state"] for one in shown.json}


def test_each_documented_command_brings_its_example_in(acme):
    shutil.copytree(IMPORTING / "examples", acme.folder / "examples")
    commands = re.findall(r"^```sh\n(.*?)\n```$", (IMPORTING / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    given = [tuple(shlex.split(command)[1:]) for command in commands]

    ended = acme.run_all(*(("--json", *one) for one in given))

    assert [Path(one[2 if one[0] == "line" else 1]).stem for one in given] == [
        "carrier",
        "vendor",
        "salesforce",
        "lines",
    ]
    assert [one.code for one in ended] == [0, 0, 0, 0], [one.err for one in ended]
    carrier, vendor, salesforce, lines = (one.json for one in ended)
    assert carrier["opted_out"] == 3
    assert (vendor["opted_in"], vendor["opted_out"]) == (2, 2)
    assert (salesforce["opted_out"], salesforce["skipped"]) == (2, 4)
    assert lines["registered"] == 2
    assert states(acme, "+14045550135") == {("+14155550100", "text"): "opted_out"}
    assert {entry.revealed()["evidence"] for entry in decisions(acme)} >= {"STOP", "Letter, scanned as 069-77"}
    assert any(entry.revealed().get("employee_name") == "Zoë Núñez" for entry in decisions(acme))


WRONG = [
    ("404,415-555-0100,yes,2025-01-02T10:00:00Z,form", "`contact` has too many or too few digits"),
    ("1.4045550123E+10,415-555-0100,yes,2025-01-02T10:00:00Z,form", "a spreadsheet has shortened"),
    (",415-555-0100,yes,2025-01-02T10:00:00Z,form", "`contact` is missing"),
    ("404-555-0124,,yes,2025-01-02T10:00:00Z,form", "names the line"),
    ("404-555-0124,415-555-0100,perhaps,2025-01-02T10:00:00Z,form", "`consent` is opted_in or opted_out"),
    ("404-555-0124,415-555-0100,Implicitly Opted In,2025-01-02T10:00:00Z,form", "`consent` is opted_in or opted_out"),
    ("404-555-0124,415-555-0100,,2025-01-02T10:00:00Z,form", "`consent` is missing"),
    ("404-555-0124,415-555-0100,yes,03/04/2025,form", "without guessing"),
    ("404-555-0124,415-555-0100,yes,2025-01-02 10:00,form", "--timezone"),
    ("404-555-0124,415-555-0100,yes,2999-01-02T10:00:00Z,form", "future"),
    ("404-555-0124,415-555-0100,yes,0001-01-01T00:00:00+14:00,form", "before 1990"),
    ("404-555-0124,415-555-0100,yes,,form", "`at` is missing"),
    ("404-555-0124,415-555-0100,yes,2025-01-02T10:00:00Z,", "`evidence` is missing"),
    ("404-555-0124,415-555-0100,yes,2025-01-02T10:00:00Z,form,more,still", "more than the 5 cells"),
    (f"404-555-0124,415-555-0100,yes,2025-01-02T10:00:00Z,{'x' * 10_001}", "longer than 10,000"),
    (f"404-555-0124,415-555-0100,yes,2025-01-02T10:00:00Z,{'x' * 70_000}", "longer than 65,536"),
    ("(404) 555-0123,+1 415 555 0100,opted in,2025-01-02T11:00:00+01:00,form 1", "the same as row 2"),
]


def test_what_cannot_be_taken_is_told_by_its_row_and_the_rest_is_taken(acme):
    ended, told = bring(acme, "list.csv", HEAD + GOOD + "".join(f"{line}\n" for line, _ in WRONG))

    assert ended.code == 3
    assert (told["opted_in"], told["rejected"]) == (1, len(WRONG))
    for number, (error, (_, reason)) in enumerate(zip(told["errors"], WRONG, strict=True), 3):
        assert error["row"] == number
        assert reason in error["detail"]
    assert "404" not in ended.err


def test_rejected_rows_come_back_as_they_were_to_be_mended_and_imported(acme):
    _, told = bring(acme, "list.csv", HEAD + GOOD + '"404-555-0124",415-555-0100,yes,2025-01-02T10:00:00Z,\n')
    kept = acme.folder / told["rejected_file"]
    [rejected] = csv.DictReader(io.StringIO(kept.read_text("utf-8-sig")))
    mended = kept.read_text("utf-8-sig").replace("10:00:00Z,,", "10:00:00Z,form 2,")

    ended, again = bring(acme, "mended.csv", mended)

    assert (rejected["Phone"], rejected["row"]) == ("404-555-0124", "3")
    assert rejected["error"].startswith("`evidence` is missing")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert (ended.code, again["opted_in"]) == (0, 1)


def test_the_same_list_again_changes_nothing_in_whatever_form(acme):
    said = {"Phone": "+14045550123", "LINE": "+14155550100", "consent": "opted_in", "evidence": "form 1",
            "date": "2025-01-02T05:00:00-05:00"}  # fmt: skip
    (acme.folder / "list.csv").write_text(HEAD + GOOD)
    (acme.folder / "list.jsonl").write_text(json.dumps(said) + "\n")

    ended = acme.run_all(
        *(("import", name, "--org", "acme", "--json") for name in ("list.csv", "list.csv", "list.jsonl"))
    )

    assert [(one.json["opted_in"], one.json["already_imported"]) for one in ended] == [(1, 0), (0, 1), (0, 1)]
    assert len(decisions(acme)) == 1


def test_a_dry_run_says_what_would_become_and_writes_nothing(acme):
    rows = (
        HEAD
        + GOOD
        + "404-555-0123,,no,2025-06-01,letter\n404-555-0123,415-555-0100,yes,2024-01-01,old\n404,,no,2025-01-01,x\n"
    )

    ended, told = bring(acme, "list.csv", rows, "--dry-run", "--timezone", "UTC")
    files, entries = sorted(one.name for one in acme.folder.iterdir()), decisions(acme)
    _, taken = bring(acme, "list.csv", rows, "--timezone", "UTC")

    assert ended.code == 3
    assert (told["opted_in"], told["opted_out"], told["superseded"], told["rejected"]) == (1, 1, 1, 1)
    assert (files, entries) == (["list.csv", "settings.toml", "var"], [])
    assert {name: taken[name] for name in ("opted_in", "opted_out", "superseded", "rejected")} == {
        name: told[name] for name in ("opted_in", "opted_out", "superseded", "rejected")
    }


def test_a_list_is_read_in_the_encoding_and_with_the_marks_that_it_has(acme):
    rows = [
        ["\u00a0Mobile phone ", "LINE", "Status", "consent-date", "Evidence", "Notes"],
        [],
        ["(404) 555-0123", "415-555-0100", "Unsubscribed", "2025-01-02T10:00:00Z", "Brief, Größe 5; \u20ac", "a\nb"],
    ]
    forms = [("utf-8", ",", ""), ("utf-8", ";", "\ufeff"), ("utf-16-le", "\t", "\ufeff"), ("utf-16-be", ",", "\ufeff"),
             ("cp1252", ";", "")]  # fmt: skip
    for number, (encoding, delimiter, mark) in enumerate(forms):
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter).writerows(rows)
        (acme.folder / f"{number}.csv").write_bytes((mark + text.getvalue()).encode(encoding))

    ended = acme.run_all(*(("import", f"{number}.csv", "--org", "acme", "--json") for number in range(len(forms))))

    assert [one.code for one in ended] == [0] * len(forms), [one.err for one in ended]
    assert [one.json["opted_out"] for one in ended] == [1, 0, 0, 0, 0]
    assert [one.json["already_imported"] for one in ended] == [0, 1, 1, 1, 1]
    assert decisions(acme)[0].revealed()["evidence"] == "Brief, Größe 5; \u20ac"


def test_a_sheet_is_read_with_its_numbers_and_dates_as_a_person_sees_them(acme):
    shown = datetime.fromisoformat("2025-01-02T10:00")
    with xlsxwriter.Workbook(acme.folder / "list.xlsx", {"strings_to_formulas": False}) as book:
        book.add_worksheet("Notes").write(0, 0, "nothing here")
        sheet = book.add_worksheet("Consents")
        sheet.write_row(2, 1, ["Phone", "Line", "Consent", "Date", "Evidence"])
        for number, (phone, evidence) in enumerate(
            [(14045550123, "form 1"), (14045550124, "=HYPERLINK(1)"), (14045550125, "")]
        ):
            sheet.write_row(4 + number, 1, [phone, 14155550100, "yes"])
            sheet.write_datetime(4 + number, 4, shown, book.add_format({"num_format": "m/d/yy h:mm"}))
            sheet.write(4 + number, 5, evidence)
    options = ("import", "list.xlsx", "--org", "acme", "--json", "--timezone", "America/New_York")

    wrong, nowhere, right = acme.run_all(options, (*options, "--sheet", "Elsewhere"), (*options, "--sheet", "Consents"))

    assert (wrong.json["rejected"], nowhere.code, right.code) == (0, 2, 3)
    assert "Notes, Consents" in nowhere.err
    assert (right.json["opted_in"], [error["row"] for error in right.json["errors"]]) == (2, [7])
    first, second = decisions(acme)
    assert (first.facts()["decision"], first.occurred_at) == ("opted_in", 1_735_830_000_000_000)
    assert second.revealed()["evidence"] == "=HYPERLINK(1)"
    assert "14045550125,14155550100,yes,2025-01-02T10:00:00,,7," in (acme.folder / "list.xlsx.rejected.csv").read_text()


def test_hostile_cells_are_kept_as_they_are_and_hurt_nobody(acme):
    evil = ["=cmd|' /C calc'!A0", "\x00\x07 \u202e", "'; DROP TABLE entry; --", "[bold]x[/bold]", "\ud83d\ude00" * 500]
    rows = [
        {"contact": f"+1404555{at:04d}", "consent": "stop", "at": "2025-01-02T10:00:00Z", "evidence": one, "note": one}
        for at, one in enumerate(evil)
    ]
    lines = "".join(json.dumps(one) + "\n" for one in rows)
    broken = (
        '[1]\n"x"\nnull\n{"contact": {"a": 1}, "evidence": ["\\ud800"]}\n{\n'
        + "[" * 5000
        + "\n"
        + '{"a": "'
        + "x" * 70_000
        + '"}\n'
    )

    ended, told = bring(acme, "list.jsonl", lines + broken)

    assert (ended.code, told["opted_out"], told["rejected"]) == (3, 5, 7)
    assert decisions(acme)[2].revealed()["evidence"] == evil[2]
    assert len((acme.folder / "list.jsonl.rejected.jsonl").read_text().splitlines()) == 7


def test_what_a_list_cannot_say_is_told_before_anything_is_taken(acme):
    (acme.folder / "two.csv").write_text("Phone,Mobile,Consent,Date,Evidence\n")
    (acme.folder / "empty.csv").write_text("\n\n")
    (acme.folder / "torn.xlsx").write_bytes(b"PK\x03\x04torn")
    (acme.folder / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    (acme.folder / "good.csv").write_text(HEAD + GOOD)

    ended = acme.run_all(
        ("import", "nowhere.csv"), ("import", "two.csv"), ("import", "empty.csv"), ("import", "torn.xlsx"),
        ("import", "old.xls"), ("import", "good.csv", "--map", "Mobile=contact"),
        ("import", "good.csv", "--map", "Phone=x"),
        ("import", "good.csv", "--set", "at=today"), ("import", "good.csv", "--org", "nobody"),
        ("import", "good.csv", "--timezone", "Mars/Base"), ("import", "good.csv", "--rejected", "good.csv"),
        ("import", "good.csv", "--sheet", "One"), ("import", "two.csv", "--map", "Mobile=contact"),
    )  # fmt: skip

    assert [one.code for one in ended] == [2] * 12 + [0], [one.err for one in ended]
    words = [
        "nowhere.csv", "--map", "no heading", "XLSX", "old Excel", "no column", "COLUMN=NAME", "NAME=VALUE",
        "assent org list", "America/New_York", "another file", "XLSX",
    ]  # fmt: skip
    assert all(word in one.err for one, word in zip(ended, words, strict=False))
    assert decisions(acme) == []


def test_one_proof_for_a_whole_list_serves_opt_outs_only(acme):
    rows = (
        "Phone,Line,Date,Consent\n404-555-0123,415-555-0100,2025-01-02,no\n404-555-0124,415-555-0100,2025-01-02,yes\n"
    )

    _, told = bring(acme, "list.csv", rows, "--timezone", "UTC", "--set", "evidence=list of March")

    assert (told["opted_out"], told["rejected"]) == (1, 1)
    assert "evidence of its own" in told["errors"][0]["detail"]


def test_of_one_day_the_opt_out_wins(acme):
    rows = HEAD + "".join(
        f"404-555-0123,415-555-0100,{said},2025-01-02,{said}\n" for said in ("no", "yes")
    )  # fmt: skip

    _, told = bring(acme, "list.csv", rows, "--timezone", "America/New_York")

    assert (told["opted_out"], told["superseded"]) == (1, 1)
    assert sorted(entry.occurred_at for entry in decisions(acme)) == [1_735_794_000_000_000, 1_735_880_399_999_999]


def test_killed_in_the_middle_and_repeated_the_end_is_the_same(acme):
    rows = "".join(
        f"+1404{2_000_000 + at % 3_000},+1415555000{at % 9},{at % 3 // 2},2025-01-{at % 28 + 1:02d},f{at}\n"
        for at in range(5_000)
    )
    (acme.folder / "list.csv").write_text(HEAD + rows)
    command = ("import", "list.csv", "--org", "acme", "--timezone", "UTC", "--json")
    killed = acme.start(*command)
    while not (met := len(decisions(acme))):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    after_kill = len(decisions(acme))

    [ended] = acme.run_all(command)
    told, entries = ended.json, decisions(acme)

    assert killed.returncode == -signal.SIGKILL
    assert 0 < met <= after_kill < 5_000
    assert (ended.code, told["rows"], told["already_imported"]) == (0, 5_000, after_kill)
    assert sorted(entry.revealed()["evidence"] for entry in entries) == sorted(f"f{at}" for at in range(5_000))


def test_lines_are_registered_from_a_list_and_again_nothing_changes(acme):
    rows = (
        "Line;Employee;Name;Org\n415-555-0100;e1;Ann Lee;\n415-555-0101;e2;Bo Ray;acme\n415-555-0101;e3;Cy;\n"
        "12;e4;Di;\n415-555-0102;;Ed;\n415-555-0103;e5;Fay;nobody\n"
    )

    (acme.folder / "lines.csv").write_text(rows)
    command = ("line", "import", "lines.csv", "--org", "acme", "--json")

    planned, none, ended, repeated, shown = acme.run_all(
        (*command, "--dry-run"),
        ("line", "list", "acme", "--json"),
        command,
        command,
        ("line", "list", "acme", "--json"),
    )

    told, again = ended.json, repeated.json
    assert (planned.code, planned.json["registered"], none.lines) == (3, 2, [])
    assert (ended.code, told["registered"], told["rejected"]) == (3, 2, 4)
    assert [error["code"] for error in told["errors"]] == [
        "duplicate", "invalid_number", "missing_employee_id", "unknown_organization",
    ]  # fmt: skip
    assert (again["registered"], again["unchanged"]) == (0, 2)
    assert [(one["line"], one["employee"]["id"]) for one in shown.lines] == [
        ("+14155550100", "e1"),
        ("+14155550101", "e2"),
    ]
