-- Extends the leases of running calls. An ended lease is renewed too: the call runs, so it counts.
--
-- ARGV    10 lease in ms; then permits
-- Answer  how many of them are not settled
-- Invariant: a settled or forgotten permit stays so.

-- A full Redis lets a script go on after a write that needs no memory, so a running call keeps its slot.
call('PERSIST', BUCKET)
local state, now = open()
local renewed = 0
for i = 11, #ARGV do
  if call('HEXISTS', RECORDS, ARGV[i]) == 1 then
    call('ZADD', PERMITS, exact(now + tonumber(ARGV[10])), ARGV[i])
    renewed = renewed + 1
  end
end
save(state)
return renewed
