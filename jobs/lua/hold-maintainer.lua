-- Takes or renews the maintainer's lease, or says who has it.
--
-- KEYS[1] is `<prefix>:{maintainer}`.
-- ARGV  1 id of the worker  2 its name for operators  3 how long it holds the lease, ms; 0: it gives the lease up
-- Answer {1 if the worker holds it now, else 0, id of the holder ('' none), the holder's name, since when (Unix ms)}
-- Invariant: one worker holds the lease at a time, by Redis' clock only, because the key expires.

local key = KEYS[1] .. ':lease'
local time = redis.call('TIME')
local holder = redis.call('HMGET', key, 'worker', 'shown', 'since')

if holder[1] and holder[1] ~= ARGV[1] then return { 0, holder[1], holder[2], holder[3] } end
if ARGV[3] == '0' then
  redis.call('DEL', key)
  return { 0, '', '', '' }
end
if not holder[1] then
  holder[3] = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', key, 'worker', ARGV[1], 'shown', ARGV[2], 'since', holder[3])
end
redis.call('PEXPIRE', key, ARGV[3])
return { 1, ARGV[1], ARGV[2], holder[3] }
