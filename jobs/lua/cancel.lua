-- Cancels an open job for its owner.
--
-- ARGV  1 id  2 retain ms
-- Answer {'none'} | {'terminal'} | {'cancelled', status before, '1' if its call has to be aborted, promoted or ''}
-- Invariant: the cancel ends neither a follower nor a leader of the job. A running leader with followers is cancelled,
-- and its call continues for them. A call that was sent is still paid for.

local job = load(ARGV[1])
if not job then return { 'none' } end
if is_terminal(job.status) then return { 'terminal' } end
local was = job.status
book_unknown(job)
local promoted = leave_flight(job, was)
finish(job, 'cancelled', tonumber(ARGV[2]))
return { 'cancelled', was, (was == 'running' and not job.carrying) and '1' or '0', promoted }
