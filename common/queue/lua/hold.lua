-- hold: nobody gets a permit of this scope before then.  Never shortens a hold.
-- KEYS 1 hold
-- ARGV 1 until, epoch ms  2 reason
-- -> ms that the hold lasts from now
local time = redis.call('TIME')
local left = tonumber(ARGV[1]) - time[1] * 1000 - math.floor(time[2] / 1000)
local held = redis.call('PTTL', KEYS[1])
if left <= held or left <= 0 then return math.max(held, 0) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', string.format('%.0f', left))
return left
