"""Turn entries into the rows of a page: words for kinds, masked numbers, and where each entry is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from connectors.portal.store import Arrival
from consent.canonical import timestamp
from consent.entry import Entry
from consent.kinds import Kind
from jobs.web.whereabouts import Position, State, Whereabouts

#: How a page calls each kind.
KIND_WORDS: Mapping[str, str] = MappingProxyType(
    {
        Kind.MESSAGE.value: "Text",
        Kind.AUTO_MESSAGE.value: "Auto-message",
        Kind.DECISION.value: "Decision",
        Kind.DELIVERY.value: "Delivery status",
        Kind.REASSIGNMENT.value: "Reassignment",
        Kind.REVIEW.value: "Review",
        Kind.SETTING.value: "Setting",
        Kind.TEMPLATE.value: "Template",
        Kind.ACCESS.value: "Access",
        Kind.OPERATION.value: "Operation",
        Kind.CHECKPOINT.value: "Checkpoint",
        Kind.RETENTION.value: "Retention",
    }
)

_STATE_WORDS = {
    State.DELIVERED: "delivered",
    State.OWED: "not yet: its turn comes",
    State.SET_ASIDE: "set aside, tried again",
    State.REFUSED: "refused, waits for a person",
}
#: Facts of the body that a row shows beside its text, in this order.
_FACTS = ("reason", "before", "after", "word", "tier", "source", "template", "template_version", "language", "channel")
_SPELLED = {"sms": "SMS", "mms": "MMS", "rcs": "RCS", "whatsapp": "WhatsApp"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Chip:
    """One destination of one entry."""

    name: str
    state: str
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as the page shows it."""

    id: str
    organization: str
    #: A text in a bubble, a decision as a full-width rule, anything else as a note.
    shape: Literal["bubble", "rule", "note"]
    #: Whose side a bubble stands on.
    side: Literal["contact", "employee", "automatic", "none"]
    title: str
    #: Who wrote it and whom it is for, numbers masked.
    parties: str
    text: str | None
    #: A text was there and was lawfully erased.
    erased: bool
    badges: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    occurred_at: str
    occurred_words: str
    chips: tuple[Chip, ...]


def row(arrival: Arrival, whereabouts: Sequence[Whereabouts]) -> Row:
    """Return the row of one entry."""
    entry = arrival.entry
    body, values = entry.facts(), entry.revealed()
    text = values.get("text")
    return Row(
        id=entry.id,
        organization=entry.organization,
        shape=_shape(entry.kind),
        side=_side(entry.kind, body),
        title=_title(entry.kind, body),
        parties=_parties(entry.kind, body, values),
        text=text if isinstance(text, str) else None,
        erased=entry.body is None or ("text" in body and "text" not in values),
        badges=_badges(body, values),
        facts=tuple((_words(name), _shown(body[name])) for name in _FACTS if body.get(name) not in (None, "")),
        occurred_at=timestamp(entry.occurred_at),
        occurred_words=when(entry.occurred_at),
        chips=tuple(_chip(place) for place in whereabouts),
    )


def position(entry: Entry) -> Position:
    """Return what `Where` is asked with."""
    return Position(entry.organization, entry.lane, entry.pos)


def masked(number: str) -> str:
    """Return a number with all but its last four digits hidden, and how many those were, too."""
    digits = "".join(letter for letter in number if letter.isdigit())
    return f"•••{digits[-4:]}" if len(digits) > 6 else "•••"


def when(micros: int) -> str:
    """Return a time as `23 Nov 2026, 10:00:00 UTC`."""
    at = _EPOCH + timedelta(microseconds=micros)
    # Not %b: it follows the locale of the process.
    month = _MONTHS[at.month - 1]
    return f"{at.day} {month} {at.year}, {at:%H:%M:%S} UTC"


def _shape(kind: str) -> Literal["bubble", "rule", "note"]:
    if kind == Kind.DECISION:
        return "rule"
    return "bubble" if kind in (Kind.MESSAGE, Kind.AUTO_MESSAGE) else "note"


def _side(kind: str, body: Mapping[str, Any]) -> Literal["contact", "employee", "automatic", "none"]:
    if kind == Kind.AUTO_MESSAGE:
        return "automatic"
    match body.get("sender"):
        case "contact":
            return "contact"
        case "employee":
            return "employee"
    return "none"


def _title(kind: str, body: Mapping[str, Any]) -> str:
    if kind == Kind.DECISION:
        return _shown(body.get("decision", "decision"))
    return KIND_WORDS.get(kind, kind)


def _parties(kind: str, body: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    contact = _person(values.get("contact_name") or "Contact", values.get("contact"))
    employee = _person(values.get("employee_name") or "Employee", values.get("line"))
    if kind == Kind.AUTO_MESSAGE:
        return f"to {employee if _recipient(body) == 'employee' else contact}"
    if kind == Kind.MESSAGE and body.get("sender") == "contact":
        return f"{contact} to {employee}"
    if kind == Kind.MESSAGE and body.get("sender") == "employee":
        return f"{employee} to {contact}"
    return " · ".join(
        who for who, there in ((contact, "contact" in values), (employee, "line" in values)) if there
    )  # fmt: skip


def _recipient(body: Mapping[str, Any]) -> str:
    """Return whom an auto-message is for: as it says itself, else by the last word of its template's key."""
    return str(body.get("to") or str(body.get("template", "")).rpartition(".")[2])


def _person(name: Any, number: Any) -> str:
    return f"{name} {masked(number)}" if isinstance(number, str) else str(name)


def _badges(body: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str, ...]:
    badges = [_shown(body["verdict"])] if "verdict" in body else []
    media = values.get("media")
    if isinstance(media, list) and media:
        badges.append("1 attachment" if len(media) == 1 else f"{len(media)} attachments")
    flags = body.get("flags")
    if isinstance(flags, list):
        badges += [_shown(flag) for flag in flags]
    return tuple(badges)


def _chip(place: Whereabouts) -> Chip:
    words = _STATE_WORDS[place.state]
    if place.state is State.DELIVERED and place.settled_at is not None:
        words = f"delivered {when(place.settled_at)}"
    elif place.reason:
        words = f"{words}: {place.reason}"
    return Chip(_words(place.destination), place.state.value, words)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ").capitalize()


def _shown(value: Any) -> str:
    """Return a body's value for reading: `opted_in` as `Opted in`, a template's key as it is."""
    if not isinstance(value, str):
        return str(value)
    return _SPELLED.get(value, value if "." in value or value != value.lower() else _words(value))
