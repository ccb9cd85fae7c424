-- Makes a delivery due at once with a fresh schedule. Its id and its attempts stay.
--
-- KEYS  1 the tenant's root
-- ARGV  1 delivery id
-- Answer 1 | 0 (there is none, or it is about a budget: the tenant does not see those, see jobs/lua/common.lua)
-- Invariant: a delivery that is being sent is not sent in parallel, but once more afterwards ('again').

local root, id = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key = root .. ':delivery:' .. id
local job = redis.call('HGET', key, 'job_id')
if not job or string.sub(job, 1, 7) == 'budget_' then return 0 end
if tonumber(redis.call('HGET', key, 'lease') or 0) > now then
  redis.call('HSET', key, 'again', '1')
  return 1
end
local due = string.format('%d', now)
redis.call('HSET', key, 'status', 'pending', 'next_attempt_at', due, 'attempt_count', '0')
redis.call('ZADD', root .. ':webhooks', due, id)
redis.call('PUBLISH', root .. ':webhooks:wake', id)
return 1
