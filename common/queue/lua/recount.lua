-- recount: is busy what flight says?  Repairs it if asked to.
-- KEYS 1 flight  2 busy
-- ARGV 1 "1": repair
-- -> {integrations whose count was wrong, leases, leases whose name is none of ours}
-- One script, since any step in between would count jobs that come and go; flight is bounded by the partner's cap.
local match, format = string.match, string.format
local counted, wrong, odd = {}, 0, 0
local leases = redis.call('HKEYS', KEYS[1])
for j = 1, #leases do
	local integration = match(leases[j], ':[123]:(%d+)$')
	if integration then
		counted[integration] = (counted[integration] or 0) + 1
	else
		odd = odd + 1
	end
end
local busy = redis.call('HGETALL', KEYS[2])
for j = 1, #busy, 2 do
	local integration, n = busy[j], tonumber(busy[j + 1])
	local is = counted[integration] or 0
	if n ~= is then
		wrong = wrong + 1
		if ARGV[1] == '1' then
			if is > 0 then
				redis.call('HSET', KEYS[2], integration, format('%.0f', is))
			else
				redis.call('HDEL', KEYS[2], integration)
			end
		end
	end
	counted[integration] = nil
end
for integration, is in pairs(counted) do
	wrong = wrong + 1
	if ARGV[1] == '1' then redis.call('HSET', KEYS[2], integration, format('%.0f', is)) end
end
return {wrong, #leases, odd}
