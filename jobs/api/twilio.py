"""Twilio's webhooks: their signature, an incoming text or a status in our words, and the replies as TwiML.

https://www.twilio.com/docs/usage/security (signature), /docs/messaging/guides/webhook-request (incoming texts),
/docs/messaging/guides/track-outbound-message-status (statuses), /docs/messaging/twiml/message (replies).
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

#: What a form holds: every value of each name.
Form = Mapping[str, Sequence[str]]

#: https://www.twilio.com/docs/api/errors/21610: the recipient has opted out at the carrier.
_UNSUBSCRIBED = "21610"
_STATUS = {"delivered": "delivered", "read": "delivered", "undelivered": "undeliverable", "failed": "undeliverable"}
_KINDS = ("STOP", "HELP", "START")


def is_signed(secret: str, url: str, form: Form, signature: str) -> bool:
    """Say whether Twilio signed a form posted to a URL: base64 of HMAC-SHA1 over the URL and the sorted fields.

    Compared in constant time. Twilio signs the URL as it calls it, with or without the usual port.
    """
    fields = "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))
    given = signature.encode("utf-8", "replace")
    return any(hmac.compare_digest(_signature(secret, one + fields), given) for one in _spellings(url))


def is_status(form: Form) -> bool:
    """Tell what became of a text that was sent from one that came in."""
    return bool(_one(form, "MessageStatus")) and "Body" not in form


def read_text(form: Form) -> dict[str, Any]:
    """Return an incoming text as a message, without `org`."""
    contact, line = _one(form, "From"), _one(form, "To")
    media = [
        {"url": _one(form, f"MediaUrl{n}"), "content_type": _one(form, f"MediaContentType{n}")}
        for n in range(min(_count(form), 100))
    ]
    is_whatsapp = contact.startswith("whatsapp:") or line.startswith("whatsapp:")
    told: dict[str, Any] = {
        "id": _one(form, "MessageSid") or _one(form, "SmsSid"),
        "channel": "whatsapp" if is_whatsapp else "rcs" if line.startswith("rcs:") else "mms" if media else "sms",
        "sender": "contact",
        "line": _number(line),
        "contact": _number(contact),
        "text": _one(form, "Body"),
    }
    if media:
        told["media"] = media
    if name := _one(form, "ProfileName"):
        told["contact_name"] = name
    if (kind := _one(form, "OptOutType").upper()) in _KINDS:
        told["provider"] = {"opt_out_type": kind}
    return told


def read_status(form: Form, entry: str) -> dict[str, Any] | None:
    """Return a status of the auto-message of this entry as an event, without `org`; None while it is on its way."""
    said, code = _one(form, "MessageStatus").lower(), _one(form, "ErrorCode")
    status = "opted_out" if code == _UNSUBSCRIBED else _STATUS.get(said)
    if status is None:
        return None
    event = {"id": f"{_one(form, 'MessageSid')}:{said}", "event": "delivery_status", "entry": entry, "status": status}
    return event | ({"reason": f"Twilio error {code}"} if code else {})


def replies(answer: Mapping[str, Any], callback: str) -> bytes:
    """Return the auto-messages to the contact of this conversation as TwiML; `callback` is told what became of each."""
    response = ElementTree.Element("Response")
    for one in answer.get("auto_messages", ()):
        # Those of other lines (a STOPALL) can't go out as a reply to this text.
        if one["to"] == "contact" and "line" not in one:
            status = f"{callback}?entry={quote(one['entry'])}"
            message = ElementTree.SubElement(response, "Message", {"statusCallback": status})
            message.text = "".join(letter for letter in one["text"] if letter.isprintable() or letter == "\n")
    document: bytes = ElementTree.tostring(response, "utf-8", xml_declaration=True)
    return document


def _signature(secret: str, signed: str) -> bytes:
    return b64encode(hmac.digest(secret.encode(), signed.encode("utf-8", "surrogateescape"), "sha1"))


def _spellings(url: str) -> tuple[str, str]:
    """Return a URL without and with its port."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return parts._replace(netloc=host).geturl(), parts._replace(netloc=f"{host}:{port}").geturl()


def _number(address: str) -> str:
    return address.removeprefix("whatsapp:").removeprefix("rcs:").strip()


def _one(form: Form, name: str) -> str:
    values = form.get(name)
    return values[-1] if values else ""


def _count(form: Form) -> int:
    told = _one(form, "NumMedia")
    return int(told) if told.isascii() and told.isdecimal() else 0
