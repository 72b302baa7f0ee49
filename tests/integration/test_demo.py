"""deploy/local/run: the pipeline on one machine as a newcomer starts it, with the programs of this build."""
import os
import re
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis

from programs import SERVICES
from servers import RedisServer, tied
from waiting import until

ROOT = Path(__file__).resolve().parents[2]
BUILD_DIR = os.path.abspath(os.environ.get("BUILD_DIR", "build"))


class Background:
    """For until(alive=…): a process, whose output goes to the file `out`."""

    def running(self):
        return self.process.poll() is None

    def code(self):
        return self.process.returncode

    def tail(self):
        return self.out.read_text()


class Demo(Background):
    label = "deploy/local/run"

    def __init__(self, folder):
        self.folder, self.process, self.starts = folder, None, 0

    def start(self, *arguments):
        """In the background, as `run &` in a script does: SIGINT is ignored from the start."""
        self.starts += 1
        self.out = self.folder / f"out-{self.starts}"
        self.process = subprocess.Popen([ROOT / "deploy/local/run", "--folder", self.folder / "run", "--build", BUILD_DIR, *arguments],
                                        stdout=self.out.open("w"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        return self

    def says(self, words):
        until(lambda: re.search(words, self.tail(), re.MULTILINE), f"it says {words}", alive=[self])
        return self.tail()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)

    def shell(self, commands):
        return subprocess.run(["sh", "-c", f". {self.folder}/run/env; {commands}"], capture_output=True, text=True)

    def setting(self, name):
        return self.shell(f'printf %s "${name}"').stdout

    def pids(self, name):
        return [int(pid) for pid in subprocess.run(["pgrep", "-P", str(self.process.pid), "-x", name], capture_output=True, text=True).stdout.split()]


@pytest.fixture
def demo(tmp_path):
    demo = Demo(tmp_path)
    yield demo
    if demo.process and demo.running():
        demo.process.terminate()
        demo.process.wait(120)


def test_the_demo_lives(demo):
    text = demo.start().says("^Running")
    first = text.splitlines()[0]
    page = re.match(r"Status page: (http://\S+)", first)[1]
    assert b"<title>" in urllib.request.urlopen(page).read()
    assert "3170 balances compared with the contract's answers, 0 differ" in text and "\nAll checks are right.\n" in text

    status = demo.shell("ingest status")   # with the settings and the port that .run/env has
    assert status.returncode == 0 and "intuition_testnet_deposited" in status.stdout and "not running" not in status.stdout, status
    assert demo.shell("cascade status && analytics status").returncode == 0

    with psycopg.connect(demo.setting("DATABASE_URL"), autocommit=True) as tables:
        count = "SELECT count(*) FROM share_price_changed_events"
        blocks = "SELECT max(block_number) FROM share_price_changed_events"
        stored, block = tables.execute(count).fetchone()[0], tables.execute(blocks).fetchone()[0]
        until(lambda: tables.execute(count).fetchone()[0] > stored and tables.execute(blocks).fetchone()[0] > block, "it feeds on", alive=[demo])

        (killed,) = demo.pids("cascade")
        os.kill(killed, signal.SIGKILL)
        demo.says(r"^cascade ended by itself, killed by SIGKILL\. It is started again\.$")
        until(lambda: demo.pids("cascade") not in ([], [killed]), "cascade runs again", alive=[demo])
        own = redis.Redis.from_url(demo.setting("REDIS_URL"))
        own.xadd("intuition_testnet_deposited", {"payload": "not JSON"})
        own.xadd("vault_updates", {"payload": "nothing of a key"})
        until(lambda: own.xlen("dead_letters") == 2, "one's own entries are dead letters", alive=[demo])

        os.kill(demo.pids("redis-server")[0], signal.SIGKILL)   # a server is started again, too, and feeding goes on
        demo.says("^redis ended by itself")
        stored = tables.execute(count).fetchone()[0]
        until(lambda: tables.execute(count).fetchone()[0] > stored, "it feeds on", alive=[demo])
    assert demo.stop() == 0, demo.tail()

    ports = {name: demo.setting(name) for name in ("REDIS_URL", "DATABASE_URL")}
    text = demo.start("--quiet", "--scale", "2").says("^Running")
    assert text.splitlines()[0] == first and {name: demo.setting(name) for name in ports} == ports
    assert "1231 of 1231 entries were fed by an earlier start" in text and "not compared with the contract's answers" in text
    assert re.search(r"2 dead letters; \d+ entries that were fed later or by hand", text) and "\nAll checks are right.\n" in text and "FAILED" not in text
    assert "Feeding one of" not in text
    assert {name: len(demo.pids(name)) for name in SERVICES} == dict.fromkeys(SERVICES, 2)
    for url in re.findall(r"^  (?:ingest|cascade|analytics)\S*\s+(http://\S+)$", text, re.MULTILINE):
        assert urllib.request.urlopen(url + "readyz").status == 200
    assert len(set(re.findall(r"^  (?:ingest|cascade|analytics)\S*\s+(http://\S+)$", text, re.MULTILINE))) == 6
    assert demo.stop() == 0, demo.tail()


def test_once(demo):
    """Nothing is started again: a check says that something ended."""
    demo.start("--once").says("^Feeding")
    os.kill(demo.pids("ingest")[0], signal.SIGKILL)
    assert demo.process.wait(120) == 1 and "ingest ended by itself, killed by SIGKILL" in demo.tail()
    assert demo.start("--once").process.wait(120) == 0 and demo.tail().endswith("All checks are right.\nStopping.\n"), demo.tail()


class Feeder(Background):
    label = "feed.py --live"

    def __init__(self, port, out):
        self.out = out
        self.process = subprocess.Popen(tied([sys.executable, ROOT / "deploy/local/feed.py", "--live", port, ROOT / "tests/data/recording.jsonl.xz"]),
                                        stdout=out.open("w"), stderr=subprocess.STDOUT)


def test_feeding_outlives_a_redis_that_loads_its_data(server_folder, own_servers, tmp_path):
    server = RedisServer(server_folder, arguments=["--loading-process-events-interval-bytes", "1024"])
    own_servers.append(server.start())
    client = server.client()
    client.mset({f"key {number}": "x" * 100 for number in range(10_000)})
    client.save()
    server.kill()
    server.arguments += ["--key-load-delay", "20000"]   # microseconds: minutes in all
    feeder = Feeder(server.port, tmp_path / "feeder")

    def refused():
        try:
            return client.info("commandstats").get("cmdstat_incr", {}).get("rejected_calls", 0)
        except redis.ConnectionError:
            return 0

    try:
        with ThreadPoolExecutor() as beside:   # not the start: a server ends with the thread that started it
            seen = beside.submit(lambda: until(refused, "the feeder has asked while the server was loading", alive=[feeder])
                                 and client.config_set("key-load-delay", 0))
            server.start()   # returns when it has loaded
            seen.result()
        until(lambda: client.dbsize() > 10_000, "it feeds on", alive=[feeder])
    finally:
        feeder.process.kill()
        feeder.process.wait()


@pytest.mark.parametrize("arguments", [["--scale", "0"], ["--scale"], ["--nothing"]])
def test_bad_usage(demo, arguments):
    assert demo.start(*arguments).process.wait(60) == 2 and "--scale" in demo.tail()
