/* cascade: from changed vaults to vault.position_count and term. Wiring only. */
#include "../common/service.h"
#include "../common/stage.h"
#include "aggregate.h"
#include "cascade_sql.h"

struct cascade_config {
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
                .offset = offsetof(struct cascade_config, backfill_interval_ms),
                .help = "how often keys that stayed behind in the outbox are queued again"},
        {0},
};
static const struct settings_table settings = {.rows = rows, .next = &config_settings};

static const char *const *inputs(void *config)
{
        struct cascade_config *cascade = config;
        cascade->inputs[0] = cascade->shared.cascade_stream;
        return cascade->inputs;
}

static const char *output(const void *config)
{
        return ((const struct cascade_config *)config)->shared.analytics_stream;
}

static bool trims_inputs(const void *config)
{
        (void)config;
        return true;
}

static int64_t backfill_interval_ms(const void *config)
{
        return ((const struct cascade_config *)config)->backfill_interval_ms;
}

static size_t weigh(const struct stream_entry *entry)
{
        (void)entry;
        return 1;
}

static int rebuild(struct service *service, struct db *db)
{
        (void)service;
        return aggregate_rebuild(db);
}

static const struct service_check checks[] = {
        {"vault", &sql_30_vault_count_verify},
        {"term", &sql_31_term_verify},
        {0},
};

int main(int argc, char **argv)
{
        static const struct program program = {
                .name = "cascade",
                .summary = "keeps vault.position_count and term up to date with what ingest stored",
                .examples = "  DATABASE_URL=postgresql://user@localhost/intuition cascade\n"
                            "  DATABASE_URL=... cascade verify\n",
                .settings = &settings,
                .config_size = sizeof(struct cascade_config),
                .inputs = inputs,
                .output = output,
                .trims_inputs = trims_inputs,
                .gathers = true,
                .weigh = weigh,
                .process = aggregate_process,
                .outbox_stale = &sql_30_outbox_stale,
                .backfill_interval_ms = backfill_interval_ms,
                .gauge_sql = &sql_30_outbox_age,
                .gauge = &stage_outbox_age,
                .checks = checks,
                .in_flight = &sql_30_in_flight,
                .rebuild = rebuild,
        };
        return service_main(&program, argc, argv);
}
