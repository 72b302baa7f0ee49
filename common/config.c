#include "config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "db.h"
#include "log.h"
#include "redis.h"

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const formats[] = {"text", "json", NULL};

/* Names of streams, groups and consumers are shown and split by people and tools: no blanks, no commas. */
static const char *check_name(const char *value)
{
        for (const char *p = value; *p; p++)
                if (*p <= ' ' || *p == ',' || *p == 0x7f)
                        return "must not hold blanks, commas or control characters";
        return strlen(value) > 200 ? "is longer than 200 bytes" : NULL;
}

static const char *check_suffix(const char *value)
{
        return strcmp(value, "replay") ? check_name(value) : "is what ingest replay calls its own group";
}

static const char *check_address(const char *value)
{
        struct in6_addr address;
        return inet_pton(AF_INET, value, &address) == 1 || inet_pton(AF_INET6, value, &address) == 1
                       ? NULL
                       : "is not an IPv4 or IPv6 address";
}

#define AT(member) offsetof(struct config, member)
#define MS_MAX     86400000 /* a day */

static const struct setting rows[] = {
        {.name = "REDIS_URL",
                .kind = SETTING_TEXT,
                .fallback = "redis://127.0.0.1:6379",
                .offset = AT(redis_url),
                .from_file = true,
                .secret = true,
                .check = redis_url_check,
                .help = "redis://[user:password@]host:port[/db], rediss:// for TLS"},
        {.name = "DATABASE_URL",
                .kind = SETTING_TEXT,
                .required = true,
                .offset = AT(database_url),
                .from_file = true,
                .secret = true,
                .check = db_url_check,
                .help = "postgresql://user:password@host:port/database (libpq's parameters, sslmode included)"},
        {.name = "CONSUMER_GROUP",
                .kind = SETTING_TEXT,
                .fallback = "postgres-sync",
                .offset = AT(group_base),
                .check = check_name,
                .help = "consumer group"},
        {.name = "CONSUMER_GROUP_SUFFIX",
                .kind = SETTING_TEXT,
                .offset = AT(suffix),
                .check = check_suffix,
                .help = "appended as -SUFFIX to CONSUMER_GROUP and to the names of the internal streams and of the dead letters, "
                        "so that "
                        "two pipelines share one Redis"},
        {.name = "CONSUMER_NAME",
                .kind = SETTING_TEXT,
                .offset = AT(consumer_name),
                .check = check_name,
                .help = "name in the group, each worker appends its number; default: host name and process id. In a pod: one "
                        "that is "
                        "stable over restarts"},
        {.name = "CASCADE_STREAM_NAME",
                .kind = SETTING_TEXT,
                .fallback = "vault_updates",
                .offset = AT(cascade_stream),
                .check = check_name,
                .help = "stream from ingest to cascade"},
        {.name = "ANALYTICS_STREAM_NAME",
                .kind = SETTING_TEXT,
                .fallback = "term_updates",
                .offset = AT(analytics_stream),
                .check = check_name,
                .help = "stream from cascade to analytics"},
        {.name = "DLQ_STREAM_NAME",
                .kind = SETTING_TEXT,
                .fallback = "dead_letters",
                .offset = AT(letter_stream),
                .check = check_name,
                .help = "stream of dead letters"},
        {.name = "BATCH_SIZE",
                .kind = SETTING_NUMBER,
                .fallback = "100",
                .min = 1,
                .max = 100000,
                .offset = AT(batch_size),
                .help = "messages per read and stream at most; a worker asks for fewer where messages are large"},
        {.name = "BATCH_MAX_EVENTS",
                .kind = SETTING_NUMBER,
                .fallback = "2000",
                .min = 1,
                .max = 1000000,
                .offset = AT(batch_max),
                .help = "while more is ready, reads are merged into one batch up to so many events (ingest) or entries (cascade, "
                        "analytics)"},
        {.name = "BATCH_TIMEOUT_MS",
                .kind = SETTING_NUMBER,
                .fallback = "5000",
                .min = 1,
                .max = MS_MAX,
                .offset = AT(batch_timeout_ms),
                .help = "how long a read waits when nothing is there; never delays what is"},
        {.name = "WORKERS",
                .kind = SETTING_NUMBER,
                .fallback = "4",
                .min = 1,
                .max = 256,
                .offset = AT(workers),
                .help = "parallel workers, each with its own connections"},
        {.name = "PROCESSING_TIMEOUT_MS",
                .kind = SETTING_NUMBER,
                .fallback = "30000",
                .min = 100,
                .max = MS_MAX,
                .offset = AT(processing_timeout_ms),
                .help = "deadline of one batch in PostgreSQL"},
        {.name = "MAX_RETRIES",
                .kind = SETTING_NUMBER,
                .fallback = "3",
                .min = 1,
                .max = 1000,
                .offset = AT(max_retries),
                .help = "tries of a message that PostgreSQL finds bad data in, before it is a dead letter"},
        {.name = "CIRCUIT_BREAKER_THRESHOLD",
                .kind = SETTING_NUMBER,
                .fallback = "5",
                .min = 1,
                .max = 100000,
                .offset = AT(breaker_threshold),
                .help = "consecutive failures of Redis or PostgreSQL before the breaker opens"},
        {.name = "CIRCUIT_BREAKER_TIMEOUT_MS",
                .kind = SETTING_NUMBER,
                .fallback = "60000",
                .min = 1,
                .max = MS_MAX,
                .offset = AT(breaker_timeout_ms),
                .help = "how long it stays open before a probe"},
        {.name = "HTTP_PORT",
                .kind = SETTING_NUMBER,
                .fallback = "8080",
                .min = 1,
                .max = 65535,
                .offset = AT(http_port),
                .help = "port of health, metrics and status"},
        {.name = "HTTP_BIND",
                .kind = SETTING_TEXT,
                .fallback = "0.0.0.0",
                .offset = AT(http_bind),
                .check = check_address,
                .help = "address it listens on"},
        {.name = "CLAIM_IDLE_MS",
                .kind = SETTING_NUMBER,
                .fallback = "60000",
                .min = 1,
                .max = MS_MAX,
                .offset = AT(claim_idle_ms),
                .help = "after so long another's pending entry is claimed"},
        {.name = "MAX_MESSAGES_PER_SECOND",
                .kind = SETTING_NUMBER,
                .fallback = "0",
                .min = 0,
                .max = 100000000,
                .offset = AT(messages_per_second),
                .help = "rate limit of this process; 0: none"},
        {.name = "STREAM_RETENTION_ENTRIES",
                .kind = SETTING_NUMBER,
                .fallback = "10000",
                .min = 0,
                .max = 1000000000,
                .offset = AT(retention),
                .help = "entries that trimming keeps for inspection, behind what all groups have acked"},
        {.name = "SHUTDOWN_TIMEOUT_MS",
                .kind = SETTING_NUMBER,
                .fallback = "20000",
                .min = 100,
                .max = MS_MAX,
                .offset = AT(shutdown_timeout_ms),
                .help = "time for finishing the batch after SIGTERM"},
        {.name = "DATABASE_PREPARED_STATEMENTS",
                .kind = SETTING_SWITCH,
                .fallback = "true",
                .offset = AT(prepared),
                .help = "false for PgBouncer in transaction mode before 1.21"},
        {.name = "LOG_LEVEL",
                .kind = SETTING_CHOICE,
                .fallback = "info",
                .choices = levels,
                .offset = AT(log_level),
                .help = "error, warn, info or debug"},
        {.name = "LOG_FORMAT",
                .kind = SETTING_CHOICE,
                .fallback = "text",
                .choices = formats,
                .offset = AT(log_format),
                .help = "text or json"},
        {0},
};

const struct settings_table config_settings = {.rows = rows};

static const struct setting outbox_rows[] = {
        {.name = "BACKFILL_INTERVAL_MS",
                .kind = SETTING_NUMBER,
                .fallback = "10000",
                .min = 100,
                .max = MS_MAX,
                .offset = AT(backfill_interval_ms),
                .help = "how often keys that stayed behind in the outbox are queued again"},
        {0},
};

const struct settings_table config_outbox_settings = {.rows = outbox_rows, .next = &config_settings};

static char *format_name(const char *base, const char *suffix)
{
        char *text = NULL;
        if (asprintf(&text, "%s%s%s", base, suffix ? "-" : "", suffix ? suffix : "") < 0)
                abort();
        return text;
}

static void append_suffix(char **name, const char *suffix)
{
        char *longer = format_name(*name, suffix);
        free(*name);
        *name = longer;
}

void config_derive(struct config *config)
{
        config->group = format_name(config->group_base, config->suffix);
        append_suffix(&config->cascade_stream, config->suffix);
        append_suffix(&config->analytics_stream, config->suffix);
        append_suffix(&config->letter_stream, config->suffix);
        if (!config->consumer_name) {
                char host[256] = "unknown", pid[24];
                (void)gethostname(host, sizeof(host) - 1);
                snprintf(pid, sizeof(pid), "%ld", (long)getpid());
                config->consumer_name = format_name(host, pid);
        }
}

const char *config_check(const struct config *config, const char *const *inputs)
{
        const char *names[CONFIG_STREAMS_MAX + 3] = {config->cascade_stream, config->analytics_stream, config->letter_stream};
        size_t count = 3;
        for (size_t i = 0; inputs[i]; i++) {
                if (i == CONFIG_STREAMS_MAX)
                        return "REDIS_STREAMS: at most 62 streams";
                if (inputs[i] != config->cascade_stream && inputs[i] != config->analytics_stream)
                        names[count++] = inputs[i];
        }
        for (size_t i = 0; i < count; i++)
                for (size_t k = i + 1; k < count; k++)
                        if (!strcmp(names[i], names[k]))
                                return "REDIS_STREAMS, CASCADE_STREAM_NAME, ANALYTICS_STREAM_NAME and DLQ_STREAM_NAME: two of "
                                       "them name the same "
                                       "stream; each needs one of its own";
        return NULL;
}

void config_deinit(struct config *config)
{
        free(config->group);
}
