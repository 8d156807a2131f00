"""Logs: nothing personal and nothing secret gets out, whoever wrote the line."""

import io
import json
import logging
import warnings

import pytest
import structlog

from connectors.portal.protocol import ShapeError, read_batch
from jobs.logs import configure_logs

CANARIES = (
    "+14045550123",
    "%2B14045550123",
    "14045550123",
    "(404) 555-0123",
    "Zanzibar Quill",
    "meet me at nine",
    "hunter2",
)


@pytest.fixture
def lines():
    stream = io.StringIO()
    kept = structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level, warnings.filters[:]
    configure_logs("debug", stream)

    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    structlog.configure(**kept[0])
    logging.getLogger().handlers[:] = kept[1]
    logging.getLogger().setLevel(kept[2])
    logging.captureWarnings(False)
    warnings.filters[:] = kept[3]


def clean(lines):
    text = json.dumps(lines, ensure_ascii=False)
    return not [canary for canary in CANARIES if canary in text]


def test_a_personal_or_secret_key_is_blanked_at_any_depth(lines):
    structlog.get_logger().info(
        "message.accepted",
        contact="+14045550123",
        text="meet me at nine",
        held=[{"employee_name": "Zanzibar Quill", "values": {"a": "meet me at nine"}}],
        settings={"client_secret": "hunter2"},
        entry="acme-000000048211",
        count=3,
    )

    [line] = lines()
    assert clean([line])
    assert (line["event"], line["entry"], line["count"], line["level"]) == (
        "message.accepted",
        "acme-000000048211",
        3,
        "info",
    )


def test_a_number_inside_any_string_is_blanked(lines):
    for canary in CANARIES[:4]:
        structlog.get_logger().warning("batch.failed", advice=f"row for {canary} failed", path=f"/v1?x={canary}")

    assert clean(lines())


def test_a_library_that_logs_what_it_was_given_is_blanked(lines):
    logging.getLogger("some.library").warning("sent %s to %s", "a text", "+14045550123")

    [line] = lines()
    assert clean([line])
    assert line["logger"] == "some.library"


def test_a_traceback_shows_neither_local_variables_nor_foreign_messages(lines):
    def deep(text, secret="hunter2"):
        name = "Zanzibar Quill"
        return int(text) + len(name)

    try:
        try:
            deep("meet me at nine")
        except ValueError as error:
            raise KeyError("Zanzibar Quill") from error
    except KeyError:
        structlog.get_logger().exception("delivery.failed", destination="archive")

    [line] = lines()
    assert clean([line])
    assert [stack["exc_type"] for stack in line["exception"]] == ["KeyError", "ValueError"]
    assert "test_logs.py" in line["exception"][1]["frames"][-1]


def test_our_own_words_stay_in_a_traceback(lines):
    try:
        read_batch(b"{")
    except ShapeError:
        logging.getLogger("uvicorn.error").exception("failed")

    assert lines()[0]["exception"][0]["exc_value"] == "the body isn't JSON"


def test_access_lines_are_not_written(lines):
    logging.getLogger("uvicorn.access").info("GET /v1/consent?contact=%2B14045550123 200")

    assert lines() == []
