-- Forgets a run: its steps and the values of its signals. Jobs are forgotten before, each by itself, and take their steps along.
--
-- Answer how many runs that were

local was = redis.call('DEL', key)
redis.call('DEL', key .. ':values')
redis.call('ZREM', root .. ':expiry', 'durable:' .. ARGV[1])
redis.call('ZREM', root .. ':durables', ARGV[1])
redis.call('ZREM', root .. ':durables:created', ARGV[1])
redis.call('PUBLISH', root .. ':live:durable:' .. ARGV[1], '')
return was
