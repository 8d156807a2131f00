"""Answers that no document describes, as a proxy, an edge or a bug of Salesforce's might give them."""

import json
import ssl
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from connectors.salesforce.standin.certificates import make_server_certificate
from sync.port import Delay, Refusal, SuspendedError, TransientError

ID = "a0X000000000001AAA"
TAKEN = {"id": ID, "success": True, "errors": [], "created": True}
QUOTED = "Ann Lee +14045550123"


class StrangeOrg(ThreadingHTTPServer):
    """Takes every login, and answers every call with what it is told to."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        make_server_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server_port}"
        self.ca_file = str(folder / "ca.pem")
        self.status, self.headers, self.content, self.calls = 200, {}, b"", 0

    def answers(self, content, status=200, **headers):
        self.content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self._say(200, {}, json.dumps({"access_token": "token", "instance_url": self.server.url}).encode())

    def do_PATCH(self):
        self.server.calls += 1
        self._say(self.server.status, self.server.headers, self.server.content)

    do_GET = do_PATCH

    def _say(self, status, headers, content):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    org = StrangeOrg(tmp_path_factory.mktemp("strange"))
    serving = threading.Thread(target=org.serve_forever)
    serving.start()
    yield org
    org.shutdown()
    serving.join()
    org.server_close()


@pytest.fixture
def brought(strange, connect, make_entries, batch_of):
    """Push two entries, and return how that ended."""

    def bring():
        return connect(login_url=strange.url, ca_bundle=strange.ca_file).push(batch_of(make_entries(["a", "b"])))

    return bring


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"{}", b"[]", b"7", b'"ok"', b"<html>ok</html>", b"[" * 3_000, b'[{"id":"a0X', b"\xff\xfe[]",
        [TAKEN], [TAKEN] * 3, [TAKEN, None], [TAKEN, [TAKEN]], [TAKEN, {**TAKEN, "id": None}],
        [TAKEN, {**TAKEN, "id": QUOTED}], [TAKEN, {"success": True}], [TAKEN, {**TAKEN, "success": "true"}],
        {"hasErrors": False, "results": [TAKEN, TAKEN]},
        [TAKEN, {"success": False, "errors": None}], [TAKEN, {"success": False, "errors": 7}],
        [TAKEN, {"success": False, "errors": [QUOTED]}], [TAKEN, {"success": False, "errors": {"a": QUOTED}}],
        [TAKEN, {"success": False, "errors": [{"statusCode": None, "message": None}]}],
        [TAKEN, {"success": False, "errors": [{"statusCode": QUOTED, "message": [QUOTED]}]}],
    ],
)  # fmt: skip
def test_an_answer_that_is_none_settles_nothing_but_what_it_names_and_is_asked_for_again(strange, brought, content):
    strange.answers(content)

    try:
        first, second = brought()
    except TransientError as error:
        said = str(error)
    else:
        assert (first.remote_id, type(second)) in [(ID, Delay), (ID, Refusal)]
        said = repr(second)

    assert not [word for word in QUOTED.split() if word in said]


@pytest.mark.parametrize("content", [b"", b"7", [7], [[]], [{"errorCode": 7, "message": {}}], {"errorCode": QUOTED}])
@pytest.mark.parametrize("status", [204, 302, 401, 599])
def test_a_status_with_a_strange_page_is_an_ending_that_quotes_nobody(strange, brought, content, status):
    strange.answers(content, status)

    try:
        said = repr(brought())
        assert "Receipt" not in said
    except (TransientError, SuspendedError) as error:
        said = "".join(traceback.format_exception(error))

    assert not [word for word in QUOTED.split() if word in said]


@pytest.mark.parametrize(
    "header",
    ["9" * 400, "99999999999999", "Fri, 31 Dec 9999 23:59:59 -1400", "Mon, 01 Jan 0001 00:00:00 +1400", "0"],
)
def test_a_spent_quota_is_waited_out_for_minutes_and_never_for_more_than_an_hour_whatever_an_answer_says(
    strange, brought, header
):
    spent = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
    strange.answers(spent, 403, Retry_After=header)

    with pytest.raises(SuspendedError) as caught:
        brought()

    assert 50 <= caught.value.until / 1_000_000 - time.time() <= 3_600


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", {"records": []}, {"records": 7, "done": True}, {"records": [7], "done": True},
        {"records": [{}], "done": True}, {"records": [{"Pos__c": None}], "done": True},
        {"records": [{"Pos__c": QUOTED}], "done": True}, {"records": [], "done": False, "nextRecordsUrl": None},
        {"records": [], "done": False, "nextRecordsUrl": "/services/data/v62.0/query/01gD-2000"},
    ],
)  # fmt: skip
def test_what_is_no_page_of_records_ends_a_reading_and_is_asked_for_again(strange, connect, content):
    strange.answers(content)
    connector = connect(login_url=strange.url, ca_bundle=strange.ca_file)

    with pytest.raises(TransientError) as caught:
        list(connector.find("acme", "consent", 0, 5))

    assert caught.value.code == "unreadable_answer"
    assert not [word for word in QUOTED.split() if word in "".join(traceback.format_exception(caught.value))]
