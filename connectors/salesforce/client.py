"""Calls to Salesforce through simple-salesforce, with errors that say what happens next.

Only `restful` of simple-salesforce carries them: its `Object.upsert()` asks again for ever when a session stays
expired, and its own logins have no timeout. A `Salesforce` object here is made for one token and never refreshes.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from connectors.salesforce.errors import Ending, Fault, understand_call, understand_record
from connectors.salesforce.gate import Gate
from connectors.salesforce.session import SalesforceSession
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.token import Token, Tokens
from connectors.salesforce.transport import failed_to_reach
from sync.port import Budget, SuspendedError, TransientError

_RECORD_ID = re.compile(r"[a-zA-Z0-9]{15}(?:[a-zA-Z0-9]{3})?")
_RECORD_IDS = re.compile(f"{_RECORD_ID.pattern}(?:,{_RECORD_ID.pattern})*")
_QUOTA_HOUR = 3600
_LEAST_WAIT = 60
_SESSION_WAIT = 900
# Seconds are ridden out here; what takes longer is sync's to wait for.
_ATTEMPTS = 3
_PATIENCE = 5.0


class RejectedError(Exception):
    """A whole call was turned down for something in it; the fault says whether halves of it may pass."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code)
        self.fault = fault


class _RefusedSessionError(SuspendedError):
    """A session that Salesforce has just opened is refused: its servers may not agree yet, or never will."""


class SalesforceClient:
    """The calls we make of one org, from any number of threads."""

    def __init__(self, settings: SalesforceSettings) -> None:
        #: Of the API, as settings name it.
        self.version = settings.api_version
        self._gate = Gate(settings.api_reserve)
        self._session = SalesforceSession(settings, self._gate.hear)
        self._tokens = Tokens(settings, self._session)
        self._bound: tuple[Token, Salesforce] | None = None

    @property
    def budget(self) -> Budget | None:
        """Today's use of the API, as the newest answer said."""
        return self._gate.budget

    @property
    def user_id(self) -> str:
        """The integration user's Salesforce id, '' where it isn't known."""
        return self._tokens.current().user_id

    def upsert(
        self, object_name: str, key: str, records: Sequence[bytes], *, urgent: bool = False
    ) -> list[str | Fault]:
        """Upsert up to 200 records of one object, each as JSON, by external id.

        Answers for each with its Salesforce id or its fault. An `urgent` call goes before all others that wait.

        One API call. Raises RejectedError where Salesforce turned the call down as a whole.
        (REST API Developer Guide, "Upsert Multiple Records with Fewer Round-Trips".)
        """
        body = b'{"allOrNone":false,"records":[%b]}' % b",".join(records)
        results = self.call(f"composite/sobjects/{object_name}/{key}", urgent=urgent, method="PATCH", data=body)
        if not isinstance(results, list) or len(results) != len(records):
            # Which answer belongs to which record can't be told: all of them are asked again.
            raise TransientError("unmatched_answer", "Salesforce answered for other records than it was sent")
        return _all_taken(results) or [_answer(result) for result in results]

    def query(self, soql: str) -> Iterator[dict[str, Any]]:
        """Yield a query's records, page by page; one API call a page."""
        page, at = self.call("query", params={"q": soql}), ""
        while True:
            records, following = _page(page)
            yield from records
            if following is None:
                return
            if following == at:
                raise TransientError("unreadable_answer", "Salesforce's answer led to itself")
            # The address is `/services/data/v62.0/query/<locator>`; the instance may be another one by now.
            page, at = self.call("query/" + following.rsplit("/", 1)[-1]), following

    def describe(self, object_name: str) -> dict[str, Any]:
        """Return what the integration user may see of an object."""
        answer = self.call(f"sobjects/{object_name}/describe", asks=True)
        return answer if isinstance(answer, dict) else {}

    def versions(self) -> list[str]:
        """Return the versions of the API that the org has, oldest first; none where it doesn't tell."""
        # One level above all other calls, and not counted as one.
        answer = self.call("..", asks=True)
        listed = answer if isinstance(answer, list) else []
        return [str(one["version"]) for one in listed if isinstance(one, dict) and "version" in one]

    def limits(self) -> dict[str, Any]:
        """Return the org's limits and what remains of them."""
        answer = self.call("limits", asks=True)
        return answer if isinstance(answer, dict) else {}

    def login(self) -> None:
        """Have a token; the errors of `call` where we get none."""
        self._tokens.current()

    def call(self, path: str, *, urgent: bool = False, asks: bool = False, **options: Any) -> Any:
        """Make one call, riding out seconds of trouble, and return its JSON.

        An `urgent` one goes before all others that wait; one that only `asks` may be of the reserve.

        Raises TransientError, SuspendedError, or RejectedError for what this very call held.
        """
        for attempt in Retrying(
            retry=retry_if_exception(_passes_soon),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            stop=stop_after_attempt(_ATTEMPTS) | stop_after_delay(_PATIENCE),
            reraise=True,
        ):
            with attempt:
                return self._call_signed_in(path, options, urgent=urgent, asks=asks)
        raise AssertionError("unreachable")

    def shut(self) -> None:
        """Let go of connections."""
        self._session.close()

    def _call_signed_in(self, path: str, options: Mapping[str, Any], *, urgent: bool, asks: bool) -> Any:
        token = self._tokens.current()
        with self._gate.call(urgent=urgent, asks=asks):
            answer = self._call_once(token, path, options)
        if isinstance(answer, Fault) and answer.ending is Ending.EXPIRED:
            token = self._tokens.renew(token)
            with self._gate.call(urgent=urgent, asks=asks):
                answer = self._call_once(token, path, options)
        if isinstance(answer, Fault):
            raise _error_of(answer, self._session.retry_after)
        return answer

    def _call_once(self, token: Token, path: str, options: Mapping[str, Any]) -> Any:
        """Return the answer's JSON, or the fault that an answer told of."""
        trouble: TransientError | SuspendedError
        # Errors are translated here and raised outside of `except`: theirs carry bodies, and bodies quote customers.
        try:
            return self._salesforce(token).restful(path, **options)
        except SalesforceError as error:
            return understand_call(error.status, error.content)
        except requests.exceptions.JSONDecodeError:
            trouble = TransientError("unreadable_answer", "Salesforce's answer was cut short or no JSON")
        except (requests.RequestException, OSError) as error:
            trouble = failed_to_reach(error)
        except (ValueError, TypeError):
            trouble = TransientError("unreadable_answer", "Salesforce's answer was cut short or no JSON")
        raise trouble

    def _salesforce(self, token: Token) -> Salesforce:
        bound = self._bound
        if bound is None or bound[0] is not token:
            salesforce = Salesforce(
                session_id=token.access_token,
                instance_url=token.instance_url,
                session=self._session,
                version=self.version,
                object_pairs_hook=None,
            )
            del salesforce.headers["X-PrettyPrint"]  # a third of each answer would be blanks
            self._bound = bound = (token, salesforce)
        return bound[1]


def suspension(fault: Fault, retry_after: float | None = None) -> SuspendedError:
    """Return the port's error for a fault that a person must mend, or that passes by itself at a time."""
    now = time.time()
    if fault.ending is Ending.EXPIRED:
        # Who lets us sign in and refuses the session has a trouble of its own, and that may pass.
        return _RefusedSessionError(fault.code, fault.advice, until=int((now + _SESSION_WAIT) * 1_000_000))
    if fault.ending is not Ending.QUOTA:
        return SuspendedError(fault.code, fault.advice)
    # The allowance is a rolling one of 24 hours; what was spent a day ago comes back by the hour.
    # Whatever an answer asks for, no STOP sleeps for longer than that, and no call is spent on asking again at once.
    if retry_after is None:
        until = (now // _QUOTA_HOUR + 1) * _QUOTA_HOUR
    else:
        until = now + min(max(retry_after, _LEAST_WAIT), _QUOTA_HOUR)
    return SuspendedError(fault.code, fault.advice, until=int(until * 1_000_000))


def _error_of(fault: Fault, retry_after: float | None) -> Exception:
    match fault.ending:
        case Ending.TRANSIENT | Ending.LOCKED | Ending.AGAIN:
            return TransientError(fault.code, fault.advice, retry_after=retry_after)
        case Ending.EXPIRED | Ending.SUSPENDED | Ending.QUOTA:
            return suspension(fault, retry_after)
        case _:
            return RejectedError(fault)


def _page(page: Any) -> tuple[list[dict[str, Any]], str | None]:
    """Return the records of a query's page, and where the next one is, None behind the last."""
    match page:
        case {"records": [*records], "done": True}:
            following = None
        case {"records": [*records], "done": False, "nextRecordsUrl": str(following)}:
            pass
        case _:
            records, following = [None], None
    if not all(isinstance(record, dict) for record in records):
        raise TransientError("unreadable_answer", "Salesforce's answer was no page of records")
    return records, following


def _all_taken(results: list[Any]) -> list[str | Fault] | None:
    """Return the rows' Salesforce ids where every one of them has one: most calls end so."""
    try:
        ids: list[str | Fault] = [result["id"] for result in results if result["success"] is True]
        return ids if len(ids) == len(results) and _RECORD_IDS.fullmatch(",".join(map(str, ids))) else None
    except (KeyError, TypeError):
        return None


def _answer(result: Any) -> str | Fault:
    """Return one row's Salesforce id, or its fault (`created` says nothing where `success` is false)."""
    if not isinstance(result, dict):
        raise TransientError("unmatched_answer", "Salesforce's answer for a record could not be read")
    if result.get("success") is not True:
        return understand_record(result)
    remote_id = result.get("id")
    if not isinstance(remote_id, str) or _RECORD_ID.fullmatch(remote_id) is None:
        raise TransientError("unmatched_answer", "Salesforce said yes without naming the record")
    return remote_id


def _passes_soon(error: BaseException) -> bool:
    if isinstance(error, TransientError):
        return (error.retry_after or 0) <= 1
    return isinstance(error, _RefusedSessionError)
