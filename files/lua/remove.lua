-- Deletes a file, or the parts of an upload that was never sealed. The caller then deletes its object; until that succeeded, the object's
-- name is in the set of objects to delete.
--
-- KEYS  1 the tenant's root
-- ARGV  1 file id  2 '1': also the parts of a file that is not sealed  3 ms to remember its position in lists
--       4 '1': only if it has expired  5 Unix ms in place of Redis' time ('' for Redis')
-- Answer the object to delete ('' for none) | 0 (there was no sealed file)
-- Invariant: works at full memory, where a script may write once it has deleted something.

local root, id, unsealed, remember, expired, simulated = KEYS[1], unpack(ARGV)
local key = root .. ':file:' .. id
local time = redis.call('TIME')
local now = tonumber(simulated) or time[1] * 1000 + math.floor(time[2] / 1000)
local created, bytes, expires, object = unpack(redis.call('HMGET', key, 'created_at', 'bytes', 'expires_at', 'object'))
if not created and unsealed ~= '1' then
  redis.call('ZREM', root .. ':files:expiry', id)
  return 0
end
if expired == '1' and not (tonumber(expires) and tonumber(expires) <= now) then return 0 end

redis.call('UNLINK', key)
redis.call('ZREM', root .. ':files', id)
redis.call('ZREM', root .. ':files:expiry', id)
if not object then
  for _, part in ipairs(redis.call('HKEYS', key .. ':sizes')) do redis.call('UNLINK', key .. ':' .. part) end
end
redis.call('UNLINK', key .. ':sizes')
if not created then return 0 end
redis.call('DECRBY', root .. ':files:bytes', bytes)
-- A client that deletes files while it lists them asks for the files after a deleted one.
redis.call('SET', key .. ':gone', created, 'PX', remember)
if object then redis.call('ZADD', root .. ':files:deleting', now, object) end
return object or ''
