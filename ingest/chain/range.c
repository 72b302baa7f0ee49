#include "ingest/chain/range.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/stop.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/stream/state.h"
#include "ingest/ingest.h"
#include "ingest_sql.h"
#include "ingest/chain/rpc.h"
#include "ingest/store/sighting.h"

#define SPAN_FIRST    1000 /* blocks a range to begin with; it shrinks where the node refuses, and grows again */
#define SPAN_MAX      100000
#define EVENTS_WANTED 2000 /* a range: what one transaction inserts */
#define SLICE         2000 /* events that one transaction inserts at most */
#define AGAIN_TRIES   5    /* of a range whose blocks changed while it was read */
#define BUSY_TRIES    6
#define NODE_TRIES    4   /* of a node that fails after it has answered */
#define TURN_MS       200 /* how often it is asked whether another process is done */
#define GONE_COLUMNS  7
#define GONE_ELEMENTS "ntttnnt"
_Static_assert(sizeof(GONE_ELEMENTS) == GONE_COLUMNS + 1, "one a column");
#define POSITION_COLUMNS  3
#define POSITION_ELEMENTS "tnn"
_Static_assert(sizeof(POSITION_ELEMENTS) == POSITION_COLUMNS + 1, "one a column");

COUNTER(range_rows, "reconcile_rows_total", "Event rows that reconciling inserted, orphaned, corrected (ingest)", "action");

/* ---- reading and comparing ---- */

/* What differs, and is no mistake of the reading. */
struct findings {
        struct event *missing, *wrong; /* on the chain; with the block's time */
        size_t missing_count, wrong_count;
        /* blocks that are not on the chain: number, hash; events that are not in their block: table, transaction, log index,
         * number, hash */
        struct db_columns *columns;
        size_t gone; /* rows of either */
};

/* The moment from which on what the node says counts: before it is asked. */
struct moment {
        int64_t last, number;         /* the moment before it, and itself; positions are relative to it */
        struct db_columns *positions; /* of streams that stand elsewhere: stream, ms, seq of the last id */
};

static void push_position(struct db_columns *positions, const char *stream, int64_t ms, int64_t seq)
{
        db_array_push_text(&positions->arrays[0], stream);
        db_array_push_number(&positions->arrays[1], ms);
        db_array_push_number(&positions->arrays[2], seq);
}

static int read_moment(struct chain *chain, int64_t from, int64_t to, struct moment *out)
{
        const struct ingest_config *config = chain->service->config;
        AUTO_COLUMNS struct db_columns last_ids;
        AUTO(db_rows) struct db_rows *rows = NULL;
        int64_t now;
        db_columns_init(&last_ids, POSITION_ELEMENTS);
        int e = stream_clock_read(chain->redis, &now);
        for (size_t i = 0; !e && config->streams[i]; i++) {
                struct stream_position last;
                e = stream_last_id_read(chain->redis, config->streams[i], &last);
                push_position(&last_ids, config->streams[i], (int64_t)last.ms, (int64_t)last.seq);
        }
        if (e)
                return chain_say(chain, -EIO, "Redis: %s", redis_error(chain->redis));
        struct db_param params[POSITION_COLUMNS + 3] = {db_number(now)};
        memcpy(params + 1, db_columns_params(&last_ids), POSITION_COLUMNS * sizeof(*params));
        params[POSITION_COLUMNS + 1] = db_number(from);
        params[POSITION_COLUMNS + 2] = db_number(to);
        const struct db_call call = {
                .sql = &sql_16_chain_look, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows};
        e = chain_run(chain, &call, 1, DB_AUTOCOMMIT);
        if (e)
                return e;
        out->last = db_rows_number(rows, 0, 0);
        out->number = db_rows_number(rows, 0, 1);
        for (size_t i = 0; i < db_rows_count(rows); i++)
                if (db_rows_text(rows, i, 2))
                        push_position(
                                out->positions, db_rows_text(rows, i, 2), db_rows_number(rows, i, 3), db_rows_number(rows, i, 4));
        return 0;
}

/* Before the first verdict of the moment is written. */
static int write_moment(struct chain *chain, struct moment *moment)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        struct db_param params[2 + POSITION_COLUMNS] = {db_number(moment->last), db_number(moment->number)};
        memcpy(params + 2, db_columns_params(moment->positions), POSITION_COLUMNS * sizeof(*params));
        const struct db_call call = {
                .sql = &sql_16_chain_moment, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows};
        int e = chain_run(chain, &call, 1, DB_AUTOCOMMIT);
        return e || db_rows_count(rows) ? e : chain_say(chain, STEP_AGAIN, "another process has reconciled meanwhile");
}

/* Events of a moment, as the first parameters of a statement. */
static void fill(struct chain *chain, struct db_columns *sightings, struct db_param *params, const struct event *events,
        size_t count, int64_t ms)
{
        const struct stream_entry entry = {.stream = RANGE_STREAM, .ms = (uint64_t)ms};
        db_columns_init(sightings, SIGHTING_ELEMENTS);
        for (size_t i = 0; i < count; i++)
                sighting_push(sightings, &events[i], &entry, -1, &chain->arena);
        memcpy(params, db_columns_params(sightings), SIGHTING_COLUMNS * sizeof(*params));
}

static int compare(struct chain *chain, const struct rpc_events *events, int64_t from, int64_t to, struct db_rows **rows)
{
        AUTO_COLUMNS struct db_columns sightings;
        struct db_param params[SIGHTING_COLUMNS + 3];
        fill(chain, &sightings, params, events->events, events->count, 0);
        params[SIGHTING_COLUMNS] = db_number(from);
        params[SIGHTING_COLUMNS + 1] = db_number(to);
        params[SIGHTING_COLUMNS + 2] = db_text(chain->contract);
        const struct db_call call = {
                .sql = &sql_16_chain_compare, .params = params, .param_count = ARRAY_LENGTH(params), .rows = rows};
        return chain_run(chain, &call, 1, DB_AUTOCOMMIT);
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

static void print_difference(const struct chain *chain, const struct difference *d, const char *what)
{
        static const char json[] = "{\"table\":\"%s\",\"transaction_hash\":\"%s\",\"log_index\":%s,\"block_number\":%" PRId64
                                   ",\"block_hash\":\"%s\",\"difference\":\"%s\"}\n",
                          text[] = "%s transaction_hash=%s log_index=%s block_number=%" PRId64 " block_hash=%s: %s\n";
        printf(chain->service->json ? json : text, d->table, d->transaction, d->log_index, d->block_number, d->block_hash, what);
}

/* The blocks of all differences as they are now, in the order of their numbers, and the events of one of them once they are asked
 * for. */
struct looked {
        const struct rpc_block *block;
        struct rpc_events events;
        bool has_events;
};

/* The distinct ones of numbers that come in order, asked for. */
static int get_blocks(struct chain *chain, int64_t *numbers, size_t count, struct rpc_block **blocks, size_t *found)
{
        size_t distinct = 0;
        for (size_t i = 0; i < count; i++)
                if (!i || numbers[i] != numbers[distinct - 1])
                        numbers[distinct++] = numbers[i];
        *blocks = arena_alloc(&chain->arena, (distinct + 1) * sizeof(**blocks));
        *found = distinct;
        return chain_node(chain, rpc_get_blocks(chain->rpc, numbers, distinct, *blocks));
}

static int changed(struct chain *chain, int64_t number)
{
        return chain_say(chain, STEP_AGAIN, "node: block %" PRId64 " changed while it was read", number);
}

/* That the highest block is the same before and after says that all below it were of one chain. */
static int look_at_blocks(struct chain *chain, const struct db_rows *rows, struct looked *looked)
{
        size_t count = db_rows_count(rows), found;
        int64_t *numbers = arena_alloc(&chain->arena, count * sizeof(*numbers));
        struct rpc_block top, *blocks;
        for (size_t i = 0; i < count; i++)
                numbers[i] = db_rows_number(rows, i, 5);
        int e = chain_node(chain, rpc_get_block(chain->rpc, numbers[count - 1], &top));
        if (!e)
                e = get_blocks(chain, numbers, count, &blocks, &found);
        if (e)
                return e;
        looked->block = blocks;
        return strcmp(blocks[found - 1].hash, top.hash) != 0 ? changed(chain, top.number) : 0;
}

/* The time of blocks, where the node's logs do not have it. */
static int add_times(struct chain *chain, struct rpc_events *events)
{
        int64_t *numbers = arena_alloc(&chain->arena, (events->count + 1) * sizeof(*numbers));
        size_t count = 0, found, at = 0;
        struct rpc_block *blocks;
        for (size_t i = 0; i < events->count; i++)
                if (events->events[i].block_timestamp < 0)
                        numbers[count++] = events->events[i].block_number;
        int e = get_blocks(chain, numbers, count, &blocks, &found);
        for (size_t i = 0; !e && i < events->count; i++) {
                struct event *event = &events->events[i];
                if (event->block_timestamp >= 0)
                        continue;
                while (blocks[at].number < event->block_number)
                        at++;
                if (strcmp(blocks[at].hash, event->block_hash) != 0)
                        return changed(chain, event->block_number);
                event->block_timestamp = blocks[at].timestamp;
        }
        return e;
}

/* Whether an event is not in its block after all, which is asked for by its hash. A node that has thrown its logs away may show
 * none. */
static int look_for_event(struct chain *chain, const struct difference *d, struct looked *looked)
{
        bool others = false;
        int e = looked->has_events ? 0
                                   : chain_node(chain, rpc_get_block_events(chain->rpc, looked->block, chain->contract,
                                                               &chain->arena, &looked->events));
        if (e)
                return e == STEP_REFUSED ? STEP_NODE : e; /* no smaller range helps */
        looked->has_events = true;
        for (size_t i = 0; i < looked->events.count; i++) {
                const struct event *event = &looked->events.events[i];
                bool same = !strcmp(event->type->table, d->table);
                others = others || same;
                if (same && !strcmp(event->transaction_hash, d->transaction) &&
                        event->log_index == strtoll(d->log_index, NULL, 10))
                        return chain_say(
                                chain, STEP_AGAIN, "node: its list of logs left out one of block %" PRId64, d->block_number);
        }
        for (enum event_kind kind = 0; !others && kind < EVENT_GENERIC; kind++)
                if (!strcmp(event_types[kind].table, d->table) && rpc_may_hold(looked->block, chain->contract, kind))
                        return chain_say(chain, STEP_AGAIN,
                                "node: it shows no logs of block %" PRId64
                                ", whose filter says there are some: has it lost them?",
                                d->block_number);
        return 0;
}

static int judge_stored(
        struct chain *chain, const struct difference *d, struct looked *looked, struct findings *out, const char **what)
{
        bool dead = strcmp(looked->block->hash, d->block_hash) != 0, next = !strcmp(d->kind, "next");
        int e = dead || !d->judged ? 0 : look_for_event(chain, d, looked);
        if (e || (!dead && !d->judged))
                return e;
        if (!dead) {
                db_array_push_text(&out->columns->arrays[2], d->table);
                db_array_push_text(&out->columns->arrays[3], d->transaction);
                db_array_push_number(&out->columns->arrays[4], strtoll(d->log_index, NULL, 10));
        }
        db_array_push_number(&out->columns->arrays[dead ? 0 : 5], d->block_number);
        db_array_push_text(&out->columns->arrays[dead ? 1 : 6], d->block_hash);
        if (next)
                return 0;
        out->gone++;
        *what = dead ? "stored, but its block is not on the chain" : "stored, but not on the chain";
        return 0;
}

static int judge_shown(struct chain *chain, const struct difference *d, const struct looked *looked, const struct event *event,
        struct findings *out, const char **what)
{
        bool wrong = !strcmp(d->kind, "wrong");
        if (strcmp(looked->block->hash, event->block_hash) != 0)
                return changed(chain, d->block_number);
        if (looked->block->timestamp != event->block_timestamp) {
                chain->log_times_wrong = true;
                return chain_say(
                        chain, STEP_AGAIN, "node: the time of block %" PRId64 " is another one in its logs", d->block_number);
        }
        if (wrong)
                out->wrong[out->wrong_count++] = *event;
        else
                out->missing[out->missing_count++] = *event;
        *what = wrong ? "stored with another content than on the chain" : "on the chain, but not stored";
        return 0;
}

/* Which differences are there for good: the node is asked about each block anew. */
static int judge(struct chain *chain, const struct rpc_events *events, const struct db_rows *rows, struct findings *out)
{
        size_t count = db_rows_count(rows);
        struct looked looked = {0};
        const char **what = arena_alloc(&chain->arena, (count + 1) * sizeof(*what)); /* NULL: nothing */
        memset(what, 0, (count + 1) * sizeof(*what));
        out->missing = arena_alloc(&chain->arena, (count + 1) * sizeof(*out->missing));
        out->wrong = arena_alloc(&chain->arena, (count + 1) * sizeof(*out->wrong));
        int e = count ? look_at_blocks(chain, rows, &looked) : 0;
        for (size_t i = 0; !e && i < count; i++) {
                const struct difference d = difference_get(rows, i);
                for (; looked.block->number < d.block_number; looked.has_events = false)
                        looked.block++;
                e = d.place ? judge_shown(chain, &d, &looked, &events->events[d.place - 1], out, &what[i])
                            : judge_stored(chain, &d, &looked, out, &what[i]);
        }
        for (size_t i = 0; !e && i < count; i++)
                if (what[i]) {
                        const struct difference d = difference_get(rows, i);
                        if (chain->check)
                                print_difference(chain, &d, what[i]);
                        else
                                changes_add(&chain->changes,
                                        (const char *[]){d.kind, d.table, d.transaction, d.log_index, d.block_hash, NULL});
                }
        return e == STEP_REFUSED ? STEP_NODE : e;
}

/* ---- writing ---- */

static int publish(struct chain *chain, const struct db_rows *rows)
{
        struct work work = {.arena = &chain->arena};
        for (size_t i = 0; i < db_rows_count(rows); i++)
                if (db_rows_text(rows, i, 0))
                        work_add_key(&work, db_rows_text(rows, i, 0), db_rows_text(rows, i, 1), "reconcile",
                                db_rows_number(rows, i, 2));
        int e = work.key_count ? stream_publish(chain->redis, chain->service->shared->output, work.keys, work.key_count) : 0;
        work_deinit(&work);
        return e ? chain_say(chain, -EIO, "Redis: %s", redis_error(chain->redis)) : 0;
}

/* One transaction under the exclusive lock: a statement that takes events as of a moment, and more. */
static int write_events(struct chain *chain, const struct sql *sql, const struct event *events, size_t count, int64_t ms,
        const struct db_param *more, size_t more_count)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        AUTO_COLUMNS struct db_columns sightings;
        struct db_param params[SIGHTING_COLUMNS + 1 + GONE_COLUMNS];
        fill(chain, &sightings, params, events, count, ms);
        params[SIGHTING_COLUMNS] = db_number(ms);
        memcpy(params + SIGHTING_COLUMNS + 1, more, more_count * sizeof(*more));
        const struct db_call calls[] = {
                {.sql = &sql_10_event_lock_alone},
                {.sql = sql, .params = params, .param_count = (int)(SIGHTING_COLUMNS + 1 + more_count), .rows = &rows},
        };
        int e = chain_run(chain, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_COMMIT);
        return e ? e : publish(chain, rows);
}

/* So many of the missing events, and all that is to go. */
static int settle(struct chain *chain, struct findings *found, size_t from, size_t count, int64_t ms)
{
        return write_events(
                chain, &sql_16_chain_settle, found->missing + from, count, ms, db_columns_params(found->columns), GONE_COLUMNS);
}

/* Contents, one table a transaction. */
static int mend(struct chain *chain, const struct findings *found, int64_t ms)
{
        int e = 0;
        for (enum event_kind kind = 0; !e && found->wrong_count && kind < EVENT_GENERIC; kind++) {
                const struct db_param table = db_text(event_types[kind].table);
                e = write_events(chain, &sql_16_chain_mend, found->wrong, found->wrong_count, ms, &table, 1);
        }
        return e;
}

static void count_findings(struct chain *chain, const struct findings *found)
{
        struct metrics *metrics = chain->service->metrics;
        chain->missing += (int64_t)found->missing_count;
        chain->gone += (int64_t)found->gone;
        chain->wrong += (int64_t)found->wrong_count;
        if (chain->check || !(found->missing_count + found->gone + found->wrong_count))
                return;
        metrics_add(metrics, &range_rows, (double)found->missing_count, "inserted", NULL, NULL);
        metrics_add(metrics, &range_rows, (double)found->gone, "orphaned", NULL, NULL);
        metrics_add(metrics, &range_rows, (double)found->wrong_count, "corrected", NULL, NULL);
}

/* Where nothing differs nothing is written. In between the others have room: as long as it took. */
static int write_findings(struct chain *chain, struct findings *found, struct moment *moment)
{
        size_t from = 0;
        bool any = found->missing_count || found->gone;
        int e = any || found->wrong_count ? write_moment(chain, moment) : 0;
        while (!e && any) {
                size_t left = found->missing_count - from, count = left < SLICE ? left : SLICE;
                int64_t began = clock_ms();
                e = settle(chain, found, from, count, moment->number);
                from += count;
                any = from < found->missing_count;
                db_columns_deinit(found->columns); /* what is to go went with the first of the events */
                db_columns_init(found->columns, GONE_ELEMENTS);
                if (!e && stop_wait(clock_ms() - began) && any)
                        e = chain_say(chain, STEP_STOPPED, "stopped");
        }
        return e ? e : mend(chain, found, moment->number);
}

/* ---- ranges ---- */

/* One process at a time reads and compares; the lock ends with the transaction. Asked for again and again: a stop does not wait
 * for whoever holds it, and whose node may hang. */
static int take_turn(struct chain *chain)
{
        for (;;) {
                AUTO(db_rows) struct db_rows *rows = NULL;
                const struct db_call call = {.sql = &sql_16_chain_lock, .rows = &rows};
                int e = chain_run(chain, &call, 1, DB_BEGIN);
                if (e || db_rows_count(rows))
                        return e;
                e = chain_run(chain, NULL, 0, DB_ROLLBACK);
                if (e)
                        return e;
                if (!chain->waits)
                        return chain_say(chain, STEP_ELSEWHERE, "another process reconciles");
                if (stop_wait(TURN_MS))
                        return chain_say(chain, STEP_STOPPED, "stopped");
        }
}

static int read_range(
        struct chain *chain, int64_t from, int64_t to, struct rpc_events *events, struct findings *found, struct moment *moment)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        struct rpc_block newest;
        int e = read_moment(chain, from, to, moment);
        if (!e && !chain->head_seen) /* it may be nonsense, or another node's than the one that answers now */
                e = chain_node(chain, rpc_get_block(chain->rpc, chain->head, &newest));
        if (!e)
                chain->head_seen = true;
        if (!e)
                e = chain_node(chain, rpc_get_events(chain->rpc, from, to, chain->contract, &chain->arena, events));
        for (size_t i = 0; !e && chain->log_times_wrong && i < events->count; i++)
                events->events[i].block_timestamp = -1;
        if (!e) {
                e = add_times(chain, events);
                e = e == STEP_REFUSED ? STEP_NODE : e;
        }
        for (size_t i = 0; !e && i < events->count; i++)
                events->events[i].network = chain->network;
        if (!e)
                e = compare(chain, events, from, to, &rows);
        return e ? e : judge(chain, events, rows, found);
}

static int do_range(struct chain *chain, int64_t from, int64_t to, size_t *count)
{
        AUTO_COLUMNS struct db_columns columns;
        AUTO_COLUMNS struct db_columns positions;
        struct findings found = {.columns = &columns};
        struct moment moment = {.positions = &positions};
        struct rpc_events events = {0};
        db_columns_init(&columns, GONE_ELEMENTS);
        db_columns_init(&positions, POSITION_ELEMENTS);
        arena_reset(&chain->arena);
        int e = chain->check ? 0 : take_turn(chain);
        if (!e) /* whoever has begun a pass brings it to its end */
                chain->waits = true;
        if (!e)
                e = read_range(chain, from, to, &events, &found, &moment);
        int ended = !chain->check && db_alive(chain->db) ? chain_run(chain, NULL, 0, DB_ROLLBACK) : 0;
        if (e || ended)
                return e ? e : ended;
        *count = events.count;
        if (!chain->check)
                e = write_findings(chain, &found, &moment);
        if (!e)
                count_findings(chain, &found);
        return e;
}

/* How a range is tried again, or the step that ends it all. begun: the node has answered for one before. */
static int try_again(struct chain *chain, int e, int64_t blocks, bool begun, struct backoff *backoff, unsigned *tries)
{
        if (e == STEP_REFUSED && blocks > 1) {
                chain->span = chain->span_max = blocks / 2; /* it would refuse more again */
                return 0;
        }
        unsigned most = e == STEP_BUSY ? BUSY_TRIES : e == STEP_AGAIN ? AGAIN_TRIES : e == STEP_NODE && begun ? NODE_TRIES : 0;
        if ((e == STEP_NODE || (e == STEP_BUSY && *tries)) && blocks > 1)
                chain->span = blocks / 2; /* it may have been too much in its time */
        if (++*tries >= most)
                return e;
        return stop_wait(backoff_next(backoff)) ? chain_say(chain, STEP_STOPPED, "stopped") : 0;
}

int range_reconcile(struct chain *chain, int64_t from, int64_t to, struct progress *progress)
{
        struct backoff backoff;
        unsigned tries = 0;
        bool begun = false;
        int e = 0;
        backoff_init(&backoff, 200, 5000, (uint64_t)clock_wall_ms());
        chain->span_max = SPAN_MAX;
        chain->span = chain->span ? chain->span : SPAN_FIRST;
        while (!e && from <= to) {
                int64_t blocks = to - from < chain->span ? to - from + 1 : chain->span;
                size_t count = 0;
                e = stop_requested() ? chain_say(chain, STEP_STOPPED, "stopped")
                                     : do_range(chain, from, from + blocks - 1, &count);
                if (e) {
                        e = try_again(chain, e, blocks, begun, &backoff, &tries);
                        continue;
                }
                begun = true;
                tries = 0;
                backoff_reset(&backoff);
                if (count > 2 * EVENTS_WANTED)
                        chain->span = blocks / 2 + 1;
                else if (count < EVENTS_WANTED / 2 && blocks == chain->span)
                        chain->span = 2 * chain->span < chain->span_max ? 2 * chain->span : chain->span_max;
                from += blocks;
                if (progress)
                        progress_add(progress, blocks);
        }
        return e;
}
