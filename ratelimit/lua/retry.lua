-- Books retries before they are scheduled, so that they stay at most a fifth of the lane's requests. The model
-- test/model/ratelimit/retry-budget.ts gives the reasons.
--
-- ARGV    FIRST the number of retries, then their tenant or ''
-- Answer  the delay of each, ms
-- Invariant: budget promised to one retry never goes to another.

local CAP, SHARE, TRICKLE, LONGEST_MS, MOST_CHAINS = 10, 0.2, 0.0005, 600000, 64

local b = openBucket(1)
local state, now = b.state, b.now
local budget, taken = state.retries, state.taken[1]
budget.saved = budget.saved + SHARE * (taken - budget.seen)
budget.seen = taken
if now > budget.promisedUntil then
  budget.saved = budget.saved + TRICKLE * (now - budget.promisedUntil)
  budget.promisedUntil = now
end
budget.saved = min(CAP, budget.saved)

local chains = {}
for _, chain in ipairs(budget.chains or {}) do
  if chain[2] > now then chains[#chains + 1] = chain end
end
budget.chains = chains

local function findChain(tenant)
  for _, chain in ipairs(chains) do
    if chain[1] == tenant then return chain end
  end
  local chain = { tenant, now }
  chains[#chains + 1] = chain
  if #chains > MOST_CHAINS then table.remove(chains, 1) end
  return chain
end

local waits = {}
for i = 1, tonumber(ARGV[FIRST]) do
  if budget.saved >= 1 then
    budget.saved = budget.saved - 1
    waits[i] = 0
  else
    local promised = budget.promisedUntil + (1 - budget.saved) / TRICKLE
    local chain = findChain(ARGV[FIRST + 1])
    local own = chain[2] + #chains / TRICKLE
    if #chains > 1 and own < promised then
      chain[2] = min(own, now + LONGEST_MS)
      waits[i] = math.ceil(chain[2] - now)
    else
      budget.promisedUntil = min(promised, now + LONGEST_MS)
      budget.saved = 0
      chain[2] = budget.promisedUntil
      waits[i] = math.ceil(budget.promisedUntil - now)
    end
  end
end
saveBucket(b)
return waits
