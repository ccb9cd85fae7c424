-- Brings a failed or cancelled job back from the history, so that it can be queued again.
--
-- ARGV  1 id  2 hot ms  3 its cost (billionths)  4 how many events it had  5 its last event (JSON)
--       6 its deliveries, the oldest first (JSON)  7 how many fields its attempts have  8… names and values of these, then those of its record
-- Answer 'restored' | 'there' | 'deleted', which the history does not know yet
-- Invariant: what history-mark.lua says about a job that the history has.

-- The length of the longest lists of arguments that Lua passes on at once.
local MOST = 2000

local id = ARGV[1]
if redis.call('EXISTS', job_key(id)) == 1 then return 'there' end
if redis.call('ZSCORE', root .. ':history', 'delete:' .. id) then return 'deleted' end
local attempts = tonumber(ARGV[7])
local unpriced = 0
for i = 8, 7 + 2 * attempts, 2 do
  redis.call('HSET', job_key(id) .. ':attempts', ARGV[i], ARGV[i + 1])
  if string.find(ARGV[i + 1], '"is_unpriced":true', 1, true) then unpriced = unpriced + 1 end
end
for i = 8 + 2 * attempts, #ARGV, 2 do redis.call('HSET', job_key(id), ARGV[i], ARGV[i + 1]) end
local v = redis.call('HMGET', job_key(id), 'status', 'created_at', 'group')
redis.call('HSET', job_key(id), 'copied', v[1] .. ' ' .. ARGV[3])
if unpriced > 0 then redis.call('HSET', job_key(id), 'copied_unpriced', ms(unpriced)) end
-- Only the last of its events is left. New events continue their numbers.
local events = {}
for i = 1, tonumber(ARGV[4]) do
  events[#events + 1] = ARGV[5]
  if #events == MOST or i == tonumber(ARGV[4]) then
    redis.call('RPUSH', job_key(id) .. ':events', unpack(events))
    events = {}
  end
end
for _, fields in ipairs(cjson.decode(ARGV[6])) do
  local key = root .. ':delivery:' .. fields.id
  -- A delivery that was sent again is here already, and is newer.
  if redis.call('PERSIST', key) == 0 and redis.call('EXISTS', key) == 0 then
    for name, value in pairs(fields) do redis.call('HSET', key, name, value) end
  end
  redis.call('RPUSH', job_key(id) .. ':deliveries', fields.id)
end
put(root .. ':jobs', v[2], id)
put(root .. ':status:' .. v[1], v[2], id)
put(root .. ':expiry', ms(now + tonumber(ARGV[2])), id)
if v[3] then
  local group = group_key(v[3])
  redis.call('HINCRBY', group, v[1], 1)
  redis.call('HINCRBY', group, 'total', 1)
  counts_unpriced_copies(v[3])
  redis.call('HINCRBY', group, 'copied:' .. v[1], 1)
  put(group .. ':jobs', v[2], id)
  put(root .. ':groups', ms(now), v[3])
end
return 'restored'
