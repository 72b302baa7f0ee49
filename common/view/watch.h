/*
 * Keeps the model and the gauges of a running service up to date, in two threads: one looks at the streams every second, one
 * asks PostgreSQL, and notes there that this replica runs, for every program's page. None of it matters to the tables: a failure
 * is logged when it begins.
 */
#pragma once

#include "common/view/model.h"

/* context: a struct view. They end after stop_requested(). */
void *watch_streams(void *context);
void *watch_database(void *context);
