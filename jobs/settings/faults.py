"""What can be wrong with settings, each told with its key, where its value came from, and the fix."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong; never holds the value itself, which may be a secret."""

    #: As in the file: `destinations.salesforce.client_id`.
    key: str
    #: The settings file's path, or the name of the environment variable.
    source: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.key} ({self.source}): {self.problem}; {self.fix}"


class SettingsError(Exception):
    """The settings can't be used; `faults` names everything that is wrong with them at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)
