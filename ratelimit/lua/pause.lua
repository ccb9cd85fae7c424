-- Pauses all tiers of the lane. With '' as the time, ends the pause, opens shut sources, closes the breaker, and starts the recovery from a
-- 429 now. Shared limits belong to other lanes, too: a pause does not touch them, but the end of a pause also ends theirs.
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
    if now + forMs > (state.heldUntil or 0) then
      state.heldUntil, state.heldReason = now + forMs, ARGV[FIRST + 1]
    end
  else
    local tiers = { state }
    for _, tier in pairs(state.tiers or {}) do tiers[#tiers + 1] = tier end
    for _, tier in ipairs(tiers) do
      tier.pausedUntil = 0
      tier.pausedReason = ''
      tier.asking = nil
      tier.slowdown.from = min(tier.slowdown.from, now)
      tier.breaker = closeBreaker(now)
    end
    state.heldUntil, state.heldReason, state.ownUntil = nil, nil, nil
    state.shut = nil
  end
  saveBucket(b)
end
return 1
