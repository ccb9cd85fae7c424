-- Takes an entry out of a lane's queue that still waits, or is put off.
--
-- KEYS   1 `<prefix>:{l:<lane>}:calls`, which is never there (see lib/script-keys.ts)
-- ARGV   1 its id
-- Answer its tenant and data; nothing where there is none, or somebody has fetched it

local queue, id = KEYS[1], ARGV[1]
local function key(name) return queue .. ':' .. name end

local v = redis.call('HMGET', key(id), 'name', 'data')
if not v[1] or redis.call('EXISTS', key(id) .. ':lock') == 1 then return {} end
local removed = redis.call('ZREM', key('prioritized'), id)
if removed == 0 then removed = redis.call('ZREM', key('delayed'), id) end
if removed == 0 then removed = redis.call('LREM', key('wait'), 0, id) end
-- Fetched, and its lock has ended: the check for that finds it.
if removed == 0 then return {} end
redis.call('DEL', key(id))
return { v[1], v[2] }
