#include "common/io/db_connect.h"

#include <libpq-fe.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "common/base/clean.h"
#include "common/base/clock.h"
#include "common/base/stop.h"
#include "common/io/resolve.h"

#define TICK_MS     250
#define STOPPED     (-2) /* no other host is tried */
#define HOST_MAX    1024
#define LIMIT_MAX_S 86400

/* What the connection string comes to, with the environment and service file that libpq reads. */
struct plan {
        const struct db_options *options;
        const char *hosts, *addresses, *ports; /* comma-separated lists; NULL: not given */
        size_t count;
        bool prefers_standby, any_order;
        int64_t limit_ms; /* of each address */
        char *error;
        size_t size;
};

struct target {
        const char *host, *address, *port, *session; /* NULL: as in the string */
};

/* ---- the plan ---- */

static size_t list_count(const char *list)
{
        size_t count = 1;
        for (; (list = strchr(list, ',')); list++)
                count++;
        return count;
}

/* The i-th of a list; a list of one stands for all. "": empty, or no list. */
static void list_item(const char *list, size_t i, char out[HOST_MAX])
{
        *out = '\0';
        if (!list)
                return;
        for (; i && strchr(list, ','); i--)
                list = strchr(list, ',') + 1;
        if (!i)
                snprintf(out, HOST_MAX, "%.*s", (int)strcspn(list, ","), list);
}

/* libpq's own reading of the string. The connection is refused before it begins, for its sslmode. */
static PQconninfoOption *read_options(const char *url)
{
        const char *const names[] = {"dbname", "sslmode", NULL}, *const values[] = {url, "none", NULL};
        PGconn *never = PQconnectStartParams(names, values, 1);
        PQconninfoOption *found = never ? PQconninfo(never) : NULL;
        PQfinish(never);
        if (!found)
                memory_end();
        return found;
}

static void make_plan(struct plan *plan, const PQconninfoOption *found)
{
        for (; found->keyword; found++) {
                const char *value = found->val;
                if (!value || !*value)
                        continue;
                if (!strcmp(found->keyword, "host"))
                        plan->hosts = value;
                else if (!strcmp(found->keyword, "hostaddr"))
                        plan->addresses = value;
                else if (!strcmp(found->keyword, "port"))
                        plan->ports = value;
                else if (!strcmp(found->keyword, "connect_timeout") && strtol(value, NULL, 10) > 0)
                        plan->limit_ms = (strtol(value, NULL, 10) < LIMIT_MAX_S ? strtol(value, NULL, 10) : LIMIT_MAX_S) * 1000;
                else if (!strcmp(found->keyword, "target_session_attrs"))
                        plan->prefers_standby = !strcmp(value, "prefer-standby");
                else if (!strcmp(found->keyword, "load_balance_hosts"))
                        plan->any_order = !strcmp(value, "random");
        }
        plan->count = list_count(plan->addresses ? plan->addresses : plan->hosts ? plan->hosts : "");
}

void db_url_place(const char *url, char *out, size_t size)
{
        PQconninfoOption *found = read_options(url);
        struct plan plan = {0};
        const char *database = NULL;
        make_plan(&plan, found);
        for (const PQconninfoOption *o = found; o->keyword; o++)
                if (!strcmp(o->keyword, "dbname"))
                        database = o->val;
        snprintf(out, size, "%s:%s/%s",
                plan.addresses ? plan.addresses
                : plan.hosts   ? plan.hosts
                               : "local",
                plan.ports ? plan.ports : "", database ? database : "");
        PQconninfoFree(found);
        clean_reason(out);
}

/* ---- one address ---- */

static void notice_ignore(void *context, const char *message)
{
        (void)context;
        (void)message;
}

static int keep_failure(const struct plan *plan, const char *text)
{
        size_t used = strlen(plan->error);
        snprintf(plan->error + used, plan->size - used, "%s%s", used ? "; " : "", text);
        for (used = strlen(plan->error); used && strchr(" \n", plan->error[used - 1]); used--)
                plan->error[used - 1] = '\0';
        return -1;
}

static int keep_silence(const struct plan *plan, const struct target *target)
{
        char text[HOST_MAX + 200];
        snprintf(text, sizeof(text), "connection to server at \"%s\" (%s), port %s failed: no answer within %lld ms",
                target->host && *target->host ? target->host : "default", target->address ? target->address : "socket",
                target->port && *target->port ? target->port : "default", (long long)plan->limit_ms);
        return keep_failure(plan, text);
}

static int wait_connected(const struct plan *plan, const struct target *target, PGconn *conn)
{
        const struct db_options *options = plan->options;
        const int64_t deadline = clock_ms() + plan->limit_ms;
        PostgresPollingStatusType state = PGRES_POLLING_WRITING;
        if (PQstatus(conn) == CONNECTION_BAD)
                return keep_failure(plan, PQerrorMessage(conn));
        while (state != PGRES_POLLING_OK) {
                int64_t left = deadline - clock_ms();
                struct pollfd fd = {.fd = PQsocket(conn), .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
                if (left <= 0)
                        return keep_silence(plan, target);
                if (options->ends_at_stop && stop_requested())
                        return STOPPED;
                if (poll(&fd, 1, left > TICK_MS ? TICK_MS : (int)left) == 0) {
                        if (options->tick)
                                options->tick(options->tick_context);
                        continue;
                }
                state = PQconnectPoll(conn);
                if (state == PGRES_POLLING_FAILED)
                        return keep_failure(plan, PQerrorMessage(conn));
        }
        return 0;
}

static int try_target(const struct plan *plan, const struct target *target, PGconn **out)
{
        /* what comes later wins: the URL over our keepalives, not over the encoding; NULL is left out */
        const char *const names[] = {"keepalives_idle", "keepalives_interval", "keepalives_count", "dbname", "client_encoding",
                "fallback_application_name", "host", "hostaddr", "port", "target_session_attrs", NULL};
        const char *const values[] = {"10", "5", "3", plan->options->url, "UTF8", plan->options->application, target->host,
                target->address, target->port, target->session, NULL};
        PGconn *conn = PQconnectStartParams(names, values, 1);
        if (!conn)
                memory_end();
        PQsetNoticeProcessor(conn, notice_ignore, NULL);
        int r = wait_connected(plan, target, conn);
        if (r)
                PQfinish(conn);
        else
                *out = conn;
        return r;
}

/* ---- all of them ---- */

static int try_addresses(const struct plan *plan, struct target *target, PGconn **out)
{
        const struct db_options *options = plan->options;
        const struct resolve_wait wait = {.limit_ms = plan->limit_ms,
                .ends_at_stop = options->ends_at_stop,
                .tick = options->tick,
                .context = options->tick_context};
        struct addrinfo *found;
        char address[NI_MAXHOST], text[HOST_MAX + 200];
        int r = resolve_host(target->host, &wait, &found, text, sizeof(text));
        if (r)
                return r == RESOLVE_STOPPED ? STOPPED : keep_failure(plan, text);
        r = -1;
        for (const struct addrinfo *at = found; at && r == -1; at = at->ai_next) {
                if (getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST))
                        continue;
                target->address = address;
                r = try_target(plan, target, out);
        }
        freeaddrinfo(found);
        return r;
}

static int try_host(const struct plan *plan, size_t i, const char *session, PGconn **out)
{
        char host[HOST_MAX], address[HOST_MAX], port[HOST_MAX];
        list_item(plan->hosts, i, host);
        list_item(plan->addresses, i, address);
        list_item(plan->ports, plan->ports && list_count(plan->ports) == 1 ? 0 : i, port);
        struct target target = {.host = host, .address = *address ? address : NULL, .port = port, .session = session};
        const bool is_socket = !*host || *host == '/' || *host == '@';
        return *address || is_socket ? try_target(plan, &target, out) : try_addresses(plan, &target, out);
}

static int try_hosts(const struct plan *plan, const char *session, PGconn **out)
{
        size_t first = plan->any_order ? (size_t)clock_ms() % plan->count : 0;
        int r = -1;
        for (size_t i = 0; i < plan->count && r == -1; i++)
                r = try_host(plan, (first + i) % plan->count, session, out);
        return r;
}

int db_connect(const struct db_options *options, struct pg_conn **out, char *error, size_t size)
{
        PQconninfoOption *found = read_options(options->url);
        struct plan plan = {.options = options, .limit_ms = options->connect_timeout_ms, .error = error, .size = size};
        *error = '\0';
        make_plan(&plan, found);
        int r = try_hosts(&plan, plan.prefers_standby ? "standby" : NULL, out);
        if (r == -1 && plan.prefers_standby)
                r = try_hosts(&plan, "any", out);
        if (r == STOPPED)
                snprintf(error, size, "stopped while connecting");
        PQconninfoFree(found);
        clean_reason(error);
        return r;
}
