"""What Salesforce makes of the values it is given, so that ours and theirs can be compared.

Ours goes through this table before it is digested, theirs after it is read back. Each function gives the same
for a value and for what Salesforce keeps of it, and is harmless twice:

- Text, Url: the org trims blanks, makes '' null, drops controls, keeps one line only. Compared: trimmed, each line
  end or tab as one blank, no controls, '' as null.
- LongTextArea: it trims blanks, makes '' null, drops controls, may turn CR LF and LF into each other. Compared:
  trimmed, with LF line ends, no controls but tab and LF, '' as null.
- Number: it answers 5 as 5.0. Compared: the whole number.
- DateTime: it drops fractions of a second and answers `2026-11-23T10:00:00.000+0000`. Compared: UTC, whole seconds.

(REST API Developer Guide, "Valid Date and DateTime Formats"; Object Reference, "Field Types".)
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class FieldType(StrEnum):
    """A field's type, as `describe` names it."""

    LINE = "string"  # Text
    PARAGRAPH = "textarea"  # LongTextArea
    NUMBER = "double"
    MOMENT = "datetime"
    LINK = "url"


# C0 and C1 controls and the two code points that no encoding may carry, but not tab, LF, CR.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n|\r")
_BREAKS = re.compile("\r\n|[\r\n\t]")
# XML, which half of Salesforce speaks inside, has no way to write these (XML 1.0, 2.2).
_UNCARRIED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def sendable(text: str) -> str:
    """Return a text without the characters that Salesforce can't carry; all others as they are."""
    return text if text.isprintable() else _UNCARRIED.sub("", text)


def line(text: str) -> str | None:
    """Return what a Text field keeps."""
    # isprintable is false for every control, line end and blank but U+0020: most values take this way out.
    if text.isprintable() and text[:1] != " " and text[-1:] != " ":
        return text or None
    return _BREAKS.sub(" ", _CONTROLS.sub("", text)).strip() or None


def paragraph(text: str) -> str | None:
    """Return what a LongTextArea keeps."""
    if text.isprintable() and text[:1] != " " and text[-1:] != " ":
        return text or None
    return _CONTROLS.sub("", _LINE_ENDS.sub("\n", text)).strip() or None


def number(value: float) -> int | float:
    """Return a whole number as int."""
    return int(value) if value == int(value) else value


def moment(text: str) -> str:
    """Return a time as `2026-11-23T10:00:00.000Z`: in UTC, whole seconds, as it is sent, too."""
    if text.endswith(("Z", "+0000", "+00:00")):
        return text[:19] + ".000Z"
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


NORMALIZE: Mapping[FieldType, Callable[[Any], Any]] = MappingProxyType(
    {
        FieldType.LINE: line,
        FieldType.PARAGRAPH: paragraph,
        FieldType.NUMBER: number,
        FieldType.MOMENT: moment,
        FieldType.LINK: line,
    }
)


def normalized(value: Any, type_: FieldType) -> Any:
    """Return what is compared of a value that was read back; what can't be read that way is compared as it is."""
    if value is None:
        return None
    try:
        return NORMALIZE[type_](value)
    except (TypeError, ValueError, AttributeError, OverflowError):
        return value  # somebody changed the field's type: a drift, not a fault
