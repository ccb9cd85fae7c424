-- Adds entries to a lane's queue, in BullMQ's format.
--
-- KEYS   1 `<prefix>:{l:<lane>}:calls`, which never exists (see lib/script-keys.ts)
-- ARGV   1 how many entries BullMQ's own event stream may have; then for each entry: its id, the tenant, data (JSON),
--        priority, Unix ms before which it is not due ('' at once), `<band>:<tag>` if the tenant's turns rotate among its fair
--        keys ('' otherwise; see turns.lua)
-- Answer how many are new
-- Invariant: an entry that exists already, waiting or fetched, stays as it is.

local keys = {}
for i = 2, #ARGV, 6 do keys[#keys + 1] = key(ARGV[i]) end
local are_new = redis.call('EXISTS', unpack(keys)) == 0
local prioritized, delayed, seen = {}, {}, {}
for i = 2, #ARGV, 6 do
  local id = ARGV[i]
  if not seen[id] and (are_new or redis.call('EXISTS', key(id)) == 0) then
    seen[id] = true
    redis.call('HSET', key(id), 'name', ARGV[i + 1], 'data', ARGV[i + 2], 'priority', ARGV[i + 3])
    local entries = ARGV[i + 4] == '' and prioritized or delayed
    if ARGV[i + 5] ~= '' then
      redis.call('HSET', key(id), 'turn', ARGV[i + 5])
      if entries == prioritized then join_turns(id, ARGV[i + 1], ARGV[i + 5]) end
    end
    entries[#entries + 1] = { id = id, priority = tonumber(ARGV[i + 3]), due = tonumber(ARGV[i + 4]) }
  end
end

-- BullMQ's scores. Entries of equal priority are in the order of their arrival. So are those of equal time, by the
-- twelve bits below the time.
if #prioritized > 0 then
  local first = redis.call('INCRBY', key('pc'), #prioritized) - #prioritized
  local members = {}
  for i, entry in ipairs(prioritized) do
    members[2 * i - 1] = string.format('%.0f', entry.priority * 0x100000000 + (first + i) % 0x100000000)
    members[2 * i] = entry.id
  end
  redis.call('ZADD', key('prioritized'), unpack(members))
end
for _, entry in ipairs(delayed) do
  local least, most = entry.due * 0x1000, (entry.due + 1) * 0x1000 - 1
  local last = redis.call('ZREVRANGEBYSCORE', key('delayed'), string.format('%.0f', most), string.format('%.0f', least),
    'WITHSCORES', 'LIMIT', 0, 1)
  local score = last[2] and math.min(most, tonumber(last[2]) + 1) or least
  redis.call('ZADD', key('delayed'), string.format('%.0f', score), entry.id)
end
-- BullMQ's default is ten thousand events.
redis.call('HSET', key('meta'), 'opts.maxLenEvents', ARGV[1])
write_turns()
return #prioritized + #delayed
