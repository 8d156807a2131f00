"""How the demo speaks: calm lines, colored on a terminal only, and one table at the end."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.cli.shared import print_object
from jobs.demo.stage import Standing, Taken

_WIDE = 500


class Teller:
    """Prints for people: to stdout, or to stderr where stdout is for a machine."""

    def __init__(self, *, to_stderr: bool) -> None:
        stream = sys.stderr if to_stderr else sys.stdout
        self._console = Console(
            file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True,
            width=None if stream.isatty() else _WIDE,
        )  # fmt: skip

    def title(self, text: str) -> None:
        """Say what this is."""
        self._print(text, "bold")

    def step(self, text: str) -> None:
        """Begin a new part."""
        self._print()
        self._print(text, "bold cyan")

    def row(self, name: str, text: str) -> None:
        """Say one thing of one subject."""
        self._print(f"  {name:<28}{text}")

    def tell_taken(self, taken: Taken) -> None:
        """Say what became of texts."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(taken.verdicts.items()))
        self.row(f"took {taken.texts} texts", f"{verdicts}; {taken.auto_messages} automatic messages")
        if taken.repeated:
            self.row("", f"{taken.repeated} repeated, answered as the first time and not written again")
        for code, count in sorted(taken.errors.items()):
            self.row("", f"{count} turned down with `{code}`; the others are not held up by it")

    def tell_owed(self, when: str, standing: Standing) -> None:
        """Say what each destination is owed, and which of them is in trouble."""
        owed = ", ".join(
            f"{name} {row['owed']}" + ("" if row["state"] in ("ok", "catching_up") else f" ({row['state']})")
            for name, row in standing.items()
        )
        self.row(when, owed)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a table."""
        table = Table(*columns, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            table.add_row(*map(str, row))
        self._console.print(table)

    def tell_next(self, commands: Mapping[str, str], portal: str) -> None:
        """Say what to try next."""
        self.step("What to try next")
        for what, command in commands.items():
            self._print(f"  # {what}" + (f": {portal}" if what == "the portal" else ""), "dim")
            self._print(f"  {command}")

    def print_json(self, document: Mapping[str, Any]) -> None:
        """Print the one object that a machine reads."""
        print_object(document)

    def _print(self, text: str = "", style: str | None = None) -> None:
        self._console.print(text, style=style)
