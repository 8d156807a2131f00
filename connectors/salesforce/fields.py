"""The table of fields: what stands where in Salesforce.

The package (`package/`) declares these fields; the tests hold the two together.
"""

from typing import NamedTuple

from connectors.salesforce.normalize import FieldType

ENTRY_OBJECT = "Assent_Entry__c"
ENTRY_KEY = "Entry_Id__c"
RUN_OBJECT = "Assent_Sync_Run__c"
RUN_KEY = "Run_Key__c"


class Field(NamedTuple):
    """One field of an object in Salesforce."""

    name: str
    type: FieldType
    #: Characters, for texts; 0 where length means nothing.
    length: int = 0
    #: The name of the fact in the entry's body, or of the value beside it, that goes here.
    source: str | None = None
    #: False for what may differ without meaning anything.
    compared: bool = True


LINE, PARAGRAPH, NUMBER, MOMENT = FieldType.LINE, FieldType.PARAGRAPH, FieldType.NUMBER, FieldType.MOMENT

# What every entry has. These never change.
HEAD_FIELDS = (
    Field(ENTRY_KEY, LINE, 64),
    Field("Organization__c", LINE, 32),
    Field("Seq__c", NUMBER),
    Field("Lane__c", LINE, 16),
    Field("Pos__c", NUMBER),
    Field("Kind__c", LINE, 40),
    Field("Occurred_At__c", MOMENT),
    # A DateTime keeps whole seconds only; these two keep the microseconds that the leaf hash was made of.
    Field("Occurred_At_Exact__c", LINE, 32),
    Field("Recorded_At__c", MOMENT),
    Field("Recorded_At_Exact__c", LINE, 32),
    Field("Leaf_Hash__c", LINE, 64),
    # An entry may belong to no conversation.
    Field("Conversation__c", LINE, 64),
    Field("Version__c", NUMBER),
)

# Facts of the body by their names there. One that doesn't fit its column stands whole in Facts__c only.
FACT_FIELDS = (
    Field("Sub_Organization__c", LINE, 64, "sub_organization"),
    Field("Sender__c", LINE, 40, "sender"),
    Field("To__c", LINE, 40, "to"),
    Field("Channel__c", LINE, 40, "channel"),
    Field("Verdict__c", LINE, 40, "verdict"),
    Field("Reason__c", LINE, 255, "reason"),
    Field("Decision__c", LINE, 40, "decision"),
    Field("Before__c", LINE, 255, "before"),
    Field("After__c", LINE, 255, "after"),
    Field("Origin__c", LINE, 40, "origin"),
    Field("Word__c", LINE, 255, "word"),
    Field("Tier__c", LINE, 40, "tier"),
    Field("Template__c", LINE, 80, "template"),
    Field("Template_Version__c", LINE, 40, "template_version"),
    Field("Template_SHA256__c", LINE, 64, "template_sha256"),
    Field("Language__c", LINE, 40, "language"),
    Field("Source__c", LINE, 40, "source"),
    Field("Status__c", LINE, 40, "status"),
    Field("Actor__c", LINE, 255, "actor"),
    Field("Scope__c", LINE, 40, "scope"),
    Field("Answers__c", LINE, 64, "answers"),
    Field("Flags__c", LINE, 255, "flags"),
)

# Personal values, by their names beside the body; erasure clears them.
PERSONAL_FIELDS = (
    Field("Contact_Number__c", LINE, 40, "contact"),
    Field("Contact_Name__c", LINE, 255, "contact_name"),
    Field("Line__c", LINE, 40, "line"),
    Field("Employee_Id__c", LINE, 255, "employee_id"),
    Field("Employee_Name__c", LINE, 255, "employee_name"),
    Field("Message_Id__c", LINE, 255, "message_id"),
    Field("Text__c", PARAGRAPH, 32768, "text"),
    Field("Media__c", PARAGRAPH, 32768, "media"),
    Field("Note__c", PARAGRAPH, 32768, "note"),
)

# The body as it was hashed, so that the leaf hash can be made again from the record alone.
FACTS = Field("Facts__c", PARAGRAPH, 131072)
PORTAL_LINK = Field("Portal_Link__c", FieldType.LINK, 255, compared=False)

ENTRY_FIELDS = (*HEAD_FIELDS, *FACT_FIELDS, *PERSONAL_FIELDS, FACTS, PORTAL_LINK)

RUN_FIELDS = (
    Field(RUN_KEY, LINE, 64),
    Field("Organization__c", LINE, 32),
    Field("Lane__c", LINE, 16),
    Field("Ledger_Size__c", NUMBER),
    Field("Lane_Size__c", NUMBER),
    Field("Settled__c", NUMBER),
    Field("Root__c", LINE, 64),
    Field("Checkpoint__c", PARAGRAPH, 32768),
    Field("Closed_At__c", MOMENT),
)

# A query that selects two Long Text Areas gets 200 records a page instead of 2,000 (SOQL and SOSL Reference, "Change
# the Batch Size in Queries"). So a digest is made of two halves: one over all that a query with a single Long Text
# Area can read, the text among it, and one over the other Long Text Areas. Each is over JSON in the order of these
# two: the order in which bodies and values are stored (sorted by name), so that nothing is sorted to make one.
_STORED = (*HEAD_FIELDS, *sorted(PERSONAL_FIELDS, key=lambda field: str(field.source)),
           *sorted(FACT_FIELDS, key=lambda field: str(field.source)), FACTS)  # fmt: skip
SWIFT_FIELDS = tuple(field for field in _STORED if field.type is not PARAGRAPH or field.source == "text")
SLOW_FIELDS = tuple(field for field in _STORED if field not in SWIFT_FIELDS)
