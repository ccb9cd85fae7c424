-- Moves a job that waits for a provider batch to its lane's queue.
--
-- ARGV  1 id  2 entry number
-- Answer 1 (its new entry is in the outbox), or 0 if the entry is stale or the job no longer waits
-- Invariant: the gathered entry is stale from then on, because the job has another number.

local job = load(ARGV[1])
if not job or job.entries ~= tonumber(ARGV[2]) or job.leader or not job.gather then return 0 end
if job.status ~= 'queued' then return 0 end
redis.call('HDEL', job_key(job.id), 'gather')
job.gather = false
request_entry(job)
emit(job, 'job.retrying', ',"reason":"deadline_near","next_attempt_at":' .. ms(now))
return 1
