-- Fails waiting jobs whose deadline has passed.
--
-- ARGV  1 retain ms  2… ids
-- Answer for each that failed: id, promoted or '', lane, id of the request that made the job or ''

local answer, ended = {}, {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local job = load(id)
  if not job or is_terminal(job.status) then
    take_out(root .. ':deadlines', id)
  elseif job.deadline <= now then
    if job.status == 'running' then
      take_out(root .. ':deadlines', id)
    else
      local promoted = leave_flight(job, job.status)
      local failure = '{"code":"deadline_exceeded","message":"The deadline passed while the job waited. No call was made for it.","provider_status":null,"retryable":false}'
      finish(job, 'failed', tonumber(ARGV[1]), { 'error', failure }, ',"error":' .. failure)
      ended[id] = true
      local v = redis.call('HMGET', job_key(id), 'lane', 'request_id')
      for _, value in ipairs({ id, promoted, v[1] or '', v[2] or '' }) do answer[#answer + 1] = value end
    end
  end
end
-- A job that was promoted here and then failed too needs no entry.
for i = 2, #answer, 4 do
  if ended[answer[i]] then answer[i] = '' end
end
return answer
