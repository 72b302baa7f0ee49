"""Configuration: every bad variable is named in one message, exit 2, nothing touched; secrets stay secret."""
import os
import subprocess

import pytest

from programs import SERVICES, clean_environment, executable
from ports import free_port
from settings_table import foreign, variables
from waiting import until

SECRET = "s3cr3t-w0rd"
GOOD = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "REDIS_URL": "redis://127.0.0.1:1", "HTTP_BIND": "127.0.0.1"}


def start(name, *arguments, **settings):
    """A process that is expected to end by itself."""
    return subprocess.run([executable(name), *arguments], env=clean_environment({**GOOD, "HTTP_PORT": free_port(), **settings}),
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", SERVICES)
def test_all_bad_variables_in_one_go(name):
    bad = {variable: values[0] for variable, values in variables(name).items() if values}
    done = start(name, **bad)
    assert done.returncode == 2, done.stderr
    assert [variable for variable in bad if variable not in done.stderr] == []
    assert done.stdout == ""


@pytest.mark.parametrize("name", SERVICES)
def test_each_bad_value_alone(name):
    for variable, values in variables(name).items():
        for value in values:
            done = start(name, **{variable: value})
            assert done.returncode == 2 and variable in done.stderr, f"{variable}={value}: exit {done.returncode}\n{done.stderr}"


@pytest.mark.parametrize("name", SERVICES)
def test_commands_refuse_too(name):
    for command in ("check", "verify", "rebuild", "status"):
        done = start(name, command, WORKERS="none", LOG_LEVEL="loud")
        assert done.returncode == 2 and "WORKERS" in done.stderr and "LOG_LEVEL" in done.stderr, command


@pytest.mark.parametrize("name", SERVICES)
def test_the_database_is_required(name):
    done = start(name, DATABASE_URL=None)
    assert done.returncode == 2 and "DATABASE_URL" in done.stderr


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("variable", ["REDIS_URL", "DATABASE_URL"])
def test_value_and_file(tmp_path, name, variable):
    file = tmp_path / "secret"
    file.write_text(GOOD[variable] + "\n")
    done = start(name, **{variable + "_FILE": file})
    assert done.returncode == 2 and variable + "_FILE" in done.stderr
    done = start(name, **{variable: None, variable + "_FILE": tmp_path / "missing"})
    assert done.returncode == 2 and variable + "_FILE" in done.stderr


def test_urls_from_files(pipeline, small, tmp_path):
    environment = pipeline.environment()
    settings = {}
    for variable in ("REDIS_URL", "DATABASE_URL"):
        (tmp_path / variable).write_text(environment[variable] + "\n")
        settings |= {variable: None, variable + "_FILE": tmp_path / variable}
    pipeline.listen_to(small).start(**settings)
    pipeline.feed(small)
    pipeline.drain().assert_exact()


def test_files_as_people_write_them(pipeline, tmp_path):
    """With a byte order mark, blanks and line ends around the URL: none of it is part of it. What is no file is refused, and nothing hangs."""
    url = pipeline.migrate().environment()["DATABASE_URL"]
    (tmp_path / "url").write_bytes(b"\xef\xbb\xbf " + url.encode() + b" \r\n\n")
    assert pipeline.run("cascade", "check", DATABASE_URL=None, DATABASE_URL_FILE=tmp_path / "url").returncode == 0
    assert pipeline.run("cascade", "check", DATABASE_URL=url + "\n").returncode == 0, "a secret that was made of `echo`"
    os.mkfifo(tmp_path / "pipe")
    done = start("ingest", DATABASE_URL=None, DATABASE_URL_FILE=tmp_path / "pipe")
    assert done.returncode == 2 and "DATABASE_URL_FILE: cannot read" in done.stderr and "it is a pipe" in done.stderr, done.stderr


@pytest.mark.parametrize("variable, value", [("NETWORK", " "), ("NETWORK", '"n"'), ("NETWORK", b"n\xff"), ("REDIS_STREAMS", b"a\xffb"), ("REDIS_STREAMS", '"a,b"'),
    ("REDIS_STREAMS", "a,\x1b[31m"), ("CONSUMER_GROUP", b"g\xff"), ("CONSUMER_NAME", "'n'"), ("RPC_URL", "http://u:p@h h"),
    ("CASCADE_STREAM_NAME", "postgres-sync:database")])
def test_names_that_are_none(variable, value):
    """A quote that a file of variables kept, bytes that PostgreSQL refuses: said at the start, before a network is pinned or an entry is refused for it."""
    done = subprocess.run([executable("ingest")], env={os.fsencode(k): os.fsencode(v) for k, v in clean_environment({**GOOD, "HTTP_PORT": free_port()}).items()}
                          | {variable.encode(): value if isinstance(value, bytes) else value.encode()}, capture_output=True, timeout=60)
    assert done.returncode == 2 and variable.encode() in done.stderr and b"\x1b" not in done.stderr, done.stderr


def test_check_compares_the_network(pipeline, small):
    pipeline.migrate().listen_to(small).start("ingest")
    pipeline.feed(small)
    pipeline.drain(["ingest"])
    assert pipeline.run("ingest", "check").returncode == 0
    done = pipeline.run("ingest", "check", NETWORK="another")
    assert done.returncode == 1 and "FAIL  settings" in done.stdout and "another network than NETWORK says" in done.stdout, done.stdout


def test_the_key_in_the_nodes_url_is_masked():
    for arguments, more in ((("--help",), {}), ((), {"WORKERS": "none"}), (("reconcile", "--check"), {})):
        done = start("ingest", *arguments, RPC_URL=f"https://127.0.0.1:1/{SECRET}", **more)
        assert SECRET not in done.stdout + done.stderr, arguments
    done = start("ingest", RPC_URL=f"wss://127.0.0.1:1/{SECRET}")
    assert done.returncode == 2 and "RPC_URL" in done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_variables_of_others_are_ignored(pipeline, name):
    pipeline.migrate()
    others = {variable: values[0] for variable, values in foreign(name).items() if values}
    pipeline.start(name, **others, UNHEARD_OF="x").ready()


@pytest.mark.parametrize("name", SERVICES)
def test_an_empty_variable_counts_as_unset(pipeline, name):
    pipeline.migrate()
    pipeline.start(name, BATCH_SIZE="", NETWORK="", RPC_URL="", LOG_LEVEL="", CONSUMER_GROUP_SUFFIX="").ready()


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_masked(make_pipeline, name):
    with_secrets = {"REDIS_URL": f"redis://someone:{SECRET}@127.0.0.1:1/0", "DATABASE_URL": f"postgresql://someone:{SECRET}@127.0.0.1:1/x"}
    for arguments, more in ((("--help",), {}), (("check",), {}), ((), {"WORKERS": "none"}), (("status",), {})):
        done = start(name, *arguments, **with_secrets, **more)
        assert SECRET not in done.stdout + done.stderr, arguments
    done = start(name, "--help", DATABASE_URL=f"host=127.0.0.1 password={SECRET} dbname=x")
    assert SECRET not in done.stdout + done.stderr
    service = make_pipeline(database=False).start(name, **with_secrets, LOG_LEVEL="debug")
    service.says("redis|postgres|database")
    until(lambda: service.status_of("/livez") == 200, "it listens", alive=[service])
    assert SECRET not in service.messages() + service.out.read_text() + service.get("/status")[1]
