"""The Kubernetes manifests: valid by Kubernetes' own schemas, and right for the fleet file beside
them. No cluster runs here: that they start one is not tested."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from holdfast.actors.broker.enrolment_store import EnrolmentStore
from holdfast.actors.fleet.expand import expand
from holdfast.actors.fleet.loading import loads
from holdfast.actors.fleet.schema import FleetFile
from holdfast.actors.supervision.headroom import needs
from holdfast.transport import keys
from holdfast.transport.enrolment_tokens import issue, load_token
from holdfast.transport.keys import Role

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OLDEST, NEWEST = "1.30", "1.34"
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

Manifest = dict[str, Any]


def manifests() -> Iterator[Manifest]:
    for name in KUSTOMIZATION["resources"]:
        yield from yaml.safe_load_all((FOLDER / name).read_text())


def named(kind: str, name: str) -> Manifest:
    (found,) = (m for m in manifests() if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


PODS = {
    "broker": named("Deployment", "holdfast-broker")["spec"]["template"]["spec"],
    "pick-0": named("StatefulSet", "pick")["spec"]["template"]["spec"],
}
"""Pod specifications by a host of the fleet file that they are."""


def fleet(directory: Path | None = None) -> FleetFile:
    """The fleet file, with its keys in `directory`."""
    text = (FOLDER / "fleet.yaml").read_text()
    if directory is None:
        return loads(text.replace("{keys: /keys}", "{insecure: true}"))
    return loads(text.replace("{keys: /keys}", f"{{keys: {directory}}}"))


def size(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([KMG]i)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_manifest_is_valid_by_the_schemas_of_kubernetes(version: str) -> None:
    """Strictly: no property that the version does not know."""
    found = list(manifests())
    assert {m["kind"] for m in found} >= {
        "Deployment",
        "StatefulSet",
        "Service",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
    }
    for manifest in found:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_with_an_unknown_property_is_refused() -> None:
    """The check of the other test can fail."""
    broken = named("Deployment", "holdfast-broker")
    broken["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(broken, OLDEST, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomize_puts_the_folder_together() -> None:
    """With the fleet file as a ConfigMap, whose name the pods mount."""
    done = subprocess.run(
        ["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    (config,) = (m for m in made if m["kind"] == "ConfigMap")
    assert config["data"]["fleet.yaml"] == (FOLDER / "fleet.yaml").read_text()
    for kind in ("Deployment", "StatefulSet"):
        (workload,) = (m for m in made if m["kind"] == kind)
        volumes = workload["spec"]["template"]["spec"]["volumes"]
        assert config["metadata"]["name"] in [v.get("configMap", {}).get("name") for v in volumes]


@pytest.mark.parametrize("host", PODS)
def test_the_shared_memory_of_a_pod_suffices_for_its_actors(host: str) -> None:
    """By the figure that `supervisor check` prints."""
    (shm,) = (v for v in PODS[host]["volumes"] if v["name"] == "shm")
    need = needs(expand(fleet(), host, Path("/run/holdfast/r"))).shm_bytes
    assert shm["emptyDir"]["medium"] == "Memory"
    assert size(shm["emptyDir"]["sizeLimit"]) >= need > 0


@pytest.mark.parametrize("host", PODS)
def test_a_pod_is_closed_and_is_probed_where_its_gateway_listens(host: str) -> None:
    """No root, a read-only root file system, no capability; liveness and readiness by our paths."""
    pod = PODS[host]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    for container in (*pod["initContainers"], *pod["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["http"] == fleet().gateway.port and fleet().gateway.host == "0.0.0.0"  # noqa: S104
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert "gateway" in {a.name for a in expand(fleet(), host, Path("/run/holdfast/r"))}


def test_a_replica_asks_for_the_gpu_that_the_fleet_file_gives_it() -> None:
    """One a pod, of which the replica uses the first."""
    (container,) = PODS["pick-0"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {place.device for place in fleet().services["pick"].placements} == {"cuda"}


def test_the_autoscaler_starts_no_more_pods_than_the_fleet_file_has_hosts() -> None:
    """A pod without a host in the file would refuse to start."""
    scaler = named("HorizontalPodAutoscaler", "pick")["spec"]
    target = scaler["scaleTargetRef"]
    pods = [f"{target['name']}-{k}" for k in range(scaler["maxReplicas"])]
    assert named(target["kind"], target["name"])
    assert [place.host for place in fleet().services["pick"].placements] == pods


def test_the_broker_listens_on_the_pod_and_is_reached_by_its_service() -> None:
    """The address of a Service is none of the pod's own."""
    found = fleet()
    (broker,) = (a for a in expand(found, "broker", Path("/run")) if a.kind == "broker")
    assert broker.config["front_tcp"] == "tcp://0.0.0.0:7447"
    assert broker.config["back_tcp"] == "tcp://0.0.0.0:7448"
    (network,) = (a for a in expand(found, "cell1", Path("/run")) if a.kind == "network")
    assert list(network.config["brokers"]) == ["tcp://holdfast-broker.holdfast.svc:7447"]
    service = named("Service", "holdfast-broker")["spec"]
    assert [port["port"] for port in service["ports"]] == [7447, 7448]


@pytest.mark.parametrize("host", PODS)
def test_the_init_container_puts_each_key_where_its_actors_look_for_it(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of the manifest, run on keys and a token made as the guide says."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    names = ("made", "secret", "public", "issued", "keys")
    made, secret, public, issued, mounted = (tmp_path / name for name in names)
    for folder in (secret, public, issued, mounted):
        folder.mkdir()
    keys.new("broker", Role.BROKER, made)
    keys.new("r1", Role.ROBOT, made)
    public_key = keys.load_public(made / "broker.pub")
    token, holder = issue("pick/*", Role.REPLICA, made, public_key, expires_s=9, uses=4)
    files = [(public, path) for path in made.glob("*.pub")]
    files += [(secret, path) for path in (made / "broker.key", holder)]
    files += [(issued, path) for path in made.glob("tokens/*.pub")]
    for folder, path in files:
        # Kubernetes makes them readable for the pod's group.
        copy = folder / path.name.replace("@", ".")
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o440)
    (init,) = PODS[host]["initContainers"]
    (script,) = init["args"]
    script = script.replace("/keys/", f"{mounted}/")
    for folder in (secret, public, issued):
        script = script.replace(f"/{folder.name}/", f"{folder}/")
    subprocess.run([*init["command"], script], check=True)
    actors = expand(fleet(mounted), host, Path("/run"))  # raises for a missing key
    if host == "broker":
        (own,) = (a.config for a in actors if a.kind == "broker")
        assert keys.load(Path(own["key"])) and len(keys.Keyring.of(mounted)) == 2
        assert EnrolmentStore(mounted, "broker").record(token.id) == token
    else:
        (own,) = (a.config for a in actors if a.kind == "inference")
        (there,) = (path for path in map(Path, own["keys"]["tokens"]) if path.is_file())
        assert load_token(there).id == token.id
        assert not list(mounted.glob("*.key"))


KEDA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["scaleTargetRef", "triggers"],
    "properties": {
        "scaleTargetRef": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {name: {"type": "string"} for name in ("apiVersion", "kind", "name")},
        },
        **{
            name: {"type": "integer"}
            for name in ("minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod")
        },
        "advanced": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"horizontalPodAutoscalerConfig": {"type": "object"}},
        },
        "triggers": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["metadata", "type"],
                "properties": {
                    "type": {"type": "string"},
                    "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        },
    },
}
"""Those fields of a ScaledObject's `spec` that are used here, by KEDA's CustomResourceDefinition
(github.com/kedacore/keda, config/crd/bases/keda.sh_scaledobjects.yaml)."""


def test_the_scaled_object_is_valid_and_scales_by_a_metric_that_is_exported() -> None:
    """Its bounds are the plain autoscaler's, and so are its metric and how fast it scales."""
    scaled = yaml.safe_load((FOLDER / "keda.yaml").read_text())
    assert (scaled["apiVersion"], scaled["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
    spec, plain = scaled["spec"], named("HorizontalPodAutoscaler", "pick")["spec"]
    jsonschema.validate(spec, KEDA)
    assert spec["scaleTargetRef"] == plain["scaleTargetRef"]
    bounds = (spec["minReplicaCount"], spec["maxReplicaCount"])
    assert bounds == (plain["minReplicas"], plain["maxReplicas"])
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == plain["behavior"]
    (trigger,) = spec["triggers"]
    metric, service = re.findall(
        r'(holdfast_\w+)\{service="(\w+)"\}', trigger["metadata"]["query"]
    )[0]
    assert (
        f"| `{metric}` | gauge | service |"
        in (FOLDER.parents[1] / "actors/gateway/metrics.md").read_text()
    )
    assert service in fleet().services
    external = plain["metrics"][0]["external"]
    assert external["metric"] == {
        "name": metric,
        "selector": {"matchLabels": {"service": service}},
    }
    wanted = {"type": "AverageValue", "averageValue": trigger["metadata"]["threshold"]}
    assert external["target"] == wanted
