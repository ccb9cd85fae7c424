-- Changes fields of a batch's record. With the state `ended` the batch is no longer open.
--
-- ARGV  1 token  2 id  3 ms to keep the record of an ended batch  4… fields and values
-- Answer 0 (the lease is lost) | 1
-- Invariant: a batch that ended never changes.

local token, id, keep = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds(token) then return 0 end
local key = batch_key(id)
local state = redis.call('HGET', key, 'state')
if not state or state == 'ended' then return 1 end
redis.call('HSET', key, unpack(ARGV, 4))
if redis.call('HGET', key, 'state') == 'ended' then
  redis.call('HSET', key, 'ended_at', ms(now))
  redis.call('ZREM', root .. ':open', id)
  redis.call('ZADD', root .. ':ended', ms(now), id)
  redis.call('DEL', key .. ':lines')
  redis.call('PEXPIRE', key, keep)
  redis.call('ZREMRANGEBYSCORE', root .. ':ended', '-inf', ms(now - keep))
  redis.call('PEXPIRE', root .. ':ended', keep)
end
return 1
