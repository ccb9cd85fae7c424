-- Grants the longest prefix of the costs that may leave now. Each cost takes from every bucket or from none, and of the sources from
-- the one with the most room.
--
-- ARGV    FIRST lease in ms; then for each cost (`encodeRequests` of take-script.ts): requests, tokens, input tokens, output tokens,
--         its tenant or '', the source that it must go to or '' (the script ignores an unknown source), its tier of service
-- Answer  {ms until the next cost may pass (0: all passed, -1: never), what it waits for or '', permit…};
--         it waits for 'tier' if calls of other tiers may leave, for 'breaker' if calls of other tenants may leave, too
-- Invariant: that of grant.lua, which comes before this.

local answer = { 0, '' }
for i = FIRST + 1, #ARGV, 7 do
  local cost = { tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]) }
  local caller = { tenant = ARGV[i + 4], source = ARGV[i + 5], tier = ARGV[i + 6] }
  local wait, waitingFor, source = refuse(cost, caller)
  if wait then
    answer[1], answer[2] = wait, waitingFor
    break
  end
  answer[#answer + 1] = grant(cost, caller, source)
end
saveBuckets()
return answer
