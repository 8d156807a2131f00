"""One organization's settings as the engine reads them: effective, frozen, with the words and texts worked out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from consent.replies import LANGUAGE_WORDS, Words, normalized
from consent.templates import DEFAULT_OPT_IN, DEFAULT_OPT_OUT, DEFAULT_TEMPLATES, Template, digest, fragments
from consent.values import Mode, Scope

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
        """Return the language of texts to someone who wants one."""
        return wanted if wanted in self.languages else self.languages[0]

    def opt_in(self, language: str) -> str:
        """Return the live opt-in word of a language."""
        words = self.keywords.get("opt_in", {})
        return str(words.get(language) or words.get(self.languages[0]) or DEFAULT_OPT_IN)

    def opt_out(self, language: str) -> str:
        """Return the opt-out word that texts show: the one that was set last."""
        words = self.keywords.get("opt_out", {})
        shown = words.get(language) or words.get(self.languages[0]) or (DEFAULT_OPT_OUT,)
        return str(shown[-1])

    def template(self, key: str, language: str) -> Template:
        """Return a text in a language, else in the organization's first, else the default."""
        own = self.texts.get(key, {})
        for spoken in (language, self.languages[0]):
            if spoken in own and own[spoken]["text"] is not None:  # None: the default was restored
                text = str(own[spoken]["text"])
                return Template(key, text, int(own[spoken]["version"]), digest(text), spoken)
        return DEFAULT_TEMPLATES[key]

    def words(self, shown: tuple[str, str] | None = None) -> Words:
        """Return the live words beside those that a request showed: (opt-in word, opt-out word)."""
        known = self._words
        if shown is None or (shown[0] in known.opt_in and shown[1] in known.opt_out):
            return known
        opt_in, opt_out = shown
        return Words(
            tuple(dict.fromkeys((*known.opt_in, opt_in))), tuple(dict.fromkeys((*known.opt_out, opt_out))), known.help
        )

    @cached_property
    def release_within(self) -> int | None:
        """How old an employee's blocked text may be to go out at a YES, microseconds; None where none does."""
        kept, _, hours = self.blocked_outbound.partition(":")
        return int(hours) * _HOUR if kept == "release" else None

    def sends(self, text: str) -> bool:
        """Whether a text, normalized, is one that this organization itself sends, whoever is named in it."""
        return text.startswith(self._own_beginnings) and any(_reads(text, own) for own in self._own_texts)

    @cached_property
    def _own_texts(self) -> tuple[tuple[str, ...], ...]:
        """The organization's own texts, normalized: the words between the names in each."""
        own = set()
        for key in DEFAULT_TEMPLATES:
            for language in self.languages:
                between = fragments(self.template(key, language), self.opt_in(language), self.opt_out(language))
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
        opt_in = dict.fromkeys(self.opt_in(language) for language in self.languages)
        return Words(tuple(opt_in), tuple(dict.fromkeys(opt_out)), tuple(dict.fromkeys(help_words)))


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


def policy_of(id: str, organization: str, name: str, layers: Sequence[Mapping[str, Any]]) -> Policy:  # noqa: A002
    """Work out the effective settings of an organization from the settings of those above it, main one first."""
    effective: dict[str, Any] = {}
    for layer in layers:
        for setting, value in layer.items():
            if setting in ("keywords", "texts"):  # each word and text by itself comes from the nearest that sets it
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
