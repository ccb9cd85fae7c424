-- Gives new entries their place before they are queued: start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM '96) in
-- seconds of the lane's service. The twin is `tagEntries` in fairness.ts.
--
-- Inside a tenant the same happens once more for its fair keys. An entry of a tenant that uses fair keys gets a second tag. By this tag,
-- queue-fetch.lua decides which of the tenant's entries gets the tenant's next turn. The twin is `tagFairKeys` in fair-keys.ts.
--
-- KEYS    1 fair hash: `v` the virtual time, `f:<flow>:<tenant>` where the tenant's last entry of the flow ends, `keys` there once
--           an entry had a fair key
--         2… sorted sets and lists that hold the lane's entries; if all are empty, the count restarts
-- ARGV    (`encodeTags` of create-fairness.ts) 1 how many of KEYS 2… are sorted sets (they come first), then for each entry: tenant, flow (its
--         band; `later-<band>` if it is not due yet; `again-<band>` if its call broke), seconds over weight, digest of its fair key ('' none)
-- Answer  for each entry its start tag and its tag inside the tenant ('' if it has none), as text
-- Invariant: start = max(v, end of the tenant's last), end = start + seconds / weight; v never goes back while
-- anything is queued. So a tenant's entries keep their order, and no tenant gets more than one entry before another
-- for each unit of weight. Fair keys do not change that: they only exchange turns inside one tenant.
--
-- Two keys beside the fair hash: `key-turns:<band>:<tenant>` has the waiting entries by their tags inside the tenant, and
-- `key-ends:<band>:<tenant>` has the end of each key's last entry (member `v`: the tenant's own virtual time). A key whose end is behind
-- that time is deleted: each new entry deletes at most two of them, so no call grows with the number of keys.

local KEPT_MS = 86400000
local MOST_FORGOTTEN = 2

local fair = KEYS[1]
local lane = string.sub(fair, 1, -string.len(':fair') - 1)
local sets = tonumber(ARGV[1])
local empty = true
for i = 2, #KEYS do
  local size = redis.call(i - 1 <= sets and 'ZCARD' or 'LLEN', KEYS[i])
  if size > 0 then empty = false break end
end

local known = redis.call('HMGET', fair, 'v', 'keys')
local v, has_keys = tonumber(known[1] or '0'), known[2] or false
if empty then
  redis.call('DEL', fair)
  v = 0
end
local had_keys = has_keys and not empty
for i = 5, #ARGV, 4 do if ARGV[i] ~= '' then has_keys = '1' end end

local function text(value) return string.format('%.17g', value) end

-- By band and tenant: the key of the ends, the tenant's virtual time, and the ends that this script run changes.
local inside = {}

local function read_inside(name)
  if inside[name] then return inside[name] end
  local one = { ends = lane .. ':key-ends:' .. name, at = {}, count = 0 }
  if empty then redis.call('UNLINK', one.ends) end
  local first = redis.call('ZRANGE', lane .. ':key-turns:' .. name, 0, 0, 'WITHSCORES')
  one.v = math.max(tonumber(redis.call('ZSCORE', one.ends, 'v') or '0'), tonumber(first[2] or '0'))
  inside[name] = one
  return one
end

local function tag_inside(tenant, flow, seconds, key)
  local one = read_inside(string.match(flow, '(%a+)$') .. ':' .. tenant)
  local member = flow .. ':' .. key
  local last = one.at[member] or tonumber(redis.call('ZSCORE', one.ends, member) or '0')
  local start = math.max(one.v, last)
  one.at[member] = start + seconds
  one.count = one.count + 1
  return text(start)
end

local function write_inside(one)
  local behind = redis.call('ZRANGE', one.ends, '-inf', text(one.v), 'BYSCORE', 'LIMIT', 0, one.count * MOST_FORGOTTEN)
  local gone = {}
  for _, member in ipairs(behind) do if member ~= 'v' then gone[#gone + 1] = member end end
  if #gone > 0 then redis.call('ZREM', one.ends, unpack(gone)) end
  local set = {}
  for member, last in pairs(one.at) do
    set[#set + 1] = text(last)
    set[#set + 1] = member
  end
  redis.call('ZADD', one.ends, unpack(set))
  redis.call('PEXPIRE', one.ends, KEPT_MS)
end

local ends, answer, changed = {}, {}, {}
for i = 2, #ARGV, 4 do
  local tenant, flow, seconds, key = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local field = 'f:' .. flow .. ':' .. tenant
  local last = ends[field] or not empty and tonumber(redis.call('HGET', fair, field) or '0') or 0
  local start = math.max(v, last)
  ends[field] = start + seconds
  answer[#answer + 1] = text(start)
  answer[#answer + 1] = has_keys and tag_inside(tenant, flow, seconds, key) or ''
end
for _, one in pairs(inside) do write_inside(one) end
for field, value in pairs(ends) do
  changed[#changed + 1] = field
  changed[#changed + 1] = text(value)
end
if has_keys and not had_keys then
  changed[#changed + 1] = 'keys'
  changed[#changed + 1] = '1'
end
if #changed > 0 then redis.call('HSET', fair, unpack(changed)) end
return answer
