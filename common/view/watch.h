/*
 * Keeps the model and the gauges of a running service up to date, in two threads: one looks at the streams every second, one
 * asks PostgreSQL, and notes there that this replica runs, for every program's page. None of it matters to the tables: a failure
 * is logged when it begins.
 */
#pragma once

#include "common/view/model.h"

struct watch;

/* 0, or a negative errno, after which the process has to end. */
MUST_CHECK int watch_start(struct watch **out, struct service *service, struct model *model);
void watch_join(struct watch *watch); /* after stop_requested(); NULL is fine */
