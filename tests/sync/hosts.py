"""Three hosts on one machine: each in a network namespace of its own, or, where none can be made, behind own sockets.

A host reaches the database and the portal through forwarders at its gateway's address. `cut` takes its cable out: the
link of its namespace goes down, or the forwarders stand still.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_ASSENT = str(Path(sys.executable).parent / "assent")


class Forwarder:
    """Carries bytes between whoever connects and a server, unless it is told to hold them."""

    def __init__(self, address: str, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._listener = socket.create_server((address, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._flows, self._answers = threading.Event(), threading.Event()
        self._flows.set()
        self._answers.set()
        #: How many answers had to wait.
        self.held = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def freeze(self, frozen: bool) -> None:
        """Carry nothing any more, in either direction, or go on."""
        (self._flows.clear if frozen else self._flows.set)()

    def hold_answers(self, held: bool) -> None:
        """Keep back what the server answers, or let it go."""
        (self._answers.clear if held else self._answers.set)()

    def close(self) -> None:
        self.freeze(False)
        self.hold_answers(False)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for pair in self._pairs:
            _end(*pair)
        for thread in self._threads[1:]:
            thread.join()
        for each in (self._listener, *(one for pair in self._pairs for one in pair)):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = self._connect()
            except OSError:
                return
            self._pairs.append((client, server))
            for arguments in ((client, server), (server, client, True)):
                thread = threading.Thread(target=self._carry, args=arguments, daemon=True)
                thread.start()
                self._threads.append(thread)

    def _carry(self, one: socket.socket, other: socket.socket, is_answer: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                self._flows.wait()
                if is_answer and not self._answers.is_set():
                    self.held += 1
                    self._answers.wait()
                other.sendall(data)
        _end(one, other)


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


class Host:
    """One machine, as far as the network goes."""

    def __init__(self, number: int, database: Callable[[], socket.socket], portal: Callable[[], socket.socket]) -> None:
        self.number = number
        token = secrets.token_hex(3)
        subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(255)}"
        self._namespace = f"assent-{token}"
        self._link = (f"as{token}h", f"as{token}r")
        self.is_apart = self._separate(subnet)
        #: Where the host is reached, and where it reaches others.
        self.address, gateway = (f"{subnet}.2", f"{subnet}.1") if self.is_apart else ("127.0.0.1", "127.0.0.1")
        self.database, self.portal = Forwarder(gateway, database), Forwarder(gateway, portal)
        self.gateway = gateway
        self.process: subprocess.Popen[bytes] | None = None
        self.log = Path()

    def serve(self, config: Path, log: Path, environment: dict[str, str]) -> None:
        """Start `assent serve` here."""
        self.log = log
        inside = ["ip", "netns", "exec", self._namespace] if self.is_apart else []
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*inside, _ASSENT, "serve", "--config", str(config)], env=environment, stdout=output, stderr=output
            )

    def cut(self) -> None:
        """Take the cable out."""
        if self.is_apart:
            self._inside("ip", "link", "set", self._link[0], "down")
        else:
            self._freeze(True)

    def mend(self) -> None:
        """Put it in again."""
        if self.is_apart:
            self._inside("ip", "link", "set", self._link[0], "up")
        else:
            self._freeze(False)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for forwarder in (self.database, self.portal):
            forwarder.close()
        if self.is_apart:
            subprocess.run(["ip", "netns", "del", self._namespace], check=True)

    def _separate(self, subnet: str) -> bool:
        """Make the namespace, its link, and its addresses; False where this machine doesn't let us."""
        inner, outer = self._link
        if os.geteuid() != 0 or subprocess.run(
            ["ip", "netns", "add", self._namespace], capture_output=True, check=False
        ).returncode:  # fmt: skip
            return False
        for command in (
            ["ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", self._namespace],
            ["ip", "addr", "add", f"{subnet}.1/30", "dev", outer],
            ["ip", "link", "set", outer, "up"],
        ):
            subprocess.run(command, check=True, capture_output=True)
        self._inside("ip", "addr", "add", f"{subnet}.2/30", "dev", inner)
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "link", "set", inner, "up")
        return True

    def _inside(self, *command: str) -> None:
        subprocess.run(["ip", "netns", "exec", self._namespace, *command], check=True, capture_output=True)

    def _freeze(self, frozen: bool) -> None:
        for forwarder in (self.database, self.portal):
            forwarder.freeze(frozen)
