-- admit: raw pushes of one public lane -> ready.  Atomic, in slices, no lease.
-- KEYS 1 queue  2 ready  3 ring  4 seq
-- ARGV 1 most jobs  2 most bytes
-- -> {moved, left}; left = length of the public lane afterwards
-- Pops by five and looks at the bytes, so that a few 1 MiB jobs do not hold Redis for long; by up to twenty while the
-- jobs so far are small, about 16 KiB at once (fewer calls: a fifth off the cost of a job).  The
-- integration found here is a hint that only routes: the worker's parser decides when it has claimed.
local format, find, match, sub = string.format, string.find, string.match, string.sub

local function hint(payload)
	local head = #payload > 4096 and sub(payload, 1, 4096) or payload
	local _, last = find(head, '"integration_id"', 1, true)
	local digits = last and match(head, '^%s*:%s*0*(%d+)', last + 1)
	return digits and #digits <= 15 and digits or '0'
end

-- A key of the wrong type must fail before the first pop, not after it.
redis.call('ZCARD', KEYS[2])
local newest = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
local turn = tonumber(newest[2] or '0')
local length = redis.call('LLEN', KEYS[1])
local most, room = math.min(length, tonumber(ARGV[1])), tonumber(ARGV[2])
local bytes = room
if most <= 0 then return {0, length} end

local time = redis.call('TIME')
local born = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
-- With %d: printing a double as one is what would cost most here.
local head = format('1%%014d %%s %x-%%x 0 0 %s\n', time[1] * 1000000 + time[2], born)
local moved, seq, seen, ring = 0, nil, {}, {}
while moved < most and room > 0 do
	local pops = math.max(5, math.min(20, math.floor(16384 * moved / (bytes - room + 1))))
	local raw = redis.call('RPOP', KEYS[1], math.min(pops, most - moved))
	-- Numbers not used because of the bytes' limit are lost; gaps do no harm.
	seq = seq or redis.call('INCRBY', KEYS[4], most) - most
	local add = {}
	for j = 1, #raw do
		local payload = raw[j]
		local integration = hint(payload)
		seq = seq + 1
		add[2 * j - 1] = integration
		add[2 * j] = format(head, seq, integration, seq) .. payload
		room = room - #payload
		if not seen[integration] then
			seen[integration] = true
			turn = turn + 1
			ring[#ring + 1] = turn
			ring[#ring + 1] = integration
		end
	end
	redis.call('ZADD', KEYS[2], unpack(add))
	moved = moved + #raw
end
redis.call('ZADD', KEYS[3], 'NX', unpack(ring))
return {moved, length - moved}
