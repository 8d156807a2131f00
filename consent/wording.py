"""An organization's own texts and words: what may stand in them, and who changed them.

A request shows how to answer it; a confirmation only confirms (47 CFR 64.1200(a)(12)); what opts in, opts out and
asks for help are never the same word.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from consent.kinds import Kind
from consent.lexicon import DEFAULT_OPT_OUT
from consent.normal import normalized
from consent.organizations import (
    ForbiddenError,
    SettingError,
    changed_policies,
    for_change,
    store_settings,
)
from consent.policy import Policy, shows
from consent.revocations import FLOOR
from consent.templates import (
    DEFAULT_TEMPLATES,
    EMPLOYEE_NAME,
    OPT_IN_TEXT,
    OPT_OUT_TEXT,
    ORGANIZATION,
    REASON,
    digest,
)
from consent.values import Record

#: The longest text, in characters: ten messages of an SMS.
LONGEST_TEXT = 1_530
_LONGEST_WORD = 30

_PLACEHOLDER = re.compile(r"<[^<>]*>")
_ALLOWED = (EMPLOYEE_NAME, ORGANIZATION, OPT_IN_TEXT, OPT_OUT_TEXT)
_URL = re.compile(
    r"(?i)\b(?:https?://\S{1,200}|www\.\S{1,200}|[a-z0-9-]{1,63}\.(?:com|net|org|io|co|us|info|biz|me|ly)\b)"
)
_ADVERTISING = re.compile(
    r"(?i)\b(?:offers?|sales?|discounts?|deals?|promos?|promotions?|coupons?|free|buy|save|win|prizes?|limited time|"
    r"shop|subscribe|newsletter)\b|\d{1,3} ?% off\b"
)


def set_template(
    tx: Connection, id: str, key: str, text: str | None, language: str | None, *, actor: str, now: int  # noqa: A002
) -> int:  # fmt: skip
    """Set an automatic text, or restore its default where `text` is None; return its version.

    SettingError or ForbiddenError says what is wrong, with the offending words.
    """
    one, policy = for_change(tx, id, below=True)
    if key not in DEFAULT_TEMPLATES:
        raise SettingError(f"a text is one of {', '.join(DEFAULT_TEMPLATES)}")
    spoken = _language(policy, language)
    if text is not None:
        check_text(policy, key, text, spoken)
    own: dict[str, Any] = {name: dict(texts) for name, texts in one.settings.get("texts", {}).items()}
    before = own.get(key, {}).get(spoken)
    version = (before["version"] if before else 0) + 1
    own.setdefault(key, {})[spoken] = {"text": text, "version": version}
    after = text if text is not None else DEFAULT_TEMPLATES[key].text
    facts = {
        "template": key, "language": spoken, "template_version": version, "template_sha256": digest(after),
        "id": id, "before": before and before["text"], "after": text, "actor": actor,
    }  # fmt: skip
    store_settings(tx, one, {"texts": own}, Record(Kind.TEMPLATE, now, facts, {}), now)
    return version


def set_keyword(
    tx: Connection, id: str, use: str, word: str, language: str | None, *, actor: str, now: int  # noqa: A002
) -> None:  # fmt: skip
    """Set a keyword: one that opts in replaces the former, one that opts out or asks for help is added."""
    one, policy = for_change(tx, id, below=True)
    if use not in ("opt_in", "opt_out", "help"):
        raise SettingError("a keyword is for opt_in, opt_out or help")
    spoken = _language(policy, language)
    word = " ".join(unicodedata.normalize("NFC", word).split())
    if not normalized(word) or len(word) > _LONGEST_WORD or "<" in word or ">" in word:
        raise SettingError(f"a keyword is a word of 1 to {_LONGEST_WORD} characters that can be typed")
    own: dict[str, Any] = {name: dict(words) for name, words in one.settings.get("keywords", {}).items()}
    before = own.get(use, {}).get(spoken)
    if use == "opt_in":
        after: Any = word
    else:  # set last is shown; earlier ones stay accepted
        after = [*(kept for kept in before or () if normalized(kept) != normalized(word)), word]
    own.setdefault(use, {})[spoken] = after
    for changed in changed_policies(tx, one, {"keywords": own}):
        if (clash := changed.clash()) is not None:
            raise ForbiddenError(f"{clash} at {changed.id}: no word may stand for two things")
        _check_requests(changed)
    facts = {"setting": "keyword", "use": use, "language": spoken, "id": id, "before": before, "after": after,
             "actor": actor}  # fmt: skip
    store_settings(tx, one, {"keywords": own}, Record(Kind.SETTING, now, facts, {}), now)


def check_text(policy: Policy, key: str, text: str, language: str) -> None:
    """Raise with the reason and the offending words where a text can't be one of an organization's."""
    if not text.strip() or len(text) > LONGEST_TEXT:
        raise SettingError(f"a text has 1 to {LONGEST_TEXT:,} characters")
    if any(unicodedata.category(c) in ("Cc", "Cs") and c != "\n" for c in text):
        raise SettingError("a text holds no control characters")
    allowed = (*_ALLOWED, REASON) if key == "undeliverable.employee" else _ALLOWED
    unknown = [found for found in _PLACEHOLDER.findall(text) if found not in allowed]
    if unknown:
        raise ForbiddenError(f"{', '.join(unknown)} is no placeholder: a text may use {', '.join(allowed)}")
    if key.endswith("request.contact"):
        _check_shows(text, key, "opt-in", OPT_IN_TEXT, policy.opt_ins(language))
        _check_shows(text, key, "opt-out", OPT_OUT_TEXT, _live_opt_outs(policy, language))
    if key.endswith(("accepted.contact", "rejected.contact")):
        found = [match[0] for pattern in (_URL, _ADVERTISING) for match in pattern.finditer(text)]
        if found:
            raise ForbiddenError(f"{key} only confirms; it may not hold a link or advertising: {', '.join(found)}")


def _check_shows(text: str, key: str, name: str, placeholder: str, words: Sequence[str]) -> None:
    if placeholder not in text and not any(shows(text, word) for word in words):
        raise ForbiddenError(f"{key} must show the {name} word ({words[0]}) or {placeholder}")


def _check_requests(policy: Policy) -> None:
    """Refuse a change of word while a text of the organization's own shows only the old one."""
    for key, texts in policy.texts.items():
        for language, own in texts.items():
            if not key.endswith("request.contact") or own["text"] is None or language not in policy.languages:
                continue
            try:
                check_text(policy, key, own["text"], language)
            except ForbiddenError:
                raise ForbiddenError(
                    f"the text {key} of {policy.id} in {language} shows only the old word: change it first, or let "
                    f"it use {OPT_IN_TEXT} and {OPT_OUT_TEXT}"
                ) from None


def _live_opt_outs(policy: Policy, language: str) -> list[str]:
    custom = [word for words in policy.keywords.get("opt_out", {}).values() for word in words]
    spoken = [policy.opt_out(one) for one in policy.languages]
    return [policy.opt_out(language), *FLOOR, *DEFAULT_OPT_OUT, *custom, *spoken]


def _language(policy: Policy, language: str | None) -> str:
    if language is None:
        return policy.languages[0]
    if language not in policy.languages:
        raise SettingError(f"{language} isn't one of the organization's languages: {', '.join(policy.languages)}")
    return language
