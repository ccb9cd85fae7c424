-- Records one attempt and its consequences.
--
-- KEYS  1 the tenant's root
-- ARGV  1 delivery id  2 claim number  3 attempt (JSON)  4 attempts kept
--       5 'pending' | 'delivered' | 'failed'  6 wait until the next attempt in ms ('' unless pending)
-- Answer 'recorded' | 'stale' | 'gone'
-- What the tenant is told of its receivers, for 30 days since the latest attempt: `:webhooks:failing`, a sorted set of deliveries that did not
-- get through, by their latest attempt, and `:webhooks:endpoints`, a hash with the counts of each address.
-- Invariant: after a newer claim, an attempt is stored but decides nothing, unless it delivered; no other claim
-- can change that. A redelivery requested during an attempt ('again') is due at once, with any outcome of the
-- attempt.

local FAILING_KEPT, ENDPOINTS_KEPT, KEPT_MS = 1000, 200, 30 * 86400000

local root, id = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, outbox = root .. ':delivery:' .. id, root .. ':webhooks'

local v = redis.call('HMGET', key, 'attempts', 'claim', 'again', 'url', 'job_id')
local failing, endpoints = root .. ':webhooks:failing', root .. ':webhooks:endpoints'

-- Room for one more address: that which was not used for longest goes.
local function forget_oldest_endpoint()
  local all, oldest, oldest_at = redis.call('HGETALL', endpoints), nil, math.huge
  if #all < 2 * ENDPOINTS_KEPT then return end
  for i = 1, #all, 2 do
    local at = cjson.decode(all[i + 1]).last_at
    if at < oldest_at then oldest, oldest_at = all[i], at end
  end
  redis.call('HDEL', endpoints, oldest)
end

local function note_endpoint(url, attempt, is_delivered)
  local known = redis.call('HGET', endpoints, url)
  if not known then forget_oldest_endpoint() end
  local one = known and cjson.decode(known) or { delivered = 0, failed = 0 }
  one.last_at, one.last_status, one.last_error = now, attempt.status, attempt.error
  if is_delivered then
    one.delivered, one.failing_since = one.delivered + 1, nil
  else
    one.failed, one.failing_since = one.failed + 1, one.failing_since or now
  end
  redis.call('HSET', endpoints, url, cjson.encode(one))
  redis.call('PEXPIRE', endpoints, KEPT_MS)
end
if not v[1] then
  redis.call('ZREM', outbox, id)
  redis.call('ZREM', failing, id)
  return 'gone'
end

local attempts = cjson.decode(v[1])
attempts[#attempts + 1] = cjson.decode(ARGV[3])
while #attempts > tonumber(ARGV[4]) do table.remove(attempts, 1) end
redis.call('HSET', key, 'attempts', cjson.encode(attempts))

if v[2] ~= ARGV[2] and ARGV[5] ~= 'delivered' then return 'stale' end
-- Those that tell the operations of a budget are not the tenant's.
if string.sub(v[5] or '', 1, 7) ~= 'budget_' then
  local is_delivered = ARGV[5] == 'delivered'
  note_endpoint(v[4], attempts[#attempts], is_delivered)
  if not is_delivered then
    redis.call('ZADD', failing, string.format('%d', now), id)
    redis.call('ZREMRANGEBYRANK', failing, 0, -1 - FAILING_KEPT)
    redis.call('PEXPIRE', failing, KEPT_MS)
  elseif #attempts > 1 then
    redis.call('ZREM', failing, id)
  end
end
redis.call('HDEL', key, 'lease', 'again')
redis.call('HINCRBY', key, 'claim', 1)
if v[3] then
  local due = string.format('%d', now)
  redis.call('HSET', key, 'status', 'pending', 'next_attempt_at', due, 'attempt_count', '0')
  redis.call('ZADD', outbox, due, id)
  return 'recorded'
end
redis.call('HINCRBY', key, 'attempt_count', 1)
if ARGV[5] == 'pending' then
  local due = string.format('%d', now + tonumber(ARGV[6]))
  redis.call('HSET', key, 'status', 'pending', 'next_attempt_at', due)
  redis.call('ZADD', outbox, due, id)
else
  redis.call('HSET', key, 'status', ARGV[5], 'next_attempt_at', '')
  redis.call('ZREM', outbox, id)
end
return 'recorded'
