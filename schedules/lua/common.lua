-- Shared by every script of this folder; put in front of each when it is loaded.
--
-- KEYS[1] is the tenant's root, whose hash tag is part of every key built here. Times are Unix ms of Redis' clock.
-- Each script may be sent twice.
-- Invariants: a schedule is in `schedules:due` exactly while it has a next slot (`next_at`). The score is that slot, or the end of the
-- turn of the worker that claimed it. The outcome of a slot is written once: `settled` is the latest slot with a known outcome.

local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Runs that a schedule's history keeps, and the oldest entries in its list of jobs that each run checks for deleted jobs.
local HISTORY = 500
local PRUNED = 10

local function ms(value) return string.format('%d', value) end
local function schedule_key(id) return root .. ':schedule:' .. id end

-- Parses a time: '' none, Unix ms, or `+` and ms from now.
local function read_time(text)
  if text == '' then return '' end
  if string.sub(text, 1, 1) == '+' then return ms(now + tonumber(text)) end
  return text
end

-- Sets the next slot. A schedule that is paused, or has run as often as it may, gets none.
local function plan(id, next_at)
  local key = schedule_key(id)
  local v = redis.call('HMGET', key, 'paused', 'max_runs', 'slot_runs')
  if v[1] == '1' or (v[2] and v[2] ~= '' and tonumber(v[3] or 0) >= tonumber(v[2])) then next_at = '' end
  redis.call('HSET', key, 'next_at', next_at)
  redis.call('HDEL', key, 'token')
  if next_at == '' then
    redis.call('ZREM', root .. ':schedules:due', id)
  else
    redis.call('ZADD', root .. ':schedules:due', next_at, id)
  end
end

-- Writes the outcome of a slot or of a manual run to the history. `made` and `failure` (JSON) may be ''.
local function append_run(id, trigger, scheduled_for, outcome, made, failure)
  local key = schedule_key(id)
  local number = redis.call('HINCRBY', key, 'history', 1)
  local text = '{"number":' .. ms(number) .. ',"trigger":"' .. trigger .. '","scheduledFor":' .. scheduled_for
    .. ',"startedAt":' .. ms(now) .. ',"outcome":"' .. outcome .. '","made":' .. (made == '' and 'null' or '"' .. made .. '"')
    .. ',"error":' .. (failure == '' and 'null' or failure) .. '}'
  redis.call('XADD', key .. ':runs', 'MAXLEN', HISTORY, ms(number) .. '-0', 'run', text)
  redis.call('HSET', key, 'last_run', text)
  if outcome ~= 'created' then return end
  redis.call('HINCRBY', key, 'runs', 1)
  if trigger == 'slot' then
    redis.call('HINCRBY', key, 'slot_runs', 1)
    redis.call('HSET', key, 'previous', made)
  end
  -- Orders by creation, like all lists of jobs.
  if redis.call('HGET', key, 'target') ~= 'job' then return end
  redis.call('ZADD', key .. ':jobs', redis.call('HGET', root .. ':job:' .. made, 'created_at') or ms(now), made)
  for _, old in ipairs(redis.call('ZRANGE', key .. ':jobs', 0, PRUNED - 1)) do
    if redis.call('EXISTS', root .. ':job:' .. old) == 0 then redis.call('ZREM', key .. ':jobs', old) end
  end
end
