-- Queues a failed or cancelled job again, with fresh attempts.
--
-- ARGV  1 id  2 retain ms
--       and for a redrive by the configuration, which must neither pay twice nor admit more than a submission could:
--       3 when the job failed, as the caller saw it  4 shortest time after that, ms  5 most redrives  6 most open jobs of the
--       tenant  7 budget in USD a UTC day ('' no limit)
-- Answer {'none'} | {'not_retryable'} | {'not_due'} | {'queue_full'} | {'budget_exhausted'}
--         | {'queued', end} | {'shared', end} | {'hit', end} | {'running', end}; end: when the job had ended (Unix ms), for the history

local id = ARGV[1]
local job = load(id)
if not job then return { 'none' } end
if job.status ~= 'failed' and job.status ~= 'cancelled' then return { 'not_retryable' } end

local function refusal(failed_at, after, most, most_open, budget)
  local v = redis.call('HMGET', job_key(id), 'finished_at', 'redrives')
  if job.status ~= 'failed' or v[1] ~= failed_at or tonumber(v[2] or 0) >= tonumber(most) then return 'not_retryable' end
  -- Its retention is over, and it is not deleted yet.
  if tonumber(redis.call('ZSCORE', root .. ':expiry', id) or 0) <= now then return 'not_retryable' end
  if tonumber(failed_at) + tonumber(after) > now then return 'not_due' end
  if open_jobs() >= tonumber(most_open) then return 'queue_full' end
  if budget ~= '' then
    local spent, reserved = read_money()
    if spent + reserved + estimate_of(job) > to_nano(budget) then return 'budget_exhausted' end
  end
end
-- The job counts in the windows in which it was accepted.
for account in string.gmatch(job.accounts or '', '%S+') do
  local spent, reserved, limit
  if account == 'day' then
    spent, reserved = read_money()
    limit = account_of(day_account()).limit
  else
    spent, reserved, limit = read_account(account)
  end
  if limit and spent + reserved + estimate_of(job) > limit then return { 'budget_exhausted' } end
end
if ARGV[3] then
  local why = refusal(ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7])
  if why then return { why } end
  redis.call('HINCRBY', job_key(id), 'redrives', 1)
end
local ended_at = keeps_history and redis.call('HGET', job_key(id), 'finished_at') or ''
take_out(root .. ':expiry', id)
if keeps_history then take_out(root .. ':history', id) end
redis.call('HDEL', job_key(id), 'error', 'finished_at', 'deadline', 'carrying', 'lost')
job.deadline = 0
-- The time at which it would have left the provider batch came from its deadline.
if job.gather then
  job.gather = string.gsub(job.gather, '^%d+', '0')
  redis.call('HSET', job_key(id), 'gather', job.gather)
end

-- It was cancelled during its call, which still runs for its followers. The call belongs to this job again.
local status = job.carrying and 'running' or 'queued'
redis.call('HSET', job_key(id), 'status', status, 'attempts', job.carrying and 1 or 0, 'ready_at', ms(now))
index(job, status)
-- New readers of the job's stream must ignore the events before this one.
redis.call('HSET', job_key(id), 'run_from', emit(job, 'job.queued') - 1)
if job.carrying then return { 'running', ended_at } end

local way, found = claim(id, job.hash, job.cache_mode, true, patience_of(job), job.fair)
if way == 'hit' then
  finish(job, 'completed', tonumber(ARGV[2]), free_fields(found, 'hit'), nil, found.text)
  return { 'hit', ended_at }
end
if way == 'follow' then
  follow(job, found)
  return { 'shared', ended_at }
end
redis.call('HSET', job_key(id), 'cache', job.cache_mode == 'off' and 'off' or 'miss')
request_entry(job)
return { 'queued', ended_at }
