"""Draws the tables of `consent.rules` for people: the rows and the diagram of `consent/README.md`.

`python -m consent.drawing` writes both into the README between their marks; a test holds them against the tables.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from consent.rules import RULES, RULES_DISCLAIMER, RULES_EVENTS, RULES_OFF, RULINGS, Case, Event, When
from consent.values import Consent, Sender

BEGIN, END = "<!-- drawn from consent/rules.py by `python -m consent.drawing` -->", "<!-- end of what is drawn -->"
README = Path(__file__).with_name("README.md")


def drawn(readme: str) -> str:
    """Return the README with the rows and the diagram of today's tables."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{diagram()}\n\n{rows()}\n\n{END}{after}"


def diagram() -> str:
    """Return the states of mode consent and what leads from one to another, as a Mermaid diagram."""
    arrows: dict[tuple[Consent, Consent], dict[str, None]] = {}
    for table in (RULES, RULES_EVENTS):
        for (state, event), cases in table.items():
            for case in cases if isinstance(cases, tuple) and not isinstance(cases, Case) else (cases,):
                if case.after is not None and case.after is not state:
                    arrows.setdefault((state, case.after), {})[f"{event} ({case.row})"] = None
    lines = [f"    {before} --> {after}: {'<br>'.join(why)}" for (before, after), why in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {Consent.NONE}", *lines, "```"])


def rows() -> str:
    """Return every case of every table as rows of Markdown, in the order in which they are asked."""
    lines = []
    for title, cases in _tables():
        lines += ["", f"**{title}**", "", *_HEADING, *dict.fromkeys(cases)]
    return "\n".join(lines[1:])


_HEADING = ("| row | state | heard | where | the text is | sent | state afterwards |", "|---|---|---|---|---|---|---|")


def _tables() -> Iterator[tuple[str, list[str]]]:
    for sender in Sender:
        lines = [_line(case, "any", f"{sender} text", case.when) for case in RULINGS[sender]]
        yield f"Asked first, in every mode: a text of {_ARTICLE[sender]}", lines
    yield "Mode consent", _merged(RULES)
    yield "Mode off, where it differs", _merged(_difference(RULES_OFF))
    yield "Mode disclaimer, where it differs", _merged(_difference(RULES_DISCLAIMER))
    events = {key: (case,) for key, case in RULES_EVENTS.items()}
    yield "Beside the texts, in every mode", _merged(events)


_ARTICLE = {Sender.EMPLOYEE: "an employee", Sender.CONTACT: "a contact"}


def _difference(
    table: Mapping[tuple[Consent, Event], tuple[Case, ...]],
) -> dict[tuple[Consent, Event], tuple[Case, ...]]:
    return {key: cases for key, cases in table.items() if cases != RULES[key]}


def _merged(table: Mapping[tuple[Consent, Event], tuple[Case, ...]]) -> list[str]:
    """Return a line for each case, with all that lead to the same one in it."""
    heard: dict[tuple[Case, Consent], list[str]] = {}
    for (state, event), cases in table.items():
        for case in cases:
            heard.setdefault((case, state), []).append(event)
    states: dict[tuple[Case, tuple[str, ...]], list[str]] = {}
    for (case, state), events in heard.items():
        states.setdefault((case, tuple(events)), []).append(state)
    lines = [
        (case.row, _line(case, ", ".join(found), ", ".join(events), case.when))
        for (case, events), found in states.items()
    ]
    return [line for _, line in sorted(lines, key=lambda line: int(line[0]))]


def _line(case: Case, state: str, heard: str, when: When) -> str:
    after = f"{case.after}{f' ({case.origin})' if case.origin else ''}" if case.after else "same"
    verdict = "–" if case.verdict is None and case.after is not None else str(case.verdict or "as its state says")
    reason = f" ({case.reason})" if case.reason and case.reason != case.after else ""
    sent = ", ".join(case.autos) or "–"
    return f"| {case.row} | {state} | {heard} | {when} | {verdict}{reason} | {sent} | {after} |"


if __name__ == "__main__":
    README.write_text(drawn(README.read_text("utf-8")), "utf-8")
