#include "event.h"

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
