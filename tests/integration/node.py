"""A node of the chain that is made up: JSON-RPC over HTTP in a thread, serving recorded logs, with every misbehaviour a test asks for.

    chain = Chain.recorded("reorg.logs.jsonl.xz")      the chain as it was at the end of the recording
    node = Node(chain); settings: RPC_URL=node.url; node.close()
    node.mood = f          f(method, params, answer) -> what is sent instead: (HTTP status, bytes), or None: as ever. answer() is the right
                           result. It may wait, too (node.released is set when the node closes)
"""
import json
import lzma
import ssl
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import feeds
from keccak import keccak256
from ports import free_port

CHAIN_ID = 13579
FIELDS = ("AtomCreated", "TripleCreated", "Deposited", "Redeemed", "SharePriceChanged")


# Of each event: how many of its arguments are indexed, and all of them in order; the signature's types.
_ABI = {
    "AtomCreated": (2, "creator:address termId:bytes32 atomData:bytes atomWallet:address"),
    "TripleCreated": (2, "creator:address termId:bytes32 subjectId:bytes32 predicateId:bytes32 objectId:bytes32"),
    "Deposited": (3, "sender:address receiver:address termId:bytes32 curveId:uint256 assets:uint256 assetsAfterFees:uint256 shares:uint256 "
                     "totalShares:uint256 vaultType:uint8"),
    "Redeemed": (3, "sender:address receiver:address termId:bytes32 curveId:uint256 shares:uint256 totalShares:uint256 assets:uint256 "
                    "fees:uint256 vaultType:uint8"),
    "SharePriceChanged": (2, "termId:bytes32 curveId:uint256 sharePrice:uint256 totalAssets:uint256 totalShares:uint256 vaultType:uint8"),
}


def encode(name, event):
    """A log as the chain would have it for an event of a stream, in the form of the recorded logs."""
    indexed, arguments = _ABI[name]
    arguments = [argument.split(":") for argument in arguments.split()]
    topics = ["0x" + keccak256(f"{name}({','.join(kind for _, kind in arguments)})".encode()).hex()]
    head, tail = b"", b""
    for at, (member, kind) in enumerate(arguments):
        if kind == "bytes":
            data = bytes.fromhex(event[member].removeprefix("0x"))
            word = 32 * (len(arguments) - indexed) + len(tail)
            tail += len(data).to_bytes(32, "big") + data + bytes(-len(data) % 32)
        else:
            word = feeds.plain_number(event[member]) if kind.startswith("uint") else int(event[member].removeprefix("0x"), 16)
        if at < indexed:
            topics.append(f"0x{word:064x}")
        else:
            head += word.to_bytes(32, "big")
    about = event["transaction_information"]
    numbers = {member: feeds.plain_number(about[member]) for member in ("block_number", "log_index", "transaction_index", "block_timestamp")}
    args = {member: event[member] for member, _ in arguments}
    return {"event": name, "args": args, "topics": topics, "data": "0x" + (head + tail).hex(), **numbers,
            **{member: about[member] for member in ("address", "block_hash", "transaction_hash")}}


def load_logs(file):
    with lzma.open(feeds.DATA / file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def as_log(recorded):
    """What eth_getLogs answers for a recorded log."""
    return {"address": recorded["address"], "topics": recorded["topics"], "data": recorded["data"], "removed": False,
            "blockNumber": hex(recorded["block_number"]), "blockHash": recorded["block_hash"], "logIndex": hex(recorded["log_index"]),
            "transactionHash": recorded["transaction_hash"], "transactionIndex": hex(recorded["transaction_index"])}


def as_message(recorded, stream="chain_as_stream", network="intuition-testnet"):
    """The entry that a producer would have written for a recorded log: for the oracle, and for feeding."""
    about = {name: recorded[name] for name in ("address", "block_hash", "block_number", "block_timestamp", "transaction_hash", "log_index",
                                               "transaction_index")}
    return feeds.Message(stream, recorded["event"], ({**recorded["args"], "transaction_information": {**about, "network": network}},))


def as_entries(events, stream="chain_as_stream"):
    return feeds.as_entries([as_message(event, stream) for event in events])


class Chain:
    def __init__(self, logs, head=None, code=None):
        """logs as recorded; the blocks without logs have made-up hashes."""
        self.logs = sorted(logs, key=lambda log: (log["block_number"], log["log_index"]))
        self.filters, self.blooms, self.logs_of = False, {}, {}   # filters: blocks have logsBloom
        for log in self.logs:
            self.logs_of.setdefault(log["block_number"], []).append(log)
        self.first = {log["block_number"]: log for log in reversed(self.logs)}
        self.head = max(log["block_number"] for log in logs) if head is None else head
        self.contract = logs[0]["address"]
        self.code = code or "0x6001"
        self.branch = 0   # of the blocks without logs

    @classmethod
    def recorded(cls, file):
        return cls(load_logs(file))

    @classmethod
    def of(cls, messages):
        """The chain that these messages tell of."""
        return cls([encode(message.name, event) for message in messages for event in message.events])

    def until(self, last):
        """The chain as it was with this block as its newest."""
        return Chain([log for log in self.logs if log["block_number"] <= last], last, self.code)

    def events(self, first=0, last=2**63):
        """The logs of the five types, as recorded."""
        return [log for log in self.logs if log["event"] in FIELDS and first <= log["block_number"] <= last]

    def bloom(self, number):
        bits = 0
        for log in self.logs_of[number]:
            for item in (log["address"], *log["topics"]):
                digest = keccak256(bytes.fromhex(item[2:]))
                for i in (0, 2, 4):
                    bits |= 1 << (int.from_bytes(digest[i:i + 2], "big") & 2047)
        return f"0x{bits:0512x}"

    def block(self, number):
        if not 0 <= number <= self.head:
            return None
        log = self.first.get(number)
        if log:
            if log["block_hash"] not in self.blooms:
                self.blooms[log["block_hash"]] = self.bloom(number) if self.filters else None
            bloom = self.blooms[log["block_hash"]]
            return {"number": hex(number), "hash": log["block_hash"], "timestamp": hex(log["block_timestamp"]), **({"logsBloom": bloom} if bloom else {})}
        return {"number": hex(number), "hash": "0x" + f"{self.branch:02x}{number:062x}", "timestamp": hex(1_700_000_000 + number)}

    def moved(self, first, tag, without=()):
        """Another branch from `first` on: the same transactions, but for those of some blocks, in blocks of other hashes."""
        def other(log):
            return log if log["block_number"] < first else {**log, "block_hash": "0x" + tag + log["block_hash"][4:]}
        branch = Chain([other(log) for log in self.logs if log["block_number"] not in without], self.head, self.code)
        branch.branch = int(tag, 16)
        return branch


class Refusal(Exception):
    """A JSON-RPC error."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Node:
    def __init__(self, chain, chain_id=CHAIN_ID, files=None):
        """files: (certificate, key), for https"""
        self.chain, self.chain_id, self.mood, self.batches = chain, chain_id, None, True
        self.batch_limit = 1000
        self.calls, self.ranges, self.released, self.closed = Counter(), [], threading.Event(), False
        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), self._handler())
        self.server.daemon_threads = True
        if files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if files else ''}://127.0.0.1:{self.server.server_address[1]}/secret-key"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.released.set()
        if not self.closed:
            self.closed = True
            self.server.shutdown()
            self.server.server_close()

    # ---- what a node answers

    def result(self, method, params):
        chain = self.chain
        if method == "eth_chainId":
            return hex(self.chain_id)
        if method == "eth_blockNumber":
            return hex(chain.head)
        if method == "eth_getCode":
            return chain.code if params[0] == chain.contract else "0x"
        if method == "eth_getBlockByNumber":
            assert params[1] is False
            return chain.block(int(params[0], 16))
        if method == "eth_getLogs":
            return self._logs(params[0])
        raise Refusal(-32601, f"the method {method} does not exist")

    def _logs(self, asked):
        chain = self.chain
        if "blockHash" in asked:
            found = [log for log in chain.logs if log["block_hash"] == asked["blockHash"]]
            if not found and not any(chain.block(n)["hash"] == asked["blockHash"] for n in range(chain.head + 1)):
                raise Refusal(-32000, "unknown block")
        else:
            first, last = int(asked["fromBlock"], 16), int(asked["toBlock"], 16)
            self.ranges.append((first, last))
            found = [log for log in chain.logs if first <= log["block_number"] <= last]
        topics = asked["topics"][0]
        return [as_log(log) for log in found if log["address"] == asked["address"] and log["topics"][0] in topics]

    # ---- HTTP

    def _answer(self, request):
        if isinstance(request, list):
            self.calls["batch"] += 1
            if len(request) > self.batch_limit:   # as geth says it
                return 200, json.dumps([{"jsonrpc": "2.0", "id": request[0]["id"], "error": {"code": -32600, "message": "batch too large"}}]).encode()
            if not self.batches:
                return error(-32600, "batches are not supported")
            answers = [self._answer(one) for one in request]
            odd = [(status, body) for status, body in answers if status != 200 or not body.startswith(b"{")]
            return odd[0] if odd else (200, b"[" + b",".join(body for _, body in reversed(answers)) + b"]")
        method, params = request["method"], request["params"]
        self.calls[method] += 1
        if self.mood:
            instead = self.mood(method, params, lambda: self.result(method, params))
            if instead is not None:
                return instead
        try:
            body = {"jsonrpc": "2.0", "id": request["id"], "result": self.result(method, params)}
        except Refusal as refusal:
            body = {"jsonrpc": "2.0", "id": request["id"], "error": {"code": refusal.code, "message": str(refusal)}}
        return 200, json.dumps(body).encode()

    def _handler(self):
        node = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    status, body = node._answer(request)
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:   # the client has gone
                    self.close_connection = True

            def log_message(self, *_):
                pass
        return Handler


def result(value):
    """A right answer's bytes with this result."""
    return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()


def error(code, message, status=200):
    return status, json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}).encode()
