-- Chooses jobs by small members of their records, so that a filter moves no record out of Redis.
--
-- ARGV  1 status  2 type  3 lane  4 group ('' any)  5… ids
-- Answer the positions of those that match, from 0. A deleted job does not match, nor does the tombstone of a deleted leader.

local wanted = {}
for i, name in ipairs({ 'status', 'type', 'lane', 'group' }) do
  if ARGV[i] ~= '' then wanted[#wanted + 1] = { name, ARGV[i] } end
end

local names = { 'status', 'deleted' }
for _, one in ipairs(wanted) do names[#names + 1] = one[1] end

local chosen = {}
for i = 5, #ARGV do
  local values = redis.call('HMGET', job_key(ARGV[i]), unpack(names))
  local matches = values[1] and not values[2]
  for at, one in ipairs(wanted) do matches = matches and values[at + 2] == one[2] end
  if matches then chosen[#chosen + 1] = i - 5 end
end
return chosen
