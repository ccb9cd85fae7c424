-- Reads the states of the lane, of its shared limits and of its sources, for people and metrics.
--
-- Answer  JSON of a list: the lane's state, those of the shared limits, those of the sources (LaneStateJson in lane-state.ts); times on
--         Redis' clock. JSON keeps 14 digits here, enough for people.
-- Invariant: reading only brings the buckets to now, and creates no key.

isReading = true

local function orNull(value)
  if value == nil then return cjson.null end
  return value
end

-- The state of a tier of service: its own pause, or the pause of all tiers, which ends at `hold`; its breaker; its share of the rate.
local function readTier(b, tier, hold, heldReason)
  local state, now = b.state, b.now
  local breaker = findBreakerState(tier.breaker, now)
  local openUntil = breaker == 'open' and tier.breaker.openUntil or 0
  local own = max(tier.pausedUntil, openUntil)
  local pausedUntil = max(own, hold)
  local reason = openUntil > tier.pausedUntil and 'breaker_open' or tier.pausedReason
  local tried = {}
  for _, trial in ipairs(tier.breaker.trials) do
    if tonumber(call('ZSCORE', b.permits, trial[2]) or 0) > now then tried[#tried + 1] = trial[1] end
  end
  return {
    pausedUntil = pausedUntil > now and pausedUntil - state.skew or cjson.null,
    pausedReason = hold >= own and heldReason or reason,
    breaker = {
      state = breaker,
      failures = tier.breaker.failures,
      openUntil = breaker == 'open' and tier.breaker.openUntil - state.skew or cjson.null,
      heldTenants = tier.breaker.tenants,
      triedTenants = tried,
    },
    speed = computeSpeed(tier.slowdown, now),
  }
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
  local tiers = {}
  for name, tier in pairs(state.tiers or {}) do
    local shown = readTier(b, tier, findHold(state), state.heldReason or state.pausedReason)
    shown.name = name
    tiers[#tiers + 1] = shown
  end
  local standard = readTier(b, state, 0, '')
  return {
    at = now - state.skew,
    levels = levels,
    rates = rates,
    used = state.window.sum,
    capacities = capacities,
    usedToday = state.day.sum[1],
    capacityToday = orNull(b.requestsPerDay),
    inFlight = countLeases(b),
    pausedUntil = standard.pausedUntil,
    pausedReason = standard.pausedReason,
    breaker = standard.breaker,
    speed = standard.speed,
    tiers = tiers,
    learned = { requests = onServerClock(state.learned.requests), tokens = onServerClock(state.learned.tokens) },
    taken = state.taken,
    refunded = state.refunded,
    throttled = state.throttled,
    shut = state.shut and { till = state.shut.till - state.skew, reason = state.shut.reason } or cjson.null,
    counting = state.counting and state.counting.mode or cjson.null,
    learnedWindow = b.isAuto and b.window or cjson.null,
  }
end

local states = {}
for number, b in ipairs(openBuckets()) do
  if not b.isUntouched then saveBucket(b) end
  states[number] = readBucket(b)
end
return cjson.encode(states)
