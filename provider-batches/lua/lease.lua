-- Renews the lease on a lane, or gives it up.
--
-- ARGV  1 token  2 ms (0: give it up)
-- Answer 0 (another worker has it, or nobody) | 1

if not holds(ARGV[1]) then return 0 end
if ARGV[2] == '0' then redis.call('DEL', root .. ':lease') else redis.call('PEXPIRE', root .. ':lease', ARGV[2]) end
return 1
