-- Moves waiting entries of a lane's queue to the front. These are entries whose calls have not failed yet, of tenants
-- that are not named or of another tier of service than standard. If there are none, it moves one entry instead: one of
-- those whose call has failed, or else one of a named tenant whose call has not. No entry that it moves asks for a tier
-- that is shut.
--
-- KEYS   1 `<prefix>:{l:<lane>}:calls`, which never exists (see lib/script-keys.ts)
-- ARGV   1 most entries to move  2 '1': only entries of other tiers, whether their calls have failed or not, and no entry instead
--        3 how many shut tiers follow, as `<tier>:<its tenant, or nothing for all>`  then tenants
-- Answer {how many were moved, 1: they are of another tenant or tier, how many were looked at}
-- Invariant: no entry is added or removed. An entry that is fetched and given back is in its own place again.

local MOST_SEEN = 2000

local most, by_tier = tonumber(ARGV[1]), ARGV[2] == '1'
local named, shut = {}, {}
local shut_end = 3 + tonumber(ARGV[3])
for i = 4, shut_end do shut[ARGV[i]] = true end
for i = shut_end + 1, #ARGV do named[ARGV[i]] = true end
local prioritized = KEYS[1] .. ':prioritized'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The tier that the entry asks for, by the rules of workers/tier-of-call.ts; flex until the entry falls back; nil:
-- standard.
local function asked_tier(data)
  local of_body = string.match(data, '"serviceTier":"([^"]+)"')
  if of_body then return of_body end
  if not string.find(data, '"tier":"flex"', 1, true) and not string.find(data, '"flex":{', 1, true) then return nil end
  local till = tonumber(string.match(data, '"fallsBackAt":(%d+)')) or tonumber(string.match(data, '"until":(%d+)'))
  if not till or now < till then return 'flex' end
end

-- This entry itself has to go, and not the first one of its tenant.
local function bring(entry)
  redis.call('ZADD', prioritized, 'XX', 0, entry)
  local v = redis.call('HMGET', KEYS[1] .. ':' .. entry, 'name', 'turn')
  if v[1] and v[2] then leave_turns(entry, v[1], v[2]) end
end

local entries = redis.call('ZRANGE', prioritized, 0, MOST_SEEN - 1)
local others, broken_other, whole = {}, nil, nil
for _, entry in ipairs(entries) do
  local v = redis.call('HMGET', KEYS[1] .. ':' .. entry, 'name', 'data')
  local is_whole = v[2] and not string.find(v[2], '"broken":true', 1, true)
  local tier = v[2] and asked_tier(v[2])
  local is_shut = tier and (shut[tier .. ':'] or shut[tier .. ':' .. (v[1] or '')])
  local is_other = v[1] and (not by_tier and not named[v[1]] or tier)
  if is_shut then
    is_whole = false
  elseif is_other and (is_whole or by_tier) then
    others[#others + 1] = entry
    if #others == most then break end
  elseif is_other then
    broken_other = broken_other or entry
  elseif is_whole then
    whole = whole or entry
  end
end
if #others > 0 then
  for _, entry in ipairs(others) do bring(entry) end
  return { #others, 1, #entries }
end
local entry = not by_tier and (broken_other or whole)
if not entry then return { 0, 0, #entries } end
bring(entry)
return { 1, entry == broken_other and 1 or 0, #entries }
