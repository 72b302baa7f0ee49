#include "ingest/ingest_metrics.h"

static const double depth_buckets[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 0};

COUNTER(ingest_reorgs, "reorgs_total", "Reorg notices handled", "stream");
COUNTER(ingest_rows_orphaned, "rows_orphaned_total", "Event rows that a reorg took out of the tables", NULL);
GAUGE(ingest_conflicting_blocks, "conflicting_blocks",
        "Numbers with two live blocks, among the blocks of the newest 20,000 events (ingest)", NULL);
HISTOGRAM(ingest_reorg_depth, depth_buckets, "reorg_depth_blocks", "Depth of reorg notices, copies included", NULL);

struct metric *const ingest_metrics[] = {
        &ingest_reorgs, &ingest_rows_orphaned, &ingest_conflicting_blocks, &ingest_reorg_depth, NULL};
