-- Marks that every block is written: only the result files have to be sealed.
--
-- ARGV  1 token  2 id
-- Answer {time of the first call, Unix ms} | 0 (the lease is lost)

local token, id = ARGV[1], ARGV[2]
if not holds(id, token) then return 0 end
local key = batch_key(id)
if redis.call('HGET', key, 'status') == 'in_progress' then
  redis.call('HSET', key, 'status', 'finalizing', 'finalizing_at', ms(now))
end
redis.call('HSETNX', key, 'written_at', ms(now))
return { redis.call('HGET', key, 'written_at') }
