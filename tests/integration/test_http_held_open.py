"""Clients that hold connections open: one that sends a byte now and then, ones that say nothing, ones that take no answer. The probes go on."""
import contextlib
import socket
import threading
import time

import pytest

from waiting import until


@contextlib.contextmanager
def many(service, count, request=b"", source="127.0.0.1"):
    """So many connections to its port that have sent this much of a request."""
    clients = []
    try:
        for _ in range(count):
            clients.append(socket.create_connection(("127.0.0.1", service.port), timeout=30, source_address=(source, 0)))
            clients[-1].sendall(request)
        yield clients
    finally:
        for client in clients:
            client.close()


def is_ended(client):
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.fixture
def service(pipeline):
    pipeline.migrate()
    return pipeline.start("ingest").ready()


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize("request_so_far", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_probes_while_connections_are_held(service, source, request_so_far):
    """More than the server takes in all, from the probes' own address and from another. A probe is let in before the oldest of them has had its
    ten seconds: it is not their end that makes room."""
    begun = time.monotonic()
    with many(service, 200, request_so_far, source) as clients:
        for path in ("/livez", "/readyz", "/health", "/metrics") * 3:
            assert service.status_of(path) == 200, path
        held = [client for client in clients if not is_ended(client)]
        assert held or time.monotonic() - begun > 10, "who holds few connections keeps them"


def test_a_request_arrives_whole_or_not_at_all(service):
    """A byte every now and then does not win more time."""
    with many(service, 1, b"GET /livez HTTP/1.1\r\nX-Slow: ") as (client,):
        stop = threading.Event()

        def trickle():
            with contextlib.suppress(OSError):
                while not stop.wait(0.5):
                    client.sendall(b"x")
        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert client.recv(1) == b"", "it is closed without an answer"
        except ConnectionError:
            pass
        finally:
            stop.set()
            thread.join()
    assert service.status_of("/livez") == 200


def test_an_answer_that_nobody_takes(service):
    with many(service, 1) as (client,):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.setblocking(False)
        with contextlib.suppress(OSError):
            while True:   # until neither side's buffers take more
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        open_to_us = f":{client.getsockname()[1]:04X} "

        def is_gone():
            """The server's end of it, in the kernel's table."""
            lines = open("/proc/net/tcp").read().splitlines()
            return not any(f":{service.port:04X} " in line and open_to_us in line and line.split()[3] == "01" for line in lines)
        until(is_gone, "the server has closed it", alive=[service])
    assert service.status_of("/livez") == 200
