"""The closed table of what a ledger can hold, and the lane each kind travels in."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Lane(StrEnum):
    """A sequence of entries inside one ledger with gapless positions of its own; the consent lane travels ahead."""

    CONSENT = "consent"
    MESSAGES = "messages"
    AUDIT = "audit"


class Kind(StrEnum):
    """What one entry records."""

    AUTO_MESSAGE = "auto_message"  # every automatic text, requests among them
    DECISION = "decision"  # each change to opted_in or opted_out, whoever caused it
    DELIVERY = "delivery"  # what a provider said of an automatic text
    REASSIGNMENT = "reassignment"  # a number or a line has a new owner
    REVIEW = "review"  # a possible revocation, opened or closed by a person
    MESSAGE = "message"  # a text of either side, with its verdict
    SETTING = "setting"  # an organization, a feature, a keyword, a line
    TEMPLATE = "template"  # a changed text
    ACCESS = "access"  # sign-in, reveal, download, export
    OPERATION = "operation"  # pause, resume, discard, resync
    CHECKPOINT = "checkpoint"  # a signed head
    RETENTION = "retention"  # hold, disposal, erasure


LANE_OF: Mapping[Kind, Lane] = MappingProxyType(
    {
        Kind.AUTO_MESSAGE: Lane.CONSENT,
        Kind.DECISION: Lane.CONSENT,
        Kind.DELIVERY: Lane.CONSENT,
        Kind.REASSIGNMENT: Lane.CONSENT,
        Kind.REVIEW: Lane.CONSENT,
        Kind.MESSAGE: Lane.MESSAGES,
        Kind.SETTING: Lane.AUDIT,
        Kind.TEMPLATE: Lane.AUDIT,
        Kind.ACCESS: Lane.AUDIT,
        Kind.OPERATION: Lane.AUDIT,
        Kind.CHECKPOINT: Lane.AUDIT,
        Kind.RETENTION: Lane.AUDIT,
    }
)

SYSTEM = "system"  # the ledger of what belongs to no organization: users, tokens, pauses
