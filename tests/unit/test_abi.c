/* Logs of the recorded chain, and what is wrong with them when a piece is missing. What all recorded logs decode to: the
 * integration tests. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ingest/decode/abi.h"
#include "ingest/decode/keccak.h"
#include "ingest/decode/number.h"

#define TERM    "0xa0e157e5fa1b17d3b54ec73622ce3317296920a06502661617613d59f58e947e"
#define CREATOR "0x000000000000000000000000f39fd6e51aad88f6f4ce6ab8827279cfffb92266"
#define WALLET  "000000000000000000000000237f54c0f3e2dec7b0bca3c2541e60a58be35916"
#define ZEROS   "00000000000000000000000000000000000000000000000000000000000000"

static struct arena arena;

static int release(void **state)
{
        (void)state;
        arena_deinit(&arena);
        return 0;
}

/* The data stands at the very end of its memory, so that reading on is seen by AddressSanitizer. */
static int decode(const char *const *topics, size_t topic_count, const char *data, struct event *event)
{
        struct abi_log log = {.topic_count = topic_count};
        unsigned char word[ABI_WORD_SIZE + 1];
        size_t count;
        for (size_t i = 0; i < topic_count; i++) {
                assert_int_equal(number_read_hex(topics[i], strlen(topics[i]), word, &count), 0);
                memcpy(log.topics[i], word, ABI_WORD_SIZE);
        }
        unsigned char *bytes = malloc(strlen(data) / 2 + 1);
        assert_int_equal(number_read_hex(data, strlen(data), bytes, &log.size), 0);
        unsigned char *exact = malloc(log.size ? log.size : 1);
        memcpy(exact, bytes, log.size);
        log.data = exact;
        memset(event, 0, sizeof(*event));
        int r = abi_decode(&log, &arena, event);
        free(bytes);
        free(exact);
        return r;
}

static void check_value(const struct event *event, size_t i, const char *expected)
{
        if (!expected) {
                assert_null(event->values[i].data);
                return;
        }
        assert_int_equal(event->values[i].size, strlen(expected));
        assert_memory_equal(event->values[i].data, expected, strlen(expected));
}

static void topics_are_hashes_of_signatures(void **state)
{
        static const char *const types[] = {[EVENT_FIELD_ADDRESS] = "address",
                [EVENT_FIELD_ID] = "bytes32",
                [EVENT_FIELD_AMOUNT] = "uint256",
                [EVENT_FIELD_VAULT_TYPE] = "uint8",
                [EVENT_FIELD_DATA] = "bytes"};
        (void)state;
        for (enum event_kind kind = 0; kind < EVENT_GENERIC; kind++) {
                const struct event_field *fields = event_types[kind].fields;
                unsigned char digest[KECCAK256_SIZE];
                char text[2 * KECCAK256_SIZE + 3], signature[256];
                int size = snprintf(signature, sizeof(signature), "%s", event_types[kind].name);
                for (size_t i = 0; fields[i].member; i++)
                        size += snprintf(
                                signature + size, sizeof(signature) - (size_t)size, "%c%s", i ? ',' : '(', types[fields[i].form]);
                size += snprintf(signature + size, sizeof(signature) - (size_t)size, ")");
                keccak256(signature, (size_t)size, digest);
                number_write_hex(digest, sizeof(digest), text);
                assert_string_equal(text, abi_topic(kind));
        }
        assert_null(abi_topic(EVENT_GENERIC));
}

static void bytes_argument(void **state)
{
        (void)state;
        const char *const topics[] = {abi_topic(EVENT_ATOM_CREATED), CREATOR, TERM};
        static const char data[] = ZEROS "40" WALLET ZEROS "0568656c6c6f000000000000000000000000000000000000000000000000000000";
        struct event event;
        assert_int_equal(decode(topics, 3, data, &event), 0);
        assert_int_equal(event.type->kind, EVENT_ATOM_CREATED);
        assert_int_equal(event.value_count, 5);
        check_value(&event, 0, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        check_value(&event, 1, TERM);
        check_value(&event, 2, "hello");
        check_value(&event, 3, NULL);
        check_value(&event, 4, "0x237f54c0F3E2deC7b0Bca3C2541E60a58bE35916");
        /* no text: bytes; none at all: an empty text */
        assert_int_equal(decode(topics, 3, ZEROS "40" WALLET ZEROS "02ff00", &event), 0);
        assert_null(event.values[2].data);
        assert_int_equal(event.values[3].size, 2);
        assert_int_equal(decode(topics, 3, ZEROS "40" WALLET ZEROS "00", &event), 0);
        check_value(&event, 2, "");
        /* every piece that can be missing, a length beyond the data, a place beyond the data, far and near */
        for (size_t size = 0; size < strlen(data) - 54; size += 2) {
                char *part = strndup(data, size);
                assert_int_equal(decode(topics, 3, part, &event), ABI_BAD);
                free(part);
        }
        assert_int_equal(decode(topics, 3, ZEROS "40" WALLET ZEROS "0668656c6c6f", &event), ABI_BAD);
        assert_int_equal(decode(topics, 3, ZEROS "41" WALLET ZEROS "00", &event), ABI_BAD);
        assert_int_equal(decode(topics, 3, "ff" ZEROS WALLET ZEROS "00", &event), ABI_BAD);
        assert_int_equal(decode(topics, 3, ZEROS "40" WALLET "ff" ZEROS, &event), ABI_BAD);
        assert_int_equal(decode(topics, 3,
                                 ZEROS "40"
                                       "01" WALLET ZEROS,
                                 &event),
                ABI_BAD);
}

static void amounts_and_limits(void **state)
{
        (void)state;
        const char *const topics[] = {abi_topic(EVENT_SHARE_PRICE_CHANGED), TERM, "ff" ZEROS "ff"};
        static const char most[] = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
        char data[4 * 64 + 1];
        struct event event;
        snprintf(data, sizeof(data), "%s%s%s%s", most, ZEROS "00", ZEROS "0a", ZEROS "02");
        assert_int_equal(decode(topics, 3, data, &event), 0);
        check_value(&event, 2, "115792089237316195423570985008687907853269984665640564039457584007913129639935");
        check_value(&event, 3, "0");
        check_value(&event, 4, "10");
        check_value(&event, 5, "2");
        snprintf(data, sizeof(data), "%s%s%s%s", most, most, most, ZEROS "02");
        memcpy(data + 3 * 64 + 60, "7fff", 4);
        assert_int_equal(decode(topics, 3, data, &event), 0);
        check_value(&event, 5, "32767");
        memcpy(data + 3 * 64 + 60, "8000", 4);
        assert_int_equal(decode(topics, 3, data, &event), ABI_BAD);
        assert_int_equal(decode(topics, 2, data, &event), ABI_BAD); /* a topic is missing */
        assert_int_equal(decode(topics, 0, data, &event), ABI_OTHER);
        assert_int_equal(decode(topics + 1, 1, data, &event), ABI_OTHER);
}

static void triples_have_a_counter(void **state)
{
        (void)state;
        const char *const topics[] = {abi_topic(EVENT_TRIPLE_CREATED), CREATOR, TERM};
        struct event event;
        assert_int_equal(decode(topics, 3, ZEROS "01" ZEROS "02" ZEROS "03", &event), 0);
        assert_int_equal(event.value_count, 6);
        check_value(&event, 4, "0x" ZEROS "03");
        assert_string_equal(event.values[5].data, event_counter_term_id(&arena, TERM));
        const char *const dirty[] = {abi_topic(EVENT_TRIPLE_CREATED), TERM, TERM};
        assert_int_equal(decode(dirty, 3, ZEROS "01" ZEROS "02" ZEROS "03", &event), ABI_BAD); /* no address */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(topics_are_hashes_of_signatures),
                cmocka_unit_test(bytes_argument),
                cmocka_unit_test(amounts_and_limits),
                cmocka_unit_test(triples_have_a_counter),
        };
        return cmocka_run_group_tests(tests, NULL, release);
}
