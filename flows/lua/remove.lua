-- Hides a flow that a client removed, and deletes its contents. The next worker that looks at it removes its jobs.
--
-- ARGV  1 id
-- Answer 'none' | 'ok'

local id, key = ARGV[1], flow_key(ARGV[1])
local v = redis.call('HMGET', key, 'status', 'deleted')
if not v[1] or v[2] then return 'none' end
if not is_over(v[1]) then
  redis.call('ZREM', root .. ':flows:status:' .. v[1], id)
  redis.call('HSET', key, 'status', 'cancelled')
end
redis.call('ZREM', root .. ':flows:status:' .. v[1], id)
redis.call('ZREM', root .. ':flows', id)
redis.call('HDEL', key, 'definition', 'output', 'error', 'metadata', 'name')
redis.call('HSET', key, 'deleted', '1')
redis.call('UNLINK', key .. ':values', key .. ':events')
redis.call('HINCRBY', key, 'version', 1)
redis.call('PUBLISH', root .. ':live:' .. id, '0')
wake(id)
return 'ok'
