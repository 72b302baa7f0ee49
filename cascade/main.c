/* cascade: from changed vaults to vault.position_count and term. Wiring only. */
#include "common/main.h"
#include "common/stage/keys.h"
#include "common/stage/stage.h"
#include "migrations/schema.h"
#include "aggregate.h"
#include "cascade_sql.h"

static void derive(void *context)
{
        struct config *config = context;
        config->internal[0] = config->cascade_stream;
        config->inputs = config->internal;
        config->output = config->analytics_stream;
        config->trims_inputs = true;
}

static const struct program_check checks[] = {
        {"vault", "vault_count_expected", "term_waiting"},
        {"term", "term_expected", "term_waiting"},
        {0},
};

static struct metric *const gauges[] = {&stage_outbox_age, &stage_outbox_rows, NULL};

int main(int argc, char **argv)
{
        static const struct program program = {
                .name = "cascade",
                .summary = "keeps vault.position_count and term up to date with what ingest stored",
                .examples = "  DATABASE_URL=postgresql://user@localhost/intuition cascade\n"
                            "  DATABASE_URL=... cascade verify\n",
                .database = &schema_database,
                .settings = &config_outbox_settings,
                .config_size = sizeof(struct config),
                .derive = derive,
                .process = aggregate_process,
                .state_new = keys_state_new,
                .state_free = keys_state_free,
                .outbox_stale = &sql_30_outbox_stale,
                .rights = &sql_30_rights,
                .gauge_sql = &sql_30_outbox_size,
                .gauges = gauges,
                .checks = checks,
                .in_flight = &sql_30_in_flight,
                .rebuild = aggregate_rebuild,
        };
        return service_main(&program, argc, argv);
}
