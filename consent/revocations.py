"""The ways people take their consent back in their own words: fillers around a word, and whole phrases.

Patterns here read a sentence as its words with one blank between them, without apostrophes (`dont`).
None of them repeats a repetition, and `REVOCATION` is only asked about sentences of at most 40 words.
"""

import re
from typing import Final

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

#: A word that revokes wherever it stands alone (47 CFR 64.1200(a)(10)); read on a folded text.
FLOOR_PATTERN: Final = re.compile(
    r"(?<![^\W_])(?:stop|stopall|quit|end|revoke|opt[\s_-]{0,2}out|cancel|unsubscribe|unsub)(?![^\W_])"
)

#: A sentence that is longer says something else besides.
SENTENCE_WORDS: Final = 40


def is_revocation(words: list[str]) -> str | None:
    """Return the phrase when a sentence is, but for fillers, a revocation."""
    if not 2 <= len(words) <= SENTENCE_WORDS or TRIGGERS.isdisjoint(words):
        return None
    found = REVOCATION.fullmatch(" ".join(words))
    return found["core"] if found else None


def holds_revocation(words: list[str]) -> str | None:
    """Return the phrase when a revocation stands somewhere inside a sentence of any length."""
    if TRIGGERS.isdisjoint(words):
        return None
    found = _INSIDE.search(" ".join(words))
    return found["core"] if found else None


#: Every phrase below holds one of these, so a sentence without any is passed over quickly.
TRIGGERS: Final = frozenset(
    [
        "dont",
        "don",
        "not",
        "never",
        "quit",
        "stop",
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
        r"(?:lose|forget) (?:my|this) number",
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
