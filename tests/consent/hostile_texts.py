"""Texts that nobody sends and anybody can: random Unicode, halves of pairs, NUL, bidirectional marks, 100 kB."""

import random
from collections.abc import Iterable, Iterator

from consent.canonical import canonical
from consent.conversation import begin
from consent.engine import decide
from consent.lexicon import LANGUAGE_WORDS
from consent.messages import read_message
from consent.policy import Policy
from consent.values import Group, Message, Mode, Sender

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


def decide_each(texts: Iterable[str]) -> Iterator[Message]:
    """Take texts through a conversation of each mode in turn, write down what follows, and yield each as it was read.

    Every fiftieth begins anew; the employee writes now and then, so that every state is met.
    """
    talks = [(policy, begin("c", "acme", None, _LINE, _CONTACT, Group.TEXT)) for policy in _POLICIES]
    fresh = list(talks)
    for count, text in enumerate(texts):
        at = count % len(talks)
        policy, conversation = talks[at] if count // len(talks) % 50 else fresh[at]
        sender = Sender.EMPLOYEE if count % 7 == 6 else Sender.CONTACT
        asked = {"id": f"m{count}", "org": "acme", "channel": "sms", "sender": sender.value, "line": _LINE,
                 "contact": _CONTACT, "text": text}  # fmt: skip
        told = read_message(asked, _NOON + count * 1_000_000, policy)
        decision = decide(conversation, told, policy, tag=str)
        for record in decision.records:
            canonical(dict(record.body))
            canonical(dict(record.values))
        talks[at] = policy, decision.conversation
        yield told


_NOON, _LINE, _CONTACT = 1_795_435_200_000_000, "+14155550100", "+14045550123"
_POLICIES = [
    Policy("acme", "acme", "Acme Bank", mode=mode, languages=languages)
    for languages in (("en",), tuple(LANGUAGE_WORDS))
    for mode in Mode
]


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
