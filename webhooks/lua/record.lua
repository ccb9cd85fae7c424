-- Records one attempt and its outcome.
--
-- KEYS  1 the tenant's root
-- ARGV  1 delivery id  2 claim number  3 attempt (JSON)  4 attempts kept
--       5 'pending' | 'delivered' | 'failed'  6 wait until the next attempt in ms ('' unless pending)
--       7 ms to keep the summary of receivers
-- Answer 'recorded' | 'stale' | 'gone' The summary of receivers: `:webhooks:failing`, a sorted set of deliveries whose latest attempt failed, by its time; `:webhooks:addresses`, a hash with the counts of each address without its query; and `:webhooks:addresses:used`, the same addresses by their latest attempt. Invariant: an address is in both or in neither.
--
-- Invariant: after a newer claim, an attempt is stored but changes nothing else, unless it delivered: no other claim can undo that. A
-- redelivery requested during an attempt ('again') is due at once after any outcome of the attempt.

local FAILING_KEPT, ADDRESSES_KEPT = 1000, 200

local root, id = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, outbox = root .. ':delivery:' .. id, root .. ':webhooks'

local v = redis.call('HMGET', key, 'attempts', 'claim', 'again', 'url', 'job_id')
local failing = root .. ':webhooks:failing'
local addresses, used = root .. ':webhooks:addresses', root .. ':webhooks:addresses:used'
local kept_ms = tonumber(ARGV[7])
local too_old = '(' .. string.format('%d', now - kept_ms)

local function forget_addresses(gone)
  if #gone == 0 then return end
  redis.call('ZREM', used, unpack(gone))
  redis.call('HDEL', addresses, unpack(gone))
end

local function note_address(url, attempt, is_delivered)
  -- A query may contain the job's id: each job would then have an address of its own.
  local address = string.match(url, '^[^?#]*')
  local known = redis.call('HGET', addresses, address)
  local one = known and cjson.decode(known) or { delivered = 0, failed = 0 }
  one.last_at, one.last_status, one.last_error = now, attempt.status, attempt.error
  if is_delivered then
    one.delivered, one.failing_since = one.delivered + 1, nil
  else
    one.failed, one.failing_since = one.failed + 1, one.failing_since or now
  end
  redis.call('HSET', addresses, address, cjson.encode(one))
  redis.call('ZADD', used, string.format('%d', now), address)
  redis.call('PEXPIRE', addresses, kept_ms)
  redis.call('PEXPIRE', used, kept_ms)
  forget_addresses(redis.call('ZRANGEBYSCORE', used, '-inf', too_old))
  if not known then forget_addresses(redis.call('ZRANGE', used, 0, -1 - ADDRESSES_KEPT)) end
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
-- Webhooks about a budget go to the operator, not to the tenant.
if string.sub(v[5] or '', 1, 7) ~= 'budget_' then
  local is_delivered = ARGV[5] == 'delivered'
  note_address(v[4], attempts[#attempts], is_delivered)
  if not is_delivered then
    redis.call('ZADD', failing, string.format('%d', now), id)
    redis.call('ZREMRANGEBYRANK', failing, 0, -1 - FAILING_KEPT)
    redis.call('ZREMRANGEBYSCORE', failing, '-inf', too_old)
    redis.call('PEXPIRE', failing, kept_ms)
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
  -- The history may have the job without this outcome: it is copied again; or only the outcome, if the history alone has the job.
  local job = root .. ':job:' .. (v[5] or '')
  local due = string.format('%d', now)
  if redis.call('HEXISTS', job, 'copied') == 1 then
    redis.call('ZADD', root .. ':history', due, v[5])
  elseif string.sub(v[5] or '', 1, 4) == 'job_' and redis.call('EXISTS', job) == 0 then
    redis.call('ZADD', root .. ':history', due, 'delivery:' .. id)
  end
end
return 'recorded'
