-- Removes entries from a lane's queue that are no longer needed, because their jobs are claimed or need no call.
--
-- KEYS   1 `<prefix>:{l:<lane>}:calls`, which never exists (see lib/script-keys.ts)
-- ARGV   pairs of an entry's id and the token of its lock
-- Answer how many were removed
-- Invariant: an entry whose lock has ended, or belongs to another worker, stays.

local queue = KEYS[1]
local function key(name) return queue .. ':' .. name end

local locks = {}
for i = 1, #ARGV, 2 do locks[#locks + 1] = key(ARGV[i]) .. ':lock' end
local tokens = redis.call('MGET', unpack(locks))
local ids, keys = {}, {}
for i, token in ipairs(tokens) do
  if token and token == ARGV[2 * i] then
    local id = ARGV[2 * i - 1]
    ids[#ids + 1] = id
    keys[#keys + 1] = locks[i]
    keys[#keys + 1] = key(id)
    redis.call('LREM', key('active'), -1, id)
  end
end
if #ids == 0 then return 0 end
redis.call('DEL', unpack(keys))
redis.call('SREM', key('stalled'), unpack(ids))
return #ids
