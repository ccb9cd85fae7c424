-- Stores the jobs of a block's lines once every line was submitted. They are kept until the block is written.
--
-- ARGV  1 token  2 id  3 block  4 its lines (JSON)
-- Answer 1 | 0 (the lease is lost)

local token, id = ARGV[1], ARGV[2]
if not holds(id, token) then return 0 end
if is_over(id) then return 1 end
redis.call('HSET', batch_key(id) .. ':open', ARGV[3], ARGV[4])
return 1
