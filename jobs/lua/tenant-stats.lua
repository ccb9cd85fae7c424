-- Reads the statistics of a tenant: its jobs, its money, its pace.
--
-- ARGV  1 retain ms  2 the time over which the pace is measured, ms
-- Answer {scheduled, queued, running, completed, failed, cancelled, spent USD today, reserved USD, ended in that time,
--        parked for turns of fair keys, end of its pause ('' none), reason of its pause}
-- A job's score in `expiry` is its end plus the retention, so jobs that ended lately are counted without a counter. A
-- later score comes from an earlier configuration. Durable runs are there too, and in `durables` with the same scores.

local answer = {}
for i, status in ipairs({ 'scheduled', 'queued', 'running', 'completed', 'failed', 'cancelled' }) do
  answer[i] = redis.call('ZCARD', root .. ':status:' .. status)
end
local spent, reserved = read_money()
answer[7], answer[8] = to_usd(spent), to_usd(reserved)
local from, to = '(' .. ms(now + tonumber(ARGV[1]) - tonumber(ARGV[2])), ms(now + tonumber(ARGV[1]))
answer[9] = redis.call('ZCOUNT', root .. ':expiry', from, to) - redis.call('ZCOUNT', root .. ':durables', from, to)
answer[10] = math.max(0, tonumber(redis.call('GET', root .. ':fair-keys:parked') or 0))
local left = redis.call('PTTL', root .. ':paused')
answer[11] = left > 0 and ms(now + left) or ''
answer[12] = left > 0 and redis.call('GET', root .. ':paused') or ''
return answer
