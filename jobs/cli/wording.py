"""`template`, `keyword`: an organization's own texts and words, and how they read.

A text or word that a rule forbids ends 8 and names the offending words; an unknown name is usage, and ends 2.
"""

from enum import StrEnum
from typing import Annotated, Any

import typer

from jobs.cli.shared import Config, Json, group, now, print_lines, print_object, print_table

template = group("The automatic texts: the vendor's, until an organization sets its own.")
keyword = group("The words that opt in, opt out and ask for help.")

OrgId = Annotated[str, typer.Argument(metavar="ORG", help="An organization's id.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="As mo.request.contact; `template list` names them.")]
Language = Annotated[str | None, typer.Option("--language", metavar="L", help="One of its languages [the first].")]


class Use(StrEnum):
    """What a keyword is for."""

    OPT_IN = "opt_in"
    OPT_OUT = "opt_out"
    HELP = "help"


def register(root: typer.Typer) -> None:
    """Add these commands."""
    root.add_typer(template, name="template")
    root.add_typer(keyword, name="keyword")


@template.command("list")
def list_templates(org_id: OrgId, language: Language = None, config: Config = None, as_json: Json = False) -> None:
    """Print every text that is in force, by its name on the vendor's page."""
    from consent.templates import TEMPLATE_NAMES
    from jobs.organizing import told_template

    policy = _policy(org_id, config)
    rows = [told_template(policy, key, language) for key in TEMPLATE_NAMES]
    if as_json:
        print_lines(rows)
    else:
        print_table(("KEY", "VERSION", "TEXT"), ([row["key"], row["version"], row["text"]] for row in rows))


@template.command()
def show(org_id: OrgId, key: Key, language: Language = None, config: Config = None, as_json: Json = False) -> None:
    """Print one text that is in force."""
    from jobs.organizing import told_template

    row = told_template(_policy(org_id, config), _known(key), language)
    if as_json:
        print_object(row)
    else:
        print(row["text"])


@template.command("set")
def set_text(
    org_id: OrgId,
    key: Key,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="May use <Employee Name>, <Opt-in Text> and others.")],
    language: Language = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Set a text; it is sent from the next message on, in every process."""
    _change(org_id, key, text, language, config, as_json)


@template.command()
def reset(org_id: OrgId, key: Key, language: Language = None, config: Config = None, as_json: Json = False) -> None:
    """Restore a text's default."""
    _change(org_id, key, None, language, config, as_json)


@template.command()
def preview(
    org_id: OrgId,
    key: Key,
    employee: Annotated[str, typer.Option("--employee", metavar="N", help="The name to show.")] = "Ann Lee",
    language: Language = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Print a text as a phone shows it, and how many SMS it takes."""
    from consent.segments import segments
    from consent.templates import (
        EMPLOYEE_NAME,
        OPT_IN_TEXT,
        OPT_OUT_TEXT,
        ORGANIZATION,
        REASON,
        clean_name,
        render,
    )

    policy = _policy(org_id, config)
    spoken = policy.language_of(language)
    template = policy.template(_known(key), spoken)
    opt_in, opt_out = policy.shown(template, spoken)
    text = render(template, {
        EMPLOYEE_NAME: clean_name(employee, policy.name), ORGANIZATION: policy.name,
        OPT_IN_TEXT: opt_in, OPT_OUT_TEXT: opt_out, REASON: "the number is a landline",
    })  # fmt: skip
    count = segments(text)
    if as_json:
        print_object({"key": key, "language": spoken, "text": text, **count._asdict()})
    else:
        print(text)
        print_table(("ENCODING", "UNITS", "MESSAGES"), [count])


@keyword.command("list")
def list_keywords(org_id: OrgId, config: Config = None, as_json: Json = False) -> None:
    """Print the words that are live, the shown one first; the floor can't be removed and is always accepted."""
    from jobs.organizing import told_keywords

    rows = told_keywords(_policy(org_id, config))
    if as_json:
        print_lines(rows)
    else:
        table = ([row["use"], row["language"], row["shown"], ", ".join(row["also"])] for row in rows)
        print_table(("USE", "LANGUAGE", "SHOWN", "ALSO"), table)


@keyword.command("set")
def set_word(
    org_id: OrgId,
    use: Annotated[Use, typer.Argument(metavar="USE", help="opt_in replaces; opt_out and help add.")],
    word: Annotated[str, typer.Argument(metavar="WORD", help="As contacts type it.")],
    language: Language = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Set a keyword; texts show it, and replies are read by it, from the next message on."""
    from consent.wording import set_keyword
    from jobs.build import assembled, host_actor

    with assembled(config) as parts, parts.database.write() as tx:
        set_keyword(tx, org_id, use.value, word, language, actor=host_actor(), now=now())
    if as_json:
        print_object({"org": org_id, "use": use.value, "word": word, "language": language})
    else:
        print(f"{org_id}: {word} stands for {use.value}")


def _change(org_id: str, key: str, text: str | None, language: str | None, config: Config, as_json: bool) -> None:
    from consent.wording import set_template
    from jobs.build import assembled, host_actor

    with assembled(config) as parts, parts.database.write() as tx:
        version = set_template(tx, org_id, key, text, language, actor=host_actor(), now=now())
    if as_json:
        print_object({"org": org_id, "key": key, "version": version})
    else:
        print(f"{org_id}: {key} is at version {version}" + ("" if text is not None else ", the default"))


def _policy(org_id: str, config: Config) -> Any:
    from jobs.asking import found_organization
    from jobs.build import assembled

    with assembled(config) as parts, parts.database.read() as tx:
        return found_organization(tx, org_id)[1]


def _known(key: str) -> str:
    from consent.organizations import SettingError
    from consent.templates import TEMPLATE_NAMES

    if key not in TEMPLATE_NAMES:
        raise SettingError(f"a text is one of {', '.join(TEMPLATE_NAMES)}")
    return key
