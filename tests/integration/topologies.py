"""Redis that is more than one server: a primary and its replica under three sentinels, a cluster of three masters with a replica each.

Both stand in for a RedisServer in a Pipeline: url() is what the programs get, client() speaks to the server that takes writes now."""
import os

import redis

from authority import TlsRedisServer
from ports import free_port
from servers import RedisServer
from waiting import until


class Sentinel(RedisServer):
    label = "sentinel"

    def __init__(self, folder, primary, name="main", password=None, quorum=2, files=None):
        """files: (certificate, key, authority) of one that speaks TLS, to the servers as well"""
        super().__init__(folder)
        self.name, self.password, self.files = name, password, files
        self.file = self.folder / "sentinel.conf"   # it writes into it
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", f"sentinel monitor {name} 127.0.0.1 {primary.port} {quorum}",
                 f"sentinel down-after-milliseconds {name} 1000", f"sentinel failover-timeout {name} 5000"]
        lines += [f"requirepass {password}", f"sentinel auth-pass {name} {password}"] if password else []
        if files:
            lines[0] = f"port 0\ntls-port {self.port}\ntls-replication yes\ntls-auth-clients no"
            lines += [f"tls-{word}-file {file}" for word, file in zip(("cert", "key", "ca-cert"), files)]
        self.file.write_text("\n".join(lines) + "\n")
        if self.user:
            os.chown(self.file, self.user.pw_uid, self.user.pw_gid)

    def command(self):
        return [super().command()[0], str(self.file), "--sentinel"]

    def client(self, db=0):
        more = {"ssl": True, "ssl_cert_reqs": "none"} if self.files else {}
        return redis.Redis(host="127.0.0.1", port=self.port, password=self.password, decode_responses=True, protocol=2, socket_timeout=30, **more)

    def master_port(self):
        return int(self.client().execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[1])


class _Several:
    """What all of them are to a Pipeline."""

    def __init__(self, folder, servers):
        """servers: closed with the test (own_servers)"""
        self.folder, self.servers = folder, servers

    def _start(self, server):
        self.servers.append(server)
        return server.start()

    def running(self):
        return True

    def owner(self):
        """The server that takes writes now; None: nobody knows one that runs."""
        port = self._owner_port()
        return next((server for server in self.nodes if server.port == port and server.running()), None)

    def client(self, db=0):
        return until(self.owner, "there is a server that takes writes").client(db)


class Watched(_Several):
    """Two servers, one of them a replica of the other, and three sentinels."""

    def __init__(self, folder, servers):
        super().__init__(folder, servers)
        first = self._start(RedisServer(folder, append_only=True, arguments=_QUICK))
        second = self._start(RedisServer(folder, append_only=True, arguments=(*_QUICK, "--replicaof", "127.0.0.1", str(first.port))))
        self.nodes = [first, second]
        until(lambda: len(first.client().role()[2]) == 1, "the replica follows", alive=self.nodes)
        self.sentinels = [self._start(Sentinel(folder, first)) for _ in range(3)]
        until(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels), "the sentinels know each other", alive=self.sentinels)

    @staticmethod
    def _knows_all(sentinel):
        state = sentinel.client().sentinel_master(sentinel.name)
        return state["num-other-sentinels"] == 2 and state["num-slaves"] == 1

    def _owner_port(self):
        return self.sentinels[0].master_port()

    def url(self, db=0):
        return f"redis+sentinel://{','.join(f'127.0.0.1:{sentinel.port}' for sentinel in self.sentinels)}/main/{db}"

    def other(self, server):
        return next(node for node in self.nodes if node is not server)


class Cluster(_Several):
    """Three masters, each with a replica. client() speaks to the master of the tag's slot."""

    TAG = "{t}"

    def __init__(self, folder, servers, authority=None):
        """authority: they speak TLS, among each other too, and name each other as their certificates do"""
        super().__init__(folder, servers)
        self.nodes, self.bus = [], {}
        self.host = "localhost" if authority else "127.0.0.1"
        for _ in range(6):
            server = TlsRedisServer(folder, authority, arguments=_TLS) if authority else RedisServer(folder, append_only=True)
            self.bus[server] = free_port()
            server.arguments += [*_QUICK, "--databases", "1", "--cluster-enabled", "yes", "--cluster-port", str(self.bus[server]), "--cluster-node-timeout", "2000"]
            self.nodes.append(self._start(server))
        masters, replicas = self.nodes[:3], self.nodes[3:]
        for number, master in enumerate(masters):
            master.client().execute_command("CLUSTER", "ADDSLOTSRANGE", number * 5461, 16383 if number == 2 else number * 5461 + 5460)
        for server in self.nodes[1:]:
            server.client().execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self.bus[self.nodes[0]])
        until(lambda: all(self.info(node, "cluster_known_nodes") == "6" for node in self.nodes), "the nodes know each other", alive=self.nodes)
        for master, replica in zip(masters, replicas):
            replica.client().execute_command("CLUSTER", "REPLICATE", self.id_of(master))
        until(lambda: all(self.info(node, "cluster_state") == "ok" for node in self.nodes), "the cluster is whole", alive=self.nodes)
        until(lambda: all(len(master.client().role()[2]) == 1 for master in masters), "each master has its replica", alive=self.nodes)
        self.slot = masters[0].client().execute_command("CLUSTER", "KEYSLOT", self.TAG)

    @staticmethod
    def info(node, name):
        lines = node.client().execute_command("CLUSTER INFO")
        return lines[name] if isinstance(lines, dict) else dict(line.split(":") for line in lines.split())[name]

    @staticmethod
    def id_of(node):
        return node.client().execute_command("CLUSTER", "MYID")

    def _owner_port(self):
        """As a master that runs and holds the slot says."""
        for node in self.nodes:
            if node.running() and self._holds_slot(node):
                return node.port
        return None

    def _holds_slot(self, node):
        try:
            return node.client().role()[0] == "master" and node.client().exists(self.TAG) in (0, 1)
        except redis.RedisError:
            return False

    def url(self, db=0):
        scheme = self.nodes[0].url().partition(":")[0]
        return f"{scheme}://{','.join(f'{self.host}:{node.port}' for node in self.nodes)}"

    def move_slot(self, target):
        """With all keys in it, as redis-cli --cluster reshard does."""
        source = self.owner()
        target.client().execute_command("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.id_of(source))
        source.client().execute_command("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.id_of(target))
        while keys := source.client().execute_command("CLUSTER", "GETKEYSINSLOT", self.slot, 1):
            source.client().execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 30_000, "KEYS", *keys)
        for node in (target, source):
            node.client().execute_command("CLUSTER", "SETSLOT", self.slot, "NODE", self.id_of(target))

    def replica_of(self, master):
        port = master.client().role()[2][0][1]
        return next(node for node in self.nodes if node.port == int(port))


_TLS = ("--tls-cluster", "yes", "--tls-replication", "yes", "--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname")
_QUICK = ("--repl-diskless-sync-delay", "0")
