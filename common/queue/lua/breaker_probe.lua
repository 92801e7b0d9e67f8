-- breaker_probe: asks to make the one call that says whether a host is well again.
-- KEYS 1 the host's breaker  2 the partner's index
-- ARGV 1 host  2 token  3 ms that the probe may take
-- -> {state, until ms, 1: go, with this token}
-- One probe over the whole cluster: whoever dies on it keeps its place only until its deadline.
local function text(n) return string.format('%.0f', n) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local b = redis.call('HMGET', KEYS[1], 'state', 'until')
local state, till = b[1] or 'closed', tonumber(b[2] or '0')

if state == 'closed' then
	-- A breaker that Redis forgot must not go on holding jobs.
	if not b[1] then redis.call('HDEL', KEYS[2], ARGV[1]) end
	return {state, till, 0}
end
if state == 'open' and till == 0 or now < till then return {state, till, 0} end
if state == 'open' then redis.call('HSET', KEYS[1], 'state', 'half_open', 'since', text(now)) end
till = now + ARGV[3]
redis.call('HSET', KEYS[1], 'probe', ARGV[2], 'until', text(till))
redis.call('PEXPIRE', KEYS[1], text(ARGV[3] + 86400000))
redis.call('HSET', KEYS[2], ARGV[1], 'half_open ' .. text(till))
return {'half_open', till, 1}
