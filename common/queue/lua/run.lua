-- run: what ended in other slots changes the runs at home here; each entry once.
-- KEYS 1 ended  2… for each: seen, run
-- ARGV 1 life of a seen key, ms  2 life of a run, ms, then for each: run  "FATE ID KID…"
--      FATE goes (its children join); done, dead, dropped (it leaves too); left (a root that was
--      buried leaves, uncounted)
-- -> entries that were new
-- A job that is not among the open ones changes nothing; the last one to leave notes the end.
local match, gmatch = string.match, string.gmatch

local function note_end(set, run)
	local open = redis.call('HLEN', set)
	if open > 3 then return end
	local n = redis.call('HMGET', set, 'n done', 'n dead', 'n dropped')
	for j = 1, 3 do if n[j] then open = open - 1 end end
	if open > 0 then return end
	if type(redis.pcall('HLEN', KEYS[1])) ~= 'number' then redis.call('DEL', KEYS[1]) end
	local time = redis.call('TIME')
	redis.call('HSET', KEYS[1], run, string.format('%.0f %s %s %s',
		time[1] * 1000 + math.floor(time[2] / 1000), n[1] or 0, n[2] or 0, n[3] or 0))
	redis.call('DEL', set)
end

local function change(set, run, text)
	local fate, id, kids = match(text, '^(%S+) (%S+)(.*)$')
	local there = redis.pcall(fate == 'goes' and 'HEXISTS' or 'HDEL', set, id)
	if there ~= 1 then return end
	if fate ~= 'goes' and fate ~= 'left' then redis.call('HINCRBY', set, 'n ' .. fate, 1) end
	local joined = false
	for kid in gmatch(kids, '%S+') do
		redis.call('HSET', set, kid, '')
		joined = true
	end
	if joined then redis.call('PEXPIRE', set, ARGV[2]) else note_end(set, run) end
end

local new = 0
for j = 1, (#ARGV - 2) / 2 do
	local seen, set = KEYS[2 * j], KEYS[2 * j + 1]
	if redis.call('SET', seen, '1', 'NX', 'PX', ARGV[1]) then
		change(set, ARGV[2 * j + 1], ARGV[2 * j + 2])
		new = new + 1
	end
end
return new
