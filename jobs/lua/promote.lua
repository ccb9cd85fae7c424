-- Makes delayed entries of a lane's queue due now, in the set where BullMQ keeps them by time (ms * 0x1000).
--
-- KEYS  1 `<prefix>:{l:<lane>}:calls`, which never exists (see lib/script-keys.ts)
-- ARGV  1 entries due up to this time, Unix ms
-- Answer how many there were; at 1000, the most for one call, there may be more

local delayed = KEYS[1] .. ':delayed'
local function score(ms) return string.format('%.0f', ms * 0x1000) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entries = redis.call('ZRANGEBYSCORE', delayed, score(now + 1), '(' .. score(tonumber(ARGV[1]) + 1), 'LIMIT', 0, 1000)
for _, entry in ipairs(entries) do redis.call('ZADD', delayed, 'XX', score(now), entry) end
return #entries
