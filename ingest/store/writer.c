#include "ingest/store/writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/log.h"
#include "ingest/decode/decode.h"
#include "ingest/ingest.h"
#include "ingest/ingest_metrics.h"
#include "ingest/store/network.h"
#include "ingest_sql.h"
#include "ingest/store/sighting.h"

#define NOTICE_PATIENCE 120 /* times a batch's deadline */
_Static_assert(EVENT_KINDS <= WORK_MUTEXES, "a mutex for each kind");

/* What is wrong with an entry: the first fault, and the places of all. */
struct verdict {
        const char *error_class, *error;
        char *indexes;
        size_t faults;
        int64_t attempts;
};

struct writer {
        char *network;   /* NETWORK, or the pinned one; NULL until known */
        const char *pin; /* to be pinned with the next event stored; NULL: nothing */
        struct sightings events[EVENT_KINDS];
        struct sightings
                blocks[EVENT_KINDS]; /* of them, one for each run of events in one block and stream: the first in its stream */
        bool repeats[EVENT_KINDS];   /* the last batch brought events that were there before */
        struct verdict *verdicts;    /* one an entry of the batch */
        enum event_kind kind;        /* of the items that are being stored */
        struct arena scratch;        /* the decoder's */
};

static const struct {
        const struct sql *copy, *insert; /* new events come by COPY; what it refuses, and what is rare, by INSERT */
        const char *reason;              /* of the keys' entries */
        int term, curve, counter;        /* where the key stands among the values; -1: it has none */
} kinds[EVENT_KINDS] = {
        [EVENT_ATOM_CREATED] = {&sql_10_atom_created_events_copy, &sql_10_atom_created_events_insert, "atom_created", 1, -1, -1},
        [EVENT_TRIPLE_CREATED] = {&sql_10_triple_created_events_copy, &sql_10_triple_created_events_insert, "triple_created", 1,
                -1, 5},
        [EVENT_DEPOSITED] = {&sql_10_deposited_events_copy, &sql_10_deposited_events_insert, "deposited", 2, 3, -1},
        [EVENT_REDEEMED] = {&sql_10_redeemed_events_copy, &sql_10_redeemed_events_insert, "redeemed", 2, 3, -1},
        [EVENT_SHARE_PRICE_CHANGED] = {&sql_10_share_price_changed_events_copy, &sql_10_share_price_changed_events_insert,
                "share_price_changed", 0, 1, -1},
        [EVENT_GENERIC] = {NULL, &sql_10_generic_events_insert, "generic", -1, -1, -1},
};

void *writer_new(const void *config)
{
        const struct ingest_config *ingest = config;
        struct writer *writer = memory_new(1, sizeof(*writer));
        if (ingest->network)
                writer->network = memory_copy(ingest->network);
        return writer;
}

void writer_free(void *state)
{
        struct writer *writer = state;
        for (int kind = 0; kind < EVENT_KINDS; kind++) {
                free(writer->events[kind].list);
                free(writer->blocks[kind].list);
        }
        arena_deinit(&writer->scratch);
        free(writer->network);
        free(writer);
}

bool writer_can_hold(const struct stream_entry *entry)
{
        return entry->ms <= INT64_MAX && entry->seq <= INT64_MAX;
}

size_t writer_estimate_units(const struct stream_entry *entry)
{
        size_t size = 0;
        return stream_entry_payload(entry, &size) && size > 1200 ? size / 700 : 1;
}

/* ---- faults ---- */

static void note_fault(
        struct work *work, struct verdict *verdict, size_t index, const char *error_class, const char *error, int64_t attempts)
{
        if (!verdict->faults) {
                verdict->error_class = error_class;
                verdict->error = error;
                verdict->attempts = attempts;
                verdict->indexes = arena_copy(work->arena, "", 0);
        }
        if (index != DECODE_WHOLE_MESSAGE && verdict->faults < DECODE_FAULTS_MAX)
                verdict->indexes = arena_format(work->arena, "%s%s%zu", verdict->indexes, verdict->faults ? "," : "", index);
        verdict->faults++;
        work->units_failed++;
}

static void add_dead_letters(struct work *work, const struct writer *writer)
{
        for (size_t i = 0; i < work->batch->count; i++) {
                const struct verdict *verdict = &writer->verdicts[i];
                if (!verdict->faults ||
                        work->batch->entries[i].left) /* a letter acks: what was put off comes again, and brings its faults */
                        continue;
                const char *error = verdict->error, *indexes = verdict->indexes;
                if (verdict->faults > 1)
                        error = arena_format(work->arena, "%s (and %zu more)", error, verdict->faults - 1);
                if (verdict->faults > DECODE_FAULTS_MAX)
                        indexes = arena_format(work->arena, "%s,…", indexes);
                work_add_dead_letter(work, &work->batch->entries[i], indexes, verdict->error_class, error, verdict->attempts);
        }
}

/* ---- decoding ---- */

static void add_item(struct writer *writer, const struct event *event, struct stream_entry *entry, struct verdict *verdict)
{
        const struct sighting item = {.event = event, .entry = entry, .verdict = verdict, .place = -1};
        struct sightings *blocks = &writer->blocks[event->type->kind];
        struct sighting *last = blocks->count ? &blocks->list[blocks->count - 1] : NULL;
        sightings_push(&writer->events[event->type->kind], item);
        if (!last || strcmp(last->event->block_hash, event->block_hash) || last->event->block_number != event->block_number ||
                last->entry->stream != entry->stream)
                sightings_push(blocks, item);
        else if (entry->ms < last->entry->ms || (entry->ms == last->entry->ms && entry->seq < last->entry->seq))
                *last = item;
}

static void drop_items(struct writer *writer)
{
        for (int kind = 0; kind < EVENT_KINDS; kind++)
                writer->events[kind].count = writer->blocks[kind].count = 0;
}

/* What a re-evaluation touched: keys for the stream, and how many rows moved. */
static void add_touched(struct work *work, const struct db_rows *rows)
{
        for (size_t i = 0; i < db_rows_count(rows); i++) {
                const char *term = db_rows_text(rows, i, 0), *curve = db_rows_text(rows, i, 1);
                if (term)
                        work_add_key(work, arena_copy(work->arena, term, strlen(term)),
                                curve ? arena_copy(work->arena, curve, strlen(curve)) : NULL, "reorg",
                                db_rows_number(rows, i, 2));
                else
                        metrics_add(work->metrics, &ingest_rows_orphaned, (double)db_rows_number(rows, i, 3), NULL, NULL, NULL);
        }
}

/* A notice re-evaluates all blocks from its fork block on: its deadline is generous. */
static int take_notice(
        struct work *work, struct verdict *verdict, const struct stream_entry *entry, const struct decode_notice *notice)
{
        const struct ingest_config *config = work->config;
        AUTO(db_rows) struct db_rows *rows = NULL;
        struct db_param params[SIGHTING_NOTICE + 2] = {
                [SIGHTING_NOTICE] = db_number(config->copy_window_ms),
                db_text(work->batch->redelivered ? "true" : "false"),
        };
        sighting_notice(params, entry, notice);
        const struct db_param announced[] = {params[0], params[4]};
        const struct db_call calls[] = {
                {.sql = &sql_10_event_lock_alone},
                {.sql = &sql_12_reorg_announce, .params = announced, .param_count = ARRAY_LENGTH(announced)},
                {.sql = &sql_10_reorg_take, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows},
        };
        int r = DB_BAD_DATA;
        for (int64_t attempt = 1; r == DB_BAD_DATA && attempt <= work->max_retries; attempt++)
                r = db_run(work->db, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_COMMIT, work->deadline_ms * NOTICE_PATIENCE);
        if (r == DB_BAD_DATA) {
                note_fault(work, verdict, 0, "database",
                        arena_format(work->arena, "event_data[0]: refused by PostgreSQL: %s", db_error(work->db)),
                        work->max_retries);
                return 0;
        }
        if (r)
                return -1;
        if (!db_rows_count(rows)) {
                note_fault(work, verdict, 0, "network", "event_data[0].network: is not the network that has just been pinned", 1);
                return 0;
        }
        add_touched(work, rows);
        metrics_add(work->metrics, &ingest_reorgs, 1, entry->stream, NULL, NULL);
        metrics_observe(work->metrics, &ingest_reorg_depth, (double)notice->depth, NULL, NULL, NULL);
        log_write(LOG_INFO, "reorg notice handled",
                "stream=%s id=%s fork_block=%" PRId64 " depth=%" PRId64 " rows_moved=%" PRId64, entry->stream, entry->id,
                notice->fork_block, notice->depth, db_rows_number(rows, 0, 3));
        return 0;
}

static int take_entry(struct work *work, struct writer *writer, struct stream_entry *entry, struct verdict *verdict)
{
        size_t size;
        struct decode_message message;
        const char *payload = stream_entry_payload(entry, &size);
        if (!payload) {
                note_fault(work, verdict, DECODE_WHOLE_MESSAGE, "missing",
                        "the entry has none of the fields payload, event_data, data", 1);
                return 0;
        }
        if (!writer_can_hold(entry)) {
                note_fault(work, verdict, DECODE_WHOLE_MESSAGE, "range", "the entry's id is above 9223372036854775807", 1);
                return 0;
        }
        (void)!decode_message(payload, size, writer->network, work->arena, &writer->scratch, &message);
        for (size_t i = 0; i < message.fault_count; i++) {
                const struct decode_fault *fault = &message.faults[i < DECODE_FAULTS_MAX ? i : 0];
                note_fault(work, verdict, fault->index, fault->class, fault->text, 1);
        }
        for (size_t i = 0; i < message.event_count; i++)
                add_item(writer, &message.events[i], entry, verdict);
        return message.notice ? take_notice(work, verdict, entry, message.notice) : 0;
}

/* ---- storing ---- */

/* As db_columns_init wants them: the event's own columns, behind EVENT_ELEMENTS. */
static const char own_elements[] = "tttttttttt", atom_elements[] = "tttbt"; /* b: raw_data */
_Static_assert(sizeof(own_elements) == EVENT_VALUES_MAX + 1, "one a column");

/* jsonb's binary form: its version, then the text. */
static void push_jsonb(struct db_array *to, const struct event_value *value)
{
        AUTO(text) char *data = memory_new(value->size + 1, 1);
        data[0] = 1;
        memcpy(data + 1, value->data, value->size);
        db_array_push(to, data, value->size + 1);
}

/* To arrays, one a column; or (step 0) to one buffer of rows for COPY, where each value has its column's own type. */
static void push_event(struct db_array *to, size_t step, const struct event *event, const struct stream_entry *entry)
{
        sighting_push_event(to, step, event, entry);
        for (size_t i = 0; i < event->value_count; i++)
                if (!step && event->type->fields[i].form == EVENT_FIELD_VAULT_TYPE)
                        db_array_push_small(to, (int16_t)strtol(event->values[i].data, NULL, 10));
                else if (!step && event->type->kind == EVENT_GENERIC && i)
                        push_jsonb(to, &event->values[i]);
                else
                        db_array_push(&to[(EVENT_COLUMNS + i) * step], event->values[i].data, event->values[i].size);
}

void writer_push_row(struct db_array *rows, const struct event *event, const struct stream_entry *entry, int more)
{
        db_copy_row(rows, EVENT_COLUMNS + (int)event->value_count + more);
        push_event(rows, 0, event, entry);
}

/* What event_guard is asked: one item for each block at least. */
static void seen_init(struct db_columns *seen, const struct sighting *items, size_t count)
{
        db_columns_init(seen, "tntnn");
        for (size_t i = 0; i < count; i++) {
                const struct sighting *item = &items[i];
                db_array_push_text(&seen->arrays[0], item->entry->stream);
                db_array_push_number(&seen->arrays[1], item->event->block_number);
                db_array_push_text(&seen->arrays[2], item->event->block_hash);
                db_array_push_number(&seen->arrays[3], (int64_t)item->entry->ms);
                db_array_push_number(&seen->arrays[4], (int64_t)item->entry->seq);
        }
}

/*
 * Begins a transaction with its lock, and pins the network where that is what it is for (exclusively then): before the event is
 * judged, for what notices of other networks said until now goes with that. Where another replica has just pinned another network
 * the event is not ours: nothing is stored, and learn_network finds the network that is pinned.
 */
static int begin(struct work *work, const struct writer *writer, const struct sql *lock, bool *other)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param pin = db_text(writer->pin);
        const struct db_call calls[] = {{.sql = writer->pin ? &sql_10_event_lock_alone : lock},
                {.sql = &sql_10_network_pin, .params = &pin, .param_count = 1}, {.sql = &sql_10_network_get, .rows = &rows}};
        int r = db_run(work->db, calls, writer->pin ? ARRAY_LENGTH(calls) : 1, DB_BEGIN, work->deadline_ms);
        *other = !r && writer->pin && strcmp(db_rows_text(rows, 0, 0), writer->pin) != 0;
        return *other ? db_run(work->db, NULL, 0, DB_ROLLBACK, work->deadline_ms) : r;
}

/* The careful way in, for events whose blocks are not plainly live. */
static int take(struct work *work, const struct writer *writer, const struct sighting *items, size_t count)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        AUTO_COLUMNS struct db_columns sightings;
        db_columns_init(&sightings, SIGHTING_ELEMENTS);
        for (size_t i = 0; i < count; i++)
                sighting_push(&sightings, items[i].event, items[i].entry, items[i].place, work->arena);
        const struct db_call call = {.sql = &sql_10_event_take,
                .params = db_columns_params(&sightings),
                .param_count = SIGHTING_PLACED,
                .rows = &rows};
        bool other;
        int r = begin(work, writer, &sql_10_event_lock_alone, &other);
        if (!r && !other)
                r = db_run(work->db, &call, 1, DB_COMMIT, work->deadline_ms);
        if (!r && !other)
                add_touched(work, rows);
        return r;
}

/* The plain way: shared lock, guard, rows; DB_DUPLICATE where one was there before. */
static int copy(
        struct work *work, const struct writer *writer, const struct db_call *guard, const struct sighting *items, size_t count)
{
        const struct db_call first[] = {{.sql = &sql_10_event_lock}, *guard};
        AUTO_ARRAY struct db_array rows;
        db_copy_init(&rows);
        for (size_t i = 0; i < count; i++)
                writer_push_row(&rows, items[i].event, items[i].entry, 0);
        return db_copy(work->db, first, ARRAY_LENGTH(first), kinds[writer->kind].copy, &rows, work->deadline_ms);
}

/* The same for events some of which were there before: of those, their other positions. */
static int insert(
        struct work *work, struct writer *writer, const struct db_call *guard, const struct sighting *items, size_t count)
{
        AUTO_COLUMNS struct db_columns columns;
        char elements[EVENT_COLUMNS + EVENT_VALUES_MAX + 1];
        snprintf(elements, sizeof(elements), EVENT_ELEMENTS "%.*s", (int)items[0].event->value_count,
                writer->kind == EVENT_ATOM_CREATED ? atom_elements : own_elements);
        db_columns_init(&columns, elements);
        for (size_t i = 0; i < count; i++)
                push_event(columns.arrays, 1, items[i].event, items[i].entry);
        const struct db_param *params = db_columns_params(&columns);
        const struct db_param others[] = {db_text(event_types[writer->kind].table), params[0], params[1], params[4], params[3],
                params[EVENT_COLUMN_STREAM], params[EVENT_COLUMN_MS], params[EVENT_COLUMN_SEQ]};
        int64_t written = 0;
        const struct db_call calls[] = {
                *guard,
                {.sql = kinds[writer->kind].insert, .params = params, .param_count = (int)columns.count, .affected = &written},
        };
        const struct db_call repeat = {.sql = &sql_10_event_repeat, .params = others, .param_count = ARRAY_LENGTH(others)};
        bool other;
        int r = begin(work, writer, &sql_10_event_lock, &other);
        if (!r && !other)
                r = db_run(work->db, calls, ARRAY_LENGTH(calls), 0, work->deadline_ms);
        writer->repeats[writer->kind] = r || (size_t)written < count;
        if (!r && !other)
                r = db_run(work->db, &repeat, (size_t)written < count, DB_COMMIT, work->deadline_ms);
        return r;
}

static int store(struct work *work, void *context, size_t from, size_t count)
{
        struct writer *writer = context;
        const struct sightings *events = &writer->events[writer->kind], *blocks = &writer->blocks[writer->kind];
        const struct sighting *items = events->list + from;
        /* a part is asked about on its own: it is one because the whole took too long */
        const bool whole = count == events->count;
        struct db_columns seen;
        seen_init(&seen, whole ? blocks->list : items, whole ? blocks->count : count);
        const struct db_call guard = {
                .sql = &sql_10_event_guard, .params = db_columns_params(&seen), .param_count = (int)seen.count};
        bool fresh = kinds[writer->kind].copy && !writer->repeats[writer->kind] && !writer->pin, several = false;
        for (size_t i = 0; i < count; i++) /* a part of a batch may hold one of them: which stands is said by their places */
                several = several || items[i].place >= 0;
        int r = several ? DB_RAISED : fresh ? copy(work, writer, &guard, items, count) : DB_DUPLICATE;
        if (r == DB_DUPLICATE)
                r = insert(work, writer, &guard, items, count);
        db_columns_deinit(&seen);
        if (r == DB_RAISED)
                r = take(work, writer, items, count);
        if (!r)
                work->units += count;
        return r;
}

static void blame(struct work *work, void *context, size_t unit, const char *error, int64_t attempts)
{
        struct writer *writer = context;
        const struct sighting *item = &writer->events[writer->kind].list[unit];
        const char *text = arena_format(work->arena, "event_data[%zu]: %s refused by PostgreSQL: %s", item->event->index,
                item->event->type->table, error);
        note_fault(work, item->verdict, item->event->index, "database", text, attempts);
}

static void add_keys(struct work *work, const struct sighting *item)
{
        const struct event *event = item->event;
        enum event_kind kind = event->type->kind;
        if (event->block_timestamp > work->newest_block_s)
                work->newest_block_s = event->block_timestamp;
        if (kinds[kind].term < 0)
                return;
        const char *curve = kinds[kind].curve < 0 ? NULL : event->values[kinds[kind].curve].data;
        work_add_key(work, event->values[kinds[kind].term].data, curve, kinds[kind].reason, event->block_number);
        if (kinds[kind].counter >= 0)
                work_add_key(work, event->values[kinds[kind].counter].data, NULL, kinds[kind].reason, event->block_number);
}

/* ---- a batch ---- */

/*
 * Without NETWORK the first event that can be stored pins its network in the database, for all replicas and for good: the batch's
 * events are tried one by one until one is.
 */
static int learn_network(struct work *work, struct writer *writer)
{
        int r = network_read(work->db, work->deadline_ms, &writer->network);
        for (size_t i = 0; !r && !writer->network && i < work->batch->count; i++) {
                size_t size;
                struct decode_message message;
                struct stream_entry *entry = &work->batch->entries[i];
                const char *payload = entry->fields && writer_can_hold(entry) ? stream_entry_payload(entry, &size) : NULL;
                if (!payload)
                        continue;
                (void)!decode_message(payload, size, NULL, work->arena, &writer->scratch, &message);
                for (size_t e = 0; !r && !writer->network && e < message.event_count; e++) {
                        writer->kind = message.events[e].type->kind;
                        drop_items(writer);
                        add_item(writer, &message.events[e], entry, NULL);
                        writer->pin = message.events[e].network;
                        r = store(work, writer, 0, 1);
                        writer->pin = NULL;
                        r = r == DB_BAD_DATA ? 0 : r ? -1 : network_read(work->db, work->deadline_ms, &writer->network);
                }
        }
        work->units = 0; /* the batch counts them */
        return r;
}

static int take_batch(struct work *work, struct writer *writer)
{
        size_t size = (work->batch->count + 1) * sizeof(*writer->verdicts);
        writer->verdicts = arena_alloc(work->arena, size);
        memset(writer->verdicts, 0, size);
        int r = writer->network ? 0 : learn_network(work, writer);
        drop_items(writer);
        for (size_t i = 0; !r && i < work->batch->count; i++)
                if (work->batch->entries[i].fields) /* else it is lost, and the worker says so */
                        r = take_entry(work, writer, &work->batch->entries[i], &writer->verdicts[i]);
        return r;
}

static struct stream_entry *item_entry(void *context, size_t unit)
{
        struct writer *writer = context;
        return writer->events[writer->kind].list[unit].entry;
}

/* An event may have moved others of its block when it came the first time, and nobody may have heard of them. */
static int add_block_keys(struct work *work, const struct sightings *blocks)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        AUTO_COLUMNS struct db_columns columns;
        db_columns_init(&columns, "nt");
        for (size_t i = 0; i < blocks->count; i++) {
                db_array_push_number(&columns.arrays[0], blocks->list[i].event->block_number);
                db_array_push_text(&columns.arrays[1], blocks->list[i].event->block_hash);
        }
        int r = db_query(work->db, &sql_10_event_keys, db_columns_params(&columns), columns.count, &rows, work->deadline_ms);
        if (!r)
                add_touched(work, rows);
        return r < 0 ? r : 0; /* where it takes too long the backfill finds them */
}

static int store_kind(struct work *work, void *context, size_t kind)
{
        struct writer *writer = context;
        const struct work_bisect bisect = {.run = store, .blame = blame, .entry = item_entry, .context = writer};
        struct sightings *events = &writer->events[kind];
        writer->kind = (enum event_kind)kind;
        int r = work_run(work, &bisect, 0, events->count);
        for (size_t i = 0; !r && i < events->count; i++)
                add_keys(work, &events->list[i]);
        if (!r && work->batch->redelivered)
                r = add_block_keys(work, &writer->blocks[kind]);
        return r;
}

int writer_process(struct work *work)
{
        struct writer *writer = work->state;
        bool done[EVENT_KINDS];
        int r = take_batch(work, writer);
        for (enum event_kind kind = 0; !r && kind < EVENT_KINDS; kind++) {
                done[kind] = !writer->events[kind].count;
                sightings_sort(&writer->events[kind]);
        }
        if (!r)
                r = work_run_each(work, done, EVENT_KINDS, store_kind, writer);
        if (!r)
                add_dead_letters(work, writer);
        return r;
}
