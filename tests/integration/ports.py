"""Loopback ports for what the tests start. A port that is free now must still be so when its owner binds it, a moment or a restart later:
so it is none that the kernel gives to outgoing connections (ip(7), ip_local_port_range), is handed out once in a test process, and lies in
a block that no other test process on the machine has. A block is held by an abstract socket (unix(7)), which ends with its process."""
import random
import socket
import threading
from pathlib import Path

_BLOCK = 100
_FIRST, _END = 10_000, 65_500
_held = []  # the sockets of our blocks


def _blocks():
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    blocks = [first for first in range(_FIRST, _END, _BLOCK) if first + _BLOCK <= low or first > high]
    blocks = blocks or list(range(_FIRST, _END, _BLOCK))   # a machine tuned to give all: then as good as free ports get
    return random.Random().sample(blocks, len(blocks))


def _ports():
    for first in _blocks():
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0pipeline-tests-ports-{first}")
        except OSError:
            holder.close()
            continue
        _held.append(holder)
        for port in range(first, first + _BLOCK):
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            yield port
    raise RuntimeError("no free ports are left")


_next, _lock = _ports(), threading.Lock()


def free_port():
    with _lock:
        return next(_next)
