-- Fails a waiting job whose deadline has passed.
--
-- ARGV  1 id  2 retain ms
-- Answer {'no'} | {'failed', promoted or '', lane, id of the request that made the job or ''}

local job = load(ARGV[1])
if not job or is_terminal(job.status) then
  redis.call('ZREM', root .. ':deadlines', ARGV[1])
  return { 'no' }
end
if job.deadline > now then return { 'no' } end
if job.status == 'running' then
  redis.call('ZREM', root .. ':deadlines', ARGV[1])
  return { 'no' }
end
local promoted = leave_flight(job, job.status)
local failure = '{"code":"deadline_exceeded","message":"The deadline passed while the job waited; no call was made for it.","provider_status":null,"retryable":false}'
finish(job, 'failed', tonumber(ARGV[2]), { 'error', failure }, ',"error":' .. failure)
local v = redis.call('HMGET', job_key(job.id), 'lane', 'request_id')
return { 'failed', promoted, v[1] or '', v[2] or '' }
