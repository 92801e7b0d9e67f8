-- reap: in flight -> ready again, for leases whose worker is gone, or that it never learned of.
-- KEYS 1 worker  2 flight  3 busy  4-6 ready  7-9 ring
-- ARGV 1 "dead": only while the worker's heartbeat is missing; "own": the worker gives back itself
--      2 most bytes  3… leases of that worker's epoch
-- -> {leases looked at, given back}, or {-1, 0}: the worker is alive
-- A missing heartbeat means "again", never "crashed": nothing is charged.
if ARGV[1] == 'dead' and redis.call('EXISTS', KEYS[1]) == 1 then return {-1, 0} end
for key = 4, 9 do redis.call('ZCARD', KEYS[key]) end
redis.call('HLEN', KEYS[3])

local room, back, at = tonumber(ARGV[2]), 0, 3
local touched = {}
while ARGV[at] and room > 0 do
	local lease = ARGV[at]
	local member = redis.call('HGET', KEYS[2], lease)
	local lane, integration = string.match(lease, ':([123]):(%d+)$')
	if member and lane then
		redis.call('HDEL', KEYS[2], lease)
		if redis.call('HINCRBY', KEYS[3], integration, -1) <= 0 then
			redis.call('HDEL', KEYS[3], integration)
		end
		redis.call('ZADD', KEYS[3 + lane], integration, '0' .. string.sub(member, 2))
		touched[integration] = true
		room = room - #member
		back = back + 1
	end
	at = at + 1
end
-- A slot is free in every lane of these integrations; entries that are not needed cost one visit.
for integration in pairs(touched) do
	for lane = 1, 3 do
		if redis.call('ZCOUNT', KEYS[3 + lane], integration, integration) > 0 then
			local newest = redis.call('ZRANGE', KEYS[6 + lane], -1, -1, 'WITHSCORES')
			redis.call('ZADD', KEYS[6 + lane], 'NX', tonumber(newest[2] or '0') + 1, integration)
		end
	end
end
return {at - 3, back}
