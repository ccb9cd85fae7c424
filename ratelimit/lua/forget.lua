-- Deletes a lane that nobody uses any more, one of the many that models "*" may have.
--
-- Answer  1 its keys are deleted | 0 a call is under way, or some state must stay for a while
-- Invariant: use that counts against a limit, a pause, a breaker and a slowdown stay; their keys end a day after they matter.

local HOUR_MS = 3600000

local state, now = open()
if call('ZCOUNT', PERMITS, '(' .. exact(now), '+inf') > 0 then return 0 end
local isPlain = state.pausedUntil <= now and state.breaker.failures == 0 and computeSpeed(state.slowdown, now) == 1
  and (not requestsPerDay or state.day.sum[1] == 0)
for d = 1, 4 do isPlain = isPlain and state.window.sum[d] == 0 end
if isPlain then
  call('DEL', BUCKET, PERMITS, RECORDS, WINDOW, DAY)
  return 1
end
state.leaving = true
local ttl = string.format('%d', max(DAY_MS, state.pausedUntil - now) + HOUR_MS)
call('SET', BUCKET, pack(state), 'PX', ttl)
for i = 2, 5 do call('PEXPIRE', KEYS[i], ttl) end
return 0
