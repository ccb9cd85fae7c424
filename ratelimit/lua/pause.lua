-- Pauses the lane; or (with '' as the time) ends the pause, closes the breaker, and starts recovery from a 429
-- now.
--
-- ARGV    10 ms, 11 reason
-- Answer  1
-- Invariant: a current pause is never shortened, only ended.

local state, now = open()
local forMs = tonumber(ARGV[10])
if forMs then
  extendPause(state, now + forMs, ARGV[11])
else
  state.pausedUntil = 0
  state.pausedReason = ''
  state.slowdown.from = min(state.slowdown.from, now)
  state.breaker = closeBreaker(now)
end
save(state)
return 1
