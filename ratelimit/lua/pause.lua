-- Pauses the lane; or (with '' as the time) ends the pause, opens shut sources, closes the breaker, and starts recovery from a 429
-- now. Shared limits are other lanes' as well: they are not among the buckets here, but for the end of their own pauses.
--
-- ARGV    FIRST ms, then the reason
-- Answer  1
-- Invariant: a current pause is never shortened, only ended.

local forMs = tonumber(ARGV[FIRST])
for number = 1, forMs and 1 or BUCKETS do
  local b = openBucket(number)
  local state, now = b.state, b.now
  if forMs then
    extendPause(state, now + forMs, ARGV[FIRST + 1])
  else
    state.pausedUntil = 0
    state.pausedReason = ''
    state.asking = nil
    state.slowdown.from = min(state.slowdown.from, now)
    state.breaker = closeBreaker(now)
    state.shut = nil
  end
  saveBucket(b)
end
return 1
