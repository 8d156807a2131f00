"""Turn the entries of a conversation into what its page shows: bubbles, rules and notes, and where each one is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from consent.entry import Entry
from consent.kinds import Kind
from consent.templates import TEMPLATE_NAMES
from jobs.web.whereabouts import Position, State, Whereabouts
from jobs.web.words import (
    CONSENT_WORDS,
    FLAG_WORDS,
    KIND_WORDS,
    REASON_WORDS,
    SOURCE_WORDS,
    TIER_WORDS,
    VERDICT_WORDS,
    masked,
    shown,
    words,
)

Shape = Literal["bubble", "rule", "note"]

_STATE_WORDS = {
    State.DELIVERED: "there",
    State.OWED: "not yet: its turn comes",
    State.SET_ASIDE: "failed, tried again by itself",
    State.REFUSED: "refused, waits for a person",
    State.DISCARDED: "given up by a person",
    State.MISSING: "taken, but not held any more: run a reconcile",
    State.SKIPPED: "before it was set up",
}


class Chip(NamedTuple):
    """One destination of one entry."""

    name: str
    state: str
    #: When it got there, microseconds since 1970.
    at: int | None
    words: str


@dataclass(slots=True)
class Row:
    """One entry as a page shows it."""

    id: str
    #: A text in a bubble, a decision as a full-width rule, anything else as a note.
    shape: Shape
    #: Whose side it stands on and how it looks: `contact`, `employee`, `to-contact`, `to-employee`, `in`, `out`.
    look: str
    title: str
    #: When it happened, and when it was recorded where that was much later; microseconds since 1970.
    at: int
    recorded_at: int
    who: str = ""
    text: str | None = None
    #: A text was there and was lawfully erased, or its record was disposed of.
    erased: bool = False
    #: What became of the text, in a sentence, and the color of it.
    fate: str = ""
    tone: str = ""
    marks: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    #: Lines of a rule: each a sentence.
    lines: tuple[str, ...] = ()
    #: The entry that it answers, confirms or closes.
    about: str | None = None
    version: int | None = None
    chips: tuple[Chip, ...] = field(default=())

    @property
    def was_late(self) -> bool:
        """Whether it reached us more than a minute after it happened; what followed from it isn't told again."""
        return not self.look.startswith("to-") and self.recorded_at - self.at > 60_000_000


class Fates(NamedTuple):
    """What later entries of a conversation say of texts that were held: by their version, what and by which entry."""

    released: Mapping[int, Entry]
    discarded: Mapping[int, Entry]


def row(entry: Entry, whereabouts: Sequence[Whereabouts] = (), fates: Fates | None = None) -> Row:
    """Return the row of one entry."""
    body, values = entry.facts(), entry.revealed()
    text = values.get("text")
    told = Row(
        id=entry.id,
        shape="note",
        look="",
        title=KIND_WORDS.get(entry.kind, entry.kind),
        at=entry.occurred_at,
        recorded_at=entry.recorded_at,
        text=text if isinstance(text, str) else None,
        erased=entry.body is None or ("text" in body and "text" not in values),
        version=entry.version,
        chips=tuple(_chip(place) for place in whereabouts),
    )
    _TELLERS.get(entry.kind, _note)(told, body, values)
    if entry.kind == Kind.MESSAGE and fates is not None and entry.version is not None:
        _tell_fate(told, body, fates)
    return told


def fates_of(entries: Iterable[Entry]) -> Fates:
    """Return what these entries say of texts that were held."""
    fates = Fates({}, {})
    for entry in entries:
        body = entry.facts()
        for known, said in ((fates.released, "released"), (fates.discarded, "discarded")):
            for version in body.get(said) or ():
                if isinstance(version, int):
                    known.setdefault(version, entry)  # type: ignore[attr-defined]
    return fates


def position(entry: Entry) -> Position:
    """Return what `Where` is asked with."""
    return Position(entry.organization, entry.lane, entry.pos)


def person(name: object, number: object, *, clear: bool = False) -> str:
    """Return `Ann Lee •••0100`, or the number alone."""
    told = (number if clear else masked(number)) if isinstance(number, str) and number else ""
    return " ".join(part for part in (str(name) if name else "", told) if part)


def _message(told: Row, body: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    sender = "employee" if body.get("sender") == "employee" else "contact"
    told.shape, told.look = "bubble", sender
    told.who = str(values.get(f"{sender}_name") or words(sender))
    verdict, reason = str(body.get("verdict", "")), body.get("reason")
    if verdict in ("held", "blocked"):
        told.look += f" {verdict}"
        told.tone = "wait" if verdict == "held" else "bad"
    if verdict and verdict != "delivered":
        why = REASON_WORDS.get(str(reason), shown(reason) if reason else "")
        told.fate = VERDICT_WORDS.get(verdict, shown(verdict)) + (f" — {why}" if why else "")
    told.marks = tuple(_marks(body, values))
    told.flags = tuple(FLAG_WORDS.get(flag, shown(flag)) for flag in body.get("flags") or () if isinstance(flag, str))


def _marks(body: Mapping[str, Any], values: Mapping[str, Any]) -> Iterable[str]:
    if body.get("channel") not in (None, "sms"):
        yield shown(body["channel"])
    media = values.get("media")
    if isinstance(media, list) and media:
        yield "1 attachment" if len(media) == 1 else f"{len(media)} attachments"
    group = values.get("group")
    if isinstance(group, list) and len(group) > 1:
        yield f"group of {len(group)}"


def _auto_message(told: Row, body: Mapping[str, Any], _values: Mapping[str, Any]) -> None:
    key = str(body.get("template", ""))
    to = "employee" if str(body.get("to") or key.rpartition(".")[2]) == "employee" else "contact"
    told.shape, told.look = "bubble", f"to-{to}"
    told.who = "Auto-message" + (" to the employee" if to == "employee" else "")
    version = body.get("template_version")
    told.marks = (key, "default text" if version == 0 else f"version {version}")
    if body.get("language") not in (None, "en"):
        told.marks += (str(body["language"]),)
    if body.get("reminder"):
        told.marks += ("reminder",)
    told.title = TEMPLATE_NAMES.get(key, key)


def _decision(told: Row, body: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    decision = str(body.get("decision", "decision"))
    told.shape, told.look = "rule", {"opted_in": "in", "opted_out": "out"}.get(decision, "")
    told.title = CONSENT_WORDS[decision][0] if decision in CONSENT_WORDS else shown(decision)
    source = str(body.get("source", ""))
    lines = [SOURCE_WORDS.get(source, shown(source)).capitalize()] if source else []
    tier, word = body.get("tier"), body.get("word")
    if word is not None:
        read = TIER_WORDS.get(tier, "") if isinstance(tier, int) else ""
        lines.append(f"Word “{word}”, tier {tier}" + (f": {read}" if read else ""))
    if body.get("before") is not None:
        lines.append(f"Before {_state(body['before'])} → after {_state(body.get('after'))}")
    if body.get("scope") not in (None, "pair"):
        lines.append("For every line of the organization" if body["scope"] == "org" else "For the sub-organization")
    if body.get("released"):
        lines.append(f"{len(body['released'])} held text{'s' if len(body['released']) > 1 else ''} released")
    if body.get("discarded"):
        lines.append(f"{len(body['discarded'])} held text{'s' if len(body['discarded']) > 1 else ''} discarded")
    if isinstance(values.get("note"), str):
        lines.append(f"“{values['note']}”")
    told.lines = tuple(lines)
    told.about = body["answers"] if isinstance(body.get("answers"), str) else None


def _review(told: Row, body: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    if body.get("review") == "closed":
        told.title = "Review closed: " + ("a revocation" if body.get("outcome") == "opted_out" else "no revocation")
        told.lines = (f"“{values['note']}”",) if isinstance(values.get("note"), str) else ()
        told.about = body["opening"] if isinstance(body.get("opening"), str) else None
    else:
        told.title = "A possible revocation: review opened"
    told.text = None
    told.erased = False


def _note(told: Row, body: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    subject = next((body[name] for name in ("setting", "event", "operation", "retention", "template", "status")
                    if isinstance(body.get(name), str)), None)  # fmt: skip
    if subject is not None:
        told.title = f"{told.title}: {shown(subject)}"
    told.lines = (f"“{values['note']}”",) if isinstance(values.get("note"), str) else ()
    if "after" in body and isinstance(body["after"], str) and body["after"] in CONSENT_WORDS:
        told.lines += (f"Now {_state(body['after'])}",)
    told.erased = False


_TELLERS = {
    Kind.MESSAGE.value: _message,
    Kind.AUTO_MESSAGE.value: _auto_message,
    Kind.DECISION.value: _decision,
    Kind.REVIEW.value: _review,
}


def _tell_fate(told: Row, body: Mapping[str, Any], fates: Fates) -> None:
    version = told.version or -1
    if (by := fates.released.get(version)) is not None:
        told.fate, told.tone = f"Held, then released by {by.id}", ""
        told.look = told.look.replace(" held", "").replace(" blocked", "")
    elif (by := fates.discarded.get(version)) is not None:
        verdict = "Held" if body.get("verdict") == "held" else "Blocked"
        told.fate, told.tone = f"{verdict}, and never delivered: discarded by {by.id}", "bad"
        told.look = told.look.replace(" held", " discarded")


def _state(value: object) -> str:
    known = CONSENT_WORDS.get(str(value))
    return known[0].lower() if known else shown(value)


def _chip(place: Whereabouts) -> Chip:
    said = _STATE_WORDS[place.state]
    if place.reason and place.state in (State.SET_ASIDE, State.REFUSED):
        said = f"{said}: {place.reason}"
    return Chip(words(place.destination), place.state.value, place.settled_at, said)
