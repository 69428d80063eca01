"""Prometheus configuration, rules and alerts, checked by promtool."""

from __future__ import annotations

import yaml

from tests.fixtures.deploy import DEPLOY, run, tool

PROMETHEUS = DEPLOY / "prometheus"


def test_the_configuration_and_its_rules_are_valid() -> None:
    run(tool("promtool"), "check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_alerts_fire_on_faults_and_not_on_a_healthy_system() -> None:
    run(tool("promtool"), "test", "rules", str(PROMETHEUS / "tests" / "alerts_test.yml"))


def test_every_alert_has_a_test() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tests = yaml.safe_load((PROMETHEUS / "tests" / "alerts_test.yml").read_text())["tests"]
    tested = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert tested == alerts
