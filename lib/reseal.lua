-- Replaces fields of hashes by newly encrypted values.
--
-- KEYS[1] the tenant's root, whose hash tag is part of every key built here
-- ARGV  for each field: its key without the root, its name, its old value, its new value
-- Answer how many were changed. Invariant: a field that was changed or removed meanwhile stays as it is.

local changed = 0
for i = 1, #ARGV, 4 do
  local key = KEYS[1] .. ARGV[i]
  if redis.call('HGET', key, ARGV[i + 1]) == ARGV[i + 2] then
    redis.call('HSET', key, ARGV[i + 1], ARGV[i + 3])
    changed = changed + 1
  end
end
return changed
