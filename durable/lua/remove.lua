-- Deletes a run: its steps and the values of its signals. It does not delete the run's jobs.
--
-- Answer the number of deleted runs: 1 or 0

local was = redis.call('DEL', key)
redis.call('DEL', key .. ':values', making)
redis.call('ZREM', root .. ':expiry', 'durable:' .. ARGV[1])
redis.call('ZREM', root .. ':durables', ARGV[1])
redis.call('ZREM', root .. ':durables:created', ARGV[1])
redis.call('PUBLISH', root .. ':live:durable:' .. ARGV[1], '')
return was
