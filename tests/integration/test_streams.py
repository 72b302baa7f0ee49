"""deploy/streams.md: each redis-cli line of the page runs against a pipeline that has worked, and shows what the page says."""
import os
import re
import shutil
import subprocess
from pathlib import Path

from waiting import until

PAGE = (Path(__file__).resolve().parents[2] / "deploy" / "streams.md").read_text()


def examples():
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S):
        for line in block.splitlines():
            command, shown = re.fullmatch(r"(redis-cli .*\S) +# → (.*)", line).groups()
            yield command, shown.split(", ")


def test_every_example_shows_what_the_page_says(pipeline, small, tmp_path):
    services = [service.ready() for service in pipeline.listen_to(small).start()]
    client, stream = pipeline.redis(), next(message.stream for message in small if message.name == "Deposited")
    pipeline.feed(small)
    pipeline.redis().xadd(stream, {"payload": "broken"})
    until(lambda: client.xlen(pipeline.dead_letter_stream) == 1, "there is a dead letter", alive=services)
    until(pipeline.drained(), "all is drained", alive=services)
    pipeline.stop()
    held = client.xadd(stream, {"payload": small[0].payload()})   # read by somebody who does not come back
    client.xreadgroup(pipeline.group, "held-by-somebody", {stream: ">"})
    cli = tmp_path / "bin" / "redis-cli"
    cli.parent.mkdir()
    cli.write_text(f'#!/bin/sh\nexec {shutil.which("redis-cli")} --no-raw -h 127.0.0.1 -p {pipeline.redis_server.port} -n {pipeline.redis_db} "$@"\n')
    cli.chmod(0o755)
    (letter, _), = client.xrange(pipeline.dead_letter_stream)
    environment = {"PATH": f"{cli.parent}:{os.environ['PATH']}", "STREAM": stream, "GROUP": pipeline.group, "ID": held, "LETTER": letter}
    seen = 0
    for command, words in examples():
        done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and "ERR" not in done.stdout, (command, done.stdout, done.stderr)
        for word in words:
            assert word in done.stdout, f"{command} does not show {word!r}:\n{done.stdout[:2000]}"
        seen += 1
    assert seen >= 15
