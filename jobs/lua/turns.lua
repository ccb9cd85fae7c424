-- Shared by the scripts that add entries to a lane's queue and take them out: the loader puts it before each.
--
-- If the turns of a tenant rotate among its fair keys, an entry in `prioritized` stands for a turn of its tenant. Which
-- entry has the turn is decided when the turn comes. `key-turns:<band>:<tenant>` has the tenant's waiting entries of
-- the band by their tags (see ratelimit/lua/tag.lua), and the first of them goes. The entry whose place it took gets
-- its place.
-- Invariants: exchanging places changes no other tenant's turn, and no entry is added or removed. `key-turns` has only
-- entries that are in `prioritized`. An entry that is not in `key-turns` (returned, or brought forward) goes when its
-- own place comes.

local queue = KEYS[1]
local function key(name) return queue .. ':' .. name end
local lane = string.sub(queue, 1, -string.len(':calls') - 1)

-- The same as in ratelimit/lua/tag.lua.
local KEY_ENDS_KEPT_MS = 86400000

local function turns_key(tenant, turn) return lane .. ':key-turns:' .. string.match(turn, '^(%a+):') .. ':' .. tenant end
local function tag_of(turn) return string.match(turn, ':(.*)$') end

-- By key: scores and members to add.
local joining = {}

local function join_turns(id, tenant, turn)
  local turns = turns_key(tenant, turn)
  joining[turns] = joining[turns] or {}
  table.insert(joining[turns], tag_of(turn))
  table.insert(joining[turns], id)
end

local function write_turns()
  for turns, members in pairs(joining) do
    for first = 1, #members, 4000 do
      redis.call('ZADD', turns, unpack(members, first, math.min(first + 3999, #members)))
    end
  end
end

local function leave_turns(id, tenant, turn) return redis.call('ZREM', turns_key(tenant, turn), id) end
