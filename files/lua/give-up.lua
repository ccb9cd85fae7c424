-- Gives up objects that will not become files, and takes those that have to be deleted now.
--
-- KEYS  1 the tenant's root
-- ARGV  1 an object to give up ('' for those whose announcement expired)  2 most objects to take
--       3 ms after which a taken object is taken again unless it was deleted  4 Unix ms in place of Redis' time ('' for Redis')
-- Answer the objects to delete
-- Invariant: an object is announced, or belongs to a file, or is to be deleted; in the last state it stays until its deletion succeeded.

local root = KEYS[1]
local given, most, again, simulated = unpack(ARGV)
local writing, deleting = root .. ':files:writing', root .. ':files:deleting'
local time = redis.call('TIME')
local now = tonumber(simulated) or time[1] * 1000 + math.floor(time[2] / 1000)
local ended = given ~= '' and { given } or redis.call('ZRANGEBYSCORE', writing, '-inf', now, 'LIMIT', 0, most)
for _, object in ipairs(ended) do
  if redis.call('ZREM', writing, object) == 1 then redis.call('ZADD', deleting, now, object) end
end
local due = given ~= '' and ended or redis.call('ZRANGEBYSCORE', deleting, '-inf', now, 'LIMIT', 0, most)
local taken = {}
for _, object in ipairs(due) do
  if redis.call('ZSCORE', deleting, object) then
    redis.call('ZADD', deleting, string.format('%.0f', now + tonumber(again)), object)
    taken[#taken + 1] = object
  end
end
return taken
