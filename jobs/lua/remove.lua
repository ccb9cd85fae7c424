-- Deletes a job for its owner: prompt, result, events, attempts, deliveries and index entries.
--
-- ARGV  1 id  2… further content hashes whose cached answers are deleted too
-- Answer {'none'} | {'removed', status before, '1' if its call has to be aborted, promoted or '', '1' if files wait for their removal}

-- The calls of a deleted job may still report, and must be paid once. So what was booked for them is kept for a day,
-- without the job's id. A job that ended long ago has no such calls.
local LATE_MS = 3600000
local function keep_booked(job)
  book_unknown(job)
  if job.calls == 0 then return end
  local finished_at = tonumber(redis.call('HGET', job_key(job.id), 'finished_at') or now)
  if now - finished_at > LATE_MS then return end
  local booked = {}
  local attempts = redis.call('HGETALL', job_key(job.id) .. ':attempts')
  for i = 1, #attempts, 2 do
    local call, cost = string.match(attempts[i], '^(%d+):end$'), cost_of(attempts[i + 1])
    if call and cost > 0 then booked[#booked + 1], booked[#booked + 2] = call, ms(cost) end
  end
  if #booked == 0 then return end
  if job.accounts then booked[#booked + 1], booked[#booked + 2] = 'accounts', job.accounts end
  redis.call('HSET', booked_key(job.id), unpack(booked))
  redis.call('PEXPIRE', booked_key(job.id), BOOKED_MS)
end

local job = load(ARGV[1])
if not job then return { 'none' } end
forget_kept(job.hash)
for i = 2, #ARGV do forget_kept(ARGV[i]) end
keep_booked(job)
local was, promoted = forget(job)
return { 'removed', was, (was == 'running' and not job.carrying) and '1' or '0', promoted, gathered_sets[unheld_key()] and '1' or '0' }
