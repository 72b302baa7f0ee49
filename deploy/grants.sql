-- The rights that the three programs need, for three roles that own nothing. To be run by the owner of the tables, after `ingest migrate`, and again
-- after each later one; the roles exist by then: CREATE ROLE pipeline_ingest LOGIN, and so on. The services then run with RUN_MIGRATIONS=false.
--
-- psql DATABASE_URL -f deploy/grants.sql
DO $$
DECLARE
        schema CONSTANT TEXT := quote_ident(current_schema());
        program TEXT;
BEGIN
        FOREACH program IN ARRAY ARRAY['pipeline_ingest', 'pipeline_cascade', 'pipeline_analytics'] LOOP
                EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', schema, program);
                EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %I', schema, program); -- verify, status
                EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %s TO %I', schema, program); -- where PUBLIC may not
                EXECUTE format('GRANT INSERT, UPDATE, DELETE ON pipeline_replica, pipeline_stream, verify_result TO %I', program);
                -- ingest: what a notice moves; all: verify and rebuild
                EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), program);
        END LOOP;
END $$;

GRANT INSERT, UPDATE, DELETE ON atom_created_events, triple_created_events, deposited_events, redeemed_events, share_price_changed_events,
        generic_events, orphaned_events, reorgs, repeated_sightings, chain_block, chain_absent, chain_position, chain_state, atom_enrichment, pinned_network,
        unfinished_replay, atom, triple, position, vault TO pipeline_ingest;
GRANT INSERT ON vault_outbox, term_outbox TO pipeline_ingest;

GRANT INSERT, UPDATE, DELETE ON vault TO pipeline_cascade;
GRANT INSERT, UPDATE, DELETE ON vault_outbox, term, term_outbox TO pipeline_cascade;

GRANT INSERT, UPDATE, DELETE ON term_outbox, triple_vault, triple_term, predicate_object, subject_predicate TO pipeline_analytics;

-- `ingest replay --reset` empties all of it. Without this right it says so, and changes nothing; give it to the role that is to do that.
-- GRANT TRUNCATE ON ALL TABLES IN SCHEMA public TO pipeline_ingest;
