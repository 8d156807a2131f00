"""Settings, read once at start-up into frozen values: a TOML file, the environment over it, secrets from files."""

from jobs.settings.faults import Fault, SettingsError
from jobs.settings.models import (
    AlertsSettings,
    ArchiveSettings,
    DatabaseSettings,
    DeliverySettings,
    DestinationSettings,
    EvidenceSettings,
    JobsSettings,
    PortalSettings,
    SalesforceSettings,
    ServerSettings,
    Settings,
)
from jobs.settings.read import Loaded, load_settings

__all__ = [
    "AlertsSettings",
    "ArchiveSettings",
    "DatabaseSettings",
    "DeliverySettings",
    "DestinationSettings",
    "EvidenceSettings",
    "Fault",
    "JobsSettings",
    "Loaded",
    "PortalSettings",
    "SalesforceSettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "load_settings",
]
