-- Forgets a job by its owner's wish: prompt, result, events, attempts, deliveries and index entries.
--
-- ARGV  1 id  2… further content hashes whose kept answers go, as that to its own content does
-- Answer {'none'} | {'removed', status before, '1' when a running call is to be aborted, promoted or ''}

local job = load(ARGV[1])
if not job then return { 'none' } end
redis.call('DEL', cache_key(job.hash))
for i = 2, #ARGV do redis.call('DEL', cache_key(ARGV[i])) end
local was, promoted = forget(job)
return { 'removed', was, (was == 'running' and not job.carrying) and '1' or '0', promoted }
