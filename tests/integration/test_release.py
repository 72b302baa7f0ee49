"""deploy/release: twice the same bytes, and what is in them. tests/package/run installs the package in a fresh system."""
import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from programs import SERVICES

ROOT = Path(__file__).resolve().parents[2]
VERSION = re.search(r"version: '(.+)'", (ROOT / "meson.build").read_text())[1]


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(release):
    (found,) = release.glob("*.deb")
    return found


def sums(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name != "SHA256SUMS"}


def test_twice_the_same_and_nothing_else_is_touched(release, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "intuition-sync-0.0.1.tar.gz").write_text("of an earlier release")
    run("deploy/release", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    (tmp_path / "mine.txt").unlink()
    assert sums(tmp_path) == sums(release)
    said = dict(reversed(line.split("  ")) for line in (release / "SHA256SUMS").read_text().splitlines())
    assert said == sums(release) and len(said) == 5


def test_the_sources_are_those_of_the_last_commit(release):
    with tarfile.open(release / f"intuition-sync-{VERSION}.tar.gz") as archive:
        files = sorted(member.name.partition("/")[2] for member in archive if not member.isdir())
    assert files == sorted(run("git", "-c", "core.quotePath=off", "ls-tree", "-r", "--name-only", "HEAD").splitlines())


def test_the_package(package, release):
    fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "-f", package).splitlines() if not line.startswith(" "))
    assert fields["Package"] == "intuition-sync" and fields["Version"].startswith(f"{VERSION}+")
    depends = {part.split()[0] for part in fields["Depends"].split(", ")}
    assert {"libc6", "libpq5", "libcjson1"} <= depends
    document = json.loads(package.with_suffix(".spdx.json").read_text())
    assert {entry["name"] for entry in document["packages"]} == depends | {"intuition-sync"}
    listed = {}
    for line in run("dpkg-deb", "-c", package).splitlines():
        mode, owner, *_, name = line.split()
        assert owner == "root/root"
        listed[name[1:]] = mode
    programs = {name for name in listed if name.startswith("/usr/bin/") and name != "/usr/bin/"}
    assert programs == {f"/usr/bin/intuition-{name}" for name in SERVICES} and {listed[name] for name in programs} == {"-rwxr-xr-x"}
    outside = {name for name, mode in listed.items() if mode[0] == "-" and not name.startswith("/usr/")}
    assert outside == {"/etc/intuition-sync/common.env"} and listed["/etc/intuition-sync/common.env"] == "-rw-------"


def test_settings_of_the_package_are_variables_and_its_units_are_stopped(package, tmp_path):
    run("dpkg-deb", "-R", package, tmp_path / "raw")
    assert (tmp_path / "raw/DEBIAN/conffiles").read_text() == "/etc/intuition-sync/common.env\n"
    usage = run(tmp_path / "raw/usr/bin/intuition-ingest", "--help")
    for variable in re.findall(r"(?m)^#?([A-Z_]+)=", (tmp_path / "raw/etc/intuition-sync/common.env").read_text()):
        assert re.search(rf"(?m)^{variable} ", usage), variable
    units = sorted(path.name for path in (tmp_path / "raw/usr/lib/systemd/system").iterdir())
    script = tmp_path / "systemctl"
    script.write_text('#!/bin/sh\necho "$*" >>"$LOG"\n')
    script.chmod(0o755)
    log = tmp_path / "log"
    subprocess.run([tmp_path / "raw/DEBIAN/prerm", "remove"], env={"PATH": f"{tmp_path}:/usr/bin:/bin", "LOG": str(log)}, check=True)
    assert sorted(line.split()[-1] for line in log.read_text().splitlines() if " disable " in line) == units
