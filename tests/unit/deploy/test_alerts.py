"""Prometheus' files, checked and tried by its own tool."""

from __future__ import annotations

import yaml

from tests.fixtures.deploy import DEPLOY, run, tool

PROMETHEUS = DEPLOY / "prometheus"


def test_the_configuration_and_its_rules_are_valid() -> None:
    run(tool("promtool"), "check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_each_alert_fires_when_it_must_and_none_when_all_is_well() -> None:
    run(tool("promtool"), "test", "rules", str(PROMETHEUS / "tests" / "alerts_test.yml"))


def test_no_alert_is_without_a_test() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tests = yaml.safe_load((PROMETHEUS / "tests" / "alerts_test.yml").read_text())["tests"]
    tried = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert tried == alerts
