"""deploy/kubernetes: each overlay rendered by kubectl, checked strictly against the API's schemas (KEDA's and the Prometheus operator's, too), and
against the programs themselves: their variables, paths, ports, streams and groups."""
import json
import re
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from programs import SERVICES, executable

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.parent.name for path in (ROOT / "deploy/kubernetes/overlays").glob("*/kustomization.yaml"))
KUBERNETES = "1.31"
SCHEMAS = json.loads((ROOT / "tests/data/schemas/crds.json").read_text())


def render(overlay):
    done = subprocess.run(["kubectl", "kustomize", ROOT / "deploy/kubernetes/overlays" / overlay], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(params=OVERLAYS)
def objects(request):
    return render(request.param)


def of(objects, kind):
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def pods(objects):
    """-> {name: pod template} of Deployments, Jobs and CronJobs"""
    found = {name: found["spec"]["template"] for kind in ("Deployment", "Job") for name, found in of(objects, kind).items()}
    return found | {name: found["spec"]["jobTemplate"]["spec"]["template"] for name, found in of(objects, "CronJob").items()}


def containers(template):
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def strict(schema):
    """A schema that refuses members it does not name, as kubectl's strict validation does."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields") and schema.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def validate(found):
    custom = SCHEMAS.get(f'{found["apiVersion"]}/{found["kind"]}')
    if custom:
        schema = strict(custom)
        schema["properties"]["metadata"] = {"type": "object"}
        jsonschema.Draft202012Validator(schema).validate(found)
    else:
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_all_that_is_rendered_is_valid(objects):
    for found in objects:
        validate(found)
    assert set(of(objects, "Deployment")) == set(SERVICES) and set(of(objects, "Service")) == set(SERVICES)


def test_the_validation_is_strict():
    deployment = of(render("small"), "Deployment")["ingest"]
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "x"
    with pytest.raises(Exception):
        validate(deployment)
    scaled = of(render("large"), "ScaledObject")["ingest"]
    scaled["spec"]["minReplicas"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate(scaled)
    rule = of(render("large"), "PrometheusRule")["intuition-sync"]
    rule["spec"]["groups"][0]["rules"][0]["alarm"] = "x"
    with pytest.raises(jsonschema.ValidationError):
        validate(rule)


def test_every_pod_is_restricted(objects):
    for name, template in pods(objects).items():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        context = spec["securityContext"]
        assert context["runAsNonRoot"] and context["runAsUser"] > 0 and context["seccompProfile"]["type"] == "RuntimeDefault", name
        for container in containers(template):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] and own["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"].keys() == {"cpu", "memory"} and "memory" in container["resources"]["limits"], name
    for namespace in of(objects, "Namespace").values():
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def variables(program):
    """-> {variable: default} as --help lists them"""
    text = subprocess.run([executable(program), "--help"], env={}, capture_output=True, text=True, check=True).stdout
    listed = text[text.index("Environment"):]
    found = dict(re.findall(r"^([A-Z][A-Z_]+) +(\S+)", listed, re.M))
    return found | {f"{name}_FILE": "" for name in ("REDIS_URL", "DATABASE_URL")}


def test_every_variable_is_one_of_the_programs(objects):
    known = {program: variables(program) for program in SERVICES}
    config = of(objects, "ConfigMap")["intuition-sync"]["data"]
    for name in config:
        assert any(name in known[program] for program in SERVICES), name
    for name, template in pods(objects).items():
        for container in containers(template):
            program = container["command"][0].removeprefix("/usr/bin/")
            assert program in SERVICES, container["command"]
            for variable in container["env"]:
                assert variable["name"] in known[program], (name, variable)
            grace = template["spec"].get("terminationGracePeriodSeconds", 30)
            assert grace * 1000 > int(config["SHUTDOWN_TIMEOUT_MS"]) + 5000, name


def test_secrets_are_mounted_where_the_variables_point(objects):
    used = set()
    for name, template in pods(objects).items():
        volumes = {volume["name"]: volume["secret"]["secretName"] for volume in template["spec"]["volumes"]}
        for container in containers(template):
            (mount,) = container["volumeMounts"]
            assert volumes[mount["name"]] == "intuition-sync" and mount["readOnly"], name
            files = {variable["name"]: variable["value"] for variable in container["env"] if variable["name"].endswith("_FILE")}
            # Migrations and verify must not go through PgBouncer.
            database = "database-url" if name in SERVICES else "database-url-direct"
            assert files == {"DATABASE_URL_FILE": f'{mount["mountPath"]}/{database}', "REDIS_URL_FILE": f'{mount["mountPath"]}/redis-url'}, name
            used |= {Path(file).name for file in files.values()}
    for authentication in of(objects, "TriggerAuthentication").values():
        used |= {parameter["key"] for parameter in authentication["spec"]["secretTargetRef"] if parameter["name"] == "intuition-sync"}
    assert used <= set(re.findall(r"--from-literal=([a-z-]+)=", (ROOT / "deploy/kubernetes/README.md").read_text()))


def test_selectors_find_their_pods(objects):
    labels = {name: template["metadata"]["labels"] for name, template in pods(objects).items()}
    for name in SERVICES:
        chosen = [of(objects, "Deployment")[name]["spec"]["selector"]["matchLabels"], of(objects, "Service")[name]["spec"]["selector"],
                  of(objects, "PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"]]
        for selector in chosen:
            assert [pod for pod, own in labels.items() if selector.items() <= own.items()] == [name], (name, selector)
    policy = of(objects, "NetworkPolicy")["intuition-sync"]["spec"]
    assert all(policy["podSelector"]["matchLabels"].items() <= own.items() for own in labels.values())
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == [8080]
    for monitor in of(objects, "ServiceMonitor").values():
        for service in of(objects, "Service").values():
            assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
            assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == service["metadata"]["name"]


def test_scaling_looks_at_the_streams_that_are_read(objects):
    config = of(objects, "ConfigMap")["intuition-sync"]["data"]
    read = {"ingest": config["REDIS_STREAMS"].split(","), "cascade": [config["CASCADE_STREAM_NAME"]], "analytics": [config["ANALYTICS_STREAM_NAME"]]}
    for name, scaled in of(objects, "ScaledObject").items():
        assert scaled["spec"]["scaleTargetRef"]["name"] == name and scaled["spec"]["minReplicaCount"] == 1
        assert "cooldownPeriod" not in scaled["spec"], "that is for scaling to 0 only"
        triggers = scaled["spec"]["triggers"]
        if triggers[0]["type"] == "prometheus":
            assert triggers[0]["metadata"].keys() == {"serverAddress", "query", "threshold"}
            assert f'stream_lag{{job="{name}",namespace="{scaled["metadata"]["namespace"]}"}}' in triggers[0]["metadata"]["query"]
            continue
        assert [trigger["metadata"]["stream"] for trigger in triggers] == read[name]
        assert {trigger["metadata"]["consumerGroup"] for trigger in triggers} == {config["CONSUMER_GROUP"]}
        for trigger in triggers:   # no schema looks into a trigger's metadata; these are the scaler's words
            assert trigger["metadata"].keys() == {"stream", "consumerGroup", "lagCount", "activationLagCount"}


def test_nothing_but_keda_sets_the_replicas_that_it_scales(objects):
    scaled = {found["spec"]["scaleTargetRef"]["name"] for found in of(objects, "ScaledObject").values()}
    for name, deployment in of(objects, "Deployment").items():
        assert ("replicas" in deployment["spec"]) == (name not in scaled), name


def test_each_program_verifies_its_tables_now_and_then(objects):
    jobs = of(objects, "CronJob")
    assert jobs.keys() == {f"verify-{name}" for name in SERVICES}
    for name in SERVICES:
        spec = jobs[f"verify-{name}"]["spec"]
        (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["command"] == [f"/usr/bin/{name}"] and spec["concurrencyPolicy"] == "Forbid"
        assert container["args"] == ["verify", "--sample", "100000"] and spec["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_migrations_outlast_an_outage(objects):
    assert of(objects, "Job")["migrate"]["spec"]["backoffLimit"] >= 100


def test_the_operators_rules_are_those_of_deploy_monitoring(tmp_path):
    made = tmp_path / "prometheusrule.yaml"
    subprocess.run([ROOT / "deploy/monitoring/prometheusrule.sh", made], check=True)
    assert made.read_text() == (ROOT / "deploy/kubernetes/servicemonitor/prometheusrule.yaml").read_text(), "run deploy/monitoring/prometheusrule.sh"
    groups = [group for name in ("rules", "alerts") for group in yaml.safe_load((ROOT / f"deploy/monitoring/{name}.yml").read_text())["groups"]]
    for overlay in ("large", "prometheus"):
        assert of(render(overlay), "PrometheusRule")["intuition-sync"]["spec"]["groups"] == groups


def test_probes_ask_what_the_programs_answer(pipeline):
    service = pipeline.start("ingest").ready()
    for name, template in pods(render("large")).items():
        for container in template["spec"]["containers"]:
            probes = [container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in container]
            assert len(probes) == (3 if name in SERVICES else 0)
            for probe in probes:
                assert service.status_of(probe["path"]) == 200 and probe["port"] == "http"
                assert [str(port["containerPort"]) for port in container["ports"]] == [variables("ingest")["HTTP_PORT"]]
            if probes:
                assert container["livenessProbe"]["httpGet"]["path"] == "/livez" and container["readinessProbe"]["httpGet"]["path"] == "/readyz"
