"""Each form of an export: whole, legible, harmless to whoever opens it, and provable."""

import hashlib
import json
import os
import pty
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import rfc8785

from tests.jobs.export_world import ANN, WORDS, fill, place_in, read_csv, read_eml, read_jsonl, read_pdf, read_xlsx

FORMS = ("jsonl", "csv", "xlsx", "pdf", "eml")


@pytest.fixture(scope="module")
def exported(whole_template, tmp_path_factory):
    """A folder with an export of everything in each form."""
    acme = place_in(tmp_path_factory.mktemp("exported"), whole_template)
    fill(acme.url)
    ended = acme.run_all(*(("export", "--org", "acme", "--format", form, "-o", f"all.{form}") for form in FORMS))
    assert [(one.code, one.out) for one in ended] == [(0, "")] * len(FORMS)
    return acme


def lines_of(place):
    return read_jsonl(place.folder / "all.jsonl")


def revealed(entry):
    return {name: held["value"] for name, held in (entry["values"] or {}).items()}


def sent(place):
    """Return the words of each text, by its entry's id."""
    return {one["id"]: revealed(one)["text"] for one in lines_of(place) if one["kind"] == "message"}


def test_every_form_holds_every_entry_in_order(exported):
    ids = [one["id"] for one in lines_of(exported)]

    assert len(ids) > 40
    assert [one["seq"] for one in lines_of(exported)] == list(range(len(ids)))
    assert [one["id"] for one in read_csv(exported.folder / "all.csv")] == ids
    assert [one["id"] for one in read_xlsx(exported.folder / "all.xlsx")] == ids
    assert [name[4:-4] for name in read_eml(exported.folder / "all.eml")] == ids
    pages = "\n".join(read_pdf(exported.folder / "all.pdf"))
    assert sorted(ids, key=pages.index) == ids


def test_the_json_lines_prove_themselves_to_another_library(exported):
    for one in lines_of(exported):
        leaf = {name: value for name, value in one.items() if name not in ("id", "leaf_hash", "values")}
        assert hashlib.sha256(b"\x00" + rfc8785.dumps(leaf)).hexdigest() == one["leaf_hash"]


def test_no_cell_of_the_csv_is_a_formula_and_no_word_is_lost(exported):
    rows, words = read_csv(exported.folder / "all.csv"), sent(exported)

    for row in rows:
        for cell in row.values():
            assert not cell.lstrip().startswith(tuple("=-@＝＋－＠")), cell
            assert not cell.startswith("+") or cell[1:].isdigit()
    texts = {row["id"]: row["text"] for row in rows if row["kind"] == "message"}
    shown = {id: text.replace("\x00", "␀").replace("\x07", "␇") for id, text in words.items()}
    assert {id: text.removeprefix("'") for id, text in texts.items()} == shown
    guarded = {words[id] for id, text in texts.items() if text.startswith("'")}
    assert guarded == {WORDS[name] for name in ("formula", "plus", "minus", "at", "tab", "full width")}
    assert {row["contact"] for row in rows if row["kind"] == "message"} >= {ANN}
    assert {row["contact_name"] for row in rows if row["contact_name"]} == {"'=Ann\r\nBcc: x@y.z"}


def test_the_workbook_has_text_in_every_cell_and_no_formula_no_link_and_no_number(exported):
    path = exported.folder / "all.xlsx"
    with zipfile.ZipFile(path) as pack:
        sheets = {name: pack.read(name) for name in pack.namelist() if name.startswith("xl/worksheets/")}

    assert all(b"<f>" not in data and b"<hyperlink" not in data for data in sheets.values())
    assert all(b'<c r="A2" t="inlineStr"' in data or b"<c r=" in data for data in sheets.values())
    assert not any("_rels" in name for name in sheets)
    rows, words = read_xlsx(path), sent(exported)
    assert all(isinstance(cell, str) for row in rows for cell in row.values())
    texts = {row["id"]: row["text"] for row in rows if row["kind"] == "message"}
    for id, text in texts.items():
        # A workbook is XML: two characters that it can't hold are told by their codes.
        assert (
            text.replace("\r\n", "\n") == words[id].replace("\r\n", "\n")
            or "\x00" in words[id]
            or "\ufffe" in words[id]
        )


def test_the_pdf_shows_what_was_asked_every_script_and_which_page_of_how_many(exported):
    pages = read_pdf(exported.folder / "all.pdf")

    assert "Organization: acme" in pages[0]
    assert "root" in pages[0]
    for number, page in enumerate(pages, 1):
        assert f"Page {number} of {len(pages)}" in page
    whole = "\n".join(pages)
    for name in ("quotes", "chinese", "korean", "thai", "url", "number"):
        for word in WORDS[name].split():
            assert word.strip('",') in whole.replace(" ", "") or word in whole, name
    assert "exe.gnp" in whole, "a mark that turns text around must not disguise it"
    assert "\u202e" not in whole
    assert "[U+12000]" in whole
    assert "Characters that this document has no glyph for" in whole
    assert f"Entries: {len(lines_of(exported))}" in whole
    assert "sha256sum" in whole


def test_a_mail_says_what_its_entry_says_and_no_name_begins_a_header(exported):
    mails, entries = read_eml(exported.folder / "all.eml"), {one["id"]: one for one in lines_of(exported)}

    for name, mail in mails.items():
        entry = entries[name[4:-4]]
        [record] = [part for part in mail.walk() if part.get_content_type() == "application/json"]
        assert json.loads(record.get_payload(decode=True)) == entry
        assert mail["Bcc"] is None


def test_the_zip_of_mails_is_checked_with_its_own_sums(exported):
    with zipfile.ZipFile(exported.folder / "all.eml") as pack:
        sums = dict(reversed(line.split("  ")) for line in pack.read("SHA256SUMS").decode().splitlines())
        about = json.loads(pack.read("manifest.json"))
        for name, digest in sums.items():
            assert hashlib.sha256(pack.read(name)).hexdigest() == digest

    assert len(sums) == about["entries"] == len(lines_of(exported))
    assert about["asked"] == {"org": "acme"}


@pytest.mark.parametrize("form", FORMS)
def test_a_manifest_says_what_was_asked_counts_and_proves_the_file(exported, form):
    path = exported.folder / f"all.{form}"
    manifest = json.loads((exported.folder / f"all.{form}.manifest.json").read_text())

    entries = lines_of(exported)
    [file] = manifest["files"]
    assert file == {
        "name": path.name,
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert manifest["entries"] == sum(manifest["kinds"].values()) == len(entries)
    assert manifest["kinds"]["message"] == sum(one["kind"] == "message" for one in entries)
    assert (manifest["schema"], manifest["asked"], manifest["format"]) == ("assent-export/1", {"org": "acme"}, form)
    status = exported.run("status", "--json").json
    [ledger] = [one for one in status["ledgers"] if one["organization"] == "acme"]
    assert manifest["ledgers"] == [ledger]
    assert all(one.stat().st_mode & 0o077 == 0 for one in exported.folder.glob("all.*"))


def test_every_export_stands_in_the_system_ledger_with_who_took_what(exported):
    exported.run(
        "export", "--contact", "(404) 555-0000", "--org", "acme", "--since", "2020-01-01T00:00:00Z", "-o", "ann.jsonl"
    )
    exported.run("export", "--org", "system", "--kind", "access", "-o", "accesses.jsonl")

    accesses = read_jsonl(exported.folder / "accesses.jsonl")

    assert [one["body"]["format"] for one in accesses] == [*FORMS, "jsonl"]
    for form, one in zip(FORMS, accesses, strict=False):
        manifest = json.loads((exported.folder / f"all.{form}.manifest.json").read_text())
        assert one["id"] == manifest["record"]
        assert one["body"]["actor"] == manifest["actor"]
        assert one["body"]["sha256"] == [manifest["files"][0]["sha256"]]
    last = accesses[-1]
    assert last["body"]["asked"].keys() == {"organization", "contact_tag", "since"}
    assert "4045550000" not in json.dumps(last)
    assert json.loads((exported.folder / "ann.jsonl.manifest.json").read_text())["asked"]["contact"] == ANN


def test_a_bar_shows_how_far_an_export_is_on_a_terminal_and_nowhere_else(acme):
    ours, theirs = pty.openpty()
    command = [Path(sys.executable).parent / "assent", "export", "--org", "acme", "--format", "jsonl", "-o"]
    environ = acme.environ(TERM="xterm", COLUMNS="100", LINES="40")

    watched = subprocess.Popen([*command, "watched"], cwd=acme.folder, env=environ, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = _until_hung_up(ours)
    unseen = acme.run(*command[1:], "unseen")

    count = len(read_jsonl(acme.folder / "unseen"))
    assert (watched.wait(20), unseen.code) == (0, 0)
    assert count > 1
    assert f"{count}/{count}" in shown
    assert "━" in shown
    assert unseen.err == f"{count} entries; unseen.manifest.json says how to check them\n"
    assert (acme.folder / "watched").read_bytes() == (acme.folder / "unseen").read_bytes()


def _until_hung_up(terminal):
    """Return what is shown on a terminal until its program ends, without the codes that move its cursor."""
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:  # Linux says so where nobody holds the other end any more
        pass
    os.close(terminal)
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
