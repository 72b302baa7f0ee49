#include "ingest/chain/reconcile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "common/base/stop.h"
#include "common/base/backoff.h"
#include "common/base/clean.h"
#include "common/base/clock.h"
#include "common/cli/connect.h"
#include "common/cli/tell.h"
#include "common/base/log.h"
#include "common/base/progress.h"
#include "ingest/ingest.h"
#include "ingest_sql.h"
#include "ingest/decode/number.h"
#include "ingest/chain/range.h"
#include "ingest/chain/rpc.h"

#define LOOK_MS 500 /* how often the service looks whether there is something to do */

/* ---- metrics ---- */

static GAUGE(metric_head, "reconcile_head_block", "Newest block of the chain that reconciling saw (ingest)", NULL);
static GAUGE(metric_block, "reconcile_block", "Last block that was compared with the chain (ingest)", NULL);
static GAUGE(metric_age, "reconcile_success_timestamp_seconds",
        "When reconciling with the chain last came to its end, by any replica, or when this one began (ingest)", NULL);
static COUNTER(metric_failures, "reconcile_failures_total",
        "Times that reconciling failed; cause: node, servers, chain, repeated (ingest)", "cause");

static void register_metrics(struct metrics *metrics)
{
        static const char *const actions[] = {"inserted", "orphaned", "corrected"}, *const causes[] = {"node", "servers", "chain",
                                                                                            "repeated"};
        struct metric *const all[] = {&metric_head, &metric_block, &metric_age, &range_rows, &metric_failures};
        for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
                metrics_register(metrics, all[i]);
        for (size_t i = 0; i < ARRAY_LENGTH(actions); i++)
                metrics_add(metrics, &range_rows, 0, actions[i], NULL, NULL);
        for (size_t i = 0; i < ARRAY_LENGTH(causes); i++)
                metrics_add(metrics, &metric_failures, 0, causes[i], NULL, NULL);
}

/* ---- the command ---- */

struct options {
        int64_t from, to; /* to -1: the head */
        const char *url;
        bool check;
};

static int read_block_number(const char *text, int64_t *number)
{
        return !text || !*text || strspn(text, "0123456789") != strlen(text) ||
               number_read_int64(text, strlen(text), INT64_MAX, number);
}

static int read_options(int argc, char **argv, struct options *options)
{
        for (int i = 1; i < argc; i++) {
                const char *value = i + 1 < argc ? argv[i + 1] : NULL;
                if (!strcmp(argv[i], "--check"))
                        options->check = true;
                else if (!strcmp(argv[i], "--from-block") && !read_block_number(value, &options->from))
                        i++;
                else if (!strcmp(argv[i], "--to-block") && !read_block_number(value, &options->to))
                        i++;
                else if (!strcmp(argv[i], "--rpc") && value && !rpc_url_check(value))
                        clean_remember(options->url = argv[++i]);
                else
                        return -1;
        }
        return options->to >= 0 && options->to < options->from ? -1 : 0;
}

static void print_summary(const struct chain *chain, int64_t from, int64_t to)
{
        if (chain->service->json)
                printf("{\"from_block\":%" PRId64 ",\"to_block\":%" PRId64 ",\"head_block\":%" PRId64
                       ",\"check\":%s,\"missing\":%" PRId64 ",\"not_on_chain\":%" PRId64 ",\"different\":%" PRId64 "}\n",
                        from, to, chain->head, chain->check ? "true" : "false", chain->missing, chain->gone, chain->wrong);
        else
                printf("blocks %" PRId64 " to %" PRId64 ": %" PRId64 " events %s, %" PRId64 " rows %s, %" PRId64 " %s\n", from,
                        to, chain->missing, chain->check ? "missing" : "inserted", chain->gone,
                        chain->check ? "not on the chain" : "orphaned", chain->wrong, chain->check ? "different" : "corrected");
}

static int connect_command(struct chain *chain)
{
        const char *why = NULL;
        chain->db = connect_schema(chain->service);
        if (chain->db && !chain->check && connect_may(chain->service, chain->db, NEED_WRITE))
                return -EIO;
        chain->redis = chain->db ? connect_redis(chain->service) : NULL;
        if (!chain->redis)
                return -EIO;
        if (!chain->check && chain->service->program->prepare(chain->service, chain->db, &why))
                return chain_say(chain, -EIO, "%s", why ? why : db_error(chain->db));
        return 0;
}

/* How far the last pass came stays as it is: this may be any range. */
static int run_command(struct chain *chain, const struct options *options)
{
        struct progress progress;
        int e = connect_command(chain);
        if (!e)
                e = chain_prepare(chain);
        if (e)
                return e;
        int64_t to = options->to < 0 || options->to > chain->head ? chain->head : options->to;
        if (to < options->from)
                return chain_say(chain, -EINVAL,
                        "the node's newest block is %" PRId64 ", below --from-block: nothing is compared", chain->head);
        if (to < options->to)
                fprintf(stderr,
                        "ingest: reconcile: the node's newest block is %" PRId64 "; nothing is said of what is above it\n",
                        chain->head);
        progress_begin(&progress, chain->check ? "comparing with the chain" : "reconciling with the chain", "blocks",
                to - options->from + 1);
        e = range_reconcile(chain, options->from, to, &progress);
        if (e)
                return e;
        progress_end(&progress);
        print_summary(chain, options->from, to);
        return 0;
}

bool reconcile_accepts(int argc, char **argv)
{
        struct options options = {.to = -1};
        return !read_options(argc, argv, &options);
}

int reconcile_command(struct service *service, int argc, char **argv)
{
        const struct ingest_config *config = service->config;
        struct options options = {.to = -1, .url = config->rpc_url};
        struct chain chain;
        if (read_options(argc, argv, &options))
                return 2;
        if (!options.url) {
                fprintf(stderr, "ingest: reconcile: no node to ask: set RPC_URL, or give --rpc URL\n");
                return 2;
        }
        register_metrics(service->metrics);
        chain_init(&chain, service, options.url);
        chain.check = options.check;
        chain.waits = true;
        int e = run_command(&chain, &options);
        if (e && *chain.why)
                fprintf(stderr, "ingest: reconcile: %s\n", chain.why);
        if (e && e != STEP_UNSET)
                tell_end(service, false, NULL, 0, *chain.why ? chain.why : "see stderr");
        bool differ = chain.check && chain.missing + chain.gone + chain.wrong;
        chain_deinit(&chain);
        return e == STEP_UNSET ? 2 : e || differ ? 1 : 0;
}

/* ---- the service ---- */

struct beside {
        struct chain chain;
        struct backoff backoff;
        int64_t not_before_ms; /* monotonic */
        bool looked;           /* since it started */
        int troubled;          /* what kind of failure was said last; 0: it works */
        struct changes before; /* of the last pass that came to its end, and how many notices there were */
        int64_t notices;
};

/* What chain_state says. */
struct due {
        int64_t fork, notices, age_ms, reached; /* -1: none; reached: how far it ever came */
};

int reconcile_prepare(struct db *db, int64_t deadline_ms)
{
        return db_query(db, &sql_16_chain_begin, NULL, 0, NULL, deadline_ms);
}

static int open_servers(struct chain *chain)
{
        AUTO(text) char *problem = NULL;
        int e = 0;
        if (chain->db && !db_alive(chain->db))
                chain->db = db_close(chain->db);
        if (chain->redis && !redis_alive(chain->redis))
                chain->redis = redis_close(chain->redis);
        if (!chain->db && service_open_db(chain->service, &chain->db, 5000, NULL, NULL, &problem))
                e = chain_say(chain, -EIO, "PostgreSQL: %s", problem);
        else if (!chain->redis && service_open_redis(chain->service, &chain->redis, 5000, &problem))
                e = chain_say(chain, -EIO, "Redis: %s", problem);
        return e;
}

static int read_due(struct chain *chain, struct due *due)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = &sql_16_chain_due, .rows = &rows};
        struct metrics *metrics = chain->service->metrics;
        int e = chain_run(chain, &call, 1, DB_AUTOCOMMIT);
        if (e)
                return e;
        *due = (struct due){.fork = db_rows_text(rows, 0, 0) ? db_rows_number(rows, 0, 0) : -1,
                .notices = db_rows_number(rows, 0, 1),
                .age_ms = db_rows_text(rows, 0, 2) ? db_rows_number(rows, 0, 2) : -1,
                .reached = db_rows_text(rows, 0, 3) ? db_rows_number(rows, 0, 3) : -1};
        if (due->age_ms < 0)
                return 0;
        metrics_set(metrics, &metric_block, (double)db_rows_number(rows, 0, 3), NULL, NULL, NULL);
        metrics_set(metrics, &metric_head, (double)db_rows_number(rows, 0, 4), NULL, NULL, NULL);
        metrics_set(metrics, &metric_age, (double)db_rows_number(rows, 0, 5), NULL, NULL, NULL);
        return 0;
}

static int note_done(struct chain *chain, const struct due *due, bool reached_fork)
{
        const struct db_param params[] = {db_number(chain->head), db_number(chain->head), db_number(due->notices),
                db_text(reached_fork ? "true" : "false")};
        const struct db_call call = {.sql = &sql_16_chain_done, .params = params, .param_count = ARRAY_LENGTH(params)};
        return chain_run(chain, &call, 1, DB_AUTOCOMMIT);
}

/* Whether the last pass changed the same rows, and no notice has come that could have undone it. Remembers this one's. */
static int judge_changes(struct beside *beside, const struct due *due)
{
        struct chain *chain = &beside->chain;
        struct due now = {0};
        size_t repeated = due->notices == beside->notices ? changes_repeated(&chain->changes, &beside->before) : 0;
        int e = repeated ? read_due(chain, &now) : 0;
        changes_deinit(&beside->before);
        beside->before = chain->changes;
        beside->notices = due->notices;
        chain->changes = (struct changes){0};
        if (e || !repeated || now.notices != due->notices)
                return e;
        return chain_say(chain, STEP_REPEATED,
                "%zu rows had to be changed that the last pass had changed the same way: what is written does not stay; does "
                "something else change the event tables?",
                repeated);
}

/* From the lowest block that something is to be done for, to the head: RECONCILE_DEPTH blocks below the head, or below what was
 * the head the last time, where the node was away or blocks come fast. */
static int do_pass(struct beside *beside, const struct due *due)
{
        struct chain *chain = &beside->chain;
        const struct ingest_config *config = chain->service->config;
        int64_t missing = chain->missing, gone = chain->gone, wrong = chain->wrong;
        int e = chain_prepare(chain);
        if (e)
                return e;
        int64_t from = chain->head - config->reconcile_depth + 1;
        if (due->reached >= 0 && due->reached < chain->head)
                from -= chain->head - due->reached;
        if (due->fork >= 0 && due->fork < from)
                from = due->fork;
        if (from < 0)
                from = 0;
        chain->waits = false;
        chain->changes.count = 0;
        e = range_reconcile(chain, from, chain->head, NULL);
        if (!e)
                e = judge_changes(beside, due);
        if (!e)
                e = note_done(chain, due, due->fork <= chain->head);
        if (e)
                return e;
        beside->looked = true;
        if (due->fork > chain->head) /* the node is behind: it is asked again in a while */
                beside->not_before_ms = clock_ms() + backoff_next(&beside->backoff);
        if (chain->missing + chain->gone + chain->wrong > missing + gone + wrong)
                log_write(LOG_INFO, "reconciled with the chain",
                        "from=%" PRId64 " to=%" PRId64 " inserted=%" PRId64 " orphaned=%" PRId64 " corrected=%" PRId64, from,
                        chain->head, chain->missing - missing, chain->gone - gone, chain->wrong - wrong);
        return 0;
}

static int look_once(struct beside *beside, bool *worked)
{
        struct chain *chain = &beside->chain;
        const struct ingest_config *config = chain->service->config;
        struct due due;
        int e = open_servers(chain);
        if (!e)
                e = read_due(chain, &due);
        if (e || (beside->looked && due.fork < 0 && due.age_ms >= 0 && due.age_ms < config->reconcile_interval_ms))
                return e;
        *worked = true;
        return do_pass(beside, &due);
}

/* For the page, as long as PostgreSQL takes it. */
static void note_trouble(struct chain *chain, const char *cause)
{
        const struct db_param params[] = {db_text(cause), db_text(chain->why)};
        const struct db_call call = {.sql = &sql_16_chain_trouble, .params = params, .param_count = ARRAY_LENGTH(params)};
        if (chain_run(chain, &call, 1, DB_AUTOCOMMIT))
                chain->db = db_close(chain->db);
}

/* The first failure of a row is said, one of another kind, and that it is over. */
static void note_result(struct beside *beside, int e, bool worked)
{
        struct chain *chain = &beside->chain;
        const char *cause = e < 0 ? "servers" : e == STEP_FOREIGN ? "chain" : e == STEP_REPEATED ? "repeated" : "node";
        if (e == STEP_STOPPED)
                return;
        if (e == STEP_ELSEWHERE) {
                beside->not_before_ms = clock_ms() + LOOK_MS;
                return;
        }
        if (!e && worked) {
                if (beside->troubled)
                        log_write(LOG_INFO, "reconciling with the chain works again", NULL);
                beside->troubled = 0;
                if (beside->not_before_ms < clock_ms())
                        backoff_reset(&beside->backoff);
        }
        if (!e)
                return;
        chain->sound = false;
        if (e != STEP_UNSET)
                metrics_add(chain->service->metrics, &metric_failures, 1, cause, NULL, NULL);
        if (beside->troubled != e)
                log_write(LOG_WARN, "reconciling with the chain waits; it is tried again", "reason=%s", chain->why);
        beside->troubled = e;
        if (e > 0 && e != STEP_UNSET)
                note_trouble(chain, cause);
        beside->not_before_ms = clock_ms() + (e == STEP_UNSET ? LOOK_MS : backoff_next(&beside->backoff));
}

void *reconcile_beside(void *argument)
{
        struct service *service = argument;
        const struct ingest_config *config = service->config;
        struct beside beside = {0};
        register_metrics(service->metrics);
        chain_init(&beside.chain, service, config->rpc_url);
        backoff_init(&beside.backoff, 1000, 60000, (uint64_t)clock_wall_ms());
        if (config->rpc_url)
                metrics_set(service->metrics, &metric_age, (double)(clock_wall_ms() / 1000), NULL, NULL, NULL);
        while (config->rpc_url && !stop_requested()) {
                bool worked = false;
                int e = clock_ms() < beside.not_before_ms ? 0 : look_once(&beside, &worked);
                note_result(&beside, e, worked);
                if (stop_wait(LOOK_MS))
                        break;
        }
        changes_deinit(&beside.before);
        chain_deinit(&beside.chain);
        return NULL;
}
