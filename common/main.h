/*
 * A program's main: wires the floors below to a service or runs a command.
 *
 * The folders of common are floors, from the bottom: base (libc only), io (one module for each foreign library), stream (Redis
 * streams as a consumer sees them), stage (workers and what keeps them going), view (what people and Prometheus look at), cli
 * (commands). A file includes what is on its own floor or below.
 */
#pragma once

#include "common/stage/service.h"

int service_main(const struct program *program, int argc, char **argv);
