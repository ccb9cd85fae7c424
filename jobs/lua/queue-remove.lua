-- Removes waiting or delayed entries from a lane's queue.
--
-- KEYS   1 `<prefix>:{l:<lane>}:calls`, which never exists (see lib/script-keys.ts)
-- ARGV   their ids
-- Answer for each that was removed: its tenant, its data. An entry that a worker has fetched stays

local answer = {}

local function remove(id)
  local v = redis.call('HMGET', key(id), 'name', 'data', 'turn')
  if not v[1] or redis.call('EXISTS', key(id) .. ':lock') == 1 then return end
  local removed = redis.call('ZREM', key('prioritized'), id)
  if removed == 0 then removed = redis.call('ZREM', key('delayed'), id) end
  if removed == 0 then removed = redis.call('LREM', key('wait'), 0, id) end
  -- The entry was fetched, and its lock has ended. BullMQ's check finds it.
  if removed == 0 then return end
  if v[3] then leave_turns(id, v[1], v[3]) end
  redis.call('DEL', key(id))
  answer[#answer + 1] = v[1]
  answer[#answer + 1] = v[2]
end

for _, id in ipairs(ARGV) do remove(id) end
return answer
