/*
 * A node of the chain, through JSON-RPC over HTTP(S): what reconciling asks it, checked. The only user of libcurl.
 *
 * A node is not trusted: it may be down, slow, behind, overloaded, on the wrong chain, or answer nonsense. Every call ends within
 * its time and within RPC_ANSWER_MAX bytes, and at once when the service is told to stop. What an answer lacks, or has in the
 * wrong form, outside of the blocks asked for or of another contract, makes the call fail. It asks eth_chainId,
 * eth_blockNumber, eth_getCode, eth_getLogs and eth_getBlockByNumber, and nothing else. Sources:
 * https://ethereum.org/en/developers/docs/apis/json-rpc/, EIP-234, EIP-1474, libcurl's manual pages.
 */
#pragma once

#include <stdbool.h>
#include "common/base/arena.h"
#include "ingest/decode/event.h"

#define RPC_ANSWER_MAX (16 << 20)
#define RPC_HASH_SIZE  66 /* 0x and 64 digits */
#define RPC_BLOOM_SIZE 256

struct rpc;

enum {
        RPC_REFUSED = 1, /* the node answers, with an error; of a range of blocks: a smaller one may do */
        RPC_BUSY = 2,    /* it asks for patience: rate limit, overload */
        RPC_ABSENT = 3,  /* it has no such block */
};

/* NULL: fine, else what is wrong with it (static text). */
const char *rpc_url_check(const char *url);
/* Does not connect yet. url stays the caller's. */
struct rpc *rpc_open(const char *url);
/* Whether the last answer refused the login, or what else the URL holds as a key: 4xx other than too much, too often. */
bool rpc_is_denied(const struct rpc *rpc);
struct rpc *rpc_close(struct rpc *rpc);
AUTO_DEFINE(struct rpc *, rpc, rpc_close)
/* What the last call that was not 0 ran into, for people; without the URL. */
const char *rpc_error(const struct rpc *rpc);

struct rpc_block {
        char hash[RPC_HASH_SIZE + 1];
        int64_t number, timestamp;
        bool has_bloom;
        unsigned char bloom[RPC_BLOOM_SIZE + 1]; /* room for a NUL */
};

/* All: 0, negative (no answer, or nonsense), or one of the above. */
MUST_CHECK int rpc_chain_id(struct rpc *rpc, char id[80]); /* decimal */
MUST_CHECK int rpc_head(struct rpc *rpc, int64_t *number);
MUST_CHECK int rpc_has_code(struct rpc *rpc, const char *address, bool *has);
MUST_CHECK int rpc_get_block(struct rpc *rpc, int64_t number, struct rpc_block *block);
MUST_CHECK int rpc_get_blocks(struct rpc *rpc, const int64_t *numbers, size_t count, struct rpc_block *blocks);

/* Whether the block's own filter lets expect events of the contract of that kind: seldom where there are none, always where there
 * are, unless the node has no filter. */
bool rpc_may_hold(const struct rpc_block *block, const char *address, enum event_kind kind);

/* Events of the five types, in the order of (block number, log index), each once; without network, and without time (-1)
 * where the node's logs have none. */
struct rpc_events {
        struct event *events; /* in the arena */
        size_t count;
};
/* Of the blocks from … to, all of one number with one hash. */
MUST_CHECK int rpc_get_events(
        struct rpc *rpc, int64_t from, int64_t to, const char *address, struct arena *arena, struct rpc_events *out);
/* Of one block by its hash: a node that does not have it refuses, instead of showing none. */
MUST_CHECK int rpc_get_block_events(
        struct rpc *rpc, const struct rpc_block *block, const char *address, struct arena *arena, struct rpc_events *out);
