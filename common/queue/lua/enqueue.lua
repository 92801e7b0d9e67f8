-- enqueue: new jobs -> ready or delayed; from an outbox each at most once.
-- KEYS 1-3 ready  4-6 ring  7 seq  8 delayed  9… seen, one for each job, or none at all
-- ARGV 1 life of a seen key, ms, then for each job: lane integration run_at bytes
--      bytes = " I HEADER\nPAYLOAD"; run_at 0 = now
-- -> jobs that were new
local format = string.format
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for key = 1, 6 do redis.call('ZCARD', KEYS[key]) end
redis.call('ZCARD', KEYS[8])

local count = (#ARGV - 1) / 4
local seq = redis.call('INCRBY', KEYS[7], count) - count
local ready, rings, delayed, new = {{}, {}, {}}, {{}, {}, {}}, {}, 0
for j = 1, count do
	local lane, integration, run_at, bytes = unpack(ARGV, 4 * j - 2, 4 * j + 1)
	local seen = KEYS[8 + j]
	if not seen or redis.call('SET', seen, '1', 'NX', 'PX', ARGV[1]) then
		local member = format('1%014.0f', seq + j) .. bytes
		local list = ready[tonumber(lane)]
		if tonumber(run_at) > now then
			delayed[#delayed + 1] = run_at
			delayed[#delayed + 1] = 'D' .. lane .. ' ' .. member
		else
			list[#list + 1] = integration
			list[#list + 1] = member
			rings[tonumber(lane)][integration] = true
		end
		new = new + 1
	end
end
for lane = 1, 3 do
	if #ready[lane] > 0 then redis.call('ZADD', KEYS[lane], unpack(ready[lane])) end
	local newest = redis.call('ZRANGE', KEYS[3 + lane], -1, -1, 'WITHSCORES')
	local turn = tonumber(newest[2] or '0')
	for integration in pairs(rings[lane]) do
		turn = turn + 1
		redis.call('ZADD', KEYS[3 + lane], 'NX', turn, integration)
	end
end
if #delayed > 0 then redis.call('ZADD', KEYS[8], unpack(delayed)) end
return new
