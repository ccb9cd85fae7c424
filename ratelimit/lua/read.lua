-- How the lane stands, for people and metrics.
--
-- Answer  JSON (LaneStateJson in lane-state.ts), times on Redis' clock. JSON keeps 14 digits here, enough to look at.
-- Invariant: reading moves the bucket to now and nothing else.

local state, now, limits = open()
save(state)

local function orNull(value)
  if value == nil then return cjson.null end
  return value
end

local function onServerClock(learned)
  if not learned then return cjson.null end
  return { limit = learned.limit, at = learned.at - state.skew }
end

local levels, rates, capacities = {}, {}, {}
for d = 1, 4 do
  local rate = limits.rates[d]
  levels[d] = rate and state.levels[d] or cjson.null
  rates[d] = rate and rate * 60000 or cjson.null
  capacities[d] = orNull(limits.capacities[d])
end
local paused = state.pausedUntil > now
local breaker = findBreakerState(state.breaker, now)

return cjson.encode({
  at = now - state.skew,
  levels = levels,
  rates = rates,
  used = state.window.sum,
  capacities = capacities,
  usedToday = state.day.sum[1],
  capacityToday = orNull(requestsPerDay),
  inFlight = call('ZCOUNT', PERMITS, '(' .. exact(now), '+inf'),
  pausedUntil = paused and state.pausedUntil - state.skew or cjson.null,
  pausedReason = state.pausedReason,
  breaker = {
    state = breaker,
    failures = state.breaker.failures,
    openUntil = breaker == 'open' and state.breaker.openUntil - state.skew or cjson.null,
  },
  speed = computeSpeed(state.slowdown, now),
  learned = { requests = onServerClock(state.learned.requests), tokens = onServerClock(state.learned.tokens) },
  taken = state.taken,
  refunded = state.refunded,
  throttled = state.throttled,
})
