"""The programs that the demo starts beside itself: the Salesforce stand-in and `assent serve`, as real processes."""

import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from connectors.salesforce.standin.standin import Address
from jobs.demo.folder import LOGS, SETTINGS, STANDIN
from jobs.exits import Exit, Problem

#: How long a program may take to begin, and to end when it is asked to; seconds.
_BEGIN, _END = 30.0, 5.0
_LOOK = 0.02
#: Below what Linux (32768 on), macOS and Windows (49152 on) give to those who ask for any port.
_PORTS = range(10_000, 16_000)


class Program:
    """One program of ours in a process of its own, which ends when this process does, however that ends."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name, self._log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 (a program of ours)
                # -P: the current directory is no place to import from.
                [sys.executable, "-P", "-m", "jobs.demo.child", name, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                # A Ctrl-C on the terminal is for the demo alone, which then ends this program in its own order.
                start_new_session=True,
            )

    def wait_for(self, look: Callable[[], Any]) -> Any:
        """Return what `look` finds, as soon as that isn't None; Problem where the program ends first, or hangs."""
        until = time.monotonic() + _BEGIN
        while (found := look()) is None:
            if self._process.poll() is not None:
                raise Problem(Exit.UNEXPECTED, f"{self.name} ended before it was ready: see {self._log}")
            if time.monotonic() > until:
                raise Problem(Exit.UNEXPECTED, f"{self.name} isn't ready after {_BEGIN:.0f} s: see {self._log}")
            time.sleep(_LOOK)
        return found

    def kill(self) -> bool:
        """End it as `kill -9` does, and return whether that is what it died of."""
        self._process.kill()
        self._release()
        return self._process.wait() == -signal.SIGKILL

    def end(self) -> None:
        """Ask it to end, and make sure that it has."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._release()
        self._process.wait()

    def _release(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


class StandIn:
    """The Salesforce stand-in, which can be killed and started again on the same folder and ports."""

    address: Address

    def __init__(self, root: Path) -> None:
        self._state, self._log = root / STANDIN, root / LOGS / "salesforce.log"
        self._ready = root / LOGS / "salesforce.ready.json"
        self.start()

    def start(self) -> None:
        """Start it, on the ports of the last start in this folder if there was one."""
        self._ready.unlink(missing_ok=True)
        arguments = ["--package", str(package()), "--state", str(self._state), "--ready-file", str(self._ready)]
        if not self._state.exists():
            arguments += ["--port", str(free_port()), "--control-port", str(free_port())]
        self._program = Program("salesforce-standin", arguments, self._log)

    def wait(self) -> None:
        """Return when it answers."""
        self.address = self._program.wait_for(self._read_address)

    def kill(self) -> bool:
        """Kill it where it stands, and return whether it died of that."""
        return self._program.kill()

    def end(self) -> None:
        """End it."""
        self._program.end()

    def _read_address(self) -> Address | None:
        return Address(**json.loads(self._ready.read_bytes())) if self._ready.exists() else None


class Portal:
    """`assent serve --no-jobs`, which hosts the portal: we deliver ourselves."""

    def __init__(self, root: Path) -> None:
        self._log = root / LOGS / "serve.log"
        self._from = self._log.stat().st_size if self._log.exists() else 0
        self._program = Program("serve", ("--no-jobs", "--config", str(root / SETTINGS)), self._log)

    def wait(self) -> str:
        """Return its URL when it listens."""
        url: str = self._program.wait_for(self._read_url)
        return url

    def end(self) -> None:
        """End it."""
        self._program.end()

    def _read_url(self) -> str | None:
        for line in self._log.read_bytes()[self._from :].split(b"\n")[:-1]:
            if b'"server.started"' in line:
                url: str = json.loads(line)["url"]
                return url
        return None


def free_port() -> int:
    """Return a port that nobody has, and that nobody is given who asks for any.

    A port of the system's own choosing may belong to somebody else as soon as its owner is killed.
    """
    while True:
        port = random.choice(_PORTS)  # noqa: S311 (no secret)
        with socket.socket() as trying:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                trying.bind(("127.0.0.1", port))
                return port


def package() -> Path:
    """Return the folder of the Salesforce package that ships with us."""
    return Path(str(files("connectors.salesforce") / "package"))
