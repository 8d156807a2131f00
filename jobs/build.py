"""The composition root: settings in, the parts of one process out, put together and taken apart in order."""

import gc
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from sqlalchemy import make_url

from consent.database import Database, open_database, run
from jobs.exits import Exit, Problem
from jobs.settings import (
    ArchiveSettings,
    DestinationSettings,
    EvidenceSettings,
    Loaded,
    PortalSettings,
    SalesforceSettings,
    Settings,
    load_settings,
)
from sync.delivery import Rules
from sync.destinations import Destination
from sync.forecast import place_of
from sync.migrate import SchemaError, require, upgrade
from sync.port import Connector

if TYPE_CHECKING:
    from connectors.salesforce.settings import SalesforceSettings as Told
    from jobs.access import Access
    from jobs.api.webhooks import Providers


@dataclass
class Parts:
    """What one process works with; each part is made when it is first asked for."""

    loaded: Loaded
    _destinations: list[Destination] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The settings of this start."""
        return self.loaded.settings

    @cached_property
    def database(self) -> Database:
        """The ledgers' database; nothing is connected yet."""
        settings = self.settings.database
        url = settings.url
        if settings.password is not None:
            password = settings.password.get_secret_value()
            url = make_url(url).set(password=password).render_as_string(hide_password=False)
        return _opened(url, "[database] url")

    @cached_property
    def portal_database(self) -> Database:
        """Where the portal that we host keeps what was pushed to it: its own database, or the ledgers'."""
        url = self.settings.server.portal_database_url
        return _opened(url, "[server] portal_database_url") if url else self.database

    @property
    def public_url(self) -> str:
        """What browsers and providers reach this server by, without a slash at its end."""
        server = self.settings.server
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)  # noqa: S104 (not bound here)
        return (server.public_url or f"http://{host}:{server.port}").rstrip("/")

    @property
    def providers(self) -> "Providers":
        """What the webhooks of providers are known by."""
        from jobs.api.webhooks import Providers

        server = self.settings.server
        secrets = {
            name: None if (value := getattr(server, name)) is None else value.get_secret_value()
            for name in ("twilio_auth_token", "whatsapp_app_secret", "whatsapp_verify_token")
        }
        return Providers(self.public_url, organization=server.webhook_organization, **secrets)

    @cached_property
    def access(self) -> "Access":
        """Who may see what of the portal."""
        from jobs.access import Access, Limits

        return Access(self.database, Limits(**self.settings.auth.model_dump()))

    @cached_property
    def destinations(self) -> list[Destination]:
        """The destinations that are switched on, in the order of the settings file."""
        enabled = {name: one for name, one in self.settings.destinations.items() if one.enabled}
        self._destinations = [_destination(name, one, self.settings.evidence) for name, one in enabled.items()]
        return self._destinations

    @property
    def hosted_portals(self) -> list[str]:
        """The destinations that are the portal of this server: those that sign with its secret."""
        secret = self.settings.server.portal_secret
        return [
            name for name, one in self.settings.destinations.items()
            if one.enabled and isinstance(one, PortalSettings) and secret is not None and one.secret == secret
        ]  # fmt: skip

    @property
    def rules(self) -> Rules:
        """How to deliver."""
        delivery = self.settings.delivery
        return Rules(
            suspend_after=delivery.suspend_after,
            lease_seconds=delivery.lease_seconds,
            slice_seconds=delivery.slice_seconds,
            attempts=delivery.attempts,
        )

    def chosen(self, name: str | None) -> list[Destination]:
        """Return one destination by its name, or all; Problem where there is none of that name."""
        if name is None:
            return self.destinations
        found = [destination for destination in self.destinations if destination.name == name]
        if not found:
            known = ", ".join(destination.name for destination in self.destinations) or "none"
            raise Problem(Exit.USAGE, f"there is no destination {name} in the settings; switched on are: {known}")
        return found

    def upgrade(self) -> None:
        """Bring the database, and that of the portal we host, to this program's schema."""
        from connectors.portal import migrate as portal

        upgrade(self.database)
        portal.upgrade(self.portal_database)
        self.prepare()

    @property
    def migrations(self) -> list[Callable[[Database], None]]:
        """What makes all tables that stand in the ledgers' database."""
        from connectors.portal import migrate as portal

        return [upgrade, portal.upgrade] if self.portal_database is self.database else [upgrade]

    def require_compared(self) -> None:
        """Raise Problem where the database was restored from a backup and not compared with the destinations since."""
        from sync.restored import is_to_be_compared

        if is_to_be_compared(self.database):
            raise Problem(
                Exit.SETTINGS,
                "this database was restored from a backup, and destinations may hold entries that it doesn't know of: "
                "run `assent db restore --compare` first",
            )

    def require_portal_schema(self) -> None:
        """Raise SchemaError unless the tables of the portal we host are at this program's version."""
        from connectors.portal import migrate as portal

        if portal.current(self.portal_database) != portal.newest():
            raise SchemaError("the portal's tables aren't at this program's version: run `assent db upgrade`")

    def prepare(self) -> None:
        """Make the folders of archives to which nothing was ever delivered; one missing later is an outage."""
        from connectors.archive.connector import ArchiveConnector

        for destination in self.destinations:
            if isinstance(destination.connector, ArchiveConnector) and not self._was_delivered_to(destination):
                destination.connector.prepare()

    def places(self) -> dict[str, Path]:
        """Return the folders on this machine that fill up as entries come, by what stands in them."""
        found = {} if (folder := place_of(self.database)) is None else {"database": folder}
        for name, one in self.settings.destinations.items():
            if isinstance(one, ArchiveSettings) and one.enabled and one.transport == "directory":
                found[name] = one.path
        return found

    def close(self) -> None:
        """Let go of connections."""
        for destination in self._destinations:
            destination.connector.shut()
        for made in {"database", "portal_database"} & self.__dict__.keys():
            self.__dict__[made].dispose()

    def _was_delivered_to(self, destination: Destination) -> bool:
        with self.database.read() as tx:
            sql = "SELECT 1 FROM receipt WHERE destination = ? LIMIT 1"
            return run(tx, sql, [destination.name]).first() is not None


@contextmanager
def assembled(config: Path | None = None, *, schema: bool = True, only_reads: bool = False) -> Iterator[Parts]:
    """Read the settings and give the parts, closed at the end.

    With `schema`, the database must be up to date, and whoever doesn't only read it must not be ahead of a restored
    one's comparison.
    """
    parts = Parts(load_settings(config))
    collect_seldom()
    try:
        if schema:
            require(parts.database)
            if not only_reads:
                parts.require_compared()
        yield parts
    finally:
        parts.close()


def collect_seldom() -> None:
    """Have the garbage collector look for cycles after 20,000 new objects instead of 700.

    Entries are alive by the thousand while they are delivered, and are no cycles: looking at each of them once or
    twice took 4 µs an entry.
    """
    gc.set_threshold(20_000)


def host_actor() -> str:
    """Return the opaque id that stands in records for this host's command line and its user."""
    whose = f"{socket.getfqdn()}\0{os.getuid() if hasattr(os, 'getuid') else 0}"
    return "cli-" + hashlib.sha256(whose.encode()).hexdigest()[:12]


def salesforce_settings(settings: SalesforceSettings) -> "Told":
    """Return what the Salesforce connector is told."""
    from connectors.salesforce.settings import SalesforceSettings as Told

    return Told(
        login_url=settings.login_url,
        client_id=settings.client_id or "",
        auth=settings.auth,
        username=settings.username,
        private_key=settings.private_key.get_secret_value() if settings.private_key else None,
        client_secret=settings.client_secret.get_secret_value() if settings.client_secret else None,
        audience=settings.audience,
        ca_bundle=str(settings.ca_bundle) if settings.ca_bundle else None,
        api_version=settings.api_version,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        portal_url=settings.portal_url,
    )


def _opened(url: str, key: str) -> Database:
    try:
        return open_database(url)
    except OSError as error:
        advice = (
            f"{key}: its folder can't be made ({error.strerror}): correct the path, or the rights on what is above it"
        )
        raise Problem(Exit.SETTINGS, advice) from error


def _destination(name: str, settings: DestinationSettings, evidence: EvidenceSettings) -> Destination:
    organizations = None if settings.organizations is None else frozenset(settings.organizations)
    connector = _connector(name, settings, evidence)
    return Destination(name, connector, settings.lanes, organizations, from_now=settings.start == "now")


def _connector(name: str, settings: DestinationSettings, evidence: EvidenceSettings) -> Connector:
    # Each kind's libraries are imported only where one is configured.
    match settings:
        case SalesforceSettings():
            return _salesforce(settings)
        case ArchiveSettings():
            from jobs.archives import archive_connector
            from jobs.keys import signer_of

            return archive_connector(settings, signer_of(evidence))
        case PortalSettings():
            return _portal(name, settings)
    assert_never(settings)


def _salesforce(settings: SalesforceSettings) -> Connector:
    from connectors.salesforce.connector import SalesforceConnector

    return SalesforceConnector(salesforce_settings(settings))


def _portal(name: str, settings: PortalSettings) -> Connector:
    from connectors.portal.connector import PortalConnector
    from connectors.portal.connector import PortalSettings as Told

    if settings.secret is None:
        raise Problem(
            Exit.SETTINGS,
            f"destinations.{name}.secret_file: the portal's secret is missing; run `assent init`, or name its file",
        )
    ca_bundle = str(settings.ca_bundle) if settings.ca_bundle else None
    try:
        return PortalConnector(Told(settings.url, (settings.secret.get_secret_value(),), ca_bundle))
    except ValueError as error:
        raise Problem(Exit.SETTINGS, f"destinations.{name}.secret: {error}") from error
