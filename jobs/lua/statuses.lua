-- Reads the states of jobs.
--
-- ARGV  ids
-- Answer a status for each, '' if there is no such job

local statuses = {}
for i, id in ipairs(ARGV) do
  local v = redis.call('HMGET', job_key(id), 'status', 'deleted')
  statuses[i] = (v[1] and not v[2]) and v[1] or ''
end
return statuses
