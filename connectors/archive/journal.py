"""The SMTP transport: each entry as a mail to an archive's journal address, one connection a batch.

SMTP is at least once: where the answer to a mail is lost, it is sent again under the same Message-ID. A mailbox can't
be read back, so what the journal accepted is kept beside it, in the segments of a directory.
"""

import smtplib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from hashlib import sha256
from typing import Literal

import structlog

from connectors.archive.eml import PLAIN, Form, eml, message_id
from consent.entry import Entry
from sync.port import Finding, Outcome, Refusal, SuspendedError, TransientError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """Where mails go, and how they get there."""

    host: str
    sender: str
    recipient: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = None
    ca_bundle: str | None = None
    #: Seconds that one answer may take.
    timeout: float = 60.0
    form: Form = PLAIN


class _Declined(Exception):  # noqa: N818 (an answer, not a fault)
    """The server won't take this one mail."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Journal:
    """Sends mails to one address. It holds nothing open between batches."""

    def __init__(self, settings: JournalSettings) -> None:
        self._settings = settings

    def send(self, entries: Sequence[Entry]) -> tuple[int, Outcome | None]:
        """Mail entries in order; return how many were accepted, and how the one after them ended, if that is known.

        An ending without an outcome is nobody's fault: what wasn't accepted is still owed. Raises TransientError or
        SuspendedError where none was accepted.
        """
        accepted = 0
        try:
            with self._connected() as server:
                for entry in entries:
                    self._mail(server, eml(entry, self._settings.form))
                    accepted += 1
        except _Declined as declined:
            log.warning("journal.declined", entry=entries[accepted].id, code=declined.code)
            return accepted, _declined(declined.code)
        except (TransientError, SuspendedError):
            if not accepted:
                raise
        return accepted, None

    def send_manifest(self, name: str, data: bytes, recorded_at: int) -> None:
        """Mail a ledger's manifest, so that the archive can say by itself whether it has all."""
        at = datetime.fromtimestamp(recorded_at // 1_000_000, UTC)
        organization, _, file = name.partition("/")
        mail = EmailMessage(policy.SMTP.clone(cte_type="7bit"))
        mail["Message-ID"] = message_id(f"{organization}-manifest-{file.partition('.')[0]}", self._settings.form)
        mail["Date"] = at
        mail["From"] = mail["To"] = f"Assent <assent@{self._settings.form.domain}>"
        mail["Subject"] = f"Manifest of the archive: {organization} at {at:%Y-%m-%d %H:%M} UTC"
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Assent-Kind"] = "manifest"
        mail.set_content("How far this ledger is, and what was sent of it since the manifest before: attached.\n")
        mail.add_attachment(data, "application", "x-ndjson", filename=file)
        mail.set_boundary(f"=_{sha256(data).hexdigest()[:32]}")
        try:
            with self._connected() as server:
                self._mail(server, mail.as_bytes())
        except _Declined as declined:
            raise _refused(declined.code) from declined

    def check(self) -> list[Finding]:
        """Go all the way to the address, and send nothing."""
        try:
            with self._connected() as server:
                self._address(server, None)
                server.rset()
        except (TransientError, SuspendedError) as error:
            return [Finding("journal", ok=False, advice=error.advice)]
        except _Declined as declined:
            return [Finding("journal", ok=False, advice=_refused(declined.code).advice)]
        return [Finding("journal", ok=True)]

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        with _translated():
            context = ssl.create_default_context(cafile=settings.ca_bundle)
            kind: Callable[[], smtplib.SMTP] = (
                (lambda: smtplib.SMTP_SSL(settings.host, settings.port, timeout=settings.timeout, context=context))
                if settings.security == "tls"
                else (lambda: smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout))
            )
            server = kind()
            try:
                server.ehlo_or_helo_if_needed()
                if settings.security == "starttls":
                    server.starttls(context=context)
                    server.ehlo_or_helo_if_needed()
                if settings.username is not None:
                    server.login(settings.username, settings.password or "")
                yield server
                with suppress(smtplib.SMTPException, OSError):
                    server.quit()
            finally:
                server.close()

    def _mail(self, server: smtplib.SMTP, mail: bytes) -> None:
        self._address(server, len(mail))
        code, _ = server.data(mail)
        if code >= 500:
            raise _Declined(code)
        if code != 250:
            raise _later(code)

    def _address(self, server: smtplib.SMTP, size: int | None) -> None:
        options = [f"size={size}"] if size is not None and server.has_extn("size") else []
        code, _ = server.mail(self._settings.sender, options)
        if code == 552:
            server.rset()
            raise _Declined(code)
        if code == 250:
            code, _ = server.rcpt(self._settings.recipient)
        if code >= 500:
            raise _refused(code)
        if code not in (250, 251):
            raise _later(code)


@contextmanager
def _translated() -> Iterator[None]:
    """Say what went wrong in the port's words; the server's own text stays out: it may quote the mail."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise SuspendedError(
            "archive_certificate",
            "The journal's certificate isn't one we trust: name its CA with `ca_bundle`, or correct `host`, "
            "then run `assent sync`.",
        ) from error
    except smtplib.SMTPNotSupportedError as error:
        raise SuspendedError(
            "archive_no_tls",
            "The journal's server offers no STARTTLS, or no way to sign in: nothing was sent in the clear. Switch it "
            "on there, or set `security`.",
        ) from error
    except smtplib.SMTPAuthenticationError as error:
        if error.smtp_code < 500:
            raise _later(error.smtp_code) from error
        raise SuspendedError(
            "archive_forbidden",
            "The journal's server refuses our user name or password: put the right ones in place, "
            "then run `assent sync`.",
        ) from error
    except smtplib.SMTPResponseException as error:
        code = error.smtp_code
        raise (_refused(code) if code >= 500 else _later(code)) from error
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError(
            "archive_away", "The journal's server can't be reached, or hung up: look at it and the way there."
        ) from error


def _declined(code: int) -> Refusal:
    why = "it is larger than the journal takes" if code == 552 else "the journal's server won't have it"
    return Refusal(
        f"journal_{code}", f"This entry's mail was refused, {why}: ask whoever runs it, then `assent refused retry`."
    )


def _refused(code: int) -> SuspendedError:
    return SuspendedError(
        "archive_refused",
        f"The journal's server refuses our mails ({code}): check `sender` and `recipient`, and that the server takes "
        "mails from here, then run `assent sync`.",
    )


def _later(code: int) -> TransientError:
    return TransientError("archive_busy", f"The journal's server takes nothing just now ({code}).")
