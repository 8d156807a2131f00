"""Settings: read once, every fault at once, a secret never from the file."""

from pathlib import Path

import pytest

from consent.kinds import Lane
from jobs.settings import ArchiveSettings, SalesforceSettings, SettingsError, load_settings

SALESFORCE = """
[destinations.salesforce]
kind = "salesforce"
auth = "client_credentials"
client_id = "3MVG9"
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="settings.toml"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


def faults_of(file, environ=None):
    with pytest.raises(SettingsError) as raised:
        load_settings(file, environ or {})
    return [str(fault) for fault in raised.value.faults]


def test_without_a_file_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    loaded = load_settings(None, {})

    assert loaded.file is None
    assert loaded.settings.database.url == f"sqlite:///{tmp_path}/var/assent.db"
    assert loaded.settings.server.host == "127.0.0.1"
    assert loaded.settings.delivery.suspend_after == 50


def test_every_fault_is_told_at_once_with_its_key_its_source_and_the_fix(write):
    file = write("""
[database]
ulr = "sqlite:///x.db"
[server]
port = "many"
[delivery]
suspend_after = 0
[destinations.salesforce]
kind = "salesforce"
login_url = "http://plain"
auth = "password"
[destinations.paper]
kind = "fax"
[destinations.archive]
kind = "archive"
lanes = ["consent", "gossip"]
""")

    told = faults_of(file, {"ASSENT_SERVRE__PORT": "1", "ASSENT_SERVER__PROT": "2", "ASSENT_JOBS__RECONCILE": "often"})

    expected = {
        "database.ulr": f"({file}): unknown key; did you mean `url`?",
        "server.port": f"({file}): bad value",
        "delivery.suspend_after": "greater than or equal to 1",
        "destinations.salesforce.login_url": "https://login.salesforce.com",
        "destinations.salesforce.auth": "'jwt' or 'client_credentials'",
        "destinations.paper.kind": '"salesforce", "archive", "portal"',
        "destinations.archive.lanes": "'consent', 'messages' or 'audit'",
        "servre.port": "(ASSENT_SERVRE__PORT): unknown variable",
        "server.prot": "(ASSENT_SERVER__PROT): unknown key; did you mean `port`?",
        "jobs.reconcile": "(ASSENT_JOBS__RECONCILE): bad value",
    }
    for key, words in expected.items():
        assert any(line.startswith(key + " (") and words in line for line in told), (key, told)
    assert len(told) == len(expected)


def test_a_secret_in_the_file_is_refused_and_never_shown(write):
    file = write(
        SALESFORCE
        + 'client_secret = "hunter2hunter2"\n[database]\nurl = "postgresql://assent:hunter3@db/assent"\n'
        + '[server]\ntoken = "hunter4hunter4hunter4"\n'
    )

    told = faults_of(file)

    text = "\n".join(told)
    assert "hunter" not in text
    for key in ("destinations.salesforce.client_secret", "database.url", "server.token"):
        assert f"{key} ({file}): a secret never stands in the settings file" in text
    assert "client_secret_file" in text
    assert "ASSENT_DESTINATIONS__SALESFORCE__CLIENT_SECRET" in text


def test_a_secret_comes_from_its_file_and_the_environment_goes_before(write, tmp_path):
    write("from-file\n", "sf.secret")
    file = write(SALESFORCE + 'client_secret_file = "sf.secret"\n')

    from_file = load_settings(file, {})
    from_environment = load_settings(file, {"ASSENT_DESTINATIONS__SALESFORCE__CLIENT_SECRET": "from-env"})

    def secret(loaded):
        return loaded.settings.destinations["salesforce"].client_secret.get_secret_value()

    assert secret(from_file) == "from-file"
    assert secret(from_environment) == "from-env"
    assert "from-file" not in repr(from_file)


def test_a_missing_or_empty_file_of_a_secret_stops_the_start(write, tmp_path):
    write("\n", "empty")
    file = write(SALESFORCE + 'client_secret_file = "nowhere"\n[server]\ntoken_file = "empty"\n')

    told = faults_of(file)

    assert any(
        "destinations.salesforce.client_secret_file" in line and str(tmp_path / "nowhere") in line for line in told
    )
    assert any("server.token_file" in line and "empty" in line for line in told)


def test_a_disabled_destination_needs_no_keys(write):
    file = write(SALESFORCE + 'client_secret_file = "nowhere"\nenabled = false\n')

    assert not load_settings(file, {}).settings.destinations["salesforce"].enabled


def test_a_destination_says_which_keys_it_lacks(write):
    told = faults_of(write('[destinations.crm]\nkind = "salesforce"\n'))

    assert [line.split(" ")[0] for line in told] == [
        "destinations.crm.client_id",
        "destinations.crm.username",
        "destinations.crm.private_key_file",
    ]
    assert "ASSENT_DESTINATIONS__CRM__PRIVATE_KEY" in told[2]


def test_relative_paths_count_from_the_settings_file(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    file = write('[database]\nurl = "sqlite:///data/a.db"\n[destinations.archive]\nkind = "archive"\npath = "kept"\n')

    settings = load_settings(file, {}).settings

    assert settings.database.url == f"sqlite:///{tmp_path}/data/a.db"
    assert isinstance(settings.destinations["archive"], ArchiveSettings)
    assert settings.destinations["archive"].path == tmp_path / "kept"


def test_every_key_can_be_set_from_the_environment(write):
    environ = {
        "ASSENT_DATABASE__URL": "postgresql://assent@db/assent",
        "ASSENT_DATABASE__PASSWORD": "s3cret",
        "ASSENT_DESTINATIONS__CRM__KIND": "salesforce",
        "ASSENT_DESTINATIONS__CRM__AUTH": "client_credentials",
        "ASSENT_DESTINATIONS__CRM__CLIENT_ID": "3MVG9",
        "ASSENT_DESTINATIONS__CRM__CLIENT_SECRET": "s3cret",
        "ASSENT_DESTINATIONS__CRM__LANES": "consent, audit",
        "ASSENT_DESTINATIONS__CRM__FROM": "now",
        "ASSENT_DESTINATIONS__CRM__API_VERSION": "v63.0",
        "ASSENT_DESTINATIONS__COLD_STORE__ENABLED": "false",
    }

    settings = load_settings(write('[destinations.cold-store]\nkind = "archive"\n'), environ).settings

    crm = settings.destinations["crm"]
    assert isinstance(crm, SalesforceSettings)
    assert (crm.lanes, crm.start, crm.api_version) == ((Lane.CONSENT, Lane.AUDIT), "now", "63.0")
    assert not settings.destinations["cold-store"].enabled


def test_a_file_that_was_named_must_be_there(tmp_path):
    with_option = faults_of(tmp_path / "none.toml")
    with pytest.raises(SettingsError) as raised:
        load_settings(None, {"ASSENT_CONFIG": str(tmp_path / "none.toml")})

    assert "--config" in with_option[0]
    assert "ASSENT_CONFIG" in str(raised.value)


def test_a_file_that_is_no_toml_is_named_with_the_place(write):
    told = faults_of(write("[database\nurl = 1\n"))

    assert "line 1" in told[0]


def test_what_init_makes_is_found_without_being_named(write, tmp_path):
    (tmp_path / "var/keys").mkdir(parents=True)
    write("0123456789abcdef0123", "var/keys/api-token")

    token = load_settings(write(""), {}).settings.server.token

    assert token.get_secret_value() == "0123456789abcdef0123"


def test_settings_are_frozen(write):
    settings = load_settings(write(""), {}).settings

    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1


def test_the_source_of_each_value_is_known(write):
    file = write("[server]\nport = 9000\n")

    loaded = load_settings(file, {"ASSENT_SERVER__HOST": "0.0.0.0"})

    assert loaded.sources == {"server.port": str(file), "server.host": "ASSENT_SERVER__HOST"}


def test_organizations_and_lanes_are_read_from_lists(write):
    file = write('[destinations.a]\nkind = "archive"\norganizations = ["acme", "system"]\nlanes = ["audit"]\n')

    archive = load_settings(Path(file), {}).settings.destinations["a"]

    assert (archive.organizations, archive.lanes) == (("acme", "system"), (Lane.AUDIT,))


@pytest.mark.parametrize(
    ("text", "key", "fix"),
    [
        ("delivery = 3", "delivery", "a line [delivery]"),
        ("[destinations]\narchive = 3", "destinations.archive", "a line [destinations.archive]"),
        ("[[jobs]]\ndeliver = '30s'", "jobs", "a line [jobs]"),
        ('[destinations."A B"]\nkind = "archive"', "destinations.A B", "small letters"),
        (f'[destinations.{"x" * 65}]\nkind = "archive"', f"destinations.{'x' * 65}", "64 at most"),
    ],
)
def test_a_section_that_is_no_table_or_has_a_bad_name_is_told_with_what_to_write(write, text, key, fix):
    [fault] = faults_of(write(text))

    assert fault.startswith(f"{key} (")
    assert fix in fault
