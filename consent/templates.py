"""The texts of automatic messages: the vendor's defaults byte for byte, and how one is rendered.

Where a default text says YES and STOP it carries the live words, so that it follows a changed keyword by itself
and reads exactly as the vendor's with the default ones.
"""

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

EMPLOYEE_NAME, ORGANIZATION = "<Employee Name>", "<Organization>"
OPT_IN_TEXT, OPT_OUT_TEXT, REASON = "<Opt-in Text>", "<Opt-out Text>", "<Reason>"

_PLACEHOLDER = re.compile(r"<[^<>]{1,40}>")


class Template(NamedTuple):
    """One text as an organization has it in one language."""

    key: str
    text: str
    #: 0 is the default; each change counts on.
    version: int
    #: SHA-256 of the text as configured (of the vendor's own bytes for a default), hex.
    sha256: str
    language: str = "en"


def digest(text: str) -> str:
    """Return SHA-256 of a text's UTF-8 bytes, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _load() -> tuple[Mapping[str, str], Mapping[str, str], str, str]:
    document = tomllib.loads(files("consent").joinpath("default_templates.toml").read_text(encoding="utf-8"))
    words = document.pop("keywords")
    texts, names = {}, {}
    for family, members in document.items():
        for member, found in members.items():
            parts = {member: found} if "text" in found else found
            for last, template in parts.items():
                key = f"{family}.{member}" if "text" in found else f"{family}.{member}.{last}"
                texts[key], names[key] = template["text"], template["name"]
    return texts, names, words["opt_in"], words["opt_out"]


#: The texts and their names on the vendor's page by key, and the two default keywords.
DEFAULT_TEXTS, TEMPLATE_NAMES, DEFAULT_OPT_IN, DEFAULT_OPT_OUT = _load()


def _living(text: str) -> str:
    """Put the placeholders of the live words where a default text says YES and STOP."""
    return text.replace(f"reply {DEFAULT_OPT_IN}", f"reply {OPT_IN_TEXT}").replace(
        f"reply {DEFAULT_OPT_OUT}", f"reply {OPT_OUT_TEXT}"
    )


DEFAULT_TEMPLATES: Mapping[str, Template] = {
    key: Template(key, _living(text), 0, digest(text)) for key, text in DEFAULT_TEXTS.items()
}


def render(template: Template, values: Mapping[str, str]) -> str:
    """Put values where the placeholders stand, in one pass: what a value holds is never read as a placeholder."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[0], ""), template.text)


def without_placeholders(text: str) -> str:
    """Return a text with blanks where its placeholders stand."""
    return _PLACEHOLDER.sub(" ", text)


def fragments(template: Template, opt_in: str, opt_out: str) -> list[str]:
    """Return a text in the pieces between its names, with the live words in their places."""
    filled = template.text.replace(OPT_IN_TEXT, opt_in).replace(OPT_OUT_TEXT, opt_out)
    return _PLACEHOLDER.split(filled)


def clean_name(name: str | None, otherwise: str) -> str:
    """Return a name without `<`, `>` and control characters; `otherwise` where nothing is left of it."""
    if not name:
        return otherwise
    kept = "".join(c for c in name if c not in "<>" and unicodedata.category(c)[0] != "C")
    return kept.strip() or otherwise
