-- usage: how full the tiers of one scope are.  Reads only.
-- KEYS 1 log  2 flight  3 hold  4 sum  5 set
-- ARGV 1 tiers, (kind limit window_us margin_us units extra)*tiers as in acquire
-- -> {now us, hold ms, why held, calls in flight, pace us, refusals, refused ms, why refused, (limit, used, wait us, left, until us, by hand, stated, stated ms, met, met ms)*tiers}
-- limit: the one in force; wait: until there is room for a call, 0 = now; left: as a header said, until then, -1 = none said.
-- by hand, stated by a header, counted when a refusal was met: 0 = none (see learn).
local floor, ceil, max = math.floor, math.ceil, math.max
local function text(n) return string.format('%.0f', n) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local out = {
	text(now), text(max(redis.call('PTTL', KEYS[3]), 0)), redis.call('GET', KEYS[3]) or '',
	redis.call('ZCOUNT', KEYS[2], '(' .. text(now / 1000), '+inf'), redis.call('HGET', KEYS[4], 'pace') or '0',
}
local met = redis.call('HMGET', KEYS[5], 'refusals', 'refused_ms', 'refused_why')
for i = 1, 3 do out[5 + i] = met[i] or (i < 3 and '0' or '') end

local function log(t)
	local used = redis.call('ZCOUNT', KEYS[1], '(' .. text(now - t.span), '+inf')
	if used < t.limit then return used, 0 end
	local last = redis.call('ZRANGE', KEYS[1], -t.limit, -t.limit, 'WITHSCORES')[2]
	return used, tonumber(last or text(now)) + t.span - now
end
local function sub(t)
	local size, used, fields = ceil(t.window / 60), 0, {}
	local first, last = floor((now - t.span) / size), floor(now / size)
	for i = first, last do fields[#fields + 1] = 's' .. text(t.window) .. ':' .. text(i) end
	local counts = redis.call('HMGET', KEYS[4], unpack(fields))
	for i = 1, #fields do used = used + tonumber(counts[i] or '0') end
	local need = used + t.units - t.limit
	if need <= 0 then return used, 0 end
	for i = 1, #fields do
		need = need - tonumber(counts[i] or '0')
		if need <= 0 then return used, (first + i) * size + t.span - now end
	end
	return used, t.span
end
local function fixed(t)
	local used, wait = 0, 0
	for i = floor((now - t.extra) / t.window), floor((now + t.extra + t.margin) / t.window) do
		local of, n = string.match(redis.call('HGET', KEYS[4], 'f' .. text(t.window) .. ':' .. text(i % 3)) or '', '^(%d+) (%d+)$')
		n = of == text(i) and tonumber(n) or 0
		used = max(used, n)
		if n + t.units > t.limit then wait = (i + 1) * t.window + t.extra - now end
	end
	return used, wait
end
local function bucket(t)
	local v = redis.call('HMGET', KEYS[4], 'b' .. text(t.window) .. ':f', 'b' .. text(t.window) .. ':l')
	local each = t.window / t.limit
	local behind = max(tonumber(v[1] or '0') + tonumber(v[2] or '0') + t.margin - now, 0)
	if tonumber(v[1] or '0') <= now then behind = 0 end
	t.shown = t.extra
	return ceil(behind / each), max(ceil(behind + (t.units - t.extra) * each), 0)
end

local kinds, at = {[0] = log, [1] = sub, [2] = fixed, [3] = bucket}, 2
for k = 1, tonumber(ARGV[1]) do
	local t = {
		limit = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]), margin = tonumber(ARGV[at + 3]),
		units = tonumber(ARGV[at + 4]), extra = tonumber(ARGV[at + 5]),
	}
	t.span = t.window + t.margin
	local set = redis.call('HGET', KEYS[5], 'limit:' .. text(t.window))
	if set then t.limit = max(floor(tonumber(set) or t.limit), t.units) end
	local used, wait = kinds[tonumber(ARGV[at])](t)
	local c = redis.call('HMGET', KEYS[4], 'c' .. text(t.window) .. ':n', 'c' .. text(t.window) .. ':u')
	local told = tonumber(c[2] or '0') > now
	if told and tonumber(c[1]) < t.units then wait = max(wait, tonumber(c[2]) - now) end
	for _, n in ipairs({t.shown or t.limit, used, wait, told and tonumber(c[1]) or -1, told and tonumber(c[2]) or 0}) do
		out[#out + 1] = text(n)
	end
	local w = text(t.window)
	local known = redis.call('HMGET', KEYS[5], 'hand:' .. w, 'stated:' .. w, 'met:' .. w)
	local stated, stated_ms = string.match(known[2] or '', '^(%d+) %d+ (%d+)$')
	local met, met_ms = string.match(known[3] or '', '^(%d+) (%d+)$')
	for _, n in ipairs({known[1] or '0', stated or '0', stated_ms or '0', met or '0', met_ms or '0'}) do out[#out + 1] = n end
	at = at + 6
end
return out
