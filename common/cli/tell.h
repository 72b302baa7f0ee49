/* What a command has done, on stdout: lines for people, or a JSON object a line (service->json). Failures stand on stderr, and in
 * JSON in the last object, too. */
#pragma once

#include "common/stage/service.h"

struct cJSON;

/* Prints and frees it. */
void tell_object(struct cJSON *object);
/* rows of a table, and what became of them. */
void tell_rows(const struct service *service, const char *table, int64_t rows, const char *what);
/* One thing and why: `{"key":name,"why":…}`; only in JSON. */
void tell_one(const struct service *service, const char *key, const char *name, const char *why);
/* The last object, only in JSON: {"program":…,"done":…,"KEY":count}, and the error where there is one. key, error may be NULL. */
void tell_end(const struct service *service, bool done, const char *key, int64_t count, const char *error);
