-- Finds the fields of hashes that were not encrypted with the current key.
--
-- KEYS[1] the tenant's root, whose hash tag is part of every key built here
-- ARGV  1 the first bytes of envelopes of the current key  2 the same in base64  then for each field: its key without the root, its name,
--       '1' if it is base64
-- Answer the indexes of the fields, from 0

local found = {}
for i = 3, #ARGV, 3 do
  local begin = ARGV[i + 2] == '1' and ARGV[2] or ARGV[1]
  local value = redis.call('HGET', KEYS[1] .. ARGV[i], ARGV[i + 1])
  if value and string.sub(value, 1, #begin) ~= begin then found[#found + 1] = (i - 3) / 3 end
end
return found
