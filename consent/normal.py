"""What a text says once its dress is off: quotes, signatures, invisible characters, marks, lookalikes.

Every step is linear in the length of the text, because a contact can send anything: no pattern here can repeat
a repetition, and long runs of combining marks, which Unicode normalization sorts in quadratic time, are cut first.
"""

import re
import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

from consent.revocations import FLOOR_PATTERN

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
    text = _LINE_ENDS.sub("\n", text).strip()
    shortened = len(text) > READ_AT_MOST
    if shortened:
        text = _both_ends(text)
    kept = without_quotes(text)
    # A text that is nothing but a quote is read as it stands: somebody meant to say something.
    dropped = bool(kept) and kept != text
    cased = _visible(kept or text)
    if len(cased) > READ_AT_MOST:  # one ligature can become eighteen letters
        cased = _both_ends(cased)
    return Plain(fold(cased), cased, dropped, shortened, not kept)


def is_reaction(text: str) -> bool:
    """Whether a telephone wrote this text to say that a bubble was liked, loved, laughed at."""
    head = text[:200].strip("\u200a\u200b\u200c\u200d\u2060\ufeff \n")
    opening = _REACTION.match(head)
    if opening is None:
        return False
    return opening["whole"] is not None or text.rstrip("\u200a\u200b\u200c\u200d\u2060\ufeff \n").endswith(_CLOSING)


def fold(visible: str) -> str:
    """Casefold and take the marks off: `Arrêt` and `ARRET` are one word, `Sí` is `si`."""
    if visible.isascii():
        return visible.lower()
    folded = unicodedata.normalize("NFKD", visible.casefold()).replace("ı", "i")
    return _marks().sub("", folded)


def tidy(folded: str) -> str:
    """Strip outer punctuation and emoji, drop apostrophes, let `-` and `_` be blanks, and collapse blanks."""
    folded = " ".join(folded.translate(_HYPHENS).split())
    first, last = 0, len(folded)
    while first < last and _is_outer(folded[first]):
        first += 1
    while last > first and _is_outer(folded[last - 1]):
        last -= 1
    return folded[first:last]


def tokens_of(folded: str) -> list[str]:
    """Split into words; apostrophes are dropped, everything else that is no letter or digit divides."""
    return _TOKEN.findall(folded.translate(_APOSTROPHES))


@lru_cache(maxsize=4096)
def normalized(word: str) -> str:
    """Return the form in which keywords are compared, so that sets of keywords can be kept disjoint."""
    return tidy(fold(_visible(_LINE_ENDS.sub("\n", word).strip()[:READ_AT_MOST])))


def disguises(said: Plain) -> list[str]:
    """Every other way to read the text that only an opt-out is looked for in, the likeliest first."""
    forms: list[str] = []
    if said.folded.isascii():
        sources = [said.folded]
    else:
        # A capital Greek nu looks like an N, a small one like a v: both forms are read.
        decomposed = _marks().sub("", unicodedata.normalize("NFKD", said.cased))
        sources = [fold(decomposed.translate(_LOOKALIKES)), said.folded.translate(_LOOKALIKES)]
    for source in sources:
        joined = _SPACED_LETTERS.sub(_join, source)
        readings = [joined]
        if _DIGIT.search(joined):
            readings = [_LEET_TOKEN.sub(_as_i, joined), _LEET_TOKEN.sub(_as_l, joined)]
            readings = [_SPACED_LETTERS.sub(_join, reading) for reading in readings]
        forms += [reading for reading in readings if reading != said.folded and reading not in forms]
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
        # An address line in front ends the reply: what follows is the older text.
        if at and len(bare) <= _LINE_AT_MOST and (_HISTORY.fullmatch(bare) or _is_header(lines, at)):
            break
        if at and bare in ("--", "—", "__"):
            after = lines[at + 1 :]
            if len(after) <= _SIGNATURE_LINES and not FLOOR_PATTERN.search(fold(_visible("\n".join(after)))):
                break
        if at and len(bare) <= _LINE_AT_MOST and _SIGNATURE.fullmatch(bare.casefold()):
            continue
        kept.append(line)
    return "\n".join(kept).strip()


def holds_floor_word(text: str) -> bool:
    """Whether a floor word stands anywhere in a text of any length."""
    if not text.isascii():
        text = fold(_visible(text))
    return FLOOR_PATTERN.search(text.lower()) is not None


_LINE_AT_MOST = 200
_SIGNATURE_LINES = 5


def _both_ends(text: str) -> str:
    half = READ_AT_MOST // 2
    return f"{text[:half]}\n{text[-half:]}"


def _visible(text: str) -> str:
    """NFKC, without format characters, variation selectors and controls; line ends stand."""
    if text.isascii():
        return _CONTROLS.sub("", text)
    text = _invisible().sub("", text.translate(_BEFORE))
    text = _LONG_RUN.sub(r"\1", text)
    return _invisible().sub("", unicodedata.normalize("NFKC", text))


def _is_outer(character: str) -> bool:
    return not (character.isalnum() or unicodedata.category(character)[0] == "M")


def _is_header(lines: list[str], at: int) -> bool:
    follows = lines[at + 1].strip().casefold() if at + 1 < len(lines) else ""
    return lines[at].strip().casefold().startswith("from: ") and follows.startswith(("sent: ", "date: ", "to: "))


def _join(spaced: re.Match[str]) -> str:
    return _BETWEEN_LETTERS.sub("", spaced[0])


def _as_i(token: re.Match[str]) -> str:
    return token[0].translate(_LEET_I)


def _as_l(token: re.Match[str]) -> str:
    return token[0].translate(_LEET_L)


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
    chosen = [c for c in _ASSIGNED if unicodedata.combining(chr(c)) or unicodedata.category(chr(c)) == "Me"]
    return re.compile(f"[{_class_of(chosen)}]+")


# Nothing invisible or combining is assigned between plane 1 and the tags of plane 14. The classes are built when
# the first text needs them: a twentieth of a second that no command line should wait for.
_ASSIGNED = (*range(0x20000), *range(0xE0000, 0xE0200))
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]+")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_LONG_RUN = re.compile(r"([^\w\s]{32})[^\w\s]+")
_TOKEN = re.compile(r"[^\W_]+")
_DIGIT = re.compile("[015]")
_LEET_TOKEN = re.compile(r"(?<![^\W_])(?:[^\W\d_]++[015]|[015]++[^\W\d_])[^\W_]*+")
_BETWEEN_LETTERS = re.compile(r"[\W_]+")
_SPACED_LETTERS = re.compile(r"(?<![^\W_])[^\W\d_](?:[\s._*/|·•~,-]{1,3}[^\W\d_](?![^\W_])){2,}")

_QUOTE_MARKS = "'’‘‛ʼʻ`´′＇"
_APOSTROPHES = {ord(mark): None for mark in _QUOTE_MARKS}
_HYPHENS: dict[int, str | None] = {**_APOSTROPHES, **{ord(mark): " " for mark in "-_‐‑‒–"}}
# The acute accent alone would become a blank and a mark; ligatures that hold whole sentences say nothing here.
_BEFORE: dict[int, str] = {
    **{ord(mark): "'" for mark in _QUOTE_MARKS},
    **dict.fromkeys(range(0xFDF0, 0xFDFE), " "),
    0x2800: " ",
    0x09: " ",
    0x0A: "\n",
}
_LEET_I = str.maketrans("015", "ois")
_LEET_L = str.maketrans("015", "ols")


def _pairs(strange: str, latin: str) -> dict[int, str]:
    return {ord(one): other for one, other in zip(strange, latin, strict=True)}


_LOOKALIKES: dict[int, str] = {
    **_pairs("АВЕЁЗІЇЈКМНОРСТУХЅԀԚԜҺӀЬГП", "abeeziijkmhopctyxsdqwhlbrn"),
    **_pairs("авеёіїјкмнорстухѕԁԛԝһӏьгпцғԍ", "abeeiijkmhopctyxsdqwhlbrnufg"),
    **_pairs("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧΣϹϳ", "abezhikmnoptyxscj"),
    **_pairs("αβεηικμνορτυχςσγωϲ", "abenikuvoptuxsoywc"),
    **_pairs("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢøłđ", "abcdefghijklmnoprstuvwyzold"),
    **{0x1F1E6 + at: chr(97 + at) for at in range(26)},
    **{0x1F150 + at: chr(97 + at) for at in range(26)},
    **{0x1F170 + at: chr(97 + at) for at in range(26)},
}

_REACTION = re.compile(
    r"(?i:(?P<whole>(?:liked|loved|disliked|laughed at|emphasized|emphasised|questioned) "
    r"an? (?:image|attachment|movie|video|photo|audio message)\s*\Z)|"
    r"(?:liked|loved|disliked|laughed at|emphasized|emphasised|questioned|le gustó|le encantó|a aimé|a adoré|"
    r"reacted (?:with )?\S{1,24} to|removed an? (?:like|heart|dislike|laugh|exclamation|exclamation mark|"
    r"question mark|question) from|removed \S{1,24} from|[^\w\s]{1,24}\s{0,2} to)\s{0,3}[\u200a-\u200d\u2060]{0,3}[“\"„«])"
)
_CLOSING = ("”", '"', "“", "»", "…”")
_HISTORY = re.compile(
    r"(?i:on .{4,180} wrote:|le .{4,180} a écrit ?:|el .{4,180} escribió:|em .{4,180} escreveu:|am .{4,180} schrieb.{0,80}:|"
    r"il .{4,180} ha scritto:|-{2,}\s?(?:original message|forwarded message|message d'origine|mensaje original)\s?-{2,})"
)
_SIGNATURE = re.compile(
    r"(?:sent (?:from|via|using|with) .{1,60}|get outlook for .{1,40}|envoyé (?:de|depuis) .{1,60}|enviado (?:desde|do|de) .{1,60}|"
    r"von meinem .{1,40} gesendet|gesendet (?:von|mit) .{1,60}|inviato da .{1,60}|yahoo mail on .{1,40})"
)
