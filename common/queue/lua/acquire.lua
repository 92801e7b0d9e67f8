-- acquire: permits, of all tiers of all scopes or none.
-- KEYS 1 since, then for each scope: log  flight  hold  run  sum  set
-- ARGV 1 want  2 token  3 Redis' run id  4 high lane (1)  5 scopes, then for each scope:
--      flight cap (0 = none)  flight life ms  tiers  (kind limit window_us margin_us units extra)*tiers
-- kind 0 exact log | 1 sub-buckets, 60 a window | 2 fixed windows of the clock, extra = guard us | 3 token bucket, extra = burst
-- -> {granted, now us, wait us, why, place, pace us}; why: "" | "tier" | "header" | "flight" | "hold" | "pace", place = scope, from 1
-- The log's member is token:1 … token:granted; one log serves all tiers of kind 0 of its scope.  A permit takes `units` of each
-- other tier.  Windows are longer by their margin, since partners see arrivals, not grants.
-- Redis' clock may step back: now is never before the newest entry.
-- A log may have lost its last entries (restart, failover) or all of them (run or since missing): see `debit`.
local format, max, min, floor, ceil = string.format, math.max, math.min, math.floor, math.ceil
local function text(n) return format('%.0f', n) end
local PARTS, RESERVE, RESERVE_US = 60, 0.2, 5000000

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local want, high, at = tonumber(ARGV[1]), ARGV[4] == '1', 6
local scopes = {}

-- Each kind: read (what Redis has), room (how many permits, and how long until there is one), take (units).
local log, sub, fixed, bucket = {}, {}, {}, {}

function log.read() end
function log.room(s, t)
	local used
	if t.span == s.log_span then
		used = redis.call('ZCARD', s.log)
	else
		used = redis.call('ZCOUNT', s.log, '(' .. text(now - t.span), '+inf')
	end
	if used < t.limit then return t.limit - used end
	-- The limit-th newest must leave the window before anyone may enter.
	local last = t.limit > 0 and redis.call('ZRANGE', s.log, -t.limit, -t.limit, 'WITHSCORES')[2]
	return 0, last and tonumber(last) + t.span - now or t.span
end
function log.take() end

local function fields(t, from, to)
	local f = {}
	for i = from, to do f[#f + 1] = t.name .. text(i) end
	return f
end

function sub.read(s, t)
	local v = redis.call('HMGET', s.sum, t.name .. 'n', t.name .. 'o')
	local cur = floor(now / t.size)
	local first = floor((now - t.span) / t.size) -- the oldest that may still count
	t.used, t.oldest = tonumber(v[1] or '0'), tonumber(v[2] or text(cur))
	if t.oldest >= first then return end
	local last = min(first - 1, t.oldest + ceil(t.span / t.size) + 1)
	local old = fields(t, t.oldest, last)
	for _, n in ipairs(redis.call('HMGET', s.sum, unpack(old))) do t.used = t.used - tonumber(n or '0') end
	if last < first - 1 or t.used < 0 then t.used = 0 end
	t.oldest = first
	redis.call('HDEL', s.sum, unpack(old))
	redis.call('HSET', s.sum, t.name .. 'n', text(t.used), t.name .. 'o', text(first))
end
function sub.room(s, t)
	local room = floor((t.limit - t.used) / t.units)
	if room > 0 then return room end
	local need, cur = t.used + t.units - t.limit, floor(now / t.size)
	for i, n in ipairs(redis.call('HMGET', s.sum, unpack(fields(t, t.oldest, cur)))) do
		need = need - tonumber(n or '0')
		if need <= 0 then return 0, (t.oldest + i) * t.size + t.span - now end
	end
	return 0, t.span
end
function sub.take(s, t, units)
	t.used = t.used + units
	redis.call('HINCRBY', s.sum, t.name .. text(floor(now / t.size)), text(units))
	redis.call('HSET', s.sum, t.name .. 'n', text(t.used), t.name .. 'o', text(t.oldest))
end

-- Within the guard of a boundary a call counts in both windows.
function fixed.read(s, t)
	t.from, t.to, t.counts = floor((now - t.extra) / t.window), floor((now + t.extra + t.margin) / t.window), {}
	for i = t.from, t.to do
		local i_of, n = string.match(redis.call('HGET', s.sum, t.name .. text(i % 3)) or '', '^(%d+) (%d+)$')
		t.counts[i] = i_of == text(i) and tonumber(n) or 0
	end
end
function fixed.room(s, t)
	local room, wait = want, 0
	for i = t.from, t.to do
		local free = floor((t.limit - t.counts[i]) / t.units)
		if free <= 0 then wait = (i + 1) * t.window + t.extra - now end
		room = min(room, max(free, 0))
	end
	return room, wait
end
function fixed.take(s, t, units)
	for i = t.from, t.to do
		t.counts[i] = t.counts[i] + units
		redis.call('HSET', s.sum, t.name .. text(i % 3), text(i) .. ' ' .. text(t.counts[i]))
	end
end

-- `full` is when the bucket would be full again; `late` how much later than granted a call since then was sent.
function bucket.read(s, t)
	local v = redis.call('HMGET', s.sum, t.name .. 'f', t.name .. 'l')
	t.full, t.late, t.each = tonumber(v[1] or '0'), tonumber(v[2] or '0'), t.window / t.limit
	if t.full + t.late + t.margin <= now then
		t.full, t.late = now, 0
		t.behind = 0
	else
		t.behind = max(t.full + t.late + t.margin - now, 0)
	end
end
function bucket.room(s, t)
	local free = (t.extra * t.each - t.behind) / (t.units * t.each)
	local room = floor(free + 1e-9)
	if room > 0 then return room end
	return 0, ceil((1 - free) * t.units * t.each)
end
function bucket.take(s, t, units)
	local from = max(t.full, now)
	t.behind = max(t.behind, 0) + units * t.each
	t.full = ceil(from + units * t.each)
	redis.call('HSET', s.sum, t.name .. 'f', text(t.full), t.name .. 'l', text(t.late))
end

-- What most scopes have not (counters, pace, words of headers, settings by hand) is asked for once.
local marks, extra = {}, {}
for j = 1, tonumber(ARGV[5]) do
	marks[2 * j - 1], marks[2 * j] = KEYS[6 * j - 1], KEYS[6 * j - 2]
	extra[2 * j - 1], extra[2 * j] = KEYS[6 * j], KEYS[6 * j + 1]
end
marks = redis.call('MGET', unpack(marks))
local more = redis.call('EXISTS', unpack(extra)) > 0

local kinds = {[0] = log, [1] = sub, [2] = fixed, [3] = bucket}
local letters = {[0] = '', [1] = 's', [2] = 'f', [3] = 'b'}

-- What a person set in the place of the manifest's word; what a header said is left, and until when.
local function read_more(s)
	local own, ask = {}, {'t', 'high', 'pace', 'last'}
	for k = 1, #s.tiers do
		local t = s.tiers[k]
		own[k] = 'limit:' .. text(t.window)
		t.left_name = 'c' .. text(t.window) .. ':n'
		ask[#ask + 1] = t.left_name
		ask[#ask + 1] = 'c' .. text(t.window) .. ':u'
	end
	if #own > 0 then
		for k, v in ipairs(redis.call('HMGET', s.set, unpack(own))) do
			local t = s.tiers[k]
			if v then t.limit = max(floor(tonumber(v) or t.limit), t.units) end
		end
	end
	local v = redis.call('HMGET', s.sum, unpack(ask))
	for k = 1, #s.tiers do
		local ends = tonumber(v[4 + 2 * k] or '0')
		if ends > now then s.tiers[k].left, s.tiers[k].ends = tonumber(v[3 + 2 * k] or '0'), ends end
	end
	s.asked, s.pace, s.last = tonumber(v[2] or '0'), tonumber(v[3] or '0'), tonumber(v[4] or '0')
	now = max(now, tonumber(v[1] or '0'))
end

for j = 1, tonumber(ARGV[5]) do
	local s = {
		log = KEYS[6 * j - 4], flight = KEYS[6 * j - 3], hold = KEYS[6 * j - 2], run = KEYS[6 * j - 1],
		sum = KEYS[6 * j], set = KEYS[6 * j + 1], ran = marks[2 * j - 1], held = marks[2 * j],
		cap = tonumber(ARGV[at]), life = tonumber(ARGV[at + 1]), tiers = {}, longest = 0, log_span = 0, sums = false,
	}
	at = at + 3
	for k = 1, tonumber(ARGV[at - 1]) do
		local t = {
			kind = tonumber(ARGV[at]), limit = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]),
			margin = tonumber(ARGV[at + 3]), units = tonumber(ARGV[at + 4]), extra = tonumber(ARGV[at + 5]),
		}
		t.span, t.size, t.way = t.window + t.margin, ceil(t.window / PARTS), kinds[t.kind]
		if t.kind > 0 then t.name = letters[t.kind] .. text(t.window) .. ':' end
		s.tiers[k] = t
		s.longest = max(s.longest, t.span, t.kind == 3 and t.extra * t.window / t.limit or 0)
		if t.kind == 0 then s.log_span = max(s.log_span, t.span) else s.sums = true end
		at = at + 6
	end
	s.asked, s.pace, s.last, s.newest = 0, 0, 0, 0
	if more then read_more(s) end
	if s.log_span > 0 then
		s.newest = tonumber(redis.call('ZRANGE', s.log, -1, -1, 'WITHSCORES')[2] or '0')
		now = max(now, s.newest)
	end
	scopes[j] = s
end

-- Two seconds of each tier's rate count as used: what a failover or a lost second of AOF may hide.
local function debit(s)
	local n = 0
	for k = 1, #s.tiers do
		local t = s.tiers[k]
		local lost = min(t.limit, floor(t.limit * 2000000 / t.window))
		if t.kind == 0 then
			n = max(n, lost)
		elseif lost > 0 then
			t.way.take(s, t, lost)
		end
	end
	for from = 1, n, 500 do
		local add = {}
		for j = from, min(from + 499, n) do
			add[#add + 1] = text(now)
			add[#add + 1] = 'lost:' .. ARGV[2] .. ':' .. j
		end
		redis.call('ZADD', s.log, unpack(add))
	end
	if n > 0 then redis.call('PEXPIRE', s.log, text(s.log_span / 1000 + 3000)) end
	if s.sums then redis.call('PEXPIRE', s.sum, text(s.longest / 1000 + 600000)) end
end

-- A scope without its run mark was idle for longer than its windows, unless this Redis' memory of the
-- partner is younger than that: then nobody knows.
local function ran_elsewhere(s)
	local since = redis.call('GET', KEYS[1])
	if not since then
		since = text(now)
		redis.call('SET', KEYS[1], since)
	end
	if s.ran or now - tonumber(since) < min(s.longest, 60000000) then debit(s) end
	redis.call('SET', s.run, ARGV[3], 'PX', text(s.longest / 1000 + 60000))
end
for j = 1, #scopes do
	local s = scopes[j]
	for k = 1, #s.tiers do s.tiers[k].way.read(s, s.tiers[k]) end
	if ARGV[3] ~= '' and s.ran ~= ARGV[3] then ran_elsewhere(s) end
end

local room, wait, why, place, pace = want, 0, '', 0, 0
local function blocked(us, reason, scope)
	room = 0
	if us > wait or why == '' then wait, why, place = max(us, 1), reason, scope end
end
for j = 1, #scopes do
	local s = scopes[j]
	local held = s.held and redis.call('PTTL', s.hold) or -1
	if held >= 0 then blocked(held * 1000 + 1000, 'hold', j) end
	if s.cap > 0 then
		redis.call('ZREMRANGEBYSCORE', s.flight, '-inf', text(now / 1000))
		local free = s.cap - redis.call('ZCARD', s.flight)
		if free <= 0 then
			local first = redis.call('ZRANGE', s.flight, 0, 0, 'WITHSCORES')
			blocked(tonumber(first[2] or '0') * 1000 - now, 'flight', j)
		end
		room = min(room, max(free, 0))
	end
	-- Work that a person waits for has a part of each tier to itself, while there is such work.
	local kept = high and 0 or now - s.asked < RESERVE_US and RESERVE or 0
	if high and #s.tiers > 0 and now - s.asked > 1000000 then
		redis.call('HSET', s.sum, 'high', text(now))
		redis.call('PEXPIRE', s.sum, text(s.longest / 1000 + 600000))
	end
	if s.log_span > 0 then redis.call('ZREMRANGEBYSCORE', s.log, '-inf', text(now - s.log_span)) end
	for k = 1, #s.tiers do
		local t = s.tiers[k]
		local whole = t.limit
		if t.kind ~= 3 then t.limit = max(whole - floor(whole * kept), t.units) end
		local free, us = t.way.room(s, t)
		if free <= 0 and t.limit < whole then -- the kept part is lent out when nobody has asked for a while
			t.limit = whole
			local lent, later = t.way.room(s, t)
			us = min(us, max(lent > 0 and 0 or later, s.asked + RESERVE_US - now))
		end
		if free <= 0 then blocked(us, 'tier', j) end
		room = min(room, max(free, 0))
		if t.left then
			if t.left < t.units then blocked(t.ends - now, 'header', j) end
			room = min(room, max(floor(t.left / t.units), 0))
		end
	end
	if s.pace > 0 then
		pace = max(pace, s.pace)
		if now < s.last + s.pace then blocked(s.last + s.pace - now, 'pace', j) end
		room = min(room, 1)
	end
end
if room <= 0 then return {0, text(now), text(wait), why, place, text(pace)} end

for j = 1, #scopes do
	local s = scopes[j]
	if s.log_span > 0 then
		local add = {}
		for k = 1, room do
			add[2 * k - 1] = text(now)
			add[2 * k] = ARGV[2] .. ':' .. k
		end
		redis.call('ZADD', s.log, unpack(add))
	end
	-- Life is given anew with the first permit of each second of the clock, and lasts longer by more than that.
	local stale = s.log_span == 0 or floor(now / 1000000) ~= floor(s.newest / 1000000)
	if stale and s.log_span > 0 then redis.call('PEXPIRE', s.log, text(s.log_span / 1000 + 3000)) end
	for k = 1, #s.tiers do
		local t = s.tiers[k]
		t.way.take(s, t, room * t.units)
		if t.left then redis.call('HINCRBY', s.sum, t.left_name, text(-room * t.units)) end
	end
	if s.pace > 0 then redis.call('HSET', s.sum, 'last', text(now)) end
	if s.sums then redis.call('HSET', s.sum, 't', text(now)) end
	if s.sums or s.pace > 0 then redis.call('PEXPIRE', s.sum, text(s.longest / 1000 + 600000)) end
	if stale and #s.tiers > 0 then redis.call('PEXPIRE', s.run, text(s.longest / 1000 + 60000)) end
	if s.cap > 0 then
		local add = {}
		for k = 1, room do
			add[2 * k - 1] = text(now / 1000 + s.life)
			add[2 * k] = ARGV[2] .. ':' .. k
		end
		redis.call('ZADD', s.flight, unpack(add))
		redis.call('PEXPIRE', s.flight, text(s.life + 1000))
	end
end
return {room, text(now), '0', '', 0, text(pace)}
