-- Takes schedules that are due, for one worker and a while. If a worker dies with one, the next worker takes it.
--
-- ARGV  1 token of the worker's turn  2 ms that it has  3 most schedules  4 ms after which a slot that nobody began is late
--       5… names of record fields
-- Answer {now, {id, job or flow that was made for the slot or '', state, value…}…}
--         state: 'settled' (the slot's outcome is written) | 'begun' (by a worker that died, or had to wait) | 'due' | 'late'
-- Invariant: what was made for a slot is found by the idempotency key of its job, also where its worker died before it said so.

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
