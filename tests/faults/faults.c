/*
 * Calls that fail when a test says so. tests/meson.build links each program once more with --wrap for these functions.
 *
 * FAULTS=name:k,name:k…   the k-th call (from 1) of that function by our own code fails, in whatever thread
 * FAULTS_REPORT=path      at its end the process writes there "name count" for each function: how often it was called
 *
 * Each failure is told on stderr as "fault: name k".
 */
#include <curl/curl.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* name, what it returns, parameters, arguments, what it returns when it fails */
#define FUNCTIONS(X)                                                                                                             \
        X(malloc, void *, (size_t size), (size), (errno = ENOMEM, NULL))                                                         \
        X(calloc, void *, (size_t count, size_t size), (count, size), (errno = ENOMEM, NULL))                                    \
        X(realloc, void *, (void *old, size_t size), (old, size), (errno = ENOMEM, NULL))                                        \
        X(strdup, char *, (const char *text), (text), (errno = ENOMEM, NULL))                                                    \
        X(strndup, char *, (const char *text, size_t size), (text, size), (errno = ENOMEM, NULL))                                \
        X(open_memstream, FILE *, (char **text, size_t *size), (text, size), (errno = ENOMEM, NULL))                             \
        X(write, ssize_t, (int fd, const void *data, size_t size), (fd, data, size), (errno = EIO, -1))                          \
        X(socket, int, (int domain, int type, int protocol), (domain, type, protocol), (errno = EMFILE, -1))                     \
        X(pthread_create, int, (pthread_t * out, const pthread_attr_t *how, void *(*run)(void *), void *argument),               \
                (out, how, run, argument), EAGAIN)                                                                               \
        X(redisConnectWithTimeout, redisContext *, (const char *host, int port, const struct timeval timeout),                   \
                (host, port, timeout), NULL)                                                                                     \
        X(redisAppendCommandArgv, int, (redisContext * redis, int count, const char **texts, const size_t *sizes),               \
                (redis, count, texts, sizes), redis_broken(redis))                                                               \
        X(redisGetReply, int, (redisContext * redis, void **reply), (redis, reply), redis_broken(redis))                         \
        X(redisSetTimeout, int, (redisContext * redis, const struct timeval timeout), (redis, timeout), redis_broken(redis))     \
        X(PQconnectStartParams, PGconn *, (const char *const *keys, const char *const *values, int expand),                      \
                (keys, values, expand), NULL)                                                                                    \
        X(PQconnectPoll, PostgresPollingStatusType, (PGconn * db), (db), PGRES_POLLING_FAILED)                                   \
        X(PQsetnonblocking, int, (PGconn * db, int on), (db, on), -1)                                                            \
        X(PQenterPipelineMode, int, (PGconn * db), (db), 0)                                                                      \
        X(PQexitPipelineMode, int, (PGconn * db), (db), 0)                                                                       \
        X(PQpipelineSync, int, (PGconn * db), (db), 0)                                                                           \
        X(PQsendQuery, int, (PGconn * db, const char *sql), (db, sql), 0)                                                        \
        X(PQsendPrepare, int, (PGconn * db, const char *name, const char *sql, int count, const Oid *types),                     \
                (db, name, sql, count, types), 0)                                                                                \
        X(PQsendQueryPrepared, int,                                                                                              \
                (PGconn * db, const char *name, int count, const char *const *values, const int *sizes, const int *formats,      \
                        int format),                                                                                             \
                (db, name, count, values, sizes, formats, format), 0)                                                            \
        X(PQsendQueryParams, int,                                                                                                \
                (PGconn * db, const char *sql, int count, const Oid *types, const char *const *values, const int *sizes,         \
                        const int *formats, int format),                                                                         \
                (db, sql, count, types, values, sizes, formats, format), 0)                                                      \
        X(PQputCopyData, int, (PGconn * db, const char *data, int size), (db, data, size), -1)                                   \
        X(PQputCopyEnd, int, (PGconn * db, const char *error), (db, error), -1)                                                  \
        X(PQflush, int, (PGconn * db), (db), -1)                                                                                 \
        X(PQconsumeInput, int, (PGconn * db), (db), 0)                                                                           \
        X(PQgetResult, PGresult *, (PGconn * db), (db), NULL)                                                                    \
        X(PQgetCancel, PGcancel *, (PGconn * db), (db), NULL)                                                                    \
        X(PQconninfoParse, PQconninfoOption *, (const char *text, char **error), (text, error), NULL)                            \
        X(MHD_create_response_from_buffer, struct MHD_Response *, (size_t size, void *data, enum MHD_ResponseMemoryMode mode),   \
                (size, data, mode), NULL)                                                                                        \
        X(MHD_queue_response, enum MHD_Result, (struct MHD_Connection * to, unsigned status, struct MHD_Response *response),     \
                (to, status, response), MHD_NO)                                                                                  \
        X(curl_multi_init, CURLM *, (void), (), NULL)                                                                            \
        X(curl_easy_init, CURL *, (void), (), NULL)                                                                              \
        X(curl_multi_add_handle, CURLMcode, (CURLM * all, CURL * one), (all, one), CURLM_OUT_OF_MEMORY)                          \
        X(curl_multi_perform, CURLMcode, (CURLM * all, int *running), (all, running), CURLM_OUT_OF_MEMORY)                       \
        X(curl_multi_poll, CURLMcode, (CURLM * all, struct curl_waitfd * more, unsigned count, int ms, int *ready),              \
                (all, more, count, ms, ready), CURLM_OUT_OF_MEMORY)                                                              \
        X(curl_slist_append, struct curl_slist *, (struct curl_slist * list, const char *text), (list, text), NULL)

#define NUMBER_OF(name, ...) FAULT_##name,
enum fault { FUNCTIONS(NUMBER_OF) FAULT_COUNT };
#define NAME_OF(name, ...) #name,
static const char *const names[] = {FUNCTIONS(NAME_OF)};
static atomic_ulong calls[FAULT_COUNT];

static bool fails(enum fault fault)
{
        const unsigned long call = atomic_fetch_add(&calls[fault], 1) + 1;
        const char *at = getenv("FAULTS");
        const size_t size = strlen(names[fault]);
        for (; at && *at; at += strcspn(at, ","), at += *at == ',')
                if (!strncmp(at, names[fault], size) && at[size] == ':' && strtoul(at + size + 1, NULL, 10) == call) {
                        dprintf(STDERR_FILENO, "fault: %s %lu\n", names[fault], call);
                        return true;
                }
        return false;
}

static int redis_broken(redisContext *redis)
{
        redis->err = REDIS_ERR_IO;
        snprintf(redis->errstr, sizeof(redis->errstr), "made to fail");
        return REDIS_ERR;
}

#define WRAPPER(name, type, parameters, arguments, failure)                                                                      \
        type __real_##name parameters;                                                                                           \
        type __wrap_##name parameters;                                                                                           \
        type __wrap_##name parameters                                                                                            \
        {                                                                                                                        \
                return fails(FAULT_##name) ? failure : __real_##name arguments;                                                  \
        }
FUNCTIONS(WRAPPER)

static __attribute__((destructor)) void report(void)
{
        const char *path = getenv("FAULTS_REPORT");
        FILE *out = path ? fopen(path, "we") : NULL;
        for (size_t i = 0; out && i < FAULT_COUNT; i++)
                fprintf(out, "%s %lu\n", names[i], atomic_load(&calls[i]));
        if (out)
                fclose(out);
}
