-- Stores the value that a step waits for, or will wait for, and notifies those who wait now.
--
-- ARGV  4 digest of an idempotency key ('-' none)  5 the value  6 most steps of a run
-- Answer {'none'} there is no such run | {'other'} the step waits for no signal | {'late', until} | {'full'}
--        | {'taken', at} | {'sent', at}
-- Invariant: a step never changes its first value, even if another one is sent. A wait that ended without a value gets none.

local run = redis.call('HMGET', key, 'id', 's:' .. name, 'v:' .. name, 'signals')
if not run[1] then return { 'none' } end
local step = read_step(run[2])
if step and step.kind ~= 'signal' then return { 'other' } end
if run[3] then
  local at, sender = string.match(run[3], '^(%d+) (%S+)$')
  return { sender ~= '-' and sender == ARGV[4] and 'sent' or 'taken', at }
end
if step and step.over and now >= step.over then return { 'late', ms(step.over) } end
if tonumber(run[4] or 0) >= tonumber(ARGV[6]) then return { 'full' } end
redis.call('HSET', key, 'v:' .. name, ms(now) .. ' ' .. ARGV[4])
redis.call('HINCRBY', key, 'signals', 1)
redis.call('HSET', key .. ':values', name, ARGV[5])
keep(now)
redis.call('PUBLISH', root .. ':live:durable:' .. ARGV[1], name)
return { 'sent', ms(now) }
