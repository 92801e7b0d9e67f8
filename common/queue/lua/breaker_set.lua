-- breaker_set: opens or closes a host's breaker by hand; or, "tick", carries on what time has decided.
-- KEYS 1 the host's breaker  2 the partner's index
-- ARGV 1 host  2 open, close or tick  3 open: ms, 0 = until it is closed by hand; close: slow start ms  4 why
-- -> {state, until ms, 1: jobs may run now that could not: put them into the rings}
local function text(n) return string.format('%.0f', n) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local host, op, ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local b = redis.call('HMGET', KEYS[1], 'state', 'until', 'probe')
local state, till = b[1] or 'closed', tonumber(b[2] or '0')

local function enter(new, at, life)
	redis.call('DEL', KEYS[1])
	redis.call('HSET', KEYS[1], 'state', new, 'since', text(now), 'until', text(at), 'opens', 0,
		'failures', 0, 'why', ARGV[4])
	if life > 0 then redis.call('PEXPIRE', KEYS[1], text(life)) end
	redis.call('HSET', KEYS[2], host, new .. ' ' .. text(at))
end

if op == 'open' then
	till = ms > 0 and now + ms or 0
	enter('open', till, ms > 0 and ms + 86400000 or 0)
	redis.call('HSET', KEYS[1], 'hand', '1')
	return {'open', till, 0}
end
if op == 'close' then
	till = ms > 0 and now + ms or 0
	enter('closed', till, ms + 60000)
	return {'closed', till, 1}
end

if state == 'open' then
	if till == 0 or now < till then return {state, till, 0} end
	redis.call('HSET', KEYS[1], 'state', 'half_open', 'since', text(now))
	-- A job that was claimed for the probe in this very moment keeps its place.
	if not string.find(redis.call('HGET', KEYS[2], host) or '', '^half_open') then
		redis.call('HSET', KEYS[2], host, 'half_open ' .. text(till))
	end
	return {'half_open', till, 1}
end
if state == 'half_open' then
	local shown = tonumber(string.match(redis.call('HGET', KEYS[2], host) or '', ' (%d+)$') or '0')
	return {state, till, now >= math.max(till, shown) and 1 or 0}
end
-- Closed: done with the slow start, or forgotten.  The walk heals what a process that died while it closed it left undone.
if till > now then return {state, till, 0} end
if till > 0 then redis.call('HSET', KEYS[1], 'until', 0, 'opens', 0) end
if not b[1] then
	redis.call('HDEL', KEYS[2], host)
	return {state, 0, 1}
end
redis.call('HSET', KEYS[2], host, 'closed 0')
return {state, 0, till > 0 and 1 or 0}
