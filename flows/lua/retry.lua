-- Continues a failed or cancelled flow from what failed.
--
-- ARGV  1 id
-- Answer 'none' | 'not_retryable' | 'ok'

local id, key = ARGV[1], flow_key(ARGV[1])
local v = redis.call('HMGET', key, 'status', 'deleted', 'expires_at')
if not v[1] or v[2] then return 'none' end
if v[1] ~= 'failed' and v[1] ~= 'cancelled' then return 'not_retryable' end
-- Its retention is over, and only no worker has deleted it yet.
if tonumber(v[3] or 0) <= now then return 'not_retryable' end
move(id, v[1], 'running')
redis.call('HDEL', key, 'finished_at', 'expires_at', 'error', 'output', 'deadline')
redis.call('HSET', key, 'restart', '1')
local retries = redis.call('HINCRBY', key, 'retries', 1)
emit_flow(id, 'flow.started', ',"retries":' .. ms(retries))
redis.call('HINCRBY', key, 'version', 1)
wake(id)
return 'ok'
