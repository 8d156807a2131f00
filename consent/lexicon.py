"""The words that a policy knows: what opts in and out, asks for help, says no; and a text as a row of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from consent.normal import normalized, tokens_of
from consent.revocations import FILLER_PHRASES, FILLERS, FLOOR, TRIGGERS

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


class Unit(NamedTuple):
    """A stretch of words that the rules know: what sort it is, and how it reads."""

    sort: str
    phrase: str


#: The sorts of phrases.
OUT, IN, NO, FILL = "out", "in", "no", "filler"
#: What a telephone begins with that writes for its owner.
REACTIONS: Final = frozenset(
    ["liked", "loved", "disliked", "laughed", "emphasized", "emphasised", "questioned", "reacted", "removed"]
)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words of one policy, compiled: every known phrase by its first word, the longest first."""

    yes: frozenset[str]
    stop: frozenset[str]
    #: Words of the other sorts that are a whole text: HELP, START, NO.
    others: Mapping[str, Heard]
    phrases: Mapping[str, tuple[tuple[list[str], Unit], ...]]
    #: Every word that stands in one of them or asks for help: a text with any other is no row of phrases.
    known: frozenset[str]
    #: A text without any of these is chat, unless it is one word.
    triggers: frozenset[str]


@lru_cache(maxsize=1024)
def lexicon_of(words: Words) -> Lexicon:
    """Compile the live words of a policy."""
    stop = _forms((*FLOOR, *DEFAULT_OPT_OUT, *words.opt_out))
    yes = _forms(words.opt_in) - stop
    helping = _forms((*HELP_WORDS, *words.help))
    others = dict.fromkeys(_NOES, Heard.NO) | dict.fromkeys(_START, Heard.START) | dict.fromkeys(helping, Heard.HELP)
    sorts: dict[tuple[str, ...], str] = {}
    # A later sort wins: an organization's opt-in word may be "OK", a filler elsewhere.
    for sort, known in ((FILL, (*FILLERS, *FILLER_PHRASES)), (NO, _NOES), (IN, (*START_WORDS, *yes)), (OUT, stop)):
        sorts.update((tuple(tokens_of(word)), sort) for word in known if tokens_of(word))
    phrases: dict[str, list[tuple[list[str], Unit]]] = {}
    for phrase, sort in sorted(sorts.items(), key=lambda known: -len(known[0])):
        phrases.setdefault(phrase[0], []).append((list(phrase), Unit(sort, " ".join(phrase))))
    starts = {tokens_of(word)[0] for word in (*yes, *stop, *helping, *_NOES, *_START) if tokens_of(word)}
    frozen = {first: tuple(longest_first) for first, longest_first in phrases.items()}
    starts |= TRIGGERS | REACTIONS
    all_words = {"it", *(word for phrase in (*sorts, *map(tokens_of, helping)) for word in phrase)}
    return Lexicon(yes, stop, others, frozen, frozenset(all_words), frozenset(starts))


def units_of(tokens: list[str], lexicon: Lexicon) -> list[Unit] | None:
    """Read words as known phrases, the longest first; None as soon as one is not known."""
    if not lexicon.known.issuperset(tokens):
        return None
    units: list[Unit] = []
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
            units.append(Unit(FILL, "it"))
            at += 1
    return units


def answer_at(tokens: list[str], at: int, lexicon: Lexicon) -> int:
    """Return how many words a YES or a NO takes here."""
    for phrase, unit in lexicon.phrases.get(tokens[at], ()):
        if unit.sort in (IN, NO) and tokens[at : at + len(phrase)] == phrase:
            return len(phrase)
    return 0


def _forms(words: Iterable[str]) -> frozenset[str]:
    return frozenset(normalized(word) for word in words) - {""}


_START = _forms(START_WORDS)
_NOES = _forms(NO_WORDS)
_BESIDE_IT = frozenset(("stop", "unsubscribe"))
