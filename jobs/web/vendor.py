"""The vendor's own words for what Setup shows: when each text is sent, and whom to ask for what was not ordered."""

from collections.abc import Mapping
from types import MappingProxyType

#: When each text is sent, from the vendor's page; XYZ there is a stand-in for the enterprise's name, `{name}` here.
DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "mt.request.contact": "When a customer initiates the first sms to an {name} employee, a notification is sent to"
        " the customer. The notification is a request to accept or reject the Opt-in process.",
        "mt.request.employee": "A notification is sent to {name} employee. This is an information to {name} employee"
        " that a customer is initiating an SMS conversation.",
        "mt.accepted.employee": "When the customer accepts the opt-in request, a notification is sent to {name}"
        " employee. This is an information to {name} employee that they can begin messaging.",
        "mt.accepted.contact": "When the customer accepts the opt-in request, a confirmation is sent to the customer."
        " This is an information to customer that they can begin messaging",
        "mo.request.contact": "When an {name} employee initiates the first sms to a customer, a notification is sent to"
        " the customer. The notification is a request to accept or reject the Opt-in process.",
        "mo.request.employee": "A notification is sent to {name} employee. This lets {name} employee that an opt-in"
        " request has been sent to the customer.",
        "mo.accepted.employee": "When the customer accepts the opt-in request, a notification is sent to {name}"
        " employee. This is an information to {name} employee that they can begin messaging.",
        "mo.accepted.contact": "When The customer accepts the opt-in request, a confirmation is sent to the customer."
        " This is an information to the customer that they can begin messaging.",
        "mo.rejected.employee": "{name} employee sends an sms to a customer. When the customer rejects an opt-in"
        " request or requests an opt-out, a notification is sent to the employee. This is an information to the"
        " employee that they will no longer be able to message with the customer.",
        "mo.rejected.contact": "{name} employee sends an sms to a customer. When the customer rejects an opt-in request"
        " or request an opt-out, a notification is sent to the employee. This is an information to the employee that"
        " they will no longer receive messages.",
        "mt.rejected.employee": "A customer sends an sms to an {name} employee. When the customer rejects the opt-in"
        " request or request an opt-out, a notification is sent to the {name} employee. This is an information to the"
        " {name} employee that they will no longer be able to message with the customer.",
        "mt.rejected.contact": "A customer sends an sms to an {name} employee. When the customer rejects the Opt-in"
        " request or request an Opt-out, a notification is sent to the customer. This is an information to the customer"
        " that they will no longer receive messages.",
        "help.contact": "Sent to a contact who asks for help, with HELP or INFO.",
        "disclaimer.contact": "Sent once, before the first text, where a disclaimer stands in for SMS Opt-in.",
        "undeliverable.employee": "Sent to the employee when the request could not be delivered to the contact.",
    }
)

#: The two keywords by their names on the vendor's page, and what it says of them.
KEYWORD_NAMES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "opt_in": ("Opt-in text", "The text which is send to accept SMS messages."),
        "opt_out": ("Opt-out text", "The text which is send to terminate SMS messages."),
    }
)

NOT_ORDERED = (
    "To get access to the SMS Opt-In feature, please have your admin team reach out to the Movius Support team to make"
    " this change on the organization’s behalf."
)
MAIN_ONLY = (
    "The SMS Opt-In service is configured at the main organization of the Enterprise Customer and applies to the entire"
    " account."
)
EXCLUSIVE = (
    "Group Message and SMS Opt-in cannot be enabled simultaneously. Group Messages cannot be enabled if the SMS Opt-in"
    " is turned ON for the organization, and vice versa."
)
