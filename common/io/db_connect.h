/*
 * Connecting to PostgreSQL: what db.c opens its connections with.
 *
 * Every host of the connection string, and every address of a host's name, is tried in turn with a time limit of its own:
 * connect_timeout of the string (also from the environment or a service file), else the options'. libpq's PQconnectPoll has no
 * such limit, and it does not go on to the next host when one takes the connection and says nothing, closes it, or is starting
 * up. target_session_attrs counts for each: with read-write a standby is left for the next host.
 */
#pragma once

#include <stdbool.h>
#include "common/base/base.h"

struct pg_conn; /* libpq's PGconn */

struct db_options {
        const char *url;             /* libpq connection URI or key=value string */
        const char *application;     /* application_name */
        bool prepared;               /* prepare statements on the server; false for poolers that cannot */
        int64_t connect_timeout_ms;  /* of each host and address, where the URL has no connect_timeout */
        bool ends_at_stop;           /* connecting fails once a stop is requested */
        void (*tick)(void *context); /* may be NULL */
        void *tick_context;
        void (*observe)(void *context, const char *statement, double seconds); /* each run's time; may be NULL */
        void *observe_context;
};

/* Negative: error says, host by host, why there is no connection. */
MUST_CHECK int db_connect(const struct db_options *options, struct pg_conn **out, char *error, size_t size);
/* host:port/database of a connection string, for people: where it leads, without its secrets. */
void db_url_place(const char *url, char *out, size_t size);
