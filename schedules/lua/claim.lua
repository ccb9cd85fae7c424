-- Claims due schedules for one worker, for a limited time. If the worker dies, the next worker claims them.
--
-- ARGV  1 token of the worker's turn  2 ms that it holds them  3 most schedules  4 ms after which a slot that no worker began is late
--       5… names of record fields
-- Answer {now, {id, job or flow that was created for the slot or '', state, value…}…}
--         state: 'settled' (the slot's outcome is written) | 'begun' (by a worker that died, or had to wait) | 'due' | 'late'
-- Invariant: a job or flow that was created for a slot is found by its idempotency key, even if its worker died before it recorded it.

local answer = { ms(now) }
local due = root .. ':schedules:due'
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', ms(now), 'LIMIT', 0, ARGV[3])) do
  local key = schedule_key(id)
  local v = redis.call('HMGET', key, 'next_at', 'begun', 'settled', 'target')
  if not v[1] or v[1] == '' then
    redis.call('ZREM', due, id)
  else
    redis.call('ZADD', due, ms(now + ARGV[2]), id)
    local slot, state = tonumber(v[1]), 'late'
    if tonumber(v[3] or 0) >= slot then state = 'settled'
    elseif v[2] == v[1] then state = 'begun'
    elseif now - slot <= tonumber(ARGV[4]) then state = 'due' end
    redis.call('HSET', key, 'token', ARGV[1], 'begun', state == 'late' and '' or v[1])
    local made = redis.call('HGET', root .. (v[4] == 'flow' and ':flow-key:' or ':idempotency:') .. id .. '\n' .. v[1], 'id')
    local names = {}
    for i = 5, #ARGV do names[#names + 1] = ARGV[i] end
    local values = redis.call('HMGET', key, unpack(names))
    for i = 1, #names do values[i] = values[i] or '' end
    answer[#answer + 1] = { id, made or '', state, unpack(values) }
  end
end
return answer
