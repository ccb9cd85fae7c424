-- Cancels an open flow.
--
-- ARGV  1 id  2 retain ms
-- Answer 'none' | 'over' | 'ok'

local id, key = ARGV[1], flow_key(ARGV[1])
local v = redis.call('HMGET', key, 'status', 'deleted')
if not v[1] or v[2] then return 'none' end
if is_over(v[1]) then return 'over' end
end_flow(id, v[1], 'cancelled', tonumber(ARGV[2]))
redis.call('HSET', key, 'settling', '1')
redis.call('HINCRBY', key, 'version', 1)
wake(id)
return 'ok'
