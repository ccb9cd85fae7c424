-- Outside a transaction. Writes go on meanwhile; what an attempt that was cut off left behind is not valid, and goes first.
DROP INDEX CONCURRENTLY IF EXISTS history_jobs_listed;
-- All that a list checks stands in its index, so that a page that looks at many jobs reads no rows.
CREATE INDEX CONCURRENTLY history_jobs_listed ON history_jobs (root, created_at, id)
  INCLUDE (state, status, type, lane, group_name, schedule, model, error_code, cost_nano, finished_at);
DROP INDEX CONCURRENTLY IF EXISTS history_jobs_created;
