-- Adds jobs that wait for a provider batch.
--
-- ARGV  for each job: member (`<id>-<entry number> <tenant>`), class, tokens, bytes, time to leave (Unix ms, 0: none), tenant,
--       the tenant's weight, time before which it does not start (Unix ms, '': at once)
-- Answer number of new jobs
-- Invariant: a job that already waits does not change. Tenants get their turns by weight, as in the lane's queue.

local added = 0
for i = 1, #ARGV, 8 do
  local member, class, tokens, tenant = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 5]
  local turns = redis.call('HMGET', root .. ':turns', 'now', 'of:' .. tenant)
  local turn = math.max(tonumber(turns[1] or 0), tonumber(turns[2] or 0))
  local shown = string.format('%.6f', turn)
  local text = class .. ' ' .. tokens .. ' ' .. ARGV[i + 3] .. ' ' .. ARGV[i + 4] .. ' ' .. shown .. ' ' .. tenant
  if redis.call('HSETNX', root .. ':lines', member, text) == 1 then
    added = added + 1
    local next_turn = turn + math.max(1, tonumber(tokens)) / tonumber(ARGV[i + 6])
    redis.call('HSET', root .. ':turns', 'of:' .. tenant, string.format('%.6f', next_turn))
    if ARGV[i + 4] ~= '0' then redis.call('ZADD', root .. ':leave', ARGV[i + 4], member) end
    if ARGV[i + 7] ~= '' and tonumber(ARGV[i + 7]) > now then
      redis.call('ZADD', root .. ':delayed', ARGV[i + 7], member)
    else
      redis.call('ZADD', waiting_key(class), shown, member)
      redis.call('HSETNX', root .. ':since', class, ms(now))
    end
  end
end
return added
