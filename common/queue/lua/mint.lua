-- mint: counts a token that is about to be asked for, unless the window is full.
-- KEYS 1 log of mints
-- ARGV 1 limit  2 window ms  3 id of this mint
-- -> {1, 0} counted | {0, ms until one leaves the window}
-- Redis' clock may step back: now is never before the newest entry.
local time = redis.call('TIME')
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local newest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local now = math.max(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(newest[2] or '0'))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))
if redis.call('ZCARD', KEYS[1]) >= limit then
	local last = redis.call('ZRANGE', KEYS[1], -limit, -limit, 'WITHSCORES')
	return {0, math.max(tonumber(last[2]) + window - now, 1)}
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
redis.call('PEXPIRE', KEYS[1], window + 1000)
return {1, 0}
