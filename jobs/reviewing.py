"""Reviews of possible revocations, in the words of the interface: for the HTTP API and the command line."""

import time
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection

from consent.canonical import entry_id, parse_entry_id, timestamp
from consent.reviews import Closing, Listed, NoReviewError, Outcome, State, list_reviews
from jobs.asking import QuestionError, found_organization


class Closes(Protocol):
    """Whoever closes reviews: the intake."""

    def close_review(self, closing: Closing) -> dict[str, Any]:
        """Return what it came to."""
        ...


class Page(NamedTuple):
    """Reviews, and the id to go on behind, None where there are no more."""

    reviews: list[dict[str, Any]]
    next: str | None


def told_reviews(tx: Connection, *, org: str | None, state: State, after: str | None, limit: int) -> Page:
    """Return what `/v1/reviews` and `review list` tell.

    Raises QuestionError for an organization that isn't there, NoReviewError for an `after` that is no review.
    """
    main, sub_organization = None, None
    if org is not None:
        one, policy = found_organization(tx, org)
        main, sub_organization = one.main, policy.sub_organization
    now = time.time_ns() // 1000
    found = list_reviews(
        tx, now, state=state, organization=main, sub_organization=sub_organization,
        after=None if after is None else _key(after), limit=limit + 1,
    )  # fmt: skip
    rows = [told_review(one, now) for one in found[:limit]]
    return Page(rows, rows[-1]["id"] if len(found) > limit else None)


def close(intake: Closes, review: str, outcome: Outcome, reason: str, actor: str) -> dict[str, Any]:
    """Close a review; what it came to, again where it was closed so before.

    Raises QuestionError for a blank reason, NoReviewError, and ReviewClosedError for the other outcome than before.
    """
    note = reason.strip().encode("utf-8", "replace").decode()
    if not note:
        raise QuestionError("invalid_request", "`reason` is blank: say why, it stands in the records")
    return intake.close_review(Closing(_key(review), outcome, note, actor, time.time_ns() // 1000))


def told_review(one: Listed, now: int | None = None) -> dict[str, Any]:
    """Return what is told of one review, as of now or another instant."""
    now = time.time_ns() // 1000 if now is None else now
    review, said = one.review, one.review.said
    is_open = review.closed_seq is None
    return {
        "id": review.id,
        "organization": review.organization,
        "sub_organization": one.sub_organization,
        "conversation": review.conversation,
        "channel": review.facts.get("channel"),
        "line": said.get("line"),
        "employee_id": said.get("employee_id"),
        "employee_name": said.get("employee_name"),
        "contact": said.get("contact"),
        "message_id": said.get("message_id"),
        "text": said.get("text"),
        "word": review.facts.get("word"),
        "tier": review.facts.get("tier"),
        "before": review.facts.get("before"),
        "sent_at": timestamp(review.opened_at),
        "due_at": timestamp(review.due_at),
        "overdue": is_open and review.due_at < now,
        # What the contact agrees to now.
        "state": one.consent.value,
        "outcome": one.closing.get("outcome"),
        "closed_at": None if one.closed_at is None else timestamp(one.closed_at),
        "closed_by": None if review.closed_seq is None else entry_id(review.organization, review.closed_seq),
        "actor": one.closing.get("actor"),
        "reason": one.closing_said.get("note"),
    }


def _key(review: str) -> tuple[str, int]:
    try:
        return parse_entry_id(review)
    except ValueError:
        raise NoReviewError("a review's id is that of the entry that opened it: see `assent review list`") from None
