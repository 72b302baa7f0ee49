#include "ingest/chain/rpc.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "common/base/clean.h"
#include "common/base/stop.h"
#include "common/stage/service.h"
#include "ingest/decode/abi.h"
#include "ingest/decode/address.h"
#include "ingest/decode/keccak.h"
#include "ingest/decode/number.h"

#define TIMEOUT_MS         30000
#define CONNECT_TIMEOUT_MS 5000
#define POLL_MS            50 /* how soon a stop is noticed */
#define REQUEST_MAX        2048
#define KEPT_MAX           (1 << 20) /* of the memory of answers, between them */
#define VALUES_MAX         1000000
#define BATCH_MAX          50 /* blocks a request */

struct rpc {
        CURLM *multi;
        CURL *easy;
        struct curl_slist *headers;
        char *answer;
        size_t size, capacity;
        bool too_large;
        bool one_by_one; /* it takes no batches */
        bool denied;
        char error[400], reason[CURL_ERROR_SIZE];
};

AUTO_DEFINE(cJSON *, json, cJSON_Delete)

/* ---- HTTP ---- */

const char *rpc_url_check(const char *url)
{
        size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
        if (!scheme)
                return "must start with http:// or https://";
        for (const char *p = url; *p; p++)
                if ((unsigned char)*p <= ' ' || *p == 0x7f)
                        return "must not hold blanks or control characters";
        return url[scheme] && url[scheme] != '/' ? NULL : "has no host";
}

PRINTF_LIKE(3, 4) static int fail(struct rpc *rpc, int result, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(rpc->error, sizeof(rpc->error), format, args);
        va_end(args);
        clean_reason(rpc->error); /* a node, or what stands before it, may quote the key */
        return result;
}

static size_t receive(char *data, size_t one, size_t count, void *context)
{
        struct rpc *rpc = context;
        size_t size = one * count;
        if (rpc->size + size > RPC_ANSWER_MAX) {
                rpc->too_large = true;
                return 0; /* ends the transfer */
        }
        rpc->answer = memory_grow(rpc->answer, &rpc->capacity, rpc->size + size + 1, 1);
        memcpy(rpc->answer + rpc->size, data, size);
        rpc->size += size;
        rpc->answer[rpc->size] = '\0';
        return size;
}

static void start_curl(void)
{
        if (curl_global_init(CURL_GLOBAL_DEFAULT))
                memory_end();
}

struct rpc *rpc_open(const char *url)
{
        static pthread_once_t started = PTHREAD_ONCE_INIT;
        struct rpc *rpc = memory_new(1, sizeof(*rpc));
        pthread_once(&started, start_curl);
        rpc->multi = curl_multi_init();
        rpc->easy = curl_easy_init();
        rpc->headers = curl_slist_append(NULL, "Content-Type: application/json");
        if (!rpc->multi || !rpc->easy || !rpc->headers || curl_easy_setopt(rpc->easy, CURLOPT_URL, url) ||
                curl_easy_setopt(rpc->easy, CURLOPT_PROTOCOLS_STR, "http,https") ||
                curl_easy_setopt(rpc->easy, CURLOPT_HTTPHEADER, rpc->headers) ||
                curl_easy_setopt(rpc->easy, CURLOPT_WRITEFUNCTION, receive) ||
                curl_easy_setopt(rpc->easy, CURLOPT_WRITEDATA, rpc) || curl_easy_setopt(rpc->easy, CURLOPT_NOSIGNAL, 1L) ||
                curl_easy_setopt(rpc->easy, CURLOPT_ERRORBUFFER, rpc->reason) ||
                curl_easy_setopt(rpc->easy, CURLOPT_QUICK_EXIT, 1L) || /* a stop does not wait for a name server */
                curl_easy_setopt(rpc->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS) ||
                curl_easy_setopt(rpc->easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS))
                memory_end();
        curl_easy_setopt(rpc->easy, CURLOPT_ACCEPT_ENCODING, ""); /* what it can */
        return rpc;
}

struct rpc *rpc_close(struct rpc *rpc)
{
        if (!rpc)
                return NULL;
        curl_easy_cleanup(rpc->easy);
        curl_multi_cleanup(rpc->multi);
        curl_slist_free_all(rpc->headers);
        free(rpc->answer);
        free(rpc);
        return NULL;
}

const char *rpc_error(const struct rpc *rpc)
{
        return rpc->error;
}

bool rpc_is_denied(const struct rpc *rpc)
{
        return rpc->denied;
}

/* libcurl's own words are few where a certificate is refused; elsewhere its reasons hold milliseconds, and no two lines were
 * equal. */
static int fail_transfer(struct rpc *rpc, CURLcode code)
{
        bool tls = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR ||
                   code == CURLE_SSL_CACERT_BADFILE || code == CURLE_UNSUPPORTED_PROTOCOL;
        return fail(rpc, -EIO, "%s%s%s", curl_easy_strerror(code), tls && *rpc->reason ? ": " : "", tls ? rpc->reason : "");
}

/* The multi interface: so that a stop is noticed in between, and not a second later. */
static int perform(struct rpc *rpc, CURLcode *code)
{
        int running = 1, left;
        *code = CURLE_OPERATION_TIMEDOUT;
        while (running && !curl_multi_perform(rpc->multi, &running) && running) {
                if (stop_requested())
                        return fail(rpc, -EINTR, "stopped");
                if (curl_multi_poll(rpc->multi, NULL, 0, POLL_MS, NULL))
                        break;
        }
        for (CURLMsg *message; (message = curl_multi_info_read(rpc->multi, &left));)
                if (message->msg == CURLMSG_DONE)
                        *code = message->data.result;
        return 0;
}

static int post(struct rpc *rpc, const char *request, long *status)
{
        CURLcode code;
        rpc->size = 0;
        rpc->too_large = false;
        *rpc->reason = '\0';
        if (curl_easy_setopt(rpc->easy, CURLOPT_POSTFIELDS, request) || curl_multi_add_handle(rpc->multi, rpc->easy))
                return fail(rpc, -ENOMEM, "out of memory");
        int r = perform(rpc, &code);
        curl_multi_remove_handle(rpc->multi, rpc->easy);
        if (r)
                return r;
        if (rpc->too_large)
                return fail(rpc, RPC_REFUSED, "the answer is larger than %d bytes", RPC_ANSWER_MAX);
        if (code)
                return fail_transfer(rpc, code);
        curl_easy_getinfo(rpc->easy, CURLINFO_RESPONSE_CODE, status);
        return 0;
}

/* ---- JSON-RPC ---- */

static const char *text_of(const cJSON *object, const char *name)
{
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
        return cJSON_IsString(item) ? item->valuestring : NULL;
}

static bool says_busy(double code, const char *message)
{
        static const char *const words[] = {"rate limit", "rate-limit", "ratelimit", "request rate", "too many requests",
                "throttl", "compute units", "overloaded"};
        bool busy = code == 429;
        for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
                busy = busy || strcasestr(message, words[i]);
        return busy;
}

/* An error of the node's, or of what stands before it. */
static int refused(struct rpc *rpc, const char *method, long status, const cJSON *answer)
{
        const cJSON *error = cJSON_GetObjectItemCaseSensitive(answer, "error"),
                    *code = cJSON_GetObjectItemCaseSensitive(error, "code");
        if (cJSON_IsNull(error))
                error = NULL;
        rpc->denied = status >= 400 && status < 500 && status != 413 && status != 429;
        const char *message = cJSON_IsString(error) ? error->valuestring : text_of(error, "message");
        double number = cJSON_IsNumber(code) ? code->valuedouble : 0;
        if (status == 429 || status == 503 || (error && says_busy(number, message ? message : "")))
                return fail(rpc, RPC_BUSY, "%s: the node asks for patience (HTTP %ld): %.200s", method, status,
                        message ? message : "");
        if (error)
                return fail(rpc, RPC_REFUSED, "%s: the node refuses: %.200s (HTTP %ld, code %.0f)", method,
                        message ? message : "", status, number);
        if (status == 413)
                return fail(rpc, RPC_REFUSED, "%s: HTTP 413", method);
        if (status / 100 == 3)
                return fail(rpc, -EIO, "%s: HTTP %ld, a redirect, which is not followed: set RPC_URL to where it leads", method,
                        status);
        if (status != 200)
                return fail(rpc, -EIO, "%s: HTTP %ld", method, status);
        return 0;
}

static int exchange(struct rpc *rpc, const char *method, const char *request, cJSON **answer)
{
        long status = 0;
        int r = post(rpc, request, &status);
        if (r)
                return r;
        size_t values = 0; /* of lists and objects; each costs a multiple of its bytes once it is parsed */
        for (size_t i = 0; i < rpc->size; i++)
                values += rpc->answer[i] == ',';
        if (values > VALUES_MAX)
                return fail(rpc, RPC_REFUSED, "%s: the answer has more than %d values", method, VALUES_MAX);
        *answer = rpc->size ? cJSON_ParseWithLengthOpts(rpc->answer, rpc->size + 1, NULL, true) : NULL;
        if (rpc->capacity > KEPT_MAX) {
                free(rpc->answer);
                rpc->answer = NULL;
                rpc->capacity = 0;
        }
        return refused(rpc, method, status, *answer);
}

/* 0: *answer is the whole answer, *result what it has as result (never absent). */
static int call(struct rpc *rpc, const char *method, const char *params, cJSON **answer, const cJSON **result)
{
        char request[REQUEST_MAX];
        int size = snprintf(
                request, sizeof(request), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":[%s]}", method, params);
        if (size < 0 || (size_t)size >= sizeof(request))
                abort(); /* addresses, hashes and numbers have bounds */
        int r = exchange(rpc, method, request, answer);
        if (r)
                return r;
        *result = cJSON_GetObjectItemCaseSensitive(*answer, "result");
        return *result ? 0 : fail(rpc, -EPROTO, "%s: the answer is not that of a JSON-RPC node", method);
}

static int nonsense(struct rpc *rpc, const char *method, const char *what)
{
        return fail(rpc, -EPROTO, "%s: nonsense: %s", method, what);
}

/* Quantities are hex, 0x first (EIP-1474). */
static int read_quantity(const char *text, int64_t max, int64_t *value)
{
        return !text || strncmp(text, "0x", 2) != 0 ? NUMBER_FORMAT : number_read_int64(text, strlen(text), max, value);
}

/* Exactly so many bytes. */
static int read_bytes(const char *text, size_t size, unsigned char *bytes)
{
        size_t count;
        return !text || strlen(text) != 2 * size + 2 || number_read_hex(text, strlen(text), bytes, &count) || count != size;
}

static int read_hash(const char *text, char hash[RPC_HASH_SIZE + 1])
{
        unsigned char bytes[ABI_WORD_SIZE + 1];
        if (read_bytes(text, ABI_WORD_SIZE, bytes))
                return NUMBER_FORMAT;
        number_write_hex(bytes, ABI_WORD_SIZE, hash);
        return 0;
}

/* ---- what is asked ---- */

/* A call whose result is hex: *hex is the answer's. */
static int call_hex(struct rpc *rpc, const char *method, const char *params, cJSON **answer, const char **hex)
{
        const cJSON *result;
        int r = call(rpc, method, params, answer, &result);
        if (r)
                return r;
        *hex = cJSON_GetStringValue(result);
        return *hex && !strncmp(*hex, "0x", 2) ? 0 : nonsense(rpc, method, "no hex");
}

int rpc_chain_id(struct rpc *rpc, char id[80])
{
        AUTO(json) cJSON *answer = NULL;
        const char *hex;
        int r = call_hex(rpc, "eth_chainId", "", &answer, &hex);
        return r ? r : number_read_u256(hex, strlen(hex), id) ? nonsense(rpc, "eth_chainId", "no number") : 0;
}

int rpc_head(struct rpc *rpc, int64_t *number)
{
        AUTO(json) cJSON *answer = NULL;
        const char *hex;
        int r = call_hex(rpc, "eth_blockNumber", "", &answer, &hex);
        return r ? r : read_quantity(hex, INT64_MAX, number) ? nonsense(rpc, "eth_blockNumber", "no number") : 0;
}

int rpc_has_code(struct rpc *rpc, const char *address, bool *has)
{
        AUTO(json) cJSON *answer = NULL;
        const char *hex;
        char params[128];
        snprintf(params, sizeof(params), "\"%s\",\"latest\"", address);
        int r = call_hex(rpc, "eth_getCode", params, &answer, &hex);
        *has = !r && hex[2];
        return r;
}

/* ---- blocks ---- */

static int read_block(struct rpc *rpc, const cJSON *result, int64_t number, struct rpc_block *block)
{
        if (cJSON_IsNull(result))
                return fail(rpc, RPC_ABSENT, "eth_getBlockByNumber: the node has no block %" PRId64, number);
        if (read_quantity(text_of(result, "number"), INT64_MAX, &block->number) || block->number != number ||
                read_hash(text_of(result, "hash"), block->hash) ||
                read_quantity(text_of(result, "timestamp"), EVENT_TIMESTAMP_MAX, &block->timestamp))
                return nonsense(rpc, "eth_getBlockByNumber", "not the block that was asked for");
        block->has_bloom = !read_bytes(text_of(result, "logsBloom"), RPC_BLOOM_SIZE, block->bloom);
        return 0;
}

int rpc_get_block(struct rpc *rpc, int64_t number, struct rpc_block *block)
{
        AUTO(json) cJSON *answer = NULL;
        const cJSON *result;
        char params[64];
        snprintf(params, sizeof(params), "\"0x%" PRIx64 "\",false", (uint64_t)number);
        int r = call(rpc, "eth_getBlockByNumber", params, &answer, &result);
        return r ? r : read_block(rpc, result, number, block);
}

/* Three bits of a hash say whether something may be in the filter (Ethereum's yellow paper, 4.3.1). */
static bool bloom_has(const unsigned char *bloom, const char *hex)
{
        unsigned char bytes[ABI_WORD_SIZE + 1], hash[KECCAK256_SIZE];
        size_t count;
        if (number_read_hex(hex, strlen(hex), bytes, &count))
                abort(); /* addresses and topics of ours */
        keccak256(bytes, count, hash);
        for (size_t i = 0; i < 6; i += 2) {
                unsigned bit = ((unsigned)hash[i] << 8 | hash[i + 1]) & 2047;
                if (!(bloom[RPC_BLOOM_SIZE - 1 - bit / 8] & 1U << bit % 8))
                        return false;
        }
        return true;
}

bool rpc_may_hold(const struct rpc_block *block, const char *address, enum event_kind kind)
{
        return block->has_bloom && bloom_has(block->bloom, address) && bloom_has(block->bloom, abi_topic(kind));
}

/* The answers of a batch come in any order, told apart by id. */
static int read_batch(struct rpc *rpc, const cJSON *answer, const int64_t *numbers, size_t count, struct rpc_block *blocks)
{
        bool seen[BATCH_MAX] = {0};
        size_t found = 0;
        const cJSON *item;
        cJSON_ArrayForEach(item, answer)
        {
                const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");
                size_t i = cJSON_IsNumber(id) && id->valuedouble >= 0 && id->valuedouble < (double)count ? (size_t)id->valuedouble
                                                                                                         : count;
                int r = refused(rpc, "eth_getBlockByNumber", 200, item);
                if (r)
                        return r;
                if (i == count || seen[i])
                        return nonsense(rpc, "eth_getBlockByNumber", "an answer to no question");
                seen[i] = true;
                found++;
                r = read_block(rpc, cJSON_GetObjectItemCaseSensitive(item, "result"), numbers[i], &blocks[i]);
                if (r)
                        return r;
        }
        return found == count ? 0 : nonsense(rpc, "eth_getBlockByNumber", "answers are missing");
}

/* Many blocks in one request. A node that takes no batches is asked one by one from then on. */
static int get_batch(struct rpc *rpc, const int64_t *numbers, size_t count, struct rpc_block *blocks)
{
        AUTO(json) cJSON *answer = NULL;
        char request[BATCH_MAX * 128], *at = request;
        for (size_t i = 0; i < count; i++)
                at += snprintf(at, (size_t)(request + sizeof(request) - at),
                        "%s{\"jsonrpc\":\"2.0\",\"id\":%zu,\"method\":\"eth_getBlockByNumber\",\"params\":[\"0x%" PRIx64
                        "\",false]}",
                        i ? "," : "[", i, (uint64_t)numbers[i]);
        snprintf(at, (size_t)(request + sizeof(request) - at), "]");
        int r = exchange(rpc, "eth_getBlockByNumber", request, &answer);
        if (r == RPC_BUSY || (r && stop_requested()))
                return r;
        if (!r && cJSON_IsArray(answer)) {
                r = read_batch(rpc, answer, numbers, count, blocks);
                if (r != RPC_REFUSED) /* as a whole, maybe: so geth says that a batch is too large */
                        return r;
        }
        rpc->one_by_one = true;
        return 0;
}

int rpc_get_blocks(struct rpc *rpc, const int64_t *numbers, size_t count, struct rpc_block *blocks)
{
        int r = 0;
        for (size_t i = 0; !r && i < count;) {
                size_t batch = rpc->one_by_one || count - i == 1 ? 1 : count - i < BATCH_MAX ? count - i : BATCH_MAX;
                r = batch == 1 ? rpc_get_block(rpc, numbers[i], &blocks[i]) : get_batch(rpc, numbers + i, batch, blocks + i);
                if (batch == 1 || !rpc->one_by_one)
                        i += batch;
        }
        return r;
}

/* ---- logs ---- */

static int read_topics(const cJSON *topics, struct abi_log *log)
{
        unsigned char bytes[ABI_WORD_SIZE + 1];
        const cJSON *topic;
        log->topic_count = 0;
        if (!cJSON_IsArray(topics))
                return NUMBER_FORMAT;
        cJSON_ArrayForEach(topic, topics)
        {
                if (log->topic_count == ABI_TOPICS_MAX || !cJSON_IsString(topic) ||
                        read_bytes(topic->valuestring, ABI_WORD_SIZE, bytes))
                        return NUMBER_FORMAT;
                memcpy(log->topics[log->topic_count++], bytes, ABI_WORD_SIZE);
        }
        return 0;
}

/* What every log has. */
static int read_place(const cJSON *item, const char *address, struct arena *arena, struct event *event)
{
        unsigned char bytes[ADDRESS_SIZE + 1];
        char where[2 * ADDRESS_SIZE + 3], hash[RPC_HASH_SIZE + 1];
        if (!cJSON_IsObject(item) || cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "removed")) ||
                read_bytes(text_of(item, "address"), ADDRESS_SIZE, bytes))
                return NUMBER_FORMAT;
        number_write_hex(bytes, ADDRESS_SIZE, where);
        if (strcmp(where, address) != 0 || read_quantity(text_of(item, "blockNumber"), INT64_MAX, &event->block_number) ||
                read_quantity(text_of(item, "logIndex"), INT64_MAX, &event->log_index) ||
                read_quantity(text_of(item, "transactionIndex"), INT64_MAX, &event->transaction_index) ||
                read_hash(text_of(item, "blockHash"), hash))
                return NUMBER_FORMAT;
        event->address = arena_copy(arena, where, strlen(where));
        event->block_hash = arena_copy(arena, hash, RPC_HASH_SIZE);
        if (read_hash(text_of(item, "transactionHash"), hash))
                return NUMBER_FORMAT;
        event->transaction_hash = arena_copy(arena, hash, RPC_HASH_SIZE);
        /* newer nodes say it; of the others the block is asked for */
        if (read_quantity(text_of(item, "blockTimestamp"), EVENT_TIMESTAMP_MAX, &event->block_timestamp))
                event->block_timestamp = -1;
        return 0;
}

/* 0; ABI_OTHER: nothing of ours; ABI_BAD. */
static int read_log(const cJSON *item, const char *address, struct arena *arena, struct event *event)
{
        const char *data = text_of(item, "data");
        struct abi_log log = {0};
        if (!data || strncmp(data, "0x", 2) != 0 || read_place(item, address, arena, event) ||
                read_topics(cJSON_GetObjectItemCaseSensitive(item, "topics"), &log))
                return ABI_BAD;
        unsigned char *bytes = arena_alloc(arena, strlen(data) / 2 + 1);
        if (number_read_hex(data, strlen(data), bytes, &log.size))
                return ABI_BAD;
        log.data = bytes;
        return abi_decode(&log, arena, event);
}

static int compare_events(const void *left, const void *right)
{
        const struct event *a = left, *b = right;
        int order = (a->block_number > b->block_number) - (a->block_number < b->block_number);
        return order ? order : (a->log_index > b->log_index) - (a->log_index < b->log_index);
}

/* What a list of logs must hold over and above each one: blocks in the range, one hash a number, no log twice. */
static const char *check_list(const struct rpc_events *list, int64_t from, int64_t to)
{
        for (size_t i = 0; i < list->count; i++) {
                const struct event *event = &list->events[i], *before = i ? event - 1 : NULL;
                if (event->block_number < from || event->block_number > to)
                        return "a log of a block that was not asked for";
                if (before && before->block_number == event->block_number) {
                        if (strcmp(before->block_hash, event->block_hash) != 0)
                                return "logs of two blocks of one number";
                        if (before->log_index == event->log_index)
                                return "a log twice";
                }
        }
        return NULL;
}

static int read_list(struct rpc *rpc, const cJSON *result, int64_t from, int64_t to, const char *address, struct arena *arena,
        struct rpc_events *out)
{
        const cJSON *item;
        *out = (struct rpc_events){0};
        if (!cJSON_IsArray(result))
                return nonsense(rpc, "eth_getLogs", "no list");
        out->events = arena_alloc(arena, ((size_t)cJSON_GetArraySize(result) + 1) * sizeof(*out->events));
        cJSON_ArrayForEach(item, result)
        {
                int r = read_log(item, address, arena, &out->events[out->count]);
                if (r == ABI_BAD)
                        return nonsense(rpc, "eth_getLogs", "something that is no log of the contract");
                out->count += !r;
        }
        qsort(out->events, out->count, sizeof(*out->events), compare_events);
        const char *wrong = check_list(out, from, to);
        return wrong ? nonsense(rpc, "eth_getLogs", wrong) : 0;
}

static int get_events(struct rpc *rpc, const char *which, int64_t from, int64_t to, const char *address, struct arena *arena,
        struct rpc_events *out)
{
        AUTO(json) cJSON *answer = NULL;
        const cJSON *result;
        char params[REQUEST_MAX - 128];
        snprintf(params, sizeof(params), "{\"address\":\"%s\",%s,\"topics\":[[\"%s\",\"%s\",\"%s\",\"%s\",\"%s\"]]}", address,
                which, abi_topic(EVENT_ATOM_CREATED), abi_topic(EVENT_TRIPLE_CREATED), abi_topic(EVENT_DEPOSITED),
                abi_topic(EVENT_REDEEMED), abi_topic(EVENT_SHARE_PRICE_CHANGED));
        int r = call(rpc, "eth_getLogs", params, &answer, &result);
        return r ? r : read_list(rpc, result, from, to, address, arena, out);
}

int rpc_get_events(struct rpc *rpc, int64_t from, int64_t to, const char *address, struct arena *arena, struct rpc_events *out)
{
        char which[96];
        snprintf(which, sizeof(which), "\"fromBlock\":\"0x%" PRIx64 "\",\"toBlock\":\"0x%" PRIx64 "\"", (uint64_t)from,
                (uint64_t)to);
        return get_events(rpc, which, from, to, address, arena, out);
}

int rpc_get_block_events(
        struct rpc *rpc, const struct rpc_block *block, const char *address, struct arena *arena, struct rpc_events *out)
{
        char which[96];
        snprintf(which, sizeof(which), "\"blockHash\":\"%s\"", block->hash);
        int r = get_events(rpc, which, block->number, block->number, address, arena, out);
        if (!r && out->count && strcmp(out->events[0].block_hash, block->hash) != 0)
                return nonsense(rpc, "eth_getLogs", "logs of another block");
        return r;
}
