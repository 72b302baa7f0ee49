/* Parameters of statements: texts, arrays in binary form, rows for COPY. */
#include "common/io/db.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 4096

static void array_put(struct db_array *array, const void *data, size_t size)
{
        const size_t needed = array->size + size;
        if (needed > array->capacity)
                array->data = memory_grow(array->data, &array->capacity, needed < FIRST_SIZE ? FIRST_SIZE : needed, 1);
        if (size)
                memcpy(array->data + array->size, data, size);
        array->size = needed;
}

static void array_put_int(struct db_array *array, int32_t number)
{
        uint32_t wire = htonl((uint32_t)number);
        array_put(array, &wire, sizeof(wire));
}

/* array_recv's format: dimensions, has-null flag, element type, then length and lower bound of the one dimension, then the
 * elements */
void db_array_init(struct db_array *array, enum db_element element)
{
        *array = (struct db_array){.element = element};
        array_put_int(array, 1);
        array_put_int(array, 1);
        array_put_int(array, (int32_t)element);
        array_put_int(array, 0);
        array_put_int(array, 1);
}

void db_array_deinit(struct db_array *array)
{
        free(array->data);
        *array = (struct db_array){0};
}

void db_array_push(struct db_array *array, const char *data, size_t size)
{
        array_put_int(array, data ? (int32_t)size : -1);
        if (data)
                array_put(array, data, size);
        array->count++;
}

void db_array_push_text(struct db_array *array, const char *text)
{
        db_array_push(array, text, text ? strlen(text) : 0);
}

void db_array_push_number(struct db_array *array, int64_t number)
{
        uint64_t wire = htobe64((uint64_t)number);
        db_array_push(array, (const char *)&wire, sizeof(wire));
}

void db_array_push_small(struct db_array *array, int16_t number)
{
        uint16_t wire = htons((uint16_t)number);
        db_array_push(array, (const char *)&wire, sizeof(wire));
}

/* timestamptz: microseconds since 2000 */
void db_array_push_time(struct db_array *array, int64_t unix_seconds)
{
        db_array_push_number(array, (unix_seconds - 946684800) * 1000000);
}

static const struct {
        char letter; /* of db_columns_init */
        enum db_element element;
        unsigned array; /* the type of an array of it */
} types[] = {{'t', DB_TEXT, 1009}, {'b', DB_BYTES, 1001}, {'n', DB_BIGINT, 1016}, {'z', DB_TIME, 1185}};

struct db_param db_array_param(struct db_array *array)
{
        size_t i = 0;
        while (types[i].element != array->element)
                i++;
        uint32_t length = htonl((uint32_t)array->count);
        memcpy(array->data + 12, &length, sizeof(length));
        return (struct db_param){.type = types[i].array, .data = array->data, .size = (int)array->size, .binary = true};
}

void db_columns_init(struct db_columns *columns, const char *elements)
{
        columns->count = strlen(elements);
        if (columns->count > DB_COLUMNS_MAX)
                abort();
        for (size_t i = 0; i < columns->count; i++)
                for (size_t t = 0; t < ARRAY_LENGTH(types); t++)
                        if (types[t].letter == elements[i])
                                db_array_init(&columns->arrays[i], types[t].element);
}

void db_columns_deinit(struct db_columns *columns)
{
        for (size_t i = 0; i < columns->count; i++)
                db_array_deinit(&columns->arrays[i]);
}

const struct db_param *db_columns_params(struct db_columns *columns)
{
        for (size_t i = 0; i < columns->count; i++)
                columns->params[i] = db_array_param(&columns->arrays[i]);
        return columns->params;
}

void db_copy_init(struct db_array *rows)
{
        static const char head[11 + 4 + 4] = "PGCOPY\n\377\r\n"; /* signature, no flags, no extension */
        *rows = (struct db_array){0};
        array_put(rows, head, sizeof(head));
}

void db_copy_row(struct db_array *rows, int columns)
{
        uint16_t wire = htons((uint16_t)columns);
        array_put(rows, &wire, sizeof(wire));
}

void db_copy_end(struct db_array *rows)
{
        static const uint16_t end = 0xffff;
        array_put(rows, &end, sizeof(end));
}

struct db_param db_number(int64_t number)
{
        return (struct db_param){.is_number = true, .number = number};
}

struct db_param db_text(const char *text)
{
        return (struct db_param){.data = text, .size = text ? (int)strlen(text) : 0};
}
