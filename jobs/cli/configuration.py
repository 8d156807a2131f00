"""`config`: look at the settings as this program reads them."""

from typing import Any

from jobs.cli.shared import Config, Json, group, print_object, print_table

app = group("The settings: check them, show them, describe them.")


@app.command()
def check(config: Config = None, as_json: Json = False) -> None:
    """Read the settings as every command does; ends 4 and names all faults at once."""
    from jobs.exits import Exit
    from jobs.settings import SettingsError, load_settings

    try:
        loaded = load_settings(config)
    except SettingsError as error:
        if not as_json:
            raise
        import typer

        members = ("key", "source", "problem", "fix")
        print_object({"ok": False, "faults": [{name: getattr(f, name) for name in members} for f in error.faults]})
        raise typer.Exit(Exit.SETTINGS) from error
    if as_json:
        print_object({"ok": True, "faults": []})
    else:
        print(f"{loaded.file or 'the defaults'}: no fault")


@app.command()
def show(config: Config = None, as_json: Json = False) -> None:
    """Print every setting in force and where it comes from; secrets are masked."""
    from jobs.settings import load_settings

    loaded = load_settings(config)
    shown = loaded.settings.model_dump(mode="json", by_alias=True)
    for section, name in (("database", "url"), ("server", "portal_database_url")):
        shown[section][name] = _masked(shown[section][name])
    if as_json:
        print_object(shown)
        return
    rows = [(key, _plain(value), loaded.sources.get(key, "default")) for key, value in _flat(shown)]
    print_table(("KEY", "VALUE", "SOURCE"), rows)


@app.command()
def schema(config: Config = None, as_json: Json = False) -> None:  # noqa: ARG001 (every command takes both)
    """Print the JSON Schema of the settings file."""
    from jobs.settings import Settings

    print_object(Settings.model_json_schema(by_alias=True))


def _masked(url: str | None) -> str | None:
    """Return a database URL without the password that the environment may have put there."""
    from sqlalchemy import make_url

    return url and make_url(url).render_as_string(hide_password=True)


def _flat(tree: dict[str, Any], at: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in tree.items():
        rows += _flat(value, f"{at}{name}.") if isinstance(value, dict) else [(at + name, value)]
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
