-- Sets the budgets of a group, removes them, or only adds the group to the list of groups with budgets.
--
-- ARGV  1 group  2 the new value of its key ('' removes the key, 'name' leaves it as it is)  3 for how long, ms
--       4 how many groups of the tenant may have budgets
-- Answer 'done' | 'none' (it had none) | 'full'
-- Invariant: `group-budgets` names each group that has budgets, by the time at which its latest job was accepted or
-- they were set. It never names more than ARGV[4]. Groups whose budgets have expired are removed from it here. Budgets
-- that a release without it has set are named when they are read or used.

local group, text, lasts = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key, names = root .. ':group-budget:' .. group, root .. ':group-budgets'
if text == '' then
  redis.call('ZREM', names, group)
  return redis.call('DEL', key) == 1 and 'done' or 'none'
end
redis.call('ZREMRANGEBYSCORE', names, '-inf', '(' .. ms(now - lasts))
if text == 'name' then
  local left = redis.call('PTTL', key)
  if left <= 0 then return 'none' end
  if redis.call('ZCARD', names) >= tonumber(ARGV[4]) then return 'full' end
  redis.call('ZADD', names, 'NX', ms(now - lasts + left), group)
  redis.call('PEXPIRE', names, lasts)
  return 'done'
end
if redis.call('EXISTS', key) == 0 and redis.call('ZCARD', names) >= tonumber(ARGV[4]) then return 'full' end
redis.call('SET', key, text, 'PX', lasts)
redis.call('ZADD', names, ms(now), group)
redis.call('PEXPIRE', names, lasts)
return 'done'
