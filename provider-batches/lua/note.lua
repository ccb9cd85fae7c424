-- Updates a batch's lines once their jobs are claimed.
--
-- ARGV  1 token  2 id  3… line numbers and texts
-- Answer 0 (the lease is lost) | 1

if not holds(ARGV[1]) then return 0 end
local key = batch_key(ARGV[2]) .. ':lines'
for i = 3, #ARGV, 2 do
  if redis.call('HEXISTS', key, ARGV[i]) == 1 then redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
end
return 1
