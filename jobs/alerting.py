"""How people are told of alarms: by mail, and by a signed webhook.

Telling is at least once: who is killed between a mail and the note of it sends it again, under the same Message-ID
and `webhook-id`, so that who receives it sees one.
"""

import os
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Protocol

import orjson
import requests
from standardwebhooks import Webhook

from consent.canonical import timestamp
from jobs.exits import Exit, Problem
from jobs.settings import AlertsSettings
from sync.alarms import Alarm

_SECONDS = 15.0


class Channel(Protocol):
    """A way to tell people."""

    @property
    def name(self) -> str:
        """What stands in the records of who was told."""
        ...

    def tell(self, alarm: Alarm, *, end: bool) -> None:
        """Tell of an alarm's start or end; raises OSError where nobody could be told."""
        ...


def channels_of(settings: AlertsSettings) -> list[Channel]:
    """Return the channels that the settings name; Problem where one is named by half."""
    channels: list[Channel] = []
    if settings.mail_to:
        if settings.smtp_host is None or settings.mail_from is None:
            raise Problem(Exit.SETTINGS, "alerts.mail_to: a mail also needs alerts.smtp_host and alerts.mail_from")
        channels.append(Mail(settings))
    if settings.webhook_url is not None:
        if settings.webhook_secret is None:
            raise Problem(
                Exit.SETTINGS, "alerts.webhook_secret_file: webhooks are signed; name the file of a whsec_… secret"
            )
        try:
            signer = Webhook(settings.webhook_secret.get_secret_value())
        except ValueError as error:
            raise Problem(
                Exit.SETTINGS, "alerts.webhook_secret: it isn't one: whsec_ and the base64 of 24 random bytes or more"
            ) from error
        channels.append(Hook(settings, signer))
    return channels


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to everybody at once."""

    settings: AlertsSettings
    name: str = "mail"

    def tell(self, alarm: Alarm, *, end: bool) -> None:
        """Send it; raises OSError (smtplib's errors are of that kind) where the server won't take it for anybody."""
        mail = written(alarm, end=end, sender=str(self.settings.mail_from), to=self.settings.mail_to)
        context = ssl.create_default_context(cafile=self.settings.ca_bundle)
        with self._connected(context)() as server:
            if self.settings.smtp_security == "starttls":
                server.starttls(context=context)
            if self.settings.smtp_username is not None and self.settings.smtp_password is not None:
                server.login(self.settings.smtp_username, self.settings.smtp_password.get_secret_value())
            server.send_message(mail)

    def _connected(self, context: ssl.SSLContext) -> Callable[[], smtplib.SMTP]:
        host, port = str(self.settings.smtp_host), self.settings.smtp_port
        if self.settings.smtp_security == "tls":
            return lambda: smtplib.SMTP_SSL(host, port or 465, timeout=_SECONDS, context=context)
        return lambda: smtplib.SMTP(host, port or 587, timeout=_SECONDS)


@dataclass(frozen=True, slots=True)
class Hook:
    """A POST of a JSON object, signed as Standard Webhooks says (https://www.standardwebhooks.com)."""

    settings: AlertsSettings
    signer: Webhook
    name: str = "webhook"

    def tell(self, alarm: Alarm, *, end: bool) -> None:
        """Send it; anything but 2xx is an OSError."""
        body = orjson.dumps(told(alarm, end=end))
        now = datetime.now(UTC)
        id = _id(alarm, end=end)  # noqa: A001
        headers = {
            "content-type": "application/json", "webhook-id": id, "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self.signer.sign(id, now, body.decode()),
        }  # fmt: skip
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(self.settings.ca_bundle) if self.settings.ca_bundle is not None else True
            answer = session.post(
                str(self.settings.webhook_url), data=body, headers=headers, timeout=_SECONDS, allow_redirects=False
            )
        if not 200 <= answer.status_code < 300:
            raise ConnectionError(f"the webhook answered {answer.status_code}")


def harmless() -> Alarm:
    """Return what is told to see whether people are told."""
    now = time.time_ns() // 1000
    what, advice = "this is a test of Assent's alerts", "nothing: all is well with this channel"
    return Alarm(os.urandom(8).hex(), "test", "alerts", "", now, None, what, advice, {}, (), ())


def told(alarm: Alarm, *, end: bool) -> dict[str, Any]:
    """Return an alarm as a webhook gets it, and as `assent alert list --json` prints it."""
    return {
        "id": alarm.id,
        "type": "alert.ended" if end else "alert.started",
        "kind": alarm.kind,
        "subject": alarm.subject,
        "what": alarm.what,
        "advice": alarm.advice,
        "facts": dict(alarm.facts),
        "started_at": timestamp(alarm.started_at),
        "ended_at": timestamp(alarm.ended_at) if end and alarm.ended_at is not None else None,
        "host": socket.gethostname(),
    }


def written(alarm: Alarm, *, end: bool, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """Return an alarm as a mail."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, ", ".join(to)
    # A remote's own words may hold line ends, which no header takes: people would be told of nothing any more.
    mail["Subject"] = " ".join(f"Assent: {'over: ' if end else ''}{alarm.what}".split())[:200]
    moment = alarm.ended_at if end and alarm.ended_at is not None else alarm.started_at
    mail["Date"] = format_datetime(datetime.fromtimestamp(moment / 1_000_000, UTC))
    mail["Message-ID"] = f"<{_id(alarm, end=end)}@{sender.partition('@')[2]}>"
    if end:  # a mail program shows both together
        mail["In-Reply-To"] = mail["References"] = f"<{_id(alarm, end=False)}@{sender.partition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    lines = [f"{alarm.what[:1].upper()}{alarm.what[1:]}.", ""]
    if end and alarm.ended_at is not None:
        lines += [f"This is over since {timestamp(alarm.ended_at)}.", ""]
    else:
        lines += [f"What to do: {alarm.advice}.", ""]
    lines += [f"Since: {timestamp(alarm.started_at)}", f"Kind: {alarm.kind}", f"Subject: {alarm.subject}"]
    lines += [f"{name}: {value}" for name, value in alarm.facts.items()]
    lines += ["", f"Told by {socket.gethostname()}, process {os.getpid()}, alarm {alarm.id}."]
    mail.set_content("\n".join(lines))
    return mail


def _id(alarm: Alarm, *, end: bool) -> str:
    return f"alert-{alarm.id}-{'end' if end else 'start'}"
