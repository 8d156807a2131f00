"""A handful of the schedules of `make chaos`, with the same code."""

import pytest

from tests.chaos.chaos_schedule import play
from tests.chaos.chaos_stage import stage


@pytest.fixture(scope="module")
def place(postgres):
    with stage(postgres.url, postgres.socket) as place:
        yield place


@pytest.mark.parametrize("seed", [100, 105, 106])
def test_whatever_breaks_nothing_is_lost_doubled_or_changed(place, seed):
    told = play(place, seed)

    assert told.holds, told.line()
    assert len(told.faults) >= 3
    assert told.entries > told.texts > 0


def test_the_auditor_of_a_schedule_sees_what_was_lost_doubled_or_changed(place):
    def meddle(world):
        rows = [row for row in place.control.rows("Assent_Entry__c") if row["Organization__c"] == world.org]
        place.control.delete("Assent_Entry__c", "Entry_Id__c", rows[0]["Entry_Id__c"])
        place.control.change("Assent_Entry__c", "Entry_Id__c", rows[1]["Entry_Id__c"], Kind__c="message")
        message = next(iter(world.callers.answers))
        world.callers.answers[message] = {"id": message, "verdict": "another"}

    told = play(place, 103, meddle=meddle)

    assert (told.lost > 0, told.changed >= 2, told.holds) == (True, True, False)
    # Whoever looks into it finds its logs, settings, database and archive.
    assert (told.folder / "settings.toml").exists()
    assert told.line().endswith(f"kept in {told.folder}")
    place.keeps = False
