-- Writes the changes of one look at a flow.
--
-- ARGV  1 id  2 version that was looked at  3 ended jobs that were counted  4 when to look again, Unix ms ('': when something happens)
--       5 new status ('': unchanged)  6 retain ms  7 numbers of record fields, steps, values, elements and events, separated by spaces.
--       The pairs follow: field, value ('' deletes)  step, JSON  step, value  element, status ('' deletes)  event, members
-- Answer {'ok', now, '1' if more jobs ended meanwhile} | {'stale'}: the flow was changed, and nothing was written
-- Invariant: an ended job is counted once, in the same step as the change that it causes.

local id, key = ARGV[1], flow_key(ARGV[1])
local v = redis.call('HMGET', key, 'version', 'status')
if v[1] ~= ARGV[2] then
  if v[1] then
    redis.call('HDEL', key, 'lease')
    wake(id)
  end
  return { 'stale' }
end
redis.call('HINCRBY', key, 'version', 1)
redis.call('HDEL', key, 'lease')

local counts, at = {}, 8
for count in string.gmatch(ARGV[7], '%d+') do counts[#counts + 1] = tonumber(count) end
local function take(count, visit)
  for _ = 1, count do
    visit(ARGV[at], ARGV[at + 1])
    at = at + 2
  end
end
take(counts[1], function(name, value)
  if value == '' then redis.call('HDEL', key, name) else redis.call('HSET', key, name, value) end
end)
take(counts[2], function(step, text) redis.call('HSET', key .. ':steps', step, text) end)
take(counts[3], function(step, value) redis.call('HSET', key .. ':values', step, value) end)
take(counts[4], function(element, status)
  if status == '' then redis.call('HDEL', key .. ':elements', element) else redis.call('HSET', key .. ':elements', element, status) end
end)
take(counts[5], function(event, members) emit_flow(id, event, members) end)

if tonumber(ARGV[3]) > 0 then redis.call('LTRIM', key .. ':ended', ARGV[3], -1) end
if ARGV[5] ~= '' and ARGV[5] ~= v[2] then
  if is_over(ARGV[5]) then end_flow(id, v[2], ARGV[5], tonumber(ARGV[6])) else move(id, v[2], ARGV[5]) end
end
if redis.call('LLEN', key .. ':ended') > 0 then
  redis.call('ZADD', due_key(), ms(now), id)
  return { 'ok', ms(now), '1' }
end
-- A flow that is over is due again when its retention ends.
local look_at = ARGV[4] ~= '' and ARGV[4] or redis.call('HGET', key, 'expires_at')
if look_at then redis.call('ZADD', due_key(), look_at, id) else redis.call('ZREM', due_key(), id) end
return { 'ok', ms(now), '' }
