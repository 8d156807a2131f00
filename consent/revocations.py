"""The ways people take their consent back: the words of the floor, fillers around them, slips, whole phrases.

Patterns here read a sentence as its words with one blank between them, without apostrophes (`dont`).
None of them repeats a repetition, and `REVOCATION` is only asked about sentences of at most 40 words.
"""

import re
from functools import lru_cache
from importlib.resources import files
from typing import Final

#: What revokes in every organization and language (47 CFR 64.1200(a)(10)); nobody can remove one.
FLOOR: Final[tuple[str, ...]] = ("stop", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe")

#: Words that carry no content beside an opt-out word.
FILLERS: Final = [
    "please",
    "pls",
    "plz",
    "ok",
    "okay",
    "now",
    "just",
    "already",
    "again",
    "today",
    "anymore",
    "actually",
    "the",
    "to",
    "me",
    "us",
    "this",
    "these",
    "all",
    "texting",
    "messaging",
    "messages",
    "texts",
    "sending",
    "contacting",
    "calling",
    "thanks",
    "thx",
    "hi",
    "hello",
    "hey",
    "sorry",
]
FILLER_PHRASES: Final = (
    "thank you",
    "i said",
    "i told you to",
    "i asked you to",
    "i want to",
    "i would like to",
    "id like to",
)

#: What a text begins with that revokes wherever it stands alone (47 CFR 64.1200(a)(10)).
_BEGINNINGS: Final = ("stop", "quit", "end", "revoke", "opt", "cancel", "unsub")
_FLOOR_WORDS: Final = ("stop(?:all)?", "quit", "end", "revoke", r"opt[\s_-]{0,2}out", "cancel", "unsub(?:scribe)?")
# Each word's first letter comes first, then whether it begins a word: so the pattern skips what begins none.
_FLOOR_PATTERN: Final = re.compile(
    "(?:" + "|".join(rf"{word[0]}(?<![^\W_].){word[1:]}" for word in _FLOOR_WORDS) + r")(?![^\W_])"
)


def floor_word(folded: str) -> str | None:
    """Return the first word of the floor that stands in a folded text."""
    # Looking for letters in a row is a hundred times quicker than a pattern.
    if not any(word in folded for word in _BEGINNINGS):
        return None
    found = _FLOOR_PATTERN.search(folded)
    return found[0] if found else None


def floor_word_among(words: list[str], folded: str) -> str | None:
    """Return the same, of a text whose words are known."""
    if _FLOOR_TOKENS.isdisjoint(words):
        return None
    if "opt" in words:  # one alone is none
        return floor_word(folded.replace("'", ""))
    return next(word for word in words if word in _FLOOR_TOKENS)


#: What one of them begins with, as a word.
_FLOOR_TOKENS: Final = frozenset((*FLOOR, "stopall", "opt", "optout", "unsub"))

#: A sentence that is longer says something else besides.
SENTENCE_WORDS: Final = 40


def may_revoke(words: list[str]) -> bool:
    """Tell whether any of the phrases below can stand among these words: a quick look that misses none."""
    return not TRIGGERS.isdisjoint(words) and not _ABOUT.isdisjoint(words)


def is_revocation(words: list[str]) -> str | None:
    """Return the phrase when a sentence is, but for fillers, a revocation."""
    if not 2 <= len(words) <= SENTENCE_WORDS or not may_revoke(words):
        return None
    found = REVOCATION.fullmatch(" ".join(words))
    return found["core"] if found else None


def holds_revocation(words: list[str]) -> str | None:
    """Return the phrase when a revocation stands somewhere inside a sentence of any length."""
    if not may_revoke(words):
        return None
    found = _INSIDE.search(" ".join(words))
    return found["core"] if found else None


def slipped_floor_word(token: str) -> str | None:
    """Return the floor word that a token of four letters or more is one slip of the finger away from."""
    if len(token) < 4 or token in _near_words():
        return None
    return _SLIPS.get(token) or _SINGLED.get(_single(token))


#: Every phrase below holds one of these, so a sentence without any is passed over quickly.
TRIGGERS: Final = frozenset(
    [
        "dont",
        "don",
        "not",
        "never",
        "quit",
        "stop",
        "end",
        "cease",
        "off",
        "remove",
        "delete",
        "opt",
        "unsubscribe",
        "leave",
        "lose",
        "no",
        "wrong",
        "revoke",
        "withdraw",
        "consent",
    ]
)

#: Every phrase also says what it is about, by one of these.
_ABOUT: Final = frozenset(
    (
        *("text", "texts", "texting", "txt", "txts", "txting", "message", "messages", "messaging"),
        *("msg", "msgs", "msging", "sms", "contact", "contacting", "call", "calling", "send", "sending"),
        *("me", "us", "number", "phone", "consent", "them", "these"),
    )
)

_TEXTS = r"(?:texts?|txts?|messages?|msgs?|sms|text messages?)"
_WHICH = (
    r"(?:any|any more|anymore|more|any further|further|any other|these|those|your|ur|the|all|all these|all your|"
    r"such|this)"
)
_ME = r"(?:me|us|this number|this phone|my number|my phone|our number)"
_SOME_TEXTS = rf"(?:(?:{_WHICH} ){{0,2}}{_TEXTS})"
_NEVER = r"(?:dont|don t|do not|never|quit|stop|cease)(?: (?:ever|please|again|keep)){0,1}"
_VERB = r"(?:text|texting|txt|txting|message|messaging|msg|msging|contact|contacting|call|calling|send|sending)"
_OBJECT = (
    rf"(?:(?:to )?{_ME}(?: (?:with )?{_SOME_TEXTS})?|{_SOME_TEXTS}(?: to {_ME})?|again|anymore|any more|any further)"
)
_LIST = r"(?:(?:your|ur|the|this|that|all|any|all your) (?:[a-z]{2,12} )?(?:lists?|database|texts|messages|system))"
_CORE = "|".join(
    (
        rf"{_NEVER} {_VERB} {_OBJECT}",
        r"(?:dont|don t|do not|never)(?: ever)? (?:text|txt|message|contact)(?=$| please$| thanks$)",
        rf"(?:stop|quit) (?:{_VERB} )?{_SOME_TEXTS}",
        rf"take (?:me|us|my number|this number) off(?: (?:of )?{_LIST})?",
        rf"(?:remove|delete) (?:me|us|my number|this number)(?: (?:from|of|off) {_LIST})?",
        rf"opt (?:me|us) out(?: (?:of|from) {_SOME_TEXTS})?",
        rf"unsubscribe (?:me|us|my number|this number)(?: from {_LIST})?",
        r"leave (?:me|us) alone",
        rf"no more {_TEXTS}(?: to {_ME})?|no more (?:texting|messaging)",
        r"lose (?:my|this) number",
        r"(?:(?:i think )?(?:you|u) (?:have|got|have got) |(?:this|it) is |its )?(?:(?:the|a) )?wrong number",
        (
            rf"(?:i )?(?:hereby )?(?:revoke|withdraw)(?: (?:my|all|any|our)){{0,2}} consent"
            rf"(?: to (?:receive )?{_SOME_TEXTS})?"
        ),
        r"my consent is (?:revoked|withdrawn)",
        rf"(?:(?:i|we) )?(?:would like|want|need|id like) {_SOME_TEXTS} to (?:stop|end|cease)",
        rf"stop (?:getting|receiving) (?:{_SOME_TEXTS}|them|these)",
        rf"(?:(?:i|we) )?(?:dont|don t|do not) (?:want|wish)(?: to (?:get|receive))? {_SOME_TEXTS}(?: from you)?",
    )
)
# No two of these may read the same words, or a text that repeats them would be tried in every combination.
_FILLER = "|".join([*FILLER_PHRASES, *FILLERS, "any more", "ever"])
_LEAD = (
    r"(?:(?:can|could|would|will) (?:you|u)|(?:i|we) (?:want|need|asked|would like) you to|id like you to|"
    r"you need to|we (?:want|would like) to|and)"
)
REVOCATION: Final = re.compile(rf"(?:(?:{_FILLER}|{_LEAD}) )*(?P<core>{_CORE})(?: (?:{_FILLER}))*")
# "Don't forget to send me the 1099": a few words between, and a person has to look.
_INSIDE = re.compile(rf"(?<![^ ])(?P<core>{_CORE}|{_NEVER}(?: [^ ]++){{1,3}}? {_VERB} {_OBJECT})(?![^ ])")


@lru_cache(maxsize=1)
def _near_words() -> frozenset[str]:
    lines = files("consent").joinpath("near_words.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _beside(letter: str) -> str:
    """Return the neighbors of a key: each row stands half a key to the right of the one above it."""
    row = next(at for at, keys in enumerate(_ROWS) if letter in keys)
    at = _ROWS[row].index(letter)
    near = [(row, at - 1), (row, at + 1), (row - 1, at), (row - 1, at + 1), (row + 1, at - 1), (row + 1, at)]
    return "".join(_ROWS[r][c] for r, c in near if 0 <= r < len(_ROWS) and 0 <= c < len(_ROWS[r]))


def _slips() -> dict[str, str]:
    """Every one-slip spelling of a floor word, with the word: neighbors swapped, or the key beside it hit."""
    slips: dict[str, str] = {}
    for phrase in FLOOR:
        word = phrase.replace(" ", "")
        for at, letter in enumerate(word):
            slips.update((f"{word[:at]}{near}{word[at + 1 :]}", phrase) for near in _beside(letter))
            if at:
                slips[f"{word[: at - 1]}{letter}{word[at - 1]}{word[at + 1 :]}"] = phrase
    return {slip: phrase for slip, phrase in slips.items() if len(slip) >= 4}


def _single(token: str) -> str:
    """Write each run of one letter once."""
    return "".join(letter for at, letter in enumerate(token) if not at or token[at - 1] != letter)


_SLIPS = _slips()
_SINGLED = {word.replace(" ", ""): word for word in FLOOR}
