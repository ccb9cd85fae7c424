-- Creates a schedule.
--
-- ARGV  1 id  2 idempotency key ('' none)  3 fingerprints of the request, separated by spaces: the one to store, and older forms
--       4 idempotency ttl ms  5 most schedules of the tenant ('' any)  6 next slot (see read_time)
--       7 its name if the configuration declares it ('' otherwise)  8… record fields and values
-- Answer {'created', id} | {'replayed', id} | {'conflict'} | {'full'}

local id = ARGV[1]
local idempotency = ARGV[2] ~= '' and (root .. ':schedule-key:' .. ARGV[2])

local function is_same(fingerprint)
  for one in string.gmatch(ARGV[3], '[^ ]+') do if one == fingerprint then return true end end
  return false
end

if idempotency then
  local known = redis.call('HMGET', idempotency, 'id', 'fingerprint')
  if known[1] and redis.call('EXISTS', schedule_key(known[1])) == 1 then
    if not is_same(known[2]) then return { 'conflict' } end
    return { 'replayed', known[1] }
  end
end
if ARGV[7] ~= '' then
  local known = redis.call('HGET', root .. ':schedules:declared', ARGV[7])
  if known then return { 'replayed', known } end
end
-- The process lost its connection and sends the script again. Each id is generated for one schedule only.
if redis.call('EXISTS', schedule_key(id)) == 1 then return { 'replayed', id } end
if ARGV[5] ~= '' and redis.call('ZCARD', root .. ':schedules') >= tonumber(ARGV[5]) then return { 'full' } end

local fields = { 'created_at', ms(now), 'updated_at', ms(now), 'changed_at', ms(now), 'revision', '1', 'settled', '0' }
for i = 8, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', schedule_key(id), unpack(fields))
-- All have the same score, so the set is ordered by id, which is the order of creation.
redis.call('ZADD', root .. ':schedules', 0, id)
if ARGV[7] ~= '' then
  redis.call('HSET', schedule_key(id), 'declared', '1')
  redis.call('HSET', root .. ':schedules:declared', ARGV[7], id)
end
plan(id, read_time(ARGV[6]))
if idempotency then
  redis.call('HSET', idempotency, 'id', id, 'fingerprint', string.match(ARGV[3], '^[^ ]*'))
  redis.call('PEXPIRE', idempotency, ARGV[4])
end
return { 'created', id }
