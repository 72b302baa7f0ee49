/*
 * The database's schema: the migrations beside this file, embedded, and the version a database stands at.
 *
 * A migration is a file NNNN_subject.sql, applied once, in order, each in a transaction of its own, under one advisory lock: any
 * number of replicas may try. schema_migrations remembers version, name, checksum and time. A migration that landed is never
 * edited.
 */
#pragma once

#include "common/stage/program.h"

struct migration {
        int64_t version;
        const char *name, *checksum, *text;
        bool additive; /* its file begins with "-- additive:": programs that do not know it go on working */
};
extern const struct migration migrations[]; /* ends at name NULL */

enum {
        SCHEMA_FOREIGN = 10,  /* tables of our names, but no schema_migrations of ours */
        SCHEMA_OLD = 11,      /* behind what this program knows, or empty */
        SCHEMA_NEW = 12,      /* ahead of it by a migration that is not additive */
        SCHEMA_EDITED = 13,   /* a migration was applied with another text */
        SCHEMA_UNUSABLE = 14, /* no schema that this role may use */
        SCHEMA_UNSOUND = 15,  /* rows are hidden (row level security), or triggers of ours do not fire */
};

int64_t schema_known(void); /* the version this program is made for */
/* 0: it is that version, or ahead by additive migrations only. *version: where the database stands, 0: empty. */
MUST_CHECK int schema_check(struct db *db, int64_t *version);
typedef void schema_tell(const struct service *service, const struct migration *applied);
/* Applies what is missing. tell is called for each one applied, and with NULL where another program migrates or is at a table,
 * which is waited for until a stop is requested. 0, any SCHEMA_* but SCHEMA_OLD, or negative. */
MUST_CHECK int schema_migrate(const struct service *service, struct db *db, schema_tell *tell);
/* A sentence for people on what the two above returned. */
void schema_explain(struct db *db, int result, char text[PROGRAM_EXPLAIN_SIZE]);

/* What the programs hand to common. */
extern const struct program_database schema_database;
