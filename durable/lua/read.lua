-- Reads a step. This also extends the retention of its run.
--
-- Answer {} if there is no such run; else {now, step, signal, value}, see `show`

if redis.call('EXISTS', key) == 0 then return {} end
keep(now)
return show(redis.call('HGET', key, 's:' .. name))
