-- Counts a tenant's models of one provider that the configuration does not name.
--
-- ARGV  1 provider  2 most names  3 ms for which a name counts after its last use  4… names that are asked for
-- Answer {ms until one of the other names no longer counts, 1 | 0 for each name}
-- Invariant: there are never more names than the maximum. Known names stay allowed.

local key = root .. ':models:' .. ARGV[1]
local most, life = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', key, '-inf', ms(now - life))
local answer = { 0 }
local count = redis.call('ZCARD', key)
for i = 4, #ARGV do
  local isKnown = redis.call('ZSCORE', key, ARGV[i])
  local isAllowed = isKnown or count < most
  if isAllowed then redis.call('ZADD', key, ms(now), ARGV[i]) end
  if isAllowed and not isKnown then count = count + 1 end
  answer[i - 2] = isAllowed and 1 or 0
end
redis.call('PEXPIRE', key, ms(life))
local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
if oldest[2] then answer[1] = math.max(1000, tonumber(oldest[2]) + life - now) end
return answer
