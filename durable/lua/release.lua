-- Lets the next request for a step create its job, from its own body, because the job was refused.
--
-- Answer 1

redis.call('HDEL', making, name)
return 1
