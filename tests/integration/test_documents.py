"""The documents (*.md): every relative link and anchor leads somewhere, every path that is named exists; the README is short and reads easily; the
tables of settings and metrics are what the programs print; the commands and queries that are shown run and answer what is shown.

    WRITE_DOCUMENTS=1 pytest tests/integration/test_documents.py     writes the two tables anew instead of comparing them

Commands stand in ```sh blocks, queries in ```sql blocks, and what a query answers in a ```text block right behind it. A block of commands runs as
one script, or NOT_RUN says why each line of it does not."""
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import feeds
from node import Chain, Node
from programs import SERVICES, Pipeline, clean_environment, close_all, executable
from test_monitoring import fed_with_all_kinds
from waiting import until

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.md")
                   if not any(re.match(r"\.(?!github)|build", part) for part in path.relative_to(ROOT).parts))
OTHERS = ("deploy/kubernetes/", "deploy/rindexer/")   # tests/integration/test_kubernetes.py and the folders' own tests run what these show
WORDS_OF_A_SENTENCE = 35

# Commands that do not run here: a pattern, and why.
NOT_RUN = {
    r"deploy/local/run\b.*": "it builds and feeds for minutes; its options are compared with its --help",
    r"tests/(run|chaos/run|faults/run|bench/run)\b.*": "it is a test itself, of minutes to hours; its options are compared with its --help",
    r"meson .*|meson setup .*": "it is how the programs under test are built; test_install.py installs",
    r"meson test .*|(NONSENSE_ROUNDS=\d+ )?BUILD_DIR=.* \.venv/bin/pytest .*": "it runs tests",
    r"(install|editor|chmod) .*": "it writes to /etc",
    r"deploy/release|apt install .*": "tests/package/run makes the package, and installs it in a fresh system",
    r"(systemctl|journalctl) .*": "there is no systemd that runs; test_install.py checks the units",
    r"deploy/image/build": "deploy/release runs it; test_image.py looks at what it makes",
    r"docker .*": "there is no Docker",
    r"redis-cli XADD intuition_testnet_deposited .*": "test_the_entries_that_can_be_pasted pastes them",
    r"for stream in .*|redis-cli DEL .*": "it removes a pipeline; test_a_second_pipeline_beside_the_first does",
    r"run\(\) \{ .*": "it is for systemd or Kubernetes, and there is neither",
}
RUN = ("ingest", "cascade", "analytics", "redis-cli", "psql", "pg_dump", "pg_restore", "date", "DATABASE_URL=")


def text_of(document):
    return (ROOT / document).read_text()


def without_code(text):
    return re.sub(r"`[^`\n]*`", "code", re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M))


def anchors(document):
    """The anchors that GitHub gives to the headings."""
    found = []
    for heading in re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```$", "", text_of(document), flags=re.S | re.M), re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.append(anchor if anchor not in found else f"{anchor}-{sum(a == anchor or a.startswith(anchor + '-') for a in found)}")
    return found


def links(document):
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(document))) if not re.match(r"[a-z]+:", link)]


def blocks(document, language):
    """-> (text, text of the ```text block right behind it or None)"""
    for found in re.finditer(rf"^```{language}\n(.*?)^```$(?:\n^```text\n(.*?)^```$)?", text_of(document), re.S | re.M):
        yield found[1], found[2]


def commands(block):
    """The lines of a block without comments; lines that end in a backslash together."""
    for line in block.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s+)#( .*|$)", "", line).strip()
        if line:
            yield re.sub(r" +", " ", line)


# ---- links, paths, length

@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document):
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        inside = os.path.relpath(target, ROOT)
        assert target.exists(), f"{document}: {link}"
        if anchor:
            assert anchor in anchors(inside), f"{document}: {link}: {inside} has {anchors(inside)}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_exists(document):
    """Of the repository, and of its tests by their names alone."""
    text = text_of(document)
    for path in re.findall(r"`((?:analytics|cascade|common|deploy|ingest|migrations|tests)/[\w./-]*\w)`", text):
        if "/mine" not in path:   # an overlay of the reader's own
            assert (ROOT / path).exists() or list(ROOT.glob(path + ".[ch]")), f"{document}: {path}"
    for name in re.findall(r"`(test_\w+\.(?:py|c))`", text):
        assert list((ROOT / "tests").glob(f"*/{name}")), f"{document}: {name}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_readme_leads_to_every_document(document):
    seen, todo = set(), ["README.md"]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        for link in links(one):
            target = os.path.relpath((ROOT / one).parent / link.partition("#")[0], ROOT)
            todo += [path for path in (target, target + "/README.md") if path in DOCUMENTS]
    assert document in seen


def sentences(text):
    """Of paragraphs, items of lists and cells of tables."""
    for block in re.split(r"\n\s*\n|\n(?= *(?:[-*]|\d+\.) )|\n(?=\||#|<!--)", without_code(text)):
        for cell in block.split("|") if block.startswith("|") else [block]:
            yield from re.split(r"(?<=[.!?])[)*]*\s+", " ".join(re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", cell).split()))


def test_sentences_are_told_apart():
    assert list(sentences("One [two](three#four). `Five six`!\n\n- seven\n  eight\n- nine\n| ten | eleven |")) == [
        "One two.", "code!", "- seven eight", "- nine", "", "ten", "eleven", ""]


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if not document.startswith(OTHERS)])
def test_no_sentence_is_long(document):
    text = re.sub(r"<!-- (?:settings|metrics).*?<!-- end -->", "", text_of(document), flags=re.S)
    long = [sentence for sentence in sentences(text) if len(sentence.split()) > WORDS_OF_A_SENTENCE]
    assert not long, f"{document}: " + "\n".join(long)


def test_the_readme_is_a_door():
    text = text_of("README.md")
    assert len(text.splitlines()) <= 200 and len(text.encode()) <= 14_000


def test_what_does_not_exist_is_not_mentioned():
    gone = r"crew|\bahead\b.*read|work as one|keys_waiting_total|60_pipeline_input|gather_until"
    for document in DOCUMENTS:
        assert not re.findall(gone, text_of(document), re.I), document


# ---- tables made from what the programs print

def same_or_written(document, name, rows):
    """The table between the two marks is this one, or is written so."""
    path, table = ROOT / document, "\n".join(rows)
    before, mark, rest = re.fullmatch(rf"(.*)(<!-- {name}: [^\n]*-->\n)(.*)", path.read_text(), re.S).groups()
    found, end, after = rest.partition("<!-- end -->")
    if os.environ.get("WRITE_DOCUMENTS"):
        path.write_text(f"{before}{mark}\n{table}\n\n{end}{after}")
    else:
        assert found.strip("\n") == table, f"{document}: the table of {name} is not what the programs print; see the head of this test"


def settings_of(name):
    """-> {variable: (default, meaning)} as --help says"""
    done = subprocess.run([executable(name), "--help"], env=clean_environment({}), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.split("\nEnvironment")[1].splitlines()[1:]:
        head = re.match(r"([A-Z_]+) +(\S+) +(.*)", line)
        if head:
            variable = head[1]
            found[variable] = [head[2], head[3]]
        elif line.strip():
            found[variable][1] += " " + line.strip()
    return {variable: tuple(value) for variable, value in found.items()}


def test_the_settings_are_those_of_help():
    printed = {name: settings_of(name) for name in SERVICES}
    together = {}
    for name in reversed(SERVICES):   # what all have comes first
        for variable, value in printed[name].items():
            assert together.setdefault(variable, value) == value, variable
    shared = [variable for variable in together if all(variable in printed[name] for name in SERVICES)]
    rows = ["| variable | default | used by | meaning |", "|---|---|---|---|"]
    for variable in shared + [variable for variable in together if variable not in shared]:
        default, meaning = together[variable]
        users = [name for name in SERVICES if variable in printed[name]]
        default = {"-": "–", "(required)": "required"}.get(default, f"`{default}`")
        rows.append(f"| `{variable}` | {default} | {'all' if len(users) == 3 else ', '.join(users)} | {meaning.replace('|', chr(92) + '|')} |")
    same_or_written("deploy/README.md", "settings", rows)


def test_every_command_of_help_is_described():
    text = text_of("deploy/README.md")
    table = text[text.index("## Commands"):text.index("## A host with systemd")]
    for name in SERVICES:
        done = subprocess.run([executable(name), "--help"], env=clean_environment({}), capture_output=True, text=True)
        listed = done.stdout.split("Commands:\n")[1].split("\n\n")[0]
        for usage in re.findall(r"^  (\w.*?)(?:  .*)?$", listed, re.M):
            for word in re.findall(r"^\w+|--[a-z-]+", usage):
                assert word in table, (name, word)


def test_every_endpoint_is_described():
    routes = re.findall(r'^ +\{"(/\w*)", answer_', (ROOT / "common/view/web.c").read_text(), re.M)
    described = re.findall(r"^\| `(/\w*)` \|", text_of("deploy/monitoring/README.md"), re.M)
    assert routes and set(routes) - {"/script", "/style"} == set(described)


# ---- what needs a pipeline

def work_off(messages, redis_server, postgres_server, folder):
    """-> a pipeline that has worked these off and goes on running"""
    pipeline = Pipeline(redis_server, postgres_server, folder, {"NETWORK": "intuition-testnet"})
    pipeline.create_database().listen_to(messages)
    for service in pipeline.start():
        service.ready()
    pipeline.feed(messages)
    return pipeline.drain()


@pytest.fixture(scope="module")
def recorded(redis_server, postgres_server, recording, tmp_path_factory):
    """A pipeline that has worked off the recording, for what answers are shown of."""
    pipeline = work_off(recording, redis_server, postgres_server, tmp_path_factory.mktemp("recorded"))
    yield pipeline
    close_all([pipeline])


@pytest.fixture(scope="module")
def worked(redis_server, postgres_server, small, tmp_path_factory):
    """The same of a part, and a node of its chain, for what only has to run."""
    pipeline = work_off(small, redis_server, postgres_server, tmp_path_factory.mktemp("worked"))
    node = Node(Chain.of(small))
    yield pipeline, node
    node.close()
    close_all([pipeline])


def environment(pipeline, folder, **more):
    """What the commands of the documents need: the programs by their names, redis-cli for the pipeline's Redis."""
    programs = Path(folder) / "bin"
    programs.mkdir(exist_ok=True)
    if not (programs / "redis-cli").exists():
        for name in SERVICES:
            (programs / name).symlink_to(Path(executable(name)).resolve())
        (programs / "redis-cli").write_text(f'#!/bin/sh\nexec {shutil.which("redis-cli")} -h 127.0.0.1 -p {pipeline.redis_server.port} '
                                            f'-n {pipeline.redis_db} "$@"\n')
        (programs / "redis-cli").chmod(0o755)
    path = f"{programs}:{pipeline.postgres_server.programs}:{os.environ['PATH']}"   # pg_dump is to be of the server's version
    return clean_environment({**pipeline.environment(), "PATH": path, "PAGER": "cat", "TZ": "UTC", **more})


def shell(script, env, folder):
    done = subprocess.run(["bash", "-euc", script], env=env, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600)
    assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def why_not_run(command):
    return next((reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


def shown_commands():
    for document in DOCUMENTS:
        if not document.startswith(OTHERS) and document != "deploy/streams.md":   # test_streams.py runs that
            yield from ((document, block) for block, _ in blocks(document, "sh"))


def test_every_command_runs_or_has_a_reason():
    for document, block in shown_commands():
        lines = list(commands(block))
        assert lines, (document, block)
        skipped = [line for line in lines if why_not_run(line)]
        assert skipped in ([], lines), f"{document}: a block that runs in part: {block}"
        for line in lines:
            assert skipped or line.startswith(RUN), f"{document}: {line}: run it, or say in NOT_RUN why not"


def test_no_command_hides_in_other_blocks():
    for document in DOCUMENTS:
        if not document.startswith(OTHERS):
            kinds = set(re.findall(r"^```(\w*)$", text_of(document), re.M)) - {""}
            assert kinds <= {"sh", "sql", "text", "json"}, document
            assert text_of(document).count("\n```\n") == sum(text_of(document).count(f"\n```{kind}\n") for kind in kinds), f"{document}: a block without a kind"


def test_the_commands_run(worked, tmp_path):
    pipeline, node = worked
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    env, ran = environment(pipeline, tmp_path, NODE=node.url), 0
    for document, block in shown_commands():
        if why_not_run(next(commands(block))) or re.search(r"backup.dump|OLD_URL|NEW_URL", block):   # a backup and a move have tests of their own
            continue
        shell("\n".join(commands(block)), env, tmp_path)
        ran += 1
    assert ran >= 6
    pipeline.drain().assert_exact()


def test_the_runbooks_commands_run(worked, tmp_path):
    """Those that need neither systemd nor Kubernetes, for each of the programs; the others name units and objects that exist."""
    pipeline, node = worked
    found = set(re.findall(r"`([^`]+)`", "\n".join(line for line in text_of("deploy/monitoring/runbooks.md").splitlines() if line.startswith("| "))))
    script = {command for command in found if re.match(r"run |redis-cli |psql ", command)}
    kept = {command for command in script if not re.search(r"\bP?ID\b|SET maxmemory 8gb", command)}   # of dead letters and sessions that are not there; of all tests' Redis
    assert len(kept) > 15
    env = environment(pipeline, tmp_path, RPC_URL=node.url, STREAM=pipeline.streams[0], GROUP=pipeline.group)
    for name in SERVICES:
        lines = [re.sub(r"\b(STREAM|GROUP)\b", r"$\1", command) for command in sorted(kept) if name == "ingest" or "$X" in command]
        shell(f'run() {{ "$@"; }}\nX={name}\n' + "\n".join(lines), env, tmp_path)
    objects = "".join(path.read_text() for path in (ROOT / "deploy/kubernetes").rglob("*.yaml"))
    for command in found - script:
        if command.startswith("kubectl"):
            assert command.startswith("kubectl -n intuition-sync ") and "name: intuition-sync" in objects, command
            assert re.search(r"(deploy|deployment)/(\$X|ingest)\b|name=\$X$|(cronjobs|pods)$", command), command
        elif command.startswith(("systemctl", "journalctl")):
            assert re.search(r"intuition-(\$X|ingest|\*)", command), command


@pytest.mark.parametrize("script", ["deploy/local/run", "tests/bench/run", "tests/chaos/run"])
def test_options_that_are_shown_exist(script):
    """Of what is not run: each option stands in the script, or in what it calls."""
    text = (ROOT / script).read_text() + (text_of_python("tests/bench/bench.py") if "bench" in script else "")
    for _, block in shown_commands():
        for line in commands(block):
            if line.startswith(script):
                for option in re.findall(r"--[a-z-]+", line):
                    assert option in text, line


def text_of_python(path):
    return (ROOT / path).read_text()


def test_the_benchmarks_arguments_are_described():
    text, described = text_of_python("tests/bench/bench.py"), text_of("tests/bench/README.md")
    for option in re.findall(r'add_argument\("(--[a-z-]+)"', text):
        assert option in described, option
    parts = re.search(r"^PARTS = \{(.*)\}$", text, re.M)[1]
    for part in re.findall(r'"(\w+)":', parts):
        assert f"| `{part}` |" in described, part


def shown_queries():
    for document in DOCUMENTS:
        if not document.startswith(OTHERS):
            for at, (query, answer) in enumerate(blocks(document, "sql"), 1):
                yield pytest.param(query, answer, id=f"{document}-{at}")


@pytest.mark.parametrize("query, answer", list(shown_queries()))
def test_a_query_answers_what_is_shown(recorded, query, answer):
    done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-P", "footer=off", recorded.postgres_server.url(recorded.database)],
                          input=query, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.rstrip() for line in done.stdout.rstrip("\n").splitlines()]
    assert len(rows) > 2, "it finds nothing"
    if answer:
        assert rows == [line.rstrip() for line in answer.rstrip("\n").splitlines()], done.stdout


def test_queries_of_the_readme_have_answers():
    assert all(answer for _, answer in blocks("README.md", "sql")) and list(blocks("README.md", "sql"))


def test_the_example_of_an_entry_is_an_event(pipeline):
    """The entry that ingest/README.md shows, with hashes and addresses in place of the dots, is stored."""
    block, _ = next(blocks("ingest/README.md", "json"))
    names = iter(re.findall(r'"(\w+)": "0x…"', block))
    payload = re.sub(r"0x…", lambda _: "0x" + ("ab" * (20 if next(names) in ("sender", "receiver", "address") else 32)), block)
    service = pipeline.start("ingest").ready()
    pipeline.redis().xadd(pipeline.streams[0], {"payload": payload})
    until(pipeline.drained(["ingest"]), "the entry is handled", alive=[service])
    assert pipeline.dead_letters() == []
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM deposited_events").fetchone()[0] == 1


def test_the_entries_that_can_be_pasted(make_pipeline, tmp_path):
    """A deposit, and a notice that takes it away."""
    pipeline = make_pipeline()
    pipeline.streams = ["intuition_testnet_deposited"]
    services = [service.ready() for service in pipeline.start()]
    deposit, notice = [block for block, _ in blocks("ingest/README.md", "sh") if "XADD" in block]
    for block, held, gone in ((deposit, [(990, 900)], 0), (notice, [], 1)):
        shell(block, environment(pipeline, tmp_path), tmp_path)
        until(pipeline.drained(), "it is handled", alive=services)
        with pipeline.connect() as connection:
            assert connection.execute("SELECT total_deposit_assets_after_total_fees, shares FROM position").fetchall() == held
            assert connection.execute("SELECT count(*) FROM orphaned_events").fetchone()[0] == gone
    assert pipeline.dead_letters() == []


def test_the_example_of_health_has_the_right_members(worked):
    pipeline, _ = worked
    block, _ = next(blocks("deploy/monitoring/README.md", "json"))
    shown, found = json.loads(block), json.loads(pipeline.services[0].get("/health")[1])
    assert list(shown) == list(found) and list(shown["metrics"]) == list(found["metrics"])


# ---- metrics

def families(text):
    """-> {metric: (kind, help, label names or None where it has no series)} of /metrics"""
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.M))
    found = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
        series = re.findall(rf"^{name}{'_count' if kind == 'histogram' else ''}(?:\{{(.*)\}})? \S+$", text, re.M)
        found[name] = kind, helps[name], tuple(re.findall(r'(\w+)="', series[0])) if series else None
    return found


def test_the_metrics_are_those_of_the_programs(pipeline, small):
    services = fed_with_all_kinds(pipeline, small)
    for service in services:
        until(lambda s=service: re.search(r"^redis_may_evict 0$", s.get("/metrics")[1], re.M), "what is asked now and then is there", alive=services)
    printed = {service.name: families(service.get("/metrics")[1]) for service in services}
    together = {}
    for name in reversed(SERVICES):
        for metric, (kind, meaning, labels) in printed[name].items():
            known = together.setdefault(metric, (kind, meaning, labels))
            assert known[:2] == (kind, meaning), metric
            together[metric] = (kind, meaning, known[2] or labels)
    rows = ["| metric | kind | labels | of | meaning |", "|---|---|---|---|---|"]
    for metric, (kind, meaning, labels) in together.items():
        of = "all" if all(metric in printed[name] for name in SERVICES) else ", ".join(name for name in SERVICES if metric in printed[name])
        rows.append(f"| `{metric}` | {kind} | {', '.join(labels or ()) or '–'} | {of} | {meaning} |")
    same_or_written("deploy/monitoring/README.md", "metrics", rows)


# ---- operations.md: backup, and a second pipeline

def test_backup_and_restore(make_pipeline, postgres_server, tmp_path):
    if not (Path(postgres_server.programs) / "pg_dump").exists():
        pytest.skip(f"no pg_dump in {postgres_server.programs}")
    reorg = [replace(message, id=None) for message in feeds.load("reorg.jsonl.xz")]
    half = len(reorg) // 2
    pipeline = make_pipeline().listen_to(reorg)
    backup, restore = [block for block, _ in blocks("deploy/operations.md", "sh") if "backup.dump" in block]
    services = [service.ready() for service in pipeline.start()]
    pipeline.feed(reorg[:half])
    until(pipeline.drained(), "the first half is through", alive=services)
    shell(backup, environment(pipeline, tmp_path), tmp_path)
    pipeline.feed(reorg[half:])
    until(pipeline.drained(), "the second half is through, and acked", alive=services)
    pipeline.stop()
    pipeline.database += "_restored"
    pipeline.create_database()
    restored = pipeline.postgres_server.url(pipeline.database)
    first, second = restore.splitlines()
    shell(first, environment(pipeline, tmp_path, RESTORED_URL=restored), tmp_path)
    assert pipeline.differences(), "what came after the dump cannot be there yet"
    shell(second, environment(pipeline, tmp_path, RESTORED_URL=restored), tmp_path)
    pipeline.start()
    pipeline.drain().assert_exact()
    pipeline.assert_verified()


def test_a_second_pipeline_beside_the_first(make_pipeline, part, tmp_path):
    first = make_pipeline().listen_to(part)
    first.start()
    first.feed(part[:len(part) // 2])
    second = make_pipeline(redis_db=first.redis_db, CONSUMER_GROUP_SUFFIX="green").listen_to(part)
    second.start()
    first.feed(part[len(part) // 2:])
    second.entries = first.entries
    for pipeline in (first, second):
        pipeline.drain().assert_exact()
        pipeline.assert_verified()
    text = text_of("deploy/operations.md")
    queries = re.search(r"```sql\n(.*?)```", text[text.index("## A second pipeline"):], re.S)[1]
    answers = []
    for pipeline in (first, second):
        done = subprocess.run(["psql", "-X", pipeline.postgres_server.url(pipeline.database)], input=queries, capture_output=True, text=True, check=True)
        answers.append(done.stdout)
    assert answers[0] == answers[1] and "positions" in answers[0]
    second.stop()
    (remove,) = [block for block, _ in blocks("deploy/operations.md", "sh") if "XGROUP DESTROY" in block]
    redis, remove = second.redis(), re.sub(r"(postgres-sync|vault_updates|term_updates|dead_letters)\b", r"\1-green", remove)
    redis.xadd("dead_letters-green", {"payload": "x"})
    shell(remove, environment(second, tmp_path), tmp_path)
    assert not [key for key in redis.keys("*") if "green" in key] and {group["name"] for group in redis.xinfo_groups(second.streams[0])} == {"postgres-sync"}
    first.drain().assert_exact()
