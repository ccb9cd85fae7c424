-- Gives new entries their place before they are queued: start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM '96) in
-- seconds of the lane's service. The twin is `tagEntries` in fairness.ts.
--
-- KEYS    1 fair hash: `v` the virtual time, `f:<flow>:<tenant>` where the tenant's last entry of the flow ends
--         2… sorted sets and lists that hold the lane's entries; when all are empty, the count restarts
-- ARGV    1 how many of KEYS 2… are sorted sets (they come first), then for each entry: tenant, flow (its band, or
--         `later-<band>` when it is not due yet, `again-<band>` when its call broke), seconds over weight
-- Answer  start tag of each entry, as text
-- Invariant: start = max(v, end of the tenant's last), end = start + seconds / weight; v never goes back while
-- anything is queued. So a tenant's entries keep their order, and no tenant gets more than one entry before another
-- for each unit of weight.

local fair = KEYS[1]
local sets = tonumber(ARGV[1])
local empty = true
for i = 2, #KEYS do
  local size = redis.call(i - 1 <= sets and 'ZCARD' or 'LLEN', KEYS[i])
  if size > 0 then empty = false break end
end
if empty then redis.call('DEL', fair) end

local v = tonumber(redis.call('HGET', fair, 'v') or '0')
local ends, starts, changed = {}, {}, {}
for i = 2, #ARGV, 3 do
  local field = 'f:' .. ARGV[i + 1] .. ':' .. ARGV[i]
  local last = ends[field] or tonumber(redis.call('HGET', fair, field) or '0')
  local start = math.max(v, last)
  ends[field] = start + tonumber(ARGV[i + 2])
  starts[#starts + 1] = string.format('%.17g', start)
end
for field, value in pairs(ends) do
  changed[#changed + 1] = field
  changed[#changed + 1] = string.format('%.17g', value)
end
if #changed > 0 then redis.call('HSET', fair, unpack(changed)) end
return starts
