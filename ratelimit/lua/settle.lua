-- Frees permits and books what their calls really used; follows the provider's feedback if that reports less room.
--
-- ARGV    from 10 on, 15 for each settlement: permit; actual requests, tokens, input and output tokens ('' = never
--         sent); reported request and token limits, remaining requests and tokens; how the call ended ('ok',
--         'broken' or ''); ms of pause after a 429, its reason; whose call it was: tenant, prompt, job. '' = not
--         reported, here and there.
-- Answer  how many permits were settled
-- Invariant: a permit settles once; one that is unknown or settled changes nothing.

local TRIP, MOST_BROKEN, MOST_TENANTS = 5, 10, 64
local PROVEN_MS, RETRY_MS, LONGEST_RETRY_MS, LESSON_MS = 60000, 600000, 86400000, 66000
local OPEN_MS, LONGEST_MS, REFUTED_MS = 15000, 30000, 15000

local state, now = open()

-- Closed slices that were corrected, by ledger; each is read once and written once.
local corrections = { [WINDOW] = {}, [DAY] = {} }

-- Refunds `refund` (negative: charges it) to the slice of `takenAt`, unless that has been dropped.
local function correctLedger(key, ledger, takenAt, refund)
  local slice = floor(takenAt / (ledger.window / SLICES))
  if slice < ledger.tail then return end
  local amounts = slice == ledger.open and ledger.amounts or corrections[key][slice]
  if not amounts then
    local packed = call('HGET', key, slice)
    amounts = packed and unpackMessage(packed) or { 0, 0, 0, 0 }
    corrections[key][slice] = amounts
  end
  for d = 1, 4 do
    local back = min(refund[d], amounts[d])
    amounts[d] = amounts[d] - back
    ledger.sum[d] = ledger.sum[d] - back
  end
end

local function saveCorrections()
  for key, slices in pairs(corrections) do
    local fields = {}
    for slice, amounts in pairs(slices) do
      fields[#fields + 1] = slice
      fields[#fields + 1] = pack(amounts)
    end
    if #fields > 0 then call('HSET', key, unpack(fields)) end
  end
end

-- Computed again only if an answer reported another limit.
local currentRates
local function findRates()
  currentRates = currentRates or computeLimits(state.learned).rates
  return currentRates
end

local function correct(record, actual)
  local rates = findRates()
  local refund, corrected = {}, false
  for d = 1, 4 do
    local back = record.cost[d] - actual[d]
    refund[d] = back
    corrected = corrected or back ~= 0
    if rates[d] then
      local level = state.levels[d]
      state.levels[d] = back > 0 and max(level, min(rates[d] * burst, level + back)) or level + back
    end
    if back > 0 then
      state.refunded[d] = state.refunded[d] + back
    else
      state.taken[d] = state.taken[d] - back
    end
  end
  if not corrected then return end
  correctLedger(WINDOW, state.window, record.takenAt, refund)
  correctLedger(DAY, state.day, record.takenAt, refund)
end

local function learn(name, configured, reported)
  if not configured or not reported or reported <= 0 then return end
  currentRates = nil
  state.learned[name] = reported < configured and { limit = reported, at = now } or nil
end

-- What remains of a shorter window than a minute is over before the next call leaves.
local function isOfUse(d, remaining, limit)
  if not isAuto then return true end
  local tells = state.learning.tellsMinute
  if remaining > limit / 5 then tells[d] = true end
  return tells[d]
end

-- A 429 of a new wave. True when it took a step back: it says how the provider counts, not that it has less.
local function noteThrottled()
  local learning = state.learning
  local isProven = now - learning.since >= PROVEN_MS and now - learning.strayAt >= PROVEN_MS
  learning.strayAt = now
  if learning.step == 1 or isProven then return false end
  moveTo(learning, learning.step - 1, now)
  learning.retryAt = now + min(LONGEST_RETRY_MS, RETRY_MS * 2 ^ learning.failures)
  learning.failures = learning.failures + 1
  return true
end

-- The level is at most what the provider said remained, less the growth of our window since, less one more such call.
local function lower(d, configured, remaining, grown, size)
  if configured and remaining and isOfUse(d, remaining, configured) then
    state.levels[d] = min(state.levels[d], remaining - grown[d] - size[d])
  end
end

local function observe(record, size, first, grown)
  if record.takenAt < state.observedAt then return end
  local limitRequests, limitTokens = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
  local remainingRequests, remainingTokens = tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  if not (limitRequests or limitTokens or remainingRequests or remainingTokens) then return end
  learn('requests', requestsPerMinute, limitRequests)
  learn('tokens', tokensPerMinute, limitTokens)
  lower(1, requestsPerMinute, remainingRequests, grown, size)
  lower(2, tokensPerMinute, remainingTokens, grown, size)
  state.observedAt = record.takenAt
end

-- One cut of the rate for each wave of 429s: calls that left before the last cut belong to the same wave.
local function throttle(record, pauseMs, reason)
  local slowdown = state.slowdown
  local speed = computeSpeed(slowdown, now)
  local fresh = record.takenAt > slowdown.cutAt
  state.throttled = state.throttled + 1
  extendPause(state, now + pauseMs, reason)
  if isAuto and fresh and pauseMs <= LESSON_MS and noteThrottled() then
    slowdown.cutAt = now
    return
  end
  slowdown.slow = fresh and max(SLOWEST, speed * CUT) or speed
  slowdown.from = now + pauseMs
  if fresh then slowdown.cutAt = now end
end

-- How many of the broken calls differ in tenant and this member; '' is unlike any other.
local function countDistinct(broken, member)
  local known, count = {}, 0
  for _, one in ipairs(broken) do
    local key = one[1] .. ' ' .. one[member]
    if one[member] == '' or not known[key] then count = count + 1 end
    known[key] = true
  end
  return count
end

-- Appends, and returns the list cut to its last so many elements.
local function append(list, item, most)
  list[#list + 1] = item
  if #list > most then table.remove(list, 1) end
  return list
end

local function isProviderDown(broken)
  return countDistinct(broken, 2) >= TRIP or #broken >= MOST_BROKEN and countDistinct(broken, 3) >= TRIP
end

-- Counts how a call ended, unless it left before the breaker opened or closed.
local function judge(record, outcome, source)
  local breaker = state.breaker
  if outcome == '' or record.takenAt <= breaker.changedAt then return end
  if outcome == 'ok' then
    if breaker.openings > 0 then
      state.breaker = closeBreaker(now)
      if not isHeld(breaker, source[1]) then
        state.breaker.refuted, state.breaker.refutedUntil = breaker.tenants, now + REFUTED_MS
      end
    end
    state.breaker.failures, state.breaker.broken = 0, {}
    return
  end
  -- State of earlier releases has no such members.
  if breaker.openings == 0 and now < (breaker.refutedUntil or 0) and includes(breaker.refuted, source[1]) then return end
  breaker.failures = breaker.failures + 1
  append(breaker.broken, source, MOST_BROKEN)
  if breaker.openings == 0 then
    if not isProviderDown(breaker.broken) then return end
    breaker.changedAt, breaker.trialAt = now, now
    for _, one in ipairs(breaker.broken) do
      if not isHeld(breaker, one[1]) then append(breaker.tenants, one[1], MOST_TENANTS) end
    end
  elseif not isHeld(breaker, source[1]) then
    append(breaker.tenants, source[1], MOST_TENANTS)
    return
  end
  breaker.openings = breaker.openings + 1
  breaker.openUntil = now + min(LONGEST_MS, OPEN_MS * 2 ^ (breaker.openings - 1))
  breaker.probe = nil
end

local permits, settled = {}, {}
for i = 10, #ARGV, 15 do permits[#permits + 1] = ARGV[i] end
local records = call('HMGET', RECORDS, unpack(permits))
for number, permit in ipairs(permits) do
  if records[number] and not settled[permit] then
    settled[permit] = true
    settled[#settled + 1] = permit
    local i = 10 + (number - 1) * 15
    local record = unpackMessage(records[number])
    local sent = ARGV[i + 1] ~= ''
    local actual = { 0, 0, 0, 0 }
    local grown = {}
    for d = 1, 4 do
      if sent then actual[d] = tonumber(ARGV[i + d]) end
      grown[d] = state.window.sum[d] - record.used[d]
    end
    correct(record, actual)
    observe(record, sent and actual or record.cost, i + 5, grown)
    judge(record, ARGV[i + 9], { ARGV[i + 12], ARGV[i + 13], ARGV[i + 14] })
    local pauseMs = tonumber(ARGV[i + 10])
    if pauseMs then throttle(record, pauseMs, ARGV[i + 11]) end
  end
end
if #settled > 0 then
  call('HDEL', RECORDS, unpack(settled))
  call('ZREM', PERMITS, unpack(settled))
end
saveCorrections()
save(state)
return #settled
