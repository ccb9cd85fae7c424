-- Extends the leases of running calls. It also renews a lease that has ended: the call runs, so it counts.
--
-- ARGV    FIRST lease in ms; then permits
-- Answer  how many of them are not settled
-- Invariant: a settled or forgotten permit stays settled or forgotten.

local leaseMs = tonumber(ARGV[FIRST])
local renewed = 0
for number = 1, BUCKETS do
  -- A full Redis lets a script continue after a write that needs no memory, so a running call keeps its slot.
  call('PERSIST', KEYS[(number - 1) * 5 + 1])
  local b = openBucket(number)
  for i = FIRST + 1, #ARGV do
    if call('HEXISTS', b.records, ARGV[i]) == 1 then
      call('ZADD', b.permits, string.format('%.0f', endLease(b, leaseMs)), ARGV[i])
      if number == 1 then renewed = renewed + 1 end
    end
  end
  saveBucket(b)
end
return renewed
