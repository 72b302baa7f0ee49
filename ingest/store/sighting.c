#include "ingest/store/sighting.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "ingest/decode/number.h"

_Static_assert(sizeof(SIGHTING_ELEMENTS) == SIGHTING_PLACED + 1, "one a column");

void sightings_push(struct sightings *sightings, struct sighting sighting)
{
        sightings->list = memory_grow(sightings->list, &sightings->capacity, sightings->count + 1, sizeof(sighting));
        sightings->list[sightings->count++] = sighting;
}

/* By event and entry. */
static int compare_events(const struct sighting *a, const struct sighting *b)
{
        int order = strcmp(a->event->transaction_hash, b->event->transaction_hash);
        if (!order)
                order = (a->event->log_index > b->event->log_index) - (a->event->log_index < b->event->log_index);
        return order ? order : (a->entry > b->entry) - (a->entry < b->entry);
}

/* By event, entry and block. 0: the same, twice in one entry. */
static int compare_versions(const struct sighting *a, const struct sighting *b)
{
        int order = compare_events(a, b);
        return order ? order : strcmp(a->event->block_hash, b->event->block_hash);
}

static int compare_sightings(const void *left, const void *right)
{
        const struct sighting *a = left, *b = right;
        int order = compare_versions(a, b);
        return order ? order : (a->event->index > b->event->index) - (a->event->index < b->event->index);
}

void sightings_sort(struct sightings *sightings)
{
        struct sighting *next, *end;
        if (!sightings->count)
                return;
        end = sightings->list + sightings->count;
        qsort(sightings->list, sightings->count, sizeof(*sightings->list), compare_sightings);
        for (struct sighting *first = sightings->list; first < end; first = next) {
                for (next = first + 1; next < end && !compare_events(first, next);)
                        next++;
                if (!compare_versions(first, next - 1))
                        continue;
                for (struct sighting *at = first; at < next; at++)
                        at->place = at > first && !compare_versions(at - 1, at) ? at[-1].place : (int64_t)at->event->index;
        }
}

static char *own_columns(const struct event *event, struct arena *arena)
{
        cJSON *object = cJSON_CreateObject();
        for (size_t i = 0; i < event->value_count; i++) {
                const char *column = event->type->columns[i];
                const struct event_value *value = &event->values[i];
                if (!value->data) {
                        cJSON_AddNullToObject(object, column);
                } else if (!strcmp(column, "raw_data")) {
                        char *hex = arena_alloc(arena, 2 * value->size + 3);
                        number_write_hex((const unsigned char *)value->data, value->size, hex);
                        hex[0] = '\\'; /* \x…, as PostgreSQL writes bytes */
                        cJSON_AddStringToObject(object, column, hex);
                } else if (!strcmp(column, "event_data") || !strcmp(column, "vault_type")) {
                        cJSON_AddRawToObject(object, column, value->data);
                } else {
                        cJSON_AddStringToObject(object, column, value->data);
                }
        }
        char *printed = cJSON_PrintUnformatted(object), *text = arena_copy(arena, printed, strlen(printed));
        free(printed);
        cJSON_Delete(object);
        return text;
}

void sighting_push_event(struct db_array *to, size_t step, const struct event *event, const struct stream_entry *entry)
{
        db_array_push_text(&to[0], event->transaction_hash);
        db_array_push_number(&to[step], event->log_index);
        db_array_push_text(&to[2 * step], event->address);
        db_array_push_text(&to[3 * step], event->block_hash);
        db_array_push_number(&to[4 * step], event->block_number);
        db_array_push_text(&to[5 * step], event->network);
        db_array_push_number(&to[6 * step], event->transaction_index);
        if (event->block_timestamp < 0)
                db_array_push(&to[7 * step], NULL, 0);
        else
                db_array_push_time(&to[7 * step], event->block_timestamp);
        db_array_push_text(&to[EVENT_COLUMN_STREAM * step], entry->stream);
        db_array_push_number(&to[EVENT_COLUMN_MS * step], (int64_t)entry->ms);
        db_array_push_number(&to[EVENT_COLUMN_SEQ * step], (int64_t)entry->seq);
}

void sighting_push(struct db_columns *columns, const struct event *event, const struct stream_entry *entry, int64_t place,
        struct arena *arena)
{
        struct db_array *to = columns->arrays;
        db_array_push_text(&to[0], event->type->table);
        sighting_push_event(&to[1], 1, event, entry);
        db_array_push_text(&to[1 + EVENT_COLUMNS], own_columns(event, arena));
        if (place < 0)
                db_array_push(&to[2 + EVENT_COLUMNS], NULL, 0);
        else
                db_array_push_number(&to[2 + EVENT_COLUMNS], place);
}

void sighting_notice(
        struct db_param params[SIGHTING_NOTICE], const struct stream_entry *entry, const struct decode_notice *notice)
{
        const struct db_param given[SIGHTING_NOTICE] = {
                db_text(entry->stream),
                db_number((int64_t)entry->ms),
                db_number((int64_t)entry->seq),
                db_text(notice->network),
                db_number(notice->fork_block),
                db_number(notice->depth),
                db_text(notice->json),
        };
        memcpy(params, given, sizeof(given));
}
