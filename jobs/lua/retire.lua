-- Forgets the next jobs whose retention is over. Kept answers stay for their own time.
--
-- ARGV  1 most jobs
-- Answer {how many there were, promoted id…}; as many as asked for means that there may be more
-- Invariant: what goes is what is over now, by Redis' clock, and has ended: a job that was queued again meanwhile stays.

local ids = redis.call('ZRANGEBYSCORE', root .. ':expiry', '-inf', ms(now), 'LIMIT', 0, ARGV[1])
local answer = { #ids }
for _, id in ipairs(ids) do
  local job = load(id)
  if job and is_terminal(job.status) then
    local _, promoted = forget(job)
    if promoted ~= '' then answer[#answer + 1] = promoted end
  else
    redis.call('ZREM', root .. ':expiry', id)
  end
end
return answer
