"""The client end: push entries to a portal in signed batches, and read back what it holds."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TypeVar, assert_never

import requests
from requests.adapters import HTTPAdapter
from tenacity import Retrying, retry_if_exception, sleep_using_event, stop_after_attempt, stop_when_event_set
from tenacity.wait import wait_random_exponential

from connectors.portal import protocol
from connectors.portal.errors import NotTakenError, passes_soon, strange, translate
from connectors.portal.protocol import MAX_BYTES, Range, Result, ShapeError, Status
from connectors.portal.reading import REASONS, REJECTED
from consent.canonical import parse_entry_id
from consent.entry import entry_json
from consent.kinds import SYSTEM, Lane
from sync.port import (
    Batch,
    Capacity,
    Finding,
    Held,
    Outcome,
    Receipt,
    Refusal,
    Statement,
    SuspendedError,
    TransientError,
)

#: Bytes of an answer that are read at most; a page of `/v1/held` has about a third of a megabyte.
_ANSWER_LIMIT = 4 * 1024 * 1024
_T = TypeVar("_T")
_LOOPBACK = ("http://127.0.0.1", "http://localhost", "http://[::1]")


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """Where a portal is and how to speak to it; times in seconds."""

    #: The base of the protocol's paths: `http://127.0.0.1:8080/portal` for the portal of `assent serve`.
    url: str
    #: Every request is signed with each of them: a new one goes to the portal first, then here.
    secrets: tuple[str, ...] = field(repr=False)
    ca_bundle: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    #: Tries inside one push, and the longest wait between two of them: seconds, not minutes.
    attempts: int = 3
    longest_wait: float = 2.0


class PortalConnector:
    """Carries entries to a portal, ours or another company's that speaks the protocol of README.md."""

    def __init__(self, settings: PortalSettings) -> None:
        self._base = settings.url.rstrip("/")
        self._secrets = tuple(protocol.read_secret(secret) for secret in settings.secrets)
        if not self._secrets:
            raise ValueError("a portal needs a secret")
        self._timeout = (settings.connect_timeout, settings.read_timeout)
        self._session = _session(settings.ca_bundle)
        self._shut = threading.Event()
        self._attempts, self._longest_wait = settings.attempts, settings.longest_wait

    @property
    def capacity(self) -> Capacity:
        """500 entries a push, two on the way: one is stored while the next is put together."""
        return Capacity(batch=500, in_flight=2)

    def push(self, batch: Batch) -> Sequence[Outcome]:
        """Bring a batch there; a portal that takes less at a time gets it in halves."""
        documents = [entry_json(entry) for entry in batch.entries]
        return self._push(batch, documents, 0, len(documents)) if documents else []

    def find(self, organization: str, lane: str, first: int, last: int) -> Iterator[Held]:
        """Read back what the portal holds between two positions, a page at a time."""
        at: int | None = first
        while at is not None:
            body = protocol.held_request(Range(organization, lane, at, last))
            page, following = _parse(protocol.read_held, self._ask(protocol.HELD, body))
            for entry_id, pos, digest in page:
                yield Held(organization, parse_entry_id(entry_id)[1], lane, pos, entry_id, digest)
            if following is not None and following <= at:
                raise strange()  # it would go round for ever
            at = following

    def check(self) -> Sequence[Finding]:
        """Ask a signed question that any portal can answer."""
        private = self._base.startswith("https://") or self._base.startswith(_LOOPBACK)
        advice = "" if private else "texts and numbers would travel in the clear: use an https:// url"
        transport = Finding("transport", private, advice)
        try:
            body = protocol.held_request(Range(SYSTEM, Lane.AUDIT, 0, 0))
            _parse(protocol.read_held, self._ask(protocol.HELD, body))
        except (TransientError, SuspendedError, NotTakenError) as error:
            return [transport, Finding("portal", ok=False, advice=error.advice)]
        return [transport, Finding("portal", ok=True)]

    def close(self, statement: Statement) -> None:
        """Tell the portal how far the ledger is, so that it can say by itself whether it holds all."""
        try:
            self._ask(protocol.HEADS, protocol.head_request(statement))
        except NotTakenError as error:
            raise SuspendedError(error.code, error.advice) from error

    def shut(self) -> None:
        """Let go of connections, and of waiting between tries."""
        self._shut.set()
        self._session.close()

    def _push(self, batch: Batch, documents: Sequence[bytes], start: int, end: int) -> list[Outcome]:
        """Push the entries from `start` up to `end`."""
        try:
            results = self._send(batch.organization, batch.lane, documents[start:end])
        except NotTakenError as error:
            # Too much at once, or one entry that spoils the batch for the others: halve until it is alone.
            if end - start == 1:
                return [Refusal(error.code, error.advice)]
            middle = (start + end) // 2
            taken = self._push(batch, documents, start, middle)
            if len(taken) < middle - start:
                return taken
            return taken + self._push(batch, documents, middle, end)
        entries = batch.entries[start:end]
        if not results or [result.id for result in results] != [entry.id for entry in entries[: len(results)]]:
            raise strange()
        return [
            _outcome(result, protocol.document_digest(told))
            for result, told in zip(results, documents[start:end], strict=False)
        ]

    def _send(self, organization: str, lane: str, documents: Sequence[bytes]) -> list[Result]:
        size = sum(map(len, documents)) + len(documents) + 256
        if len(documents) > protocol.MAX_ENTRIES or size > MAX_BYTES:
            raise NotTakenError("too_large", "this entry alone is larger than a portal takes")
        body = protocol.batch_request(organization, lane, documents)
        return _parse(protocol.read_results, self._ask(protocol.BATCHES, body))

    def _ask(self, path: str, body: bytes) -> bytes:
        """Post a signed body and return the answer's, riding out a few seconds of trouble."""
        for attempt in Retrying(
            retry=retry_if_exception(passes_soon),
            stop=stop_after_attempt(self._attempts) | stop_when_event_set(self._shut),
            wait=wait_random_exponential(multiplier=0.1, max=self._longest_wait),
            sleep=sleep_using_event(self._shut),
            reraise=True,
        ):
            with attempt:
                return self._post(path, body)
        raise AssertionError("tenacity gives an answer or an error")

    def _post(self, path: str, body: bytes) -> bytes:
        headers = protocol.sign(self._secrets, body, time.time())
        try:
            with self._session.post(
                self._base + path, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
            ) as response:
                answer = self._receive(response)
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                advice = "the portal's certificate isn't trusted: check `url` and `ca_bundle`"
                raise SuspendedError("certificate", advice) from error
            raise TransientError("unreachable", "the secured connection to the portal broke") from error
        except requests.Timeout as error:
            raise TransientError("timeout", "the portal doesn't answer in time") from error
        except requests.exceptions.InvalidURL as error:
            raise SuspendedError("wrong_url", "`url` of this destination isn't a web address") from error
        except requests.RequestException as error:
            raise TransientError("unreachable", "the portal can't be reached, or cut the connection") from error
        if response.status_code != 200:
            raise translate(response.status_code, response.headers, answer)
        return answer

    def _receive(self, response: requests.Response) -> bytes:
        """Read an answer whose size and time are bounded: a portal that drips holds up its own entries only."""
        until, answer = time.monotonic() + self._timeout[1], bytearray()
        for chunk in response.iter_content(65_536):
            answer += chunk
            if len(answer) > _ANSWER_LIMIT:
                raise strange()
            if time.monotonic() > until:
                raise TransientError("timeout", "the portal doesn't answer in time")
        return bytes(answer)


def _session(ca_bundle: str | None) -> requests.Session:
    session = requests.Session()
    # Proxies, certificates and passwords come from the settings alone, never from the environment or ~/.netrc.
    session.trust_env = False
    session.verify = ca_bundle or True
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=2, pool_maxsize=8))
    return session


def _parse(reader: Callable[[bytes], _T], answer: bytes) -> _T:
    try:
        return reader(answer)
    except ShapeError as error:
        raise strange() from error


def _outcome(result: Result, ours: bytes) -> Outcome:
    match result.status:
        case Status.STORED | Status.DUPLICATE if result.digest == ours:
            return Receipt(result.id, ours)
        case Status.STORED | Status.DUPLICATE:
            return Refusal(
                "altered", "the portal holds this entry in another form than the ledger: run `assent reconcile`"
            )
        case Status.CONFLICT:
            return Refusal("tamper", "the portal holds another entry under this id: run `assent verify --ledger`")
        case Status.INVALID:
            code = result.reason or "rejected"
            return Refusal(code, REASONS[code]) if code in REASONS else Refusal("rejected", REJECTED)
        case _:
            assert_never(result.status)
