-- Learns from how calls of a lane with `max_concurrency: auto` ended, and answers how many may run at once. concurrency.ts does the
-- same, operation for operation; test/contract/concurrency.test.ts compares the two.
--
-- KEYS    1 state  string   MessagePack of the state  2 permits  zset  as the gate's scripts keep them
--         3 none   never exists, so that Redis Cluster runs nothing on a slot that it is moving
-- ARGV    (`encodeReport` of adaptive-gate.ts) 1 now in ms; '' = Redis' clock  2 requests that wait inside the server; '' = unknown; then
--         for each call: its duration in ms, ms to its first token ('' = the answer came whole), output tokens, '1' if the server was
--         overloaded
-- Answer  the limit
-- Invariant: it is a whole number from 1 to MOST; a reading (no call) writes nothing.

local FIRST_LIMIT, MOST = 2, 1000
local PATIENCE = 1.25
local FIRST_STEP, SMALLEST_STEP, LARGEST_STEP = 0.69, 0.1, 0.69
local GROWTH, SHRINK = 1.4, 0.5
local CHANGED, CHANGED_STEP = 0.15, 0.35
local FEWEST_CALLS, MOST_CALLS = 3, 24
local USED, QUEUED, BACK_OFF, MEMORY = 0.9, 0.1, 0.7, 0.2
local ALARM, ALARM_POWER, ALARM_SHARE, DEEPEST_CUT = 2, 2, 0.6, 0.2
local KEEP_MS = 86400000

local floor, ceil, max, min, log, exp = math.floor, math.ceil, math.max, math.min, math.log, math.exp

local packed = redis.call('GET', KEYS[1])
if #ARGV == 2 then return packed and cmsgpack.unpack(packed).limit or FIRST_LIMIT end

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + time[2] / 1000
end
local function emptySums() return { calls = 0, firstMs = 0, restMs = 0, tokens = 0 } end
local state = packed and cmsgpack.unpack(packed) or {
  limit = FIRST_LIMIT, since = 0, direction = 1, step = FIRST_STEP, tokens = 0, sums = emptySums(),
  base = { limit = 0, firstMs = 0, tokenMs = 0 }, gains = 0, losses = 0, alarms = 0, loweredAt = 0, isDrained = true,
}
-- If a clock went back, every later call would look older than the current limit.
state.since, state.loweredAt = min(state.since, now), min(state.loweredAt, now)

local function timeOf(measured, tokens) return max(0.001, measured.firstMs + measured.tokenMs * tokens) end

local function moveTo(limit)
  if limit < state.limit then state.loweredAt, state.isDrained = now, false end
  state.limit = min(MOST, max(1, limit))
  state.since = now
  state.sums = emptySums()
end

local function forgetBase() state.base = { limit = 0, firstMs = 0, tokenMs = 0 } end

local function hearAlarm(call, inFlight)
  local base, limit, tokens = state.base, state.limit, state.tokens
  if base.limit == 0 or call.overloaded or inFlight < limit * USED then return false end
  if now - call.latencyMs < state.loweredAt then return false end
  local firstMs = call.firstTokenMs or 0
  local tokenMs = (call.latencyMs - firstMs) / max(1, call.outputTokens)
  local ratio = timeOf({ firstMs = firstMs, tokenMs = tokenMs }, tokens) / timeOf(base, tokens)
  local expected = max(1, limit / base.limit) ^ ALARM_POWER
  state.alarms = ratio > ALARM * expected and state.alarms + 1 or 0
  if state.alarms < max(FEWEST_CALLS, limit / 4) then return false end
  state.alarms = 0
  forgetBase()
  state.direction = 1
  state.step = CHANGED_STEP
  moveTo(floor(limit * max(DEEPEST_CUT, (ratio / expected) ^ -ALARM_SHARE)))
  return true
end

local function nextTo(limit)
  if limit == 1 then state.direction = 1 end
  local proposed = floor(limit * exp(state.direction * state.step) + 0.5)
  if state.direction == 1 then return max(limit + 1, proposed) end
  return min(limit - 1, proposed)
end

local function decide()
  local sums, limit, base = state.sums, state.limit, state.base
  local mean = sums.tokens / sums.calls
  state.tokens = state.tokens == 0 and mean or state.tokens + MEMORY * (mean - state.tokens)
  local found = { limit = limit, firstMs = sums.firstMs / sums.calls, tokenMs = sums.restMs / sums.tokens }
  local slower, more = 0, 0
  if base.limit > 0 then
    slower = log(timeOf(found, state.tokens) / timeOf(base, state.tokens))
    more = log(limit / base.limit)
  end
  if more == 0 then
    if math.abs(slower) > CHANGED then
      state.step = CHANGED_STEP
      state.direction = slower > 0 and -1 or 1
    end
    state.base = found
    state.losses = 0
  elseif more > PATIENCE * slower or (more < 0 and slower > CHANGED) then
    state.base = found
    state.losses = 0
    state.gains = state.gains + 1
    if state.gains > 1 then state.step = min(LARGEST_STEP, state.step * GROWTH) end
  else
    state.losses = state.losses + 1
    state.gains = 0
    state.direction = -state.direction
    state.step = max(SMALLEST_STEP, state.step * SHRINK)
  end
  if state.losses == 2 then return moveTo(base.limit) end
  moveTo(nextTo(state.base.limit))
end

local function hear(call, inFlight)
  if now - call.latencyMs >= state.loweredAt then state.isDrained = true end
  if hearAlarm(call, inFlight) or now - call.latencyMs < state.since then return end
  if call.overloaded then
    forgetBase()
    return moveTo(floor(state.limit * BACK_OFF))
  end
  if inFlight < state.limit * USED then return end
  local sums, firstMs = state.sums, call.firstTokenMs or 0
  sums.calls = sums.calls + 1
  sums.firstMs = sums.firstMs + firstMs
  sums.restMs = sums.restMs + call.latencyMs - firstMs
  sums.tokens = sums.tokens + max(1, call.outputTokens)
  local needed = max(state.limit, ceil(FEWEST_CALLS * (LARGEST_STEP / state.step)))
  if sums.calls >= min(MOST_CALLS, needed) then decide() end
end

local function hearQueue(waiting)
  local base, limit = state.base, state.limit
  if not state.isDrained or waiting <= max(1, limit * QUEUED) then return end
  state.gains = 0
  state.step = SMALLEST_STEP
  if base.limit > 0 and limit > base.limit then
    state.direction = -1
    return moveTo(base.limit)
  end
  state.direction = 1
  forgetBase()
  moveTo(limit - floor(waiting))
end

local inFlight = redis.call('ZCOUNT', KEYS[2], string.format('(%.17g', now), '+inf')
for i = 3, #ARGV, 4 do
  hear({
    latencyMs = tonumber(ARGV[i]), firstTokenMs = tonumber(ARGV[i + 1]), outputTokens = tonumber(ARGV[i + 2]),
    overloaded = ARGV[i + 3] == '1',
  }, inFlight)
end
hearQueue(tonumber(ARGV[2]) or 0)
redis.call('SET', KEYS[1], cmsgpack.pack(state), 'PX', KEEP_MS)
return state.limit
