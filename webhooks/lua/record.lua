-- Records one attempt and its consequences.
--
-- KEYS  1 the tenant's root
-- ARGV  1 delivery id  2 claim number  3 attempt (JSON)  4 attempts kept
--       5 'pending' | 'delivered' | 'failed'  6 wait until the next attempt in ms ('' unless pending)
-- Answer 'recorded' | 'stale' | 'gone'
-- Invariant: after a newer claim, an attempt is stored but decides nothing, unless it delivered; no other claim
-- can change that. A redelivery requested during an attempt ('again') is due at once, with any outcome of the
-- attempt.

local root, id = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, outbox = root .. ':delivery:' .. id, root .. ':webhooks'

local v = redis.call('HMGET', key, 'attempts', 'claim', 'again')
if not v[1] then
  redis.call('ZREM', outbox, id)
  return 'gone'
end

local attempts = cjson.decode(v[1])
attempts[#attempts + 1] = cjson.decode(ARGV[3])
while #attempts > tonumber(ARGV[4]) do table.remove(attempts, 1) end
redis.call('HSET', key, 'attempts', cjson.encode(attempts))

if v[2] ~= ARGV[2] and ARGV[5] ~= 'delivered' then return 'stale' end
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
