-- seed: what is known to have been called within each window, where the log of it is gone with Redis' data.
-- KEYS 1 log  2 sum
-- ARGV 1 tiers, (kind limit window_us margin_us units extra)*tiers as in acquire, then units used for each tier
-- -> 1, 0: somebody did within the last minute
-- When they were made nobody knows: they count as made now, which is the safe side.
local SAME_US = 60000000
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local function text(n) return string.format('%.0f', n) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local seeded = tonumber(redis.call('HGET', KEYS[2], 'seed') or '0')
if seeded > 0 and now - seeded < SAME_US then return 0 end
redis.call('HSET', KEYS[2], 'seed', text(now))

local function sub(t, n)
	local size = ceil(t.window / 60)
	redis.call('HINCRBY', KEYS[2], t.name .. text(floor(now / size)), text(n))
	redis.call('HINCRBY', KEYS[2], t.name .. 'n', text(n))
	redis.call('HSETNX', KEYS[2], t.name .. 'o', text(floor(now / size)))
end
local function fixed(t, n)
	for i = floor((now - t.extra) / t.window), floor((now + t.extra + t.margin) / t.window) do
		local of, had = string.match(redis.call('HGET', KEYS[2], t.name .. text(i % 3)) or '', '^(%d+) (%d+)$')
		redis.call('HSET', KEYS[2], t.name .. text(i % 3), text(i) .. ' ' .. text((of == text(i) and tonumber(had) or 0) + n))
	end
end
local function bucket(t, n)
	local full = max(tonumber(redis.call('HGET', KEYS[2], t.name .. 'f') or '0'), now)
	redis.call('HSET', KEYS[2], t.name .. 'f', text(ceil(full + min(n, t.extra) * t.window / t.limit)))
end

local tiers = tonumber(ARGV[1])
local log, log_span, longest, at = 0, 0, 0, 2
for k = 1, tiers do
	local t = {
		kind = tonumber(ARGV[at]), limit = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]),
		margin = tonumber(ARGV[at + 3]), extra = tonumber(ARGV[at + 5]),
	}
	local n = min(tonumber(ARGV[1 + 6 * tiers + k]), t.kind == 3 and t.extra or t.limit)
	longest = max(longest, t.window + t.margin, t.kind == 3 and t.extra * t.window / t.limit or 0)
	if t.kind == 0 then
		log, log_span = max(log, n), max(log_span, t.window + t.margin)
	elseif n > 0 then
		t.name = ({'s', 'f', 'b'})[t.kind] .. text(t.window) .. ':'
		;({sub, fixed, bucket})[t.kind](t, n)
	end
	at = at + 6
end
for from = 1, log, 500 do
	local add = {}
	for j = from, min(from + 499, log) do
		add[#add + 1] = text(now)
		add[#add + 1] = 'lost:seed:' .. j
	end
	redis.call('ZADD', KEYS[1], unpack(add))
end
if log > 0 then redis.call('PEXPIRE', KEYS[1], text(log_span / 1000 + 3000)) end
redis.call('PEXPIRE', KEYS[2], text(longest / 1000 + 600000))
return 1
