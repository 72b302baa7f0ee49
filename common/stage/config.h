/*
 * The settings that all three programs have (README, "Configuration"), and the names derived from them.
 * A program's own struct begins with this one, its own rows follow in a table whose next is config_settings.
 */
#pragma once

#include <stdbool.h>
#include "common/base/settings.h"

#define CONFIG_STREAMS_MAX 62 /* that a program reads; config_check says so in words */

struct config {
        char *redis_url, *database_url;
        char *redis_ca_file, *redis_cert_file, *redis_key_file;
        char *group_base, *suffix, *consumer_name;
        char *cascade_stream, *analytics_stream, *dead_letter_stream; /* suffix included after config_derive */
        char *group;                                                  /* CONSUMER_GROUP and its suffix */
        int64_t batch_size, batch_max, batch_timeout_ms, workers;
        int64_t processing_timeout_ms, max_retries;
        int64_t breaker_threshold, breaker_timeout_ms;
        int64_t claim_idle_ms, messages_per_second, retention, shutdown_timeout_ms;
        int64_t http_port;
        char *http_bind;
        bool prepared;
        int log_level, log_format;
        int64_t backfill_interval_ms; /* of config_outbox_settings */

        /* by the program's derive */
        const char *const *inputs; /* streams it reads, ended by NULL */
        const char *internal[2];   /* such a list, of one */
        const char *output;        /* stream its keys go to; NULL: none */
        const char *event_network; /* whose events it takes; NULL: all, or not set */
        bool trims_inputs;

        const char *streams[CONFIG_STREAMS_MAX + 4]; /* all that it reads or writes, each once, ended by NULL; by config_check */
};

extern const struct settings_table config_settings;
extern const struct settings_table config_outbox_settings; /* and those of a program with an outbox */

/* Fills what is derived: host name and process id for CONSUMER_NAME, the suffixed names. */
void config_derive(struct config *config);
/* What is wrong with the name of a stream, a group, a consumer or a network (static text), NULL: nothing. */
const char *config_check_name(const char *value);
/* What is wrong across settings, NULL: nothing. */
const char *config_check(struct config *config);
void config_deinit(struct config *config); /* the derived ones; settings_deinit frees the rest */
