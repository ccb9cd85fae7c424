-- Releases a schedule whose slot could not run yet; it is due again after a while.
--
-- ARGV  1 id  2 token of the worker's turn  3 ms
-- Answer 1 | 0 (another worker has it)

local id = ARGV[1]
if redis.call('HGET', schedule_key(id), 'token') ~= ARGV[2] then return 0 end
redis.call('ZADD', root .. ':schedules:due', 'XX', ms(now + ARGV[3]), id)
return 1
