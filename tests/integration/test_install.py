"""What `meson install` puts in place: programs, man pages, completion of three shells, systemd units."""
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
    done = run(installed / "bin" / f"intuition-{name}", "--version")
    assert done.returncode == 0 and name in done.stdout
    assert sorted(os.listdir(installed / "bin")) == sorted(f"intuition-{service}" for service in SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_man_page(installed, name):
    page = installed / "share/man/man1" / f"intuition-{name}.1"
    assert run("mandoc", "-T", "lint", "-W", "error", page).stdout == ""
    text = re.sub(r".\x08", "", run("mandoc", "-T", "utf8", page).stdout)
    usage = run(installed / "bin" / f"intuition-{name}", "--help", env={}).stdout
    for variable in re.findall(r"(?m)^([A-Z][A-Z_]+) ", usage.split("\nEnvironment")[1]):
        assert re.search(rf"(?m)^\s+{variable}$", text), variable
    for command in re.findall(r"(?m)^  ([a-z]+) ", usage.split("\nCommands:")[1].split("\nExit codes")[0]):
        assert re.search(rf"(?m)^\s+{command}\b", text.split("COMMANDS")[1]), command
    assert re.search(r"(?m)^\s+verify \[--sample N\] \[--json\]\n\s+recompute", text), "a command's usage and its text are apart"
    assert re.search(rf"(?m)^\s+intuition-{name} --help \| --version$", text) and not re.search(rf"(?m)^\s+(DATABASE_URL=\S+ )?{name}\b", text.split("COMMANDS")[0])


def bash(installed, program, *words):
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "_${1//-/_}" "$1" "${@: -1}"; printf "%s\\n" "${COMPREPLY[@]}"'
    return run("bash", "-c", script, "bash", installed / "share/bash-completion/completions" / program, program, *words)


def zsh(installed, program, *words):
    """In a function of the completion system `words` and CURRENT are set, and compadd takes what begins with the last word."""
    script = ('file=$1; shift; words=("$@"); CURRENT=$#; last=${words[-1]}; compadd() { shift; for word; do [[ $word == $last* ]] && print -r -- $word; done; true }\n'
              'complete_it() { source $file }; complete_it')
    return run("zsh", "-f", "-c", script, "zsh", installed / "share/zsh/site-functions" / f"_{program}", program, *words)


def fish(installed, program, *words):
    script = f"source {installed}/share/fish/vendor_completions.d/{program}.fish; complete -C \"{' '.join((program, *words))}\""
    done = run("fish", "--no-config", "-c", script)
    done.stdout = "\n".join(line.split("\t")[0] for line in done.stdout.splitlines())
    return done


@pytest.fixture(params=(bash, zsh, fish), ids=lambda shell: shell.__name__)
def completed(request, installed):
    """-> what a shell offers for the last of these words, which may be empty"""
    shell = request.param
    if not shutil.which(shell.__name__):
        pytest.skip(f"there is no {shell.__name__}")

    def offers(name, *words):
        done = shell(installed, f"intuition-{name}", *words)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return set(done.stdout.split())
    return offers


@pytest.mark.parametrize("name", SERVICES)
def test_completion_offers_every_command(installed, completed, name):
    usage = run(installed / "bin" / f"intuition-{name}", "--help", env={}).stdout
    commands = set(re.findall(r"(?m)^  ([a-z]+) ", usage.split("\nCommands:")[1].split("\nExit codes")[0]))
    assert len(commands) >= 5
    assert completed(name, "") - {"--help", "--version"} == commands   # fish offers options once a - is typed
    assert completed(name, "--") == {"--help", "--version"}
    assert completed(name, "ver") == {"verify"}
    assert completed(name, "dlq", "") - {"--help", "--version"} == {"list", "show", "retry", "drop"}
    assert completed(name, "dlq", "retry", "--") == {"--all", "--json"}
    assert completed(name, "verify", "--sample", "100", "--") - {"--sample"} == {"--json"}


def test_completion_of_ingests_own(completed):
    assert completed("ingest", "replay", "--") == {"--from", "--reset", "--json", "--accept-loss"}
    assert completed("ingest", "migrate", "--") == {"--status", "--json"}
    assert "replay" not in completed("cascade", "")


@pytest.fixture(scope="module")
def units(installed, tmp_path_factory):
    """The units, with the programs where this test put them."""
    folder = tmp_path_factory.mktemp("units")
    for name in SERVICES:
        text = (installed / f"lib/systemd/system/intuition-{name}.service").read_text()
        assert f"ExecStart=/usr/local/bin/intuition-{name}\n" in text and "\\" not in text and "WantedBy=multi-user.target\n" in text
        (folder / f"intuition-{name}.service").write_text(text.replace("/usr/local/bin/", f"{installed}/bin/"))
        text = (installed / f"lib/systemd/system/intuition-{name}-verify.service").read_text()
        assert f"ExecStart=/usr/local/bin/intuition-{name} verify --sample 100000\n" in text and "Type=oneshot\n" in text and "[Install]" not in text
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
