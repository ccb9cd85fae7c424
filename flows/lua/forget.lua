-- Deletes a flow whose retention is over, or that was removed and has no jobs left.
--
-- ARGV  1 id
-- Answer 1 | 0 (it stays, because it was retried meanwhile)

local id, key = ARGV[1], flow_key(ARGV[1])
local v = redis.call('HMGET', key, 'status', 'deleted', 'expires_at')
if v[1] and not v[2] and not (is_over(v[1]) and tonumber(v[3] or 0) <= now) then return 0 end
for _, delivery in ipairs(redis.call('LRANGE', deliveries_key(id), 0, -1)) do
  redis.call('DEL', root .. ':delivery:' .. delivery)
  redis.call('ZREM', root .. ':webhooks', delivery)
end
if v[1] then redis.call('ZREM', root .. ':flows:status:' .. v[1], id) end
redis.call('ZREM', root .. ':flows', id)
redis.call('ZREM', due_key(), id)
redis.call('UNLINK', key, key .. ':steps', key .. ':elements', key .. ':values', key .. ':ended', key .. ':events', deliveries_key(id))
redis.call('PUBLISH', root .. ':live:' .. id, '0')
return 1
