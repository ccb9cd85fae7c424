-- Returns what waits. Delayed jobs that are due begin to wait.
--
-- ARGV  1 token
-- Answer 0 (the lease is lost), or {now, 1 if any job waits, next time to leave ('' none), next time a delayed job is due ('' none),
--        time before which no batch is made, then for each class: its name, waiting since (Unix ms), number of jobs}.
--        The class whose jobs leave first comes first, because it needs the room in the provider's queue; then the one that waits longest

-- How many of the next jobs to leave are looked at for this order.
local MOST_RANKED = 64

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
local since, classes, ranks = redis.call('HGETALL', root .. ':since'), {}, {}
for i = 1, #since, 2 do classes[#classes + 1] = { name = since[i], since = since[i + 1] } end
if #classes > 1 then
  for rank, member in ipairs(redis.call('ZRANGE', root .. ':leave', 0, MOST_RANKED - 1)) do
    local line = read_waiting(member)
    if line and not ranks[line.class] then ranks[line.class] = rank end
  end
  table.sort(classes, function(one, other)
    local first, second = ranks[one.name] or math.huge, ranks[other.name] or math.huge
    if first ~= second then return first < second end
    return tonumber(one.since) < tonumber(other.since)
  end)
end
for _, class in ipairs(classes) do
  answer[#answer + 1] = class.name
  answer[#answer + 1] = class.since
  answer[#answer + 1] = ms(redis.call('ZCARD', waiting_key(class.name)))
end
return answer
