#include "reconcile.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../common/backoff.h"
#include "../common/clock.h"
#include "../common/command.h"
#include "../common/log.h"
#include "../common/progress.h"
#include "../common/stage.h"
#include "ingest.h"
#include "ingest_sql.h"
#include "number.h"
#include "rpc.h"
#include "sighting.h"
#include "writer.h"

#define SPAN_FIRST    1000 /* blocks a range to begin with; it shrinks where the node refuses, and grows again */
#define SPAN_MAX      100000
#define EVENTS_WANTED 2000 /* a range: what one transaction inserts */
#define SLICE         2000 /* events that one transaction inserts at most */
#define AGAIN_TRIES   5    /* of a range whose blocks changed while it was read */
#define BUSY_TRIES    6
#define LOOK_MS       500 /* how often the service looks whether there is something to do */
#define TIMEOUT_MS    600000

/* What a step comes to, over and above 0 and negative (Redis or PostgreSQL). why says what happened. */
enum {
        STEP_NODE = 1,  /* the node failed */
        STEP_REFUSED,   /* it refused: a smaller range may do */
        STEP_BUSY,      /* it asks for patience */
        STEP_AGAIN,     /* the chain changed while it was read */
        STEP_ELSEWHERE, /* another process reconciles */
        STEP_UNSET,     /* NETWORK or CONTRACT_ADDRESS has to be set */
        STEP_FOREIGN,   /* the node is on another chain, or the contract is not there */
        STEP_STOPPED,
};

struct reconcile {
        struct service *service;
        const char *url;
        struct rpc *rpc;
        struct db *db;
        struct redis *redis;
        struct arena arena; /* of a range */
        char *network;
        char contract[48];
        bool check, json;         /* report only; as JSON */
        bool waits;               /* for another process that reconciles, instead of leaving it to that one */
        bool sound;               /* the node was found to be on the right chain */
        int64_t head, last_event; /* last_event: block of the newest stored event, -1: none */
        int64_t span, span_max;
        int64_t missing, gone, wrong; /* differences so far */
        char why[600];
};

/* ---- metrics ---- */

static struct metric metric_head = {
        .name = "reconcile_head_block", .help = "Newest block of the chain that reconciling saw (ingest)", .kind = METRIC_GAUGE};
static struct metric metric_block = {
        .name = "reconcile_block", .help = "Last block that was compared with the chain (ingest)", .kind = METRIC_GAUGE};
static struct metric metric_age = {.name = "reconcile_success_timestamp_seconds",
        .help = "When reconciling with the chain last came to its end, by any replica, or when this one began (ingest)",
        .kind = METRIC_GAUGE};
static struct metric metric_rows = {.name = "reconcile_rows_total",
        .help = "Event rows that reconciling inserted, orphaned, corrected (ingest)",
        .kind = METRIC_COUNTER,
        .labels = {"action"}};
static struct metric metric_failures = {.name = "reconcile_failures_total",
        .help = "Times that reconciling failed; cause: node, servers, chain (ingest)",
        .kind = METRIC_COUNTER,
        .labels = {"cause"}};

static void register_metrics(struct metrics *metrics)
{
        static const char *const actions[] = {"inserted", "orphaned", "corrected"}, *const causes[] = {
                                                                                            "node", "servers", "chain"};
        struct metric *const all[] = {&metric_head, &metric_block, &metric_age, &metric_rows, &metric_failures};
        for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
                metrics_register(metrics, all[i]);
        for (size_t i = 0; i < ARRAY_LENGTH(actions); i++)
                metrics_add(metrics, &metric_rows, 0, actions[i], NULL, NULL);
        for (size_t i = 0; i < ARRAY_LENGTH(causes); i++)
                metrics_add(metrics, &metric_failures, 0, causes[i], NULL, NULL);
}

/* ---- what steps come to ---- */

PRINTF_LIKE(3, 4) static int say(struct reconcile *r, int step, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(r->why, sizeof(r->why), format, args);
        va_end(args);
        return step;
}

/* A result of rpc_* as a step. */
static int node(struct reconcile *r, int result)
{
        if (!result)
                return 0;
        if (service_stopping())
                return say(r, STEP_STOPPED, "stopped");
        snprintf(r->why, sizeof(r->why), "node: %s", rpc_error(r->rpc));
        return result == RPC_REFUSED  ? STEP_REFUSED
               : result == RPC_BUSY   ? STEP_BUSY
               : result == RPC_ABSENT ? STEP_AGAIN
                                      : STEP_NODE;
}

static int database(struct reconcile *r, int result)
{
        return result ? say(r, -EIO, "PostgreSQL: %s", db_error(r->db)) : 0;
}

static int run(struct reconcile *r, const struct db_call *calls, size_t count, unsigned mode)
{
        return database(r, db_run(r->db, calls, count, mode, TIMEOUT_MS));
}

/* ---- before the first range: which network, contract and chain ---- */

static int find_contract(struct reconcile *r)
{
        const struct ingest_config *config = r->service->config;
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = &sql_16_chain_source, .rows = &rows};
        unsigned char bytes[32];
        size_t count;
        int e = run(r, &call, 1, DB_AUTOCOMMIT);
        if (e)
                return e;
        const char *least = db_rows_text(rows, 0, 0), *greatest = db_rows_text(rows, 0, 1);
        r->last_event = db_rows_text(rows, 0, 3) ? db_rows_number(rows, 0, 3) : -1;
        if (config->contract) {
                if (!number_read_hex(config->contract, strlen(config->contract), bytes, &count)) /* main has checked it */
                        number_write_hex(bytes, count, r->contract);
                return 0;
        }
        if (!least)
                return say(r, STEP_UNSET, "no event is stored yet: set CONTRACT_ADDRESS to the contract's address");
        if (strcmp(least, greatest) != 0)
                return say(r, STEP_UNSET, "the stored events are of several contracts (%s, %s): set CONTRACT_ADDRESS", least,
                        greatest);
        snprintf(r->contract, sizeof(r->contract), "%s", least);
        return 0;
}

static int find_network(struct reconcile *r)
{
        const struct ingest_config *config = r->service->config;
        free(r->network);
        r->network = NULL;
        int e = database(r, writer_get_network(r->db, TIMEOUT_MS, &r->network));
        if (!e && !r->network && config->network)
                r->network = strdup(config->network);
        return e || r->network
                       ? e
                       : say(r, STEP_UNSET, "no event is stored yet: set NETWORK to the network that the chain's events are of");
}

/* At least one of the blocks that the tables know must be on the node's chain: another chain would orphan every row. */
static int sample_blocks(struct reconcile *r)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        char head[24];
        snprintf(head, sizeof(head), "%" PRId64, r->head);
        const struct db_param param = db_text(head);
        const struct db_call call = {.sql = &sql_16_chain_sample, .params = &param, .param_count = 1, .rows = &rows};
        int e = run(r, &call, 1, DB_AUTOCOMMIT);
        for (size_t i = 0; !e && i < db_rows_count(rows); i++) {
                struct rpc_block block;
                e = node(r, rpc_get_block(r->rpc, db_rows_number(rows, i, 0), &block));
                if (!e && !strcmp(block.hash, db_rows_text(rows, i, 1)))
                        return 0;
        }
        if (e || !db_rows_count(rows))
                return e;
        return say(r, STEP_FOREIGN, "none of %zu stored blocks is on the chain of RPC_URL's node: is it another chain?",
                db_rows_count(rows));
}

/* The id of the chain is pinned once its blocks were found to be those of the tables. */
static int check_chain(struct reconcile *r)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = &sql_16_chain_source, .rows = &rows};
        char id[80];
        bool has = false;
        int e = node(r, rpc_chain_id(r->rpc, id));
        if (!e)
                e = run(r, &call, 1, DB_AUTOCOMMIT);
        const char *pinned = e ? NULL : db_rows_text(rows, 0, 2);
        if (pinned && strcmp(pinned, id) != 0)
                return say(r, STEP_FOREIGN, "RPC_URL's node is on the chain %s, the tables are of the chain %s", id, pinned);
        if (!e)
                e = node(r, rpc_has_code(r->rpc, r->contract, &has));
        if (!e && !has)
                return say(
                        r, STEP_FOREIGN, "there is no contract at %s on RPC_URL's node; is CONTRACT_ADDRESS right?", r->contract);
        if (!e)
                e = sample_blocks(r);
        if (e || r->check || pinned)
                return e;
        const struct db_param param = db_text(id);
        const struct db_call pin = {.sql = &sql_16_chain_pin, .params = &param, .param_count = 1};
        return run(r, &pin, 1, DB_AUTOCOMMIT);
}

static int prepare(struct reconcile *r)
{
        int e = find_network(r);
        if (!e)
                e = find_contract(r);
        if (!e && !r->rpc && rpc_open(&r->rpc, r->url))
                e = say(r, STEP_NODE, "node: out of memory");
        if (!e)
                e = node(r, rpc_head(r->rpc, &r->head));
        if (!e && !r->sound)
                e = check_chain(r);
        if (!e)
                r->sound = true;
        return e;
}

/* ---- a range: reading and comparing ---- */

/* What differs, and is no mistake of the reading. */
struct findings {
        struct event *missing, *wrong; /* on the chain; with the block's time */
        size_t missing_count, wrong_count;
        struct db_array dead_numbers, dead_hashes; /* blocks that are not on the chain */
        struct db_array absent[5]; /* events that are not in their block: table, transaction, log index, number, hash */
        size_t gone;               /* rows of either */
};

static void findings_init(struct findings *findings)
{
        *findings = (struct findings){0};
        db_array_init(&findings->dead_numbers, DB_BIGINT);
        db_array_init(&findings->dead_hashes, DB_TEXT);
        for (size_t i = 0; i < ARRAY_LENGTH(findings->absent); i++)
                db_array_init(&findings->absent[i], i == 2 || i == 3 ? DB_BIGINT : DB_TEXT);
}

static void findings_deinit(struct findings *findings)
{
        db_array_deinit(&findings->dead_numbers);
        db_array_deinit(&findings->dead_hashes);
        for (size_t i = 0; i < ARRAY_LENGTH(findings->absent); i++)
                db_array_deinit(&findings->absent[i]);
}
#define AUTO_FINDINGS __attribute__((cleanup(findings_deinit)))

/* The moment from which on what the node says now counts: before it is asked. */
static int read_time(struct reconcile *r, int64_t *ms)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        if (redis_call(r->redis, &reply, "TIME", NULL) || redis_reply_count(reply) != 2)
                return say(r, -EIO, "Redis: %s", redis_error(r->redis));
        *ms = redis_reply_number(redis_reply_item(reply, 0)) * 1000 + redis_reply_number(redis_reply_item(reply, 1)) / 1000;
        return 0;
}

static void push_events(struct reconcile *r, struct sightings *sightings, const struct event *events, size_t count, int64_t ms)
{
        const struct stream_entry entry = {.stream = RECONCILE_STREAM, .ms = (uint64_t)ms};
        for (size_t i = 0; i < count; i++)
                sightings_push(sightings, &events[i], &entry, true, &r->arena);
}

static const char *number_text(struct reconcile *r, int64_t number)
{
        return arena_format(&r->arena, "%" PRId64, number);
}

static int compare(struct reconcile *r, const struct rpc_events *events, int64_t from, int64_t to, struct db_rows **rows)
{
        AUTO_SIGHTINGS struct sightings sightings;
        struct db_param params[SIGHTING_COLUMNS + 3];
        sightings_init(&sightings);
        push_events(r, &sightings, events->events, events->count, 0);
        memcpy(params, sightings_params(&sightings), SIGHTING_COLUMNS * sizeof(*params));
        params[SIGHTING_COLUMNS] = db_text(number_text(r, from));
        params[SIGHTING_COLUMNS + 1] = db_text(number_text(r, to));
        params[SIGHTING_COLUMNS + 2] = db_text(r->contract);
        const struct db_call call = {
                .sql = &sql_16_chain_compare, .params = params, .param_count = ARRAY_LENGTH(params), .rows = rows};
        return run(r, &call, 1, DB_AUTOCOMMIT);
}

/* A row of chain_compare. */
struct difference {
        const char *kind, *table, *transaction, *log_index, *block_hash;
        int64_t place, block_number;
        bool judged;
};

static struct difference difference_get(const struct db_rows *rows, size_t i)
{
        return (struct difference){.kind = db_rows_text(rows, i, 0),
                .place = db_rows_number(rows, i, 1),
                .table = db_rows_text(rows, i, 2),
                .transaction = db_rows_text(rows, i, 3),
                .log_index = db_rows_text(rows, i, 4),
                .block_number = db_rows_number(rows, i, 5),
                .block_hash = db_rows_text(rows, i, 6),
                .judged = *db_rows_text(rows, i, 7) == 't'};
}

static void print_difference(const struct reconcile *r, const struct difference *d, const char *what)
{
        if (!r->check)
                return;
        if (!r->json) {
                printf("%s transaction_hash=%s log_index=%s block_number=%" PRId64 " block_hash=%s: %s\n", d->table,
                        d->transaction, d->log_index, d->block_number, d->block_hash, what);
                return;
        }
        printf("{\"table\":\"%s\",\"transaction_hash\":\"%s\",\"log_index\":%s,\"block_number\":%" PRId64
               ",\"block_hash\":\"%s\",\"difference\":\"%s\"}\n",
                d->table, d->transaction, d->log_index, d->block_number, d->block_hash, what);
}

/* The blocks of all differences as they are now, in the order of their numbers, and the events of one of them once they are asked
 * for. */
struct looked {
        const struct rpc_block *block;
        struct rpc_events events;
        bool has_events;
};

/* The distinct ones of numbers that come in order, asked for. */
static int get_blocks(struct reconcile *r, int64_t *numbers, size_t count, struct rpc_block **blocks, size_t *found)
{
        size_t distinct = 0;
        for (size_t i = 0; i < count; i++)
                if (!i || numbers[i] != numbers[distinct - 1])
                        numbers[distinct++] = numbers[i];
        *blocks = arena_alloc(&r->arena, (distinct + 1) * sizeof(**blocks));
        *found = distinct;
        return node(r, rpc_get_blocks(r->rpc, numbers, distinct, *blocks));
}

static int changed(struct reconcile *r, int64_t number)
{
        return say(r, STEP_AGAIN, "node: block %" PRId64 " changed while it was read", number);
}

/* That the highest block is the same before and after says that all below it were of one chain. */
static int look_at_blocks(struct reconcile *r, const struct db_rows *rows, struct looked *looked)
{
        size_t count = db_rows_count(rows), found;
        int64_t *numbers = arena_alloc(&r->arena, count * sizeof(*numbers));
        struct rpc_block top, *blocks;
        for (size_t i = 0; i < count; i++)
                numbers[i] = db_rows_number(rows, i, 5);
        int e = node(r, rpc_get_block(r->rpc, numbers[count - 1], &top));
        if (!e)
                e = get_blocks(r, numbers, count, &blocks, &found);
        if (e)
                return e;
        looked->block = blocks;
        return strcmp(blocks[found - 1].hash, top.hash) != 0 ? changed(r, top.number) : 0;
}

/* The time of blocks, where the node's logs do not have it. */
static int add_times(struct reconcile *r, struct rpc_events *events)
{
        int64_t *numbers = arena_alloc(&r->arena, (events->count + 1) * sizeof(*numbers));
        size_t count = 0, found, at = 0;
        struct rpc_block *blocks;
        for (size_t i = 0; i < events->count; i++)
                if (events->events[i].block_timestamp < 0)
                        numbers[count++] = events->events[i].block_number;
        int e = get_blocks(r, numbers, count, &blocks, &found);
        for (size_t i = 0; !e && i < events->count; i++) {
                struct event *event = &events->events[i];
                if (event->block_timestamp >= 0)
                        continue;
                while (blocks[at].number < event->block_number)
                        at++;
                if (strcmp(blocks[at].hash, event->block_hash) != 0)
                        return changed(r, event->block_number);
                event->block_timestamp = blocks[at].timestamp;
        }
        return e;
}

/* Whether an event is not in its block after all, which is asked for by its hash. */
static int look_for_event(struct reconcile *r, const struct difference *d, struct looked *looked)
{
        int e = looked->has_events
                        ? 0
                        : node(r, rpc_get_block_events(r->rpc, looked->block, r->contract, &r->arena, &looked->events));
        if (e)
                return e == STEP_REFUSED ? STEP_NODE : e; /* no smaller range helps */
        looked->has_events = true;
        for (size_t i = 0; i < looked->events.count; i++) {
                const struct event *event = &looked->events.events[i];
                if (!strcmp(event->transaction_hash, d->transaction) && event->log_index == strtoll(d->log_index, NULL, 10) &&
                        !strcmp(event->type->table, d->table))
                        return say(r, STEP_AGAIN, "node: its list of logs left out one of block %" PRId64, d->block_number);
        }
        return 0;
}

static void add_absent(struct findings *out, const struct difference *d)
{
        db_array_push_text(&out->absent[0], d->table);
        db_array_push_text(&out->absent[1], d->transaction);
        db_array_push_number(&out->absent[2], strtoll(d->log_index, NULL, 10));
        db_array_push_number(&out->absent[3], d->block_number);
        db_array_push_text(&out->absent[4], d->block_hash);
        out->gone++;
}

static int judge_stored(struct reconcile *r, const struct difference *d, struct looked *looked, struct findings *out)
{
        if (strcmp(looked->block->hash, d->block_hash) != 0) {
                db_array_push_number(&out->dead_numbers, d->block_number);
                db_array_push_text(&out->dead_hashes, d->block_hash);
                out->gone++;
                print_difference(r, d, "stored, but its block is not on the chain");
                return 0;
        }
        int e = d->judged ? look_for_event(r, d, looked) : 0;
        if (!e && d->judged) {
                add_absent(out, d);
                print_difference(r, d, "stored, but not on the chain");
        }
        return e;
}

static int judge_shown(struct reconcile *r, const struct difference *d, const struct looked *looked, const struct event *event,
        struct findings *out)
{
        bool wrong = !strcmp(d->kind, "wrong");
        if (strcmp(looked->block->hash, event->block_hash) != 0)
                return changed(r, d->block_number);
        if (wrong)
                out->wrong[out->wrong_count++] = *event;
        else
                out->missing[out->missing_count++] = *event;
        print_difference(r, d, wrong ? "stored with another content than on the chain" : "on the chain, but not stored");
        return 0;
}

/* Which differences are there for good: the node is asked about each block anew. */
static int judge(struct reconcile *r, const struct rpc_events *events, const struct db_rows *rows, struct findings *out)
{
        size_t count = db_rows_count(rows);
        struct looked looked = {0};
        out->missing = arena_alloc(&r->arena, (count + 1) * sizeof(*out->missing));
        out->wrong = arena_alloc(&r->arena, (count + 1) * sizeof(*out->wrong));
        int e = count ? look_at_blocks(r, rows, &looked) : 0;
        for (size_t i = 0; !e && i < count; i++) {
                const struct difference d = difference_get(rows, i);
                for (; looked.block->number < d.block_number; looked.has_events = false)
                        looked.block++;
                e = d.place ? judge_shown(r, &d, &looked, &events->events[d.place - 1], out) : judge_stored(r, &d, &looked, out);
        }
        return e == STEP_REFUSED ? STEP_NODE : e;
}

/* ---- a range: writing ---- */

static const struct db_param exclusively = {.data = "true", .size = 4};

static int publish(struct reconcile *r, const struct db_rows *rows)
{
        struct work work = {.arena = &r->arena};
        for (size_t i = 0; i < db_rows_count(rows); i++)
                if (db_rows_text(rows, i, 0))
                        work_add_key(&work, db_rows_text(rows, i, 0), db_rows_text(rows, i, 1), "reconcile",
                                db_rows_number(rows, i, 2));
        int e = work.key_count
                        ? stream_publish(r->redis, r->service->program->output(r->service->config), work.keys, work.key_count)
                        : 0;
        work_deinit(&work);
        return e ? say(r, -EIO, "Redis: %s", redis_error(r->redis)) : 0;
}

/* One transaction: so many of the missing events, and with the first of them all that is to go. */
static int settle(struct reconcile *r, struct findings *found, size_t from, size_t count, int64_t ms)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        AUTO_SIGHTINGS struct sightings sightings;
        struct db_param params[SIGHTING_COLUMNS + 8];
        sightings_init(&sightings);
        push_events(r, &sightings, found->missing + from, count, ms);
        memcpy(params, sightings_params(&sightings), SIGHTING_COLUMNS * sizeof(*params));
        params[SIGHTING_COLUMNS] = db_text(number_text(r, ms));
        params[SIGHTING_COLUMNS + 1] = db_array_param(&found->dead_numbers);
        params[SIGHTING_COLUMNS + 2] = db_array_param(&found->dead_hashes);
        for (size_t i = 0; i < ARRAY_LENGTH(found->absent); i++)
                params[SIGHTING_COLUMNS + 3 + i] = db_array_param(&found->absent[i]);
        const struct db_call calls[] = {
                {.sql = &sql_10_event_lock, .params = &exclusively, .param_count = 1},
                {.sql = &sql_16_chain_settle, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows},
        };
        int e = run(r, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_COMMIT);
        return e ? e : publish(r, rows);
}

/* Contents, one table a transaction. */
static int mend(struct reconcile *r, const struct findings *found, int64_t ms)
{
        AUTO_SIGHTINGS struct sightings sightings;
        struct db_param params[SIGHTING_COLUMNS + 2];
        int e = 0;
        sightings_init(&sightings);
        push_events(r, &sightings, found->wrong, found->wrong_count, ms);
        memcpy(params, sightings_params(&sightings), SIGHTING_COLUMNS * sizeof(*params));
        params[SIGHTING_COLUMNS] = db_text(number_text(r, ms));
        for (enum event_kind kind = 0; !e && found->wrong_count && kind < EVENT_GENERIC; kind++) {
                AUTO(db_rows) struct db_rows *rows = NULL;
                params[SIGHTING_COLUMNS + 1] = db_text(event_types[kind].table);
                const struct db_call calls[] = {
                        {.sql = &sql_10_event_lock, .params = &exclusively, .param_count = 1},
                        {.sql = &sql_16_chain_mend, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows},
                };
                e = run(r, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_COMMIT);
                if (!e)
                        e = publish(r, rows);
        }
        return e;
}

static void count_findings(struct reconcile *r, const struct findings *found)
{
        struct metrics *metrics = r->service->metrics;
        r->missing += (int64_t)found->missing_count;
        r->gone += (int64_t)found->gone;
        r->wrong += (int64_t)found->wrong_count;
        if (r->check || !(found->missing_count + found->gone + found->wrong_count))
                return;
        metrics_add(metrics, &metric_rows, (double)found->missing_count, "inserted", NULL, NULL);
        metrics_add(metrics, &metric_rows, (double)found->gone, "orphaned", NULL, NULL);
        metrics_add(metrics, &metric_rows, (double)found->wrong_count, "corrected", NULL, NULL);
}

/* Where nothing differs nothing is written. In between the others have room: as long as it took. */
static int write_findings(struct reconcile *r, struct findings *found, int64_t ms)
{
        int e = 0;
        size_t from = 0;
        bool any = found->missing_count || found->gone;
        while (!e && any) {
                size_t left = found->missing_count - from, count = left < SLICE ? left : SLICE;
                int64_t began = clock_ms();
                e = settle(r, found, from, count, ms);
                from += count;
                any = from < found->missing_count;
                if (!e && service_wait(clock_ms() - began) && any)
                        e = say(r, STEP_STOPPED, "stopped");
        }
        return e ? e : mend(r, found, ms);
}

/* ---- ranges ---- */

/* One process at a time reads and compares; the lock ends with the transaction. */
static int take_turn(struct reconcile *r)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = r->waits ? &sql_16_chain_wait : &sql_16_chain_lock, .rows = &rows};
        int e = run(r, &call, 1, DB_BEGIN);
        return e || db_rows_count(rows) ? e : say(r, STEP_ELSEWHERE, "another process reconciles");
}

static int read_range(
        struct reconcile *r, int64_t from, int64_t to, struct rpc_events *events, struct findings *found, int64_t *ms)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        int e = read_time(r, ms);
        if (!e)
                e = node(r, rpc_get_events(r->rpc, from, to, r->contract, &r->arena, events));
        if (!e) {
                e = add_times(r, events);
                e = e == STEP_REFUSED ? STEP_NODE : e;
        }
        for (size_t i = 0; !e && i < events->count; i++)
                events->events[i].network = r->network;
        if (!e)
                e = compare(r, events, from, to, &rows);
        return e ? e : judge(r, events, rows, found);
}

static int do_range(struct reconcile *r, int64_t from, int64_t to, size_t *count)
{
        AUTO_FINDINGS struct findings found;
        struct rpc_events events = {0};
        int64_t ms = 0;
        findings_init(&found);
        arena_reset(&r->arena);
        int e = r->check ? 0 : take_turn(r);
        if (!e) /* whoever has begun a pass brings it to its end */
                r->waits = true;
        if (!e)
                e = read_range(r, from, to, &events, &found, &ms);
        int ended = !r->check && db_alive(r->db) ? run(r, NULL, 0, DB_ROLLBACK) : 0;
        if (e || ended)
                return e ? e : ended;
        *count = events.count;
        if (!r->check)
                e = write_findings(r, &found, ms);
        if (!e)
                count_findings(r, &found);
        return e;
}

/* After a range: how large is the next one, and is this one tried again? */
static int next_span(struct reconcile *r, int e, int64_t blocks, size_t count, struct backoff *backoff, unsigned *tries)
{
        if (!e) {
                *tries = 0;
                backoff_reset(backoff);
                if (count > 2 * EVENTS_WANTED)
                        r->span = blocks / 2 + 1;
                else if (count < EVENTS_WANTED / 2 && blocks == r->span)
                        r->span = 2 * r->span < r->span_max ? 2 * r->span : r->span_max;
                return 0;
        }
        if (e == STEP_REFUSED && blocks > 1) {
                r->span = r->span_max = blocks / 2; /* it would refuse more again */
                return 0;
        }
        if ((e == STEP_BUSY && ++*tries < BUSY_TRIES) || (e == STEP_AGAIN && ++*tries < AGAIN_TRIES)) {
                if (e == STEP_BUSY && *tries > 1 && blocks > 1)
                        r->span = blocks / 2;
                return service_wait(backoff_next(backoff)) ? say(r, STEP_STOPPED, "stopped") : 0;
        }
        if (e == STEP_NODE && blocks > 1)
                r->span = blocks / 2; /* it may have been too much in its time */
        return e;
}

static int do_ranges(struct reconcile *r, int64_t from, int64_t to, struct progress *progress)
{
        struct backoff backoff;
        unsigned tries = 0;
        int e = 0;
        backoff_init(&backoff, 200, 5000, (uint64_t)clock_wall_ms());
        r->span_max = SPAN_MAX;
        while (!e && from <= to) {
                int64_t blocks = to - from < r->span ? to - from + 1 : r->span;
                size_t count = 0;
                int done = service_stopping() ? say(r, STEP_STOPPED, "stopped") : do_range(r, from, from + blocks - 1, &count);
                e = next_span(r, done, blocks, count, &backoff, &tries);
                if (done)
                        continue;
                from += blocks;
                if (progress)
                        progress_add(progress, blocks);
        }
        return e;
}

static void reconcile_init(struct reconcile *r, struct service *service, const char *url)
{
        *r = (struct reconcile){.service = service, .url = url, .arena = ARENA_NULL, .span = SPAN_FIRST, .last_event = -1};
        register_metrics(service->metrics);
}

static void reconcile_deinit(struct reconcile *r)
{
        r->rpc = rpc_close(r->rpc);
        r->redis = redis_close(r->redis);
        r->db = db_close(r->db);
        arena_deinit(&r->arena);
        free(r->network);
}

/* ---- the command ---- */

struct options {
        int64_t from, to; /* to -1: the head */
        const char *url;
        bool check, json;
};

static int read_block_number(const char *text, int64_t *number)
{
        return !text || !*text || strspn(text, "0123456789") != strlen(text) ||
               number_read_int64(text, strlen(text), INT64_MAX, number);
}

static int read_options(int argc, char **argv, struct options *options)
{
        for (int i = 1; i < argc; i++) {
                const char *value = i + 1 < argc ? argv[i + 1] : NULL;
                if (!strcmp(argv[i], "--check"))
                        options->check = true;
                else if (!strcmp(argv[i], "--json"))
                        options->json = true;
                else if (!strcmp(argv[i], "--from-block") && !read_block_number(value, &options->from))
                        i++;
                else if (!strcmp(argv[i], "--to-block") && !read_block_number(value, &options->to))
                        i++;
                else if (!strcmp(argv[i], "--rpc") && value && !rpc_url_check(value))
                        options->url = argv[++i];
                else
                        return -1;
        }
        return options->to >= 0 && options->to < options->from ? -1 : 0;
}

static void print_summary(const struct reconcile *r, int64_t from, int64_t to)
{
        if (r->json)
                printf("{\"from_block\":%" PRId64 ",\"to_block\":%" PRId64 ",\"head_block\":%" PRId64
                       ",\"check\":%s,\"missing\":%" PRId64 ",\"not_on_chain\":%" PRId64 ",\"different\":%" PRId64 "}\n",
                        from, to, r->head, r->check ? "true" : "false", r->missing, r->gone, r->wrong);
        else if (r->check)
                printf("blocks %" PRId64 " to %" PRId64 ": %" PRId64 " events missing, %" PRId64
                       " rows not on the chain, %" PRId64 " different\n",
                        from, to, r->missing, r->gone, r->wrong);
        else
                printf("blocks %" PRId64 " to %" PRId64 ": %" PRId64 " events inserted, %" PRId64 " rows orphaned, %" PRId64
                       " corrected\n",
                        from, to, r->missing, r->gone, r->wrong);
}

static int connect_command(struct reconcile *r)
{
        const char *why = NULL;
        r->db = command_open_schema(r->service);
        r->redis = r->db ? command_open_redis(r->service) : NULL;
        if (!r->redis)
                return -EIO;
        if (!r->check && r->service->program->prepare(r->service, r->db, &why))
                return say(r, -EIO, "%s", why ? why : db_error(r->db));
        return 0;
}

/* How far the last pass came stays as it is: this may be any range. */
static int run_command(struct reconcile *r, const struct options *options)
{
        struct progress progress;
        int e = connect_command(r);
        if (!e)
                e = prepare(r);
        if (e)
                return e;
        int64_t to = options->to < 0 || options->to > r->head ? r->head : options->to;
        if (to < options->to || to < options->from)
                fprintf(stderr,
                        "ingest: reconcile: the node's newest block is %" PRId64 "; nothing is said of what is above it\n",
                        r->head);
        progress_begin(&progress, r->check ? "comparing with the chain" : "reconciling with the chain", "blocks",
                to - options->from + 1);
        if (to >= options->from)
                e = do_ranges(r, options->from, to, &progress);
        if (e)
                return e;
        progress_end(&progress);
        print_summary(r, options->from, to);
        return 0;
}

int reconcile_command(struct service *service, int argc, char **argv)
{
        const struct ingest_config *config = service->config;
        struct options options = {.to = -1, .url = config->rpc_url};
        struct reconcile r;
        if (read_options(argc, argv, &options)) {
                fprintf(stderr,
                        "ingest: usage: ingest reconcile [--from-block A] [--to-block B] [--check] [--json] [--rpc URL]\n");
                return 2;
        }
        if (!options.url) {
                fprintf(stderr, "ingest: reconcile: no node to ask: set RPC_URL, or give --rpc URL\n");
                return 2;
        }
        reconcile_init(&r, service, options.url);
        r.check = options.check;
        r.json = options.json;
        r.waits = true;
        int e = run_command(&r, &options);
        if (e && *r.why)
                fprintf(stderr, "ingest: reconcile: %s\n", r.why);
        bool differ = r.check && r.missing + r.gone + r.wrong;
        reconcile_deinit(&r);
        return e == STEP_UNSET ? 2 : e || differ ? 1 : 0;
}

/* ---- the service ---- */

struct beside {
        struct reconcile r;
        struct backoff backoff;
        int64_t not_before_ms; /* monotonic */
        bool looked;           /* at what was stored when it started */
        int64_t gap_from;      /* -1: no gap to look at */
        bool troubled;         /* and it was said */
};

/* What chain_state says. */
struct due {
        int64_t fork, notices, age_ms; /* fork, age -1: none */
};

static int open_servers(struct reconcile *r)
{
        char *problem = NULL;
        int e = 0;
        if (r->db && !db_alive(r->db))
                r->db = db_close(r->db);
        if (r->redis && !redis_alive(r->redis))
                r->redis = redis_close(r->redis);
        if (!r->db && service_open_db(r->service, &r->db, 5000, NULL, NULL, &problem))
                e = say(r, -EIO, "PostgreSQL: %s", problem);
        else if (!r->redis && service_open_redis(r->service, &r->redis, 5000, &problem))
                e = say(r, -EIO, "Redis: %s", problem);
        free(problem);
        return e;
}

static int read_due(struct reconcile *r, struct due *due)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = &sql_16_chain_due, .rows = &rows};
        struct metrics *metrics = r->service->metrics;
        int e = run(r, &call, 1, DB_AUTOCOMMIT);
        if (e)
                return e;
        *due = (struct due){.fork = db_rows_text(rows, 0, 0) ? db_rows_number(rows, 0, 0) : -1,
                .notices = db_rows_number(rows, 0, 1),
                .age_ms = db_rows_text(rows, 0, 2) ? db_rows_number(rows, 0, 2) : -1};
        if (due->age_ms < 0)
                return 0;
        metrics_set(metrics, &metric_block, (double)db_rows_number(rows, 0, 3), NULL, NULL, NULL);
        metrics_set(metrics, &metric_head, (double)db_rows_number(rows, 0, 4), NULL, NULL, NULL);
        metrics_set(metrics, &metric_age, (double)db_rows_number(rows, 0, 5), NULL, NULL, NULL);
        return 0;
}

static int note_done(struct reconcile *r, const struct due *due, bool reached_fork)
{
        const char *head = number_text(r, r->head);
        const struct db_param params[] = {
                db_text(head), db_text(head), db_text(number_text(r, due->notices)), db_text(reached_fork ? "true" : "false")};
        const struct db_call call = {.sql = &sql_16_chain_done, .params = params, .param_count = ARRAY_LENGTH(params)};
        return run(r, &call, 1, DB_AUTOCOMMIT);
}

/* From the lowest block that something is to be done for, to the head; the last RECONCILE_DEPTH blocks in any case. */
static int do_pass(struct beside *beside, const struct due *due)
{
        struct reconcile *r = &beside->r;
        const struct ingest_config *config = r->service->config;
        int64_t missing = r->missing, gone = r->gone, wrong = r->wrong;
        int e = prepare(r);
        if (e)
                return e;
        int64_t from = r->head - config->reconcile_depth + 1;
        if (beside->gap_from >= 0 && beside->gap_from < from)
                from = beside->gap_from;
        if (due->fork >= 0 && due->fork < from)
                from = due->fork;
        r->waits = false;
        e = do_ranges(r, from < 0 ? 0 : from, r->head, NULL);
        if (!e)
                e = note_done(r, due, due->fork <= r->head);
        if (e)
                return e;
        beside->gap_from = -1;
        if (due->fork > r->head) /* the node is behind: it is asked again in a while */
                beside->not_before_ms = clock_ms() + backoff_next(&beside->backoff);
        if (r->missing + r->gone + r->wrong > missing + gone + wrong)
                log_write(LOG_INFO, "reconciled with the chain",
                        "from=%" PRId64 " to=%" PRId64 " inserted=%" PRId64 " orphaned=%" PRId64 " corrected=%" PRId64, from,
                        r->head, r->missing - missing, r->gone - gone, r->wrong - wrong);
        return 0;
}

static int look_once(struct beside *beside, bool *worked)
{
        struct reconcile *r = &beside->r;
        const struct ingest_config *config = r->service->config;
        struct due due;
        int e = open_servers(r);
        if (!e && !beside->looked) {
                e = find_contract(r); /* for the last event alone: what is unset is said by prepare */
                e = e == STEP_UNSET ? 0 : e;
                beside->looked = !e;
                beside->gap_from = r->last_event;
        }
        if (!e)
                e = read_due(r, &due);
        if (e || (beside->gap_from < 0 && due.fork < 0 && due.age_ms >= 0 && due.age_ms < config->reconcile_interval_ms))
                return e;
        *worked = true;
        return do_pass(beside, &due);
}

/* The first failure of a row is said, and that it is over. */
static void note_result(struct beside *beside, int e, bool worked)
{
        struct reconcile *r = &beside->r;
        const char *cause = e < 0 ? "servers" : e == STEP_FOREIGN ? "chain" : "node";
        if (e == STEP_STOPPED)
                return;
        if (e == STEP_ELSEWHERE) {
                beside->not_before_ms = clock_ms() + LOOK_MS;
                return;
        }
        if (!e && worked) {
                if (beside->troubled)
                        log_write(LOG_INFO, "reconciling with the chain works again", NULL);
                beside->troubled = false;
                if (beside->not_before_ms < clock_ms())
                        backoff_reset(&beside->backoff);
        }
        if (!e)
                return;
        r->sound = false;
        if (e != STEP_UNSET)
                metrics_add(r->service->metrics, &metric_failures, 1, cause, NULL, NULL);
        if (!beside->troubled)
                log_write(LOG_WARN, "reconciling with the chain waits; it is tried again", "reason=%s", r->why);
        beside->troubled = true;
        beside->not_before_ms = clock_ms() + (e == STEP_UNSET ? LOOK_MS : backoff_next(&beside->backoff));
}

void *reconcile_beside(void *argument)
{
        struct service *service = argument;
        const struct ingest_config *config = service->config;
        struct beside beside = {0};
        reconcile_init(&beside.r, service, config->rpc_url);
        backoff_init(&beside.backoff, 1000, 60000, (uint64_t)clock_wall_ms());
        if (config->rpc_url)
                metrics_set(service->metrics, &metric_age, (double)(clock_wall_ms() / 1000), NULL, NULL, NULL);
        while (config->rpc_url && !service_stopping()) {
                bool worked = false;
                int e = clock_ms() < beside.not_before_ms ? 0 : look_once(&beside, &worked);
                note_result(&beside, e, worked);
                if (service_wait(LOOK_MS))
                        break;
        }
        reconcile_deinit(&beside.r);
        return NULL;
}
