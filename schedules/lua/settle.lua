-- Writes the outcomes of a schedule's slots, and sets the next slot.
--
-- ARGV  1 id  2 token of the worker's turn  3 the slot that was due  4 revision for which the next slot was computed  5 next slot ('' none)
--       6 ms for which the worker keeps it, if the next slot is due too ('': it releases it)
--       7… for each slot, in order: slot, outcome, job or flow that was created ('' none), error (JSON, '' none)
-- Answer 'settled' | 'ended' (there is no next slot) | 'none'
--         | 'lost' (another worker has it, or it was paused) | 'stale' (the settings changed: compute the next slot again)

local id = ARGV[1]
local key = schedule_key(id)
local v = redis.call('HMGET', key, 'revision', 'next_at', 'token', 'settled')
if not v[1] then return 'none' end
-- Writes the outcomes even if the turn is lost, so that the created jobs and flows are listed.
local settled = tonumber(v[4] or 0)
for i = 7, #ARGV, 4 do
  if tonumber(ARGV[i]) > settled then
    settled = tonumber(ARGV[i])
    append_run(id, 'slot', ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
    redis.call('HSET', key, 'settled', ARGV[i])
  end
end
if v[2] ~= ARGV[3] or v[3] ~= ARGV[2] then return 'lost' end
if v[1] ~= ARGV[4] then return 'stale' end
plan(id, ARGV[5])
if redis.call('HGET', key, 'next_at') == '' then return 'ended' end
if ARGV[6] ~= '' then
  redis.call('HSET', key, 'token', ARGV[2])
  redis.call('ZADD', root .. ':schedules:due', ms(now + ARGV[6]), id)
end
return 'settled'
