"""What a text says once its dress is off: quotes, signatures, invisible characters, marks, lookalikes.

Every step is linear in the length of the text, because a contact can send anything: no pattern here can repeat
a repetition, and long runs of combining marks, which Unicode normalization sorts in quadratic time, are cut first.
"""

import re
import unicodedata
from functools import cache, lru_cache
from string import ascii_lowercase
from typing import NamedTuple

from consent.revocations import floor_word

#: Code points that are read of one text: all of it, or the first and the last half of this many.
READ_AT_MOST = 8192


class Plain(NamedTuple):
    """One text, made plain in two ways: as written, and with its capitals and lookalikes still in it."""

    folded: str  # caseless, without marks; punctuation and line ends stand
    cased: str  # the same text before its capitals went, from which lookalikes are read
    dropped: bool  # a signature or quoted history was left out
    shortened: bool  # longer than what is read
    only_quoted: bool  # nothing is left without its quotes and signatures, so these were read


def plain(text: str) -> Plain:
    """Drop quoted history and signatures, then everything a reader cannot see or hear the difference of."""
    text = text.strip()
    shortened = len(text) > READ_AT_MOST
    if text.isascii() and text.isprintable() and not shortened:  # nothing in it is invisible: most texts
        visible = text.replace("`", "'")
        if not visible.startswith(">"):
            return Plain(visible.lower(), visible, False, False, not visible)
    else:
        visible = _visible(_LINE_ENDS.sub("\n", _both_ends(text) if shortened else text)).strip()
    kept = without_quotes(visible)
    dropped = bool(kept) and kept != visible
    # A text that is nothing but a quote is read as it stands: somebody meant to say something.
    cased = kept or visible
    if len(cased) > READ_AT_MOST:  # one ligature can become eighteen letters
        cased = _both_ends(cased)
    return Plain(fold(cased), cased, dropped, shortened, not kept)


def is_reaction(text: str) -> bool:
    """Whether a telephone wrote this text to say that a bubble was liked, loved, laughed at."""
    if text.isascii() and '"' not in text and not text[-40:].rstrip().lower().endswith(_LIKED_THINGS):
        return False
    head = _visible(text[:240]).strip()
    opening = _REACTION.match(head)
    if opening is None:
        return False
    quoted = opening.end() < len(head) and _visible(text[-40:]).rstrip().endswith(_CLOSING)
    return quoted or opening["whole"] is not None


def fold(visible: str) -> str:
    """Casefold and take the marks off: `Arrêt` and `ARRET` are one word, `Sí` is `si`."""
    if visible.isascii():
        return visible.lower()
    folded = unicodedata.normalize("NFKD", visible.casefold()).replace("ı", "i")
    return _marks().sub("", folded)


def tidy(folded: str) -> str:
    """Strip outer punctuation and emoji, drop apostrophes, let `-` and `_` be blanks, and collapse blanks."""
    if folded.isascii():  # bytes say the same in a third of the time
        return b" ".join(folded.encode().translate(_TIDY, b"'").split()).strip(_OUTER).decode()
    folded = " ".join(folded.replace("'", "").replace("-", " ").replace("_", " ").split())
    first, last = 0, len(folded)
    while first < last and _is_outer(folded[first]):
        first += 1
    while last > first and _is_outer(folded[last - 1]):
        last -= 1
    return folded[first:last]


def tokens_of(folded: str) -> list[str]:
    """Split into words; apostrophes are dropped, everything else that is no letter or digit divides."""
    if folded.isascii():
        return folded.encode().translate(_WORDS, b"'").decode().split()
    return _TOKEN.findall(folded.replace("'", ""))


def is_disguised(folded: str, words: list[str]) -> bool:
    """Whether letters of this ASCII text may be spelled out one by one, or digits stand for letters."""
    lonely = not _LETTERS.isdisjoint(words) and [*map(len, words)].count(1) >= _SPELLED
    if lonely and _SPACED_LETTERS.search(folded):
        return True
    return ("0" in folded or "1" in folded or "5" in folded) and _DIGIT.search(folded) is not None


@lru_cache(maxsize=4096)
def normalized(word: str) -> str:
    """Return the form in which keywords are compared, so that sets of keywords can be kept disjoint."""
    return tidy(fold(_visible(_LINE_ENDS.sub("\n", word).strip()[:READ_AT_MOST])))


def disguises(said: Plain, words: list[str]) -> list[str]:
    """Every other way to read a text of these words that only an opt-out is looked for in, the likeliest first."""
    folded = said.folded
    sources = [folded]
    if folded.isascii():
        if not is_disguised(folded, words):
            return []
    elif _LOOKALIKE.search(folded):
        sources = [folded.translate(_LOOKALIKES)]
        if _GREEK_CAPITAL.search(said.cased):
            # A capital Greek nu looks like an N, a small one like a v: both are read.
            sources.insert(0, fold(said.cased.translate(_GREEK_CAPITALS)).translate(_LOOKALIKES))
    forms: list[str] = []
    for source in sources:
        for reading in _without_digits(_SPACED_LETTERS.sub(_join, source)):
            if reading != folded and reading not in forms:
                forms.append(reading)
    return forms


def without_quotes(text: str) -> str:
    """Leave out quoted history and signature lines, unless an opt-out could hide in what follows a dash line."""
    if "\n" not in text and not text.startswith(">"):
        return text
    lines = text.split("\n")
    kept: list[str] = []
    for at, line in enumerate(lines):
        bare = line.strip()
        if bare.startswith(">"):
            continue
        if at and bare and len(bare) <= _LINE_AT_MOST:
            if _ends_reply(bare, lines, at):
                break
            if _SIGNATURE.fullmatch(bare.casefold()):
                continue
        kept.append(line)
    return "\n".join(kept).strip()


def holds_floor_word(text: str) -> bool:
    """Whether a floor word stands anywhere in a text of any length; what is no Latin letter is passed over."""
    if not text.isascii():
        for blank in _BLANKS:
            text = text.replace(blank, " ")
        # What is invisible goes with all else that is no letter of ours, and marks too, however they would be sorted.
        pieces = (unicodedata.normalize("NFKD", text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))
        text = "".join(pieces).encode("ascii", "ignore").translate(None, _CONTROLS).decode()
    return floor_word(text.lower().replace("'", "")) is not None


_LINE_AT_MOST = 200
_SIGNATURE_LINES = 5


def _both_ends(text: str) -> str:
    half = READ_AT_MOST // 2
    return f"{text[:half]}\n{text[-half:]}"


def _visible(text: str) -> str:
    """NFKC, without format characters, variation selectors and controls; line ends stand."""
    if text.isascii():
        return text.replace("\t", " ").replace("`", "'").encode().translate(None, _CONTROLS).decode()
    # An acute accent that stands alone would become a blank and a mark.
    text = _DASHES.sub("-", _APOSTROPHES.sub("'", _BLANK.sub(" ", text)))
    text = _invisible().sub("", text)
    text = _LONG_RUN.sub(r"\1", text)
    return _invisible().sub("", unicodedata.normalize("NFKC", text))


def _is_outer(character: str) -> bool:
    return not (character.isalnum() or unicodedata.category(character)[0] == "M")


def _ends_reply(bare: str, lines: list[str], at: int) -> bool:
    """Whether an older text or a signature begins at this line, and nothing that could opt out is lost with it."""
    if bare.endswith((":", "-")) and _HISTORY.fullmatch(bare):
        return True
    if bare.startswith("From: ") and at + 1 < len(lines):
        return lines[at + 1].strip().startswith(("Sent: ", "Date: ", "To: "))
    if bare in _DASH_LINES and len(lines) - at - 1 <= _SIGNATURE_LINES:
        return not holds_floor_word("\n".join(lines[at + 1 :]))
    return False


def _join(spaced: re.Match[str]) -> str:
    return _BETWEEN_LETTERS.sub("", spaced[0])


def _without_digits(joined: str) -> list[str]:
    """Read 0 as o, 5 as s, and 1 as i or l, where they touch a letter; spaced letters may become so."""
    if not ("0" in joined or "1" in joined or "5" in joined) or not _DIGIT.search(joined):
        return [joined]
    joined = _SPACED_LETTERS.sub(_join, _ZERO.sub("o", _FIVE.sub("s", joined)))
    return [_ONE.sub("i", joined), _ONE.sub("l", joined)] if "1" in joined else [joined]


def _class_of(chosen: list[int]) -> str:
    """Write code points as the inside of a character class."""
    ranges: list[list[int]] = []
    for code in chosen:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)


@cache
def _invisible() -> re.Pattern[str]:
    """Format characters, controls, surrogates, variation selectors and other letters that show nothing."""
    shows_nothing = {0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)}
    shows_nothing |= set(range(0xE0100, 0xE01F0))
    chosen = [c for c in _ASSIGNED if c in shows_nothing or unicodedata.category(chr(c)) in ("Cc", "Cf", "Cs")]
    return re.compile(f"[{_class_of([c for c in chosen if c != 0x0A])}]+")


@cache
def _marks() -> re.Pattern[str]:
    """Combining marks. Vowel signs of Indic scripts have class 0 and stay: different words would be one."""
    # Marks beyond the first plane are of scripts nobody texts in; a class without them is read six times faster.
    chosen = [c for c in range(0x10000) if unicodedata.combining(chr(c)) or unicodedata.category(chr(c)) == "Me"]
    return re.compile(f"[{_class_of(chosen)}]+")


# Nothing invisible or combining is assigned between plane 1 and the tags of plane 14. The classes are built when
# the first text needs them: a twentieth of a second that no command line should wait for.
_ASSIGNED = (*range(0x20000), *range(0xE0000, 0xE0200))
_CONTROLS = bytes((*range(0x0A), *range(0x0B, 0x20), 0x7F))
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_LONG_RUN = re.compile(r"([^\w\s]{32})[^\w\s]+")
_TOKEN = re.compile(r"[^\W_]+")
# The same in ASCII, as tables of bytes.
_ASCII = bytes(range(128))
_OUTER = bytes(code for code in _ASCII if not chr(code).isalnum())
_WORDS = _ASCII.translate(bytes.maketrans(_OUTER, b" " * len(_OUTER))) + bytes(128)
_TIDY = bytes.maketrans(b"-_\x1c\x1d\x1e\x1f", b"      ")  # str.split takes the four separators for blanks
_SPELLED = 3
_LETTERS = frozenset(ascii_lowercase)
_DIGIT = re.compile(r"[015](?:(?<=[^\W\d_].)|(?=[^\W\d_]))")
_ZERO, _ONE, _FIVE = (re.compile(rf"(?<=[^\W\d_]){digit}|{digit}(?=[^\W\d_])") for digit in "015")
_BETWEEN_LETTERS = re.compile(r"[\W_]+")
_SPACED_LETTERS = re.compile(r"(?<![^\W_])[^\W\d_](?:[\s._*/|·•~,-]{1,3}[^\W\d_](?![^\W_])){2,}")

_APOSTROPHES = re.compile("[’‘‛ʼʻ`´′＇]")
_DASHES = re.compile("[‐‑‒–]")
# An empty Braille cell, and the ligatures that hold whole sentences and say nothing here.
_BLANKS = ("\t", "\u2800", *map(chr, range(0xFDF0, 0xFDFE)))
_BLANK = re.compile(f"[{''.join(_BLANKS)}]")
#: Code points that are normalized at a time: the time to sort marks grows by the square.
_PIECE = 64
_DASH_LINES = ("--", "—", "__")


def _pairs(strange: str, latin: str) -> dict[int, str]:
    return {ord(one): other for one, other in zip(strange, latin, strict=True)}


_GREEK_CAPITALS: dict[int, str] = _pairs("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧΣϹϳ", "abezhikmnoptyxscj")
_LOOKALIKES: dict[int, str] = {
    **_pairs("авеёіїјкмнорстухѕԁԛԝһӏьгпцғԍ", "abeeiijkmhopctyxsdqwhlbrnufg"),
    **_pairs("αβεηικμνορτυχςσγωϲ", "abenikuvoptuxsoywc"),
    **_pairs("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢøłđ", "abcdefghijklmnoprstuvwyzold"),
    **{0x1F1E6 + at: chr(97 + at) for at in range(26)},
    **{0x1F150 + at: chr(97 + at) for at in range(26)},
    **{0x1F170 + at: chr(97 + at) for at in range(26)},
}
_LOOKALIKE = re.compile(f"[{''.join(map(chr, _LOOKALIKES))}]")
_GREEK_CAPITAL = re.compile(f"[{''.join(map(chr, _GREEK_CAPITALS))}]")

_LIKED_THINGS = ("image", "attachment", "movie", "video", "photo", "audio message")
_LIKED = "liked|loved|disliked|laughed at|emphasized|emphasised|questioned"
_UNLIKED = "like|heart|dislike|laugh|exclamation|exclamation mark|question mark|question"
_REACTION = re.compile(
    rf"(?P<whole>(?:{_LIKED}) an? (?:{'|'.join(_LIKED_THINGS)})\s*\Z)|"
    rf"(?:{_LIKED}|le gustó|le encantó|a aimé|a adoré|reacted (?:with )?\S{{1,24}} to|"
    rf"removed an? (?:{_UNLIKED}) from|removed \S{{1,24}} from|[^\w\s]{{1,24}}\s{{0,2}} to)"
    r'\s{0,3}[“"„«]',
    re.IGNORECASE,
)
_CLOSING = ("”", '"', "“", "»")
_HISTORY = re.compile(
    r"on .{4,180} wrote:|le .{4,180} a écrit ?:|el .{4,180} escribió:|em .{4,180} escreveu:|"
    r"am .{4,180} schrieb.{0,80}:|il .{4,180} ha scritto:|"
    r"-{2,}\s?(?:original message|forwarded message|message d'origine|mensaje original)\s?-{2,}",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(
    r"sent (?:from|via|using|with) .{1,60}|get outlook for .{1,40}|envoyé (?:de|depuis) .{1,60}|"
    r"enviado (?:desde|do|de) .{1,60}|von meinem .{1,40} gesendet|gesendet (?:von|mit) .{1,60}|"
    r"inviato da .{1,60}|yahoo mail on .{1,40}"
)
