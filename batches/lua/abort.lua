-- Ends a batch early. A cancelled batch stays cancelled.
--
-- ARGV  1 token  2 id  3 'expired' | 'failed'  4 errors (JSON)
-- Answer 1 | 2 (it has not expired yet) | 0 (the lease is lost)

local token, id = ARGV[1], ARGV[2]
if not holds(id, token) then return 0 end
if is_over(id) then return 1 end
local key = batch_key(id)
if ARGV[3] == 'expired' and tonumber(redis.call('HGET', key, 'expires_at')) > now then return 2 end
if redis.call('HSETNX', key, 'ending', ARGV[3]) == 1 then redis.call('HSET', key, 'errors', ARGV[4]) end
return 1
