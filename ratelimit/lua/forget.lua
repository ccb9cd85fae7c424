-- Deletes a lane that is no longer in use, and its sources. With models "*" a provider may have many lanes.
--
-- Answer  1 its keys are deleted | 0 a call is running, or some state must stay for a while
-- Invariant: use that counts against a limit, a pause, a breaker and a slowdown stay. Their keys expire a day after they matter.

local lane = openBucket(1)
if countLeases(lane) > 0 then return 0 end

local function isPlain(b)
  local state, now = b.state, b.now
  local plain = state.pausedUntil <= now and state.breaker.failures == 0 and computeSpeed(state.slowdown, now) == 1
    and (not b.requestsPerDay or state.day.sum[1] == 0) and not state.shut and not state.asking
  for _, tier in pairs(state.tiers or {}) do
    plain = plain and tier.pausedUntil <= now and tier.breaker.failures == 0 and computeSpeed(tier.slowdown, now) == 1
      and not tier.asking
  end
  for d = 1, 4 do plain = plain and state.window.sum[d] == 0 end
  return plain
end

local function forget(b)
  if isPlain(b) then
    call('DEL', b.bucket, b.permits, b.records, b.ledgers[1], b.ledgers[2])
    return 1
  end
  b.state.leaving = true
  local ttl = string.format('%d', max(DAY_MS, findLatestPause(b.state) - b.now) + HOUR_MS)
  call('SET', b.bucket, pack(b.state), 'PX', ttl)
  for _, key in ipairs({ b.permits, b.records, b.ledgers[1], b.ledgers[2] }) do call('PEXPIRE', key, ttl) end
  return 0
end

local deleted = forget(lane)
for number = COMMON + 1, BUCKETS do deleted = min(deleted, forget(openBucket(number))) end
return deleted
