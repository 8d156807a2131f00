"""`assent serve` as a process: it starts, delivers what comes in, and finishes what is at work when it is stopped."""

import json
import signal
import socket
from contextlib import contextmanager

import pytest
import requests

TOKEN = "a-token-of-enough-letters"


@contextmanager
def serving(place, *options):
    running = place.start("serve", "--port", "0", *options, ASSENT_SERVER__TOKEN=TOKEN)
    try:
        url = None
        while url is None:
            line = running.stderr.readline()
            assert line, "it ended before it served"
            url = json.loads(line).get("url")
        yield running, url
    finally:
        running.kill()
        running.communicate()


def post(url, message):
    return requests.post(
        f"{url}/v1/messages", json=message, headers={"authorization": f"Bearer {TOKEN}"}, timeout=20
    )  # fmt: skip


def test_what_is_received_is_in_the_archive_and_sigterm_ends_it_in_order(acme, text):
    with serving(acme) as (running, url):
        stopped = post(url, text("STOP")).json()
        assert requests.get(f"{url}/readyz", timeout=20).status_code == 200
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=30)

    assert running.returncode == 143
    assert [json.loads(line)["event"] for line in err.splitlines()][-1] == "server.stopped"
    assert "+14045550123" not in err
    synced, verified = acme.run_all(("sync", "--json"), ("verify", "--ledger", "--archive", "var/archive"))
    assert (synced.code, verified.code) == (0, 0)
    segment = acme.folder / "var/archive/acme/consent/000000000000.segment.jsonl"
    assert stopped["entries"][1] in segment.read_text()


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
                except ConnectionRefusedError:
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


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "assent init"),
        ({"ASSENT_SERVER__TOKEN": TOKEN, "ASSENT_SERVER__HOST": "192.0.2.1"}, "can't be listened on"),
    ],
)
def test_a_server_that_cannot_start_says_why_and_ends_4(acme, environ, told):
    ended = acme.run("serve", "--port", "0", **environ)

    assert ended.code == 4
    assert told in ended.err
