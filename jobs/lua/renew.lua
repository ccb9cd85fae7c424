-- Moves the times of jobs that a worker has straight from the API ahead: its lock on them.
--
-- ARGV  1 lease in ms; then entries, `<id>-<number>`
-- Answer 1
-- Invariant: one that was taken out of the outbox stays out; it is the queue's, or has ended.

local outbox = root .. ':outbox'
-- Redis whose memory is full lets a script go on that has written, and this write asks for no memory. Whoever holds
-- paid results must not lose the jobs while it waits for room.
redis.call('PERSIST', outbox)
for i = 2, #ARGV do redis.call('ZADD', outbox, 'XX', ms(now + tonumber(ARGV[1])), ARGV[i]) end
return 1
