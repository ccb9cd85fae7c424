-- Deletes a lane that nobody uses any more, one of the many that models "*" may have.
--
-- Answer  1 its keys are deleted | 0 a call is under way, or some state must stay for a while
-- Invariant: use that counts against a limit, a pause, a breaker and a slowdown stay; their keys end a day after they matter.

local b = openBucket(1)
local state, now = b.state, b.now
if countLeases(b) > 0 then return 0 end
local isPlain = state.pausedUntil <= now and state.breaker.failures == 0 and computeSpeed(state.slowdown, now) == 1
  and not state.asking and (not b.requestsPerDay or state.day.sum[1] == 0)
for d = 1, 4 do isPlain = isPlain and state.window.sum[d] == 0 end
if isPlain then
  call('DEL', b.bucket, b.permits, b.records, b.ledgers[1], b.ledgers[2])
  return 1
end
state.leaving = true
local ttl = string.format('%d', max(DAY_MS, state.pausedUntil - now) + HOUR_MS)
call('SET', b.bucket, pack(state), 'PX', ttl)
for _, key in ipairs({ b.permits, b.records, b.ledgers[1], b.ledgers[2] }) do call('PEXPIRE', key, ttl) end
return 0
