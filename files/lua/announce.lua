-- Announces an object that is about to be written outside of Redis, or renews the announcement.
--
-- KEYS  1 the tenant's root
-- ARGV  1 the object, `<store>:<name>`  2 ms after which it is deleted unless it became a file
--       3 '1': only if it is still announced  4 Unix ms in place of Redis' time ('' for Redis')
-- Answer 1 | 0 (it was given up)
-- Invariant: an object that was given up is never announced again: every name is used once.

local object, lease, renewal, simulated = unpack(ARGV)
local writing = KEYS[1] .. ':files:writing'
if renewal == '1' and not redis.call('ZSCORE', writing, object) then return 0 end
local time = redis.call('TIME')
local now = tonumber(simulated) or time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', writing, string.format('%.0f', now + tonumber(lease)), object)
return 1
