-- Brings a failed or cancelled job back from the history, so that it can be queued again.
--
-- ARGV  1 id  2 hot ms  3 what it cost (billionths)  4 how many events it had  5 its last event (JSON)
--       6 how many fields its attempts have  7… names and values of these, then those of its record
-- Answer 'restored' | 'there' | 'deleted', as the history has not heard yet
-- Invariant: as history-mark.lua says of a job that the history has.

-- The lengths of lists of arguments that Lua passes on at once.
local MOST = 2000

local id = ARGV[1]
if redis.call('EXISTS', job_key(id)) == 1 then return 'there' end
if redis.call('ZSCORE', root .. ':history', 'delete:' .. id) then return 'deleted' end
local attempts = tonumber(ARGV[6])
for i = 7, 6 + 2 * attempts, 2 do redis.call('HSET', job_key(id) .. ':attempts', ARGV[i], ARGV[i + 1]) end
for i = 7 + 2 * attempts, #ARGV, 2 do redis.call('HSET', job_key(id), ARGV[i], ARGV[i + 1]) end
local v = redis.call('HMGET', job_key(id), 'status', 'created_at', 'group')
redis.call('HSET', job_key(id), 'copied', v[1] .. ' ' .. ARGV[3])
-- Its events are gone but for the last one. Their numbers go on from there.
local events = {}
for i = 1, tonumber(ARGV[4]) do
  events[#events + 1] = ARGV[5]
  if #events == MOST or i == tonumber(ARGV[4]) then
    redis.call('RPUSH', job_key(id) .. ':events', unpack(events))
    events = {}
  end
end
put(root .. ':jobs', v[2], id)
put(root .. ':status:' .. v[1], v[2], id)
put(root .. ':expiry', ms(now + tonumber(ARGV[2])), id)
if v[3] then
  local group = group_key(v[3])
  redis.call('HINCRBY', group, v[1], 1)
  redis.call('HINCRBY', group, 'total', 1)
  redis.call('HINCRBY', group, 'copied:' .. v[1], 1)
  put(group .. ':jobs', v[2], id)
  put(root .. ':groups', ms(now), v[3])
end
return 'restored'
