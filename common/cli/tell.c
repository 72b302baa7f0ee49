#include "common/cli/tell.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void tell_object(cJSON *object)
{
        char *text = cJSON_PrintUnformatted(object);
        puts(text);
        free(text);
        cJSON_Delete(object);
}

void tell_rows(const struct service *service, const char *table, int64_t rows, const char *what)
{
        if (!service->json) {
                printf("%-28s %" PRId64 " %s\n", table, rows, what);
                return;
        }
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "table", table);
        cJSON_AddNumberToObject(object, "rows", (double)rows);
        cJSON_AddStringToObject(object, "what", what);
        tell_object(object);
}

void tell_one(const struct service *service, const char *key, const char *name, const char *why)
{
        if (!service->json)
                return;
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, key, name);
        if (why)
                cJSON_AddStringToObject(object, "why", why);
        tell_object(object);
}

void tell_end(const struct service *service, bool done, const char *key, int64_t count, const char *error)
{
        if (!service->json)
                return;
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "program", service->program->name);
        cJSON_AddBoolToObject(object, "done", done);
        if (key)
                cJSON_AddNumberToObject(object, key, (double)count);
        if (!done)
                cJSON_AddStringToObject(object, "error", error && *error ? error : "see stderr");
        tell_object(object);
}
