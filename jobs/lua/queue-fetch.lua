-- Fetches the next due entries of a lane's queue, as BullMQ's `moveToActive` does with one. Each is locked for the
-- process that fetched it, and is in the active list, where BullMQ's check finds entries whose locks ended.
--
-- KEYS   1 `<prefix>:{l:<lane>}:calls`, which never exists (see lib/script-keys.ts)
-- ARGV   1 most entries  2 token; the lock of each entry adds its place  3 how long a lock lasts, ms
-- Answer id, tenant, data and priority of each, and the place in its token
-- Invariants: an entry is fetched once while its lock lasts. Redis' clock says what is due.

local most = tonumber(ARGV[1])

-- An entry that has become due gets at least the tag of its tenant's first waiting entry, so that its delay gives it no
-- earlier turn.
local function join_late(id, tenant, turn)
  local first = redis.call('ZRANGE', turns_key(tenant, turn), 0, 0, 'WITHSCORES')
  local tag = math.max(tonumber(tag_of(turn)), tonumber(first[2] or '0'))
  join_turns(id, tenant, string.match(turn, '^(%a+:)') .. string.format('%.17g', tag))
end

-- Two entries of a tenant exchange their turns: both the place in the queue and the start tag.
local function exchange_data(one, other)
  local function start_of(data) return string.match(data, '"start":([-%d.eE+]+)') end
  local function with_start(data, start) return (string.gsub(data, '"start":[-%d.eE+]+', '"start":' .. start, 1)) end
  local a = redis.call('HMGET', key(one), 'data', 'priority')
  local b = redis.call('HMGET', key(other), 'data', 'priority')
  if not a[1] or not b[1] then return end
  local starts = { start_of(a[1]), start_of(b[1]) }
  if not starts[1] or not starts[2] then return end
  redis.call('HSET', key(one), 'data', with_start(a[1], starts[2]), 'priority', b[2] or '0')
  redis.call('HSET', key(other), 'data', with_start(b[1], starts[1]), 'priority', a[2] or '0')
end

-- Puts the entry at `ids[i]` that has the turn of the popped one there: the popped one itself, or its tenant's first
-- entry by their own tags. `places`: where the popped entries that are still to be placed are in `ids`. True: another
-- entry has the turn.
local function choose(ids, i, places, tenant, turn)
  local id, turns = ids[i], turns_key(tenant, turn)
  if not redis.call('ZSCORE', turns, id) then return false end
  local first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
  local chosen = first[1]
  if chosen ~= id then
    local place = places[chosen]
    local score = not place and redis.call('ZSCORE', key('prioritized'), chosen)
    if place then
      ids[i], ids[place] = chosen, id
      places[id], places[chosen] = place, i
    elseif score then
      redis.call('ZREM', key('prioritized'), chosen)
      redis.call('ZADD', key('prioritized'), score, id)
      ids[i] = chosen
      places[id], places[chosen] = nil, i
    else
      -- The entry left the queue in a way that is not ours.
      redis.call('ZREM', turns, chosen, id)
      return false
    end
    exchange_data(id, chosen)
  end
  redis.call('ZREM', turns, chosen)
  local ends = lane .. ':key-ends:' .. string.match(turn, '^%a+') .. ':' .. tenant
  redis.call('ZADD', ends, first[2], 'v')
  redis.call('PEXPIRE', ends, KEY_ENDS_KEPT_MS)
  return chosen ~= id
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', key('delayed'), '0', string.format('%.0f', (now + 1) * 0x1000 - 1), 'LIMIT', 0, 1000)
if #due > 0 then
  local first = redis.call('INCRBY', key('pc'), #due) - #due
  local members = {}
  for i, id in ipairs(due) do
    local v = redis.call('HMGET', key(id), 'priority', 'name', 'turn')
    local priority = tonumber(v[1] or nil) or 0
    if v[2] and v[3] then join_late(id, v[2], v[3]) end
    members[2 * i - 1] = string.format('%.0f', priority * 0x100000000 + (first + i) % 0x100000000)
    members[2 * i] = id
  end
  redis.call('ZREM', key('delayed'), unpack(due))
  redis.call('ZADD', key('prioritized'), unpack(members))
  write_turns()
end

-- Entries whose locks ended go first. BullMQ puts them into this list.
local ids, places = {}, {}
while #ids < most do
  local id = redis.call('RPOP', key('wait'))
  if not id then break end
  ids[#ids + 1] = id
end
if #ids < most then
  local popped = redis.call('ZPOPMIN', key('prioritized'), most - #ids)
  for i = 1, #popped, 2 do
    ids[#ids + 1] = popped[i]
    places[popped[i]] = #ids
  end
  -- Nothing waits, so the counter for equal priorities starts again.
  if #ids < most then redis.call('DEL', key('pc')) end
end
if #ids == 0 then return {} end

local answer, fetched = {}, {}
for i = 1, #ids do
  local function read() return redis.call('HMGET', key(ids[i]), 'name', 'data', 'priority', 'turn') end
  local v = read()
  if v[1] and v[4] and places[ids[i]] and choose(ids, i, places, v[1], v[4]) then v = read() end
  local id = ids[i]
  places[id] = nil
  if v[1] and v[2] then
    redis.call('SET', key(id) .. ':lock', ARGV[2] .. i, 'PX', ARGV[3])
    fetched[#fetched + 1] = id
    for _, value in ipairs({ id, v[1], v[2], v[3] or '0', tostring(i) }) do answer[#answer + 1] = value end
  end
end
if #fetched > 0 then redis.call('LPUSH', key('active'), unpack(fetched)) end
return answer
