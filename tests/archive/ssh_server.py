"""OpenSSH's own server on loopback, as the user that runs the tests (or, for root, as one without rights)."""

import os
import pwd
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import asyncssh

from connectors.archive.remote import RemoteSettings
from tests.archive.programs import Programs, free_port, wait_for

_CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized
UsePAM no
StrictModes no
PasswordAuthentication no
PubkeyAuthentication yes
MaxStartups 100
Subsystem sftp internal-sftp
"""


class SshServer:
    """A server of this test run; `place` is where its user's files go."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._programs = folder, Programs()
        self.port = free_port()
        self.place = folder / "files"
        self.place.mkdir()
        # Root would have the server ask for a user of its own, and may write anywhere.
        self._user = pwd.getpwnam("www-data") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        host, client = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
        host.write_private_key(folder / "host")
        (folder / "authorized").write_bytes(client.export_public_key())
        (folder / "sshd_config").write_text(_CONFIGURATION.format(port=self.port, folder=folder))
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host.export_public_key().decode()}")
        self.private_key = client.export_private_key().decode()
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, self._user.pw_uid, self._user.pw_gid)
        (folder / "host").chmod(0o600)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, file_size: int | None = None) -> None:
        """Start it; with `file_size`, no file may grow beyond so many bytes, as on a disk that is full."""
        limits: Callable[[], None] | None = None
        if file_size is not None:

            def limits() -> None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

        log = os.open(self._folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if not os.geteuid() else {}
        try:
            self._process = subprocess.Popen(
                [self._programs.find("sshd"), "-D", "-e", "-f", self._folder / "sshd_config"],
                env=self._programs.environment, stdout=log, stderr=log, preexec_fn=limits, start_new_session=True,
                **user,
            )  # fmt: skip
        finally:
            os.close(log)
        wait_for(self.port, self._process)

    def stop(self) -> None:
        """End it and what it serves: each connection is a process of its session."""
        if self._process is not None:
            self.hang_up()
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang_up(self) -> int:
        """End what it serves just now; return how many connections that were."""
        assert self._process is not None
        serving = _children(self._process.pid)
        for process in serving:
            with suppress(ProcessLookupError):  # it just ended by itself
                os.kill(process, signal.SIGKILL)
        return len(serving)

    @property
    def settings(self) -> RemoteSettings:
        """How to reach it."""
        return RemoteSettings(
            host="127.0.0.1", port=self.port, username=self._user.pw_name, known_hosts=str(self.known_hosts),
            private_key=self.private_key, timeout=20,
        )  # fmt: skip


def _children(process: int) -> list[int]:
    """Return the processes below one, the lowest first."""
    below: list[int] = []
    with suppress(FileNotFoundError):
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            for child in map(int, task.read_text().split()):
                below += [*_children(child), child]
    return below
