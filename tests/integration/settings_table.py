"""The variables of every program, each with values that must be refused."""

_POSITIVE = ("0", "-1", "1.5", "ten", "10s", "99999999999999999999")
_AMOUNT = ("-1", "1.5", "ten", "99999999999999999999")
_SWITCH = ("perhaps", "2")

ALL = {
    "REDIS_URL": ("http://127.0.0.1:6379", "redis://127.0.0.1:70000", "redis://127.0.0.1:6379/x", "127.0.0.1", "redis://a:b%@127.0.0.1", "redis://a:%4@127.0.0.1",
                  "redis://a:% 1@127.0.0.1", "redis://a:%-1@127.0.0.1", "redis://a:%0x41@127.0.0.1", "redis://a:%00@127.0.0.1",
                  "redis://127.0.0.1:1,", "redis://127.0.0.1:1,127.0.0.1:0", "redis://" + ",".join(["h"] * 33), "redis+sentinel://127.0.0.1:1",
                  "redis+sentinel://127.0.0.1:1/", "redis+sentinel://127.0.0.1:1/main/x", "redis+sentinel://u@127.0.0.1:1/main", "redis+sentinels://h/m"),
    "REDIS_CA_FILE": ("/nowhere/ca.pem",),
    "REDIS_CERT_FILE": ("/nowhere/cert.pem",),
    "REDIS_KEY_FILE": ("/nowhere/key.pem",),
    "CONSUMER_GROUP": (),
    "CONSUMER_GROUP_SUFFIX": (),
    "CONSUMER_NAME": (),
    "DATABASE_URL": ("mysql://127.0.0.1/x",),
    "BATCH_SIZE": _POSITIVE,
    "BATCH_MAX_EVENTS": _POSITIVE,
    "BATCH_TIMEOUT_MS": ("-1", "1.5", "5s"),
    "WORKERS": _POSITIVE,
    "PROCESSING_TIMEOUT_MS": _POSITIVE,
    "MAX_RETRIES": _AMOUNT,
    "CIRCUIT_BREAKER_THRESHOLD": _POSITIVE,
    "CIRCUIT_BREAKER_TIMEOUT_MS": _POSITIVE,
    "HTTP_PORT": ("-1", "65536", "http"),
    "HTTP_BIND": ("not an address", "300.1.1.1"),
    "DLQ_STREAM_NAME": (),
    "CLAIM_IDLE_MS": ("-1", "1.5", "soon"),
    "MAX_MESSAGES_PER_SECOND": ("-1", "1.5", "many"),
    "STREAM_RETENTION_ENTRIES": ("-1", "1.5", "all"),
    "SHUTDOWN_TIMEOUT_MS": _POSITIVE,
    "DATABASE_PREPARED_STATEMENTS": _SWITCH,
    "LOG_LEVEL": ("loud",),
    "LOG_FORMAT": ("xml",),
}
OWN = {
    "ingest": {
        "REDIS_STREAMS": ("a,,b", "a,b,a", ",".join(f"s{i}" for i in range(63))),
        "CASCADE_STREAM_NAME": (),
        "NETWORK": (),
        "REORG_COPY_WINDOW_MS": ("-1", "1.5", "five"),
        "RPC_URL": ("ftp://127.0.0.1",),
        "CONTRACT_ADDRESS": ("0x12", "0x" + "g" * 40),
        "RECONCILE_DEPTH": ("-1", "deep"),
        "RECONCILE_INTERVAL_MS": ("-1", "often"),
        "TRIM_INPUT": _SWITCH,
        "RUN_MIGRATIONS": _SWITCH,
    },
    "cascade": {"CASCADE_STREAM_NAME": (), "ANALYTICS_STREAM_NAME": (), "BACKFILL_INTERVAL_MS": ("-1", "1.5", "ten")},
    "analytics": {"ANALYTICS_STREAM_NAME": (), "BACKFILL_INTERVAL_MS": ("-1", "1.5", "ten")},
}


def variables(name):
    """-> {variable: bad values} of one program"""
    return ALL | OWN[name]


def foreign(name):
    """-> {variable: bad values} that this program must ignore"""
    own = variables(name)
    return {variable: bad for other in OWN.values() for variable, bad in other.items() if variable not in own}
