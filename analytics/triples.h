/*
 * The triple-level tables. Redis only says which terms to look at; what has to be done stands in term_outbox, written by cascade.
 *
 * The outbox rows of some thousand terms are found, and the triples that they mean; then, in one transaction: lock the triples in
 * order (their triple_term rows), take the outbox rows that were found, recompute triple_vault and triple_term, and move the
 * pairs by the difference.
 */
#pragma once

#include "common/stage/service.h"
#include "common/stage/work.h"

MUST_CHECK int triples_process(struct work *work);
MUST_CHECK int triples_rebuild(struct service *service, struct db *db);
