"""Reads one text as it comes in: a JSON object in, a normalized message out, or what is wrong with it."""

from collections.abc import Mapping, Sequence
from typing import Any

from consent.canonical import parse_timestamp
from consent.numbers import NumberError, read_number, read_sender
from consent.policy import Policy
from consent.values import Group, Message, Sender

_CHANNELS = {"sms": Group.TEXT, "mms": Group.TEXT, "rcs": Group.TEXT, "whatsapp": Group.WHATSAPP}
_SENDERS = {"employee": Sender.EMPLOYEE, "contact": Sender.CONTACT}
_AHEAD = 300 * 1_000_000
_EARLIEST = parse_timestamp("1990-01-01T00:00:00Z")
_LONGEST_ID = 512


class MessageError(Exception):
    """A text that can't be taken; `detail` names the field and what to do, never what stands in it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


def read_message(asked: Mapping[str, Any], received_at: int, policy: Policy) -> Message:
    """Read a message. `received_at` is in microseconds since 1970.

    A text with halves of surrogate pairs is mended (U+FFFD, flag `repaired`), not refused: a STOP must not be lost.
    """
    flags: list[str] = []
    sender = _SENDERS.get(asked.get("sender", "")) if isinstance(asked.get("sender"), str) else None
    if sender is None:
        raise MessageError("invalid_message", "`sender` is `employee` or `contact`")
    channel = asked.get("channel")
    group = _CHANNELS.get(channel) if isinstance(channel, str) else None
    if group is None:
        raise MessageError("invalid_message", "`channel` is `sms`, `mms`, `rcs` or `whatsapp`")
    media = _media(asked.get("media"))
    text = asked.get("text", "" if media else None)
    if not isinstance(text, str):
        raise MessageError("invalid_message", "`text` is missing: it is a text, empty at most beside `media`")
    text = _mended(text, flags)
    raw: dict[str, Any] = {}
    line = _number(asked, "line", policy.default_region, raw)
    contact = _number(asked, "contact", policy.default_region, raw)
    employee_id, employee_name = read_employee(asked.get("employee"), flags)
    sent_at = _sent_at(asked.get("sent_at"), received_at, flags)
    return Message(
        _identity(asked["id"]), policy.organization, policy.sub_organization, str(channel), group, sender, line,
        contact, text, sent_at, received_at, employee_id, employee_name,
        _name(asked, "contact_name", flags), _word(asked, "language"), _recipients(asked.get("group"), contact, policy),
        media, _provider(asked.get("provider")), raw, tuple(flags),
    )  # fmt: skip


def _identity(given: str) -> str:
    if len(given) > _LONGEST_ID or not _clean(given):
        raise MessageError("invalid_message", f"`id` is at most {_LONGEST_ID} characters of valid Unicode")
    return given


def _number(asked: Mapping[str, Any], name: str, region: str, raw: dict[str, Any]) -> str:
    given = asked.get(name)
    if not isinstance(given, str) or not given.strip():
        raise MessageError("invalid_number", f"`{name}` is missing: a number such as +14045550123")
    sender = read_sender(given) if name == "contact" else None
    try:
        number = sender or read_number(given, region)
    except NumberError as error:
        raise MessageError("invalid_number", f"`{name}` {error}") from None
    if number != given:
        raw[name] = given if _clean(given) else "".join(c for c in given if _clean(c))
    return number


def read_employee(given: Any, flags: list[str]) -> tuple[str | None, str | None]:
    """Return an employee's id and name, each None where it is not given."""
    if given is None:
        return None, None
    if not isinstance(given, Mapping) or not isinstance(given.get("id"), str) or not given["id"]:
        raise MessageError("invalid_message", '`employee` is an object as {"id": "e1", "name": "Ann Lee"}')
    name = given.get("name")
    if name is not None and not isinstance(name, str):
        raise MessageError("invalid_message", "`employee.name` is a text")
    return storable(given["id"], flags)[:200], storable(name, flags)[:400] if name else None


def _sent_at(given: Any, received_at: int, flags: list[str]) -> int:
    if given is None:
        return received_at
    try:
        sent_at = parse_timestamp(given)
    except (TypeError, ValueError, OverflowError):
        sent_at = -1
    if sent_at < _EARLIEST:
        raise MessageError("invalid_message", "`sent_at` is a time with its offset, as 2026-11-23T10:00:00Z")
    if sent_at > received_at + _AHEAD:
        flags.append("clock_ahead")
        return received_at
    return sent_at


def _media(given: Any) -> tuple[Mapping[str, str], ...]:
    if given is None:
        return ()
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(one, Mapping) for one in given):
        raise MessageError("invalid_message", '`media` is a list of objects as {"name", "content_type", "sha256"}')
    names = ("name", "url", "content_type", "sha256")
    return tuple({name: _mended(str(one[name]), []) for name in names if one.get(name) is not None} for one in given)


def _recipients(given: Any, contact: str, policy: Policy) -> tuple[str, ...]:
    """Return the contacts of a group text, this one among them, each once in whatever forms it is named."""
    if not given and (given is None or isinstance(given, Sequence)):
        return ()
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(one, str) for one in given):
        raise MessageError("invalid_message", "`group` is a list of numbers")
    try:
        numbers = [read_sender(one) or read_number(one, policy.default_region) for one in given]
    except NumberError as error:
        raise MessageError("invalid_number", f"a number in `group` {error}") from None
    return tuple(dict.fromkeys((*numbers, contact)))


def _provider(given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise MessageError("invalid_message", "`provider` is an object")
    return given


def _name(asked: Mapping[str, Any], key: str, flags: list[str]) -> str | None:
    given = asked.get(key)
    if given is None:
        return None
    if not isinstance(given, str):
        raise MessageError("invalid_message", f"`{key}` is a text")
    return _mended(given, flags)


def _word(asked: Mapping[str, Any], key: str) -> str | None:
    given = asked.get(key)
    if given is not None and (not isinstance(given, str) or not given.isascii() or len(given) > 35):
        raise MessageError("invalid_message", f"`{key}` is a language tag such as en")
    return given


def _mended(text: str, flags: list[str]) -> str:
    if _clean(text):
        return text
    if "repaired" not in flags:
        flags.append("repaired")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def storable(text: str, flags: list[str]) -> str:
    """Return what a column of text can hold, too: PostgreSQL's have no place for a NUL."""
    mended = _mended(text.replace("\x00", "\ufffd"), flags)
    if mended != text and "repaired" not in flags:
        flags.append("repaired")
    return mended


def _clean(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
