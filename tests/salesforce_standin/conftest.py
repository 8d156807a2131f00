"""One org for all tests, emptied before each; a caller of it; an org of every field type; orgs as processes."""

import pytest

from connectors.salesforce.standin import StandIn
from tests.salesforce_standin.standin_world import PACKAGE, Caller, Process, choices, write_package


@pytest.fixture(scope="session")
def started(tmp_path_factory):
    with StandIn(package=PACKAGE, state=tmp_path_factory.mktemp("org")) as org:
        yield org


@pytest.fixture
def org(started):
    """An empty org with Assent's package, in which nothing is armed."""
    started.control.reset(rows=True)
    return started


@pytest.fixture
def control(org):
    return org.control


@pytest.fixture
def caller(org):
    made = Caller(org.address)
    yield made
    made.close()


@pytest.fixture(scope="session")
def thing_org(tmp_path_factory):
    """An org whose object has a field of every type."""
    fields = [
        ("Key__c", "Text", "<length>20</length><externalId>true</externalId><unique>true</unique>"
                           "<caseSensitive>false</caseSensitive>"),
        ("Group__c", "Text", "<length>20</length><externalId>true</externalId>"),
        ("Badge__c", "Text", "<length>20</length><unique>true</unique><caseSensitive>true</caseSensitive>"),
        ("Short__c", "Text", "<length>5</length>"),
        ("Long__c", "LongTextArea", "<length>300</length><visibleLines>3</visibleLines>"),
        ("Must__c", "Text", "<length>20</length><required>true</required><defaultValue>\"set\"</defaultValue>"),
        ("Amount__c", "Number", "<precision>6</precision><scale>2</scale>"),
        ("Done__c", "Checkbox", "<defaultValue>true</defaultValue>"),
        ("At__c", "DateTime", ""),
        ("Day__c", "Date", ""),
        ("State__c", "Picklist", choices("open", "shut")),
        ("Free__c", "Picklist", choices("one", restricted=False)),
        ("Contact__c", "Lookup", "<referenceTo>Contact</referenceTo><relationshipName>Things</relationshipName>"),
        ("Sum__c", "Number", "<formula>1 + 1</formula><precision>18</precision><scale>0</scale>"),
    ]  # fmt: skip
    rules = [("Shut_Needs_Day", 'AND(ISPICKVAL(State__c, "shut"), ISBLANK(Day__c))', "What is shut has a day.")]
    package = write_package(tmp_path_factory.mktemp("package"), fields, rules)
    with StandIn(package=package, state=tmp_path_factory.mktemp("things")) as org:
        yield org


@pytest.fixture
def things(thing_org):
    """A caller of the org with a field of every type; `upsert` is to be told `Thing__c` and a key."""
    thing_org.control.reset(rows=True)
    made = Caller(thing_org.address)
    yield made
    made.close()


@pytest.fixture
def start(tmp_path):
    """Start stand-ins as processes; they are gone at the end of the test."""
    made = []

    def run(*arguments, state="state"):
        made.append(Process(tmp_path / state, *arguments))
        return made[-1]

    yield run
    for each in made:
        each.kill()
