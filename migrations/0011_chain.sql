-- Reconciling with the chain: what a node of the chain has said (the law that uses it is in 0012, the comparing in 0016).
--
-- A verdict is about one block, from the moment stream_ms on. In every stream at once it takes the place of all that stands before it: sightings
-- and notices below its position there no longer matter to that block. It holds until a notice of any stream that stands behind it reaches down to
-- the block. Of several verdicts on a block the latest counts. Verdicts are written only where the tables differed from the chain: there are few.
--
-- A moment is Redis TIME just before the node was asked, or one more than the last moment where the clock is not past that. Its position in a
-- stream is its own number, unless a row of chain_position says otherwise. Ids may run ahead of the clock, and the clock may be set back: the
-- position is the later of Redis TIME and the stream's last id.

CREATE TABLE chain_block (
        block_number BIGINT NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        live BOOLEAN NOT NULL, -- on the chain, or not
        stream_ms BIGINT NOT NULL,
        PRIMARY KEY (block_number, block_hash)
);

-- What stands in the stream up to this id, inclusive, was there before the moment. Only where that differs from (moment, -1).
CREATE TABLE chain_position (
        moment BIGINT NOT NULL,
        stream TEXT COLLATE "C" NOT NULL,
        stream_ms BIGINT NOT NULL,
        stream_seq BIGINT NOT NULL,
        PRIMARY KEY (moment, stream)
);

-- Events that are not in their block, though the block is on the chain. A block's hash says what is in it: no notice ends this verdict,
-- only a later one that finds the event after all.
CREATE TABLE chain_absent (
        source_table TEXT COLLATE "C" NOT NULL,
        transaction_hash TEXT COLLATE "C" NOT NULL,
        log_index BIGINT NOT NULL,
        block_hash TEXT COLLATE "C" NOT NULL,
        block_number BIGINT NOT NULL,
        stream_ms BIGINT NOT NULL,
        PRIMARY KEY (source_table, transaction_hash, log_index, block_hash)
);
CREATE INDEX ON chain_absent (block_number);

-- Where reconciling stands. moment: the last one. notice_fork: the lowest fork block of notices since it last came to an end; notices: how many there were, ever.
CREATE TABLE chain_state (
        only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
        chain_id TEXT COLLATE "C",
        moment BIGINT NOT NULL DEFAULT 0,
        notice_fork BIGINT,
        notices BIGINT NOT NULL DEFAULT 0,
        reconciled_block BIGINT,
        head_block BIGINT,
        reconciled_at TIMESTAMPTZ,
        trouble JSONB -- why the last pass failed: cause, why, at; NULL once one has come to its end
);
INSERT INTO chain_state DEFAULT VALUES;
