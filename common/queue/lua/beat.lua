-- beat: a process of the fleet is alive.
-- KEYS 1 workers:{longshore}  2 worker:{longshore}:EPOCH
-- ARGV 1 epoch  2 what it says of itself (JSON)  3 life ms
-- -> now ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return now
