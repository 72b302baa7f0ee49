/* The HTTP endpoints of a running service (spec section 8): health, probes, metrics, the status page and its JSON. */
#pragma once

#include "common/io/http.h"
#include "common/view/model.h"

extern const struct http_route web_routes[]; /* their context is a struct view */
