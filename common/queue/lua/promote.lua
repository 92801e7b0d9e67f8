-- promote: delayed -> ready, what is due, in order of the due time.
-- KEYS 1 delayed  2-4 ready  5-7 ring  8 seq
-- ARGV 1 most jobs  2 most bytes
-- -> {moved, due ms of the first that stays or "", now ms}
-- A job gets a new number, so that what was due first runs first, and " since=DUE" in its
-- header: its age counts from when it could run.
local format, find, match, sub, gsub = string.format, string.find, string.match, string.sub, string.gsub

for key = 2, 7 do redis.call('ZCARD', KEYS[key]) end
assert(tonumber(redis.call('GET', KEYS[8]) or 0), KEYS[8] .. ' is no number')
local time = redis.call('TIME')
local now = format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local most, room, moved = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
local turns, seen = {}, {{}, {}, {}}

local function enter(lane, integration)
	if seen[lane][integration] then return end
	seen[lane][integration] = true
	local ring = KEYS[4 + lane]
	if not turns[lane] then
		turns[lane] = tonumber(redis.call('ZRANGE', ring, -1, -1, 'WITHSCORES')[2] or '0')
	end
	turns[lane] = turns[lane] + 1
	redis.call('ZADD', ring, 'NX', turns[lane], integration)
end

-- Something a hand put there is run as a payload: the parser will say what is wrong with it.
local function split(member)
	local lane, integration, from = match(member, '^D([123]) %d%d%d%d%d%d%d%d%d%d%d%d%d%d%d (%d+) ()')
	local newline = lane and find(member, '\n', from, true)
	if not newline then return 2, '0', 'hand 0 0 ' .. now, '\n' .. member end
	return tonumber(lane), integration, sub(member, from, newline - 1), sub(member, newline)
end

while moved < most and room > 0 do
	local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0,
		math.min(10, most - moved))
	if #due == 0 then break end
	local gone, k = {}, #due / 2
	for j = 1, k do gone[j] = due[2 * j - 1] end
	redis.call('ZREM', KEYS[1], unpack(gone))
	local seq = redis.call('INCRBY', KEYS[8], k) - k
	local add = {{}, {}, {}}
	for j = 1, k do
		local lane, integration, header, payload = split(gone[j])
		if find(header, ' since=', 1, true) then header = gsub(header, ' since=%d+', '') end
		local list = add[lane]
		list[#list + 1] = integration
		list[#list + 1] = format('1%014.0f ', seq + j) .. integration .. ' ' .. header
			.. ' since=' .. format('%.0f', tonumber(due[2 * j])) .. payload
		enter(lane, integration)
		room = room - #gone[j]
	end
	for lane = 1, 3 do
		if #add[lane] > 0 then redis.call('ZADD', KEYS[1 + lane], unpack(add[lane])) end
	end
	moved = moved + k
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {moved, first[2] and format('%.0f', tonumber(first[2])) or '', now}
