-- Moves a waiting entry of a lane's queue to the front: one of a tenant that is not named, preferably one that has not
-- broken yet; else one of any tenant that has not broken yet.
--
-- KEYS   1 `<prefix>:{l:<lane>}:calls`, which is never there (see lib/script-keys.ts)
-- ARGV   tenants
-- Answer 2 the entry belongs to another tenant, 1 to one of these, 0 there is none
-- Invariant: no entry is added or removed; one that is fetched and given back is in its own place again.

local MOST_SEEN = 2000

local named = {}
for _, tenant in ipairs(ARGV) do named[tenant] = true end
local prioritized = KEYS[1] .. ':prioritized'
local broken_other, whole
-- It is this entry that is to go, not the first one of its tenant.
local function bring(entry)
  redis.call('ZADD', prioritized, 'XX', 0, entry)
  local v = redis.call('HMGET', KEYS[1] .. ':' .. entry, 'name', 'turn')
  if v[1] and v[2] then leave_turns(entry, v[1], v[2]) end
end
for _, entry in ipairs(redis.call('ZRANGE', prioritized, 0, MOST_SEEN - 1)) do
  local v = redis.call('HMGET', KEYS[1] .. ':' .. entry, 'name', 'data')
  local is_whole = v[2] and not string.find(v[2], '"broken":true', 1, true)
  if v[1] and not named[v[1]] then
    if is_whole then
      bring(entry)
      return 2
    end
    broken_other = broken_other or entry
  elseif is_whole then
    whole = whole or entry
  end
end
local entry = broken_other or whole
if not entry then return 0 end
bring(entry)
return entry == broken_other and 2 or 1
