-- Begins a step and, if necessary, its run. A step that has begun is returned as it is.
--
-- ARGV  4 id of the run  5 kind: job, sleep, signal  6 fingerprints, separated by spaces; the first is stored  7 id for a new job ('-' none)
--       8 ms until the sleep or the wait ends ('' none)  9 most steps of a run
-- Answer {'changed'} | {'full'} | {'begun' | 'known', now, step, signal, value}
-- Invariants: two requests for one step get the same job. Its id is written before the job is created, and while a request creates it, no
-- request with another body gets it. If the job was refused to all who asked for it (release.lua), or was not created in time, the next
-- request creates it, from its own body. A job that is deleted takes its step with it (jobs/lua/forget.lua), so no id is used twice.

-- Longer than the creation of a job takes with all its attempts, ms.
local MAKING_MS = 10000

local making_until, makers = read_making()

local function begin_making()
  redis.call('HSET', making, name, ms(now + MAKING_MS) .. ' ' .. (making_until > now and makers + 1 or 1))
  redis.call('PEXPIRE', making, MAKING_MS)
end

local kind, fingerprint = ARGV[5], string.match(ARGV[6], '^%S+')
local stored = redis.call('HGET', key, 's:' .. name)
local known = read_step(stored)
if known then
  local is_same = false
  for one in string.gmatch(ARGV[6], '%S+') do is_same = is_same or one == known.fingerprint end
  is_same = is_same and known.kind == kind
  local is_made = known.kind ~= 'job' or redis.call('EXISTS', root .. ':job:' .. known.job) == 1
  if not is_same and (is_made or making_until > now) then return { 'changed' } end
  keep(now)
  -- A run of an older release is not in this index yet.
  local created = redis.call('HGET', key, 'created_at')
  if created then redis.call('ZADD', root .. ':durables:created', created, ARGV[1]) end
  if is_same then
    if not is_made then begin_making() end
    return { 'known', unpack(show(stored)) }
  end
end

local run = redis.call('HMGET', key, 'id', 'steps', 'created_at')
if not known and tonumber(run[2] or 0) >= tonumber(ARGV[9]) then return { 'full' } end
if not run[1] then redis.call('HSET', key, 'id', ARGV[4], 'created_at', ms(now)) end
redis.call('ZADD', root .. ':durables:created', run[3] or ms(now), ARGV[1])
if not known then redis.call('HINCRBY', key, 'steps', 1) end
local over = ARGV[8] ~= '' and now + tonumber(ARGV[8])
local job = known and kind == 'job' and known.job ~= '-' and known.job or ARGV[7]
stored = table.concat({ kind, ms(now), over and ms(over) or '-', fingerprint, job }, ' ')
redis.call('HSET', key, 's:' .. name, stored)
if kind == 'job' then begin_making() end
keep(over or now)
return { 'begun', unpack(show(stored)) }
