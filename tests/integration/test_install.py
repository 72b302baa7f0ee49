"""What `meson install` puts in place: programs, man pages, shell completion, systemd units."""
import os
import re
import shutil
import subprocess

import pytest

from programs import SERVICES

BUILD_DIR = os.path.abspath(os.environ.get("BUILD_DIR", "build"))


def run(*arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("installed")
    done = run("meson", "install", "-C", BUILD_DIR, "--no-rebuild", "--quiet", "--destdir", str(root))
    assert done.returncode == 0, done.stdout + done.stderr
    yield root / "usr/local"
    shutil.rmtree(root)


@pytest.mark.parametrize("name", SERVICES)
def test_program(installed, name):
    done = run(installed / "bin" / name, "--version")
    assert done.returncode == 0 and name in done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_man_page(installed, name):
    page = installed / "share/man/man1" / f"{name}.1"
    assert run("mandoc", "-T", "lint", "-W", "error", page).stdout == ""
    text = re.sub(r".\x08", "", run("mandoc", "-T", "utf8", page).stdout)
    usage = run(installed / "bin" / name, "--help", env={}).stdout
    for variable in re.findall(r"(?m)^([A-Z][A-Z_]+) ", usage.split("\nEnvironment")[1]):
        assert re.search(rf"(?m)^\s+{variable}$", text), variable
    for command in re.findall(r"(?m)^  ([a-z]+) ", usage.split("\nCommands:")[1].split("\nExit codes")[0]):
        assert re.search(rf"(?m)^\s+{command}\b", text.split("COMMANDS")[1]), command
    assert re.search(r"(?m)^\s+verify \[--sample N\] \[--json\]\n\s+recompute", text), "a command's usage and its text are apart"


def completed(installed, name, *words):
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _intuition_sync "$1" "${@: -1}"; printf "%s\\n" "${COMPREPLY[@]}"'
    file = installed / "share/bash-completion/completions" / name
    done = run("bash", "-c", script, "bash", file, name, *words)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("name", SERVICES)
def test_completion_offers_every_command(installed, name):
    usage = run(installed / "bin" / name, "--help", env={}).stdout
    commands = set(re.findall(r"(?m)^  ([a-z]+) ", usage.split("\nCommands:")[1].split("\nExit codes")[0]))
    assert len(commands) >= 5
    assert completed(installed, name, "") == commands | {"--help", "--version"}
    assert completed(installed, name, "ver") == {"verify"}
    assert completed(installed, name, "dlq", "") == {"list", "show", "retry", "drop"}
    assert completed(installed, name, "dlq", "retry", "--") == {"--all"}


def test_completion_of_ingests_own(installed):
    assert completed(installed, "ingest", "replay", "--") == {"--from", "--reset", "--accept-loss"}
    assert completed(installed, "ingest", "migrate", "--") == {"--status", "--json"}
    assert "replay" not in completed(installed, "cascade", "")


@pytest.fixture(scope="module")
def units(installed, tmp_path_factory):
    """The units, with the programs where this test put them."""
    folder = tmp_path_factory.mktemp("units")
    for name in SERVICES:
        text = (installed / f"lib/systemd/system/intuition-{name}.service").read_text()
        assert f"ExecStart=/usr/local/bin/{name}\n" in text and "\\" not in text and "WantedBy=multi-user.target\n" in text
        (folder / f"intuition-{name}.service").write_text(text.replace("/usr/local/bin/", f"{installed}/bin/"))
        text = (installed / f"lib/systemd/system/intuition-{name}-verify.service").read_text()
        assert f"ExecStart=/usr/local/bin/{name} verify --sample 100000\n" in text and "Type=oneshot\n" in text and "[Install]" not in text
        (folder / f"intuition-{name}-verify.service").write_text(text.replace("/usr/local/bin/", f"{installed}/bin/"))
        timer = f"intuition-{name}-verify.timer"
        shutil.copy(installed / "lib/systemd/system" / timer, folder / timer)
    return folder


@pytest.mark.parametrize("name", [*SERVICES, *(f"{name}-verify" for name in SERVICES)])
def test_unit(units, name):
    unit = units / f"intuition-{name}.service"
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_timer(units, name):
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", units / f"intuition-{name}-verify.timer")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_check_of_units_can_fail(units, tmp_path):
    text = (units / "intuition-ingest.service").read_text()
    wrong = tmp_path / "intuition-wrong.service"
    wrong.write_text(text.replace("ProtectHome=yes", "ProtectHome=perhaps"))
    refusal = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", wrong).stderr
    assert "protecthome" in refusal.lower().replace(" ", ""), refusal   # "ProtectHome=" from systemd 256 on, "protect home" before
    wrong.write_text(re.sub(r"(?m)^(Protect|System|Capab|Private|Restrict).*$", "", text))
    assert run("systemd-analyze", "security", "--offline=yes", "--threshold=20", wrong).returncode != 0
