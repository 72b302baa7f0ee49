/* analytics: from changed terms to triple_vault, triple_term, predicate_object and subject_predicate. Wiring only. */
#include "../common/service.h"
#include "../common/stage.h"
#include "triples.h"
#include "analytics_sql.h"

static const char *const *inputs(void *config)
{
        struct config *shared = config;
        shared->input[0] = shared->analytics_stream;
        return shared->input;
}

static const char *output(const void *config)
{
        (void)config;
        return NULL; /* the end of the line */
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
                .settings = &config_outbox_settings,
                .config_size = sizeof(struct config),
                .inputs = inputs,
                .output = output,
                .gathers = true,
                .process = triples_process,
                .outbox_stale = &sql_40_outbox_stale,
                .gauge_sql = &sql_40_outbox_age,
                .gauge = &stage_outbox_age,
                .checks = checks,
                .in_flight = &sql_40_in_flight,
                .rebuild = rebuild,
        };
        return service_main(&program, argc, argv);
}
