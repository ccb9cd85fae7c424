-- Grants the longest prefix of the costs that may leave now; each cost whole or not at all.
--
-- ARGV    10 lease in ms; then for each cost: requests, tokens, input tokens, output tokens, its tenant or ''
-- Answer  {ms until the next cost could pass (0: all passed, -1: never), what it waits for or '', permit…};
--         what it waits for is 'breaker' where calls of other tenants may leave
-- Invariant: afterwards no window of the provider holds more than its capacity, levels are at most the burst, and
-- every grant is booked in levels, ledgers and a permit.

local EPSILON = 1e-6
local POLL_MS = 50
local PROBE_POLL_MS = 250
local TRIAL_MS, TRIAL_GROWTH_MS, LONGEST_TRIAL_MS, MOST_TENANTS = 100, 20, 1000, 64
local KEEP_MS = 3600000
local PATIENCE_MS = 1000
local TRIED_MS, TRIED_HELD, LARGE = { 5000, 30000 }, 20, 0.1
local WAITING_FOR = { 'requests', 'tokens', 'tokens', 'tokens' }

local leaseMs = tonumber(ARGV[10])
local state, now, limits, closedSlice = open()
local inFlight = concurrency and call('ZCOUNT', PERMITS, '(' .. exact(now), '+inf') or 0

-- Ends of the leases that this call gave while the breaker was not closed.
local granted = {}

local function untilEnd(permit)
  local lease = permit and (granted[permit] or tonumber(call('ZSCORE', PERMITS, permit)))
  return lease and min(PROBE_POLL_MS, lease - now) or 0
end

-- How long the breaker keeps a call of this tenant, ms; 0 or less: it may leave.
local function findBreakerWait(tenant)
  local breaker = state.breaker
  local breakerState = findBreakerState(breaker, now)
  if breakerState == 'closed' then return 0 end
  if isHeld(breaker, tenant) then
    return breakerState == 'open' and breaker.openUntil - now or untilEnd(breaker.probe)
  end
  local last
  for _, trial in ipairs(breaker.trials) do
    if trial[1] == tenant then last = trial[2] end
  end
  return max(breaker.trialAt - now, untilEnd(last))
end

-- A call of this tenant leaves while the breaker is not closed.
local function bookTrial(tenant, permit)
  local breaker = state.breaker
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
  breaker.trialAt = now + min(LONGEST_TRIAL_MS, TRIAL_MS + TRIAL_GROWTH_MS * #breaker.tenants)
end

-- When the lane will have lived that many ms from `from` on.
local function findLived(slowdown, lived)
  local slow, from = slowdown.slow, slowdown.from
  if lived <= 0 then return from + lived / slow end
  if lived >= (1 + slow) * RECOVERY_MS / 2 then return from + lived + (1 - slow) * RECOVERY_MS / 2 end
  local growth = (1 - slow) / RECOVERY_MS
  return from + 2 * lived / (math.sqrt(slow * slow + 2 * growth * lived) + slow)
end

-- For each dimension without room: ms until enough slices have been dropped. Reads slices only when there is none.
local function computeLedgerWaits(key, ledger, capacities, cost)
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
    for i, packed in ipairs(call('HMGET', key, unpack(numbers))) do
      local number = numbers[i]
      local amounts = number == ledger.open and ledger.amounts or packed and unpackMessage(packed)
      for d = 1, 4 do
        if amounts and excess[d] then
          excess[d] = excess[d] - amounts[d]
          if excess[d] <= 0 then
            waits[d] = (number + 1) * width + countingTime(ledger.window) - now
            excess[d] = nil
          end
        end
      end
    end
    slice = slice + #numbers
  end
  return waits
end

-- The room that smaller costs leave to a large cost with a claim: half of the refill since the claim.
local function computeReserve(d, cost)
  local claim = state.claim
  if not claim or claim.dimension ~= d or now > claim.till or cost[d] >= claim.amount then return 0 end
  return min(claim.amount, limits.rates[d] / 2 * (now - claim.since))
end

-- Claims room for a cost that found none; the oldest live claim wins.
local function stakeClaim(waits, cost)
  local longest
  for d = 1, 4 do
    if waits[d] and (not longest or waits[d] > waits[longest]) then longest = d end
  end
  if not longest then return end
  local claim, till = state.claim, now + waits[longest] + PATIENCE_MS
  if not claim or now > claim.till then
    state.claim = { dimension = longest, amount = cost[longest], since = now, till = till }
  elseif claim.dimension == longest and claim.amount == cost[longest] then
    claim.till = till
  end
end

-- Whether a cost may clearly leave. Most may, and then no wait has to be computed.
local function passes(cost)
  if state.pausedUntil > now or state.breaker.openings > 0 or state.claim then return false end
  if concurrency and inFlight >= concurrency then return false end
  for d = 1, 4 do
    local amount = cost[d]
    if amount > 0 then
      local inWindow, inDay = limits.capacities[d], limits.dailyCapacities[d]
      if limits.rates[d] and state.levels[d] < -EPSILON then return false end
      if inWindow and state.window.sum[d] + amount > inWindow then return false end
      if inDay and state.day.sum[d] + amount > inDay then return false end
    end
  end
  return true
end

-- Where the window is learned, a call larger than a short window's capacity passes where the window holds nothing else.
local function stretch(cost)
  if not isAuto then return limits.capacities end
  local capacities = {}
  for d = 1, 4 do
    capacities[d] = limits.capacities[d] and max(limits.capacities[d], cost[d])
  end
  return capacities
end

-- The largest amount that may ever pass; where the window is learned, one that fits into a minute.
local function findLargest(d)
  local capacity = limits.capacities[d]
  if not capacity or not isAuto then return capacity or math.huge end
  return max(capacity, limits.rates[d] / headroom * STEPS[#STEPS][1])
end

-- The guard holds this cost back: perhaps the next step is due. From ten seconds on it is only where calls are large.
local function noteHeld(cost)
  local learning, share = state.learning, 0
  for d = 1, 4 do
    if limits.capacities[d] then share = max(share, cost[d] / limits.capacities[d]) end
  end
  if learning.step > 1 and share < LARGE then return end
  learning.held = learning.held + 1
  if learning.step == #STEPS or learning.held < TRIED_HELD or now < learning.retryAt then return end
  if now - learning.since < TRIED_MS[learning.step] then return end
  moveTo(learning, learning.step + 1, now)
end

-- The longest wait of a cost that may not leave now (-1: never) and its reason; nil when it may leave.
local function refuse(cost, tenant)
  if passes(cost) then return nil end
  for d = 1, 4 do
    if cost[d] > min(findLargest(d), limits.dailyCapacities[d] or math.huge) then
      return -1, WAITING_FOR[d]
    end
  end

  local longest, waitingFor = 0, nil
  local function wait(ms, reason)
    if ms and ms > longest then longest, waitingFor = ms, reason end
  end

  wait(state.pausedUntil - now, 'provider_pause')
  wait(findBreakerWait(tenant), 'breaker')
  if concurrency and inFlight >= concurrency then
    local first = call('ZRANGEBYSCORE', PERMITS, '(' .. exact(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    wait(min(POLL_MS, (tonumber(first[2]) or math.huge) - now), 'concurrency')
  end
  local capacities = stretch(cost)
  local windowWaits = computeLedgerWaits(WINDOW, state.window, capacities, cost)
  local dayWaits = computeLedgerWaits(DAY, state.day, limits.dailyCapacities, cost)
  for d = 1, 4 do
    local rate = limits.rates[d]
    wait(dayWaits[d], WAITING_FOR[d])
    if rate and cost[d] > 0 then
      local level = state.levels[d]
      if level < -EPSILON then
        wait(findLived(state.slowdown, computeLived(state.slowdown, now) - level / rate) - now, WAITING_FOR[d])
      end
      wait(windowWaits[d], WAITING_FOR[d])
      local reserve = computeReserve(d, cost)
      if reserve > 0 and state.window.sum[d] + cost[d] + reserve > capacities[d] then
        wait(POLL_MS, WAITING_FOR[d])
      end
    end
  end
  if isAuto and next(windowWaits) then noteHeld(cost) end
  stakeClaim(windowWaits, cost)
  if waitingFor then return math.ceil(longest), waitingFor end
end

local leases, records = {}, {}

local function grant(cost, tenant)
  local levels, inWindow, inDay, taken = state.levels, state.window, state.day, state.taken
  for d = 1, 4 do
    local amount = cost[d]
    if limits.rates[d] then levels[d] = levels[d] - amount end
    inWindow.amounts[d] = inWindow.amounts[d] + amount
    inWindow.sum[d] = inWindow.sum[d] + amount
    inDay.amounts[d] = inDay.amounts[d] + amount
    inDay.sum[d] = inDay.sum[d] + amount
    taken[d] = taken[d] + amount
  end
  if state.claim and cost[state.claim.dimension] >= state.claim.amount then state.claim = nil end
  inFlight = inFlight + 1
  state.sequence = state.sequence + 1
  local permit = string.format('%.0f-%.0f', floor(now), state.sequence)
  if findBreakerState(state.breaker, now) ~= 'closed' then
    bookTrial(tenant, permit)
    granted[permit] = now + leaseMs
  end
  leases[#leases + 1] = exact(now + leaseMs)
  leases[#leases + 1] = permit
  records[#records + 1] = permit
  records[#records + 1] = pack({ takenAt = now, cost = cost, used = inWindow.sum })
  return permit
end

-- Permits that were neither settled nor renewed for an hour.
if closedSlice then
  local lapsed = call('ZRANGEBYSCORE', PERMITS, '-inf', exact(now - KEEP_MS), 'LIMIT', 0, 1000)
  if #lapsed > 0 then
    call('ZREM', PERMITS, unpack(lapsed))
    call('HDEL', RECORDS, unpack(lapsed))
  end
end

local answer = { 0, '' }
for i = 11, #ARGV, 5 do
  local cost = { tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]) }
  local wait, waitingFor = refuse(cost, ARGV[i + 4])
  if wait then
    answer[1], answer[2] = wait, waitingFor
    break
  end
  answer[#answer + 1] = grant(cost, ARGV[i + 4])
end
if #leases > 0 then
  call('ZADD', PERMITS, unpack(leases))
  call('HSET', RECORDS, unpack(records))
end
save(state)
return answer
