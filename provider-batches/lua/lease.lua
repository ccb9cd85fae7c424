-- Renews the lease on a lane, or releases it.
--
-- ARGV  1 token  2 ms (0: release it)
-- Answer 0 (the lease is lost) | 1

if not holds(ARGV[1]) then return 0 end
if ARGV[2] == '0' then redis.call('DEL', root .. ':lease') else redis.call('PEXPIRE', root .. ':lease', ARGV[2]) end
return 1
