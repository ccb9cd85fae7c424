-- Lets nothing leave for a while; or ('' for how long) ends the pause, closes the breaker, and lets recovery
-- from a 429 begin now.
--
-- ARGV    10 ms, 11 reason
-- Answer  1
-- Invariant: a pause that stands is never shortened but by ending it.

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
