-- Looks at what waits, and lets those wait whose time has come.
--
-- ARGV  1 token
-- Answer 0 (the lease is lost), or {now, 1 if any job waits, when the next one leaves ('' none), when the next delayed one is due ('' none),
--        Unix ms before which no batch is to be made, then for each class: its name, since when (Unix ms), how many}

if not holds(ARGV[1]) then return 0 end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', root .. ':delayed', '-inf', ms(now), 'LIMIT', 0, 1000)) do
  local line = read_waiting(member)
  redis.call('ZREM', root .. ':delayed', member)
  if line then
    redis.call('ZADD', waiting_key(line.class), line.turn, member)
    redis.call('HSETNX', root .. ':since', line.class, ms(now))
  end
end
local leave = redis.call('ZRANGE', root .. ':leave', 0, 0, 'WITHSCORES')
local delayed = redis.call('ZRANGE', root .. ':delayed', 0, 0, 'WITHSCORES')
local answer = { ms(now), ms(redis.call('EXISTS', root .. ':lines')), leave[2] or '', delayed[2] or '',
  redis.call('GET', root .. ':hold') or '0' }
local since = redis.call('HGETALL', root .. ':since')
for i = 1, #since, 2 do
  answer[#answer + 1] = since[i]
  answer[#answer + 1] = since[i + 1]
  answer[#answer + 1] = ms(redis.call('ZCARD', waiting_key(since[i])))
end
return answer
