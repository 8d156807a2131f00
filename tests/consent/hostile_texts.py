"""Texts that nobody sends and anybody can: random Unicode, halves of pairs, NUL, bidirectional marks, 100 kB."""

import random
from collections.abc import Iterator

KILOBYTES_100 = 100_000
_WORDS = (
    "STOP",
    "stop",
    "yes",
    "YES",
    "no",
    "end",
    "cancel",
    "opt out",
    "don't",
    "text",
    "me",
    "please",
    "unsubscribe",
    "remove me",
    "stop all",
    "help",
    "start",
    "STOP ALL",
    "停止",
    "арret",
    "ＳＴＯＰ",
    "s.t.o.p",
    "st0p",
    "🛑",
    "👍",
    "сtop",
)
_SEPARATORS = (
    " ",
    "\n",
    ".",
    "!",
    "\u200b",
    "\u202e",
    "\x00",
    "\r\n",
    "-",
    "_",
    "\u2066",
    "'",
    "’",
    "\ufe0f",
    "\u0301",
    "> ",
    "\n--\n",
    "On Monday Ann wrote:\n",
    "“",
    "”",
    "\t",
    "",
    "\ud83d",
    "\udc00",
    "🏽",
)
_PLANES = (
    (0x20, 0x7F),
    (0x00, 0x20),
    (0x80, 0x250),
    (0x300, 0x370),
    (0x370, 0x600),
    (0x600, 0x780),
    (0x900, 0xE00),
    (0x2000, 0x2100),
    (0x3000, 0x3100),
    (0x4E00, 0x4F00),
    (0xD800, 0xE000),
    (0xF900, 0x10000),
    (0x1F000, 0x1FB00),
    (0xE0000, 0xE0200),
)

#: Patterns that make a careless reader slow, of which a text of 100 kB is made.
PATTERNS = (
    "a",
    "stop ",
    "s t o p ",
    "s.",
    "0",
    "1l",
    "st0p",
    "'",
    "don't ever ",
    "do not please text me ",
    "> ",
    "\n",
    "\n--\n",
    "\u0301",
    "a\u0301\u0327",
    "\u200b",
    "\u202e",
    "\x00",
    "(",
    "“",
    "Liked “",
    "Reacted 👍 to “",
    "🛑",
    "🏽",
    "ﷺ",
    "ß",
    "İ",
    "no ",
    "yes stop ",
    "i told you to ",
    "please ",
    "would you stop ",
    "On a b wrote:",
    "From: a\nSent: b\n",
    "a.com/ ",
    "stop getting the ",
    "Ａ",
    "Ѕ",
    "ΝΒ",
    "\ud800",
    "-",
    "_",
    "end to ",
    ".",
    "停止",
    "take me off ",
    "stop\u00a0",
    "🇸🇹🇴🇵",
)


def hostile_texts(count: int, seed: int = 0) -> Iterator[str]:
    """Yield `count` texts; one in five thousand is 100 kB long."""
    chance = random.Random(seed)
    for at in range(count):
        if at % 5_000 == 4_999:
            pattern = chance.choice(PATTERNS)
            yield long_text(pattern) + chance.choice(_WORDS)
        else:
            yield "".join(_piece(chance) for _ in range(chance.randrange(1, 9)))


def long_text(pattern: str) -> str:
    """Return a text of 100 kB that repeats a pattern."""
    return (pattern * (KILOBYTES_100 // len(pattern) + 1))[:KILOBYTES_100]


def _piece(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.4:
        return chance.choice(_WORDS)
    if kind < 0.7:
        return chance.choice(_SEPARATORS)
    first, last = chance.choice(_PLANES)
    return "".join(chr(chance.randrange(first, last)) for _ in range(chance.randrange(1, 6)))
