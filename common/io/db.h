/*
 * PostgreSQL through libpq: one connection, statements with bound parameters, transactions in one round trip.
 * The only user of libpq; no SQL of the project's is written here, statements come embedded from .sql files.
 *
 * Every call has a deadline; past it the statement is cancelled (and the connection dropped if even that hangs). While it waits,
 * the tick function is called a few times a second, so that a worker can keep its pending entries fresh.
 *
 * Results: 0; DB_RAISED where a statement of ours raised SQLSTATE RO001; DB_BAD_DATA where the data is at fault (SQLSTATE classes
 * 21, 22 and 23); DB_DEADLINE where time ran out; negative for everything else: connection, locks, missing tables, resources
 * (spec section 5). After anything but 0 the transaction is rolled back. db_error says what happened. Sources: PostgreSQL 15
 * documentation, "Asynchronous Command Processing", "Pipeline Mode", Appendix A "Error Codes".
 */
#pragma once

#include <stdbool.h>
#include "common/base/base.h"
#include "common/io/db_connect.h"

struct db;
struct db_rows;

enum { DB_BAD_DATA = 1, DB_DEADLINE = 2, DB_RAISED = 3, DB_DUPLICATE = 4 };

/* A statement, embedded from a .sql file: name is the file's stem. */
struct sql {
        const char *name, *text;
};

/* A parameter: text (type 0, the server infers) or a binary array. data NULL: SQL NULL. Borrowed until the call is over. */
struct db_param {
        unsigned type;
        const char *data;
        int size;
        bool binary, is_number;
        int64_t number; /* where is_number */
};

/* An array parameter in binary form, grown by db_array_push*. Elements of one type. */
enum db_element { DB_TEXT = 25, DB_BYTES = 17, DB_BIGINT = 20, DB_TIME = 1184 };
struct db_array {
        enum db_element element;
        char *data;
        size_t size, capacity;
        int count;
};

void db_array_init(struct db_array *array, enum db_element element);
void db_array_deinit(struct db_array *array);
void db_array_push(struct db_array *array, const char *data, size_t size); /* data NULL: SQL NULL */
void db_array_push_text(struct db_array *array, const char *text);         /* NULL: SQL NULL */
void db_array_push_number(struct db_array *array, int64_t number);
void db_array_push_small(struct db_array *array, int16_t number);
void db_array_push_time(struct db_array *array, int64_t unix_seconds);
struct db_param db_array_param(struct db_array *array);
struct db_param db_text(const char *text);
struct db_param db_number(int64_t number);

/* Arrays, one a column, that are a statement's parameters side by side. */
#define DB_COLUMNS_MAX 24
struct db_columns {
        struct db_array arrays[DB_COLUMNS_MAX];
        struct db_param params[DB_COLUMNS_MAX]; /* by db_columns_params */
        size_t count;
};

void db_columns_init(
        struct db_columns *columns, const char *elements); /* a letter a column: t text, b bytes, n bigint, z timestamptz */
void db_columns_deinit(struct db_columns *columns);
const struct db_param *db_columns_params(struct db_columns *columns);
#define AUTO_COLUMNS __attribute__((cleanup(db_columns_deinit)))

struct db_call {
        const struct sql *sql;
        const struct db_param *params;
        int param_count;
        struct db_rows **rows; /* where to hand the result; NULL where it is not wanted */
        int64_t *affected;     /* where to say how many rows it wrote; may be NULL */
};

enum db_mode {
        DB_AUTOCOMMIT = 0, /* in the transaction that is open, or in one of its own */
        DB_BEGIN = 1,      /* starts a READ COMMITTED transaction before the first call */
        DB_COMMIT = 2,     /* ends it after the last */
        DB_SNAPSHOT = 4,   /* starts a REPEATABLE READ, read-only one */
        DB_ROLLBACK = 8,   /* ends it without effect */
        DB_BY_KEY = 16,    /* with DB_BEGIN: a few keys of large tables are looked up; the planner, who guesses arrays to be short
                            * and knows nothing of tables that were empty a minute ago, keeps to indexes */
};

/* NULL: fine, else what is wrong with a connection string (static text, without its secrets). */
const char *db_url_check(const char *url);

MUST_CHECK int db_open(
        struct db **out, const struct db_options *options, char **problem); /* *problem: malloc'd text on failure */
struct db *db_close(struct db *db);
AUTO_DEFINE(struct db *, db, db_close)

/* One statement in a transaction of its own. params and rows may be NULL. */
MUST_CHECK int db_query(struct db *db, const struct sql *sql, const struct db_param *params, size_t count, struct db_rows **rows,
        int64_t deadline_ms);
/* Runs the calls in order as one pipeline: one round trip, mode as a set of db_mode bits. */
MUST_CHECK int db_run(struct db *db, const struct db_call *calls, size_t count, unsigned mode, int64_t deadline_ms);
/*
 * Rows for COPY … FROM STDIN (FORMAT binary), in an array's buffer: each begins with db_copy_row, then come its values, pushed as
 * to an array (PostgreSQL documentation, COPY, "Binary Format"). They are one transaction with the calls that come before;
 * locks that the rows take are held no longer than the server needs to commit. DB_DUPLICATE: a row was there before.
 */
void db_copy_init(struct db_array *rows);
void db_copy_row(struct db_array *rows, int columns);
void db_copy_end(struct db_array *rows); /* by db_copy */
MUST_CHECK int db_copy(struct db *db, const struct db_call *calls, size_t count, const struct sql *copy, struct db_array *rows,
        int64_t deadline_ms);

/* Several statements as one text without parameters (a migration), in whatever transaction is open. */
MUST_CHECK int db_script(struct db *db, const char *text, int64_t deadline_ms);

const char *db_error(const struct db *db); /* one line: message and SQLSTATE of the last failure */
bool db_lock_failed(const struct db *db);  /* that failure: a lock not to be had in time, a deadlock */
/* False: close it and open anew. A connection that the server has closed while nothing was asked (idle_session_timeout, a pooler,
 * a restart) is found without a round trip. */
bool db_alive(struct db *db);
const char *db_parameter(const struct db *db, const char *name); /* a ParameterStatus value; NULL if unknown */

size_t db_rows_count(const struct db_rows *rows);                             /* NULL: 0, of a call that failed */
const char *db_rows_text(const struct db_rows *rows, size_t row, int column); /* NULL: SQL NULL; borrowed from rows */
int64_t db_rows_number(const struct db_rows *rows, size_t row, int column);   /* 0 for NULL */
struct db_rows *db_rows_free(struct db_rows *rows);
AUTO_DEFINE(struct db_rows *, db_rows, db_rows_free)

#define AUTO_ARRAY __attribute__((cleanup(db_array_deinit)))
