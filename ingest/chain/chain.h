/*
 * The chain beside the tables: a node that is asked, the servers, and whether both are of one network, contract and chain. What a
 * pass of reconciling has, over and above its ranges of blocks (range.h).
 */
#pragma once

#include "common/base/arena.h"
#include "common/stage/service.h"
#include "ingest/chain/changes.h"

/* What a step comes to, over and above 0 and negative (Redis or PostgreSQL). chain.why says what happened. */
enum {
        STEP_NODE = 1,  /* the node failed */
        STEP_REFUSED,   /* it refused: a smaller range may do */
        STEP_BUSY,      /* it asks for patience */
        STEP_AGAIN,     /* the chain changed while it was read */
        STEP_ELSEWHERE, /* another process reconciles */
        STEP_UNSET,     /* NETWORK or CONTRACT_ADDRESS has to be set */
        STEP_FOREIGN,   /* the node is on another chain, or the contract is not there */
        STEP_REPEATED,  /* a pass changed rows that the one before it had changed */
        STEP_STOPPED,
};

struct chain {
        struct service *service;
        const char *url;
        struct rpc *rpc;
        struct db *db; /* the caller opens the servers, and chain_deinit closes them */
        struct redis *redis;
        struct arena arena; /* of a range */
        char *network;
        char contract[48], pinned[80]; /* pinned: the chain's id, "" as long as there is none */
        bool check;                    /* report only */
        bool waits;                    /* for another process that reconciles, instead of leaving it to that one */
        bool sound;                    /* the node was found to be on the right chain */
        bool head_seen;                /* the node has that block */
        bool log_times_wrong;          /* in its logs: the blocks are asked for them */
        int64_t head;
        int64_t span, span_max;       /* of the next range */
        int64_t missing, gone, wrong; /* differences so far */
        struct changes changes;       /* of this pass */
        char why[600];
};

/* Connects to nothing. url stays the caller's. */
void chain_init(struct chain *chain, struct service *service, const char *url);
void chain_deinit(struct chain *chain);

/* Reads network, contract and head; once, whether the node is on the chain of the tables, whose id is then pinned. */
MUST_CHECK int chain_prepare(struct chain *chain);

PRINTF_LIKE(3, 4) int chain_say(struct chain *chain, int step, const char *format, ...); /* step, and why */
MUST_CHECK int chain_node(struct chain *chain, int result);                              /* a result of rpc_* as a step */
MUST_CHECK int chain_run(struct chain *chain, const struct db_call *calls, size_t count, unsigned mode); /* db_run */
