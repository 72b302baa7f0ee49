-- Once the streams are read: the planner knows nothing of new temporary tables.
ANALYZE audit_atom_created_events, audit_triple_created_events, audit_deposited_events, audit_redeemed_events, audit_share_price_changed_events,
        audit_generic_events, audit_entry
