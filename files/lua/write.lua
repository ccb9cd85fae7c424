-- Writes one part of a file that is not sealed.
--
-- KEYS  1 the tenant's root
-- ARGV  1 file id  2 number of the part  3 its size in bytes  4 its content  5 ms until it expires unless it is sealed
-- Answer 1 | 0 (the file is sealed)
-- Invariant: a sealed file never changes, not even by a late call.

local id, part, size, content, ttl = unpack(ARGV)
local key = KEYS[1] .. ':file:' .. id
if redis.call('EXISTS', key) == 1 then return 0 end
-- The large write comes first: at full memory Redis refuses the first write of a script.
redis.call('SET', key .. ':' .. part, content, 'PX', ttl)
redis.call('HSET', key .. ':sizes', part, size)
redis.call('PEXPIRE', key .. ':sizes', ttl)
return 1
