/* analytics: from changed terms to triple_vault, triple_term, predicate_object and subject_predicate. Wiring only. */
#include "common/main.h"
#include "common/stage/keys.h"
#include "common/stage/stage.h"
#include "migrations/schema.h"
#include "triples.h"
#include "analytics_sql.h"

static void derive(void *context)
{
        struct config *config = context;
        config->internal[0] = config->analytics_stream;
        config->inputs = config->internal;
        config->trims_inputs = true;
}

static const struct program_check checks[] = {
        {"triple_vault", "triple_vault_expected", "triple_waiting"},
        {"triple_term", "triple_term_expected", "triple_waiting"},
        {"predicate_object", "predicate_object_expected", "triple_waiting"},
        {"subject_predicate", "subject_predicate_expected", "triple_waiting"},
        {0},
};

static struct metric *const gauges[] = {&stage_outbox_age, &stage_outbox_rows, NULL};

int main(int argc, char **argv)
{
        static const struct program program = {
                .name = "analytics",
                .summary = "keeps triple_vault, triple_term, predicate_object and subject_predicate up to date with what cascade "
                           "changed",
                .examples = "  DATABASE_URL=postgresql://user@localhost/intuition analytics\n"
                            "  DATABASE_URL=... analytics verify\n",
                .database = &schema_database,
                .settings = &config_outbox_settings,
                .config_size = sizeof(struct config),
                .derive = derive,
                .process = triples_process,
                .state_new = keys_state_new,
                .state_free = keys_state_free,
                .outbox_stale = &sql_40_outbox_stale,
                .rights = &sql_40_rights,
                .gauge_sql = &sql_40_outbox_size,
                .gauges = gauges,
                .checks = checks,
                .in_flight = &sql_40_in_flight,
                .rebuild = triples_rebuild,
        };
        return service_main(&program, argc, argv);
}
