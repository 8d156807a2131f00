"""PDF: a page that a person reads, an entry a paragraph, the words as they were written."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from fpdf import FPDF
from fpdf.enums import WrapMode, XPos, YPos

from consent.entry import Entry
from jobs.exporting.heading import CHECK, Heading, Tally
from jobs.exporting.rows import COLUMNS, row, visible
from jobs.exporting.typeface import MAIN, Typeface

_MARGIN, _LINE = 15.0, 4.2
_GRAY = 105
_WORDS = re.compile(r"\s*\S+|\s+$")
#: A text longer than this fills pages that nobody reads.
_LONGEST = 20_000
#: What stands under an entry's words, in this order.
_FACTS = (
    "verdict", "reason", "decision", "before", "after", "origin", "source", "scope", "word", "tier", "template",
    "template_version", "template_sha256", "language", "answers", "flags", "message_id", "media", "note", "actor",
    "other",
)  # fmt: skip


def write_pdf(file: BinaryIO, entries: Iterator[Entry], heading: Heading, tally: Tally) -> None:
    """Write pages: what was asked for, the entries in order, counts, how to check, and what could not be shown."""
    book = _Book(heading)
    book.listing("Assent: records of consent and messages", heading.told())
    for entry in entries:
        book.entry(entry)
    book.listing("Counts", tally.told())
    book.listing("How to check", [("", one) for one in CHECK])
    if book.face.missing:
        codes = " ".join(f"U+{code:04X}" for code in sorted(book.face.missing))
        book.listing("Characters that this document has no glyph for, shown by their code points", [("", codes)])
    book.output(file)


class _Book(FPDF):
    def __init__(self, heading: Heading) -> None:
        super().__init__(format="A4")
        self._heading = heading
        #: Of a character, in heights of its font; measured once.
        self._widths: dict[int, float] = {}
        self.set_margin(_MARGIN)
        self.set_auto_page_break(auto=True, margin=18)
        self.set_title("Assent export")
        self.set_creator("Assent")
        self.face = Typeface(self)
        self.set_font(MAIN, size=9)
        self.add_page()

    def header(self) -> None:
        self._small(f"Assent export, volume {self._heading.volume}", "L", 8)

    def footer(self) -> None:
        self.set_y(-13)
        self._small(f"Page {self.page_no()} of {{nb}}", "C", 8)

    def listing(self, title: str, rows: list[tuple[str, str]]) -> None:
        """Write a title, and names with what they are."""
        self.ln(3)
        self.set_font(MAIN, size=12)
        self._paragraph(title, 6)
        self.set_font(MAIN, size=9)
        for name, value in rows:
            self._paragraph(f"{name}: {value}" if name else value)
        self.ln(2)

    def entry(self, entry: Entry) -> None:
        """Write one entry: when and what, who, the words, the facts."""
        told = dict(zip(COLUMNS, row(entry), strict=True))
        self.set_draw_color(200)
        self.line(self.l_margin, self.get_y() + 0.8, self.w - self.r_margin, self.get_y() + 0.8)
        self.ln(1.6)
        when = told["occurred_at"][:19].replace("T", " ")
        what = told["decision"] or told["verdict"] or told["template"]
        self._paragraph(f"{when} UTC   {told['kind']} {what}   {told['id']}")
        if people := _people(told):
            self._paragraph(people)
        if told["state"]:
            self._paragraph(f"[{told['state']}]")
        if told["text"]:
            self.set_left_margin(_MARGIN + 5)
            self.set_font(MAIN, size=10)
            words = told["text"]
            more = len(words) - _LONGEST
            self._paragraph(words if more <= 0 else f"{words[:_LONGEST]}… [{more:,} characters more]", 4.8)
            self.set_left_margin(_MARGIN)
            self.set_font(MAIN, size=9)
        facts = [f"{name} {told[name]}" for name in _FACTS if told[name]]
        facts += [f"recorded {told['recorded_at']}", f"leaf {told['leaf_hash']}"]
        self.set_font(MAIN, size=7)
        self.set_text_color(_GRAY)
        self._paragraph("; ".join(facts), 3.2)
        self.set_text_color(0)
        self.set_font(MAIN, size=9)

    def _paragraph(self, text: str, height: float = _LINE) -> None:
        shown = self.face.fit(visible(text).replace("\r\n", "\n").replace("\r", "␍").expandtabs(4))
        if shown.isascii():
            for line in self._broken(shown):
                self.cell(0, height, line, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            return
        self.multi_cell(0, height, shown, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT, wrapmode=WrapMode.WORD)

    def _broken(self, text: str) -> Iterator[str]:
        """Yield the lines of an ASCII text, between words where it can be.

        The library measures a line anew with each character, which is most of the time that a page takes.
        """
        room = self.w - self.l_margin - self.r_margin - 2 * self.c_margin
        for whole in text.split("\n"):
            line, used = "", 0.0
            for word in _WORDS.findall(whole):
                width = self._width(word)
                piece = word
                if used + width > room and line:
                    yield line
                    line, used, piece = "", 0.0, word.lstrip()
                if width > room:
                    *full, line = self._cut(piece, room)
                    yield from full
                    used = self._width(line)
                else:
                    line, used = line + piece, used + width
            yield line

    def _cut(self, word: str, room: float) -> Iterator[str]:
        """Yield the parts of a word that is longer than a line."""
        begun, used = 0, 0.0
        for at, one in enumerate(word):
            width = self._width(one)
            if used + width > room and at > begun:
                yield word[begun:at]
                begun, used = at, 0.0
            used += width
        yield word[begun:]

    def _width(self, text: str) -> float:
        """Return the width of an ASCII text in the size at hand, millimeters."""
        if not self._widths:
            self._widths = {code: self.get_string_width(chr(code)) / self.font_size for code in range(128)}
        return self.font_size * sum(self._widths[ord(one)] for one in text)

    def _small(self, text: str, align: str, size: int) -> None:
        self.set_font(MAIN, size=size)
        self.set_text_color(_GRAY)
        self.cell(0, 5, text, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_text_color(0)
        self.set_font(MAIN, size=9)


def _people(told: Mapping[str, Any]) -> str:
    contact = " ".join(part for part in (told["contact_name"], told["contact"]) if part)
    line = " ".join(part for part in (told["employee_name"], told["line"]) if part)
    if told["sender"] == "contact":
        return f"{contact} to {line}  ({told['channel']})"
    if told["sender"] == "employee":
        return f"{line} to {contact}  ({told['channel']})"
    if told["to"]:
        return f"automatic to {contact if told['to'] == 'contact' else line}  ({told['channel']})"
    return " - ".join(part for part in (contact, line) if part)
