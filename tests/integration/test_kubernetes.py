"""deploy/kubernetes: what is applied together rendered by kubectl, checked strictly against the API's schemas (KEDA's and the Prometheus operator's,
too), and against the programs themselves: their variables, paths, ports, streams and groups."""
import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from programs import SERVICES, executable

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kubernetes"
README = (FOLDER / "README.md").read_text()
OWN = re.search(r"```yaml\n(.*?)```", README, re.S)[1]   # the overlay that it shows
TOGETHER = {"small": ["overlays/small"], "large": ["overlays/large"], "keda": ["overlays/large", "keda", "servicemonitor"],
            "prometheus": ["overlays/small", "keda-prometheus", "servicemonitor"], "own": []}
KUBERNETES = "1.31"
SCHEMAS = json.loads((ROOT / "tests/data/schemas/crds.json").read_text())


def kustomize():
    """-> the version that kubectl has built in, (0,) before it said so"""
    version = json.loads(subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, check=True).stdout)
    return tuple(int(part) for part in re.findall(r"\d+", version.get("kustomizeVersion", "0"))[:2])


pytestmark = pytest.mark.skipif(kustomize() < (5, 0), reason="this kubectl's kustomize is older than 5.0 and knows no labels")


def rendered(folder):
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")   # words that kustomize is about to drop are warned of
    return list(yaml.safe_load_all(done.stdout))


def overlay(folder, text):
    """An overlay of this text, rendered as if it were beside the others."""
    folder.mkdir(exist_ok=True)
    (folder / "kustomization.yaml").write_text(text.replace("../../", f"{os.path.relpath(FOLDER, folder.resolve())}/"))
    return rendered(folder)


def render(name, tmp_path):
    if name == "own":
        return overlay(tmp_path / "own", OWN)
    return [found for part in TOGETHER[name] for found in rendered(FOLDER / part)]


@pytest.fixture(params=TOGETHER)
def objects(request, tmp_path):
    return render(request.param, tmp_path)


def of(objects, kind):
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def pods(objects):
    """-> {name: pod template} of Deployments and CronJobs"""
    found = {name: found["spec"]["template"] for name, found in of(objects, "Deployment").items()}
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


def test_a_registry_with_a_login(tmp_path):
    """The README's patch for it: each pod has the ServiceAccount that it changes."""
    objects = overlay(tmp_path / "own", OWN + re.findall(r"```yaml\n(.*?)```", README, re.S)[1])
    for found in objects:
        validate(found)
    assert of(objects, "ServiceAccount")["intuition-sync"]["imagePullSecrets"] == [{"name": "registry"}]
    assert {template["spec"]["serviceAccountName"] for template in pods(objects).values()} == {"intuition-sync"}


def test_the_validation_is_strict(tmp_path):
    objects = render("keda", tmp_path)
    deployment = of(objects, "Deployment")["ingest"]
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "x"
    with pytest.raises(Exception):
        validate(deployment)
    scaled = of(objects, "ScaledObject")["ingest"]
    scaled["spec"]["minReplicas"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate(scaled)
    rule = of(objects, "PrometheusRule")["intuition-sync"]
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


def test_the_namespace_lets_nothing_else_in(objects):
    namespace = yaml.safe_load((FOLDER / "namespace.yaml").read_text())
    validate(namespace)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {found["metadata"]["namespace"] for found in objects} == {namespace["metadata"]["name"]}


def test_the_overlays_need_nothing_that_a_plain_cluster_has_not(tmp_path):
    for name in ("small", "large"):
        groups = {found["apiVersion"].rpartition("/")[0] for found in render(name, tmp_path)}
        assert groups == {"", "apps", "batch", "policy", "networking.k8s.io"}, name


def config_of(objects):
    (config,) = [found for name, found in of(objects, "ConfigMap").items() if name.startswith("intuition-sync-")]
    return config


def without(found, *path):
    """A copy without the fields that a cluster lets a user change."""
    copy = json.loads(json.dumps(found))
    for key in path[:-1]:
        copy = copy.get(key, {})
    copy.pop(path[-1], None)
    return copy


def test_an_upgrade_changes_only_what_may_be_changed(tmp_path):
    """Of a Deployment and a CronJob a cluster takes another pod template, of a Job or of a selector nothing."""
    before, after = overlay(tmp_path / "before", OWN), overlay(tmp_path / "after", OWN.replace("newTag: 0.1.0", "newTag: 0.2.0"))
    assert not of(before, "Job")
    changed = [old for old, new in zip(before, after, strict=True) if old != new]
    assert {found["kind"] for found in changed} == {"Deployment", "CronJob"} and len(changed) == 2 * len(SERVICES)
    for old, new in zip(before, after, strict=True):
        if old["kind"] == "Deployment":
            assert without(old["spec"], "template") == without(new["spec"], "template")
            assert old["spec"]["template"]["metadata"] == new["spec"]["template"]["metadata"]
    images = {container["image"] for template in pods(after).values() for container in containers(template)}
    assert images == {"registry.example.com/intuition-sync:0.2.0"}


def test_a_changed_setting_rolls_the_pods(tmp_path):
    before, after = overlay(tmp_path / "before", OWN), overlay(tmp_path / "after", OWN.replace("WORKERS=8", "WORKERS=9"))
    names = [config_of(objects)["metadata"]["name"] for objects in (before, after)]
    assert names[0] != names[1]
    for name, objects in zip(names, (before, after)):
        for template in pods(objects).values():
            for container in containers(template):
                assert container["envFrom"] == [{"configMapRef": {"name": name}}]


def test_ingest_migrates_before_it_starts_and_nothing_else_fails_without_a_schema(objects):
    """A pod that ended because the schema is not there yet would be restarted later and later."""
    found = {name: template["spec"].get("initContainers", []) for name, template in pods(objects).items()}
    (migrate,) = found.pop("ingest")
    assert migrate["command"] == ["/usr/bin/ingest", "migrate"] and not any(found.values())
    assert config_of(objects)["data"]["RUN_MIGRATIONS"] == "false"


def variables(program):
    """-> {variable: default} as --help lists them"""
    text = subprocess.run([executable(program), "--help"], env={}, capture_output=True, text=True, check=True).stdout
    listed = text[text.index("Environment"):]
    found = dict(re.findall(r"^([A-Z][A-Z_]+) +(\S+)", listed, re.M))
    return found | {f"{name}_FILE": "" for name in re.findall(r"or\s+([A-Z_]+)_FILE", listed)}


def test_every_variable_is_one_of_the_programs(objects):
    known = {program: variables(program) for program in SERVICES}
    config = config_of(objects)["data"]
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
            database = "database-url" if container["name"] in SERVICES else "database-url-direct"
            assert files == {"DATABASE_URL_FILE": f'{mount["mountPath"]}/{database}', "REDIS_URL_FILE": f'{mount["mountPath"]}/redis-url'}, name
            used |= {Path(file).name for file in files.values()}
            used |= {variable["valueFrom"]["secretKeyRef"]["key"] for variable in container["env"] if "secretKeyRef" in variable.get("valueFrom", {})}
    for authentication in of(objects, "TriggerAuthentication").values():
        used |= {parameter["key"] for parameter in authentication["spec"]["secretTargetRef"] if parameter["name"] == "intuition-sync"}
    keys = [key for row in re.findall(r"(?m)^\| (`.*?) \|", README) for key in re.findall(r"`([a-z-]+)`", row)]
    assert used <= set(keys)
    assert {"database-url", "database-url-direct", "redis-url"} == set(re.findall(r"--from-file=([a-z-]+)", README)) <= used


def test_only_reconciling_needs_the_node_and_may_reach_it(objects):
    environment = {variable["name"] for variable in pods(objects)["ingest"]["spec"]["containers"][0]["env"]}
    policies = of(objects, "NetworkPolicy")
    assert ("RPC_URL" in environment) == ("node" in policies)
    for policy in policies.values():
        ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        assert ports == ({443} if policy["metadata"]["name"] == "node" else {53, 6379, 5432})
    if "node" in policies:
        chosen = policies["node"]["spec"]["podSelector"]["matchLabels"]
        assert [name for name, pod in pods(objects).items() if chosen.items() <= pod["metadata"]["labels"].items()] == ["ingest"]


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
    config = config_of(objects)["data"]
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
        if len(triggers) > 1:   # KEDA alone takes the trigger that asks for most
            whole = scaled["spec"]["advanced"]["scalingModifiers"]
            assert whole["formula"].split(" + ") == [trigger["name"] for trigger in triggers]
            assert {whole["target"]} == {trigger["metadata"]["lagCount"] for trigger in triggers}


def test_no_manifest_sets_the_replicas(objects):
    """Each apply would scale back what KEDA, or somebody by hand, has scaled."""
    assert not any("replicas" in deployment["spec"] for deployment in of(objects, "Deployment").values())


def test_each_program_verifies_its_tables_now_and_then(objects):
    jobs = of(objects, "CronJob")
    assert jobs.keys() == {f"verify-{name}" for name in SERVICES}
    for name in SERVICES:
        spec = jobs[f"verify-{name}"]["spec"]
        (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["command"] == [f"/usr/bin/{name}"] and spec["concurrencyPolicy"] == "Forbid"
        assert container["args"] == ["verify", "--sample", "100000"] and spec["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_the_operators_rules_are_those_of_deploy_monitoring(tmp_path):
    made = tmp_path / "prometheusrule.yaml"
    subprocess.run([ROOT / "deploy/monitoring/prometheusrule.sh", made], check=True)
    assert made.read_text() == (ROOT / "deploy/kubernetes/servicemonitor/prometheusrule.yaml").read_text(), "run deploy/monitoring/prometheusrule.sh"
    groups = [group for name in ("rules", "alerts") for group in yaml.safe_load((ROOT / f"deploy/monitoring/{name}.yml").read_text())["groups"]]
    for name in ("keda", "prometheus", "own"):
        assert of(render(name, tmp_path), "PrometheusRule")["intuition-sync"]["spec"]["groups"] == groups


def test_probes_ask_what_the_programs_answer(pipeline, tmp_path):
    service = pipeline.start("ingest").ready()
    for name, template in pods(render("large", tmp_path)).items():
        for container in template["spec"]["containers"]:
            probes = [container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in container]
            assert len(probes) == (3 if name in SERVICES else 0)
            for probe in probes:
                assert service.status_of(probe["path"]) == 200 and probe["port"] == "http"
                assert [str(port["containerPort"]) for port in container["ports"]] == [variables("ingest")["HTTP_PORT"]]
            if probes:
                assert container["livenessProbe"]["httpGet"]["path"] == "/livez" and container["readinessProbe"]["httpGet"]["path"] == "/readyz"


# ---- the ways to Redis, each a component beside keda/

WAYS = {"redis-tls": "redis-streams", "redis-sentinel": "redis-sentinel-streams", "redis-cluster": "redis-cluster-streams"}


@pytest.mark.parametrize("way", WAYS)
def test_a_way_to_redis(way, tmp_path):
    objects = overlay(tmp_path / "way", OWN.replace("components: [", f"components: [../../{way}, "))
    for found in objects:
        validate(found)
    test_every_variable_is_one_of_the_programs(objects)
    config, scaled = config_of(objects)["data"], of(objects, "ScaledObject")
    read = {"ingest": config["REDIS_STREAMS"].split(","), "cascade": [config["CASCADE_STREAM_NAME"]], "analytics": [config["ANALYTICS_STREAM_NAME"]]}
    for program, streams in read.items():
        triggers = scaled[program]["spec"]["triggers"]
        assert [trigger["metadata"]["stream"] for trigger in triggers] == streams
        assert {trigger["type"] for trigger in triggers} == {WAYS[way]}
        assert all(("sentinelMaster" in trigger["metadata"]) == (way == "redis-sentinel") for trigger in triggers)
    keys = {parameter["parameter"]: parameter["key"] for parameter in of(objects, "TriggerAuthentication")["redis"]["spec"]["secretTargetRef"]}
    ports = {port["port"] for rule in of(objects, "NetworkPolicy")["intuition-sync"]["spec"]["egress"] for port in rule["ports"]}
    assert keys == {"password": "redis-password", "address" if way == "redis-tls" else "addresses": "redis-address",
                    **({"tls": "redis-tls", "ca": "redis-ca"} if way == "redis-tls" else {})}
    assert (26379 in ports) == (way == "redis-sentinel")
    if way == "redis-tls":
        (mount,) = pods(objects)["ingest"]["spec"]["containers"][0]["volumeMounts"]
        assert config["REDIS_CA_FILE"] == f'{mount["mountPath"]}/{keys["ca"]}'
    if way == "redis-cluster":
        names = [*read["ingest"], *read["cascade"], *read["analytics"], config["DLQ_STREAM_NAME"]]
        assert {re.match(r"\{\w+\}", stream)[0] for stream in names} == {"{intuition}"}
