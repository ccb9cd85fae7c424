-- Reads the queue entries of jobs in the outbox. A scheduled job that is due becomes `queued`.
--
-- ARGV  ids
-- Answer for each: lane ('' there is no such job), priority, cost, when it may run (Unix ms), number of its entry, how it is
-- gathered for a provider batch ('' it is not)

local answer = {}
for i = 1, #ARGV do
  local id = ARGV[i]
  local v = redis.call('HMGET', job_key(id), 'lane', 'priority', 'cost', 'ready_at', 'entries', 'status', 'created_at', 'gather')
  v[4] = v[4] or v[7]
  if v[6] == 'scheduled' and tonumber(v[4] or 0) <= now then
    local job = load(id)
    if job then
      redis.call('HSET', job_key(id), 'status', 'queued')
      index(job, 'queued')
    end
  end
  for j = 1, 5 do answer[#answer + 1] = v[j] or '' end
  answer[#answer + 1] = v[8] or ''
end
return answer
