"""How many SMS a text takes: GSM-7 or UCS-2, one message or several joined by a header (3GPP TS 23.038, 23.040)."""

from typing import NamedTuple

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€\f")


class Segments(NamedTuple):
    """What a text costs."""

    encoding: str
    #: Septets (GSM-7) or 16-bit units (UCS-2).
    units: int
    messages: int


def segments(text: str) -> Segments:
    """Count the messages of a text: 160 septets or 70 units in one, 153 or 67 in each of several."""
    if all(c in _GSM or c in _EXTENDED for c in text):
        units = [2 if c in _EXTENDED else 1 for c in text]
        encoding, alone, joined = "GSM-7", 160, 153
    else:
        units = [2 if ord(c) > 0xFFFF else 1 for c in text]
        encoding, alone, joined = "UCS-2", 70, 67
    total = sum(units)
    if total <= alone:
        return Segments(encoding, total, 1)
    messages, room = 1, joined
    for unit in units:  # no character is cut in two
        if unit > room:
            messages, room = messages + 1, joined
        room -= unit
    return Segments(encoding, total, messages)
