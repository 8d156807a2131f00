"""How a contact's text is read: strict for YES, liberal for STOP; in doubt there is no consent, and no content is lost.

Ten tiers, the first that fits decides. A tier that says YES or STOP consumes the text; tier 9 passes it on as a
text and asks a person to look at it; tier 10 is chat.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from consent.normal import (
    Plain,
    disguises,
    holds_floor_word,
    is_disguised,
    is_reaction,
    normalized,
    plain,
    tidy,
    tokens_of,
)
from consent.revocations import (
    FILLER_PHRASES,
    FILLERS,
    FLOOR,
    SENTENCE_WORDS,
    TRIGGERS,
    floor_word_among,
    holds_revocation,
    is_revocation,
    may_revoke,
    slipped_floor_word,
)

__all__ = [
    "DEFAULT_OPT_OUT",
    "FLOOR",
    "HELP_WORDS",
    "LANGUAGE_WORDS",
    "MATCHER_VERSION",
    "NO_WORDS",
    "START_WORDS",
    "Heard",
    "Reading",
    "Words",
    "normalized",
    "read_reply",
]

#: Kept with each decision, so that a reading can be repeated by the rules that made it.
MATCHER_VERSION: Final = "1"

STOP_ALL: Final[tuple[str, ...]] = ("stopall", "stop all", "stop all messages", "stop everything")
DEFAULT_OPT_OUT: Final[tuple[str, ...]] = (
    *STOP_ALL,
    *("optout", "opt-out", "unsub", "remove", "terminate", "arret", "arrêt", "arrete", "td"),
)
NO_WORDS: Final[tuple[str, ...]] = ("no", "nope", "no thanks", "no thank you", "not interested", "decline")
START_WORDS: Final[tuple[str, ...]] = ("start", "unstop")
HELP_WORDS: Final[tuple[str, ...]] = ("help", "info", "aide", "ayuda")

#: By language: words that opt in, words that opt out. For speakers to review.
LANGUAGE_WORDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = MappingProxyType(
    {
        "en": (("YES",), ("STOP",)),
        "fr": (("oui",), ("arret",)),
        "es": (("si", "sí"), ("alto", "parar", "baja")),
        "pt": (("sim",), ("parar", "sair")),
        "de": (("ja",), ("stopp",)),
        "it": (("si", "sì"), ("ferma",)),
        "zh": (("是",), ("停止", "退订")),
    }
)


class Words(NamedTuple):
    """The live words of one policy."""

    #: Words that say YES now: the request's own as shown, and the live ones.
    opt_in: tuple[str, ...]
    #: Custom and language words beyond the floor and the defaults.
    opt_out: tuple[str, ...] = ()
    help: tuple[str, ...] = ()


class Heard(StrEnum):
    """What a contact said."""

    YES = "yes"
    STOP = "stop"
    NO = "no"
    START = "start"
    HELP = "help"
    TEXT = "text"


class Reading(NamedTuple):
    """What one text says, and by which rule it was read so."""

    heard: Heard
    tier: int
    #: The word or phrase matched, normalized.
    word: str | None
    #: `keyword`, `phrase`, `fuzzy`, `emoji`, or nothing.
    by: str
    #: A person has to look at this text: it may be a revocation (tier 9).
    possible_revocation: bool
    #: Every conversation of the contact is to be closed.
    stop_all: bool
    #: The text without its dress: equal texts are told by it.
    normalized: str
    #: A telephone wrote this text, not a person.
    reaction: bool


def read_reply(text: str, words: Words) -> Reading:
    """Say what a contact's text says, given the words that are live. Takes any string, of any length."""
    return _read_brief(text, words) if len(text) <= _BRIEF else _read(text, words)


def _read(text: str, live: Words) -> Reading:
    lexicon = _lexicon(live)
    if len(text) <= _SHORT and text.isascii() and text.isprintable():
        chat = _chat(text.replace("`", "'").lower(), lexicon)
        if chat is not None:
            return chat
    said = plain(text)
    whole = tidy(said.folded)
    if is_reaction(text):
        return Reading(_TEXT, 10, None, "", False, False, whole, True)
    words = tokens_of(said.folded)
    forms = [_form(said.folded, words, lexicon)]
    forms += [_form(form, tokens_of(form), lexicon) for form in disguises(said, words)]
    found = _heard(said, whole, forms, lexicon) or _flagged(text, said, forms, lexicon)
    return Reading(found.heard, found.tier, found.word, found.by, found.tier == 9, found.stop_all, whole, False)


def _chat(folded: str, lexicon: "_Lexicon") -> Reading | None:
    """Tell most texts apart by their words, before any other work is done: no tier before the ninth can fit these."""
    words = tokens_of(folded)
    if len(words) < 2 or is_disguised(folded, words):
        return None
    if lexicon.triggers.isdisjoint(words):
        return Reading(_TEXT, 10, None, "", False, False, tidy(folded), False)
    if may_revoke(words) or not _REACTIONS.isdisjoint(words):
        return None
    if any(lexicon.known.issuperset(said) for said in (words, *_sentences_of(folded, words)) if said):
        return None
    floor = floor_word_among(words, folded)
    if floor is None:
        return Reading(_TEXT, 10, None, "", False, False, tidy(folded), False)
    return Reading(_TEXT, 9, floor, "phrase", True, False, tidy(folded), False)


#: Half of all replies are a word or an emoji ("ok", "thanks"), and the same ones.
_BRIEF = 12
_read_brief = lru_cache(maxsize=4096)(_read)


class _Found(NamedTuple):
    heard: Heard
    tier: int
    word: str | None
    by: str
    stop_all: bool = False


class _Unit(NamedTuple):
    """A stretch of words that the rules know: what sort it is, and how it reads."""

    sort: str
    phrase: str


class _Form(NamedTuple):
    """One way to read a text: folded, in words, and as phrases that the rules know (None if it holds any other)."""

    text: str
    tokens: list[str]
    units: list[_Unit] | None = None
    #: The words of each sentence; none where no word is one that a rule starts from. A whole text's are `tokens`.
    sentences: Sequence[list[str]] = ()
    #: A revocation may stand in it.
    revoking: bool = False


@dataclass(frozen=True, slots=True)
class _Lexicon:
    """The words of one policy, compiled: every known phrase by its first word, the longest first."""

    yes: frozenset[str]
    stop: frozenset[str]
    #: Words of the other sorts that are a whole text: HELP, START, NO.
    others: Mapping[str, Heard]
    phrases: Mapping[str, tuple[tuple[list[str], _Unit], ...]]
    #: Every word that stands in one of them or asks for help: a text with any other is no row of phrases.
    known: frozenset[str]
    #: A text without any of these is chat, unless it is one word.
    triggers: frozenset[str]


_TEXT = Heard.TEXT
_OUT, _IN, _NO, _FILL = "out", "in", "no", "filler"
_SHORT = 2000

#: Said with any filler in one sentence of a longer text, these still mean one thing only.
_PLAIN_STOPS = frozenset((*STOP_ALL, "stop", "unsubscribe", "unsub", "opt out", "optout"))
_STOP_ALL = frozenset(STOP_ALL)
_BESIDE_IT = frozenset(("stop", "unsubscribe"))
_DOUBT = re.compile("[?¿؟❓❔⁉👎❌🛑✋🚫⛔]")
_STOP_SIGNS = frozenset("🛑✋🚫⛔")
_SKIN_TONES = frozenset("🏻🏼🏽🏾🏿")
_SENTENCE_ENDS = re.compile("[.!?¿¡。\n]")
_WEB_ENDS = (".com", ".net", ".org", ".io", ".co", ".us", ".info", ".gov", ".edu", ".app", ".ly", ".me", ".biz")
_REACTIONS = frozenset(
    ["liked", "loved", "disliked", "laughed", "emphasized", "emphasised", "questioned", "reacted", "removed"]
)


def _form(text: str, tokens: list[str], lexicon: _Lexicon) -> _Form:
    if len(tokens) != 1 and lexicon.triggers.isdisjoint(tokens):
        return _Form(text, tokens)
    return _Form(text, tokens, _units(tokens, lexicon), _sentences_of(text, tokens), may_revoke(tokens))


def _heard(said: Plain, whole: str, forms: list[_Form], lexicon: _Lexicon) -> _Found | None:
    """Read tiers 1 to 8."""
    if whole in lexicon.yes and not (said.shortened or said.only_quoted or _DOUBT.search(said.folded)):
        return _Found(Heard.YES, 1, whole, "keyword")
    for form in forms:
        bare = whole if form is forms[0] else tidy(form.text)
        if bare in lexicon.stop:
            return _Found(Heard.STOP, 3 if said.dropped else 2, bare, "keyword", bare in _STOP_ALL)
    if (heard := lexicon.others.get(whole)) is not None:
        return _Found(heard, 2, whole, "keyword")
    read = [form for form in forms if _may_say(form)]
    for tier in (_with_fillers, _said_no, _sentences, _slip, _mixed):
        for one in read:
            found = tier(one, lexicon)
            if found is not None:
                return found
    return None if whole else _stop_signs(said.folded)


def _may_say(form: _Form) -> bool:
    """Tell whether tiers 4 to 7 may find anything: one sentence of several words that no rule knows says nothing."""
    if form.units is not None or len(form.tokens) == 1 or form.revoking:
        return True
    return bool(form.sentences) and form.sentences[0] is not form.tokens


def _flagged(text: str, said: Plain, forms: list[_Form], lexicon: _Lexicon) -> _Found:
    """Read tiers 9 and 10: what stays a text, and whether a person should look at it."""
    for form in forms:
        floor = floor_word_among(form.tokens, form.text)
        if floor is not None:
            return _Found(_TEXT, 9, floor, "phrase")
        for tokens in form.sentences:
            phrase = holds_revocation(tokens) if form.revoking else None
            if phrase is None:
                # Another opt-out word as a sentence of its own ("Let me see. Remove.") is not sure enough.
                units = form.units if tokens is form.tokens else _units(tokens, lexicon)
                phrase = next((unit.phrase for unit in units or () if unit.sort == _OUT), None)
            if phrase is not None:
                return _Found(_TEXT, 9, phrase, "phrase")
    if said.shortened and holds_floor_word(text):
        return _Found(_TEXT, 9, None, "phrase")
    return _Found(_TEXT, 10, None, "")


def _with_fillers(form: _Form, _lexicon: _Lexicon) -> _Found | None:
    """Tier 4: the whole text is an opt-out word, and words that carry nothing."""
    if form.units is None or any(unit.sort in (_IN, _NO) for unit in form.units):
        return None
    return _stop_of(form.units, 4)


def _said_no(form: _Form, _lexicon: _Lexicon) -> _Found | None:
    if form.units is None or any(unit.sort in (_IN, _OUT) for unit in form.units):
        return None
    word = next((unit.phrase for unit in form.units if unit.sort == _NO), None)
    return _Found(Heard.NO, 4, word, "phrase") if word else None


def _sentences(form: _Form, lexicon: _Lexicon) -> _Found | None:
    """Tier 5: one sentence of the text revokes, and says nothing else."""
    for tokens in form.sentences:
        phrase = is_revocation(tokens) if form.revoking else None
        if phrase is not None:
            return _Found(Heard.STOP, 5, phrase, "phrase", any(phrase.startswith(words) for words in _STOP_ALL))
        if len(tokens) > SENTENCE_WORDS:
            continue
        units = form.units if tokens is form.tokens else _units(tokens, lexicon)
        if units is None or any(unit.sort in (_IN, _NO) for unit in units):
            continue
        found = _stop_of(units, 5)
        if found is not None and found.word in _PLAIN_STOPS:
            return found
    return None


def _slip(form: _Form, _lexicon: _Lexicon) -> _Found | None:
    """Tier 6: one slip of the finger in a floor word."""
    word = slipped_floor_word(form.tokens[0]) if len(form.tokens) == 1 else None
    return _Found(Heard.STOP, 6, word, "fuzzy") if word else None


def _mixed(form: _Form, lexicon: _Lexicon) -> _Found | None:
    """Tier 7: YES and STOP in one breath; in doubt there is no consent."""
    units, tokens = form.units, form.tokens
    found = _stop_of(units, 7) if units is not None else None
    # "No, cancel" may answer something else than the request; "no, stop" does not.
    if units and found and (found.word in _PLAIN_STOPS or any(unit.sort == _IN for unit in units)):
        return found
    if not form.revoking:
        return None
    first, last = 0, len(tokens)
    while first < last and (first < SENTENCE_WORDS) and (length := _answer_at(tokens, first, lexicon)):
        first += length
    if last and _answer_at(tokens, last - 1, lexicon):
        last -= 1
    if (first, last) == (0, len(tokens)):
        return None
    phrase = is_revocation(tokens[first:last])
    return _Found(Heard.STOP, 7, phrase, "phrase") if phrase else None


def _stop_signs(folded: str) -> _Found | None:
    """Tier 8: a stop sign or a raised hand, and nothing else."""
    signs = {character for character in folded if not character.isspace() and not character.isascii()} - _SKIN_TONES
    if signs and signs <= _STOP_SIGNS:
        return _Found(Heard.STOP, 8, "".join(sorted(signs)), "emoji")
    return None


def _stop_of(units: list[_Unit], tier: int) -> _Found | None:
    """Return the opt-out among known words: the longest, or the one that closes everything."""
    outs = [unit.phrase for unit in units if unit.sort == _OUT]
    if not outs:
        return None
    every = [phrase for phrase in outs if phrase in _STOP_ALL]
    sure = [phrase for phrase in outs if phrase in _PLAIN_STOPS]
    if len(outs) > 1 and not sure and [unit.sort for unit in units if unit.sort != _OUT]:
        return None  # "end to end" ends nothing
    return _Found(Heard.STOP, tier, (every or sure or outs)[0], "phrase", bool(every))


def _units(tokens: list[str], lexicon: _Lexicon) -> list[_Unit] | None:
    """Read words as known phrases, the longest first; None as soon as one is not known."""
    if not lexicon.known.issuperset(tokens):
        return None
    units: list[_Unit] = []
    at = 0
    while at < len(tokens):
        for phrase, unit in lexicon.phrases.get(tokens[at], ()):
            if len(phrase) == 1 or tokens[at : at + len(phrase)] == phrase:
                units.append(unit)
                at += len(phrase)
                break
        else:
            # "Cancel it" may be an order; "stop it" is none.
            if tokens[at] != "it" or not units or units[-1].phrase not in _BESIDE_IT:
                return None
            units.append(_Unit(_FILL, "it"))
            at += 1
    return units


def _answer_at(tokens: list[str], at: int, lexicon: _Lexicon) -> int:
    """Return how many words a YES or a NO takes here."""
    for phrase, unit in lexicon.phrases.get(tokens[at], ()):
        if unit.sort in (_IN, _NO) and tokens[at : at + len(phrase)] == phrase:
            return len(phrase)
    return 0


def _sentences_of(form: str, words: list[str]) -> list[list[str]]:
    """Return the words of each sentence; where there is one, it is `words`, those of the whole."""
    sentences = _split(form)
    if len(sentences) == 1 and len(sentences[0]) >= len(form) - 1:  # all of it, but for where it ends
        return [words]
    return [tokens_of(sentence) for sentence in sentences]


def _split(form: str) -> list[str]:
    """Split into sentences; a dot inside a web or mail address ends none."""
    if form.isascii() and "." not in form:
        if not ("!" in form or "?" in form or "\n" in form):
            return [form] if form else []
        ended = form.replace("!", ".").replace("?", ".").replace("\n", ".")
        return [sentence for sentence in ended.split(".") if sentence]
    if "." in form and ("@" in form or "/" in form or any(end in form for end in _WEB_ENDS)):
        form = "".join("" if _is_address(chunk) else chunk for chunk in re.split("([ \t\n])", form))
    return [sentence for sentence in _SENTENCE_ENDS.split(form) if sentence]


def _is_address(chunk: str) -> bool:
    return "." in chunk.rstrip(".,!?") and ("@" in chunk or "/" in chunk or any(end in chunk for end in _WEB_ENDS))


@lru_cache(maxsize=1024)
def _lexicon(words: Words) -> _Lexicon:
    stop = _forms((*FLOOR, *DEFAULT_OPT_OUT, *words.opt_out))
    yes = _forms(words.opt_in) - stop
    helping = _forms((*HELP_WORDS, *words.help))
    others = dict.fromkeys(_NOES, Heard.NO) | dict.fromkeys(_START, Heard.START) | dict.fromkeys(helping, Heard.HELP)
    sorts: dict[tuple[str, ...], str] = {}
    # A later sort wins: an organization's opt-in word may be "OK", a filler elsewhere.
    for sort, known in ((_FILL, (*FILLERS, *FILLER_PHRASES)), (_NO, _NOES), (_IN, (*START_WORDS, *yes)), (_OUT, stop)):
        sorts.update((tuple(tokens_of(word)), sort) for word in known if tokens_of(word))
    phrases: dict[str, list[tuple[list[str], _Unit]]] = {}
    for phrase, sort in sorted(sorts.items(), key=lambda known: -len(known[0])):
        phrases.setdefault(phrase[0], []).append((list(phrase), _Unit(sort, " ".join(phrase))))
    starts = {tokens_of(word)[0] for word in (*yes, *stop, *helping, *_NOES, *_START) if tokens_of(word)}
    frozen = {first: tuple(longest_first) for first, longest_first in phrases.items()}
    starts |= TRIGGERS | _REACTIONS
    all_words = {"it", *(word for phrase in (*sorts, *map(tokens_of, helping)) for word in phrase)}
    return _Lexicon(yes, stop, others, frozen, frozenset(all_words), frozenset(starts))


def _forms(words: Iterable[str]) -> frozenset[str]:
    return frozenset(normalized(word) for word in words) - {""}


_START = _forms(START_WORDS)
_NOES = _forms(NO_WORDS)
