-- Most jobs are completed, and have results of their own: lists of completed jobs walk the index of lists, and only answers that
-- several jobs have are looked for by their key.
CREATE INDEX history_jobs_not_completed ON history_jobs (root, status, created_at, id) WHERE status <> 'completed';
DROP INDEX history_jobs_status;
CREATE INDEX history_jobs_answers ON history_jobs (root, result_key) WHERE substr(result_key, 1, 7) = 'answer:';
DROP INDEX history_jobs_result;
-- What is counted and checked of a group stands in its index.
CREATE INDEX history_jobs_grouped ON history_jobs (
  root, group_name, created_at, id, state, status, block, cost_nano, type, lane, schedule, model, error_code, finished_at
) WHERE group_name IS NOT NULL;
DROP INDEX history_jobs_group;
CREATE INDEX history_jobs_unpriced ON history_jobs (root, group_name, block)
  WHERE group_name IS NOT NULL AND instr(usage, '"unpriced_calls"') > 0;
