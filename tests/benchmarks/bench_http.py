"""`POST /v1/messages` over 64 connections, beside an empty endpoint of the same framework."""

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import orjson

from tests.benchmarks.bench_server import serving
from tests.benchmarks.bench_world import Result, Scale, Store, conversations, middle, percentile


def http(store: Store, scale: Scale) -> Iterator[Result]:
    """Post the mix, one text a request, in turns with requests that nobody reads."""
    ours, empty, tails = [], [], []
    token = secrets.token_urlsafe()
    talks = conversations(scale.requests // 6)
    shares = [list(chain.from_iterable(talks[at :: scale.callers])) for at in range(scale.callers)]
    for _ in range(scale.rounds):
        with store.fresh() as database, serving("api", database.url, token) as url:
            rate, latencies = asyncio.run(_post_all(url, token, shares))
        ours.append(rate)
        tails.append(percentile(latencies, 0.99) * 1000)
        with serving("empty", "") as url:
            empty.append(asyncio.run(_post_all(url, token, shares))[0])
    share = middle([one / other for one, other in zip(ours, empty, strict=True)])
    subject = f"POST /v1/messages, {scale.callers} connections, {store.name}"
    yield Result(f"{subject}: an empty endpoint", f"{middle(ours):,.0f}/s", f"{middle(empty):,.0f}/s", share, "×", 0.3)
    yield Result(f"{subject}: p99", "", "", middle(tails), "ms", 100, at_most=True)


async def _post_all(url: str, token: str, shares: Sequence[Sequence[dict[str, Any]]]) -> tuple[float, list[float]]:
    host, port = url.removeprefix("http://").split(":")
    latencies: list[float] = []

    async def post(texts: Sequence[dict[str, Any]]) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for text in texts:
            body = orjson.dumps(text)
            started = time.perf_counter()
            writer.write(
                b"POST /v1/messages HTTP/1.1\r\nhost: assent\r\nauthorization: Bearer %b\r\n"
                b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (token.encode(), len(body), body)
            )
            status, length = await _head(reader)
            answer = await reader.readexactly(length)
            latencies.append(time.perf_counter() - started)
            if status != 200:
                raise RuntimeError(f"a text was answered with {status}: {answer.decode()}")
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(post(texts[:1]) for texts in shares))  # what is done once is done
    latencies.clear()
    started = time.perf_counter()
    await asyncio.gather(*(post(texts[1:]) for texts in shares))
    return len(latencies) / (time.perf_counter() - started), latencies


async def _head(reader: asyncio.StreamReader) -> tuple[int, int]:
    """Read an answer's head; return its status, and the length of what follows."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return int(head[9:12]), int(length)
