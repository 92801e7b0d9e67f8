-- claim: ready -> in flight, fairly and within the caps.
-- KEYS 1-3 queue  4-6 ready  7-9 ring  10 flight  11 busy  12 control  13 worker  14 fence  15 breakers  16 packed
-- ARGV 1 most jobs (<= 500)  2 epoch  3 first number of the lease ids  4 heartbeat ms  5 quantum
--      6 order of the lanes ("123")  7 "1": claim although raw pushes wait
-- -> {'none'}       control is missing: nothing was done
--    {'raw', bits}  public lanes (bit 0 high … bit 2 low) must be admitted first: nothing was done
--    {'ok', generation, partner cap, fence, in flight, rings left, passed over, (lane i k member*k)*}
-- Lease ids are epoch:number:lane:integration, numbered in the order of the answer, so that they
-- need not travel.  The ring is visited in turn, a quantum of jobs each; whoever is at its cap, paused or
-- out of jobs leaves it.  Caps come from control only: with caps in arguments, a rolling
-- upgrade would strand an integration that the other version never puts back.
-- Behind an open breaker nobody runs: those integrations leave the ring too, until it closes.  When its time is over one
-- job goes ahead, to probe.  control says which host an integration calls, and whether jobs may pass all the same (past).
-- A member may be a pack of several jobs (job.h): it is opened here, and each has a lease of its own.
local min, ceil, format = math.min, math.ceil, string.format
local byte, find, gsub, match, sub = string.byte, string.find, string.gsub, string.match, string.sub
local control = redis.call('HMGET', KEYS[12], 'gen', 'partner', 'default', 'host', 'past')
if not control[2] then return {'none'} end
if ARGV[7] ~= '1' and redis.call('EXISTS', KEYS[1], KEYS[2], KEYS[3]) > 0 then
	local bits = 0
	for lane = 1, 3 do
		local length = redis.pcall('LLEN', KEYS[lane])
		if type(length) == 'number' and length > 0 then bits = bits + 2 ^ (lane - 1) end
	end
	if bits > 0 then return {'raw', bits} end
end

local flying = redis.call('HLEN', KEYS[10])
local default = tonumber(control[3] or '0')
local n = min(tonumber(ARGV[1]), tonumber(control[2]) - flying)
local quantum, number = tonumber(ARGV[5]), tonumber(ARGV[3])
local full = n
local bytes, flight = 0, {}
local out = {'ok', control[1] or '0', control[2], 0, 0, 0, 0}
local passed = false

-- host -> 'shut', 'probe' (one job may go) or 'well', as far as it was asked for.  nil: there are no breakers.
local shut = not control[5] and redis.call('HLEN', KEYS[15]) > 0 and {}
local now = 0
if shut then
	local time = redis.call('TIME')
	now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function ask(hosts)
	local names, seen = {}, {}
	for j = 1, #hosts do
		local host = hosts[j]
		if host ~= '' and not shut[host] and not seen[host] then
			seen[host] = true
			names[#names + 1] = host
		end
	end
	if #names == 0 then return end
	local entries = redis.call('HMGET', KEYS[15], unpack(names))
	for j = 1, #names do
		local state, till = string.match(entries[j] or '', '^(%S+) (%d+)$')
		till = tonumber(till or '0')
		if state ~= 'open' and state ~= 'half_open' then
			shut[names[j]] = 'well'
		elseif now < till or state == 'open' and till == 0 then
			shut[names[j]] = 'shut'
		else
			shut[names[j]] = 'probe'
		end
	end
end

-- Of these, up to `most` who may run; who may not leaves the ring.  Of a host that is to be probed: one.
local function behind_none(ring, ids, most)
	local names, run, leave, probes, taken = {}, {}, {}, {}, {}
	for j = 1, #ids do names[j] = 'host:' .. ids[j] end
	local hosts = redis.call('HMGET', KEYS[12], unpack(names))
	for j = 1, #ids do hosts[j] = ids[j] ~= '0' and (hosts[j] or control[4]) or '' end
	ask(hosts)
	for j = 1, #ids do
		local host = hosts[j]
		local state = shut[host]
		if state == 'shut' then
			leave[#leave + 1] = ids[j]
		elseif #run < most and not (state == 'probe' and taken[host]) then
			run[#run + 1] = ids[j]
			if state == 'probe' then
				taken[host] = true
				probes[ids[j]] = host
			end
		end
	end
	if #leave > 0 then redis.call('ZREM', ring, unpack(leave)) end
	return run, probes
end

-- fewer jobs of the lane share a member with others.
local function unpacked(lane, integration, fewer)
	local key = KEYS[16]
	for _, field in ipairs({tostring(lane), lane .. ':' .. integration}) do
		if redis.call('HINCRBY', key, field, -fewer) <= 0 then redis.call('HDEL', key, field) end
	end
end

local digits = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}

-- The first `most` of the jobs that a member packs (job.h), appended to list; what is left of it, or nil.
local function open_pack(list, member, integration, count, most)
	local from, k = find(member, '\n', 1, true) + 1, #list
	local seq = tonumber(sub(member, 2, 15)) - 1
	local mid, tens, item = ' ' .. integration .. ' ', nil, nil
	for _ = 1, most do
		seq = seq + 1
		local last = seq % 10
		if last == 0 or not tens then tens = format('1%013d', (seq - last) / 10) end
		item, from = struct.unpack('>I4c0', member, from)
		k = k + 1
		list[k] = tens .. digits[last] .. mid .. item
	end
	if most == count then return end
	local front = format('1%014d', seq + 1) .. mid
	if count - most == 1 then return front .. struct.unpack('>I4c0', member, from) end
	return front .. format('x%d', count - most) .. match(member, '^%S+ %S+ %S+( %d+ %d+ %d+\n)')
		.. sub(member, from)
end

-- Up to `most` jobs of these members; how many members it needed, what is left of the last one, and by how much fewer
-- are packed.  One that cannot be opened counts as a job: the parser will say what is wrong with it.
local function open(got, integration, most)
	local at, jobs, fewer, members, rest = 18 + #integration, {}, 0, 0, nil
	while members < #got and #jobs < most do
		members = members + 1
		local member = got[members]
		local count = byte(member, at) == 120 and tonumber(match(member, '^x([1-9]%d*) ', at))
		local k, fits = #jobs, count and min(count, most - #jobs)
		local ok, left
		if count then ok, left = pcall(open_pack, jobs, member, integration, count, fits) end
		if ok then
			rest = left
			fewer = fewer + (fits == count - 1 and fits or min(fits, count - 1))
		else
			for j = #jobs, k + 1, -1 do jobs[j] = nil end
			jobs[k + 1] = member
		end
	end
	return jobs, members, rest, fewer
end

-- A key of another type is an error only while nothing was taken: what was taken would be lost with it.
local function read(...)
	local got = redis.pcall(...)
	if not got.err then return got end
	return #flight == 0 and redis.call(...) or {}
end

-- Takes up to `room` of the integration's oldest jobs; returns how many it got, and whether these are all.  Packs are
-- read a few at a time, and no more of them once the claim has its bytes.
local function take(lane, integration, room, packed)
	local ready, taken = KEYS[3 + lane], 0
	local lease = gsub(ARGV[2], '%%', '%%%%') .. ':%d:' .. lane .. ':' .. integration
	local o, most, got = #out, nil, nil
	out[o + 1], out[o + 2] = lane, integration
	repeat
		most = packed and ceil((room - taken) / 16) or room
		got = read('ZRANGEBYSCORE', ready, integration, integration, 'LIMIT', 0, most)
		if #got == 0 then break end
		local jobs, members, rest, fewer = open(got, integration, room - taken)
		if members < 50 then
			redis.call('ZREM', ready, unpack(got, 1, members))
		else -- by rank: as many names cost more than a look at where they stand
			local first = redis.call('ZCOUNT', ready, '-inf', '(' .. integration)
			redis.call('ZREMRANGEBYRANK', ready, first, first + members - 1)
		end
		if rest then redis.call('ZADD', ready, integration, rest) end
		if fewer > 0 then unpacked(lane, integration, fewer) end
		local f = #flight
		for j = 1, #jobs do
			local member = jobs[j]
			-- format with %d: Lua's own way from number to text costs three times as much.
			flight[f + 2 * j - 1] = format(lease, number)
			flight[f + 2 * j] = member
			out[o + 3 + taken + j] = member
			number = number + 1
			bytes = bytes + #member
		end
		taken = taken + #jobs
	until taken >= room or #got < most or bytes > 1048576
	if taken == 0 then
		out[o + 1], out[o + 2] = nil, nil
	else
		out[o + 3] = taken
	end
	return taken, taken < room and #got < most
end

-- Read once: most claims of children and delayed jobs meet none.
local packing = redis.call('HLEN', KEYS[16]) > 0

local function names_of(lane, ids)
	local names = {}
	for j = 1, #ids do names[j] = lane .. ':' .. ids[j] end
	return names
end

local function look(lane)
	local ring = KEYS[6 + lane]
	local visits = ceil(n / quantum)
	local ids, probes = read('ZRANGE', ring, 0, shut and 199 or visits - 1), nil
	if #ids == 0 then return false end
	if shut then
		ids, probes = behind_none(ring, ids, visits)
		if #ids == 0 then return true end
	end
	-- All there are fit in: equal shares are as fair, and take fewer looks.
	local share = #ids < visits and ceil(n / #ids) or quantum
	local busy = redis.call('HMGET', KEYS[11], unpack(ids))
	local caps = redis.call('HMGET', KEYS[12], unpack(ids))
	local packs = packing and redis.call('HMGET', KEYS[16], unpack(names_of(lane, ids)))
	local turn = tonumber(redis.call('ZRANGE', ring, -1, -1, 'WITHSCORES')[2])
	local leave, back, taken = {}, {}, {}
	for j = 1, #ids do
		local integration = ids[j]
		local mine = tonumber(busy[j] or '0')
		local room = n
		if integration ~= '0' then room = tonumber(caps[j] or default) - mine end
		local probed = probes and probes[integration]
		local want, got = probed and min(room, n, 1) or min(share, room, n), 0
		local all
		if want > 0 then got, all = take(lane, integration, want, packs and packs[j]) end
		if probed and got > 0 then
			shut[probed] = 'shut'
			redis.call('HSET', KEYS[15], probed, format('half_open %.0f', now + 5000))
		end
		if got > 0 then
			n = n - got
			taken[#taken + 1] = integration
			taken[#taken + 1] = mine + got
		end
		if all or (room - got <= 0 and integration ~= '0') then
			leave[#leave + 1] = integration
		else
			turn = turn + 1
			back[#back + 1] = turn
			back[#back + 1] = integration
		end
		if n <= 0 or bytes > 1048576 then break end
	end
	if #leave > 0 then redis.call('ZREM', ring, unpack(leave)) end
	if #back > 0 then redis.call('ZADD', ring, unpack(back)) end
	if #taken > 0 then redis.call('HSET', KEYS[11], unpack(taken)) end
	return true
end

for j = 1, 3 do
	local lane = tonumber(string.sub(ARGV[6], j, j))
	if n > 0 and bytes <= 1048576 then
		for _ = 1, 8 do
			if n <= 0 or bytes > 1048576 or not look(lane) then break end
		end
	elseif full > 0 and not passed then
		passed = redis.call('EXISTS', KEYS[6 + lane]) == 1
	end
end

if #flight > 0 then
	redis.call('HSET', KEYS[10], unpack(flight))
	-- The value stays when there is one: in {longshore} it describes the worker.
	if redis.call('PEXPIRE', KEYS[13], ARGV[4]) == 0 then
		redis.call('SET', KEYS[13], '1', 'PX', ARGV[4])
	end
	out[4] = redis.call('INCR', KEYS[14])
end
out[5] = flying + #flight / 2
out[6] = redis.call('EXISTS', KEYS[7], KEYS[8], KEYS[9])
out[7] = passed and 1 or 0
return out
