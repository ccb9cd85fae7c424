-- Stands in front of every script of the gate. bucket.ts, limits.ts, ledger.ts, slowdown.ts, breaker.ts and
-- window-learning.ts do the same in TypeScript, operation for operation (as take.ts and claim.ts do take.lua, and settle.ts settle.lua); the
-- contract suite, test/contract/ratelimit*.test.ts, holds the two together.
--
-- KEYS  1 bucket         string   MessagePack of the state (made in `open`)
--       2 permits        zset     permit → end of its lease, logical ms
--       3 records        hash     permit → MessagePack {taken at, cost, what the window held}
--       4 ledger:window  hash     slice → MessagePack amounts taken in it and still counting
--       5 ledger:day     hash     the same over 24 hours
--       6 none           never there, so that Redis Cluster runs nothing on a slot that it is moving
-- ARGV  1 now            ms; '' = Redis' clock
--       2–5              requests, tokens, input and output tokens a minute; '' = no limit, here and below
--       6, 7             requests a day, concurrency
--       8, 9             window in ms (auto: learned), headroom
--       10…              the script's own
--
-- Amounts are {requests, tokens, input tokens, output tokens}, times are ms. Numbers stay doubles all the way:
-- MessagePack carries them exactly, where tostring would keep 14 digits.

local BUCKET, PERMITS, RECORDS = KEYS[1], KEYS[2], KEYS[3]
local WINDOW, DAY = KEYS[4], KEYS[5]

local SLICES = 600
local MOST_JITTER_MS = 500
local DAY_MS = 86400000
local CUT, SLOWEST, RECOVERY_MS = 0.7, 0.1, 60000

local floor, min, max = math.floor, math.min, math.max
local pack, unpackMessage = cmsgpack.pack, cmsgpack.unpack
local call = redis.call

-- Digits enough for any double, for the sorted set's scores.
local function exact(number)
  return string.format('%.17g', number)
end

-- Limits ---------------------------------------------------------------------------------------------------

local requestsPerMinute, tokensPerMinute = tonumber(ARGV[2]), tonumber(ARGV[3])
local inputPerMinute, outputPerMinute = tonumber(ARGV[4]), tonumber(ARGV[5])
local requestsPerDay, concurrency = tonumber(ARGV[6]), tonumber(ARGV[7])
local isAuto, headroom = ARGV[8] == 'auto', tonumber(ARGV[9])

-- How the gate paces, ms: the window of its guard; what a level may hold; what calls may overtake each other by. Where
-- the window is learned, `open` sets all four to those of the lane's step.
local STEPS = { { 1000, 600, 1000, 20 }, { 10000, 100, 400, 50 }, { 60000, 100, 400, 50 } }
local FORGET_MS = 86400000
local window = isAuto and STEPS[1][1] or tonumber(ARGV[8])
local burst, saved, jitter = 100, max(100, min(1000, window / 10)), min(50, window / 20)

-- Reading must not change a lane that is not in use: `read.lua` says that it reads.
local isReading, isUntouched = false, false

local function lowerOf(configured, learned)
  if configured and learned then return min(configured, learned.limit) end
  return configured
end

-- Rates (a ms) and capacities of the window and the day; nil where there is no limit.
local function computeLimits(learned)
  local perMinute = {
    lowerOf(requestsPerMinute, learned.requests), lowerOf(tokensPerMinute, learned.tokens),
    inputPerMinute, outputPerMinute,
  }
  local rates, capacities = {}, {}
  for d = 1, 4 do
    local limit = perMinute[d]
    if limit then
      local capacity = limit * window / 60000
      rates[d] = limit * headroom / 60000
      capacities[d] = d == 1 and max(capacity, 1) or capacity
    end
  end
  return { rates = rates, capacities = capacities, dailyCapacities = { requestsPerDay } }
end

-- Slowdown -------------------------------------------------------------------------------------------------

local function computeSpeed(slowdown, now)
  return min(1, slowdown.slow + (1 - slowdown.slow) * max(0, now - slowdown.from) / RECOVERY_MS)
end

-- The integral of the speed from `from` to `now`.
local function computeLived(slowdown, now)
  local slow, since = slowdown.slow, now - slowdown.from
  if since <= 0 then return slow * since end
  if since >= RECOVERY_MS then return since - (1 - slow) * RECOVERY_MS / 2 end
  return slow * since + (1 - slow) * since * since / (2 * RECOVERY_MS)
end

-- Breaker: {failures, broken {tenant, prompt, job}…, openings, changedAt, openUntil, probe, tenants, trials
-- {tenant, permit}…, trialAt, refuted tenants, refutedUntil} --------------------------------------------------

local function findBreakerState(breaker, now)
  if breaker.openings == 0 then return 'closed' end
  return now < breaker.openUntil and 'open' or 'half_open'
end

local function closeBreaker(now)
  return { failures = 0, broken = {}, openings = 0, changedAt = now, openUntil = 0, tenants = {}, trials = {}, trialAt = 0,
    refuted = {}, refutedUntil = 0 }
end

local function includes(tenants, tenant)
  for _, one in ipairs(tenants) do
    if one == tenant then return true end
  end
  return false
end

local function isHeld(breaker, tenant) return includes(breaker.tenants, tenant) end

-- Ledger: {window, open, amounts, tail, sum}; closed slices are in the hash `key` -----------------------------

local function countingTime(span)
  local spare = span * (1 / headroom - 1 - 1 / SLICES)
  return span + max(span == window and jitter or min(50, span / 20), min(MOST_JITTER_MS, spare))
end

local function createLedger(span, now)
  local slice = floor(now / (span / SLICES))
  return { window = span, open = slice, amounts = { 0, 0, 0, 0 }, tail = slice, sum = { 0, 0, 0, 0 } }
end

-- Brings the ledger to `now` and answers it, and whether a slice was closed.
local function rollLedger(key, ledger, span, now)
  if ledger.window ~= span then
    if not isUntouched then call('DEL', key) end
    local fresh = createLedger(span, now)
    fresh.sum = ledger.sum
    fresh.amounts = { unpack(ledger.sum) }
    return fresh, true
  end
  local width = span / SLICES
  local previous = ledger.open
  ledger.open = floor(now / width)
  if ledger.open ~= previous then
    local a = ledger.amounts
    if not isUntouched and (a[1] ~= 0 or a[2] ~= 0 or a[3] ~= 0 or a[4] ~= 0) then call('HSET', key, previous, pack(a)) end
    ledger.amounts = { 0, 0, 0, 0 }
  end
  local tail = floor((now - countingTime(span)) / width)
  if tail > previous then
    if not isUntouched then call('DEL', key) end
    ledger.sum = { 0, 0, 0, 0 }
  elseif tail > ledger.tail then
    local slices, gone = {}, {}
    for slice = ledger.tail, tail - 1 do slices[#slices + 1] = slice end
    for i, packed in ipairs(call('HMGET', key, unpack(slices))) do
      if packed then
        local amounts = unpackMessage(packed)
        for d = 1, 4 do ledger.sum[d] = ledger.sum[d] - amounts[d] end
        gone[#gone + 1] = slices[i]
      end
    end
    if #gone > 0 and not isUntouched then call('HDEL', key, unpack(gone)) end
  end
  ledger.tail = max(ledger.tail, tail)
  return ledger, ledger.open ~= previous
end

-- Levels -------------------------------------------------------------------------------------------------------

-- Each holds at most its burst. While another level is below its own burst, it may hold up to a second's worth (a tenth
-- of shorter windows).
local function refill(levels, rates, lived)
  local short = 0
  for d = 1, 4 do
    local rate = rates[d]
    levels[d] = rate and levels[d] + rate * lived or 0
    if rate and levels[d] < rate * burst then short = short + 1 end
  end
  for d = 1, 4 do
    local rate = rates[d]
    if rate and levels[d] >= rate * burst then
      levels[d] = min(rate * (short > 0 and saved or burst), levels[d])
    end
  end
end

-- Learning how the provider counts: {step, since, held, failures, retryAt, strayAt, tellsMinute {requests, tokens}} --

local function createLearning(now)
  return { step = 1, since = now, held = 0, failures = 0, retryAt = now, strayAt = -FORGET_MS,
    tellsMinute = { false, false } }
end

local function moveTo(learning, step, now)
  learning.step, learning.since, learning.held = step, now, 0
end

-- State ----------------------------------------------------------------------------------------------------

-- The state brought to now: clock, levels, ledgers. Answers state, now, limits, and whether a slice was closed.
local function open()
  local server = tonumber(ARGV[1])
  if not server then
    local time = call('TIME')
    server = time[1] * 1000 + time[2] / 1000
  end
  local packed = call('GET', BUCKET)
  local state = packed and unpackMessage(packed) or {
    last = server, skew = 0, sequence = 0,
    levels = { 0, 0, 0, 0 },
    window = createLedger(window, server), day = createLedger(DAY_MS, server),
    slowdown = { slow = 1, from = 0, cutAt = -1 },
    pausedUntil = 0, pausedReason = '',
    breaker = closeBreaker(-1), retries = { saved = 10, seen = 0, promisedUntil = server, chains = {} },
    learned = {}, observedAt = -1,
    taken = { 0, 0, 0, 0 }, refunded = { 0, 0, 0, 0 }, throttled = 0,
  }

  -- As an older version wrote it.
  if not state.breaker.broken then state.breaker = closeBreaker(-1) end
  isUntouched = isReading and (not packed or state.leaving ~= nil)

  -- If the server's clock falls back, logical time stands still and then goes on.
  local now = server + state.skew
  if now < state.last then
    state.skew = state.skew + (state.last - now)
    now = state.last
  end
  if isAuto then
    -- State of earlier releases has no such member.
    if not state.learning or now - state.last > FORGET_MS then state.learning = createLearning(now) end
    window, burst, saved, jitter = unpack(STEPS[state.learning.step])
  end
  local limits = computeLimits(state.learned)
  local lived = computeLived(state.slowdown, now) - computeLived(state.slowdown, state.last)
  refill(state.levels, limits.rates, lived)
  local closedSlice
  state.window, closedSlice = rollLedger(WINDOW, state.window, window, now)
  state.day = rollLedger(DAY, state.day, DAY_MS, now)
  state.last = now
  return state, now, limits, closedSlice
end

-- A lane that was deleted (forget.lua) and is used again keeps its keys.
local function save(state)
  if state.leaving then
    state.leaving = nil
    for i = 2, 5 do call('PERSIST', KEYS[i]) end
  end
  call('SET', BUCKET, pack(state))
end

-- A pause never gets shorter; the longest one gives the reason.
local function extendPause(state, till, reason)
  if till > state.pausedUntil then
    state.pausedUntil = till
    state.pausedReason = reason
  end
end
