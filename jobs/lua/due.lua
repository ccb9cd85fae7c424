-- Reads the queue entries of jobs in the outbox. A scheduled job that is due becomes `queued`. A call that was started
-- where its job was created ends as lost if its place has ended and was never renewed. It may have been sent, so it is
-- ambiguous. Perhaps it was not sent, so no cost is booked, and it does not count toward the quarantine (see
-- start.lua).
--
-- ARGV  ids
-- Answer for each: lane ('' there is no such job, or it is parked for its fair key's turn), priority, cost, when it may run
--        (Unix ms), number of its entry, how it is gathered for a provider batch ('' it is not)

local answer = {}
for i = 1, #ARGV do
  local id = ARGV[i]
  local v = redis.call('HMGET', job_key(id), 'lane', 'priority', 'cost', 'ready_at', 'entries', 'status', 'created_at', 'gather', 'fair_turn', 'calls')
  v[4] = v[4] or v[7]
  if v[6] == 'scheduled' and tonumber(v[4] or 0) <= now then
    local job = load(id)
    if job then
      redis.call('HSET', job_key(id), 'status', 'queued')
      index(job, 'queued')
      if job.fair and not job.gather and not fair.join(job) then v[9] = job.fair_turn end
    end
  end
  if v[6] == 'running' and v[10] == '1' then
    local at = score_of(root .. ':outbox', id .. '-' .. v[5])
    if at and tonumber(at) <= now and is_untouched({ id = id, entries = v[5] }) then
      redis.call('HSETNX', job_key(id) .. ':attempts', '1:end', UNREAD_END)
    end
  end
  if v[9] and string.sub(v[9], 1, 2) == 'p:' then v[1] = '' end
  for j = 1, 5 do answer[#answer + 1] = v[j] or '' end
  answer[#answer + 1] = v[8] or ''
end
return answer
