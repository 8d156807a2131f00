"""What goes out: answers, and the two envelopes in which Salesforce says no.

REST API Developer Guide, "Status Codes and Error Responses": an error is an array of
`{"message", "errorCode", "fields"?}`. "SaveResult" (SOAP API Developer Guide) and "sObject Collections":
a row's error is `{"statusCode", "message", "fields"}`, inside an answer of status 200.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. `content` is JSON unless it is bytes; None means no body."""

    status: int
    content: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json;charset=UTF-8"
    #: Rows that the request carried, or the answer does; for the journal.
    rows: int = 0

    def body(self) -> bytes:
        if self.content is None:
            return b""
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one record was not saved."""

    code: str
    message: str
    fields: tuple[str, ...] = ()

    def as_row(self) -> dict[str, object]:
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}

    def as_request(self) -> dict[str, object]:
        return {"message": self.message, "errorCode": self.code, "fields": list(self.fields)}


class RowRefusedError(Exception):
    """One record is refused, while the request goes on."""

    def __init__(self, code: str, message: str, *fields: str) -> None:
        super().__init__(code)
        self.error = RowError(code, message, fields)


class RequestError(Exception):
    """The request as a whole is refused."""

    def __init__(self, status: int, code: str, message: str, content: object = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        #: The body, where it is not the usual envelope.
        self.content = content

    def answer(self) -> Answer:
        if self.content is not None:
            return Answer(self.status, self.content)
        return refuse(self.status, self.code, self.message)


def refuse(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An error in the transport's envelope."""
    return Answer(status, [{"message": message, "errorCode": code}], headers or {})


def not_found(message: str = "The requested resource does not exist") -> RequestError:
    return RequestError(404, "NOT_FOUND", message)


def bad_request(code: str, message: str) -> RequestError:
    return RequestError(400, code, message)
