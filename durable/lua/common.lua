-- Shared by every script of this folder; put in front of each when it is loaded.
--
-- KEYS[1] is the tenant's root, whose hash tag is part of every key built here. Times are Unix ms of Redis' clock.
-- ARGV  1 digest of the run's id  2 retain ms  3 name of the step  4… the script's own
--
-- A run is a hash: `id`, `created_at`, `steps` and `signals` (how many), `looked` (jobs/lua/retire.lua), `s:<name>` for a step and
-- `v:<name>` for its signal. Values of signals are in `…:values`, because they may be long. `…:making` has the steps whose jobs are
-- being created: `<until when, Unix ms> <how many requests create it>`. A step is
-- `<kind> <at> <until or -> <fingerprint> <job or ->`, a signal `<at> <digest of its idempotency key or ->`.
-- Invariant: every run is in the tenant's `expiry` as `durable:<digest>`, with the same score in `durables`, and by its creation in
-- `durables:created`. jobs/lua/retire.lua deletes it, but never before the jobs of its steps have ended and their retention is over.

local root = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function ms(value) return string.format('%d', value) end

local key = root .. ':durable:' .. ARGV[1]
local retain, name = tonumber(ARGV[2]), ARGV[3]
local making = key .. ':making'

-- Keeps the run for `retain` from `from` on. This never shortens its time.
local function keep(from)
  redis.call('ZADD', root .. ':expiry', 'GT', ms(from + retain), 'durable:' .. ARGV[1])
  redis.call('ZADD', root .. ':durables', 'GT', ms(from + retain), ARGV[1])
end

local function read_step(stored)
  if not stored then return nil end
  local kind, at, over, fingerprint, job = string.match(stored, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
  return { kind = kind, at = tonumber(at), over = tonumber(over), fingerprint = fingerprint, job = job }
end

-- Until when the job of the step is being created, and by how many requests; 0, 0: by none.
local function read_making()
  local till, makers = string.match(redis.call('HGET', making, name) or '', '^(%d+) (%d+)$')
  return tonumber(till or 0), tonumber(makers or 0)
end

-- Returns {now, step, signal, value}; a missing part is ''.
local function show(stored)
  local signal = redis.call('HGET', key, 'v:' .. name)
  return { ms(now), stored or '', signal or '', signal and redis.call('HGET', key .. ':values', name) or '' }
end
