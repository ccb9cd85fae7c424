-- Accepts a flow.
--
-- ARGV  1 id  2 idempotency key ('' none)  3 fingerprints of the request, separated by spaces: the one to store, and older forms
--       4 idempotency ttl ms  5 most open flows of the tenant  6… record fields and values
-- Answer {'created', id} | {'replayed', id} | {'conflict'} | {'full'}

local id = ARGV[1]
local idempotency = ARGV[2] ~= '' and (root .. ':flow-key:' .. ARGV[2])
if idempotency then
  local known = redis.call('HMGET', idempotency, 'id', 'fingerprint')
  if known[1] and redis.call('EXISTS', flow_key(known[1])) == 1 and redis.call('HEXISTS', flow_key(known[1]), 'deleted') == 0 then
    for one in string.gmatch(ARGV[3], '[^ ]+') do if one == known[2] then return { 'replayed', known[1] } end end
    return { 'conflict' }
  end
end
-- The process lost its connection and sends the script again. Each id is generated for one flow only.
if redis.call('EXISTS', flow_key(id)) == 1 then return { 'replayed', id } end
local open = redis.call('ZCARD', root .. ':flows:status:running') + redis.call('ZCARD', root .. ':flows:status:waiting')
if open >= tonumber(ARGV[5]) then return { 'full' } end

local fields = { 'status', 'running', 'created_at', ms(now), 'version', '1' }
for i = 6, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', flow_key(id), unpack(fields))
redis.call('ZADD', root .. ':flows', ms(now), id)
redis.call('ZADD', root .. ':flows:status:running', ms(now), id)
if idempotency then
  redis.call('HSET', idempotency, 'id', id, 'fingerprint', string.match(ARGV[3], '^[^ ]*'))
  redis.call('PEXPIRE', idempotency, ARGV[4])
end
emit_flow(id, 'flow.started', '')
wake(id)
return { 'created', id }
