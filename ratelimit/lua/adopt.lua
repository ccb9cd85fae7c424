-- Writes the state of a lane that depart.lua read, if the lane has none yet.
--
-- KEYS    1 bucket  2 permits  3 records  4 ledger:window  5 ledger:day, as in common.lua  6 none
-- ARGV    1 the bucket; then for each of the other keys: the number of arguments, and the arguments as Redis answered them
-- Answer  1 the state was written | 0 the lane has its state
-- Invariant: a state that is in use is never replaced.

if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
local at = 2
for key = 2, 5 do
  local count = tonumber(ARGV[at])
  for i = at + 1, at + count, 2 do
    if key == 2 then
      redis.call('ZADD', KEYS[key], ARGV[i + 1], ARGV[i])
    else
      redis.call('HSET', KEYS[key], ARGV[i], ARGV[i + 1])
    end
  end
  at = at + count + 1
end
return 1
