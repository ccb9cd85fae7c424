-- Extends the leases of running calls. A lapsed lease revives: the call runs, so it counts.
--
-- ARGV    10 lease in ms; then permits
-- Answer  how many of them are not settled
-- Invariant: a settled or forgotten permit stays so.

-- After a write that asks for no memory Redis lets a script go on, whose memory is full: a call that runs keeps its slot.
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
