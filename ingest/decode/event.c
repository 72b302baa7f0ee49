#include "ingest/decode/event.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "ingest/decode/json.h"
#include "ingest/decode/keccak.h"
#include "ingest/decode/number.h"

#define ADDRESS    EVENT_FIELD_ADDRESS
#define ID         EVENT_FIELD_ID
#define AMOUNT     EVENT_FIELD_AMOUNT
#define VAULT_TYPE EVENT_FIELD_VAULT_TYPE
#define DATA       EVENT_FIELD_DATA

/* An event's values stand in the order of these fields: the insert statements of ingest/sql count on it. */
const struct event_type event_types[EVENT_KINDS] = {
        [EVENT_ATOM_CREATED] = {EVENT_ATOM_CREATED, "AtomCreated", "atom_created_events",
                {{"creator", ADDRESS}, {"termId", ID}, {"atomData", DATA}, {"atomWallet", ADDRESS}},
                {"creator", "term_id", "atom_data", "raw_data", "atom_wallet"}},
        [EVENT_TRIPLE_CREATED] = {EVENT_TRIPLE_CREATED, "TripleCreated", "triple_created_events",
                {{"creator", ADDRESS}, {"termId", ID}, {"subjectId", ID}, {"predicateId", ID}, {"objectId", ID}},
                {"creator", "term_id", "subject_id", "predicate_id", "object_id", "counter_term_id"}},
        [EVENT_DEPOSITED] = {EVENT_DEPOSITED, "Deposited", "deposited_events",
                {{"sender", ADDRESS}, {"receiver", ADDRESS}, {"termId", ID}, {"curveId", AMOUNT}, {"assets", AMOUNT},
                        {"assetsAfterFees", AMOUNT}, {"shares", AMOUNT}, {"totalShares", AMOUNT}, {"vaultType", VAULT_TYPE}},
                {"sender", "receiver", "term_id", "curve_id", "assets", "assets_after_fees", "shares", "total_shares",
                        "vault_type"}},
        [EVENT_REDEEMED] = {EVENT_REDEEMED, "Redeemed", "redeemed_events",
                {{"sender", ADDRESS}, {"receiver", ADDRESS}, {"termId", ID}, {"curveId", AMOUNT}, {"shares", AMOUNT},
                        {"totalShares", AMOUNT}, {"assets", AMOUNT}, {"fees", AMOUNT}, {"vaultType", VAULT_TYPE}},
                {"sender", "receiver", "term_id", "curve_id", "shares", "total_shares", "assets", "fees", "vault_type"}},
        [EVENT_SHARE_PRICE_CHANGED] = {EVENT_SHARE_PRICE_CHANGED, "SharePriceChanged", "share_price_changed_events",
                {{"termId", ID}, {"curveId", AMOUNT}, {"sharePrice", AMOUNT}, {"totalAssets", AMOUNT}, {"totalShares", AMOUNT},
                        {"vaultType", VAULT_TYPE}},
                {"term_id", "curve_id", "share_price", "total_assets", "total_shares", "vault_type"}},
        [EVENT_GENERIC] = {EVENT_GENERIC, NULL, "generic_events", {{0}}, {"event_name", "event_data"}},
};

static bool is_storable_text(const unsigned char *at, size_t size)
{
        const unsigned char *end = at + size;

        while (at < end) {
                size_t step = *at ? json_character_size(at, end) : 0;

                if (!step)
                        return false;
                at += step;
        }
        return true;
}

void event_set_data(struct event_value values[2], const unsigned char *bytes, size_t size)
{
        values[0] = values[1] = (struct event_value){0};
        values[is_storable_text(bytes, size) ? 0 : 1] = (struct event_value){.data = (const char *)bytes, .size = size};
}

const char *event_counter_term_id(struct arena *arena, const char *term_id)
{
        static const char salt[] = "COUNTER_SALT";
        unsigned char bytes[2 * KECCAK256_SIZE + 1], id[KECCAK256_SIZE];
        char text[2 * KECCAK256_SIZE + 3];
        size_t count;

        keccak256(salt, sizeof(salt) - 1, bytes);
        if (number_read_hex(term_id, strlen(term_id), bytes + KECCAK256_SIZE, &count))
                abort(); /* we wrote it */
        keccak256(bytes, (size_t)2 * KECCAK256_SIZE, id);
        number_write_hex(id, sizeof(id), text);
        return arena_copy(arena, text, sizeof(text) - 1);
}
