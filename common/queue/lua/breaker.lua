-- breaker: outcomes of calls to one host of a partner; opens, closes or opens it again.
-- KEYS 1 the host's breaker  2 the partner's index
-- ARGV 1 host  2 outcome of this call: failed, ok, none  3 the probe's token, or ""  4 why it failed
--      5 failures in a row that open it  6 share in thousandths  7 calls that a share needs
--      8 slot ms (six make the window)  9 open ms  10 longest open ms  11 slow start ms
--      then (slot, successes)*: what this process has not told yet
-- -> {state, until ms, opens, failures, 1 if the state changed}
-- The index holds whatever is not simply closed: HOST -> "STATE UNTIL"; claim reads it alone.
-- Calls that were under way when it opened are told too late to matter.
local format, floor, min = string.format, math.floor, math.min
local function text(n) return format('%.0f', n) end

local time = redis.call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
local host, outcome, token, why = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local slot_ms = tonumber(ARGV[8])
local b = redis.call('HMGET', KEYS[1], 'state', 'until', 'opens', 'failures', 'probe')
local state, till = b[1] or 'closed', tonumber(b[2] or '0')
local opens, failures = tonumber(b[3] or '0'), tonumber(b[4] or '0')

local function enter(new, at)
	redis.call('DEL', KEYS[1])
	redis.call('HSET', KEYS[1], 'state', new, 'since', text(now), 'until', text(at), 'opens', opens,
		'failures', failures, 'why', why)
	redis.call('HSET', KEYS[2], host, new .. ' ' .. text(at))
	state, till = new, at
end

local function open()
	opens = opens + 1
	local ms = min(tonumber(ARGV[9]) * 2 ^ min(opens - 1, 20), tonumber(ARGV[10]))
	enter('open', now + ms)
	-- Whoever has work probes long before: a breaker that nobody needs is forgotten.
	redis.call('PEXPIRE', KEYS[1], text(ms + 86400000))
	return {state, till, opens, failures, 1}
end

if state ~= 'closed' then
	if token == '' or b[5] ~= token then
		-- Whoever did not know of it has an index that was lost.
		redis.call('HSETNX', KEYS[2], host, state .. ' ' .. text(till))
		return {state, till, opens, failures, 0}
	end
	if outcome == 'failed' then
		failures = failures + 1
		return open()
	end
	if outcome == 'none' then
		-- The probe came to nothing: another may go, but not a thousand of them at once.
		till = now + 1000
		redis.call('HDEL', KEYS[1], 'probe')
		redis.call('HSET', KEYS[1], 'until', text(till))
		redis.call('HSET', KEYS[2], host, state .. ' ' .. text(till))
		return {state, till, opens, failures, 0}
	end
	failures, why = 0, ''
	local ramp = tonumber(ARGV[11])
	enter('closed', ramp > 0 and now + ramp or 0)
	redis.call('PEXPIRE', KEYS[1], text(ramp + 6 * slot_ms))
	return {state, till, opens, failures, 1}
end

-- Closed.  What happened since the slow start ended well begins anew.
if till <= now then opens = 0 end
local this = floor(now / slot_ms)
local good, bad, told = 0, 0, 0
for j = 12, #ARGV - 1, 2 do
	local slot, n = tonumber(ARGV[j]), tonumber(ARGV[j + 1])
	told = told + n
	if slot > this - 6 and slot <= this then redis.call('HINCRBY', KEYS[1], 'ok:' .. text(slot), n) end
end
if outcome == 'failed' then
	failures = (told > 0 and 0 or failures) + 1
	redis.call('HINCRBY', KEYS[1], 'bad:' .. text(this), 1)
elseif told > 0 or outcome == 'ok' then
	failures = 0
end
local all = redis.call('HGETALL', KEYS[1])
for j = 1, #all, 2 do
	local kind, slot = string.match(all[j], '^(%a+):(%d+)$')
	if kind and tonumber(slot) <= this - 6 then
		redis.call('HDEL', KEYS[1], all[j])
	elseif kind == 'ok' then
		good = good + all[j + 1]
	elseif kind == 'bad' then
		bad = bad + all[j + 1]
	end
end
if outcome == 'failed' and (failures >= tonumber(ARGV[5])
	or good + bad >= tonumber(ARGV[7]) and bad * 1000 >= (good + bad) * tonumber(ARGV[6])) then
	return open()
end
redis.call('HSET', KEYS[1], 'state', 'closed', 'failures', failures, 'opens', opens)
if outcome == 'failed' then redis.call('HSET', KEYS[1], 'why', why) end
redis.call('PEXPIRE', KEYS[1], text(math.max(till - now, 0) + 6 * slot_ms))
redis.call('HSET', KEYS[2], host, 'closed ' .. text(till))
return {state, till, opens, failures, 0}
