"""When certificates expire: those that destinations show, and the CA files that the settings name."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from jobs.settings import ArchiveSettings, PortalSettings, SalesforceSettings, Settings


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, or why it couldn't be looked at."""

    subject: str
    #: Seconds since 1970; None where it couldn't be looked at.
    expires_at: float | None
    problem: str = ""

    def days_left(self, now: float) -> float | None:
        """Return for how many days it is still good, less than 0 where it has expired."""
        return None if self.expires_at is None else (self.expires_at - now) / 86_400


def certificates_of(settings: Settings, seconds: float) -> Iterator[Certificate]:
    """Yield each certificate that deliveries rest on; nobody is waited for longer than so many seconds."""
    for name, one in settings.destinations.items():
        if not one.enabled:
            continue
        if (there := _place_of(one)) is not None:
            yield _shown(f"{name} ({there[0]})", *there, seconds)
        if one.ca_bundle is not None:
            yield from _of_file(f"{name} ({one.ca_bundle.name})", one.ca_bundle)


def _place_of(settings: SalesforceSettings | ArchiveSettings | PortalSettings) -> tuple[str, int] | None:
    """Return host and port of what shows a certificate at once; None where nothing does."""
    match settings:
        case SalesforceSettings(login_url=url) | PortalSettings(url=url):
            return _of_url(url)
        case ArchiveSettings(transport="s3", endpoint_url=str(url)):
            return _of_url(url)
        case ArchiveSettings(transport="smtp", security="tls", host=str(host), port=port):
            return host, port or 465
    return None


def _of_url(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    return (parts.hostname, parts.port or 443) if parts.scheme == "https" and parts.hostname else None


def _shown(subject: str, host: str, port: int, seconds: float) -> Certificate:
    # Whether it is to be trusted is for the connector to say; one that has expired must be told as such.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            data = wrapped.getpeercert(binary_form=True)
    except OSError as error:
        return Certificate(subject, None, f"it can't be reached ({error.strerror or type(error).__name__})")
    if data is None:
        return Certificate(subject, None, "it shows no certificate")
    return Certificate(subject, x509.load_der_x509_certificate(data).not_valid_after_utc.timestamp())


def _of_file(subject: str, path: Path) -> Iterator[Certificate]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        yield Certificate(subject, None, "it can't be read as PEM")
        return
    yield Certificate(subject, min(one.not_valid_after_utc.timestamp() for one in found))
