"""Intake: texts and events come in, are decided in order, and are durable before anyone hears the answer.

Asynchronous callers hand over to one writer thread a process. It takes all that waits, loads their conversations
in a few queries, decides in memory by pure functions, and writes one organization's group in one transaction
(SQLite: all groups in one). A lone caller is served inline. Repeats are answered from the entries they wrote.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from consent.database import Database, DatabaseError, explain, is_outage
from consent.organizations import Directory
from consent.reviews import Closing, find_review
from consent.tags import Tags
from sync.group import Group
from sync.migrate import tag_key

log = structlog.get_logger()

#: Texts in one transaction at most: what a caller may have to wait for.
_GROUP = 500
#: Texts that may wait; more are told to come again.
_QUEUE = 20_000
#: A commit slower than this is not waited for on the event loop, seconds.
_QUICK = 0.05


class BusyError(Exception):
    """Too much is waiting: come again in a moment; nothing was taken."""


class Intake:
    """Takes texts and events; one for a process."""

    def __init__(
        self, database: Database, *, now: Callable[[], int] | None = None,
        committed: Callable[[Collection[str]], None] | None = None,
    ) -> None:  # fmt: skip
        """Call `committed` with the ledgers' names after each commit."""
        self._database = database
        self._now = now or _microseconds
        self._committed = committed or _nothing
        self._directory = Directory(database)
        self._tags: Tags | None = None
        self._writing = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        # What waits is taken by the writer thread or by a lone caller, never by both.
        self._taking = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._quick = True
        self._thread: threading.Thread | None = None

    def take(self, objects: Sequence[Any]) -> list[dict[str, Any]]:
        """Take messages and events and answer in their order; all are durable when this returns.

        One that can't be taken is answered with its error in its place. Raises DatabaseError where the
        database can't be used: then call again with the same objects, none is taken twice.
        """
        answers: list[dict[str, Any]] = []
        for at in range(0, len(objects), 2 * _GROUP):
            answers += self._take(objects[at : at + 2 * _GROUP])
        return answers

    async def receive(self, message: Any) -> dict[str, Any]:
        """Take one message or event; the answer comes after its commit.

        Raises BusyError or DatabaseError; then the same call again is safe.
        """
        loop = asyncio.get_running_loop()
        mine = _Waiting(message, loop, loop.create_future())
        if len(self._waiting) >= _QUEUE or self._closed:
            raise BusyError("too many texts are waiting: send this one again in a moment")
        self._waiting.append(mine)
        if self._quick and len(self._waiting) == 1:
            await asyncio.sleep(0)  # whoever else is ready comes in now
            if self._alone(mine):
                return self._take([message])[0]
        self._hand_over()
        return await mine.answer

    def close_review(self, closing: Closing) -> dict[str, Any]:
        """Close a review; it is durable when this returns, and the same outcome again is answered the same.

        Raises NoReviewError, ReviewClosedError where it was closed with the other outcome, and DatabaseError.
        """
        try:
            with self._writing, self._database.write() as tx:
                review = find_review(tx, *closing.review)
                tags = self._tags or self._read_tags(tx)
                group = Group(tx, review.organization, self._directory, tags, self._now())
                answer = group.close_review(review, closing)
        except DBAPIError as error:
            self._directory.forget()
            raise DatabaseError(explain(error)) from None
        self._committed([review.organization])
        return answer

    def close(self) -> None:
        """Answer what waits and stop the writer thread."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _alone(self, mine: "_Waiting") -> bool:
        """Take a caller's own message back out of the queue, if nothing else is waiting or being written."""
        with self._taking:
            if len(self._waiting) != 1 or self._waiting[0] is not mine or self._writing.locked():
                return False
            self._waiting.popleft()
            return True

    def _next_group(self) -> "list[_Waiting]":
        with self._taking:
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP))]

    def _hand_over(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_groups, name="intake", daemon=True)
            self._thread.start()
        self._wake.set()

    def _write_groups(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while group := self._next_group():
                self._answer(group)
            if self._closed:
                return

    def _answer(self, group: Sequence["_Waiting"]) -> None:
        answers: Sequence[dict[str, Any] | Exception]
        try:
            answers = self._take([waiting.message for waiting in group])
        except Exception as error:
            answers = [error] * len(group)
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], dict[str, Any] | Exception]]] = {}
        for waiting, answer in zip(group, answers, strict=True):
            loops.setdefault(waiting.loop, []).append((waiting.answer, answer))
        for loop, answered in loops.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, answered)

    def _take(self, objects: Sequence[Any]) -> list[dict[str, Any]]:
        started = time.monotonic()
        with self._writing:
            answers: list[dict[str, Any] | None] = [None] * len(objects)
            groups = self._sorted(objects, answers)
            if self._database.is_postgres:
                for organization in sorted(groups):
                    self._take_groups({organization: groups[organization]}, objects, answers)
            elif groups:
                self._take_groups(groups, objects, answers)
        self._quick = time.monotonic() - started < _QUICK
        self._committed(groups)
        return [answer if answer is not None else {} for answer in answers]

    def _sorted(self, objects: Sequence[Any], answers: list[dict[str, Any] | None]) -> dict[str, list[int]]:
        """Return the objects' places by main organization; answer at once what has no place in any ledger."""
        groups: dict[str, list[int]] = {}
        try:
            for at, asked in enumerate(objects):
                problem = _shapeless(asked)
                if problem is None:
                    main = self._directory.main_of(asked["org"])
                    if main is not None:
                        groups.setdefault(main, []).append(at)
                        continue
                    problem = ("unknown_organization", "there is no organization of this id: see `assent org list`")
                answers[at] = _error(asked, *problem)
        except DBAPIError as error:
            raise DatabaseError(explain(error)) from None
        return groups

    def _take_groups(
        self, groups: Mapping[str, list[int]], objects: Sequence[Any], answers: list[dict[str, Any] | None],
        *, again: bool = True,
    ) -> None:  # fmt: skip
        """Take groups in one transaction. On a database error: once more, or halved until the culprit is alone."""
        try:
            with self._database.write() as tx:
                tags = self._tags or self._read_tags(tx)
                for organization, places in groups.items():
                    group = Group(tx, organization, self._directory, tags, self._now())
                    for at, answer in zip(places, group.take([objects[at] for at in places]), strict=True):
                        answers[at] = answer
        except DBAPIError as error:
            outage = is_outage(error)
            log.warning("intake.transaction_failed", error=type(error.orig).__name__, outage=outage)
            self._directory.forget()
            if outage and again:
                # A COMMIT that was cut may have happened: taking the same again reads by message id what became of it.
                self._take_groups(groups, objects, answers, again=False)
            elif outage:
                raise DatabaseError(explain(error)) from None
            else:
                self._halve(groups, objects, answers)
        except Exception:  # a fault of ours in one message is that message's answer, and nobody else's
            log.exception("intake.failed")
            self._directory.forget()
            self._halve(groups, objects, answers)

    def _halve(
        self, groups: Mapping[str, list[int]], objects: Sequence[Any], answers: list[dict[str, Any] | None]
    ) -> None:
        for organization, places in groups.items():
            if len(places) > 1:
                middle = len(places) // 2
                self._take_groups({organization: places[:middle]}, objects, answers)
                self._take_groups({organization: places[middle:]}, objects, answers)
            elif len(groups) > 1:
                self._take_groups({organization: places}, objects, answers)
            else:
                advice = "this message can't be taken as it is: report it with the log line intake.refused"
                log.error("intake.refused", organization=organization)
                answers[places[0]] = _error(objects[places[0]], "invalid_message", advice)

    def _read_tags(self, tx: Connection) -> Tags:
        self._tags = Tags(tag_key(tx))
        return self._tags


class _Waiting:
    __slots__ = ("answer", "loop", "message")

    def __init__(self, message: Any, loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[dict[str, Any]]") -> None:
        self.message, self.loop, self.answer = message, loop, answer


def _resolve(answered: Sequence[tuple["asyncio.Future[Any]", dict[str, Any] | Exception]]) -> None:
    for future, answer in answered:
        if future.done():  # its caller went away; what was taken stays taken
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _shapeless(asked: Any) -> tuple[str, str] | None:
    if not isinstance(asked, Mapping):
        return "invalid_message", "a message is one JSON object"
    for name in ("id", "org"):
        if not isinstance(asked.get(name), str) or not asked[name]:
            return "invalid_message", f"`{name}` is missing: it is a text that is not empty"
        if not _encodable(asked[name]):
            return "invalid_message", f"`{name}` is no valid Unicode: it holds half of a surrogate pair"
    return None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _error(asked: Any, code: str, detail: str) -> dict[str, Any]:
    given = asked.get("id") if isinstance(asked, Mapping) else None
    return {"id": given if isinstance(given, str) else None, "error": {"code": code, "detail": detail}}


def _microseconds() -> int:
    return time.time_ns() // 1000


def _nothing(_organizations: Collection[str]) -> None:
    pass
