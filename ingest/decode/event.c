#include "ingest/decode/event.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "ingest/decode/json.h"
#include "ingest/decode/keccak.h"
#include "ingest/decode/number.h"

/* An event's values stand in the order of these fields: the insert statements of ingest/sql count on it. */
const struct event_type event_types[EVENT_KINDS] =
        {
                [EVENT_ATOM_CREATED] =
                        {
                                .kind = EVENT_ATOM_CREATED,
                                .name = "AtomCreated",
                                .table = "atom_created_events",
                                .fields =
                                        {
                                                {"creator", EVENT_FIELD_ADDRESS},
                                                {"termId", EVENT_FIELD_ID},
                                                {"atomData", EVENT_FIELD_DATA},
                                                {"atomWallet", EVENT_FIELD_ADDRESS},
                                        },
                                .columns = {"creator", "term_id", "atom_data", "raw_data", "atom_wallet"},
                        },
                [EVENT_TRIPLE_CREATED] =
                        {
                                .kind = EVENT_TRIPLE_CREATED,
                                .name = "TripleCreated",
                                .table = "triple_created_events",
                                .fields =
                                        {
                                                {"creator", EVENT_FIELD_ADDRESS},
                                                {"termId", EVENT_FIELD_ID},
                                                {"subjectId", EVENT_FIELD_ID},
                                                {"predicateId", EVENT_FIELD_ID},
                                                {"objectId", EVENT_FIELD_ID},
                                        },
                                .columns = {"creator", "term_id", "subject_id", "predicate_id", "object_id", "counter_term_id"},
                        },
                [EVENT_DEPOSITED] =
                        {
                                .kind = EVENT_DEPOSITED,
                                .name = "Deposited",
                                .table = "deposited_events",
                                .fields =
                                        {
                                                {"sender", EVENT_FIELD_ADDRESS},
                                                {"receiver", EVENT_FIELD_ADDRESS},
                                                {"termId", EVENT_FIELD_ID},
                                                {"curveId", EVENT_FIELD_AMOUNT},
                                                {"assets", EVENT_FIELD_AMOUNT},
                                                {"assetsAfterFees", EVENT_FIELD_AMOUNT},
                                                {"shares", EVENT_FIELD_AMOUNT},
                                                {"totalShares", EVENT_FIELD_AMOUNT},
                                                {"vaultType", EVENT_FIELD_VAULT_TYPE},
                                        },
                                .columns = {"sender", "receiver", "term_id", "curve_id", "assets", "assets_after_fees", "shares",
                                        "total_shares", "vault_type"},
                        },
                [EVENT_REDEEMED] =
                        {
                                .kind = EVENT_REDEEMED,
                                .name = "Redeemed",
                                .table = "redeemed_events",
                                .fields =
                                        {
                                                {"sender", EVENT_FIELD_ADDRESS},
                                                {"receiver", EVENT_FIELD_ADDRESS},
                                                {"termId", EVENT_FIELD_ID},
                                                {"curveId", EVENT_FIELD_AMOUNT},
                                                {"shares", EVENT_FIELD_AMOUNT},
                                                {"totalShares", EVENT_FIELD_AMOUNT},
                                                {"assets", EVENT_FIELD_AMOUNT},
                                                {"fees", EVENT_FIELD_AMOUNT},
                                                {"vaultType", EVENT_FIELD_VAULT_TYPE},
                                        },
                                .columns = {"sender", "receiver", "term_id", "curve_id", "shares", "total_shares", "assets",
                                        "fees", "vault_type"},
                        },
                [EVENT_SHARE_PRICE_CHANGED] =
                        {
                                .kind = EVENT_SHARE_PRICE_CHANGED,
                                .name = "SharePriceChanged",
                                .table = "share_price_changed_events",
                                .fields =
                                        {
                                                {"termId", EVENT_FIELD_ID},
                                                {"curveId", EVENT_FIELD_AMOUNT},
                                                {"sharePrice", EVENT_FIELD_AMOUNT},
                                                {"totalAssets", EVENT_FIELD_AMOUNT},
                                                {"totalShares", EVENT_FIELD_AMOUNT},
                                                {"vaultType", EVENT_FIELD_VAULT_TYPE},
                                        },
                                .columns = {"term_id", "curve_id", "share_price", "total_assets", "total_shares", "vault_type"},
                        },
                [EVENT_GENERIC] = {.kind = EVENT_GENERIC, .table = "generic_events", .columns = {"event_name", "event_data"}},
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
