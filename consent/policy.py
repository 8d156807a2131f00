"""One organization's settings as the engine reads them: effective, frozen, with the words and texts worked out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from consent.conversation import Request
from consent.lexicon import DEFAULT_OPT_OUT as STANDARD_OPT_OUT
from consent.lexicon import HELP_WORDS, LANGUAGE_WORDS, NO_WORDS, START_WORDS, Words
from consent.normal import normalized
from consent.revocations import FLOOR
from consent.templates import (
    DEFAULT_OPT_IN,
    DEFAULT_OPT_OUT,
    DEFAULT_TEMPLATES,
    OPT_IN_TEXT,
    Template,
    digest,
    fragments,
    without_placeholders,
)
from consent.values import Mode, Scope

#: What a keyword can be for.
USES = ("opt_out", "help", "opt_in")

_VERSION, _SENT_AT = map(Request._fields.index, ("template_version", "sent_at"))
_HOUR = 3_600 * 1_000_000
#: A template whose own words are fewer letters than this says too little to know an echo by.
_TELLING = 12


@dataclass(frozen=True, eq=False)
class Policy:
    """The effective settings of one organization or sub-organization."""

    id: str
    #: The main organization: its id, and its name as texts show it.
    organization: str
    name: str
    mode: Mode = Mode.OFF
    #: False: the vendor did not order the opt-in service; its options are not shown and can't be set.
    capability: bool = True
    group_messaging: bool = False
    scope: Scope = Scope.PAIR
    default_region: str = "US"
    languages: tuple[str, ...] = ("en",)
    #: What becomes of a contact's held texts at a YES: "release" or "discard".
    held_inbound: str = "release"
    #: What becomes of an employee's blocked texts at a YES: "drop", or "release:24" if not older than so many hours.
    blocked_outbound: str = "drop"
    #: `{"opt_in": {language: word}, "opt_out": {language: [words]}, "help": {language: [words]}}`
    keywords: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: `{key: {language: {"text", "version"}}}`
    texts: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def sub_organization(self) -> str | None:
        """The id where it is not the main organization's."""
        return None if self.id == self.organization else self.id

    def language_of(self, wanted: str | None) -> str:
        """Return the language of texts to someone who wants one (`fr-CA` is French)."""
        if wanted is None or wanted in self.languages:
            return wanted or self.languages[0]
        wanted = wanted.lower().partition("-")[0]
        return wanted if wanted in self.languages else self.languages[0]

    def opt_in(self, language: str, *, own: bool = True) -> str:
        """Return the live opt-in word of a language; with `own` False, that of a default text, which is English."""
        words = self.keywords.get("opt_in", {})
        usual = LANGUAGE_WORDS[language][0][0] if own and language in LANGUAGE_WORDS else None
        return str(words.get(language) or usual or words.get(self.languages[0]) or DEFAULT_OPT_IN)

    def opt_out(self, language: str, *, own: bool = True) -> str:
        """Return the opt-out word that texts show: the one that was set last; `own` as with `opt_in`."""
        words = self.keywords.get("opt_out", {})
        usual = LANGUAGE_WORDS[language][1][:1] if own and language in LANGUAGE_WORDS else None
        shown = words.get(language) or usual or words.get(self.languages[0]) or (DEFAULT_OPT_OUT,)
        return str(shown[-1])

    def shown(self, template: Template, language: str) -> tuple[str, str]:
        """Return the opt-in and the opt-out word that a text shows to someone who wants a language."""
        own = template.version > 0
        spoken = template.language if own else language
        opt_in = self.opt_in(spoken, own=own)
        if own and OPT_IN_TEXT not in template.text and not shows(template.text, opt_in):
            opt_in = next((word for word in self.opt_ins(spoken) if shows(template.text, word)), opt_in)
        return opt_in, self.opt_out(spoken, own=own)

    def opt_ins(self, language: str) -> tuple[str, ...]:
        """Return the words that a text of the organization's own may show to opt in, the usual one first."""
        return self.opt_in(language), self.opt_in(language, own=False)

    def template(self, key: str, language: str) -> Template:
        """Return a text in a language, else in the organization's first, else the default."""
        own = self.texts.get(key, {})
        for spoken in (language, self.languages[0]):
            if spoken in own and own[spoken]["text"] is not None:  # None: the default was restored
                text = str(own[spoken]["text"])
                return Template(key, text, int(own[spoken]["version"]), digest(text), spoken)
        return DEFAULT_TEMPLATES[key]

    def words(self, request: Request | None = None) -> Words:
        """Return the words that are live for the answer to a request: those that it showed, and the new ones.

        Strict for YES: of several languages, only the one of the request opts in. Every language's words opt out.
        """
        if request is None:
            return self._words
        asked = request[_VERSION:_SENT_AT]  # all of it but when, and of which step
        known = self._answers.get(asked)
        if known is None:
            own = request.template_version > 0
            opt_in = dict.fromkeys((request.opt_in, self.opt_in(request.language, own=own)))
            opt_out = dict.fromkeys((*self._words.opt_out, request.opt_out))
            known = self._answers[asked] = Words(tuple(opt_in), tuple(opt_out), self._words.help)
        return known

    def clash(self) -> str | None:
        """Say which word would stand for two things, None where the sets of words are disjoint."""
        spoken = [LANGUAGE_WORDS[language] for language in self.languages if language in LANGUAGE_WORDS]
        own = {use: [word for words in self.keywords.get(use, {}).values()
                     for word in ([words] if isinstance(words, str) else words)] for use in USES}  # fmt: skip
        sets = {
            "opt_out": [*FLOOR, *STANDARD_OPT_OUT, *NO_WORDS, *(word for _, out in spoken for word in out)],
            "help": [*HELP_WORDS],
            "opt_in": [*START_WORDS, *(word for language in self.languages for word in self.opt_ins(language))],
        }
        standing: dict[str, tuple[str, str]] = {}
        # What can't be changed comes first, so that the word named is the one that was.
        for use, word in ((one, word) for words in (sets, own) for one in USES for word in words[one]):
            other, known = standing.setdefault(normalized(word), (use, word))
            if other != use:
                return f"{word} already stands for {other} (as {known})"
        return None

    @cached_property
    def release_within(self) -> int | None:
        """How old an employee's blocked text may be to go out at a YES, microseconds; None where none does."""
        kept, _, hours = self.blocked_outbound.partition(":")
        return int(hours) * _HOUR if kept == "release" else None

    def sends(self, text: str) -> bool:
        """Whether a text, normalized, is one that this organization itself sends, whoever is named in it."""
        return text.startswith(self._own_beginnings) and any(_reads(text, own) for own in self._own_texts)

    @cached_property
    def _answers(self) -> dict[tuple[int | str, ...], Words]:
        return {}

    @cached_property
    def _own_texts(self) -> tuple[tuple[str, ...], ...]:
        """The organization's own texts, normalized: the words between the names in each."""
        own = set()
        for key in DEFAULT_TEMPLATES:
            for language in self.languages:
                template = self.template(key, language)
                between = fragments(template, *self.shown(template, language))
                words = tuple(normalized(words) for words in between)
                if len(words) == 1 or sum(map(len, words)) >= _TELLING:
                    own.add(words)
        return tuple(own)

    @cached_property
    def _own_beginnings(self) -> tuple[str, ...]:
        return tuple({own[0] for own in self._own_texts})

    @cached_property
    def _words(self) -> Words:
        opt_out = [DEFAULT_OPT_OUT]
        for language in self.languages:
            opt_out += LANGUAGE_WORDS.get(language, ((), ()))[1]
        for words in self.keywords.get("opt_out", {}).values():
            opt_out += words
        help_words = [word for words in self.keywords.get("help", {}).values() for word in words]
        opt_in = dict.fromkeys(word for language in self.languages for word in self.opt_ins(language))
        return Words(tuple(opt_in), tuple(dict.fromkeys(opt_out)), tuple(dict.fromkeys(help_words)))


def shows(text: str, word: str) -> bool:
    """Whether a text shows a word, in whatever case, as a word of its own."""
    said = without_placeholders(text).replace(".", " ").replace(",", " ")
    return f" {normalized(word)} " in f" {normalized(said)} "


def _reads(text: str, own: tuple[str, ...]) -> bool:
    """Whether a text is these words in this order, with anything (a name) between them."""
    if len(own) == 1:
        return text == own[0]
    at = 0
    for words in own:
        at = text.find(words, at)
        if at < 0:
            return False
        at += len(words)
    return text.startswith(own[0]) and text.endswith(own[-1])


#: How strict a mode is: who is below may have more of it, never less.
STRICTNESS = {Mode.OFF: 0, Mode.DISCLAIMER: 1, Mode.CONSENT: 2}


def policy_of(id: str, organization: str, name: str, layers: Sequence[Mapping[str, Any]]) -> Policy:  # noqa: A002
    """Work out the effective settings of an organization from the settings of those above it, main one first."""
    effective: dict[str, Any] = {}
    for layer in layers:
        for setting, value in layer.items():
            # What rules the whole account may be stricter below, never looser.
            if setting == "mode":
                effective["mode"] = max(Mode(value), Mode(effective.get("mode", Mode.OFF)), key=STRICTNESS.__getitem__)
            elif setting == "group_messaging":
                effective[setting] = value and effective.get(setting, layer is layers[0])
            elif setting in ("keywords", "texts"):  # each word and text by itself comes from the nearest that sets it
                merged = {key: dict(spoken) for key, spoken in effective.get(setting, {}).items()}
                for key, spoken in value.items():
                    merged.setdefault(key, {}).update(spoken)
                effective[setting] = merged
            else:
                effective[setting] = value
    return Policy(
        id, organization, name,
        mode=Mode(effective.get("mode", Mode.OFF)),
        capability=effective.get("capability", True),
        group_messaging=effective.get("group_messaging", False),
        scope=Scope(effective.get("opt_out_scope", Scope.PAIR)),
        default_region=effective.get("default_region", "US"),
        languages=tuple(effective.get("languages", ("en",))),
        held_inbound=effective.get("held_inbound", "release"),
        blocked_outbound=effective.get("blocked_outbound", "drop"),
        keywords=effective.get("keywords", {}),
        texts=effective.get("texts", {}),
    )  # fmt: skip
