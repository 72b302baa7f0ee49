-- For `ingest replay --reset`: all tables emptied, to be filled from the streams again.

-- Has a row from the reset until all is read again: whoever finds one knows that the tables do not hold all yet.
CREATE TABLE unfinished_replay (
        only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
        from_id TEXT COLLATE "C" NOT NULL,
        started_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The short lock_timeout (below deadlock_timeout) makes it step back where others are at work; the caller tries again. What people added to
-- atoms is kept for when they come back; so is the pinned network.
CREATE FUNCTION pipeline_reset(from_id TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
        PERFORM set_config('lock_timeout', '300ms', true);
        PERFORM event_lock(true);
        LOCK TABLE atom IN ACCESS EXCLUSIVE MODE;
        INSERT INTO atom_enrichment (term_id, type, emoji, label, image, value_id, resolving_status)
        SELECT term_id, type, emoji, label, image, value_id, resolving_status FROM atom
        WHERE num_nonnulls(type, emoji, label, image, value_id) > 0 OR resolving_status <> 'Pending'
        ON CONFLICT (term_id) DO UPDATE SET type = excluded.type, emoji = excluded.emoji, label = excluded.label,
                image = excluded.image, value_id = excluded.value_id, resolving_status = excluded.resolving_status;
        DELETE FROM atom_enrichment e USING atom a WHERE a.term_id = e.term_id
                AND num_nonnulls(a.type, a.emoji, a.label, a.image, a.value_id) = 0 AND a.resolving_status = 'Pending';
        -- what came from the chain alone, and what it has ruled out, comes from there again
        UPDATE chain_state SET notice_fork = least(notice_fork, (SELECT min(block_number) FROM chain_block),
                (SELECT min(block_number) FROM chain_absent)), notices = notices + 1;
        TRUNCATE atom_created_events, triple_created_events, deposited_events, redeemed_events, share_price_changed_events, generic_events,
                orphaned_events, reorgs, repeated_sightings, chain_block, chain_absent, chain_position, atom, triple, position, vault, vault_outbox, term, term_outbox,
                triple_vault, triple_term, predicate_object, subject_predicate;
        INSERT INTO unfinished_replay (from_id) VALUES (from_id)
        ON CONFLICT (only_row) DO UPDATE SET from_id = excluded.from_id, started_at = now();
END $$;

-- Functions find their tables in the pipeline's schema, whatever the session's search_path: a row that is inserted by hand, or by pg_restore, lands
-- where it belongs. (Functions in plain SQL are part of the statement that calls them, and are left as they are: they would no longer be inlined.)
DO $$
DECLARE
        f REGPROCEDURE;
BEGIN
        FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                WHERE p.pronamespace = quote_ident(current_schema())::regnamespace AND l.lanname = 'plpgsql' LOOP
                EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', f, current_schema());
        END LOOP;
END $$;
