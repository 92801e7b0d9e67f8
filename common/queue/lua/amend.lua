-- amend: what became of permits of one scope, once known.
-- KEYS 1 log  2 sum  3 flight
-- ARGV 1 tiers, (kind limit window_us margin_us units extra)*tiers as in acquire, then (op, token, granted us, number)…
-- op: e it ended | r never sent: refunded in every tier | x as r, but nobody knows whether it was granted
--     m it was sent (or is still waiting to be) at `number` us: counts from then, not from the grant | n the same once more
--     c it cost `number` units more, in the tier whose window is `token` us
--     h a header of its answer said that `number` units are left; token = "TOKEN WINDOW_US UNTIL_US"
--     s it succeeded while calls are paced: a little faster
-- -> how many entries of the log were changed
-- Moves are never into the future and never back.  Counters are lowered for known grants alone: they have no members to tell.
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local PACE_STEP_US, PACE_FLOOR_US = 10000, 50000
local function text(n) return string.format('%.0f', n) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tiers, at, logs, log_span, changed = {}, 2, false, 0, 0
for k = 1, tonumber(ARGV[1]) do
	local t = {
		kind = tonumber(ARGV[at]), limit = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]),
		margin = tonumber(ARGV[at + 3]), units = tonumber(ARGV[at + 4]), extra = tonumber(ARGV[at + 5]),
	}
	t.size = ceil(t.window / 60)
	if t.kind == 0 then
		logs, log_span = true, max(log_span, t.window + t.margin)
	else
		t.name = ({'s', 'f', 'b'})[t.kind] .. text(t.window) .. ':'
		tiers[#tiers + 1] = t
	end
	at = at + 6
end

-- Units more (or less) in the sub-bucket of an instant, as far as it still counts.
local function sub_add(t, us, units)
	local v = redis.call('HMGET', KEYS[2], t.name .. 'n', t.name .. 'o', t.name .. text(floor(us / t.size)))
	local i = floor(us / t.size)
	if not v[2] or i < tonumber(v[2]) then return end
	units = max(units, -tonumber(v[3] or '0'), -tonumber(v[1] or '0'))
	redis.call('HINCRBY', KEYS[2], t.name .. text(i), text(units))
	redis.call('HINCRBY', KEYS[2], t.name .. 'n', text(units))
end

-- In all windows of the clock that the instant may lie in; those of `but` have it already.
local function fixed_add(t, us, units, but)
	local from, to = floor((us - t.extra) / t.window), floor((us + t.extra + t.margin) / t.window)
	for i = from, to do
		local had = but and i >= floor((but - t.extra) / t.window) and i <= floor((but + t.extra + t.margin) / t.window)
		local i_of, n = string.match(redis.call('HGET', KEYS[2], t.name .. text(i % 3)) or '', '^(%d+) (%d+)$')
		n = i_of == text(i) and tonumber(n) or 0
		if not had and (i_of == text(i) or (units > 0 and (not i_of or tonumber(i_of) < i))) then
			redis.call('HSET', KEYS[2], t.name .. text(i % 3), text(i) .. ' ' .. text(max(n + units, 0)))
		end
	end
end

local function bucket_add(t, units)
	local full = tonumber(redis.call('HGET', KEYS[2], t.name .. 'f') or '0')
	if units < 0 and full <= now then return end
	full = max(full, now) + units * t.window / t.limit
	redis.call('HSET', KEYS[2], t.name .. 'f', text(ceil(full)))
end

local function add(t, us, units)
	if t.kind == 1 then
		sub_add(t, us, units)
	elseif t.kind == 2 then
		fixed_add(t, us, units)
	else
		bucket_add(t, units)
	end
end

-- Where a second move finds the units is not known for sure: they stay where they were, too.
local function move(t, from, to, again)
	if t.kind == 1 and floor(from / t.size) ~= floor(to / t.size) then
		if not again then sub_add(t, from, -t.units) end
		sub_add(t, to, t.units)
	elseif t.kind == 2 then
		fixed_add(t, to, t.units, from)
	elseif t.kind == 3 then
		local late = tonumber(redis.call('HGET', KEYS[2], t.name .. 'l') or '0')
		if to - from > late then redis.call('HSET', KEYS[2], t.name .. 'l', text(to - from)) end
	end
end

for i = at, #ARGV, 4 do
	local op, token, granted, number = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
	if op == 'm' or op == 'n' then
		local sent = min(number, now)
		if logs then
			local moved = redis.call('ZADD', KEYS[1], 'XX', 'GT', 'CH', text(sent), token)
			changed = changed + moved
			-- The log lives for what counts from its grant; this now counts from later.
			if moved > 0 then redis.call('PEXPIRE', KEYS[1], text(log_span / 1000 + 3000)) end
		end
		if sent > granted then
			for _, t in ipairs(tiers) do move(t, granted, sent, op == 'n') end
		end
	elseif op == 'h' then
		local permit, window, ends = string.match(token, '^(%S+) (%d+) (%d+)$')
		local c = 'c' .. window .. ':'
		local v = redis.call('HMGET', KEYS[2], c .. 'a', c .. 'n', c .. 'u')
		-- Calls granted after this one have not been counted by the partner when it answered; older answers know less.
		local mine = redis.call('ZSCORE', KEYS[3], permit)
		local later = mine and redis.call('ZCOUNT', KEYS[3], '(' .. mine, '+inf')
			or logs and redis.call('ZCOUNT', KEYS[1], '(' .. text(granted), '+inf') or 0
		local left = max(number - later, 0)
		local said = tonumber(v[1] or '0')
		if said == granted and tonumber(v[3] or '0') > now then left = min(left, tonumber(v[2] or '0')) end
		if said <= granted and tonumber(ends) > now then
			redis.call('HSET', KEYS[2], c .. 'a', text(granted), c .. 'n', text(left), c .. 'u', ends)
			if redis.call('PTTL', KEYS[2]) < (tonumber(ends) - now) / 1000 then
				redis.call('PEXPIRE', KEYS[2], text((tonumber(ends) - now) / 1000 + 600000))
			end
		end
	elseif op == 's' then
		local pace = tonumber(redis.call('HGET', KEYS[2], 'pace') or '0') - PACE_STEP_US
		if pace < PACE_FLOOR_US then
			redis.call('HDEL', KEYS[2], 'pace', 'last')
		else
			redis.call('HSET', KEYS[2], 'pace', text(pace))
		end
	elseif op == 'c' then
		for _, t in ipairs(tiers) do
			if text(t.window) == token then add(t, granted, number) end
		end
	else
		redis.call('ZREM', KEYS[3], token)
		if op ~= 'e' and logs then changed = changed + redis.call('ZREM', KEYS[1], token) end
		if op == 'r' then
			for _, t in ipairs(tiers) do add(t, granted, -t.units) end
		end
	end
end
return changed
