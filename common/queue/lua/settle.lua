-- settle: in flight -> gone, ready again, delayed or dead, with the job's children; all or nothing
-- for each job.  A lease that is not there any more settles nothing.
-- KEYS 1 flight  2 busy  3 control  4-6 ready  7-9 ring  10 delayed  11 dead  12 outbox  13 seq  14 packed
--      15… for each job: unique, idem; run and ended; result
-- ARGV for each job: lease integration nops (op lane integration number bytes)*nops
--   op again   bytes = header                       back into ready, before new jobs
--      delay   bytes = header, number = due ms
--      dead    bytes = letter, number = failed_at ms
--      child   number = run_at ms, 0 = now; bytes = children alike, packed: how many, then of each its
--              length and "HEADER\nPAYLOAD"; numbers are 4 bytes, the highest first
--      outbox  bytes = entry, for another partner's slot
--      key     lane = index in KEYS, integration = D succeeded, X freed or W waits, number = life
--              ms, bytes = the job's id; unique.lua has the value's form
--      run     lane = index of run and ended in KEYS, integration = run, number = 0 descendant, 1 root,
--              2 root whose end is asked for, bytes = "FATE ID KID…" as run.lua has it
--      result  lane = index in KEYS, number = life ms, bytes = the value
-- -> 1 or 0 for each job
-- The payload never travels back: it is cut out of what stands in flight.
local format, find, sub = string.format, string.find, string.sub
local default

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
	if cap and (left >= cap or left + n < cap) then return end
	for lane = 1, 3 do
		if redis.call('ZCOUNT', KEYS[3 + lane], integration, integration) > 0 then
			local newest = redis.call('ZRANGE', KEYS[6 + lane], -1, -1, 'WITHSCORES')
			redis.call('ZADD', KEYS[6 + lane], 'NX', tonumber(newest[2] or '0') + 1, integration)
		end
	end
end

-- unpack has a limit of some thousands: long lists go in pieces.
local function each(command, key, list)
	for from = 1, #list, 1000 do
		redis.call(command, key, unpack(list, from, math.min(from + 999, #list)))
	end
end

-- Keys of the wrong type must fail before the first write.
for key = 4, 11 do redis.call('ZCARD', KEYS[key]) end
redis.call('LLEN', KEYS[12])
redis.call('HLEN', KEYS[14])

local ready, rings = {{}, {}, {}}, {{}, {}, {}}
local delayed, dead, outbox = {}, {}, {}
local held, free, out = {}, {}, {}
local children, keys, notes = {}, {}, {}
local packed = {{}, {}, {}}

local function push(list, score, member)
	list[#list + 1] = score
	list[#list + 1] = member
end

-- The member as it stands in flight, under a new class, integration and header.
local function again(member, class, integration, header)
	local newline = find(member, '\n', 1, true)
	return class .. sub(member, 2, 15) .. ' ' .. integration .. ' ' .. header
		.. (newline and sub(member, newline) or '\n')
end

local function apply(member, at)
	local op, lane, integration, number, bytes = unpack(ARGV, at, at + 4)
	if op == 'again' then
		lane = tonumber(lane)
		push(ready[lane], integration, again(member, '0', integration, bytes))
		rings[lane][integration] = true
	elseif op == 'delay' then
		push(delayed, number, 'D' .. lane .. ' ' .. again(member, '1', integration, bytes))
	elseif op == 'dead' then
		push(dead, number, bytes)
	elseif op == 'outbox' then
		outbox[#outbox + 1] = bytes
	elseif op == 'key' then
		keys[#keys + 1] = at
	elseif op == 'run' or op == 'result' then
		notes[#notes + 1] = at
	else
		children[#children + 1] = at
	end
end

-- A key whose owner, or follower, is this job; anybody else's is left alone.
local function settle_key(name, fate, life, id)
	local value = redis.pcall('GET', name)
	if type(value) ~= 'string' then return end
	local state, born, owner, more, label = string.match(value, '^([RW]) (%d+) (%S+) (%S+) (.*)$')
	if not state then return end
	local next_born, next_id = string.match(more, '^(%d+),(.+)$')
	if owner == id and next_id then
		value = 'W ' .. next_born .. ' ' .. next_id .. ' - ' .. next_id
		redis.call('SET', name, value, 'PX', 86400000)
	elseif owner == id and fate == 'X' then
		redis.call('DEL', name)
	elseif owner == id then
		more = '-'
		if fate == 'D' then
			local time = redis.call('TIME')
			more = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
		end
		value = fate .. ' ' .. born .. ' ' .. id .. ' ' .. more .. ' ' .. label
		redis.call('SET', name, value, 'PX', life)
	elseif next_id == id and fate ~= 'W' then
		redis.call('SET', name, state .. ' ' .. born .. ' ' .. owner .. ' - ' .. label, 'KEEPTTL')
	end
end

-- Delayed ones stand alone; a number is printed for ten of them.
local digits = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}
local function bear_later(lane, integration, due, bytes, seq)
	local before, mid = 'D' .. lane .. ' ', ' ' .. integration .. ' '
	local count, from = struct.unpack('>I4', bytes)
	local tens, item
	for _ = 1, count do
		seq = seq + 1
		local last = seq % 10
		if last == 0 or not tens then tens = before .. format('1%013d', (seq - last) / 10) end
		item, from = struct.unpack('>I4c0', bytes, from)
		push(delayed, due, tens .. digits[last] .. mid .. item)
	end
	return seq
end

-- Those that may run stand in packs of twenty (job.h), cut out of the argument as they are.
local function bear_ready(lane, integration, bytes, seq)
	local mid, list = ' ' .. integration .. ' ', ready[lane]
	local count, from = struct.unpack('>I4', bytes)
	rings[lane][integration] = true
	while count > 0 do
		local at, k = from, 0
		repeat
			local length = struct.unpack('>I4', bytes, at)
			if k > 0 and at + length - from > 32768 then break end
			at, k = at + 4 + length, k + 1
		until k == 20 or k == count
		local front = format('1%014d', seq + 1) .. mid
		if k == 1 then
			push(list, integration, front .. sub(bytes, from + 4, at - 1))
		else
			local born = string.match(bytes, '^%S+ %d+ %d+ (%d+)', from + 4)
			push(list, integration, front .. format('x%d 0 0 %s\n', k, born) .. sub(bytes, from, at - 1))
			local own = packed[lane]
			own[integration] = (own[integration] or 0) + k - 1
		end
		seq, count, from = seq + k, count - k, at
	end
	return seq
end

local function bear(op_at, seq)
	local _, lane, integration, number, bytes = unpack(ARGV, op_at, op_at + 4)
	if number == '0' then return bear_ready(tonumber(lane), integration, bytes, seq) end
	return bear_later(lane, integration, number, bytes, seq)
end

local function note_end(set, ended, run)
	local open = redis.call('HLEN', set)
	if open > 3 then return end
	local n = redis.call('HMGET', set, 'n done', 'n dead', 'n dropped')
	for j = 1, 3 do if n[j] then open = open - 1 end end
	if open > 0 then return end
	if type(redis.pcall('HLEN', ended)) ~= 'number' then redis.call('DEL', ended) end
	local time = redis.call('TIME')
	redis.call('HSET', ended, run, format('%.0f %s %s %s',
		time[1] * 1000 + math.floor(time[2] / 1000), n[1] or 0, n[2] or 0, n[3] or 0))
	redis.call('DEL', set)
end

-- The open jobs of a run that is at home here: this one leaves, or goes on; its children join.
-- A descendant that is not among them changes nothing, nor does a root on which nothing hangs.
local function change_run(set, ended, run, who, text)
	local fate, id, kids = string.match(text, '^(%S+) (%S+)(.*)$')
	local goes_on = fate == 'goes'
	local there = redis.pcall(goes_on and 'HEXISTS' or 'HDEL', set, id)
	if type(there) ~= 'number' then -- of another type: none of ours
		redis.call('DEL', set)
		there = 0
	end
	if there == 0 and (who == '0' or (who == '1' and kids == '')) then return end
	if goes_on and there == 0 then kids = kids .. ' ' .. id end
	if not goes_on and who == '0' then redis.call('HINCRBY', set, 'n ' .. fate, 1) end
	local fields = {}
	for kid in string.gmatch(kids, '%S+') do push(fields, kid, '') end
	if #fields > 0 then
		each('HSET', set, fields)
		redis.call('PEXPIRE', set, 2592000000)
	elseif not goes_on then
		note_end(set, ended, run)
	end
end

local at = 1
while ARGV[at] do
	local lease, integration, nops = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
	local op = ARGV[at + 3]
	local member
	if op == 'again' or op == 'delay' then
		member = redis.call('HGET', KEYS[1], lease)
	else
		member = redis.call('HEXISTS', KEYS[1], lease) == 1
	end
	if member then
		held[#held + 1] = lease
		free[integration] = (free[integration] or 0) + 1
		for j = 0, nops - 1 do apply(member, at + 3 + 5 * j) end
	end
	out[#out + 1] = member and 1 or 0
	at = at + 3 + 5 * nops
end
if #held == 0 then return out end
if #children > 0 then assert(tonumber(redis.call('GET', KEYS[13]) or 0), KEYS[13] .. ' is no number') end

-- The first write is one that a full Redis allows; what follows then may not be refused.
each('HDEL', KEYS[1], held)
if #children > 0 then
	local count = 0
	for j = 1, #children do count = count + struct.unpack('>I4', ARGV[children[j] + 4]) end
	local seq = redis.call('INCRBY', KEYS[13], count) - count
	for j = 1, #children do seq = bear(children[j], seq) end
end
for lane = 1, 3 do
	each('ZADD', KEYS[3 + lane], ready[lane])
	local all = 0
	for integration, n in pairs(packed[lane]) do
		redis.call('HINCRBY', KEYS[14], lane .. ':' .. integration, n)
		all = all + n
	end
	if all > 0 then redis.call('HINCRBY', KEYS[14], lane, all) end
	local newest = redis.call('ZRANGE', KEYS[6 + lane], -1, -1, 'WITHSCORES')
	local turn = tonumber(newest[2] or '0')
	for integration in pairs(rings[lane]) do
		turn = turn + 1
		redis.call('ZADD', KEYS[6 + lane], 'NX', turn, integration)
	end
end
each('ZADD', KEYS[10], delayed)
each('ZADD', KEYS[11], dead)
each('LPUSH', KEYS[12], outbox)
for j = 1, #keys do
	local _, index, fate, life, id = unpack(ARGV, keys[j], keys[j] + 4)
	settle_key(KEYS[tonumber(index)], fate, life, id)
end
for j = 1, #notes do
	local op, index, run, number, bytes = unpack(ARGV, notes[j], notes[j] + 4)
	index = tonumber(index)
	if op == 'run' then
		change_run(KEYS[index], KEYS[index + 1], run, number, bytes)
	else
		redis.call('SET', KEYS[index], bytes, 'PX', number)
	end
end
for integration, n in pairs(free) do freed(integration, n) end
return out
