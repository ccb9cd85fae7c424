-- Reads a step. Asking for it keeps its run.
--
-- Answer {} where there is no such run; else {now, step, signal, value}, see `show`

if redis.call('EXISTS', key) == 0 then return {} end
keep(now)
return show(redis.call('HGET', key, 's:' .. name))
