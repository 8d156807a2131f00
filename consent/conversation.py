"""One conversation: a line, a contact and a channel group; what the contact agreed to, and what the rules remember.

The state is the fold of the conversation's records, by `evolve` and nothing else: the engine decides by writing
records and folding them, and a replay of the ledger folds the same records and gets the same state.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from consent.kinds import Kind
from consent.values import Consent, Group, Origin, new

DAY = 86_400 * 1_000_000
#: Tags of recent texts that are remembered, to see the same one for the third time: a machine repeats itself sooner.
_RECENT = 50


class Request(NamedTuple):
    """The last request that was shown to the contact: what a YES answers."""

    #: The version of the step that sent it.
    version: int
    template: str
    template_version: int
    template_sha256: str
    language: str
    opt_in: str
    opt_out: str
    sent_at: int


class Conversation(NamedTuple):
    """The key of consent, and all that the rules need to know of what went before."""

    id: str
    organization: str
    sub_organization: str | None
    line: str
    contact: str
    group: Group
    consent: Consent = Consent.NONE
    origin: Origin | None = None
    #: The last request that was shown, since the conversation was last at none.
    request: Request | None = None
    #: When requests and reminders were sent in the last 24 h before the newest of them, microseconds since 1970.
    asked: tuple[int, ...] = ()
    #: Requests and reminders since the last decision.
    unanswered: int = 0
    reminded_at: int | None = None
    #: Whether the employee was told that the contact wrote, since the last request of the employee's.
    told: bool = False
    #: The decision in force: when, on the events' clock.
    decided_at: int | None = None
    helped_at: int | None = None
    # What a text changes stands last (`_after_message`).
    version: int = 0
    #: Whether an employee's text was delivered since the opt-in.
    spoken: bool = False
    #: When the line's employee last wrote, whatever became of it.
    written_at: int | None = None
    #: Versions of the steps whose texts are held, in order.
    held: tuple[int, ...] = ()
    #: Keyed tags of the contact's recent texts and when they were sent.
    recent: tuple[tuple[str, int], ...] = ()
    #: Versions of the steps whose employee's text waits for a YES, and until when it may go out then.
    waiting: tuple[tuple[int, int], ...] = ()

    def state(self) -> dict[str, Any]:
        """Return what the rules remember as canonical JSON can hold it (whose it is stands elsewhere)."""
        return {
            "consent": self.consent.value,
            "origin": self.origin.value if self.origin else None,
            "request": list(self.request) if self.request else None,
            "asked": self.asked,
            "unanswered": self.unanswered,
            "reminded_at": self.reminded_at,
            "told": self.told,
            "decided_at": self.decided_at,
            "spoken": self.spoken,
            "written_at": self.written_at,
            "helped_at": self.helped_at,
            "held": self.held,
            "recent": self.recent,
            "waiting": self.waiting,
        }

    def restored(self, version: int, state: Mapping[str, Any]) -> "Conversation":
        """Return this conversation with a stored state."""
        request, origin = state["request"], state["origin"]
        # Field by field: `_replace` takes five times as long, and so begins nearly every text.
        return Conversation(
            self.id, self.organization, self.sub_organization, self.line, self.contact, self.group,
            consent=_CONSENTS[state["consent"]],
            origin=_ORIGINS[origin] if origin else None,
            request=Request(*request) if request else None,
            asked=tuple(state["asked"]),
            unanswered=state["unanswered"],
            reminded_at=state["reminded_at"],
            told=state["told"],
            decided_at=state["decided_at"],
            helped_at=state["helped_at"],
            version=version,
            spoken=state["spoken"],
            written_at=state.get("written_at"),
            held=tuple(state["held"]),
            recent=tuple([(tag, at) for tag, at in state["recent"]]),
            waiting=tuple([(waits, until) for waits, until in state.get("waiting", ())]),
        )  # fmt: skip


_FIRST_TOLD = Conversation._fields.index("version")


def begin(
    id: str, organization: str, sub_organization: str | None, line: str, contact: str, group: Group,  # noqa: A002
    *, stopped_at: int | None = None,
) -> Conversation:  # fmt: skip
    """Return a conversation that has no entry yet; opted out where its contact stopped everything at `stopped_at`."""
    fresh = Conversation(id, organization, sub_organization, line, contact, group)
    return fresh if stopped_at is None else _stopped(fresh, stopped_at)


def evolve(before: Conversation, kind: Kind, version: int, at: int, body: Mapping[str, Any]) -> Conversation:
    """Return the conversation after one record: `at` is when it occurred, `body` its facts."""
    if body.get("stopped_at") is not None:
        before = _stopped(before, body["stopped_at"])
    if "again" in body:
        # A STOP said again counts from its own time: what was sent before it comes too late.
        before = before._replace(decided_at=max(at, before.decided_at or at))
    return _AFTER.get(kind, _after_any)(before, version, at, body)


def _after_any(before: Conversation, version: int, _at: int, _body: Mapping[str, Any]) -> Conversation:
    return before if version == before.version else before._replace(version=version)


def _after_decision(before: Conversation, version: int, at: int, body: Mapping[str, Any]) -> Conversation:
    if body["before"] == body["after"]:
        return _after_confirmation(before, version, at, body)
    return before._replace(
        version=version, consent=Consent(body["after"]), origin=Origin(body["origin"]), decided_at=at,
        unanswered=0, reminded_at=None, told=False, spoken=_has_spoken(before, body), held=(), waiting=(),
    )  # fmt: skip


def _after_report(before: Conversation, version: int, _at: int, body: Mapping[str, Any]) -> Conversation:
    """What a new owner, or a request that can't be delivered, leaves: what was shown or counted no longer counts."""
    if body.get("after") == _NONE:
        return Conversation(*before[:6], version=version)
    return before._replace(version=version)


def _after_setting(before: Conversation, version: int, _at: int, body: Mapping[str, Any]) -> Conversation:
    if "released" in body or "discarded" in body:
        return before._replace(version=version, held=(), waiting=())
    return before._replace(version=version)


def _after_confirmation(before: Conversation, version: int, at: int, body: Mapping[str, Any]) -> Conversation:
    """What is said of what holds already, or too late: at most, the decision in force was made again since."""
    if before.decided_at is None or body["decision"] != body["after"]:
        return before._replace(version=version)
    return before._replace(version=version, decided_at=max(at, before.decided_at))


def _has_spoken(before: Conversation, body: Mapping[str, Any]) -> bool:
    """Whether an employee's text goes out with the opt-in itself: the one that implied it, or those that waited."""
    if body["source"] == "disclaimer":
        return str(body["origin"]) == Origin.MO.value
    released = body.get("released", ())
    return any(waits in released for waits, _ in before.waiting)


def _after_message(before: Conversation, version: int, at: int, body: Mapping[str, Any]) -> Conversation:
    spoken, written_at = before.spoken, before.written_at
    held, recent, waiting = before.held, before.recent, before.waiting
    if body["sender"] == "employee":
        spoken = spoken or body["verdict"] == "delivered"
        written_at = at if written_at is None else max(at, written_at)
        if (until := body.get("release_until")) is not None:
            waiting = (*waiting, (version, until))
    else:
        if body["verdict"] == "held":
            held = (*held, version)
        if (tag := body.get("text_tag")) is not None:
            recent = (*(one for one in recent if at - one[1] < DAY), (tag, at))[-_RECENT:]
    # Six times as quick as `_replace`, and texts are most of what there is.
    after = before[:_FIRST_TOLD] + (version, spoken, written_at, held, recent, waiting)  # noqa: RUF005
    return new(Conversation, after)


def _after_auto_message(before: Conversation, version: int, at: int, body: Mapping[str, Any]) -> Conversation:
    template = body["template"]
    origin, _, rest = template.partition(".")
    if rest == "request.contact":
        request = Request(
            version, template, body["template_version"], body["template_sha256"], body["language"],
            body["opt_in"], body["opt_out"], at,
        )  # fmt: skip
        return before._replace(
            version=version, consent=Consent.PENDING, origin=Origin(origin), request=request,
            asked=(*(one for one in before.asked if at - one < DAY), at), unanswered=before.unanswered + 1,
            reminded_at=at if body.get("reminder") else before.reminded_at,
            told=before.told if body.get("reminder") else False,
        )  # fmt: skip
    if template == "mt.request.employee":
        return before._replace(version=version, told=True)
    if template == "help.contact":
        return before._replace(version=version, helped_at=at)
    return before._replace(version=version)


def _stopped(conversation: Conversation, at: int) -> Conversation:
    return conversation._replace(consent=Consent.OPTED_OUT, origin=conversation.origin or Origin.MT, decided_at=at)


_NONE = Consent.NONE
_AFTER: Mapping[Kind, Callable[[Conversation, int, int, Mapping[str, Any]], Conversation]] = {
    Kind.MESSAGE: _after_message, Kind.AUTO_MESSAGE: _after_auto_message, Kind.DECISION: _after_decision,
    Kind.REASSIGNMENT: _after_report, Kind.DELIVERY: _after_report, Kind.SETTING: _after_setting,
}  # fmt: skip
_CONSENTS: Mapping[str, Consent] = {one.value: one for one in Consent}
_ORIGINS: Mapping[str, Origin] = {one.value: one for one in Origin}
