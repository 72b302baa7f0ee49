/* Texts are written with ' for ": json() turns them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ingest/decode/decode.h"
#include "ingest/decode/json.h"

#define U256_MAX "115792089237316195423570985008687907853269984665640564039457584007913129639935"
#define U256_END "115792089237316195423570985008687907853269984665640564039457584007913129639936"
#define HEX_32   "00112233445566778899aabbccddeeff"
#define ID       HEX_32 HEX_32
#define UPPER_ID "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"
#define HASH     "0xabababababababababababababababababababababababababababababababab"
#define BLOCK    "0xcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
#define LOWER    "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"
#define CHECKED  "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
#define PLACE                                                                                                                    \
        "'transaction_information':{'address':'" LOWER "','block_hash':'" BLOCK "','block_number':7,'block_timestamp':null,"     \
        "'chain_id':1,'log_index':'0x2','network':'net','transaction_hash':'" HASH "','transaction_index':3}"
#define PRICE                   "{'curveId':'1','sharePrice':'5','termId':'" ID "','totalAssets':'6','totalShares':'7','vaultType':0," PLACE "}"
#define MESSAGE(name, elements) "{'event_name':'" name "','event_data':[" elements "],'network':'net'}"

static struct arena arena, scratch;

static int release(void **state)
{
        (void)state;
        arena_deinit(&arena);
        arena_deinit(&scratch);
        return 0;
}

static const char *json(const char *text)
{
        char *copy = arena_copy(&arena, text, strlen(text));

        for (char *at = copy; *at; at++)
                if (*at == '\'')
                        *at = '"';
        return copy;
}

/* Text at the very end of its memory and without a NUL, so that reading on is seen by AddressSanitizer. */
static struct decode_message decode_bytes(const char *text, size_t size, const char *network)
{
        struct decode_message message;
        char *exact = malloc(size ? size : 1);
        int r;

        memcpy(exact, text, size);
        r = decode_message(exact, size, network, &arena, &scratch, &message);
        free(exact);
        assert_int_equal(r, message.fault_count ? DECODE_BAD : 0);
        return message;
}

static struct decode_message decode(const char *text)
{
        text = json(text);
        return decode_bytes(text, strlen(text), NULL);
}

static void check_whole(struct decode_message message, const char *class, const char *text)
{
        assert_int_equal(message.event_count, 0);
        assert_int_equal(message.fault_count, 1);
        assert_null(message.notice);
        assert_true(message.faults[0].index == DECODE_WHOLE_MESSAGE);
        assert_string_equal(message.faults[0].text, json(text));
        assert_string_equal(message.faults[0].class, class);
}

/* One event, one fault. */
static void check_fault(struct decode_message message, const char *class, const char *text)
{
        assert_int_equal(message.event_count, 0);
        assert_int_equal(message.fault_count, 1);
        assert_int_equal(message.faults[0].index, 0);
        assert_string_equal(message.faults[0].text, json(text));
        assert_string_equal(message.faults[0].class, class);
}

static void check_value(const struct event *event, size_t i, const char *text)
{
        assert_true(i < event->value_count);
        assert_non_null(event->values[i].data);
        assert_int_equal(event->values[i].size, strlen(text));
        assert_memory_equal(event->values[i].data, text, strlen(text));
}

/* `text` with the first `old` replaced: a message with one member changed. */
static struct decode_message with(const char *text, const char *old, const char *new)
{
        const char *at = strstr(text, old);

        assert_non_null(at);
        return decode(arena_format(&arena, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old)));
}

static const char atom[] = MESSAGE(
        "AtomCreated", "{'atomData':'68656c6c6f','atomWallet':'" LOWER "','creator':'" LOWER "','termId':'0x" ID "'," PLACE "}");
static const char triple[] =
        MESSAGE("TripleCreated", "{'creator':'" LOWER "','objectId':'" ID "','predicateId':'0x" ID "','subjectId':'0x" UPPER_ID
                                 "','termId':'b60991c2ac699d46aeea204b8994a3d9636a615d6944d2aeb2f0d5c565fac1b7'," PLACE "}");
static const char deposited[] =
        MESSAGE("Deposited", "{'assets':'10','assetsAfterFees':'9','curveId':'1','receiver':'" LOWER "','sender':'" LOWER
                             "','shares':'8','termId':'" ID "','totalShares':'0x10','vaultType':2," PLACE "}");
static const char redeemed[] = MESSAGE("Redeemed", "{'assets':10,'fees':'1','curveId':'2','receiver':'" LOWER "','sender':'" LOWER
                                                   "','shares':'8','termId':'" ID "','totalShares':0,'vaultType':'1'," PLACE "}");
static const char price[] = MESSAGE("SharePriceChanged", PRICE);

static void place_of_an_event(void **state)
{
        struct decode_message message = decode(price);
        const struct event *event = message.events;

        (void)state;
        assert_int_equal(message.event_count, 1);
        assert_ptr_equal(event->type, &event_types[EVENT_SHARE_PRICE_CHANGED]);
        assert_int_equal(event->index, 0);
        assert_string_equal(event->transaction_hash, HASH);
        assert_string_equal(event->block_hash, BLOCK);
        assert_string_equal(event->address, LOWER);
        assert_string_equal(event->network, "net");
        assert_int_equal(event->block_number, 7);
        assert_int_equal(event->log_index, 2);
        assert_int_equal(event->transaction_index, 3);
        assert_int_equal(event->block_timestamp, -1);
        assert_int_equal(with(price, "null", "'0x6ada70d8'").events[0].block_timestamp, 0x6ada70d8);
        assert_int_equal(with(price, "'block_timestamp':null,", "").events[0].block_timestamp, -1);
        assert_int_equal(with(price, "null", "0").events[0].block_timestamp, 0);
        assert_true(with(price, "null", "1099511627776").events[0].block_timestamp == (int64_t)1 << 40);
        assert_true(with(price, "7,", "9223372036854775807,").events[0].block_number == INT64_MAX);
        assert_string_equal(with(price, LOWER, "5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED").events[0].address, LOWER);
}

static void values_of_each_type(void **state)
{
        struct decode_message message = decode(atom);

        (void)state;
        assert_int_equal(message.events[0].value_count, 5);
        check_value(message.events, 0, CHECKED);
        check_value(message.events, 1, "0x" ID);
        check_value(message.events, 2, "hello");
        assert_null(message.events[0].values[3].data);
        check_value(message.events, 4, CHECKED);

        message = decode(triple);
        assert_int_equal(message.events[0].value_count, 6);
        check_value(message.events, 2, "0x" ID);
        check_value(message.events, 3, "0x" ID);
        check_value(message.events, 4, "0x" ID);
        check_value(message.events, 5, "0xab861ee31f544da1b918d4a9c5aadebdffc6796fa8df3edf57bcab5a12e68ef6");

        message = decode(deposited);
        assert_int_equal(message.events[0].value_count, 9);
        for (size_t i = 0; i < 9; i++) {
                static const char *const expected[] = {CHECKED, CHECKED, "0x" ID, "1", "10", "9", "8", "16", "2"};

                check_value(message.events, i, expected[i]);
        }
        message = decode(redeemed);
        assert_int_equal(message.events[0].value_count, 9);
        for (size_t i = 0; i < 9; i++) {
                static const char *const expected[] = {CHECKED, CHECKED, "0x" ID, "2", "8", "0", "10", "1", "1"};

                check_value(message.events, i, expected[i]);
        }
        message = decode(price);
        assert_int_equal(message.events[0].value_count, 6);
        for (size_t i = 0; i < 6; i++) {
                static const char *const expected[] = {"0x" ID, "1", "5", "6", "7", "0"};

                check_value(message.events, i, expected[i]);
        }
}

static void atom_data(void **state)
{
        static const struct {
                const char *hex, *text, *bytes;
                size_t size;
        } cases[] = {
                {"", "", NULL, 0},
                {"0x", "", NULL, 0},
                {"0x41", "A", NULL, 1},
                {"f09f9880", "\xf0\x9f\x98\x80", NULL, 4},
                {"00", NULL, "\0", 1},
                {"410042", NULL, "A\0B", 3},
                {"ff", NULL, "\xff", 1},
                {"c0af", NULL, "\xc0\xaf", 2},
                {"eda080", NULL, "\xed\xa0\x80", 3},
                {"41e282", NULL, "A\xe2\x82", 3},
                {"f4908080", NULL, "\xf4\x90\x80\x80", 4},
                {"efbfbf", "\xef\xbf\xbf", NULL, 3},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
                struct decode_message message = with(atom, "68656c6c6f", cases[i].hex);
                const struct event_value *values = message.events[0].values + 2;

                assert_int_equal(message.event_count, 1);
                assert_true(!values[0].data == !cases[i].text);
                assert_true(!values[1].data == !cases[i].bytes);
                assert_int_equal(values[cases[i].text ? 0 : 1].size, cases[i].size);
                assert_memory_equal(
                        values[cases[i].text ? 0 : 1].data, cases[i].text ? cases[i].text : cases[i].bytes, cases[i].size);
        }
        check_fault(with(atom, "68656c6c6f", "abc"), "format",
                "event_data[0].atomData: 'abc' is not hex of an even number of digits");
        check_fault(
                with(atom, "68656c6c6f", "zz"), "format", "event_data[0].atomData: 'zz' is not hex of an even number of digits");
        check_fault(with(atom, "'68656c6c6f'", "6865"), "type", "event_data[0].atomData: 6865 is not a string");
}

static void number_forms(void **state)
{
        static const struct {
                const char *json, *decimal;
        } good[] = {{"0", "0"}, {"'0'", "0"}, {"'007'", "7"}, {"'0x0'", "0"}, {"'0xfF'", "255"},
                {"9007199254740993", "9007199254740993"}, {U256_MAX, U256_MAX}, {"'" U256_MAX "'", U256_MAX},
                {"'0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff'", U256_MAX}};
        static const struct {
                const char *json, *class, *text;
        } bad[] = {
                {"1.5", "format", "1.5 is not a whole number in decimal or 0x digits"},
                {"1e5", "format", "1e5 is not a whole number in decimal or 0x digits"},
                {"1.0", "format", "1.0 is not a whole number in decimal or 0x digits"},
                {"-1", "format", "-1 is not a whole number in decimal or 0x digits"},
                {"-0", "format", "-0 is not a whole number in decimal or 0x digits"},
                {"''", "format", "'' is not a whole number in decimal or 0x digits"},
                {"'0x'", "format", "'0x' is not a whole number in decimal or 0x digits"},
                {"' 1'", "format", "' 1' is not a whole number in decimal or 0x digits"},
                {"'5\\u0000'", "format", "'5\\u0000' is not a whole number in decimal or 0x digits"},
                {"null", "type", "null is not a number"},
                {"true", "type", "true is not a number"},
                {"false", "type", "false is not a number"},
                {"{}", "type", "an object is not a number"},
                {"[5]", "type", "an array is not a number"},
                {"'" U256_END "'", "range", "'" U256_END "' is above 2^256-1"},
                {U256_END, "range", U256_END " is above 2^256-1"},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
                struct decode_message message = with(price, "'5'", good[i].json);

                assert_int_equal(message.event_count, 1);
                check_value(message.events, 2, good[i].decimal);
        }
        for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
                check_fault(with(price, "'5'", bad[i].json), bad[i].class,
                        arena_format(&arena, "event_data[0].sharePrice: %s", bad[i].text));
        assert_int_equal(with(price, "'5'", "01").faults[0].index, DECODE_WHOLE_MESSAGE);
}

static void ranges(void **state)
{
        (void)state;
        check_value(with(price, "'vaultType':0", "'vaultType':32767").events, 5, "32767");
        check_fault(with(price, "'vaultType':0", "'vaultType':40000"), "range", "event_data[0].vaultType: 40000 is above 32767");
        check_fault(with(price, "'vaultType':0", "'vaultType':'0x8000'"), "range",
                "event_data[0].vaultType: '0x8000' is above 32767");
        check_fault(with(price, "null", "1099511627777"), "range",
                "event_data[0].transaction_information.block_timestamp: 1099511627777 is above 1099511627776");
        check_fault(with(price, "7,'", "9223372036854775808,'"), "range",
                "event_data[0].transaction_information.block_number: 9223372036854775808 is above 9223372036854775807");
        check_fault(with(price, "'0x2'", "'0x8000000000000000'"), "range",
                "event_data[0].transaction_information.log_index: '0x8000000000000000' is above 9223372036854775807");
        check_fault(with(price, "_index':3", "_index':-3"), "format",
                "event_data[0].transaction_information.transaction_index: -3 is not a whole number in decimal or 0x digits");
}

static void hex_forms(void **state)
{
        (void)state;
        check_value(with(price, ID, UPPER_ID).events, 0, "0x" ID);
        check_value(with(price, ID, "0x" UPPER_ID).events, 0, "0x" ID);
        check_fault(with(price, ID, "0X" ID), "format", "event_data[0].termId: '0X" ID "' is not 32 bytes of hex");
        check_value(with(deposited, LOWER "','sender'", "5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED','sender'").events, 1, CHECKED);
        check_fault(with(price, ID, HEX_32), "format", "event_data[0].termId: '" HEX_32 "' is not 32 bytes of hex");
        check_fault(with(price, ID, ID "00"), "format", "event_data[0].termId: '" ID "00' is not 32 bytes of hex");
        check_fault(with(price, ID, "0x" ID "0"), "format", "event_data[0].termId: '0x" ID "0' is not 32 bytes of hex");
        check_fault(with(price, ID, "0x" HEX_32 HEX_32 "\\u0000"), "format",
                "event_data[0].termId: '0x" HEX_32 HEX_32 "\\u0000' is not 32 bytes of hex");
        check_fault(with(price, ID, ""), "format", "event_data[0].termId: '' is not 32 bytes of hex");
        check_fault(with(price, ID, "0x"), "format", "event_data[0].termId: '0x' is not 32 bytes of hex");
        check_fault(with(price, "'" ID "'", "1234567890123456789012345678901234567890123456789012345678901234"), "type",
                "event_data[0].termId: 1234567890123456789012345678901234567890123456789012345678901234 is not a string");
        check_fault(with(deposited, "'sender':'" LOWER "'", "'sender':'0x00'"), "format",
                "event_data[0].sender: '0x00' is not 20 bytes of hex");
        check_fault(with(price, BLOCK, LOWER), "format",
                "event_data[0].transaction_information.block_hash: '" LOWER "' is not 32 bytes of hex");
}

/* Two accounts in one slot of what a message knows: their last bytes differ by 64. */
#define NEIGHBOUR         "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaad"
#define NEIGHBOUR_CHECKED "0x5AAeB6053f3e94c9b9A09f33669435E7eF1BEAAD"
#define PAID(from, to)                                                                                                           \
        "{'assets':'10','assetsAfterFees':'9','curveId':'1','receiver':'" to "','sender':'" from "','shares':'8','termId':'" ID  \
        "','totalShares':'1','vaultType':2," PLACE "}"

static void known_addresses(void **state)
{
        struct decode_message message =
                decode(MESSAGE("Deposited", PAID(LOWER, LOWER) "," PAID(LOWER, NEIGHBOUR) "," PAID(NEIGHBOUR, LOWER)));

        (void)state;
        assert_int_equal(message.event_count, 3);
        check_value(&message.events[0], 0, CHECKED);
        check_value(&message.events[0], 1, CHECKED);
        check_value(&message.events[1], 0, CHECKED);
        check_value(&message.events[1], 1, NEIGHBOUR_CHECKED);
        check_value(&message.events[2], 0, NEIGHBOUR_CHECKED);
        check_value(&message.events[2], 1, CHECKED);
}

static void missing_members(void **state)
{
        (void)state;
        check_fault(with(price, "'sharePrice':'5',", ""), "missing", "event_data[0].sharePrice: is missing");
        check_fault(with(price, "sharePrice", "shareprice"), "missing", "event_data[0].sharePrice: is missing");
        check_fault(with(price, "sharePrice'", "sharePrice\\u0000'"), "missing", "event_data[0].sharePrice: is missing");
        check_fault(
                with(price, "'log_index':'0x2',", ""), "missing", "event_data[0].transaction_information.log_index: is missing");
        check_fault(with(price, "'address':'" LOWER "',", ""), "missing",
                "event_data[0].transaction_information.address: is missing");
        check_fault(decode(MESSAGE("SharePriceChanged", "{}")), "missing", "event_data[0].transaction_information: is missing");
        check_fault(decode(MESSAGE("SharePriceChanged", "{'transaction_information':[]}")), "type",
                "event_data[0].transaction_information: an array is not an object");
}

static void values_shown_are_short(void **state)
{
        char digits[201], euros[301], expected[500];

        (void)state;
        memset(digits, '9', 200);
        digits[200] = '\0';
        snprintf(expected, sizeof(expected), "event_data[0].vaultType: %.80s… is above 32767", digits);
        check_fault(with(price, "Type':0", arena_format(&arena, "Type':%s", digits)), "range", expected);
        for (int i = 0; i < 100; i++)
                memcpy(euros + i * 3, "€", 3);
        euros[300] = '\0';
        /* 27 characters are 81 bytes with the quote; none is cut */
        snprintf(expected, sizeof(expected), "event_data[0].vaultType: '%.81s… is not a whole number in decimal or 0x digits",
                euros);
        check_fault(with(price, "Type':0", arena_format(&arena, "Type':'%s'", euros)), "format", expected);
        check_fault(with(price, "Type':0", "Type':'a\\n\\u001b'"), "format",
                "event_data[0].vaultType: 'a\\n\\u001b' is not a whole number in decimal or 0x digits");
}

static void duplicates_and_unknown_members(void **state)
{
        (void)state;
        check_value(with(price, "'sharePrice':'5'", "'sharePrice':[],'sharePrice':'5'").events, 2, "5");
        check_fault(with(price, "'sharePrice':'5'", "'sharePrice':'5','sharePrice':[]"), "type",
                "event_data[0].sharePrice: an array is not a number");
        check_value(
                with(price, "'sharePrice':'5'", "'sharePrice':'5','SharePrice':'6','x':['a\\u0000b',{'y':1e99}]").events, 2, "5");
        /* names that a cut string, or one with an escape, would confuse */
        check_value(with(price, "'sharePrice':'5'", "'sharePrice\\u0000':'6','sharePrice':'5','sharePrice\\u0000':'6'").events, 2,
                "5");
        check_value(with(price, "'sharePrice':'5'", "'share\\u0050rice':'5'").events, 2, "5");
        assert_int_equal(
                decode("{'event_name':'X','event_name':'SharePriceChanged','event_data':[1],'event_data':[]}").fault_count, 0);
}

static void networks(void **state)
{
        const char *text = json(price);
        struct decode_message message;

        (void)state;
        assert_int_equal(decode_bytes(text, strlen(text), "net").event_count, 1);
        check_fault(decode_bytes(text, strlen(text), "other"), "network",
                "event_data[0].transaction_information.network: 'net' is not 'other', the network to take");
        /* the event's own goes before the envelope's, which stands in where it is absent or null */
        assert_string_equal(with(price, "'network':'net'", "'network':'own'").events[0].network, "own");
        assert_string_equal(with(price, "'network':'net',", "").events[0].network, "net");
        assert_string_equal(with(price, "'network':'net'", "'network':null").events[0].network, "net");
        check_fault(decode("{'event_name':'SharePriceChanged','event_data':[{'transaction_information':{}}]}"), "missing",
                "event_data[0].transaction_information.network: is missing");
        check_fault(decode("{'event_name':'X','event_data':[{'transaction_information':{}}],'network':5}"), "type",
                "network: 5 is not a string");
        check_fault(with(price, "'network':'net'", "'network':5"), "type",
                "event_data[0].transaction_information.network: 5 is not a string");
        check_fault(with(price, "'network':'net'", "'network':''"), "format",
                "event_data[0].transaction_information.network: '' is no name of a network");
        check_fault(with(price, "'network':'net'", "'network':'net\\u0000'"), "format",
                "event_data[0].transaction_information.network: 'net\\u0000' is no name of a network");
        text = json(MESSAGE("SharePriceChanged", "{'transaction_information':{}}"));
        message = decode_bytes(text, strlen(text), "other");
        check_fault(message, "network", "network: 'net' is not 'other', the network to take");
}

static void envelopes(void **state)
{
        struct decode_message message;

        (void)state;
        message = decode("{'event_name':'Deposited','event_data':[]}");
        assert_int_equal(message.event_count + message.fault_count, 0);
        message = decode(" \n{'event_name':'SharePriceChanged','event_data':" PRICE ",'network':'net','block_number':9}\r\t ");
        assert_int_equal(message.event_count, 1);
        assert_int_equal(message.fault_count, 0);
        check_whole(decode("[]"), "type", "the message: an array is not an object");
        check_whole(decode("5"), "type", "the message: 5 is not an object");
        check_whole(decode("'x'"), "type", "the message: 'x' is not an object");
        check_whole(decode("null"), "type", "the message: null is not an object");
        check_whole(decode("{}"), "missing", "event_name: is missing");
        check_whole(decode("{'event_name':5,'event_data':[]}"), "type", "event_name: 5 is not a string");
        check_whole(decode("{'event_name':'','event_data':[]}"), "format", "event_name: '' is empty");
        check_whole(decode("{'event_name':'X'}"), "missing", "event_data: is missing");
        check_whole(decode("{'event_name':'X','event_data':null}"), "type", "event_data: null is neither an array nor an object");
        check_whole(decode("{'event_name':'X','event_data':'y'}"), "type", "event_data: 'y' is neither an array nor an object");
        check_fault(decode("{'event_name':'X','event_data':[5]}"), "type", "event_data[0]: 5 is not an object");
}

static void good_and_bad_events_of_one_message(void **state)
{
        struct decode_message message = decode(MESSAGE("SharePriceChanged", PRICE ",5," PRICE ",{}," PRICE ",null"));

        (void)state;
        assert_int_equal(message.event_count, 3);
        assert_int_equal(message.fault_count, 3);
        for (size_t i = 0; i < 3; i++) {
                assert_int_equal(message.events[i].index, 2 * i);
                assert_int_equal(message.faults[i].index, 2 * i + 1);
        }
        assert_string_equal(message.faults[2].text, "event_data[5]: null is not an object");
}

#define GENERIC(members) MESSAGE("Renamed", "{" members PLACE "}")

static void generic_events(void **state)
{
        struct decode_message message = decode(GENERIC("'a':12345678901234567890,'b':0.10,'c':-1E+05,'d':" U256_END
                                                       ",'e':[1e999999999,{'f':-0}],'g':'\\u20ac\\t','h':null,'':true,"));
        const struct event *event = message.events;

        (void)state;
        assert_int_equal(message.event_count, 1);
        assert_int_equal(message.fault_count, 0);
        assert_int_equal(event->type->kind, EVENT_GENERIC);
        assert_string_equal(event->type->table, "generic_events");
        assert_int_equal(event->value_count, 2);
        assert_string_equal(event->transaction_hash, HASH);
        check_value(event, 0, "Renamed");
        check_value(event, 1,
                json("{'a':12345678901234567890,'b':0.10,'c':-1E+05,'d':" U256_END
                     ",'e':[1e999999999,{'f':-0}],'g':'\\u20ac\\t','h':null,'':true}"));
        check_value(decode(GENERIC(" 'a' : [ 1 , { } ] , ")).events, 1, json("{'a' : [ 1 , { } ]}"));
        check_value(decode(GENERIC("'transaction_information':5,'x':1,")).events, 1, json("{'x':1}"));
        check_value(decode(GENERIC("")).events, 1, "{}");
        check_value(
                decode(GENERIC("'transaction_information\\u0001':5,")).events, 1, json("{'transaction_information\\u0001':5}"));
        check_value(decode(MESSAGE("deposited", "{" PLACE "}")).events, 0, "deposited");
        check_fault(decode(MESSAGE("Renamed", "{}")), "missing", "event_data[0].transaction_information: is missing");
}

static void unstorable_escapes(void **state)
{
        static const char *const where[] = {"'a\\u0000b':1,", "'a':'\\u0000',", "'a':[{'b':'x\\u0000'}],", "'a':'\\\\\\u0000',"};
        struct decode_message message;

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(where); i++)
                check_fault(with(GENERIC("@"), "@", where[i]), "format",
                        "event_data[0]: an object that holds a NUL (\\u0000), which PostgreSQL cannot store");
        check_fault(decode(MESSAGE("Renamed\\u0000", "{" PLACE "}")), "format",
                "event_name: 'Renamed\\u0000' holds a NUL (\\u0000), which PostgreSQL cannot store");
        check_fault(decode(MESSAGE("Deposited\\u0000", "{" PLACE "}")), "format",
                "event_name: 'Deposited\\u0000' holds a NUL (\\u0000), which PostgreSQL cannot store");
        check_fault(with(GENERIC("@"), "@", "'a':'\\ud83e',"), "format",
                "event_data[0]: an object that holds a lone surrogate, which PostgreSQL cannot store");
        check_fault(with(GENERIC("@"), "@", "'a':['\\udd84\\ud83e'],"), "format",
                "event_data[0]: an object that holds a lone surrogate, which PostgreSQL cannot store");
        check_fault(decode(MESSAGE("Renamed\\uD800", "{" PLACE "}")), "format",
                "event_name: 'Renamed\\uD800' holds a lone surrogate, which PostgreSQL cannot store");
        check_fault(with(price, "'sharePrice':'5'", "'sharePrice':'5\\udfff'"), "format",
                "event_data[0].sharePrice: '5\\udfff' is not a whole number in decimal or 0x digits");
        /* the characters next to them, and a pair */
        check_value(
                decode(GENERIC("'a':'\\ud7ff\\ue000\\ud83d\\ude00',")).events, 1, json("{'a':'\\ud7ff\\ue000\\ud83d\\ude00'}"));
        /* not an escape: a backslash and u0000 */
        check_value(decode(GENERIC("'a':'\\\\u0000',")).events, 1, json("{'a':'\\\\u0000'}"));
        /* nothing is confused with how the NUL stands in the tree */
        check_value(decode(GENERIC("'a':'À\\u00c0\\u0080\\uFDD0\xef\xb7\x90',")).events, 1,
                json("{'a':'À\\u00c0\\u0080\\uFDD0\xef\xb7\x90'}"));
        message = with(price, "'sharePrice'", "'\\u0000':'\\u0000','sharePrice'");
        assert_int_equal(message.event_count, 1);
        message = with(price, "'sharePrice'", "'\\ud83e':'\\ud83e','sharePrice'");
        assert_int_equal(message.event_count, 1);
        /* the good events of a message with a bad one */
        message = decode(MESSAGE("Renamed", "{" PLACE "},{'x':'\\u0000'," PLACE "},{" PLACE "}"));
        assert_int_equal(message.event_count, 2);
        assert_int_equal(message.faults[0].index, 1);
}

#define REORG "'type':'reorg','fork_block':30,'depth':'0x3','events_deleted':0,'affected_tx_hashes':[],'affected_events':[]"

static void notices(void **state)
{
        struct decode_message message = decode("{'event_name':'__rindexer_reorg','event_data':[{" REORG
                                               ",'network':'net'}],'network':'outer','block_number':0}");
        const char *text = json(MESSAGE("__rindexer_reorg", "{" REORG "}"));

        (void)state;
        assert_int_equal(message.fault_count + message.event_count, 0);
        assert_non_null(message.notice);
        assert_string_equal(message.notice->network, "net");
        assert_int_equal(message.notice->fork_block, 30);
        assert_int_equal(message.notice->depth, 3);
        assert_string_equal(message.notice->json, json("{" REORG ",'network':'net'}"));
        assert_string_equal(decode_bytes(text, strlen(text), "net").notice->network, "net");
        assert_non_null(decode("{'event_name':'__rindexer_reorg','event_data':{" REORG "},'network':'n','x':1}").notice);
        check_whole(decode_bytes(text, strlen(text), "other"), "network", "network: 'net' is not 'other', the network to take");
        check_whole(decode(MESSAGE("__rindexer_reorg", "")), "missing", "event_data[0]: is missing");
        check_whole(decode(MESSAGE("__rindexer_reorg", "{" REORG "},{" REORG "}")), "format",
                "event_data: an array of more than one element is no reorg notice");
        check_whole(decode(MESSAGE("__rindexer_reorg", "{}")), "missing", "event_data[0].type: is missing");
        check_whole(decode(MESSAGE("__rindexer_reorg", "[]")), "type", "event_data[0]: an array is not an object");
        check_whole(with(MESSAGE("__rindexer_reorg", "{" REORG "}"), "'reorg'", "'fork'"), "format",
                "event_data[0].type: 'fork' is not 'reorg'");
        check_whole(with(MESSAGE("__rindexer_reorg", "{" REORG "}"), "30", "-1"), "format",
                "event_data[0].fork_block: -1 is not a whole number in decimal or 0x digits");
        check_whole(with(MESSAGE("__rindexer_reorg", "{" REORG "}"), "'depth':'0x3',", ""), "missing",
                "event_data[0].depth: is missing");
        check_whole(with(MESSAGE("__rindexer_reorg", "{" REORG "}"), "[]", "['\\u0000']"), "format",
                "event_data[0]: an object that holds a NUL (\\u0000), which PostgreSQL cannot store");
}

/* Each with the byte where it is seen. The text is taken as it stands, with sizeof, as some hold a NUL. */
static void malformed_json(void **state)
{
        static const struct {
                const char *text;
                size_t size;
                const char *fault;
        } cases[] = {
#define BAD(text, fault) {text, sizeof(text) - 1, fault}
                BAD("", "byte 0: the text ends where a value is due"),
                BAD(" \n", "byte 2: the text ends where a value is due"),
                BAD("\xef\xbb\xbf{}", "byte 0: not a JSON value"),
                BAD("{} x", "byte 3: something follows the value"),
                BAD("{}{}", "byte 2: something follows the value"),
                BAD("{}\0", "byte 2: something follows the value"),
                BAD("\0", "byte 0: not a JSON value"),
                BAD("[1\0]", "byte 2: a comma or a closing bracket is missing"),
                BAD("[\"a\0b\"]", "byte 3: a raw control character in a string"),
                BAD("[\"a\nb\"]", "byte 3: a raw control character in a string"),
                BAD("[\"\x1f\"]", "byte 2: a raw control character in a string"),
                BAD("[\"\xff\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\xc0\x80\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\xc1\xbf\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\x80\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\xe0\x9f\xbf\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\xed\xa0\x80\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\xf0\x8f\xbf\xbf\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\xf4\x90\x80\x80\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\xf5\x80\x80\x80\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\xe2\x82\"]", "byte 2: invalid UTF-8"),
                BAD("[\"\xe2\x82", "byte 2: invalid UTF-8"),
                BAD("[\"a", "byte 3: the text ends within a string"),
                BAD("[\"a\\", "byte 3: the text ends within a string"),
                BAD("[\"\\x\"]", "byte 2: no such escape in a string"),
                BAD("[\"\\\0\"]", "byte 2: no such escape in a string"),
                BAD("[\"\\U0041\"]", "byte 2: no such escape in a string"),
                BAD("[\"\\u12\"]", "byte 2: \\u without four hex digits"),
                BAD("[\"\\u12g4\"]", "byte 2: \\u without four hex digits"),
                BAD("[\"\\u12", "byte 2: \\u without four hex digits"),
                BAD("[\"\\ud83d\\u", "byte 8: \\u without four hex digits"),
                BAD("[01]", "byte 2: a leading zero in a number"),
                BAD("[-01]", "byte 3: a leading zero in a number"),
                BAD("[1.]", "byte 3: a digit is missing in a number"),
                BAD("[.5]", "byte 1: not a JSON value"),
                BAD("[-]", "byte 2: a digit is missing in a number"),
                BAD("[-", "byte 2: a digit is missing in a number"),
                BAD("[+1]", "byte 1: not a JSON value"),
                BAD("[1e]", "byte 3: a digit is missing in a number"),
                BAD("[1e+]", "byte 4: a digit is missing in a number"),
                BAD("[1.e5]", "byte 3: a digit is missing in a number"),
                BAD("[0x10]", "byte 2: a comma or a closing bracket is missing"),
                BAD("[NaN]", "byte 1: not a JSON value"),
                BAD("[-Infinity]", "byte 2: a digit is missing in a number"),
                BAD("[nul]", "byte 1: not a JSON value"),
                BAD("[TRUE]", "byte 1: not a JSON value"),
                BAD("[truex]", "byte 5: a comma or a closing bracket is missing"),
                BAD("['a']", "byte 1: not a JSON value"),
                BAD("[1,]", "byte 3: not a JSON value"),
                BAD("[,1]", "byte 1: not a JSON value"),
                BAD("[1 2]", "byte 3: a comma or a closing bracket is missing"),
                BAD("[1}", "byte 2: a comma or a closing bracket is missing"),
                BAD("[", "byte 1: the text ends where a value is due"),
                BAD("[1", "byte 2: the text ends too early"),
                BAD("[\v1]", "byte 1: not a JSON value"),
                BAD("[\xc2\xa0"
                    "1]",
                        "byte 1: not a JSON value"),
                BAD("{\"a\":1,}", "byte 7: a member name is missing"),
                BAD("{a:1}", "byte 1: a member name is missing"),
                BAD("{\"a\"}", "byte 4: a colon is missing"),
                BAD("{\"a\":}", "byte 5: not a JSON value"),
                BAD("{\"a\" 1}", "byte 5: a colon is missing"),
                BAD("{\"a\":1 \"b\":2}", "byte 7: a comma or a closing bracket is missing"),
                BAD("{,}", "byte 1: a member name is missing"),
                BAD("{1:2}", "byte 1: a member name is missing"),
                BAD("{\"a\":1", "byte 6: the text ends too early"),
                BAD("}", "byte 0: not a JSON value"),
                BAD("[]]", "byte 2: something follows the value"),
                BAD("[/**/1]", "byte 1: not a JSON value"),
#undef BAD
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
                check_whole(decode_bytes(cases[i].text, cases[i].size, NULL), "json", cases[i].fault);
}

static struct json *read_json(const char *text, size_t depth_max)
{
        struct json *root = NULL;
        const char *error;
        size_t error_at;
        int r = json_read(text, strlen(text), depth_max, &arena, &root, &error, &error_at);

        assert_int_equal(r, error ? JSON_BAD : 0);
        return error ? NULL : root;
}

static void well_formed_json(void **state)
{
        static const char *const texts[] = {"[]", "{}", " [ 1 , -0 , 0.5 , 1E+2 , 1e-2 , 10 ] ",
                "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u12aF\"]", "[\"\\ud83d\\ude00\"]", "[\"\xf0\x9f\x98\x80\x7f\xef\xbf\xbf\"]",
                "{ \"a\" : { } , \"\" : [ [ ] ] , \"a\" : null }", "true", "-0", "\"\""};

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
                assert_non_null(read_json(texts[i], DECODE_DEPTH_MAX));
}

/* Types by their letters, names and texts; a closing bracket for each array and object. */
static void print_json(const struct json *item, FILE *out)
{
        fputc("0ftns[{"[item->type], out);
        if (item->name)
                fprintf(out, "%s=", item->name);
        if (item->text)
                fprintf(out, "%s,", item->text);
        if (item->unstorable)
                fputc('!', out);
        for (const struct json *child = item->child; child; child = child->next)
                print_json(child, out);
        if (item->type == JSON_ARRAY || item->type == JSON_OBJECT)
                fputc(']', out);
}

static void json_is_a_tree(void **state)
{
        static const struct {
                const char *text, *tree;
        } good[] = {
                {" 1 ", "n1,"},
                {"[]", "[]"},
                {"[[],{},null,true,false]", "[[]{]0tf]"},
                {"{\"a\":[1,-2.5e3],\"b\":{\"\":\"x\"}}", "{[a=n1,n-2.5e3,]{b=s=x,]]"},
                {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u12aF\\u007f\\u0080\\u07ff\\u0800\"",
                        "s\"\\/\b\f\n\r\t\xe1\x8a\xaf\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80,"},
                {"[\"\\ud83d\\ude00\\udbff\\udfff\"]", "[s\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf,]"},
                {"[\"\\\\u0000\\u0000\"]", "[!s\\u0000\xc0\x80,!]"},
                {"[[{\"\\u0000\":0}],1]", "[![!{!n\xc0\x80=0,!]]n1,]"},
                {"[\"\\ud800\\ud800\\udc00\\udc00\"]", "[!s\xed\xa0\x80\xf0\x90\x80\x80\xed\xb0\x80,!]"},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
                char *text = NULL;
                size_t size;
                FILE *out = open_memstream(&text, &size);

                print_json(read_json(good[i].text, DECODE_DEPTH_MAX), out);
                assert_int_equal(fclose(out), 0);
                assert_string_equal(text, good[i].tree);
                free(text);
        }
        assert_non_null(read_json("[{}]", 2));
        assert_null(read_json("[{}]", 1));
}

static void json_knows_its_source(void **state)
{
        const struct json *root = read_json(" { \"a\" : [ 1 , \"\\n\" ] , \"b\":\"c\"} ", 2), *a = root->child, *b = a->next;

        (void)state;
        assert_memory_equal(root->source, "{ \"a\"", 5);
        assert_string_equal(root->end, " ");
        assert_memory_equal(a->member, "\"a\" : [ 1", 9);
        assert_memory_equal(a->source, "[ 1", 3);
        assert_memory_equal(a->end, " , \"b\"", 6);
        assert_memory_equal(a->child->next->source, "\"\\n\" ]", 6);
        assert_int_equal(b->end - b->member, 7);
        assert_string_equal(b->end, "} ");
}

/* depth objects in all: the envelope, its array, the event, and so many arrays in it. */
static struct decode_message decode_depth(size_t depth)
{
        size_t arrays = depth - 3;
        char *brackets = arena_alloc(&arena, 2 * arrays + 1);

        memset(brackets, '[', arrays);
        memset(brackets + arrays, ']', arrays);
        brackets[2 * arrays] = '\0';
        return with(GENERIC("'deep':@,"), "@", brackets);
}

static void depth(void **state)
{
        (void)state;
        assert_int_equal(decode_depth(DECODE_DEPTH_MAX).event_count, 1);
        assert_int_equal(decode_depth(DECODE_DEPTH_MAX).fault_count, 0);
        assert_non_null(strstr(decode_depth(DECODE_DEPTH_MAX + 1).faults[0].text, "nested too deep"));
        assert_non_null(strstr(decode_depth(100000).faults[0].text, "nested too deep"));
}

/* Time is linear in the size: the sanitizers slow it down, but these end at once. */
static void large_messages(void **state)
{
        static const char head[] = "{\"event_name\":\"X\",\"network\":\"n\",\"event_data\":[";
        static const char element[] = "{\"transaction_information\":{}},";
        static const char member[] = "\"\":0,";
        size_t count = 80000, room = sizeof(head) + count * (sizeof(element) + sizeof(member)) + 8;
        char *text = malloc(room), *at = text;
        struct decode_message message;

        (void)state;
        /* many envelope members, many bad events */
        *at++ = '{';
        for (size_t i = 0; i < count; i++, at += sizeof(member) - 1)
                memcpy(at, member, sizeof(member) - 1);
        memcpy(at, head + 1, sizeof(head) - 2);
        at += sizeof(head) - 2;
        for (size_t i = 0; i < count; i++, at += sizeof(element) - 1)
                memcpy(at, element, sizeof(element) - 1);
        memcpy(at - 1, "]}", 2);
        at++;
        message = decode_bytes(text, (size_t)(at - text), NULL);
        assert_int_equal(message.fault_count, count);
        assert_int_equal(message.faults[DECODE_FAULTS_MAX - 1].index, DECODE_FAULTS_MAX - 1);
        free(text);
        /* what would take much memory is refused before it does */
        room = 2 * (size_t)JSON_VALUES_MAX + 1;
        text = malloc(room);
        for (size_t i = 1; i < room; i += 2)
                memcpy(text + i, "0,", 2);
        text[0] = '[';
        text[room - 1] = ']';
        check_whole(decode_bytes(text, room, NULL), "json", "byte 524287: more values than a message may hold");
        assert_true(scratch.used < (size_t)24 << 20);
        free(text);
        /* one string of 10 MB, as atomData */
        room = (size_t)10 << 20;
        text = malloc(room + 1);
        memset(text, '4', room);
        text[room] = '\0';
        message = with(atom, "68656c6c6f", text);
        assert_int_equal(message.event_count, 1);
        assert_int_equal(message.events[0].values[2].size, room / 2);
        free(text);
}

#define TEST(name) cmocka_unit_test_teardown(name, release)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(place_of_an_event),
                TEST(values_of_each_type),
                TEST(atom_data),
                TEST(number_forms),
                TEST(ranges),
                TEST(hex_forms),
                TEST(known_addresses),
                TEST(missing_members),
                TEST(values_shown_are_short),
                TEST(duplicates_and_unknown_members),
                TEST(networks),
                TEST(envelopes),
                TEST(good_and_bad_events_of_one_message),
                TEST(generic_events),
                TEST(unstorable_escapes),
                TEST(notices),
                TEST(malformed_json),
                TEST(well_formed_json),
                TEST(json_is_a_tree),
                TEST(json_knows_its_source),
                TEST(depth),
                TEST(large_messages),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
