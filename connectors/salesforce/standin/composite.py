"""Several requests in one: `POST /composite`.

REST API Developer Guide, "Composite": at most 25 subrequests, five of them queries or collections;
`@{reference.member}` stands for what an earlier answer said; with `allOrNone` a failure undoes all,
and the others say PROCESSING_HALTED.
"""

import json
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from connectors.salesforce.standin.answers import Answer, bad_request
from connectors.salesforce.standin.one_row import read_object
from connectors.salesforce.standin.rows import Rows

SubAnswer = Callable[[str, str, Mapping[str, str], bytes], Answer]

_MOST, _MOST_LARGE = 25, 5
_REFERENCE = re.compile(r"@\{(\w+)\.([\w.\[\]]+)\}")
_KEYS = {"method", "url", "body", "referenceId", "httpHeaders"}


def run_composite(body: bytes, rows: Rows, sub_answer: SubAnswer) -> Answer:
    """Answer each subrequest in order, all of them or none where that is asked for."""
    request = read_object(body)
    steps = request.get("compositeRequest")
    all_or_none = request.get("allOrNone", False)
    if not isinstance(steps, list) or not all(isinstance(each, dict) and set(each) <= _KEYS for each in steps):
        raise bad_request("JSON_PARSER_ERROR", "compositeRequest is a list of method, url, body and referenceId")
    large = sum("/query" in str(each.get("url")) or "/composite/" in str(each.get("url")) for each in steps)
    if len(steps) > _MOST or large > _MOST_LARGE:
        raise bad_request("LIMIT_EXCEEDED", f"A composite request holds at most {_MOST} subrequests")
    answers: list[Answer] = []
    with rows.transaction() as transaction:
        known: dict[str, object] = {}
        for each in steps:
            answer = _step(each, known, sub_answer)
            answers.append(answer)
            known[str(each.get("referenceId"))] = answer.content
            if all_or_none and answer.status >= 400:
                transaction.undo()
                halted = Answer(400, [{"errorCode": "PROCESSING_HALTED", "message": _HALTED}])
                before, behind = len(answers) - 1, len(steps) - len(answers)
                answers = [halted] * before + [answer] + [halted] * behind
                break
    content = [
        {
            "body": answer.content,
            "httpHeaders": {},
            "httpStatusCode": answer.status,
            "referenceId": each.get("referenceId"),
        }
        for each, answer in zip(steps, answers, strict=True)
    ]
    return Answer(200, {"compositeResponse": content}, rows=sum(each.rows for each in answers))


_HALTED = "The transaction was rolled back since another operation in the same transaction failed."


def _step(step: Mapping[str, object], known: Mapping[str, object], sub_answer: SubAnswer) -> Answer:
    url = _resolve(str(step.get("url", "")), known)
    path, _, query = url.partition("?")
    if path.rstrip("/").endswith("/composite"):
        raise bad_request("INVALID_OPERATION", "A composite request holds no other")
    text = _resolve(json.dumps(step.get("body")), known)
    params = dict(parse_qsl(query, keep_blank_values=True))
    return sub_answer(str(step.get("method", "")), path, params, text.encode())


def _resolve(text: str, known: Mapping[str, object]) -> str:
    def found(match: re.Match[str]) -> str:
        value = known.get(match[1])
        for part in re.findall(r"\w+", match[2]):
            if isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, (str, int, float)):
            raise bad_request("PROCESSING_HALTED", f"Invalid reference specified. No value for {match[1]}.{match[2]}")
        return str(value)

    return _REFERENCE.sub(found, text)
