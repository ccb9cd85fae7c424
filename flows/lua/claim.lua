-- Claims due flows, each for the time of a lease.
--
-- ARGV  1 most flows  2 lease ms  3 most ended jobs read of one flow
-- Answer {now, ms until the next flow is due or '', then for each flow: id, version, {ended jobs}}
-- Invariant: a claimed flow is due again when its lease ends, unless `advance` has set another time.

local answer = { ms(now), '' }
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due_key(), '-inf', ms(now), 'LIMIT', 0, ARGV[1])) do
  local v = redis.call('HMGET', flow_key(id), 'version', 'lease')
  if not v[1] then
    redis.call('ZREM', due_key(), id)
  elseif tonumber(v[2] or 0) > now then
    redis.call('ZADD', due_key(), v[2], id)
  else
    local until_ms = ms(now + ARGV[2])
    redis.call('HSET', flow_key(id), 'lease', until_ms)
    redis.call('ZADD', due_key(), until_ms, id)
    answer[#answer + 1] = id
    answer[#answer + 1] = v[1]
    answer[#answer + 1] = redis.call('LRANGE', flow_key(id) .. ':ended', 0, ARGV[3] - 1)
  end
end
local first = redis.call('ZRANGE', due_key(), 0, 0, 'WITHSCORES')
if first[2] then answer[2] = ms(math.max(0, first[2] - now)) end
return answer
