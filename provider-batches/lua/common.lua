-- The loader puts this in front of every script of this folder.
--
-- KEYS[1] is `<prefix>:{l:<lane>}:batches`; every key built here has its hash tag, so that all provider batches of a lane are in one slot.
-- Times are Unix ms of Redis' clock. provider-batches/keys.ts describes the keys. Scripts for the lane's worker take the token of its
-- lease. If another worker holds the lane, they return 0 and change nothing. Every script may run twice.

local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function ms(value) return string.format('%d', value) end
local function batch_key(id) return root .. ':batch:' .. id end
local function waiting_key(class) return root .. ':waiting:' .. class end
local function holds(token) return redis.call('GET', root .. ':lease') == token end

-- The details of a waiting job: `<class> <tokens> <bytes> <time to leave, 0: none> <turn> <tenant>`.
local function read_waiting(member)
  local text = redis.call('HGET', root .. ':lines', member)
  if not text then return nil end
  local class, tokens, bytes, leave_at, turn, tenant = string.match(text, '^(%S+) (%d+) (%d+) (%d+) (%S+) (.*)$')
  return { class = class, tokens = tonumber(tokens), bytes = tonumber(bytes), leave_at = tonumber(leave_at), turn = turn, tenant = tenant }
end

-- Removes members that no longer wait.
local function stop_waiting(class, members)
  if #members == 0 then return end
  redis.call('ZREM', waiting_key(class), unpack(members))
  redis.call('HDEL', root .. ':lines', unpack(members))
  redis.call('ZREM', root .. ':leave', unpack(members))
  redis.call('ZREM', root .. ':delayed', unpack(members))
  if redis.call('EXISTS', waiting_key(class)) == 0 then redis.call('HDEL', root .. ':since', class) end
  if redis.call('EXISTS', root .. ':lines') == 0 then redis.call('DEL', root .. ':turns') end
end

-- Input tokens of the batches that are not over.
local function queued_tokens()
  local sum = 0
  for _, id in ipairs(redis.call('ZRANGE', root .. ':open', 0, -1)) do
    sum = sum + tonumber(redis.call('HGET', batch_key(id), 'tokens') or 0)
  end
  return sum
end
