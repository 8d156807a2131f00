"""Starting and stopping the stand-in inside a process."""

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from connectors.salesforce.standin.certificates import Client, make_client, make_server_certificate
from connectors.salesforce.standin.control import Control
from connectors.salesforce.standin.control_server import ControlServer
from connectors.salesforce.standin.faults import Faults
from connectors.salesforce.standin.journal import Journal
from connectors.salesforce.standin.org import Org, log
from connectors.salesforce.standin.rows import Rows
from connectors.salesforce.standin.schema import load_schema
from connectors.salesforce.standin.server import Server
from connectors.salesforce.standin.settings import Settings


@dataclass(frozen=True, slots=True)
class Address:
    """Where a stand-in is, and what its client needs; also the content of the ready file."""

    url: str
    control_url: str
    pid: int
    ca_file: str
    client_id: str
    username: str
    #: Files with the demo client's secret and private key; not there where the client was given.
    client_secret_file: str
    private_key_file: str


class StandIn:
    """An org on this machine: `with StandIn(package=…, state=…) as org: org.url, org.control`."""

    def __init__(
        self,
        *,
        package: Path,
        state: Path,
        port: int | None = None,
        control_port: int | None = None,
        client: Client | None = None,
    ) -> None:
        """Make one for an SFDX package, with a folder that keeps its records, certificates and ports.

        Ports: a number; 0 for any free one; None for the one of the last start in this folder, or any free one.
        `client` is who may log in; by default the folder's own, see `certificates.py`.
        """
        self._package = package
        self._state = state
        self._port = port
        self._control_port = control_port
        self._client = client
        self._threads: list[threading.Thread] = []
        self._rows: Rows
        self._server: Server
        self._control_server: ControlServer
        self.address: Address
        self.control: Control

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def ca_file(self) -> Path:
        return self._state / "ca.pem"

    def start(self) -> Self:
        """Listen; returns when it answers.

        Raises: SchemaError for a package that can't be served; OSError where a port is taken.
        """
        schema = load_schema(self._package)
        self._state.mkdir(parents=True, exist_ok=True)
        make_server_certificate(self._state)
        client = self._client or make_client(self._state)
        faults, journal, settings = Faults(), Journal(), Settings()
        self._rows = Rows(self._state / "org.sqlite3", schema)
        try:
            org = Org(schema, self._rows, client, faults, settings)
            ports = _read_ports(self._state / "ports.json")
            port = ports.get("port", 0) if self._port is None else self._port
            control_port = ports.get("control_port", 0) if self._control_port is None else self._control_port
            self._server = Server(("127.0.0.1", port), self._state, org, faults, journal, settings)
            try:
                self._control_server = ControlServer(
                    ("127.0.0.1", control_port), schema, self._rows, faults, journal, settings, org.sessions
                )
            except OSError:
                self._server.server_close()
                raise
        except OSError:
            self._rows.close()
            raise
        self.address = self._address(client)
        self.control = Control(self._control_server.url)
        ports = {"port": self._server.server_address[1], "control_port": self._control_server.server_port}
        write_whole(self._state / "ports.json", json.dumps(ports))
        for server in (self._server, self._control_server):
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            self._threads.append(thread)
        log("standin.started", url=self.address.url, control=self.address.control_url, objects=len(schema.objects))
        return self

    def stop(self) -> None:
        """Cut every connection and close; what was committed stays in the folder."""
        self._server.stop()
        self._control_server.shutdown()
        self._control_server.server_close()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._rows.close()
        log("standin.stopped")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _address(self, client: Client) -> Address:
        own = self._client is None
        return Address(
            url=self._server.url,
            control_url=self._control_server.url,
            pid=os.getpid(),
            ca_file=str(self.ca_file),
            client_id=client.client_id,
            username=client.username,
            client_secret_file=str(self._state / "client-secret.txt") if own else "",
            private_key_file=str(self._state / "client-key.pem") if own else "",
        )


def write_whole(file: Path, text: str) -> None:
    """Write a file that nobody sees half of."""
    draft = file.with_name(file.name + ".new")
    draft.write_text(text)
    draft.replace(file)


def write_ready_file(file: Path, address: Address) -> None:
    """Say in a file that the stand-in answers, and where."""
    write_whole(file, json.dumps(asdict(address)))


def _read_ports(file: Path) -> dict[str, int]:
    return {str(name): int(port) for name, port in json.loads(file.read_text()).items()} if file.exists() else {}
