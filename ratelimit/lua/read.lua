-- Reads the states of the lane, of its shared limits and of its sources, for people and metrics.
--
-- Answer  JSON of a list: the lane's state, those of the shared limits, those of the sources (LaneStateJson in lane-state.ts); times on
--         Redis' clock. JSON keeps 14 digits here, enough to look at.
-- Invariant: reading only moves the buckets to now, and creates no key.

isReading = true

local function orNull(value)
  if value == nil then return cjson.null end
  return value
end

local function readBucket(b)
  local state, now, limits = b.state, b.now, b.limits
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
  local breaker = findBreakerState(state.breaker, now)
  local openUntil = breaker == 'open' and state.breaker.openUntil or 0
  local pausedUntil = max(state.pausedUntil, openUntil)
  local paused = pausedUntil > now
  local tried = {}
  for _, trial in ipairs(state.breaker.trials) do
    if tonumber(call('ZSCORE', b.permits, trial[2]) or 0) > now then tried[#tried + 1] = trial[1] end
  end
  return {
    at = now - state.skew,
    levels = levels,
    rates = rates,
    used = state.window.sum,
    capacities = capacities,
    usedToday = state.day.sum[1],
    capacityToday = orNull(b.requestsPerDay),
    inFlight = countLeases(b),
    pausedUntil = paused and pausedUntil - state.skew or cjson.null,
    pausedReason = openUntil > state.pausedUntil and 'breaker_open' or state.pausedReason,
    breaker = {
      state = breaker,
      failures = state.breaker.failures,
      openUntil = breaker == 'open' and state.breaker.openUntil - state.skew or cjson.null,
      heldTenants = state.breaker.tenants,
      triedTenants = tried,
    },
    speed = computeSpeed(state.slowdown, now),
    learned = { requests = onServerClock(state.learned.requests), tokens = onServerClock(state.learned.tokens) },
    taken = state.taken,
    refunded = state.refunded,
    throttled = state.throttled,
    shut = state.shut and { till = state.shut.till - state.skew, reason = state.shut.reason } or cjson.null,
    learnedWindow = b.isAuto and b.window or cjson.null,
  }
end

local states = {}
for number, b in ipairs(openBuckets()) do
  if not b.isUntouched then saveBucket(b) end
  states[number] = readBucket(b)
end
return cjson.encode(states)
