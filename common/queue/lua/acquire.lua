-- acquire: permits from sliding-window logs, all tiers of all scopes or none.
-- KEYS 1 since, then for each scope: log  flight  hold  run
-- ARGV 1 want  2 token  3 Redis' run id  4 margin us  5 scopes, then for each scope:
--      flight cap (0 = none)  flight life ms  tiers  (limit window_us)*tiers
-- -> {granted, now us, wait us, why, place}; why: "" | "tier" | "flight" | "hold", place = scope, from 1
-- The member is token:1 … token:granted.  One log serves all tiers of its scope; windows are longer by the
-- margin, since partners see arrivals, not grants.
-- Redis' clock may step back: now is never before the newest entry.
-- A log may have lost its last entries (restart, failover) or all of them (run or since missing): see `debit`.
local format, max, min = string.format, math.max, math.min
local function text(n) return format('%.0f', n) end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local want, margin, at = tonumber(ARGV[1]), tonumber(ARGV[4]), 6
local scopes = {}
for j = 1, tonumber(ARGV[5]) do
	local s = {
		log = KEYS[4 * j - 2], flight = KEYS[4 * j - 1], hold = KEYS[4 * j], run = KEYS[4 * j + 1],
		cap = tonumber(ARGV[at]), life = tonumber(ARGV[at + 1]), tiers = {}, longest = 0,
	}
	for k = 1, tonumber(ARGV[at + 2]) do
		local limit, window = tonumber(ARGV[at + 1 + 2 * k]), tonumber(ARGV[at + 2 + 2 * k])
		s.tiers[k] = {limit, window + margin, window}
		s.longest = max(s.longest, window + margin)
	end
	at = at + 3 + 2 * #s.tiers
	local newest = redis.call('ZRANGE', s.log, -1, -1, 'WITHSCORES')
	now = max(now, tonumber(newest[2] or '0'))
	scopes[j] = s
end

-- Two seconds of each tier's rate count as used: what a failover or a lost second of AOF may hide.
local function debit(s)
	local n = 0
	for k = 1, #s.tiers do
		local limit, window = s.tiers[k][1], s.tiers[k][3]
		n = max(n, min(limit, math.floor(limit * 2000000 / window)))
	end
	for from = 1, n, 500 do
		local add = {}
		for j = from, min(from + 499, n) do
			add[#add + 1] = text(now)
			add[#add + 1] = 'lost:' .. ARGV[2] .. ':' .. j
		end
		redis.call('ZADD', s.log, unpack(add))
	end
	if n > 0 then redis.call('PEXPIRE', s.log, text(s.longest / 1000 + 1000)) end
end

-- A scope without its run mark was idle for longer than its windows, unless this Redis' memory of the
-- partner is younger than that: then nobody knows.
local since = redis.call('GET', KEYS[1])
if not since then
	since = text(now)
	redis.call('SET', KEYS[1], since)
end
for j = 1, #scopes do
	local s = scopes[j]
	local run = redis.call('GET', s.run)
	if ARGV[3] ~= '' and run ~= ARGV[3] then
		if run or now - tonumber(since) < min(s.longest, 60000000) then debit(s) end
		redis.call('SET', s.run, ARGV[3], 'PX', text(s.longest / 1000 + 60000))
	end
end

local room, wait, why, place = want, 0, '', 0
local function blocked(us, reason, scope)
	room = 0
	if us > wait or why == '' then wait, why, place = max(us, 1), reason, scope end
end
for j = 1, #scopes do
	local s = scopes[j]
	local held = redis.call('PTTL', s.hold)
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
	if s.longest > 0 then redis.call('ZREMRANGEBYSCORE', s.log, '-inf', text(now - s.longest)) end
	for k = 1, #s.tiers do
		local limit, window = s.tiers[k][1], s.tiers[k][2]
		local used
		if window == s.longest then
			used = redis.call('ZCARD', s.log)
		else
			used = redis.call('ZCOUNT', s.log, '(' .. text(now - window), '+inf')
		end
		if used >= limit then
			-- The limit-th newest must leave the window before anyone may enter.
			local last = limit > 0 and redis.call('ZRANGE', s.log, -limit, -limit, 'WITHSCORES')[2]
			blocked(last and tonumber(last) + window - now or window, 'tier', j)
		end
		room = min(room, max(limit - used, 0))
	end
end
if room <= 0 then return {0, text(now), text(wait), why, place} end

for j = 1, #scopes do
	local s = scopes[j]
	if #s.tiers > 0 then
		local add = {}
		for k = 1, room do
			add[2 * k - 1] = text(now)
			add[2 * k] = ARGV[2] .. ':' .. k
		end
		redis.call('ZADD', s.log, unpack(add))
		redis.call('PEXPIRE', s.log, text(s.longest / 1000 + 1000))
		redis.call('PEXPIRE', s.run, text(s.longest / 1000 + 60000))
	end
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
return {room, text(now), '0', '', 0}
