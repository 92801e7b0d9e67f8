-- finish: in flight -> gone, for jobs that succeeded and left no children.
-- KEYS 1 flight  2 busy  3 control  4-6 ready  7-9 ring
-- ARGV (integration k lease*k)*
-- -> removed leases of each group, in order; fewer than k: some were lost
-- One variadic HDEL a group makes this the cheap way out; settle answers for each job.
local default

-- n slots of an integration are free: who was at its cap may run again.
local function freed(integration, n)
	local left = redis.call('HINCRBY', KEYS[2], integration, -n)
	if left <= 0 then redis.call('HDEL', KEYS[2], integration) end
	if integration == '0' then return end
	local cap = redis.call('HGET', KEYS[3], integration)
	if not cap then
		default = default or redis.call('HGET', KEYS[3], 'default') or 'none'
		cap = default
	end
	cap = tonumber(cap)
	-- Without control nobody knows who waits: a needless entry in the ring costs one visit.
	if cap and (left >= cap or left + n < cap) then return end
	for lane = 1, 3 do
		if redis.call('ZCOUNT', KEYS[3 + lane], integration, integration) > 0 then
			local newest = redis.call('ZRANGE', KEYS[6 + lane], -1, -1, 'WITHSCORES')
			redis.call('ZADD', KEYS[6 + lane], 'NX', tonumber(newest[2] or '0') + 1, integration)
		end
	end
end

local at, out = 1, {}
while ARGV[at] do
	local integration, k = ARGV[at], tonumber(ARGV[at + 1])
	local gone = redis.call('HDEL', KEYS[1], unpack(ARGV, at + 2, at + 1 + k))
	if gone > 0 then freed(integration, gone) end
	out[#out + 1] = gone
	at = at + 2 + k
end
return out
