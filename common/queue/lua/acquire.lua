-- acquire: permits, of all tiers of all scopes or none.
-- KEYS 1 since, then for each scope: log  flight  hold  run  sum  set; then for each shared scope, of the caller's lane: turn  due; last: gone
-- ARGV 1 want  2 token  3 Redis' run id  4 high lane (1)  5 scopes  6 who asks  7 how many wait  8 tell what is left (1), then for each scope:
--      flight cap (0 = none)  flight life ms  shared (1)  tiers  (kind limit window_us margin_us units extra)*tiers
-- kind 0 exact log | 1 sub-buckets, 60 a window | 2 fixed windows of the clock, extra = guard us | 3 token bucket, extra = burst
-- -> {granted, now us, wait us, why, place, pace us, again us, sharers, (left)*tiers if told}
--    why: "" | "tier" | "header" | "flight" | "hold" | "pace" | "turn"; place = scope, from 1
--    wait: until there may be one for the caller; again: when to ask, which is earlier where others may leave the row before it
-- The log's member is token:1 … token:granted; one log serves all tiers of kind 0 of its scope.  A permit takes `units` of each
-- other tier.  Windows are longer by their margin, since partners see arrivals, not grants.
-- Redis' clock may step back: now is never before the newest entry.
-- A log may have lost its last entries (restart, failover) or all of them (run or since missing): see `debit`.
-- Functions that few calls need are made only for those: a closure costs what half a command does.
local call, max, min, floor, ceil = redis.call, math.max, math.min, math.floor, math.ceil
local format = string.format
local function text(n) return format('%d', n) end
local RESERVE, RESERVE_US = 0.2, 5000000
-- Shared scopes: who was told a time and has not come GRACE later is not waited for; who is EARLY is as good as there; TURN, while
-- those before one are about to come; RECHECK, since those before one may have died; FLIGHT, as RECHECK, since ends of calls are told otherwise.
local GRACE_US, EARLY_US, TURN_US, RECHECK_US, FLIGHT_US, ROW_MS = 100000, 5000, 4000, 500000, 500000, '600000'

local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local want, high, n_scopes, at = ARGV[1] + 0, ARGV[4] == '1', ARGV[5] + 0, 9
local scopes, kinds = {}, false

-- What most scopes have not (counters, pace, words of headers, settings by hand, a row of waiting integrations) is asked for once.
local marks, extra = {}, {}
for j = 1, n_scopes do
	marks[2 * j - 1], marks[2 * j] = KEYS[6 * j - 1], KEYS[6 * j - 2]
	extra[2 * j - 1], extra[2 * j] = KEYS[6 * j], KEYS[6 * j + 1]
end
for j = 6 * n_scopes + 3, #KEYS - 1, 2 do extra[#extra + 1] = KEYS[j] end
marks = call('MGET', unpack(marks))
local more = call('EXISTS', unpack(extra)) > 0

-- Kinds without a log: read (what Redis has), room (how many permits, and how long until there is one), take (units).
local function make_kinds()
	local PARTS = 60
	local sub, fixed, bucket = {}, {}, {}
	local function fields(t, from, to)
		local f = {}
		for i = from, to do f[#f + 1] = t.name .. text(i) end
		return f
	end

	function sub.read(s, t)
		t.size = ceil(t.window / PARTS)
		local v = call('HMGET', s.sum, t.name .. 'n', t.name .. 'o')
		local cur = floor(now / t.size)
		local first = floor((now - t.span) / t.size) -- the oldest that may still count
		t.used, t.oldest = tonumber(v[1] or '0'), tonumber(v[2] or text(cur))
		if t.oldest >= first then return end
		local last = min(first - 1, t.oldest + ceil(t.span / t.size) + 1)
		local old = fields(t, t.oldest, last)
		for _, n in ipairs(call('HMGET', s.sum, unpack(old))) do t.used = t.used - tonumber(n or '0') end
		if last < first - 1 or t.used < 0 then -- all that was known has left; what was sent late since then has not
			t.used = 0
			for _, n in ipairs(call('HMGET', s.sum, unpack(fields(t, first, cur)))) do t.used = t.used + tonumber(n or '0') end
		end
		t.oldest = first
		call('HDEL', s.sum, unpack(old))
		call('HSET', s.sum, t.name .. 'n', text(t.used), t.name .. 'o', text(first))
	end
	function sub.room(s, t, limit)
		local room = floor((limit - t.used) / t.units)
		if room > 0 then return room end
		local need, cur = t.used + t.units - limit, floor(now / t.size)
		for i, n in ipairs(call('HMGET', s.sum, unpack(fields(t, t.oldest, cur)))) do
			need = need - tonumber(n or '0')
			if need <= 0 then return 0, (t.oldest + i) * t.size + t.span - now end
		end
		return 0, t.span
	end
	function sub.take(s, t, units)
		t.used = t.used + units
		call('HINCRBY', s.sum, t.name .. text(floor(now / t.size)), text(units))
		call('HSET', s.sum, t.name .. 'n', text(t.used), t.name .. 'o', text(t.oldest))
	end

	-- Within the guard of a boundary a call counts in both windows.
	function fixed.read(s, t)
		t.from, t.to, t.counts = floor((now - t.extra) / t.window), floor((now + t.extra + t.margin) / t.window), {}
		for i = t.from, t.to do
			local i_of, n = string.match(call('HGET', s.sum, t.name .. text(i % 3)) or '', '^(%d+) (%d+)$')
			t.counts[i] = i_of == text(i) and tonumber(n) or 0
		end
	end
	function fixed.room(s, t, limit)
		local room, wait = limit, 0
		for i = t.from, t.to do
			local free = floor((limit - t.counts[i]) / t.units)
			if free <= 0 then wait = (i + 1) * t.window + t.extra - now end
			room = min(room, max(free, 0))
		end
		return room, wait
	end
	function fixed.take(s, t, units)
		for i = t.from, t.to do
			t.counts[i] = t.counts[i] + units
			call('HSET', s.sum, t.name .. text(i % 3), text(i) .. ' ' .. text(t.counts[i]))
		end
	end

	-- `full` is when the bucket would be full again; `late` how much later than granted a call since then was sent.
	function bucket.read(s, t)
		local v = call('HMGET', s.sum, t.name .. 'f', t.name .. 'l')
		t.full, t.late, t.each = tonumber(v[1] or '0'), tonumber(v[2] or '0'), t.window / t.limit
		if t.full + t.late + t.margin <= now then
			t.full, t.late = now, 0
			t.behind = 0
		else
			t.behind = max(t.full + t.late + t.margin - now, 0)
		end
	end
	function bucket.room(s, t, _, ahead)
		local free = (t.extra * t.each - t.behind) / (t.units * t.each) - (ahead or 0)
		local room = floor(free + 1e-9)
		if room > 0 then return room end
		return 0, ceil((1 - free) * t.units * t.each)
	end
	function bucket.take(s, t, units)
		local from = max(t.full, now)
		t.behind = max(t.behind, 0) + units * t.each
		t.full = ceil(from + units * t.each)
		call('HSET', s.sum, t.name .. 'f', text(t.full), t.name .. 'l', text(t.late))
	end
	return {['1'] = sub, ['2'] = fixed, ['3'] = bucket, letters = {['1'] = 's', ['2'] = 'f', ['3'] = 'b'}}
end

-- What a person set in the place of the manifest's word; what a header said is left, and until when.
local function read_more(s, set)
	local own, ask = {}, {'t', 'high', 'pace', 'last'}
	for k = 1, #s.tiers do
		local t = s.tiers[k]
		own[k] = 'limit:' .. text(t.window)
		t.left_name = 'c' .. text(t.window) .. ':n'
		ask[#ask + 1] = t.left_name
		ask[#ask + 1] = 'c' .. text(t.window) .. ':u'
	end
	if #own > 0 then
		for k, v in ipairs(call('HMGET', set, unpack(own))) do
			local t = s.tiers[k]
			if v then t.limit = max(floor(tonumber(v) or t.limit), t.units) end
		end
	end
	local v = call('HMGET', s.sum, unpack(ask))
	for k = 1, #s.tiers do
		local ends = tonumber(v[4 + 2 * k] or '0')
		if ends > now then s.tiers[k].left, s.tiers[k].ends = tonumber(v[3 + 2 * k] or '0'), ends end
	end
	s.asked, s.pace, s.last = tonumber(v[2] or '0'), tonumber(v[3] or '0'), tonumber(v[4] or '0')
	now = max(now, tonumber(v[1] or '0'))
end

local row = 6 * n_scopes + 2
for j = 1, n_scopes do
	local first = 6 * j - 4
	local tiers, longest, log_span, sums, newest = {}, 0, 0, false, 0
	local s = {
		log = KEYS[first], flight = KEYS[first + 1], sum = KEYS[first + 4], tiers = tiers, cap = ARGV[at] + 0, life = ARGV[at + 1],
		shared = ARGV[at + 2] == '1', asked = 0, pace = 0, last = 0, count = false, mine = 0, sharers = 0, longest = 0, log_span = 0, stale = false,
	}
	at = at + 4
	for k = 1, ARGV[at - 1] do
		local kind, window = ARGV[at], ARGV[at + 2] + 0
		local span = window + ARGV[at + 3]
		if span > longest then longest = span end
		if kind == '0' then
			tiers[k] = {limit = ARGV[at + 1] + 0, window = window, span = span, units = 1, way = false, left = false}
			if span > log_span then log_span = span end
		else
			kinds = kinds or make_kinds()
			local t = {
				limit = ARGV[at + 1] + 0, window = window, span = span, units = ARGV[at + 4] + 0, way = kinds[kind], left = false,
				name = kinds.letters[kind] .. ARGV[at + 2] .. ':', margin = span - window, extra = ARGV[at + 5] + 0, burst = kind == '3',
			}
			tiers[k] = t
			if t.burst then longest = max(longest, t.extra * window / t.limit) end
			sums = true
		end
		at = at + 6
	end
	s.longest, s.log_span, s.sums = ceil(longest / 1000), log_span, sums
	if s.shared then s.turn, s.due, row = KEYS[row], KEYS[row + 1], row + 2 end
	if more then read_more(s, KEYS[first + 5]) end
	if log_span > 0 then
		newest = (call('ZREVRANGE', s.log, '0', '0', 'WITHSCORES')[2] or 0) + 0
		if newest > now then now = newest end
		s.stale = floor(now / 1000000) ~= floor(newest / 1000000)
	end
	scopes[j] = s
end
local now_text = text(now)

-- A scope without its run mark was idle for longer than its windows, unless this Redis' memory of the
-- partner is younger than that: then nobody knows.
-- Two seconds of each tier's rate count as used: what a failover or a lost second of AOF may hide.
local function ran_elsewhere(s, run, ran)
	local since = call('GET', KEYS[1])
	if not since then
		since = now_text
		call('SET', KEYS[1], since)
	end
	call('SET', run, ARGV[3], 'PX', text(s.longest + 60000))
	if not ran and now - tonumber(since) >= min(s.longest * 1000, 60000000) then return end
	local n = 0
	for k = 1, #s.tiers do
		local t = s.tiers[k]
		local lost = min(t.limit, floor(t.limit * 2000000 / t.window))
		if not t.way then
			n = max(n, lost)
		elseif lost > 0 then
			t.way.take(s, t, lost)
		end
	end
	for from = 1, n, 500 do
		local add = {}
		for j = from, min(from + 499, n) do
			add[#add + 1] = now_text
			add[#add + 1] = 'lost:' .. ARGV[2] .. ':' .. j
		end
		call('ZADD', s.log, unpack(add))
	end
	if n > 0 then call('PEXPIRE', s.log, text(s.log_span / 1000 + 3000)) end
	if s.sums then call('PEXPIRE', s.sum, text(s.longest + 600000)) end
end

-- Life is given anew with the first permit of each second of the clock, and lasts longer by more than that; then, and where
-- it may matter, what has left the longest window goes.
local function trim(s)
	if s.trimmed then return end
	s.trimmed = true
	call('ZREMRANGEBYSCORE', s.log, '-inf', text(now - s.log_span))
	s.count = call('ZCARD', s.log)
end

-- How many permits, and how long until there is one, of a tier with `limit` calls.
local function log_room(s, t, limit)
	local used = s.count
	if used + want > limit then
		if t.span ~= s.log_span then
			used = call('ZCOUNT', s.log, '(' .. text(now - t.span), '+inf')
		else
			trim(s)
			used = s.count
		end
	end
	if used < limit then return limit - used end
	-- The limit-th newest must leave the window before anyone may enter.
	local last = limit > 0 and call('ZRANGE', s.log, -limit, -limit, 'WITHSCORES')[2]
	return 0, last and tonumber(last) + t.span - now or t.span
end

for j = 1, n_scopes do
	local s = scopes[j]
	if s.sums then
		for k = 1, #s.tiers do
			local t = s.tiers[k]
			if t.way then t.way.read(s, t) end
		end
	end
	if ARGV[3] ~= '' and marks[2 * j - 1] ~= ARGV[3] then ran_elsewhere(s, KEYS[6 * j - 1], marks[2 * j - 1]) end
	if s.log_span > 0 then
		if s.stale then trim(s) else s.count = call('ZCARD', s.log) end
	end
end

-- ---- whose turn it is, where integrations share a scope ----
-- turn: score = permits taken while others waited (who comes anew starts behind the one with the fewest); due: when each was told to come.

local row_read, my_part
if more then
	function row_read(s)
		local gone = call('ZRANGEBYSCORE', s.due, '-inf', text(now - GRACE_US), 'LIMIT', 0, 50)
		if #gone > 0 then
			call('ZREM', s.due, unpack(gone))
			call('ZREM', s.turn, unpack(gone))
		end
		s.had = tonumber(call('ZSCORE', s.turn, ARGV[6]) or nil)
		s.sharers = call('ZCARD', s.turn) - (s.had and 1 or 0)
		if s.had or s.sharers == 0 then
			s.mine = s.had or 0
		else
			s.mine = tonumber(call('ZRANGE', s.turn, 0, 0, 'WITHSCORES')[2]) + 1
		end
	end

	-- Of `room`, what is the caller's: all level with those who have had least, if they are there; those who come later miss nothing.
	-- Where places in flight are short all who wait are there: they are told of each end.
	function my_part(s, room, by_flight)
		local near = call('ZRANGEBYSCORE', s.due, '-inf', by_flight and '+inf' or text(now + EARLY_US), 'LIMIT', 0, 64)
		if #near == 0 then return room end
		local behind, others = 0, 0
		for i, had in ipairs(call('ZMSCORE', s.turn, unpack(near))) do
			if near[i] ~= ARGV[6] and had then
				others, behind = others + 1, behind + max(s.mine - tonumber(had), 0)
			end
		end
		return ceil((room - behind) / (others + 1))
	end
end

local room, wait, again, why, place, pace, gone = want, 0, 0, '', 0, 0, false
local function blocked(us, reason, scope)
	room = 0
	if us > wait or why == '' then wait, why, place = max(us, 1), reason, scope end
end

for j = 1, n_scopes do
	local s = scopes[j]
	local own, by_flight = 9e15, false -- the scope's room, whatever is wanted
	if marks[2 * j] then
		local held = call('PTTL', KEYS[6 * j - 2])
		if held >= 0 then blocked(held * 1000 + 1000, 'hold', j) end
	end
	-- Work that a person waits for has a part of each tier to itself, while there is such work.
	local kept = not high and now - s.asked < RESERVE_US and RESERVE or 0
	if high and #s.tiers > 0 and now - s.asked > 1000000 then
		call('HSET', s.sum, 'high', now_text)
		call('PEXPIRE', s.sum, text(s.longest + 600000))
	end
	for k = 1, #s.tiers do
		local t = s.tiers[k]
		local whole, free, us = t.limit, 0, 0
		if kept > 0 and not t.burst then t.whole, t.limit = whole, max(whole - floor(whole * kept), t.units) end
		if t.way then free, us = t.way.room(s, t, t.limit) else free, us = log_room(s, t, t.limit) end
		if free <= 0 and t.limit < whole then -- the kept part is lent out when nobody has asked for a while
			t.limit = whole
			local lent, later
			if t.way then lent, later = t.way.room(s, t, whole) else lent, later = log_room(s, t, whole) end
			us = min(us, max(lent > 0 and 0 or later, s.asked + RESERVE_US - now))
		end
		if free <= 0 then blocked(us, 'tier', j) end
		if free < own then own = max(free, 0) end
		if t.left then
			if t.left < t.units then blocked(t.ends - now, 'header', j) end
			own = min(own, max(floor(t.left / t.units), 0))
		end
	end
	if s.pace > 0 then
		pace = max(pace, s.pace)
		if now < s.last + s.pace then blocked(s.last + s.pace - now, 'pace', j) end
		own = min(own, 1)
	end
	if s.cap > 0 then
		call('ZREMRANGEBYSCORE', s.flight, '-inf', text(now / 1000))
		local free = s.cap - call('ZCARD', s.flight)
		if free <= 0 then -- those whose process died go only where they stand in the way, so that nobody else pays for a look
			gone = gone or call('ZRANGE', KEYS[#KEYS], 0, -1)
			local dead, of = {}, {}
			for _, prefix in ipairs(gone) do of[prefix] = true end
			for _, member in ipairs(gone[1] and call('ZRANGE', s.flight, 0, -1) or gone) do
				if of[string.match(member, '^[^.]*')] then dead[#dead + 1] = member end
			end
			for from = 1, #dead, 500 do call('ZREM', s.flight, unpack(dead, from, min(from + 499, #dead))) end
			free = free + #dead
		end
		if free <= 0 then
			local first = call('ZRANGE', s.flight, 0, 0, 'WITHSCORES')
			blocked(tonumber(first[2] or '0') * 1000 - now, 'flight', j)
		end
		if free < own then own, by_flight = max(free, 0), true end
	end
	if s.shared and more then row_read(s) end
	if own > 0 and s.sharers > 0 then
		own = my_part(s, own, by_flight)
		if own <= 0 then blocked(TURN_US, 'turn', j) end
	end
	if own < room then room = own end
end

-- What is left of each tier, for who looks on.
local function append_left(out, granted)
	for j = 1, n_scopes do
		local s = scopes[j]
		if s.log_span > 0 then
			trim(s)
			s.count = call('ZCARD', s.log)
		end
		for k = 1, #s.tiers do
			local t = s.tiers[k]
			local limit, left = t.whole or t.limit, 0
			if t.way then
				left = t.way.room(s, t, limit) * t.units
			else
				left = limit - (t.span == s.log_span and s.count or call('ZCOUNT', s.log, '(' .. text(now - t.span), '+inf'))
			end
			if t.left then left = min(left, t.left - granted * t.units) end
			out[#out + 1] = max(left, 0)
		end
	end
	return out
end

if room <= 0 then
	-- Denied: those of a shared scope are told when it is theirs, after those who have had less.
	local function stand_in_row(s)
		local ahead = s.sharers > 0 and call('ZCOUNT', s.turn, '-inf', '(' .. text(s.mine)) or 0
		again = wait
		if why == 'tier' and ahead > 0 then
			for k = 1, #s.tiers do
				local t = s.tiers[k]
				local calls = max(floor(t.limit / t.units), 1)
				local rounds, rest, free, us = floor(ahead / calls), ahead % calls, 0, 0
				if t.way then free, us = t.way.room(s, t, t.limit - rest * t.units, rest) else free, us = log_room(s, t, t.limit - rest) end
				if free <= 0 then wait = max(wait, us + rounds * t.span) end
			end
			again = min(wait, max(again, RECHECK_US))
		elseif why == 'flight' then
			again = min(again, FLIGHT_US)
		end
		call('ZADD', s.due, text(now + again), ARGV[6])
		if call('ZADD', s.turn, text(s.mine), ARGV[6]) == 1 then
			call('PEXPIRE', s.turn, ROW_MS)
			call('PEXPIRE', s.due, ROW_MS)
		end
	end
	again = why == 'flight' and min(wait, FLIGHT_US) or wait
	for j = 1, n_scopes do
		local s = scopes[j]
		if s.shared and j == place and why ~= 'hold' then
			stand_in_row(s)
		elseif s.had then
			call('ZREM', s.turn, ARGV[6])
			call('ZREM', s.due, ARGV[6])
		end
	end
	local sharers = place > 0 and scopes[place].sharers or 0
	local out = {0, now, ceil(wait), why, place, pace, ceil(again), sharers}
	return ARGV[8] == '1' and append_left(out, 0) or out
end

for j = 1, n_scopes do
	local s = scopes[j]
	local stale = s.stale or s.log_span == 0
	if s.log_span > 0 then
		if room == 1 then
			call('ZADD', s.log, now_text, ARGV[2] .. ':1')
		else
			local add = {}
			for k = 1, room do
				add[2 * k - 1] = now_text
				add[2 * k] = ARGV[2] .. ':' .. k
			end
			call('ZADD', s.log, unpack(add))
		end
		if stale then call('PEXPIRE', s.log, text(s.log_span / 1000 + 3000)) end
	end
	for k = 1, #s.tiers do
		local t = s.tiers[k]
		if t.way then t.way.take(s, t, room * t.units) end
		if t.left then call('HINCRBY', s.sum, t.left_name, text(-room * t.units)) end
	end
	if s.pace > 0 then call('HSET', s.sum, 'last', now_text) end
	if s.sums then call('HSET', s.sum, 't', now_text) end
	if s.sums or s.pace > 0 then call('PEXPIRE', s.sum, text(s.longest + 600000)) end
	if stale and #s.tiers > 0 then call('PEXPIRE', KEYS[6 * j - 1], text(s.longest + 60000)) end
	if s.cap > 0 then
		local add, ends = {}, text(floor(now / 1000) + s.life)
		for k = 1, room do
			add[2 * k - 1] = ends
			add[2 * k] = ARGV[2] .. ':' .. k
		end
		call('ZADD', s.flight, unpack(add))
		call('PEXPIRE', s.flight, text(s.life + 1000))
	end
	if s.had and room >= tonumber(ARGV[7]) then
		call('ZREM', s.turn, ARGV[6])
		call('ZREM', s.due, ARGV[6])
	elseif s.sharers > 0 and room < tonumber(ARGV[7]) then
		call('ZADD', s.turn, text(s.mine + room), ARGV[6])
		call('ZADD', s.due, now_text, ARGV[6])
	end
end
local out = {room, now, 0, '', 0, pace, 0, 0}
return ARGV[8] == '1' and append_left(out, room) or out
