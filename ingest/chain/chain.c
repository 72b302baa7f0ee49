#include "ingest/chain/chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/log.h"
#include "common/base/stop.h"
#include "ingest/store/network.h"
#include "ingest/ingest.h"
#include "ingest_sql.h"
#include "ingest/decode/number.h"
#include "ingest/chain/rpc.h"
#include "ingest/store/writer.h"

#define TIMEOUT_MS 600000

/* ---- what steps come to ---- */

int chain_say(struct chain *chain, int step, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(chain->why, sizeof(chain->why), format, args);
        va_end(args);
        return step;
}

/* A result of rpc_* as a step. */
int chain_node(struct chain *chain, int result)
{
        if (!result)
                return 0;
        if (stop_requested())
                return chain_say(chain, STEP_STOPPED, "stopped");
        snprintf(chain->why, sizeof(chain->why), "node: %s", rpc_error(chain->rpc));
        return result == RPC_REFUSED  ? STEP_REFUSED
               : result == RPC_BUSY   ? STEP_BUSY
               : result == RPC_ABSENT ? STEP_AGAIN
                                      : STEP_NODE;
}

static int database(struct chain *chain, int result)
{
        return result ? chain_say(chain, -EIO, "PostgreSQL: %s", db_error(chain->db)) : 0;
}

int chain_run(struct chain *chain, const struct db_call *calls, size_t count, unsigned mode)
{
        return database(chain, db_run(chain->db, calls, count, mode, TIMEOUT_MS));
}

/* ---- which network, contract and chain ---- */

static int find_contract(struct chain *chain)
{
        const struct ingest_config *config = chain->service->config;
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = &sql_16_chain_source, .rows = &rows};
        unsigned char bytes[32];
        size_t count;
        int e = chain_run(chain, &call, 1, DB_AUTOCOMMIT);
        if (e)
                return e;
        const char *least = db_rows_text(rows, 0, 0), *greatest = db_rows_text(rows, 0, 1);
        snprintf(chain->pinned, sizeof(chain->pinned), "%s", db_rows_text(rows, 0, 2) ? db_rows_text(rows, 0, 2) : "");
        if (config->contract) {
                if (!number_read_hex(config->contract, strlen(config->contract), bytes, &count)) /* main has checked it */
                        number_write_hex(bytes, count, chain->contract);
                return 0;
        }
        if (!least)
                return chain_say(chain, STEP_UNSET, "no event is stored yet: set CONTRACT_ADDRESS to the contract's address");
        if (strcmp(least, greatest) != 0)
                return chain_say(chain, STEP_UNSET, "the stored events are of several contracts (%s, %s): set CONTRACT_ADDRESS",
                        least, greatest);
        snprintf(chain->contract, sizeof(chain->contract), "%s", least);
        return 0;
}

static int find_network(struct chain *chain)
{
        const struct ingest_config *config = chain->service->config;
        free(chain->network);
        chain->network = NULL;
        int e = database(chain, network_read(chain->db, TIMEOUT_MS, &chain->network));
        if (!e && !chain->network && config->network)
                chain->network = memory_copy(config->network);
        return e || chain->network ? e
                                   : chain_say(chain, STEP_UNSET,
                                             "no event is stored yet: set NETWORK to the network that the chain's events are of");
}

/* At least one of the blocks that the tables know must be on the node's chain: another chain would orphan every row. */
static int sample_blocks(struct chain *chain)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param param = db_number(chain->head);
        const struct db_call call = {.sql = &sql_16_chain_sample, .params = &param, .param_count = 1, .rows = &rows};
        int e = chain_run(chain, &call, 1, DB_AUTOCOMMIT);
        for (size_t i = 0; !e && i < db_rows_count(rows); i++) {
                struct rpc_block block;
                e = chain_node(chain, rpc_get_block(chain->rpc, db_rows_number(rows, i, 0), &block));
                if (!e && !strcmp(block.hash, db_rows_text(rows, i, 1)))
                        return 0;
        }
        if (e || !db_rows_count(rows))
                return e;
        return chain_say(chain, STEP_FOREIGN, "none of %zu stored blocks is on the chain of RPC_URL's node: is it another chain?",
                db_rows_count(rows));
}

/* The id of the chain is pinned once its blocks were found to be those of the tables. */
static int check_chain(struct chain *chain)
{
        char id[80];
        bool has = false;
        int e = chain_node(chain, rpc_chain_id(chain->rpc, id));
        if (!e && *chain->pinned && strcmp(chain->pinned, id) != 0)
                return chain_say(chain, STEP_FOREIGN, "RPC_URL's node is on the chain %s, the tables are of the chain %s", id,
                        chain->pinned);
        if (!e)
                e = chain_node(chain, rpc_has_code(chain->rpc, chain->contract, &has));
        if (!e && !has)
                return chain_say(chain, STEP_FOREIGN, "there is no contract at %s on RPC_URL's node; is CONTRACT_ADDRESS right?",
                        chain->contract);
        if (!e)
                e = sample_blocks(chain);
        if (e || chain->check || *chain->pinned)
                return e;
        const struct db_param param = db_text(id);
        const struct db_call pin = {.sql = &sql_16_chain_pin, .params = &param, .param_count = 1};
        return chain_run(chain, &pin, 1, DB_AUTOCOMMIT);
}

/* A node that refused the login is asked with what RPC_URL_FILE holds by now; it may be another one. */
static void open_node(struct chain *chain)
{
        const struct ingest_config *config = chain->service->config;
        if (chain->rpc && rpc_is_denied(chain->rpc)) {
                chain->rpc = rpc_close(chain->rpc);
                chain->sound = false;
        }
        if (chain->rpc)
                return;
        AUTO(text) char *now = NULL;
        const char *problem = NULL;
        if (chain->url == config->rpc_url)
                now = settings_text_now(chain->service->program->settings, "RPC_URL", chain->url, &problem);
        if (problem)
                log_write(LOG_WARN, "RPC_URL_FILE is not used, the URL before it stays", "error=%s", problem);
        chain->rpc = rpc_open(now ? now : chain->url);
}

int chain_prepare(struct chain *chain)
{
        arena_reset(&chain->arena);
        int e = find_network(chain);
        if (!e)
                e = find_contract(chain);
        if (e)
                return e;
        open_node(chain);
        e = chain_node(chain, rpc_head(chain->rpc, &chain->head));
        chain->head_seen = false;
        if (!e && !chain->sound)
                e = check_chain(chain);
        if (!e)
                chain->sound = true;
        return e;
}

void chain_init(struct chain *chain, struct service *service, const char *url)
{
        *chain = (struct chain){.service = service, .url = url, .arena = ARENA_NULL};
}

void chain_deinit(struct chain *chain)
{
        chain->rpc = rpc_close(chain->rpc);
        chain->redis = redis_close(chain->redis);
        chain->db = db_close(chain->db);
        arena_deinit(&chain->arena);
        changes_deinit(&chain->changes);
        free(chain->network);
}
