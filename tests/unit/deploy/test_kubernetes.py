"""Kubernetes manifests: strictly valid, with references to objects that exist."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from facestream.common.core.settings import CONFIG_ENV
from facestream.worker.settings import WorkerSettings

from tests.fixtures.deploy import DEPLOY, run, tool
from tests.unit.deploy.test_compose import SETTINGS
from tests.unit.deploy.test_dashboards import exported, parsed, queried

VERSIONS = ("1.30", "1.33")
MADE = ("base", "overlays/openvino", "overlays/keda")
# Schema of the used part of KEDA's resource; `behavior` is that of the autoscaler.
SCALED_OBJECT = {
    "additionalProperties": False,
    "required": ["scaleTargetRef", "triggers"],
    "properties": {
        "scaleTargetRef": {
            "additionalProperties": False,
            "required": ["name"],
            "properties": {"name": {"type": "string"}},
        },
        "minReplicaCount": {"type": "integer"},
        "maxReplicaCount": {"type": "integer"},
        "pollingInterval": {"type": "integer"},
        "advanced": {
            "additionalProperties": False,
            "properties": {
                "horizontalPodAutoscalerConfig": {
                    "additionalProperties": False,
                    "properties": {"behavior": {"type": "object"}},
                }
            },
        },
        "triggers": {
            "type": "array",
            "items": {
                "additionalProperties": False,
                "required": ["type", "metadata"],
                "properties": {
                    "type": {"const": "prometheus"},
                    "metricType": {"enum": ["AverageValue", "Value"]},
                    "metadata": {
                        "required": ["serverAddress", "query", "threshold"],
                        "additionalProperties": {"type": "string"},
                    },
                },
            },
        },
    },
}
# As listed in base/kustomization.yaml.
SECRET_KEYS = {
    *(f"{service}.yaml" for service in ("capture", "worker", "annotator")),
    *("redis-users.acl", "admin-token", "cameras.yaml"),
}


@lru_cache
def objects(folder: str) -> list[dict[str, Any]]:
    text = run(tool("kubectl"), "kustomize", str(DEPLOY / "k8s" / folder))
    return list(yaml.safe_load_all(text))


def of_kind(folder: str, kind: str) -> list[dict[str, Any]]:
    return [found for found in objects(folder) if found["kind"] == kind]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", MADE)
def test_every_object_is_strictly_valid(folder: str, version: str) -> None:
    for found in objects(folder):
        if found["kind"] != "ScaledObject":
            kubernetes_validate.validate(found, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_keda_scales_workers_by_the_age_of_the_oldest_face(version: str) -> None:
    (scaled,) = of_kind("overlays/keda", "ScaledObject")
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    jsonschema.validate(scaled["spec"], SCALED_OBJECT)
    (before,) = (
        found
        for found in of_kind("base", "HorizontalPodAutoscaler")
        if found["metadata"]["name"] == "worker"
    )
    behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    same = {**before, "spec": {**before["spec"], "behavior": behavior}}
    kubernetes_validate.validate(same, version, strict=True)
    assert scaled["spec"]["scaleTargetRef"]["name"] == before["spec"]["scaleTargetRef"]["name"]
    names = [f["metadata"]["name"] for f in of_kind("overlays/keda", "HorizontalPodAutoscaler")]
    assert names == ["model-server"], "two scalers of one deployment would fight"
    for trigger in scaled["spec"]["triggers"]:
        series = set(queried(parsed(trigger["metadata"]["query"])))
        assert series == {"facestream_worker_oldest_pending_face_seconds"} <= exported()
        assert 0 < float(trigger["metadata"]["threshold"]) < WorkerSettings().max_face_age_s


@pytest.mark.parametrize("folder", MADE)
def test_every_pod_has_limits_probes_and_no_privileges(folder: str) -> None:
    deployments = of_kind(folder, "Deployment")
    assert len(deployments) == 5
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        # A Service named facestream-… would set FACESTREAM_…, an unknown setting.
        assert pod["enableServiceLinks"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"livenessProbe", "readinessProbe"} <= set(container)
        assert container["resources"]["limits"]["memory"]
        assert ":" in container["image"]
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            check = container.get(probe, {})
            port = check.get("httpGet", check.get("tcpSocket", {})).get("port")
            assert port is None or port in ports


@pytest.mark.parametrize("folder", MADE)
def test_selectors_match_pods_and_scalers_their_deployments(folder: str) -> None:
    deployments = of_kind(folder, "Deployment")
    apps = {d["spec"]["template"]["metadata"]["labels"]["app"] for d in deployments}
    for service in of_kind(folder, "Service"):
        assert service["spec"]["selector"]["app"] in apps
    for budget in of_kind(folder, "PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"]["app"] in apps
    for scaler in of_kind(folder, "HorizontalPodAutoscaler"):
        names = [d["metadata"]["name"] for d in deployments]
        assert scaler["spec"]["scaleTargetRef"]["name"] in names
    for policy in of_kind(folder, "NetworkPolicy"):
        assert policy["spec"]["podSelector"].get("matchLabels", {}).get("app", "worker") in apps


@pytest.mark.parametrize("folder", MADE)
def test_network_policies_allow_each_connection_at_both_ends(folder: str) -> None:
    into: set[tuple[str, str, int]] = set()
    out: set[tuple[str, str, int]] = set()
    for policy in of_kind(folder, "NetworkPolicy"):
        own = policy["spec"]["podSelector"].get("matchLabels", {}).get("app", "*")
        for way, side in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(way, ()):
                for peer in rule.get(side, ()):
                    if "podSelector" in peer:
                        other = peer["podSelector"]["matchLabels"]["app"]
                        port = rule["ports"][0]["port"]
                        if way == "ingress":
                            into.add((other, own, port))
                        else:
                            out.add((own, other, port))
    assert into == out
    assert into == {
        ("capture", "redis", 6379),
        ("worker", "redis", 6379),
        ("annotator", "redis", 6379),
        ("worker", "model-server", 8500),
    }


@pytest.mark.parametrize("folder", MADE)
def test_monitoring_may_only_scrape_metrics(folder: str) -> None:
    scraped = {
        (policy["metadata"]["name"], rule["ports"][0]["port"])
        for policy in of_kind(folder, "NetworkPolicy")
        for rule in policy["spec"].get("ingress", ())
        if any("namespaceSelector" in peer for peer in rule.get("from", ()))
    }
    assert scraped == {
        ("redis", 6379),  # the Redis exporter
        ("capture", 9101),
        ("worker", 9102),
        ("annotator", 9104),
        ("model-server", 8501),
        ("model-server", 9103),
    }


@pytest.mark.parametrize("folder", MADE)
def test_every_variable_is_a_setting_and_every_secret_key_exists(folder: str) -> None:
    for deployment in of_kind(folder, "Deployment"):
        name, pod = deployment["metadata"]["name"], deployment["spec"]["template"]["spec"]
        environment = {
            entry["name"]: entry["value"]
            for entry in pod["containers"][0].get("env", ())
            if entry["name"] != CONFIG_ENV
        }
        if name in SETTINGS:
            SETTINGS[name].load(environ=environment)
        for volume in pod["volumes"]:
            for item in volume.get("secret", {}).get("items", ()):
                assert item["key"] in SECRET_KEYS
        annotations = deployment["spec"]["template"]["metadata"].get("annotations", {})
        if name != "redis":
            ports = {port["containerPort"] for port in pod["containers"][0]["ports"]}
            assert int(annotations["prometheus.io/port"]) in ports


def test_the_overlay_replaces_only_the_model_server() -> None:
    def names(folder: str) -> set[tuple[str, str]]:
        return {(found["kind"], found["metadata"]["name"]) for found in objects(folder)}

    assert names("base") - names("overlays/openvino") == {
        ("Deployment", "tf-serving"),
        ("ConfigMap", "serving"),
    }
    assert names("overlays/openvino") - names("base") == {("Deployment", "model-server")}
