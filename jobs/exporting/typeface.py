"""The fonts of a PDF: each is opened when a text first needs it, and what no font has is told."""

from functools import cache, lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont
from fpdf import FPDF

FOLDER = Path(__file__).parent / "fonts"
#: Latin, Greek, Cyrillic: every PDF has it.
MAIN = "NotoSans"
#: Characters that are seen by what they do to others, or not at all.
_SILENT = frozenset("\n\t\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u00ad\u061c") | {
    chr(code)
    for first, last in ((0x202A, 0x202E), (0x2066, 0x2069), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF), (0xE0020, 0xE007F))
    for code in range(first, last + 1)
}


class Typeface:
    """The fonts that one PDF has needed so far."""

    def __init__(self, pdf: FPDF) -> None:
        self._pdf = pdf
        self._loaded = [MAIN]
        #: Code points that no font has.
        self.missing: set[int] = set()
        pdf.add_font(MAIN, fname=FOLDER / f"{MAIN}.ttf")

    def fit(self, text: str) -> str:
        """Return a text as it can be shown, its fonts opened; a character without one as its code point: [U+12345]."""
        # Arabic letters join, Indic ones change places, Hebrew runs from the right; it takes its time.
        self._pdf.set_text_shaping(use_shaping_engine=not text.isascii())
        if text.isascii():
            return text
        shown = []
        for character in text:
            if character in _SILENT:
                # Directions are worked out from the letters; a mark that reorders others could disguise a text.
                shown.append(character if character in "\n\t\u200c\u200d" else "")
                continue
            font = _font_of(ord(character))
            if font is None:
                self.missing.add(ord(character))
                shown.append(f"[U+{ord(character):04X}]")
                continue
            if font not in self._loaded:
                self._load(font)
            shown.append(character)
        return "".join(shown)

    def _load(self, font: str) -> None:
        self._pdf.add_font(font, fname=FOLDER / f"{font}.ttf")
        self._loaded.append(font)
        self._pdf.set_fallback_fonts(self._loaded[1:], exact_match=False)


@lru_cache(maxsize=65_536)
def _font_of(code: int) -> str | None:
    return next((font for font, codes in _coverage() if code in codes), None)


@cache
def _coverage() -> tuple[tuple[str, frozenset[int]], ...]:
    """Return which characters each font has: the main one first, the widest, which have others' too, last."""
    names = sorted(path.stem for path in FOLDER.glob("*.ttf"))
    last = ("NotoSansSymbols", "NotoSansSymbols2", "NotoEmoji", "NanumGothicCoding", "DroidSansFallback")
    order = [MAIN, *(name for name in names if name != MAIN and name not in last), *last]
    found = []
    for name in order:
        with TTFont(FOLDER / f"{name}.ttf", lazy=True) as font:
            found.append((name, frozenset(font.getBestCmap())))
    return tuple(found)
