-- Moves the virtual time of a lane to the start tag of the entries that it serves now, and measures the rate of service.
--
-- KEYS    1 fair hash  2 sorted set of the entries that wait
-- ARGV    1 start tag  2 seconds of service that these entries take  3 '1' to restart the measurement of the rate
-- Answer  0
-- Invariant: the virtual time never goes back. `rate` is in seconds of service a second, and decays over RATE_MS. It is valid
-- only if entries have been waiting all the time since `since`: a lane without a backlog is slow because it has no work.

local RATE_MS = 10000

local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local fair = redis.call('HMGET', KEYS[1], 'v', 'rate', 'at', 'since')
local start, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local set = {}
if start > tonumber(fair[1] or '0') then
  set[#set + 1] = 'v'
  set[#set + 1] = ARGV[1]
end
local rate, at, since = tonumber(fair[2] or '0'), tonumber(fair[3] or now), tonumber(fair[4] or now)
local last = seconds * 1000 / RATE_MS
if ARGV[3] == '1' or redis.call('ZCARD', KEYS[2]) == 0 or now < at then
  rate, since, last = 0, now, 0
else
  rate = rate * math.exp((at - now) / RATE_MS) + last
end
for name, value in pairs({ rate = rate, at = now, since = since, last = last }) do
  set[#set + 1] = name
  set[#set + 1] = string.format('%.17g', value)
end
redis.call('HSET', KEYS[1], unpack(set))
return 0
