-- Comes before every script of the gate. bucket.ts, limits.ts, ledger.ts, slowdown.ts, breaker.ts and window-learning.ts do the same
-- in TypeScript, operation for operation. take.ts and claim.ts do the same as grant.lua, and settle.ts does the same as settle.lua. The
-- contract suite, test/contract/ratelimit*.test.ts, compares the two.
--
-- A call takes from several buckets at once: from the lane's own, from one for each shared limit that names the lane, and, if the lane
-- has sources, from that of one source. All keys of a provider have one hash tag, so that one script sees all of its buckets.
-- Functions work on one bucket, `b`: {keys, limits, state, now, …}. `openBucket` makes it.
--
-- KEYS  for each bucket, the lane's own first, those of its sources last (`addressBuckets` of addresses.ts):
--       1 bucket         string   MessagePack of the state (`openBucket` makes it)
--       2 permits        zset     permit → end of its lease, logical ms
--       3 records        hash     permit → MessagePack {time of the take, cost, what the window held}
--       4 ledger:window  hash     slice → MessagePack amounts that were taken in it and still count
--       5 ledger:day     hash     the same for 24 hours
--       last: none       never exists, so that Redis Cluster runs nothing on a slot that it is moving
-- ARGV  1 now            ms; '' = Redis' clock
--       2 sources        `name|weight|mark` of each, separated by blanks; '' = the lane has none
--       then for each bucket:
--       1–4              requests, tokens, input and output tokens a minute; '' = no limit, here and below
--       5, 6             requests a day, concurrency
--       7, 8             window in ms (auto: learned), headroom
--       FIRST…           the script's own
--
-- Amounts are {requests, tokens, input tokens, output tokens}. Times are ms. Numbers stay doubles everywhere: MessagePack keeps
-- them exactly; tostring would keep 14 digits.

local BUCKETS = (#KEYS - 1) / 5
local FIRST = 3 + 8 * BUCKETS

-- {name, weight, mark}. A shut source stays shut only for the same mark: a source with another key or address is used at once.
local SOURCES = {}
if ARGV[2] ~= '' then
  for name, weight, mark in string.gmatch(ARGV[2], '([^| ]+)|([^| ]+)|([^| ]*)') do
    SOURCES[#SOURCES + 1] = { name = name, weight = tonumber(weight), mark = mark }
  end
end
-- Every call takes from these buckets. Those of sources come after them.
local COMMON = BUCKETS - #SOURCES

local SLICES = 600
local MOST_JITTER_MS = 500
local DAY_MS, HOUR_MS = 86400000, 3600000
local LONGEST_RECOVERY_MS = 60000

local floor, min, max = math.floor, math.min, math.max
local pack, unpackMessage = cmsgpack.pack, cmsgpack.unpack
local call = redis.call

-- Enough digits for any double, for the scores of a sorted set.
local function exact(number)
  return string.format('%.17g', number)
end

-- When a lease that begins now ends: whole ms, because Redis reads the score of each permit again where it looks for one, and whole numbers are
-- much cheaper to read.
local function endLease(b, leaseMs)
  return math.ceil(b.now + leaseMs)
end

-- Limits ---------------------------------------------------------------------------------------------------

-- How the gate paces, ms: the window of its guard; what a level may hold (burst, saved); by how much calls may overtake each other.
-- Where the window is learned, `openBucket` sets all four to those of the bucket's step.
local STEPS = { { 1000, 1000, 2000, 25 }, { 10000, 200, 400, 50 }, { 60000, 200, 400, 50 } }
local FORGET_MS = 86400000
local NEW_MS, NEW_BURST_MS, NEW_JITTER_MS, LATE_FADES_MS = 5000, 100, 100, 600000

local STANDARD = 'standard'

-- Reading must not change a bucket that is not in use. `read.lua` sets this.
local isReading = false

-- The bucket's keys and configured limits.
local function addressBucket(number)
  local key, arg = (number - 1) * 5, 2 + (number - 1) * 8
  local window, headroom = ARGV[arg + 7], tonumber(ARGV[arg + 8])
  local isAuto = window == 'auto'
  local ms = isAuto and STEPS[1][1] or tonumber(window)
  return {
    bucket = KEYS[key + 1], permits = KEYS[key + 2], records = KEYS[key + 3],
    ledgers = { KEYS[key + 4], KEYS[key + 5] },
    configured = {
      tonumber(ARGV[arg + 1]) or false, tonumber(ARGV[arg + 2]) or false, tonumber(ARGV[arg + 3]) or false,
      tonumber(ARGV[arg + 4]) or false,
    },
    requestsPerDay = tonumber(ARGV[arg + 5]), concurrency = tonumber(ARGV[arg + 6]),
    isAuto = isAuto, headroom = headroom,
    source = SOURCES[number - COMMON], isShared = number > 1 and number <= COMMON,
    window = ms, burst = 100, saved = max(100, min(1000, ms / 10)), jitter = min(50, ms / 20),
    -- Set later. Naming the members here keeps the table from growing.
    state = false, now = 0, limits = false, isUntouched = false, closedSlice = false,
    inFlight = 0, newLeases = false, newRecords = false, corrections = false, currentRates = false, isInvolved = false,
  }
end

local LEARNED = { 'requests', 'tokens' }

-- Rates (per ms), and capacities of the window and of the day; nil where there is no limit.
local function computeLimits(b)
  local rates, capacities, learned = {}, {}, b.state.learned
  for d = 1, 4 do
    local limit = b.configured[d]
    if limit then
      local known = d <= 2 and learned[LEARNED[d]]
      if known then limit = min(limit, known.limit) end
      local capacity = limit * b.window / 60000
      rates[d] = limit * b.headroom / 60000
      capacities[d] = d == 1 and max(capacity, 1) or capacity
    end
  end
  return { rates = rates, capacities = capacities, dailyCapacities = { b.requestsPerDay } }
end

-- Slowdown: {slow, from, cutAt, heat, before, recovery} -----------------------------------------------------

local function createSlowdown()
  return { slow = 1, from = 0, cutAt = -1, heat = 0, before = 1, recovery = LONGEST_RECOVERY_MS }
end

local function computeSpeed(slowdown, now)
  return min(1, slowdown.slow + (1 - slowdown.slow) * max(0, now - slowdown.from) / slowdown.recovery)
end

-- The integral of the speed from `from` to `now`.
local function computeLived(slowdown, now)
  local slow, since = slowdown.slow, now - slowdown.from
  if since <= 0 then return slow * since end
  local recovery = slowdown.recovery
  if since >= recovery then return since - (1 - slow) * recovery / 2 end
  return slow * since + (1 - slow) * since * since / (2 * recovery)
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

-- Ledgers 1 (window) and 2 (day): {window, open, amounts, tail, sum}; closed slices are in the hash `b.ledgers[which]` -

local function countingTime(b, span)
  local spare = span * (1 / b.headroom - 1 - 1 / SLICES)
  return span + max(span == b.window and b.jitter or min(50, span / 20), min(MOST_JITTER_MS, spare))
end

local function createLedger(span, now)
  local slice = floor(now / (span / SLICES))
  return { window = span, open = slice, amounts = { 0, 0, 0, 0 }, tail = slice, sum = { 0, 0, 0, 0 } }
end

-- The ledger with slices of another span. What still counts keeps its time: a slice goes to the last narrower slice that it covers, or to
-- the wider slice that contains it. So two spans may alternate, while a change of the configuration reaches the processes, and nothing
-- moves forward in time. Where the call before took a step of learning, everything counts as just taken: nobody knows yet what the
-- provider counts of it.
local function resizeLedger(b, key, ledger, span)
  local fresh, before, width = createLedger(span, b.now), ledger.window / SLICES, span / SLICES
  fresh.tail = floor((b.now - countingTime(b, span)) / width)
  local moved, numbers, isNewStep = {}, {}, b.isAuto and b.state.learning.since == b.state.last
  local function move(slice, amounts)
    local number = isNewStep and fresh.open or width < before and math.ceil((slice + 1) * before / width - 0.5) - 1 or floor((slice + 0.5) * before / width)
    if number < fresh.tail then return end
    if number < fresh.open then moved[number] = moved[number] or { 0, 0, 0, 0 } end
    local into = moved[number] or fresh.amounts
    for d = 1, 4 do
      into[d] = into[d] + amounts[d]
      fresh.sum[d] = fresh.sum[d] + amounts[d]
    end
  end
  for slice = ledger.tail, ledger.open - 1 do numbers[#numbers + 1] = slice end
  for i, packed in ipairs(#numbers > 0 and call('HMGET', key, unpack(numbers)) or {}) do
    if packed then move(numbers[i], unpackMessage(packed)) end
  end
  move(ledger.open, ledger.amounts)
  if b.isUntouched then return fresh end
  local fields = {}
  for number, amounts in pairs(moved) do
    fields[#fields + 1] = number
    fields[#fields + 1] = pack(amounts)
  end
  call('DEL', key)
  if #fields > 0 then call('HSET', key, unpack(fields)) end
  return fresh
end

-- Brings the ledger to `now`. Answers the ledger, and whether a slice was closed.
local function rollLedger(b, which, ledger, span)
  local key, now, isUntouched = b.ledgers[which], b.now, b.isUntouched
  if ledger.window ~= span then return resizeLedger(b, key, ledger, span), true end
  local width = span / SLICES
  local previous = ledger.open
  ledger.open = floor(now / width)
  if ledger.open ~= previous then
    local a = ledger.amounts
    if not isUntouched and (a[1] ~= 0 or a[2] ~= 0 or a[3] ~= 0 or a[4] ~= 0) then call('HSET', key, previous, pack(a)) end
    ledger.amounts = { 0, 0, 0, 0 }
  end
  local tail = floor((now - countingTime(b, span)) / width)
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

-- After a wait of more than HOUR_MS that a provider asked for: {asking = {probe}}. From its end on, one call at a time tests whether it is
-- over, until one gets an answer. `probe`: the permit of this call, if there is one.

-- Levels -------------------------------------------------------------------------------------------------------

-- A level holds at most its burst. While another level is below its burst, it may hold more (`saved`): what a second refills, or a tenth
-- of a window that is shorter than ten seconds; where the window is learned, as STEPS says.
local function refill(b, lived)
  local levels, rates, burst = b.state.levels, b.limits.rates, b.burst
  local short = 0
  for d = 1, 4 do
    local rate = rates[d]
    levels[d] = rate and levels[d] + rate * lived or 0
    if rate and levels[d] < rate * burst then short = short + 1 end
  end
  for d = 1, 4 do
    local rate = rates[d]
    if rate and levels[d] >= rate * burst then
      levels[d] = min(rate * (short > 0 and b.saved or burst), levels[d])
    end
  end
end

-- Learning how the provider counts: {step, since, held, failures, retryAt, strayAt, lateMs, lateAt, lessonAt, tellsMinute {requests, tokens}}

local function createLearning(now)
  return { step = 1, since = now, held = 0, failures = 0, retryAt = now, strayAt = -FORGET_MS,
    lateMs = 0, lateAt = -FORGET_MS, lessonAt = -FORGET_MS, tellsMinute = { false, false } }
end

-- By how much calls overtake each other beyond what the first step allows for, as 429s taught.
local function findLateness(learning, now)
  return learning.lateMs * max(0, 1 - (now - learning.lateAt) / LATE_FADES_MS)
end

local function setPacing(b, now)
  local learning = b.state.learning
  local isFirst = learning.step == 1
  b.window, b.burst, b.saved, b.jitter = unpack(STEPS[learning.step])
  if isFirst then b.jitter = b.jitter + findLateness(learning, now) end
  -- At first nothing is saved up: workers that just started are late, and the guard of a wider window does not know what left
  -- earlier until it has seen a whole window.
  if now - learning.since >= max(NEW_MS, isFirst and 0 or b.window) then return end
  b.burst, b.saved = NEW_BURST_MS, NEW_BURST_MS
  if isFirst then b.jitter = max(NEW_JITTER_MS, b.jitter) end
end

local function moveTo(learning, step, now)
  learning.step, learning.since, learning.held = step, now, 0
end

-- Learning what a call counts for the provider, its estimate or what it used: {mode, since, slot, slots, sum, deniedAt, excess, refunded,
-- refunds, failures, retryAt}. `slots` has the tokens of the last minute: used tokens of calls that ended, estimates of the others.
-- `refunds` has what calls of the same slots got back where used tokens count. Earlier releases add to `refunded` -----------------------

local SLOT_MS, SLOTS = 5000, 13

local function createSlots()
  local slots = {}
  for i = 1, SLOTS do slots[i] = 0 end
  return slots
end

local function createCounting(now)
  return { mode = 'estimate', since = now, slot = floor(now / SLOT_MS), slots = createSlots(), sum = 0, deniedAt = -60000, excess = 0,
    refunded = 0, refunds = createSlots(), failures = 0, retryAt = now + 10000 }
end

local function rollMinute(counting, now)
  local slot = floor(now / SLOT_MS)
  -- State of earlier releases does not have this member.
  counting.refunds = counting.refunds or createSlots()
  for number = max(counting.slot, slot - SLOTS) + 1, slot do
    local at = number % SLOTS + 1
    counting.sum = counting.sum - counting.slots[at]
    counting.slots[at], counting.refunds[at] = 0, 0
  end
  counting.slot = max(slot, counting.slot)
end

-- Tiers of service: each has its own pause after 429s, breaker, and pace after 429s. Those of standard are members of the state itself;
-- those of the others are in `state.tiers`: {pausedUntil, pausedReason, asking, breaker, slowdown, nextAt} ------

-- nil: the state has nothing about the tier.
local function findTier(state, tier)
  if tier == STANDARD then return state end
  return state.tiers and state.tiers[tier]
end

local function needTier(state, tier)
  if tier == STANDARD then return state end
  state.tiers = state.tiers or {}
  local kept = state.tiers[tier]
  if not kept then
    kept = { pausedUntil = 0, pausedReason = '', breaker = closeBreaker(-1), slowdown = createSlowdown(), nextAt = 0 }
    state.tiers[tier] = kept
  end
  return kept
end

-- The end of an operator's pause, which holds every tier back. `ownUntil` is the end of a pause of standard alone; earlier releases set
-- pauses of any kind without it.
local function findHold(state)
  local held = state.heldUntil or 0
  return state.pausedUntil == state.ownUntil and held or max(held, state.pausedUntil)
end

-- State ----------------------------------------------------------------------------------------------------

local server = tonumber(ARGV[1])
if not server then
  local time = call('TIME')
  server = time[1] * 1000 + time[2] / 1000
end

-- The bucket of this number, with its clock, levels and ledgers brought to now.
local function openBucket(number)
  local b = addressBucket(number)
  local packed = call('GET', b.bucket)
  local state = packed and unpackMessage(packed) or {
    last = server, skew = 0, sequence = 0,
    levels = { 0, 0, 0, 0 },
    window = createLedger(b.window, server), day = createLedger(DAY_MS, server),
    slowdown = createSlowdown(),
    pausedUntil = 0, pausedReason = '',
    breaker = closeBreaker(-1), retries = { saved = 10, seen = 0, promisedUntil = server, chains = {} },
    learned = {}, observedAt = -1,
    taken = { 0, 0, 0, 0 }, refunded = { 0, 0, 0, 0 }, throttled = 0,
  }
  b.state = state

  -- State that an older version wrote.
  if not state.breaker.broken then state.breaker = closeBreaker(-1) end
  if not state.slowdown.recovery then
    state.slowdown.heat, state.slowdown.before, state.slowdown.recovery = 0, 1, LONGEST_RECOVERY_MS
  end
  if state.shut and b.source and state.shut.mark ~= b.source.mark then state.shut = nil end
  b.isUntouched = isReading and (not packed or state.leaving ~= nil)

  -- If the server's clock goes back, logical time never does: it continues from its last value.
  local now = server + state.skew
  if now < state.last then
    state.skew = state.skew + (state.last - now)
    now = state.last
  end
  b.now = now
  if b.isAuto then
    -- State of earlier releases does not have these members.
    if not state.learning or now - state.last > FORGET_MS then state.learning = createLearning(now) end
    if not state.learning.lateMs then
      state.learning.lateMs, state.learning.lateAt, state.learning.lessonAt = 0, -FORGET_MS, -FORGET_MS
    end
    setPacing(b, now)
  end
  b.limits = computeLimits(b)
  refill(b, computeLived(state.slowdown, now) - computeLived(state.slowdown, state.last))
  state.window, b.closedSlice = rollLedger(b, 1, state.window, b.window)
  state.day = rollLedger(b, 2, state.day, DAY_MS)
  state.last = now
  return b
end

local function openBuckets()
  local buckets = {}
  for number = 1, BUCKETS do buckets[number] = openBucket(number) end
  return buckets
end

-- The latest end of a pause of any tier.
local function findLatestPause(state)
  local till = state.pausedUntil
  for _, tier in pairs(state.tiers or {}) do till = max(till, tier.pausedUntil) end
  return till
end

-- A bucket that forget.lua marked for deletion, and that is used again, keeps its keys.
local function saveBucket(b)
  local state = b.state
  if b.source or b.isShared then
    -- Names of sources and of shared limits change. What an old name leaves behind expires.
    state.leaving = nil
    local till = max(findLatestPause(state), state.shut and state.shut.till or 0)
    local ttl = string.format('%.0f', floor(max(DAY_MS, till - b.now)) + HOUR_MS)
    call('SET', b.bucket, pack(state), 'PX', ttl)
    if b.closedSlice or b.newLeases and #b.newLeases > 0 or b.corrections then
      for _, key in ipairs({ b.permits, b.records, b.ledgers[1], b.ledgers[2] }) do call('PEXPIRE', key, ttl) end
    end
    return
  end
  if state.leaving then
    state.leaving = nil
    for _, key in ipairs({ b.permits, b.records, b.ledgers[1], b.ledgers[2] }) do call('PERSIST', key) end
  end
  call('SET', b.bucket, pack(state))
end

-- Leases that have not ended.
local function countLeases(b)
  return call('ZCOUNT', b.permits, '(' .. exact(b.now), '+inf')
end

-- A pause of a tier never gets shorter. The longest pause gives the reason. Answers true if this one is the longest.
local function extendPause(tier, till, reason)
  if till <= tier.pausedUntil then return false end
  tier.pausedUntil = till
  tier.pausedReason = reason
  return true
end

-- For how long a source that refused a call stays shut, ms. After that, one call at a time is a trial.
local function findShutWait(b, untilEnd)
  local shut = b.state.shut
  if not shut then return 0 end
  if b.now < shut.till then return shut.till - b.now end
  return untilEnd(b, shut.probe)
end

-- The largest share of a capacity that is in use.
local function computeLoad(b)
  local load, limits, state = 0, b.limits, b.state
  for d = 1, 4 do
    local inWindow, inDay = limits.capacities[d], limits.dailyCapacities[d]
    if inWindow then load = max(load, state.window.sum[d] / inWindow) end
    if inDay then load = max(load, state.day.sum[d] / inDay) end
  end
  return load
end
