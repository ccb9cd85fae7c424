-- Stores the value of a signal for a step, once.
--
-- ARGV  1 id  2 step number  3 value
-- Answer 'none' | 'over' (the flow has ended) | 'again' (the step has its signal, or waits no more) | 'ok'

local id, key = ARGV[1], flow_key(ARGV[1])
local v = redis.call('HMGET', key, 'status', 'deleted')
if not v[1] or v[2] then return 'none' end
if is_over(v[1]) then return 'over' end
local phase = string.match(redis.call('HGET', key .. ':steps', ARGV[2]) or '', '"p":"(%a+)"')
if phase == 'completed' or phase == 'failed' or phase == 'skipped' then return 'again' end
if redis.call('HSETNX', key .. ':values', ARGV[2], ARGV[3]) == 0 then return 'again' end
redis.call('HINCRBY', key, 'version', 1)
wake(id)
return 'ok'
