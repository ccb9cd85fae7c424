-- Renews the lease of a batch, or releases it.
--
-- ARGV  1 token  2 id  3 lease ms (0: release it)
-- Answer 1 | 0 (the lease is lost)

local token, id = ARGV[1], ARGV[2]
if not holds(id, token) then return 0 end
local key = batch_key(id) .. ':lease'
if ARGV[3] == '0' then redis.call('DEL', key) else redis.call('PEXPIRE', key, ARGV[3]) end
return 1
