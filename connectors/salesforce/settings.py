"""What the connector is told at start-up: frozen, read once, secrets already loaded."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class SalesforceSettings:
    """One Salesforce org as a destination."""

    #: `https://login.salesforce.com`, `https://test.salesforce.com`, or the org's My Domain; tokens are asked there.
    login_url: str
    client_id: str
    auth: Literal["jwt", "client_credentials"] = "jwt"
    #: The integration user, for `jwt`; for `client_credentials` the app itself names whom it runs as.
    username: str | None = None
    #: PEM of the RSA key whose certificate the app in Salesforce holds, for `jwt`.
    private_key: str | None = field(default=None, repr=False)
    #: For `client_credentials`.
    client_secret: str | None = field(default=None, repr=False)
    #: The audience in the signed request, where it isn't `login_url` itself.
    audience: str | None = None
    #: File of certificates to trust instead of the public ones.
    ca_bundle: str | None = None
    api_version: str = "62.0"
    #: Seconds until a connection must stand, and between two reads of an answer.
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    #: Share of the org's daily API calls that is left to its other users.
    api_reserve: float = 0.05
    #: Where the portal is reached; each record then carries a link to its entry there.
    portal_url: str | None = None
