/*
 * Connecting to PostgreSQL; only for db.c.
 *
 * Every host of the connection string, and every address of a host's name, is tried in turn with a time limit of its own:
 * connect_timeout of the string (also from the environment or a service file), else the options'. libpq's PQconnectPoll has no
 * such limit, and it does not go on to the next host when one takes the connection and says nothing, closes it, or is starting
 * up. target_session_attrs counts for each: with read-write a standby is left for the next host.
 */
#pragma once

#include "common/io/db.h"

struct pg_conn;

/* Negative: error says, host by host, why there is no connection. */
MUST_CHECK int db_connect(const struct db_options *options, struct pg_conn **out, char *error, size_t size);
