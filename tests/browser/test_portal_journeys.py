"""What the three people who use the portal do there, in a real browser: each role's way, and what gets in its way."""

import re
import threading
import time

import pytest
from playwright.sync_api import expect

from consent.database import run
from consent.ledger import read_seqs
from consent.organizations import organization, read_policies
from consent.values import Mode
from sync.runs import list_runs
from tests.portal.portal_stage import ATTACK, EVE, GRACE, OMAR

SETUP, REPORTS, OPERATIONS = "setup@acme.example", "reports@acme.example", "operations@acme.example"


def policy(portal, org="acme"):
    with portal.database.read() as tx:
        return read_policies(tx, organization(tx, org).main)[org]


def settings(portal, org="acme"):
    with portal.database.read() as tx:
        rows = run(tx, "SELECT seq FROM entry WHERE organization = ? AND kind IN ('setting', 'template')", [org]).all()
        return [entry.facts() for entry in read_seqs(tx, org, [row.seq for row in rows])]


def wait_until_told(portal):
    """Wait until the newest run has told of itself once more."""

    def told_at():
        with portal.database.read() as tx:
            return list_runs(tx, limit=1)[0].told_at

    before, deadline = told_at(), time.monotonic() + 10
    while told_at() == before:
        assert time.monotonic() < deadline, "the run is silent"
        time.sleep(0.05)


# Setup


def test_sms_opt_in_is_switched_after_a_confirmation_that_names_what_it_affects(portal, visit):
    page = visit(SETUP).page
    page.get_by_role("link", name="Acme Bank").click()
    box = page.get_by_label("Enable SMS Opt-in")

    box.uncheck()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Disable SMS Opt-in?")
    expect(dialog).to_contain_text("3 organizations and 3 lines")
    expect(dialog).to_contain_text("Acme West")
    dialog.get_by_role("link", name="No").click()
    expect(box).to_be_checked()
    assert policy(portal).mode is Mode.CONSENT

    box.uncheck()
    dialog.get_by_role("button", name="Yes").click()
    expect(page.get_by_role("status")).to_contain_text("SMS Opt-in is off for the entire account")
    assert policy(portal).mode is Mode.OFF

    page.get_by_label("Enable SMS Opt-in").check()
    page.get_by_role("button", name="Yes").click()
    expect(page.get_by_label("Enable SMS Opt-in")).to_be_checked()
    assert policy(portal).mode is Mode.CONSENT
    assert settings(portal)[-1]["actor"].startswith("usr-")


def test_without_a_script_the_confirmation_is_a_page(portal, visit):
    page = visit(SETUP, java_script_enabled=False).page
    page.goto(f"{portal.url}/setup/acme/features")

    page.get_by_label("Enable SMS Opt-in").uncheck()
    page.locator("#sms-opt-in-form").get_by_role("button", name="Save").click()
    expect(page.get_by_role("main")).to_contain_text("Disable SMS Opt-in?")
    page.get_by_role("link", name="No").click()

    expect(page.get_by_label("Enable SMS Opt-in")).to_be_checked()
    assert policy(portal).mode is Mode.CONSENT


def test_of_two_exclusive_features_switched_on_at_once_exactly_one_is(portal, visit):
    first, second = visit("all@assent.example").page, visit("all@assent.example").page
    for page, feature in ((first, "sms-opt-in"), (second, "group-messaging")):
        page.goto(f"{portal.url}/setup/initech/features/{feature}/confirm?enabled=on")
    with portal.database.write() as tx:
        run(tx, "UPDATE organization SET settings = '{}' WHERE id = 'initech'")
    expect(first.get_by_role("button", name="Yes")).to_be_visible()

    # Both answers leave their browsers before either has come back.
    for page in (first, second):
        page.evaluate("document.querySelector('main form').requestSubmit()")
    for page in (first, second):
        page.wait_for_url(re.compile(r"/features(\?|/)"))
        page.wait_for_load_state()
    texts = [page.get_by_role("main").inner_text() for page in (first, second)]

    one = policy(portal, "initech")
    assert (one.mode is Mode.CONSENT) is not one.group_messaging
    assert sum("Nothing was changed." in text for text in texts) == 1
    refused = next(text for text in texts if "Nothing was changed." in text)
    assert "SMS Opt-in" in refused
    assert "Group Messaging" in refused


def test_what_was_not_ordered_is_hidden_and_says_whom_to_ask(portal, visit):
    with portal.database.write() as tx:
        run(tx, "UPDATE organization SET settings = ? WHERE id = 'initech'", [b'{"capability": false}'])
    page = visit("all@assent.example").page

    page.goto(f"{portal.url}/setup/initech/features")

    expect(page.get_by_label("Enable SMS Opt-in")).to_have_count(0)
    expect(page.get_by_role("main")).to_contain_text("please have your admin team reach out to the Movius Support team")


def test_an_organization_is_made_and_a_wrong_id_is_said_beside_its_field(portal, visit):
    page = visit("all@assent.example").page
    page.goto(f"{portal.url}/setup")
    page.get_by_text("New organization").click()
    page.get_by_label("Name").fill("Umbrella Trust")
    page.get_by_label("Id", exact=True).fill("Umbrella!")
    page.get_by_label("Belongs to").select_option("acme")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_label("Id", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Name")).to_have_value("Umbrella Trust")

    page.get_by_label("Id", exact=True).fill("umbrella")
    page.get_by_role("button", name="Make it").click()

    expect(page.get_by_role("status")).to_contain_text("Umbrella Trust was made")
    with portal.database.read() as tx:
        assert organization(tx, "umbrella").main == "acme"
    assert settings(portal)[-1]["actor"].startswith("usr-")


def test_each_general_setting_is_saved_and_a_wrong_one_changes_nothing(portal, visit):
    page = visit("all@assent.example").page
    page.goto(f"{portal.url}/setup/initech/general")

    def save(name):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("status")).to_contain_text("Saved")

    page.get_by_label("An opt-out counts for").select_option("org")
    save("Save the scope of opt-outs")
    page.get_by_label("Numbers without a country code").fill("CA")
    save("Save the region")
    page.get_by_role("checkbox", name="French").check()
    save("Save the languages")
    page.get_by_label("A contact’s texts that waited").select_option("discard")
    save("Save what becomes of held texts")
    page.get_by_label("An employee’s texts that were blocked").select_option("release")
    page.get_by_label("At most so old, hours").fill("12")
    save("Save what becomes of blocked texts")
    page.get_by_label("Numbers without a country code").fill("XX")
    page.get_by_role("button", name="Save the region").click()
    expect(page.locator("#region-error")).to_be_visible()

    one = policy(portal, "initech")
    assert (one.scope, one.default_region, one.held_inbound) == ("org", "CA", "discard")
    assert "fr" in one.languages
    assert one.blocked_outbound == "release:12"


def test_a_text_is_changed_with_a_preview_and_restored_from_its_history(portal, visit):
    page = visit(SETUP).page
    page.goto(f"{portal.url}/setup/acme/messages")
    page.get_by_role("link", name="SMS opt-in: SMS Content sent to the customer in case of MO").click()
    field, preview = page.get_by_role("textbox", name="Text"), page.locator("#preview")

    field.fill("Hi")
    expect(preview).to_contain_text("must show the opt-in word")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#text-error")).to_contain_text("must show the opt-in word")
    expect(page.get_by_role("textbox", name="Text")).to_have_value("Hi")

    page.get_by_role("textbox", name="Text").fill("Acme asks: may we text you? Reply ")
    page.get_by_role("button", name="<Opt-in Text>").click()
    page.get_by_role("textbox", name="Text").press_sequentially(" or STOP ✓")
    expect(page.locator("#preview .said")).to_have_text("Acme asks: may we text you? Reply YES or STOP ✓")
    expect(page.locator("#preview")).to_contain_text("1 SMS")
    expect(page.locator("#preview")).to_contain_text("UCS-2")
    expect(page.locator("#preview ins").first).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("Saved as version 1")

    page.get_by_role("button", name="Restore the default").click()
    expect(page.get_by_role("status").first).to_contain_text("Saved as the default text")
    page.get_by_role("button", name="Restore version 1").click()
    expect(page.get_by_role("status").first).to_contain_text("Saved as version 3")
    assert (
        policy(portal).template("mo.request.contact", "en").text
        == "Acme asks: may we text you? Reply <Opt-in Text> or STOP ✓"
    )


def test_a_text_of_another_language_stands_by_itself(portal, visit):
    page = visit(SETUP).page
    page.goto(f"{portal.url}/setup/acme/messages/mt.accepted.contact?language=es")

    page.get_by_role("textbox", name="Text").fill("Listo. Para salir, responda <Opt-out Text>.")
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("status").first).to_contain_text("Saved as version 1")
    assert policy(portal).template("mt.accepted.contact", "es").text.startswith("Listo")
    assert policy(portal).template("mt.accepted.contact", "en").version == 0


def test_a_word_that_stands_for_something_else_is_refused_beside_its_field(portal, visit):
    page = visit(SETUP).page
    page.goto(f"{portal.url}/setup/acme/keywords")

    page.get_by_label("Opt-in text").first.fill("STOP")
    page.get_by_role("button", name="Save Opt-in text").first.click()
    expect(page.locator("#opt_in-en-error")).to_contain_text("already stands for opt_out")
    page.get_by_label("Opt-out text").first.fill("HALT")
    page.get_by_role("button", name="Save Opt-out text").first.click()
    expect(page.get_by_role("status")).to_contain_text("Saved")

    assert policy(portal).opt_out("en") == "HALT"
    assert policy(portal).opt_in("en") == "YES"


def test_a_line_is_registered_and_a_wrong_number_is_told_beside_its_field(portal, visit):
    page = visit(SETUP).page
    page.goto(f"{portal.url}/setup/acme/lines")
    page.get_by_text("Register a line").click()

    page.get_by_label("Line", exact=True).fill("12")
    page.get_by_label("Employee’s id").fill("e7")
    page.get_by_label("Employee’s name").fill("Nora Quist")
    page.get_by_role("button", name="Register", exact=True).click()
    expect(page.locator("#line-error")).to_contain_text("can’t be read as a number")
    expect(page.get_by_label("Employee’s name")).to_have_value("Nora Quist")

    page.get_by_label("Line", exact=True).fill("(415) 555-0177")
    page.get_by_role("button", name="Register", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Registered")
    expect(page.get_by_role("table")).to_contain_text("+1 415-555-0177")


# Reports


def test_a_contact_is_found_by_number_read_and_revealed_with_a_reason(portal, visit):
    page = visit(REPORTS).page
    page.get_by_label("Number, name, entry id or date").fill("(404) 555-0123")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_contain_text("Grace Kim •••0123")
    expect(page.locator(".rule.in")).to_contain_text("tier 1")
    expect(page.locator(".rule.out")).to_contain_text("Before opted in → after opted out")
    expect(page.locator(".bubble.to-contact").first).to_contain_text("mo.request.contact")
    assert "555" not in page.url

    page.get_by_text("Show the numbers").click()
    page.get_by_label("Why").fill("A complaint of today")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("+1 404-555-0123")


def test_the_question_is_answered_for_now_and_for_then(portal, visit):
    page = visit(REPORTS).page
    page.get_by_role("navigation", name="Portal").get_by_role("link", name="May it be sent?").click()
    page.get_by_label("Organization").select_option("acme")
    page.get_by_label("Contact", exact=True).fill("4045550123")
    page.get_by_label("Line", exact=True).fill("4155550100")
    page.get_by_role("button", name="Answer").click()

    expect(page.locator(".verdict")).to_contain_text("No, it may not")
    expect(page.locator(".rule.out")).to_contain_text("Opted out")
    page.get_by_label("At", exact=True).fill("1999-12-31 10:00")
    page.get_by_role("button", name="Answer").click()
    expect(page.locator(".verdict")).to_contain_text("Not asked")


def test_what_is_downloaded_arrives_as_a_file(portal, visit):
    page = visit(REPORTS).page
    page.goto(portal.url + portal.conversation(GRACE))
    page.get_by_role("link", name="Download", exact=True).click()
    page.get_by_label("JSON lines").check()

    with page.expect_download() as told:
        page.get_by_role("button", name="Download").click()

    lines = told.value.path().read_text().splitlines()
    assert told.value.suggested_filename.endswith(".jsonl")
    assert len(lines) > 10
    assert all('"organization":"acme"' in line for line in lines)


def test_a_possible_revocation_is_closed_once_with_a_reason(portal, visit):
    page = visit(REPORTS).page
    page.get_by_role("link", name=re.compile("Can you stop by at 5")).click()
    expect(page.get_by_role("main")).to_contain_text("tier 9")
    address = page.url

    page.get_by_role("radio", name="No revocation").check()
    page.get_by_label("Why").fill("An appointment, not an opt-out")
    page.get_by_role("button", name="Close the review").click()

    expect(page.get_by_role("status")).to_contain_text("Closed")
    expect(page.get_by_role("main")).to_contain_text("An appointment, not an opt-out")
    page.goto(address)
    expect(page.get_by_role("button", name="Close the review")).to_have_count(0)


# Operations


def test_what_is_not_there_is_said_in_one_line_and_tried_again_by_cause(portal, visit):
    page = visit(OPERATIONS).page
    expect(page.get_by_role("status")).to_contain_text("Yes: 3 refused entries wait for a person.")

    page.get_by_role("navigation", name="Portal").get_by_role("link", name="Refused entries").click()
    expect(page.get_by_role("table")).to_contain_text("The field Text__c is too short there: lengthen it")
    portal.salesforce.accept(*(one["entry"] for one in portal.answers["o1"]["auto_messages"]))
    page.get_by_role("button", name="Try again all of cause STRING_TOO_LONG").click()
    expect(page.get_by_text("Done", exact=True)).to_be_visible()
    page.goto(f"{portal.url}/operations/refused")

    expect(page.get_by_role("table")).not_to_contain_text("STRING_TOO_LONG")
    expect(page.get_by_role("table")).to_contain_text("ENTITY_IS_DELETED")


def test_a_resync_is_told_beforehand_shown_live_and_kept(portal, visit):
    page = visit("all@assent.example").page
    page.goto(f"{portal.url}/operations/destinations/archive")
    page.get_by_role("link", name="Resync…").click()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_role("main")).to_contain_text("Nothing was changed yet")
    pushes = len(portal.archive.pushes)

    page.get_by_role("button", name=re.compile("^Bring .* entries$")).click()
    expect(page.get_by_text("Done", exact=True)).to_be_visible()

    assert len(portal.archive.pushes) > pushes
    page.goto(f"{portal.url}/operations/runs")
    expect(page.get_by_role("table")).to_contain_text("Robin Reyes")


def test_a_run_is_cancelled_while_it_is_at_work_and_goes_on_later(portal, visit):
    page = visit("all@assent.example").page
    gate = threading.Event()
    portal.archive.hang_on(gate)
    try:
        page.goto(f"{portal.url}/operations/destinations/archive/resync")
        page.get_by_role("button", name="Dry run").click()
        page.get_by_role("button", name=re.compile("^Bring .* entries$")).click()
        expect(page.get_by_text("At work")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("Stopping…")).to_be_visible()
        for _ in range(2):  # the run looks for a cancel when it tells of itself; it acts on it before it tells again
            wait_until_told(portal)
        gate.set()

        expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    finally:
        gate.set()
        portal.archive.hang_on(None)
    page.get_by_role("button", name="Go on from here").click()
    expect(page.get_by_text("Done", exact=True)).to_be_visible()


def test_a_destination_is_paused_with_a_reason_and_resumed(portal, visit):
    page = visit("all@assent.example").page
    page.goto(f"{portal.url}/operations/destinations/archive")

    page.get_by_label("Why").fill("The bucket moves tonight")
    page.get_by_role("button", name="Pause deliveries").click()
    expect(page.get_by_role("main")).to_contain_text("Paused by a person")
    expect(page.get_by_role("main")).to_contain_text("The bucket moves tonight")
    page.get_by_role("button", name="Resume deliveries").click()

    expect(page.get_by_role("button", name="Pause deliveries")).to_be_visible()


def test_a_reconcile_finds_what_a_destination_lost_and_repairs_it(portal, visit):
    portal.archive.forget(portal.answers["h1"]["entries"][0])
    page = visit("all@assent.example").page
    page.goto(f"{portal.url}/operations/destinations/archive")
    page.get_by_role("button", name="Reconcile").click()
    expect(page.get_by_text("1 differ", exact=True)).to_be_visible()
    expect(page.get_by_role("table")).to_contain_text(portal.answers["h1"]["entries"][0])
    page.goto(f"{portal.url}/operations")
    expect(page.get_by_role("status")).to_contain_text("1 entry differed at Archive when it was read back")

    page.goto(f"{portal.url}/operations/destinations/archive")
    page.get_by_label("Repair: bring again what is missing or differs").check()
    page.get_by_role("button", name="Reconcile").click()

    expect(page.get_by_text("No difference")).to_be_visible()
    assert portal.answers["h1"]["entries"][0] in portal.archive.ids()


# What gets in the way


@pytest.mark.parametrize(("login", "path"), [(REPORTS, "/setup"), (SETUP, "/operations"), (OPERATIONS, "/reports")])
def test_a_wrong_role_is_told_which_one_is_needed(portal, visit, login, path):
    page = visit(login).page

    page.goto(portal.url + path)

    expect(page.get_by_role("main")).to_contain_text("This page is for the role")


def test_another_organizations_data_is_not_there_by_a_guessed_address(portal, visit):
    page = visit("globex@globex.example").page

    for path in (portal.conversation(GRACE), f"/entries/{portal.answers['g7']['entries'][0]}", "/setup/acme/messages"):
        page.goto(portal.url + path)
        expect(page.get_by_role("main")).to_contain_text("There is no such page, or it is about another organization.")


def test_an_expired_session_asks_to_sign_in_and_comes_back(portal, visit):
    page = visit("all@assent.example").page
    page.goto(f"{portal.url}/operations")
    portal.clock.ahead = 24 * 3600 * 1_000_000
    try:
        # The page that refreshes itself is sent to the door as a whole.
        page.wait_for_url(re.compile(r"/sign-in\?next=/portal/operations$"), timeout=15_000)
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    finally:
        portal.clock.ahead = 0


def test_a_form_that_is_sent_twice_changes_once(portal, visit):
    page = visit(SETUP).page
    page.goto(f"{portal.url}/setup/acme/messages/help.contact")
    page.get_by_role("textbox", name="Text").fill("Ask <Employee Name>.")

    page.get_by_role("button", name="Save").dblclick()
    expect(page.get_by_role("status").first).to_contain_text("Saved as version 1")
    page.reload()

    assert [one["template_version"] for one in settings(portal) if one.get("template") == "help.contact"] == [1]
    # The same by hand, past the browser's guard: it changes nothing, and makes no version.
    page.context.request.post(
        f"{portal.url}/setup/acme/messages/help.contact", form={"text": "Ask <Employee Name>.", "language": "en"},
        headers={"sec-fetch-site": "same-origin"},
    )  # fmt: skip
    assert [one["template_version"] for one in settings(portal) if one.get("template") == "help.contact"] == [1]


def test_the_back_button_shows_what_was_found_again(portal, visit):
    page = visit(REPORTS).page
    page.get_by_label("Number, name, entry id or date").fill("Priya")
    page.keyboard.press("Enter")
    expect(page.get_by_role("table")).to_contain_text("Omar Haddad")

    page.get_by_role("link", name="Omar Haddad").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Omar Haddad")
    page.go_back()

    expect(page.get_by_role("table")).to_contain_text("Omar Haddad")
    page.go_back()
    expect(page.get_by_label("Number, name, entry id or date")).to_be_visible()


def test_after_signing_out_the_back_button_shows_nothing(portal, visit):
    page = visit(REPORTS).page
    page.goto(portal.url + portal.conversation(OMAR))
    page.locator("summary", has_text="Dana Cole").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    page.go_back()

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_text("Omar Haddad")).to_have_count(0)


def test_an_attack_in_a_text_a_name_or_a_template_is_read_and_not_run(portal, visit):
    visitor = visit("all@assent.example")
    page = visitor.page
    page.goto(f"{portal.url}/setup/acme/messages/mo.accepted.employee")
    page.get_by_role("textbox", name="Text").fill(ATTACK.replace("<", "‹").replace(">", "›") + "'\"&lt;script&gt;")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("Saved")
    page.goto(f"{portal.url}/setup/acme/messages/help.contact")
    page.get_by_role("textbox", name="Text").fill(ATTACK)
    expect(page.locator("#preview")).to_contain_text("is no placeholder")
    expect(page.locator("#preview .difference ins").first).to_be_visible()

    page.goto(portal.url + portal.conversation(EVE))
    expect(page.locator(".said").filter(has_text="<script>").first).to_be_visible()

    assert page.evaluate("window.attacked") is None
    assert visitor.outside == []


def test_times_are_read_in_the_viewers_zone_or_in_utc(portal, visit):
    page = visit(REPORTS).page
    page.goto(f"{portal.url}/entries/{portal.answers['g1']['entries'][0]}")
    happened = page.locator("dl.facts dd").first

    expect(happened).to_contain_text(re.compile(r"E[SD]T \(.*UTC\)"))
    page.get_by_role("button", name=re.compile("Times are in")).click()
    expect(page.locator("dl.facts dd").first).to_contain_text(re.compile(r"\d\d:\d\d:\d\d UTC$"))
