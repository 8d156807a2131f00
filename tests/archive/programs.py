"""Where the servers are that tests run against: unpacked by `tests/system-packages`, or installed on the machine."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

_HERE = Path(__file__).parents[2]
_ADVICE = (
    "run `tests/system-packages` (`make test` does), or install Debian's openssh-server, radosgw, ceph-mon, ceph-osd, "
    "libfaketime"
)


class Programs:
    """The unpacked programs and what they need around them, then those on the machine."""

    def __init__(self) -> None:
        root = Path(os.environ.get("TEST_SERVERS") or _HERE / ".venv/servers").absolute() / "root"
        libraries = [*root.glob("usr/lib/*-linux-gnu"), *Path("/usr/lib").glob("*-linux-gnu")]
        self._libraries = libraries
        #: Where the first of them keep what they load while they run.
        self.libraries = libraries[0] if libraries else Path("/usr/lib")
        self._path = os.pathsep.join(
            [*(str(root / place) for place in ("usr/sbin", "usr/bin", "sbin", "bin")),
             os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
        )  # fmt: skip
        loaded = [self.libraries, self.libraries / "ceph", root / "usr/lib/ceph", root / f"lib/{self.libraries.name}"]
        self.environment = os.environ | {
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, loaded)),
            "PYTHONPATH": str(root / "usr/lib/python3/dist-packages"),
            "PATH": self._path,
        }

    def library(self, name: str) -> str:
        """Return the path of a library, below where libraries are; the test fails with what to install."""
        for folder in self._libraries:
            if (folder / name).exists():
                return str(folder / name)
        pytest.fail(f"{name} isn't on this machine: {_ADVICE}", pytrace=False)

    def find(self, name: str) -> str:
        """Return a program's path; the test fails with what to install where there is none."""
        found = shutil.which(name, path=self._path)
        if found is None:
            pytest.fail(f"{name} isn't on this machine: {_ADVICE}", pytrace=False)
        return found


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Return once something listens there."""
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, f"the server ended with {process.returncode}"
            assert time.monotonic() < until, "the server doesn't listen"
            time.sleep(0.05)
        else:
            return
