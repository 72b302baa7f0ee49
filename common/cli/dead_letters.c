#include "common/cli/commands.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clean.h"
#include "common/base/log.h"
#include "common/cli/connect.h"
#include "common/cli/tell.h"
#include "common/stage/ownership.h"
#include "common/stream/state.h"

#define PAGE        100
#define ERROR_SHOWN 70 /* bytes of an error in a list */

static const char *const shown[] = {
        "stage", "stream", "id", "group", "event_index", "error_class", "error", "attempts", "first_seen", "payload"};

/* What is done with each letter: 0, or 1 where it failed for this letter, or negative. */
typedef int visit_dead_letter(void *context, const struct stream_entry *letter);

static const char *field(const struct stream_entry *letter, const char *name)
{
        const char *text = stream_entry_field(letter, name, NULL);
        return text ? text : "";
}

static bool is_ours(const struct service *service, const struct stream_entry *letter)
{
        return !strcmp(field(letter, "stage"), service->program->name) && !strcmp(field(letter, "group"), service->shared->group);
}

/* ---- which letters ---- */

static int visit_page(
        const struct service *service, const struct stream_batch *batch, visit_dead_letter *visit, void *context, int *worst)
{
        for (size_t i = 0; i < batch->count; i++) {
                int r = is_ours(service, &batch->entries[i]) ? visit(context, &batch->entries[i]) : 0;
                if (r < 0)
                        return r;
                *worst = r ? r : *worst;
        }
        return 0;
}

static int visit_all(const struct service *service, struct redis *redis, visit_dead_letter *visit, void *context)
{
        struct stream_batch batch = {0};
        char from[80] = "-";
        size_t read;
        int r, worst = 0;
        do {
                stream_batch_reset(&batch);
                r = stream_range(redis, service->shared->dead_letter_stream, from, "+", PAGE, &batch, &read);
                if (!r && read) {
                        snprintf(from, sizeof(from), "(%s", batch.entries[read - 1].id);
                        r = visit_page(service, &batch, visit, context, &worst);
                }
        } while (!r && read);
        stream_batch_deinit(&batch);
        return r ? r : worst;
}

struct search {
        const char *id;
        visit_dead_letter *visit;
        void *context;
        size_t found;
};

static int visit_match(void *context, const struct stream_entry *letter)
{
        struct search *search = context;
        if (strcmp(field(letter, "id"), search->id))
                return 0;
        search->found++;
        return search->visit(search->context, letter);
}

/* By the letter's own id; else by that of the entry it is about, which the log and the status page show. */
static int visit_one(const struct service *service, struct redis *redis, const char *id, visit_dead_letter *visit, void *context)
{
        struct stream_batch batch = {0};
        struct search search = {.id = id, .visit = visit, .context = context};
        size_t read;
        int r = stream_range(redis, service->shared->dead_letter_stream, id, id, 1, &batch, &read);
        bool by_entry = !r && (!read || !is_ours(service, &batch.entries[0]));
        if (by_entry)
                r = visit_all(service, redis, visit_match, &search);
        if (by_entry && !r && !search.found) {
                fprintf(stderr, "%s: %s is no dead letter of this stage and group; see %s dlq list\n", service->program->name, id,
                        service->program->name);
                r = 1;
        } else if (!r && !by_entry) {
                r = visit(context, &batch.entries[0]);
        }
        stream_batch_deinit(&batch);
        return r;
}

/* ---- list and show ---- */

struct view {
        bool json, whole;
        size_t count;
};

/* A field for reading: U+FFFD stands for each NUL and each byte that is no UTF-8. */
static char *readable(const struct stream_entry *letter, const char *name)
{
        size_t size = 0, used = 0;
        const char *text = stream_entry_field(letter, name, &size);
        char *out = memory_new(3 * size + 1, 1);
        for (size_t i = 0, n; i < size; i += n ? n : 1) {
                n = text[i] ? log_character_size(text + i) : 0;
                memcpy(out + used, n ? text + i : "\xef\xbf\xbd", n ? n : 3);
                used += n ? n : 3;
        }
        out[used] = '\0';
        return out;
}

static void add_field(cJSON *object, const struct stream_entry *letter, const char *name)
{
        char *text = readable(letter, name);
        if (!strcmp(name, "attempts"))
                cJSON_AddNumberToObject(object, name, strtod(text, NULL));
        else
                cJSON_AddStringToObject(object, name, text);
        free(text);
}

static void print_json(struct view *view, const struct stream_entry *letter)
{
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "letter", letter->id);
        for (size_t i = 0; i < ARRAY_LENGTH(shown); i++)
                if (view->whole || strcmp(shown[i], "payload"))
                        add_field(object, letter, shown[i]);
        char *text = cJSON_PrintUnformatted(object);
        printf("%s%s", view->count ? ",\n" : "", text);
        free(text);
        cJSON_Delete(object);
}

/* What came from outside must not move a terminal's cursor. */
static void print_clean(const char *text, size_t max)
{
        for (size_t i = 0, n; text[i] && i < max; i += n) {
                n = log_character_size(text + i);
                bool control = !n || log_is_command(text + i, n);
                n = n ? n : 1;
                if (control)
                        putchar('?');
                else
                        fwrite(text + i, 1, n, stdout);
        }
}

static void print_text(const struct view *view, const struct stream_entry *letter)
{
        if (view->whole) {
                printf("%-12s %s\n", "letter", letter->id);
                for (size_t i = 0; i < ARRAY_LENGTH(shown); i++) {
                        printf("%-12s ", shown[i]);
                        char *text = readable(letter, shown[i]);
                        print_clean(text, SIZE_MAX);
                        free(text);
                        putchar('\n');
                }
                return;
        }
        if (!view->count)
                printf("%-22s %-28s %-22s %-10s %-8s %s\n", "LETTER", "STREAM", "ENTRY", "CLASS", "ATTEMPTS", "ERROR");
        static const struct {
                const char *name;
                int width;
        } columns[] = {{"stream", 28}, {"id", 22}, {"error_class", 10}, {"attempts", 8}};
        char text[256];
        printf("%-22s ", letter->id);
        for (size_t i = 0; i < ARRAY_LENGTH(columns); i++)
                printf("%-*s ", columns[i].width, clean_copy(field(letter, columns[i].name), text, sizeof(text)));
        print_clean(field(letter, "error"), ERROR_SHOWN);
        puts(strlen(field(letter, "error")) > ERROR_SHOWN ? "…" : "");
}

static int print_dead_letter(void *context, const struct stream_entry *letter)
{
        struct view *view = context;
        if (view->json)
                print_json(view, letter);
        else
                print_text(view, letter);
        view->count++;
        return 0;
}

/* ---- drop and retry ---- */

struct retry {
        struct service *service;
        struct redis *redis;
        struct db *db;
        struct arena arena;
        struct work work;
        size_t done;
};

static int drop_dead_letter(void *context, const struct stream_entry *letter)
{
        struct retry *retry = context;
        if (redis_call(retry->redis, NULL, "XDEL", retry->service->shared->dead_letter_stream, letter->id, NULL))
                return -1;
        retry->done++;
        return 0;
}

static int refuse(const struct retry *retry, const struct stream_entry *letter, const char *why)
{
        tell_one(retry->service, "stays", letter->id, why);
        fprintf(stderr, "%s stays: ", letter->id);
        fputs(why, stderr);
        fputc('\n', stderr);
        return 1;
}

/* The letter's own fields serve as the entry's: its payload, or what a key's entry had, is among them. */
static int retry_dead_letter(void *context, const struct stream_entry *letter)
{
        struct retry *retry = context;
        const struct program *program = retry->service->program;
        const char *target = program->output(retry->service->config);
        struct stream_entry entry = stream_entry_make(field(letter, "stream"), field(letter, "id"), letter->fields);
        const struct stream_batch batch = {.entries = &entry, .count = 1, .redelivered = true};
        struct work *work = &retry->work;
        if (!strcmp(field(letter, "error_class"), "lost"))
                return refuse(retry, letter, "its data is lost; an outbox or the chain mends what it said, drop the letter");
        arena_reset(&retry->arena);
        work->batch = &batch;
        work->key_count = work->dead_letter_count = 0;
        int r = program->process(work);
        if (r) {
                fprintf(stderr, "%s stays: PostgreSQL: %s\n", letter->id, db_error(retry->db));
                return -1;
        }
        if (entry.left)
                return refuse(retry, letter, "it takes longer than PROCESSING_TIMEOUT_MS");
        if (work->dead_letter_count)
                return refuse(retry, letter, work->dead_letters[0].error);
        work_fold_keys(work);
        if (target && work->key_count && stream_publish(retry->redis, target, work->keys, work->key_count))
                return -1;
        return drop_dead_letter(context, letter);
}

static int open_retry(struct retry *retry)
{
        struct service *service = retry->service;
        const struct program *program = service->program;
        const char *why = NULL;
        char other[PROGRAM_EXPLAIN_SIZE];
        retry->db = connect_schema(service);
        if (!retry->db)
                return -1;
        int r = ownership_ask(service, retry->redis, retry->db, other, &why);
        if (r) { /* the messages are another database's */
                fprintf(stderr, "%s: nothing was retried: %s\n", program->name, r > 0 ? other : why);
                return -1;
        }
        if (program->prepare && program->prepare(service, retry->db, &why)) {
                fprintf(stderr, "%s: %s\n", program->name, why ? why : db_error(retry->db));
                return -1;
        }
        retry->work = (struct work){
                .config = service->config,
                .state = program->state_new ? program->state_new(service->config) : NULL,
                .db = retry->db,
                .arena = &retry->arena,
                .metrics = service->metrics,
                .deadline_ms = service->shared->processing_timeout_ms,
                .max_retries = service->shared->max_retries,
        };
        return 0;
}

static void close_retry(struct retry *retry)
{
        const struct program *program = retry->service->program;
        if (program->state_free && retry->work.state)
                program->state_free(retry->work.state);
        work_deinit(&retry->work);
        arena_deinit(&retry->arena);
        db_close(retry->db);
}

/* ---- the command ---- */

static bool is_id(const char *text)
{
        size_t ms = strspn(text, "0123456789");
        return ms && text[ms] == '-' && text[ms + 1] && !text[ms + 1 + strspn(text + ms + 1, "0123456789")];
}

static int show_dead_letters(struct service *service, struct redis *redis, const char *id)
{
        const bool json = service->json;
        struct view view = {.json = json, .whole = id};
        if (json && !id)
                printf("[");
        int r = id ? visit_one(service, redis, id, print_dead_letter, &view)
                   : visit_all(service, redis, print_dead_letter, &view);
        if (json && view.count)
                printf(id ? "\n" : "]\n");
        else if (json && !id)
                printf("]\n");
        else if (!r && !id && !view.count)
                fprintf(stderr, "%s: no dead letters\n", service->program->name);
        return r;
}

static int change_dead_letters(struct service *service, struct redis *redis, bool again, char **ids, int count)
{
        struct retry retry = {.service = service, .redis = redis, .arena = ARENA_NULL};
        visit_dead_letter *visit = again ? retry_dead_letter : drop_dead_letter;
        int r = again ? open_retry(&retry) : 0, worst = 0;
        if (!r && count == 1 && !strcmp(ids[0], "--all"))
                r = visit_all(service, redis, visit, &retry);
        else
                for (int i = 0; r >= 0 && i < count; i++) {
                        r = visit_one(service, redis, ids[i], visit, &retry);
                        worst = r ? r : worst;
                }
        fprintf(stderr, "%s: %zu %s %s\n", service->program->name, retry.done, retry.done == 1 ? "letter" : "letters",
                again ? "retried" : "dropped");
        worst = r ? r : worst;
        tell_end(service, !worst, again ? "retried" : "dropped", (int64_t)retry.done,
                retry.db && *db_error(retry.db) ? db_error(retry.db) : redis_error(redis));
        close_retry(&retry);
        return worst;
}

bool dead_letters_accepts(int argc, char **argv)
{
        const char *what = argc > 1 ? argv[1] : "";
        const bool list = !strcmp(what, "list"), show = !strcmp(what, "show");
        if (list)
                return argc == 2;
        if (argc < 3 || (!show && strcmp(what, "retry") && strcmp(what, "drop")))
                return false;
        if (!show && argc == 3 && !strcmp(argv[2], "--all"))
                return true;
        for (int i = 2; i < argc; i++)
                if (!is_id(argv[i])) {
                        fprintf(stderr, "bad ID %s; it is in the first column of the list, or that of the entry\n", argv[i]);
                        return false;
                }
        return !show || argc == 3;
}

int dead_letters_run(struct service *service, int argc, char **argv)
{
        const bool list = !strcmp(argv[1], "list"), show = !strcmp(argv[1], "show"), again = !strcmp(argv[1], "retry");
        AUTO(redis) struct redis *redis = connect_redis(service);
        if (!redis) {
                tell_end(service, false, NULL, 0, "not begun, see stderr");
                return 1;
        }
        int r = list || show ? show_dead_letters(service, redis, show ? argv[2] : NULL)
                             : change_dead_letters(service, redis, again, argv + 2, argc - 2);
        if (r && *redis_error(redis))
                fprintf(stderr, "%s: Redis: %s\n", service->program->name, redis_error(redis));
        if (r && show)
                tell_end(service, false, NULL, 0, "not shown, see stderr");
        return r ? 1 : 0;
}
