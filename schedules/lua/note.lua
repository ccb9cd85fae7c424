-- Writes a manual run to the history.
--
-- ARGV  1 id  2 when it was requested, Unix ms  3 job or flow that was created
-- Answer 1 | 0 (there is no such schedule)

if redis.call('EXISTS', schedule_key(ARGV[1])) == 0 then return 0 end
append_run(ARGV[1], 'manual', ARGV[2], 'created', ARGV[3], '')
return 1
