#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>

#include "common/io/resolve.h"

/* Stands in front of libc's: "silent" is answered when the test says so, anything else at once. */
static sem_t answers, left;
static struct addrinfo first = {.ai_family = 4}, other = {.ai_family = 6};

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
        (void)service;
        if (hints->ai_flags & AI_NUMERICHOST)
                return EAI_NONAME;
        if (!strcmp(host, "silent"))
                sem_wait(&answers);
        *found = memory_new(1, sizeof(**found));
        **found = strcmp(host, "other") ? first : other;
        return strcmp(host, "nobody") ? 0 : (free(*found), EAI_NONAME);
}

void freeaddrinfo(struct addrinfo *found)
{
        free(found);
        sem_post(&left);
}

static int setup(void **state)
{
        (void)state;
        return sem_init(&answers, 0, 0) || sem_init(&left, 0, 0);
}

static void count(void *context)
{
        ++*(int *)context;
}

static void answers_at_once(void **state)
{
        const struct resolve_wait wait = {.limit_ms = 60000};
        struct addrinfo *found;
        char problem[200];

        (void)state;
        assert_int_equal(resolve_host("other", &wait, &found, problem, sizeof(problem)), 0);
        assert_int_equal(found->ai_family, 6);
        freeaddrinfo(found);
        assert_int_equal(resolve_host("nobody", &wait, &found, problem, sizeof(problem)), RESOLVE_FAILED);
        assert_null(found);
        assert_non_null(strstr(problem, "could not translate host name \"nobody\" to address: "));
}

/* Nobody waits longer than the limit, a sign of life is given meanwhile, and the answer that comes afterwards is released. */
static void silent_name_servers(void **state)
{
        int ticks = 0;
        const struct resolve_wait wait = {.limit_ms = 600, .tick = count, .context = &ticks};
        struct addrinfo *found;
        char problem[200];

        (void)state;
        assert_int_equal(resolve_host("silent", &wait, &found, problem, sizeof(problem)), RESOLVE_FAILED);
        assert_non_null(strstr(problem, "\"silent\" to address: no answer from the name servers in time"));
        assert_null(found);
        assert_true(ticks >= 2);
        sem_post(&answers);
        sem_wait(&left);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(answers_at_once, setup),
                cmocka_unit_test_setup(silent_name_servers, setup),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
