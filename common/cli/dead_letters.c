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
#include "common/stage/worker.h"
#include "common/stream/state.h"

#define PAGE        100
#define ERROR_SHOWN 70 /* bytes of an error in a list */

static const char *const shown[] = {
        "stage", "stream", "id", "group", "event_index", "error_class", "error", "attempts", "first_seen", "payload"};

struct letters {
        struct service *service;
        struct redis *redis;
        /* What is done with each letter: 0, or 1 where it failed for this letter, or negative. */
        int (*visit)(struct letters *letters, const struct stream_entry *letter);
        size_t met, done;
        bool whole;         /* what is shown */
        struct arena arena; /* these to retry */
        struct work work;
};

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

/* Ours from one id to another; entry (or NULL): only those that are about an entry of this id. */
static int visit_range(struct letters *letters, const char *from, const char *to, const char *entry)
{
        struct stream_batch batch = {0};
        char behind[80];
        size_t read;
        int r, worst = 0;
        do {
                stream_batch_reset(&batch);
                r = stream_range(letters->redis, letters->service->shared->dead_letter_stream, from, to, PAGE, &batch, &read);
                for (size_t i = 0; r >= 0 && i < batch.count; i++) {
                        const struct stream_entry *letter = &batch.entries[i];
                        if (!is_ours(letters->service, letter) || (entry && strcmp(field(letter, "id"), entry)))
                                continue;
                        letters->met++;
                        r = letters->visit(letters, letter);
                        worst = r ? r : worst;
                }
                if (read)
                        snprintf(behind, sizeof(behind), "(%s", batch.entries[read - 1].id);
                from = behind;
        } while (r >= 0 && read);
        stream_batch_deinit(&batch);
        return r < 0 ? r : worst;
}

/* By the letter's own id. What is only shown, by that of the entry it is about, too: the log says that one. A letter that is gone
 * is no reason to change another one. */
static int visit_one(struct letters *letters, const char *id)
{
        const char *name = letters->service->program->name;
        const size_t before = letters->met;
        int r = visit_range(letters, id, id, NULL);
        if (!r && letters->met == before && letters->whole)
                r = visit_range(letters, "-", "+", id);
        if (r || letters->met > before)
                return r;
        fprintf(stderr, "%s: %s is no dead letter of this stage and group; see %s dlq list, first column\n", name, id, name);
        return 1;
}

/* ---- list and show ---- */

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

static void print_json(const struct letters *letters, const struct stream_entry *letter)
{
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "letter", letter->id);
        for (size_t i = 0; i < ARRAY_LENGTH(shown); i++)
                if (letters->whole || strcmp(shown[i], "payload"))
                        add_field(object, letter, shown[i]);
        char *text = cJSON_PrintUnformatted(object);
        printf("%s%s",
                !letters->done   ? letters->whole ? "" : "["
                : letters->whole ? "\n"
                                 : ",\n",
                text); /* show: one a line, where an entry has several */
        free(text);
        cJSON_Delete(object);
}

static void print_text(const struct letters *letters, const struct stream_entry *letter)
{
        if (letters->whole) {
                printf("%-12s %s\n", "letter", letter->id);
                for (size_t i = 0; i < ARRAY_LENGTH(shown); i++) {
                        AUTO(text) char *text = readable(letter, shown[i]);
                        clean_text(text);
                        printf("%-12s %s\n", shown[i], text);
                }
                return;
        }
        if (!letters->done)
                printf("%-22s %-28s %-22s %-10s %-8s %s\n", "LETTER", "STREAM", "ENTRY", "CLASS", "ATTEMPTS", "ERROR");
        static const struct {
                const char *name;
                int width;
        } columns[] = {{"stream", 28}, {"id", 22}, {"error_class", 10}, {"attempts", 8}};
        char text[256];
        printf("%-22s ", letter->id);
        for (size_t i = 0; i < ARRAY_LENGTH(columns); i++)
                printf("%-*s ", columns[i].width, clean_copy(field(letter, columns[i].name), text, sizeof(text)));
        clean_copy(field(letter, "error"), text, sizeof(text));
        size_t size = strnlen(text, ERROR_SHOWN);
        while (((unsigned char)text[size] & 0xc0) == 0x80) /* within a character */
                size--;
        printf("%.*s%s\n", (int)size, text, text[size] ? "…" : "");
}

static int print_dead_letter(struct letters *letters, const struct stream_entry *letter)
{
        if (letters->service->json)
                print_json(letters, letter);
        else
                print_text(letters, letter);
        letters->done++;
        return 0;
}

/* ---- drop and retry ---- */

static int drop_dead_letter(struct letters *letters, const struct stream_entry *letter)
{
        AUTO(redis_reply) struct redis_reply *dropped = NULL;
        if (redis_call(letters->redis, &dropped, "XDEL", letters->service->shared->dead_letter_stream, letter->id, NULL))
                return -1;
        letters->done += (size_t)redis_reply_number(dropped); /* 0: somebody else was faster */
        return 0;
}

static int refuse(const struct letters *letters, const struct stream_entry *letter, const char *why)
{
        tell_one(letters->service, "stays", letter->id, why);
        fprintf(stderr, "%s stays: %s\n", letter->id, why);
        return 1;
}

/* The letter's own fields serve as the entry's: its payload, or what a key's entry had, is among them. */
static int retry_dead_letter(struct letters *letters, const struct stream_entry *letter)
{
        const struct program *program = letters->service->program;
        const char *target = letters->service->shared->output;
        struct stream_entry entry = stream_entry_make(field(letter, "stream"), field(letter, "id"), letter->fields);
        const struct stream_batch batch = {.entries = &entry, .count = 1, .redelivered = true};
        struct work *work = &letters->work;
        if (!*entry.stream || config_check_name(entry.stream) || !strchr(entry.id, '-') || !stream_position_is_text(entry.id))
                return refuse(letters, letter, "it does not say of which stream and entry it is");
        if (!strcmp(field(letter, "error_class"), "lost"))
                return refuse(letters, letter, "its data is lost; an outbox or the chain mends what it said, drop the letter");
        arena_reset(&letters->arena);
        work->batch = &batch;
        work->key_count = work->dead_letter_count = 0;
        int r = program->process(work);
        if (r) {
                fprintf(stderr, "%s stays: PostgreSQL: %s\n", letter->id, db_error(letters->work.db));
                return -1;
        }
        if (entry.left)
                return refuse(letters, letter, "it takes longer than PROCESSING_TIMEOUT_MS");
        if (work->dead_letter_count)
                return refuse(letters, letter, work->dead_letters[0].error);
        work_fold_keys(work);
        if (target && work->key_count && stream_publish(letters->redis, target, work->keys, work->key_count))
                return -1;
        return drop_dead_letter(letters, letter);
}

static int open_retry(struct letters *letters)
{
        struct service *service = letters->service;
        const struct program *program = service->program;
        const char *why = NULL;
        char other[PROGRAM_EXPLAIN_SIZE];
        struct db *db = letters->work.db = connect_schema(service);
        if (!db)
                return -1;
        int r = ownership_ask(service, letters->redis, db, other, &why);
        if (r) { /* the messages are another database's */
                fprintf(stderr, "%s: nothing was retried: %s\n", program->name, r > 0 ? other : why);
                return -1;
        }
        if (program->prepare && program->prepare(service, db, &why)) {
                fprintf(stderr, "%s: %s\n", program->name, why ? why : db_error(db));
                return -1;
        }
        return 0;
}

/* ---- the command ---- */

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
                if (!strchr(argv[i], '-') || !stream_position_is_text(argv[i])) {
                        fprintf(stderr, "bad ID %s; it is in the first column of the list\n", argv[i]);
                        return false;
                }
        return !show || argc == 3;
}

static void end_print(const struct letters *letters, int r)
{
        const struct service *service = letters->service;
        if (service->json && letters->done)
                fputs(letters->whole ? "\n" : "]\n", stdout);
        else if (service->json && !letters->whole && !r)
                fputs("[]\n", stdout);
        else if (!letters->whole && !letters->done && !r)
                fprintf(stderr, "%s: no dead letters\n", service->program->name);
        if (r && (letters->whole || !letters->done)) /* what has begun as a list ends as one */
                tell_end(service, false, NULL, 0, "not shown, see stderr");
}

static void end_change(const struct letters *letters, int r, const char *done)
{
        const struct db *db = letters->work.db;
        const char *error = db && *db_error(db) ? db_error(db) : redis_error(letters->redis);
        fprintf(stderr, "%s: %zu %s %s\n", letters->service->program->name, letters->done,
                letters->done == 1 ? "letter" : "letters", done);
        tell_end(letters->service, !r, done, (int64_t)letters->done, error);
}

int dead_letters_run(struct service *service, int argc, char **argv)
{
        const bool list = !strcmp(argv[1], "list"), show = !strcmp(argv[1], "show"), again = !strcmp(argv[1], "retry");
        AUTO(redis) struct redis *redis = connect_redis(service);
        struct letters letters = {.service = service, .redis = redis, .whole = show, .arena = ARENA_NULL};
        letters.visit = list || show ? print_dead_letter : again ? retry_dead_letter : drop_dead_letter;
        if (!redis) {
                tell_end(service, false, NULL, 0, "not begun, see stderr");
                return 1;
        }
        worker_open_work(&letters.work, service, &letters.arena);
        int r = again ? open_retry(&letters) : 0;
        if (!r && (list || !strcmp(argv[2], "--all")))
                r = visit_range(&letters, "-", "+", NULL);
        else
                for (int i = 2, one; r >= 0 && i < argc; i++) {
                        one = visit_one(&letters, argv[i]);
                        r = one ? one : r;
                }
        if (r && *redis_error(redis))
                fprintf(stderr, "%s: Redis: %s\n", service->program->name, redis_error(redis));
        if (list || show)
                end_print(&letters, r);
        else
                end_change(&letters, r, again ? "retried" : "dropped");
        db_close(letters.work.db);
        worker_close_work(&letters.work, service);
        return r ? 1 : 0;
}
