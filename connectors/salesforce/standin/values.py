"""One value on its way in and out: types checked, text normalized, lengths measured.

What an org does to a value (nothing of it is announced in the answer):

| value | what is kept | why |
|---|---|---|
| any text | characters up to U+0020 cut off both ends | leading and trailing blanks are trimmed on save |
| any text | U+0000–U+001F dropped (tab, LF, CR stay), U+FFFE and U+FFFF too | XML 1.0 can't carry them |
| any text | an unpaired surrogate becomes U+FFFD | it is no character |
| any text | CR LF, and CR alone: one line end, LF (the control address may say CR LF) | documents disagree |
| '' | null | SOAP API Developer Guide, "Fields: empty string and null" |
| DateTime | whole seconds, the fraction cut off | Object Reference, "dateTime" |
| Number | rounded half up to the field's scale; a double in JSON (`5.0`) | Metadata API, "CustomField: scale" |
| Checkbox null | the field's default | a checkbox is never null |

Lengths are UTF-16 units, as Java counts them, after the trimming.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache

from connectors.salesforce.standin.answers import RowRefusedError, bad_request
from connectors.salesforce.standin.schema import DESCRIBE_TYPES, Field

#: What a row keeps: text, number, whole seconds since 1970 for a DateTime, days as text for a Date.
Stored = str | float | int | None
#: One JSON value of a request → what the row keeps.
#: Raises: RowRefusedError; RequestError where the value's JSON type is wrong, which fails the whole request.
Reader = Callable[[object], Stored]

_TRIMMED = "".join(map(chr, range(0x21)))
_DROPPED = dict.fromkeys([*(c for c in range(0x20) if c not in {0x09, 0x0A, 0x0D}), 0xFFFE, 0xFFFF])
_DROPPED |= dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)
_REMEMBERED, _SHORT = 1000, 40
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?(?:Z|[+-]\d\d:?\d\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Z]{3})?")


def make_reader(field: Field, line_ends: Callable[[], str]) -> Reader:
    """How a JSON value becomes what this field keeps; `line_ends` says what a line ends with now."""
    match field.type:
        case "Number":
            below = 10 ** (field.precision - field.scale)
            return lambda given: (
                float(given) if type(given) is int and -below < given < below else _read_number(field, given)
            )
        case "Checkbox":
            return lambda given: _read_checkbox(field, given)
        case "DateTime":
            return lambda given: _read_datetime(field, given)
        case "Date":
            return lambda given: _read_date(field, given)
        case "Lookup" | "Id":
            return lambda given: _read_id(field, given)
        case _:
            return _Texts(_text_reader(field, line_ends)).__getitem__


def show(field: Field, stored: Stored) -> object:
    """What the API gives back for a stored value (REST API Developer Guide, "Valid Date and DateTime Formats")."""
    if field.type == "DateTime" and isinstance(stored, (int, float)):
        return datetime.fromtimestamp(stored, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    if field.type == "Checkbox":
        return bool(stored)
    return stored


def normalize(text: str, line_end: str = "\n") -> str:
    """The text as the org keeps it."""
    kept = text.translate(_DROPPED).strip(_TRIMMED)
    return kept.replace("\r\n", "\n").replace("\r", "\n").replace("\n", line_end)


def parse_datetime(text: str) -> int | None:
    """Whole seconds since 1970, or None where the text is not in one of the documented formats."""
    if _DATETIME.fullmatch(text) is None:
        return None
    if text[-1] == "Z" and text[11:13] < "24" and text[14:16] < "60" and text[17:19] < "60":
        midnight = _midnight(text[:10])
        return (
            None if midnight is None else midnight + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        )
    try:
        return int(datetime.fromisoformat(text).timestamp() // 1)
    except (ValueError, OverflowError):
        return None


@lru_cache(1000)
def _midnight(day: str) -> int | None:
    """Seconds since 1970 at which a day begins; few days come again and again."""
    try:
        return int(datetime.fromisoformat(day + "T00:00:00Z").timestamp())
    except (ValueError, OverflowError):
        return None


def parse_date(text: str) -> str | None:
    try:
        return date.fromisoformat(text).isoformat() if _DATE.fullmatch(text) else None
    except ValueError:
        return None


class _Texts(dict[object, Stored]):
    """Short texts that a field keeps as they are, remembered: most of a ledger's columns hold a few words only.

    Its keys are texts and None, so that no number or truth value can be taken for one of them.
    """

    def __init__(self, read: Reader) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, given: object) -> Stored:
        kept = self._read(given)
        if len(self) < _REMEMBERED and (kept is None or len(str(kept)) <= _SHORT) and kept == given:
            self[given] = kept
        return kept


def _text_reader(field: Field, line_ends: Callable[[], str]) -> Reader:
    length = field.length
    choices = frozenset(name for name, _, _ in field.values) if field.restricted else None

    def read(given: object) -> Stored:
        if given is None:
            return None
        if type(given) is not str:
            raise wrong_type(field, given)
        # Most texts hold nothing that the table above touches, and printable ones no blank but the space.
        text = given if given.isprintable() and given.strip() == given else normalize(given, line_ends())
        if not text:
            return None
        if len(text) * 2 > length and _utf16_units(text) > length:
            # Status code as in the enumeration of the SOAP API Developer Guide; the message names the label.
            raise RowRefusedError(
                "STRING_TOO_LONG", f"{field.label}: data value too large: {text} (max length={length})", field.name
            )
        if choices is not None and text not in choices:
            message = f"{field.label}: bad value for restricted picklist field: {text}"
            raise RowRefusedError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, field.name)
        return text

    return read


def _read_number(field: Field, given: object) -> Stored:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise wrong_type(field, given)
    try:
        number = Decimal(str(given))
    except InvalidOperation:
        raise wrong_type(field, given) from None
    if not number.is_finite():
        raise wrong_type(field, given)
    if abs(number) >= 10 ** (field.precision - field.scale):
        message = f"{field.label}: value outside of valid range on numeric field: {given}"
        raise RowRefusedError("NUMBER_OUTSIDE_VALID_RANGE", message, field.name)
    return float(number.quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP))


def _read_checkbox(field: Field, given: object) -> Stored:
    if given is None:
        return int(bool(field.default))
    if not isinstance(given, bool):
        raise wrong_type(field, given)
    return int(given)


def _read_datetime(field: Field, given: object) -> Stored:
    if given is None:
        return None
    seconds = parse_datetime(given) if isinstance(given, str) else None
    if seconds is None:
        raise wrong_type(field, given)
    return seconds


def _read_date(field: Field, given: object) -> Stored:
    if given is None:
        return None
    day = parse_date(given) if isinstance(given, str) else None
    if day is None:
        raise wrong_type(field, given)
    return day


def _read_id(field: Field, given: object) -> Stored:
    if given is None or given == "":
        return None
    if not isinstance(given, str):
        raise wrong_type(field, given)
    if _ID.fullmatch(given) is None:
        raise RowRefusedError("MALFORMED_ID", f"{field.label}: id value of incorrect type: {given}", field.name)
    return with_checksum(given[:15])


def wrong_type(field: Field, given: object) -> Exception:
    """One value of a wrong JSON type fails the whole request (as orgs answer; no place in the text is promised)."""
    kinds = {str: "VALUE_STRING", bool: f"VALUE_{str(given).upper()}", int: "VALUE_NUMBER_INT"}
    kinds |= {float: "VALUE_NUMBER_FLOAT", dict: "START_OBJECT", list: "START_ARRAY"}
    token = kinds.get(type(given), "VALUE_EMBEDDED_OBJECT")
    value = (
        ""
        if isinstance(given, (dict, list))
        else f" value {str(given).lower() if given is True or given is False else given}"
    )
    return bad_request(
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {DESCRIBE_TYPES[field.type]} from {token}{value} "
        "or request may be missing a required field at [line:1, column:2]",
    )


def _utf16_units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


_CHECKSUMS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def make_id(prefix: str, number: int) -> str:
    """The 18 characters of a record: three of its object, twelve of its number, three that make case safe."""
    many, few = divmod(number, 62 * 62)
    start, letters, capitals = _id_start(prefix, many)
    end, more_capitals = _id_end(few)
    return f"{start}{end}{letters}{_CHECKSUMS[capitals | more_capitals << 3]}"


@lru_cache(1000)
def _id_start(prefix: str, number: int) -> tuple[str, str, int]:
    """An id's first 13 characters, its first two check letters, and where capitals are in the last three of the 13."""
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    start = f"{prefix}5Y0{digits:0>7}"
    return start, _letter(start[:5]) + _letter(start[5:10]), _capitals(start[10:])


@lru_cache(62 * 62)
def _id_end(number: int) -> tuple[str, int]:
    end = _DIGITS[number // 62] + _DIGITS[number % 62]
    return end, _capitals(end)


def number_of(record_id: str, prefix: str) -> int | None:
    """The record's number in its object, or None where the id is of another object or none at all."""
    if _ID.fullmatch(record_id) is None or not record_id.startswith(f"{prefix}5Y0"):
        return None
    number = 0
    for digit in record_id[6:15]:
        number = number * 62 + _DIGITS.index(digit)
    return number


def with_checksum(short: str) -> str:
    """The id's 18-character form (Object Reference, "ID Field Type")."""
    return short + _letter(short[:5]) + _letter(short[5:10]) + _letter(short[10:])


def _letter(chunk: str) -> str:
    return _CHECKSUMS[_capitals(chunk)]


def _capitals(chunk: str) -> int:
    """A bit for each character that is a capital, the lowest for the first."""
    return sum(1 << place for place, each in enumerate(chunk) if "A" <= each <= "Z")
