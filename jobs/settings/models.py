"""Every setting there is, with its default: frozen values, nothing read here.

A field of type `SecretStr` is a secret: it comes from the environment, or from the file that the field
`<name>_file` beside it names, and never from the settings file (`read.py` sees to that). Fields marked as
paths count from the settings file's folder.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
)

from consent.kinds import Lane


def _listed(value: Any) -> Any:
    # The environment has no lists: `consent,audit` is one there.
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _scheduled(value: str) -> str:
    if value:
        from jobs.schedules import trigger_of

        trigger_of(value)
    return value


OrganizationId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{2,32}$")]
Organizations = Annotated[tuple[OrganizationId, ...] | None, BeforeValidator(_listed)]
Lanes = Annotated[tuple[Lane, ...], BeforeValidator(_listed), Field(min_length=1)]
HttpUrl = Annotated[
    str, StringConstraints(pattern=r"^https?://[^\s/?#@]+[^\s?#]*$"), Field(examples=["http://127.0.0.1:8080/portal"])
]
HttpsUrl = Annotated[
    str, StringConstraints(pattern=r"^https://[^\s/?#@]+[^\s?#]*$"), Field(examples=["https://login.salesforce.com"])
]
DatabaseUrl = Annotated[
    str,
    StringConstraints(pattern=r"^(sqlite:///.+|postgresql(\+psycopg)?://.*)$"),
    Field(examples=["sqlite:///var/assent.db", "postgresql://assent@db.example.com/assent"]),
]
MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$")]
Schedule = Annotated[str, AfterValidator(_scheduled)]
Seconds = Annotated[float, Field(gt=0, le=31 * 24 * 3600)]


class Section(BaseModel):
    """A table of the settings file: its keys and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(Section):
    """Where the ledgers are."""

    url: DatabaseUrl = Field(
        default="sqlite:///var/assent.db", description="sqlite:///path, or postgresql://user@host/name"
    )
    password: SecretStr | None = Field(default=None, description="PostgreSQL's password, where the URL names a user")
    password_file: Path | None = None


class ServerSettings(Section):
    """The HTTP server of `assent serve`."""

    host: str = Field(default="127.0.0.1", min_length=1, description="the address to listen on; loopback by default")
    port: int = Field(default=8080, ge=0, le=65535, description="0 takes any free port")
    public_url: HttpUrl | None = Field(
        default=None,
        description="what browsers and providers reach this server by, where a proxy stands in front",
        examples=["https://assent.bank.example"],
    )
    token: SecretStr | None = Field(default=None, description="what API callers send as bearer token", min_length=16)
    token_file: Path | None = None
    portal_secret: SecretStr | None = Field(default=None, description="signs what the portal destination sends here")
    portal_secret_file: Path | None = None
    portal_database_url: DatabaseUrl | None = Field(
        default=None, description="the portal's own database; default: the one above"
    )
    twilio_auth_token: SecretStr | None = Field(default=None, description="Twilio signs its webhooks with it")
    twilio_auth_token_file: Path | None = None
    whatsapp_app_secret: SecretStr | None = Field(default=None, description="Meta signs WhatsApp's webhooks with it")
    whatsapp_app_secret_file: Path | None = None
    whatsapp_verify_token: SecretStr | None = Field(default=None, description="what was typed into Meta's form")
    whatsapp_verify_token_file: Path | None = None
    webhook_organization: OrganizationId | None = Field(
        default=None, description="whose texts to lines that nobody registered are; default: the only one there is"
    )
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024, description="a larger request is refused with 413")
    shutdown_seconds: Seconds = Field(default=20.0, description="how long requests at work may take after SIGTERM")
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class AuthSettings(Section):
    """Who may sign in to the portal, and for how long."""

    idle_minutes: float = Field(default=30.0, gt=0, le=24 * 60, description="without a page a session is over")
    session_hours: float = Field(default=12.0, gt=0, le=31 * 24, description="after which one signs in anew")
    lock_after: int = Field(default=5, ge=1, description="wrong passwords in a row that lock an account")
    lock_minutes: float = Field(default=15.0, gt=0, le=24 * 60, description="how long it stays locked")
    reveal_minutes: float = Field(default=15.0, gt=0, le=24 * 60, description="how long a revealed number is shown")


class ConsentSettings(Section):
    """How messages are taken; what organizations decide for themselves is set with `assent org` and `feature`."""


class DeliverySettings(Section):
    """How what is owed is brought to destinations."""

    suspend_after: int = Field(
        default=50, ge=1, description="refusals in a row for one cause that suspend a destination"
    )
    attempts: int = Field(default=12, ge=1, description="an entry that fails alone this often becomes a dead letter")
    lease_seconds: Seconds = Field(default=15.0, description="a killed worker's lease is free to take after this time")
    slice_seconds: Seconds = Field(default=0.5, description="how long one ledger keeps a destination while others wait")
    poll_seconds: Seconds = Field(default=1.0, description="how often to look for work that nobody announced")
    drain_seconds: Seconds = Field(default=10.0, description="how long pushes in flight may take after SIGTERM")


class JobsSettings(Section):
    """When jobs run: an interval (`30s`, `10m`, `6h`, `1d`) or a cron line, in UTC; an empty string: never."""

    deliver: Schedule = Field(
        default="30s", description="the safety net: looks for what is owed and for what is due again, whatever happened"
    )
    reconcile: Schedule = Field(
        default="0 3 * * *", description="reads back what destinations hold", examples=["0 3 * * *", "6h"]
    )
    verify: Schedule = Field(
        default="0 5 * * 0", description="checks every hash of the ledgers again", examples=["0 5 * * 0"]
    )
    archive: Schedule = Field(
        default="10 * * * *",
        description="carries locks and legal holds to archives, and sends again what they don't acknowledge",
        examples=["10 * * * *"],
    )
    dispose: Schedule = Field(
        default="30 4 * * *",
        description="disposes of what is past its retention and under no hold",
        examples=["30 4 * * *"],
    )
    housekeeping: Schedule = Field(
        default="20 4 * * *", description="clears away what nobody needs any more", examples=["20 4 * * *"]
    )
    watch: Schedule = Field(default="30s", description="looks for what [alerts] tells people of")
    stalled_seconds: Seconds = Field(
        default=600.0, description="a job without a sign of life for so long shows in /readyz"
    )
    health_port: int | None = Field(
        default=None, ge=0, le=65535,
        description="where `serve --jobs-only` answers /livez, /readyz and /metrics; default: nowhere",
    )  # fmt: skip


class AlertsSettings(Section):
    """Whom to tell of trouble, once when it starts and once when it is over; and what counts as trouble."""

    mail_to: Annotated[tuple[MailAddress, ...], BeforeValidator(_listed)] = Field(
        default=(), description="who gets a mail", examples=[["ops@bank.example"]]
    )
    mail_from: MailAddress | None = Field(default=None, examples=["assent@bank.example"])
    smtp_host: str | None = Field(default=None, min_length=1)
    smtp_port: int | None = Field(default=None, ge=1, le=65535, description="default: 587, with `tls` 465")
    smtp_security: Literal["starttls", "tls", "none"] = Field(default="starttls", description="`none` on trusted wires")
    smtp_username: str | None = Field(default=None, min_length=1)
    smtp_password: SecretStr | None = None
    smtp_password_file: Path | None = None
    webhook_url: str | None = Field(
        default=None, pattern=r"^https?://[^\s@]+$", description="gets a POST, signed as Standard Webhooks says",
        examples=["https://hooks.example/assent"],
    )  # fmt: skip
    webhook_secret: SecretStr | None = Field(default=None, description="as whsec_...; at least 24 random bytes")
    webhook_secret_file: Path | None = None
    ca_bundle: Path | None = Field(default=None, description="an own CA's certificates for both, PEM")
    consent_seconds: Seconds = Field(
        default=300.0, description="a decision that hasn't reached a destination after so long is trouble"
    )
    disk_free_percent: float = Field(default=10.0, ge=0, le=100, description="less is trouble")
    quota_percent: float = Field(default=90.0, gt=0, le=100, description="more of a day's API calls used is trouble")
    certificate_days: float = Field(default=14.0, ge=0, description="a certificate that expires sooner is trouble")
    clear_seconds: float = Field(default=60.0, ge=0, description="what wasn't seen for so long is over")


class EvidenceSettings(Section):
    """Signed checkpoints and proofs."""

    name: str = Field(
        default="assent", pattern=r"^[A-Za-z0-9./_-]{1,100}$",
        description="what checkpoints are signed as; a domain of yours", examples=["bank.example/assent"],
    )  # fmt: skip
    key: SecretStr | None = Field(default=None, description="an Ed25519 key, as `init` makes it")
    key_file: Path | None = None
    checkpoints: Schedule = Field(default="1h", description="when heads are signed, where something is new")


class _Destination(Section):
    enabled: bool = True
    organizations: Organizations = Field(
        default=None, description="main organizations it serves; default: all, and `system`"
    )
    lanes: Lanes = tuple(Lane)
    start: Literal["start", "now"] = Field(
        default="start", alias="from", description="`now` skips what is there already"
    )


class SalesforceSettings(_Destination):
    """A Salesforce org."""

    kind: Literal["salesforce"]
    lanes: Lanes = (Lane.CONSENT,)
    login_url: HttpsUrl = "https://login.salesforce.com"
    auth: Literal["jwt", "client_credentials"] = "jwt"
    client_id: str | None = Field(default=None, min_length=1)
    username: str | None = Field(default=None, min_length=1)
    private_key: SecretStr | None = None
    private_key_file: Path | None = None
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    ca_bundle: Path | None = Field(default=None, description="an own CA's certificates, PEM")
    api_version: str = Field(default="62.0", pattern=r"^\d{2,3}\.0$", examples=["62.0"])
    audience: str | None = Field(
        default=None, min_length=1, description="of the signed request, where it isn't login_url"
    )
    connect_timeout: Seconds = 10.0
    read_timeout: Seconds = 60.0
    api_reserve: float = Field(
        default=0.05, ge=0, lt=1, description="share of the org's daily API calls that is left to its other users"
    )
    portal_url: HttpUrl | None = Field(default=None, description="each record then links to its entry in the portal")

    @field_validator("api_version", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return str(value).removeprefix("v") if isinstance(value, str | int | float) else value


class ArchiveSettings(_Destination):
    """A write-once archive: a directory, a bucket with Object Lock, an SFTP server, or a journal address."""

    kind: Literal["archive"]
    transport: Literal["directory", "s3", "sftp", "smtp"] = "directory"
    path: Path = Field(
        default=Path("var/archive"), description="directory; for smtp, what keeps a record of the mails accepted"
    )
    read_back: float = Field(
        default=0.1, ge=0, le=1, description="the share of new files that are read again and compared at once"
    )
    ca_bundle: Path | None = Field(default=None, description="s3, smtp: an own CA's certificates, PEM")
    timeout: Seconds = Field(default=60.0, description="how long one answer (sftp: one file) may take")
    # s3
    bucket: str | None = Field(default=None, min_length=3, description="s3: made with Object Lock")
    prefix: str = Field(default="", pattern=r"^([^/\s]+(/[^/\s]+)*)?$", description="s3: before every name")
    endpoint_url: HttpUrl | None = Field(default=None, description="s3: where it isn't Amazon's")
    region: str = "us-east-1"
    access_key_id: str | None = Field(default=None, min_length=1, description="s3: default: as Amazon's tools find it")
    secret_access_key: SecretStr | None = None
    secret_access_key_file: Path | None = None
    lock: Literal["compliance", "governance"] = "compliance"
    retention_days: int = Field(
        default=2592, ge=1, le=36500, description="s3: how long new objects are locked; a job makes it longer as needed"
    )
    legal_hold: bool = Field(default=False, description="s3: put every object under a legal hold too")
    # sftp, smtp
    host: str | None = Field(default=None, min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535, description="default: 22 for sftp, 587 for smtp")
    username: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = None
    password_file: Path | None = None
    private_key: SecretStr | None = Field(default=None, description="sftp: in any of OpenSSH's forms")
    private_key_file: Path | None = None
    passphrase: SecretStr | None = Field(default=None, description="sftp: of the private key")
    passphrase_file: Path | None = None
    known_hosts_file: Path | None = Field(default=None, description="sftp: the server's keys, as `ssh-keyscan` prints")
    remote_path: str = Field(default="assent", min_length=1, description="sftp: the archive's folder on the server")
    receipts_path: str | None = Field(default=None, min_length=1, description="sftp: where the archive writes receipts")
    deadline_hours: float = Field(
        default=2.0, gt=0, description="sftp: a batch without a receipt by then is sent again"
    )
    sender: str | None = Field(default=None, pattern=r"^[^@\s<>]+@[^@\s<>]+$", examples=["assent@bank.example"])
    recipient: str | None = Field(default=None, pattern=r"^[^@\s<>]+@[^@\s<>]+$", examples=["journal@archive.example"])
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="smtp: `none` on trusted wires"
    )
    # the mails of sftp and smtp
    domain: str = Field(
        default="assent.invalid", pattern=r"^[a-z0-9.-]{1,100}$", description="of Message-IDs and numbers' addresses"
    )
    time_zone: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_+/-]+$",
        examples=["America/New_York"],
        description="local times are told in it; default: where the contact's number is from",
    )

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None:
            from zoneinfo import ZoneInfo

            try:
                ZoneInfo(value)
            except (KeyError, OSError, ValueError) as error:
                raise ValueError("no time zone of this name is known") from error
        return value


class PortalSettings(_Destination):
    """The portal that `assent serve` hosts, here or on another machine."""

    kind: Literal["portal"]
    url: HttpUrl = "http://127.0.0.1:8080/portal"
    secret: SecretStr | None = None
    secret_file: Path | None = None
    ca_bundle: Path | None = Field(default=None, description="an own CA's certificates, PEM")


DestinationSettings = Annotated[SalesforceSettings | ArchiveSettings | PortalSettings, Field(discriminator="kind")]
DestinationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


class Settings(Section):
    """All settings of one start."""

    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    consent: ConsentSettings = ConsentSettings()
    delivery: DeliverySettings = DeliverySettings()
    destinations: dict[DestinationName, DestinationSettings] = {}
    jobs: JobsSettings = JobsSettings()
    alerts: AlertsSettings = AlertsSettings()
    evidence: EvidenceSettings = EvidenceSettings()
