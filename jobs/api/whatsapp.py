"""WhatsApp's webhooks (Meta's Cloud API): their signature, and what they tell as messages and events of ours.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks, …/webhooks/reference/messages,
…/webhooks/reference/user_preferences; the signature: https://developers.facebook.com/docs/graph-api/webhooks.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

#: https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes: the user stopped marketing messages.
_UNSUBSCRIBED = 131050
_STATUS = {"delivered": "delivered", "read": "delivered", "failed": "undeliverable"}
_MEDIA = ("image", "video", "audio", "document", "sticker")


def is_signed(secret: str, body: bytes, signature: str) -> bool:
    """Say whether Meta signed these raw bytes: `sha256=` and HMAC-SHA256 with the app's secret, in constant time."""
    made = "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()
    return hmac.compare_digest(made.encode(), signature.encode("utf-8", "replace"))


def read_changes(told: Any) -> list[dict[str, Any]]:
    """Return the messages and events that a webhook tells, in order, without `org`; what isn't ours to keep is left.

    A delivery status is of a message that was sent with its entry's id as `biz_opaque_callback_data`.
    """
    found: list[dict[str, Any]] = []
    for entry in _objects(told, "entry"):
        for change in _objects(entry, "changes"):
            value = change.get("value")
            if isinstance(value, Mapping):
                line = _number(_object(value, "metadata").get("display_phone_number"))
                found += _messages(value, line)
                found += _statuses(value)
                found += _preferences(value, line)
    return found


def _messages(value: Mapping[str, Any], line: str) -> Iterator[dict[str, Any]]:
    names = {one.get("wa_id"): _object(one, "profile").get("name") for one in _objects(value, "contacts")}
    for one in _objects(value, "messages"):
        kind = one.get("type")
        if kind == "system":  # a changed number, a preference that is told of by itself
            continue
        message: dict[str, Any] = {
            "id": one.get("id"),
            "channel": "whatsapp",
            "sender": "contact",
            "line": line,
            "contact": _number(one.get("from")),
            "text": _text(one),
            "sent_at": _time(one.get("timestamp")),
        }
        media = [_object(one, kind)] if kind in _MEDIA else []
        if media:
            message["media"] = [
                {"name": _word(part.get("filename") or part.get("id")), "content_type": _word(part.get("mime_type")),
                 "sha256": _word(part.get("sha256"))}
                for part in media
            ]  # fmt: skip
        name = names.get(one.get("from"))
        if isinstance(name, str) and name:
            message["contact_name"] = name
        yield {key: kept for key, kept in message.items() if kept is not None}


def _text(one: Mapping[str, Any]) -> str:
    """Return what the contact wrote or tapped."""
    kind = str(one.get("type"))
    part = _object(one, kind)
    match kind:
        case "text":
            said = part.get("body")
        case "button":
            said = part.get("text")
        case "interactive":
            said = (_object(part, "button_reply") or _object(part, "list_reply")).get("title")
        case "reaction":
            emoji = part.get("emoji")
            return f"Reacted {emoji} to “”" if emoji else "Removed a reaction from “”"
        case _ if kind in _MEDIA:
            said = part.get("caption")
        case _:  # a place, a card, an order, something newer: there was a text, whatever it says
            said = f"[{kind}]"
    return said if isinstance(said, str) else ""


def _statuses(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for one in _objects(value, "statuses"):
        entry, said = one.get("biz_opaque_callback_data"), one.get("status")
        errors = [error.get("code") for error in _objects(one, "errors")]
        status = "opted_out" if _UNSUBSCRIBED in errors else _STATUS.get(str(said))
        if status is None or not isinstance(entry, str):
            continue
        event = {"id": f"{one.get('id')}:{said}", "event": "delivery_status", "entry": entry, "status": status}
        if (at := _time(one.get("timestamp"))) is not None:
            event["at"] = at
        yield event | ({"reason": f"WhatsApp error {errors[0]}"} if errors else {})


def _preferences(value: Mapping[str, Any], line: str) -> Iterator[dict[str, Any]]:
    for one in _objects(value, "user_preferences"):
        # Of marketing texts only, to the letter; in doubt there is no consent. To resume them says nothing of ours.
        if one.get("value") == "stop":
            at, contact = _time(one.get("timestamp")), one.get("wa_id")
            event = {
                "id": f"preference:{contact}:{line}:{one.get('timestamp')}", "event": "revoked",
                "contact": _number(contact), "line": line, "channel": "whatsapp", "scope": "pair",
                "note": "stopped in WhatsApp's settings",
            }  # fmt: skip
            yield event | ({"at": at} if at else {})


def _number(given: Any) -> str:
    """Return a number as Meta writes it, in digits, as E.164."""
    digits = "".join(letter for letter in str(given or "") if letter.isascii() and letter.isdigit())
    return f"+{digits}" if digits else ""


def _time(given: Any) -> str | None:
    """Return seconds since 1970, a number or digits, as RFC 3339; None for what is none."""
    try:
        return datetime.fromtimestamp(int(given), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _word(given: Any) -> str | None:
    return given if isinstance(given, str) else None


def _object(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, Mapping) else {}


def _objects(told: Any, name: str) -> Sequence[Mapping[str, Any]]:
    found = told.get(name) if isinstance(told, Mapping) else None
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
