-- The loader puts this in front of every script of this folder.
--
-- KEYS[1] is the tenant's root; every key built here has its hash tag. Times are Unix ms of Redis' clock. Scripts for workers take the
-- token of the lease. If another worker holds the batch, they return 0 and change nothing. Every script may run twice.

local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function ms(value) return string.format('%d', value) end
local function batch_key(id) return root .. ':batch:' .. id end
local function holds(id, token) return redis.call('GET', batch_key(id) .. ':lease') == token end

-- A batch that is over never changes, not even by a late call.
local function is_over(id)
  local status = redis.call('HGET', batch_key(id), 'status')
  return not status or status == 'completed' or status == 'failed' or status == 'expired' or status == 'cancelled'
end

-- Cleans up after a batch that ended: only its record is kept, for a while.
local function leave(id, keep)
  local key = batch_key(id)
  redis.call('DEL', key .. ':layout', key .. ':open', key .. ':tallies', key .. ':lease')
  redis.call('ZREM', root .. ':batches:active', id)
  redis.call('PEXPIRE', key, keep)
end
