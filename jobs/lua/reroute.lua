-- Moves a waiting job to another lane.
--
-- ARGV  1 id  2 entry number  3 the lane that serves it from now on
-- Answer 1 (its new entry is in the outbox), or 0 if the entry is stale or the job no longer waits

local job = load(ARGV[1])
if not job or job.entries ~= tonumber(ARGV[2]) or job.leader then return 0 end
if job.status ~= 'queued' and job.status ~= 'scheduled' then return 0 end
redis.call('HSET', job_key(job.id), 'lane', ARGV[3])
request_entry(job)
emit(job, 'job.retrying', ',"reason":"rerouted","lane":' .. cjson.encode(ARGV[3]) .. ',"next_attempt_at":' .. ms(now))
return 1
