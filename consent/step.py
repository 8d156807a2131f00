"""One step of one conversation: the records that it writes, each folded into the state as it is written."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from consent.conversation import Conversation, evolve
from consent.kinds import Kind
from consent.policy import Policy
from consent.replies import MATCHER_VERSION, Reading
from consent.rules import Case
from consent.templates import (
    EMPLOYEE_NAME,
    OPT_IN_TEXT,
    OPT_OUT_TEXT,
    ORGANIZATION,
    REASON,
    clean_name,
    render,
)
from consent.values import Consent, Message, Origin, Record, Sender, Verdict, new

#: Why an employee's text is blocked that may wait for a YES.
_WAITING = ("consent_requested", "pending", "request_capped")
#: What stands for each of them in an entry. Asking a member for its value takes three times as long.
_PLAIN: Mapping[StrEnum | None, str | None] = {
    None: None, **{one: one.value for choice in (Sender, Verdict, Consent, Origin) for one in choice}
}  # fmt: skip


class Step:
    """The records of what one text, or one event, does to one conversation; all carry the version after it."""

    __slots__ = ("_before", "_policy", "_told", "_version", "conversation", "records")

    def __init__(self, conversation: Conversation, message: Message, policy: Policy) -> None:
        self.conversation = self._before = conversation
        self.records: list[Record] = []
        self._told, self._policy = message, policy
        self._version = conversation.version + 1

    def text(
        self, reading: Reading, case: Case, after: Consent, origin: Origin | None, flags: tuple[str, ...], tag: str,
        facts: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Record the text itself, with its verdict; `tag` is a keyed tag of what it says, `facts` stand beside."""
        before, message = self.conversation, self._told
        body: dict[str, Any] = {
            "sender": _PLAIN[message.sender], "channel": message.channel, "verdict": _PLAIN[case.verdict],
            "reason": case.reason, "before": _PLAIN[before.consent], "after": _PLAIN[after],
            "origin": _PLAIN[origin], "received_at": message.received_at,
        }  # fmt: skip
        if flags:
            body["flags"] = list(flags)
        if reading.word is not None:
            body |= {"tier": reading.tier, "matcher_version": MATCHER_VERSION}
        if tag:
            body["text_tag"] = tag
        if case.reason in _WAITING and message.sender is Sender.EMPLOYEE and self._policy.release_within is not None:
            body["release_until"] = message.sent_at + self._policy.release_within
        if facts:
            body |= facts
        if message.language:
            body["language"] = message.language
        values = self._values()
        values["message_id"], values["text"] = message.id, message.text
        if message.media:
            values["media"] = [dict(one) for one in message.media]
        if message.raw:
            values["raw"] = dict(message.raw)
        if message.recipients:
            values["group"] = list(message.recipients)
        if message.provider:
            values["provider"] = _plain(message.provider)
        self._write(Kind.MESSAGE, body, values)

    def open_review(self, reading: Reading, after: Consent, origin: Origin | None) -> None:
        """Record that a person has to say whether the text revoked; by when is for the caller, who has a calendar."""
        message = self._told
        body: dict[str, Any] = {
            "review": "opened", "channel": message.channel, "before": _PLAIN[self.conversation.consent],
            "after": _PLAIN[after], "origin": _PLAIN[origin], "word": reading.word,
            "tier": reading.tier, "matcher_version": MATCHER_VERSION,
        }  # fmt: skip
        values = self._values()
        values["message_id"], values["text"] = message.id, message.text
        self._write(Kind.REVIEW, body, values)

    def decide(
        self, after: Consent, origin: Origin, facts: Mapping[str, Any], said: Mapping[str, Any] | None = None
    ) -> None:
        """Record a decision, with what it releases or discards and the request that it answers.

        `said` are the personal facts that it rests on, instead of the text at hand.
        """
        before, message = self.conversation, self._told
        body: dict[str, Any] = {
            "decision": after.value, "before": before.consent.value, "after": after.value, "origin": origin.value,
            "channel": message.channel, "source": "contact", "matcher_version": MATCHER_VERSION,
        }  # fmt: skip
        body.update(facts)
        body |= self._let_go(after)
        if (request := before.request) is not None and body["source"] == "contact":
            body["answers"] = request.version
            body["request"] = {
                "template": request.template, "template_version": request.template_version,
                "template_sha256": request.template_sha256, "language": request.language, "sent_at": request.sent_at,
            }  # fmt: skip
        said = {"text": message.text, "message_id": message.id} if said is None else said
        self._write(Kind.DECISION, body, {**self._values(), **said})

    def note(self, kind: Kind, facts: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        """Record something that is neither text nor decision; held texts are discarded where it ends at none."""
        body = {"channel": self._told.channel, **facts}
        if body.get("after") == Consent.NONE:
            body |= self._let_go(Consent.NONE)
        self._write(kind, body, {**self._values(), **said})

    def send(self, key: str, *, reminder: bool = False, reason: str = "") -> None:
        """Record an automatic message as it is rendered."""
        message, policy, before = self._told, self._policy, self.conversation
        language = policy.language_of(message.language or (before.request.language if before.request else None))
        template = policy.template(key, language)
        opt_in, opt_out = policy.shown(template, language)
        text = render(template, {
            EMPLOYEE_NAME: clean_name(message.employee_name, policy.name),
            ORGANIZATION: clean_name(policy.name, policy.organization),
            OPT_IN_TEXT: opt_in,
            OPT_OUT_TEXT: opt_out,
            REASON: clean_name(reason, "no reason was given"),
        })  # fmt: skip
        body: dict[str, Any] = {
            "to": key.rpartition(".")[2], "template": key, "template_version": template.version,
            "template_sha256": template.sha256, "language": template.language, "channel": message.channel,
        }  # fmt: skip
        if key.endswith("request.contact"):
            body |= {"before": before.consent.value, "after": Consent.PENDING.value, "origin": key[:2],
                     "opt_in": opt_in, "opt_out": opt_out}  # fmt: skip
            if reminder:
                body["reminder"] = True
        self._write(Kind.AUTO_MESSAGE, body, self._values() | {"text": text})

    def release(self, facts: Mapping[str, Any]) -> None:
        """Record that the texts which wait may go out without a decision: nobody asks any more."""
        self._write(Kind.SETTING, {"channel": self._told.channel, **facts, **self._let_go(None)}, self._values())

    def _let_go(self, after: Consent | None) -> dict[str, list[int]]:
        """Return which texts go out, by their versions in order, and which never will; None: nobody decided."""
        before, at = self.conversation, self._told.sent_at
        out = after in (None, Consent.OPTED_IN)
        held = before.held if out and (after is None or self._policy.held_inbound == "release") else ()
        released = sorted([*held, *(waits for waits, until in before.waiting if out and at <= until)])
        discarded = sorted({*before.held, *(waits for waits, _ in before.waiting)} - set(released))
        named = (("released", released), ("discarded", discarded))
        return {name: versions for name, versions in named if versions}

    def _values(self) -> dict[str, Any]:
        """Return the personal facts that every record of this step carries."""
        message, conversation = self._told, self.conversation
        values: dict[str, Any] = {"line": conversation.line, "contact": conversation.contact}
        if message.employee_id:
            values["employee_id"] = message.employee_id
        if message.employee_name:
            values["employee_name"] = message.employee_name
        if message.contact_name:
            values["contact_name"] = message.contact_name
        return values

    def _write(self, kind: Kind, body: dict[str, Any], values: dict[str, Any]) -> None:
        if self._before.sub_organization:
            body["sub_organization"] = self._before.sub_organization
        at = self._told.sent_at
        self.records.append(new(Record, (kind, at, body, values, self.conversation.id, self._version)))
        self.conversation = evolve(self.conversation, kind, self._version, at, body)


def _plain(value: Any) -> Any:
    """Return a provider's own object as strings, integers, lists and objects that canonical JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key).encode("ascii", "replace").decode(): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    return str(value).encode("utf-8", "replace").decode()
