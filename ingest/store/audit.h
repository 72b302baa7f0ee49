/*
 * The event tables against the streams they came from: verify and rebuild of level 0.
 *
 * Order makes it exact while the pipeline runs: first it is noted how far each stream is acked, and only then the tables are
 * looked at. What was acked before is committed and must be there; what was delivered only may be. Where entries are trimmed,
 * nothing can be said of their rows.
 */
#pragma once

#include "common/stage/service.h"
#include "common/stream/state.h"

/* Reads the streams into the connection's temporary tables, before the tables are looked at. */
MUST_CHECK int audit_begin(struct service *service, struct db *db);
/* The temporary tables alone. */
MUST_CHECK int audit_create(struct db *db, int64_t copy_window_ms);
/* Adds the entries of a batch, all of one stream, to the connection's table of entries that were read. */
MUST_CHECK int audit_note_entries(struct db *db, const struct stream_batch *batch);
MUST_CHECK int audit_verify(struct db *db, int64_t *differences, program_print *print, const void *options);
MUST_CHECK int audit_rebuild(struct service *service, struct db *db);
/*
 * Rebuilds in two steps, so that the services go on: `find` notes what differs, without a lock, and returns in how many parts;
 * `mend` takes one part a transaction, under the exclusive lock where it has to be alone. name: their first parameter, where they
 * have one.
 */
MUST_CHECK int audit_mend_parts(
        struct db *db, const char *name, const struct sql *find, const struct sql *mend, bool alone, int64_t *mended);
