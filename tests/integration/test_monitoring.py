"""deploy/monitoring: the rules as promtool likes them, each alert firing and quiet, with a runbook; and no rule or dashboard asks for a metric
or a label that the programs do not have."""
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

import programs
from ports import free_port
from servers import tied
from waiting import until

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
ALERT = re.compile(r"^ +- alert: (\w+)$", re.M)
WORDS = {"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "inf", "nan"}
SCRAPED = {"job", "instance", "namespace", "le"}   # what Prometheus and its operator add, and what every histogram has


def promtool(*arguments, folder=FOLDER):
    done = subprocess.run([shutil.which("promtool"), *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def expressions():
    """-> (place, expression) of every rule and panel"""
    for name in ("rules.yml", "alerts.yml"):
        text = (FOLDER / name).read_text()
        for found in re.finditer(r"^ +expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", text, re.M):
            yield name, found[1] or found[2]
    for path in sorted((FOLDER / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}, {panel['title']}", target["expr"]


def asked(expression):
    """-> {metric: its label names in braces}, label names of by (), on (), ignoring ()"""
    metrics, grouped = {}, set()
    for names in re.findall(r"\b(?:by|on|ignoring|without) \(([^)]*)\)", expression):
        grouped |= {name.strip() for name in names.split(",") if name.strip()}
    rest = re.sub(r"\b(?:by|on|ignoring|without) \([^)]*\)", " ", expression)
    rest = re.sub(r"\[[^]]*\]|\boffset \w+|\$\w+", " ", rest)
    for name, labels, call in re.findall(r"(?<![\w.])([a-zA-Z_:][\w:]*)(\{[^}]*\})?( *\()?", rest):
        if not call and name not in WORDS:
            metrics.setdefault(name, set()).update(re.findall(r"(\w+) *(?:=~|!~|!=|=)", labels))
    return metrics, grouped


def test_asked_reads_expressions():
    assert asked('sum by (job, le) (rate(a_bucket{job="x",le!="1"}[5m])) / on (job) group_left stage:b:max offset 1h > 2e6') == (
        {"a_bucket": {"job", "le"}, "stage:b:max": set()}, {"job", "le"})


def test_promtool_accepts_the_rules():
    promtool("check", "rules", "rules.yml", "alerts.yml")
    promtool("check", "config", "prometheus.yml")


def test_two_installations_are_told_apart():
    """What is summed up or matched keeps `namespace` (on () is meant so), and each panel asks for the chosen one."""
    for place, expression in expressions():
        if place in ("rules.yml", "alerts.yml"):
            assert not re.search(r"\b(?:sum|max|min|count)\(", expression), (place, expression)
            for names in re.findall(r"\b(?:by|on) \(([^)]+)\)", expression):
                assert "namespace" in names.split(", "), (place, expression)
        else:
            metrics, _ = asked(expression)
            assert metrics and expression.count('namespace=~"$namespace"') == len(re.findall(r"\{", expression)) >= len(metrics), (place, expression)


def test_each_alert_fires_and_stays_quiet():
    files = ("alerts.yml", "alerts_slow.yml")
    promtool("test", "rules", *files, folder=FOLDER / "tests")
    cases = "".join((FOLDER / "tests" / name).read_text() for name in files)
    for alert in ALERT.findall((FOLDER / "alerts.yml").read_text()):
        assert f"- name: {alert} fires\n" in cases and f"- name: {alert} stays quiet\n" in cases, alert
        firing = cases.split(f"- name: {alert} fires\n")[1].split("- name: ")[0]
        assert "exp_labels" in firing, alert


def test_each_alert_has_a_runbook():
    alerts, books = (FOLDER / "alerts.yml").read_text(), (FOLDER / "runbooks.md").read_text()
    assert ALERT.findall(alerts) and set(ALERT.findall(alerts)) == set(re.findall(r"^## (\w+)$", books, re.M))
    links = re.findall(r"runbook: deploy/monitoring/runbooks.md#(\w+)", alerts)
    assert links == [name.lower() for name in ALERT.findall(alerts)]
    parsed = {rule["alert"]: rule["annotations"] for group in yaml.safe_load(alerts)["groups"] for rule in group["rules"]}
    for book in re.split(r"^## ", books, flags=re.M)[2:]:
        alert, row = book.split("\n")[0], next(line for line in book.splitlines() if re.match(r"\| .*`", line))
        systemd, kubernetes = ((re.findall("`([^`]+)`", cell) or [None])[0] for cell in row.split(" | ")[1:3])
        for key, command in (("systemd", systemd), ("kubernetes", kubernetes or systemd)):
            named = command.replace("$X", "{{ $labels.job }}").replace("STREAM", "{{ $labels.stream }}")
            assert parsed[alert][f"first_command_{key}"] == named, f"{alert} names another first command than its runbook"


def test_the_status_page_names_runbooks_that_exist():
    named = set(re.findall(r'"(Pipeline\w+)"', (FOLDER.parents[1] / "common/view/pipeline.c").read_text()))
    assert len(named) > 5 and named <= set(re.findall(r"^## (\w+)$", (FOLDER / "runbooks.md").read_text(), re.M)), named


def families(text):
    """-> {series name: label names} of /metrics; of a family without series no labels (None)"""
    found = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",)):
            found[name + suffix] = None
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", text, re.M):
        found[name] = (found[name] or set()) | set(re.findall(r'(\w+)="', labels))
    return found


def fed_with_all_kinds(pipeline, small):
    """-> the three programs, after a feed with a reorg notice and a dead letter"""
    services = [service.ready() for service in pipeline.listen_to(small).start()]
    pipeline.feed(small)
    notice = {"type": "reorg", "network": "intuition-testnet", "fork_block": 10**9, "depth": 3}
    pipeline.redis().xadd(pipeline.streams[0], {"payload": json.dumps({"event_name": "__rindexer_reorg", "block_number": 0, "event_data": [notice],
                                                                       "network": notice["network"]})})
    pipeline.redis().xadd(pipeline.streams[0], {"payload": "broken"})
    until(lambda: pipeline.redis().xlen(pipeline.dead_letter_stream) == 1, "there is a dead letter", alive=services)
    until(pipeline.drained(), "all is drained", alive=services)
    return services


@pytest.fixture
def exported(pipeline, small):
    """What the three programs export after a feed with a reorg notice and a dead letter, and after verify."""
    services = fed_with_all_kinds(pipeline, small)
    for service in services:
        assert pipeline.run(service.name, "verify").returncode == 0
        until(lambda s=service: re.search(r"^verify_differences 0$", s.get("/metrics")[1], re.M), "verify's result is exported", alive=services)
        until(lambda s=service: re.search(r"^redis_memory_used_bytes [1-9]", s.get("/metrics")[1], re.M), "Redis's memory is exported", alive=services)
        assert re.search(r"^redis_may_evict 0$", service.get("/metrics")[1], re.M)
    together = {}
    for service in services:
        for name, labels in families(service.get("/metrics")[1]).items():
            together[name] = labels if together.get(name) is None else together[name] | (labels or set())
    return together


def test_rules_and_dashboards_ask_for_what_there_is(exported):
    rules = (FOLDER / "rules.yml").read_text()
    exported |= {name: None for name in re.findall(r"record: (\S+)", rules)} | {"up": set()}
    all_labels = set().union(SCRAPED, *(labels for labels in exported.values() if labels))
    checked = 0
    for place, expression in expressions():
        metrics, grouped = asked(expression)
        assert metrics, (place, expression)
        for name, labels in metrics.items():
            assert name in exported, f"{place}: {name} is not exported"
            if exported[name] is not None:
                assert labels - SCRAPED <= exported[name], f"{place}: {name} has {exported[name]}, asked for {labels}"
            else:
                assert labels <= all_labels, f"{place}: {name} {labels}"
            checked += 1
        assert grouped <= all_labels, f"{place}: {grouped - all_labels}"
    assert checked > 100


class Prometheus:
    """A real one over these services, with the rules and alerts of deploy/monitoring."""

    def __init__(self, services, folder):
        self.label, self.port, self.log = "prometheus", free_port(), folder / "prometheus.log"
        for name in ("rules.yml", "alerts.yml"):
            shutil.copy(FOLDER / name, folder)
        jobs = [{"job_name": service.name, "static_configs": [{"targets": [f"127.0.0.1:{service.port}"]}]} for service in services]
        (folder / "prometheus.yml").write_text(json.dumps({   # JSON is YAML
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["rules.yml", "alerts.yml"], "scrape_configs": jobs}))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(tied([shutil.which("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                                                  f"--web.listen-address=127.0.0.1:{self.port}"]), stdout=log, stderr=log)

    def running(self):
        return self.process.poll() is None

    def code(self):
        return self.process.poll()

    def tail(self):
        return self.log.read_text()[-3000:]

    def api(self, path, **parameters):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            if refusal.code == 503:
                return None   # not ready yet
            raise AssertionError(f"{path} {parameters}: {refusal.read().decode()}") from refusal
        except OSError:
            return None   # not listening yet

    def query(self, expression):
        return (self.api("query", query=expression) or {"result": []})["result"]


def test_a_real_prometheus_fills_the_dashboards(pipeline, small, tmp_path):
    """Rules without an error, values in the panels; a dead letter raises its alert and no other."""
    services = [service.ready() for service in pipeline.listen_to(small).start()]
    prometheus = Prometheus(services, tmp_path)
    try:
        alive = [prometheus, *services]
        until(lambda: len(prometheus.query("up == 1")) == 3, "each program is scraped", alive=alive)
        pipeline.feed(small)
        pipeline.redis().xadd(pipeline.streams[0], {"payload": "broken"})
        until(pipeline.drained(), "all is drained", alive=alive)
        for name in programs.SERVICES:
            assert pipeline.run(name, "verify").returncode == 0
        until(lambda: prometheus.query("stage:events_processed:rate5m > 0"), "rates are recorded", alive=alive)
        until(lambda: len(prometheus.query("verify_differences == 0")) == 3, "verify's results are scraped", alive=alive)

        def states():
            return {rule["name"]: rule["state"] for group in prometheus.api("rules")["groups"] for rule in group["rules"] if rule["type"] == "alerting"}
        until(lambda: states().get("PipelineDeadLetters") == "firing", "the alert for dead letters fires", alive=alive)
        rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
        assert rules and [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
        assert {name for name, state in states().items() if state == "firing"} == {"PipelineDeadLetters"}
        panels = [(place, expression.replace("$__rate_interval", "1m").replace("$namespace", ".*"))
                  for place, expression in expressions() if ".json" in place]
        empty = [place for place, expression in panels if not prometheus.query(expression)]
        assert len(panels) > 20 and len(empty) < len(panels) / 4, empty   # what has not happened has no series
    finally:
        prometheus.process.terminate()
        prometheus.process.wait()
