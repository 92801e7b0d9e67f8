-- admit: raw pushes of one public lane -> ready.  Atomic, in slices, no lease.
-- KEYS 1 queue  2 ready  3 ring  4 seq  5 packed
-- ARGV 1 most jobs  2 most bytes  3 lane
-- -> {moved, left}; left = length of the public lane afterwards
-- Pops by five and looks at the bytes, so that a few 1 MiB jobs do not hold Redis for long; by up to twenty while the
-- jobs so far are small, about 16 KiB at once (fewer calls: a fifth off the cost of a job).  The
-- integration found here is a hint that only routes: the worker's parser decides when it has claimed.
-- Those of one integration that are popped together share a member (a pack, job.h): that is half of a job's cost here,
-- and half of its memory.
local format, find, match, sub = string.format, string.find, string.match, string.sub
local pack, concat, seen = struct.pack, table.concat, {}

local function hint(payload)
	local head = #payload > 4096 and sub(payload, 1, 4096) or payload
	local _, last = find(head, '"integration_id"', 1, true)
	local digits = last and match(head, '^%s*:%s*0*(%d+)', last + 1)
	return digits and #digits <= 15 and digits or '0'
end

-- A key of the wrong type must fail before the first pop, not after it.
redis.call('ZCARD', KEYS[2])
redis.call('HLEN', KEYS[5])
assert(tonumber(redis.call('GET', KEYS[4]) or 0), KEYS[4] .. ' is no number')
local newest = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
local turn = tonumber(newest[2] or '0')
local length = redis.call('LLEN', KEYS[1])
local most, room = math.min(length, tonumber(ARGV[1])), tonumber(ARGV[2])
local bytes = room
if most <= 0 then return {0, length} end

local time = redis.call('TIME')
local born = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
-- With %d: printing a double as one is what would cost most here.
local head = format('%x-%%x 0 0 %s\n', time[1] * 1000000 + time[2], born)
local moved, seq, ring, packed, all = 0, nil, {}, {}, 0
while moved < most and room > 0 do
	local pops = math.max(5, math.min(20, math.floor(16384 * moved / (bytes - room + 1))))
	local raw = redis.call('RPOP', KEYS[1], math.min(pops, most - moved))
	-- Numbers not used because of the bytes' limit are lost; gaps do no harm.
	seq = seq or redis.call('INCRBY', KEYS[4], most) - most
	local lists, sizes, order = {}, {}, {}
	for j = 1, #raw do
		local payload = raw[j]
		local integration = hint(payload)
		local list = lists[integration]
		if not list then
			list = {}
			lists[integration], sizes[integration] = list, 0
			order[#order + 1] = integration
		end
		list[#list + 1] = payload
		sizes[integration] = sizes[integration] + #payload
		room = room - #payload
	end
	local add = {}
	for o = 1, #order do
		local integration = order[o]
		local list = lists[integration]
		local k, a = #list, #add
		if k == 1 or sizes[integration] > 32768 then
			local before = ' ' .. integration .. ' '
			for j = 1, k do
				seq = seq + 1
				add[a + 1] = integration
				add[a + 2] = format('1%014d', seq) .. before .. format(head, seq) .. list[j]
				a = a + 2
			end
		else
			local parts = {format('1%014d %s x%d 0 0 %s\n', seq + 1, integration, k, born)}
			for j = 1, k do
				seq = seq + 1
				local header = format(head, seq)
				parts[3 * j - 1] = pack('>I4', #header + #list[j])
				parts[3 * j] = header
				parts[3 * j + 1] = list[j]
			end
			add[a + 1] = integration
			add[a + 2] = concat(parts)
			packed[integration] = (packed[integration] or 0) + k - 1
			all = all + k - 1
		end
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
if all > 0 then
	for integration, n in pairs(packed) do redis.call('HINCRBY', KEYS[5], ARGV[3] .. ':' .. integration, n) end
	redis.call('HINCRBY', KEYS[5], ARGV[3], all)
end
return {moved, length - moved}
