/*
 * Ranges of blocks: read from a node, compared with what stands in the tables, and where they differ the chain's verdict is
 * written (migrations 0011, 0016).
 *
 * What is read is never trusted as a whole: each block that a verdict is about is asked for by number after its logs were read,
 * and an event that seems not to be in its block is looked for by the block's hash. Only where a range differs it takes the lock
 * that inserts share, for one short transaction.
 */
#pragma once

#include "common/base/progress.h"
#include "ingest/chain/chain.h"

/* The name that rows from the chain have as their stream; no input stream can be called so. */
#define RANGE_STREAM "chain"

extern struct metric range_rows;

/* Makes the tables equal to the chain in the blocks from … to, or reports (chain.check), one range after the other; counts what
 * differed in chain. progress: NULL, or begun, counts blocks. A step that is not 0 ends it; what was done before it stays. */
MUST_CHECK int range_reconcile(struct chain *chain, int64_t from, int64_t to, struct progress *progress);
