/* ingest: from rindexer's stream entries to the event tables and, through their triggers, the base tables. Wiring only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/main.h"
#include "common/cli/tell.h"
#include "migrations/schema.h"
#include "ingest/store/network.h"
#include "ingest/decode/address.h"
#include "ingest/store/audit.h"
#include "ingest/ingest.h"
#include "ingest/ingest_metrics.h"
#include "ingest_sql.h"
#include "ingest/migrate.h"
#include "ingest/decode/number.h"
#include "ingest/chain/range.h"
#include "ingest/chain/reconcile.h"
#include "ingest/store/replay.h"
#include "ingest/chain/rpc.h"
#include "ingest/store/writer.h"

#define AT(member) offsetof(struct ingest_config, member)

static const char *check_streams(const char *value)
{
        const char *problem = NULL;
        AUTO(text) char *copy = memory_copy(value);
        for (char *rest = copy, *item, *end; !problem && (item = strsep(&rest, ","));) {
                item += strspn(item, " \t\r\n");
                for (end = item + strlen(item); end > item && strchr(" \t\r\n", end[-1]); end--)
                        end[-1] = '\0';
                problem = strcmp(item, RANGE_STREAM) ? config_check_name(item)
                                                     : "has the item " RANGE_STREAM
                                                       ", which is what rows from the chain are marked with";
        }
        return problem;
}

static const char *check_address(const char *value)
{
        unsigned char bytes[ADDRESS_SIZE + 1];
        size_t count;
        if (strlen(value) > 2 * ADDRESS_SIZE + 2 || number_read_hex(value, strlen(value), bytes, &count) || count != ADDRESS_SIZE)
                return "is not 20 bytes of hex";
        return NULL;
}

static const struct setting rows[] = {
        {.name = "REDIS_STREAMS",
                .kind = SETTING_LIST,
                .fallback = "rindexer_producer",
                .offset = AT(streams),
                .check = check_streams,
                .help = "comma-separated input streams, at most 62"},
        SETTING_OF_TEXT("NETWORK", AT(network), NULL, config_check_name,
                "the one network whose events are taken; default: that of the first event stored, which is pinned in the "
                "database"),
        SETTING_OF_SWITCH("TRIM_INPUT", AT(trim_input), "false", "trim the input streams behind what every group has acked, too"),
        SETTING_OF_SWITCH(
                "RUN_MIGRATIONS", AT(run_migrations), "true", "apply migrations at start (under a lock, safe for many replicas)"),
        SETTING_OF_NUMBER("REORG_COPY_WINDOW_MS", AT(copy_window_ms), "5000", 0, 86400000,
                "equal reorg notices of a stream within so long of the first are copies of it"),
        {.name = "RPC_URL",
                .kind = SETTING_TEXT,
                .offset = AT(rpc_url),
                .check = rpc_url_check,
                .from_file = true,
                .secret = true,
                .help = "JSON-RPC endpoint of a node of the chain, http:// or https://; turns reconciling with the chain on"},
        SETTING_OF_TEXT("CONTRACT_ADDRESS", AT(contract), NULL, check_address,
                "MultiVault's address, for reconciling; default: the address in the stored events"),
        SETTING_OF_NUMBER("RECONCILE_DEPTH", AT(reconcile_depth), "128", 0, 1000000,
                "so many of the chain's last blocks are compared with it again and again"),
        SETTING_OF_NUMBER("RECONCILE_INTERVAL_MS", AT(reconcile_interval_ms), "60000", 1, 86400000, "how often that is done"),
        {0},
};
static const struct settings_table settings = {.rows = rows, .next = &config_settings};

static void derive(void *context)
{
        struct ingest_config *config = context;
        config->shared.inputs = (const char *const *)config->streams;
        config->shared.output = config->shared.cascade_stream;
        config->shared.event_network = config->network;
        config->shared.trims_inputs = config->trim_input;
}

static int fits(const struct service *service, struct db *db, const char **problem)
{
        const struct ingest_config *config = service->config;
        AUTO(text) char *pinned = NULL;
        int r = config->network ? network_read(db, service->shared->processing_timeout_ms, &pinned) : 0;
        if (r || !pinned || !strcmp(pinned, config->network))
                return r;
        *problem =
                "this database holds the events of another network than NETWORK says: set NETWORK to that of pinned_network, or "
                "give this network a database of its own; where no event is stored and it was pinned by mistake: DELETE FROM "
                "pinned_network";
        return 1;
}

static int prepare(struct service *service, struct db *db, const char **problem)
{
        const struct ingest_config *config = service->config;
        int64_t version;
        for (size_t i = 0; config->streams[i]; i++) /* alerts watch it: an increase from nothing is none */
                metrics_add(service->metrics, &ingest_reorgs, 0, config->streams[i], NULL, NULL);
        int r = migrate_at_start(service, db);
        if (r || schema_check(db, &version))
                return r; /* a schema that does not fit is what the caller looks for next */
        r = replay_warn_unfinished(db, service->shared->processing_timeout_ms);
        if (!r && config->rpc_url)
                r = reconcile_prepare(db, service->shared->processing_timeout_ms);
        if (r || !config->network)
                return r;
        r = network_pin(db, service->shared->processing_timeout_ms, config->network);
        return r == NETWORK_OTHER ? fits(service, db, problem) : r;
}

static int rebuild(struct service *service, struct db *db)
{
        static const char *const tables[] = {"atom", "triple", "position", "vault"};
        int r = audit_rebuild(service, db);
        for (size_t i = 0; !r && i < ARRAY_LENGTH(tables); i++) {
                int64_t total = 0, before;
                do { /* until none differs */
                        before = total;
                        r = audit_mend_parts(db, tables[i], &sql_20_rebuild_find, &sql_20_rebuild_make, false, &total);
                } while (!r && total > before);
                if (!r)
                        tell_rows(service, tables[i], total, "rows made anew");
        }
        return r;
}

static const struct program_check checks[] = {
        {"atom", "atom_expected", NULL},
        {"triple", "triple_expected", NULL},
        {"position", "position_expected", NULL},
        {"vault", "vault_expected", "vault_emptied"},
        {0},
};

static const struct program_command commands[] = {
        {"replay", "replay [--from ID] [--reset] [--json]",
                "read the input streams again from the start (or ID); --reset: empty all tables first (--accept-loss: even where "
                "the "
                "streams no longer hold all that the tables hold)",
                replay_accepts, replay_command},
        {"reconcile", "reconcile [--from-block A] [--to-block B] [--check] [--json] [--rpc URL]",
                "make the event tables equal to the chain in these blocks (default: all, to the newest); --check: only report, "
                "exit 1 "
                "when they differ; --rpc: instead of RPC_URL",
                reconcile_accepts, reconcile_command},
        {"migrate", "migrate [--status] [--json]", "apply the migrations that are missing; --status: show which are",
                migrate_accepts, migrate_command},
        {0},
};

static struct metric *const gauges[] = {&ingest_conflicting_blocks, NULL};

int main(int argc, char **argv)
{
        static const struct program program = {
                .name = "ingest",
                .summary = "stores rindexer's events from Redis streams in PostgreSQL and keeps atom, triple, position and vault",
                .examples = "  DATABASE_URL=postgresql://user@localhost/intuition ingest check\n"
                            "  DATABASE_URL=... REDIS_STREAMS=deposited,redeemed NETWORK=intuition ingest\n"
                            "  DATABASE_URL=... ingest verify\n"
                            "  DATABASE_URL=... RPC_URL=https://... ingest reconcile --check\n",
                .database = &schema_database,
                .settings = &settings,
                .metrics = ingest_metrics,
                .config_size = sizeof(struct ingest_config),
                .derive = derive,
                .state_new = writer_new,
                .state_free = writer_free,
                .estimate = writer_estimate_units,
                .process = writer_process,
                .prepare = prepare,
                .fits = fits,
                .beside = reconcile_beside,
                .verify_begin = audit_begin,
                .gauge_sql = &sql_12_conflicting_count,
                .gauges = gauges,
                .rights = &sql_00_rights,
                .checks = checks,
                .verify_more = audit_verify,
                .rebuild = rebuild,
                .commands = commands,
        };
        return service_main(&program, argc, argv);
}
