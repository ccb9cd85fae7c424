-- The tenants and keys that the API made, where they are another version than the one that is known.
-- KEYS[1] root of the registry, KEYS[2] see lib/script-keys.ts. ARGV[1] the known version, or ''.
-- Answers { version } where it is the known one, else { version, { name, tenant, … }, { id, key, … } }.
local root = KEYS[1]
local version = redis.call('GET', root .. ':version') or ''
if version == ARGV[1] then return { version } end
return { version, redis.call('HGETALL', root .. ':tenants'), redis.call('HGETALL', root .. ':keys') }
