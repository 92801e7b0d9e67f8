-- depth: how much of everything, and how old.  Reads only.
-- KEYS 1-3 queue  4-6 ready  7-9 ring  10 delayed  11 flight  12 dead  13 packed
-- -> {delayed, in flight, dead, (ready, oldest age ms)*3}
-- Age is that of jobs that could run: the oldest of up to 64 integrations of the ring, those that have
-- waited longest for their turn first; where the ring is empty (all at their cap), of the first one.
local match, find, sub = string.match, string.find, string.sub
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function age(member)
	local header = sub(member, 1, (find(member, '\n', 1, true) or 1) - 1)
	local since = match(header, ' since=(%d+)') or match(header, '^%d+ %d+ %S+ %d+ %d+ (%d+)')
	return since and math.max(0, now - tonumber(since)) or 0
end

local function oldest(ready, ring)
	local ids, bytes, most = redis.call('ZRANGE', ring, 0, 63), 0, 0
	for j = 1, #ids do
		local first = redis.call('ZRANGEBYSCORE', ready, ids[j], ids[j], 'LIMIT', 0, 1)[1]
		if first then
			most = math.max(most, age(first))
			bytes = bytes + #first
		end
		if bytes > 262144 then break end
	end
	if #ids == 0 then
		local first = redis.call('ZRANGE', ready, 0, 0)[1]
		if first then most = age(first) end
	end
	return most
end

local out = {redis.call('ZCARD', KEYS[10]), redis.call('HLEN', KEYS[11]), redis.call('ZCARD', KEYS[12])}
for lane = 1, 3 do
	local raw = redis.pcall('LLEN', KEYS[lane])
	if type(raw) ~= 'number' then raw = 0 end
	local members = redis.call('ZCARD', KEYS[3 + lane])
	if members > 0 then members = members + (tonumber(redis.call('HGET', KEYS[13], lane) or '0')) end
	out[#out + 1] = raw + members
	out[#out + 1] = oldest(KEYS[3 + lane], KEYS[6 + lane])
end
return out
