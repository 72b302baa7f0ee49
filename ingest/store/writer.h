/*
 * The event tables: takes a batch of stream entries, decodes them, stores their events — one transaction a table, whose triggers
 * bring the base tables along — and names the keys that cascade has to look at.
 *
 * Keys of all events are published, also of those that were stored before: a redelivered entry may be one whose keys never went
 * out.
 */
#pragma once

#include "common/stage/work.h"
#include "ingest/decode/event.h"

void *writer_new(const void *config); /* state of one worker */
void writer_free(void *writer);
MUST_CHECK int writer_process(struct work *work);
/* Whether its id fits PostgreSQL's numbers. */
bool writer_can_hold(const struct stream_entry *entry);
/* An event as a row for COPY, in the order of the event table's columns without created_at; `more` columns follow, by the caller.
 */
void writer_push_row(struct db_array *rows, const struct event *event, const struct stream_entry *entry, int more);
/* About how many events an entry holds, by its size. */
size_t writer_estimate_units(const struct stream_entry *entry);
