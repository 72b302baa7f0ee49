"""A TCP proxy between a program and a server: cuts connections in the middle of a reply, or stops at a named point of the conversation."""
import random
import re
import socket
import threading
import time

from ports import free_port


class Trap:
    """Where the conversation stops for good: before a request that matches is passed on, or (after=True) when its reply is there and not
    passed on; or at a reply that matches. Once it is reached nothing passes on any connection of the proxy."""

    def __init__(self, request=None, reply=None, after=False):
        self.request = re.compile(request, re.DOTALL) if request else None
        self.reply = re.compile(reply, re.DOTALL) if reply else None
        self.after, self.reached = after, threading.Event()


class Proxy:
    def __init__(self, port, seed=0, delay=0):
        """delay: so many seconds does each reply come late. silent_to (assigned later, a pattern of bytes): a connection whose request
        matches gets no answer, and is not passed on; the others are. silent: how many there were. garble (assigned later): what a reply
        becomes, bytes -> bytes."""
        self.silent_to, self.silent, self.garble = None, 0, None
        self.delay, self.target, self.port, self.rng = delay, port, free_port(), random.Random(seed)
        self.lock, self.pairs, self.trap, self.cuts = threading.Lock(), [], None, 0
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, url):
        """The server's URL with the proxy's port in it."""
        return url.replace(f":{self.target}/", f":{self.port}/")

    def set(self, trap):
        self.trap = trap
        return trap

    def cut(self, count=1):
        """The next replies of as many connections end somewhere in their middle."""
        with self.lock:
            self.cuts += count

    def close(self):
        self.listener.close()
        for pair in list(self.pairs):
            self._close(pair)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:   # the server is away: so is the proxy
                client.close()
                continue
            pair = {"client": client, "server": server, "armed": False}
            self.pairs.append(pair)
            for source, to, pump in ((client, server, self._request), (server, client, self._reply)):
                threading.Thread(target=self._pump, args=(pair, source, to, pump), daemon=True).start()

    def _close(self, pair):
        for side in ("client", "server"):
            try:
                pair[side].shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            pair[side].close()

    def _pump(self, pair, source, to, check):
        seen = b""
        try:
            while data := source.recv(65536):
                seen = (seen + data)[-200_000:]
                trap = self.trap
                if check == self._request and self.silent_to and re.search(self.silent_to, seen, re.DOTALL):
                    self.silent += 1
                    return
                if trap and (trap.reached.is_set() or not check(pair, trap, seen)):
                    trap.reached.set()
                    return   # silence: both ends wait
                if trap and check == self._request and pair["armed"]:
                    seen = b""
                if check == self._reply:
                    time.sleep(self.delay)
                if check == self._reply and self.garble:
                    data = self.garble(data)
                if check == self._reply and self._cut_now():
                    to.sendall(data[:self.rng.randrange(len(data))])
                    break
                to.sendall(data)
        except OSError:
            pass
        self._close(pair)

    def _cut_now(self):
        with self.lock:
            self.cuts, cut = max(0, self.cuts - 1), self.cuts > 0
        return cut

    def _request(self, pair, trap, seen):
        """False: this is the point, go no further."""
        if not trap.request or not trap.request.search(seen):
            return True
        pair["armed"] = True
        return trap.after

    def _reply(self, pair, trap, seen):
        if trap.reply:
            return not trap.reply.search(seen)
        return not (trap.after and pair["armed"])
