#include "ahead.h"

#include "common_sql.h"
#include "stream.h"

#define BACKLOG_FROM 50 /* entries; fewer wait now and then on a live chain */

int ahead_read(struct ahead *ahead, struct db *db, const char *program, int64_t timeout_ms)
{
        const struct db_param param = db_text(program);
        const struct db_call call = {.sql = &sql_60_pipeline_input, .params = &param, .param_count = 1, .rows = &ahead->streams};
        int r = db_run(db, &call, 1, DB_AUTOCOMMIT, timeout_ms);
        if (!r)
                ahead->replicas = (int)db_rows_number(ahead->streams, 0, 1);
        return r;
}

void ahead_deinit(struct ahead *ahead)
{
        db_rows_free(ahead->streams);
}

bool ahead_is_known(const struct ahead *ahead)
{
        return db_rows_text(ahead->streams, 0, 0) != NULL;
}

bool ahead_is_busy(struct ahead *ahead, struct redis *redis, const char *group, int64_t *waiting)
{
        size_t count = db_rows_count(ahead->streams), first = ahead->busy;
        *waiting = 0;
        for (size_t i = 0; i < count; i++) {
                struct stream_group state;
                size_t place = (first + i) % count; /* it is asked often: where it was busy it mostly is */
                if (stream_group_read(redis, db_rows_text(ahead->streams, place, 0), group, &state))
                        continue;
                *waiting += state.lag > 0 ? state.lag : 0;
                if (!state.pending)
                        continue;
                ahead->busy = place;
                return true;
        }
        return false;
}

int64_t ahead_backlog_age(const struct ahead *ahead, struct redis *redis, const char *group)
{
        int64_t now, oldest = 0;
        if (stream_clock_read(redis, &now))
                return 0;
        for (size_t i = 0; i < db_rows_count(ahead->streams); i++) {
                const char *stream = db_rows_text(ahead->streams, i, 0);
                struct stream_group state;
                int64_t age;
                /* the entry itself is asked for: after trimming the lag may be wrong, and what was delivered last long ago */
                if (!stream_group_read(redis, stream, group, &state) && state.lag >= BACKLOG_FROM &&
                        !stream_waiting_read(redis, stream, state.delivered, now, &age) && age > oldest)
                        oldest = age;
        }
        return oldest;
}
