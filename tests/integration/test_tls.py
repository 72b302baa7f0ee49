"""TLS. To Redis: what is refused, and in which words; certificates of our own; a server that comes back with another certificate. To PostgreSQL
(libpq's parameters) and to a node (libcurl) beside it.

Where the distribution has no hiredis_ssl (Debian 12), the programs refuse rediss:// and name the way out; the other tests are skipped there."""
import os
import re
import shutil
import subprocess

import pytest

from authority import Authority, TlsRedisServer
from node import Chain
from programs import SERVICES
from test_config import start
from test_connections import Dummy
from topologies import Sentinel
from waiting import until

WITH_TLS = subprocess.run(["pkg-config", "--exists", "hiredis_ssl"]).returncode == 0
needs_tls = pytest.mark.skipif(not WITH_TLS, reason="this distribution has no hiredis_ssl, so the programs are built without TLS to Redis")
FAST = {"CIRCUIT_BREAKER_TIMEOUT_MS": 500, "CLAIM_IDLE_MS": 500}


@pytest.fixture
def authority(server_folder):
    return Authority(server_folder)


@pytest.fixture
def make_redis(server_folder, own_servers):
    def make(*how, **more):
        own_servers.append(TlsRedisServer(server_folder, *how, **more))
        return own_servers[-1].start()
    return make


@pytest.fixture
def check(make_pipeline):
    """check(url, SETTING=…) -> what `ingest check` says of the connection to Redis"""
    pipeline = make_pipeline(database=False)

    def look(url, **settings):
        lines = pipeline.run("ingest", "check", REDIS_URL=url, **settings).stdout.splitlines()
        return next(line for line in lines if line.split()[1] == "redis")
    return look


@pytest.mark.skipif(WITH_TLS, reason="the programs are built with TLS to Redis")
@pytest.mark.parametrize("name", SERVICES)
def test_without_tls_the_way_out_is_named(name):
    done = start(name, REDIS_URL="rediss://127.0.0.1:1")
    assert done.returncode == 2 and "REDIS_URL" in done.stderr and "image" in done.stderr and "Debian 13" in done.stderr


@pytest.mark.parametrize("alone", ["REDIS_CERT_FILE", "REDIS_KEY_FILE"])
def test_a_certificate_needs_its_key(tmp_path, alone):
    (tmp_path / "one").write_text("x")
    done = start("ingest", **{alone: tmp_path / "one"})
    assert done.returncode == 2 and "REDIS_CERT_FILE" in done.stderr and "REDIS_KEY_FILE" in done.stderr


@needs_tls
def test_good(authority, make_redis, check):
    server = make_redis(authority, "DNS:localhost,IP:127.0.0.1")
    for host in ("localhost", "127.0.0.1"):
        assert check(server.url(host=host), REDIS_CA_FILE=authority.file).startswith("ok"), host
        assert check(server.url(host=host), SSL_CERT_FILE=authority.file).startswith("ok"), "the system's authorities, as OpenSSL finds them"


@needs_tls
@pytest.mark.parametrize("names, days, host, words", [
    ("DNS:localhost", -1, "localhost", "the server's certificate expired at 20"),
    ("DNS:redis.example.com,DNS:other.example.com,IP:192.0.2.1", 1, "localhost",
     "the server's certificate is for redis.example.com, other.example.com, 192.0.2.1, not for localhost"),
    ("DNS:localhost", 1, "127.0.0.1", "the server's certificate is for localhost, not for 127.0.0.1"),
    ("IP:127.0.0.1", 1, "localhost", "the server's certificate is for 127.0.0.1, not for localhost"),
])
def test_refused(authority, make_redis, check, names, days, host, words):
    server = make_redis(authority, names, days)
    said = check(server.url(host=host), REDIS_CA_FILE=authority.file)
    assert said.startswith("FAIL") and words in said


@needs_tls
def test_an_authority_that_nobody_knows(server_folder, authority, make_redis, check):
    server = make_redis(authority)
    for settings in ({}, {"REDIS_CA_FILE": Authority(server_folder).file}):
        said = check(server.url(), **settings)
        assert said.startswith("FAIL") and f"an authority that is not trusted here, {authority.name}; set REDIS_CA_FILE" in said


@needs_tls
def test_a_client_certificate(server_folder, authority, make_redis, check):
    server = make_redis(authority, demands=True)
    older = make_redis(authority, demands=True, arguments=("--tls-protocols", "TLSv1.2"))
    for one in (server, older):
        said = check(one.url(), REDIS_CA_FILE=authority.file)
        assert said.startswith("FAIL") and "demands a certificate" in said and "set REDIS_CERT_FILE and REDIS_KEY_FILE" in said

    def with_files(certificate, key):
        return check(server.url(), REDIS_CA_FILE=authority.file, REDIS_CERT_FILE=certificate, REDIS_KEY_FILE=key)
    certificate, key = authority.issue("DNS:client")
    assert with_files(certificate, key).startswith("ok")
    said = with_files(*Authority(server_folder).issue("DNS:client"))
    assert said.startswith("FAIL") and "refuses our certificate, REDIS_CERT_FILE" in said
    said = with_files(certificate, authority.issue("DNS:other")[1])
    assert said.startswith("FAIL") and "it is not the key of REDIS_CERT_FILE" in said
    said = with_files(certificate, certificate)
    assert said.startswith("FAIL") and f"REDIS_KEY_FILE: '{certificate}'" in said


@needs_tls
def test_a_server_that_does_not_speak_tls(redis_server, check):
    assert "speak TLS at this port" in check(redis_server.url().replace("redis:", "rediss:"))
    silent = Dummy()
    try:
        assert "did not answer the TLS handshake in time" in check(f"rediss://127.0.0.1:{silent.port}")
    finally:
        silent.close()


@needs_tls
def test_a_sentinel_speaks_tls_too(server_folder, own_servers, authority, make_redis, check):
    server, files = make_redis(authority, "IP:127.0.0.1"), authority.issue("DNS:localhost")
    own_servers.append(Sentinel(server_folder, server, files=(*files, authority.file), quorum=1))
    sentinel = own_servers[-1].start()
    said = check(f"rediss+sentinel://localhost:{sentinel.port}/main", REDIS_CA_FILE=authority.file)
    assert said.startswith("ok") and f"127.0.0.1:{server.port}, master main, named by the sentinel localhost:{sentinel.port}" in said
    said = check(f"rediss+sentinel://127.0.0.1:{sentinel.port}/main", REDIS_CA_FILE=authority.file)
    assert said.startswith("FAIL") and "the server's certificate is for localhost, not for 127.0.0.1" in said


@pytest.fixture
def verified_postgres(authority, own_postgres, tmp_path):
    """-> (PostgreSQL that takes nothing but TLS with a client's certificate from others than the tests, the URL's parameters)"""
    for name, file in zip(("server.crt", "server.key"), authority.issue("DNS:localhost")):
        shutil.copy(file, own_postgres.data / name)
        (own_postgres.data / name).chmod(0o600)
        if own_postgres.user:
            os.chown(own_postgres.data / name, own_postgres.user.pw_uid, own_postgres.user.pw_gid)
    own_postgres.settings |= {"ssl": "on", "ssl_ca_file": str(authority.file)}
    (own_postgres.data / "pg_hba.conf").write_text("hostssl all app 127.0.0.1/32 trust clientcert=verify-ca\nhost all postgres 127.0.0.1/32 trust\n")
    own_postgres.start()
    with own_postgres.connect() as connection:
        connection.execute("CREATE ROLE app LOGIN SUPERUSER")
    certificate, key = authority.issue("DNS:app")
    key.chmod(0o600)   # libpq insists
    return own_postgres, {"sslmode": "verify-full", "sslrootcert": authority.file, "sslcert": certificate, "sslkey": key}


def verified_url(pipeline, parameters, host="localhost"):
    port, more = pipeline.postgres_server.port, "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"postgresql://app@{host}:{port}/{pipeline.database}?{more}"


def test_postgresql_verified_on_both_sides(verified_postgres, make_pipeline, small):
    postgres, parameters = verified_postgres
    pipeline = make_pipeline(postgres=postgres).listen_to(small)

    def said(**how):
        lines = pipeline.run("ingest", "check", DATABASE_URL=verified_url(pipeline, **how)).stdout.splitlines()
        return next(line for line in lines if line.split()[1] == "postgresql")
    assert said(parameters=parameters).startswith("ok")
    assert re.search('server certificate for "localhost".* does not match host name "127.0.0.1"', said(parameters=parameters, host="127.0.0.1"))
    assert "requires a valid client certificate" in said(parameters={**parameters, "sslcert": "/nowhere", "sslkey": "/nowhere"})
    pipeline.settings["DATABASE_URL"] = verified_url(pipeline, parameters)
    pipeline.start()
    pipeline.feed(small)
    pipeline.drain().assert_exact()


def test_https_to_the_node_says_why(authority, pipeline, small, make_node):
    chain = Chain.of(small)
    node = make_node(chain, files=authority.issue("IP:127.0.0.1"))
    done = pipeline.migrate().run("ingest", "reconcile", "--check", "--rpc", node.url, NETWORK="intuition-testnet", CONTRACT_ADDRESS=chain.contract)
    assert done.returncode == 1 and re.search(r"certificate.*: .*(unable to get local issuer|self-signed) certificate", done.stderr), done.stderr
    assert "secret-key" not in done.stderr


@needs_tls
def test_the_whole_recording_with_certificates_on_all_sides(authority, make_redis, make_pipeline, verified_postgres, recording):
    postgres, parameters = verified_postgres
    certificate, key = authority.issue("DNS:client")
    pipeline = make_pipeline(redis=make_redis(authority, demands=True), redis_db=0, postgres=postgres, REDIS_CA_FILE=authority.file,
                             REDIS_CERT_FILE=certificate, REDIS_KEY_FILE=key).listen_to(recording)
    pipeline.settings["DATABASE_URL"] = verified_url(pipeline, parameters)
    pipeline.start()
    pipeline.feed(recording)
    pipeline.drain().assert_exact()
    with pipeline.connect() as connection:
        plain = connection.execute("SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'app' AND NOT ssl").fetchone()
    assert plain == (0,)


@needs_tls
def test_restarted_with_another_authoritys_certificate(server_folder, authority, make_redis, make_pipeline, part, tmp_path):
    """The services say why they do not trust it. Then the file with the authority is replaced, and nobody restarts anything."""
    server, file = make_redis(authority), tmp_path / "ca.pem"
    file.write_text(authority.file.read_text())
    pipeline = make_pipeline(redis=server, redis_db=0, REDIS_CA_FILE=file, **FAST).listen_to(part)
    services = [service.ready() for service in pipeline.start()]
    pipeline.feed(part[:len(part) // 2])
    until(pipeline.drained(), "the first half is through", alive=services)
    server.kill()
    other = Authority(server_folder)
    server.use(other)
    server.start()
    for service in services:
        service.says(f"an authority that is not trusted here, {other.name}")
    pipeline.feed(part[len(part) // 2:])
    file.write_text(other.file.read_text())
    until(pipeline.drained(), "the other half is through", alive=services)
    pipeline.assert_exact()
