-- Refunds the service of entries that leave the lane unserved, so that the next entries of their tenants do not wait for it.
--
-- KEYS    1 fair hash, as in tag.lua
-- ARGV    for each entry: tenant, flow, seconds over weight
-- Answer  0
-- Invariant: no tag of a waiting entry changes, and no end moves behind the virtual time.

local fair = KEYS[1]
local v = tonumber(redis.call('HGET', fair, 'v') or '0')
for i = 1, #ARGV, 3 do
  local field = 'f:' .. ARGV[i + 1] .. ':' .. ARGV[i]
  local last = tonumber(redis.call('HGET', fair, field) or '0')
  if last > v then redis.call('HSET', fair, field, string.format('%.17g', math.max(v, last - tonumber(ARGV[i + 2])))) end
end
return 0
