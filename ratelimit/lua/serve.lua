-- Moves a lane's virtual time on to the start tag of an entry that is being served.
--
-- KEYS    1 fair hash    ARGV  1 start tag
-- Answer  1 when it moved, else 0. Invariant: the virtual time never goes back.

local v = tonumber(redis.call('HGET', KEYS[1], 'v') or '0')
if tonumber(ARGV[1]) <= v then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[1])
return 1
