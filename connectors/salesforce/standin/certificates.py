"""A certificate authority of the org's own, a server certificate, and a client's key pair; all made once.

Files in the state folder: `ca.pem` (what a client trusts), `ca-key.pem`, `server.pem`, `server-key.pem`;
for the demo's client `client-id.txt`, `username.txt`, `client-secret.txt`, `client-key.pem` and `client.pem`
(the certificate that an admin would upload to the connected app).
"""

import datetime
import ipaddress
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 397  # what browsers and libraries bear at most for a server


@dataclass(frozen=True, slots=True)
class Client:
    """The one client that the org knows: a connected app with its integration user."""

    client_id: str
    username: str
    client_secret: str
    #: PEM of the certificate, or of the bare public key, that proves its JWTs.
    public_key: bytes


def make_server_certificate(state: Path) -> None:
    """Make the authority and the server's certificate where they are missing, and renew an expired one."""
    if not (state / "ca.pem").exists():
        _make_authority(state)
    server = state / "server.pem"
    if server.exists():
        held = x509.load_pem_x509_certificate(server.read_bytes())
        if held.not_valid_after_utc > _now():
            return
    authority = x509.load_pem_x509_certificate((state / "ca.pem").read_bytes())
    authority_key = serialization.load_pem_private_key((state / "ca-key.pem").read_bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        _builder("localhost", authority.subject, key.public_key(), _DAYS)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(state / "server-key.pem", _private(key), secret=True)
    _write(server, certificate.public_bytes(serialization.Encoding.PEM))


def make_client(state: Path) -> Client:
    """The demo's client, made at the first start and read again later."""
    if not (state / "client.pem").exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = _name("Assent demo client")
        certificate = (
            _builder("Assent demo client", name, key.public_key(), 3650)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(state / "client-id.txt", f"3MVG9{secrets.token_urlsafe(32)}".encode())
        _write(state / "username.txt", b"integration@assent.example")
        _write(state / "client-secret.txt", secrets.token_hex(32).encode(), secret=True)
        _write(state / "client-key.pem", _private(key), secret=True)
        _write(state / "client.pem", certificate.public_bytes(serialization.Encoding.PEM))
    return Client(
        client_id=(state / "client-id.txt").read_text().strip(),
        username=(state / "username.txt").read_text().strip(),
        client_secret=(state / "client-secret.txt").read_text().strip(),
        public_key=(state / "client.pem").read_bytes(),
    )


def public_key_of(pem: bytes) -> rsa.RSAPublicKey:
    """The RSA key in a PEM certificate or a PEM public key."""
    if b"BEGIN CERTIFICATE" in pem:
        key = x509.load_pem_x509_certificate(pem).public_key()
    else:
        key = serialization.load_pem_public_key(pem)  # type: ignore[assignment]
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("a connected app's certificate holds an RSA key")
    return key


def _make_authority(state: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("Assent Salesforce stand-in", _name("Assent Salesforce stand-in"), key.public_key(), 3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(state / "ca-key.pem", _private(key), secret=True)
    _write(state / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(days=1))
        .not_valid_after(_now() + datetime.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes, *, secret: bool = False) -> None:
    # Whoever is killed at it leaves no half of a key, which no later start could read.
    draft = file.with_name(file.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    draft.replace(file)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
