-- Opens the buckets of a lane and grants permits from them. It comes before take.lua, and inside the script of jobs/lua that takes the
-- permit of the job that it creates (`readGateFunction` of ratelimit/scripts.ts). common.lua comes before it.
--
-- ARGV    FIRST lease of a permit in ms; the rest is the script's own
-- `refuse(cost, caller)` and `grant(cost, caller, source)` decide about one cost, {requests, tokens, input tokens, output tokens}. `caller`
-- is {tenant, source, tier} of the call. Call `saveBuckets` after all decisions.
-- Invariant: afterwards no window of any bucket holds more than its capacity, levels are at most the burst, and
-- every grant is booked in levels, ledgers and a permit of every bucket.

local EPSILON = 1e-6
local POLL_MS = 50
local PROBE_POLL_MS = 250
local TRIAL_MS, TRIAL_GROWTH_MS, LONGEST_TRIAL_MS, MOST_TENANTS = 100, 20, 1000, 64
local KEEP_MS = 3600000
local PATIENCE_MS = 1000
local TIER_BURST_MS = 100
local MOST_EXCESS = 0.99
local TRIED_MS, TRIED_HELD, LARGE = { 5000, 30000 }, 20, 0.1
local WAITING_FOR = { 'requests', 'tokens', 'tokens', 'tokens' }

local leaseMs = tonumber(ARGV[FIRST])
local buckets = openBuckets()
local lane = buckets[1]
for _, b in ipairs(buckets) do
  b.inFlight = b.concurrency and countLeases(b) or 0
  b.newLeases, b.newRecords = {}, {}
end

-- Ends of the leases that this script run gave to probes and trials.
local granted = {}

local function untilEnd(b, permit)
  local lease = permit and (granted[permit] or tonumber(call('ZSCORE', b.permits, permit)))
  return lease and min(PROBE_POLL_MS, lease - b.now) or 0
end

-- How long the breaker holds back a call of this tenant, ms; 0 or less: it may leave.
local function findBreakerWait(b, breaker, tenant)
  local now = b.now
  local breakerState = findBreakerState(breaker, now)
  if breakerState == 'closed' then return 0 end
  if isHeld(breaker, tenant) then
    return breakerState == 'open' and breaker.openUntil - now or untilEnd(b, breaker.probe)
  end
  local last
  for _, trial in ipairs(breaker.trials) do
    if trial[1] == tenant then last = trial[2] end
  end
  return max(breaker.trialAt - now, untilEnd(b, last))
end

-- Books a call of this tenant that leaves while the breaker is not closed.
local function bookTrial(b, breaker, tenant, permit)
  if isHeld(breaker, tenant) then
    breaker.probe = permit
    return
  end
  local trials = {}
  for _, trial in ipairs(breaker.trials) do
    if trial[1] ~= tenant then trials[#trials + 1] = trial end
  end
  trials[#trials + 1] = { tenant, permit }
  if #trials > MOST_TENANTS then table.remove(trials, 1) end
  breaker.trials = trials
  breaker.trialAt = b.now + min(LONGEST_TRIAL_MS, TRIAL_MS + TRIAL_GROWTH_MS * #breaker.tenants)
end

-- The inverse of `computeLived`: the time at which the bucket has lived that many ms since `from`.
local function findLived(slowdown, lived)
  local slow, from, recovery = slowdown.slow, slowdown.from, slowdown.recovery
  if lived <= 0 then return from + lived / slow end
  if lived >= (1 + slow) * recovery / 2 then return from + lived + (1 - slow) * recovery / 2 end
  local growth = (1 - slow) / recovery
  return from + 2 * lived / (math.sqrt(slow * slow + 2 * growth * lived) + slow)
end

-- For each dimension without room: ms until enough slices have been dropped. Reads slices only if a dimension has no room.
local function computeLedgerWaits(b, which, ledger, capacities, cost)
  local waits, excess = {}, {}
  for d = 1, 4 do
    if capacities[d] and cost[d] > 0 then
      local over = ledger.sum[d] + cost[d] - capacities[d]
      if over > 0 then excess[d] = over end
    end
  end
  local width = ledger.window / SLICES
  local slice = ledger.tail
  while next(excess) and slice <= ledger.open do
    local numbers = {}
    for number = slice, min(slice + 63, ledger.open) do numbers[#numbers + 1] = number end
    for i, packed in ipairs(call('HMGET', b.ledgers[which], unpack(numbers))) do
      local number = numbers[i]
      local amounts = number == ledger.open and ledger.amounts or packed and unpackMessage(packed)
      for d = 1, 4 do
        if amounts and excess[d] then
          excess[d] = excess[d] - amounts[d]
          if excess[d] <= 0 then
            waits[d] = (number + 1) * width + countingTime(b, ledger.window) - b.now
            excess[d] = nil
          end
        end
      end
    end
    slice = slice + #numbers
  end
  return waits
end

-- The room that smaller costs leave to a large cost with a claim: half of the refill since the claim, at most the claimed amount.
local function computeReserve(b, d, cost)
  local claim = b.state.claim
  if not claim or claim.dimension ~= d or b.now > claim.till or cost[d] >= claim.amount then return 0 end
  return min(claim.amount, b.limits.rates[d] / 2 * (b.now - claim.since))
end

-- Claims room for a cost that found none. The oldest claim that has not lapsed wins.
local function stakeClaim(b, waits, cost)
  local longest
  for d = 1, 4 do
    if waits[d] and (not longest or waits[d] > waits[longest]) then longest = d end
  end
  if not longest then return end
  local claim, till = b.state.claim, b.now + waits[longest] + PATIENCE_MS
  if not claim or b.now > claim.till then
    b.state.claim = { dimension = longest, amount = cost[longest], since = b.now, till = till }
  elseif claim.dimension == longest and claim.amount == cost[longest] then
    claim.till = till
  end
end

-- Whether this bucket clearly lets a cost leave. Most costs may leave, and then no wait is computed. Levels may be below zero by `creditMs`
-- of their rates.
local function passes(b, cost, tierName, creditMs)
  local state, limits = b.state, b.limits
  local tier = findTier(state, tierName)
  if state.pausedUntil > b.now or state.shut or state.claim then return false end
  if tier and (tier.pausedUntil > b.now or tier.asking or tier.breaker.openings > 0) then return false end
  if tier and tier.nextAt and computeSpeed(tier.slowdown, b.now) < 1 then return false end
  if b.concurrency and b.inFlight >= b.concurrency then return false end
  local rates, capacities, dailyCapacities = limits.rates, limits.capacities, limits.dailyCapacities
  local levels, used, usedToday = state.levels, state.window.sum, state.day.sum
  for d = 1, 4 do
    local amount = cost[d]
    if amount > 0 then
      local inWindow, inDay = capacities[d], dailyCapacities[d]
      if rates[d] and levels[d] < -EPSILON - creditMs * rates[d] then return false end
      if inWindow and used[d] + amount > inWindow then return false end
      if inDay and usedToday[d] + amount > inDay then return false end
    end
  end
  return true
end

-- Where the window is learned, a call that is larger than the capacity of a short window passes while the window holds nothing else.
local function stretch(b, cost)
  if not b.isAuto then return b.limits.capacities end
  local capacities = {}
  for d = 1, 4 do
    capacities[d] = b.limits.capacities[d] and max(b.limits.capacities[d], cost[d])
  end
  return capacities
end

-- The largest amount that can ever pass. Where the window is learned: the largest that fits into a minute.
local function findLargest(b, d)
  local capacity = b.limits.capacities[d]
  if not capacity or not b.isAuto then return capacity or math.huge end
  return max(capacity, b.limits.rates[d] / b.headroom * STEPS[#STEPS][1])
end

-- The guard holds this cost back: the next step may be due. From the window of ten seconds on, only large calls count for that.
local function noteHeld(b, cost)
  local learning, share = b.state.learning, 0
  for d = 1, 4 do
    if b.limits.capacities[d] then share = max(share, cost[d] / b.limits.capacities[d]) end
  end
  if learning.step > 1 and share < LARGE then return end
  learning.held = learning.held + 1
  if learning.step == #STEPS or learning.held < TRIED_HELD or b.now < learning.retryAt then return end
  if b.now - learning.since < TRIED_MS[learning.step] then return end
  moveTo(learning, learning.step + 1, b.now)
end

-- The dimension in which this bucket can never admit a cost; nil: none.
local function findImpossible(b, cost)
  for d = 1, 4 do
    if cost[d] > min(findLargest(b, d), b.limits.dailyCapacities[d] or math.huge) then return WAITING_FOR[d] end
  end
end

-- A slowed tier has a pace of its own beside the levels that all tiers share. `findTurnOfTier` answers the ms until its next call, and
-- `bookTurnOfTier` sets the turn after a call.
local function findTurnOfTier(tier, now)
  if not tier.nextAt or computeSpeed(tier.slowdown, now) == 1 then return 0 end
  return tier.nextAt - now - TIER_BURST_MS
end

local function bookTurnOfTier(b, tier, cost)
  if not tier.nextAt then return end
  local speed, longest = computeSpeed(tier.slowdown, b.now), 0
  if speed < 1 then
    for d = 1, 4 do
      local rate = b.limits.rates[d]
      if rate then longest = max(longest, cost[d] / rate) end
    end
  end
  tier.nextAt = max(b.now, tier.nextAt) + longest / speed
end

-- Calls `wait` with each reason of this bucket why a cost may not leave now. Answers the waits for its window.
-- `creditMs`, `poolMs`: how far a source may go into debt, and how long until the sources together owe nothing.
local function findWaits(b, cost, caller, wait, creditMs, poolMs)
  local state, now, limits = b.state, b.now, b.limits
  wait(findHold(state) - now, 'provider_pause')
  if b.source then wait(findShutWait(b, untilEnd), 'provider_pause') end
  local tier = findTier(state, caller.tier)
  if tier then
    wait(tier.pausedUntil - now, 'tier')
    if tier.asking and tier.pausedUntil <= now then wait(untilEnd(b, tier.asking.probe), 'tier') end
    wait(findTurnOfTier(tier, now), 'tier')
    -- Where a lane has sources, their breakers decide.
    if b.source or b == lane and #SOURCES == 0 then wait(findBreakerWait(b, tier.breaker, caller.tenant), 'breaker') end
  end
  if b.concurrency and b.inFlight >= b.concurrency then
    local first = call('ZRANGEBYSCORE', b.permits, '(' .. exact(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    wait(min(POLL_MS, (tonumber(first[2]) or math.huge) - now), 'concurrency')
  end
  local capacities = stretch(b, cost)
  local windowWaits = computeLedgerWaits(b, 1, state.window, capacities, cost)
  local dayWaits = computeLedgerWaits(b, 2, state.day, limits.dailyCapacities, cost)
  local lived = computeLived(state.slowdown, now)
  for d = 1, 4 do
    local rate = limits.rates[d]
    wait(dayWaits[d], WAITING_FOR[d])
    if rate and cost[d] > 0 then
      if state.levels[d] < -EPSILON then
        local owedMs = -state.levels[d] / rate
        local paidOff = findLived(state.slowdown, lived + owedMs) - now
        -- Earlier, if the sources together have room by then.
        if poolMs < paidOff then
          paidOff = max(poolMs, findLived(state.slowdown, lived + owedMs - creditMs) - now)
        end
        wait(paidOff, WAITING_FOR[d])
      end
      wait(windowWaits[d], WAITING_FOR[d])
      local reserve = computeReserve(b, d, cost)
      if reserve > 0 and state.window.sum[d] + cost[d] + reserve > capacities[d] then
        wait(POLL_MS, WAITING_FOR[d])
      end
    end
  end
  return windowWaits
end

-- Books that the bucket's window held a cost back.
local function holdBack(b, windowWaits, cost)
  if b.isAuto and next(windowWaits) then noteHeld(b, cost) end
  stakeClaim(b, windowWaits, cost)
end

-- Whether a source comes first: its breaker is closed, or a call may try it now. The other sources serve if these have no room.
local function isSound(b, tierName)
  local tier = findTier(b.state, tierName)
  if not tier then return true end
  local breaker = tier.breaker
  local breakerState = findBreakerState(breaker, b.now)
  if breakerState == 'closed' then return true end
  return breakerState == 'half_open' and b.now >= breaker.trialAt and untilEnd(b, breaker.probe) <= 0
end

-- How full a source is for its weight: by its fullest limit, then by the number of its calls.
local function measureFullness(b)
  local fullness, weight = computeLoad(b), b.source.weight
  if b.concurrency then fullness = max(fullness, b.inFlight / b.concurrency) end
  return fullness / weight, b.state.taken[1] / weight
end

-- The sums of the levels and of the rates of all sources that may serve, and whether one of them is in debt.
local function poolSources(tierName)
  local levels, rates, isInDebt = { 0, 0, 0, 0 }, { 0, 0, 0, 0 }, false
  for number = COMMON + 1, BUCKETS do
    local b = buckets[number]
    local state = b.state
    local tier = findTier(state, tierName)
    local isOpen = not tier or tier.pausedUntil <= b.now and not tier.asking
      and findBreakerState(tier.breaker, b.now) == 'closed'
    if isOpen and findHold(state) <= b.now and not state.shut then
      local speed = computeSpeed(state.slowdown, b.now)
      for d = 1, 4 do
        local rate = b.limits.rates[d]
        if rate then
          levels[d] = levels[d] + state.levels[d]
          rates[d] = rates[d] + rate * speed
          if state.levels[d] < -EPSILON then isInDebt = true end
        end
      end
    end
  end
  return levels, rates, isInDebt
end

-- Ms until a source owes nothing again if it takes this cost, for its weight.
local function findPayOff(b, cost)
  local longest = 0
  for d = 1, 4 do
    local rate = b.limits.rates[d]
    if rate and cost[d] > 0 then longest = max(longest, (cost[d] - b.state.levels[d]) / rate) end
  end
  return longest / b.source.weight
end

-- The source for a cost. Where none has room: nil, the shortest wait (-1: never) and its reason.
local function chooseSource(cost, caller)
  local only
  for number = COMMON + 1, BUCKETS do
    if buckets[number].source.name == caller.source then only = buckets[number] end
  end
  -- While the sources together have room, each may go into debt a little. Then several sources may take a call, and the best one does.
  -- Otherwise the first source with room takes the next call: one source gets all small calls, and another gets all large ones.
  local pooled, inflow, isInDebt = poolSources(caller.tier)
  local poolMs = 0
  for d = 1, 4 do
    if cost[d] > 0 and pooled[d] < -EPSILON then poolMs = max(poolMs, -pooled[d] / inflow[d]) end
  end
  local best, bestSound, bestPayOff, bestFullness, bestTaken
  local soonest, shortest, waitingFor, held
  local impossible
  for number = COMMON + 1, BUCKETS do
    local b = buckets[number]
    local never = findImpossible(b, cost)
    if only and b ~= only then
      never = nil
    elseif never then
      impossible = impossible or never
    else
      local longest, reason, windowWaits = 0, nil, nil
      local creditMs = min(b.saved, b.window / 10)
      if not passes(b, cost, caller.tier, poolMs > 0 and 0 or creditMs) then
        windowWaits = findWaits(b, cost, caller, function(ms, why)
          if ms and ms > longest then longest, reason = ms, why end
        end, creditMs, poolMs)
      end
      if not reason then
        local sound, payOff = isSound(b, caller.tier), isInDebt and findPayOff(b, cost) or 0
        local fullness, taken = measureFullness(b)
        local isBetter = not best
        if best and sound ~= bestSound then
          isBetter = sound
        elseif best and payOff ~= bestPayOff then
          isBetter = payOff < bestPayOff
        elseif best then
          isBetter = fullness < bestFullness or fullness == bestFullness and taken < bestTaken
        end
        if isBetter then
          best, bestSound, bestPayOff, bestFullness, bestTaken = b, sound, payOff, fullness, taken
        end
      elseif not soonest or longest < shortest then
        soonest, shortest, waitingFor, held = b, longest, reason, windowWaits
      end
    end
  end
  if best then return best end
  if not soonest then return nil, -1, impossible end
  holdBack(soonest, held, cost)
  return nil, shortest, waitingFor
end

-- The longest wait of a cost that may not leave now (-1: never), and its reason. If it may leave: nil, nil, and its source.
local function refuse(cost, caller)
  local number = 1
  while number <= COMMON and passes(buckets[number], cost, caller.tier, 0) do number = number + 1 end
  local source, sourceWait, sourceReason
  if #SOURCES > 0 then source, sourceWait, sourceReason = chooseSource(cost, caller) end
  if number > COMMON and not sourceWait then return nil, nil, source end
  for common = 1, COMMON do
    local impossible = findImpossible(buckets[common], cost)
    if impossible then return -1, impossible end
  end
  if sourceWait == -1 then return -1, sourceReason end

  local longest, waitingFor = 0, nil
  local function wait(ms, reason)
    if ms and ms > longest then longest, waitingFor = ms, reason end
  end
  for common = 1, COMMON do
    local b = buckets[common]
    holdBack(b, findWaits(b, cost, caller, wait, 0, math.huge), cost)
  end
  wait(sourceWait, sourceReason)
  if waitingFor then return math.ceil(longest), waitingFor end
  return nil, nil, source
end

local function book(b, cost, permit)
  local state, rates = b.state, b.limits.rates
  local levels, inWindow, inDay, taken = state.levels, state.window, state.day, state.taken
  for d = 1, 4 do
    local amount = cost[d]
    if rates[d] then levels[d] = levels[d] - amount end
    inWindow.amounts[d] = inWindow.amounts[d] + amount
    inWindow.sum[d] = inWindow.sum[d] + amount
    inDay.amounts[d] = inDay.amounts[d] + amount
    inDay.sum[d] = inDay.sum[d] + amount
    taken[d] = taken[d] + amount
  end
  if state.claim and cost[state.claim.dimension] >= state.claim.amount then state.claim = nil end
  b.inFlight = b.inFlight + 1
  local leases, records = b.newLeases, b.newRecords
  leases[#leases + 1] = string.format('%.0f', endLease(b, leaseMs))
  leases[#leases + 1] = permit
  records[#records + 1] = permit
  local record = { takenAt = b.now, cost = cost, used = inWindow.sum }
  local counting = state.counting
  if counting then
    rollMinute(counting, b.now)
    local at = counting.slot % SLOTS + 1
    counting.slots[at] = counting.slots[at] + cost[2]
    counting.sum = counting.sum + cost[2]
    record.minute = counting.sum
    -- Where used tokens count, the expected use is the pace: a level takes back at most its burst at a time.
    if counting.mode ~= 'estimate' then
      record.paced = cost[2] * (1 - max(0, min(MOST_EXCESS, counting.excess)))
      local spared = cost[2] - record.paced
      if rates[2] then levels[2] = levels[2] + spared end
      -- A window shorter than a minute only paces the calls. A window of a minute holds what the provider's window holds.
      if b.window < SLOT_MS * (SLOTS - 1) then
        record.guarded = record.paced
        for _, ledger in ipairs({ inWindow, inDay }) do
          ledger.amounts[2] = ledger.amounts[2] - spared
          ledger.sum[2] = ledger.sum[2] - spared
        end
      end
    end
  end
  records[#records + 1] = pack(record)
end

-- One permit for all buckets of a call. None of them gave its number before. The permit names its source.
local function grant(cost, caller, source)
  local sequence = lane.state.sequence
  for number = 2, BUCKETS do sequence = max(sequence, buckets[number].state.sequence) end
  sequence = sequence + 1
  local permit = string.format('%.0f-%.0f', floor(lane.now), sequence)
  if source then permit = permit .. '@' .. source.source.name end
  for number = 1, COMMON do
    buckets[number].state.sequence = sequence
    book(buckets[number], cost, permit)
  end
  if source then
    source.state.sequence = sequence
    book(source, cost, permit)
  end
  for number = 1, BUCKETS do
    local b = buckets[number]
    local tier = (number <= COMMON or b == source) and findTier(b.state, caller.tier)
    if tier then
      bookTurnOfTier(b, tier, cost)
      if tier.asking then
        tier.asking.probe = permit
        granted[permit] = endLease(b, leaseMs)
      end
    end
  end
  local judged = source or lane
  local tier = findTier(judged.state, caller.tier)
  if tier and findBreakerState(tier.breaker, judged.now) ~= 'closed' then
    bookTrial(judged, tier.breaker, caller.tenant, permit)
    granted[permit] = endLease(judged, leaseMs)
  end
  if source and source.state.shut then
    source.state.shut.probe = permit
    granted[permit] = endLease(source, leaseMs)
  end
  return permit
end

-- Deletes permits that were neither settled nor renewed for an hour after their lease ended.
for _, b in ipairs(buckets) do
  if b.closedSlice then
    local lapsed = call('ZRANGEBYSCORE', b.permits, '-inf', exact(b.now - KEEP_MS), 'LIMIT', 0, 1000)
    if #lapsed > 0 then
      call('ZREM', b.permits, unpack(lapsed))
      call('HDEL', b.records, unpack(lapsed))
    end
  end
end

local function saveBuckets()
  for _, b in ipairs(buckets) do
    if #b.newLeases > 0 then
      call('ZADD', b.permits, unpack(b.newLeases))
      call('HSET', b.records, unpack(b.newRecords))
    end
    saveBucket(b)
  end
end
