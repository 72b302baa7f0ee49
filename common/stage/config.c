#include "common/stage/config.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/io/db.h"
#include "common/base/log.h"
#include "common/io/redis_url.h"
#include "common/stream/owner.h"

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const formats[] = {"text", "json", NULL};

/* Shown and split by people and tools; PostgreSQL and /metrics take UTF-8 only. Quotes are those of a shell that was not there.
 */
const char *config_check_name(const char *value)
{
        size_t size;
        for (const char *p = value; *p; p += size) {
                size = log_character_size(p);
                if (!size)
                        return "must be UTF-8";
                if (strchr(" ,\"'", *p) || log_is_command(p, size))
                        return "must not hold blanks, commas, quotes or control characters";
        }
        return strlen(value) > 200 ? "is longer than 200 bytes" : NULL;
}

static const char *check_suffix(const char *value)
{
        return strcmp(value, "replay") ? config_check_name(value) : "is what ingest replay calls its own group";
}

static const char *check_address(const char *value)
{
        struct in6_addr address;
        return inet_pton(AF_INET, value, &address) == 1 || inet_pton(AF_INET6, value, &address) == 1
                       ? NULL
                       : "is not an IPv4 or IPv6 address; no name, no brackets, no port";
}

static const char *check_file(const char *value)
{
        return access(value, R_OK) ? "is no file that can be read" : NULL;
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
                .help = "redis://[user:password@]host:port[/db], of a cluster several host:port; rediss:// for TLS; sentinels "
                        "are asked "
                        "for the master with redis+sentinel:// or "
                        "rediss+sentinel://[user:password@]host:port,host:port/master-name[/db]"},
        SETTING_OF_TEXT("REDIS_CA_FILE", AT(redis_ca_file), NULL, check_file,
                "for rediss://: certificates (PEM) of the authorities that are trusted; default: the system's"),
        SETTING_OF_TEXT("REDIS_CERT_FILE", AT(redis_cert_file), NULL, check_file,
                "for rediss://: our own certificate (PEM), for a server that demands one"),
        SETTING_OF_TEXT(
                "REDIS_KEY_FILE", AT(redis_key_file), NULL, check_file, "for rediss://: the key (PEM) of REDIS_CERT_FILE"),
        {.name = "DATABASE_URL",
                .kind = SETTING_TEXT,
                .required = true,
                .offset = AT(database_url),
                .from_file = true,
                .secret = true,
                .check = db_url_check,
                .help = "postgresql://user:password@host:port/database (libpq's parameters, sslmode included)"},
        SETTING_OF_TEXT("CONSUMER_GROUP", AT(group_base), "postgres-sync", config_check_name, "consumer group"),
        SETTING_OF_TEXT("CONSUMER_GROUP_SUFFIX", AT(suffix), NULL, check_suffix,
                "appended as -SUFFIX to CONSUMER_GROUP and to the names of the internal streams and of the dead letters, "
                "so that two pipelines share one Redis"),
        SETTING_OF_TEXT("CONSUMER_NAME", AT(consumer_name), NULL, config_check_name,
                "name in the group, each worker appends its number; default: host name and process id. In a pod: one that is "
                "stable over restarts"),
        SETTING_OF_TEXT(
                "CASCADE_STREAM_NAME", AT(cascade_stream), "vault_updates", config_check_name, "stream from ingest to cascade"),
        SETTING_OF_TEXT("ANALYTICS_STREAM_NAME", AT(analytics_stream), "term_updates", config_check_name,
                "stream from cascade to analytics"),
        SETTING_OF_TEXT("DLQ_STREAM_NAME", AT(dead_letter_stream), "dead_letters", config_check_name, "stream of dead letters"),
        SETTING_OF_NUMBER("BATCH_SIZE", AT(batch_size), "100", 1, 100000,
                "messages per read and stream at most; a worker asks for fewer where messages are large"),
        SETTING_OF_NUMBER("BATCH_MAX_EVENTS", AT(batch_max), "2000", 1, 1000000,
                "while more is ready, reads are merged into one batch up to so many events (ingest) or entries (cascade, "
                "analytics)"),
        SETTING_OF_NUMBER("BATCH_TIMEOUT_MS", AT(batch_timeout_ms), "5000", 1, MS_MAX,
                "how long a read waits when nothing is there; never delays what is"),
        SETTING_OF_NUMBER("WORKERS", AT(workers), "4", 1, 256, "parallel workers, each with its own connections"),
        SETTING_OF_NUMBER(
                "PROCESSING_TIMEOUT_MS", AT(processing_timeout_ms), "30000", 100, MS_MAX, "deadline of one batch in PostgreSQL"),
        SETTING_OF_NUMBER("MAX_RETRIES", AT(max_retries), "3", 1, 1000,
                "tries of a message that PostgreSQL finds bad data in, before it is a dead letter"),
        SETTING_OF_NUMBER("CIRCUIT_BREAKER_THRESHOLD", AT(breaker_threshold), "5", 1, 100000,
                "consecutive failures of Redis or PostgreSQL before the breaker opens"),
        SETTING_OF_NUMBER("CIRCUIT_BREAKER_TIMEOUT_MS", AT(breaker_timeout_ms), "60000", 1, MS_MAX,
                "how long it stays open before a probe"),
        SETTING_OF_NUMBER("HTTP_PORT", AT(http_port), "8080", 1, 65535, "port of health, metrics and status"),
        SETTING_OF_TEXT("HTTP_BIND", AT(http_bind), "0.0.0.0", check_address, "address it listens on"),
        SETTING_OF_NUMBER(
                "CLAIM_IDLE_MS", AT(claim_idle_ms), "60000", 1, MS_MAX, "after so long another's pending entry is claimed"),
        SETTING_OF_NUMBER(
                "MAX_MESSAGES_PER_SECOND", AT(messages_per_second), "0", 0, 100000000, "rate limit of this process; 0: none"),
        SETTING_OF_NUMBER("STREAM_RETENTION_ENTRIES", AT(retention), "10000", 0, 1000000000,
                "entries that trimming keeps for inspection, behind what all groups have acked"),
        SETTING_OF_NUMBER("SHUTDOWN_TIMEOUT_MS", AT(shutdown_timeout_ms), "20000", 100, MS_MAX,
                "time for finishing the batch after SIGTERM"),
        SETTING_OF_SWITCH(
                "DATABASE_PREPARED_STATEMENTS", AT(prepared), "true", "false for PgBouncer in transaction mode before 1.21"),
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
        SETTING_OF_NUMBER("BACKFILL_INTERVAL_MS", AT(backfill_interval_ms), "10000", 100, MS_MAX,
                "how often keys that stayed behind in the outbox are queued again"),
        {0},
};

const struct settings_table config_outbox_settings = {.rows = outbox_rows, .next = &config_settings};

static char *format_name(const char *base, const char *suffix)
{
        char *text = NULL;
        if (asprintf(&text, "%s%s%s", base, suffix ? "-" : "", suffix ? suffix : "") < 0)
                memory_end();
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
        append_suffix(&config->dead_letter_stream, config->suffix);
        if (!config->consumer_name) {
                char host[256] = "unknown", pid[24];
                (void)gethostname(host, sizeof(host) - 1);
                snprintf(pid, sizeof(pid), "%ld", (long)getpid());
                config->consumer_name = format_name(host, pid);
        }
}

const char *config_check(struct config *config)
{
        const char *const internal[] = {config->cascade_stream, config->analytics_stream, config->dead_letter_stream};
        const char *const *inputs = config->inputs, **streams = config->streams;
        char owner[1024];
        size_t count = 0;
        if (!config->redis_cert_file != !config->redis_key_file)
                return "REDIS_CERT_FILE and REDIS_KEY_FILE: one of them alone is no certificate; set both";
        for (size_t i = 0; inputs != config->internal && inputs[i]; i++) {
                if (i == CONFIG_STREAMS_MAX)
                        return "REDIS_STREAMS: at most 62 streams";
                streams[count++] = inputs[i];
        }
        for (size_t i = 0; i < ARRAY_LENGTH(internal); i++)
                streams[count++] = internal[i];
        for (size_t i = 0; i < count; i++)
                for (size_t k = i + 1; k < count; k++)
                        if (!strcmp(streams[i], streams[k]))
                                return "REDIS_STREAMS, CASCADE_STREAM_NAME, ANALYTICS_STREAM_NAME and DLQ_STREAM_NAME: two of "
                                       "them name the same stream; each needs one of its own";
        stream_owner_key(streams[0], config->group, owner, sizeof(owner));
        for (size_t i = 0; i < count; i++)
                if (!strcmp(streams[i], owner))
                        return "REDIS_STREAMS, CASCADE_STREAM_NAME, ANALYTICS_STREAM_NAME and DLQ_STREAM_NAME: one of them names "
                               "GROUP:database, the key that says whose the consumer group is";
        return NULL;
}

void config_deinit(struct config *config)
{
        free(config->group);
}
