-- Queues a failed or cancelled job again, with fresh attempts.
--
-- ARGV  1 id  2 retain ms
-- Answer {'none'} | {'not_retryable'} | {'queued', entry number} | {'shared'} | {'hit'} | {'running'}

local id = ARGV[1]
local job = load(id)
if not job then return { 'none' } end
if job.status ~= 'failed' and job.status ~= 'cancelled' then return { 'not_retryable' } end
redis.call('ZREM', root .. ':expiry', id)
redis.call('HDEL', job_key(id), 'error', 'finished_at', 'deadline', 'carrying', 'lost')
job.deadline = 0

-- Cancelled in mid-call, and the call still runs for its followers: it is this job's again.
local status = job.carrying and 'running' or 'queued'
redis.call('HSET', job_key(id), 'status', status, 'attempts', job.carrying and 1 or 0, 'ready_at', ms(now))
index(job, status)
-- What came before is void for whoever reads the job's stream from now on.
redis.call('HSET', job_key(id), 'run_from', emit(job, 'job.queued') - 1)
if job.carrying then return { 'running' } end

local way, found = claim(id, job.hash, job.cache_mode)
if way == 'hit' then
  finish(job, 'completed', tonumber(ARGV[2]),
    { 'cache', 'hit', 'result', found[1], 'usage', found[2] or '', 'cost_usd', '0' })
  return { 'hit' }
end
if way == 'follow' then
  follow(job, found)
  return { 'shared' }
end
redis.call('HSET', job_key(id), 'cache', job.cache_mode == 'off' and 'off' or 'miss')
request_entry(job)
return { 'queued', job.entries }
