#include "writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../common/log.h"
#include "decode.h"
#include "ingest.h"
#include "ingest_sql.h"

#define INDEXES_SHOWN 100 /* of a message's bad events in its dead letter */
#define COLUMNS_MAX   (11 + EVENT_VALUES_MAX)

/* An event and the entry it came in. */
struct item {
        const struct event *event;
        const struct stream_entry *entry;
        struct verdict *verdict;
};

/* What is wrong with an entry: the first fault, and the places of all. */
struct verdict {
        const char *error_class, *error;
        char *indexes;
        size_t faults;
        int64_t attempts;
};

struct writer {
        char *network; /* NETWORK, or the pinned one; NULL until known */
        struct item *items[EVENT_KINDS];
        size_t count[EVENT_KINDS], capacity[EVENT_KINDS];
        struct verdict *verdicts; /* one an entry of the batch */
        enum event_kind kind;     /* of the items that are being stored */
};

static const struct sql *const inserts[EVENT_KINDS] = {
        [EVENT_ATOM_CREATED] = &sql_10_atom_created_events_insert,
        [EVENT_TRIPLE_CREATED] = &sql_10_triple_created_events_insert,
        [EVENT_DEPOSITED] = &sql_10_deposited_events_insert,
        [EVENT_REDEEMED] = &sql_10_redeemed_events_insert,
        [EVENT_SHARE_PRICE_CHANGED] = &sql_10_share_price_changed_events_insert,
        [EVENT_GENERIC] = &sql_10_generic_events_insert,
};

/* Where an event's key stands among its values (-1: it has none), and what the key's entry gives as the reason. */
static const struct {
        const char *reason;
        int term, curve, counter;
} keys[EVENT_KINDS] = {
        [EVENT_ATOM_CREATED] = {"atom_created", 1, -1, -1},
        [EVENT_TRIPLE_CREATED] = {"triple_created", 1, -1, 5},
        [EVENT_DEPOSITED] = {"deposited", 2, 3, -1},
        [EVENT_REDEEMED] = {"redeemed", 2, 3, -1},
        [EVENT_SHARE_PRICE_CHANGED] = {"share_price_changed", 0, 1, -1},
        [EVENT_GENERIC] = {"generic", -1, -1, -1},
};

void *writer_new(const void *config)
{
        const struct ingest_config *ingest = config;
        struct writer *writer = calloc(1, sizeof(*writer));
        if (!writer)
                abort();
        if (ingest->network)
                writer->network = strdup(ingest->network);
        return writer;
}

void writer_free(void *state)
{
        struct writer *writer = state;
        for (int kind = 0; kind < EVENT_KINDS; kind++)
                free(writer->items[kind]);
        free(writer->network);
        free(writer);
}

const char *writer_payload(const struct stream_entry *entry, size_t *size)
{
        const char *payload = stream_entry_field(entry, "payload", size);
        if (!payload)
                payload = stream_entry_field(entry, "event_data", size);
        return payload ? payload : stream_entry_field(entry, "data", size);
}

size_t writer_weigh(const struct stream_entry *entry)
{
        size_t size = 0;
        return writer_payload(entry, &size) ? 1 + size / 700 : 1;
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
        if (index != DECODE_WHOLE_MESSAGE && verdict->faults < INDEXES_SHOWN)
                verdict->indexes = arena_format(work->arena, "%s%s%zu", verdict->indexes, verdict->faults ? "," : "", index);
        verdict->faults++;
        work->units_failed++;
}

static void add_letters(struct work *work, const struct writer *writer)
{
        for (size_t i = 0; i < work->batch->count; i++) {
                const struct verdict *verdict = &writer->verdicts[i];
                if (!verdict->faults)
                        continue;
                const char *error = verdict->error, *indexes = verdict->indexes;
                if (verdict->faults > 1)
                        error = arena_format(work->arena, "%s (and %zu more)", error, verdict->faults - 1);
                if (verdict->faults > INDEXES_SHOWN)
                        indexes = arena_format(work->arena, "%s,…", indexes);
                work_add_letter(work, &work->batch->entries[i], indexes, verdict->error_class, error, verdict->attempts);
        }
}

/* ---- the network ---- */

int writer_get_network(struct db *db, int64_t deadline_ms, char **network)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = &sql_10_network_get, .rows = &rows};
        int r = db_run(db, &call, 1, DB_AUTOCOMMIT, deadline_ms);
        if (!r && db_rows_count(rows))
                *network = strdup(db_rows_text(rows, 0, 0));
        return r > 0 ? -1 : r;
}

int writer_pin_network(struct db *db, int64_t deadline_ms, const char *network)
{
        char *pinned = NULL;
        const struct db_param param = db_text(network);
        const struct db_call pin = {.sql = &sql_10_network_pin, .params = &param, .param_count = 1};
        int r = db_run(db, &pin, 1, DB_AUTOCOMMIT, deadline_ms) ? -1 : writer_get_network(db, deadline_ms, &pinned);
        if (!r && strcmp(pinned, network))
                r = WRITER_OTHER_NETWORK;
        free(pinned);
        return r;
}

static const char *first_network(struct work *work)
{
        for (size_t i = 0; i < work->batch->count; i++) {
                size_t size;
                struct decode_message message;
                const struct stream_entry *entry = &work->batch->entries[i];
                const char *payload = entry->fields ? writer_payload(entry, &size) : NULL;
                if (!payload)
                        continue;
                (void)!decode_message(payload, size, NULL, work->arena, &message);
                if (message.event_count)
                        return message.events[0].network;
        }
        return NULL;
}

/* Without NETWORK the first event's network is pinned in the database, for all replicas and for good. */
static int learn_network(struct work *work, struct writer *writer)
{
        int r = writer_get_network(work->db, work->deadline_ms, &writer->network);
        const char *first = r || writer->network ? NULL : first_network(work);
        if (!first)
                return r;
        r = writer_pin_network(work->db, work->deadline_ms, first);
        return r < 0 ? r : writer_get_network(work->db, work->deadline_ms, &writer->network);
}

/* ---- decoding ---- */

static void add_item(struct writer *writer, const struct event *event, const struct stream_entry *entry, struct verdict *verdict)
{
        enum event_kind kind = event->type->kind;
        if (writer->count[kind] == writer->capacity[kind]) {
                writer->capacity[kind] = writer->capacity[kind] ? writer->capacity[kind] * 2 : 256;
                writer->items[kind] = realloc(writer->items[kind], writer->capacity[kind] * sizeof(struct item));
                if (!writer->items[kind])
                        abort();
        }
        writer->items[kind][writer->count[kind]++] = (struct item){.event = event, .entry = entry, .verdict = verdict};
}

static int keep_notice(struct work *work, const struct stream_entry *entry, const struct decode_notice *notice)
{
        char *ms = arena_format(work->arena, "%" PRIu64, entry->ms), *seq = arena_format(work->arena, "%" PRIu64, entry->seq);
        char *fork = arena_format(work->arena, "%" PRId64, notice->fork_block),
             *depth = arena_format(work->arena, "%" PRId64, notice->depth);
        const struct db_param params[] = {db_text(entry->stream), db_text(ms), db_text(seq), db_text(notice->network),
                db_text(fork), db_text(depth), db_text(notice->json)};
        const struct db_call call = {.sql = &sql_10_reorg_insert, .params = params, .param_count = ARRAY_LENGTH(params)};
        int r = db_run(work->db, &call, 1, DB_BEGIN | DB_COMMIT, work->deadline_ms);
        if (!r)
                log_write(LOG_WARN, "reorg notice kept in reorgs; this version does not handle it",
                        "stream=%s id=%s fork_block=%" PRId64 " depth=%" PRId64, entry->stream, entry->id, notice->fork_block,
                        notice->depth);
        return r > 0 ? -1 : r;
}

static int take_entry(struct work *work, struct writer *writer, const struct stream_entry *entry, struct verdict *verdict)
{
        size_t size;
        struct decode_message message;
        const char *payload = writer_payload(entry, &size);
        if (!payload) {
                note_fault(work, verdict, DECODE_WHOLE_MESSAGE, "missing",
                        "the entry has none of the fields payload, event_data, data", 1);
                return 0;
        }
        if (entry->ms > INT64_MAX || entry->seq > INT64_MAX) {
                note_fault(work, verdict, DECODE_WHOLE_MESSAGE, "range", "the entry's id is above 9223372036854775807", 1);
                return 0;
        }
        (void)!decode_message(payload, size, writer->network, work->arena, &message);
        for (size_t i = 0; i < message.fault_count; i++)
                note_fault(work, verdict, message.faults[i].index, message.faults[i].class, message.faults[i].text, 1);
        for (size_t i = 0; i < message.event_count; i++)
                add_item(writer, &message.events[i], entry, verdict);
        return message.notice ? keep_notice(work, entry, message.notice) : 0;
}

static int take_batch(struct work *work, struct writer *writer)
{
        size_t size = (work->batch->count + 1) * sizeof(*writer->verdicts);
        writer->verdicts = arena_alloc(work->arena, size);
        memset(writer->verdicts, 0, size);
        memset(writer->count, 0, sizeof(writer->count));
        int r = writer->network ? 0 : learn_network(work, writer);
        for (size_t i = 0; !r && i < work->batch->count; i++)
                if (work->batch->entries[i].fields) /* else it is lost, and the worker says so */
                        r = take_entry(work, writer, &work->batch->entries[i], &writer->verdicts[i]);
        return r;
}

/* ---- storing ---- */

static int compare_items(const void *left, const void *right)
{
        const struct item *a = left, *b = right;
        int order = strcmp(a->event->transaction_hash, b->event->transaction_hash);
        return order ? order : (a->event->log_index > b->event->log_index) - (a->event->log_index < b->event->log_index);
}

static void push_number(struct db_array *array, int64_t number)
{
        if (number < 0)
                db_array_push_null(array);
        else
                db_array_push_number(array, number);
}

/* In the order of the insert statements' columns. */
static void push_event(struct db_array *columns, const struct item *item)
{
        const struct event *event = item->event;
        db_array_push_text(&columns[0], event->transaction_hash);
        db_array_push_number(&columns[1], event->log_index);
        db_array_push_text(&columns[2], event->address);
        db_array_push_text(&columns[3], event->block_hash);
        db_array_push_number(&columns[4], event->block_number);
        db_array_push_text(&columns[5], event->network);
        db_array_push_number(&columns[6], event->transaction_index);
        push_number(&columns[7], event->block_timestamp);
        db_array_push_text(&columns[8], item->entry->stream);
        db_array_push_number(&columns[9], (int64_t)item->entry->ms);
        db_array_push_number(&columns[10], (int64_t)item->entry->seq);
        for (size_t i = 0; i < event->value_count; i++)
                db_array_push(&columns[11 + i], event->values[i].data, event->values[i].size);
}

static enum db_element element_of(enum event_kind kind, size_t column)
{
        static const bool numbers[11] = {[1] = true, [4] = true, [6] = true, [7] = true, [9] = true, [10] = true};
        if (column < 11)
                return numbers[column] ? DB_BIGINT : DB_TEXT;
        return kind == EVENT_ATOM_CREATED && column == 11 + 3 ? DB_BYTES : DB_TEXT; /* raw_data */
}

static int store(struct work *work, void *context, size_t from, size_t count)
{
        struct writer *writer = context;
        const struct item *items = writer->items[writer->kind] + from;
        size_t width = 11 + items[0].event->value_count;
        struct db_array columns[COLUMNS_MAX] = {0};
        struct db_param params[COLUMNS_MAX];
        for (size_t i = 0; i < width; i++)
                db_array_init(&columns[i], element_of(writer->kind, i));
        for (size_t i = 0; i < count; i++)
                push_event(columns, &items[i]);
        for (size_t i = 0; i < width; i++)
                params[i] = db_array_param(&columns[i]);
        const struct db_call call = {.sql = inserts[writer->kind], .params = params, .param_count = (int)width};
        int r = db_run(work->db, &call, 1, DB_BEGIN | DB_COMMIT, work->deadline_ms);
        for (size_t i = 0; i < width; i++)
                db_array_deinit(&columns[i]);
        if (!r)
                work->units += count;
        return r;
}

static void blame(struct work *work, void *context, size_t unit, const char *error, int64_t attempts)
{
        struct writer *writer = context;
        const struct item *item = &writer->items[writer->kind][unit];
        const char *text = arena_format(work->arena, "event_data[%zu]: %s refused by PostgreSQL: %s", item->event->index,
                item->event->type->table, error);
        note_fault(work, item->verdict, item->event->index, "database", text, attempts);
}

static void add_keys(struct work *work, const struct item *item)
{
        const struct event *event = item->event;
        enum event_kind kind = event->type->kind;
        if (event->block_timestamp > work->newest_block_s)
                work->newest_block_s = event->block_timestamp;
        if (keys[kind].term < 0)
                return;
        const char *curve = keys[kind].curve < 0 ? NULL : event->values[keys[kind].curve].data;
        work_add_key(work, event->values[keys[kind].term].data, curve, keys[kind].reason, event->block_number);
        if (keys[kind].counter >= 0)
                work_add_key(work, event->values[keys[kind].counter].data, NULL, keys[kind].reason, event->block_number);
}

int writer_process(struct work *work)
{
        struct writer *writer = work->state;
        int r = take_batch(work, writer);
        for (enum event_kind kind = 0; !r && kind < EVENT_KINDS; kind++) {
                if (!writer->count[kind])
                        continue;
                const struct work_bisect bisect = {.run = store, .blame = blame, .context = writer};
                qsort(writer->items[kind], writer->count[kind], sizeof(struct item), compare_items);
                writer->kind = kind;
                r = work_run(work, &bisect, 0, writer->count[kind]);
                for (size_t i = 0; !r && i < writer->count[kind]; i++)
                        add_keys(work, &writer->items[kind][i]);
        }
        if (!r)
                add_letters(work, writer);
        return r;
}
