-- All that a list checks stands in its index, so that a page that looks at many jobs reads no rows.
CREATE INDEX history_jobs_listed ON history_jobs (root, created_at, id)
  INCLUDE (state, status, type, lane, group_name, schedule, model, error_code, cost_nano, finished_at);
DROP INDEX history_jobs_created;
