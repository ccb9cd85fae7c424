-- Makes no batch of the lane for a while, and stores how long a batch took.
--
-- ARGV  1 token  2 ms without new batches (0: no change)  3 how long a batch took, ms ('' none)  4 how many of these to keep  5 ms to keep them
-- Answer 0 (the lease is lost) | 1

if not holds(ARGV[1]) then return 0 end
if ARGV[2] ~= '0' then redis.call('SET', root .. ':hold', ms(now + tonumber(ARGV[2])), 'PX', ARGV[2]) end
if ARGV[3] ~= '' then
  redis.call('LPUSH', root .. ':turnarounds', ARGV[3])
  redis.call('LTRIM', root .. ':turnarounds', 0, tonumber(ARGV[4]) - 1)
  redis.call('PEXPIRE', root .. ':turnarounds', ARGV[5])
end
return 1
