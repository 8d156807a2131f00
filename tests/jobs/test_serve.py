"""`assent serve` as a process: it finishes what is at work when it is stopped."""

import json
import signal
import socket
import time
from contextlib import contextmanager
from itertools import pairwise

import pytest
import requests

TOKEN = "a-token-of-enough-letters"


def lines_until(running, event):
    """Return the log line of an event that comes."""
    while True:
        line = running.stderr.readline()
        assert line, "it ended before that"
        told = json.loads(line)
        if told["event"] == event:
            return told


@contextmanager
def serving(place, *options, **environ):
    running = place.start("serve", "--port", "0", *options, ASSENT_SERVER__TOKEN=TOKEN, **environ)
    try:
        yield running, lines_until(running, "server.started")["url"]
    finally:
        running.kill()
        running.communicate()


def test_a_request_at_work_is_answered_before_it_stops(acme, text):
    body = json.dumps(text("STOP")).encode()
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with serving(acme, "--no-jobs") as (running, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as caller:
            caller.sendall(head + body[:20])
            assert requests.get(f"{url}/livez", timeout=20).status_code == 200
            running.send_signal(signal.SIGTERM)
            while True:  # until nobody else is let in
                try:
                    socket.create_connection((host, int(port)), timeout=20).close()
                except ConnectionError:  # refused, or reset where it stood in the backlog as the door closed
                    break
            caller.sendall(body[20:])
            answer = b""
            while data := caller.recv(65536):
                answer += data
        running.communicate(timeout=30)

    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"state":"opted_out"' in answer
    assert running.returncode == 143
    assert acme.run("verify").code == 0


#: What a process loads first: as `serve` begins, a signal comes where no exception can go on, as in an import's end.
_SIGNAL_IN_A_CALLBACK = """
import os, sys, weakref

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "jobs.serve":
            here = Finder()
            reference = weakref.ref(here, self.callback)
            del here
            sys.stderr.write('{"event": "struck"}\\n')

    def callback(self, _reference):
        os.kill(os.getpid(), int(os.environ["STRIKES"]))
        for _ in range(100):
            pass

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(("strikes", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_comes_where_no_exception_can_go_on_still_ends_it(acme, tmp_path, strikes, code):
    (tmp_path / "sitecustomize.py").write_text(_SIGNAL_IN_A_CALLBACK)
    running = acme.start(
        "serve", "--no-jobs", "--port", "0", ASSENT_SERVER__TOKEN=TOKEN, PYTHONPATH=str(tmp_path),
        STRIKES=str(int(strikes)),
    )  # fmt: skip
    try:
        _, told = running.communicate(timeout=30)
    finally:
        running.kill()

    assert '{"event": "struck"}' in told
    assert "Exception ignored" not in told
    assert running.returncode == code


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez?",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-One: ",
        b"GET /livez HTTP/1.1\r\nHost: x" + 3_000 * b"\r\nX-One: 1" + b"\r\nX-Last: ",
    ],
    ids=["address", "header's name", "header", "many headers"],
)
def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory(acme, head):
    with serving(acme, "--no-jobs") as (_, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as caller:
            caller.sendall(head.ljust(65_537, b"x"))
            refused = b"".join(iter(lambda: caller.recv(65_536), b""))
        fits = requests.get(f"{url}/livez", headers={"X-One": 60_000 * "x"}, timeout=20)

    assert refused.startswith(b"HTTP/1.1 400")
    assert fits.status_code == 200


def test_a_body_has_no_limit_but_its_own_however_small_its_parts(acme, text):
    body = json.dumps(text("STOP")).encode() + 80_000 * b" "
    with serving(acme, "--no-jobs") as (_, url):
        parts = (body[at : at + 1_000] for at in range(0, len(body), 1_000))
        answer = requests.post(
            f"{url}/v1/messages", data=parts, headers={"authorization": f"Bearer {TOKEN}"}, timeout=20
        )

    assert answer.status_code == 200


OFFERS = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
]
POST = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_a_request_that_offers_another_protocol_is_taken_with_its_body_and_as_one(acme, text):
    body = json.dumps(text("STOP")).encode()
    whole = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    hidden = b"Content-Length: %d\r\n\r\n%b" % (len(LAST), LAST)
    with serving(acme, "--no-jobs") as (_, url):
        for offer in OFFERS:
            last = 0 if b"close" in offer else 1
            for rest in (whole, chunked):
                asked = POST + offer + rest + LAST
                for cuts in ((), (90, 350), (len(POST + offer + rest) - len(body),)):
                    answers = spoken(url, asked, cuts)
                    assert answers.startswith(b"HTTP/1.1 200")
                    assert (answers.count(b'"verdict"'), answers.count(b"alive")) == (1, last)
            head = len(POST + offer + hidden) - len(LAST)
            refused = spoken(url, POST + offer + hidden + LAST, [head])
            assert refused.startswith(b"HTTP/1.1 400")
            assert refused.count(b"alive") == last
            tunnel = spoken(url, b"CONNECT /livez HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n")
            assert tunnel.startswith(b"HTTP/1.1 405")


def test_who_hangs_up_in_the_middle_of_a_body_leaves_a_line_in_the_log_and_nothing_else(acme, text):
    body = json.dumps(text("STOP")).encode()
    with serving(acme, "--no-jobs") as (running, url):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as caller:
            caller.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-1])
        told = lines_until(running, "request.cut")
        running.send_signal(signal.SIGTERM)
        rest = running.communicate(timeout=30)[1]

    assert told["level"] == "info"
    assert '"error"' not in rest
    assert acme.run("export", "--format", "jsonl", "-o", "-", "--kind", "message").out == ""


def spoken(url, asked, cuts=()):
    """Return all that a server says to bytes that come in segments, cut at these places."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as caller:
        for first, end in pairwise([0, *cuts, len(asked)]):
            caller.sendall(asked[first:end])
            time.sleep(0.05 if cuts else 0)
        return b"".join(iter(lambda: caller.recv(65_536), b""))


def test_a_fresh_server_lets_its_first_user_in_by_the_link_that_it_told(acme):
    with serving(acme, "--no-jobs") as (running, url):
        link = json.loads(running.stderr.readline())["link"]
        session = requests.Session()
        same = {"sec-fetch-site": "same-origin"}
        chosen = {"login": "ann@bank.example", "name": "Ann Lee", "password": "four quite ordinary words",
                  "again": "four quite ordinary words"}  # fmt: skip

        asked = session.get(link, timeout=20)
        entered = session.post(link, data=chosen, headers=same, timeout=20)
        again = requests.post(link, data=chosen, headers=same, timeout=20)
        signed_in = session.get(f"{url}/portal/", timeout=20)
        session.close()

    assert (asked.status_code, entered.status_code, again.status_code, signed_in.status_code) == (200, 200, 410, 200)
    assert entered.url == signed_in.url
    assert "/sign-in" not in signed_in.url
    [user] = acme.run("user", "list", "--json").lines
    assert (user["login"], user["roles"]) == ("ann@bank.example", ["operations", "reports", "setup"])


def test_a_token_made_and_revoked_beside_a_running_server_holds_and_ends_there_at_once(acme):
    with serving(acme, "--no-jobs") as (_, url):
        made = acme.run("token", "create", "crm", "--scope", "entries.read", "--org", "acme", "--json").json
        headers = {"authorization": f"Bearer {made['token']}"}
        before = requests.get(f"{url}/v1/entries", headers=headers, timeout=20)
        acme.run("token", "revoke", made["id"])
        after = requests.get(f"{url}/v1/entries", headers=headers, timeout=20)
        servers_own = requests.get(
            f"{url}/v1/entries?org=acme", headers={"authorization": f"Bearer {TOKEN}"}, timeout=20
        )

    assert (before.status_code, after.status_code, servers_own.status_code) == (200, 401, 200)


def test_an_address_that_is_not_ours_is_told_with_what_to_do(acme):
    ended = acme.run("serve", "--port", "0", ASSENT_SERVER__TOKEN=TOKEN, ASSENT_SERVER__HOST="192.0.2.1")

    assert ended.code == 4
    assert "can't be listened on" in ended.err
