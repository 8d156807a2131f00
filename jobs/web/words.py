"""How pages call things: kinds, states, verdicts, reasons and tiers, each in a person's words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from consent.kinds import Kind

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

#: What a contact agrees to, and the color of it.
CONSENT_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "none": ("Not asked", "plain"),
        "pending": ("Asked, no answer yet", "wait"),
        "opted_in": ("Opted in", "good"),
        "opted_out": ("Opted out", "bad"),
    }
)

VERDICT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "delivered": "Delivered",
        "held": "Held: not shown to the employee",
        "blocked": "Blocked: not sent",
        "consumed": "Read as an answer, not relayed",
    }
)

#: Why a text got its verdict.
REASON_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "consent_requested": "the contact was asked for consent instead",
        "consent_required": "the contact has to be asked first",
        "pending": "the contact was asked and has not answered yet",
        "opted_in": "the contact opted in by it",
        "opted_out": "the contact has opted out",
        "duplicate": "it says what was decided already",
        "late": "it was sent before the decision in force",
        "group": "group messages are not sent while SMS Opt-in is on",
        "help": "the contact asked for help",
        "automatic": "it is an automatic text",
        "request_capped": "three requests went out in 24 hours; no more are sent",
        "number_reassigned": "the number is another person's since",
    }
)

#: How a reply was read.
TIER_WORDS: Mapping[int, str] = MappingProxyType(
    {
        1: "the opt-in word, exactly",
        2: "an opt-out word",
        3: "an opt-out word before a signature or a quote",
        4: "an opt-out word with courtesies",
        5: "a sentence that revokes",
        6: "an opt-out word, mistyped",
        7: "opt-in and opt-out together, read as opt-out",
        8: "an opt-out sign",
        9: "a possible revocation, for a person to judge",
    }
)

SOURCE_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "contact": "by the contact",
        "carrier": "told by the carrier",
        "import": "by an import with evidence",
        "review": "by a person's review",
        "admin": "written down by an administrator",
        "disclaimer": "implied, a disclaimer was sent",
    }
)

FLAG_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "possible_revocation": "Possible revocation",
        "duplicate": "Duplicate",
        "clock_ahead": "Sender's clock was ahead",
        "request_capped": "Requests capped",
        "repaired": "Broken characters mended",
    }
)

_SPELLED = {"sms": "SMS", "mms": "MMS", "rcs": "RCS", "whatsapp": "WhatsApp", "text": "SMS and MMS"}


def words(name: str) -> str:
    """Return a name of ours for reading: `opted_in` as `Opted in`."""
    return name.replace("_", " ").replace("-", " ").capitalize()


def shown(value: Any) -> str:
    """Return a body's value for reading; a template's key, or what has capitals, as it is."""
    if not isinstance(value, str):
        return str(value)
    return _SPELLED.get(value, value if "." in value or value != value.lower() else words(value))


def masked(number: str | None) -> str:
    """Return a number with all but its last four digits hidden, and how many those were, too."""
    digits = "".join(letter for letter in number or "" if letter.isdigit())
    return f"•••{digits[-4:]}" if len(digits) > 6 else "•••"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return `1 entry`, `12,000 entries`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
