-- Removes a waiting or delayed entry from a lane's queue.
--
-- KEYS   1 `<prefix>:{l:<lane>}:calls`, which is never there (see lib/script-keys.ts)
-- ARGV   1 its id
-- Answer its tenant and data; nothing if there is none, or a worker has fetched it

local id = ARGV[1]

local v = redis.call('HMGET', key(id), 'name', 'data', 'turn')
if not v[1] or redis.call('EXISTS', key(id) .. ':lock') == 1 then return {} end
local removed = redis.call('ZREM', key('prioritized'), id)
if removed == 0 then removed = redis.call('ZREM', key('delayed'), id) end
if removed == 0 then removed = redis.call('LREM', key('wait'), 0, id) end
-- It was fetched and its lock has ended: BullMQ's check finds it.
if removed == 0 then return {} end
if v[3] then leave_turns(id, v[1], v[3]) end
redis.call('DEL', key(id))
return { v[1], v[2] }
