"""The image as deploy/release makes it, with deploy/image/build, of the last commit (twice the same: test_release.py). Its programs run from nothing
but its root, as its user; the SBOM names what is in it. deploy/compose.yaml: the variables are the programs'."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from authority import Authority, TlsRedisServer
from programs import SERVICES, clean_environment, executable
from ports import free_port
from servers import die_with_parent
from test_tls import needs_tls
from waiting import until

ROOT = Path(__file__).resolve().parents[2]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")


@pytest.fixture(scope="module")
def image(once, release):
    """-> folder with the unpacked layout and root"""
    def unpack(folder):
        (archive,) = release.glob("*.oci.tar")
        with tarfile.open(archive) as opened:
            opened.extractall(folder / "oci")
        subprocess.run(["umoci", "raw", "unpack", "--image", f"{folder}/oci:0.1.0", folder / "root"], check=True, capture_output=True)
    return once("image", unpack)


def blob(folder, digest):
    data = (folder / "oci/blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest.removeprefix("sha256:")
    return json.loads(data)


def test_what_it_says_of_itself(image):
    (entry,) = json.loads((image / "oci/index.json").read_text())["manifests"]
    manifest = blob(image, entry["digest"])
    config = blob(image, manifest["config"]["digest"])
    committed = subprocess.run(["git", "log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"], cwd=ROOT, env={**os.environ, "TZ": "UTC"},
                               capture_output=True, text=True, check=True).stdout.strip()
    assert config["config"]["User"] == "65532:65532" and config["config"]["Cmd"] == ["ingest"] and "8080" in str(config["config"]["ExposedPorts"])
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == "0.1.0" and config["created"] == committed
    assert len(manifest["layers"]) == 1 and manifest["layers"][0]["size"] < 20 << 20


def test_no_shell_and_nothing_to_write(image):
    root = image / "root"
    programs = [path for path in root.rglob("*") if path.is_file() and os.access(path, os.X_OK) and ".so" not in path.name]
    assert sorted(path.name for path in programs) == sorted(SERVICES)
    assert [path for path in root.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o002 and path != root / "tmp"] == []


def test_the_sbom_names_every_library(image):
    root = image / "root"
    document = json.loads((root / "usr/share/sbom/intuition-sync.spdx.json").read_text())
    named = {package["name"]: package["versionInfo"] for package in document["packages"]}
    for library in root.rglob("*.so*"):
        inside = "/" + str(library.relative_to(root))
        real = os.path.realpath(inside)
        owners = [subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True).stdout for path in (real, real.removeprefix("/usr"))]
        package = next(owner for owner in owners if owner).split(":")[0]
        version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}\n", package], capture_output=True, text=True).stdout.split("\n")[0]
        assert named[package] == version, inside
        assert (root / "usr/share/doc" / package / "copyright").exists(), package
    assert document["spdxVersion"] == "SPDX-2.3" and {"intuition-sync", "libpq5", "ca-certificates"} <= named.keys()
    assert [name for name in named if name.startswith("libhiredis")]
    suite = re.search(r"(?m)^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text())[1]
    places = [place["referenceLocator"] for package in document["packages"] for place in package.get("externalRefs", ())]
    assert places and all(place.endswith(f"&distro={suite}") for place in places)


def confined(root):
    """For Popen's preexec_fn: nothing but this root, as the image's user."""
    tied = die_with_parent()

    def confine():
        tied()
        os.chroot(root)
        os.chdir("/")
        os.setgroups([])
        os.setgid(65532)
        os.setuid(65532)
    return confine


@root_only
def test_it_runs_from_its_root_alone(image, pipeline, small):
    root, pipeline = image / "root", pipeline.listen_to(small)
    pipeline.feed(small)
    running, ports = [], {}
    try:
        for name in SERVICES:
            ports[name] = free_port()
            environment = clean_environment(pipeline.environment({"HTTP_PORT": ports[name], "CONSUMER_NAME": name}))
            running.append(subprocess.Popen([f"/usr/bin/{name}"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.PIPE, preexec_fn=confined(root)))

        def answers(name, path):
            from urllib.request import urlopen
            try:
                return urlopen(f"http://127.0.0.1:{ports[name]}{path}", timeout=5).status == 200
            except OSError:
                return False
        for name in SERVICES:
            until(lambda n=name: answers(n, "/livez") and answers(n, "/readyz"), f"{name} is alive and ready")
        pipeline.drain().assert_exact()
    finally:
        for process in running:
            process.terminate()
        ended = [(process.wait(timeout=60), process.stderr.read().decode()) for process in running]
    assert [code for code, _ in ended] == [0, 0, 0], ended


@root_only
@needs_tls
def test_it_trusts_the_authorities_that_it_brings(image, server_folder, own_servers, make_pipeline):
    """OpenSSL finds them in the image: one more among them is trusted, too."""
    root, authority, pipeline = image / "root", Authority(server_folder), make_pipeline(database=False)
    own_servers.append(TlsRedisServer(server_folder, authority, "IP:127.0.0.1").start())
    environment = clean_environment(pipeline.environment({"REDIS_URL": own_servers[-1].url(host="127.0.0.1")}))

    def check():
        done = subprocess.run(["/usr/bin/ingest", "check"], env=environment, capture_output=True, text=True, preexec_fn=confined(root))
        return next(line for line in done.stdout.splitlines() if line.split()[1] == "redis")
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    before = bundle.read_text()
    assert "not trusted here" in check()
    bundle.write_text(before + authority.file.read_text())
    assert check().startswith("ok")
    bundle.write_text(before)


def test_the_build_context_has_no_local_files():
    """What git ignores docker does not send either."""
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert {".run", ".venv", "build*"} <= ignored
    assert {pattern.removeprefix("**/") for pattern in (ROOT / ".dockerignore").read_text().splitlines()} >= ignored | {".git"}


def test_compose_sets_variables_that_exist():
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    for name in SERVICES:
        service = compose["services"][name]
        text = subprocess.run([executable(name), "--help"], env={}, capture_output=True, text=True, check=True).stdout
        assert service["command"] == [name] and service["read_only"] and service["cap_drop"] == ["ALL"]
        for variable in service["environment"]:
            assert re.search(rf"^{variable} ", text, re.M), (name, variable)
        assert service["healthcheck"]["test"] == ["CMD", name, "check"] and re.search(r"^  check ", text, re.M)   # there is no shell, no curl
        assert set(service["depends_on"]) == {"redis", "postgres"} <= compose["services"].keys()
    assert "noeviction" in compose["services"]["redis"]["command"]
    assert (ROOT / "deploy" / compose["services"]["ingest"]["build"]["context"]).resolve() == ROOT
    mounted = [volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", ()) if volume.startswith(".")]
    assert len(mounted) == 4 and all((ROOT / "deploy" / path).exists() for path in mounted), mounted
    scraped = yaml.safe_load((ROOT / "deploy/monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert {job["dns_sd_configs"][0]["names"][0] for job in scraped} < compose["services"].keys()
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0:
        done = subprocess.run([docker, "compose", "-f", ROOT / "deploy/compose.yaml", "config", "--quiet"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
