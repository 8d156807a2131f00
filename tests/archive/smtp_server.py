"""An SMTP server with STARTTLS, a process of its own, that keeps what it takes and fails as it is told.

    python smtp_server.py FOLDER PORT SECURITY      SECURITY: starttls, tls, none

FOLDER/mails/ holds each mail that was taken, numbered. FOLDER/faults holds what the next commands meet, one word each:
`ok`, or the code to answer to DATA, `rcpt550`, `mail451`, or `lost` (the mail is kept and the connection cut before
250).
"""

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

USER, PASSWORD = "journal", "correct horse"


class SmtpServer:
    """A server of this test run."""

    def __init__(self, folder: Path, port: int, security: str = "starttls") -> None:
        self.folder, self.port, self._security = folder, port, security
        (folder / "mails").mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from tests.archive.programs import wait_for

        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.folder), str(self.port), self._security], stderr=subprocess.DEVNULL
        )
        wait_for(self.port, self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def fail(self, *words: str) -> None:
        """Let the next mails meet these, in order."""
        (self.folder / "faults").write_text("\n".join(words))

    @property
    def faults_left(self) -> list[str]:
        file = self.folder / "faults"
        return file.read_text().split() if file.exists() else []

    @property
    def raw(self) -> list[bytes]:
        """What was taken, in order."""
        return [path.read_bytes() for path in sorted((self.folder / "mails").iterdir())]

    @property
    def mails(self) -> list[EmailMessage]:
        return [message_from_bytes(raw, policy=policy.default) for raw in self.raw]

    @property
    def sessions(self) -> Sequence[str]:
        """Of each connection: `tls` or `plain`."""
        return (self.folder / "sessions").read_text().split()


class Handler:
    """Keeps mails, or does what the file of faults says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self._fault("mail"):
            return "451 4.3.0 not now"
        with (self._folder / "sessions").open("a") as log:
            log.write("tls\n" if session.ssl else "plain\n")
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self._fault("rcpt"):
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        fault = self._fault("")
        if fault.isdigit():
            return f"{fault} as told"
        number = len(list((self._folder / "mails").iterdir()))
        (self._folder / "mails" / f"{number:06d}.eml").write_bytes(envelope.content)
        if fault == "lost":
            server.transport.abort()
        return "250 OK"

    def _fault(self, stage: str) -> str:
        """Take the next fault, if it is of this stage: DATA's are words without one."""
        file = self._folder / "faults"
        words = file.read_text().split() if file.exists() else []
        if not words or (stage != "" and not words[0].startswith(stage)) or (stage == "" and words[0][:4] in _STAGED):
            return ""
        file.write_text("\n".join(words[1:]))
        return "" if words[0] == "ok" else words[0]


_STAGED = ("mail", "rcpt")


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
    from aiosmtpd.smtp import AuthResult

    # Not handled: the library gives the answer.
    return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)


async def _serve(folder: Path, port: int, security: str) -> None:
    from aiosmtpd.smtp import SMTP

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if security != "none":
        context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    starttls = security == "starttls"

    def session() -> SMTP:
        return SMTP(
            Handler(folder), hostname="localhost", data_size_limit=3_000_000, require_starttls=starttls,
            tls_context=context if starttls else None, authenticator=_authenticate,
            auth_required=security != "none", auth_require_tls=starttls,
        )  # fmt: skip

    server = await asyncio.get_running_loop().create_server(
        session, "127.0.0.1", port, ssl=context if security == "tls" else None
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore"
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
