-- hold: nobody gets a permit of this scope before then.  Never shortens a hold.
-- KEYS 1 hold  2 sum  3 set
-- ARGV 1 until, epoch ms  2 reason  3 met: "1", the partner said no: calls are paced from now on, and it is remembered
-- -> ms that the hold lasts from now
local PACE_FLOOR_US, PACE_MAX_US, PACE_LIFE_MS, MEMORY_MS = 50000, 60000000, 600000, 30 * 86400000
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local left = tonumber(ARGV[1]) - now_ms
local held = redis.call('PTTL', KEYS[1])
-- One refusal a hold: all answers of one burst say the same.
if ARGV[3] == '1' and held <= 0 then
	local pace = math.max(tonumber(redis.call('HGET', KEYS[2], 'pace') or '0'), PACE_FLOOR_US) * 1.5
	redis.call('HSET', KEYS[2], 'pace', string.format('%.0f', math.min(pace, PACE_MAX_US)))
	if redis.call('PTTL', KEYS[2]) < PACE_LIFE_MS then redis.call('PEXPIRE', KEYS[2], PACE_LIFE_MS) end
	local keep = redis.call('PTTL', KEYS[3])
	redis.call('HINCRBY', KEYS[3], 'refusals', 1)
	if keep ~= -1 then redis.call('PEXPIRE', KEYS[3], MEMORY_MS) end -- what a person set stays for good
	redis.call('HSET', KEYS[3], 'refused_ms', string.format('%.0f', now_ms), 'refused_why', ARGV[2])
end
if left <= held or left <= 0 then return math.max(held, 0) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', string.format('%.0f', left))
return left
