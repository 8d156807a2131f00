"""Phone numbers: one person under one key, whatever the form a number came in."""

import re
from functools import lru_cache

import phonenumbers

_SHORT_CODE = re.compile(r"[0-9]{3,6}")
_LETTERED = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")


class NumberError(ValueError):
    """What stands there can't be read as a number; the message never quotes it."""


@lru_cache(maxsize=100_000)  # reading a number costs forty times a look-up, and the same ones come again
def read_number(raw: str, region: str) -> str:
    """Return a number in E.164, read with a default region where it has no country code.

    The old and the new form of a Mexican mobile (`+521…`, `+52…`) are the same number (ITU-T E.164, Mexico, 2019).
    """
    try:
        parsed = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException:
        raise NumberError("is no phone number: give it as +14045550123") from None
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if number.startswith("+521") and len(number) == 14:
        number = "+52" + number[4:]
        parsed = phonenumbers.parse(number, region)
    if not phonenumbers.is_possible_number(parsed):
        raise NumberError("has too many or too few digits for a phone number")
    return number


def is_sender_code(raw: str) -> bool:
    """Tell a short code (3 to 6 digits) or a sender name with letters: banks and carriers, who are never asked."""
    return bool(_SHORT_CODE.fullmatch(raw) or _LETTERED.fullmatch(raw))
