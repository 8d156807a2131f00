"""Phone numbers: one person under one key, whatever the form a number came in."""

import re
import unicodedata
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumberFormat, ValidationResult

#: What stands in front of a number in a link, or in a provider's own way of writing it.
_SCHEME = re.compile(r"(?:tel|sms|mms|rcs|whatsapp)\s*:\s*", re.IGNORECASE)
_NUMBER = re.compile(r"\+?[\d\s()./‐-―−-]+")
_EXTENSION = re.compile(r"\d\s*(?:[,;#x]|e?xt)", re.IGNORECASE)
_MEXICAN = re.compile(r"\+52(?:1|0[12]|04[45])([0-9]{10})")
#: Most numbers come as they are kept: in the North American plan nothing else is to be read into one.
_AMERICAN = re.compile(r"\+1[2-9][0-9]{9}")
_SHORT_CODE = re.compile(r"[0-9]{3,6}")
# What GSM lets a sender be called (3GPP TS 23.040, 9.1.2.5: 11 characters), as far as it isn't a number.
_NAMED = re.compile(r"(?=.*[^\W\d_])(?!\d+ ?e?xt?\.? ?\d+$)[\w .&'!*-]{1,11}", re.IGNORECASE)


class NumberError(ValueError):
    """What stands there can't be read as a number; the message never quotes it."""


def read_number(raw: str, region: str) -> str:
    """Return a number in E.164, read with a default region where it has no country code.

    The forms that a Mexican mobile number had until 2019 (`+521…`, 044 and 045 in front of it) are the same number.
    """
    return raw if _AMERICAN.fullmatch(raw) else _read_number(raw, region)


@lru_cache(maxsize=100_000)  # reading a number costs forty times a look-up, and the same ones come again
def _read_number(raw: str, region: str) -> str:
    written = _written(raw)
    if not _NUMBER.fullmatch(written):
        if _EXTENSION.search(written):
            raise NumberError("has an extension: give the number that texts come from, as +14045550123")
        raise NumberError("is no phone number: give it as +14045550123")
    try:
        parsed = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        raise NumberError("is no phone number: give it as +14045550123") from None
    number = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    if mexican := _MEXICAN.fullmatch(number):
        number = f"+52{mexican[1]}"
        parsed = phonenumbers.parse(number)
    match phonenumbers.is_possible_number_with_reason(parsed):
        case ValidationResult.IS_POSSIBLE:
            return number
        case ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
            raise NumberError("has no area code: give it as +14045550123")
        case ValidationResult.INVALID_COUNTRY_CODE:
            raise NumberError("has a country code that there is not: give it as +14045550123")
    raise NumberError("has too many or too few digits for a phone number")


@lru_cache(maxsize=100_000)
def read_sender(raw: str) -> str | None:
    """Return a short code (3 to 6 digits) or a sender's name as it is kept: banks and carriers, who are never asked.

    None where it is neither.
    """
    written = _written(raw)
    digits = "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in written)
    if _SHORT_CODE.fullmatch(digits):
        return digits
    return written if _NAMED.fullmatch(written) else None


def _written(raw: str) -> str:
    """Take off what can't be seen and what stands in front: full-width forms, direction marks, `tel:`."""
    seen = "".join(c for c in unicodedata.normalize("NFKC", raw) if unicodedata.category(c) != "Cf").strip()
    return _SCHEME.sub("", seen, count=1) if _SCHEME.match(seen) else seen
