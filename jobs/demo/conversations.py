"""The sample: texts of two organizations over four days, in the order in which they come in."""

from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

import orjson

#: Id and name of each organization in the sample.
ORGANIZATIONS = {"northwind-advisors": "Northwind Advisors", "harbor-bank": "Harbor Bank"}


def read_conversations() -> list[dict[str, Any]]:
    """Return the sample's texts, as `assent ingest` would take them; names and numbers are fictional."""
    lines = files("jobs.demo").joinpath("conversations.jsonl").read_bytes().splitlines()
    return [orjson.loads(line) for line in lines]


def split(texts: Sequence[dict[str, Any]]) -> list[Sequence[dict[str, Any]]]:
    """Return the sample in four parts, the second of them the largest: about a day each."""
    at = [0, len(texts) // 4, len(texts) * 2 // 3, len(texts) * 5 // 6, len(texts)]
    return [texts[first:last] for first, last in pairwise(at)]
