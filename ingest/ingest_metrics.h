/* The metrics that ingest has besides those of every stage. */
#pragma once

#include "common/base/metrics.h"

extern struct metric ingest_reorgs, ingest_rows_orphaned, ingest_conflicting_blocks, ingest_reorg_depth;
extern struct metric *const ingest_metrics[]; /* all of them; ends at NULL */
