/*
 * What the model's figures mean: its stages, in the direction of the flow, how far each is through a backlog, and whether the
 * pipeline works. Page, JSON and terminal print it.
 */
#pragma once

struct cJSON;

/* Adds "stages" and "waiting" to a model_object, and sorts its streams by stage. */
void pipeline_add_stages(struct cJSON *root);
/*
 * Adds "state" ("working", "degraded": it works, and somebody should look; "not working"), "problems" (severity "error" or
 * "warning", text, runbook: a section of deploy/monitoring/runbooks.md) and "notes", texts on what is under way. root has
 * "servers", too.
 */
void pipeline_judge(struct cJSON *root);
