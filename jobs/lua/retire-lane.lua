-- Removes what is left of a lane without entries: its queue, its fair order and its latencies.
--
-- KEYS  1 `<prefix>:{l:<lane>}:calls`, which never exists (see lib/script-keys.ts)
-- Answer 1 | 0 (there are entries)
-- Invariant: no entry is lost, because an entry that is added at the same time comes before this script or after it.

local queue = KEYS[1]
local lane = string.sub(queue, 1, -string.len(':calls') - 1)
local function key(name) return queue .. ':' .. name end
if redis.call('EXISTS', key('wait'), key('active'), key('prioritized'), key('delayed')) > 0 then return 0 end
redis.call('DEL', key('meta'), key('events'), key('id'), key('marker'), key('pc'), key('stalled'), key('stalled-check'),
  lane .. ':fair', lane .. ':latencies', lane .. ':broken')
return 1
