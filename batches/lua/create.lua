-- Accepts a batch.
--
-- ARGV  1 id  2 idempotency key ('' none)  3 fingerprint of the request  4 idempotency ttl ms  5 window ms
--       6… record fields and values
-- Answer {'created', id} | {'replayed', id} | {'conflict'}

local id = ARGV[1]
local idempotency = ARGV[2] ~= '' and (root .. ':batch-key:' .. ARGV[2])
if idempotency then
  local known = redis.call('HMGET', idempotency, 'id', 'fingerprint')
  if known[1] and redis.call('EXISTS', batch_key(known[1])) == 1 then
    if known[2] ~= ARGV[3] then return { 'conflict' } end
    return { 'replayed', known[1] }
  end
end

local fields = { 'status', 'validating', 'created_at', ms(now), 'expires_at', ms(now + ARGV[5]) }
for i = 6, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', batch_key(id), unpack(fields))
redis.call('ZADD', root .. ':batches', 0, id)
redis.call('ZADD', root .. ':batches:active', 0, id)
if idempotency then
  redis.call('HSET', idempotency, 'id', id, 'fingerprint', ARGV[3])
  redis.call('PEXPIRE', idempotency, ARGV[4])
end
-- Records expire. Their entries in the list are removed when new batches are created.
for _, old in ipairs(redis.call('ZRANGE', root .. ':batches', 0, 9)) do
  if redis.call('EXISTS', batch_key(old)) == 0 then redis.call('ZREM', root .. ':batches', old) end
end
return { 'created', id }
