/* analytics: from changed terms to triple_vault, triple_term, predicate_object and subject_predicate. Wiring only. */
#include "../common/service.h"
#include "../common/stage.h"
#include "triples.h"
#include "analytics_sql.h"

struct analytics_config {
        struct config shared;
        int64_t backfill_interval_ms;
        const char *inputs[2];
};

static const struct setting rows[] = {
        {.name = "BACKFILL_INTERVAL_MS",
                .kind = SETTING_NUMBER,
                .fallback = "10000",
                .min = 100,
                .max = 86400000,
                .offset = offsetof(struct analytics_config, backfill_interval_ms),
                .help = "how often keys that stayed behind in the outbox are queued again"},
        {0},
};
static const struct settings_table settings = {.rows = rows, .next = &config_settings};

static const char *const *inputs(void *config)
{
        struct analytics_config *analytics = config;
        analytics->inputs[0] = analytics->shared.analytics_stream;
        return analytics->inputs;
}

static const char *output(const void *config)
{
        (void)config;
        return NULL; /* the end of the line */
}

static bool trims_inputs(const void *config)
{
        (void)config;
        return true;
}

static int64_t backfill_interval_ms(const void *config)
{
        return ((const struct analytics_config *)config)->backfill_interval_ms;
}

static size_t weigh(const struct stream_entry *entry)
{
        (void)entry;
        return 1;
}

static int rebuild(struct service *service, struct db *db)
{
        (void)service;
        return triples_rebuild(db);
}

static const struct service_check checks[] = {
        {"triple_vault", &sql_40_triple_vault_verify},
        {"triple_term", &sql_41_triple_term_verify},
        {"predicate_object", &sql_42_predicate_object_verify},
        {"subject_predicate", &sql_42_subject_predicate_verify},
        {0},
};

int main(int argc, char **argv)
{
        static const struct program program = {
                .name = "analytics",
                .summary = "keeps triple_vault, triple_term, predicate_object and subject_predicate up to date with what cascade "
                           "changed",
                .examples = "  DATABASE_URL=postgresql://user@localhost/intuition analytics\n"
                            "  DATABASE_URL=... analytics verify\n",
                .settings = &settings,
                .config_size = sizeof(struct analytics_config),
                .inputs = inputs,
                .output = output,
                .trims_inputs = trims_inputs,
                .gathers = true,
                .weigh = weigh,
                .process = triples_process,
                .outbox_stale = &sql_40_outbox_stale,
                .backfill_interval_ms = backfill_interval_ms,
                .gauge_sql = &sql_40_outbox_age,
                .gauge = &stage_outbox_age,
                .checks = checks,
                .in_flight = &sql_40_in_flight,
                .rebuild = rebuild,
        };
        return service_main(&program, argc, argv);
}
