-- Frees permits and books what their calls really used. Follows the provider's feedback if that reports less room.
--
-- ARGV    from FIRST on, 18 for each settlement (`encodeBookings` of settle-script.ts): permit; actual requests, tokens, input and
--         output tokens ('' = never sent); reported request and token limits, remaining requests and tokens; how the call ended
--         ('ok', 'broken' or ''); ms of pause after a 429, its reason; tenant, prompt and job of the call; ms for which the source is
--         shut because it refused the call; the tier of service of the call; tokens that count if the provider counts used tokens,
--         where only its answers can tell that. '' = not reported, in every place.
-- Answer  how many permits were settled
-- Invariant: a permit settles once; one that is unknown or settled changes nothing.

local STEP, MOST_STEPS, SLOWEST, SHORTEST_RECOVERY_MS, FADES_MS, HOTTEST = 0.1, 3, 0.1, 5000, 30000, 10
local TRIP, MOST_BROKEN, MOST_TENANTS = 5, 10, 64
local PROVEN_MS, RETRY_MS, LONGEST_RETRY_MS, LESSON_MS = 60000, 600000, 86400000, 66000
local LATE_MS, MOST_LATE_MS, AGAIN_MS = 15, 100, 10000
local SLACK, WORTH = 20, 0.05
local OPEN_MS, LONGEST_MS, REFUTED_MS = 15000, 30000, 15000

local buckets

-- Refunds `refund` (negative: charges it) to the slice of `takenAt`, unless that has been dropped.
local function correctLedger(b, which, ledger, takenAt, refund)
  local slice = floor(takenAt / (ledger.window / SLICES))
  if slice < ledger.tail then return end
  local corrections = b.corrections[which]
  local amounts = slice == ledger.open and ledger.amounts or corrections[slice]
  if not amounts then
    local packed = call('HGET', b.ledgers[which], slice)
    amounts = packed and unpackMessage(packed) or { 0, 0, 0, 0 }
    corrections[slice] = amounts
  end
  for d = 1, 4 do
    local back = min(refund[d], amounts[d])
    amounts[d] = amounts[d] - back
    ledger.sum[d] = ledger.sum[d] - back
  end
end

local function saveCorrections(b)
  for which, slices in ipairs(b.corrections) do
    local fields = {}
    for slice, amounts in pairs(slices) do
      fields[#fields + 1] = slice
      fields[#fields + 1] = pack(amounts)
    end
    if #fields > 0 then call('HSET', b.ledgers[which], unpack(fields)) end
  end
end

-- Computed again only if an answer reported another limit.
local function findRates(b)
  b.currentRates = b.currentRates or computeLimits(b).rates
  return b.currentRates
end

local function correct(b, record, actual)
  local state, rates = b.state, findRates(b)
  local refund, corrected = {}, false
  for d = 1, 4 do
    local back = record.cost[d] - actual[d]
    refund[d] = d == 2 and record.guarded and record.guarded - actual[d] or back
    corrected = corrected or refund[d] ~= 0
    if rates[d] then
      local level, owed = state.levels[d], d == 2 and record.paced and record.paced - actual[d] or back
      state.levels[d] = owed > 0 and max(level, min(rates[d] * b.burst, level + owed)) or level + owed
    end
    if back > 0 then
      state.refunded[d] = state.refunded[d] + back
    else
      state.taken[d] = state.taken[d] - back
    end
  end
  if not corrected then return end
  correctLedger(b, 1, state.window, record.takenAt, refund)
  correctLedger(b, 2, state.day, record.takenAt, refund)
end

-- What remains of a window that is shorter than a minute is out of date before the next call leaves.
local function isOfUse(b, d, remaining, limit)
  if not b.isAuto then return true end
  local tells = b.state.learning.tellsMinute
  if remaining > limit / 5 then tells[d] = true end
  return tells[d]
end

-- Books a 429 of a new wave. Answers true if it tells how the provider counts, or how late calls arrive, and not that the provider has
-- less room. No call leaves during a pause, so the distance to the next wave counts from the end of this pause.
local function noteThrottled(b, pauseMs)
  local learning, now = b.state.learning, b.now
  local sinceLast = now - learning.strayAt
  learning.strayAt = now + pauseMs
  if learning.step == 1 then
    if sinceLast < AGAIN_MS then return false end
    local lateMs = findLateness(learning, now) + LATE_MS
    learning.lateMs, learning.lateAt = min(MOST_LATE_MS, lateMs), now
    -- Calls are never that late: the provider has less room.
    if lateMs > MOST_LATE_MS then return false end
  else
    if now - learning.since >= PROVEN_MS and sinceLast >= PROVEN_MS then return false end
    moveTo(learning, learning.step - 1, now)
    learning.retryAt = now + min(LONGEST_RETRY_MS, RETRY_MS * 2 ^ learning.failures)
    learning.failures = learning.failures + 1
  end
  learning.lessonAt = now
  return true
end

-- Whether a report about this dimension is about this bucket. It is about the limit nearest to the reported one. If only the remaining
-- amount was reported, it is about the lowest limit. Of equal limits it is about all.
local function isReportedOn(b, d, reported)
  local configured = b.configured[d]
  if not configured then return false end
  if BUCKETS == 1 then return true end
  local function distanceOf(limit)
    return reported and reported > 0 and max(limit / reported, reported / limit) or limit
  end
  for _, other in ipairs(buckets) do
    if other.isInvolved and other.configured[d] and distanceOf(other.configured[d]) < distanceOf(configured) then return false end
  end
  return true
end

-- A provider that counts used tokens has at least as much left as a strict minute of used tokens leaves. A lower report denies that it
-- counts them. If no report denied it for a minute, the bucket tries it. If a report denies it then, the bucket takes back what it refunded
-- for the calls of the last minute.
local function decideCounting(b, record, remaining)
  local counting, now, limit = b.state.counting, b.now, b.configured[2]
  local learned = b.state.learned.tokens
  if learned then limit = min(limit, learned.limit) end
  if remaining < limit - record.minute - limit / SLACK - record.cost[2] then
    counting.deniedAt = now
    if counting.mode ~= 'estimate' and record.takenAt >= counting.since then
      local refunded = 0
      for _, tokens in ipairs(counting.refunds) do refunded = refunded + tokens end
      b.state.levels[2] = b.state.levels[2] - min(refunded, limit)
      counting.mode, counting.since = 'estimate', now
      counting.retryAt = now + min(LONGEST_RETRY_MS, RETRY_MS * 2 ^ counting.failures)
      counting.failures = counting.failures + 1
    end
  elseif counting.mode == 'estimate' then
    local isDue = now >= counting.retryAt and now - counting.deniedAt >= PROVEN_MS
    if isDue and counting.excess > WORTH and remaining > limit / 4 then
      counting.mode, counting.since = 'trying', now
    end
  elseif counting.mode == 'trying' and now - counting.since >= PROVEN_MS then
    counting.mode, counting.failures = 'used', 0
  end
end

-- Learns from what a call used, and answers what counts for the call.
local function hearCounting(b, tierName, record, actual, first)
  local used, remaining = tonumber(ARGV[first + 17]), tonumber(ARGV[first + 8])
  local state, now = b.state, b.now
  if not used or not b.configured[2] then return actual end
  if not state.counting and remaining then state.counting = createCounting(now) end
  local counting = state.counting
  if not counting then return actual end
  local back = record.cost[2] - used
  rollMinute(counting, now)
  local slot = floor(record.takenAt / SLOT_MS)
  local isOfMinute = slot > counting.slot - SLOTS
  if record.minute and isOfMinute then
    counting.slots[slot % SLOTS + 1] = counting.slots[slot % SLOTS + 1] - back
    counting.sum = counting.sum - back
  end
  counting.excess = counting.excess + (back / max(1, record.cost[2]) - counting.excess) / 10
  local isHeard = remaining and record.minute and tierName == STANDARD and isReportedOn(b, 2, tonumber(ARGV[first + 6]))
  if isHeard and isOfUse(b, 2, remaining, b.configured[2]) then decideCounting(b, record, remaining) end
  if counting.mode == 'estimate' then return actual end
  if isOfMinute then
    local at = slot % SLOTS + 1
    counting.refunds[at] = counting.refunds[at] + max(0, actual[2] - used)
  end
  return { actual[1], used, actual[3], actual[4] }
end

-- The level is at most what the provider reported as remaining, minus the growth of the window since then, minus one more call of this size.
local function observe(b, tierName, record, size, first, grown)
  local state = b.state
  if record.takenAt < state.observedAt then return end
  local reported = { tonumber(ARGV[first]), tonumber(ARGV[first + 1]) }
  local remaining = { tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3]) }
  if not (reported[1] or reported[2] or remaining[1] or remaining[2]) then return end
  local isReported = { isReportedOn(b, 1, reported[1]), isReportedOn(b, 2, reported[2]) }
  -- If another tier reports a limit that differs from the bucket's, it has a limit of its own. Neither this limit nor what remains of it
  -- tells anything about the bucket's.
  for d = 1, 2 do
    local known = state.learned[LEARNED[d]]
    local ours = known and known.limit or b.configured[d]
    if tierName ~= STANDARD and reported[d] and reported[d] ~= ours then isReported[d] = false end
  end
  for d = 1, 2 do
    local limit, configured = reported[d], b.configured[d]
    if isReported[d] and limit and limit > 0 then
      b.currentRates = nil
      state.learned[LEARNED[d]] = limit < configured and { limit = limit, at = b.now } or nil
    end
  end
  for d = 1, 2 do
    if isReported[d] and remaining[d] and isOfUse(b, d, remaining[d], b.configured[d]) then
      state.levels[d] = min(state.levels[d], remaining[d] - grown[d] - size[d])
    end
  end
  state.observedAt = record.takenAt
end

-- A 429 to a call that left before the first 429 of a wave belongs to this wave. The number of 429s in the wave and in recent waves
-- decides how deep the cut is and how long it lasts.
local function slowDown(slowdown, record, now, pauseMs)
  local speed = computeSpeed(slowdown, now)
  if record.takenAt > slowdown.cutAt then
    slowdown.heat = slowdown.heat * FADES_MS / (FADES_MS + now - slowdown.cutAt)
    slowdown.before, slowdown.cutAt = speed, now
  end
  slowdown.heat = min(HOTTEST, slowdown.heat + 1)
  slowdown.slow = min(speed, max(SLOWEST, slowdown.before * (1 - STEP * min(MOST_STEPS, slowdown.heat))))
  local share = min(1, (slowdown.heat - 1) / MOST_STEPS)
  slowdown.recovery = SHORTEST_RECOVERY_MS + (LONGEST_RECOVERY_MS - SHORTEST_RECOVERY_MS) * share
  slowdown.from = now + pauseMs
end

local function throttle(b, tierName, record, pauseMs, reason)
  local state, now = b.state, b.now
  local tier = needTier(state, tierName)
  local slowdown = tier.slowdown
  local fresh = record.takenAt > slowdown.cutAt
  state.throttled = state.throttled + 1
  if extendPause(tier, now + pauseMs, reason) and tier == state then state.ownUntil = state.pausedUntil end
  if pauseMs > HOUR_MS then tier.asking = {} end
  -- Another tier may have a quota of its own. It tells nothing about how the provider counts standard.
  local teaches = b.isAuto and tierName == STANDARD and pauseMs <= LESSON_MS
  if teaches and fresh and noteThrottled(b, pauseMs) then
    slowdown.cutAt = now
    return
  end
  -- Calls that left before the last lesson belong to its wave: a 429 to one of them tells nothing new.
  if teaches and record.takenAt <= state.learning.lessonAt then return end
  slowDown(slowdown, record, now, pauseMs)
end

-- Ends the test whether a long wait is over, if this call was the test.
local function endAsking(b, tierName, permit, isAnswered)
  local tier = findTier(b.state, tierName)
  local asking = tier and tier.asking
  if not asking or asking.probe ~= permit then return end
  asking.probe = nil
  if isAnswered then tier.asking = nil end
end

-- How many of the broken calls differ in tenant and this member. '' differs from everything.
local function countDistinct(broken, member)
  local known, count = {}, 0
  for _, one in ipairs(broken) do
    local key = one[1] .. ' ' .. one[member]
    if one[member] == '' or not known[key] then count = count + 1 end
    known[key] = true
  end
  return count
end

-- Appends an item, and keeps the last `most` elements.
local function append(list, item, most)
  list[#list + 1] = item
  if #list > most then table.remove(list, 1) end
  return list
end

local function isProviderDown(broken)
  return countDistinct(broken, 2) >= TRIP or #broken >= MOST_BROKEN and countDistinct(broken, 3) >= TRIP
end

-- Counts how a call ended for the breaker, unless the call left before the breaker opened or closed.
local function judge(b, tierName, record, outcome, source)
  local now = b.now
  local tier = outcome == 'broken' and needTier(b.state, tierName) or findTier(b.state, tierName)
  if not tier then return end
  local breaker = tier.breaker
  if outcome == '' or record.takenAt <= breaker.changedAt then return end
  if outcome == 'ok' then
    if breaker.openings > 0 then
      tier.breaker = closeBreaker(now)
      if not isHeld(breaker, source[1]) then
        tier.breaker.refuted, tier.breaker.refutedUntil = breaker.tenants, now + REFUTED_MS
      end
    end
    tier.breaker.failures, tier.breaker.broken = 0, {}
    return
  end
  -- State of earlier releases does not have these members.
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

-- Shuts a source that refused a call. An answer to the call that tried it opens it again.
local function shutOrOpen(b, permit, shutMs, reason, outcome)
  local state, till = b.state, shutMs and b.now + shutMs
  local shut = state.shut
  if till then
    if not shut or till > shut.till then
      state.shut = { till = till, reason = reason, mark = b.source.mark }
    end
  elseif shut and shut.probe == permit and outcome == 'ok' then
    state.shut = nil
  end
end

-- Corrected slices that are closed are read once and written once.
buckets = openBuckets()
for _, b in ipairs(buckets) do b.corrections = { {}, {} } end

local permits, settled, handled = {}, {}, {}
for i = FIRST, #ARGV, 18 do permits[#permits + 1] = ARGV[i] end
local records = {}
for number, b in ipairs(buckets) do records[number] = call('HMGET', b.records, unpack(permits)) end
for index, permit in ipairs(permits) do
  -- `judged`: the bucket whose breaker and pause the call counts for: its source's, if the lane has sources. A removed source has none.
  local isKnown, judged = false, #SOURCES == 0 and 1 or nil
  for number, b in ipairs(buckets) do
    local isOwn = records[number][index]
    isKnown = isKnown or isOwn
    b.isInvolved = number <= COMMON or isOwn
    if isOwn and number > COMMON then judged = number end
  end
  if isKnown and not handled[permit] then
    handled[permit] = true
    settled[#settled + 1] = permit
    local i = FIRST + (index - 1) * 18
    local sent, tierName = ARGV[i + 1] ~= '', ARGV[i + 16]
    local actual = { 0, 0, 0, 0 }
    for d = 1, 4 do
      if sent then actual[d] = tonumber(ARGV[i + d]) end
    end
    -- A 429 counts for the lane or the source, and for the shared limits with the least room.
    local pauseMs, highest, shutMs = tonumber(ARGV[i + 10]), 0, tonumber(ARGV[i + 15])
    if pauseMs and BUCKETS > 1 then
      for _, b in ipairs(buckets) do
        b.load = b.isInvolved and computeLoad(b) or 0
        highest = max(highest, b.load)
      end
    end
    for number, b in ipairs(buckets) do
      if records[number][index] then
        local record = unpackMessage(records[number][index])
        local grown = {}
        for d = 1, 4 do grown[d] = b.state.window.sum[d] - record.used[d] end
        local counted = hearCounting(b, tierName, record, actual, i)
        correct(b, record, counted)
        observe(b, tierName, record, sent and counted or record.cost, i + 5, grown)
        endAsking(b, tierName, permit, pauseMs or sent and ARGV[i + 9] ~= 'broken')
        if number == judged then judge(b, tierName, record, ARGV[i + 9], { ARGV[i + 12], ARGV[i + 13], ARGV[i + 14] }) end
        local isTight = number > 1 and number <= COMMON and b.load == highest
        if pauseMs and (number == judged or isTight) then throttle(b, tierName, record, pauseMs, ARGV[i + 11]) end
        if b.source then shutOrOpen(b, permit, shutMs, ARGV[i + 11], ARGV[i + 9]) end
      end
    end
  end
end
for _, b in ipairs(buckets) do
  if #settled > 0 then
    call('HDEL', b.records, unpack(settled))
    call('ZREM', b.permits, unpack(settled))
  end
  saveCorrections(b)
  saveBucket(b)
end
return #settled
