-- Shared by every script of this folder: the loader puts it in front of each.
--
-- KEYS[1] is the tenant's root, whose hash tag is part of every key built here. Times are Unix ms of Redis' clock.
-- Scripts of a worker get the token of its lease. If another worker holds the batch now, they answer 0 and change
-- nothing. Each may be sent twice.

local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function ms(value) return string.format('%d', value) end
local function batch_key(id) return root .. ':batch:' .. id end
local function holds(id, token) return redis.call('GET', batch_key(id) .. ':lease') == token end

-- A batch that is over never changes, even by a late call.
local function is_over(id)
  local status = redis.call('HGET', batch_key(id), 'status')
  return not status or status == 'completed' or status == 'failed' or status == 'expired' or status == 'cancelled'
end

-- For a batch that ended: only its record is kept, for a while.
local function leave(id, keep)
  local key = batch_key(id)
  redis.call('DEL', key .. ':layout', key .. ':open', key .. ':tallies', key .. ':lease')
  redis.call('ZREM', root .. ':batches:active', id)
  redis.call('PEXPIRE', key, keep)
end
