/* The preflight: one line each on what the service needs of Redis and PostgreSQL. */
#pragma once

#include "common/stage/service.h"

int check_run(struct service *service); /* exit code */
