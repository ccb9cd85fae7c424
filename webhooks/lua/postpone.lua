-- Returns a claimed delivery without an attempt. It is due after a wait.
--
-- KEYS  1 the tenant's root
-- ARGV  1 delivery id  2 claim number  3 wait in ms
-- Answer 1 | 0 (another claim has followed, or the delivery is deleted)
-- Invariant: a redelivery that was asked for during the claim ('again') is due at once, and is sent once.

local root, id = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key = root .. ':delivery:' .. id
if redis.call('HGET', key, 'claim') ~= ARGV[2] then return 0 end
local due = string.format('%d', now + tonumber(ARGV[3]))
-- The next attempt is the redelivery that was asked for meanwhile.
if redis.call('HDEL', key, 'again') == 1 then
  due = string.format('%d', now)
  redis.call('HSET', key, 'status', 'pending', 'attempt_count', '0')
end
redis.call('HDEL', key, 'lease')
redis.call('HINCRBY', key, 'claim', 1)
redis.call('HSET', key, 'next_attempt_at', due)
redis.call('ZADD', root .. ':webhooks', due, id)
return 1
