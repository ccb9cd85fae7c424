-- Fetches the next due entries of a lane's queue, as BullMQ's `moveToActive` does with one: each is locked for the process that
-- fetched it and is in the active list, where BullMQ's check finds entries whose locks ended.
--
-- KEYS   1 `<prefix>:{l:<lane>}:calls`, which is never there (see lib/script-keys.ts)
-- ARGV   1 how many at the most  2 token; the lock of each entry adds its place  3 how long a lock lasts, ms
-- Answer id, tenant, data and priority of each, and the place in its token
-- Invariants: an entry is fetched once while its lock lasts. Redis' clock says what is due.

local queue, most = KEYS[1], tonumber(ARGV[1])
local function key(name) return queue .. ':' .. name end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', key('delayed'), '0', string.format('%.0f', (now + 1) * 0x1000 - 1), 'LIMIT', 0, 1000)
if #due > 0 then
  local first = redis.call('INCRBY', key('pc'), #due) - #due
  local members = {}
  for i, id in ipairs(due) do
    local priority = tonumber(redis.call('HGET', key(id), 'priority') or nil) or 0
    members[2 * i - 1] = string.format('%.0f', priority * 0x100000000 + (first + i) % 0x100000000)
    members[2 * i] = id
  end
  redis.call('ZREM', key('delayed'), unpack(due))
  redis.call('ZADD', key('prioritized'), unpack(members))
end

-- Entries whose locks ended go first; BullMQ puts them into this list.
local ids = {}
while #ids < most do
  local id = redis.call('RPOP', key('wait'))
  if not id then break end
  ids[#ids + 1] = id
end
if #ids < most then
  local popped = redis.call('ZPOPMIN', key('prioritized'), most - #ids)
  for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
  -- Nothing waits: the counter for equal priorities restarts.
  if #ids < most then redis.call('DEL', key('pc')) end
end
if #ids == 0 then return {} end

local answer, fetched = {}, {}
for i, id in ipairs(ids) do
  local v = redis.call('HMGET', key(id), 'name', 'data', 'priority')
  if v[1] and v[2] then
    redis.call('SET', key(id) .. ':lock', ARGV[2] .. i, 'PX', ARGV[3])
    fetched[#fetched + 1] = id
    for _, value in ipairs({ id, v[1], v[2], v[3] or '0', tostring(i) }) do answer[#answer + 1] = value end
  end
end
if #fetched > 0 then redis.call('LPUSH', key('active'), unpack(fetched)) end
return answer
