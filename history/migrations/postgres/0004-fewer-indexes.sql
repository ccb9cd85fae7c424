-- Outside a transaction. Writes go on meanwhile; what an attempt that was cut off left behind is not valid, and goes first.
-- Most jobs are completed, and have results of their own: lists of completed jobs walk the index of lists, and only answers that
-- several jobs have are looked for by their key.
DROP INDEX CONCURRENTLY IF EXISTS history_jobs_not_completed;
CREATE INDEX CONCURRENTLY history_jobs_not_completed ON history_jobs (root, status, created_at, id) WHERE status <> 'completed';
DROP INDEX CONCURRENTLY IF EXISTS history_jobs_status;
DROP INDEX CONCURRENTLY IF EXISTS history_jobs_answers;
CREATE INDEX CONCURRENTLY history_jobs_answers ON history_jobs (root, result_key)
  WHERE substr(result_key, 1, 7) = 'answer:';
DROP INDEX CONCURRENTLY IF EXISTS history_jobs_result;
-- What is counted and checked of a group stands in its index.
DROP INDEX CONCURRENTLY IF EXISTS history_jobs_grouped;
CREATE INDEX CONCURRENTLY history_jobs_grouped ON history_jobs (root, group_name, created_at, id)
  INCLUDE (state, status, block, cost_nano, type, lane, schedule, model, error_code, finished_at) WHERE group_name IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS history_jobs_group;
DROP INDEX CONCURRENTLY IF EXISTS history_jobs_unpriced;
CREATE INDEX CONCURRENTLY history_jobs_unpriced ON history_jobs (root, group_name, block)
  WHERE group_name IS NOT NULL AND position('"unpriced_calls"' in usage) > 0;
-- Rows come and hardly change. Without a vacuum soon after, an index cannot answer for the newest ones by itself.
ALTER TABLE history_jobs SET (autovacuum_vacuum_insert_threshold = 10000, autovacuum_vacuum_insert_scale_factor = 0);
ALTER TABLE history_metadata SET (autovacuum_vacuum_insert_threshold = 10000, autovacuum_vacuum_insert_scale_factor = 0);
