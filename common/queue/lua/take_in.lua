-- take_in: events that partners sent -> ready, each at most once within a day.
-- KEYS 1-3 ready  4-6 ring  7 seq  8… seen, one for each event
-- ARGV 1 life of a seen key, ms, then for each event: lane integration bytes
--      bytes = " I HEADER\nPAYLOAD"
-- -> a text with a 1 for each event that was new, a 0 for each that was not
-- One key may stand there twice (a delivery that repeats itself): the second is not new.
local format = string.format
local count = #KEYS - 7
for key = 1, 6 do redis.call('ZCARD', KEYS[key]) end
local seq = redis.call('INCRBY', KEYS[7], count) - count

local add, ring, fresh = {{}, {}, {}}, {{}, {}, {}}, {}
for j = 1, count do
	if redis.call('SET', KEYS[7 + j], '1', 'NX', 'PX', ARGV[1]) then
		local lane, integration, list = tonumber(ARGV[3 * j - 1]), ARGV[3 * j]
		list = add[lane]
		list[#list + 1] = integration
		list[#list + 1] = format('1%014d', seq + j) .. ARGV[3 * j + 1]
		ring[lane][integration] = true
		fresh[j] = '1'
	else
		fresh[j] = '0'
	end
end
for lane = 1, 3 do
	if #add[lane] > 0 then
		redis.call('ZADD', KEYS[lane], unpack(add[lane]))
		local newest = redis.call('ZRANGE', KEYS[3 + lane], -1, -1, 'WITHSCORES')
		local turn, members = tonumber(newest[2] or '0'), {}
		for integration in pairs(ring[lane]) do
			turn = turn + 1
			members[#members + 1] = turn
			members[#members + 1] = integration
		end
		redis.call('ZADD', KEYS[3 + lane], 'NX', unpack(members))
	end
end
return table.concat(fresh)
