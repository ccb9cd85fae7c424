-- Renews a worker's leases on claimed jobs: moves their times in the outbox ahead.
--
-- ARGV  1 lease in ms; then entries, `<id>-<number>`
-- Answer 1
-- Invariant: a job that left the outbox stays out, because it is in the queue or has ended.

local outbox = root .. ':outbox'
-- When its memory is full, Redis lets a script continue that has written something, and this write needs no memory. A
-- worker that holds paid results must not lose their jobs while it waits for memory.
redis.call('PERSIST', outbox)
for i = 2, #ARGV do redis.call('ZADD', outbox, 'XX', ms(now + tonumber(ARGV[1])), ARGV[i]) end
return 1
