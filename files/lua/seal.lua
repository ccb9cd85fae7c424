-- Makes a file from the parts written under its id, or from an object that was written outside of Redis.
--
-- KEYS  1 the tenant's root
-- ARGV  1 file id  2 filename  3 purpose  4 created_at  5 expires_at ('' for never)  6 Unix ms until which the parts
--       are kept ('' for ever)  7 count of parts  8 most bytes that the tenant's files may have ('' for no limit)
--       9 the object, `<store>:<name>` ('': the parts in Redis are the file)  10 bytes of the parts in Redis when the
--       object was made from them ('' where it was not)  11… for each part of the object: bytes, and bytes as stored
-- Answer the record's fields, also of a file that was sealed before | 'full' (over the limit) | 'given up' (the object was
--        no longer announced) | 'changed' (the parts are not those that the object was made from)
-- Invariant: record, indexes and the count of bytes are written together, and only after every part is kept. Once a record names
-- an object, only the removal of that record may delete the object.

local root = KEYS[1]
local id, filename, purpose, created, expires, keep, count, most, object, staged = unpack(ARGV, 1, 10)
local key = root .. ':file:' .. id
local known = redis.call('HGETALL', key)
if #known > 0 then return known end

local sizes = redis.call('HGETALL', key .. ':sizes')
local in_redis = 0
for i = 1, #sizes, 2 do
  if tonumber(sizes[i]) < tonumber(count) then in_redis = in_redis + tonumber(sizes[i + 1]) end
end
local bytes = in_redis
if object ~= '' then
  bytes = 0
  for i = 11, #ARGV, 2 do bytes = bytes + tonumber(ARGV[i]) end
  if staged ~= '' and tonumber(staged) ~= in_redis then return 'changed' end
end
local used = tonumber(redis.call('GET', root .. ':files:bytes') or 0)
if most ~= '' and used + bytes > tonumber(most) then return 'full' end
if object ~= '' and redis.call('ZREM', root .. ':files:writing', object) == 0 then return 'given up' end

redis.call('HSET', key, 'id', id, 'filename', filename, 'purpose', purpose, 'created_at', created,
  'expires_at', expires, 'bytes', string.format('%.0f', bytes))
local function retain(name)
  if keep == '' then redis.call('PERSIST', name) else redis.call('PEXPIREAT', name, keep) end
end
if object ~= '' then
  redis.call('HSET', key, 'object', object)
  for i = 1, #sizes, 2 do redis.call('UNLINK', key .. ':' .. sizes[i]) end
  redis.call('UNLINK', key .. ':sizes')
  for i = 11, #ARGV, 2 do
    redis.call('HSET', key .. ':sizes', string.format('%.0f', (i - 11) / 2), ARGV[i] .. ' ' .. ARGV[i + 1])
  end
else
  for i = 1, #sizes, 2 do
    local name = key .. ':' .. sizes[i]
    if tonumber(sizes[i]) < tonumber(count) then
      retain(name)
    else
      redis.call('UNLINK', name)
      redis.call('HDEL', key .. ':sizes', sizes[i])
    end
  end
end
retain(key .. ':sizes')
redis.call('ZADD', root .. ':files', created, id)
if expires ~= '' then redis.call('ZADD', root .. ':files:expiry', expires, id) end
redis.call('INCRBY', root .. ':files:bytes', string.format('%.0f', bytes))
return redis.call('HGETALL', key)
