-- learn: what is known of one scope's limits beside the manifest: set by hand, stated by headers, met by refusals.
-- KEYS 1 set  2 the partner's index of what was set by hand
-- ARGV 1 the scope's name, then (op, window us, a, b)…
-- op: h set by hand: a calls, 0 = no longer | t a header stated a calls, b of them are ours; b 0: not fewer than the manifest's
--     m refused when a calls were counted in the window
-- -> how many limits in force changed
-- In force is what was set by hand; else what was stated, where that is lower; else the manifest's (no field).
local STATED_LIFE_MS, MEMORY_MS = 86400000, 30 * 86400000
local function text(n) return string.format('%.0f', n) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

for j = 2, #ARGV, 4 do
	local op, window, a, b = ARGV[j], ARGV[j + 1], ARGV[j + 2], ARGV[j + 3]
	if op == 't' then
		redis.call('HSET', KEYS[1], 'stated:' .. window, a .. ' ' .. b .. ' ' .. text(now))
	elseif op == 'm' then
		redis.call('HSET', KEYS[1], 'met:' .. window, a .. ' ' .. text(now))
	elseif tonumber(a) > 0 then
		redis.call('HSET', KEYS[1], 'hand:' .. window, a)
		redis.call('HSET', KEYS[2], window .. ' ' .. ARGV[1], a)
	else
		redis.call('HDEL', KEYS[1], 'hand:' .. window)
		redis.call('HDEL', KEYS[2], window .. ' ' .. ARGV[1])
	end
end

-- What is too old is forgotten here, too: the fields of a hash cannot expire.
local all = redis.call('HGETALL', KEYS[1])
local was, stated, should, hand, memory = {}, {}, {}, false, false
for j = 1, #all, 2 do
	local kind, window = string.match(all[j], '^(%a+):(%d+)$')
	local number, ours, at = string.match(all[j + 1], '^(%d+) (%d+) (%d+)$')
	if kind == 'limit' then
		was[window] = all[j + 1]
	elseif kind == 'hand' then
		should[window], hand = all[j + 1], true
	elseif kind == 'stated' and not (at and now - tonumber(at) < STATED_LIFE_MS) then
		redis.call('HDEL', KEYS[1], all[j])
	elseif kind == 'stated' then
		if tonumber(ours) > 0 then stated[window] = ours end
	elseif kind == 'met' and now - tonumber(string.match(all[j + 1], ' (%d+)$') or '0') >= MEMORY_MS then
		redis.call('HDEL', KEYS[1], all[j])
	elseif kind == 'met' or all[j] == 'refusals' then
		memory = true
	end
end
for window, ours in pairs(stated) do should[window] = should[window] or ours end

local changed = 0
for window, n in pairs(should) do
	if was[window] ~= n then
		redis.call('HSET', KEYS[1], 'limit:' .. window, n)
		changed = changed + 1
	end
end
for window in pairs(was) do
	if not should[window] then
		redis.call('HDEL', KEYS[1], 'limit:' .. window)
		changed = changed + 1
	end
end
if hand then
	redis.call('PERSIST', KEYS[1])
else
	redis.call('PEXPIRE', KEYS[1], text(memory and MEMORY_MS or STATED_LIFE_MS))
end
return changed
