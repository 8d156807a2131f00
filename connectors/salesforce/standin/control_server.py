"""The control address: plain HTTP on loopback, for whoever tests against the org. Not part of Salesforce.

| call | does |
|---|---|
| `POST /faults` | arms one fault (an object) or several (a list), see `faults.py` |
| `GET /faults` · `DELETE /faults` | what is armed, with `seen` and `struck` · disarms all |
| `GET /journal?after=n` · `DELETE /journal` | the requests above number n, with counters · forgets them |
| `GET /settings` · `PATCH /settings` | latency, quota, instance URL and the rest, see `settings.py` |
| `POST /sessions/expire` | ends every session |
| `POST /reset` | faults, journal and settings as at the start; `{"rows": true}` empties the objects too |
| `GET /rows` | how many records each custom object holds |
| `GET /rows/<object>?after=n` | a thousand records above number n as they are stored, and `next` |
| `PATCH /rows/<object>?field=F&value=V` | changes those records past every rule, as an almighty admin might |
| `DELETE /rows/<object>?field=F&value=V` | deletes those records |
"""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from connectors.salesforce.standin.faults import FaultError, Faults
from connectors.salesforce.standin.journal import Journal
from connectors.salesforce.standin.rows import Rows
from connectors.salesforce.standin.schema import ObjectType, Schema
from connectors.salesforce.standin.sessions import Sessions
from connectors.salesforce.standin.settings import SettingError, Settings

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class _Call:
    """What a call names after its first word, asks, and gives."""

    name: str
    params: dict[str, str]
    given: Any


class ControlServer(ThreadingHTTPServer):
    """Serves the control address until it is closed."""

    daemon_threads = False  # so that closing waits for the last answer

    def __init__(
        self,
        address: tuple[str, int],
        schema: Schema,
        rows: Rows,
        faults: Faults,
        journal: Journal,
        settings: Settings,
        sessions: Sessions,
    ) -> None:
        self.schema = schema
        self.rows = rows
        self.faults = faults
        self.journal = journal
        self.settings = settings
        self.sessions = sessions
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: ControlServer
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name it has in the base class
        """Whoever asked knows."""

    def _serve(self) -> None:
        uri = urlsplit(self.path)
        _, first, *others = [*uri.path.split("/"), ""][:3]
        status = 200
        content: object = {}
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            call = _Call(others[0], dict(parse_qsl(uri.query)), json.loads(body) if body else {})
            serve = _CALLS.get((self.command, first, bool(call.name)))
            if serve is None or (first == "sessions" and call.name != "expire"):
                status, content = 404, {"error": "there is no such call"}
            else:
                content = serve(self, call)
        except (FaultError, SettingError, ValueError, KeyError, TypeError, sqlite3.Error) as error:
            status, content = 400, {"error": str(error)}
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base class's names

    def _arm(self, call: _Call) -> object:
        wanted = call.given if isinstance(call.given, list) else [call.given]
        return {"armed": [each.id for each in self.server.faults.arm(wanted)]}

    def _faults(self, _call: _Call) -> object:
        return {"faults": self.server.faults.all()}

    def _disarm(self, _call: _Call) -> object:
        self.server.faults.disarm()
        return {}

    def _journal(self, call: _Call) -> object:
        return self.server.journal.read(int(call.params.get("after", "0")))

    def _forget(self, _call: _Call) -> object:
        self.server.journal.clear()
        return {}

    def _settings(self, _call: _Call) -> object:
        return self.server.settings.shown()

    def _change_settings(self, call: _Call) -> object:
        self.server.settings.change(call.given)
        return self.server.settings.shown()

    def _expire(self, _call: _Call) -> object:
        self.server.sessions.expire()
        return {}

    def _reset(self, call: _Call) -> object:
        if set(call.given) - {"rows"}:
            raise ValueError("reset knows `rows` only")
        self.server.faults.disarm()
        self.server.journal.clear()
        self.server.settings.reset()
        if call.given.get("rows"):
            for each in self.server.schema:
                if each.name.endswith("__c"):
                    self.server.rows.clear(each)
        return {}

    def _counts(self, _call: _Call) -> object:
        custom = [each for each in self.server.schema if each.name.endswith("__c")]
        return {"rows": {each.name: len(self.server.rows.numbers(each, '"IsDeleted" = 0', [])) for each in custom}}

    def _rows(self, call: _Call) -> object:
        kind, after = self._kind(call), int(call.params.get("after", "0"))
        numbers = self.server.rows.numbers(
            kind, '"IsDeleted" = 0 AND rowid > ?', [after], f"ORDER BY rowid LIMIT {_PAGE}"
        )
        rows = [
            {"Id": self.server.rows.id_of(kind, each.number), **each.values}
            for each in self.server.rows.get(kind, numbers)
        ]
        return {"rows": rows, "next": numbers[-1] if len(numbers) == _PAGE else None}

    def _change_rows(self, call: _Call) -> object:
        kind = self._kind(call)
        unknown = sorted(set(call.given) - set(kind.fields))
        if unknown or not call.given:
            raise ValueError(f"name fields of {kind.name} to change; unknown: {', '.join(unknown)}")
        return self._each_row(kind, call, call.given)

    def _delete_rows(self, call: _Call) -> object:
        return self._each_row(self._kind(call), call, {"IsDeleted": 1})

    def _each_row(self, kind: ObjectType, call: _Call, changes: dict[str, Any]) -> object:
        field = kind.fields[call.params["field"]]
        with self.server.rows.transaction():
            found = self.server.rows.find(kind, field, [call.params["value"]])
            self.server.rows.update(kind, [(each.number, changes) for each in found], by=self.server.rows.admin_id)
        return {"rows": len(found)}

    def _kind(self, call: _Call) -> ObjectType:
        kind = self.server.schema.object(call.name)
        if kind is None:
            raise ValueError(f"the package has no object {call.name}")
        return kind


_Serve = Callable[[_Handler, _Call], object]
#: (method, first part, whether one follows) → what answers it.
_CALLS: dict[tuple[str, str, bool], _Serve] = {
    ("POST", "faults", False): _Handler._arm,
    ("GET", "faults", False): _Handler._faults,
    ("DELETE", "faults", False): _Handler._disarm,
    ("GET", "journal", False): _Handler._journal,
    ("DELETE", "journal", False): _Handler._forget,
    ("GET", "settings", False): _Handler._settings,
    ("PATCH", "settings", False): _Handler._change_settings,
    ("POST", "sessions", True): _Handler._expire,
    ("POST", "reset", False): _Handler._reset,
    ("GET", "rows", False): _Handler._counts,
    ("GET", "rows", True): _Handler._rows,
    ("PATCH", "rows", True): _Handler._change_rows,
    ("DELETE", "rows", True): _Handler._delete_rows,
}
