"""How the org behaves until somebody says otherwise over the control address."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


class SettingError(Exception):
    """A setting that the org does not have, or can't take; the message names it."""


@dataclass(slots=True)
class Settings:
    """The control address's `settings`; each may be changed while the org runs."""

    #: Seconds from the last byte of a request to its answer, the work among them.
    latency_seconds: float = 0.0
    #: Calls a day, and those made so far (`Sforce-Limit-Info: api-usage=used/limit`).
    quota_limit: int = 100_000
    quota_used: int = 0
    #: `api-bursts=used/limit` beside it, where the limit is not 0.
    bursts_limit: int = 0
    bursts_used: int = 0
    #: What tokens name as the instance; others are turned away with INVALID_SESSION_ID. Empty: as asked for.
    instance_url: str = ""
    #: The one audience that signed requests may name. Empty: those of the documents, and this org's own addresses.
    audience: str = ""
    session_seconds: float = 7200.0
    max_body_bytes: int = 50_000_000
    #: The most records in a page of a query, below what the request asks for.
    page_rows: int = 2000
    #: What the org keeps as a line's end: LF, or CR LF.
    line_end: str = "\n"

    def shown(self) -> dict[str, object]:
        return asdict(self)

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Change some.

        Raises: SettingError, and then nothing is changed.
        """
        kinds = {each.name: type(each.default) for each in fields(self)}
        for name, value in wanted.items():
            kind = kinds.get(name)
            if kind is None:
                raise SettingError(f"there is no setting {name!r}; there are {', '.join(kinds)}")
            fitting = (int, float) if kind is float else kind
            if (
                isinstance(value, bool)
                or not isinstance(value, fitting)
                or (isinstance(value, (int, float)) and value < 0)
            ):
                raise SettingError(f"{name} takes a {kind.__name__}")
        if wanted.get("line_end", "\n") not in {"\n", "\r\n"}:
            raise SettingError("line_end is LF or CR LF")
        if wanted.get("page_rows", 1) < 1:
            raise SettingError("page_rows is at least 1")
        for name, value in wanted.items():
            setattr(self, name, value)

    def reset(self) -> None:
        """As at the start."""
        self.change(asdict(Settings()))
