-- Requeues a job after a call that did not end it.
--
-- ARGV  1 id  2 call number  3 not before ms  4 '1' if the call counts as an attempt, '0' if it does not
--       5 reason  6 waiting for  7 end of the attempt (JSON)  8 another lane that serves it from now on ('' the same)
--       9 what the call cost, USD ('' still unknown: what was booked for it stays)  10 '1' if that is an estimate
--       11 ms for which the worker still holds the job, to send it again itself (0: the job is queued)
--       12 `gather` or `flex`: the slower way that the job no longer takes ('' as before)
-- Answer {1, ''} ({2, ''}: it moved, and its new entry is in the outbox), or {0, promoted or ''} if the job has ended or
--        another call took over meanwhile; `promoted` leads the followers of a leader that was cancelled during its call

local id, call = ARGV[1], tonumber(ARGV[2])
local job = load(id, true)
local known, ending, nano = false, ARGV[7], to_nano(ARGV[9])
if ARGV[9] == '' then
  if job and not job.deleted then
    nano = cost_of(redis.call('HGET', job_key(id) .. ':attempts', call .. ':end'))
    if nano > 0 then ending = string.sub(ending, 1, -2) .. ',"cost_usd":' .. to_usd(nano) .. ',"cost_is_estimate":true}' end
  else
    nano = tonumber(redis.call('HGET', booked_key(id), call) or 0)
  end
end
if job and not job.deleted then known = end_attempt(id, call, ending) end
local cost = book(job, id, call, nano, known, ending)
if not job then return { 0, '' } end
if not job.deleted and job.status ~= 'completed' then add_cost(job, cost, ARGV[10] == '1') end
if job.carrying and is_terminal(job.status) then
  take_out(root .. ':outbox', id .. '-' .. job.entries)
  redis.call('HDEL', job_key(id), 'carrying', 'claim')
  if job.deleted then redis.call('DEL', job_key(id)) end
  return { 0, promote(job.hash) or '' }
end
-- This was stored already, and the answer was lost: the job waits with its entry.
if job.status == 'queued' and job.calls == call then return { ARGV[8] ~= '' and 2 or 1, '' } end
if job.status ~= 'running' or job.calls ~= call then return { 0, '' } end
if ARGV[12] ~= '' then redis.call('HDEL', job_key(id), ARGV[12]) end
if ARGV[12] == 'gather' then job.gather = false end
end_hold(job)
local at = math.max(tonumber(ARGV[3]), now)
redis.call('HSET', job_key(id), 'status', 'queued', 'ready_at', ms(at), 'next_attempt_at', ms(at),
  'waiting_for', ARGV[6], 'attempts', job.attempts - (ARGV[4] == '1' and 0 or 1))
index(job, 'queued')
emit(job, 'job.retrying', ',"reason":' .. cjson.encode(ARGV[5]) .. ',"attempt":' .. call .. ',"next_attempt_at":' .. ms(at))
-- From now on its place in the outbox says that the job must be queued. Its worker does that, or a sweep if the worker
-- dies.
local place = id .. '-' .. job.entries
put(root .. ':outbox', ms(now + tonumber(ARGV[11])), place)
if ARGV[8] ~= '' then
  take_out(root .. ':outbox', place)
  redis.call('HSET', job_key(id), 'lane', ARGV[8])
  request_entry(job)
  return { 2, '' }
end
return { 1, '' }
