"""What Prometheus and Grafana are given names only what we export."""

import json
import re
import threading
from importlib.resources import files

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobs.build import Parts
from jobs.chores import chores, verify_all
from jobs.metrics import metrics_of
from jobs.scheduler import Jobs
from jobs.settings import load_settings
from jobs.watching import Watch
from sync.destinations import suspend
from sync.intake import Intake
from tests.jobs.test_alerts import Metering
from tests.sync.sync_world import deliver_all, destination, found, text

_NAME = re.compile(r"\bassent_[a-z_]+\b")
#: Labels that a rule names or groups by.
_GROUPED = re.compile(r"by \(([a-z, ]+)\)")
_MATCHED = re.compile(r"\{([a-z]+)!?=")
#: Prometheus' own: of the scrape, and of a histogram's buckets.
_OWN = {"job", "le"}


@pytest.fixture
def exported(database, database_url, tmp_path):
    """Every family that a process with work behind it exports: names of samples, with their labels."""
    found(database, "acme")
    (tmp_path / "archive").mkdir()
    (tmp_path / "s.toml").write_text(
        f'[database]\nurl = "{database_url}"\n[destinations.archive]\nkind = "archive"\npath = "archive"\n'
    )
    parts = Parts(load_settings(tmp_path / "s.toml", {}))
    to = destination()
    parts.__dict__["destinations"] = [to]
    intake = Intake(database)
    intake.take([text("Hi", contact=n) for n in range(3)])
    intake.close()
    deliver_all(database, to)
    suspend(database, to.name, "forbidden", "Rotate the key.")
    to.connector.__class__ = Metering
    Watch(parts, list).look(threading.Event())
    verify_all(database, threading.Event())
    runs = Jobs(parts.database, chores(parts, lambda: None, lambda _: None))
    told = metrics_of(parts, runs)().decode()
    runs.end(20)
    parts.close()
    samples = {}
    for family in text_string_to_metric_families(told):
        for sample in family.samples:
            samples.setdefault(sample.name, set()).update(sample.labels)
    return samples


def expressions():
    rules = (files("jobs") / "monitoring/alerts.rules.yml").read_text()
    board = json.loads((files("jobs") / "monitoring/grafana.json").read_text())
    told = re.findall(r"^ +expr: (.+)$", rules, re.M)
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(told) == len(re.findall(r"- alert:", rules)) == len(re.findall(r"action:", rules))
    return told + shown


def test_every_name_and_label_in_rules_and_dashboard_is_one_that_we_export(exported):
    for expression in expressions():
        names = set(_NAME.findall(expression))
        assert names <= exported.keys(), expression
        labels = {one.strip() for group in _GROUPED.findall(expression) for one in group.split(",")}
        labels |= set(_MATCHED.findall(expression))
        known = set().union(*(exported[name] for name in names)) if names else set()
        assert labels <= known | _OWN, expression


def test_what_the_issue_asks_to_be_seen_is_exported_with_its_unit(exported):
    wanted = {
        "assent_owed_entries": {"destination", "lane"},
        "assent_oldest_owed_seconds": {"destination", "lane"},
        "assent_pushed_entries_total": {"destination", "answer"},
        "assent_refused_entries": {"destination"},
        "assent_set_aside_entries": {"destination"},
        "assent_push_seconds_bucket": {"destination", "le"},
        "assent_destination_suspended": {"destination"},
        "assent_lease_changes_total": {"destination", "change"},
        "assent_api_calls_used": {"destination"},
        "assent_api_calls_limit": {"destination"},
        "assent_job_stalled": {"job"},
    }

    assert {name: exported.get(name) for name in wanted} == wanted
    assert not any({"organization", "contact", "line"} & labels for labels in exported.values())
