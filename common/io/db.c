#include "common/io/db.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clean.h"
#include "common/base/clock.h"
#include "common/io/db_connect.h"

#define PREPARED_MAX    64
#define CANCEL_GRACE_MS 500
#define CANCEL_LAST_MS  5000 /* that a cancel may take to be delivered */
#define TICK_MS         250
#define IDLE_MS         10000 /* no less, between the statements of a transaction */
#define COPY_PART       65536 /* bytes a message */

struct db {
        PGconn *conn;
        struct db_options options;
        const struct sql *prepared[PREPARED_MAX];
        size_t prepared_count;
        bool broken, cancelling;
        pthread_t canceller;        /* where cancelling */
        char error[1024], state[6]; /* state: SQLSTATE of the last failure, "" where there is none */
};

/* ---- rows ---- */

static const PGresult *raw(const struct db_rows *rows)
{
        return (const void *)rows;
}

size_t db_rows_count(const struct db_rows *rows)
{
        return rows ? (size_t)PQntuples(raw(rows)) : 0;
}

const char *db_rows_text(const struct db_rows *rows, size_t row, int column)
{
        return PQgetisnull(raw(rows), (int)row, column) ? NULL : PQgetvalue(raw(rows), (int)row, column);
}

int64_t db_rows_number(const struct db_rows *rows, size_t row, int column)
{
        const char *text = db_rows_text(rows, row, column);
        return text ? strtoll(text, NULL, 10) : 0;
}

struct db_rows *db_rows_free(struct db_rows *rows)
{
        PQclear((void *)rows);
        return NULL;
}

/* ---- errors ---- */

static void error_keep_connection(struct db *db)
{
        const char *text = PQerrorMessage(db->conn);
        size_t length = strlen(text);
        while (length && strchr(" \n", text[length - 1]))
                length--;
        snprintf(db->error, sizeof(db->error), "%.*s", (int)length, text);
        if (!length)
                snprintf(db->error, sizeof(db->error), "libpq gives no reason: memory is short, or the connection is gone");
        clean_reason(db->error);
}

static int error_keep_result(struct db *db, const PGresult *result)
{
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
        const bool other_server =
                state && (!strcmp(state, "42P05") || !strcmp(state, "26000")); /* a statement's name is there, or not */
        snprintf(db->error, sizeof(db->error), "%s%s%s (SQLSTATE %s)%s", text ? text : PQresultErrorMessage(result),
                detail ? ": " : "", detail ? detail : "", state ? state : "none",
                other_server ? "; behind PgBouncer before 1.21 set DATABASE_PREPARED_STATEMENTS=false" : "");
        clean_reason(db->error);
        snprintf(db->state, sizeof(db->state), "%s", state ? state : "");
        if (!state)
                return -1;
        if (!strcmp(state, "RO001"))
                return DB_RAISED;
        if (!strcmp(state, "23505") || !strcmp(state, "22P04"))
                return -1; /* a key of our own: events that are there already are no error to any statement but COPY; a table that
                              the rows of a COPY do not fit */
        if (!strncmp(state, "21", 2) || !strncmp(state, "22", 2) || !strncmp(state, "23", 2))
                return DB_BAD_DATA; /* 21, more rows than fit one, comes of the data, too */
        return -1;                  /* 57014 as well, somebody's cancel or our deadline: db_run knows which */
}

/* ---- waiting ---- */

static int broken(struct db *db, const char *why)
{
        *db->state = '\0';
        if (why)
                snprintf(db->error, sizeof(db->error), "%s", why);
        else
                error_keep_connection(db);
        db->broken = true;
        return -1;
}

static void *cancel_run(void *handle)
{
        char problem[256];
        (void)PQcancel(handle, problem, sizeof(problem));
        PQfreeCancel(handle);
        return NULL;
}

/* Asks the server to stop, once; the statement then ends with 57014. In a thread of its own: PQcancel waits for a server that
 * hangs. */
static void cancel(struct db *db)
{
        PGcancel *handle = PQgetCancel(db->conn);
        if (handle && pthread_create(&db->canceller, NULL, cancel_run, handle))
                PQfreeCancel(handle);
        else if (handle)
                db->cancelling = true;
}

/*
 * The statement has ended, by our cancel or by itself: a cancel that is still on its way must not hit the next one. It may be on
 * its way for minutes, where the network drops new connections: then this connection is given up, for it is a session's number
 * that the cancel names.
 */
static void cancel_end(struct db *db)
{
        const int64_t until = clock_ms() + CANCEL_LAST_MS;
        while (db->cancelling && !db->broken) {
                const int64_t slice = clock_ms() + TICK_MS;
                const struct timespec end = {.tv_sec = slice / 1000, .tv_nsec = slice % 1000 * 1000000};
                db->cancelling = pthread_clockjoin_np(db->canceller, NULL, CLOCK_MONOTONIC, &end) != 0;
                if (db->cancelling && db->options.tick)
                        db->options.tick(db->options.tick_context);
                if (db->cancelling && clock_ms() >= until)
                        (void)broken(db, "a cancel could not be delivered to PostgreSQL");
        }
        if (db->cancelling)
                pthread_detach(db->canceller);
        db->cancelling = false;
}

struct wait {
        int64_t deadline;
        bool cancelled;
};

static int wait_once(struct db *db, struct wait *wait, short events)
{
        int64_t now = clock_ms();
        if (now >= wait->deadline) {
                if (wait->cancelled)
                        return broken(db, "no answer from PostgreSQL before the deadline, not even to a cancel");
                cancel(db);
                wait->cancelled = true;
                wait->deadline = now + CANCEL_GRACE_MS;
        }
        int64_t slice = wait->deadline - now;
        struct pollfd fd = {.fd = PQsocket(db->conn), .events = events};
        int ready = poll(&fd, 1, slice > TICK_MS ? TICK_MS : slice < 0 ? 0 : (int)slice);
        if (ready < 0 && errno != EINTR)
                return broken(db, strerror(errno));
        if (ready <= 0 && db->options.tick)
                db->options.tick(db->options.tick_context);
        return 0;
}

static int flush(struct db *db, struct wait *wait)
{
        int left;
        while ((left = PQflush(db->conn)) == 1) {
                int r = wait_once(db, wait, POLLIN | POLLOUT);
                if (r)
                        return r;
                if (!PQconsumeInput(db->conn))
                        return broken(db, NULL);
        }
        return left < 0 ? broken(db, NULL) : 0;
}

/* *out: the next result, NULL at the end of a statement's results; the caller clears it */
static int next_result(struct db *db, struct wait *wait, PGresult **out)
{
        while (PQisBusy(db->conn)) {
                int r = wait_once(db, wait, POLLIN);
                if (r)
                        return r;
                if (!PQconsumeInput(db->conn))
                        return broken(db, NULL);
        }
        *out = PQgetResult(db->conn);
        return 0;
}

/* Reads all results up to the pipeline's sync point. The first failure is what is reported. calls[i]: what statement i is, NULL
 * where nobody waits for its result. libpq may leave a result out where memory is short: then nothing is known of any. */
static int drain(struct db *db, struct wait *wait, const struct db_call *const *calls, size_t statement_count)
{
        int verdict = 0;
        size_t statement = 0;
        for (;;) {
                PGresult *result = NULL;
                int r = next_result(db, wait, &result);
                if (r)
                        return r;
                if (!result) {
                        if (PQstatus(db->conn) == CONNECTION_BAD)
                                return broken(db, NULL);
                        statement++;
                        continue;
                }
                ExecStatusType status = PQresultStatus(result);
                bool sync = status == PGRES_PIPELINE_SYNC;
                if (status == PGRES_FATAL_ERROR && !verdict)
                        verdict = error_keep_result(db, result);
                const struct db_call *call = calls && statement < statement_count ? calls[statement] : NULL;
                if (status == PGRES_COMMAND_OK && call && call->affected)
                        *call->affected = strtoll(PQcmdTuples(result), NULL, 10);
                if (status == PGRES_TUPLES_OK && call && call->rows) {
                        db_rows_free(*call->rows);
                        *call->rows = (void *)result;
                        result = NULL;
                }
                PQclear(result);
                if (PQstatus(db->conn) == CONNECTION_BAD) {
                        db->broken = true;
                        return -1;
                }
                if (sync)
                        return verdict || statement == statement_count ? verdict : broken(db, "libpq left out a result");
        }
}

/* ---- statements ---- */

static bool is_prepared(const struct db *db, const struct sql *sql)
{
        for (size_t i = 0; i < db->prepared_count; i++)
                if (db->prepared[i] == sql)
                        return true;
        return false;
}

static int prepare_missing(struct db *db, const struct db_call *calls, size_t count, struct wait *wait)
{
        for (size_t i = 0; i < count; i++) {
                if (is_prepared(db, calls[i].sql) || db->prepared_count == PREPARED_MAX)
                        continue;
                Oid types[64] = {0};
                for (int p = 0; p < calls[i].param_count && p < 64; p++)
                        types[p] = calls[i].params[p].type;
                if (!PQsendPrepare(db->conn, calls[i].sql->name, calls[i].sql->text, calls[i].param_count, types) ||
                        !PQpipelineSync(db->conn))
                        return broken(db, NULL);
                int r = flush(db, wait);
                if (!r)
                        r = drain(db, wait, NULL, 1);
                if (r)
                        return r;
                db->prepared[db->prepared_count++] = calls[i].sql;
        }
        return 0;
}

static int send_call(struct db *db, const struct db_call *call)
{
        const char *values[64];
        int sizes[64], formats[64];
        Oid types[64];
        char numbers[64][24];
        if (call->param_count > 64)
                abort();
        for (int i = 0; i < call->param_count; i++) {
                values[i] = call->params[i].data;
                sizes[i] = call->params[i].size;
                formats[i] = call->params[i].binary;
                if (call->params[i].is_number) {
                        sizes[i] = snprintf(numbers[i], sizeof(numbers[i]), "%lld", (long long)call->params[i].number);
                        values[i] = numbers[i];
                }
                types[i] = call->params[i].type;
        }
        int sent = is_prepared(db, call->sql)
                           ? PQsendQueryPrepared(db->conn, call->sql->name, call->param_count, values, sizes, formats, 0)
                           : PQsendQueryParams(db->conn, call->sql->text, call->param_count, types, values, sizes, formats, 0);
        return sent ? 0 : broken(db, NULL);
}

static int send_plain(struct db *db, const char *command)
{
        return PQsendQueryParams(db->conn, command, 0, NULL, NULL, NULL, NULL, 0) ? 0 : broken(db, NULL);
}

/* The transaction's settings are its own (SET LOCAL): a pooler may give the next one another server. */
static int send_begin(struct db *db, unsigned mode, int64_t deadline_ms, size_t *sent)
{
        char timeout[64], idle[96];
        const long long idle_ms = deadline_ms > IDLE_MS ? deadline_ms : IDLE_MS;
        snprintf(timeout, sizeof(timeout), "SET LOCAL statement_timeout = %lld", (long long)deadline_ms);
        snprintf(idle, sizeof(idle), "SET LOCAL idle_in_transaction_session_timeout = %lld", idle_ms);
        const char *const commands[] = {
                mode & DB_SNAPSHOT ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" : "BEGIN ISOLATION LEVEL READ COMMITTED",
                timeout, "SET LOCAL jit = off",
                idle,                         /* who is stopped between two statements must not keep all others from its keys */
                "SET LOCAL lock_timeout = 0", /* a role's own would fail what only has to wait */
                PQserverVersion(db->conn) >= 170000 ? "SET LOCAL transaction_timeout = 0" : "SET LOCAL jit = off",
                "SET LOCAL enable_seqscan = off", "SET LOCAL enable_bitmapscan = off", "SET LOCAL enable_mergejoin = off",
                "SET LOCAL enable_hashjoin = off",
                "SET LOCAL plan_cache_mode = force_generic_plan", /* by key whatever the keys: planned once */
        };
        for (size_t i = 0; i < (mode & DB_BY_KEY ? ARRAY_LENGTH(commands) : 6); i++) {
                int r = send_plain(db, commands[i]);
                if (r)
                        return r;
                (*sent)++;
        }
        return 0;
}

static void roll_back(struct db *db)
{
        if (db->broken || PQtransactionStatus(db->conn) == PQTRANS_IDLE)
                return;
        struct wait wait = {.deadline = clock_ms() + CANCEL_GRACE_MS};
        char kept[sizeof(db->error)];
        memcpy(kept, db->error, sizeof(kept));
        if (!send_plain(db, "ROLLBACK") && PQpipelineSync(db->conn) && !flush(db, &wait))
                (void)!drain(db, &wait, NULL, 1);
        cancel_end(db);
        if (PQtransactionStatus(db->conn) != PQTRANS_IDLE)
                db->broken = true;
        memcpy(db->error, kept, sizeof(kept));
}

static int run(struct db *db, const struct db_call *calls, size_t count, unsigned mode, int64_t deadline_ms, struct wait *wait)
{
        const struct db_call *statements[33] = {0}; /* the last place is COMMIT's */
        size_t sent = 0;
        int r = db->options.prepared ? prepare_missing(db, calls, count, wait) : 0;
        if (!r && mode & (DB_BEGIN | DB_SNAPSHOT))
                r = send_begin(db, mode, deadline_ms, &sent);
        for (size_t i = 0; i < count && !r; i++) {
                if (sent + 1 >= ARRAY_LENGTH(statements))
                        abort();
                statements[sent++] = &calls[i];
                r = send_call(db, &calls[i]);
        }
        if (!r && mode & (DB_COMMIT | DB_ROLLBACK)) {
                r = send_plain(db, mode & DB_COMMIT ? "COMMIT" : "ROLLBACK");
                sent++;
        }
        if (r)
                return r;
        if (!PQpipelineSync(db->conn))
                return broken(db, NULL);
        r = flush(db, wait);
        return r ? r : drain(db, wait, statements, sent);
}

static int settle(struct db *db, int r, const struct sql *last, int64_t started, int64_t deadline_ms)
{
        cancel_end(db);
        if (r)
                roll_back(db);
        if (r < 0 && !db->broken && clock_ms() - started >= deadline_ms)
                r = DB_DEADLINE;
        if (db->options.observe && last)
                db->options.observe(db->options.observe_context, last->name, (double)(clock_ms() - started) / 1000.0);
        return r;
}

int db_run(struct db *db, const struct db_call *calls, size_t count, unsigned mode, int64_t deadline_ms)
{
        if (db->broken)
                return -1;
        if (mode == DB_AUTOCOMMIT &&
                PQtransactionStatus(db->conn) == PQTRANS_IDLE) /* with the settings of a transaction, not a role's */
                mode = DB_BEGIN | DB_COMMIT;
        int64_t started = clock_ms();
        struct wait wait = {.deadline = started + deadline_ms};
        int r = run(db, calls, count, mode, deadline_ms, &wait);
        return settle(db, r, count ? calls[count - 1].sql : NULL, started, deadline_ms);
}

int db_query(struct db *db, const struct sql *sql, const struct db_param *params, size_t count, struct db_rows **rows,
        int64_t deadline_ms)
{
        const struct db_call call = {.sql = sql, .params = params, .param_count = (int)count, .rows = rows};
        return db_run(db, &call, 1, DB_AUTOCOMMIT, deadline_ms);
}

/* Hands over the rows once the server asks for them; with little room in the socket it takes what it can, and again. */
static int send_rows(struct db *db, struct wait *wait, const struct db_array *rows)
{
        size_t sent = 0;
        while (sent < rows->size) {
                size_t part = rows->size - sent > COPY_PART ? COPY_PART : rows->size - sent;
                if (PQputCopyData(db->conn, rows->data + sent, (int)part) != 1)
                        return broken(db, NULL);
                sent += part;
                int r = flush(db, wait);
                if (r)
                        return r;
        }
        return PQputCopyEnd(db->conn, NULL) == 1 ? flush(db, wait) : broken(db, NULL);
}

/* Statements in the simple protocol, outside of the pipeline; rows, where one of them is a COPY FROM STDIN. */
static int script(struct db *db, const char *text, const struct db_array *rows, struct wait *wait)
{
        if (!PQexitPipelineMode(db->conn) || !PQsendQuery(db->conn, text))
                return broken(db, NULL);
        int verdict = 0, r = flush(db, wait);
        while (!r) {
                PGresult *result = NULL;
                r = next_result(db, wait, &result);
                if (r || !result)
                        break;
                ExecStatusType status = PQresultStatus(result);
                if (status == PGRES_FATAL_ERROR && !verdict) {
                        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
                        verdict = error_keep_result(db, result);
                        if (rows && state && !strcmp(state, "23505"))
                                verdict = DB_DUPLICATE;
                }
                PQclear(result);
                if (status == PGRES_COPY_IN)
                        r = send_rows(db, wait, rows);
        }
        if (!r && PQstatus(db->conn) == CONNECTION_BAD)
                r = broken(db, NULL);
        if (!r && !PQenterPipelineMode(db->conn))
                r = broken(db, NULL);
        return r ? r : verdict;
}

int db_copy(struct db *db, const struct db_call *calls, size_t count, const struct sql *copy, struct db_array *rows,
        int64_t deadline_ms)
{
        char text[2048];
        if (db->broken)
                return -1;
        if (snprintf(text, sizeof(text), "%s; COMMIT", copy->text) >= (int)sizeof(text))
                abort();
        db_copy_end(rows);
        int64_t started = clock_ms();
        struct wait wait = {.deadline = started + deadline_ms};
        int r = run(db, calls, count, DB_BEGIN, deadline_ms, &wait);
        if (!r)
                r = script(db, text, rows, &wait);
        return settle(db, r, copy, started, deadline_ms);
}

int db_script(struct db *db, const char *text, int64_t deadline_ms)
{
        if (db->broken)
                return -1;
        struct wait wait = {.deadline = clock_ms() + deadline_ms};
        int r = script(db, text, NULL, &wait);
        cancel_end(db);
        if (r)
                roll_back(db);
        return r;
}

/* ---- connection ---- */

static bool are_ports(const char *text)
{
        while (*text) {
                size_t digits = strspn(text, "0123456789");
                long port = strtol(text, NULL, 10);
                if (digits && (digits > 5 || port < 1 || port > 65535))
                        return false;
                text += digits;
                if (*text && *text++ != ',')
                        return false;
        }
        return true;
}

/* A host may begin with an @ (an abstract socket). Behind another character it is the rest of a password. */
static bool has_inner_at(const char *hosts)
{
        for (const char *at = hosts; (at = strchr(at, '@')); at++)
                if (at > hosts && at[-1] != ',')
                        return true;
        return false;
}

const char *db_url_check(const char *url)
{
        static const char *const sslmodes[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};
        const char *problem = NULL;
        char *error = NULL; /* not shown: it may quote the password */
        PQconninfoOption *options = PQconninfoParse(url, &error);
        if (!options)
                problem = "is not a connection string that libpq can read: "
                          "postgresql://user:password@host:port/database?parameter=value";
        for (PQconninfoOption *o = options; o && o->keyword && !problem; o++) {
                size_t known = 0;
                if (!o->val)
                        continue;
                while (known < ARRAY_LENGTH(sslmodes) && strcmp(o->val, sslmodes[known]))
                        known++;
                if (!strcmp(o->keyword, "host") && has_inner_at(o->val))
                        problem = "has an @ in its host: in a user or password write it %40, and / : ? # likewise";
                else if (!strcmp(o->keyword, "port") && !are_ports(o->val))
                        problem = "has a port that is not from 1 to 65535";
                else if (!strcmp(o->keyword, "sslmode") && known == ARRAY_LENGTH(sslmodes))
                        problem = "has an sslmode other than disable, allow, prefer, require, verify-ca, verify-full";
        }
        PQconninfoFree(options);
        PQfreemem(error);
        return problem;
}

static int connect_start(struct db *db)
{
        if (db_connect(&db->options, &db->conn, db->error, sizeof(db->error)))
                return -1;
        if (PQsetnonblocking(db->conn, 1) || !PQenterPipelineMode(db->conn))
                return broken(db, NULL);
        return 0;
}

int db_open(struct db **out, const struct db_options *options, char **problem)
{
        struct db *db = memory_new(1, sizeof(*db));
        db->options = *options;
        int r = connect_start(db);
        if (r) {
                *problem = memory_copy(db->error);
                db_close(db);
                return r;
        }
        *out = db;
        return 0;
}

struct db *db_close(struct db *db)
{
        if (db && db->cancelling)
                pthread_detach(db->canceller);
        if (db)
                PQfinish(db->conn);
        free(db);
        return NULL;
}

const char *db_error(const struct db *db)
{
        return db->error;
}

bool db_lock_failed(const struct db *db)
{
        return !strcmp(db->state, "55P03") || !strcmp(db->state, "40P01");
}

/* Between statements a server says nothing, but for why it closes the connection. */
static void look_for_end(struct db *db)
{
        struct pollfd fd = {.fd = PQsocket(db->conn), .events = POLLIN};
        while (!db->broken && poll(&fd, 1, 0) > 0)
                if (!PQconsumeInput(db->conn))
                        (void)broken(db, NULL);
}

bool db_alive(struct db *db)
{
        if (PQtransactionStatus(db->conn) == PQTRANS_IDLE)
                look_for_end(db);
        return !db->broken;
}

const char *db_parameter(const struct db *db, const char *name)
{
        return PQparameterStatus(db->conn, name);
}
