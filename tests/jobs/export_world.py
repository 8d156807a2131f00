"""A ledger with all that a file can trip over, and readers of each form that share no code with the writers."""

import csv
import io
import json
import shutil
import zipfile
from dataclasses import dataclass
from email import message_from_bytes, policy

import pypdf
import python_calamine

from consent.database import open_database
from sync.intake import Intake
from tests.jobs.conftest import SETTINGS, Place
from tests.sync.sync_world import found, text

ANN, BO, CY = "+14045550000", "+14045550001", "+14045550002"

#: What people and those who mean ill write; each of these must come out as it went in, and do nothing.
WORDS = {
    "formula": '=HYPERLINK("http://evil.example","click")', "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "at": "@SUM(1+1)*cmd|' /C calc'!A0", "tab": "\t=1+1", "full width": "＝1+1",
    "quotes": 'He said "stop", then\r\nleft, ok',
    "arabic": "مرحبا بالعالم", "hebrew": "שלום עולם", "hindi": "नमस्ते", "thai": "สวัสดี", "chinese": "你好世界",
    "korean": "안녕하세요", "emoji": "👍🏽 🎉", "controls": "a\x00b\x07c", "xml": "<b>&amp;</b>]]> _x0041_ \ufffe",
    "mark": "\u202eexe.gnp", "url": "http://example.com/a", "number": "0123456789012345678", "rare": "𒀀",
    "header": "Hi\r\nBcc: evil@example.com\r\n\r\nbody",
}  # fmt: skip


@dataclass(frozen=True)
class Filled(Place):
    """A folder to run `assent` in, with acme's ledger."""

    @property
    def url(self):
        return f"sqlite:///{self.folder}/var/assent.db"


def place_in(folder, template):
    """Return a folder with settings and a database that has the organization acme."""
    (folder / "settings.toml").write_text(SETTINGS)
    (folder / "var").mkdir()
    shutil.copyfile(template, folder / "var/assent.db")
    place = Filled(folder)
    database = open_database(place.url)
    found(database, "acme")
    database.dispose()
    return place


def fill(url):
    """Take texts of three contacts on two lines of two employees."""
    database = open_database(url)
    intake = Intake(database)
    answers = intake.take(
        [
            *(
                text(words, contact=0, at=at, contact_name="=Ann\r\nBcc: x@y.z")
                for at, words in enumerate(WORDS.values())
            ),
            text("YES", contact=0, at=500), text("Good morning", sender="employee", contact=0, at=501),
            text("Hello", contact=1, line=1, at=502, employee={"id": "e7", "name": "Zoë Öz"}),
            text("STOP", contact=1, line=1, at=503), text("Hi", contact=0, line=1, channel="whatsapp", at=504),
            {"id": "e1", "org": "acme", "event": "revoked", "contact": CY, "note": "by mail, of 3 May"},
        ]
    )  # fmt: skip
    intake.close()
    database.dispose()
    assert [one for one in answers if "error" in one] == []


def read_jsonl(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def read_csv(path):
    with io.TextIOWrapper(io.BytesIO(path.read_bytes()), "utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def read_xlsx(path):
    book = python_calamine.CalamineWorkbook.from_path(path)
    sheets = [name for name in book.sheet_names if name.startswith("Entries")]
    rows = [row for name in sheets for row in book.get_sheet_by_name(name).to_python()]
    return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]


def read_pdf(path):
    return [page.extract_text() for page in pypdf.PdfReader(path).pages]


def read_eml(path):
    with zipfile.ZipFile(path) as pack:
        assert pack.testzip() is None
        return {
            name: message_from_bytes(pack.read(name), policy=policy.default)
            for name in pack.namelist() if name.startswith("eml/")
        }  # fmt: skip
