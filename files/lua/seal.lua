-- Makes a file of the parts written under its id.
--
-- KEYS  1 the tenant's root
-- ARGV  1 file id  2 filename  3 purpose  4 created_at  5 expires_at ('' for never)  6 Unix ms until which the parts
--       are kept ('' for ever)  7 count of parts  8 most bytes that the tenant's files may have ('' for any)
-- Answer the record's fields, also of a file that was sealed before | false (over the most)
-- Invariant: record, indexes and the count of bytes come together, and only after every part is kept.

local root = KEYS[1]
local id, filename, purpose, created, expires, keep, count, most = unpack(ARGV)
local key = root .. ':file:' .. id
local known = redis.call('HGETALL', key)
if #known > 0 then return known end

local sizes = redis.call('HGETALL', key .. ':sizes')
local bytes = 0
for i = 1, #sizes, 2 do
  if tonumber(sizes[i]) < tonumber(count) then bytes = bytes + tonumber(sizes[i + 1]) end
end
local used = tonumber(redis.call('GET', root .. ':files:bytes') or 0)
if most ~= '' and used + bytes > tonumber(most) then return false end

redis.call('HSET', key, 'id', id, 'filename', filename, 'purpose', purpose, 'created_at', created,
  'expires_at', expires, 'bytes', string.format('%.0f', bytes))
local function retain(name)
  if keep == '' then redis.call('PERSIST', name) else redis.call('PEXPIREAT', name, keep) end
end
for i = 1, #sizes, 2 do
  local name = key .. ':' .. sizes[i]
  if tonumber(sizes[i]) < tonumber(count) then
    retain(name)
  else
    redis.call('UNLINK', name)
    redis.call('HDEL', key .. ':sizes', sizes[i])
  end
end
retain(key .. ':sizes')
redis.call('ZADD', root .. ':files', created, id)
if expires ~= '' then redis.call('ZADD', root .. ':files:expiry', expires, id) end
redis.call('INCRBY', root .. ':files:bytes', string.format('%.0f', bytes))
return redis.call('HGETALL', key)
