"""How a contact's text is read: strict for YES, liberal for STOP; in doubt there is no consent, and no content is lost.

Ten tiers, the first that fits decides. A tier that says YES or STOP consumes the text; tier 9 passes it on as a
text and asks a person to look at it; tier 10 is chat.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from consent.lexicon import (
    IN,
    NO,
    OUT,
    REACTIONS,
    STOP_ALL,
    Heard,
    Lexicon,
    Unit,
    Words,
    answer_at,
    lexicon_of,
    units_of,
)
from consent.normal import (
    Plain,
    disguises,
    holds_floor_word,
    is_disguised,
    is_reaction,
    plain,
    tidy,
    tokens_of,
)
from consent.revocations import (
    SENTENCE_WORDS,
    floor_word_among,
    holds_revocation,
    is_revocation,
    may_revoke,
    slipped_floor_word,
)
from consent.values import new

#: Kept with each decision, so that a reading can be repeated by the rules that made it.
MATCHER_VERSION: Final = "1"


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
    lexicon = lexicon_of(live)
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


def _chat(folded: str, lexicon: Lexicon) -> Reading | None:
    """Tell most texts apart by their words, before any other work is done: no tier before the ninth can fit these."""
    words = tokens_of(folded)
    if len(words) < 2 or is_disguised(folded, words):
        return None
    if lexicon.triggers.isdisjoint(words):
        return new(Reading, (_TEXT, 10, None, "", False, False, tidy(folded), False))
    if may_revoke(words) or not REACTIONS.isdisjoint(words):
        return None
    if any(lexicon.known.issuperset(said) for said in (words, *_sentences_of(folded, words)) if said):
        return None
    floor = floor_word_among(words, folded)
    if floor is None:
        return new(Reading, (_TEXT, 10, None, "", False, False, tidy(folded), False))
    return new(Reading, (_TEXT, 9, floor, "phrase", True, False, tidy(folded), False))


#: Half of all replies are a word or an emoji ("ok", "thanks"), and the same ones.
_BRIEF = 12
_read_brief = lru_cache(maxsize=4096)(_read)


class _Found(NamedTuple):
    heard: Heard
    tier: int
    word: str | None
    by: str
    stop_all: bool = False


class _Form(NamedTuple):
    """One way to read a text: folded, in words, and as phrases that the rules know (None if it holds any other)."""

    text: str
    tokens: list[str]
    units: list[Unit] | None = None
    #: The words of each sentence; none where no word is one that a rule starts from. A whole text's are `tokens`.
    sentences: Sequence[list[str]] = ()
    #: A revocation may stand in it.
    revoking: bool = False


_TEXT = Heard.TEXT
_SHORT = 2000

#: Said with any filler in one sentence of a longer text, these still mean one thing only.
_PLAIN_STOPS = frozenset((*STOP_ALL, "stop", "unsubscribe", "unsub", "opt out", "optout"))
_STOP_ALL = frozenset(STOP_ALL)
_DOUBT = re.compile("[?¿؟❓❔⁉👎❌🛑✋🚫⛔]")
_STOP_SIGNS = frozenset("🛑✋🚫⛔")
_SKIN_TONES = frozenset("🏻🏼🏽🏾🏿")
_SENTENCE_ENDS = re.compile("[.!?¿¡。\n]")
_WEB_ENDS = (".com", ".net", ".org", ".io", ".co", ".us", ".info", ".gov", ".edu", ".app", ".ly", ".me", ".biz")


def _form(text: str, tokens: list[str], lexicon: Lexicon) -> _Form:
    if len(tokens) != 1 and lexicon.triggers.isdisjoint(tokens):
        return _Form(text, tokens)
    return _Form(text, tokens, units_of(tokens, lexicon), _sentences_of(text, tokens), may_revoke(tokens))


def _heard(said: Plain, whole: str, forms: list[_Form], lexicon: Lexicon) -> _Found | None:
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


def _flagged(text: str, said: Plain, forms: list[_Form], lexicon: Lexicon) -> _Found:
    """Read tiers 9 and 10: what stays a text, and whether a person should look at it."""
    for form in forms:
        floor = floor_word_among(form.tokens, form.text)
        if floor is not None:
            return _Found(_TEXT, 9, floor, "phrase")
        for tokens in form.sentences:
            phrase = holds_revocation(tokens) if form.revoking else None
            if phrase is None:
                # Another opt-out word as a sentence of its own ("Let me see. Remove.") is not sure enough.
                units = form.units if tokens is form.tokens else units_of(tokens, lexicon)
                phrase = next((unit.phrase for unit in units or () if unit.sort == OUT), None)
            if phrase is not None:
                return _Found(_TEXT, 9, phrase, "phrase")
    if said.shortened and holds_floor_word(text):
        return _Found(_TEXT, 9, None, "phrase")
    return _Found(_TEXT, 10, None, "")


def _with_fillers(form: _Form, _lexicon: Lexicon) -> _Found | None:
    """Tier 4: the whole text is an opt-out word, and words that carry nothing."""
    if form.units is None or any(unit.sort in (IN, NO) for unit in form.units):
        return None
    return _stop_of(form.units, 4)


def _said_no(form: _Form, _lexicon: Lexicon) -> _Found | None:
    if form.units is None or any(unit.sort in (IN, OUT) for unit in form.units):
        return None
    word = next((unit.phrase for unit in form.units if unit.sort == NO), None)
    return _Found(Heard.NO, 4, word, "phrase") if word else None


def _sentences(form: _Form, lexicon: Lexicon) -> _Found | None:
    """Tier 5: one sentence of the text revokes, and says nothing else."""
    for tokens in form.sentences:
        phrase = is_revocation(tokens) if form.revoking else None
        if phrase is not None:
            return _Found(Heard.STOP, 5, phrase, "phrase", any(phrase.startswith(words) for words in _STOP_ALL))
        if len(tokens) > SENTENCE_WORDS:
            continue
        units = form.units if tokens is form.tokens else units_of(tokens, lexicon)
        if units is None or any(unit.sort in (IN, NO) for unit in units):
            continue
        found = _stop_of(units, 5)
        if found is not None and found.word in _PLAIN_STOPS:
            return found
    return None


def _slip(form: _Form, _lexicon: Lexicon) -> _Found | None:
    """Tier 6: one slip of the finger in a floor word."""
    word = slipped_floor_word(form.tokens[0]) if len(form.tokens) == 1 else None
    return _Found(Heard.STOP, 6, word, "fuzzy") if word else None


def _mixed(form: _Form, lexicon: Lexicon) -> _Found | None:
    """Tier 7: YES and STOP in one breath; in doubt there is no consent."""
    units, tokens = form.units, form.tokens
    found = _stop_of(units, 7) if units is not None else None
    # "No, cancel" may answer something else than the request; "no, stop" does not.
    if units and found and (found.word in _PLAIN_STOPS or any(unit.sort == IN for unit in units)):
        return found
    if not form.revoking:
        return None
    first, last = 0, len(tokens)
    while first < last and (first < SENTENCE_WORDS) and (length := answer_at(tokens, first, lexicon)):
        first += length
    if last and answer_at(tokens, last - 1, lexicon):
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


def _stop_of(units: list[Unit], tier: int) -> _Found | None:
    """Return the opt-out among known words: the longest, or the one that closes everything."""
    outs = [unit.phrase for unit in units if unit.sort == OUT]
    if not outs:
        return None
    every = [phrase for phrase in outs if phrase in _STOP_ALL]
    sure = [phrase for phrase in outs if phrase in _PLAIN_STOPS]
    if len(outs) > 1 and not sure and [unit.sort for unit in units if unit.sort != OUT]:
        return None  # "end to end" ends nothing
    return _Found(Heard.STOP, tier, (every or sure or outs)[0], "phrase", bool(every))


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
