-- Deletes a schedule and its history. Its jobs stay, and the list of them expires later.
--
-- ARGV  1 id  2 '1': the configuration removes it  3 ms that jobs are kept
-- Answer 'removed' | 'none' | 'declared'

local id = ARGV[1]
local key = schedule_key(id)
local v = redis.call('HMGET', key, 'revision', 'declared', 'name')
if not v[1] then return 'none' end
if v[2] == '1' and ARGV[2] ~= '1' then return 'declared' end
if v[2] == '1' then redis.call('HDEL', root .. ':schedules:declared', v[3]) end
redis.call('UNLINK', key, key .. ':runs')
redis.call('PEXPIRE', key .. ':jobs', ARGV[3])
redis.call('ZREM', root .. ':schedules', id)
redis.call('ZREM', root .. ':schedules:due', id)
return 'removed'
