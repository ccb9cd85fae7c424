-- One of the requests that create the job of a step does not create it, because the job was refused. After the last of them, the next
-- request for the step creates the job, from its own body.
--
-- Answer 1
-- Invariant: while another request may still create the job, the step belongs to its body.

local till, makers = read_making()
if makers > 1 then
  redis.call('HSET', making, name, ms(till) .. ' ' .. (makers - 1))
else
  redis.call('HDEL', making, name)
end
return 1
